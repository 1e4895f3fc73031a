"""CLUSTER beside a real redis-server: a lone node that owns all slots, the same questions to both."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from chaos.ports import free_port
from node.engine.reply import Reply
from tests.node.cluster_parts import fields, lines, members
from tests.node.replication.parts import Client, clients, running
from tests.oracle import RedisServer
from tests.waiting import until

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.slow,
    pytest.mark.skipif(not RedisServer.is_installed(), reason="redis-server is not installed"),
]

UNKNOWN = "f" * 40

# Answered alike, word for word.
SAME = [
    "CLUSTER KEYSLOT foo",
    "CLUSTER KEYSLOT {a}b",
    "CLUSTER KEYSLOT",
    "CLUSTER COUNTKEYSINSLOT 12182",
    "CLUSTER COUNTKEYSINSLOT 5",
    "CLUSTER COUNTKEYSINSLOT 16384",
    "CLUSTER COUNTKEYSINSLOT -1",
    "CLUSTER COUNTKEYSINSLOT x",
    "CLUSTER GETKEYSINSLOT 12182 10",
    "CLUSTER GETKEYSINSLOT 12182 0",
    "CLUSTER GETKEYSINSLOT 12182 -1",
    "CLUSTER GETKEYSINSLOT 16384 1",
    "CLUSTER ADDSLOTS 5",
    "CLUSTER ADDSLOTS 16384",
    "CLUSTER ADDSLOTS x",
    "CLUSTER ADDSLOTS",
    "CLUSTER ADDSLOTSRANGE 1",
    "CLUSTER ADDSLOTSRANGE 1 2 3",
    "CLUSTER ADDSLOTSRANGE 7 5",
    "CLUSTER ADDSLOTSRANGE 7 8",
    "CLUSTER DELSLOTSRANGE 7 5",
    "CLUSTER DELSLOTS 5 5",
    "CLUSTER DELSLOTS 16384",
    f"CLUSTER REPLICATE {UNKNOWN}",
    "CLUSTER REPLICATE nonsense",
    f"CLUSTER REPLICAS {UNKNOWN}",
    f"CLUSTER SLAVES {UNKNOWN}",
    f"CLUSTER FORGET {UNKNOWN}",
    f"CLUSTER COUNT-FAILURE-REPORTS {UNKNOWN}",
    "CLUSTER MEET 127.0.0.1",
    "CLUSTER MEET 127.0.0.1 99999",
    "CLUSTER MEET 127.0.0.1 x",
    "CLUSTER MEET nowhere 7000",
    "CLUSTER MEET 127.0.0.1 7000 x",
    "CLUSTER FAILOVER",
    "CLUSTER FAILOVER NOW",
    "CLUSTER FAILOVER FORCE",
    "CLUSTER RESET MILD",
    "CLUSTER RESET",
    "CLUSTER SETSLOT 5",
    f"CLUSTER SETSLOT 5 NODE {UNKNOWN}",
    f"CLUSTER SETSLOT 5 MIGRATING {UNKNOWN}",
    f"CLUSTER SETSLOT 5 IMPORTING {UNKNOWN}",
    "CLUSTER SETSLOT 5 STABLE",
    "CLUSTER SETSLOT 16384 STABLE",
    "CLUSTER SETSLOT 5 SIDEWAYS",
    "CLUSTER SAVECONFIG",
    "CLUSTER SET-CONFIG-EPOCH -5",
    "CLUSTER SET-CONFIG-EPOCH x",
    "CLUSTER FLUSHSLOTS",
    "CLUSTER FLUSHSLOTS now",
    "CLUSTER MYID x",
    "CLUSTER NOSUCH",
    "CLUSTER",
    "CLUSTER LINKS",
    "READONLY",
    "READWRITE",
    "ASKING",
    "READONLY x",
    "SELECT 1",
    "GET foo",
    "MGET foo bar",
    "REPLICAOF NO ONE",
]


def as_text(reply: object) -> object:
    return f"-{reply}" if isinstance(reply, RuntimeError) else reply


async def test_answers_equal_a_real_servers(tmp_path: Path) -> None:
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with RedisServer(*options, "--cluster-announce-ip", "127.0.0.1") as server:
        async with members(tmp_path / "ours") as cluster:
            node = await cluster.add()
            async with (
                await trio.open_tcp_stream("127.0.0.1", node.port) as our_stream,
                await trio.open_tcp_stream("127.0.0.1", server.port) as their_stream,
            ):
                ours, theirs = Client(our_stream), Client(their_stream)
                await _both_ready(ours, theirs)
                differences = []
                for command in SAME:
                    words = [word.encode() for word in command.split()]
                    mine, its = as_text(await ours(*words)), as_text(await theirs(*words))
                    if mine != its:
                        differences.append(f"{command}: {mine!r}, a real server {its!r}")
                assert not differences, "\n".join(differences)
                await _compare_shapes(ours, theirs)


async def _both_ready(ours: Client, theirs: Client) -> None:
    for client in (ours, theirs):
        assert await client(b"CLUSTER", b"ADDSLOTSRANGE", b"0", b"16383") == b"OK"

    async def up() -> bool:
        return fields(await theirs(b"CLUSTER", b"INFO"))["cluster_state"] == "ok"

    await until(up, "redis-server's cluster is up")
    for client in (ours, theirs):
        assert await client(b"SET", b"foo", b"bar") == b"OK"


async def _compare_shapes(ours: Client, theirs: Client) -> None:
    """Answers with ids and ports in them: the same structure, the same names of fields."""
    for command in ("SLOTS", "SHARDS", "MYID"):
        mine = _shape(await ours(b"CLUSTER", command.encode()))
        assert mine == _shape(await theirs(b"CLUSTER", command.encode())), command
    (mine_line,) = lines(await ours(b"CLUSTER", b"NODES"))
    (its_line,) = lines(await theirs(b"CLUSTER", b"NODES"))
    assert len(mine_line) == len(its_line)
    assert (mine_line[2:6], mine_line[7:]) == (its_line[2:6], its_line[7:])
    mine_info = fields(await ours(b"CLUSTER", b"INFO"))
    its_info = fields(await theirs(b"CLUSTER", b"INFO"))
    always = [
        name for name in its_info if "_messages_" not in name or name.endswith(("s_sent", "s_received"))
    ]
    assert [name for name in mine_info if name in its_info] == always
    told = {name: mine_info[name] for name in always if name.startswith(("cluster_s", "cluster_k"))}
    told = {name: value for name, value in told.items() if "_messages_" not in name}
    assert told == {name: its_info[name] for name in told}


def _shape(reply: Reply | object) -> object:
    """Types, lengths and field names; ids and numbers left out."""
    if isinstance(reply, list):
        return [_shape(item) for item in reply]
    if isinstance(reply, bytes):
        return len(reply) if len(reply) == 40 or not reply.isalpha() else reply
    return type(reply).__name__


async def test_stand_alone_nodes_say_that_cluster_support_is_off() -> None:

    async with running(1) as (node,), clients(node) as (client,):
        for words in ((b"CLUSTER", b"INFO"), (b"READONLY",), (b"ASKING",)):
            assert str(await client(*words)) == "ERR This instance has cluster support disabled"
