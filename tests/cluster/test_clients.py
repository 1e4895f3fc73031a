"""Unmodified clients on a real cluster, entering by a node and by the router."""

import re
import subprocess

import pytest

from chaos.topology import Address, parse_slots
from gossip.slots import slot_of
from tests.cluster.local import LocalCluster

pytestmark = pytest.mark.slow


def shell(*words: str, stdin: str = "", timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False)


@pytest.fixture(params=["node", "router"])
def entry(request: pytest.FixtureRequest, cluster: LocalCluster) -> int:
    return cluster.port if request.param == "node" else cluster.router_port


def test_redis_py_reads_what_it_wrote(cluster: LocalCluster, entry: int) -> None:
    with cluster.client(entry) as client:
        names = [f"py:{entry}:{index}" for index in range(300)]
        for name in names:
            assert client.set(name, name.upper())
        assert [client.get(name) for name in names] == [name.upper().encode() for name in names]
        assert len({slot_of(name.encode()) * 3 // 16_384 for name in names}) == 3
        assert client.mset_nonatomic({f"{name}:n": 1 for name in names[:50]})
        assert sum(client.incr(f"{name}:n") for name in names[:50]) == 100
        assert client.delete(*names) == 300


def test_redis_py_pipeline_and_tags(cluster: LocalCluster, entry: int) -> None:
    with cluster.client(entry) as client:
        pipeline = client.pipeline()
        for index in range(100):
            pipeline.set(f"pipe:{index}", index)
            pipeline.get(f"pipe:{index}")
        replies = pipeline.execute()
        assert replies[1::2] == [str(index).encode() for index in range(100)]
        client.mset({"{tag}:a": 1, "{tag}:b": 2})
        assert client.mget("{tag}:a", "{tag}:b", "{tag}:none") == [b"1", b"2", None]
        with client.pipeline(transaction=True) as transaction:
            transaction.incrby("{tag}:a", 5)
            transaction.append("{tag}:b", "2")
            assert transaction.execute() == [6, 2]


def test_every_primary_gets_its_share(cluster: LocalCluster) -> None:
    with cluster.client() as client:
        for index in range(3_000):
            client.set(f"share:{index}", "x")
        counts = {str(address): cluster.node(address.port).dbsize() for address in cluster.primaries()}
    assert all(count > 800 for count in counts.values()), counts
    replicas = [port for port in cluster.ports if f"127.0.0.1:{port}" not in counts]
    cluster.whole()
    by_replica = sorted(cluster.node(port).dbsize() for port in replicas)
    assert by_replica == sorted(counts.values())


def test_redis_cli_follows_redirections(entry: int) -> None:
    lines = "".join(f"SET cli:{index} value-{index}\n" for index in range(20))
    written = shell("redis-cli", "-c", "-p", str(entry), stdin=lines)
    assert written.stdout.count("OK") == 20, written.stdout + written.stderr
    lines = "".join(f"GET cli:{index}\n" for index in range(20))
    read = shell("redis-cli", "-c", "-p", str(entry), stdin=lines)
    for index in range(20):
        assert f"value-{index}" in read.stdout


def test_redis_cli_check_finds_nothing_wrong(cluster: LocalCluster) -> None:
    checked = shell("redis-cli", "--cluster", "check", f"127.0.0.1:{cluster.port}")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "[OK] All nodes agree about slots configuration." in checked.stdout
    assert "[OK] All 16384 slots covered." in checked.stdout


def test_redis_benchmark_cluster(entry: int) -> None:
    ran = shell(
        "redis-benchmark",
        "--cluster",
        "-p",
        str(entry),
        "-t",
        "set,get",
        "-n",
        "20000",
        "-c",
        "20",
        "-r",
        "10000",
        "-q",
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(re.findall(r"(SET|GET): [0-9.]+ requests per second", ran.stdout.replace("\r", "\n"))) == 2, (
        ran.stdout
    )
    assert "rror" not in ran.stdout + ran.stderr


def test_the_router_tells_what_the_nodes_tell(cluster: LocalCluster) -> None:
    cluster.whole()
    router, node = cluster.node(cluster.router_port), cluster.node(cluster.port)
    asked = Address("127.0.0.1", cluster.port)

    def slots(client: object) -> list[tuple[int, int, Address, frozenset[Address]]]:
        reply = client.execute_command("CLUSTER", "SLOTS")  # type: ignore[attr-defined]
        if isinstance(reply, dict):  # redis-py's own form
            return sorted(
                (
                    first,
                    last,
                    Address(*row["primary"][:2]),
                    frozenset(Address(*each[:2]) for each in row["replicas"]),
                )
                for (first, last), row in reply.items()
            )
        ranges = parse_slots(reply, asked)
        return [(each.first, each.last, each.primary, frozenset(each.replicas)) for each in ranges]

    assert slots(router) == slots(node)
    assert sum(row[1] - row[0] + 1 for row in slots(router)) == 16_384
    own_id = router.execute_command("CLUSTER", "MYID").decode()
    assert re.fullmatch("[0-9a-f]{40}", own_id)
    nodes = {port: cluster.node(port).execute_command("CLUSTER", "MYID").decode() for port in cluster.ports}
    assert own_id not in nodes.values()
    told = shell("redis-cli", "-p", str(cluster.router_port), "CLUSTER", "NODES").stdout
    for port, member_id in nodes.items():
        assert f"{member_id} 127.0.0.1:{port}@{port + 10_000}" in told
    assert router.execute_command("CLUSTER", "KEYSLOT", "{user}:1") == slot_of(b"user")
    info = shell("redis-cli", "-p", str(cluster.router_port), "CLUSTER", "INFO").stdout
    assert "cluster_state:ok" in info
    assert "cluster_slots_ok:16384" in info


def test_a_shard_has_one_primary_and_one_replica_in_cluster_shards(cluster: LocalCluster) -> None:
    cluster.whole()
    for port in (cluster.port, cluster.router_port):
        reply = shell("redis-cli", "-p", str(port), "--json", "CLUSTER", "SHARDS").stdout
        assert reply.count('"master"') == 3, reply
        assert reply.count('"replica"') == 3, reply
        assert reply.count('"online"') == 6, reply
