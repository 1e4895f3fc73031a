"""The way in and the way out: a real redis-server as our replica and as our primary."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio

from chaos.ports import free_port
from node.replication.actions import Cause, Report
from node.replication.source import Stage
from tests.node.replication.parts import Client, PartsNode, clients, running
from tests.waiting import until

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed"),
]

LIBRARY = b"#!lua name=%b\nredis.register_function('of_%b', function() return 1 end)"


DISKLESS = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")


@asynccontextmanager
async def redis_server(directory: Path, *options: str) -> AsyncIterator[int]:
    """A real redis-server; gives its port."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--dir", str(directory), "--save", "", *options]
    async with trio.open_nursery() as nursery:
        run = partial(
            trio.run_process,
            command,
            stdin=subprocess.DEVNULL,
            capture_stdout=True,
            check=False,
            deliver_cancel=_terminate,
        )
        process = await nursery.start(run)

        async def answers() -> bool:
            assert process.poll() is None
            with suppress(OSError):
                async with clients(port) as (client,):
                    return await client(b"PING") == b"PONG"
            return False

        await until(answers, "redis-server answers")
        try:
            yield port
        finally:
            nursery.cancel_scope.cancel()


async def _terminate(process: trio.Process) -> None:
    process.terminate()
    with trio.move_on_after(5):
        await process.wait()
        return
    process.kill()


async def info(client: Client, section: bytes = b"replication") -> dict[str, str]:
    text = await client(b"INFO", section)
    assert isinstance(text, bytes)
    return dict(line.split(":", 1) for line in text.decode().splitlines() if ":" in line)


async def eventually(client: Client, field: str, value: str) -> None:
    async def holds() -> bool:
        return (await info(client)).get(field) == value

    await until(holds, f"{field}:{value}")


async def contents(client: Client) -> dict[bytes, tuple[object, bool]]:
    keys = await client(b"KEYS", b"*")
    assert isinstance(keys, list)
    return {key: (await client(b"GET", key), await client(b"PTTL", key) != -1) for key in sorted(keys)}


async def write_some(client: Client, first: int, count: int) -> None:
    for number in range(first, first + count):
        await client(b"SET", b"key:%d" % number, b"value %d" % number)
    await client(b"SET", b"mortal", b"x", b"EX", b"1000")
    await client(b"APPEND", b"key:%d" % first, b" and more")
    await client(b"INCRBY", b"counter", b"%d" % count)
    await client(b"DEL", b"key:%d" % (first + 1))
    await client(b"EXPIRE", b"key:%d" % (first + 2), b"500")


async def test_a_real_server_follows_us(tmp_path: Path) -> None:
    async with running(1) as (primary,), redis_server(tmp_path) as port:  # noqa: SIM117
        async with clients(primary, port) as (to_us, to_redis):
            await write_some(to_us, 0, 200)
            assert await to_redis(b"REPLICAOF", b"127.0.0.1", b"%d" % primary.port) == b"OK"
            await eventually(to_redis, "master_link_status", "up")
            await write_some(to_us, 1000, 50)
            assert await to_us(b"WAIT", b"1", b"10000") == 1
            assert await contents(to_redis) == await contents(to_us)
            await to_us(b"SELECT", b"7")
            await to_us(b"SET", b"elsewhere", b"1")
            await to_us(b"MULTI")
            await to_us(b"SET", b"a", b"1")
            await to_us(b"INCR", b"a")
            assert await to_us(b"EXEC") == [b"OK", 2]
            assert await to_us(b"WAIT", b"1", b"10000") == 1
            await to_redis(b"SELECT", b"7")
            assert await contents(to_redis) == await contents(to_us)
            await eventually(to_redis, "slave_repl_offset", str(primary.replication.offset))
            theirs = await info(to_redis)
            ours = await info(to_us)
            assert theirs["master_replid"] == primary.replication.history.id
            assert ours["slave0"].startswith(f"ip=127.0.0.1,port={port},state=online,offset=")
            # a short break: Redis asks to go on, and may
            full_syncs = primary.replication.feeder.full_sync_count
            for session in primary.pump.feeds:
                primary.pump.close(session, "cut by the test")
            await to_us(b"SET", b"missed", b"1")
            await until(lambda: primary.replication.feeder.partial_sync_count == 1)
            assert await to_us(b"WAIT", b"1", b"10000") == 1
            assert await to_redis(b"GET", b"missed") == b"1"
            assert primary.replication.feeder.full_sync_count == full_syncs


async def test_we_follow_a_real_server(tmp_path: Path) -> None:
    async with running(1) as (replica,), redis_server(tmp_path, *DISKLESS) as port:
        await follow_and_compare(replica, port)


async def test_we_follow_a_real_server_that_sends_a_file(tmp_path: Path) -> None:
    async with running(1) as (replica,), redis_server(tmp_path, "--repl-diskless-sync", "no") as port:
        await follow_and_compare(replica, port)


