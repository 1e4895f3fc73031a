"""deploy/plan.py: ports, slots and command lines of a local cluster."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.plan import ClusterPlan, PlanError, node_arguments
from gossip.slots import SLOT_COUNT

HERE = Path("/somewhere")


def plan(shards: int = 3, replicas: int = 1, port: int = 7000, router_port: int = 6379) -> ClusterPlan:
    return ClusterPlan(shards, replicas, port, router_port, HERE)


@given(shards=st.integers(1, 500))
def test_slots_are_handed_out_once_and_evenly(shards: int) -> None:
    ranges = [plan(shards, 0).slot_range(shard) for shard in range(shards)]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == SLOT_COUNT - 1
    for (_, last), (first, _) in pairwise(ranges):
        assert first == last + 1
    sizes = {last - first + 1 for first, last in ranges}
    assert max(sizes) - min(sizes) <= 1


@given(shards=st.integers(1, 60), replicas=st.integers(0, 5))
def test_every_shard_gets_a_primary_and_its_replicas(shards: int, replicas: int) -> None:
    nodes = list(plan(shards, replicas, 8000).nodes())
    assert [each.port for each in nodes] == list(range(8000, 8000 + shards * (1 + replicas)))
    for shard in range(shards):
        members = [each for each in nodes if each.shard == shard]
        assert [each.primary for each in members] == [True] + [False] * replicas
        assert members[0].port == plan(shards, replicas, 8000).primary_port(shard)


def test_a_router_comes_last_and_can_be_left_out() -> None:
    assert [each.name for each in plan().processes()][-2:] == ["node-7005", "router-6379"]
    assert [each.name for each in plan(router_port=0).processes()][-1] == "node-7005"


def test_command_lines_join_the_first_node() -> None:
    words = [node_arguments(plan(), each) for each in plan().processes()]
    assert words[0] == ["node", "--port", "7000", "--dir", "/somewhere/node-7000", "--cluster"]
    assert words[4] == [
        "node", "--port", "7004", "--dir", "/somewhere/node-7004", "--cluster", "--join", "127.0.0.1:7000",
    ]  # fmt: skip
    assert words[6] == [
        "router", "--port", "6379", "--dir", "/somewhere/router-6379",
        "--join", "127.0.0.1:7000",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wish", "complaint"),
    [
        ({"shards": 0}, "--shards 0: choose 1 to 500"),
        ({"shards": 501}, "--shards 501: choose 1 to 500"),
        ({"replicas": -1}, "--replicas -1: choose 0 to 5"),
        ({"replicas": 6}, "--replicas 6: choose 0 to 5"),
        ({"port": 0}, "--port 0: choose 1 to 55530"),
        ({"port": 55531}, "--port 55531: choose 1 to 55530"),
        ({"router_port": 55536}, "--router-port 55536: choose 1 to 55535"),
        ({"router_port": 7003}, "--router-port 7003: a node of this cluster has that port"),
        ({"router_port": 17003}, "--router-port 17003: it and a node's port lie 10000 apart"),
        ({"port": 16377}, "--router-port 6379: it and a node's port lie 10000 apart"),
    ],
)
def test_impossible_clusters_are_refused_by_parameter(wish: dict[str, int], complaint: str) -> None:
    with pytest.raises(PlanError) as refusal:
        plan(**wish)
    assert str(refusal.value).startswith(complaint)


def test_the_highest_ports_are_possible() -> None:
    assert plan(port=55530).node_ports[-1] + 10_000 == 65_535


def test_settings_and_zones_reach_every_process() -> None:
    wanted = ClusterPlan(2, 1, 7000, 6379, HERE, ("lease-ms=2000",), ("a", "b"))
    for process in wanted.processes():
        words = node_arguments(wanted, process)
        assert words[words.index("--set") + 1] == "lease-ms=2000"
        assert words[-2:] == ["--set", f"zone={wanted.zone_of(process)}"]
    assert "--set" not in node_arguments(plan(), next(plan().nodes()))


@given(shards=st.integers(1, 20), replicas=st.integers(0, 5), count=st.integers(1, 6))
def test_copies_of_a_shard_are_in_different_zones_while_there_are_enough(
    shards: int, replicas: int, count: int
) -> None:
    zones = tuple(f"z{number}" for number in range(count))
    wanted = ClusterPlan(shards, replicas, 8000, 0, HERE, (), zones)
    for shard in range(shards):
        used = {wanted.zone_of(each) for each in wanted.nodes() if each.shard == shard}
        assert len(used) == min(count, 1 + replicas)


@pytest.mark.parametrize(
    ("settings", "zones", "text"),
    [
        (("lease-ms",), (), "--set lease-ms: write it as name=value"),
        ((), ("a", "a"), "--zones a,a: different"),
    ],
)
def test_settings_and_zones_that_make_no_sense(
    settings: tuple[str, ...], zones: tuple[str, ...], text: str
) -> None:
    with pytest.raises(PlanError, match=text):
        ClusterPlan(1, 1, 7000, 0, HERE, settings, zones)
