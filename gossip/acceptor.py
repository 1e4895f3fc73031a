"""The voter: what it promised and accepted, per register.

All safety of the rounds in register.py rests on two rules kept here, both across restarts: never help a
ballot lower than one that was promised to, and remember what was accepted until something under a higher
ballot replaces it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from gossip.votes import (
    NAMES_MAX,
    REASON_CHARACTERS_MAX,
    VOTERS,
    ZERO_BALLOT,
    Accept,
    Accepted,
    Ballot,
    Conflict,
    Declined,
    ListNames,
    MessageError,
    Names,
    Plain,
    Promise,
    Reply,
    Request,
    Stale,
    Value,
    VoterSet,
)

MayChange: TypeAlias = Callable[[str, Plain, Plain], "bool | str"]
"""(register, old content as far as this voter knows, new content) -> True, or why not now."""


@dataclass(slots=True)
class Ledger:
    """What a voter remembers about one register."""

    promised: Ballot = ZERO_BALLOT
    accepted_ballot: Ballot | None = None
    accepted: Value | None = None


def always(_register: str, _old: Plain, _new: Plain) -> bool | str:
    """The rule of a voter that has no leases to honour."""
    return True


class Acceptor:
    """One voter's memory of promises and accepted values.

    `handle` says whether the memory changed; then it must be on disk before the reply leaves.
    """

    def __init__(self, voter_set: VoterSet, may_change: MayChange = always) -> None:
        self.voter_set = voter_set
        self.may_change = may_change
        self.ledgers: dict[str, Ledger] = {}

    def learn_voter_set(self, voter_set: VoterSet) -> bool:
        """Pins this voter to a decided set; earlier ones are refused from now on. True if that is news."""
        if voter_set.version <= self.voter_set.version:
            return False
        self.voter_set = voter_set
        return True

    def handle(self, request: Request, known: Value | None) -> tuple[Reply, bool]:
        """Answers one request. `known` is the newest value of that register that we know to be decided."""
        ours = self.voter_set
        theirs = request.voter_set
        if theirs.version < ours.version or (theirs.version == ours.version and theirs != ours):
            return Stale(request.register, request.ballot, ours), False
        changed = self.learn_voter_set(theirs)
        if isinstance(request, ListNames):
            return Names(request.register, request.ballot, tuple(sorted(self.ledgers))), changed
        ledger = self.ledgers.get(request.register)
        if ledger is None:
            if len(self.ledgers) >= NAMES_MAX:
                reason = f"this voter already holds {NAMES_MAX} registers"
                return Declined(request.register, request.ballot, reason), changed
            ledger = self.ledgers[request.register] = Ledger()
        if request.ballot < ledger.promised:
            return Conflict(request.register, request.ballot, ledger.promised), changed
        if isinstance(request, Accept):
            return self._accept(request, ledger, known, changed)
        changed = changed or request.ballot > ledger.promised
        ledger.promised = request.ballot
        return Promise(request.register, request.ballot, ledger.accepted_ballot, ledger.accepted), changed

    def _accept(
        self, request: Accept, ledger: Ledger, known: Value | None, changed: bool
    ) -> tuple[Reply, bool]:
        if request.ballot == ledger.accepted_ballot:
            return Accepted(request.register, request.ballot), changed  # a repetition
        if request.register == VOTERS:
            if request.value.version != request.voter_set.version + 1:
                reason = f"voter set {request.value.version} does not follow {request.voter_set.version}"
                return Declined(request.register, request.ballot, reason), changed
            VoterSet.from_value(request.value)  # never remember what nobody could use
        else:
            old = ledger.accepted
            if known is not None and (old is None or known.version > old.version):
                old = known
            verdict = self.may_change(request.register, None if old is None else old.data, request.value.data)
            if verdict is not True:
                reason = verdict if isinstance(verdict, str) else "this voter may not change it now"
                return Declined(request.register, request.ballot, reason[:REASON_CHARACTERS_MAX]), changed
        ledger.promised = request.ballot
        ledger.accepted_ballot = request.ballot
        ledger.accepted = request.value
        return Accepted(request.register, request.ballot), True

    def durable_state(self) -> dict[str, Plain]:
        return {
            "voter_set": self.voter_set.to_wire(),
            "ledgers": {
                name: (
                    ledger.promised.to_wire(),
                    None if ledger.accepted_ballot is None else ledger.accepted_ballot.to_wire(),
                    None if ledger.accepted is None else ledger.accepted.to_wire(),
                )
                for name, ledger in self.ledgers.items()
            },
        }

    def restore(self, state: Mapping[str, Plain]) -> None:
        """Takes over what `durable_state` gave.

        Raises:
            MessageError: it is not of that form.
        """
        self.voter_set = VoterSet.from_wire(state.get("voter_set"))
        ledgers = state.get("ledgers")
        if not isinstance(ledgers, Mapping):
            raise MessageError("the voter's ledgers are missing")
        self.ledgers = {}
        for name, item in ledgers.items():
            if not isinstance(item, list | tuple) or len(item) != 3:
                raise MessageError(f"the voter's ledger of register {name!r} is damaged")
            promised, ballot, value = item
            self.ledgers[name] = Ledger(
                Ballot.from_wire(promised),
                None if ballot is None else Ballot.from_wire(ballot),
                None if value is None else Value.from_wire(value),
            )
