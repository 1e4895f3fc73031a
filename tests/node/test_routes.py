"""node/routes.py: what clients hear of a slot, as the topology says; and keys that went elsewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gossip.slots import slot_of
from gossip.topology import MemberView, Range, ShardView, Topology
from gossip.votes import VoterSet
from node.commands import strings
from node.engine.engine import Engine
from node.engine.room import install_compiled
from node.engine.session import Session
from node.routes import KEYS_PER_SLICE, Routes

ME, OTHER = "0" * 40, "a" * 40
OURS, THEIRS = ShardView("s", ME, (ME,), 1), ShardView("t", OTHER, (OTHER,), 1)
SLOT = slot_of(b"k")
MOVED = b"-MOVED %d 10.0.0.2:7000\r\n" % SLOT


def view(member: str, number: int) -> MemberView:
    return MemberView(
        id=member,
        host=f"10.0.0.{number}",
        port=7000,
        bus_port=17000,
        kind="node",
        status="alive",
        incarnation=1,
        shard_id="",
        zone="",
        offset=0,
        epoch_seen=0,
        started_ms=1,
        version="test",
    )


def topology(*ranges: Range) -> Topology:
    return Topology.build(
        version=1,
        cluster_id="c" * 40,
        members={ME: view(ME, 1), OTHER: view(OTHER, 2)},
        shards={"s": OURS, "t": THEIRS},
        ranges=ranges,
        voter_set=VoterSet(1, (ME,)),
    )


ALL_OURS = topology((0, 16383, "s"))
ALL_THEIRS = topology((0, 16383, "t"))


@pytest.fixture
def engine() -> Engine:
    engine = Engine(cluster=True, hash_key=bytes(16), clock_ms=1_700_000_000_000)
    install_compiled(engine.registry)
    for spec in strings.COMMANDS:
        engine.add_command(spec)
    return engine


def test_an_owner_serves_and_sends_others_on(engine: Engine) -> None:
    routes, client = Routes(engine), Session(engine)
    assert client.feed(b"GET k\r\n") == b"-CLUSTERDOWN Hash slot not served\r\n"
    assert routes.tell(ALL_OURS, OURS, leads=True)
    assert client.feed(b"SET k v\r\n") == b"+OK\r\n"
    assert routes.tell(topology((0, SLOT - 1, "s"), (SLOT, 16383, "t")), OURS, leads=True)
    assert client.feed(b"GET k\r\n") == MOVED


def test_what_is_no_news_touches_nothing(engine: Engine) -> None:
    routes = Routes(engine)
    assert routes.tell(ALL_OURS, OURS, leads=True)
    assert not routes.tell(ALL_OURS, OURS, leads=True)
    assert routes.tell(ALL_OURS, OURS, leads=False)


def test_what_was_decided_for_us_counts_before_gossip_comes_round(engine: Engine) -> None:
    routes, client = Routes(engine), Session(engine)
    routes.tell(ALL_THEIRS, ShardView("t", ME, (ME,), 2), leads=True)
    assert client.feed(b"SET k v\r\n") == b"+OK\r\n"
    routes.tell(ALL_THEIRS, ShardView("t", OTHER, (OTHER,), 3), leads=False)
    assert client.feed(b"GET k\r\n") == MOVED


def test_an_address_that_leads_another_shard_now_is_news(engine: Engine) -> None:
    routes, client = Routes(engine), Session(engine)
    nobody = ShardView("t", "", (), 2)

    def seen(*shards: ShardView) -> Topology:
        return Topology.build(
            version=1,
            cluster_id="c" * 40,
            members={ME: view(ME, 1), OTHER: view(OTHER, 2)},
            shards={shard.id: shard for shard in shards},
            ranges=((0, 16383, "t"),),
            voter_set=VoterSet(1, (ME,)),
        )

    assert routes.tell(seen(OURS, nobody), OURS, leads=True)
    theirs = ShardView("t", ME, (ME,), 3)
    assert routes.tell(seen(replace(OURS, primary=""), theirs), theirs, leads=True)
    assert client.feed(b"SET k v\r\n") == b"+OK\r\n"


def test_slots_on_the_move(engine: Engine) -> None:
    """Missing keys of a slot that leaves are asked for there; one that comes is served to who asks so."""
    routes, client = Routes(engine), Session(engine)
    routes.migrating[SLOT] = OTHER
    routes.tell(ALL_OURS, OURS, leads=True)
    assert list(routes.moving()) == [f"[{SLOT}->-{OTHER}]"]
    assert client.feed(b"GET k\r\n") == b"-ASK %d 10.0.0.2:7000\r\n" % SLOT
    routes.tell(ALL_THEIRS, OURS, leads=True)
    assert list(routes.moving()) == []  # it has left
    assert client.feed(b"GET k\r\n") == MOVED
    routes.importing[SLOT] = OTHER
    routes.tell(ALL_THEIRS, OURS, leads=True)
    assert list(routes.moving()) == [f"[{SLOT}-<-{OTHER}]"]
    assert client.feed(b"GET k\r\n") == MOVED
    routes.tell(ALL_OURS, OURS, leads=True)
    assert list(routes.moving()) == []  # it is ours
    assert client.feed(b"GET k\r\n") == b"$-1\r\n"


def test_a_slot_that_is_leaving_is_used_by_nobody(engine: Engine) -> None:
    """With or without MIGRATING before it."""
    routes, client = Routes(engine), Session(engine)
    routes.tell(ALL_OURS, OURS, leads=True)
    routes.migrating[SLOT] = OTHER
    routes.leaving.add(SLOT)
    assert routes.tell(ALL_OURS, OURS, leads=True)
    assert engine.slot_state(SLOT)[1] == -2
    for words in (b"GET k", b"SET k v", b"MGET k k"):
        assert client.feed(words + b"\r\n").startswith(b"-TRYAGAIN Slot %d is being given" % SLOT)
    assert client.feed(b"SET a v\r\n") == b"+OK\r\n"
    routes.leaving.discard(SLOT)
    assert routes.tell(ALL_OURS, OURS, leads=True)
    assert client.feed(b"GET k\r\n").startswith(b"-ASK")
    routes.leaving.add(SLOT)
    routes.tell(ALL_THEIRS, OURS, leads=True)
    assert (routes.leaving, client.feed(b"GET k\r\n")) == (set(), MOVED)


def test_keys_of_slots_that_are_others_are_dropped_in_slices(engine: Engine) -> None:
    routes, client = Routes(engine), Session(engine)
    routes.tell(ALL_OURS, OURS, leads=True)
    count = KEYS_PER_SLICE + 10
    for number in range(count):
        assert client.feed(b"SET {k}%d v\r\n" % number) == b"+OK\r\n"
    assert client.feed(b"SET other v\r\n") == b"+OK\r\n"
    without = topology((0, SLOT - 1, "s"), (SLOT, SLOT, "t"), (SLOT + 1, 16383, "s"))
    assert not routes.find_foreign(ALL_OURS, "s")
    routes.tell(without, OURS, leads=True)
    assert routes.find_foreign(without, "s")
    assert not routes.find_foreign(without, "s")  # they are being dropped
    assert routes.drop_some(without, "s") == KEYS_PER_SLICE
    assert routes.drop_some(without, "s") == 10
    assert routes.drop_some(without, "s") == 0
    assert engine.keyspace.size(0) == 1


def test_a_slot_that_comes_back_meanwhile_keeps_its_keys(engine: Engine) -> None:
    routes, client = Routes(engine), Session(engine)
    routes.tell(ALL_OURS, OURS, leads=True)
    assert client.feed(b"SET k v\r\n") == b"+OK\r\n"
    routes.tell(ALL_THEIRS, OURS, leads=True)
    assert routes.find_foreign(ALL_THEIRS, "s")
    assert routes.drops(SLOT)
    assert routes.drop_some(ALL_OURS, "s") == 0
    assert not routes.drops(SLOT)
    assert engine.keyspace.size(0) == 1
    assert routes.find_foreign(ALL_THEIRS, "s")
    routes.keep_foreign()
    assert routes.drop_some(ALL_THEIRS, "s") == 0


@pytest.mark.parametrize("elected", [False, True])
def test_keys_on_their_way_to_us_stay_when_the_move_is_called_off_or_a_replica_is_elected(
    engine: Engine, elected: bool
) -> None:
    """The replica was not told that they were awaited."""
    Routes(engine).tell(ALL_OURS, OURS, leads=True)
    assert Session(engine).feed(b"SET k v\r\n") == b"+OK\r\n"  # as MIGRATE does
    routes = Routes(engine)
    if not elected:
        routes.importing[SLOT] = OTHER
    routes.tell(ALL_THEIRS, OURS, leads=not elected)
    routes.importing.clear()
    assert routes.tell(ALL_THEIRS, OURS, leads=True)
    assert not routes.find_foreign(ALL_THEIRS, "s")


def test_a_replica_that_is_elected_goes_on_dropping_what_its_shard_lost(engine: Engine) -> None:
    routes, client = Routes(engine), Session(engine)
    routes.tell(ALL_OURS, OURS, leads=True)
    assert client.feed(b"SET k v\r\n") == b"+OK\r\n"
    routes.tell(ALL_OURS, OURS, leads=False)
    routes.tell(ALL_THEIRS, OURS, leads=False)
    routes.tell(ALL_THEIRS, OURS, leads=True)
    assert routes.find_foreign(ALL_THEIRS, "s")


def test_keys_that_come_after_those_of_a_lost_slot_are_gone_stay(engine: Engine) -> None:
    routes, client = Routes(engine), Session(engine)
    routes.tell(ALL_OURS, OURS, leads=True)
    routes.tell(ALL_THEIRS, OURS, leads=False)
    routes.tidy()
    Routes(engine).tell(ALL_OURS, OURS, leads=True)
    assert client.feed(b"SET k v\r\n") == b"+OK\r\n"
    routes.tell(ALL_THEIRS, OURS, leads=True)
    assert not routes.find_foreign(ALL_THEIRS, "s")
