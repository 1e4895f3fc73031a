"""router/server.py: a real router beside a real member, and what its command line refuses."""

import os
import random
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from chaos.client import Connection, NotConnected
from chaos.ports import free_port, free_ports
from chaos.resp import ErrorReply, Reply
from chaos.topology import Address
from gossip.config import GossipConfig
from gossip.service import SelfMeta, Service
from gossip.slots import slot_of
from gossip.topology import ShardView, shard_register
from node.config import ConfigError
from router.server import Router, build_parser, main, make_router, parse_seeds
from tests.waiting import until

HERE = Path(__file__).resolve().parent.parent.parent


@asynccontextmanager
async def running(directory: Path, port: int, join: str) -> AsyncIterator[Router]:
    options = build_parser().parse_args(["--port", str(port), "--join", join, "--dir", str(directory)])
    router = make_router(options)
    async with trio.open_nursery() as nursery:
        assert await nursery.start(router.run) == port
        yield router
        router.stop()


async def ask(port: int, *words: str) -> Reply:
    connection = await Connection.open(Address("127.0.0.1", port), 1_000)
    try:
        return await connection.request(*words, timeout_ms=1_000)
    finally:
        connection.abandon()


async def until_asked(port: int, words: tuple[str, ...], wanted: Reply) -> None:
    """Asks until the answer is the wanted one; news takes a moment to arrive."""

    async def answered() -> bool:
        reply = await ask(port, *words)
        assert reply == wanted or isinstance(reply, ErrorReply), reply
        return reply == wanted

    await until(answered, f"{wanted!r}")


@pytest.mark.slow
async def test_redirects_to_the_decided_owner_and_follows_changes(tmp_path: Path) -> None:
    member_port, router_port = free_ports(2)
    key, slot = "k", slot_of(b"k")
    me = SelfMeta("127.0.0.1", member_port, shard_id="s")
    member = Service(GossipConfig(), me, tmp_path / "m", random.Random(1))
    member.lease_wanted = False  # it serves nothing, and its successor need not wait
    async with trio.open_nursery() as nursery:
        await nursery.start(member.run)
        async with running(tmp_path / "r", router_port, f"127.0.0.1:{member_port}") as router:
            assert await ask(router_port, "GET", key) == ErrorReply("CLUSTERDOWN Hash slot not served")
            with trio.fail_after(5):
                while router.service.id not in member.topology.members:
                    await member.wait_changed(member.topology.version)
            assert member.topology.members[router.service.id].kind == "router"
            assert router.service.cluster_id == member.cluster_id
            shard = ShardView("s", member.id, (member.id,), 1)
            await member.propose(shard_register("s"), lambda _: shard.to_data())
            await member.propose("slots", lambda _: ((0, slot, "s"),))
            moved = ErrorReply(f"MOVED {slot} 127.0.0.1:{member_port}")
            await until_asked(router_port, ("GET", key), moved)
            assert await ask(router_port, "SET", key, "v") == moved
            assert await ask(router_port, "GET", "a") == ErrorReply("CLUSTERDOWN Hash slot not served")
            assert await ask(router_port, "MGET", key, "{y}1") == ErrorReply(
                "CROSSSLOT Keys in request don't hash to the same slot"
            )
            # the owner changes: to the router's own id stands for any other member that gossip knows
            other = ShardView("s", router.service.id, (router.service.id,), 2)
            await member.propose(shard_register("s"), lambda _: other.to_data())
            await until_asked(router_port, ("GET", key), ErrorReply(f"MOVED {slot} 127.0.0.1:{router_port}"))
            await member.propose("slots", lambda _: ())
            await until_asked(router_port, ("GET", key), ErrorReply("CLUSTERDOWN Hash slot not served"))
        nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_what_a_client_sends_on_its_own(tmp_path: Path) -> None:
    port = free_port()
    async with running(tmp_path, port, "") as router:
        assert await ask(port, "PING") == b"PONG"
        assert await ask(port, "CLIENT", "SETINFO", "LIB-NAME", "x") == b"OK"
        assert await ask(port, "READONLY") == b"OK"
        assert await ask(port, "CLUSTER", "MYID") == router.service.id.encode()
        info = await ask(port, "INFO")
        assert isinstance(info, bytes)
        for line in (
            b"redis_version:7.2.4",
            b"grapevine_kind:router",
            b"cluster_enabled:1",
            b"tcp_port:%d" % port,
        ):
            assert line in info.split(b"\r\n")
        for words in (
            ("DBSIZE",),
            ("FLUSHALL",),
            ("SCAN", "0"),
            ("KEYS", "*"),
            ("RANDOMKEY",),
            ("WAIT", "0", "0"),
        ):
            reply = await ask(port, *words)
            assert isinstance(reply, ErrorReply)
            assert reply.text.startswith(f"ERR {words[0]} needs data, and this is a router")
        assert router.engine.keyspace.size(0) == 0


@pytest.mark.slow
async def test_a_stopped_router_lets_go_of_its_port_and_directory(tmp_path: Path) -> None:
    port = free_port()
    ids = []
    for _ in range(2):
        async with running(tmp_path, port, "") as router:
            ids.append(router.service.id)
            waiting = await Connection.open(Address("127.0.0.1", port), 1_000)
        waiting.abandon()
        with pytest.raises(NotConnected):
            await Connection.open(Address("127.0.0.1", port), 1_000)
    assert ids[0] == ids[1]  # the same member after a restart


@pytest.mark.slow
def test_as_a_process(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "deploy.cli", "router", "--port", str(port), "--dir", str(tmp_path)]
    process = subprocess.Popen(
        command, cwd=HERE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(HERE)}
    )
    with process:

        async def answers() -> bool:
            with suppress(NotConnected):
                return await ask(port, "PING") == b"PONG"
            return False

        trio.run(until, answers, "the router answers")
        process.terminate()
        assert process.wait(5) == 0


def test_a_taken_port_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        if port > 55_535:
            pytest.skip("the free port is too high to have a bus port")
        assert main(["--port", str(port), "--dir", str(tmp_path)]) == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--port", "60000"], "--port 60000: choose 1 to 55535"),
        (["--port", "0"], "--port 0"),
        (["--join", "nonsense"], "--join nonsense: write it as host:port"),
        (["--join", "h:70000"], "--join h:70000"),
        (["--bind", "0.0.0.0"], "cluster-announce-ip"),
        (["--set", "no-such=1"], "no-such"),
    ],
)
def test_refused(words: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dir", str(tmp_path), *words]) == 1
    assert text in capsys.readouterr().err


def test_seeds() -> None:
    assert parse_seeds("a:1, b:2,[::1]:3,") == [("a", 1), ("b", 2), ("::1", 3)]
    assert parse_seeds("") == []
    with pytest.raises(ConfigError):
        parse_seeds("a:1,b")
