"""Ports for servers that are to be started: nobody gets them by accident."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from chaos.ports import BUS_OFFSET, COUNT, FIRST, free_port, free_ports, is_free


def test_no_connection_is_given_such_a_port() -> None:
    """The kernel takes the near ends of connections from a range of its own."""
    usual = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not usual.exists():
        pytest.skip("not Linux")
    lowest = int(usual.read_text().split()[0])
    assert lowest >= FIRST + COUNT + BUS_OFFSET, f"net.ipv4.ip_local_port_range begins at {lowest} here"


def test_client_ports_and_bus_ports_lie_apart() -> None:
    assert FIRST + COUNT <= FIRST + BUS_OFFSET


def test_a_block_is_adjacent_free_and_not_given_again() -> None:
    blocks = [free_ports(7) for _ in range(20)]
    ports = [port for block in blocks for port in block]
    assert len(set(ports)) == 140
    assert all(is_free(port) for port in ports)


def test_it_goes_round() -> None:
    """More are asked for than there are: all are within bounds, and the first comes again."""
    first = free_port()
    later = [free_port() for _ in range(COUNT)]
    assert FIRST <= min(later) <= max(later) < FIRST + COUNT
    assert first in later


@pytest.mark.parametrize(
    ("kind", "offset"),
    [(socket.SOCK_STREAM, 0), (socket.SOCK_STREAM, BUS_OFFSET), (socket.SOCK_DGRAM, BUS_OFFSET)],
)
def test_a_port_is_taken_when_its_bus_port_is(kind: socket.SocketKind, offset: int) -> None:
    port = free_port()
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", port + offset))
        if kind is socket.SOCK_STREAM:
            holder.listen()
        assert not is_free(port)
    assert is_free(port)


@pytest.mark.parametrize("count", [0, -1, 1_001])
def test_a_count_has_bounds(count: int) -> None:
    with pytest.raises(ValueError, match=f"count={count}: between 1 and 1000"):
        free_ports(count)
