"""A change that a majority accepted and nobody heard of: found by chance once, told here step by step."""

import pytest

from chaos.sim.cluster import Cluster
from chaos.sim.events import Events
from chaos.sim.network import Network, Weather
from gossip.repair import Repair
from gossip.topology import ShardView

REGISTER = "shard/s0"


def cut_off_with_the_news(events: Events, network: Network, cluster: Cluster) -> None:
    """The primary of s0 is cut off, its replica stands, and is cut off itself when three of five voters have
    accepted it and none of their answers reached it. The old primary comes back, and as the replica sees
    that, it does not stand again. Later everybody is back."""
    everybody = range(6)
    assert events.run_until(events.now_ms + 5_000, lambda: not cluster.trouble())
    primary, replica = cluster.machines[0], cluster.machines[3]
    voters = [machine.process for machine in cluster.machines[:5]]

    def accepted() -> int:
        count = 0
        for process in voters:
            assert process is not None
            ledger = process.core.voting.registers.acceptor.ledgers.get(REGISTER)
            if ledger is not None and ledger.accepted is not None:
                view = ShardView.from_data("s0", ledger.accepted.data)
                count += replica.process is not None and view.primary == replica.process.id
        return count

    network.part([primary.number], everybody)
    assert events.run_until(events.now_ms + 10_000, lambda: accepted() == 3)
    network.part([replica.number], everybody)
    network.part([primary.number], everybody, mend=True)
    events.run_until(events.now_ms + 8_000)  # the replica gives up: unknown
    network.heal()


def fifteen_seconds_later(seed: str) -> str:
    """What does not work although nothing is broken any more."""
    events = Events(seed)
    network = Network(events, Weather())
    cluster = Cluster(events, network, nodes=6, shards=3, voters=5, bugs=frozenset())
    cut_off_with_the_news(events, network, cluster)
    events.run_until(events.now_ms + 15_000, lambda: not cluster.trouble())
    return cluster.trouble()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_change_that_nobody_heard_of_is_found(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading alone mends it; a primary that is not heard does not give way here, which would mend it too."""
    for blind in (True, False):
        monkeypatch.undo()
        monkeypatch.setattr("node.office.LEASELESS_LEASES", 1_000)
        if blind:
            monkeypatch.setattr(Repair, "due", lambda self, now_ms: [])
        trouble = fifteen_seconds_later(str(seed))
        if blind:
            assert "slot 0 is served by nobody" in trouble
        else:
            assert trouble == ""
