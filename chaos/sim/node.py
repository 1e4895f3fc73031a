"""The data side of a simulated member: the real engine, replication and cluster glue, driven without trio.

A turn is that of the pump: execute, feed the replicas, look at the lease again, let the replies leave. What
the pump does with sockets happens here with simulated connections; nothing else of the node is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final, cast

from chaos.sim.checkers import Violation
from chaos.sim.streams import FULL_BYTES, End
from chaos.sim.tasks import SimulatedErrands
from node.commands import all_commands
from node.config import Config
from node.context import NodeContext
from node.engine.digest import digest
from node.engine.engine import Engine
from node.engine.reply import StreamRefused
from node.engine.room import install_compiled
from node.engine.session import Session
from node.engine.steady import SteadyClock
from node.office import Office
from node.outlook import Outlook
from node.replication.actions import Cause
from node.replication.manager import ReplicationManager

if TYPE_CHECKING:
    from chaos.sim.process import Process

FEED_BYTES: Final = 1 << 20
NOBODY: Final = 1 << 62
CACHE_MS: Final = 30
TWICE: Final = 0.01


async def _migrate(primary: str) -> None:
    raise RuntimeError(f"a replica moves to {primary}: that is not simulated")


class Timer:
    """Calls `ring` once the process's clock shows what was last `set`."""

    def __init__(self, process: Process, ring: Callable[[], None]) -> None:
        self._process, self._ring = process, ring
        self._due_ms = 0
        self._planned_ms = NOBODY  # when we look; never later than due
        self._serial = 0

    def set(self, due_ms: int) -> None:
        """On the process's clock."""
        self._due_ms = due_ms
        if due_ms < self._planned_ms:
            self._planned_ms = due_ms
            self._serial += 1
            self._process.at(due_ms, partial(self._look, self._serial))

    def _look(self, serial: int) -> None:
        if serial != self._serial:
            return
        self._planned_ms = NOBODY
        if self._process.now_ms() < self._due_ms:
            self.set(self._due_ms)
        else:
            self._ring()


class SimulatedWire:
    """Implements node.replication.follower.Wire."""

    def __init__(self, process: Process, node: Node) -> None:
        self._process, self._node = process, node
        self._end: End | None = None
        self._attempt = 0

    def dial(self, host: str, port: int) -> None:
        self._attempt += 1
        attempt = self._attempt

        def done(end: End | None) -> None:
            if attempt != self._attempt:
                if end is not None:
                    end.close()
                return
            self._end = end
            follower = self._node.replication.follower
            if end is None:
                follower.broken(Cause.REFUSED, "refused the connection")
            else:
                end.hear = self._hear
                end.gone = self._gone
                follower.connected()
            self._process.settle()

        self._process.dial(host, port, done)

    def send(self, data: bytes) -> None:
        if self._end is not None:
            self._end.send(data)

    def hang_up(self) -> None:
        self._attempt += 1
        end, self._end = self._end, None
        if end is not None:
            end.close()

    def adopt(self, session: Session, received: bytes) -> None:
        end, self._end = self._end, None
        assert end is not None
        self._node.adopt(end, session, received)

    def close(self, session: Session, reason: str) -> None:
        self._node.close(session, reason)

    def _hear(self, data: bytes) -> None:
        self._node.tell_time()
        self._node.replication.follower.received(data)
        self._process.settle()

    def _gone(self, reset: bool) -> None:
        self._end = None
        text = "ended the connection: reset" if reset else "closed the connection"
        self._node.replication.follower.broken(Cause.RESET, text)
        self._process.settle()


class SimulatedOffice(Office):
    """Commands ask a real node's ClusterMember for its outlook; here they find the office itself."""

    @property
    def outlook(self) -> Outlook:
        return self


class _Hasty(SimulatedOffice):
    """Planted: clients are not held while an office changes hands."""

    def hold_clients(self, until_ms: int) -> None:
        del until_ms


