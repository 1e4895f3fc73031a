"""Replication of one node: who we follow, who follows us, and under which history.

The link to our primary (follower.py) and the replicas attached to us (feeder.py) share one data set, one
ring of effects and one history; this is where they meet. Stand-alone, REPLICAOF decides whom to follow; in
a cluster the cluster glue does, through the same methods.

    follow(...)         we become, or stay, a replica: writes come from the primary only
    stop_following()    the stream ends here and now; we stay a replica (step one of an election)
    become_primary()    our data is the truth from here on; the history forks
    hand_over(...)      stand-alone: a replica of ours takes our place, we follow it
"""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import trio

from node.config import Config
from node.engine.engine import Engine
from node.engine.pump import boottime_ms
from node.engine.session import Session
from node.errands import pause
from node.replication.actions import Myself, Position, Report, Target
from node.replication.feeder import Feeder, Sessions
from node.replication.follower import Follower, Wire
from node.replication.handover import Event as HandoverEvent
from node.replication.handover import Handover, Phase, Step
from node.replication.history import History
from node.replication.link import Link, State
from node.replication.report import info_fields
from node.replication.settings import Settings

log = logging.getLogger("grapevine.replication")

FOREVER_MS: Final = 1 << 62  # for a pause that is ended by hand
DRAIN_POLL_MS: Final = 1

LinkBroken = Callable[[Target, Report], None]


