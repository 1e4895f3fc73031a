"""What was slow: the slow log, and samples of latency by event.

The engine times commands with a counter that costs almost nothing and tells us only of those at or above
the lower of our two thresholds. Everything here is bounded: the slow log by its parameter, an event's
samples by Redis's number of them.

A core without I/O: durations, Unix time and thresholds come from outside.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from node.config import Config
    from node.engine.engine import Engine
    from node.engine.registry import Command
    from node.engine.session import Session

SAMPLES_KEPT: Final = 160  # of an event; Redis's number, so graphs drawn from them look alike
_REDACTED: Final = b"(redacted)"


@dataclass(frozen=True, slots=True)
class SlowCall:
    """One entry of the slow log."""

    id: int
    unix_s: int
    duration_us: int
    words: tuple[bytes, ...]
    address: bytes
    client_name: bytes


class SlowLog:
    """The last calls that took at least `threshold_us`, newest first."""

    def __init__(self) -> None:
        self.threshold_us = -1  # -1: nothing is kept
        self.length_max = 0
        self._calls: deque[SlowCall] = deque()
        self._next_id = 0

    def add(
        self, unix_s: int, duration_us: int, words: Sequence[bytes], address: bytes, client_name: bytes
    ) -> None:
        """Keeps a call if it was slow enough; the oldest make room."""
        if not 0 <= self.threshold_us <= duration_us:
            return
        self._calls.appendleft(
            SlowCall(self._next_id, unix_s, duration_us, tuple(words), address, client_name)
        )
        self._next_id += 1
        while len(self._calls) > self.length_max:
            self._calls.pop()

    def newest(self, count: int) -> list[SlowCall]:
        """At most `count` calls; -1 for all."""
        return list(islice(self._calls, None if count < 0 else min(count, sys.maxsize)))

    def reset(self) -> None:
        """Forgets the calls. Ids go on, so that a reader never takes a new call for one it knows."""
        self._calls.clear()

    def __len__(self) -> int:
        return len(self._calls)


@dataclass(slots=True)
class Series:
    """Samples of one event: (Unix seconds, ms), oldest first, the worst of each second."""

    worst_ms: int = 0
    samples: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=SAMPLES_KEPT))

    def add(self, unix_s: int, duration_ms: int) -> None:
        self.worst_ms = max(self.worst_ms, duration_ms)
        if self.samples and self.samples[-1][0] == unix_s:
            _, before_ms = self.samples.pop()
            duration_ms = max(duration_ms, before_ms)
        self.samples.append((unix_s, duration_ms))


class LatencyMonitor:
    """Events that took at least `threshold_ms`; 0 switches it off and keeps what was seen."""

    def __init__(self) -> None:
        self.threshold_ms = 0
        self.events: dict[str, Series] = {}

    def add(self, event: str, unix_s: int, duration_ms: int) -> None:
        if 0 < self.threshold_ms <= duration_ms:
            self.events.setdefault(event, Series()).add(unix_s, duration_ms)

    def reset(self, names: Iterable[str] = ()) -> int:
        """Forgets these events, or all if none is named; returns how many there were."""
        wanted = set(names) or set(self.events)
        found = wanted & self.events.keys()
        for name in found:
            del self.events[name]
        return len(found)


class Observer:
    """Hears of slow commands from the engine; SLOWLOG and LATENCY answer from here."""

    def __init__(self, engine: Engine, clock_us: Callable[[], int]) -> None:
        self.slow_log = SlowLog()
        self.latency = LatencyMonitor()
        self._engine = engine
        self._clock_us = clock_us
        engine.on_slow = self.hear
        engine.on_cycle = self.hear_cycle

    def follow(self, config: Config) -> None:
        """Takes its parameters from there, now and whenever they change."""

        def thresholds(_value: object) -> None:
            self.slow_log.threshold_us = config.integer("slowlog-log-slower-than")
            self.latency.threshold_ms = config.integer("latency-monitor-threshold")
            wanted = [self.slow_log.threshold_us] if self.slow_log.threshold_us >= 0 else []
            if self.latency.threshold_ms:
                wanted.append(min(self.latency.threshold_ms * 1000, (1 << 63) - 1))
            self._engine.set_slow_us(min(wanted, default=-1))
            self._engine.set_cycle_us(wanted[-1] if self.latency.threshold_ms else -1)

        config.on_change("slowlog-log-slower-than", thresholds)
        config.on_change("latency-monitor-threshold", thresholds)
        config.on_change(
            "slowlog-max-len",
            lambda _: setattr(self.slow_log, "length_max", config.integer("slowlog-max-len")),
        )
        config.on_change(
            "latency-tracking",
            lambda _: setattr(self._engine, "latency_tracking", config.flag("latency-tracking")),
        )

    def hear(self, session: Session, command: Command, duration_us: int, words: list[bytes]) -> None:
        """A command ended that took at least one of the thresholds.

        Args:
            words: the command as sent, long ones and many shortened.
        """
        unix_s = self._clock_us() // 1_000_000
        flags = command.spec.flags
        self.latency.add("fast-command" if "fast" in flags else "command", unix_s, duration_us // 1000)
        if "skip_slowlog" not in flags:
            address = session.address.encode("utf-8", "surrogateescape")
            self.slow_log.add(unix_s, duration_us, redacted(words), address, session.name)

    def hear_cycle(self, event: str, duration_us: int) -> None:
        """Work beside the commands ended that held all clients up for so long.

        Args:
            event: Redis's name for it, `expire-cycle` or `eviction-cycle`; or `turn`: the longest time
                between two looks at the clients since the last beat, whatever it was spent on.
        """
        self.latency.add(event, self._clock_us() // 1_000_000, duration_us // 1000)


def redacted(words: Sequence[bytes]) -> list[bytes]:
    """A command without the passwords in it: those of AUTH, and of HELLO's AUTH."""
    name = words[0].lower()
    if name == b"auth":
        return [words[0], *[_REDACTED] * (len(words) - 1)]
    if name == b"hello":
        for at, word in enumerate(words):
            if at >= 2 and word.lower() == b"auth":
                secret = len(words[at + 1 : at + 3])
                return [*words[: at + 1], *[_REDACTED] * secret, *words[at + 3 :]]
    return list(words)


# ------------------------------------------------------------------------------------- latencies of commands


def percentile_us(command: Command, percent: float, ticks_per_us: float) -> float:
    """The time that `percent` of a command's calls did not exceed, to within an eighth; 0.0: none timed."""
    classes = command.latencies()
    if not classes or ticks_per_us <= 0:
        return 0.0
    wanted = sum(calls for _, calls in classes) * percent / 100
    seen = accumulate(calls for _, calls in classes)
    bound = next(bound for (bound, _), so_far in zip(classes, seen, strict=True) if so_far >= wanted)
    return bound / ticks_per_us


def histogram_us(command: Command, ticks_per_us: float) -> list[tuple[int, int]]:
    """Pairs of (us, calls that took at most so long), a pair only where the count grows.

    The bounds are Redis's: 1.024 us and its doublings, cut to whole microseconds.
    """
    pairs: list[tuple[int, int]] = []
    seen, bound_ns = 0, 1024
    for bound, calls in command.latencies():
        while bound * 1000 > bound_ns * ticks_per_us:
            bound_ns *= 2
        seen += calls
        if pairs and pairs[-1][0] == bound_ns // 1000:
            pairs.pop()
        pairs.append((bound_ns // 1000, seen))
    return pairs
