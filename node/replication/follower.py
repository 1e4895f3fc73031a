"""The replica's side of replication: the engine and a wire around `link.Link`.

The core decides what comes next; the wire (wire.py, or a simulated one) dials, carries bytes and says how
it went. What arrives passes through here: lines to the core, a snapshot into the keyspace. Once the stream
begins, the connection moves into the pump, where the stream is applied at the pump's speed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gossip.beat import IDLE_BEAT_MS, on_beat
from node.engine.engine import Engine
from node.engine.rdb import Decoder, SnapshotError
from node.engine.session import Session
from node.replication.actions import (
    Action,
    Cause,
    Dial,
    HangUp,
    Load,
    Myself,
    Position,
    Report,
    Send,
    Stream,
    Target,
)
from node.replication.link import Link, State

STREAM_DATABASE = b"repl-stream-db"  # Redis's name for it among the facts at the head of a snapshot


class Wire(Protocol):
    """One connection to a primary at a time."""

    def dial(self, host: str, port: int) -> None:
        """Connects. Answered with `Follower.connected` or `broken`, unless `hang_up` comes first."""
        ...

    def send(self, data: bytes) -> None:
        """Writes to the primary."""
        ...

    def hang_up(self) -> None:
        """Ends the connection, or the attempt at one; nothing of it is heard any more."""
        ...

    def adopt(self, session: Session, received: bytes) -> None:
        """The connection is the session's from now on, which begins with what was received already."""
        ...

    def close(self, session: Session, reason: str) -> None:
        """Ends the connection of a session that was adopted."""
        ...


class DataOwner(Protocol):
    """Who has to know what happens to the data set: the replication manager."""

    def replacing(self, keep: bool) -> None:
        """A full sync begins: the old data must go, or (`keep`) out of sight. Nobody reads until it ends."""
        ...

    def replaced(self, position: Position) -> None:
        """The new data is complete."""
        ...

    def replacement_failed(self) -> None:
        """What was loaded is a fragment and must go; what was kept is our data again."""
        ...

    def continues(self, position: Position, renamed: bool) -> None:
        """The stream goes on from where our data stands."""
        ...

    def link_failed(self, report: Report) -> None:
        """The link broke or could not be made."""
        ...


@dataclass(slots=True)
class _Loading:
    """A snapshot that is arriving. `rest`: what came behind its end so far."""

    load: Load
    decoder: Decoder
    rest: bytes = b""


