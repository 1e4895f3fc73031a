"""Bytes from strangers, to every door of every process: other clients do not notice."""

import os
import random
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgpack
import pytest
import redis

from chaos.ports import BUS_OFFSET
from tests.cluster.local import LocalCluster, running_cluster

pytestmark = pytest.mark.slow


@contextmanager
def undisturbed(cluster: LocalCluster) -> Iterator[None]:
    """Whatever happens inside the block: the same processes, clients served, the cluster whole after it."""
    before = {port: cluster.pid(port) for port in [*cluster.ports, cluster.router_port]}
    primaries = cluster.primaries()
    with cluster.client() as client:
        client.set("calm", "before")
        yield
        assert client.get("calm") == b"before"
    assert cluster.primaries() == primaries
    assert {port: cluster.pid(port) for port in before} == before


def noise(seed: int) -> Iterator[bytes]:
    """Packets: random bytes, valid msgpack that means nothing, and every length around the limits."""
    rng = random.Random(seed)
    for size in (0, 1, 2, 3, 7, 16, 64, 500, 1_400, 1_500, 9_000, 60_000):
        yield rng.randbytes(size)
    for value in (
        None, [], {}, 1, "x", b"\x00" * 40, [1] * 500, {"a": {"b": [None] * 50}}, [[[[[[[[[[]]]]]]]]]],
        -(2**63), 2**64 - 1, [0, "cluster", "sender", 1], [1, "0" * 40, "f" * 40, 2**63, []],
        {"v": 1, "c": "0" * 40, "s": "f" * 40},
    ):  # fmt: skip
        yield msgpack.packb(value)
    yield b"\xdd\xff\xff\xff\xff"  # an array that announces 4 billion items
    yield b"\xc6\xff\xff\xff\xff"  # a bulk of 4 GB
    yield b"\xdf\xff\xff\xff\xff"
    yield b"\x91" * 1_000  # nested a thousand times
    yield b"GET / HTTP/1.1\r\n\r\n"


def test_udp_noise_on_every_bus_port(cluster: LocalCluster) -> None:
    with undisturbed(cluster), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for port in [*cluster.ports, cluster.router_port]:
            for packet in noise(port):
                sender.sendto(packet, ("127.0.0.1", port + BUS_OFFSET))


def test_tcp_noise_on_every_bus_port(cluster: LocalCluster) -> None:
    with undisturbed(cluster):
        half_open = []
        for port in [*cluster.ports, cluster.router_port]:
            for packet in noise(port):
                with socket.create_connection(("127.0.0.1", port + BUS_OFFSET), timeout=5) as stranger:
                    try:
                        stranger.sendall(struct.pack(">I", len(packet)) + packet)
                        stranger.sendall(packet)
                    except OSError:
                        continue  # it hung up on us, which is its right
            silent = socket.create_connection(("127.0.0.1", port + BUS_OFFSET), timeout=5)
            half_open.append(silent)
            silent.sendall(struct.pack(">I", 1_000))  # announces a message and never sends it
        for each in half_open:
            each.close()


def test_malformed_commands_get_an_error_or_a_close(cluster: LocalCluster) -> None:
    hostile = [
        b"*1\r\n$-5\r\n",
        b"*-2\r\n",
        b"*1000000000\r\n",
        b"*1\r\n$9999999999999999\r\n",
        b"*1\r\n$600000000\r\n",
        b"*1\r\n$abc\r\n",
        b"*1\r\nPING\r\n",
        b"\x00" * 100 + b"\r\n",
        b"*2\r\n$3\r\nGET\r\n:1\r\n",
        b"x" * 70_000,
        b'SET k "unbalanced\r\n',
        b"\xff\xfe\r\n",
        b"NOSUCHCOMMAND a b c\r\n",
        b"GET\r\n",
        b"*1\r\n$3\r\nGET\r\n",
    ]
    with undisturbed(cluster):
        for port in (cluster.port, cluster.router_port):
            for data in hostile:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                    client.sendall(data)
                    client.shutdown(socket.SHUT_WR)
                    reply = b""
                    try:
                        while piece := client.recv(4_096):
                            reply += piece
                    except ConnectionResetError:
                        continue  # closed with our bytes unread
                    assert reply == b"" or reply.startswith(b"-"), (data[:40], reply[:200])


def test_half_a_command_and_leaving(cluster: LocalCluster) -> None:
    whole = b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$5\r\nvalue\r\n"
    with undisturbed(cluster):
        for port in (cluster.port, cluster.router_port):
            for length in range(1, len(whole)):
                with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                    client.sendall(whole[:length])
        with cluster.client() as client:
            assert client.get("half") is None


def test_many_silent_connections_do_not_keep_others_out(cluster: LocalCluster) -> None:
    with undisturbed(cluster):
        silent = [socket.create_connection(("127.0.0.1", cluster.port), timeout=5) for _ in range(300)]
        try:
            assert cluster.node(cluster.port).ping()
        finally:
            for each in silent:
                each.close()


def test_messages_of_another_cluster_are_dropped(cluster: LocalCluster, tmp_path: Path) -> None:
    """Two clusters on one machine: one is told about the other and must not merge with it."""
    with running_cluster(tmp_path, shards=1, replicas=0) as other:
        with undisturbed(cluster):
            with suppress(redis.ResponseError):  # a refusal may come at once or not at all
                other.node(other.port).execute_command("CLUSTER", "MEET", "127.0.0.1", cluster.port)
            relay(cluster.port + BUS_OFFSET, other.port + BUS_OFFSET)
        assert {line.address.port for line in cluster.whole().lines()} <= {
            *cluster.ports,
            cluster.router_port,
        }
        known = other.node(other.port).execute_command("CLUSTER", "NODES")
        text = known.decode() if isinstance(known, bytes) else str(known)
        assert f":{cluster.port}@" not in text


def relay(first: int, second: int) -> None:
    """Sends to `second` what `first` answers to a stranger, if it answers at all."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as between:
        between.settimeout(0.05)
        between.sendto(os.urandom(64), ("127.0.0.1", first))
        try:
            answer = between.recv(65_535)
        except TimeoutError:
            return
        between.sendto(answer, ("127.0.0.1", second))
