"""One real redis-server for all tests of this folder that want to compare."""

from collections.abc import Iterator

import pytest

from tests.oracle import NodeServer, Ours, RedisServer, Wire


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    if not RedisServer.is_installed():
        pytest.skip("redis-server is not on PATH: install it to compare our replies with a real server's")
    with RedisServer() as server:
        yield server


@pytest.fixture
def theirs(redis_server: RedisServer) -> Iterator[Wire]:
    with redis_server.connect() as wire:
        # The slow log last: emptying the data may itself have been slow.
        wire.pipeline([[b"FLUSHALL"], [b"CONFIG", b"RESETSTAT"], [b"SLOWLOG", b"RESET"]])
        yield wire


@pytest.fixture(scope="session")
def node_server() -> Iterator[NodeServer]:
    """One node process for tests that leave it as they found it."""
    with NodeServer() as server:
        yield server


@pytest.fixture
def ours() -> Ours:
    return Ours()
