"""What a proposal is: how patient, in which state, what it may end with, and what its owner has to do for it.

The vocabulary of register.py, without its machinery. Other rooms import from here what they name: `Refused`,
`NoMajority`, `Change`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from gossip.votes import (
    ZERO_BALLOT,
    Accepted,
    Ballot,
    Conflict,
    Declined,
    Message,
    Names,
    Plain,
    Promise,
    Reply,
    Stale,
    Value,
    VoterSet,
)

Change: TypeAlias = Callable[[Plain], Plain]
"""From a register's content (None when never written) to the next one; raises `Refused` to leave it alone.

It may run several times, and on a value that already holds its own effect (an earlier attempt was accepted
by some, then adopted): it must recognise that and return the value unchanged."""

BALLOTS_RESERVED: Final = 1024  # one disk write buys this many rounds; a restart wastes at most as many
PROPOSALS_MAX: Final = 256
COPIES_AT_ONCE: Final = 16  # registers rewritten at a time while the voter set changes


class RegisterError(Exception):
    """A proposal ended without the change being known to be decided."""


class Refused(RegisterError):
    """Not applied: the change function, or a rule of ours, said no. The text says why."""


class NoMajority(RegisterError):
    """Too few voters agreed in time. `unknown` tells whether the change may still turn out to be decided."""

    def __init__(
        self,
        register: str,
        voter_set: VoterSet,
        helped: Collection[str],
        problems: Mapping[str, str],
        *,
        unknown: bool,
    ) -> None:
        self.register = register
        self.voter_set = voter_set
        self.problems = dict(problems)
        self.unknown = unknown
        silent = [
            member for member in voter_set.everyone() if member not in problems and member not in helped
        ]
        said = [f"{member[:8]}: {reason}" for member, reason in sorted(self.problems.items())]
        if silent:
            said.append("no answer in time from " + ", ".join(member[:8] for member in silent))
        outcome = "unknown whether applied" if unknown else "not applied"
        super().__init__(
            f"register '{register}': no majority of {len(voter_set.voters)} voters"
            f"{f' and {len(voter_set.joining)} joining' if voter_set.joining else ''}"
            f" (set {voter_set.version}) in time, {outcome}; {'; '.join(said)}"
        )


@dataclass(frozen=True, slots=True)
class Timing:
    """How patient a proposer is, in ms.

    `round_timeout_ms`: how long one phase of the first attempt waits for a quorum, a few round trips between
    zones; the n-th attempt waits n times as long.
    `declined_timeout_ms`: the same once a voter has declined, since the others that answer at all will do so
    any moment; else a frozen voter would hold up the round that is to replace it.
    `backoff_*`: after a lost round a proposer rests for a random part of `backoff_floor_ms` doubled per
    attempt, at most `backoff_cap_ms`; random, since duels end only when somebody yields.
    `proposal_timeout_ms`: when to give up altogether; longer than a lease, so that a failover whose voters
    still honour one comes through without being asked again.
    """

    round_timeout_ms: int = 300
    declined_timeout_ms: int = 40
    backoff_floor_ms: int = 10
    backoff_cap_ms: int = 400
    proposal_timeout_ms: int = 5000

    def __post_init__(self) -> None:
        if not 0 < self.backoff_floor_ms <= self.backoff_cap_ms:
            raise ValueError("backoff_floor_ms must be positive and at most backoff_cap_ms")
        if not 0 < self.round_timeout_ms <= self.proposal_timeout_ms:
            raise ValueError("round_timeout_ms must be positive and at most proposal_timeout_ms")
        if self.declined_timeout_ms <= 0:
            raise ValueError("declined_timeout_ms must be positive")


# -- actions -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Persist:
    """Write `durable_state()` to disk before carrying out any later action."""


@dataclass(frozen=True, slots=True)
class Send:
    to: str
    message: Message


@dataclass(frozen=True, slots=True)
class Learned:
    """A newer decided value of a register, to be spread by gossip and adopted by whoever routes."""

    register: str
    value: Value


@dataclass(frozen=True, slots=True)
class Promised:
    """A proposal that stops half-way has the promises of a quorum: `go_on` asks it to accept."""

    proposal_id: int


@dataclass(frozen=True, slots=True)
class Decided:
    """The proposal is through: `value` was accepted by a quorum and includes its effect."""

    proposal_id: int
    register: str
    value: Value


@dataclass(frozen=True, slots=True)
class Failed:
    proposal_id: int
    register: str
    error: RegisterError


Action: TypeAlias = Persist | Send | Learned | Promised | Decided | Failed


# -- the proposer --------------------------------------------------------------------------------------------

# A proposal's states and events; a pair that is not listed is an error of ours, tests walk the whole product.
# Events from voters reach a proposal only when register, ballot and sender belong to its present round.
#
#   state      event       what the proposer does
TABLE: Final[Mapping[tuple[str, str], str]] = {
    ("preparing", "promise"): "count_promise",
    ("preparing", "accepted"): "ignore",
    ("preparing", "names"): "ignore",
    ("preparing", "conflict"): "count_against",
    ("preparing", "declined"): "count_against",
    ("preparing", "stale"): "renew",
    ("preparing", "timer"): "rest",
    ("promised", "promise"): "ignore",  # it stops half-way, for as long as whoever asked for it has to
    ("promised", "accepted"): "ignore",
    ("promised", "names"): "ignore",
    ("promised", "conflict"): "ignore",  # the quorum that promised will show whether it still holds
    ("promised", "declined"): "ignore",
    ("promised", "stale"): "renew",
    ("promised", "timer"): "rest",  # its deadline: it gives up
    ("accepting", "promise"): "ignore",  # came after the quorum was complete
    ("accepting", "accepted"): "count_accepted",
    ("accepting", "names"): "ignore",
    ("accepting", "conflict"): "count_against",
    ("accepting", "declined"): "count_against",
    ("accepting", "stale"): "renew",
    ("accepting", "timer"): "rest",
    ("listing", "promise"): "ignore",
    ("listing", "accepted"): "ignore",
    ("listing", "names"): "count_names",
    ("listing", "conflict"): "ignore",
    ("listing", "declined"): "count_against",
    ("listing", "stale"): "renew",
    ("listing", "timer"): "rest",
    ("resting", "promise"): "ignore",
    ("resting", "accepted"): "ignore",
    ("resting", "names"): "ignore",
    ("resting", "conflict"): "note_ballot",
    ("resting", "declined"): "ignore",
    ("resting", "stale"): "renew",
    ("resting", "timer"): "start",
}

EVENTS: Final[Mapping[type[Reply], str]] = {
    Promise: "promise",
    Accepted: "accepted",
    Names: "names",
    Conflict: "conflict",
    Declined: "declined",
    Stale: "stale",
}

INVENTORY: Final = "*"
"""Stands for all registers in the exchange that lists their names; no register is called that."""


NOBODY: Final = VoterSet(0, ())


@dataclass(slots=True)
class Proposal:
    """One change on its way, through as many rounds as it takes."""

    id: int
    register: str
    change: Change
    deadline_ms: int
    part_of: VoterChange | None = None  # belongs to a change of the voter set, not to an asker
    must_write: bool = False  # even when nothing changes: the point is to have a quorum accept it
    stops: bool = False  # between promises and accept, until it is told to go on
    gives_way: bool = False  # a read that nobody waits for: any change of this register finds out the same
    state: str = "resting"
    wake_ms: int = 0
    attempts: int = 0
    ballot: Ballot = ZERO_BALLOT
    voter_set: VoterSet = NOBODY
    replies: dict[str, Reply] = field(default_factory=dict)
    against: dict[str, str] = field(default_factory=dict)  # who will not help this round
    reasons: dict[str, str] = field(default_factory=dict)  # the last word of each, over all rounds
    value: Value | None = None
    adopted: bool = False  # `voters` only: we are completing somebody else's instance first
    unknown: bool = False  # an accept has left: a failure from here on cannot say "not applied"


@dataclass(slots=True)
class VoterChange:
    """The three steps from one voter set to the next, see the module's text."""

    id: int
    target: tuple[str, ...]
    expected_version: int
    deadline_ms: int
    joint_version: int = 0
    names_left: list[str] = field(default_factory=list)
    copies_running: int = 0
