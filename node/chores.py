"""What a node does beside its clients, a step at a time: memory given back, keys expired, eviction's rest.

    what waits                          a slice of it                 told in
    the ring of effects, narrowed       Effects.release_some          effects.pyx
    more memory than maxmemory          Evictor.evict_some            evictor.pyx
    snapshot epochs, used up            Keyspace.sweep_some           keyspace.pyx
    keys and fields that have expired   expire_some, expire_fields    keyspace.pyx, lapse.pyx
    deleted, cleared; free pages        Keyspace.free_some            reclaim.pyx, alloc.pyx

All of it together keeps one pace (pace.py): a step takes STEP_US of processor time, and while clients are
busy steps take SHARE of the time. Rejected: bursts of 25 steps in every 100 ms. Trio draws the order of its
tasks, so a request could wait for two steps in a row, and after 10 ms of work without a sleep the kernel had
others to serve first.

Memory that waits can outgrow everything when a client replaces large collections faster than that share frees
them. So it presses as long as memory grows while there is some to free: the pressure doubles with each beat,
up to all of the time in five of them, and halves when memory does not grow.

A core without I/O: times come in, steps are done when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from node.engine.engine import Engine
from node.engine.lapse import expire_fields
from node.pace import Pace, Sizes

STEP_US: Final = 200
SHARE: Final = 0.25
ENTRIES: Final = Sizes(first=500, least=100, most=2_000)  # elements that a step frees
EXPIRED_PER_FREED: Final = 5  # finding and deleting a key costs as much as freeing so many elements
PRESSURE_LEAST: Final = 1 / 32


class Chores:
    """One engine's.

    Args:
        work_us: processor time of this thread.
        clock_us: monotonic.
        expiring: whether to look for keys that have expired.
        hear: told the event's name and us by that clock when the expiry cycle or eviction ran.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        now_ms: int,
        work_us: Callable[[], int],
        clock_us: Callable[[], int],
        expiring: Callable[[], bool] = lambda: True,
        hear: Callable[[str, int], None] = lambda _event, _took_us: None,
    ) -> None:
        self._engine = engine
        self._work_us = work_us
        self._clock_us = clock_us
        self._expiring = expiring
        self._hear = hear
        self._pace = Pace(ENTRIES, STEP_US, SHARE, now_ms, self._commands())
        self._pressure = 0.0
        self._used_bytes = 0
        self._longest_us = 0
        self.more = False  # the last step left something for the next

    def look(self) -> None:
        """A beat: whether memory grew since the last one although some waits to be freed."""
        used_bytes = self._engine.keyspace.memory()["used_bytes"]
        if self.more and used_bytes > self._used_bytes:
            self._pressure = min(1.0, max(PRESSURE_LEAST, 2 * self._pressure))
        else:
            self._pressure = self._pressure / 2 if self._pressure > PRESSURE_LEAST else 0.0
        self._used_bytes = used_bytes

    def rest_ms(self, now_ms: int) -> int:
        """In how many ms to ask again; 0: a step may be done now.

        Args:
            now_ms: monotonic.
        """
        return self._pace.rest_ms(now_ms, self._commands(), self._pressure)

    def step(self) -> bool:
        """Does one step; True: there is more to do."""
        began_us = self._work_us()
        want = self._pace.want
        keyspace = self._engine.keyspace
        more = self._engine.effects.release_some()
        more = self._timed("eviction-cycle", self._engine.evictor.evict_some) or more
        more = keyspace.sweep_some(want) or more
        if self._expiring() and not keyspace.follower:
            more = self._timed("expire-cycle", lambda: self._expire(want // EXPIRED_PER_FREED)) or more
        more = keyspace.free_some(want) or more  # the last: the others leave it something to free
        took_us = self._work_us() - began_us
        self._pace.spent(want, took_us)
        self._longest_us = max(self._longest_us, took_us)
        self.more = more
        return more

    def take_longest_us(self) -> int:
        """Processor time of the longest step since this was asked last."""
        longest_us, self._longest_us = self._longest_us, 0
        return longest_us

    def _expire(self, entries: int) -> bool:
        more = self._engine.keyspace.expire_some(entries)
        return expire_fields(self._engine.keyspace, entries) or more

    def _timed(self, event: str, work: Callable[[], bool]) -> bool:
        """Does a slice of work; LATENCY hears of it when it was long.

        Redis counts a whole cycle, since nobody is served in one. Here clients get their turn after a step.
        """
        began_us = self._clock_us()
        more = work()
        self._hear(event, self._clock_us() - began_us)
        return more

    def _commands(self) -> int:
        return self._engine.statistics()["commands"]
