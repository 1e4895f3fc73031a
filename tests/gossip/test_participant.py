"""gossip/participant.py: what a member does with an event, step by step, and that the disk comes first."""

from dataclasses import replace
from random import Random

import pytest

from gossip.actions import (
    Announce,
    Concluded,
    Deliver,
    Dropped,
    ExchangeWith,
    HalfWay,
    Persist,
    RolledBack,
    Send,
    VotersTended,
)
from gossip.config import GossipConfig
from gossip.errors import PeerError
from gossip.members import Status
from gossip.messages import (
    Envelope,
    Forgot,
    LeaseGrant,
    LeaseRelease,
    LeaseRequest,
    Meta,
    News,
    Record,
    RegisterNews,
    RegisterRound,
    Vitals,
)
from gossip.participant import Action, Participant
from gossip.past import Past
from gossip.register import NoMajority, Refused
from gossip.votes import Accept, Accepted, Ballot, Message, Plain, Prepare, Promise, Value, VoterSet

ME, P, Q = "0" * 40, "a" * 40, "b" * 40
CLUSTER = "c" * 40
CONFIG = GossipConfig()
START_MS = 10_000


def meta_of(member: str) -> Meta:
    return Meta(f"10.0.0.{int(member[0], 16) + 1}", 7000, 17000, "node", "", "", 1, "test")


def record_of(member: str, status: str = "alive") -> Record:
    return Record(status, member, 1, meta_of(member), 0)


class House:
    """A member whose clock and disk are ours: `done` has what it wanted, in order."""

    def __init__(self, past: Past | None = None) -> None:
        self.now_ms = START_MS
        past = past or Past(True, ME, CLUSTER)
        self.core = Participant(past, meta_of(ME), CONFIG, Random(1), START_MS)
        self.done: list[Action] = []
        self.core.start(START_MS)
        self.act()
        self.done.clear()

    def act(self) -> None:
        self.done += self.core.actions(self.now_ms)

    def of(self, kind: type[Action]) -> list[Action]:
        return [action for action in self.done if isinstance(action, kind)]

    def meet(self, *members: str) -> None:
        """They are there, and vote with us."""
        records = tuple(record_of(member) for member in members)
        self.core.move(CLUSTER, records, VoterSet(2, (ME, *members)), {}, self.now_ms)
        self.act()
        self.write()
        self.done.clear()

    def write(self) -> None:
        """The disk has it."""
        self.core.persisted(self.now_ms)
        self.act()

    def hear(self, sender: str, message: object) -> None:
        vitals = Vitals(1, 0, 0, 0, -1, 0)
        envelope = Envelope(sender, vitals, message, ())  # type: ignore[arg-type]
        self.core.hear(envelope, meta_of(sender).bus_address, self.now_ms)

    def pass_ms(self, duration_ms: int) -> None:
        """Time goes by; timers ring when they are due, and the disk is quick."""
        end_ms = self.now_ms + duration_ms
        while self.core.next_due_ms() <= end_ms:
            self.now_ms = max(self.now_ms + 1, self.core.next_due_ms())
            self.core.tick(self.now_ms)
            written = len(self.of(Persist))
            self.act()
            if len(self.of(Persist)) > written:
                self.write()
        self.now_ms = end_ms


def shard(primary: str, epoch: int) -> dict[str, Plain]:
    return {"primary": primary, "in_sync": (primary,), "epoch": epoch}


def rounds(house: House) -> list[str]:
    """What left for the registers, by kind."""
    return [
        str(action.envelope.message.payload[0])  # type: ignore[index]
        for action in house.of(Deliver)
        if isinstance(action, Deliver) and isinstance(action.envelope.message, RegisterRound)
    ]


def say(house: House, message: Message) -> None:
    house.hear(P, RegisterRound(message.to_wire()))


def complaints(house: House) -> list[Envelope]:
    """What it says to those whose state file seems to be older than it was."""
    return [
        action.envelope
        for action in house.done
        if isinstance(action, Send) and isinstance(action.envelope.message, Forgot)
    ]


def test_nothing_leaves_before_the_disk_has_it() -> None:
    house = House()
    house.meet(P, Q)
    voters, ballot = house.core.voting.voter_set, Ballot(5, P)
    say(house, Prepare("shard/s", ballot, voters))
    say(house, Accept("shard/s", ballot, voters, Value(1, shard(P, 1))))
    house.act()
    assert house.of(Persist) == [Persist()]
    assert rounds(house) == []
    house.act()
    assert house.of(Persist) == [Persist()]
    house.write()
    assert rounds(house) == ["promise", "accepted"]  # both answers waited for one write


