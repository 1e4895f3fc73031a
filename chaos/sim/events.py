"""Virtual time: one heap of events, the dice, and the trace that tells two runs apart.

Events of one millisecond run in the order in which they were set, so nothing depends on hashes or on
addresses of objects. Every component rolls dice of its own, named: a draw more in one leaves all others as
they were, which is what makes a trace readable after a change.
"""

import hashlib
import heapq
from collections.abc import Callable
from random import Random
from typing import Final

MARKS_MAX: Final = 4_096


class Events:
    """The world's clock.

    Args:
        seed: with the scenario it decides everything.
        tell: gets every line worth reading, for `--trace`; None for nobody.
    """

    def __init__(self, seed: str, tell: Callable[[str], None] | None = None) -> None:
        self.now_ms = 1_000
        self._seed = seed
        self._tell = tell
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        self._marks: list[str] = []  # that the digest has still to take in
        self._digest = hashlib.blake2b(digest_size=16)

    @property
    def count(self) -> int:
        """Events that have happened."""
        return self._sequence - len(self._heap)

    def dice(self, name: str) -> Random:
        """The dice of one component: the same for the same seed and name, in every process."""
        return Random(f"{self._seed}/{name}")

    def at(self, at_ms: int, event: Callable[[], None]) -> None:
        """Run `event` then, or now if that is past."""
        self._sequence += 1
        now_ms = self.now_ms
        heapq.heappush(self._heap, (at_ms if at_ms > now_ms else now_ms, self._sequence, event))

    def run_until(self, end_ms: int, done: Callable[[], bool] | None = None) -> bool:
        """Let time pass up to `end_ms`. True as soon as `done` holds, which is looked at after each event."""
        heap, pop = self._heap, heapq.heappop
        while heap and heap[0][0] <= end_ms:
            self.now_ms, _sequence, event = pop(heap)
            event()
            if done is not None and done():
                return True
        self.now_ms = end_ms
        return False

    def trace(self, text: str) -> None:
        """A line of the trace: part of the digest, and read by people."""
        line = f"{self.now_ms:>8} {text}"
        self._marks.append(line)
        if self._tell is not None:
            self._tell(line)

    def mark(self, text: str) -> None:
        """Something too frequent to read (a packet): part of the digest only."""
        self._marks.append(f"{self.now_ms} {text}")
        if len(self._marks) >= MARKS_MAX:
            self._digest_marks()

    def _digest_marks(self) -> None:
        marks, self._marks = self._marks, []
        self._digest.update("\n".join((*marks, "")).encode())

    @property
    def digest(self) -> str:
        """Of everything that happened so far, 32 hex characters."""
        self._digest_marks()
        return self._digest.hexdigest()
