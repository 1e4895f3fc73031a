"""Registers under schedules that lose, duplicate, reorder and crash: one value a version, none forgotten."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Mapping
from dataclasses import replace

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.acceptor import Acceptor
from gossip.register import (
    INVENTORY,
    PROPOSALS_MAX,
    TABLE,
    Action,
    Decided,
    Failed,
    Learned,
    NoMajority,
    Persist,
    Promised,
    Proposal,
    Refused,
    Registers,
    Send,
    Timing,
)
from gossip.votes import (
    VOTERS,
    Accept,
    Accepted,
    Ballot,
    Conflict,
    Declined,
    ListNames,
    MessageError,
    Names,
    Plain,
    Prepare,
    Promise,
    Stale,
    Value,
    VoterSet,
    decode,
    freeze,
)

Key = tuple[str, int, int]


class Violation(AssertionError):
    """The checker found what must never be."""


class World:
    """Members, their disks and a bad network under one event heap and one seed."""

    def __init__(
        self, seed: int, count: int, *, voters: int | None = None, make: Callable[..., Registers] = Registers
    ) -> None:
        self.random = random.Random(seed)
        self.make = make
        self.now_ms = 0
        self.ids = [f"{number:040x}" for number in range(1, count + 1)]
        self.voter_set = VoterSet(1, tuple(self.ids[: voters or count]))
        self.disks: dict[str, bytes] = {}
        self.up: dict[str, Registers] = {}
        self.lives: dict[str, int] = {}  # proposal ids begin anew with every life
        self.heap: list[tuple[int, int, str, str, bytes]] = []
        self.order = itertools.count()
        self.loss = self.duplication = 0.0
        self.delay_ms = (1, 20)
        self.crash = 0.0
        self.cut: set[str] = set()
        self.history: dict[tuple[str, int], Plain] = {}
        self.outcomes: dict[Key, Decided | Failed] = {}
        self.half_way: dict[Key, None] = {}  # proposals that wait to be told to go on
        self.tags: dict[Key, str] = {}
        for member in self.ids:
            self.start(member)

    def start(self, member: str) -> None:
        registers = self.make(member, self.voter_set, random.Random(self.random.random()))
        if member in self.disks:
            registers.restore(msgpack.unpackb(self.disks[member], use_list=False))
        self.up[member] = registers
        self.lives[member] = self.lives.get(member, 0) + 1

    def stop(self, member: str) -> None:
        del self.up[member]

    def record(self, register: str, value: Value) -> None:
        known = self.history.setdefault((register, value.version), value.data)
        if known != value.data:
            raise Violation(f"{register} version {value.version} decided as {known} and as {value.data}")

    def perform(self, member: str, actions: list[Action]) -> None:
        for action in actions:
            if self.crash and self.random.random() < self.crash:
                self.stop(member)
                return
            if isinstance(action, Persist):
                self.disks[member] = msgpack.packb(self.up[member].durable_state())
            elif isinstance(action, Send):
                self.post(member, action)
            elif isinstance(action, Learned):
                self.record(action.register, action.value)
            elif isinstance(action, Decided):
                if action.value.version:  # else a read of what was never written
                    self.record(action.register, action.value)
                self.outcomes[self.key(member, action.proposal_id)] = action
            elif isinstance(action, Promised):
                self.half_way[self.key(member, action.proposal_id)] = None
            else:
                self.outcomes[self.key(member, action.proposal_id)] = action

    def post(self, sender: str, action: Send) -> None:
        copies = 1 + (self.random.random() < self.duplication)
        for _ in range(copies):
            if self.random.random() >= self.loss:
                at_ms = self.now_ms + self.random.randint(*self.delay_ms)
                wire = msgpack.packb(action.message.to_wire())
                heapq.heappush(self.heap, (at_ms, next(self.order), sender, action.to, wire))

    def key(self, member: str, number: int) -> Key:
        return member, self.lives[member], number

    def propose(self, member: str, tag: str, register: str = "r", *, stops: bool = False) -> Key:
        def change(data: Plain) -> Plain:
            held = data if isinstance(data, tuple) else ()
            return held if tag in held else (*held, tag)

        number, actions = self.up[member].propose(register, change, self.now_ms, stops=stops)
        key = self.key(member, number)
        self.tags[key] = tag
        self.perform(member, actions)
        return key

    def go_on(self, key: Key) -> None:
        """With a proposal that stopped half-way; too late when its member has died since."""
        self.half_way.pop(key, None)
        member, life, number = key
        if member in self.up and self.lives[member] == life:
            self.perform(member, self.up[member].go_on(number, self.now_ms))

    def gossip(self, member: str) -> None:
        """Everybody hears what this member knows to be decided."""
        for other in sorted(self.up):
            for register, value in self.up[member].decided.items():
                self.perform(other, self.up[other].learn(register, value, self.now_ms))

    def step(self) -> None:
        """To the next event: a message arrives or a timer fires."""
        wakes = [
            (wake_ms, member)
            for member, registers in self.up.items()
            if (wake_ms := registers.wake_ms()) is not None
        ]
        next_wake = min(wakes, default=None)
        if self.heap and (next_wake is None or self.heap[0][0] <= next_wake[0]):
            at_ms, _, sender, to, wire = heapq.heappop(self.heap)
            self.now_ms = max(self.now_ms, at_ms)
            if to in self.up and to not in self.cut and sender not in self.cut:
                message = decode(msgpack.unpackb(wire, use_list=False))
                self.perform(to, self.up[to].receive(sender, message, self.now_ms))
        elif next_wake is not None:
            self.now_ms = max(self.now_ms, next_wake[0])
            self.perform(next_wake[1], self.up[next_wake[1]].tick(self.now_ms))

    def run_until(self, done: Callable[[], bool], limit: int = 20_000) -> None:
        for _ in range(limit):
            if done():
                return
            if not self.heap and all(registers.wake_ms() is None for registers in self.up.values()):
                assert done(), "nothing left to happen"
            self.step()
        raise AssertionError("no progress within the limit")

    def settle(self, *keys: Key) -> list[Decided | Failed]:
        self.run_until(lambda: all(key in self.outcomes for key in keys))
        return [self.outcomes[key] for key in keys]

    def heal(self) -> None:
        self.loss = self.duplication = self.crash = 0.0
        self.cut = set()
        self.delay_ms = (1, 20)
        for member in self.ids:
            if member not in self.up:
                self.start(member)

    def check(self) -> None:
        """Versions without gaps from their first, each holding all that was acknowledged before it."""
        for register in sorted({name for name, _ in self.history} - {VOTERS}):
            versions = sorted(version for name, version in self.history if name == register)
            previous: tuple[Plain, ...] = ()
            for version in versions:
                data = self.history[register, version]
                assert isinstance(data, tuple)
                if data[: len(previous)] != previous:
                    raise Violation(f"{register} version {version} forgot {previous} and is {data}")
                previous = data
            for key, outcome in self.outcomes.items():
                if outcome.register != register or key not in self.tags:  # no tag: a read of nobody's
                    continue
                if isinstance(outcome, Decided) and self.tags[key] not in previous:
                    raise Violation(f"acknowledged {self.tags[key]} is missing from {previous}")
                error = outcome.error if isinstance(outcome, Failed) else None
                if isinstance(error, NoMajority) and not error.unknown and self.tags[key] in previous:
                    raise Violation(f"{self.tags[key]} was reported as not applied")


def rough_weather(world: World, rounds: int, *, voter_changes: bool = False) -> None:
    """Proposals from everywhere while messages vanish and members crash; then calm, and progress."""
    rng = world.random
    world.loss, world.duplication = rng.choice([0.0, 0.1, 0.3]), rng.choice([0.0, 0.2])
    world.crash = rng.choice([0.0, 0.002, 0.02])
    world.delay_ms = (1, rng.choice([5, 50, 400]))
    for number in range(rounds):
        for _ in range(rng.randint(0, 30)):
            world.step()
        for key in [key for key in world.half_way if rng.random() < 0.5]:
            world.go_on(key)
        down = [member for member in world.ids if member not in world.up]
        if down and rng.random() < 0.6:
            world.start(rng.choice(down))
        if not world.up:
            continue
        member = rng.choice(sorted(world.up))
        draw = rng.random()
        if draw < 0.1:
            world.stop(member)
        elif draw < 0.2:
            world.cut = set(rng.sample(world.ids, rng.randint(0, len(world.ids) // 2)))
        elif draw < 0.35 and voter_changes:
            size = rng.choice([1, 3, 3, 5])
            target = tuple(sorted(rng.sample(world.ids, min(size, len(world.ids)))))
            registers = world.up[member]
            if registers.voter_set.joining:
                target = registers.voter_set.joining
            _, actions = registers.change_voters(target, registers.voter_set.version, world.now_ms)
            world.perform(member, actions)
        elif draw < 0.45:
            world.perform(member, world.up[member].read(rng.choice(["r", "s"]), world.now_ms))
        else:
            world.propose(member, f"{number}", rng.choice(["r", "s"]), stops=rng.random() < 0.2)
    world.heal()
    settled = []
    for register in ("r", "s"):
        for attempt in range(5):
            key = world.propose(rng.choice(world.ids), f"last-{register}-{attempt}", register)
            if isinstance(world.settle(key)[0], Decided):
                settled.append(register)
                break
    world.check()
    assert settled == ["r", "s"], "healed, yet no progress"


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.sampled_from([1, 2, 3, 3, 5, 7]))
def test_one_value_per_version_in_rough_weather(seed: int, count: int) -> None:
    rough_weather(World(seed, count), 40)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), voters=st.sampled_from([1, 3]))
def test_voter_sets_change_in_rough_weather(seed: int, voters: int) -> None:
    rough_weather(World(seed, 6, voters=voters), 60, voter_changes=True)


# -- planted bugs: the checker has to find each --------------------------------------------------------------


class ForgetsPromises(Registers):
    """A voter that answers before its disk has it, and loses it all in a crash."""

    def durable_state(self) -> dict[str, Plain]:
        acceptor = Acceptor(self.voter_set).durable_state()
        return {**super().durable_state(), "acceptor": acceptor}


class IgnoresAccepted(Registers):
    """A proposer that builds on what it believes, not on the highest accepted value."""

    def _highest_accepted(self, proposal: Proposal) -> Value:
        return self.decided.get(proposal.register, Value(0, None))


class RepeatsBallots(Registers):
    """A proposer that starts counting from the beginning after a restart, while others count on."""

    def restore(self, state: Mapping[str, Plain]) -> None:
        super().restore(state)
        self._counter = 0
        self._counter_reserved = 0
        for ledger in self.acceptor.ledgers.values():
            if ledger.promised.member_id == self.member_id:
                ledger.promised = replace(ledger.promised, counter=0)


class SkipsCopying(Registers):
    """A change of voters that leaves the registers' values behind."""

    def _on_count_names(self, proposal, sender, reply, now_ms):  # type: ignore[no-untyped-def]
        super()._on_count_names(proposal, sender, Names(reply.register, reply.ballot, ()), now_ms)