def test_others_are_asked_while_our_own_promise_is_written() -> None:
    house = House()
    house.meet(P, Q)
    house.core.propose("shard/r", lambda _: shard(ME, 1), None, house.now_ms)
    house.act()
    assert rounds(house) == [], "a ballot must never be used twice, so its number is written first"
    house.write()
    assert rounds(house) == ["prepare", "prepare"]
    house.done.clear()
    house.core.propose("shard/s", lambda _: shard(P, 1), None, house.now_ms)
    house.act()
    assert rounds(house) == ["prepare", "prepare"], "numbers are reserved; our own promise is on its way"
    assert house.of(Persist) == [Persist()]
    ballot = house.core.voting.registers.acceptor.ledgers["shard/s"].promised
    say(house, Promise("shard/s", ballot, None, None))
    house.act()
    assert rounds(house) == ["prepare", "prepare"], "it counts for a majority once it is written"
    house.write()
    assert rounds(house) == ["prepare", "prepare", "accept", "accept"]
    say(house, Accepted("shard/s", ballot))
    house.act()
    assert house.of(Concluded) == []
    house.done.clear()
    house.write()
    assert [type(action.error) for action in house.of(Concluded) if isinstance(action, Concluded)] == [
        type(None)
    ]


def test_an_old_copy_of_the_state_file_is_noticed_and_votes_no_more() -> None:
    """Everybody remembers the highest serial that a member told; below it nothing of it counts."""
    first = House()
    first.meet(P, Q)
    voters = first.core.voting.voter_set
    copy = first.core.past()
    say(first, Prepare("shard/s", Ballot(5, P), voters))
    first.act()
    promised = first.core.past()
    assert promised.registers is not None
    assert first.core.detector.serial < promised.registers["serial"], "told once it is on disk"  # type: ignore[operator]
    first.write()
    assert first.core.detector.serial == promised.registers["serial"]

    other = House(replace(copy, member_id=P, members=(record_of(ME),)))
    greeting = first.core.detector.envelope(News())
    other.core.hear(greeting, meta_of(ME).bus_address, other.now_ms)

    same = House(promised)
    other.core.hear(same.core.detector.envelope(News()), meta_of(ME).bus_address, other.now_ms)
    other.act()
    assert not complaints(other), "a restart with its own file"

    rolled = House(copy)
    other.core.hear(rolled.core.detector.envelope(News()), meta_of(ME).bus_address, other.now_ms)
    other.act()
    (complaint,) = complaints(other)
    rolled.core.hear(complaint, meta_of(P).bus_address, rolled.now_ms)
    rolled.act()
    (found,) = rolled.of(RolledBack)
    assert found == RolledBack(P, rolled.core.detector.serial, first.core.detector.serial)
    say(rolled, Prepare("shard/s", Ballot(4, P), voters))
    rolled.act()
    assert rolled.of(Persist) == [], "it promises nothing more"

    ballot = Ballot(9, P)
    vote = RegisterRound(Promise("shard/s", ballot, None, None).to_wire())
    heard = len(other.core.voting.registers.acceptor.ledgers)
    other.core.hear(rolled.core.detector.envelope(vote), meta_of(ME).bus_address, other.now_ms)
    assert other.core.detector.has_forgotten(rolled.core.detector.envelope(vote))
    assert len(other.core.voting.registers.acceptor.ledgers) == heard


def test_words_that_were_overtaken_are_no_rollback() -> None:
    house = House()
    house.meet(P, Q)
    early = house.core.detector.envelope(News())
    say(house, Prepare("shard/s", Ballot(5, P), house.core.voting.voter_set))
    house.act()
    house.write()
    other = House(Past(True, P, CLUSTER))
    other.meet(ME, Q)
    for envelope in (house.core.detector.envelope(News()), early):
        other.core.hear(envelope, meta_of(ME).bus_address, other.now_ms)
    other.act()
    (complaint,) = complaints(other)
    house.core.hear(complaint, meta_of(P).bus_address, house.now_ms)
    house.act()
    assert not house.of(RolledBack)
    assert not house.core.rolled_back


def test_an_exchange_tells_of_a_rollback_too() -> None:
    house = House()
    house.meet(P, Q)
    serial = house.core.detector.serial
    house.core.take(P, (replace(record_of(ME), serial=serial),), (), house.now_ms)
    house.act()
    assert not house.of(RolledBack)
    house.core.take(P, (replace(record_of(ME), serial=serial + 7),), (), house.now_ms)
    house.act()
    assert house.of(RolledBack) == [RolledBack(P, serial, serial + 7)]


def test_the_primary_hears_first_what_we_had_decided_of_its_shard() -> None:
    house = House()
    house.meet(P, Q)
    house.core.propose("shard/s", lambda _: shard(P, 1), None, house.now_ms)
    for _ in range(3):
        house.act()
        house.write()
        ballot = house.core.voting.registers.acceptor.ledgers["shard/s"].promised
        for answer in (Promise("shard/s", ballot, None, None), Accepted("shard/s", ballot)):
            say(house, answer)
    told = [
        action.address
        for action in house.done
        if isinstance(action, Send) and isinstance(action.envelope.message, News) and action.envelope.news
    ]
    assert meta_of(P).bus_address in told


