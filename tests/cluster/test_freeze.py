"""A primary that stands still for longer than its lease: replaced meanwhile, and harmless when it goes on."""

import socket
import time

import pytest

from chaos.faults.processes import freeze, prove, thaw
from chaos.topology import Address
from gossip.slots import slot_of
from tests.cluster.local import LocalCluster, raw
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

PROMOTION_LIMIT_S = 5.0


def key_of_first_shard(cluster: LocalCluster) -> str:
    line = cluster.whole().primaries()[0]
    numbers = (
        number
        for number in range(100_000)
        if slot_of(b"f%d" % number) - line.first_slot in range(line.slot_count)
    )
    return f"f{next(numbers)}"


def test_commands_that_waited_through_a_freeze_are_refused(cluster: LocalCluster) -> None:
    """They lie in the socket when the process goes on, before it can have heard of its successor."""
    key = key_of_first_shard(cluster)
    view = cluster.whole()
    victim = view.primaries()[0]
    heir = view.replicas_of(victim.id)[0].address
    assert raw(victim.address.port, f"SET {key} before") == ["+OK"]
    cluster.whole()
    target = prove(Address("127.0.0.1", victim.address.port), cluster.pid(victim.address.port))
    with socket.create_connection(("127.0.0.1", victim.address.port), timeout=10) as waiting:
        waiting.sendall(b"PING\r\n")
        assert waiting.recv(100) == b"+PONG\r\n"
        freeze(target)
        try:
            waiting.sendall(f"GET {key}\r\nSET {key} stale\r\nGET {key}\r\nINCR {key}:n\r\n".encode())
            wait_until(
                lambda: raw(heir.port, f"SET {key} after") == ["+OK"],
                "the heir serves",
                within_s=PROMOTION_LIMIT_S,
                describe=lambda: (raw(heir.port, "ROLE"), cluster.logs()),
            )
        finally:
            thaw(target)
        received = b""
        while received.count(b"\r\n") < 4 and (data := waiting.recv(4_096)):
            received += data
        replies = received.decode().splitlines()
        # a closed connection is an honest answer too: the client then knows that it does not know
        assert len(replies) <= 4
        for answer in replies:
            assert answer.startswith(("-CLUSTERDOWN", "-MOVED")), (replies, cluster.logs())
    cluster.whole()
    assert raw(heir.port, f"GET {key}") == ["after"]
    with cluster.client() as client:
        assert client.get(key) == b"after"
    line = next(each for each in cluster.whole().lines() if each.address == victim.address)
    assert line.primary_id


def test_a_short_pause_changes_nothing(cluster: LocalCluster) -> None:
    view = cluster.whole()
    before = [line.id for line in view.primaries()]
    target = prove(
        Address("127.0.0.1", view.primaries()[1].address.port), cluster.pid(view.primaries()[1].address.port)
    )
    for _ in range(3):
        freeze(target)
        time.sleep(0.3)  # the fault itself: a process that stands still for so long
        thaw(target)
        time.sleep(0.3)  # and then goes on for as long
    assert [line.id for line in cluster.whole().primaries()] == before