def seeds_until_found(make: Callable[..., Registers], *, voter_changes: bool, limit: int) -> int:
    for seed in range(limit):
        world = World(seed, 6 if voter_changes else 3, voters=3 if voter_changes else None, make=make)
        try:
            rough_weather(world, 60, voter_changes=voter_changes)
        except Violation:
            return seed
        except AssertionError:
            continue  # stuck is not what we look for here
    pytest.fail(f"{make.__name__} was not found within {limit} seeds")


@pytest.mark.parametrize("make", [ForgetsPromises, IgnoresAccepted, RepeatsBallots])
def test_planted_bug_is_found(make: Callable[..., Registers]) -> None:
    assert seeds_until_found(make, voter_changes=False, limit=300) < 300


def test_planted_bug_in_voter_change_is_found() -> None:
    assert seeds_until_found(SkipsCopying, voter_changes=True, limit=300) < 300


# -- plain behaviour -----------------------------------------------------------------------------------------


def accepted_by_a_majority_and_learned_by_nobody() -> World:
    """The first member's proposal reached two other voters, then it was cut off."""
    world = World(1, 5)
    world.propose(world.ids[0], "a")

    def accepted() -> int:
        ledgers = [registers.acceptor.ledgers.get("r") for registers in world.up.values()]
        return sum(ledger is not None and ledger.accepted is not None for ledger in ledgers)

    world.run_until(lambda: accepted() == 3)
    world.cut = {world.ids[0]}
    world.run_until(lambda: not world.heap)
    return world


