"""Registers: small values that only a majority of the voters can change (CASPaxos, arXiv 1802.07000).

A register has no log and no leader. To change one, any member picks a ballot, asks the voters to *promise*
it (learning the highest accepted value on the way), applies its change to that value, and asks them to
*accept* the successor. Whatever a majority accepted is decided for ever; every later round finds it, because
two majorities share a voter. Each value carries a version, its successor the next one.

    proposer                         voter (each)
      | -- prepare(ballot) ----------> | promised := ballot, persist
      | <- promise(accepted so far) -- |
      |  new = change(highest accepted)
      | -- accept(ballot, new) ------> | accepted := new, persist       (declined: may_change said no)
      | <- accepted ------------------ |
      v decided: told to gossip as `Learned`, to the asker as `Decided`

Sans-IO: `Registers` is one member's voter and proposer together. Every call returns actions *to be carried
out in order*: when a `Persist` fails, nothing after it may leave and the object must not be used again
(memory is then ahead of the disk). Messages to ourselves never show up as actions, so a cluster of one needs
no network.

**Changing the voters.** A set and its successor are joined for a while: as long as the register `voters`
names both, every quorum is a majority of each. The change runs through three steps, each of which may be
taken up by somebody else when its driver dies:

    {voters: old, joining: new}   decided by the quorum of `old`
    every register is read and written again under that joint set, so a majority of `new` holds it
    {voters: new, joining: ()}    decided by the joint quorum

Version n+1 of `voters` is an instance of single-decree Paxos among the set of version n. A voter that has
seen set n refuses requests that count majorities of an earlier one and says so (`Stale`), which is what makes
the second step final: the majority of `old` that answered the inventory will never again help a round that
ignores `new`. Rejected: CASPaxos's own recipe, which adds one acceptor at a time with unequal quorums. It
cannot grow from one voter to three without passing through a set of two that is lost with either.

A lost disk is harmless (a new member id, so a new member). An old copy put back in its place would break
promises: `serial` counts what was promised, everybody remembers the highest that a member told (detector.py),
and one that comes back below it is stopped.
"""

from __future__ import annotations

import random as random_module
from collections import deque
from collections.abc import Callable, Mapping

from gossip.acceptor import Acceptor, MayChange, always
from gossip.proposal import (
    BALLOTS_RESERVED,
    COPIES_AT_ONCE,
    EVENTS,
    INVENTORY,
    PROPOSALS_MAX,
    TABLE,
    Action,
    Change,
    Decided,
    Failed,
    Learned,
    NoMajority,
    Persist,
    Promised,
    Proposal,
    Refused,
    RegisterError,
    Send,
    Timing,
    VoterChange,
)
from gossip.votes import (
    VOTERS,
    VOTERS_MAX,
    ZERO_BALLOT,
    Accept,
    Accepted,
    Ballot,
    Conflict,
    Declined,
    ListNames,
    Message,
    MessageError,
    Names,
    Plain,
    Prepare,
    Promise,
    Reply,
    Request,
    Stale,
    Value,
    VoterSet,
    freeze,
)

__all__ = [  # the whole vocabulary of deciding, from one place
    "INVENTORY", "PROPOSALS_MAX", "TABLE",
    "Action", "Change", "Decided", "Failed", "Learned", "NoMajority", "Persist", "Promised", "Proposal",
    "Refused", "RegisterError", "Registers", "Send", "Timing",
]  # fmt: skip


