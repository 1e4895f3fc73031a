"""What a node says about keys that are not its own."""

from pathlib import Path

import pytest
import redis

from chaos.ports import free_port
from gossip.slots import slot_of
from tests.cluster.local import LocalCluster, process, raw
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def key_of(cluster: LocalCluster, shard: int) -> str:
    """A key in the slots of the shard, counted in slot order."""
    first = cluster.primaries()[shard]
    line = next(each for each in cluster.whole().primaries() if each.address == first)
    return next(
        f"k{n}" for n in range(10_000) if 0 <= slot_of(f"k{n}".encode()) - line.first_slot < line.slot_count
    )


def test_moved_names_the_owner(cluster: LocalCluster) -> None:
    primaries = cluster.primaries()
    key = key_of(cluster, 2)
    wanted = f"-MOVED {slot_of(key.encode())} {primaries[2]}"
    assert raw(primaries[0].port, f"GET {key}", f"SET {key} 1") == [wanted, wanted]
    assert raw(cluster.router_port, f"GET {key}", f"SET {key} 1", "PING") == [wanted, wanted, "+PONG"]


def test_a_replica_redirects_unless_it_may_read(cluster: LocalCluster) -> None:
    view = cluster.whole()
    primary = view.primaries()[0]
    replica = view.replicas_of(primary.id)[0].address.port
    key = key_of(cluster, 0)
    assert raw(primary.address.port, f"SET {key} hello") == ["+OK"]
    cluster.whole()
    moved = f"-MOVED {slot_of(key.encode())} {primary.address}"
    replies = raw(replica, f"GET {key}", "READONLY", f"GET {key}", f"SET {key} 2", "READWRITE", f"GET {key}")
    assert replies == [moved, "+OK", "hello", moved, "+OK", moved]


def test_keys_of_different_slots(cluster: LocalCluster) -> None:
    primaries = cluster.primaries()
    for port in (primaries[0].port, cluster.router_port):
        assert raw(port, "MGET {a}1 {b}1") == ["-CROSSSLOT Keys in request don't hash to the same slot"]
        assert raw(port, "MSET {a}1 1 {b}1 1")[0].startswith("-CROSSSLOT")


def test_redirection_inside_a_transaction(cluster: LocalCluster) -> None:
    primaries = cluster.primaries()
    key = key_of(cluster, 1)
    replies = raw(primaries[0].port, "MULTI", f"SET {key} 1", "EXEC")
    assert replies[0] == "+OK"
    assert replies[1] == f"-MOVED {slot_of(key.encode())} {primaries[1]}"
    assert replies[2].startswith("-EXECABORT")


def test_asking_does_not_open_a_slot_that_is_not_on_the_move(cluster: LocalCluster) -> None:
    primaries = cluster.primaries()
    key = key_of(cluster, 1)
    replies = raw(primaries[0].port, "ASKING", f"GET {key}")
    assert replies == ["+OK", f"-MOVED {slot_of(key.encode())} {primaries[1]}"]


def test_a_slot_on_the_move_sends_for_what_is_not_here(cluster: LocalCluster) -> None:
    """CLUSTER SETSLOT as redis-cli uses it: ASK for keys that have left, MOVED for whoever does not ask."""
    view = cluster.whole()
    source, target = (line.address for line in view.primaries()[:2])
    ids = {line.address: line.id for line in view.lines()}
    key = next(f"move:{n}" for n in range(100_000) if slot_of(f"move:{n}".encode()) == 77)
    assert raw(source.port, f"SET {key} here") == ["+OK"]
    assert raw(target.port, f"CLUSTER SETSLOT 77 IMPORTING {ids[source]}") == ["+OK"]
    assert raw(source.port, f"CLUSTER SETSLOT 77 MIGRATING {ids[target]}") == ["+OK"]
    tag = "{" + key + "}"
    try:
        assert raw(source.port, f"GET {key}") == ["here"]
        assert raw(source.port, f"GET {tag}gone") == [f"-ASK 77 {target}"]
        assert raw(source.port, f"MGET {key} {tag}gone")[0].startswith("-TRYAGAIN")
        assert raw(target.port, f"GET {tag}gone", "ASKING", f"GET {tag}gone") == [
            f"-MOVED 77 {source}",
            "+OK",
            "$-1",
        ]
        # ASKING counts for one command only
        replies = raw(target.port, "ASKING", f"SET {tag}new 1", f"GET {tag}new", "ASKING", f"DEL {tag}new")
        assert replies == ["+OK", "+OK", f"-MOVED 77 {source}", "+OK", ":1"]
    finally:
        assert raw(source.port, "CLUSTER SETSLOT 77 STABLE") == ["+OK"]
        assert raw(target.port, "CLUSTER SETSLOT 77 STABLE") == ["+OK"]
    assert raw(source.port, f"GET {tag}gone", f"DEL {key}") == ["$-1", ":1"]


@pytest.mark.parametrize("words", ["DBSIZE", "FLUSHALL", "SCAN 0", "RANDOMKEY", "KEYS *"])
def test_the_router_has_no_data_and_says_where_it_is(cluster: LocalCluster, words: str) -> None:
    reply = raw(cluster.router_port, words)[0]
    assert reply.startswith("-ERR ")
    assert "router" in reply
    assert "primar" in reply


def test_the_router_says_what_it_is(cluster: LocalCluster) -> None:
    router = cluster.node(cluster.router_port)
    info = router.info()
    assert info["grapevine_kind"] == "router"
    assert info["redis_version"] == "7.2.4"
    assert info["tcp_port"] == cluster.router_port
    assert info["cluster_enabled"] == 1
    assert router.ping()
    assert router.client_id() > 0
    assert int(raw(cluster.router_port, "COMMAND COUNT")[0].removeprefix(":")) > 50


def test_a_new_node_serves_nothing_until_slots_are_assigned(tmp_path: Path) -> None:
    port = free_port()
    log = tmp_path / "node.log"
    with process("node", "--port", str(port), "--dir", str(tmp_path / "d"), "--cluster", log=log):
        client = redis.Redis(
            "127.0.0.1",
            port,
            socket_timeout=5,
            retry=redis.retry.Retry(redis.backoff.ConstantBackoff(0.05), 200),
        )
        assert client.ping()
        client.close()
        assert raw(port, "GET k") == ["-CLUSTERDOWN Hash slot not served"]
        assert raw(port, "CLUSTER ADDSLOTSRANGE 0 16383") == ["+OK"]

        def serves() -> bool:
            reply = raw(port, "GET k")[0]
            assert reply.startswith(("$-1", "-CLUSTERDOWN")), log.read_text()
            return reply == "$-1"

        wait_until(serves, "the slots are served", describe=log.read_text)
        assert raw(port, "SET k v", "GET k") == ["+OK", "v"]
