"""What a node does beside its clients, a step at a time: memory given back, keys expired, eviction's rest.

    what waits                          a slice of it                 told in
    the ring of effects, narrowed       Effects.release_some          effects.pyx
    more memory than maxmemory          Evictor.evict_some            evictor.pyx
    snapshot epochs, used up            Keyspace.sweep_some           keyspace.pyx
    keys and fields that have expired   expire_some, expire_fields    keyspace.pyx, lapse.pyx
    deleted, cleared; free pages        Keyspace.free_some            reclaim.pyx, alloc.pyx

All of it together keeps one pace (pace.py): a step is slices of each until STEP_US have passed, and while
clients are busy steps take SHARE of the time. Rejected: bursts of 25 steps in every 100 ms. Trio draws the
order of its tasks, so a request could wait for two steps in a row, and after 10 ms of work without a sleep
the kernel had others to serve first.

Memory that waits can outgrow everything when a client replaces large collections faster than that share frees
them. So it presses as long as memory grows while there is some to free: the pressure doubles with each beat,
up to all of the time in five of them, and halves when memory does not grow. Steps are no longer then.

A core without I/O: times come in, steps are done when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from node.engine.engine import Engine
from node.engine.lapse import expire_fields
from node.pace import Pace

STEP_US: Final = 200
SHARE: Final = 0.25
SLICE_ELEMENTS: Final = 100  # that a slice frees: 10 us, but 1 ms when memory is slow
SLICE_KEYS: Final = 20  # that expire in it: finding and deleting one costs as much as freeing five elements
SLICES_MAX: Final = 20  # in a step, however fast they are
PRESSURE_LEAST: Final = 1 / 32


class Chores:
    """One engine's.

    Args:
        work_us: processor time of this thread.
        clock_us: monotonic.
        expiring: whether to look for keys that have expired.
        hear: told the name of LATENCY's event and us by that clock, of each step's expiry and eviction. Redis
            counts a whole cycle, since nobody is served in one; here clients get their turn after a step.
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
        self._pace = Pace(STEP_US, SHARE, now_ms, self._commands())
        self._works: list[Callable[[], bool]] = [
            engine.effects.release_some,
            self._evict,
            self._sweep,
            self._expire,
        ]
        self._pressure = 0.0
        self._used_bytes = 0
        self._longest_us = 0
        self._cycle_us: dict[str, int] = {}
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
        # By the clock: what was kept waiting by others keeps clients waiting, too, and to read a thread's
        # processor time is a system call, a tenth of a slice.
        end_us = self._clock_us() + STEP_US
        works = self._works
        self._cycle_us.clear()
        for _ in range(SLICES_MAX):
            works = [work for work in works if work()]  # what has no more is not asked again in this step
            self.more = self._free() or bool(
                works
            )  # the last, and always: the others leave it something to free
            if not self.more or self._clock_us() >= end_us:
                break
        for event, cycle_us in self._cycle_us.items():
            self._hear(event, cycle_us)
        took_us = self._work_us() - began_us
        self._pace.spent(took_us)
        self._longest_us = max(self._longest_us, took_us)
        return self.more

    def take_longest_us(self) -> int:
        """Processor time of the longest step since this was asked last."""
        longest_us, self._longest_us = self._longest_us, 0
        return longest_us

    def _evict(self) -> bool:
        return self._timed("eviction-cycle", self._engine.evictor.evict_some)

    def _sweep(self) -> bool:
        return self._engine.keyspace.sweep_some(SLICE_ELEMENTS)

    def _expire(self) -> bool:
        keyspace = self._engine.keyspace
        if keyspace.follower or not self._expiring():
            return False
        return self._timed(
            "expire-cycle", lambda: expire_fields(keyspace, SLICE_KEYS) | keyspace.expire_some(SLICE_KEYS)
        )

    def _free(self) -> bool:
        return self._engine.keyspace.free_some(SLICE_ELEMENTS)

    def _timed(self, event: str, work: Callable[[], bool]) -> bool:
        began_us = self._clock_us()
        more = work()
        self._cycle_us[event] = self._cycle_us.get(event, 0) + self._clock_us() - began_us
        return more

    def _commands(self) -> int:
        return self._engine.statistics()["commands"]