class Registers:
    """One member's part in deciding: its voter, its proposals, and the decided values it knows.

    Args:
        member_id: ours; drawn afresh when no state file exists, so a lost disk means a new member.
        voter_set: what this member starts from: itself alone, or what it was told on joining.
        random: seeded source for back-off.
        may_change: asked by our voter before it accepts a change (leases).
    """

    def __init__(
        self,
        member_id: str,
        voter_set: VoterSet,
        random: random_module.Random,
        *,
        timing: Timing | None = None,
        may_change: MayChange = always,
    ) -> None:
        self.member_id = member_id
        self.timing = timing or Timing()
        self.acceptor = Acceptor(voter_set, may_change)
        self.decided: dict[str, Value] = {VOTERS: voter_set.as_value()}
        self.serial = 0
        """How often a promise, or a reservation of ballots, had to go to disk in all our lives."""
        self.accepted_by: dict[str, tuple[str, ...]] = {}
        """By register: whose votes decided the last change of ours, for those who tell of it."""
        self._random = random
        self._counter = 0
        self._counter_reserved = 0
        self._next_id = 1
        self._active: dict[str, Proposal] = {}
        self._waiting: dict[str, deque[Proposal]] = {}
        self._voter_change: VoterChange | None = None
        self._actions: list[Action] = []
        self._to_self: deque[Message] = deque()

    # -- what others ask us

    @property
    def voter_set(self) -> VoterSet:
        return self.acceptor.voter_set

    @property
    def is_voter(self) -> bool:
        return self.member_id in self.voter_set.everyone()

    @property
    def proposal_count(self) -> int:
        return len(self._active) + sum(len(queue) for queue in self._waiting.values())

    def wake_ms(self) -> int | None:
        """When `tick` wants to be called next, if ever."""
        if not self._active:
            return None
        return min(proposal.wake_ms for proposal in self._active.values())

    def propose(
        self,
        register: str,
        change: Change,
        now_ms: int,
        *,
        timeout_ms: int | None = None,
        stops: bool = False,
    ) -> tuple[int, list[Action]]:
        """Starts a change of a register. Ends with `Decided` or `Failed` for the returned id.

        Proposals of one member for one register run one after the other: it would only compete with itself.

        Args:
            stops: it goes as far as the promises of a quorum, says `Promised` and waits for `go_on`: for a
                change that has a cost from then on. Nothing is decided before, and whoever proposes something
                else meanwhile wins.
        """
        if register in (VOTERS, INVENTORY):
            raise ValueError(f"'{register}' is not changed by a plain proposal; use change_voters")
        proposal = self._new_proposal(register, change, self._deadline(now_ms, timeout_ms))
        proposal.stops = stops
        self._enqueue(proposal, now_ms)
        return proposal.id, self._finish(now_ms)

    def go_on(self, proposal_id: int, now_ms: int) -> list[Action]:
        """A proposal that stops half-way goes on to its end, by way of new promises should it have to."""
        for proposal in list(self._active.values()):
            if proposal.id == proposal_id:
                proposal.stops = False
                if proposal.state == "promised":
                    self._ask_to_accept(proposal, now_ms)
        return self._finish(now_ms)

    def read(self, register: str, now_ms: int) -> list[Action]:
        """Finds out what is decided, settling what a majority accepted and nobody learned (see repair.py).

        Nobody waits for it: a `Decided` or `Failed` comes of it, under an id of its own. While a proposal for
        that register runs here it does nothing, and it gives way to one that comes later.
        """
        if register not in self._active:
            proposal = self._new_proposal(register, lambda data: data, self._deadline(now_ms, None))
            proposal.gives_way = True
            self._enqueue(proposal, now_ms)
        return self._finish(now_ms)

    def change_voters(
        self, voters: tuple[str, ...], expected_version: int, now_ms: int, *, timeout_ms: int | None = None
    ) -> tuple[int, list[Action]]:
        """Starts, or takes up, the change of the voter set to `voters`.

        Args:
            expected_version: of the set that the wish was derived from; `Refused` if another came first.
        """
        if not voters or len(voters) > VOTERS_MAX or len(frozenset(voters)) != len(voters):
            raise ValueError(f"a voter set has 1 to {VOTERS_MAX} different members")
        change_id = self._take_id()
        deadline_ms = self._deadline(now_ms, timeout_ms)
        if self._voter_change is not None:
            error = Refused("a change of the voter set is under way here already")
            self._actions.append(Failed(change_id, VOTERS, error))
            return change_id, self._finish(now_ms)
        change = VoterChange(change_id, voters, expected_version, deadline_ms)
        self._voter_change = change
        first = self._new_proposal(VOTERS, lambda data: self._to_joint(change, data), deadline_ms)
        first.part_of = change
        self._enqueue(first, now_ms)
        return change_id, self._finish(now_ms)

    def cancel(self, proposal_id: int, now_ms: int) -> list[Action]:
        """Forgets a proposal nobody waits for; it may be decided nevertheless. Voter changes run on."""
        for register, queue in list(self._waiting.items()):
            self._waiting[register] = deque(item for item in queue if item.id != proposal_id)
        for proposal in list(self._active.values()):
            if proposal.id == proposal_id and proposal.part_of is None:
                self._next_in_queue(proposal, now_ms)
        return self._finish(now_ms)

    def receive(self, sender: str, message: Message, now_ms: int) -> list[Action]:
        """A message from another member (authenticated by the shell: `sender` is who it says)."""
        self._dispatch(sender, message, now_ms)
        return self._finish(now_ms)

    def tick(self, now_ms: int) -> list[Action]:
        """Lets due proposals move on."""
        for proposal in list(self._active.values()):
            if proposal.wake_ms <= now_ms and self._active.get(proposal.register) is proposal:
                self._apply(proposal, "timer", self.member_id, None, now_ms)
        return self._finish(now_ms)

    def learn(self, register: str, value: Value, now_ms: int) -> list[Action]:
        """A decided value that came by gossip; adopted when newer than ours."""
        self._learn(register, value)
        return self._finish(now_ms)

    def move_to(self, voter_set: VoterSet, decided: Mapping[str, Value], now_ms: int) -> list[Action]:
        """Leaves our own cluster for another (joining): everything voted on here is void there.

        The caller vouches that we own nothing that our old registers decide about.
        """
        ended = [*self._active.values(), *(each for queue in self._waiting.values() for each in queue)]
        self._active.clear()
        self._waiting.clear()  # first: none may begin as the one before it ends, with the old voters
        for proposal in ended:
            self._end(proposal, Refused("this member just joined another cluster"), now_ms)
        self._voter_change = None
        self.acceptor.ledgers.clear()
        self.acceptor.voter_set = voter_set
        self.decided = {VOTERS: voter_set.as_value()}
        for register in sorted(decided):
            self._learn(register, decided[register])
        self._persist()
        return self._finish(now_ms)

    def durable_state(self) -> dict[str, Plain]:
        """Plain data for the state file; `restore` takes it back."""
        return {
            "acceptor": self.acceptor.durable_state(),
            "counter_reserved": self._counter_reserved,
            "serial": self.serial,
            "decided": {register: value.to_wire() for register, value in self.decided.items()},
        }

    def restore(self, state: Mapping[str, Plain]) -> None:
        """Takes over the state of our previous run.

        Raises:
            MessageError: it is not what `durable_state` gave.
        """
        acceptor, decided = state.get("acceptor"), state.get("decided")
        reserved, serial = state.get("counter_reserved"), state.get("serial", 0)
        if not isinstance(acceptor, Mapping) or not isinstance(decided, Mapping):
            raise MessageError("the registers' state is damaged: no acceptor or no decided values")
        if not isinstance(reserved, int) or reserved < 0:
            raise MessageError("the registers' state is damaged: no ballot counter")
        if not isinstance(serial, int) or serial < 0:
            raise MessageError("the registers' state is damaged: no serial")
        self.serial = serial
        self.acceptor.restore(acceptor)
        # Numbers up to the reservation may be in flight in messages of our previous life.
        self._counter = self._counter_reserved = reserved
        self.decided = {register: Value.from_wire(item) for register, item in decided.items()}
        self.decided[VOTERS] = self.acceptor.voter_set.as_value()

    # -- rounds

    def _persist(self) -> None:
        self.serial += 1
        self._actions.append(Persist())

    def _finish(self, now_ms: int) -> list[Action]:
        while self._to_self:
            self._dispatch(self.member_id, self._to_self.popleft(), now_ms)
        actions, self._actions = self._actions, []
        return actions

    def _dispatch(self, sender: str, message: Message, now_ms: int) -> None:
        if isinstance(message, Request):
            before = self.voter_set
            reply, changed = self.acceptor.handle(message, self.decided.get(message.register))
            if changed:
                self._persist()
            if self.voter_set is not before:
                self._note_voter_set()
            self._send(sender, reply)
            return
        proposal = self._active.get(message.register)
        if not isinstance(message, Reply) or proposal is None or message.ballot != proposal.ballot:
            return  # an answer to a round that is over
        if sender not in proposal.voter_set.everyone():
            return
        self._apply(proposal, EVENTS[type(message)], sender, message, now_ms)

    def _apply(self, proposal: Proposal, event: str, sender: str, reply: Reply | None, now_ms: int) -> None:
        handler: Callable[[Proposal, str, Reply | None, int], None] = getattr(
            self, f"_on_{TABLE[proposal.state, event]}"
        )
        handler(proposal, sender, reply, now_ms)

    def _on_ignore(self, proposal: Proposal, sender: str, reply: Reply | None, now_ms: int) -> None:
        pass

    def _on_start(self, proposal: Proposal, _sender: str, _reply: Reply | None, now_ms: int) -> None:
        """A new round with a ballot nobody has seen."""
        if now_ms >= proposal.deadline_ms:
            self._give_up(proposal, now_ms)
            return
        ours = self.acceptor.ledgers.get(proposal.register)
        if ours is not None:  # else our own voter would turn us down
            self._counter = max(self._counter, ours.promised.counter)
        self._counter += 1
        if self._counter > self._counter_reserved:
            self._counter_reserved = self._counter + BALLOTS_RESERVED
            self._persist()
        proposal.ballot = Ballot(self._counter, self.member_id)
        proposal.voter_set = self.voter_set
        proposal.replies, proposal.against = {}, {}
        proposal.value, proposal.adopted = None, False
        proposal.attempts += 1
        proposal.wake_ms = self._round_end(proposal, now_ms)
        request: Request
        if proposal.register == INVENTORY:
            proposal.state = "listing"
            request = ListNames(INVENTORY, proposal.ballot, proposal.voter_set)
        else:
            proposal.state = "preparing"
            request = Prepare(proposal.register, proposal.ballot, proposal.voter_set)
        for member in proposal.voter_set.everyone():
            self._send(member, request)

    def _on_count_promise(self, proposal: Proposal, sender: str, reply: Reply | None, now_ms: int) -> None:
        assert isinstance(reply, Promise)
        proposal.replies[sender] = reply
        if not proposal.voter_set.has_quorum(proposal.replies):
            return
        if proposal.stops:
            proposal.state, proposal.wake_ms = "promised", proposal.deadline_ms
            self._actions.append(Promised(proposal.id))
        else:
            self._ask_to_accept(proposal, now_ms)

    def _ask_to_accept(self, proposal: Proposal, now_ms: int) -> None:
        base = self._highest_accepted(proposal)
        try:
            successor = self._successor(proposal, base)
        except Refused as refusal:
            self._fail(proposal, refusal, now_ms)
            return
        if successor is None:
            self._decide(proposal, base, now_ms)
            return
        proposal.value = successor
        proposal.state = "accepting"
        proposal.replies, proposal.against = {}, {}
        proposal.unknown = True
        proposal.wake_ms = self._round_end(proposal, now_ms)
        for member in proposal.voter_set.everyone():
            self._send(member, Accept(proposal.register, proposal.ballot, proposal.voter_set, successor))

    def _highest_accepted(self, proposal: Proposal) -> Value:
        """The value under the highest ballot among the promises: anything decided is that or older."""
        best_ballot, best = ZERO_BALLOT, Value(0, None)
        for promise in proposal.replies.values():
            assert isinstance(promise, Promise)
            if promise.accepted is None or promise.accepted_ballot is None:
                continue
            if promise.accepted_ballot > best_ballot:
                best_ballot, best = promise.accepted_ballot, promise.accepted
        return best

    def _successor(self, proposal: Proposal, base: Value) -> Value | None:
        """What to have accepted in this round; None if there is nothing to write and the base is decided."""
        if proposal.register == VOTERS:
            current = proposal.voter_set.as_value()
            if base.version == current.version + 1:
                proposal.adopted = True
                return base
            data = freeze(proposal.change(current.data))
            return None if data == current.data else Value(current.version + 1, data)
        data = freeze(proposal.change(base.data))
        if data != base.data:
            return Value(base.version + 1, data)
        if base.version == 0 or (base == self.decided.get(proposal.register) and not proposal.must_write):
            return None
        return base  # unchanged, but perhaps accepted by a minority only: writing it again settles it

    def _on_count_accepted(self, proposal: Proposal, sender: str, reply: Reply | None, now_ms: int) -> None:
        assert isinstance(reply, Accepted)
        assert proposal.value is not None
        proposal.replies[sender] = reply
        if not proposal.voter_set.has_quorum(proposal.replies):
            return
        if not proposal.adopted:
            self._decide(proposal, proposal.value, now_ms)
            return
        self._learn(VOTERS, proposal.value)  # somebody else's instance is complete; now ours, on top
        self._on_start(proposal, self.member_id, None, now_ms)

    def _on_count_names(self, proposal: Proposal, sender: str, reply: Reply | None, now_ms: int) -> None:
        assert isinstance(reply, Names)
        proposal.replies[sender] = reply
        if proposal.voter_set.has_quorum(proposal.replies):
            names: set[str] = set()
            for answer in proposal.replies.values():
                assert isinstance(answer, Names)
                names.update(answer.names)
            self._decide(proposal, Value(proposal.voter_set.version, tuple(sorted(names - {VOTERS}))), now_ms)

    def _on_count_against(self, proposal: Proposal, sender: str, reply: Reply | None, now_ms: int) -> None:
        """One voter will not help this round. Go on while the others can still make a quorum."""
        self._note(proposal, sender, reply)
        able = [member for member in proposal.voter_set.everyone() if member not in proposal.against]
        if not proposal.voter_set.has_quorum(able):
            self._on_rest(proposal, sender, reply, now_ms)
        elif isinstance(reply, Declined):
            # Likely what we want to replace is among the silent, and the lease that it holds ends any moment.
            patience_ms = self.timing.declined_timeout_ms * min(proposal.attempts, 8)
            proposal.wake_ms = min(proposal.wake_ms, now_ms + patience_ms)

    def _on_note_ballot(self, proposal: Proposal, sender: str, reply: Reply | None, _now_ms: int) -> None:
        self._note(proposal, sender, reply)

    def _note(self, proposal: Proposal, sender: str, reply: Reply | None) -> None:
        if isinstance(reply, Conflict):
            self._counter = max(self._counter, reply.promised.counter)
            reason = f"promised to {reply.promised.member_id[:8]}"
        else:
            assert isinstance(reply, Declined)
            reason = reply.reason
        proposal.against[sender] = proposal.reasons[sender] = reason

    def _on_renew(self, proposal: Proposal, sender: str, reply: Reply | None, now_ms: int) -> None:
        """Our voter set is outdated: take the one we are shown and begin again at once."""
        assert isinstance(reply, Stale)
        self._learn(VOTERS, reply.voter_set.as_value())
        if self.voter_set.version > proposal.voter_set.version:
            self._on_start(proposal, sender, reply, now_ms)
        else:  # same version, other content: that voter is of another cluster
            proposal.reasons[sender] = f"answers for another voter set {reply.voter_set.version}"

    def _on_rest(self, proposal: Proposal, _sender: str, _reply: Reply | None, now_ms: int) -> None:
        if now_ms >= proposal.deadline_ms:
            self._give_up(proposal, now_ms)
            return
        span_ms = min(
            self.timing.backoff_cap_ms, self.timing.backoff_floor_ms << min(proposal.attempts - 1, 16)
        )
        proposal.state = "resting"
        proposal.wake_ms = min(now_ms + 1 + round(span_ms * self._random.random()), proposal.deadline_ms)

    # -- how proposals begin and end

    def _deadline(self, now_ms: int, timeout_ms: int | None) -> int:
        return now_ms + (self.timing.proposal_timeout_ms if timeout_ms is None else timeout_ms)

    def _round_end(self, proposal: Proposal, now_ms: int) -> int:
        """Later attempts wait longer: perhaps it was not loss but a network slower than we thought."""
        return min(now_ms + self.timing.round_timeout_ms * min(proposal.attempts, 8), proposal.deadline_ms)

    def _take_id(self) -> int:
        self._next_id += 1
        return self._next_id - 1

    def _new_proposal(self, register: str, change: Change, deadline_ms: int) -> Proposal:
        return Proposal(self._take_id(), register, change, deadline_ms)

    def _enqueue(self, proposal: Proposal, now_ms: int) -> None:
        running = self._active.get(proposal.register)
        if running is not None and running.gives_way:
            del self._active[proposal.register]
        if self.proposal_count >= PROPOSALS_MAX:
            error = Refused(f"this member already has {PROPOSALS_MAX} changes under way; try again later")
            self._end(proposal, error, now_ms)
        elif proposal.register in self._active:
            self._waiting.setdefault(proposal.register, deque()).append(proposal)
        else:
            self._active[proposal.register] = proposal
            self._on_start(proposal, self.member_id, None, now_ms)

    def _give_up(self, proposal: Proposal, now_ms: int) -> None:
        error = NoMajority(
            proposal.register,
            proposal.voter_set,
            proposal.replies,
            proposal.reasons,
            unknown=proposal.unknown,
        )
        self._fail(proposal, error, now_ms)

    def _decide(self, proposal: Proposal, value: Value, now_ms: int) -> None:
        if proposal.register not in (VOTERS, INVENTORY) and value.version > 0:
            self._learn(proposal.register, value)
        elif proposal.register == VOTERS and proposal.value is not None:
            self._learn(VOTERS, value)
        if proposal.state == "accepting":
            self.accepted_by[proposal.register] = tuple(sorted(proposal.replies))
        self._next_in_queue(proposal, now_ms)
        if proposal.part_of is None:
            self._actions.append(Decided(proposal.id, proposal.register, value))
        else:
            self._advance_voter_change(proposal.part_of, proposal, value, now_ms)

    def _fail(self, proposal: Proposal, error: RegisterError, now_ms: int) -> None:
        self._next_in_queue(proposal, now_ms)
        self._end(proposal, error, now_ms)

    def _end(self, proposal: Proposal, error: RegisterError, _now_ms: int) -> None:
        change = proposal.part_of
        if change is None:
            self._actions.append(Failed(proposal.id, proposal.register, error))
        elif self._voter_change is change:  # its other copies may end later; the first error is the answer
            self._voter_change = None
            self._actions.append(Failed(change.id, VOTERS, error))

    def _next_in_queue(self, proposal: Proposal, now_ms: int) -> None:
        self._active.pop(proposal.register, None)
        queue = self._waiting.get(proposal.register)
        if not queue:
            self._waiting.pop(proposal.register, None)
            return
        following = queue.popleft()
        self._active[proposal.register] = following
        self._on_start(following, self.member_id, None, now_ms)

    def _learn(self, register: str, value: Value) -> None:
        if register == VOTERS:
            if self.acceptor.learn_voter_set(VoterSet.from_value(value)):
                self._persist()
                self._note_voter_set()
            return
        known = self.decided.get(register)
        if known is None or value.version > known.version:
            self.decided[register] = value
            self._actions.append(Learned(register, value))

    def _note_voter_set(self) -> None:
        value = self.voter_set.as_value()
        self.decided[VOTERS] = value
        self._actions.append(Learned(VOTERS, value))

    def _send(self, to: str, message: Message) -> None:
        if to == self.member_id:
            self._to_self.append(message)
        else:
            self._actions.append(Send(to, message))

    # -- changing the voter set

    def _to_joint(self, change: VoterChange, data: Plain) -> Plain:
        current = self.voter_set
        assert isinstance(data, Mapping)
        if current.joining == change.target or (not current.joining and current.voters == change.target):
            return data  # taken up half-way, or done already
        if current.joining:
            raise Refused(f"the voter set is changing already (set {current.version})")
        if current.version != change.expected_version:
            raise Refused(f"the voter set is {current.version} by now, expected {change.expected_version}")
        return {"voters": current.voters, "joining": change.target}

    def _to_final(self, change: VoterChange, data: Plain) -> Plain:
        current = self.voter_set
        if current.version == change.joint_version:
            return {"voters": current.joining, "joining": ()}
        if not current.joining and current.voters == change.target:
            return data  # somebody else completed it
        raise Refused(f"the voter set is {current.version} by now, expected {change.joint_version}")

    def _advance_voter_change(self, change: VoterChange, done: Proposal, value: Value, now_ms: int) -> None:
        if self._voter_change is not change:
            return  # failed already by another of its parts
        if done.register == VOTERS:
            if not self.voter_set.joining:
                self._voter_change = None
                self._actions.append(Decided(change.id, VOTERS, self.voter_set.as_value()))
                return
            change.joint_version = self.voter_set.version
            self._add_part(change, INVENTORY, lambda data: data, now_ms)
            return
        if done.register == INVENTORY:
            assert isinstance(value.data, tuple)
            change.names_left = [name for name in value.data if isinstance(name, str)]
        else:
            change.copies_running -= 1
        while change.names_left and change.copies_running < COPIES_AT_ONCE and self._voter_change is change:
            change.copies_running += 1
            self._add_part(change, change.names_left.pop(), lambda data: data, now_ms)
        if not change.names_left and change.copies_running == 0 and self._voter_change is change:
            self._add_part(change, VOTERS, lambda data: self._to_final(change, data), now_ms)

    def _add_part(self, change: VoterChange, register: str, function: Change, now_ms: int) -> None:
        part = self._new_proposal(register, function, change.deadline_ms)
        part.part_of = change
        part.must_write = True
        self._enqueue(part, now_ms)