async def follow_and_compare(replica: PartsNode, port: int) -> None:
    async with clients(replica, port) as (to_us, to_redis):
        await write_some(to_redis, 0, 300)
        await to_redis(b"SET", b"packed", b"again and again " * 1000)
        await replica.follow(port)
        await write_some(to_redis, 1000, 50)
        await to_redis(b"MULTI")
        await to_redis(b"SET", b"a", b"1")
        await to_redis(b"INCR", b"a")
        await to_redis(b"EXEC")
        await to_redis(b"SET", b"gone", b"1", b"PX", b"1")

        async def gone() -> bool:
            return not (await to_redis(b"EXISTS", b"gone") or await to_us(b"EXISTS", b"gone"))

        await until(gone)
        assert await to_redis(b"WAIT", b"1", b"10000") == 1
        await eventually(to_redis, "master_repl_offset", str(replica.replication.offset))
        assert await contents(to_us) == await contents(to_redis)
        # a short break: we ask to go on
        replica.cut_link()
        await to_redis(b"SET", b"missed", b"1")
        await until(lambda: replica.replication.link_up)
        assert await to_redis(b"WAIT", b"1", b"10000") == 1
        assert await to_us(b"GET", b"missed") == b"1"
        stats = await info(to_redis, b"stats")
        assert (stats["sync_full"], stats["sync_partial_ok"]) == ("1", "1")
        # the way in ends here: the data is ours now
        assert await to_us(b"REPLICAOF", b"NO", b"ONE") == b"OK"
        assert await to_us(b"SET", b"ours", b"1") == b"OK"


async def test_failover_to_a_real_server_and_back(tmp_path: Path) -> None:
    async with running(1) as (node,), redis_server(tmp_path) as port:  # noqa: SIM117
        async with clients(node, port) as (to_us, to_redis):
            await write_some(to_us, 0, 20)
            await to_redis(b"REPLICAOF", b"127.0.0.1", b"%d" % node.port)
            await until(lambda: len(node.pump.feeds) == 1)
            assert await to_us(b"FAILOVER", b"TO", b"127.0.0.1", b"%d" % port) == b"OK"
            await until(lambda: node.is_replica and node.replication.link_up)
            assert await to_redis(b"SET", b"turn", b"theirs") == b"OK"
            assert await to_redis(b"WAIT", b"1", b"10000") == 1
            assert await to_us(b"GET", b"turn") == b"theirs"
            assert await to_redis(b"FAILOVER", b"TO", b"127.0.0.1", b"%d" % node.port) == b"OK"
            await eventually(to_redis, "role", "slave")
            await eventually(to_redis, "master_link_status", "up")
            assert await to_us(b"SET", b"turn", b"ours") == b"OK"
            assert await to_us(b"WAIT", b"1", b"10000") == 1
            assert await to_redis(b"GET", b"turn") == b"ours"
            stats = await info(to_redis, b"stats")
            assert (stats["sync_full"], node.replication.feeder.full_sync_count) == ("0", 1)


async def test_what_we_cannot_load_is_named_and_our_data_is_not_taken_for_whole(tmp_path: Path) -> None:
    async with running(1) as (replica,), redis_server(tmp_path, *DISKLESS) as port:  # noqa: SIM117
        async with clients(port) as (to_redis,):
            await to_redis(b"FUNCTION", b"LOAD", LIBRARY % (b"events", b"events"))
            reports: list[Report] = []
            replica.replication.on_link_broken = lambda _target, report: reports.append(report)
            replica.replication.follow("127.0.0.1", port)
            await until(lambda: bool(reports))
            assert reports[0].cause is Cause.DAMAGED
            assert "the snapshot holds functions (FUNCTION LOAD)" in reports[0].text
            assert not replica.replication.complete


async def test_what_the_stream_brings_and_we_do_not_know_is_told_once(tmp_path: Path) -> None:
    async with running(1) as (replica,), redis_server(tmp_path, *DISKLESS) as port:  # noqa: SIM117
        async with clients(port, replica) as (to_redis, to_us):
            await replica.follow(port)
            for number in range(3):
                await to_redis(b"FUNCTION", b"LOAD", LIBRARY.replace(b"%b", b"events%d" % number))
            await to_redis(b"SET", b"known", b"1")
            assert await to_redis(b"WAIT", b"1", b"10000") == 1
            assert await to_us(b"GET", b"known") == b"1"
            (told,) = replica.broken
            assert "brought 'function" in str(told)
            replica.broken.clear()
            assert (await info(to_redis, b"stats"))["total_error_replies"] == "1"  # REPLCONF grapevine


async def test_redis_cli_takes_a_dump_of_us(tmp_path: Path) -> None:
    async with running(1) as (primary,), clients(primary) as (client,):
        await write_some(client, 0, 500)
        file = tmp_path / "taken.rdb"
        with trio.fail_after(20):
            done = await trio.run_process(
                ["redis-cli", "-p", str(primary.port), "--rdb", str(file)],
                capture_stdout=True,
                capture_stderr=True,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        assert done.returncode == 0, done.stderr
        await until(lambda: not list(primary.replication.feeder.source.attached()))
        (tmp_path / "dump.rdb").write_bytes(file.read_bytes())
        async with redis_server(tmp_path) as port, clients(port) as (to_redis,):
            assert await contents(to_redis) == await contents(client)


async def test_a_chain_from_redis_through_us_to_redis(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "last").mkdir()
    async with running(1) as (middle,), redis_server(tmp_path / "first", *DISKLESS) as first:  # noqa: SIM117
        async with redis_server(tmp_path / "last") as last, clients(first, last) as (to_first, to_last):
            await write_some(to_first, 0, 20)
            await middle.follow(first)
            await to_last(b"REPLICAOF", b"127.0.0.1", b"%d" % middle.port)
            await eventually(to_last, "master_link_status", "up")
            await until(
                lambda: [r.stage for r in middle.replication.feeder.source.attached()] == [Stage.ONLINE]
            )
            await write_some(to_first, 100, 20)
            offset = (await info(to_first))["master_repl_offset"]
            await eventually(to_last, "slave_repl_offset", offset)
            assert await contents(to_last) == await contents(to_first)
