"""Killed primaries: promoted within the bound, nothing acknowledged missing, back as a replica."""

import pytest
import trio

from chaos.client import Outcome
from chaos.scenarios.hurt_primary import Plan, Result, run
from chaos.topology import Address
from tests.cluster.local import LocalCluster

pytestmark = pytest.mark.slow

GAP_LIMIT_MS = 2_000


def scenario(cluster: LocalCluster, rounds: int, seed: int) -> Result:
    return trio.run(run, Plan(Address("127.0.0.1", cluster.port), rounds=rounds, seed=seed), print)


def test_killed_primaries(cluster: LocalCluster) -> None:
    cluster.whole()
    result = scenario(cluster, rounds=3, seed=2)
    assert result.ended_early == "", cluster.logs()
    assert len(result.rounds) == 3
    for each in result.rounds:
        assert each.promoted not in (None, each.victim), cluster.logs()
        assert each.victim_gap.length_ms <= GAP_LIMIT_MS, (each, cluster.logs())
        # the others share two cores with a process that starts; a shard without trouble stays far below this
        assert each.other_gap.length_ms <= 500, (each, cluster.logs())
        assert each.counts[Outcome.ACKNOWLEDGED] > 500
    assert result.unread == ""
    assert result.losses == ()
    assert result.false_refusals == ()


def test_the_killed_one_follows_and_the_router_knows(cluster: LocalCluster) -> None:
    before = cluster.whole().primaries()
    result = scenario(cluster, rounds=1, seed=5)
    assert result.ended_early == "", cluster.logs()
    killed = result.rounds[0]
    view = cluster.whole()
    line = next(each for each in view.lines() if each.address == killed.victim)
    assert "slave" in line.flags
    assert line.slot_count == 0
    primary = next(each for each in view.primaries() if each.address == killed.promoted)
    assert line.primary_id == primary.id
    assert line.id == next(
        each.id for each in before if each.address == killed.victim
    )  # same member, same state file
    with cluster.client(cluster.router_port) as client:
        owner = client.get_node_from_key("any", replica=False)
        assert owner is not None
        for index in range(200):
            assert client.set(f"after:{index}", "x")
    router = cluster.node(cluster.router_port).execute_command("CLUSTER", "SLOTS")
    assert str(killed.promoted.port) in str(router)


def test_the_epoch_of_the_shard_rises_and_no_other_falls(cluster: LocalCluster) -> None:
    def epochs() -> dict[int, int]:
        """By the first slot of each shard: its epoch, the seventh field of CLUSTER NODES."""
        text = cluster.node(cluster.port).execute_command("CLUSTER", "NODES", NEVER_DECODE=[])
        rows = [line.split() for line in text.decode().splitlines()]
        return {int(row[8].partition("-")[0]): int(row[6]) for row in rows if len(row) > 8}

    cluster.whole()
    before = epochs()
    assert len(before) == 3
    result = scenario(cluster, rounds=1, seed=9)
    assert result.ended_early == "", cluster.logs()
    after = epochs()
    risen = [first for first in before if after[first] > before[first]]
    assert len(risen) == 1
    assert all(after[first] == before[first] for first in before if first not in risen)
