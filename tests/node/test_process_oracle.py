"""A node process over sockets: a real server's replies, and clients that come, go, flood and stall."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.engine.reply import Failure
from tests.node.strategies import key_commands, string_commands
from tests.node.test_hostile import CONVERSATIONS, NOT_COMPARED
from tests.oracle import REPLY_DEADLINE_S, NodeServer, RedisServer, Wire, compare, decoded, fresh
from tests.protocol import parse_reply, request
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def mine(node_server: NodeServer) -> Iterator[Wire]:
    with node_server.connect() as wire:
        wire.call(b"FLUSHALL")
        yield wire


@pytest.mark.oracle
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    commands=st.lists(st.one_of(key_commands, string_commands), min_size=1, max_size=40),
    resp=st.sampled_from([2, 3]),
)
def test_random_sequences(mine: Wire, theirs: Wire, commands: list[list[bytes]], resp: int) -> None:
    fresh(mine, theirs, resp)
    compare(mine, theirs, commands)


@pytest.mark.oracle
@pytest.mark.parametrize("name", sorted(CONVERSATIONS.keys() - NOT_COMPARED))
def test_hostile_conversations(
    node_server: NodeServer, redis_server: RedisServer, mine: Wire, name: str
) -> None:
    with redis_server.connect() as wire:
        wire.call(b"FLUSHALL")
        theirs = wire.converse(CONVERSATIONS[name])
    with node_server.connect() as wire:
        assert wire.converse(CONVERSATIONS[name]) == theirs
    assert mine.call(b"PING") == b"+PONG\r\n"


def test_a_client_that_leaves_in_the_middle(node_server: NodeServer, mine: Wire) -> None:
    for _ in range(50):
        with node_server.connect() as wire:
            wire.send(request([b"SET", b"half", b"v" * 1000])[:-500])
    assert decoded(mine.call(b"EXISTS", b"half")) == 0


def test_a_client_that_never_reads_does_not_disturb_others(node_server: NodeServer, mine: Wire) -> None:
    mine.call(b"SET", b"big", b"x" * (1 << 20))
    with node_server.connect() as greedy:
        greedy.send(request([b"GET", b"big"]) * 500)  # half a gigabyte of replies
        for number in range(200):
            assert mine.call(b"ECHO", b"%d" % number) == request([b"%d" % number])[4:]
    rss = int(dict(line.split(":") for line in info(mine, b"memory") if ":" in line)["used_memory_rss"])
    assert rss < 256 << 20


def test_pipelines_larger_than_every_buffer(mine: Wire) -> None:
    count, value = 20_000, b"v" * 100
    assert (
        mine.pipeline([[b"SET", b"k%d" % number, value] for number in range(count)]) == [b"+OK\r\n"] * count
    )
    assert (
        mine.pipeline([[b"GET", b"k%d" % number] for number in range(count)])
        == [b"$100\r\n" + value + b"\r\n"] * count
    )


def test_client_list_and_kill(node_server: NodeServer, mine: Wire) -> None:
    mine.call(b"CLIENT", b"SETNAME", b"mine")
    with node_server.connect() as other:
        number = decoded(other.call(b"CLIENT", b"ID"))
        assert isinstance(number, int)
        lines = text(mine.call(b"CLIENT", b"LIST")).splitlines()
        assert any(" name=mine " in line and " cmd=client|list " in line for line in lines)
        assert [line for line in lines if line.startswith(f"id={number} ")]
        assert decoded(mine.call(b"CLIENT", b"KILL", b"ID", b"%d" % number)) == 1
        assert other.ended()
    with node_server.connect() as other:
        address = next(
            field for field in text(other.call(b"CLIENT", b"INFO")).split() if field[:5] == "addr="
        )
        assert mine.call(b"CLIENT", b"KILL", address[5:].encode()) == b"+OK\r\n"
        assert other.ended()


def test_client_kill_of_itself_answers_first(node_server: NodeServer) -> None:
    with node_server.connect() as wire:
        number = decoded(wire.call(b"CLIENT", b"ID"))
        assert wire.call(b"CLIENT", b"KILL", b"ID", b"%d" % number, b"SKIPME", b"no") == b":1\r\n"
        assert wire.ended()


def test_client_pause_holds_writes_back(node_server: NodeServer, mine: Wire) -> None:
    with node_server.connect() as other:
        mine.call(b"CLIENT", b"PAUSE", b"60000", b"WRITE")
        assert other.call(b"GET", b"k") == b"$-1\r\n"
        other.send(request([b"SET", b"k", b"v"]))
        wait_until(lambda: "blocked_clients:1" in info(mine, b"clients"))
        assert mine.call(b"GET", b"k") == b"$-1\r\n"
        mine.call(b"CLIENT", b"UNPAUSE")
        assert other.receive() == b"+OK\r\n"
        mine.call(b"CLIENT", b"PAUSE", b"200", b"ALL")
        assert other.call(b"GET", b"k") == b"$1\r\nv\r\n"  # answered when the pause is over


@pytest.mark.oracle
@pytest.mark.parametrize("how", [[], [b"TIMEOUT"], [b"ERROR"]])
def test_client_unblock_ends_a_wait(
    node_server: NodeServer, redis_server: RedisServer, how: list[bytes]
) -> None:
    told = []
    for server in (node_server, redis_server):
        with server.connect() as waiting, server.connect() as other:
            number = b"%d" % decoded(waiting.call(b"CLIENT", b"ID"))  # type: ignore[str-bytes-safe]
            said = [other.call(b"CLIENT", b"UNBLOCK", number)]
            waiting.send(request([b"SET", b"k", b"v"]) + request([b"WAIT", b"1", b"0"]) + request([b"PING"]))
            said.append(waiting.receive())
            deadline = time.monotonic() + REPLY_DEADLINE_S
            while (unblocked := other.call(b"CLIENT", b"UNBLOCK", number, *how)) == b":0\r\n":
                assert time.monotonic() < deadline  # until it has read the WAIT
            told.append([*said, unblocked, waiting.receive(), waiting.receive()])
    assert told[0] == told[1]
    assert told[0][4] == b"+PONG\r\n"


def test_quit_closes_after_the_reply(node_server: NodeServer) -> None:
    with node_server.connect() as wire:
        assert wire.call(b"QUIT") == b"+OK\r\n"
        assert wire.ended()


def test_more_clients_than_allowed(node_server: NodeServer, mine: Wire) -> None:
    present = len(text(mine.call(b"CLIENT", b"LIST")).splitlines())
    assert mine.call(b"CONFIG", b"SET", b"maxclients", b"%d" % (present + 1)) == b"+OK\r\n"
    try:
        with node_server.connect() as last, node_server.connect() as refused:
            assert last.call(b"PING") == b"+PONG\r\n"
            assert refused.converse(b"") == b"-ERR max number of clients reached\r\n"
    finally:
        mine.call(b"CONFIG", b"SET", b"maxclients", b"10000")


def test_more_clients_than_the_system_can_have(mine: Wire) -> None:
    reply = text_of_error(mine.call(b"CONFIG", b"SET", b"maxclients", b"4000000000"))
    assert "not able to handle the specified number of clients, try with " in reply
    possible = reply.rpartition(" ")[2].encode()
    assert decoded(mine.call(b"CONFIG", b"GET", b"maxclients")) == [b"maxclients", b"10000"]
    assert mine.call(b"CONFIG", b"SET", b"maxclients", possible) == b"+OK\r\n"
    assert mine.call(b"CONFIG", b"SET", b"maxclients", b"10000") == b"+OK\r\n"


def test_writes_that_need_memory_are_refused_above_maxmemory(mine: Wire) -> None:
    policy = (b"CONFIG", b"SET", b"maxmemory-policy")
    assert mine.call(*policy, b"noeviction", b"maxmemory", b"1mb") == b"+OK\r\n"
    try:
        replies = mine.pipeline([[b"SET", b"k%d" % number, b"v" * 1000] for number in range(2000)])
        refusal = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
        stored = replies.count(b"+OK\r\n")
        assert replies == [b"+OK\r\n"] * stored + [refusal] * (2000 - stored)
        assert 500 < stored < 1100
        assert mine.call(b"GET", b"k0")[:4] == b"$100"
        assert mine.call(b"DEL", *[b"k%d" % number for number in range(100)]) == b":100\r\n"
        assert mine.call(b"SET", b"k", b"v") == b"+OK\r\n"
    finally:
        mine.call(*policy, b"allkeys-s3fifo", b"maxmemory", b"0")


# One step behind the other, of two clients. `a` begins in a transaction.
TRANSACTIONS = (
    # EXEC is let through as a whole or not at all.
    "a: SET k v|b: CONFIG SET maxmemory 1|a: EXEC|b: GET k|a: PING",
    "a: GET big|b: CONFIG SET maxmemory 1|a: STRLEN big|a: EXEC",
    "b: CONFIG SET maxmemory 1|a: SET k v|b: CONFIG SET maxmemory 0|a: EXEC",
    "b: CONFIG SET maxmemory 1|a: SET k v|a: DISCARD|b: CONFIG SET maxmemory 0|a: SET k v",
    "b: CONFIG SET min-replicas-to-write 1|a: SET k v|b: CONFIG SET min-replicas-to-write 0|a: EXEC",
    "a: SET k v|b: CONFIG SET min-replicas-to-write 1|a: EXEC|b: GET k",
    "a: GET big|b: CONFIG SET min-replicas-to-write 1|a: EXEC",
    "a: GET big|a: SET k v|b: REPLICAOF 127.0.0.1 1|a: EXEC|b: REPLICAOF NO ONE|b: GET k",
    "a: STRLEN big|b: REPLICAOF 127.0.0.1 1|a: EXEC|b: REPLICAOF NO ONE",
    # One that only reads is answered while writes wait.
    "b: CLIENT PAUSE 60000 WRITE|a: STRLEN big|a: EXEC|b: CLIENT UNPAUSE",
)


@pytest.mark.oracle
@pytest.mark.parametrize("story", TRANSACTIONS)
def test_a_transaction_is_refused_when_one_of_its_commands_is(
    mine: Wire, theirs: Wire, node_server: NodeServer, redis_server: RedisServer, story: str
) -> None:
    # What was flushed and is still to be freed counts as room.
    wait_until(lambda: "used_memory:0" in info(mine, b"memory"))
    told: list[list[bytes]] = []
    for server, wire in ((node_server, mine), (redis_server, theirs)):
        policy = wire.call(b"CONFIG", b"GET", b"maxmemory-policy")
        replies = wire.pipeline(
            [
                [b"DEL", b"k"],
                [b"SET", b"big", b"x" * 1000],
                [b"CONFIG", b"SET", b"maxmemory-policy", b"noeviction"],
            ]
        )
        assert replies[1:] == [b"+OK\r\n"] * 2
        with server.connect() as other:
            clients = {"a": wire, "b": other}
            try:
                wire.call(b"MULTI")
                told.append([clients[step[0]].call(*step[3:].encode().split()) for step in story.split("|")])
            finally:
                name = policy.split(b"\r\n")[-2]
                for words in (
                    [b"maxmemory", b"0"],
                    [b"maxmemory-policy", name],
                    [b"min-replicas-to-write", b"0"],
                ):
                    assert other.call(b"CONFIG", b"SET", *words) == b"+OK\r\n"
    assert told[0] == told[1]


def test_writes_are_refused_while_too_few_replicas_follow(mine: Wire) -> None:
    mine.call(b"CONFIG", b"SET", b"min-replicas-to-write", b"1")
    try:
        assert mine.call(b"SET", b"k", b"v") == b"-NOREPLICAS Not enough good replicas to write.\r\n"
        assert mine.call(b"GET", b"k") == b"$-1\r\n"
    finally:
        mine.call(b"CONFIG", b"SET", b"min-replicas-to-write", b"0")
    assert mine.call(b"SET", b"k", b"v") == b"+OK\r\n"


def test_idle_clients_are_closed_and_busy_ones_are_not(node_server: NodeServer, mine: Wire) -> None:
    with node_server.connect() as idle:
        assert idle.call(b"PING") == b"+PONG\r\n"
        mine.call(b"CONFIG", b"SET", b"timeout", b"1")
        try:
            while not idle.ended(0.05):
                assert mine.call(b"PING") == b"+PONG\r\n"
        finally:
            mine.call(b"CONFIG", b"SET", b"timeout", b"0")


def test_the_query_buffer_limit(node_server: NodeServer, mine: Wire) -> None:
    mine.call(b"CONFIG", b"SET", b"client-query-buffer-limit", b"1mb")
    try:
        with node_server.connect() as flood:
            flood.converse(b"*2\r\n$4\r\nECHO\r\n$100000000\r\n" + b"x" * (8 << 20))
        fields = dict(line.split(":") for line in info(mine, b"stats") if ":" in line)
        assert int(fields["client_query_buffer_limit_disconnections"]) >= 1
    finally:
        mine.call(b"CONFIG", b"SET", b"client-query-buffer-limit", b"1gb")


def test_expired_keys_leave_memory_by_themselves(mine: Wire) -> None:
    mine.pipeline([[b"SET", b"k%d" % number, b"v", b"PX", b"1"] for number in range(1000)])
    wait_until(lambda: decoded(mine.call(b"DBSIZE")) == 0, "an empty database")


def test_a_client_library(node_server: NodeServer) -> None:
    for protocol in (2, 3):
        with redis.Redis(port=node_server.port, protocol=protocol, client_name="library") as client:
            assert client.ping()
            assert client.set("k", "v", ex=100)
            assert client.get("k") == b"v"
            assert 98 <= client.ttl("k") <= 100
            assert client.client_getname() in (b"library", "library")
            assert client.info()["redis_version"] == "7.2.4"
            assert client.config_get("maxmem*")["maxmemory"] == "0"
            assert client.config_set("timeout", 0)
            assert client.client_info()["name"] == "library"
            assert [row for row in client.client_list() if row["name"] == "library"]
            assert client.command_count() == len(client.command())
            assert client.object("encoding", "k")
            assert client.memory_usage("k") > 0
            with client.pipeline(transaction=True) as pipe:
                pipe.incr("n")
                pipe.incr("n")
                assert pipe.execute() == [1, 2]
            assert set(client.scan_iter(count=10)) == {b"k", b"n"}
            with pytest.raises(redis.ResponseError, match="unknown command 'NOSUCH'"):
                client.execute_command("NOSUCH", "x")
            client.flushall()


@pytest.mark.oracle
def test_redis_cli(node_server: NodeServer) -> None:
    def cli(*words: str) -> str:
        command = ["redis-cli", "-p", str(node_server.port), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout

    assert cli("SET", "k", "v") == "OK\n"
    assert cli("-3", "GET", "k") == "v\n"
    assert "redis_version:7.2.4" in cli("INFO", "server")
    assert "CONFIG GET" in cli("CONFIG", "HELP").replace("\n", " ") or cli("CONFIG", "HELP").startswith(
        "CONFIG"
    )
    assert cli("--scan", "--pattern", "k*") == "k\n"
    assert cli("DEL", "k") == "1\n"


@pytest.mark.parametrize("how", ["SHUTDOWN", "SHUTDOWN NOSAVE NOW", "SIGTERM", "SIGINT"])
def test_an_ordered_end(how: str) -> None:
    with NodeServer() as server, server.connect() as wire:
        wire.call(b"SET", b"k", b"v")
        if how.startswith("SIG"):
            os.kill(server.pid, getattr(signal, how))
        else:
            wire.send(how.encode() + b"\r\nSET late v\r\n")
        assert wire.ended()
        assert server.wait_ended() == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port))


def text(raw: bytes) -> str:
    value = parse_reply(raw)[0]
    assert isinstance(value, bytes)
    return value.decode()


def text_of_error(raw: bytes) -> str:
    value = parse_reply(raw)[0]
    assert isinstance(value, Failure)
    return value.text.decode()


def info(wire: Wire, section: bytes) -> list[str]:
    return text(wire.call(b"INFO", section)).splitlines()
