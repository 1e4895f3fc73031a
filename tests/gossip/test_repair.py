"""Repair: when a register is read that may hold more than we know. And Voting, which notices the reasons."""

import itertools
from random import Random

from gossip.config import GossipConfig
from gossip.repair import DOUBLINGS_MAX, Repair
from gossip.votes import Accept, Accepted, Ballot, Conflict, Plain, Prepare, Promise, Value, VoterSet
from gossip.voting import Voting

LEASE_MS = 800
ME, P, Q = "0" * 40, "a" * 40, "b" * 40


def test_a_doubt_is_given_a_lease_to_settle_and_then_some() -> None:
    firsts = set()
    for seed in range(50):
        repair = Repair(LEASE_MS, Random(seed))
        assert repair.next_due_ms() is None
        repair.doubt("shard/s", "accepted", 1_000)
        due_ms = repair.next_due_ms()
        assert due_ms is not None
        repair.doubt("shard/s", "unknown", due_ms - 1)  # no reason to wait longer
        assert repair.next_due_ms() == due_ms
        assert repair.due(due_ms - 1) == []
        assert repair.due(due_ms) == ["shard/s"]
        firsts.add(due_ms)
    assert min(firsts) >= 1_800
    assert max(firsts) <= 2_200
    assert len(firsts) > 20  # those who noticed together do not read together


def test_reads_become_rarer_but_never_end() -> None:
    repair = Repair(LEASE_MS, Random(1))
    repair.doubt("r", "leaseless", 0)
    times: list[int] = []
    for _ in range(12):
        due_ms = repair.next_due_ms()
        assert due_ms is not None
        assert repair.due(due_ms) == ["r"]
        times.append(due_ms)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    for number, gap in enumerate(gaps):
        span_ms = LEASE_MS << min(number, DOUBLINGS_MAX)
        assert span_ms <= gap <= 2 * span_ms


def test_every_reason_has_to_go() -> None:
    repair = Repair(LEASE_MS, Random(1))
    repair.doubt("r", "accepted", 0)
    repair.doubt("r", "unknown", 0)
    repair.settle("r", ("unknown", "leaseless"))
    assert repair.next_due_ms() is not None
    repair.settle("r", ("accepted",))
    assert repair.next_due_ms() is None
    repair.settle("r", ("accepted",))
    repair.doubt("r", "accepted", 0)
    repair.clear()
    assert repair.due(1 << 40) == []


# -- Voting notices -----------------------------------------------------------------------------------------


async def _no_disk() -> None:
    raise AssertionError("nothing is written here")


class House:
    """A voter of three, with a clock of its own."""

    def __init__(self) -> None:
        self.now_ms = 10_000
        self.voting = Voting(
            ME, GossipConfig(), Random(1), 0, now_ms=lambda: self.now_ms, is_gone=lambda member: False
        )
        self.voting.move_to(VoterSet(2, (ME, P, Q)), {"shard/s": Value(1, shard(ME, 1))})

    def at(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.voting.tick(now_ms)

    @property
    def reading(self) -> int:
        return self.voting.registers.proposal_count

    def accept(self, version: int, primary: str) -> None:
        ballot, voters = Ballot(7, P), self.voting.voter_set
        self.voting.hear(P, Prepare("shard/s", ballot, voters).to_wire())
        accept = Accept("shard/s", ballot, voters, Value(version, shard(primary, version)))
        self.voting.hear(P, accept.to_wire())


def shard(primary: str, epoch: int) -> dict[str, Plain]:
    return {"primary": primary, "in_sync": (primary,), "epoch": epoch}


def test_a_voter_reads_what_it_accepted_and_never_heard_of_again() -> None:
    house = House()
    house.accept(2, P)
    due_ms = house.voting.next_due_ms()
    assert due_ms is not None
    house.at(due_ms - 1)
    assert house.reading == 0
    house.at(due_ms)
    assert house.reading == 1
    ballot = house.voting.registers.acceptor.ledgers["shard/s"].promised
    assert ballot.member_id == ME
    house.voting.hear(P, Promise("shard/s", ballot, Ballot(7, P), Value(2, shard(P, 2))).to_wire())
    house.voting.hear(P, Accepted("shard/s", ballot).to_wire())
    assert house.voting.decided["shard/s"] == Value(2, shard(P, 2))
    assert house.voting.repair.next_due_ms() is None


def test_what_is_learned_in_time_is_not_read() -> None:
    house = House()
    house.accept(2, P)
    house.voting.learn("shard/s", Value(2, shard(P, 2)))
    assert house.voting.next_due_ms() is None


def test_a_restarted_voter_remembers_its_doubts() -> None:
    house, again = House(), House()
    house.accept(2, P)
    again.voting.restore(house.voting.registers.durable_state())
    assert again.voting.repair.next_due_ms() is not None


def test_a_primary_without_a_lease_reads_and_one_with_a_lease_does_not() -> None:
    house = House()
    house.voting.follow_lease("s", 1, house.now_ms)
    house.at(10_000)
    due_ms = house.voting.repair.next_due_ms()
    assert due_ms is not None
    house.at(due_ms)
    assert house.reading == 1
    house = House()
    house.voting.follow_lease("s", 1, house.now_ms)
    house.at(10_000)
    request, others = house.voting.renewals(10_000, 0) or (None, ())
    assert request is not None
    for voter in others:
        house.voting.hear_grant(house.voting.answer(request, ME, 1, 10_001), voter, 10_001)
    assert house.voting.held.valid_until_ms > 10_001
    assert house.voting.repair.next_due_ms() is None
    house.voting.follow_lease("", 0, 10_002)
    house.at(20_000)
    assert house.voting.repair.next_due_ms() is None


def test_a_proposal_that_ended_as_unknown_is_read_again() -> None:
    house = House()
    registers = house.voting.registers
    _, actions = registers.propose("slots", lambda data: data or ((0, 5, "s"),), house.now_ms)
    house.voting.queue(actions)
    ballot = registers.acceptor.ledgers["slots"].promised
    house.voting.hear(P, Promise("slots", ballot, None, None).to_wire())  # accepts leave; nobody answers
    house.voting.learn("slots", Value(1, ((0, 5, "s"),)))  # settles what our voter accepted, not the rest
    house.at(house.now_ms + 300)
    assert house.voting.repair.next_due_ms() is None
    house.at(house.now_ms + 5_000)
    assert house.reading == 0
    due_ms = house.voting.repair.next_due_ms()
    assert due_ms is not None
    house.at(due_ms)
    assert house.reading == 1
    ballot = registers.acceptor.ledgers["slots"].promised
    house.voting.hear(P, Promise("slots", ballot, ballot, Value(1, ((0, 5, "s"),))).to_wire())
    assert house.reading == 0
    assert house.voting.repair.next_due_ms() is None
    house.voting.hear(P, Conflict("slots", ballot, ballot).to_wire())  # too late to matter