def test_a_read_brings_to_light_what_nobody_learned() -> None:
    world = accepted_by_a_majority_and_learned_by_nobody()
    reader = world.ids[4]
    assert "r" not in world.up[reader].decided
    world.perform(reader, world.up[reader].read("r", world.now_ms))
    world.run_until(lambda: "r" in world.up[reader].decided)
    assert world.up[reader].decided["r"] == Value(1, ("a",))
    world.check()


def test_a_read_gives_way_to_a_change_and_does_nothing_beside_one() -> None:
    world = World(1, 3)
    me = world.ids[0]
    world.perform(me, world.up[me].read("r", 0))
    assert world.up[me].proposal_count == 1
    key = world.propose(me, "a")
    assert world.up[me].proposal_count == 1
    assert world.up[me].read("r", 0) == []
    assert world.up[me].proposal_count == 1
    (outcome,) = world.settle(key)
    assert isinstance(outcome, Decided)
    assert outcome.value == Value(1, ("a",))


def test_a_read_of_a_register_that_was_never_written_decides_nothing() -> None:
    world = World(1, 3)
    world.perform(world.ids[0], world.up[world.ids[0]].read("r", 0))
    world.run_until(lambda: world.up[world.ids[0]].proposal_count == 0)
    assert world.history == {}


