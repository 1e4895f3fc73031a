"""Virtual time: one heap of events, the dice, and the trace that tells two runs apart.

Events of one millisecond run in the order in which they were set, so nothing depends on hashes or on
addresses of objects. Every component rolls dice of its own, named: a draw more in one leaves all others as
they were, which is what makes a trace readable after a change.
"""

import hashlib
import heapq
from collections.abc import Callable
from random import Random


class Events:
    """The world's clock.

    Args:
        seed: with the scenario it decides everything.
        tell: gets every line worth reading, for `--trace`; None for nobody.
    """

    def __init__(self, seed: str, tell: Callable[[str], None] | None = None) -> None:
        self.now_ms = 1_000
        self.count = 0
        self._seed = seed
        self._tell = tell
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        self._digest = hashlib.blake2b(digest_size=16)

    def dice(self, name: str) -> Random:
        """The dice of one component: the same for the same seed and name, in every process."""
        return Random(f"{self._seed}/{name}")

    def at(self, at_ms: int, event: Callable[[], None]) -> None:
        """Run `event` then, or now if that is past."""
        self._sequence += 1
        heapq.heappush(self._heap, (max(at_ms, self.now_ms), self._sequence, event))

    def run_until(self, end_ms: int, done: Callable[[], bool] | None = None) -> bool:
        """Let time pass up to `end_ms`. True as soon as `done` holds, which is looked at after each event."""
        while self._heap and self._heap[0][0] <= end_ms:
            self.now_ms, _sequence, event = heapq.heappop(self._heap)
            self.count += 1
            event()
            if done is not None and done():
                return True
        self.now_ms = end_ms
        return False

    def trace(self, text: str) -> None:
        """A line of the trace: part of the digest, and read by people."""
        line = f"{self.now_ms:>8} {text}"
        self._digest.update(line.encode())
        if self._tell is not None:
            self._tell(line)

    def mark(self, text: str) -> None:
        """Something too frequent to read (a packet): part of the digest only."""
        self._digest.update(b"%d %s\n" % (self.now_ms, text.encode()))

    @property
    def digest(self) -> str:
        """Of everything that happened so far, 32 hex characters."""
        return self._digest.hexdigest()
