"""The clocks of one machine: each begins anywhere and runs at its own rate.

The world's time is that of `Events`. A machine has a monotonic clock, for leases and timers, and a wall
clock, for expiry, which somebody may set while the machine runs.
"""

from typing import Final

from chaos.sim.events import Events

PER_MILLION: Final = 1_000_000
BOOTED_MS: Final = 10_000_000  # so that no clock is ever below zero


class Clock:
    """Args:
    ahead_ms: of the monotonic clock at the beginning of the world.
    drift_ppm: how much faster than the world both run; negative: slower.
    """

    def __init__(self, events: Events, ahead_ms: int = 0, drift_ppm: int = 0) -> None:
        self._events = events
        self._ahead_ms = BOOTED_MS + ahead_ms
        self._drift_ppm = drift_ppm
        self._wall_ahead_ms = 1_700_000_000_000

    @property
    def now_ms(self) -> int:
        """Monotonic."""
        world_ms = self._events.now_ms
        if self._drift_ppm:
            world_ms += world_ms * self._drift_ppm // PER_MILLION
        return self._ahead_ms + world_ms

    @property
    def wall_ms(self) -> int:
        """Unix time, as this machine has it."""
        return self._wall_ahead_ms + self.now_ms

    def set_wall(self, by_ms: int) -> None:
        """Somebody sets the wall clock forward, or back."""
        self._wall_ahead_ms += by_ms

    def world_ms(self, local_ms: int) -> int:
        """When the world first sees the monotonic clock show `local_ms`."""
        passed_ms = local_ms - self._ahead_ms
        if not self._drift_ppm:
            return passed_ms
        estimate_ms = passed_ms * PER_MILLION // (PER_MILLION + self._drift_ppm)
        while estimate_ms + estimate_ms * self._drift_ppm // PER_MILLION < passed_ms:
            estimate_ms += 1
        return estimate_ms