def test_single_voter_decides_without_network() -> None:
    world = World(1, 1)
    key = world.propose(world.ids[0], "a")
    assert not world.heap
    outcome = world.outcomes[key]
    assert isinstance(outcome, Decided)
    assert outcome.value == Value(1, ("a",))


def test_persist_precedes_every_reply_that_follows_from_it() -> None:
    registers = Registers("b" * 40, VoterSet(1, ("a" * 40, "b" * 40, "c" * 40)), random.Random(1))
    request = Prepare("r", Ballot(1, "a" * 40), registers.voter_set)
    actions = registers.receive("a" * 40, request, 0)
    assert [type(action) for action in actions] == [Persist, Send]
    # The same again changes nothing and costs no disk write.
    assert [type(action) for action in registers.receive("a" * 40, request, 0)] == [Send]


def stopped_half_way(world: World, tag: str = "a") -> Key:
    """The first member's proposal has the promises of everybody and waits."""
    key = world.propose(world.ids[0], tag, stops=True)
    world.run_until(lambda: key in world.half_way and not world.heap)
    return key


def test_a_proposal_that_stops_half_way_has_asked_nobody_to_accept() -> None:
    world = World(1, 3)
    key = stopped_half_way(world)
    ledgers = [registers.acceptor.ledgers["r"] for registers in world.up.values()]
    assert [ledger.accepted for ledger in ledgers] == [None] * 3
    world.go_on(key)
    assert [decode(msgpack.unpackb(event[-1], use_list=False)).KIND for event in world.heap] == ["accept"] * 2
    world.go_on(key)
    assert len(world.heap) == 2  # it goes on only once
    (outcome,) = world.settle(key)
    assert isinstance(outcome, Decided)
    assert outcome.value == Value(1, ("a",))


def test_whoever_proposes_meanwhile_wins_and_the_stopped_one_builds_on_that() -> None:
    world = World(1, 3)
    key = stopped_half_way(world)
    world.settle(world.propose(world.ids[1], "b"))
    world.go_on(key)
    (outcome,) = world.settle(key)
    assert isinstance(outcome, Decided)
    assert outcome.value == Value(2, ("b", "a"))
    world.check()


