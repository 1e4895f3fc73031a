"""bench/probe.c: what it sends is answered, what it counts adds up, for both protocols."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from bench.client import Client, Refused, command
from bench.load import LoadFailed
from bench.probe import Probe
from bench.servers import grapevine_kind, memcached_kind, running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler"),
]


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Probe:
    return Probe(tmp_path_factory.mktemp("probe"))


def test_a_node_is_filled_asked_and_timed(probe: Probe, tmp_path: Path) -> None:
    with running(grapevine_kind(), tmp_path) as server, Client(server.port) as client:
        filled = probe.run(server.port, fill=True, keys=500, first_key=100, value_bytes=33, connections=3)
        assert (filled.sets.count, filled.gets.count) == (500, 0)
        assert client.integer(b"DBSIZE") == 500
        value = client.ask([command(b"GET", b"key:%012d" % 599)])[0]
        assert value is not None
        assert len(value) == 33

        # Half of these keys are there.
        asked = probe.run(server.port, count=4_000, keys=500, first_key=350, pipeline=16)
        assert asked.gets.count == 4_000
        assert 1_500 < asked.gets.misses < 2_500
        figures = list(asked.gets.percentiles_us.values())
        assert figures == sorted(figures)
        assert 0 < figures[0] <= figures[-1]
        assert 0 < asked.gets.mean_us <= figures[-1]

        mixed = probe.run(server.port, count=2_000, keys=500, sets=50, rate=20_000)
        assert mixed.requests == 2_000
        assert 700 < mixed.sets.count < 1_300
        assert mixed.seconds >= 0.09  # the rate holds it back

        probe.run(server.port, fill=True, keys=10, expire_at_ms=int(time.time() * 1000) + 50_000)
        assert 0 < client.integer(b"PTTL", b"key:%012d" % 9) <= 50_000


def test_phases_are_counted_apart(probe: Probe, tmp_path: Path) -> None:
    """Phase after phase, ended as soon as the one before is told: together they are what the server saw."""
    with running(grapevine_kind(), tmp_path) as server, Client(server.port) as client:
        counted = 0
        with probe.start(server.port, rate=2_000, keys=10) as load:
            while counted < 100:
                name = f"after-{counted}"
                phase = load.end_phase(name)
                assert phase.name == name
                assert phase.gets.count == phase.gets.misses
                counted += phase.gets.count
        seen = int(client.info("stats")["keyspace_misses"])
        # Those that were on their way at the end belong to no phase that was told.
        assert counted <= seen < counted + 1_000


def test_a_refusal_is_told(probe: Probe, tmp_path: Path) -> None:
    with running(grapevine_kind(), tmp_path) as server, Client(server.port) as client:
        client.ask([command(b"CONFIG", b"SET", b"maxmemory", b"1")])  # room for the first alone
        client.ask([command(b"CONFIG", b"SET", b"maxmemory-policy", b"noeviction")])
        with pytest.raises(LoadFailed, match="refused 4 requests, the first: -OOM"):
            probe.run(server.port, fill=True, keys=5)
    with pytest.raises(LoadFailed, match="connect"):
        probe.run(server.port, count=1)


@pytest.mark.oracle
@pytest.mark.skipif(shutil.which("memcached") is None, reason="no memcached on PATH")
def test_memcached_is_asked_alike(probe: Probe, tmp_path: Path) -> None:
    kind = memcached_kind()
    assert kind is not None
    with running(kind, tmp_path) as server:
        filled = probe.run(server.port, protocol="memcached", fill=True, keys=200, value_bytes=64, pipeline=8)
        assert filled.sets.count == 200
        asked = probe.run(server.port, protocol="memcached", count=3_000, keys=400, pipeline=8)
        assert asked.gets.count == 3_000
        assert 1_000 < asked.gets.misses < 2_000


def test_a_full_sync_can_be_thrown_away(tmp_path: Path) -> None:
    with running(grapevine_kind(), tmp_path) as server, Client(server.port) as client:
        client.ask([command(b"SET", b"k%d" % number, b"v" * 100) for number in range(1_000)])
        with Client(server.port) as replica:
            assert 100_000 < replica.full_sync() < 120_000
        assert client.knows(b"GET", b"k1")
        assert client.knows(b"HPEXPIRE", b"none", b"1", b"FIELDS", b"2", b"f", b"g")  # its answer is an array
        assert client.ask([command(b"MGET", b"k1", b"none"), command(b"PING")]) == [b"*2", b"+PONG"]
        assert not client.knows(b"NOSUCHCOMMAND")
        with pytest.raises(Refused, match="wrong number"):
            client.ask([command(b"GET")])
