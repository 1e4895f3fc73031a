"""Beats: timers that can wait are moved to common moments, since waking is what an idle process pays for.

A beat is a multiple of the period on the clock of CLOCK_BOOTTIME, so all timers of a process share their
wake-ups, and so do the processes of one machine: what one sends as it wakes lies in the socket of the next
when that wakes, and is heard in the same go. Machines have different clocks, and no beat in common.

Rejected: one timer wheel that every room registers with. The same wake-ups, but each room would depend on it.
"""

from typing import Final

IDLE_BEAT_MS: Final = 400
"""What has to be done now and then in a process that nobody asks for anything is done this often."""


def next_beat_ms(now_ms: int, period_ms: int) -> int:
    """The next beat after `now_ms`, at most `period_ms` away."""
    return (now_ms // period_ms + 1) * period_ms


def on_beat(due_ms: int, period_ms: int, late_ms: int) -> int:
    """The beat nearest to `due_ms`, but at most `late_ms` after it.

    A timer that is set anew from each wake-up so keeps to its beat, whether the wake-up came a little early
    or late. With a period of 1 nothing is moved.
    """
    beat_ms = (due_ms + period_ms // 2) // period_ms * period_ms
    return beat_ms if beat_ms <= due_ms + late_ms else beat_ms - period_ms
