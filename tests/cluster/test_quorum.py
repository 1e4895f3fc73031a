"""write-durability quorum with real processes: no acknowledged write is lost, whatever happens."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from chaos.client import Outcome
from chaos.faults.processes import freeze, prove, thaw
from chaos.scenarios.hurt_primary import Fault, Plan, Result, run
from chaos.scenarios.watch import CannotBegin
from chaos.topology import Address
from tests.cluster.local import LocalCluster, grapevine, raw, running_cluster
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

SETTINGS = ("write-durability=quorum", "write-quorum-timeout-ms=300")
GAP_LIMIT_MS = 3_000


@pytest.fixture(scope="module")
def quorum_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """One shard with two replicas: writable through any single failure."""
    directory: Path = tmp_path_factory.mktemp("quorum")
    with running_cluster(directory, shards=1, replicas=2, settings=SETTINGS) as running:
        yield running


def scenario(cluster: LocalCluster, **more: object) -> Result:
    plan = Plan(Address("127.0.0.1", cluster.port), durability="quorum", seed=3, **more)  # type: ignore[arg-type]
    return trio.run(run, plan, print)


@pytest.mark.parametrize("fault", [Fault.KILL, Fault.FREEZE])
def test_nothing_acknowledged_is_lost(quorum_cluster: LocalCluster, fault: Fault) -> None:
    quorum_cluster.whole()
    result = scenario(quorum_cluster, rounds=2, fault=fault, freeze_ms=2_500.0)
    assert result.ended_early == "", quorum_cluster.logs()
    for each in result.rounds:
        assert each.promoted not in (None, each.victim), quorum_cluster.logs()
        assert each.victim_gap.length_ms <= GAP_LIMIT_MS, (each, quorum_cluster.logs())
        assert each.counts[Outcome.ACKNOWLEDGED] > 200, (each, quorum_cluster.logs())
    assert result.unread == ""
    assert result.losses == ()
    assert result.false_refusals == ()


def test_every_failover_is_told_of(quorum_cluster: LocalCluster) -> None:
    """Needs the failovers of the tests above; a killed node forgets its own, so the last one counts."""
    quorum_cluster.whole()
    shown = grapevine("status", "--failovers", "--json", "--port", str(quorum_cluster.port))
    assert shown.returncode == 0, shown.stderr
    won = [each for each in json.loads(shown.stdout) if each["outcome"] == "won"]
    assert won
    last = won[-1]
    assert last["node"] == str(quorum_cluster.primaries()[0])
    assert last["durability"] == "quorum"
    assert last["lost"].startswith("nothing acknowledged (quorum)")
    assert len(last["accepted-by"].split()) >= 2
    assert last["voted-ms"] >= 0
    assert last["took-ms"] >= last["waited-ms"] >= 0
    table = grapevine("status", "--failovers", "--port", str(quorum_cluster.port))
    assert last["node"] in table.stdout
    logged = "".join(path.read_text() for path in quorum_cluster.directory.glob("node-*/node.log"))
    assert '"outcome": "won"' in logged


def test_a_frozen_replica_is_voted_out_and_comes_back(quorum_cluster: LocalCluster) -> None:
    view = quorum_cluster.whole()
    primary = view.primaries()[0]
    frozen = view.replicas_of(primary.id)[0]
    client = quorum_cluster.node(primary.address.port)
    assert client.set("k", "before")

    def in_sync() -> list[str]:
        return list(client.info("cluster")["grapevine_in_sync"])

    assert len(in_sync()) == 3
    target = prove(frozen.address, quorum_cluster.pid(frozen.address.port))
    freeze(target)
    try:
        began = time.monotonic()
        assert client.set("k", "during")
        held_s = time.monotonic() - began
        assert held_s < 3, quorum_cluster.logs()
        assert frozen.id not in in_sync()
        assert client.get("k") == b"during"
    finally:
        thaw(target)
    quorum_cluster.whole()
    wait_until(lambda: frozen.id in in_sync(), "the thawed replica in sync", describe=quorum_cluster.logs)
    assert client.set("k", "after")


def test_the_scenario_refuses_a_cluster_that_promises_less(quorum_cluster: LocalCluster) -> None:
    port = quorum_cluster.ports[-1]
    assert raw(port, "CONFIG SET write-durability async") == ["+OK"]
    try:
        with pytest.raises(CannotBegin, match=r"write-durability of 127\.0\.0\.1"):
            scenario(quorum_cluster, rounds=1)
    finally:
        assert raw(port, "CONFIG SET write-durability quorum") == ["+OK"]
