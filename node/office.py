"""What this node is in its shard, and what follows: who may serve, whom it follows, when it leads. A core.

    topology changed --> Election --actions--> replication: follow, stop, lead
    lease moved             ^                  proposals (and back as won or failed)
    link broken, up         |                  engine: routes, role, whether clients are served or wait
    tick  ------------------+

Every method here that is not `async` is atomic, so the engine never sees half of a change. The engine is told
in this order: a role lost at once, before anything else; a role won only after replication has switched
over.

Whoever drives this (the shell in cluster.py, the simulator) calls `observe` when the topology changed and
`tick` when it said, or when `wake` was called, and runs the errands: coroutines that await a proposal and
nothing else.

Nothing is decided here. The register says who leads, election.py says when to ask, the lease says how long
to serve.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from gossip.beat import IDLE_BEAT_MS, next_beat_ms
from gossip.membership import Membership
from gossip.register import NoMajority, Refused
from gossip.topology import ShardView, shard_register
from node.chronicle import Chronicle
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
)
from node.engine.engine import Engine
from node.engine.reply import CommandError, StreamRefused
from node.heir import HandOver
from node.orphans import Migration
from node.outlook import Outlook
from node.replication.actions import Cause, Report, Target
from node.replication.manager import ReplicationManager
from node.routes import Routes
from node.slot_changes import in_sync_set, nomination
from node.succession import promotion

if TYPE_CHECKING:
    from node.errands import Errands

log = logging.getLogger("grapevine.cluster")

TICK_MS: Final = 200  # between two looks after something of ours changed
TEND_PAUSE_MS: Final = 500
FIRST_LEASE_MS: Final = 250  # a new primary lets clients wait so long for its first lease, then it refuses
LEASELESS_LEASES: Final = 1  # a primary without a lease hopes so long for the next one


class Office(Outlook):
    """Of one node with data.

    Args:
        engine, replication, service, config: the node's own.
        rng: dice for waiting times.
        errands: who runs what waits.
        migrate: makes us a replica of that primary.

    Attributes:
        wake: called when `tick` has something to do earlier than it said; whoever drives this sets it.
        on_lease: called when the engine was told of another end of our lease, or that there is none.
        handing_over: we give our office away, and take no notice of others' decisions until that is done.
    """

    def __init__(
        self,
        engine: Engine,
        replication: ReplicationManager,
        service: Membership,
        config: Config,
        rng: random.Random,
        errands: Errands,
        *,
        migrate: Callable[[str], Awaitable[None]],
    ) -> None:
        super().__init__(service, full_coverage=config.flag("cluster-require-full-coverage"))
        self.engine = engine
        self.replication = replication
        self.election = Election(service.id, random.Random(rng.getrandbits(64)), ElectionPolicy())
        self.routes = Routes(engine)
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
        self._hands_over = False  # or is about to: clients are still served
        self.wake: Callable[[], None] = lambda: None
        self.on_lease: Callable[[], None] = lambda: None
        self.errands, self._migrate = errands, migrate
        self._chronicle = Chronicle(self.election, service)
        self._config = config
        self._migration = Migration()
        self._holding = False
        self._held_until_ms = 0  # clients wait, at most until then
        self._tending_until_ms = 0
        self._changing_set = False
        self._leaseless_since_ms = 0  # we lead and cannot serve since then; 0: we can
        service.on_lease(self.serve_or_not)
        replication.on_link_broken = self._link_broken
        replication.on_link_up = self._link_up
        replication.on_sync_started = self.election.sync_started
        engine.on_python_error = partial(self._hear_error, engine.on_python_error)
        replication.feeder.on_returned = self._chronicle.returned
        config.on_change("cluster-require-full-coverage", lambda _: self._coverage_changed(config))
        replication.identify(member_id=service.id, shard_id="", epoch=0)
        self.route()

    @property
    def ok(self) -> bool:
        if self._holding:
            return False
        return (
            self.covered and self.served and (self.has_lease if self.election.leads else self.hears_majority)
        )

    @property
    def has_lease(self) -> bool:
        """As the engine knows it, which is what counts for clients."""
        return not self._held_until_ms and self.service.now_ms() < self.engine.lease_until_ms

    @property
    def holds_clients(self) -> bool:
        return self._held_until_ms > 0

    @property
    def is_replica(self) -> bool:
        return self.replication.is_replica

    def moving(self) -> Iterator[str]:
        return self.routes.moving()

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

    # -- events

    def tick(self, now_ms: int) -> int:
        """Does what is due; returns when to call again, at the latest."""
        self.note_data()
        self.election.refresh(self.service.topology)
        self._act(self.election.tick(now_ms))
        self._publish()
        self.serve_or_not()
        self.routes.tidy()
        self._chronicle.tell(now_ms, self.engine.now_ms, serves=self.election.leads and self.has_lease)
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

    def observe(self) -> None:
        """Acts upon what the service shows now."""
        if self.handing_over:
            return
        self.note_data()
        self.election.note_accusers(self.service.accusers(self.election.shard.primary), self.service.now_ms())
        self.react(self.election.observe(self.service.topology, self.service.now_ms()))
        self.route()
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
            self.note_data()
            self.react(self.election.link_refused(self.service.now_ms(), why))
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
        self.note_data()
        self._publish()
        self.serve_or_not()

    def _coverage_changed(self, config: Config) -> None:
        self.full_coverage = config.flag("cluster-require-full-coverage")
        self.serve_or_not()

    def note_data(self) -> None:
        self.replication.note_durability(self.election.shard.quorum)
        self.election.offset = self.replication.offset
        self.election.heard_ms = self.replication.heard_ms
        if not self.replication.complete:
            self.election.sync_started()

    def _publish(self) -> None:
        self.service.update_self(offset=self.election.announced_offset)

    async def _carry(self, proposal: Propose) -> None:
        register = shard_register(proposal.shard_id)
        try:
            decided = await self.service.propose(register, proposal.change)
        except (Refused, NoMajority) as error:
            log.warning("shard %s: %s", proposal.shard_id, error)
            self.react(self.election.failed(str(error), self.service.now_ms()))
        else:
            self.note_data()
            shard = ShardView.from_data(proposal.shard_id, decided)
            self.react(self.election.won(shard, self.service.now_ms()))

    # -- actions of the election

    def _act(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Follow):
                self.follow(action)
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

    def react(self, actions: Sequence[Action]) -> None:
        """Outside of `tick`, which then has to look at the clock again."""
        self._act(actions)
        if actions or self.election.wake_ms is not None:
            self.wake()

    def follow(self, action: Follow) -> None:
        self.route()  # first of all: a primary that was replaced serves nothing more
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
        self.follow(Follow(shard.id, shard.primary, shard.epoch))

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
        self.note_data()
        self.route()
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
        self.route()

    def _release_hold(self) -> None:
        if self._holding:
            self._holding = False
            self.engine.loading = False
        self.service.lease_wanted = True

    def _detach(self) -> None:
        self.route()
        self.durability.step_down("this node left its shard")
        self._release_hold()
        self.service.update_self(shard_id="")
        self.replication.identify(member_id=self.id, shard_id="", epoch=0)
        if self.replication.is_replica:
            self.replication.become_primary()

    # -- the engine

    def route(self) -> None:
        """Tells the engine who owns which slot and what we are, when that is news."""
        topology, election = self.topology, self.election
        if self.routes.tell(topology, election.shard, leads=election.leads) and election.leads:
            self._drop_foreign_keys()
        self.serve_or_not()

    def _drop_foreign_keys(self) -> None:
        found = self.routes.find_foreign(self.topology, self.election.shard.id)
        if found and not self.errands.start_own(self._drop_keys):
            self.routes.keep_foreign()  # no room

    async def _drop_keys(self) -> None:
        dropped = 0
        while self.election.leads and (count := self.routes.drop_some(self.topology, self.election.shard.id)):
            dropped += count
            await self.errands.pause(0)
        self.routes.keep_foreign()
        log.info("dropped %d keys of slots that another shard owns now", dropped)

    def hold_clients(self, until_ms: int) -> None:
        """Lets commands wait that would be refused for a moment: while we hand over, or have no lease yet.

        The engine takes us for a primary with a lease for exactly as long as nothing is executed.
        """
        self._held_until_ms = until_ms
        self.engine.pause(until_ms, True)
        self.serve_or_not()

    def release_clients(self) -> None:
        """They go on, or hear whatever is right by now."""
        if self._held_until_ms:
            self._held_until_ms = 0
            self.serve_or_not()
            self.engine.unpause()
            self.replication.pump.resume_stalled()

    def serve_or_not(self) -> None:
        engine, now_ms = self.engine, self.service.now_ms()
        lease_ms = self.service.lease_valid_until_ms() if self.election.leads else 0
        enough = lease_ms > now_ms or now_ms >= self._held_until_ms or not self.election.leads
        if self._held_until_ms and enough and not self.handing_over:
            self.release_clients()
            return
        if lease_ms > now_ms or not self.election.leads:
            self._leaseless_since_ms, self.replication.feeder.no_lease = 0, ""
        # 0 would mean that leases do not matter; a primary that has none yet is past the end of it.
        until_ms = self._held_until_ms or (max(1, lease_ms) if self.election.leads else 0)
        if until_ms != engine.lease_until_ms:
            engine.lease_until_ms = until_ms
            self.on_lease()
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
            self.errands.start_own(partial(self._migrate, primary))

    async def fail_over(self, mode: str) -> None:
        """A person wants us to lead our shard (CLUSTER FAILOVER).

        Args:
            mode: '' asks the primary to hand over to us; 'force' and 'takeover' do not ask it. Neither goes
                without a majority of the voters; 'takeover' also takes office with data of an older epoch,
                and with none where nobody has any: a shard that waits for a copy that is gone for good.
        Raises:
            CommandError: we hold no complete copy of the shard's data, or somebody else does.
            Refused, NoMajority: as `Membership.propose`.
        """
        shard = self.election.shard
        if not mode:
            await self.service.propose(shard_register(shard.id), nomination(self.id, shard))
            return
        takeover, floor = mode == "takeover", self.topology.epoch
        if not self.replication.complete or (self.election.data_epoch == 0 and not takeover):
            holders = self._holders(shard.id) if takeover else []
            if holders or not takeover:
                others = f"; {', '.join(holders)} does" if holders else ""
                raise CommandError(f"ERR this node holds no complete copy of its shard's data{others}")
        change = promotion(self.id, shard, floor=floor, force=True, takeover=takeover)
        self.replication.stop_following()
        try:
            decided = await self.service.propose(shard_register(shard.id), change)
        except (Refused, NoMajority):
            if self.election.state in ("following", "waiting"):  # else it was settled while we were voting
                shard = self.election.shard
                self.follow(Follow(shard.id, shard.primary, shard.epoch))
            raise
        self.react(self.election.won(ShardView.from_data(shard.id, decided), self.service.now_ms()))

    def _holders(self, shard_id: str) -> list[str]:
        """Who else is there and says that it has the shard's data."""
        return [
            member.id
            for member in self.topology.members.values()
            if member.shard_id == shard_id and member.id != self.id and member.usable and member.offset >= 0
        ]

    # -- a primary's duties

    def _tend(self, now_ms: int) -> None:
        """Keeps the in-sync set true and hands over to an heir, one proposal at a time."""
        if not self.election.leads:
            return
        another_set = self.durability.look(self.topology, now_ms)
        if now_ms < self._tending_until_ms:
            return
        shard = self.election.shard
        if shard.heir and not self._hands_over:
            if not self.errands.start_own(HandOver(self, shard).run):
                return
            self._hands_over = True
        if another_set and not self._hands_over and not self._changing_set:
            self._tending_until_ms = now_ms + TEND_PAUSE_MS
            self._changing_set = self.errands.start_own(lambda: self._change_in_sync(shard))

    def _mind_lease(self, now_ms: int) -> None:
        """A primary that lives, and that no majority of the voters hears, keeps its office though it cannot
        use it: gossip reaches it by way of its replicas. After a while it sends those away, and one that
        hears the voters stands. Their grants have ended by then, so they agree at once."""
        if not self.election.leads or self.handing_over or self.has_lease:
            return
        self._leaseless_since_ms = self._leaseless_since_ms or now_ms
        patience_ms = LEASELESS_LEASES * self.service.config.lease_ms
        if now_ms - self._leaseless_since_ms >= patience_ms and not self.replication.feeder.no_lease:
            self.replication.feeder.send_away("this primary has no lease: no majority of the voters hears it")

    async def _change_in_sync(self, shard: ShardView) -> None:
        """Never two at once: when votes take long the second would wait behind the first, whose outcome would
        be taken for the end of both, and what the second asks for could be decided unnoticed."""
        try:
            wanted = self.durability.propose(self.topology)
            if wanted is None:
                return
            change = in_sync_set(self.id, shard, wanted, quorum=self.durability.quorum_wanted)
            decided = await self.service.propose(shard_register(shard.id), change)
        except (Refused, NoMajority) as error:
            log.info("in-sync set of shard %s stays as it is: %s", shard.id, error)
            self._tending_until_ms = self.service.now_ms() + TICK_MS
        else:
            self.durability.decided(ShardView.from_data(shard.id, decided))
            self._tending_until_ms = 0
        finally:
            self._changing_set = False
        self.wake()

    def handed_over(self, decided: ShardView) -> None:
        """Our office is our heir's by decision."""
        self.handing_over = False
        self.react(self.election.won(decided, self.service.now_ms()))

    def stop_handing_over(self) -> None:
        """It is done, or it failed: we are what the register says."""
        self.handing_over = self._hands_over = False
        self.service.lease_wanted = True
        self._tending_until_ms = self.service.now_ms() + TEND_PAUSE_MS
        self.observe()
        self.release_clients()
