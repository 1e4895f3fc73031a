"""The replica's side of replication as a shell: sockets and the engine around `link.Link`.

One task dials, talks and loads, one conversation after the other; the core decides what comes next. Once
the stream begins, the socket moves into the pump, where the stream is applied at the pump's speed, and
the task waits for the next dial.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Protocol

import trio

from node.engine.engine import Engine
from node.engine.pump import Pump
from node.engine.rdb import Decoder, SnapshotError
from node.engine.session import Session
from node.replication.link import (
    Action,
    Cause,
    Dial,
    HangUp,
    Link,
    Load,
    Myself,
    Position,
    Report,
    Send,
    State,
    Stream,
    Target,
    command_bytes,
)

RECEIVE_BYTES = 64 << 10


class DataOwner(Protocol):
    """Who has to know what happens to the data set: the replication manager."""

    def replacing(self) -> None:
        """A full sync begins: the old data must go, nobody may read until it is done."""
        ...

    def replaced(self, position: Position) -> None:
        """The new data is complete."""
        ...

    def replacement_failed(self) -> None:
        """What was loaded is a fragment and must go."""
        ...

    def continues(self, position: Position, renamed: bool) -> None:
        """The stream goes on from where our data stands."""
        ...

    def link_failed(self, report: Report) -> None:
        """The link broke or could not be made."""
        ...


class Follower:
    """Follows one primary at a time.

    Attributes:
        session: the link's session in the pump while the stream is applied, else None.
        loaded_bytes: of the full sync in progress.
    """

    def __init__(
        self, engine: Engine, pump: Pump, link: Link, owner: DataOwner, clock_ms: Callable[[], int]
    ) -> None:
        self.link = link
        self.session: Session | None = None
        self.loaded_bytes = 0
        self._engine = engine
        self._pump = pump
        self._owner = owner
        self._clock_ms = clock_ms
        self._dial: Dial | None = None
        self._outgoing = b""
        self._step: Load | Stream | None = None
        self._scope: trio.CancelScope | None = None  # of the conversation
        self._woken = trio.Event()
        self._changed = trio.Event()
        self._stream_database = 0  # the stream's SELECT survives a break
        self._heard_bytes = 0
        self._ack_due_ms = 0
        self._loading = False

    # --- commands -----------------------------------------------------------------------------------------
    def follow(self, target: Target, myself: Myself) -> None:
        """Follows `target` from now on, instead of whoever it was."""
        self._note_progress()
        self._carry_out(self.link.follow(target, myself, self._clock_ms()))

    def stop(self) -> None:
        """Follows nobody. When this returns, nothing of the old stream can be applied any more."""
        self._note_progress()
        self._carry_out(self.link.stop(self._clock_ms()))

    def on_close(self, session: Session) -> bool:
        """A session of the pump ended; True when it was the link."""
        if session is not self.session:
            return False
        self._note_progress()
        self.session = None
        text = session.close_reason
        if text in ("", "closed by the client"):  # the pump's word for whoever is at the other end
            text = "it closed the connection"
        self._carry_out(self.link.broken(Cause.RESET, f"ended the stream: {text}", self._clock_ms()))
        return True

    def acknowledge(self) -> None:
        """Tells the primary how far we are."""
        if self.session is not None:
            offset = self.session.applied_offset
            self.session.write(command_bytes(b"REPLCONF", b"ACK", b"%d" % offset))
            self._ack_due_ms = self._clock_ms() + self.link.settings.ack_period_ms

    # --- tasks --------------------------------------------------------------------------------------------
    async def run(self) -> None:
        """Dials and talks, for ever."""
        while True:
            await self._woken.wait()
            self._woken = trio.Event()
            dial, self._dial = self._dial, None
            if dial is None:
                continue
            with trio.CancelScope() as scope:
                self._scope = scope
                await self._converse(dial)
            self._scope = None

    async def keep_time(self) -> None:
        """Lets the core see its deadlines and acknowledges, for ever."""
        while True:
            now_ms = self._clock_ms()
            due = [ms for ms in (self.link.deadline_ms,) if ms is not None]
            if self.session is not None:
                due.append(self._ack_due_ms)
            with trio.move_on_after(max(0, min(due) - now_ms) / 1000 if due else float("inf")):
                await self._changed.wait()
            self._changed = trio.Event()
            now_ms = self._clock_ms()
            if self.session is not None:
                if self.session.input_bytes != self._heard_bytes:
                    self._heard_bytes = self.session.input_bytes
                    self.link.heard(now_ms)
                self._note_progress()
                if now_ms >= self._ack_due_ms:
                    self.acknowledge()
            self._carry_out(self.link.tick(now_ms))

    # --- inside -------------------------------------------------------------------------------------------
    def _carry_out(self, actions: list[Action]) -> None:
        # Reports last: whoever hears one may tell us to do something else, and that must then stand.
        for action in sorted(actions, key=lambda action: isinstance(action, Report)):
            match action:
                case Dial():
                    self._dial = action
                    self._woken.set()
                case Send(data):
                    self._outgoing += data
                case Load() | Stream():
                    self._step = action
                case HangUp():
                    self._hang_up()
                case Report():
                    self._owner.link_failed(action)
        if actions:
            self._changed.set()

    def _hang_up(self) -> None:
        self._outgoing = b""
        self._step = None
        self._dial = None
        if self._scope is not None:
            self._scope.cancel()
        self._end_load(complete=False)
        session, self.session = self.session, None
        if session is not None:
            self._stream_database = session.database
            self._pump.close(session, "the replication link is not needed any more")

    def _note_progress(self) -> None:
        if self.session is not None:
            self._stream_database = self.session.database
            self.link.applied(self.session.applied_offset)

    async def _converse(self, dial: Dial) -> None:
        # An await may return although we were told to hang up meanwhile; what it returned must then touch
        # nothing. Hence checkpoint_if_cancelled after each of them, before anything is done with it.
        try:
            connection = await _connect(dial.host, dial.port)
        except OSError as error:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._carry_out(self.link.broken(*_cause_of(error), self._clock_ms()))
            return
        with connection:
            try:
                await trio.lowlevel.checkpoint_if_cancelled()
                await self._talk(connection)
            except OSError as error:
                await trio.lowlevel.checkpoint_if_cancelled()
                text = f"ended the connection: {error.strerror or error}"
                self._carry_out(self.link.broken(Cause.RESET, text, self._clock_ms()))

    async def _talk(self, connection: trio.socket.SocketType) -> None:
        self._carry_out(self.link.connected(self._clock_ms()))
        while True:
            outgoing, self._outgoing = self._outgoing, b""
            await _send_all(connection, outgoing)
            await trio.lowlevel.checkpoint_if_cancelled()
            data = await self._receive(connection)
            if data is None:
                return
            self._carry_out(self.link.received(data, self._clock_ms()))
            if isinstance(self._step, Load):
                load, self._step = self._step, None
                await self._load(connection, load)
            if isinstance(self._step, Stream):
                stream, self._step = self._step, None
                self._hand_over(connection, stream)
                return

    async def _receive(self, connection: trio.socket.SocketType) -> bytes | None:
        data = await connection.recv(RECEIVE_BYTES)
        await trio.lowlevel.checkpoint_if_cancelled()
        if data:
            return data
        self._carry_out(self.link.broken(Cause.RESET, "closed the connection", self._clock_ms()))
        return None

    async def _load(self, connection: trio.socket.SocketType, load: Load) -> None:
        """Reads a snapshot into the keyspace; leaves a Stream step behind when all of it arrived."""
        self.loaded_bytes = 0
        self._loading = True
        self._owner.replacing()
        try:
            rest = await self._load_all(connection, load)
        except SnapshotError as error:
            self._carry_out(self.link.spoiled(str(error), self._clock_ms()))
        else:
            if rest is not None:
                self._end_load(complete=True)
                self._stream_database = 0
                self._owner.replaced(load.position)
                self._carry_out(self.link.loaded(self._clock_ms(), rest))
        finally:
            self._end_load(complete=False)

    def _end_load(self, *, complete: bool) -> None:
        # At once when we hang up, not when the task gets to know: we may be told to be a primary next.
        if self._loading:
            self._loading = False
            if not complete:
                self._owner.replacement_failed()

    async def _load_all(self, connection: trio.socket.SocketType, load: Load) -> bytes | None:
        """Returns what follows the snapshot, or None when the connection ended first."""
        decoder = Decoder(self._engine.keyspace, keep_expired=True)
        data = load.leftover
        while True:
            self.loaded_bytes += len(data)
            rest = decoder.feed(data)
            if decoder.done:
                break
            if 0 <= load.length_bytes <= self.loaded_bytes:
                raise SnapshotError(f"it has no end within the {load.length_bytes} bytes that were announced")
            received = await self._receive(connection)
            if received is None:
                return None
            data = received
            self._carry_out(self.link.heard(self._clock_ms()))
        if load.length_bytes >= 0:
            if self.loaded_bytes - len(rest) != load.length_bytes:
                raise SnapshotError(
                    f"it ends after {self.loaded_bytes - len(rest)} bytes, {load.length_bytes} were announced"
                )
            return rest
        while len(rest) < len(load.mark):
            received = await self._receive(connection)
            if received is None:
                return None
            rest += received
        if not rest.startswith(load.mark):
            raise SnapshotError("it is not followed by the mark that was announced")
        return rest[len(load.mark) :]

    def _hand_over(self, connection: trio.socket.SocketType, stream: Stream) -> None:
        assert self.link.state is State.ONLINE
        self._owner.continues(stream.position, stream.renamed)
        target = self.link.target
        session = Session(self._engine, address=target.address if target is not None else "")
        session.database = self._stream_database
        session.start_applying(stream.position.offset)
        self.session = session
        self._heard_bytes = 0
        self.acknowledge()
        self._pump.adopt(connection.detach(), session, stream.leftover)


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


async def _send_all(connection: trio.socket.SocketType, data: bytes) -> None:
    while data:
        data = data[await connection.send(data) :]


def _cause_of(error: OSError) -> tuple[Cause, str]:
    if error.errno == errno.ECONNREFUSED:
        return Cause.REFUSED, "refused the connection"
    if error.errno == errno.ECONNRESET:
        return Cause.RESET, "reset the connection attempt"
    return Cause.UNREACHABLE, f"cannot be reached: {error.strerror or error}"