def test_what_comes_while_the_disk_writes_waits_for_the_next_write() -> None:
    house = House()
    house.meet(P, Q)
    voters = house.core.voting.voter_set
    say(house, Prepare("shard/s", Ballot(5, P), voters))
    house.act()
    say(house, Prepare("shard/t", Ballot(6, P), voters))
    house.act()
    assert len(house.of(Persist)) == 1
    house.write()
    assert rounds(house) == ["promise"]
    assert len(house.of(Persist)) == 2
    house.write()
    assert rounds(house) == ["promise", "promise"]


def test_the_next_life_keeps_the_promise() -> None:
    house = House()
    house.meet(P, Q)
    voters = house.core.voting.voter_set
    say(house, Prepare("shard/s", Ballot(5, P), voters))
    house.act()
    again = House(house.core.past())
    assert again.core.voting.registers.acceptor.ledgers["shard/s"].promised == Ballot(5, P)
    assert set(again.core.topology.members) == {ME, P, Q}
    assert again.core.topology.voter_set == voters


def test_a_new_life_looks_for_those_it_knew() -> None:
    core = Participant(
        Past(False, ME, CLUSTER, 3, (record_of(P), record_of(Q))), meta_of(ME), CONFIG, Random(1), 0
    )
    core.start(0)
    sought = [action.address for action in core.actions(0) if isinstance(action, ExchangeWith)]
    assert sought == [meta_of(P).bus_address, meta_of(Q).bus_address]
    assert core.detector.incarnation == 4


def test_a_lonely_voter_decides_once_its_disk_has_it() -> None:
    house = House()
    asked = house.core.propose("shard/s", lambda old: shard(ME, 1), None, house.now_ms)
    house.act()
    assert house.of(Concluded) == []
    house.write()
    house.act()
    assert house.of(Concluded) == [Concluded(asked, Value(1, shard(ME, 1)), None)]
    assert house.core.topology.shards["s"].primary == ME
    announced = house.of(Announce)[-1]
    assert isinstance(announced, Announce)
    assert announced.topology is house.core.topology
    assert house.core.voting.held.shard_id == "s"


def test_a_refusal_is_told_and_a_cancelled_proposal_is_not() -> None:
    house = House()

    def decline(old: Plain) -> Plain:
        raise Refused("no")

    refused = house.core.propose("shard/s", decline, None, house.now_ms)
    house.act()
    house.write()
    (concluded,) = house.of(Concluded)
    assert isinstance(concluded, Concluded)
    assert (concluded.proposal_id, str(concluded.error)) == (refused, "no")
    house.meet(P, Q)
    forgotten = house.core.propose("shard/s", lambda old: shard(P, 1), None, house.now_ms)
    house.core.cancel(forgotten, house.now_ms)
    house.act()
    house.write()
    assert house.of(Concluded) == []
    assert house.core.voting.registers.proposal_count == 0


def test_half_way_is_told_once_our_own_promise_is_on_disk() -> None:
    house = House()
    asked = house.core.propose("shard/s", lambda old: shard(ME, 1), None, house.now_ms, stops=True)
    house.act()
    assert house.of(HalfWay) == []
    house.write()
    assert house.of(HalfWay) == [HalfWay(asked)]
    house.pass_ms(100)
    assert house.of(Concluded) == []
    house.core.go_on(asked, house.now_ms)
    house.act()
    house.write()
    assert house.of(Concluded) == [Concluded(asked, Value(1, shard(ME, 1)), None)]


def test_what_our_former_cluster_decided_is_not_told_in_the_next_one() -> None:
    """A shard that only its founder's own disk knows of could never have another primary."""
    house = House()
    asked = house.core.propose("shard/s", lambda old: shard(ME, 1), None, house.now_ms)
    house.act()  # the disk writes what is decided by us alone
    house.core.move(CLUSTER, (record_of(P), record_of(Q)), VoterSet(2, (ME, P, Q)), {}, house.now_ms)
    house.act()
    house.write()
    house.pass_ms(2_000)
    (concluded,) = house.of(Concluded)
    assert isinstance(concluded, Concluded)
    assert (concluded.proposal_id, concluded.value) == (asked, None)
    assert "just joined another cluster" in str(concluded.error)
    assert "shard/s" not in house.core.voting.decided
    told = [news for each in house.of(Send) if isinstance(each, Send) for news in each.envelope.news]
    assert [news for news in told if isinstance(news, RegisterNews) and news.name == "shard/s"] == []


