"""Changes of the in-sync set while the votes take long."""

import pytest

from chaos.sim.cluster import Cluster
from chaos.sim.events import Events
from chaos.sim.network import Network, Weather
from gossip.topology import ShardView, Topology
from node.durability import Durability
from tests.chaos.sim.scenes import process_of


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_one_change_at_a_time(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one is undecided the primary asks for no other: the outcome of the first would be taken for that
    of the second, which could be decided later, unnoticed, and name a copy that lacks what came since."""
    events = Events(str(seed))
    network = Network(events, Weather())
    cluster = Cluster(events, network, nodes=8, shards=2, voters=5, durability="quorum")
    assert events.run_until(events.now_ms + 5_000, lambda: not cluster.trouble())
    primary = cluster.primary_of("s0")
    assert primary is not None
    process = process_of(primary)
    under_way: list[tuple[str, ...]] = []
    most = 0
    propose, decided = Durability.propose, Durability.decided

    def proposes(durability: Durability, topology: Topology) -> tuple[str, ...] | None:
        nonlocal most
        wanted = propose(durability, topology)
        if wanted is not None and durability is process.node.cluster.durability:
            under_way.append(wanted)
            most = max(most, len(under_way))
        return wanted

    def is_decided(durability: Durability, shard: ShardView) -> None:
        if durability is process.node.cluster.durability:
            under_way.pop(0)
        decided(durability, shard)

    monkeypatch.setattr(Durability, "propose", proposes)
    monkeypatch.setattr(Durability, "decided", is_decided)
    replicas = cluster.replicas_of(primary)
    own = {primary.number, *(machine.number for machine in replicas)}
    for replica in replicas[:2]:  # one after the other: each wants another set
        cluster.kill(replica)
        network.part([primary.number], [each.number for each in cluster.machines if each.number not in own])
        events.run_until(events.now_ms + 900)
        network.heal()
        events.run_until(events.now_ms + 3_000)
    assert most == 1
    assert not under_way
    assert len(process.node.cluster.election.shard.in_sync) == 2
