"""When the machine itself stood still, and which waits that explains.

The system below a virtual machine takes a processor away, or lets it wait for memory, for milliseconds at a
time, and no thread in the machine can do anything about it. Witnesses (probe.c) note when: threads at a
real-time priority above everything else, one on each processor, that wake up late only then. The server and
the load have a real-time priority, too, below theirs, and a processor each, so that no other thread of the
machine takes it, nor one of them the other's: a witness that wakes beside the server would drive it away.

A wait is explained when a standstill touches it: one on any processor, since a request needs the server's and
the client's. It reaches as long again beyond its own end, while what has piled up is served, and one that
begins before that adds to it, as when the machine goes on by fits and starts for a while.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

PRIORITY: Final = 10  # of the server and the load; the witnesses have 50
WITNESS_US: Final = 100
SLOW_US: Final = 1_000.0  # as in probe.c
LONG_US: Final = 2_000.0  # what nobody should wait for


@dataclass(frozen=True, slots=True)
class Span:
    """A time on the monotonic clock."""

    from_ns: int
    ns: int


@dataclass(frozen=True, slots=True)
class Stillness:
    """Of one phase.

    Attributes:
        count, longest_us, total_us: of the standstills.
        own_us: the longest wait of a request that no standstill touched; waits under 1 ms were not looked at,
            so 1,000 when there was no longer one.
        jams, own_jams: in how many separate times requests waited longer than LONG_US, and how many there are
            without the waits that a standstill touched. One late turn is one jam, whomever it kept waiting.
    """

    count: int
    longest_us: float
    total_us: float
    own_us: float
    jams: int
    own_jams: int


def stillness(slow: Sequence[Span], still: Sequence[Span]) -> Stillness:
    """What a phase's standstills leave unexplained of its slow requests."""
    lengths = [span.ns for span in still]
    own = unexplained(slow, still)
    return Stillness(
        len(still),
        max(lengths, default=0) / 1000,
        sum(lengths) / 1000,
        max((wait.ns / 1000 for wait in own), default=SLOW_US),
        _jams(slow),
        _jams(own),
    )


def _jams(slow: Sequence[Span]) -> int:
    """How often somebody waited too long: waits that overlap are one time."""
    jams, ended_ns = 0, -1
    for wait in sorted((wait for wait in slow if wait.ns > LONG_US * 1000), key=lambda wait: wait.from_ns):
        jams += wait.from_ns > ended_ns
        ended_ns = max(ended_ns, wait.from_ns + wait.ns)
    return jams


def unexplained(slow: Sequence[Span], still: Sequence[Span]) -> list[Span]:
    """The waits that no standstill touches."""
    reached = _reached(still)
    return [
        wait
        for wait in slow
        if not any(
            reach.from_ns <= wait.from_ns + wait.ns and wait.from_ns <= reach.from_ns + reach.ns
            for reach in reached
        )
    ]


def _reached(still: Sequence[Span]) -> list[Span]:
    """The times in which requests wait for what stood still before."""
    reached: list[Span] = []
    began_ns = ended_ns = stood_ns = 0  # of those that follow each other
    for stop in sorted(still, key=lambda stop: stop.from_ns):
        if reached and stop.from_ns <= reached[-1].from_ns + reached[-1].ns:
            reached.pop()
        else:
            began_ns, ended_ns, stood_ns = stop.from_ns, 0, 0
        ended_ns = max(ended_ns, stop.from_ns + stop.ns)
        stood_ns = min(stood_ns + stop.ns, ended_ns - began_ns)  # processors may stand still together
        reached.append(Span(began_ns, ended_ns + stood_ns - began_ns))
    return reached


def hurry(process_id: int, place: int) -> None:
    """Gives a process's first thread a real-time priority, and the processor `place` of those there are.

    Raises:
        PermissionError: that takes CAP_SYS_NICE.
    """
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setscheduler(process_id, os.SCHED_FIFO, os.sched_param(PRIORITY))
    os.sched_setaffinity(process_id, {processors[place % len(processors)]})
