"""The connection of a replica to its primary: real sockets. Says what happens to `Follower`, which decides.

One task dials and reads, one connection after the other. When the stream begins the socket moves into the
pump, and the task waits for the next dial.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Protocol

import trio

from node.engine.pump import Pump
from node.engine.session import Session
from node.replication.actions import Cause

RECEIVE_BYTES = 64 << 10


class Ears(Protocol):
    """Who hears what happens to the connection."""

    def connected(self) -> None: ...

    def received(self, data: bytes) -> None: ...

    def broken(self, cause: Cause, text: str) -> None: ...


class Sockets:
    """Implements follower.Wire. Run `run` as a task."""

    def __init__(self, pump: Pump) -> None:
        self._pump = pump
        self._wanted: tuple[str, int] | None = None
        self._woken = trio.Event()
        self._scope: trio.CancelScope | None = None  # of the conversation
        self._connection: trio.socket.SocketType | None = None
        self._outgoing = b""

    def dial(self, host: str, port: int) -> None:
        self._wanted = (host, port)
        self._woken.set()

    def send(self, data: bytes) -> None:
        self._outgoing += data

    def hang_up(self) -> None:
        self._wanted = None
        self._outgoing = b""
        if self._scope is not None:
            self._scope.cancel()

    def adopt(self, session: Session, received: bytes) -> None:
        connection, self._connection = self._connection, None
        assert connection is not None
        self._pump.adopt(connection.detach(), session, received)

    def close(self, session: Session, reason: str) -> None:
        self._pump.close(session, reason)

    async def run(self, ears: Ears) -> None:
        """Dials and listens, for ever."""
        while True:
            await self._woken.wait()
            self._woken = trio.Event()
            wanted, self._wanted = self._wanted, None
            if wanted is None:
                continue
            with trio.CancelScope() as scope:
                self._scope = scope
                await self._converse(wanted, ears)
            self._scope = None

    async def _converse(self, wanted: tuple[str, int], ears: Ears) -> None:
        # An await may return although we were told to hang up meanwhile; what it returned must then touch
        # nothing. Hence checkpoint_if_cancelled after each of them, before anything is done with it.
        try:
            connection = await _connect(*wanted)
        except OSError as error:
            await trio.lowlevel.checkpoint_if_cancelled()
            ears.broken(*_cause_of(error))
            return
        self._connection = connection
        try:
            with connection:
                await trio.lowlevel.checkpoint_if_cancelled()
                ears.connected()
                await self._listen(connection, ears.received)
                if self._connection is not None:
                    ears.broken(Cause.RESET, "closed the connection")
        except OSError as error:
            await trio.lowlevel.checkpoint_if_cancelled()
            ears.broken(Cause.RESET, f"ended the connection: {error.strerror or error}")
        finally:
            self._connection = None

    async def _listen(self, connection: trio.socket.SocketType, hear: Callable[[bytes], None]) -> None:
        """Until the other end has closed, or the connection is the pump's."""
        while True:
            outgoing, self._outgoing = self._outgoing, b""
            while outgoing:
                outgoing = outgoing[await connection.send(outgoing) :]
            await trio.lowlevel.checkpoint_if_cancelled()
            data = await connection.recv(RECEIVE_BYTES)
            await trio.lowlevel.checkpoint_if_cancelled()
            if not data:
                return
            hear(data)
            if self._connection is None:
                return


async def _connect(host: str, port: int) -> trio.socket.SocketType:
    """A connected socket to the first address of `host` that answers.

    Raises:
        OSError: of the last address tried; gaierror when the name has none.
    """
    addresses = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
    failure = OSError(errno.EADDRNOTAVAIL, f"{host} has no address")
    for family, kind, protocol, _, address in addresses:
        connection = trio.socket.socket(family, kind, protocol)
        try:
            await connection.connect(address)
            connection.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            failure = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise failure


def _cause_of(error: OSError) -> tuple[Cause, str]:
    if error.errno == errno.ECONNREFUSED:
        return Cause.REFUSED, "refused the connection"
    if error.errno == errno.ECONNRESET:
        return Cause.RESET, "reset the connection attempt"
    return Cause.UNREACHABLE, f"cannot be reached: {error.strerror or error}"