class Follower:
    """Follows one primary at a time.

    Args:
        wake: `tick` has something to do earlier than it said.

    Attributes:
        session: the link's session in the pump while the stream is applied, else None.
        loaded_bytes: of the full sync in progress.
    """

    def __init__(
        self,
        engine: Engine,
        wire: Wire,
        link: Link,
        owner: DataOwner,
        clock_ms: Callable[[], int],
        wake: Callable[[], None],
    ) -> None:
        self.link = link
        self.session: Session | None = None
        self.loaded_bytes = 0
        self._engine = engine
        self._wire = wire
        self._owner = owner
        self._clock_ms = clock_ms
        self._wake = wake
        self._step: Load | Stream | None = None
        self._loading: _Loading | None = None
        self._stream_database = 0  # the stream's SELECT survives a break
        self._heard_bytes = 0
        self._ack_due_ms = 0

    @property
    def stream_database(self) -> int:
        """The database that the next write of the stream is for, unless it names one."""
        return self._stream_database if self.session is None else self.session.database

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
        if session.applied_failure:  # to go on from here would leave out what could not be applied
            self.differs(session.applied_failure)
            return True
        text = session.close_reason
        if text in ("", "closed by the client"):  # the pump's word for whoever is at the other end
            text = "it closed the connection"
        self._carry_out(self.link.broken(Cause.RESET, f"ended the stream: {text}", self._clock_ms()))
        return True

    def acknowledge_always(self, always: bool) -> None:
        """After every batch that was applied from now on, or only now and then."""
        if self.session is not None:
            self.session.acks_promptly = always
            self.acknowledge()

    def acknowledge(self) -> None:
        """Tells the primary how far we are."""
        if self.session is not None:
            self.session.acknowledge()
            period_ms = self.link.settings.ack_period_ms
            beat_ms = max(1, min(IDLE_BEAT_MS, period_ms // 2))
            self._ack_due_ms = on_beat(self._clock_ms() + period_ms, beat_ms, late_ms=0)

    def differs(self, text: str) -> None:
        """What the stream brought was refused: our data is not our primary's any more. Ends the link, before
        anything of it is acknowledged."""
        self._carry_out(self.link.spoiled(text, self._clock_ms()))

    # --- what the wire tells --------------------------------------------------------------------------------
    def connected(self) -> None:
        """The dial succeeded."""
        self._carry_out(self.link.connected(self._clock_ms()))

    def received(self, data: bytes) -> None:
        """Bytes from the primary, until the connection is the pump's."""
        if self._loading is not None:
            self._carry_out(self.link.heard(self._clock_ms()))
            self._load(self._loading, data)
        else:
            self._carry_out(self.link.received(data, self._clock_ms()))
        if isinstance(self._step, Load):
            load, self._step = self._step, None
            self._begin_load(load)
        if isinstance(self._step, Stream):
            stream, self._step = self._step, None
            self._hand_over(stream)

    def broken(self, cause: Cause, text: str) -> None:
        """The connection could not be made, or ended."""
        self._carry_out(self.link.broken(cause, text, self._clock_ms()))

    # --- as time passes -------------------------------------------------------------------------------------
    def tick(self, now_ms: int) -> int | None:
        """Lets the core see its deadlines and acknowledges. Returns when to call again; None: not needed."""
        session = self.session
        if session is not None:
            if session.input_bytes != self._heard_bytes:
                self._heard_bytes = session.input_bytes
                self.link.heard(now_ms)
            self._note_progress()
            if now_ms >= self._ack_due_ms:
                self.acknowledge()
        self._carry_out(self.link.tick(now_ms))
        due_ms = self.link.deadline_ms
        if self.session is not None:
            due_ms = self._ack_due_ms if due_ms is None else min(due_ms, self._ack_due_ms)
        return due_ms

    # --- inside -------------------------------------------------------------------------------------------
    def _carry_out(self, actions: list[Action]) -> None:
        # Reports last: whoever hears one may tell us to do something else, and that must then stand.
        for action in sorted(actions, key=lambda action: isinstance(action, Report)):
            match action:
                case Dial(host, port):
                    self._wire.dial(host, port)
                case Send(data):
                    self._wire.send(data)
                case Load() | Stream():
                    self._step = action
                case HangUp():
                    self._hang_up()
                case Report():
                    self._owner.link_failed(action)
        if actions:
            self._wake()

    def _hang_up(self) -> None:
        self._step = None
        self._end_load(complete=False)
        session, self.session = self.session, None
        if session is None:
            self._wire.hang_up()
        else:
            self._stream_database = session.database
            self._wire.close(session, "the replication link is not needed any more")

    def _note_progress(self) -> None:
        if self.session is not None:
            self._stream_database = self.session.database
            self.link.applied(self.session.applied_offset)

    def _begin_load(self, load: Load) -> None:
        """A snapshot replaces our data from here on."""
        self.loaded_bytes = 0
        self._loading = _Loading(load, Decoder(self._engine.keyspace, keep_expired=True))
        self._owner.replacing(load.keep)
        if self._loading is not None:  # whoever was told may have told us to stop
            self._load(self._loading, load.leftover)

    def _load(self, loading: _Loading, data: bytes) -> None:
        try:
            complete = self._load_more(loading, data)
            database = self._database_of(loading.decoder) if complete else 0
        except SnapshotError as error:
            self._carry_out(self.link.spoiled(str(error), self._clock_ms()))
            return
        if complete:
            self._end_load(complete=True)
            self._stream_database = database
            self._owner.replaced(loading.load.position)
            self._carry_out(self.link.loaded(self._clock_ms(), loading.rest))

    def _load_more(self, loading: _Loading, data: bytes) -> bool:
        """True when all of the snapshot and its mark are there; then `rest` is what follows."""
        load, decoder = loading.load, loading.decoder
        if decoder.done:
            loading.rest += data
        else:
            self.loaded_bytes += len(data)
            loading.rest = decoder.feed(data)
            if not decoder.done:
                if 0 <= load.length_bytes <= self.loaded_bytes:
                    raise SnapshotError(
                        f"it has no end within the {load.length_bytes} bytes that were announced"
                    )
                return False
            taken_bytes = self.loaded_bytes - len(loading.rest)
            if 0 <= load.length_bytes != taken_bytes:
                raise SnapshotError(f"it ends after {taken_bytes} bytes, {load.length_bytes} were announced")
        if load.length_bytes >= 0:
            return True
        if len(loading.rest) < len(load.mark):
            return False
        if not loading.rest.startswith(load.mark):
            raise SnapshotError("it is not followed by the mark that was announced")
        loading.rest = loading.rest[len(load.mark) :]
        return True

    def _database_of(self, decoder: Decoder) -> int:
        """Where the stream behind a snapshot begins: a replica that sends one says it."""
        word = decoder.aux.get(STREAM_DATABASE, b"0")
        if not word.isdigit() or int(word) >= self._engine.keyspace.database_count:
            raise SnapshotError(f"its stream goes on in database {word!r}, which does not exist here")
        return int(word)

    def _end_load(self, *, complete: bool) -> None:
        # At once when we hang up: we may be told to be a primary next.
        if self._loading is not None:
            self._loading = None
            if not complete:
                self._owner.replacement_failed()

    def _hand_over(self, stream: Stream) -> None:
        assert self.link.state is State.ONLINE
        self._owner.continues(stream.position, stream.renamed)
        if self.link.state is not State.ONLINE:
            return  # whoever was told wants something else now
        target = self.link.target
        session = Session(self._engine, address=target.address if target is not None else "")
        session.database = self._stream_database
        session.start_applying(stream.position.offset)
        self.session = session
        self._heard_bytes = 0
        self.acknowledge()
        self._wire.adopt(session, stream.leftover)
