"""How fast long work goes on beside clients. A core: times and counts in, sizes and rests out.

Two things make a request wait during a full sync, or while ten million members are freed. The first is the
step under way: so a step takes about `step_us` of processor time whatever the entries are like. It is done in
slices of some ten microseconds, and ends with the one that uses up its time. The second is the kernel: a
process that computes all the time loses the processor for milliseconds when others want it, too (the replica
that loads, the clients themselves), while one that often sleeps gets it back at once. So, while clients are
busy, steps get a share of the time and no more:

    credit    grows by `share` of the time that passes, up to two steps or what a ms brings, and shrinks by
              what a step took
    a step    may begin while there is credit

With nobody busy there is nothing to wait for, and steps follow each other. And work can be pressing: while
clients write faster than a sync can afford, what they write fills the ring that the replica will continue
from; were it to overflow, all would have been in vain. So share and step grow with the pressure (how full
the ring will be at the end): if that is half or more the share is all of the time, and steps are eight times
as long, for then clients that keep the node busy have long turns, too.

Rejected: a fixed number of bytes for each ms. A snapshot of small entries costs ten times as much per byte
as one of large ones. And a number reckoned from what the last steps took: memory can become fifty
times as slow from one step to the next, when the system below a virtual machine moves its pages. A step of
2,000 elements took 16 ms then.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

LONGEST: Final = 8  # steps, in a hurry
BUSY_MS: Final = 10  # so long after a command its client is expected to come again


@dataclass(slots=True)
class Pace:
    """The pace of one piece of work.

    Args:
        step_us: processor time of a step.
        share: of the time, for steps, while clients are busy and nothing presses; over 0, at most 1.
        seen_ms: now, when it begins. All times are of one monotonic clock.
        commands: how many commands were executed until now.
    """

    step_us: int
    share: float
    seen_ms: int
    commands: int
    _credit_us: float = 0.0
    _busy_ms: int = 0  # when a command was seen last
    _hurry: float = 0.0  # 0 to 1

    def __post_init__(self) -> None:
        self._busy_ms = self.seen_ms
        self._credit_us = self.step_us

    @property
    def limit_us(self) -> float:
        """When a slice ends after so much processor time, it was the last of its step."""
        return self.step_us * (1 + (LONGEST - 1) * self._hurry)

    def rest_ms(self, now_ms: int, commands: int, pressure: float) -> int:
        """In how many ms to ask again; 0: a step may begin now.

        Args:
            pressure: 0 to 1; from a half on all that can be done is done. Of a full sync: how much of the
                room for what is written meanwhile will be used when all is sent, as it looks now.
        """
        self._hurry = min(1.0, 2 * pressure)
        share = self.share + (1 - self.share) * self._hurry
        if commands != self.commands:
            self.commands = commands
            self._busy_ms = now_ms
        earned_us = (now_ms - self.seen_ms) * 1_000 * share
        self.seen_ms = now_ms
        self._credit_us = min(max(2.0 * self.step_us, 1_000 * share), self._credit_us + earned_us)
        if self._credit_us > 0 or now_ms - self._busy_ms >= BUSY_MS:
            return 0
        return max(1, math.ceil(-self._credit_us / (1_000 * share)))

    def spent(self, processor_us: int) -> None:
        """A step took so much processor time."""
        self._credit_us = max(self._credit_us, 0.0) - processor_us
