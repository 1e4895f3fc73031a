"""The primary's side of replication: answers REPLCONF and PSYNC, sends snapshots, keeps the ring.

It waits for nothing and reads no clock of its own: whoever drives it calls `advance` and `tick` when they
asked for it, or when `wake` was called.

A snapshot is made for all replicas that wait at that moment and written to each of them in pieces; the
slowest sets the pace, and one that takes nothing for repl-timeout is dropped. Beside busy clients it goes
slower still (pace.py). There is one snapshot at a time: who asks meanwhile waits for the next.

While a replica is being synced, or its socket takes less than is written, the ring grows so that nothing
it needs is overwritten, up to the window (256 MiB); here it is narrowed again. When even the window is
overrun the replica is dropped: the memory of a primary is bounded whatever its replicas do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from gossip.beat import IDLE_BEAT_MS, on_beat
from node.context import UNBLOCK_NOTE, UNBLOCKED
from node.engine.engine import Engine
from node.engine.rdb import SnapshotError, SnapshotWriter
from node.engine.reply import BLOCKED, NO_REPLY, CommandError, Failure, Reply
from node.engine.session import Session
from node.engine.snapshot import SnapshotBusy
from node.pace import Pace
from node.replication.follower import STREAM_DATABASE
from node.replication.history import Continue, Full, History, Ring
from node.replication.settings import Settings
from node.replication.source import Action, Event, Replica, Source, Stage
from node.version import GRAPEVINE_VERSION, REDIS_VERSION

log = logging.getLogger("grapevine.replication")

MARK_BYTES = 40
SLICE_BYTES = 8 << 10  # of a snapshot; less is not worth another look at the clock
STEP_BYTES_MAX = 1 << 20  # more the kernel would not take in one send
BUSY_RETRY_MS = 100  # snapshot epochs are being reset
FIRST_PROGRESS = 0.01  # before so much of a snapshot is sent nobody knows how long it will take
# Redis's words.
NO_PRIMARY = Failure(
    b"UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"
)
ROOM_POLL_MS = 1_000  # a replica that takes nothing is looked at this often


class Sessions(Protocol):
    """The connections of this process: the pump."""

    sessions: dict[int, Session]

    def close(self, session: Session, reason: str = "") -> None:
        """Ends a connection now; what was not sent is lost."""
        ...

    def interrupt(self) -> None:
        """There is something new to send."""
        ...

    def resume_stalled(self) -> None:
        """A pause is over: clients that it held back go on."""
        ...


@dataclass(slots=True)
class Waiter:
    """A client in WAIT."""

    session: Session
    wanted: int
    offset: int
    deadline_ms: int | None  # None: it waits for ever
    answer: Callable[[int], Reply]


@dataclass(slots=True)
class _Round:
    """A snapshot on its way, and those who are still taking it."""

    snapshot: SnapshotWriter
    mark: bytes
    taking: list[Replica]
    pace: Pace
    entries: int  # that the snapshot has
    full: bool = False  # one of them has no room: when it has, we want to know


class Feeder:
    """Serves the replicas of this node.

    Args:
        wake: `advance` or `tick` has something to do earlier than it said.
        new_id: forty characters that nobody has seen before; the marks at the ends of snapshots.
        work_us: processor time of this thread.
        stream_database: the database that our primary's stream is in, while we follow one.

    Attributes:
        source: the core: who is attached and how far.
        full_sync_count, partial_sync_count, refused_partial_count: for INFO.
        no_lease: why copies of our kind are sent away, '' when they are not (`send_away`).
        watch_acknowledgements: each of them calls `wake`.
        on_acknowledged: called after each REPLCONF ACK.
        on_online: called when a replica begins to get the stream.
        on_returned: called when a replica asks to go on from the history that we left when we took office,
            with its member id and how many bytes of it we do not have: those are dropped.
    """

    def __init__(
        self,
        engine: Engine,
        pump: Sessions,
        settings: Callable[[], Settings],
        history: Callable[[], History],
        clock_ms: Callable[[], int],
        wake: Callable[[], None],
        new_id: Callable[[], str],
        work_us: Callable[[], int],
        stream_database: Callable[[], int],
    ) -> None:
        self.source = Source()
        self.full_sync_count = 0
        self.partial_sync_count = 0
        self.refused_partial_count = 0
        self._engine = engine
        self._pump = pump
        self._settings = settings
        self._history = history
        self._clock_ms = clock_ms
        self._wake = wake
        self._new_id = new_id
        self._work_us = work_us
        self._stream_database = stream_database
        self.no_lease = ""
        self.watch_acknowledgements = False
        self.on_acknowledged: Callable[[], None] | None = None
        self.on_online: Callable[[], None] | None = None
        self.on_returned: Callable[[str, int], None] | None = None
        self._round: _Round | None = None
        self._waiters: list[Waiter] = []
        self._ping_due_ms = 0

    # --- commands -----------------------------------------------------------------------------------------
    def ring(self) -> Ring | None:
        """What of our stream is at hand."""
        effects = self._engine.effects
        return Ring(effects.start, effects.offset) if effects.active else None

    def greet(self, session: Session) -> Replica:
        """The replica behind a session; anybody who sends REPLCONF or PSYNC is one from then on."""
        return self.source.greet(session.id, session.address.rpartition(":")[0], self._clock_ms())

    def acknowledged(self, session: Session, offset: int) -> None:
        """REPLCONF ACK."""
        replica = self.source.replicas.get(session.id)
        if replica is None:
            return
        action = self.source.acknowledged(session.id, offset, self._clock_ms())
        if action is Action.STREAM:
            self._start_stream(session, replica)
            self.check_ring()
        self._answer_waiters(self._clock_ms())
        if self.watch_acknowledgements:
            self._wake()
        if self.on_acknowledged is not None:
            self.on_acknowledged()

    def ask(self, session: Session, asked_id: str, asked_offset: int) -> Reply:
        """PSYNC: everything before byte `asked_offset` of `asked_id` is there already."""
        replica = self.greet(session)
        history = self._history()
        decision = history.decide(asked_id, asked_offset, self.ring())
        if self.on_returned is not None and asked_id == history.second_id:
            self.on_returned(replica.member_id, max(0, asked_offset - history.second_end))
        if isinstance(decision, Continue):
            if self.no_lease and replica.member_id:
                raise CommandError(f"NOLEASE {self.no_lease}")
            return self._continue(session, replica, decision)
        if asked_id != "?":
            self.refused_partial_count += 1
        return self.ask_full(session, decision)

    def ask_full(self, session: Session, why: Full) -> Reply:
        """A full sync for this session, with the next snapshot."""
        replica = self.greet(session)
        if "eof" not in replica.capabilities:
            raise CommandError(
                "ERR this node sends its data set as a stream without a length: announce it with "
                "REPLCONF capa eof before PSYNC (Redis does since 2.8.18)"
            )
        if self.source.happened(session.id, Event.ASKS_FULL) is Action.REFUSE:
            return NO_REPLY
        session.is_replica = True
        log.info("replica %s asks for a full sync: %s", session.address, why.reason)
        self._engine.effects.activate()
        self._wake()
        return NO_REPLY

    def wait(
        self, session: Session, wanted: int, timeout_ms: int, answer: Callable[[int], Reply], *, met: bool
    ) -> Reply:
        """Answers when `wanted` replicas have everything written so far, or the time is over.

        Args:
            timeout_ms: 0: no limit.
            answer: from the number of replicas to the reply.
            met: False: acknowledgements cannot fulfil it, only the time ends it (WAITAOF).
        """
        offset = self._engine.effects.offset
        count = self.source.count_at(offset)
        if (met and count >= wanted) or not session.may_block:
            return answer(count)
        deadline_ms = self._clock_ms() + timeout_ms if timeout_ms > 0 else None
        if not met:
            wanted = 1 << 62
        waiter = Waiter(session, wanted, offset, deadline_ms, answer)
        self._waiters.append(waiter)
        self._wake()
        session.on_resume = lambda _session: self._forget_waiter(waiter)
        session.notes = session.notes or {}
        session.notes[UNBLOCK_NOTE] = lambda with_error: self._end_wait(
            waiter, UNBLOCKED if with_error else answer(self.source.count_at(offset))
        )
        self.ask_offsets()
        return BLOCKED

    def end_waits(self) -> None:
        """This node follows a primary from now on: nobody acknowledges anything to it any more."""
        for waiter in list(self._waiters):
            self._end_wait(waiter, NO_PRIMARY)

    def ask_offsets(self) -> None:
        """Makes every replica acknowledge at once."""
        self._append([b"REPLCONF", b"GETACK", b"*"])

    def ask_always(self, always: bool) -> None:
        """Makes our own kind of replicas acknowledge every batch, or now and then again. A redis-server takes
        either for an ordinary question (it does not look at the word) and answers it once."""
        self._append([b"REPLCONF", b"GETACK", b"ALWAYS" if always else b"SELDOM"])

    def drop_all(self, reason: str) -> None:
        """Closes the links of all replicas: our history is not theirs any more, they must ask again."""
        for replica in list(self.source.attached()):
            session = self._pump.sessions.get(replica.session_id)
            if session is not None:
                self._pump.close(session, reason)

    def send_away(self, why: str) -> None:
        """Tells copies of our kind that we cannot serve: one of them may be able to. Until `no_lease` is
        cleared they get this answer when they ask to go on. Who has no copy yet, or is no member of the
        cluster (a redis-server), is served as ever.
        """
        self.no_lease = why
        for replica in list(self.source.attached()):
            session = self._pump.sessions.get(replica.session_id)
            if session is not None and replica.member_id and replica.stage is Stage.ONLINE:
                self._pump.close(session, why)

    def on_close(self, session: Session) -> None:
        """A session of the pump ended."""
        if session.id in self.source.replicas:
            stage = self.source.replicas[session.id].stage
            self.source.happened(session.id, Event.CLOSED)
            self.check_ring()
            self._wake()
            if stage is not Stage.GREETING:
                log.info("replica %s is gone: %s", session.address, session.close_reason)

    # --- as time passes ------------------------------------------------------------------------------------
    def advance(self) -> int | None:
        """Sends more of a snapshot to those who wait for one.

        Returns:
            In how many ms to call again: 0 after everybody else had a turn; None when `wake` is called.
        """
        if self._round is not None:
            return self._go_on(self._round)
        if self.source.waiting():
            return self._begin_round()
        return None

    def close(self) -> None:
        """Ends the snapshot on its way, if there is one."""
        if self._round is not None:
            self._round.snapshot.close()
            self._round = None

    def tick(self, now_ms: int) -> int:
        """Pings, drops the silent and the overrun, ends waits. Returns when to call again, in ms."""
        settings = self._settings()
        for replica in self.source.syncing():
            session = self._pump.sessions.get(replica.session_id)
            if session is not None:
                moved_bytes = session.input_bytes + session.output_bytes
                self.source.moved(replica.session_id, moved_bytes, now_ms)
        for session_id in self.source.silent(now_ms, settings.timeout_ms):
            text = f"the replica was silent for more than {settings.timeout_ms} ms (repl-timeout)"
            self._drop(session_id, Event.SILENT, text)
        self.check_ring()
        if now_ms >= self._ping_due_ms and any(True for _ in self.source.attached()):
            self._ping_due_ms = now_ms + settings.ping_period_ms
            self._append([b"PING"])
            for replica in self.source.waiting() if self._round is not None else []:  # maybe for long
                session = self._pump.sessions.get(replica.session_id)
                if session is not None:
                    session.write(b"\n")
        self._answer_waiters(now_ms)
        due_ms = [on_beat(now_ms + 1000, IDLE_BEAT_MS, late_ms=IDLE_BEAT_MS)]
        due_ms += [waiter.deadline_ms for waiter in self._waiters if waiter.deadline_ms is not None]
        return min(due_ms)

    def is_drained(self, offset: int, member_id: str = "") -> bool:
        """Whether every replica acknowledged everything before `offset`; or this one, if named."""
        if member_id:
            return any(
                replica.member_id == member_id and replica.ack_offset >= offset
                for replica in self.source.attached()
            )
        return all(replica.ack_offset >= offset or replica.plain_sync for replica in self.source.attached())

    # --- inside -------------------------------------------------------------------------------------------
    def _append(self, args: list[bytes]) -> None:
        effects = self._engine.effects
        if not self._engine.keyspace.follower:  # a replica only passes on what its primary says
            effects.append(max(effects.database, 0), args)
            self._pump.interrupt()

    def _continue(self, session: Session, replica: Replica, decision: Continue) -> Reply:
        if self.source.happened(session.id, Event.ASKS_CONTINUE) is Action.REFUSE:
            return NO_REPLY
        line = b"+CONTINUE"
        if "psync2" in replica.capabilities:
            line += b" " + self._history().id.encode()
        session.write(line + b"\r\n")
        replica.offset = decision.offset
        replica.ack_offset = decision.offset
        session.start_feed(decision.offset)
        self._came_online()
        self.partial_sync_count += 1
        log.info("replica %s goes on from offset %d", session.address, decision.offset)
        return NO_REPLY

    def _start_stream(self, session: Session, replica: Replica) -> None:
        effects = self._engine.effects
        if not effects.can_continue_from(replica.offset):
            self._drop(session.id, Event.OVERRUN, _overrun_text(replica, effects.start))
            return
        session.start_feed(replica.offset)
        self._came_online()
        log.info("replica %s is in sync from offset %d on", session.address, replica.offset)

    def _came_online(self) -> None:
        if self.on_online is not None:
            self.on_online()

    def _drop(self, session_id: int, event: Event, text: str) -> None:
        session = self._pump.sessions.get(session_id)
        self.source.happened(session_id, event)
        if session is not None:
            log.warning("replica %s dropped: %s", session.address, text)
            self._pump.close(session, text)

    def check_ring(self) -> None:
        """Keeps what full syncs need in the ring, drops those that lost it, narrows a ring too wide."""
        effects = self._engine.effects
        for replica in self.source.syncing():
            if not effects.can_continue_from(replica.offset):
                self._drop(replica.session_id, Event.OVERRUN, _overrun_text(replica, effects.start))
        effects.hold_for_syncs(min((replica.offset for replica in self.source.syncing()), default=None))
        backlog_bytes = self._settings().backlog_bytes
        if effects.capacity_bytes != backlog_bytes and effects.offset - effects.oldest_needed < backlog_bytes:
            effects.resize(backlog_bytes)

    def _begin_round(self) -> int:
        limit_bytes = self._settings().window_bytes
        try:
            snapshot = SnapshotWriter(self._engine.keyspace, self._aux_fields(), limit_bytes=limit_bytes)
        except SnapshotBusy as error:
            log.info("full sync postponed: %s", error)
            return BUSY_RETRY_MS
        mark = self._new_id()[:MARK_BYTES].encode()
        settings = self._settings()
        pace = Pace(settings.step_us, settings.step_share, self._clock_ms(), self._commands())
        keyspace = self._engine.keyspace
        entries = sum(keyspace.size(number) for number in range(keyspace.database_count))
        self._round = _Round(snapshot, mark, self._begin(mark), pace, entries)
        return 0

    def _begin(self, mark: bytes) -> list[Replica]:
        """Tells all who wait that this snapshot is theirs. The snapshot was made in the same breath."""
        effects = self._engine.effects
        effects.select_again()
        taking = self.source.waiting()
        for replica in taking:
            replica.offset = effects.offset
            replica.heard_ms = self._clock_ms()
            self.source.happened(replica.session_id, Event.BEGINS)
            line = b"+FULLRESYNC %s %d\r\n" % (self._history().id.encode(), effects.offset)
            self._write(replica, (b"" if replica.plain_sync else line) + b"$EOF:" + mark + b"\r\n")
        self.check_ring()
        self.full_sync_count += len(taking)
        return taking

    def _go_on(self, sending: _Round) -> int:
        self.check_ring()
        sending.taking = [r for r in sending.taking if self.source.replicas.get(r.session_id) is r]
        if not sending.taking:
            self.close()
            return 0
        settings, sessions = self._settings(), self._pump.sessions
        sending.full = any(
            sessions[replica.session_id].output_pending_bytes >= settings.pending_bytes
            for replica in sending.taking
        )
        if sending.full:
            return ROOM_POLL_MS
        rest_ms = sending.pace.rest_ms(self._clock_ms(), self._commands(), self._ring_fill(sending))
        if rest_ms > 0:
            return rest_ms
        began_us = self._work_us()
        try:
            more = True
            # The writer gives up when more waits than the window; what clients change comes on top of a step.
            most_bytes = max(SLICE_BYTES, min(STEP_BYTES_MAX, settings.window_bytes // 2))
            for want_bytes in range(SLICE_BYTES, most_bytes + 1, SLICE_BYTES):
                more = sending.snapshot.step(want_bytes)
                if not more or self._work_us() - began_us >= sending.pace.limit_us:
                    break
            piece = sending.snapshot.take()
        except SnapshotError as error:
            log.error("full sync failed: %s", error)
            for replica in sending.taking:
                self._drop(replica.session_id, Event.OVERRUN, str(error))
            self.close()
            return 0
        for replica in sending.taking:
            self._write(replica, piece if more else piece + sending.mark)
        sending.pace.spent(self._work_us() - began_us)
        if not more:
            for replica in sending.taking:
                replica.heard_ms = self._clock_ms()
                self.source.happened(replica.session_id, Event.SENT)
                where = f"{replica.address}:{replica.port}"
                log.info("full sync: %d bytes to %s", sending.snapshot.written_bytes, where)
            self.close()
        return 0

    def _aux_fields(self) -> Mapping[bytes, bytes]:
        fields = {
            b"redis-ver": REDIS_VERSION.encode(),
            b"redis-bits": b"64",
            b"grapevine-ver": GRAPEVINE_VERSION.encode(),
        }
        if self._engine.keyspace.follower:  # what we pass on need not begin with a SELECT; what we write does
            fields[STREAM_DATABASE] = b"%d" % self._stream_database()
        return fields

    def _ring_fill(self, sending: _Round) -> float:
        """How much of the ring will be filled when all is sent, if clients go on writing as they do."""
        written_bytes = self._engine.effects.offset - min(replica.offset for replica in sending.taking)
        progress = sending.snapshot.entry_count / max(1, sending.entries)
        return min(1.0, written_bytes / self._settings().window_bytes / max(progress, FIRST_PROGRESS))

    def _commands(self) -> int:
        return self._engine.statistics()["commands"]

    def _write(self, replica: Replica, data: bytes) -> None:
        session = self._pump.sessions.get(replica.session_id)
        if session is not None:
            session.on_drained = self._on_drained
            session.write(data)

    def _on_drained(self, session: Session) -> None:
        session.on_drained = None
        if self._round is not None and self._round.full:
            self._wake()

    def _answer_waiters(self, now_ms: int) -> None:
        for waiter in list(self._waiters):
            count = self.source.count_at(waiter.offset)
            if count >= waiter.wanted or (waiter.deadline_ms is not None and now_ms >= waiter.deadline_ms):
                self._end_wait(waiter, waiter.answer(count))

    def _end_wait(self, waiter: Waiter, reply: Reply) -> None:
        self._forget_waiter(waiter)
        waiter.session.on_resume = None
        waiter.session.unblock(reply)

    def _forget_waiter(self, waiter: Waiter) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        if waiter.session.notes is not None:
            waiter.session.notes.pop(UNBLOCK_NOTE, None)


def _overrun_text(replica: Replica, start: int) -> str:
    return (
        f"its full sync took too long: it needs offset {replica.offset}, the backlog begins at {start} "
        "(its limit is that of client-output-buffer-limit replica)"
    )
