"""CLUSTER FAILOVER with real processes under writers: nobody sees an error, and the pause is short."""

import socket
import statistics
import time

import pytest
import trio

from chaos.client import Outcome
from chaos.scenarios import stutter
from chaos.scenarios.hurt_primary import Fault, Plan, run
from chaos.topology import Address
from chaos.workloads.writers import Load
from gossip.slots import slot_of
from tests.cluster.local import LocalCluster

pytestmark = pytest.mark.slow

ROUNDS = 5
PAUSE_LIMIT_MS = 50.0  # on a machine that is not busy, where a vote takes some 10 ms
VOTES_MAX = 3  # elsewhere: so many plain votes, measured in the same run, come on top


def vote_ms(cluster: LocalCluster) -> float:
    """What a change of a register costs here and now: CLUSTER BUMPEPOCH is one and nothing else."""
    client = cluster.node(cluster.primaries()[1].port)
    took = []
    for _ in range(5):
        began = time.monotonic()
        client.execute_command("CLUSTER", "BUMPEPOCH")
        took.append((time.monotonic() - began) * 1000)
    return statistics.median(took)


def test_a_planned_failover_shows_no_error_and_pauses_shortly(cluster: LocalCluster) -> None:
    cluster.whole()
    votes_ms = vote_ms(cluster)
    plan = Plan(
        Address("127.0.0.1", cluster.port),
        Fault.HAND_OVER,
        rounds=ROUNDS,
        seed=2,
        load=Load(rate=400.0, writers=4),
        op_timeout_ms=2_000,
        warm_up_ms=300,
        settle_ms=300,
    )
    result = trio.run(run, plan, print)
    votes_ms = max(votes_ms, vote_ms(cluster))
    assert (result.ended_early, result.unread, len(result.rounds)) == ("", "", ROUNDS), cluster.logs()
    for each in result.rounds:
        assert each.promoted not in (None, each.victim)
        assert each.counts[Outcome.ACKNOWLEDGED] > 100
        assert (each.counts[Outcome.NOT_APPLIED], each.counts[Outcome.UNKNOWN]) == (0, 0), cluster.logs()
    assert result.losses == ()
    gaps_ms = [each.victim_gap.length_ms for each in result.rounds]
    assert statistics.median(gaps_ms) < PAUSE_LIMIT_MS + VOTES_MAX * votes_ms, (gaps_ms, cluster.logs())


def test_who_waits_for_copies_is_told_that_the_office_went(cluster: LocalCluster) -> None:
    view = cluster.whole()
    old = view.primaries()[0]
    heir = view.replicas_of(old.id)[0].address
    key = next(
        b"w%d" % n for n in range(100_000) if 0 <= slot_of(b"w%d" % n) - old.first_slot < old.slot_count
    )
    with socket.create_connection(old.address, timeout=10) as client:
        client.sendall(b"SET %b v\r\nWAIT 5 0\r\n" % key)
        assert client.recv(100) == b"+OK\r\n"
        assert cluster.node(heir.port).execute_command("CLUSTER", "FAILOVER")
        assert client.recv(200).startswith(b"-UNBLOCKED "), "nobody will acknowledge that to it any more"
    cluster.whole()
    successor = cluster.node(heir.port)
    assert successor.get(key) == b"v"
    assert successor.set(key, "w")
    assert successor.execute_command("WAIT", 1, 5_000) == 1


def test_members_that_stand_still_for_moments_are_not_replaced(cluster: LocalCluster) -> None:
    """A second process for each core wants it all the while. `grapevine chaos stutter` runs for longer."""
    plan = stutter.Plan(Address("127.0.0.1", cluster.port), seconds=8.0, pause_ms=300.0, seed=5)
    result = trio.run(stutter.run, plan, print)
    assert (result.ended_early, result.unread) == ("", "")
    assert result.freezes >= 5
    assert result.failovers == (), cluster.logs()
    assert result.epochs[0] == result.epochs[1]
    assert result.losses == ()
    assert result.counts[Outcome.ACKNOWLEDGED] > 500
