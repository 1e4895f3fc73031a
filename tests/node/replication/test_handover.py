"""FAILOVER: the whole table, then nodes and a real redis-server changing places."""

from __future__ import annotations

from itertools import product

import pytest

from node.replication.handover import TABLE, Event, Handover, Phase, Step
from node.replication.source import Replica, Stage
from tests.node.replication.parts import caught_up, clients, running
from tests.waiting import until


def test_the_table_is_complete() -> None:
    assert set(TABLE) == set(product(Phase, Event))


@pytest.mark.parametrize(("phase", "event"), list(product(Phase, Event)))
def test_every_pair_does_what_the_table_says(phase: Phase, event: Event) -> None:
    handover = Handover(phase)
    becomes, step = TABLE[phase, event]
    assert handover.happened(event) is step
    assert handover.phase is becomes
    # writes are held from the start to every end, and only then
    if phase is Phase.IDLE and becomes is not Phase.IDLE:
        assert step is Step.HOLD_WRITES
    if phase is not Phase.IDLE and becomes is Phase.IDLE:
        assert step in (Step.RELEASE, Step.FOLLOW, Step.TAKE_BACK)


def replica(port: int, ack_offset: int, stage: Stage = Stage.ONLINE) -> Replica:
    return Replica(port, "10.0.0.1", 0, stage=stage, port=port, ack_offset=ack_offset)


def test_the_first_replica_with_everything_is_the_heir() -> None:
    handover = Handover(Phase.WAITING)
    behind = [replica(1, 99), replica(2, 100, Stage.SETTLING), replica(0, 100)]
    assert handover.look(behind, 100, 0) is Step.NOTHING
    assert handover.look([*behind, replica(4, 100)], 100, 0) is Step.OFFER
    assert handover.heir == ("10.0.0.1", 4)


def test_only_the_wanted_heir_counts_and_time_ends_the_wait() -> None:
    for force, step in ((False, Step.RELEASE), (True, Step.OFFER)):
        handover = Handover(Phase.WAITING, ("10.0.0.1", 1), 50, force)
        others = [replica(1, 99), replica(2, 100)]
        assert handover.look(others, 100, 49) is Step.NOTHING
        assert handover.look(others, 100, 50) is step


async def test_two_nodes_change_places_without_a_full_sync() -> None:
    async with running(3) as (old, new, third), clients(old, new) as (to_old, to_new):
        await to_old(b"SET", b"a", b"1")
        assert "requires connected replicas" in str(await to_old(b"FAILOVER"))
        assert "No failover in progress" in str(await to_old(b"FAILOVER", b"ABORT"))
        await new.follow(old)
        await third.follow(old)
        await until(lambda: len(old.pump.feeds) == 2)
        assert "not a replica" in str(await to_old(b"FAILOVER", b"TO", b"127.0.0.1", b"1"))
        assert "requires both a timeout" in str(await to_old(b"FAILOVER", b"FORCE"))
        assert "not valid when server is a replica" in str(await to_new(b"FAILOVER"))
        assert await to_old(b"FAILOVER", b"TO", b"127.0.0.1", b"%d" % new.port) == b"OK"
        await until(lambda: old.is_replica and old.replication.link_up and not new.is_replica)
        assert str(await to_old(b"SET", b"a", b"2")).startswith("READONLY")
        assert await to_new(b"SET", b"a", b"2") == b"OK"
        await caught_up(new, old)
        assert new.replication.feeder.full_sync_count == 0
        # the other replica follows the one that is a replica itself now, and gets everything through it
        await until(lambda: third.replication.link_up)
        await caught_up(new, third)


async def test_a_handover_that_nobody_takes_ends_in_time_and_writes_go_on() -> None:
    async with running(1) as (node,), clients(node, node, node) as (client, stuck, other):
        await stuck(b"REPLCONF", b"listening-port", b"1", b"capa", b"eof")
        await stuck.send(b"PSYNC", b"?", b"-1")
        await until(lambda: bool(list(node.replication.feeder.source.attached())))
        assert await client(b"FAILOVER", b"TIMEOUT", b"100") == b"OK"
        assert "already in progress" in str(await client(b"FAILOVER"))
        assert await other(b"SET", b"held", b"until it ends") == b"OK"
        assert not node.is_replica
        assert await client(b"FAILOVER") == b"OK"
        assert await client(b"FAILOVER", b"ABORT") == b"OK"
        assert await other(b"SET", b"free", b"again") == b"OK"


async def test_only_our_primary_can_hand_over_to_us() -> None:
    async with running(2) as (primary, heir), clients(heir) as (client,):
        await heir.follow(primary)
        refused = await client(b"PSYNC", b"f" * 40, b"1", b"FAILOVER")
        assert "replid must match" in str(refused)
        assert str(await client(b"PSYNC", b"f" * 40, b"1", b"PLEASE")) == "ERR syntax error"
        assert heir.is_replica
