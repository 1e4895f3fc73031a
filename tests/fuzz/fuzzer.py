"""The loop: pick a parent, mutate it, note it, run it, keep it when it reached something new.

Inputs are noted in a journal before they run, in a mapped file that outlives a crash: all of them since the
target was last made anew, so that `--replay` goes the same way again.

    length (4, little-endian) bytes, length bytes, ..., length 0
"""

from __future__ import annotations

import hashlib
import mmap
import time
from pathlib import Path

from tests.fuzz.guide import Guide
from tests.fuzz.mutation import BYTES_MAX, Chance
from tests.fuzz.target import Target

CORPUS = Path(__file__).parent / "corpus"
_PARENTS_MAX = 4096
_MAGIC = b"GVFUZZ01"


class Journal:
    """The inputs since the last renewal, in a file."""

    def __init__(self, path: Path, inputs_max: int) -> None:
        size = len(_MAGIC) + inputs_max * (BYTES_MAX * 2 + 4) + 4
        path.write_bytes(_MAGIC)
        with path.open("r+b") as file:
            file.truncate(size)  # sparse
            self._map = mmap.mmap(file.fileno(), size)
        self.clear()

    def clear(self) -> None:
        self._at = len(_MAGIC)
        self._map[self._at : self._at + 4] = bytes(4)

    def note(self, data: bytes) -> None:
        framed = len(data).to_bytes(4, "little") + data + bytes(4)
        self._map[self._at : self._at + len(framed)] = framed
        self._at += len(framed) - 4


def replay(target: Target, path: Path) -> int:
    """Runs a journal, or a single input, again. Returns how many inputs that were."""
    data = path.read_bytes()
    if not data.startswith(_MAGIC):
        target.run(data)
        return 1
    at, count = len(_MAGIC), 0
    while size := int.from_bytes(data[at : at + 4], "little"):
        target.run(data[at + 4 : at + 4 + size])
        at += 4 + size
        count += 1
    return count


class Fuzzer:
    def __init__(self, target: Target, seed: int, *, journal: Path, keep: Path | None = None) -> None:
        self.target = target
        self.count = 0
        self._chance = Chance(f"{target.name}:{seed}")
        self._guide = Guide()
        self._journal = Journal(journal, target.lifetime_inputs)
        self._keep = keep
        self._seconds = 0.0
        self._fresh = 0  # inputs since the target was made anew
        places = [CORPUS / target.name, *([keep] if keep else [])]
        paths = [path for place in places for path in sorted(place.glob("*"))]
        self.parents = [path.read_bytes() for path in paths[:_PARENTS_MAX]]

    def run(self, *, seconds: float, inputs: int = 0) -> None:
        """Runs until the time or the inputs are spent. Raises what the target raises."""
        began = time.monotonic()
        for data in list(self.parents):
            self._try(data)
        while (time.monotonic() - began < seconds) and not (inputs and self.count >= inputs):
            data = self._next()
            if self._try(data) and len(self.parents) < _PARENTS_MAX:
                self.parents.append(data)
                if self._keep:
                    self._keep.mkdir(parents=True, exist_ok=True)
                    (self._keep / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
        self._seconds += time.monotonic() - began

    def _next(self) -> bytes:
        chance = self._chance
        if not self.parents or chance.random() < 0.15:
            return self.target.generate(chance)
        # The newest half as often as all the rest: what was just reached leads on.
        half = len(self.parents) // 2 if chance.random() < 0.5 else 0
        parent = self.parents[chance.randrange(half, len(self.parents))]
        return self.target.mutate(chance, parent, chance.choice(self.parents))

    def _try(self, data: bytes) -> bool:
        if not data:
            return False
        data = data[: BYTES_MAX * 2]
        if self._fresh == self.target.lifetime_inputs:
            self.target.renew()
            self._journal.clear()
            self._fresh = 0
        self._journal.note(data)
        self._fresh += 1
        self.count += 1
        self._guide.begin()
        self.target.run(data)
        return self._guide.end() > 0

    def summary(self) -> dict[str, int | float]:
        """What was done, for programs."""
        return {"inputs": self.count, "seconds": self._seconds, "edges": self._guide.edges()}

    def report(self) -> str:
        rate = self.count / self._seconds if self._seconds else 0.0
        guided = f"{self._guide.edges()} edges" if self._guide.informed else "not guided"
        work = f"{self.count} inputs in {self._seconds:.0f} s, {rate:.0f}/s"
        return f"{self.target.name}: {work}, {len(self.parents)} parents, {guided}, no finding"
