"""Ports for servers on this machine: is this one free, and which are.

A port that the kernel picks (`bind` to port 0) lies in the range from which it also takes the near ends of
outgoing connections, 32,768 and up on Linux. Between our asking and the server's binding, or while a server
is down that comes back, a connection of any process may get that very number, and the server is refused. So
ports are drawn from below that range, where nobody gets one without naming it.
"""

import socket
from random import SystemRandom
from typing import Final

BUS_OFFSET: Final = 10_000
"""A node's bus port is its client port plus this, as in Redis Cluster."""

LOCAL_HOST: Final = "127.0.0.1"
FIRST: Final = 10_240
COUNT: Final = BUS_OFFSET
"""Client ports end where bus ports begin, so that no bus port of one block is a client port of another."""


def can_bind(port: int, kind: socket.SocketKind) -> bool:
    """Whether a server could bind this port of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:  # as servers do: connections that linger after an end do not count
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCAL_HOST, port))
        except OSError:
            return False
    return True


def is_free(port: int) -> bool:
    """Whether a member could bind this port for clients (TCP) and its bus port (TCP and UDP)."""
    return (
        can_bind(port, socket.SOCK_STREAM)
        and can_bind(port + BUS_OFFSET, socket.SOCK_STREAM)
        and can_bind(port + BUS_OFFSET, socket.SOCK_DGRAM)
    )


class _Draw:
    """Goes round the client ports from a random one on: this process gets none twice in a row."""

    def __init__(self) -> None:
        self._next = SystemRandom().randrange(COUNT)

    def block(self, size: int) -> range:
        for _ in range(COUNT):
            if self._next + size > COUNT:
                self._next = 0
            ports = range(FIRST + self._next, FIRST + self._next + size)
            taken = [port for port in ports if not is_free(port)]
            self._next = (taken[-1] + 1 if taken else ports.stop) - FIRST
            if not taken:
                return ports
        raise OSError(
            f"no {size} free ports in a row between {FIRST} and {FIRST + COUNT - 1} with their bus ports "
            f"{BUS_OFFSET} higher: end servers that were left over"
        )


_draw: Final = _Draw()


def free_ports(count: int) -> range:
    """Adjacent client ports that are free with their bus ports.

    Nothing keeps them free, but only somebody who names such a number gets it.

    Args:
        count: how many, 1 to 1,000.

    Raises:
        ValueError: another count.
        OSError: there is no such block.
    """
    if not 1 <= count <= 1_000:
        raise ValueError(f"count={count}: between 1 and 1000")
    return _draw.block(count)


def free_port() -> int:
    """One of `free_ports`."""
    return free_ports(1).start
