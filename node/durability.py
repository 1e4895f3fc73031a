"""When a write is acknowledged: joins what replicas acknowledge, the in-sync set and the gate.

    replica's ACK -> feeder -> InSync.commit -> Gate.commit -> replies leave
    time, gossip  -> InSync.look -> the set that should be -> a proposal (node/cluster.py) -> note_decided

The promise is in force from the moment the shard's register says `quorum`; the gate closes earlier, when
the parameter is set, so nothing is acknowledged that was executed under the new promise and decided under the
old.
`write-durability async` works the other way round: the register first, then the gate.

A reply is held for at most two bounds and a second: after one bound (or two, as we happen to look) the slow
member is proposed out, and when nothing was committed for that long either, held replies end with an error
that says what is known of the write.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from gossip.topology import ShardView, Topology
from node.config import Config
from node.engine.engine import Engine
from node.in_sync import Copy, InSync
from node.replication.feeder import Sessions
from node.replication.manager import ReplicationManager
from node.replication.source import Stage

log = logging.getLogger("grapevine.cluster")

ASYNC_BOUND_MS = 1000  # a link that is back within this stays in the set: a set that flaps costs votes
LOOKS_PER_BOUND = 5
VOTES_MS = 1000  # to decide another set, on a busy machine


class Durability:
    """Keeps the in-sync set and the gate of a primary.

    Args:
        changed: called when a look is due early.

    Attributes:
        write_refusal: what writes are to be refused with, or None.
        on_refusal: called when that changed.
    """

    def __init__(
        self,
        engine: Engine,
        pump: Sessions,
        replication: ReplicationManager,
        config: Config,
        member_id: str,
        clock_ms: Callable[[], int],
        changed: Callable[[], None],
    ) -> None:
        self.write_refusal: bytes | None = None
        self.on_refusal: Callable[[], None] | None = None
        self._engine = engine
        self._pump = pump
        self._feeder = replication.feeder
        self._config = config
        self._member_id = member_id
        self._clock_ms = clock_ms
        self._changed = changed
        self._shard = ShardView("")  # that we lead
        self._in_sync: InSync | None = None
        self._progress_ms = 0  # when something was committed last, or nothing waited to be
        self._feeder.on_acknowledged = self._acknowledged
        self._feeder.on_online = self._replica_came
        for name in ("write-durability", "write-quorum", "write-quorum-timeout-ms"):
            config.on_change(name, lambda _: self._configured())

    # -- what others read

    @property
    def quorum_wanted(self) -> bool:
        """What the parameter says, which the register may not say yet."""
        return self._config.text("write-durability") == "quorum"

    @property
    def look_ms(self) -> int:
        """How often `look` wants to be called while we lead."""
        return self._bound_ms // LOOKS_PER_BOUND

    @property
    def _bound_ms(self) -> int:
        if self.quorum_wanted or self._shard.quorum:
            return self._config.integer("write-quorum-timeout-ms")
        return ASYNC_BOUND_MS

    def info_fields(self) -> Iterator[tuple[str, object]]:
        """For the section `cluster` of INFO."""
        gate = self._engine.gate
        yield "grapevine_write_durability", "quorum" if self._shard.quorum else "async"
        yield "grapevine_committed_offset", gate.committed if gate.closed else self._engine.effects.offset
        yield "grapevine_clients_held", gate.waiting_count
        yield "grapevine_writes_refused", (self.write_refusal or b"").decode()

    # -- what the cluster tells us

    def lead(self, shard: ShardView, deposed: str) -> None:
        """We lead this shard, in place of `deposed` if that did not hand over. Within one epoch nobody but us
        changes its set, and `decided` hears of that first: what gossip says of it may be older."""
        if self._in_sync is not None and (shard.id, shard.epoch) == (self._shard.id, self._shard.epoch):
            return
        now_ms = self._clock_ms()
        self._in_sync = InSync(self._member_id, deposed=deposed, began_offset=self._engine.effects.offset)
        self._progress_ms = now_ms
        if self._engine.gate.closed:
            self._engine.gate.close(self._engine.effects.offset)  # nothing is committed yet in a new reign
        self._take_over(shard, now_ms)

    def step_down(self, why: str) -> None:
        """We lead no more: nothing that waits may still be acknowledged."""
        if self._in_sync is None:
            return
        self._in_sync = None
        self._shard = ShardView("")
        self._end_held(why)
        self._engine.gate.open()
        self._pump.interrupt()
        self._refuse("")

    def propose(self, topology: Topology) -> tuple[str, ...] | None:
        """The set that goes to the voters now, with `quorum_wanted`; None when none is to.

        Judged at this very moment: who is proposed has all that is committed, and from here on nothing more
        is committed without it.
        """
        keeper = self._in_sync
        if keeper is None or not self.look(topology, self._clock_ms()):
            return None
        keeper.note_proposed(keeper.wanted)
        return keeper.wanted

    def decided(self, shard: ShardView) -> None:
        """Our proposal is decided: nothing of ours is on its way any more."""
        if self._in_sync is not None and (shard.id, shard.epoch) == (self._shard.id, self._shard.epoch):
            self._take_over(shard, self._clock_ms())

    def _take_over(self, shard: ShardView, now_ms: int) -> None:
        assert self._in_sync is not None
        self._shard = shard
        self._apply(self._in_sync)
        self._in_sync.note_decided(shard.in_sync, now_ms)
        self.look(None, now_ms)

    def look(self, topology: Topology | None, now_ms: int) -> bool:
        """Judges the copies; True when another set than the decided one is to be proposed."""
        keeper = self._in_sync
        if keeper is None:
            return False
        self._acknowledged()
        if topology is not None:
            members = topology.members
            usable = {name for name, member in members.items() if member.usable}
            copies = {
                name: Copy(ack_offset, name in usable)
                for name, ack_offset in self._acknowledgements().items()
            }
            known = {*copies, *keeper.decided}
            keeper.look(copies, self._engine.effects.offset, now_ms, dead=frozenset(known - usable))
        gate = self._engine.gate
        if not gate.closed or gate.settled:
            self._progress_ms = now_ms
        short = keeper.short
        stuck = now_ms - self._progress_ms >= 2 * keeper.bound_ms + VOTES_MS
        if stuck and not short:
            short = f"nothing was committed for {now_ms - self._progress_ms} ms"
        if short and gate.closed and not gate.settled and gate.waiting_count:
            self._end_held(short)
            self._pump.interrupt()
        self._refuse(short)
        return not (
            keeper.settled
            and frozenset(keeper.wanted) == frozenset(self._shard.in_sync)
            and self.quorum_wanted == self._shard.quorum
        )

    # -- inside

    def _configured(self) -> None:
        if self._in_sync is not None:
            self._apply(self._in_sync)
            self._changed()

    def _apply(self, keeper: InSync) -> None:
        """The gate and the keeper as parameter and register have it."""
        keeper.quorum = self._shard.quorum
        keeper.copies_min = self._config.integer("write-quorum")
        keeper.bound_ms = self._bound_ms
        gate = self._engine.gate
        if self.quorum_wanted or self._shard.quorum:
            if not gate.closed:
                self._engine.effects.activate()
                gate.close(self._engine.effects.offset)
                self._feeder.ask_always(True)
        elif gate.closed:
            gate.open()
            self._feeder.ask_always(False)
            self._pump.interrupt()

    def _acknowledgements(self) -> dict[str, int]:
        """How far each copy of our shard came whose stream runs, by member id."""
        return {
            replica.member_id: replica.ack_offset
            for replica in self._feeder.source.replicas.values()
            if replica.stage is Stage.ONLINE and replica.shard_id == self._shard.id and replica.member_id
        }

    def _acknowledged(self) -> None:
        keeper, gate = self._in_sync, self._engine.gate
        if keeper is None or not keeper.quorum or not gate.closed:
            return
        committed = keeper.commit(self._acknowledgements(), self._engine.effects.offset)
        if committed > gate.committed:
            self._progress_ms = self._clock_ms()
            if gate.commit(committed):
                self._pump.interrupt()
            if self.write_refusal is not None and gate.settled:
                self._changed()

    def _replica_came(self) -> None:
        if self._in_sync is not None:
            if self._engine.gate.closed:
                self._feeder.ask_always(True)
            self._changed()

    def _refuse(self, short: str) -> None:
        refusal = f"NOREPLICAS not applied: shard {self._shard.id}: {short}".encode() if short else None
        if refusal != self.write_refusal:
            if refusal is not None and self.write_refusal is None:
                log.warning("writes are refused: %s", short)
            elif refusal is None:
                log.info("writes are accepted again")
            self.write_refusal = refusal
            if self.on_refusal is not None:
                self.on_refusal()

    def _end_held(self, why: str) -> None:
        ended = self._engine.gate.end_held(
            self._pump.sessions.values(),
            f"UNKNOWN applied here, and whether it stays is unknown: {why}".encode(),
            f"TRYAGAIN not answered: what was read is not confirmed by the other copies: {why}".encode(),
        )
        if ended:
            log.warning("%d replies ended without an acknowledgement: %s", ended, why)