def test_without_a_majority_a_proposal_ends_in_time() -> None:
    house = House()
    house.meet(P, Q)
    house.core.propose("shard/s", lambda old: shard(ME, 1), 200, house.now_ms)
    house.act()
    house.write()
    house.pass_ms(400)
    (concluded,) = house.of(Concluded)
    assert isinstance(concluded, Concluded)
    assert isinstance(concluded.error, NoMajority)


def test_news_that_make_no_sense_are_dropped_and_counted_against_the_peer() -> None:
    house = House()
    house.meet(P, Q)
    house.core.take(P, (), (RegisterNews("slots", 4, "all"),), house.now_ms)
    house.act()
    (dropped,) = house.of(Dropped)
    assert isinstance(dropped, Dropped)
    assert dropped.reason == "malformed"
    assert "slots" not in house.core.voting.decided
    with pytest.raises(PeerError, match="malformed"):
        house.hear(P, RegisterRound(("promise", 7)))


def test_what_is_learned_is_announced_passed_on_and_saved_before_long() -> None:
    house = House()
    house.meet(P, Q)
    version = house.core.topology.version
    house.core.take(P, (), (RegisterNews("shard/s", 4, shard(P, 3)),), house.now_ms)
    house.act()
    assert house.core.topology.version == version + 1
    assert house.core.topology.shards["s"].epoch == 3
    assert house.core.detector.epoch_seen == 3
    house.pass_ms(CONFIG.gossip_interval_ms)
    told = [claim for action in house.of(Send) if isinstance(action, Send) for claim in action.envelope.news]
    assert RegisterNews("shard/s", 4, shard(P, 3)) in told
    house.pass_ms(CONFIG.save_interval_ms + CONFIG.maintenance_interval_ms)
    assert len(house.of(Persist)) >= 1


def test_a_voter_answers_a_primary_and_counts_as_company() -> None:
    house = House()
    house.core.take(ME, (record_of(P),), (RegisterNews("shard/s", 1, shard(P, 1)),), house.now_ms)
    assert not house.core.company
    house.hear(P, LeaseRequest("s", 1, 77, 800))
    assert house.core.company
    house.act()
    grants = [
        action.envelope.message
        for action in house.of(Send)
        if isinstance(action, Send) and isinstance(action.envelope.message, LeaseGrant)
    ]
    assert grants == [LeaseGrant("s", 1, 77, 800)]


def test_a_lease_given_back_is_told_to_every_other_voter() -> None:
    house = House()
    house.meet(P, Q)
    house.core.take(P, (), (RegisterNews("shard/s", 1, shard(ME, 1)),), house.now_ms)
    house.act()
    house.pass_ms(1)
    for voter in (P, Q):
        house.hear(voter, LeaseGrant("s", 1, house.now_ms, CONFIG.lease_ms))
    assert house.core.voting.held.valid_until_ms > house.now_ms
    house.done.clear()
    asked_ms = house.now_ms
    house.now_ms += 50
    house.core.release_lease(house.now_ms)
    house.act()
    release = LeaseRelease("s", 1, asked_ms)
    assert [
        action.address
        for action in house.of(Send)
        if isinstance(action, Send) and action.envelope.message == release
    ] == [meta_of(P).bus_address, meta_of(Q).bus_address]
    assert house.core.voting.held.valid_until_ms == 0
    assert not house.core.lease_wanted


def test_a_release_that_arrives_again_does_not_end_a_newer_lease() -> None:
    house = House()
    house.meet(P, Q)
    house.core.take(P, (), (RegisterNews("shard/s", 1, shard(P, 1)),), house.now_ms)
    house.act()
    for sent_ms in (500, 600):
        house.now_ms += 100
        house.hear(P, LeaseRequest("s", 1, sent_ms, CONFIG.lease_ms))
        house.hear(P, LeaseRelease("s", 1, 500))
        assert house.core.voting.granted.holder("s", house.now_ms) == ("" if sent_ms == 500 else P)


def test_the_voter_set_grows_by_itself() -> None:
    """The others learn of the change from the one who has the lowest id; alone it can decide it."""
    house = House()
    house.core.take(P, (record_of(P), record_of(Q)), (), house.now_ms)
    house.act()
    house.pass_ms(CONFIG.maintenance_interval_ms + 100)
    assert house.core.voting.voter_set.joining == (ME, P, Q)  # first both sets together
    house.pass_ms(CONFIG.propose_timeout_ms + 1_000)  # nobody answers
    tended = house.of(VotersTended)[0]
    assert isinstance(tended, VotersTended)
    assert tended.voters == (ME, P, Q)
    assert tended.error is not None


def test_a_majority_is_heard_at_first_hand() -> None:
    house = House()
    house.meet(P, Q)
    house.now_ms += 50
    house.hear(P, News())
    assert house.core.majority_heard_ms(house.now_ms + 20) == house.now_ms
    assert house.core.detector.members.status_of(P) is Status.ALIVE
