"""A node with data as a member of the cluster: between gossip, election, replication and the engine.

    Service.wait_changed --> Election --actions--> ReplicationManager: follow, stop, lead
            |                    ^                 Service.propose (and back as won/failed)
            v                    |
         routes --> Engine    link broken / up, full sync began (from the ReplicationManager)

Everything runs on the trio thread and every method here that is not `async` is atomic, so the engine never
sees half of a change. The engine is told in this order: a role lost at once, before anything else; a role
won only after replication has switched over.

Whoever drives this without tasks (the simulator) calls `observe` when the topology changed and `tick` when it
said, or when `wake` was called, and gives errands that it runs itself.

Nothing is decided here. The register says who leads, election.py says when to ask, the lease says how long
to serve.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import trio

from gossip.beat import IDLE_BEAT_MS, next_beat_ms
from gossip.register import Change, NoMajority, Refused
from gossip.service import Service
from gossip.topology import SLOT_COUNT, SLOTS_REGISTER, ShardView, Topology, shard_register
from node.chronicle import Chronicle
from node.cluster_member import ClusterMember
from node.cluster_replies import shard_id_of
from node.config import Config
from node.durability import Durability
from node.election import (
    Action,
    Detach,
    Election,
    ElectionPolicy,
    Follow,
    Hold,
    Lead,
    Propose,
    StopStream,
    promotion,
)
from node.engine.engine import Engine
from node.engine.reply import OK, CommandError, Reply, Status, StreamRefused
from node.errands import Errands
from node.heir import hand_over
from node.orphans import Migration
from node.replication.link import Cause, Report, Target
from node.replication.manager import ReplicationManager
from node.slot_changes import (
    assignment,
    founding,
    in_sync_set,
    new_epoch,
    nomination,
    release,
    transfer,
    vacating,
)

log = logging.getLogger("grapevine.cluster")

TICK_MS: Final = 200  # between two looks after something of ours changed
LEASE_TICK_MS: Final = 4  # a person who adds slots waits for the first lease
TEND_PAUSE_MS: Final = 500
FIRST_LEASE_MS: Final = 250  # a new primary lets clients wait so long for its first lease, then it refuses
LEASELESS_LEASES: Final = 1  # a primary without a lease hopes so long for the next one
SEEN_TIMEOUT_S: Final = 2.0
KEYS_PER_SLICE: Final = 200  # dropped between two turns of everybody else


class ClusterNode(ClusterMember):
    """Start `run` with `nursery.start`, after the service and the replication manager run.

    Args:
        engine, replication, service, config: the node's own.
        rng: dice for waiting times and ids of new shards.
        errands: who carries proposals and hands over.

    Attributes:
        wake: called when `tick` has something to do earlier than it said; `run` sets it.
    """

    def __init__(
        self,
        engine: Engine,
        replication: ReplicationManager,
        service: Service,
        config: Config,
        rng: random.Random,
        errands: Errands | None = None,
    ) -> None:
        super().__init__(service, full_coverage=config.flag("cluster-require-full-coverage"), errands=errands)
        self.engine = engine
        self.replication = replication
        self.election = Election(service.id, random.Random(rng.getrandbits(64)), ElectionPolicy())
        self._chronicle = Chronicle(self.election, service)
        self._config = config
        self._migration = Migration()
        self.durability = Durability(
            engine,
            replication.pump,
            replication,
            config,
            service.id,
            service.now_ms,
            lambda: self.wake(),  # noqa: PLW0108 (it is set later)
        )
        self.handing_over = False
        """We give our office away, and take no notice of others' decisions until that is done."""
        self.migrating: dict[int, str] = {}
        """Our slots on their way to another member's shard (CLUSTER SETSLOT MIGRATING)."""
        self.importing: dict[int, str] = {}
        self._rng = rng
        self._lock = trio.Lock()  # one structural change by hand at a time
        self._holding = False
        self._held_until_ms = 0  # clients wait, at most until then
        self._tending_until_ms = 0
        self._leaseless_since_ms = 0  # we lead and cannot serve since then; 0: we can
        self._routes: object = None
        self._marked: set[int] = set()  # slots that the engine was told are on the move
        self._foreign: list[int] = []  # slots whose keys are being dropped
        self.wake: Callable[[], None] = lambda: None
        service.on_lease(self._serve_or_not)
        replication.on_link_broken = self._link_broken
        replication.on_link_up = self._link_up
        replication.on_sync_started = self.election.sync_started
        engine.on_python_error = partial(self._hear_error, engine.on_python_error)
        replication.feeder.on_returned = self._chronicle.returned
        config.on_change("cluster-require-full-coverage", lambda _: self._coverage_changed(config))
        replication.identify(member_id=service.id, shard_id="", epoch=0)
        self._route()

    # -- what others read

    @property
    def ok(self) -> bool:
        if self._holding:
            return False
        return (
            self.covered and self.served and (self._has_lease if self.election.leads else self.hears_majority)
        )

    @property
    def _has_lease(self) -> bool:
        """As the engine knows it, which is what counts for clients."""
        return not self._held_until_ms and self.service.now_ms() < self.engine.lease_until_ms

    @property
    def holds_clients(self) -> bool:
        return self._held_until_ms > 0

    @property
    def is_replica(self) -> bool:
        return self.replication.is_replica

    def moving(self) -> Iterator[str]:
        for slot in sorted(self.migrating):
            yield f"[{slot}->-{self.migrating[slot]}]"
        for slot in sorted(self.importing):
            yield f"[{slot}-<-{self.importing[slot]}]"

    def info_fields(self) -> Iterator[tuple[str, object]]:
        """The section `cluster` of INFO."""
        election = self.election
        yield "grapevine_member_id", self.id
        yield "grapevine_shard_id", election.shard.id
        yield "grapevine_shard_epoch", election.shard.epoch
        yield "grapevine_election_state", election.state
        yield "grapevine_in_sync", ",".join(election.shard.in_sync)
        yield "grapevine_why_not_electable", election.why_not
        yield from self.durability.info_fields()
        yield "grapevine_failovers_told", len(election.accounts)
        yield from self.gossip_fields()

    # -- running

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Takes part until cancelled; started means that the first look at the cluster was acted upon."""
        self.observe()
        async with trio.open_nursery() as nursery:
            await nursery.start(self.errands.run)
            nursery.start_soon(self._follow_topology)
            nursery.start_soon(self._keep_time)
            task_status.started()

    async def _follow_topology(self) -> None:
        version = 0
        while True:
            version = (await self.service.wait_changed(version)).version
            self.observe()

    async def _keep_time(self) -> None:
        woken = trio.Event()

        def wake() -> None:
            woken.set()

        self.wake = wake
        while True:
            wait_ms = self.tick(self.service.now_ms()) - self.service.now_ms()
            with trio.move_on_after(max(1, wait_ms) / 1000):
                await woken.wait()
            woken = trio.Event()

    def tick(self, now_ms: int) -> int:
        """Does what is due; returns when to call again, at the latest."""
        self._note_data()
        self._act(self.election.tick(now_ms))
        self._publish()
        self._serve_or_not()
        self._chronicle.tell(now_ms, self.engine.now_ms, serves=self.election.leads and self._has_lease)
        self._tend(now_ms)
        self._mind_lease(now_ms)
        self._consider_moving(now_ms)
        wake_ms = self.election.wake_ms
        due_ms = next_beat_ms(now_ms, IDLE_BEAT_MS)
        if wake_ms is not None:
            due_ms = min(due_ms, wake_ms)
        if self.engine.gate.closed and not self.engine.gate.settled:
            due_ms = min(due_ms, now_ms + self.durability.look_ms)
        return due_ms

    async def _carry(self, proposal: Propose) -> None:
        register = shard_register(proposal.shard_id)
        try:
            decided = await self.service.propose(register, proposal.change)
        except (Refused, NoMajority) as error:
            log.warning("shard %s: %s", proposal.shard_id, error)
            self._react(self.election.failed(str(error), self.service.now_ms()))
        else:
            self._note_data()
            shard = ShardView.from_data(proposal.shard_id, decided)
            self._react(self.election.won(shard, self.service.now_ms()))

    # -- events

    def observe(self) -> None:
        """Acts upon what the service shows now."""
        if self.handing_over:
            return
        self._note_data()
        self.election.note_accusers(self.service.accusers(self.election.shard.primary), self.service.now_ms())
        self._react(self.election.observe(self.service.topology, self.service.now_ms()))
        self._route()
        self._follow_address()
        self._publish()

    def _link_broken(self, target: Target, report: Report) -> None:
        if not target.member_id:
            return
        if report.cause in (Cause.REFUSED, Cause.RESET, Cause.UNREACHABLE, Cause.SILENT):
            self.service.report_broken(target.member_id, refused=report.cause is Cause.REFUSED)
        # A primary that forgot its data is as good as gone: it will give way, or we have the better claim.
        # One without a lease lives, but the voters do not hear it: if we hear them, we can do better.
        why = {
            Cause.REFUSED: "its connections were refused",
            Cause.HISTORY_LOST: "it lost its data",
            Cause.LEASELESS: "it has no lease" if self._voters_are_near else "",
        }.get(report.cause, "")
        if why and target.epoch == self.election.shard.epoch:
            self._note_data()
            self._react(self.election.link_refused(self.service.now_ms(), why))
        self.wake()

    @property
    def _voters_are_near(self) -> bool:
        """Whether a majority of them was there a moment ago; later than the last time our primary's was."""
        silence_ms = self.service.now_ms() - self.service.majority_heard_ms()
        return silence_ms <= self.service.config.lease_ms * 3 // 2

    def _hear_error(self, told: Callable[[BaseException], None] | None, error: BaseException) -> None:
        """A command broke. In our primary's stream that makes us unelectable until we have a new copy."""
        if isinstance(error, StreamRefused):
            self.replication.differs(str(error))
        if told is not None:
            told(error)

    def _link_up(self, target: Target) -> None:
        self.election.synced(target.epoch)
        self._note_data()
        self._publish()
        self._serve_or_not()

    def _coverage_changed(self, config: Config) -> None:
        self.full_coverage = config.flag("cluster-require-full-coverage")
        self._serve_or_not()

    def _note_data(self) -> None:
        self.election.offset = self.replication.offset
        self.election.heard_ms = self.replication.heard_ms
        if not self.replication.complete:
            self.election.sync_started()

    def _publish(self) -> None:
        self.service.update_self(offset=self.election.announced_offset)

    # -- actions of the election

    def _act(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Follow):
                self._follow(action)
            elif isinstance(action, StopStream):
                self.replication.stop_following()
            elif isinstance(action, Propose):
                self.errands.start_own(partial(self._carry, action), urgent=True)
            elif isinstance(action, Lead):
                self._lead(action)
            elif isinstance(action, Hold):
                self._hold(action)
            else:
                assert isinstance(action, Detach)
                self._detach()

    def _react(self, actions: Sequence[Action]) -> None:
        """Outside of `tick`, which then has to look at the clock again."""
        self._act(actions)
        if actions or self.election.wake_ms is not None:
            self.wake()

    def _follow(self, action: Follow) -> None:
        self._route()  # first of all: a primary that was replaced serves nothing more
        self.durability.step_down(f"shard {action.shard_id} epoch {action.epoch} has another primary")
        self._release_hold()
        self.service.update_self(shard_id=action.shard_id)
        self.replication.identify(member_id=self.id, shard_id=action.shard_id, epoch=action.epoch)
        primary = self.service.topology.members.get(action.primary)
        if primary is None:
            self.replication.stop_following()
            return
        log.info("shard %s epoch %d: following %s", action.shard_id, action.epoch, primary.id)
        self.replication.follow(
            primary.host,
            primary.port,
            epoch=action.epoch,
            member_id=primary.id,
            shard_id=action.shard_id,
        )

    def _follow_address(self) -> None:
        """The primary we follow may have moved to another address, or only now be known to gossip."""
        if self.election.state != "following":
            return
        shard = self.election.shard
        primary = self.service.topology.members.get(shard.primary)
        target = self.replication.target
        if primary is None or (
            target is not None
            and (target.host, target.port, target.member_id, target.epoch)
            == (primary.host, primary.port, primary.id, shard.epoch)
        ):
            return
        self._follow(Follow(shard.id, shard.primary, shard.epoch))

    def _lead(self, action: Lead) -> None:
        self._release_hold()
        log.info("shard %s epoch %d: this node is the primary", action.shard_id, action.epoch)
        self.replication.identify(member_id=self.id, shard_id=action.shard_id, epoch=action.epoch)
        if self.replication.is_replica:
            self.replication.become_primary()
        self.service.update_self(shard_id=action.shard_id)
        if self.service.lease_valid_until_ms() <= self.service.now_ms():
            self.hold_clients(self.service.now_ms() + FIRST_LEASE_MS)
        self.durability.lead(self.election.shard, self.election.deposed)
        self._note_data()
        self._route()
        self._publish()

    def _hold(self, action: Hold) -> None:
        log.warning(
            "shard %s: this primary came back without data and looks for a replica that has it",
            action.shard_id,
        )
        self.durability.step_down("this primary came back without data")
        self._holding = True
        self.service.update_self(shard_id=action.shard_id)
        self.engine.loading = True  # neither clients nor replicas get to see an empty data set
        self.service.release_lease()
        if self.replication.is_replica:
            self.replication.stop_following()
        self._route()

    def _release_hold(self) -> None:
        if self._holding:
            self._holding = False
            self.engine.loading = False
        self.service.lease_wanted = True

    def _detach(self) -> None:
        self._route()
        self.durability.step_down("this node left its shard")
        self._release_hold()
        self.service.update_self(shard_id="")
        self.replication.identify(member_id=self.id, shard_id="", epoch=0)
        if self.replication.is_replica:
            self.replication.become_primary()

    # -- the engine

    def _route(self) -> None:
        """Tells the engine who owns which slot and what we are, when that is news."""
        topology = self.service.topology
        election = self.election
        shards = dict(topology.shards)
        mine = election.shard
        if mine.id and (mine.id not in shards or mine.epoch >= shards[mine.id].epoch):
            shards[mine.id] = mine  # decided for us before gossip came round
        endpoints: list[bytes] = []
        index_of: dict[str, int] = {}
        for shard_id in sorted(shards):
            primary = topology.members.get(shards[shard_id].primary)
            if primary is not None:
                index_of[shard_id] = len(endpoints)
                endpoints.append(f"{primary.host}:{primary.port}".encode())
        ranges = topology.ranges()
        own = index_of.get(mine.id, -1)
        leads = election.leads
        moves = (tuple(sorted(self.migrating.items())), tuple(sorted(self.importing)))
        wanted = (ranges, endpoints, own, leads, moves)
        if wanted != self._routes:
            self._routes = wanted
            engine = self.engine
            engine.set_self_owner(-1, False)
            for slot in self._marked:
                engine.set_migrating(slot, -1)
                engine.set_importing(slot, False)
            engine.set_slot_range(0, SLOT_COUNT - 1, -1)
            engine.set_owners(endpoints)
            for first, last, shard_id in ranges:
                engine.set_slot_range(first, last, index_of.get(shard_id, -1))
            self._settle_moves(topology, index_of)
            engine.set_self_owner(own, leads)
            self._drop_foreign_keys()
        self._serve_or_not()

    def _settle_moves(self, topology: Topology, index_of: dict[str, int]) -> None:
        """Slots on the move; those that arrived or left us are on the move no more."""
        mine = self.election.shard.id
        for slot in [slot for slot in self.migrating if topology.slot_owner(slot) != mine]:
            del self.migrating[slot]
        for slot in [slot for slot in self.importing if topology.slot_owner(slot) == mine]:
            del self.importing[slot]
        for slot, member_id in self.migrating.items():
            self.engine.set_migrating(slot, index_of.get(shard_id_of(topology, member_id), -1))
        for slot in self.importing:
            self.engine.set_importing(slot, True)
        self._marked = {*self.migrating, *self.importing}

    def _drop_foreign_keys(self) -> None:
        """Begins to drop what we still hold of slots that are decided to be another shard's. Kept, such
        keys would come to life again if their slot ever came back."""
        keyspace = self.engine.keyspace
        if self._foreign or not self.election.leads or keyspace.size(0) == 0:
            return
        self._foreign = [
            slot
            for slot in range(SLOT_COUNT)
            if keyspace.slot_size(0, slot) and self._is_foreign(slot) and slot not in self.importing
        ]
        if self._foreign and not self.errands.start_own(self._drop_keys):
            self._foreign = []  # no room: the next change of the map begins again

    def _is_foreign(self, slot: int) -> bool:
        return self.service.topology.slot_owner(slot) not in ("", self.election.shard.id)

    async def _drop_keys(self) -> None:
        keyspace, effects = self.engine.keyspace, self.engine.effects
        dropped = 0
        while self._foreign:
            slot = self._foreign[-1]
            names = keyspace.keys_in_slot(0, slot, KEYS_PER_SLICE)
            if not names or not self._is_foreign(slot) or not self.election.leads:
                self._foreign.pop()
                continue
            for name in names:
                keyspace.delete(0, name)
                self.engine.touch_key(0, name)
                if effects.active:
                    effects.append(0, [b"DEL", name])
            dropped += len(names)
            await trio.lowlevel.checkpoint()
        log.info("dropped %d keys of slots that another shard owns now", dropped)

    def hold_clients(self, until_ms: int) -> None:
        """Lets commands wait that would be refused for a moment: while we hand over, or have no lease yet.

        The engine takes us for a primary with a lease for exactly as long as nothing is executed.
        """
        self._held_until_ms = until_ms
        self.engine.pause(until_ms, True)
        self._serve_or_not()

    def release_clients(self) -> None:
        """They go on, or hear whatever is right by now."""
        if self._held_until_ms:
            self._held_until_ms = 0
            self._serve_or_not()
            self.engine.unpause()
            self.replication.pump.resume_stalled()

    def _serve_or_not(self) -> None:
        engine, now_ms = self.engine, self.service.now_ms()
        lease_ms = self.service.lease_valid_until_ms() if self.election.leads else 0
        enough = lease_ms > now_ms or now_ms >= self._held_until_ms or not self.election.leads
        if self._held_until_ms and enough and not self.handing_over:
            self.release_clients()
            return
        if lease_ms > now_ms or not self.election.leads:
            self._leaseless_since_ms, self.replication.feeder.no_lease = 0, ""
        # 0 would mean that leases do not matter; a primary that has none yet is past the end of it.
        engine.lease_until_ms = self._held_until_ms or (max(1, lease_ms) if self.election.leads else 0)
        if self._holding:
            engine.set_serving(False, b"The cluster is down: this primary came back without its data")
        elif not self.covered:
            engine.set_serving(False, b"The cluster is down: some slots have no owner")
        elif not self.election.leads and not self.hears_majority:
            engine.set_serving(False, b"The cluster is down: this node hears no majority of the voters")
        else:
            engine.set_serving(True)

    # -- a replica's

    def _consider_moving(self, now_ms: int) -> None:
        """Replica migration: to a primary that has lost all its replicas."""
        if self.election.state != "following" or not self._config.flag("cluster-allow-replica-migration"):
            return
        barrier = self._config.integer("cluster-migration-barrier")
        if self.election.shard.quorum:
            barrier = max(barrier, self._config.integer("write-quorum") - 1)
        primary = self._migration.look(self.topology, self.id, barrier, now_ms)
        if primary:
            log.info("moving to primary %s, which has no replica left", primary)
            self.errands.start_own(partial(self._move, primary))

    async def _move(self, primary: str) -> None:
        try:
            await self.replicate(primary)
        except (CommandError, Refused, NoMajority) as error:
            log.warning("stays with its primary: %s", error)

    # -- a primary's duties

    def _tend(self, now_ms: int) -> None:
        """Keeps the in-sync set true and hands over to an heir, one proposal at a time."""
        if not self.election.leads:
            return
        another_set = self.durability.look(self.topology, now_ms)
        if now_ms < self._tending_until_ms:
            return
        shard = self.election.shard
        if shard.heir and not self.handing_over:
            if not self.errands.start_own(lambda: hand_over(self, shard)):
                return
            self.handing_over = True
        if another_set and not self.handing_over:
            self._tending_until_ms = now_ms + TEND_PAUSE_MS
            self.errands.start_own(lambda: self._change_in_sync(shard))

    def _mind_lease(self, now_ms: int) -> None:
        """A primary that lives, and that no majority of the voters hears, keeps its office though it cannot
        use it: gossip reaches it by way of its replicas. After a while it sends those away, and one that
        hears the voters stands. Their grants have ended by then, so they agree at once."""
        if not self.election.leads or self.handing_over or self._has_lease:
            return
        self._leaseless_since_ms = self._leaseless_since_ms or now_ms
        patience_ms = LEASELESS_LEASES * self.service.config.lease_ms
        if now_ms - self._leaseless_since_ms >= patience_ms and not self.replication.feeder.no_lease:
            self.replication.feeder.send_away("this primary has no lease: no majority of the voters hears it")

    async def _change_in_sync(self, shard: ShardView) -> None:
        wanted = self.durability.propose(self.topology)
        if wanted is None:
            return
        change = in_sync_set(self.id, shard, wanted, quorum=self.durability.quorum_wanted)
        try:
            decided = await self.service.propose(shard_register(shard.id), change)
        except (Refused, NoMajority) as error:
            log.info("in-sync set of shard %s stays as it is: %s", shard.id, error)
            self._tending_until_ms = self.service.now_ms() + TICK_MS
        else:
            self.durability.decided(ShardView.from_data(shard.id, decided))
            self._tending_until_ms = 0
        self.wake()

    def handed_over(self, decided: ShardView) -> None:
        """Our office is our heir's by decision."""
        self.handing_over = False
        self._react(self.election.won(decided, self.service.now_ms()))

    def stop_handing_over(self) -> None:
        """It is done, or it failed: we are what the register says."""
        self.handing_over = False
        self.service.lease_wanted = True
        self._tending_until_ms = self.service.now_ms() + TEND_PAUSE_MS
        self.observe()
        self.release_clients()

    # -- what a person asks for

    def mark_migrating(self, slot: int, member_id: str) -> None:
        """CLUSTER SETSLOT MIGRATING: missing keys of our slot are asked for there."""
        self.migrating[slot] = member_id
        self._route()

    def mark_importing(self, slot: int, member_id: str) -> None:
        """CLUSTER SETSLOT IMPORTING: with ASKING the slot can be used here."""
        self.importing[slot] = member_id
        self._route()

    def mark_stable(self, slot: int) -> None:
        """CLUSTER SETSLOT STABLE: on the move no more."""
        self.migrating.pop(slot, None)
        self.importing.pop(slot, None)
        self._route()

    async def add_slots(self, slots: Sequence[int]) -> Reply:
        """CLUSTER ADDSLOTS: free slots become ours; founds our shard if we have none."""
        async with self._lock:
            shard_id = await self._shard_to_lead()
            await self._change_slots(assignment(slots, shard_id))
            await self._until(lambda topology: all(topology.slot_owner(slot) == shard_id for slot in slots))
            with trio.move_on_after(
                SEEN_TIMEOUT_S
            ):  # a shard that was just founded has its first lease to get
                while not self._has_lease:  # noqa: ASYNC110 (leases have no event)
                    await trio.sleep(LEASE_TICK_MS / 1000)
            return OK

    async def release_slots(self, slots: Sequence[int]) -> Reply:
        """CLUSTER DELSLOTS and FLUSHSLOTS: slots of ours become free."""
        async with self._lock:
            await self._change_slots(release(slots, self.election.shard.id))
            await self._until(lambda topology: not any(topology.slot_owner(slot) for slot in slots))
            return OK

    async def move_slot(self, slot: int, member_id: str) -> Reply:
        """CLUSTER SETSLOT NODE: the slot belongs to that member's shard from now on."""
        async with self._lock:
            topology = self.topology
            led = topology.shard_led_by(member_id)
            if led is None and member_id == self.id:
                target = await self._shard_to_lead()
            elif led is None:
                raise CommandError("ERR Target node is not a master")
            else:
                target = led.id
            await self._change_slots(transfer(slot, topology.slot_owner(slot), target))
            await self._until(lambda topology: topology.slot_owner(slot) == target)
            return OK

    async def replicate(self, member_id: str) -> Reply:
        """CLUSTER REPLICATE: we join the shard of that primary, giving up an empty one of our own."""
        async with self._lock:
            led = self.topology.shard_led_by(member_id)
            if led is None:
                shard_id = self._free_shard_id(member_id)
                epoch = self.topology.epoch + 1
                await self.service.propose(shard_register(shard_id), founding(member_id, shard_id, epoch))
            else:
                shard_id = led.id
            await self._leave_shard()
            self.service.update_self(shard_id=shard_id)
            self.observe()
            await self._until(lambda topology: topology.members[self.id].shard_id == shard_id)
            return OK

    async def reset(self) -> Reply:
        """CLUSTER RESET: we own nothing, lead nothing and follow nobody; a replica drops its copy."""
        async with self._lock:
            if self.election.leads:
                owned = [
                    slot
                    for first, last in self.topology.ranges_of(self.election.shard.id)
                    for slot in range(first, last + 1)
                ]
                if owned:
                    await self._change_slots(release(owned, self.election.shard.id))
            was_replica = self.replication.is_replica
            await self._leave_shard()
            self.service.update_self(shard_id="")
            self.observe()
            if was_replica:
                self.engine.keyspace.clear(-1)
            self.migrating.clear()
            self.importing.clear()
            self._route()
            return OK

    async def fail_over(self, mode: str) -> Reply:
        """CLUSTER FAILOVER.

        Args:
            mode: '' asks the primary to hand over to us; 'force' and 'takeover' do not ask it. Neither goes
            without a
                majority of the voters; 'takeover' also takes office with data of an older epoch.
        """
        shard = self.election.shard
        if not mode:
            await self.service.propose(shard_register(shard.id), nomination(self.id, shard))
            return OK
        if not self.replication.complete or (self.election.data_epoch == 0 and mode != "takeover"):
            raise CommandError("ERR this replica holds no complete copy of its shard's data")
        self.replication.stop_following()
        try:
            decided = await self.service.propose(
                shard_register(shard.id),
                promotion(self.id, shard, floor=self.topology.epoch, force=True, takeover=mode == "takeover"),
            )
        except (Refused, NoMajority):
            self._follow(Follow(shard.id, shard.primary, shard.epoch))
            raise
        self._react(self.election.won(ShardView.from_data(shard.id, decided), self.service.now_ms()))
        return OK

    async def bump_epoch(self) -> Reply:
        """CLUSTER BUMPEPOCH: the next epoch for our shard."""
        shard = self.election.shard
        decided = await self.service.propose(
            shard_register(shard.id), new_epoch(self.id, shard, floor=self.topology.epoch)
        )
        epoch = ShardView.from_data(shard.id, decided).epoch
        return Status(f"BUMPED {epoch}".encode())

    async def _shard_to_lead(self) -> str:
        """Our shard's id; founds one if we belong to none."""
        if self.election.leads:
            return self.election.shard.id
        if self.election.state != "alone":
            raise CommandError("ERR this node is no primary: slots are assigned to primaries only")
        shard_id = self._free_shard_id(self.id)
        self.election.found(shard_id)
        change = founding(self.id, shard_id, self.topology.epoch + 1)
        await self.service.propose(shard_register(shard_id), change)
        self.service.update_self(shard_id=shard_id)
        await self._until(lambda topology: shard_id in topology.shards)
        self.observe()
        return shard_id

    def _free_shard_id(self, founder: str) -> str:
        """A first shard has its founder's id, which is also what CLUSTER MYSHARDID said before."""
        return founder if founder not in self.topology.shards else f"{self._rng.getrandbits(160):040x}"

    async def _leave_shard(self) -> None:
        if self.election.leads:
            shard_id = self.election.shard.id
            self.service.release_lease()
            self._serve_or_not()
            try:
                await self.service.propose(shard_register(shard_id), vacating(self.id, shard_id))
            finally:
                self.service.lease_wanted = True
            await self._until(lambda topology: topology.shards[shard_id].primary != self.id)

    async def _change_slots(self, change: Change) -> None:
        await self.service.propose(SLOTS_REGISTER, change)

    async def _until(self, seen: Callable[[Topology], bool]) -> None:
        """Returns once our own view shows what was decided, so that the client's next question does too."""
        with trio.move_on_after(SEEN_TIMEOUT_S):
            topology = self.service.topology
            while not seen(topology):
                topology = await self.service.wait_changed(topology.version)
        self.observe()
