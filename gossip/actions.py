"""What the cores of a member want done: the words between them and whoever drives them.

The detector's come first; the participant passes most of them on and adds its own. Nothing here is done by
being made: the shell and the simulator carry actions out in the order in which they come.
"""

from dataclasses import dataclass

from gossip.members import Status
from gossip.messages import Address, Envelope, RegisterNews
from gossip.register import RegisterError
from gossip.topology import Topology
from gossip.votes import Value

# -- of the detector ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """A datagram. Losing it is allowed."""

    address: Address
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class CheckPort:
    """Try a TCP connection to the bus port; report to `Detector.checked` what came of it."""

    member: str
    incarnation: int
    address: Address


@dataclass(frozen=True, slots=True)
class ExchangeWith:
    """Exchange full state with this member over TCP."""

    address: Address


@dataclass(frozen=True, slots=True)
class FetchFrom:
    """This member knows decided register values that we lack: its sum of versions exceeds ours."""

    address: Address
    registers_sum: int


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """Status or meta of a member is not what it was."""

    member: str
    before: Status
    after: Status


@dataclass(frozen=True, slots=True)
class RegisterHeard:
    """A decided value came as news."""

    news: RegisterNews


@dataclass(frozen=True, slots=True)
class IncarnationRaised:
    """We denied a claim about ourselves, or changed our meta. Worth saving, not worth waiting for."""

    incarnation: int


@dataclass(frozen=True, slots=True)
class RolledBack:
    """`teller` heard of a state file of ours with serial `theirs`; the one we began with, or wrote since, has
    `ours`: it is an old copy, or the disk lost what it had confirmed. We may break promises.
    """

    teller: str
    ours: int
    theirs: int


# -- of the participant ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Deliver:
    """A register message. By datagram when it fits, else over a connection; losing it is allowed."""

    address: Address
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Persist:
    """Write `Participant.past` to disk, then call `persisted`. There is never more than one on its way."""


@dataclass(frozen=True, slots=True)
class Announce:
    """There is a new picture, in which more than offsets changed."""

    topology: Topology


@dataclass(frozen=True, slots=True)
class HalfWay:
    """A proposal that stops there has its promises and waits for `Participant.go_on`."""

    proposal_id: int


@dataclass(frozen=True, slots=True)
class Concluded:
    """A proposal has ended: with the decided value, or with the error that says why not."""

    proposal_id: int
    value: Value | None
    error: RegisterError | None


@dataclass(frozen=True, slots=True)
class VotersTended:
    """We let the voter set grow or heal; with an error it stays as it is for now."""

    voters: tuple[str, ...]
    error: RegisterError | None


@dataclass(frozen=True, slots=True)
class Dropped:
    """What a peer told makes no sense and was ignored."""

    reason: str
    detail: str