def test_a_stopped_proposal_ends_with_its_time_or_when_it_is_cancelled() -> None:
    world = World(1, 3)
    (outcome,) = world.settle(stopped_half_way(world))  # nobody lets it go on
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, NoMajority)
    assert not outcome.error.unknown
    member, _, number = key = stopped_half_way(world, "b")
    world.perform(member, world.up[member].cancel(number, world.now_ms))
    assert world.up[member].proposal_count == 0
    world.go_on(key)
    assert world.history == {}


def test_change_function_refusal_is_not_applied() -> None:
    world = World(2, 3)

    def refuse(data: Plain) -> Plain:
        raise Refused("slot 7 is already owned by shard x")

    number, actions = world.up[world.ids[0]].propose("r", refuse, 0)
    world.perform(world.ids[0], actions)
    (outcome,) = world.settle(world.key(world.ids[0], number))
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, Refused)
    assert "slot 7" in str(outcome.error)
    assert ("r", 1) not in world.history


def test_no_majority_names_the_silent_and_says_not_applied() -> None:
    world = World(3, 3)
    world.stop(world.ids[1])
    world.stop(world.ids[2])
    (outcome,) = world.settle(world.propose(world.ids[0], "a"))
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, NoMajority)
    assert not outcome.error.unknown
    assert "not applied" in str(outcome.error)
    assert "000000" in str(outcome.error)
    assert world.now_ms <= Timing().proposal_timeout_ms


def test_declining_voters_delay_a_change_until_they_agree() -> None:
    lease_until_ms = 1200
    world = World(4, 3)
    for registers in world.up.values():
        registers.acceptor.may_change = lambda register, old, new: (
            True if world.now_ms >= lease_until_ms else "lease runs"
        )
    (outcome,) = world.settle(world.propose(world.ids[0], "a"))
    assert isinstance(outcome, Decided)
    assert lease_until_ms <= world.now_ms <= lease_until_ms + 2 * Timing().backoff_cap_ms + 100


def test_a_silent_voter_does_not_hold_up_a_declined_round() -> None:
    """Two of five still honour the lease of the third, which says nothing; the round needs one of them."""
    world = World(4, 5)
    lease_until_ms = world.now_ms + 100
    silent, *others = world.ids[1:]
    del world.up[silent]
    for name in others[:2]:
        world.up[name].acceptor.may_change = lambda register, old, new: (
            True if world.now_ms >= lease_until_ms else "lease runs"
        )
    (outcome,) = world.settle(world.propose(world.ids[0], "a"))
    assert isinstance(outcome, Decided)
    timing = Timing()
    assert world.now_ms < lease_until_ms + timing.round_timeout_ms, "else it waited for the silent one"


def test_a_declined_change_says_why() -> None:
    world = World(5, 3)
    for registers in world.up.values():
        registers.acceptor.may_change = lambda register, old, new: f"{register} has a lease"
    (outcome,) = world.settle(world.propose(world.ids[0], "a", "shard/x"))
    assert isinstance(outcome, Failed)
    assert "shard/x has a lease" in str(outcome.error)


def test_unchanged_value_is_not_written_again() -> None:
    world = World(6, 3)
    world.settle(world.propose(world.ids[0], "a"))
    ballots = [registers.acceptor.ledgers["r"].accepted_ballot for registers in world.up.values()]
    (outcome,) = world.settle(world.propose(world.ids[0], "a"))
    assert isinstance(outcome, Decided)
    assert outcome.value.version == 1
    world.run_until(lambda: not world.heap)
    after = [registers.acceptor.ledgers["r"].accepted_ballot for registers in world.up.values()]
    assert sorted(filter(None, ballots)) == sorted(filter(None, after))[: len([b for b in ballots if b])]


