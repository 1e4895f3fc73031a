"""Voting: the registers and the leases of one member.

What the registers want done piles up in order until `actions` hands it over; whoever carries it out lets
nothing that follows a `Persist` leave before the state file is on disk (participant.py).

What a majority may have accepted without anybody knowing is read again after a while (repair.py).

Leases need no disk (lease.py says why), but they meet the registers here: a voter declines a new primary
while a lease it granted may be in use, and grants nothing against a change that it accepted.
"""

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

from gossip.config import GossipConfig
from gossip.errors import PeerError
from gossip.lease import LeaseHolder, LeaseVoter
from gossip.messages import LeaseGrant, LeaseRelease, LeaseRequest
from gossip.register import (
    Action,
    Change,
    Decided,
    Failed,
    Learned,
    NoMajority,
    Persist,
    Refused,
    Registers,
    Send,
    Timing,
)
from gossip.repair import Repair
from gossip.topology import (
    SHARD_PREFIX,
    SLOTS_REGISTER,
    MemberView,
    ShardView,
    ranges_from_data,
    shard_register,
)
from gossip.voters import VoterPolicy, next_voters
from gossip.votes import VOTERS, MessageError, Plain, Value, VoterSet, decode

ACTIONS_MAX: Final = 16_384
OURS: Final = 0
"""Stands for our own incarnation where our voter and our holder meet: neither outlives this process."""


def _nobody_follows() -> None:
    """Until somebody does."""


def void(actions: list[Action]) -> list[Action]:
    """What is left of actions that were on their way when we left the cluster that they concern. Nobody in
    the next one must hear of them; whoever waits for a decision hears that it counts for nothing.
    """
    left: list[Action] = []
    for action in actions:
        if isinstance(action, Persist | Failed):
            left.append(action)
        elif isinstance(action, Decided):
            refusal = Refused("this member just joined another cluster")
            left.append(Failed(action.proposal_id, action.register, refusal))
    return left