class ReplicationManager:
    """The replication of one node.

    Attributes:
        history: the id our stream goes under.
        feeder: serves the replicas attached to us.
        follower: follows our primary.
        on_link_broken: called whenever the link fails, with whom it led to and why. A cause of REFUSED
            means that nobody listens there any more; a link that breaks is dialled again at once, so a
            killed primary shows as RESET and then, within a millisecond, as REFUSED.
        on_link_up: called when the stream of our primary begins or goes on: our copy is complete then.
        on_sync_started: called when a full sync begins to replace our data, and the old is not kept: we
            have nothing to offer until on_link_up.
        port: where we listen for clients, as INFO of our primary shows it.
        member_id, shard_id, epoch: what we say about ourselves to other Grapevine nodes; set by the
            cluster glue (`identify`), empty and -1 stand-alone.
        wake: called when `tick` has something to do earlier than it said; whoever drives this sets it.
    """

    def __init__(
        self,
        engine: Engine,
        pump: Sessions,
        wire: Wire,
        config: Config,
        source_of_chance: random.Random,
        *,
        clock_ms: Callable[[], int] = boottime_ms,
        new_id: Callable[[], str] = lambda: secrets.token_hex(20),
        work_us: Callable[[], int] = lambda: time.thread_time_ns() // 1_000,
    ) -> None:
        """
        Args:
            pump: the connections of our replicas. wire: the one to our primary.
            clock_ms: monotonic. new_id: 40 characters that nobody has seen before.
            work_us: processor time of this thread.
        """
        self.settings = _settings_of(config)
        self.history = History(new_id())
        self.wake: Callable[[], None] = lambda: None
        self._clock_ms = clock_ms
        self._new_id = new_id
        self.port = config.integer("port")
        self.member_id = ""
        self.shard_id = ""
        self.epoch = -1
        self.on_link_broken: LinkBroken | None = None
        self.on_link_up: Callable[[Target], None] | None = None
        self.on_sync_started: Callable[[], None] | None = None
        self.pump = pump
        self._engine = engine
        self._config = config
        self._target: Target | None = None
        self.handover = Handover()
        self._failures_logged: Report | None = None
        self._down_since_ms: int | None = None
        self._counted_on = False
        link = Link(self.settings, source_of_chance)
        self.follower = Follower(engine, wire, link, self, clock_ms, self._wake)
        self.feeder = Feeder(
            engine,
            pump,
            lambda: self.settings,
            lambda: self.history,
            clock_ms,
            self._wake,
            new_id,
            work_us,
            lambda: self.follower.stream_database,
        )
        self._link = link
        for name in (
            "repl-backlog-size",
            "repl-timeout",
            "repl-ping-replica-period",
            "client-output-buffer-limit",
        ):
            config.on_change(name, self._settings_changed)
        self._choose_load(config.text("repl-diskless-load"))
        config.on_change("repl-diskless-load", self._choose_load)

    # --- what others ask ----------------------------------------------------------------------------------
    @property
    def is_replica(self) -> bool:
        """We take our data from a primary, whether or not the link is up just now."""
        return self._target is not None

    @property
    def target(self) -> Target | None:
        """Whom we follow (or followed until `stop_following`); None: we are a primary."""
        return self._target

    @property
    def offset(self) -> int:
        """How far our data goes, in bytes of `history`. As a replica: what has been applied."""
        return self._engine.effects.offset

    @property
    def link_up(self) -> bool:
        """The stream of our primary is being applied."""
        return self._link.state is State.ONLINE

    @property
    def link_state(self) -> State:
        """Where the link to our primary is."""
        return self._link.state

    @property
    def link_trouble(self) -> Report | None:
        """Why the link is down, if it is."""
        return self._link.refused

    @property
    def complete(self) -> bool:
        """We have a whole data set, not only the fragment of a full sync. Without one nobody may elect us."""
        return self._link.complete

    @property
    def in_sync(self) -> bool:
        """A replica with whole data and a working link; or a primary."""
        return self.complete and (self.link_up or not self.is_replica)

    def info_fields(self) -> Iterator[tuple[str, object]]:
        """The section `replication` of INFO."""
        return info_fields(self, self._clock_ms())

    @property
    def heard_ms(self) -> int:
        """When our primary last said anything, to within the second in which it is looked at; 0: never."""
        return self._link.heard_ms

    def last_io_ms(self) -> int:
        """Time since the primary last said anything."""
        return max(0, self._clock_ms() - self._link.heard_ms)

    def link_down_ms(self) -> int:
        """Time since the link left the state in which it worked; 0 while it is up."""
        return 0 if self._down_since_ms is None else max(0, self._clock_ms() - self._down_since_ms)

    # --- what others command ------------------------------------------------------------------------------
    def identify(self, *, member_id: str, shard_id: str, epoch: int) -> None:
        """Says who we are in the cluster: what the handshake with other nodes carries and checks."""
        self.member_id = member_id
        self.shard_id = shard_id
        self.epoch = epoch

    def note_durability(self, quorum: bool) -> None:
        """Whether the shard's acknowledgements count on our copy: then a full sync does not touch it until
        its own data is whole, unless `repl-diskless-load` says otherwise."""
        self._counted_on = quorum
        self._choose_load(self._config.text("repl-diskless-load"))

    def _choose_load(self, mode: object) -> None:
        self._link.keeps_old = mode == "swapdb" or (mode == "auto" and self._counted_on)

    def follow(
        self,
        host: str,
        port: int,
        *,
        epoch: int = -1,
        member_id: str = "",
        shard_id: str = "",
        user: str = "",
        password: str = "",
        promote: bool = False,
    ) -> None:
        """Makes us a replica of host:port. Returns at once; the link comes up by itself, or keeps trying.

        The same target again does nothing. Data we share with it is kept (partial resync); else a full
        sync replaces ours once the primary has begun to send it.

        Args:
            epoch, member_id, shard_id: in a cluster: the configuration we follow. A primary at an older
                epoch is refused, and so is the same primary at the same epoch if it lost its data
                (on_link_broken tells: HISTORY_LOST).
            promote: it is a replica of ours and shall take over as it accepts us.
        """
        target = Target(host, port, epoch, member_id, shard_id, user, password, promote)
        if target == self._target and self._link.state is not State.IDLE:
            return
        effects = self._engine.effects
        if self._target is None:  # a primary until now: we know where we stand only if we kept count
            self._link.stands_at(Position(self.history.id, effects.offset) if effects.active else None)
            self.feeder.end_waits()
        effects.activate()
        self._target = target
        self._engine.read_only = not self._engine.cluster
        self._engine.keyspace.follower = True
        self._down_since_ms = self._clock_ms()
        log.info("following %s%s", target.address, f" at epoch {epoch}" if epoch >= 0 else "")
        self.follower.follow(target, Myself(self.port, self.member_id))

    def stop_following(self) -> None:
        """Ends the stream: after this returns nothing of it is applied. We stay a replica."""
        self.follower.stop()

    def differs(self, text: str) -> None:
        """Our copy differs from our primary's: it is not `complete` until a full sync has mended it."""
        self.follower.differs(text)
        if self.on_sync_started is not None:
            self.on_sync_started()

    def become_primary(self) -> None:
        """Takes writes from now on, under a history of our own that continues the old one.

        In a cluster: only after the shard's register named us. Replicas attached to us are sent away to
        ask again; they go on without a full sync.
        """
        was_replica = self._target is not None
        self.follower.stop()
        self._target = None
        self._link.complete = True
        self._engine.read_only = False
        self._engine.stale = False
        self._engine.keyspace.follower = False
        if was_replica:
            self.history = self.history.forked(self._new_id(), self.offset)
            self._engine.effects.select_again()
            self.feeder.drop_all("this node is a primary now, with a history of its own")
            log.info("primary from offset %d on, history %s", self.offset, self.history.id)

    def hand_over(self, heir: tuple[str, int] | None, *, timeout_ms: int, force: bool) -> bool:
        """FAILOVER: begins to hand over to `heir`, or to whichever replica has everything first.

        Args:
            timeout_ms: 0: no limit.
            force: when the time is up the heir takes over without the last writes.

        Returns:
            False when a handover is on its way already.
        """
        if self.handover.phase is Phase.IDLE:
            deadline_ms = self._clock_ms() + timeout_ms if timeout_ms > 0 else None
            self.handover = Handover(heir=heir, deadline_ms=deadline_ms, force=force)
        return self._hand(self.handover.happened(HandoverEvent.START))

    def abort_handover(self) -> bool:
        """FAILOVER ABORT. False when there is nothing to abort."""
        return self._hand(self.handover.happened(HandoverEvent.ABORT))

    def promoted_by(self, asked_id: str) -> bool:
        """PSYNC ... FAILOVER from our primary: become one. False when it does not know our history."""
        if not self.is_replica or asked_id != self.history.id:
            return False
        self.become_primary()
        return True

    def _hand(self, step: Step) -> bool:
        engine, heir = self._engine, self.handover.heir
        self.feeder.watch_acknowledgements = self.handover.phase is Phase.WAITING
        match step:
            case Step.COMPLAIN:
                return False
            case Step.HOLD_WRITES:
                engine.pause(FOREVER_MS, False)
                self.feeder.ask_offsets()
            case Step.OFFER:
                assert heir is not None
                log.info("handing over to %s:%d", *heir)
                self.follow(*heir, promote=True)
            case Step.RELEASE:
                log.warning("no replica caught up in time: this node stays the primary")
                engine.unpause()
            case Step.FOLLOW:
                engine.unpause()
            case Step.TAKE_BACK:
                log.warning("the replica did not take over: this node stays the primary")
                self.become_primary()
                engine.unpause()
            case Step.NOTHING:
                pass
        return True

    # --- driving ------------------------------------------------------------------------------------------
    def _wake(self) -> None:
        self.wake()

    def tick(self, now_ms: int) -> int:
        """Does what is due. Returns when to call again, at the latest; at once means after everybody else
        had a turn."""
        due_ms = self.feeder.tick(now_ms)
        rest_ms = self.feeder.advance()
        if rest_ms is not None:
            due_ms = min(due_ms, now_ms + rest_ms)
        link_due_ms = self.follower.tick(now_ms)
        if link_due_ms is not None:
            due_ms = min(due_ms, link_due_ms)
        self._hand(self.handover.look(self.feeder.source.attached(), self.offset, now_ms))
        if self.handover.deadline_ms is not None:
            due_ms = min(due_ms, max(now_ms + 1, self.handover.deadline_ms))
        return due_ms

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follows and serves until cancelled."""
        woken = trio.Event()

        def wake() -> None:
            woken.set()

        self.wake = wake
        task_status.started()
        try:
            while True:
                woken = trio.Event()
                wait_ms = self.tick(self._clock_ms()) - self._clock_ms()
                if wait_ms <= 0:
                    await trio.lowlevel.checkpoint()
                    continue
                with trio.move_on_after(wait_ms / 1000):
                    await woken.wait()
        finally:
            self.feeder.close()

    async def drain(self, member_id: str = "", *, pause: Callable[[int], Awaitable[None]] = pause) -> None:
        """Returns once every replica in sync has all that we wrote; or this one, if named, which must be
        attached. Callers set the deadline. `pause` lets some ms pass; many acknowledgements make one
        end, so we look again and again."""
        if self.is_replica:
            return
        self.feeder.ask_offsets()
        offset = self.offset
        while not self.feeder.is_drained(offset, member_id):
            await pause(DRAIN_POLL_MS)

    def on_close(self, session: Session) -> None:
        """The pump tells of every session that ended."""
        if self.follower.on_close(session):
            if session.applied_failure and self.on_sync_started is not None:
                self.on_sync_started()
            return
        self.feeder.on_close(session)

    # --- DataOwner: what the follower tells us ------------------------------------------------------------
    def replacing(self, keep: bool) -> None:
        """A full sync begins."""
        engine = self._engine
        self.feeder.drop_all("this node's data is being replaced by a full sync")
        engine.loading = True
        if keep:
            engine.keyspace.set_aside()
        else:
            engine.keyspace.clear(-1)
        engine.touch_database(-1)
        if self.on_sync_started is not None and not keep:
            self.on_sync_started()

    def replaced(self, position: Position) -> None:
        """The full sync is complete."""
        self._engine.keyspace.drop_aside()
        self._engine.effects.activate()
        self._engine.effects.reset(position.offset)
        self.history = History(position.id)
        self._engine.loading = False
        self._engine.stale = False
        log.info("full sync done: history %s at offset %d", position.id, position.offset)

    def replacement_failed(self) -> None:
        """A full sync was cut off: a fragment is worse than nothing, and what we had may be there still."""
        engine = self._engine
        engine.keyspace.take_back()
        engine.touch_database(-1)
        engine.loading = False
        engine.stale = not self._link.complete  # then it answers MASTERDOWN instead of "no such key"
        if self._link.complete:
            log.warning("the full sync did not end: back to our own data, up to offset %d", self.offset)

    def continues(self, position: Position, renamed: bool) -> None:
        """The stream of our primary begins or goes on."""
        effects = self._engine.effects
        if position.offset != effects.offset:
            effects.reset(position.offset)
        if renamed and position.id != self.history.id:
            self.history = self.history.renamed(position.id, position.offset)
            self.feeder.drop_all("the primary goes on under a new history")
        self._failures_logged = None
        self._down_since_ms = None
        target = self._target
        assert target is not None
        log.info("in sync with %s from offset %d on", target.address, position.offset)
        self._target = self._link.target
        self._hand(self.handover.happened(HandoverEvent.ACCEPTED))
        if self.on_link_up is not None:
            self.on_link_up(target)

    def link_failed(self, report: Report) -> None:
        """The link broke or could not be made; the core tries again."""
        if self._down_since_ms is None:
            self._down_since_ms = self._clock_ms()
        if self._failures_logged != report:  # the same trouble again is not news
            self._failures_logged = report
            log.warning("%s", report.text)
        self._hand(self.handover.happened(HandoverEvent.REFUSED))
        if self.on_link_broken is not None and self._target is not None:
            self.on_link_broken(self._target, report)

    # --- inside ---------------------------------------------------------------------------------------------
    def _settings_changed(self, _value: object) -> None:
        self.settings = _settings_of(self._config)
        self._link.settings = self.settings
        self._engine.effects.limit_growth(self.settings.window_bytes)
        self.feeder.check_ring()


def _settings_of(config: Config) -> Settings:
    backlog_bytes = max(16 << 10, config.integer("repl-backlog-size"))
    limit_bytes = config.output_limits()["slave"].hard_bytes
    return Settings(
        timeout_ms=config.integer("repl-timeout") * 1000,
        ping_period_ms=config.integer("repl-ping-replica-period") * 1000,
        backlog_bytes=backlog_bytes,
        window_bytes=max(backlog_bytes, limit_bytes or (1 << 30)),
    )