def test_grow_from_one_to_three_and_replace_one() -> None:
    world = World(7, 4, voters=1)
    first = world.ids[0]
    world.settle(world.propose(first, "a"), world.propose(first, "b", "s"))

    def change(member: str, target: tuple[str, ...]) -> Decided | Failed:
        registers = world.up[member]
        number, actions = registers.change_voters(target, registers.voter_set.version, world.now_ms)
        world.perform(member, actions)
        return world.settle(world.key(member, number))[0]

    assert isinstance(change(first, tuple(world.ids[:3])), Decided)
    assert world.up[first].voter_set == VoterSet(3, tuple(world.ids[:3]))
    world.gossip(first)
    world.stop(first)  # the only one that knew the values at first
    second = world.ids[1]
    (outcome,) = world.settle(world.propose(second, "c"))
    assert isinstance(outcome, Decided)
    assert outcome.value.data == ("a", "c")
    assert isinstance(change(second, tuple(world.ids[1:4])), Decided)
    world.gossip(second)
    world.stop(world.ids[2])
    (outcome,) = world.settle(world.propose(world.ids[3], "d", "s"))
    assert isinstance(outcome, Decided)
    assert outcome.value.data == ("b", "d")


def test_a_member_with_an_old_voter_set_is_told() -> None:
    world = World(8, 4, voters=3)
    registers = world.up[world.ids[0]]
    number, actions = registers.change_voters(tuple(world.ids[1:4]), 1, 0)
    world.perform(world.ids[0], actions)
    world.settle(world.key(world.ids[0], number))
    late = Registers("f" * 40, world.voter_set, random.Random(1))  # still believes set 1
    world.up["f" * 40] = late
    world.lives["f" * 40] = 1
    (outcome,) = world.settle(world.propose("f" * 40, "a"))
    assert isinstance(outcome, Decided)
    assert late.voter_set == VoterSet(3, tuple(world.ids[1:4]))


def test_voter_change_from_an_outdated_wish_is_refused() -> None:
    world = World(9, 3)
    number, actions = world.up[world.ids[0]].change_voters(tuple(world.ids[:1]), 0, 0)
    world.perform(world.ids[0], actions)
    (outcome,) = world.settle(world.key(world.ids[0], number))
    assert isinstance(outcome, Failed)
    assert "expected 0" in str(outcome.error)


def test_proposals_are_bounded_and_queue_per_register() -> None:
    world = World(10, 3)
    registers = world.up[world.ids[0]]
    world.cut = set(world.ids)
    keys = [world.propose(world.ids[0], str(number)) for number in range(PROPOSALS_MAX)]
    assert registers.proposal_count == PROPOSALS_MAX
    refused = world.outcomes[world.propose(world.ids[0], "one too many")]
    assert isinstance(refused, Failed)
    assert "under way" in str(refused.error)
    world.perform(world.ids[0], registers.cancel(keys[5][2], 0))
    assert registers.proposal_count == PROPOSALS_MAX - 1


def test_joining_another_cluster_drops_all_votes() -> None:
    world = World(11, 1)
    registers = world.up[world.ids[0]]
    world.settle(world.propose(world.ids[0], "a"))
    theirs = VoterSet(9, ("e" * 40,))
    actions = registers.move_to(theirs, {"s": Value(4, ("x",))}, 0)
    assert Persist() in actions
    assert registers.voter_set == theirs
    assert registers.acceptor.ledgers == {}
    assert registers.decided == {VOTERS: theirs.as_value(), "s": Value(4, ("x",))}


def test_joining_another_cluster_ends_proposals_that_wait_too_and_begins_none_with_the_old_voters() -> None:
    registers = Registers("a" * 40, VoterSet(5, ("a" * 40, "b" * 40)), random.Random(1))
    ids = [registers.propose("s", lambda data: data, 0)[0] for _ in range(3)]
    theirs = VoterSet(3, ("e" * 40,))
    actions = registers.move_to(theirs, {}, 0)
    assert [action.proposal_id for action in actions if isinstance(action, Failed)] == ids
    assert not any(isinstance(action, Send) for action in actions)
    assert registers.voter_set == theirs  # a request that counts the old ones would have brought them back
    assert registers.proposal_count == 0