class Voting:
    """One member's registers and leases.

    Args:
        forgot_until_ms: until when leases granted in a previous life may still run, 0 without one.
        now_ms: the time of the event that is being handled: registers ask for our voter's word in the middle
            of a round.
        is_gone: whether we ourselves found a member's port closed.
    """

    def __init__(
        self,
        me: str,
        config: GossipConfig,
        rng: Random,
        forgot_until_ms: int,
        *,
        now_ms: Callable[[], int],
        is_gone: Callable[[str], bool],
    ) -> None:
        self._me = me
        self._config = config
        self._now_ms = now_ms
        self._is_gone = is_gone
        self.registers = Registers(
            me,
            VoterSet(1, (me,)),
            rng,
            timing=Timing(
                round_timeout_ms=config.round_timeout_ms, proposal_timeout_ms=config.propose_timeout_ms
            ),
            may_change=self.may_change,
        )
        self.granted = LeaseVoter(config.lease_ms, forgot_until_ms)
        self._electorate = self.registers.voter_set.voters
        self.held = LeaseHolder(me, config.lease_ms, config.lease_margin_ms, config.beat_ms)
        self.repair = Repair(config.lease_ms, Random(rng.getrandbits(64)))
        self.on_lease: Callable[[], None] = _nobody_follows
        """Called whenever the end of the lease we hold has moved."""
        self._lease_told_ms = 0
        self._actions: list[Action] = []
        self.messages_dropped = 0
        """Register messages given up because the disk was far behind; losing one is allowed."""

    @property
    def voter_set(self) -> VoterSet:
        return self.registers.voter_set

    @property
    def decided(self) -> Mapping[str, Value]:
        """Every decided value that we know, the voter set's own register included."""
        return self.registers.decided

    def next_due_ms(self) -> int | None:
        """When `tick` is next needed."""
        due_ms: int | None = None
        for other_ms in (
            self.registers.wake_ms(),
            self.held.next_due_ms(),
            self.granted.next_silence_ms(),
            self.repair.next_due_ms(),
        ):
            if other_ms is not None and (due_ms is None or other_ms < due_ms):
                due_ms = other_ms
        return due_ms

    def tick(self, now_ms: int) -> None:
        """Let proposals move on, and read what is in doubt. Leases are renewed by `renewals`."""
        wake_ms = self.registers.wake_ms()
        if wake_ms is not None and wake_ms <= now_ms:
            self.queue(self.registers.tick(now_ms))
        if self.held.over(now_ms):
            self.repair.doubt(shard_register(self.held.shard_id), "leaseless", now_ms)
        for register in self.repair.due(now_ms):
            self.queue(self.registers.read(register, now_ms))

    def follow_lease(self, shard_id: str, epoch: int, now_ms: int) -> None:
        """Which shard the registers let us lead ('' for none), and so what to hold a lease for."""
        if self.held.shard_id != shard_id:
            self.repair.settle(shard_register(self.held.shard_id), ("leaseless",))
        self.held.serve(shard_id, epoch, self.voter_set, now_ms)
        self._tell_lease()

    def _tell_lease(self) -> None:
        until_ms = self.held.valid_until_ms
        if until_ms != self._lease_told_ms:
            self._lease_told_ms = until_ms
            self.on_lease()

    # -- registers --------------------------------------------------------------------------------------

    def propose(self, register: str, change: Change, timeout_ms: int | None, *, stops: bool = False) -> int:
        """Begins a proposal; `Decided` or `Failed` with the id returned ends it. See `Registers.propose`."""
        proposal_id, actions = self.registers.propose(
            register, change, self._now_ms(), timeout_ms=timeout_ms, stops=stops
        )
        self.queue(actions)
        return proposal_id

    def go_on(self, proposal_id: int) -> None:
        """With a proposal that stops half-way."""
        self.queue(self.registers.go_on(proposal_id, self._now_ms()))

    def change_voters(self, voters: tuple[str, ...], expected_version: int) -> int:
        """As `propose`, for the voter set; see `Registers.change_voters`."""
        proposal_id, actions = self.registers.change_voters(voters, expected_version, self._now_ms())
        self.queue(actions)
        return proposal_id

    def cancel(self, proposal_id: int) -> None:
        """Nobody waits for its end any more."""
        self.queue(self.registers.cancel(proposal_id, self._now_ms()))

    def hear(self, sender: str, payload: Plain) -> None:
        """A register message.

        Raises:
            PeerError: it is none.
        """
        try:
            self.queue(self.registers.receive(sender, decode(payload), self._now_ms()))
        except MessageError as error:
            raise PeerError("malformed", str(error)) from None

    def learn(self, name: str, value: Value) -> bool:
        """A decided value from elsewhere. True when it was newer than ours.

        Raises:
            MessageError: it cannot be what a register of that name holds.
        """
        actions = self.registers.learn(name, value, self._now_ms())
        self.queue(actions)
        return bool(actions)

    def move_to(self, voters: VoterSet, decided: Mapping[str, Value]) -> None:
        """Leave our own cluster for another; nothing voted or granted here counts there."""
        self._actions = void(self._actions)
        self.granted = LeaseVoter(self._config.lease_ms, 0)
        self.repair.clear()
        actions = self.registers.move_to(voters, decided, self._now_ms())
        self._electorate = voters.voters
        self.queue(actions)

    def restore(self, state: Mapping[str, Plain]) -> None:
        """Take over the registers of our previous run. Raises MessageError: the state is damaged."""
        self.registers.restore(state)
        self._electorate = self.registers.voter_set.voters
        self._review_all()

    def queue(self, actions: list[Action]) -> None:
        """Actions to be carried out in order, behind those already waiting."""
        now_ms = self._now_ms()
        self._note_electorate(now_ms)
        for action in actions:
            if isinstance(action, Persist):
                self._review_all()
            elif isinstance(action, Learned):
                self._review(action.register, now_ms)
            elif isinstance(action, Decided):
                self.repair.settle(action.register, ("unknown",))
            elif isinstance(action, Failed) and isinstance(action.error, NoMajority) and action.error.unknown:
                self.repair.doubt(action.register, "unknown", now_ms)
            if isinstance(action, Send) and len(self._actions) >= ACTIONS_MAX:
                self.messages_dropped += 1
            else:
                self._actions.append(action)

    def actions(self) -> list[Action]:
        """What is to be done, in order. Empties the list."""
        actions, self._actions = self._actions, []
        return actions

    def _review_all(self) -> None:
        """Our voter's memory changed: rare, and small."""
        now_ms = self._now_ms()
        for register in self.registers.acceptor.ledgers:
            self._review(register, now_ms)

    def _review(self, register: str, now_ms: int) -> None:
        ledger = self.registers.acceptor.ledgers.get(register)
        if ledger is None or ledger.accepted is None or register == VOTERS:
            return  # the voter set is looked after by `tend`
        decided = self.registers.decided.get(register)
        if decided is None or decided.version < ledger.accepted.version:
            self.repair.doubt(register, "accepted", now_ms)
        else:
            self.repair.settle(register, ("accepted",))

    def voters_due(
        self, members: Mapping[str, MemberView], gone_since_ms: Mapping[str, int], policy: VoterPolicy
    ) -> tuple[str, ...] | None:
        """The voter set as `policy` has it, if it grows or heals and that is for us to see to: for the voter
        with the lowest id among those alive. Others that think they are it do no harm.
        """
        current = self.voter_set
        usable = [voter for voter in current.everyone() if voter in members and members[voter].usable]
        if not usable or min(usable) != self._me:
            return None
        wanted = next_voters(members, current, gone_since_ms, self._now_ms(), policy)
        return None if wanted == current.voters and not current.joining else wanted

    # -- leases -----------------------------------------------------------------------------------------

    def _note_electorate(self, now_ms: int) -> None:
        """Has the voter set changed? Asked before our voter says anything, too: a request may be the first to
        tell it of the set that is counted. While two sets are joined a majority of the old one is needed,
        which knows what it granted.
        """
        voters = self.registers.voter_set.voters
        if voters != self._electorate:
            self._electorate = voters
            self.granted.voters_changed(now_ms)

    def newest_shard(self, shard_id: str) -> ShardView:
        """The shard as decided or as our voter accepted it, whichever is newer."""
        name = SHARD_PREFIX + shard_id
        newest = self.registers.decided.get(name)
        ledger = self.registers.acceptor.ledgers.get(name)
        accepted = None if ledger is None else ledger.accepted
        if newest is None or (accepted is not None and accepted.version > newest.version):
            newest = accepted
        return ShardView.from_data(shard_id, None if newest is None else newest.data)

    def answer(self, request: LeaseRequest, sender: str, incarnation: int, now_ms: int) -> LeaseGrant:
        """Our voter's answer to a primary, which asked in that incarnation of its."""
        granted_ms = 0
        self._note_electorate(now_ms)
        if self.registers.is_voter:
            shard = self.newest_shard(request.shard_id)
            asked = (incarnation, request.sent_ms)
            granted_ms = self.granted.ask(sender, request.epoch, shard, now_ms, request.lease_ms, asked)
        return LeaseGrant(request.shard_id, request.epoch, request.sent_ms, granted_ms)

    def hear_grant(self, grant: LeaseGrant, sender: str, now_ms: int) -> None:
        if grant.granted_ms > 0:
            self.held.granted(sender, grant.shard_id, grant.epoch, grant.sent_ms, grant.granted_ms, now_ms)
            self._tell_lease()
            if self.held.valid_until_ms > now_ms:
                self.repair.settle(shard_register(self.held.shard_id), ("leaseless",))

    def renewals(self, now_ms: int, slack_ms: int) -> tuple[LeaseRequest, tuple[str, ...]] | None:
        """The request that is due within `slack_ms` and the voters to send it to;
        our own voter has answered already.
        """
        voters = self.held.renewals(now_ms, slack_ms)
        if not voters:
            return None
        request = LeaseRequest(self.held.shard_id, self.held.epoch, now_ms, self.held.lease_ms)
        if self._me in voters:
            self.hear_grant(self.answer(request, self._me, OURS, now_ms), self._me, now_ms)
        return request, tuple(voter for voter in voters if voter != self._me)

    def release(self, now_ms: int) -> LeaseRelease | None:
        """Give our lease up; what to tell the voters, None when there was none."""
        shard_id, epoch = self.held.shard_id, self.held.epoch
        sent_ms = self.held.give_back(now_ms)
        self.follow_lease("", 0, now_ms)
        if not shard_id:
            return None
        self.granted.release(shard_id, self._me, epoch, (OURS, sent_ms), now_ms)
        return LeaseRelease(shard_id, epoch, sent_ms)

    def hear_release(self, release: LeaseRelease, sender: str, incarnation: int, now_ms: int) -> None:
        """A primary gave its lease back. One whose version does not say which grants it means may mean older
        ones than it uses: they run out by themselves."""
        if release.sent_ms >= 0:
            asked = (incarnation, release.sent_ms)
            self.granted.release(release.shard_id, sender, release.epoch, asked, now_ms)

    def may_change(self, register: str, _old: Plain, new: Plain) -> bool | str:
        """Our voter's word on a change: nothing nobody could read, and no new primary while
        another may still be serving by our grant.
        """
        try:
            if register == SLOTS_REGISTER:
                ranges_from_data(new)
                return True
            if not register.startswith(SHARD_PREFIX):
                return f"no register is called {register[:64]!r}"
            shard_id = register.removeprefix(SHARD_PREFIX)
            after = ShardView.from_data(shard_id, new)
        except MessageError as error:
            return str(error)
        now_ms = self._now_ms()
        self._note_electorate(now_ms)
        before = self.newest_shard(shard_id)
        # Whom we granted under an epoch that we have not heard of yet leads by that: what we know of the
        # primary is outdated then.
        unheard = self.granted.holder(shard_id, now_ms, above=before.epoch)
        if before.primary in ("", after.primary) and unheard in ("", after.primary):
            return True
        holder = self.granted.holder(shard_id, now_ms) or before.primary
        wait_ms = self.granted.wait_ms(shard_id, after.primary, now_ms)
        if wait_ms <= 0 or self._is_gone(holder):
            return True
        return (
            f"shard {shard_id} epoch {before.epoch}: the lease of primary {holder} may run {wait_ms} ms more,"
            " and its port was not found closed from here"
        )
