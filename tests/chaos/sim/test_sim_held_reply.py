"""A reply that was held until the other copies had the write, and leaves after its primary stepped down."""

from dataclasses import dataclass

import pytest

from chaos.sim.checkers import Violation
from chaos.sim.cluster import Cluster
from chaos.sim.events import Events
from chaos.sim.network import Network, Weather
from node.engine.session import Session
from node.replication.link import command_bytes
from tests.chaos.sim.scenes import process_of


@dataclass(eq=False)
class Client:
    """The far end of a connection, as the checkers see it: `note` says what was asked, then what was told."""

    note: object


@dataclass(eq=False)
class Connection:
    peer: Client


@pytest.mark.slow
def test_it_counts_for_the_office_it_was_given_under() -> None:
    events = Events("held")
    cluster = Cluster(events, Network(events, Weather()), nodes=6, shards=3, voters=5, durability="quorum")
    assert events.run_until(events.now_ms + 5_000, lambda: not cluster.trouble())
    first = cluster.primary_of("s0")
    assert first is not None
    (second,) = cluster.replicas_of(first)
    process = process_of(first)
    assert events.run_until(
        events.now_ms + 2_000, lambda: len(process.node.cluster.election.shard.in_sync) == 2
    )
    key = next(key for key in cluster.keys if key.shard == "s0" and key.kind == "register")
    process.node.tell_time()
    Session(process.node.engine, address="client").feed(command_bytes(b"SET", key.name, b"v"))
    held, late = Connection(Client(key)), Connection(Client(key))
    process.executed(held)
    process.settle()
    office = process.office
    assert office is not None
    events.run_until(events.now_ms + 200)
    cluster.pause(first)
    assert events.run_until(events.now_ms + 5_000, lambda: process_of(second).serves("s0"))
    cluster.resume(first)
    assert events.run_until(events.now_ms + 5_000, lambda: process.office is None)

    process.answers(held, b"+OK\r\n", held=True)
    assert (held.peer.note.epoch, held.peer.note.life) == (office[1], process.life)
    with pytest.raises(Violation, match="answers a client and is no primary"):
        process.answers(late, b"+OK\r\n", held=False)
