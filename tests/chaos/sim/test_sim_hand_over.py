"""A planned failover while the voters' disks stall: clients wait, nobody is refused."""

from functools import partial

import pytest

from chaos.sim.cluster import Cluster, Machine
from chaos.sim.events import Events
from chaos.sim.network import Network, Weather
from node.engine.session import Session
from node.replication.link import command_bytes
from tests.chaos.sim.scenes import process_of

STALL_MS = 1_300
"""Of all disks at once, as when they are one; it begins when clients are held."""


def told(machine: Machine, key: bytes) -> bytes:
    """What a client reads on a new connection; nothing while it is held."""
    process = process_of(machine)
    process.node.tell_time()
    reply = Session(process.node.engine, address="client").feed(command_bytes(b"GET", key))
    process.settle()
    return reply


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_stalled_disks_make_clients_wait_and_refuse_none(seed: int) -> None:
    events = Events(str(seed))
    cluster = Cluster(events, Network(events, Weather()), nodes=6, shards=3, voters=5)
    assert events.run_until(events.now_ms + 5_000, lambda: not cluster.trouble())
    old = cluster.primary_of("s0")
    assert old is not None
    (heir,) = cluster.replicas_of(old)
    node = process_of(heir).node
    assert events.run_until(
        events.now_ms + 2_000, lambda: len(process_of(old).node.cluster.election.shard.in_sync) == 2
    )
    key = next(key.name for key in cluster.keys if key.shard == "s0")
    assert node.cluster.errands.start_own(partial(node.cluster.fail_over, ""))
    replies: list[bytes] = []
    held_ms: list[int] = []

    def stall(span_ms: tuple[int, int] | None) -> None:
        for machine in cluster.machines:
            machine.slow_disk = span_ms

    def done() -> bool:
        reply = told(old, key)
        replies.append(reply)
        if not reply and not held_ms:
            stall((STALL_MS, STALL_MS))
            events.at(events.now_ms + 100, lambda: stall(None))
        if not reply:
            held_ms.append(events.now_ms)
        return reply.startswith(b"-MOVED ")

    assert events.run_until(events.now_ms + 10_000, done), set(replies)
    assert process_of(heir).serves("s0")
    assert {reply[:2] for reply in replies[:-1]} == {b"$-", b""}, set(replies)
    assert STALL_MS <= held_ms[-1] - held_ms[0] <= 2 * STALL_MS
