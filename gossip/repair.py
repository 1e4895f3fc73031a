"""Bringing to light what was decided and nobody knows.

A change is decided as soon as a majority of the voters accepted it, but only its proposer hears so. When the
proposer is cut off in that moment, gives up with *unknown* and never asks again, the cluster is stuck: those
voters grant no lease to the primary that everybody believes in, and nobody has a reason to propose. One
round with the identity change (CASPaxos's read) finds the highest accepted value, has it accepted again and
learns it.

When that is worth a round, per register:

    accepted   our voter accepted a newer version than any we know to be decided
    unknown    a proposal of ours ended without telling whether it was applied
    leaseless  it names us primary, and no majority grants us the lease

Each is normal for the few milliseconds of a decision, so we wait for one lease; then a random part of half
another one, since a majority of the voters notices at the same moment and their rounds would only disturb
each other. Who comes first tells everybody by gossip, and the others' doubts are settled. Between attempts
the wait doubles, for the cause may be one that no reading mends (a minority accepted while the primary's
lease runs: declined until that ends, rightly; or no majority within reach).

Rejected: telling the voters which accepted values are decided. It costs a message to each for every change,
gets lost in the same cut, and the voter needs this path anyway.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal, TypeAlias

Reason: TypeAlias = Literal["accepted", "unknown", "leaseless"]

DOUBLINGS_MAX: Final = 4


@dataclass(slots=True)
class _Doubt:
    due_ms: int
    attempts: int = 0
    reasons: dict[Reason, None] = field(default_factory=dict)


class Repair:
    """Which registers to read, and when. One member's; no larger than the registers it knows.

    Args:
        patience_ms: how long a doubt may settle by itself; one lease.
    """

    def __init__(self, patience_ms: int, rng: Random) -> None:
        self._patience_ms = patience_ms
        self._rng = rng
        self._doubts: dict[str, _Doubt] = {}

    def doubt(self, register: str, reason: Reason, now_ms: int) -> None:
        """There is `reason` to believe that more may be decided than we know. Again and again is fine."""
        doubt = self._doubts.get(register)
        if doubt is None:
            jitter_ms = self._rng.randrange(self._patience_ms // 2 + 1)
            doubt = self._doubts[register] = _Doubt(now_ms + self._patience_ms + jitter_ms)
        doubt.reasons[reason] = None

    def settle(self, register: str, reasons: Iterable[Reason]) -> None:
        """These reasons are gone."""
        doubt = self._doubts.get(register)
        if doubt is None:
            return
        for reason in reasons:
            doubt.reasons.pop(reason, None)
        if not doubt.reasons:
            del self._doubts[register]

    def clear(self) -> None:
        """Other registers from now on (we joined another cluster)."""
        self._doubts.clear()

    def next_due_ms(self) -> int | None:
        """When `due` will have something."""
        if not self._doubts:
            return None
        return min(doubt.due_ms for doubt in self._doubts.values())

    def due(self, now_ms: int) -> list[str]:
        """Registers to read now; each comes back later, unless its doubts are settled."""
        found: list[str] = []
        for register, doubt in self._doubts.items():
            if doubt.due_ms <= now_ms:
                found.append(register)
                span_ms = self._patience_ms << min(doubt.attempts, DOUBLINGS_MAX)
                doubt.attempts += 1
                doubt.due_ms = now_ms + span_ms + self._rng.randrange(span_ms + 1)
        return found