def test_newer_gossip_is_adopted_and_older_is_not() -> None:
    registers = Registers("a" * 40, VoterSet(1, ("a" * 40,)), random.Random(1))
    assert registers.learn("r", Value(3, "new"), 0) == [Learned("r", Value(3, "new"))]
    assert registers.learn("r", Value(2, "old"), 0) == []
    assert registers.decided["r"] == Value(3, "new")


@pytest.mark.parametrize("register", [VOTERS, INVENTORY])
def test_reserved_registers_are_not_proposed(register: str) -> None:
    registers = Registers("a" * 40, VoterSet(1, ("a" * 40,)), random.Random(1))
    with pytest.raises(ValueError, match="change_voters"):
        registers.propose(register, lambda data: data, 0)


# -- tables and messages -------------------------------------------------------------------------------------

A, B = "a" * 40, "b" * 40
SET = VoterSet(4, (A, B), (B,))
MESSAGES = [
    Prepare("r", Ballot(3, A), SET),
    Accept("r", Ballot(3, A), SET, Value(2, {"primary": A, "in_sync": (A, B), "epoch": 1})),
    ListNames(INVENTORY, Ballot(3, A), SET),
    Promise("r", Ballot(3, A), None, None),
    Promise("r", Ballot(3, A), Ballot(2, B), Value(1, ((0, 5, "s"),))),
    Accepted("r", Ballot(3, A)),
    Names(INVENTORY, Ballot(3, A), ("r", "s")),
    Conflict("r", Ballot(3, A), Ballot(9, B)),
    Stale("r", Ballot(3, A), SET),
    Declined("r", Ballot(3, A), "lease"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.KIND)
def test_messages_survive_the_wire(message) -> None:  # type: ignore[no-untyped-def]
    assert decode(msgpack.unpackb(msgpack.packb(message.to_wire()))) == message


def test_state_table_covers_the_product() -> None:
    states = {"preparing", "promised", "accepting", "listing", "resting"}
    events = {"promise", "accepted", "names", "conflict", "declined", "stale", "timer"}
    assert set(TABLE) == set(itertools.product(states, events))
    for handler in TABLE.values():
        assert callable(getattr(Registers, f"_on_{handler}"))


@pytest.mark.parametrize("message", [m for m in MESSAGES if m.KIND not in ("prepare", "accept", "list")])
@pytest.mark.parametrize("state", ["preparing", "promised", "accepting", "listing", "resting"])
def test_every_reply_in_every_state_keeps_the_proposal_sound(state: str, message) -> None:  # type: ignore[no-untyped-def]
    registers = Registers(A, VoterSet(4, (A, B, "c" * 40)), random.Random(1))
    number, _ = registers.propose("r", lambda data: "x", 0, stops=state == "promised")
    proposal = registers._active["r"]
    if state in ("accepting", "promised"):
        registers.receive(B, Promise("r", proposal.ballot, None, None), 1)
    elif state == "resting":
        registers.tick(proposal.wake_ms)
    elif state == "listing":
        proposal.state, proposal.replies = "listing", {}
    assert proposal.state == state
    reply = replace(message, register="r", ballot=proposal.ballot)
    actions = registers.receive(B, reply, 2)
    assert registers._active.get("r") is proposal or any(
        isinstance(action, Decided | Failed) and action.proposal_id == number for action in actions
    )


@settings(max_examples=300)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-5, 2**63)
        | st.text(max_size=5)
        | st.sampled_from(["prepare", "accept"]),
        lambda inner: st.lists(inner, max_size=5),
        max_leaves=12,
    )
)
def test_noise_is_refused_as_the_peers_fault(item: object) -> None:
    try:
        message = decode(item)
    except MessageError:
        return
    assert decode(message.to_wire()) == message


@pytest.mark.parametrize(
    "value",
    [{1: "key"}, object(), [[[[[[["deep"]]]]]]], [None] * 40_000],
    ids=["key", "type", "deep", "long"],
)
def test_values_that_are_not_plain_are_refused(value: object) -> None:
    with pytest.raises(MessageError):
        freeze(value)
