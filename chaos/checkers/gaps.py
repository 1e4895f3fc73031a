"""How long nothing was acknowledged: the outage as clients felt it."""

from collections.abc import Iterable
from dataclasses import dataclass

from chaos.client import Outcome
from chaos.workloads.history import Write


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch without an acknowledged write, in the run's milliseconds."""

    began_ms: float
    ended_ms: float

    @property
    def length_ms(self) -> float:
        return self.ended_ms - self.began_ms


def longest_gap(writes: Iterable[Write], group: int, from_ms: float, to_ms: float) -> Gap:
    """The longest stretch in [from_ms, to_ms] in which no write of `group` was acknowledged.

    A write counts at the moment its acknowledgement arrived. The edges count as acknowledgements: a group
    that acknowledges nothing has a gap as long as the window; an outage is never longer than it was watched.

    Raises:
        ValueError: the window ends before it begins.
    """
    if to_ms < from_ms:
        raise ValueError(f"the window ends at {to_ms} ms, before it begins at {from_ms} ms")
    moments = sorted(
        each.ended_ms
        for each in writes
        if each.group == group and each.outcome is Outcome.ACKNOWLEDGED and from_ms <= each.ended_ms <= to_ms
    )
    longest = Gap(from_ms, from_ms)
    previous = from_ms
    for moment in [*moments, to_ms]:
        if moment - previous > longest.length_ms:
            longest = Gap(previous, moment)
        previous = moment
    return longest


def tally(writes: Iterable[Write]) -> dict[Outcome, int]:
    """How many writes had each outcome; every outcome is present."""
    counts = dict.fromkeys(Outcome, 0)
    for each in writes:
        counts[each.outcome] += 1
    return counts
