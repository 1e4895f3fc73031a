"""Two failures that overlap in a full sync: the successor dies while the old primary copies its data."""

import pytest

from chaos.sim.cluster import Cluster, Machine
from chaos.sim.events import Events
from chaos.sim.network import Network, Weather
from node.engine.session import Session
from node.replication.link import State, command_bytes
from tests.chaos.sim.scenes import process_of

VALUE = b"v" * 200_000  # so that a full sync takes many packets
SERVED_WITHIN_MS = 5_000


def write(machine: Machine, key: bytes, value: bytes) -> None:
    """A client's write, whose reply waits for the other copy."""
    process = process_of(machine)
    process.node.tell_time()
    assert b"-" not in Session(process.node.engine, address="client").feed(command_bytes(b"SET", key, value))
    process.settle()


@pytest.mark.slow
@pytest.mark.parametrize("load", ["auto", "flush-before-load"])
@pytest.mark.parametrize("seed", range(2))
def test_the_old_copy_leads_again(seed: int, load: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that was acknowledged is in the old primary, which has a tail that nobody else got, and so
    takes a full sync. What it had stays until that is complete, or there would be no copy left."""
    events = Events(str(seed))
    network = Network(events, Weather())
    settings = (f"repl-diskless-load={load}",)
    cluster = Cluster(events, network, nodes=6, shards=3, voters=5, settings=settings, durability="quorum")
    monkeypatch.setattr(cluster.reigns, "begins", lambda *_, **__: None)  # our writes are told to nobody
    assert events.run_until(events.now_ms + 5_000, lambda: not cluster.trouble())
    first = cluster.primary_of("s0")
    assert first is not None
    (second,) = cluster.replicas_of(first)
    node = process_of(first).node
    assert events.run_until(events.now_ms + 2_000, lambda: len(node.cluster.election.shard.in_sync) == 2)
    keys = [key.name for key in cluster.keys if key.shard == "s0"]
    for key in keys:
        write(first, key, VALUE)
    events.run_until(events.now_ms + 500)
    assert process_of(second).node.digest == node.digest

    network.part([first.number], [second.number])
    write(first, keys[0], b"nobody else has this")
    cluster.pause(first)
    assert events.run_until(events.now_ms + 5_000, lambda: process_of(second).serves("s0"))
    network.heal()
    cluster.resume(first)
    assert events.run_until(events.now_ms + 5_000, lambda: node.replication.link_state is State.LOADING)
    cluster.kill(second)

    served = events.run_until(events.now_ms + SERVED_WITHIN_MS, lambda: process_of(first).serves("s0"))
    assert served == (load == "auto")
    keyspace = node.engine.keyspace
    assert keyspace.size(0) == (len(keys) if served else 0)
    assert keyspace.get(0, keys[-1]) == (VALUE if served else None)
