"""Datagrams and frames: the two ways bytes travel between members. Part of the trio shell.

Datagrams go through one non-blocking UDP socket on the bus port, frames through short TCP connections to the
same port number. The UDP socket asks the kernel to report ICMP errors (IP_RECVERR): "port unreachable" from
a peer's machine is the quickest sign that its process is gone, and it costs nothing to listen for.

A frame is four bytes of big-endian length and that many bytes. A frame that was cut by an error, a timeout or
cancellation poisons its connection: close it.
"""

import errno
import ipaddress
import socket
import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import trio

from gossip.errors import PeerError
from gossip.messages import Address

LENGTH_BYTES: Final = 4
ERRORS_PER_CALL: Final = 64
# Linux socket options that the socket module does not name.
IP_RECVERR: Final = 11
IPV6_RECVERR: Final = 25
RECEIVE_BUFFER_BYTES: Final = 1 << 20
"""Asked of the kernel (it may give less): a member that stands still for half a second finds its mail
there.
"""


def family_of(host: str) -> socket.AddressFamily:
    """The address family of an IP literal.

    Raises:
        ValueError: `host` is not an IP address.
    """
    return socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET


async def resolve(host: str) -> str:
    """The first IP address of `host`; itself when it is one already.

    Raises:
        OSError: it cannot be resolved.
    """
    try:
        family_of(host)
    except ValueError:
        found = await trio.socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
        return str(found[0][4][0])
    return host


@lru_cache(maxsize=4096)
def _is_literal(host: str, family: socket.AddressFamily) -> bool:
    try:
        return family_of(host) is family
    except ValueError:
        return False


class Datagrams:
    """The UDP socket. `close` it; nothing here is a task.

    Raises (construction):
        OSError: the address cannot be bound.
    """

    def __init__(self, host: str, port: int) -> None:
        self._family = family = family_of(host)
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            if family == socket.AF_INET:
                self._socket.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            else:
                self._socket.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            self._socket.bind((host, port))
        except BaseException:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        self.unreachable: list[Address] = []
        """Addresses that answered "nobody listens here"; the shell takes them away."""

    async def wait_readable(self) -> None:
        """Returns when a datagram or an error report is there. A checkpoint."""
        await trio.lowlevel.wait_readable(self._socket)

    def receive(self, bytes_max: int, count_max: int) -> Iterator[tuple[bytes, Address]]:
        """Whatever is there now, at most `count_max` datagrams. Longer ones come
        one byte too long, so that they show.
        """
        for _ in range(count_max):
            try:
                data, source = self._socket.recvfrom(bytes_max + 1)
            except BlockingIOError:
                return
            except OSError as error:
                if not _about_a_peer(error):
                    raise
                self._read_errors()
                continue
            yield data, (source[0], source[1])

    def send(self, data: bytes, address: Address) -> bool:
        """Hands `data` to the kernel. False: it is lost (full buffer, no route); losing a datagram is
        allowed.

        An address that is no IP literal of our family came from a peer and is not sent to: looking names up
        here would block everything.
        """
        if not _is_literal(address[0], self._family):
            return False
        for _ in range(2):  # an error report about somebody else comes up here too; it is not about this one
            try:
                self._socket.sendto(data, address)
            except BlockingIOError:
                return False
            except OSError as error:
                if not _about_a_peer(error):
                    raise
                self._read_errors()
            else:
                return True
        return False

    def close(self) -> None:
        self._socket.close()

    def _read_errors(self) -> None:
        for _ in range(ERRORS_PER_CALL):
            try:
                _data, ancillary, _flags, about = self._socket.recvmsg(0, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return  # empty: EAGAIN, or the report that was pending on the socket itself
            for _level, kind, report in ancillary:
                if kind in (IP_RECVERR, IPV6_RECVERR) and len(report) >= 4:
                    (code,) = struct.unpack_from("=I", report)
                    if code == errno.ECONNREFUSED and isinstance(about, tuple) and len(about) >= 2:
                        self.unreachable.append((about[0], about[1]))


def _about_a_peer(error: OSError) -> bool:
    """Network conditions that a datagram socket reports; anything else is a bug of ours or a broken
    machine.
    """
    return error.errno in (
        errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN,
        errno.ENETDOWN, errno.ETIMEDOUT, errno.EACCES, errno.EPERM, errno.EMSGSIZE, errno.ENOBUFS,
        errno.ENOPROTOOPT, errno.EPROTO, errno.EADDRNOTAVAIL, errno.EINVAL,
    )  # fmt: skip


async def send_frame(stream: trio.abc.SendStream, data: bytes) -> None:
    """Sends one frame. Cancelled or failed half-way: close the stream."""
    await stream.send_all(len(data).to_bytes(LENGTH_BYTES, "big") + data)


class FrameReader:
    """Frames from a stream.

    Args:
        bytes_max: cap of one frame; a longer announcement raises before a byte of it is kept.
    """

    def __init__(self, stream: trio.abc.ReceiveStream, bytes_max: int) -> None:
        self._stream = stream
        self._bytes_max = bytes_max
        self._buffer = bytearray()

    async def next(self) -> bytes | None:
        """The next frame, None when the peer closed between two frames.

        Raises:
            PeerError: too long, or closed in the middle of one.
            trio.BrokenResourceError: the connection broke.
        """
        length_bytes = await self._take(LENGTH_BYTES)
        if length_bytes is None:
            return None
        length = int.from_bytes(length_bytes, "big")
        if length > self._bytes_max:
            raise PeerError("size", f"frame of {length} bytes announced, at most {self._bytes_max} are read")
        frame = await self._take(length)
        if frame is None:
            raise PeerError("malformed", "connection closed between a frame's length and its bytes")
        return frame

    async def _take(self, count: int) -> bytes | None:
        while len(self._buffer) < count:
            data = await self._stream.receive_some(65_536)
            if not data:
                if self._buffer:
                    raise PeerError("malformed", "connection closed in the middle of a frame")
                return None
            self._buffer += data
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


async def is_refused(address: Address, timeout_ms: int) -> bool | None:
    """Try a TCP connection. True: refused. False: accepted (and closed again). None: nothing learned, since
    there was no answer or `address` is no IP address.
    """
    try:
        family = family_of(address[0])
    except ValueError:
        return None
    with trio.move_on_after(timeout_ms / 1000):
        try:
            with trio.socket.socket(family, socket.SOCK_STREAM) as probe:
                await probe.connect(address)
        except ConnectionRefusedError:
            return True
        except OSError:
            return None
        return False
    return None
