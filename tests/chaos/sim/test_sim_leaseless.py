"""A primary that reaches its replicas and no majority of the voters: one of those leads instead (row 9)."""

import pytest

from chaos.sim.cluster import Cluster, Machine
from chaos.sim.events import Events
from chaos.sim.network import Network, Weather

SERVED_WITHIN_MS = 4_000
"""One lease until it has none, one until it sends its replicas away, a look now and then, and votes."""


def cut(network: Network, cluster: Cluster, primary: Machine) -> None:
    """From now on `primary` reaches its replicas only."""
    own = {primary.number, *(machine.number for machine in cluster.replicas_of(primary))}
    network.part([primary.number], [each.number for each in cluster.machines if each.number not in own])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_replica_that_reaches_voters_leads_instead(seed: int) -> None:
    events = Events(str(seed))
    network = Network(events, Weather())
    cluster = Cluster(events, network, nodes=7, shards=3, voters=5, bugs=frozenset())
    assert events.run_until(events.now_ms + 5_000, lambda: not cluster.trouble())
    primary = cluster.primary_of("s0")
    assert primary is not None
    cut(network, cluster, primary)
    replicas = cluster.replicas_of(primary)

    def replaced() -> bool:
        return any(each.process is not None and each.process.serves("s0") for each in replicas)

    assert events.run_until(events.now_ms + SERVED_WITHIN_MS, replaced)
    assert primary.process is not None
    successor = cluster.primary_of("s0")
    assert successor is not None
    assert successor.process is not None
    assert successor.process.node.cluster.election.accounts[-1].reason == "it has no lease"
    network.heal()
    assert events.run_until(events.now_ms + 15_000, lambda: not cluster.trouble())
    assert not primary.process.serves("s0")


@pytest.mark.slow
def test_nobody_stands_while_nobody_hears_the_voters() -> None:
    """Without a majority anywhere its replicas wait with their primary, and it goes on when there is one."""
    events = Events("1")
    network = Network(events, Weather())
    cluster = Cluster(events, network, nodes=6, shards=3, voters=5, bugs=frozenset())
    assert events.run_until(events.now_ms + 5_000, lambda: not cluster.trouble())
    network.part([0, 3], [1, 2, 4, 5])  # each primary with its replica, and apart from everybody else
    network.part([1, 4], [2, 5])
    events.run_until(events.now_ms + 20_000)
    elections = [process.node.cluster.election for process in cluster.processes()]
    assert [election.state for election in elections] == ["leading"] * 3 + ["following"] * 3
    assert not any(election.accounts for election in elections), "nobody stood"
    network.heal()
    assert events.run_until(events.now_ms + 15_000, lambda: not cluster.trouble())
    assert [election.state for election in elections] == ["leading"] * 3 + ["following"] * 3
