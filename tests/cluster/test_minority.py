"""Without a majority of the voters nobody acknowledges a write and nobody is promoted; it heals by itself."""

from pathlib import Path

import pytest
import redis

from chaos.faults.processes import freeze, kill, prove, thaw
from chaos.topology import Address
from gossip.slots import slot_of
from tests.cluster.local import LocalCluster, raw, running_cluster
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

LEASE_LIMIT_S = 3.0  # the lease is one second; the rest is for a busy machine


def state_at(port: int) -> str:
    """`cluster_state` of CLUSTER INFO."""
    client = redis.Redis("127.0.0.1", port, socket_timeout=5)
    with client:
        text = client.execute_command("CLUSTER", "INFO", NEVER_DECODE=[]).decode()
    return dict(line.split(":", 1) for line in text.split())["cluster_state"]


def own_key(cluster: LocalCluster, shard: int) -> str:
    line = cluster.whole().primaries()[shard]
    for number in range(100_000):
        if 0 <= slot_of(b"m%d" % number) - line.first_slot < line.slot_count:
            return f"m{number}"
    raise AssertionError("no key for the shard")


def test_a_primary_that_lost_the_voters_stops(tmp_path: Path) -> None:
    with running_cluster(tmp_path, restart=False) as cluster:
        key = own_key(cluster, 0)
        survivor = cluster.primaries()[0]
        assert raw(survivor.port, f"SET {key} x") == ["+OK"]
        for port in cluster.ports:
            if port != survivor.port:  # and not the router: two of seven are a majority of nothing
                kill(prove(Address("127.0.0.1", port), cluster.pid(port)))
        wait_until(
            lambda: "-CLUSTERDOWN" in raw(survivor.port, f"SET {key} x")[0],
            "the primary stops",
            within_s=LEASE_LIMIT_S,
            describe=cluster.logs,
        )
        for _ in range(50):
            assert "-CLUSTERDOWN" in raw(survivor.port, f"SET {key} x")[0], cluster.logs()
        wait_until(
            lambda: state_at(cluster.router_port) == "fail",
            "the router says so",
            within_s=LEASE_LIMIT_S,
            describe=cluster.logs,
        )


def test_frozen_voters_thaw_and_service_goes_on(own_cluster: LocalCluster) -> None:
    key = own_key(own_cluster, 0)
    survivor = own_cluster.primaries()[0]
    others = [
        prove(Address("127.0.0.1", port), own_cluster.pid(port))
        for port in own_cluster.ports
        if port != survivor.port
    ]
    for target in others:
        freeze(target)
    try:
        wait_until(
            lambda: "-CLUSTERDOWN" in raw(survivor.port, f"SET {key} x")[0],
            "the primary stops",
            within_s=LEASE_LIMIT_S,
            describe=own_cluster.logs,
        )
    finally:
        for target in others:
            thaw(target)
    own_cluster.close()
    own_cluster.whole()
    with own_cluster.client() as again:
        assert again.set(key, "y")
        assert again.get(key) == b"y"