class Node:
    """Implements replication.feeder.Sessions and, for the commands that run here, node.context.NodeContext.

    Attributes:
        sessions: connections of clients and replicas, and the one to our primary.
        glue_woken, replication_woken: `tick` has something to do.
    """

    def __init__(self, process: Process, config: Config, dice: Random) -> None:
        self._process = process
        self.config = config
        self.active_expiry = True
        self.sessions: dict[int, Session] = {}
        self._ends: dict[int, End] = {}
        self._sent: dict[int, int] = {}  # by session id of a replica: how much of the stream it was sent
        self._replies: list[tuple[Session, bytes]] = []
        self._errors: list[BaseException] = []
        self._cache: dict[bytes, tuple[int, bytes]] = {}
        self._dice = dice
        self.run_id = f"{dice.getrandbits(160):040x}"
        self.started_ms = process.now_ms()
        self._steady = SteadyClock()
        clock = process.clock
        self.engine = Engine(cluster=True, hash_key=dice.randbytes(16), clock_ms=clock.wall_ms)
        self.tell_time()
        self.engine.on_python_error = self._errors.append
        self.engine.bind_context(cast(NodeContext, self))
        install_compiled(self.engine.registry)
        for spec in all_commands():
            self.engine.add_command(spec)
        self.replication = ReplicationManager(
            self.engine,
            self,
            SimulatedWire(process, self),
            config,
            Random(dice.getrandbits(64)),
            clock_ms=process.now_ms,
            work_us=lambda: 0,
            new_id=lambda: "a" * 40 if "same-history" in process.bugs else f"{dice.getrandbits(160):040x}",
        )
        self.cluster = (_Hasty if "hold-nobody" in process.bugs else SimulatedOffice)(
            self.engine,
            self.replication,
            process,
            config,
            Random(dice.getrandbits(64)),
            SimulatedErrands(
                lambda delay_ms, do: process.later(delay_ms, lambda: self._errand(do)), process.dial
            ),
            migrate=_migrate,
        )
        self.cluster.durability.on_refusal = self._refuse_writes
        self.glue_woken = self.replication_woken = True
        self.cluster.wake = self._wake_glue
        self.replication.wake = self._wake_replication
        self._glue_timer = Timer(process, self._ring_glue)
        self._replication_timer = Timer(process, self._ring_replication)

    @property
    def is_replica(self) -> bool:
        return self.replication.is_replica

    @property
    def digest(self) -> int:
        """Of all data, with what has expired and was not removed yet: each machine has a time of its own."""
        keyspace = self.engine.keyspace
        keyspace.set_clock_ms(0)
        try:
            return digest(keyspace)
        finally:
            self.tell_time()

    def clock_us(self) -> int:
        return self._process.clock.wall_ms * 1000

    def tell_time(self) -> None:
        """As the pump does before it executes anything."""
        clock = self._process.clock
        wall_ms, now_ms = clock.wall_ms, clock.now_ms
        if "jumping-clock" not in self._process.bugs:
            wall_ms = self._steady.now_ms(wall_ms, now_ms)
        self.engine.set_clock_ms(wall_ms, now_ms)

    # -- time ------------------------------------------------------------------------------------------------

    def _refuse_writes(self) -> None:
        self.engine.write_refusal = self.cluster.durability.write_refusal

    def holds(self, history: str, offset: int) -> bool:
        """Whether everything before `offset` of that history is in our data."""
        ours, replication = self.replication.history, self.replication
        if not replication.complete:
            return False
        return (ours.id == history and replication.offset >= offset) or (
            ours.second_id == history and ours.second_end >= offset
        )

    def _wake_glue(self) -> None:
        self.glue_woken = True

    def _wake_replication(self) -> None:
        self.replication_woken = True

    def _ring_glue(self) -> None:
        self.glue_woken = True
        self._process.settle()

    def _ring_replication(self) -> None:
        self.replication_woken = True
        self._process.settle()

    def _errand(self, do: Callable[[], None]) -> None:
        do()
        self._process.settle()

    def tick(self) -> None:
        """Does what was asked for since the last time."""
        now_ms = self._process.now_ms()
        if self.glue_woken:
            self.glue_woken = False
            self._glue_timer.set(max(now_ms + 1, self.cluster.tick(now_ms)))
        if self.replication_woken:
            self.replication_woken = False
            self.tell_time()
            self._replication_timer.set(max(now_ms + 1, self.replication.tick(now_ms)))

    # -- connections -----------------------------------------------------------------------------------------

    def accept(self, end: End, address: str) -> None:
        """Somebody connected."""
        self.adopt(end, Session(self.engine, address=address), b"")

    def adopt(self, end: End, session: Session, received: bytes) -> None:
        """From now on what arrives at `end` is the session's."""
        self.sessions[session.id] = session
        self._ends[session.id] = end
        end.hear = lambda data: self._hear(session, data)
        end.gone = lambda reset: self._gone(session, reset)
        end.room = self._process.settle
        if received:
            self._hear(session, received)

    def close(self, session: Session, reason: str = "") -> None:
        """As the pump's: what was not sent is lost."""
        if self.sessions.get(session.id) is not session:
            return
        if reason and not session.close_reason:
            session.close_reason = reason
        del self.sessions[session.id]
        self._sent.pop(session.id, None)
        self._ends.pop(session.id).close()
        session.unwatch()
        resume, session.on_resume, session.on_drained = session.on_resume, None, None
        if resume is not None:
            resume(session)
        self.replication.on_close(session)

    def interrupt(self) -> None:
        """Replicas are fed at the end of every event."""

    def resume_stalled(self) -> None:
        """As the pump's."""
        for session in list(self.sessions.values()):
            if session.stalled:
                session.resume()
                self._process.later(0, partial(self._hear, session, b""))

    @property
    def replies_waiting(self) -> bool:
        """Something was executed whose reply has not left yet."""
        return bool(self._replies)

    def _hear(self, session: Session, data: bytes) -> None:
        if self.sessions.get(session.id) is not session:
            return
        self.tell_time()
        before = self.engine.keyspace.changes
        reply = self._execute(session, data)
        if session.id not in self.sessions:
            self._process.turn()  # what it said ended it
            return
        if self.engine.keyspace.changes != before and not session.apply_stream:
            self._process.executed(self._ends[session.id])
        if reply and (session.is_replica or session.apply_stream):
            self._ends[session.id].send(reply)  # the handshake's last words go before the stream
        elif reply:
            self._replies.append((session, reply))
        self._process.turn()

    def _execute(self, session: Session, data: bytes) -> bytes:
        """The session's reply; or, where a bug is planted, something else."""
        bugs = self._process.bugs
        if "early-reply" in bugs:
            self.engine.gate.open()
        if session.is_replica or session.apply_stream or not bugs:
            return session.feed(data)
        now_ms, reading = self._process.now_ms(), b"\r\nGET\r\n" in data
        if "cached-read" in bugs and reading:
            kept_ms, kept = self._cache.get(data, (0, b""))
            if now_ms - kept_ms < CACHE_MS:
                return kept
            reply = session.feed(data)
            self._cache[data] = now_ms, reply
            return reply
        if "twice" in bugs and not reading and self._dice.random() < TWICE:
            session.feed(data)
        return session.feed(data)

    def _gone(self, session: Session, reset: bool) -> None:
        self.close(session, "connection reset" if reset else "closed by the client")
        self._process.settle()

    # -- the second half of a turn ---------------------------------------------------------------------------

    def feed_replicas(self) -> None:
        """First of all what replicas lack goes to them."""
        effects = self.engine.effects
        if not self.sessions:
            effects.hold_for_feeds(None)
            return
        feeds = [each for each in self.sessions.values() if each.is_feed]
        oldest: int | None = None
        for session in feeds:
            end = self._ends[session.id]
            self._say(session, end)
            at = self._sent.setdefault(session.id, session.feed_offset)
            if at < effects.offset and end.flying_bytes < FULL_BYTES and not session.output_pending_bytes:
                data = effects.read(at, FEED_BYTES)
                if data is None:
                    self.close(session, f"the replica fell behind the backlog (wants {at})")
                    continue
                end.send(data)
                at = self._sent[session.id] = at + len(data)
            oldest = at if oldest is None else min(oldest, at)
        effects.hold_for_feeds(oldest)

    def let_replies_leave(self) -> None:
        """Then everybody gets their replies, unless the lease ended meanwhile: then their clients only learn
        that the connection is over, which says *unknown*."""
        for error in self._errors:
            if isinstance(error, StreamRefused):  # what follows is no continuation of what it has
                raise Violation(f"prefix: {self._process.life}: {error}")
            raise error
        if self._replies:
            self._send_replies()
        if not self.sessions:
            return
        self.engine.gate.take_released()  # everybody is looked at anyway
        for session in [
            each
            for each in self.sessions.values()
            if each.output_pending_bytes or each.closing or each.on_drained is not None
        ]:
            self._say(session, self._ends[session.id])
            if session.closing:
                self.close(session)

    def _send_replies(self) -> None:
        engine, process = self.engine, self._process
        lease_ran = engine.lease_until_ms != 0 and engine.monotonic_now_ms < engine.lease_until_ms
        late = lease_ran and process.now_ms() >= engine.lease_until_ms and not process.careless
        replies, self._replies = self._replies, []
        for session, reply in replies:
            end = self._ends.get(session.id)
            if end is None:
                continue
            if late:
                self.close(session, "the lease ended before the reply could leave")
                continue
            process.answers(end, reply, held=False)
            end.send(reply)

    def _say(self, session: Session, end: End) -> None:
        """What was written to a session outside of its own turn."""
        if session.output_pending_bytes and end.flying_bytes < FULL_BYTES:
            data = session.take_output()  # without what is held
            if data and not session.is_replica and not session.apply_stream:
                self._process.answers(end, data, held=True)
            end.send(data)
        if session.on_drained is not None and not session.output_pending_bytes:
            session.on_drained(session)
