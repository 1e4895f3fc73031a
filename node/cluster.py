"""A node with data as a member of the cluster, on trio: its office kept going, and what a person asks for.

    Service.wait_changed --> Office.observe
    time, wake ------------> Office.tick
    CLUSTER commands ------> proposals, and back when our own view shows what was decided

What follows from what is office.py, a core that the simulator drives as well.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import trio

from gossip.register import Change, NoMajority, Refused
from gossip.service import Service
from gossip.topology import SLOTS_REGISTER, ShardView, Topology, shard_register
from node.cluster_member import ClusterMember
from node.config import Config
from node.durability import Durability
from node.election import Election
from node.engine.engine import Engine
from node.engine.reply import OK, CommandError, Reply, Status
from node.errands import Errands
from node.office import Office
from node.replication.manager import ReplicationManager
from node.slot_changes import assignment, founding, new_epoch, release, transfer, vacating

log = logging.getLogger("grapevine.cluster")

SEEN_TIMEOUT_S: Final = 2.0
GIVE_AGAIN_MS: Final = 500
SLOT_HAS_KEYS: Final = (
    "ERR Can't assign hashslot {slot} to a different node while I still hold keys for this hash slot."
)
"""As Redis says it."""


class ClusterNode(ClusterMember):
    """Start `run` with `nursery.start`, after the service and the replication manager run.

    Args:
        engine, replication, service, config: the node's own.
        rng: dice for waiting times and ids of new shards.
    """

    def __init__(
        self,
        engine: Engine,
        replication: ReplicationManager,
        service: Service,
        config: Config,
        rng: random.Random,
    ) -> None:
        errands = Errands()
        self.office = Office(
            engine,
            replication,
            service,
            config,
            rng,
            errands,
            migrate=self._move,
        )
        super().__init__(service, self.office, errands)
        self.engine = engine
        self.replication = replication
        self._rng = rng
        self._lock = trio.Lock()  # one structural change by hand at a time
        self._lease_moved = trio.Event()
        self.office.on_lease = self._tell_lease

    # -- what others read

    @property
    def election(self) -> Election:
        return self.office.election

    @property
    def durability(self) -> Durability:
        return self.office.durability

    @property
    def is_replica(self) -> bool:
        return self.replication.is_replica

    @property
    def migrating(self) -> dict[int, str]:
        """Our slots on their way to another member's shard."""
        return self.office.routes.migrating

    @property
    def importing(self) -> dict[int, str]:
        """Slots on their way to us, by the member they come from."""
        return self.office.routes.importing

    def info_fields(self) -> Iterator[tuple[str, object]]:
        """The section `cluster` of INFO."""
        yield from self.office.info_fields()
        yield from self.gossip_fields()

    # -- running

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Takes part until cancelled; started means that the first look at the cluster was acted upon."""
        self.office.observe()
        async with trio.open_nursery() as nursery:
            await nursery.start(self.errands.run)
            nursery.start_soon(self._follow_topology)
            nursery.start_soon(self._keep_time)
            task_status.started()

    async def _follow_topology(self) -> None:
        version = 0
        while True:
            version = (await self.service.wait_changed(version)).version
            self.office.observe()

    async def _keep_time(self) -> None:
        woken = trio.Event()

        def wake() -> None:
            woken.set()

        self.office.wake = wake
        while True:
            wait_ms = self.office.tick(self.service.now_ms()) - self.service.now_ms()
            with trio.move_on_after(max(1, wait_ms) / 1000):
                await woken.wait()
            woken = trio.Event()

    def _tell_lease(self) -> None:
        self._lease_moved.set()
        self._lease_moved = trio.Event()

    async def _move(self, primary: str) -> None:
        try:
            await self.replicate(primary)
        except (CommandError, Refused, NoMajority) as error:
            log.warning("stays with its primary: %s", error)

    # -- what a person asks for

    def mark_migrating(self, slot: int, member_id: str) -> None:
        """CLUSTER SETSLOT MIGRATING: missing keys of our slot are asked for there."""
        self.migrating[slot] = member_id
        self.office.route()

    def mark_importing(self, slot: int, member_id: str) -> None:
        """CLUSTER SETSLOT IMPORTING: with ASKING the slot can be used here."""
        self.importing[slot] = member_id
        self.office.route()

    def mark_stable(self, slot: int) -> None:
        """CLUSTER SETSLOT STABLE: on the move no more."""
        self.migrating.pop(slot, None)
        self.importing.pop(slot, None)
        self.office.route()

    async def add_slots(self, slots: Sequence[int]) -> Reply:
        """CLUSTER ADDSLOTS: free slots become ours; founds our shard if we have none."""
        async with self._lock:
            shard_id = await self._shard_to_lead()
            await self._change_slots(assignment(slots, shard_id))
            await self._until(lambda topology: all(topology.slot_owner(slot) == shard_id for slot in slots))
            with trio.move_on_after(
                SEEN_TIMEOUT_S
            ):  # a shard that was just founded has its first lease to get
                while not self.office.has_lease:
                    await self._lease_moved.wait()
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
            source = topology.slot_owner(slot)
            change = transfer(slot, source, target)
            if self.election.leads and source == self.election.shard.id != target:
                await self._give(slot, change)
            else:
                await self._change_slots(change)
            await self._until(lambda topology: topology.slot_owner(slot) == target)
            return OK

    async def _give(self, slot: int, change: Change) -> None:
        """A slot of ours to another shard. Nobody uses it from the moment when we ask the voters until we
        know what they decided: whatever we acknowledged meanwhile would be lost with the slot.
        """
        if self.engine.keyspace.slot_size(0, slot):  # it came when the command had been let through
            raise CommandError(SLOT_HAS_KEYS.format(slot=slot))
        leaving = self.office.routes.leaving
        leaving.add(slot)
        self.office.route()
        try:
            await self._change_slots(change)
        except (NoMajority, Refused) as error:
            if isinstance(error, NoMajority) and error.unknown:
                self.errands.start_own(partial(self._give_after_all, slot, change), urgent=True)
            else:
                leaving.discard(slot)
                self.office.route()
            raise

    async def _give_after_all(self, slot: int, change: Change) -> None:
        """It may be decided yet, when anybody asks the voters about the slot map: so we do, until it is."""
        while self.election.leads and slot in self.office.routes.leaving:
            try:
                await self._change_slots(change)
                return  # the slot is used again when our view shows whose it is
            except NoMajority as error:
                log.warning("slot %d is still being given away: %s", slot, error)
                await self.errands.pause(GIVE_AGAIN_MS)
            except Refused as error:
                log.warning("slot %d is given away no more: %s", slot, error)
                break
        self.office.routes.leaving.discard(slot)
        self.office.route()

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
            self._refuse_what_became_wrong(
                "ERR To set a master the node must be empty and without assigned slots."
            )
            await self._leave_shard()
            self.service.update_self(shard_id=shard_id)
            self.office.observe()
            await self._until(lambda topology: topology.members[self.id].shard_id == shard_id)
            return OK

    async def reset(self) -> Reply:
        """CLUSTER RESET: we own nothing, lead nothing and follow nobody; a replica drops its copy."""
        async with self._lock:
            self._refuse_what_became_wrong(
                "ERR CLUSTER RESET can't be called with master nodes containing keys", empty=True
            )
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
            self.office.observe()
            if was_replica:
                self.engine.keyspace.clear(-1)
            self.migrating.clear()
            self.importing.clear()
            self.office.route()
            return OK

    async def fail_over(self, mode: str) -> Reply:
        """CLUSTER FAILOVER; see `Office.fail_over`."""
        await self.office.fail_over(mode)
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
        self.office.observe()
        return shard_id

    def _free_shard_id(self, founder: str) -> str:
        """A first shard has its founder's id, which is also what CLUSTER MYSHARDID said before."""
        return founder if founder not in self.topology.shards else f"{self._rng.getrandbits(160):040x}"

    def _refuse_what_became_wrong(self, text: str, *, empty: bool = False) -> None:
        """To leave our shard was allowed when the command came. It has waited since, for others before it or
        for votes, and meanwhile we may have been elected, or given slots.

        Args:
            empty: slots may stay, as long as there is no key in them.
        Raises:
            CommandError: `text`, or that votes on us are under way.
        """
        election = self.election
        if election.state in ("standing", "ceding"):
            raise CommandError("ERR not applied: the voters are asked who leads this node's shard; try again")
        owned = not empty and self.topology.ranges_of(election.shard.id)
        if election.leads and (owned or self.engine.keyspace.size(0)):
            raise CommandError(text)

    async def _leave_shard(self) -> None:
        if self.election.leads:
            shard_id = self.election.shard.id
            self.service.release_lease()
            self.office.serve_or_not()
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
        self.office.observe()
