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


# What tests may have changed in the one server they share.
DEFAULTS = {
    b"latency-tracking-info-percentiles": b"50 99 99.9",
    b"hash-max-listpack-entries": b"512",
    b"hash-max-listpack-value": b"64",
    b"hll-sparse-max-bytes": b"3000",
    b"list-max-listpack-size": b"-2",
    b"set-max-intset-entries": b"512",
    b"stream-node-max-bytes": b"4096",
    b"stream-node-max-entries": b"100",
    b"zset-max-listpack-entries": b"128",
    b"zset-max-listpack-value": b"64",
}


@pytest.fixture
def theirs(redis_server: RedisServer) -> Iterator[Wire]:
    with redis_server.connect() as wire:
        # The slow log last: emptying the data may itself have been slow.
        settings = [b"CONFIG", b"SET", *(word for pair in DEFAULTS.items() for word in pair)]
        wire.pipeline([[b"FLUSHALL"], settings, [b"CONFIG", b"RESETSTAT"], [b"SLOWLOG", b"RESET"]])
        yield wire


@pytest.fixture(scope="session")
def node_server() -> Iterator[NodeServer]:
    """One node process for tests that leave it as they found it."""
    with NodeServer() as server:
        yield server


@pytest.fixture
def ours() -> Ours:
    return Ours()
