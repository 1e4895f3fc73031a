"""`grapevine node --replica-of`: by the primary's address, by the shard's id, and stand-alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import redis

from chaos.ports import free_ports
from tests.cluster.local import process
from tests.waiting import wait_until

LIMIT_S = 15.0
LIMIT_MS = 14_000  # of what blocks: before its client loses patience


def _until(wanted: Callable[[], bool], what: str) -> None:
    def holds() -> bool:
        with suppress(redis.RedisError):
            return wanted()
        return False

    wait_until(holds, what, within_s=LIMIT_S)


def _start(stack: ExitStack, directory: Path, port: int, *words: str) -> redis.Redis:
    home = directory / str(port)
    home.mkdir()
    argv = ("node", "--port", str(port), "--dir", str(home), *words)
    stack.enter_context(process(*argv, log=directory / f"{port}.log"))
    client = redis.Redis(port=port, socket_timeout=LIMIT_S)
    stack.callback(client.close)
    _until(lambda: bool(client.ping()), f"port {port} answers")
    return client


@pytest.mark.slow
@pytest.mark.parametrize("named", ["address", "shard"])
def test_a_node_that_is_told_joins_that_shard(tmp_path: Path, named: str) -> None:
    first = free_ports(2).start
    with ExitStack() as stack:
        primary = _start(stack, tmp_path, first, "--cluster")
        primary.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        _until(lambda: primary.set("key", "value"), "the primary serves")
        shard = primary.execute_command("CLUSTER MYSHARDID").decode()
        wanted = f"127.0.0.1:{first}" if named == "address" else shard
        replica = _start(
            stack, tmp_path, first + 1, "--cluster", "--join", f"127.0.0.1:{first}", "--replica-of", wanted
        )
        assert primary.execute_command("WAIT", 1, LIMIT_MS) == 1, "no replica follows"
        replica.execute_command("READONLY")
        assert replica.execute_command("GET", "key") == b"value"
        assert replica.execute_command("CLUSTER MYSHARDID").decode() == shard


@pytest.mark.slow
def test_a_stand_alone_node_follows_an_address(tmp_path: Path) -> None:
    first = free_ports(2).start
    with ExitStack() as stack:
        primary = _start(stack, tmp_path, first)
        primary.set("key", "value")
        replica = _start(stack, tmp_path, first + 1, "--replica-of", f"127.0.0.1:{first}")
        assert primary.execute_command("WAIT", 1, LIMIT_MS) == 1, "no replica follows"
        assert replica.get("key") == b"value"
