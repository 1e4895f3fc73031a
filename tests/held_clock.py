"""A clock that a test holds still and moves on, shared with a server process (held_clock.c).

    with HeldClock() as clock, RedisServer(clock=clock) as server, server.connect() as theirs:
        ours = Ours(clock=clock)
        ...
        clock.advance(1500)

Both sides then agree about the time to the microsecond, so times left, ids made of the time and idle times
can be compared, and keys expire without anybody sleeping.
"""

from __future__ import annotations

import mmap
import subprocess
import tempfile
from pathlib import Path
from typing import Final, Self

START_US: Final = 1_700_000_000_000_000
_SOURCE: Final = Path(__file__).with_suffix(".c")


class HeldClock:
    """A context manager; the clock stands at START_US when it begins."""

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="grapevine-clock-")
        folder = Path(self._directory.name)
        self._library, self._file = folder / "held_clock.so", folder / "now"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(self._library), str(_SOURCE)], check=True)
        self._file.write_bytes(START_US.to_bytes(8, "little"))
        with self._file.open("r+b") as file:
            self._now = mmap.mmap(file.fileno(), 8)
        return self

    @property
    def now_us(self) -> int:
        """Microseconds since 1970."""
        return int.from_bytes(self._now[:8], "little")

    def advance(self, ms: int) -> None:
        """Time goes on by so many milliseconds."""
        self._now[:8] = (self.now_us + ms * 1000).to_bytes(8, "little")

    def environment(self) -> dict[str, str]:
        """What a process needs in its environment to live by this clock."""
        return {"LD_PRELOAD": str(self._library), "HELD_CLOCK": str(self._file)}

    def __exit__(self, *_: object) -> None:
        self._now.close()
        self._directory.cleanup()
