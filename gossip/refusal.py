"""Refusals: positive evidence that a process is gone.

Silence is ambiguous; a refused connection is not. The kernel of the accused's own machine answers that nobody
listens on its bus port, which every living member holds open. So a member that finds a port refusing tells
the voters, each of which tries for itself and tells the others only what it found itself. A majority of the
voters,
ourselves among those who tried, is death without suspicion: about two round trips and two connection attempts
after the first report.

Rejected: believing the first report. One host with a wrong firewall rule would kill whom it pleases.

Evidence belongs to one incarnation, and it is void as soon as the member says anything: a process that was
started again may ask for a lease before everybody knows its new incarnation, and a voter that granted one
must not hold the death of the former life against it.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class _Case:
    incarnation: int
    found: bool = False
    told_ms: int | None = None
    witnesses: dict[str, None] = field(default_factory=dict)


WITNESSES_MAX = 64
CASES_MAX = 256


class Refusals:
    """Open cases by member. Bounded: the oldest case gives way."""

    def __init__(self, me: str) -> None:
        self._me = me
        self._cases: dict[str, _Case] = {}

    def __len__(self) -> int:
        return len(self._cases)

    def found(self, member: str, incarnation: int, now_ms: int) -> None:
        """Our own check was refused."""
        case = self._case(member, incarnation)
        case.found = True
        case.told_ms = now_ms
        case.witnesses[self._me] = None

    def heard(self, member: str, incarnation: int, witness: str) -> None:
        """`witness` says that its check was refused."""
        case = self._case(member, incarnation)
        if case.incarnation == incarnation and len(case.witnesses) < WITNESSES_MAX:
            case.witnesses[witness] = None

    def told(self, member: str, now_ms: int) -> None:
        """We told the voters just now."""
        case = self._cases.get(member)
        if case is not None:
            case.told_ms = now_ms

    def settled(self, member: str) -> None:
        """It is known to be dead: nobody needs to be told again. The evidence stays."""
        case = self._cases.get(member)
        if case is not None:
            case.told_ms = None

    def contradicted(self, member: str) -> None:
        """The port answered, or the member is back or gone for good: the case is closed."""
        self._cases.pop(member, None)

    def evidence(self, member: str, incarnation: int) -> bool:
        """Our own check of this incarnation was refused."""
        case = self._cases.get(member)
        return case is not None and case.found and case.incarnation >= incarnation

    def majority(self, member: str, incarnation: int, voters: tuple[str, ...]) -> bool:
        """More than half of `voters` found it refused in this incarnation, and so did we."""
        if not self.evidence(member, incarnation):
            return False
        witnesses = self._cases[member].witnesses
        return 2 * sum(1 for voter in voters if voter in witnesses) > len(voters) > 0

    def due(self, now_ms: int, resend_ms: int) -> list[tuple[str, int]]:
        """Cases with evidence of our own that the voters should hear of again: (member, incarnation)."""
        return [
            (member, case.incarnation)
            for member, case in self._cases.items()
            if case.found and case.told_ms is not None and case.told_ms + resend_ms <= now_ms
        ]

    def next_due_ms(self, resend_ms: int) -> int | None:
        if not self._cases:
            return None
        return min(
            (
                case.told_ms + resend_ms
                for case in self._cases.values()
                if case.found and case.told_ms is not None
            ),
            default=None,
        )

    def _case(self, member: str, incarnation: int) -> _Case:
        case = self._cases.get(member)
        if case is None or case.incarnation < incarnation:
            self._cases.pop(member, None)
            if len(self._cases) >= CASES_MAX:
                del self._cases[next(iter(self._cases))]
            case = _Case(incarnation)
            self._cases[member] = case
        return case
