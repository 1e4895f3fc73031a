"""One member under virtual time: the real cores, and what the trio shells do around them.

The order of things is that of gossip/service.py and node/cluster.py: messages before timers, the disk before
whatever depends on it, a role lost before anything else. Where those change, this has to follow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from chaos.sim.events import Events
from gossip.config import GossipConfig
from gossip.detector import (
    Action as DetectorAction,
)
from gossip.detector import (
    CheckPort,
    Detector,
    ExchangeWith,
    FetchFrom,
    MemberChanged,
    RegisterHeard,
)
from gossip.detector import (
    Send as SendDatagram,
)
from gossip.exchange import as_news, as_value
from gossip.members import PRESENT, Status
from gossip.messages import (
    Address,
    Envelope,
    LeaseGrant,
    LeaseRelease,
    LeaseRequest,
    Meta,
    Record,
    RegisterNews,
    RegisterRound,
)
from gossip.register import Action as RegisterAction
from gossip.register import Decided, Failed, Learned, Persist
from gossip.register import Send as SendRound
from gossip.topology import ShardView, Topology, shard_register
from gossip.views import build_topology, shards
from gossip.votes import Message, Plain, Value, VoterSet
from gossip.voting import Ties, Voting
from node.election import Action as ElectionAction
from node.election import Election, ElectionPolicy, Follow, Hold, Lead, Propose, StopStream
from node.slot_changes import in_sync_set

if TYPE_CHECKING:
    from chaos.sim.cluster import Cluster, Machine

CLUSTER_ID: Final = "c" * 40
SAVE_MS: Final = GossipConfig().save_interval_ms
LINK_MS: Final = 50  # how often a replica takes what its primary has
LINK_SILENT_MS: Final = 1_000
FULL_COPY_MS: Final = (20, 200)
DISK_MS: Final = (1, 4)


@dataclass(frozen=True, slots=True)
class Disk:
    """What a state file holds."""

    member_id: str
    incarnation: int
    records: tuple[Record, ...] = ()
    registers: Mapping[str, Plain] | None = None
    shard_id: str = ""


def _nobody_asked(_outcome: Value | Failed) -> None:
    """The member read the register of its own accord."""


async def _no_task() -> None:
    raise RuntimeError("the simulator carries out the actions of the registers itself")


class _Voting(Voting):
    """The real one, its actions handed to the simulated disk and network instead of a task."""

    def __init__(
        self, member_id: str, events: Events, life: str, ties: Ties, forgot_until_ms: int,
        carry: Callable[[list[RegisterAction]], None],
    ) -> None:  # fmt: skip
        self._carry = carry
        super().__init__(member_id, GossipConfig(), events.dice(f"{life} registers"), ties, forgot_until_ms)

    def enqueue(self, actions: list[RegisterAction]) -> None:
        if actions:
            self._carry(actions)


class Process:
    """One life of a member.

    Args:
        life: names it in the trace, like n2/1.
        bugs: parts of this shell that are left out on purpose, so that a checker can be seen to notice.
    """

    def __init__(
        self, cluster: Cluster, machine: Machine, life: str, disk: Disk, bugs: frozenset[str]
    ) -> None:
        self.cluster, self.machine, self.life, self._bugs = cluster, machine, life, bugs
        self.events = cluster.events
        self.id = disk.member_id
        self.alive = True
        self.joined = disk.registers is not None
        now_ms = self.events.now_ms
        self._meta = Meta(
            f"10.0.0.{machine.number + 1}", 7000 + machine.formats, 17000 + machine.formats,
            "node", "", disk.shard_id, now_ms, "sim",
        )  # fmt: skip
        config = GossipConfig()
        dice = self.events.dice(f"{life} detector")
        self.detector = Detector(self.id, self._meta, disk.incarnation + 1, config, dice, now_ms)
        ties = Ties(
            now_ms=lambda: self.events.now_ms,
            save=_no_task,
            tell=self._tell,
            learned=self._learned,
            settled=lambda: None,
            is_gone=self._found_gone,
        )
        forgot_until_ms = now_ms + config.lease_ms if self.joined else 0
        self.voting = _Voting(self.id, self.events, life, ties, forgot_until_ms, self._queue)
        if disk.registers is not None:
            self.voting.restore(disk.registers)
        self.detector.merge(disk.records, self.id, now_ms)
        self.detector.actions()
        self.election = Election(self.id, self.events.dice(f"{life} election"), ElectionPolicy())
        self.office: tuple[str, int] | None = None
        """The shard and epoch whose primary we act as."""
        self.offset = 0
        self.link_up = False
        self._link_heard_ms = 0
        self._copying = False
        self.following: Follow | None = None
        self._holding = False
        self._missing_since_ms: dict[str, int] = {}
        self._tending_until_ms = 0
        self._dice = self.events.dice(f"{life} shell")
        self._mail: list[tuple[Envelope, Address]] = []
        self._waiting: list[RegisterAction] = []
        self._writing = False
        self._promised: dict[int, Callable[[Value | Failed], None]] = {}
        self._stale = True
        self._wake_ms = -1
        self._acting = False
        self._topology = self._build(None, 1)
        self._follow_registers()

    def start(self) -> None:
        self.detector.announce(self.events.now_ms)
        if self.joined:
            for address in [member.meta.bus_address for member in self.detector.members][:3]:
                self._exchange_soon(address)
        self._maintain()
        self._tend_link()
        self.settle()

    @property
    def topology(self) -> Topology:
        return self._topology

    @property
    def address(self) -> Address:
        return self._meta.bus_address

    # -- time

    def later(self, delay_ms: int, then: Callable[[], None]) -> None:
        """`then`, unless this life is over; when the process stands still, as soon as it goes on."""

        def due() -> None:
            if not self.alive:
                return
            if self.machine.paused:
                self.machine.put_off.append(due)
                return
            then()

        self.events.at(self.events.now_ms + delay_ms, due)

    def deliver(self, envelope: Envelope, source: Address) -> None:
        """A datagram arrives at the socket."""
        if self.alive and self.joined:
            self._mail.append((envelope, source))
            if not self.machine.paused:
                self.wake()

    def wake(self) -> None:
        """The driving task goes round once: messages first, then the clock."""
        now_ms = self.events.now_ms
        mail, self._mail = self._mail, []
        for envelope, source in mail:
            self._hear(envelope, source, now_ms)
        if self.detector.next_due_ms() <= now_ms:
            self._note_majority()
            self.detector.tick(now_ms)
        self.voting.tick(now_ms)
        for primary in self.voting.granted.silences(now_ms):
            self.detector.report_silent(primary, now_ms)
        renewal = self.voting.renewals(now_ms, 0)
        if renewal is not None:
            envelope = self.detector.envelope(renewal[0])
            for voter in renewal[1]:
                self._send_to(voter, envelope)
        self.election.offset = self.offset
        self._act(self.election.tick(now_ms))
        self.settle()

    def settle(self) -> None:
        """Carry out what the cores want, tell the election what changed, and set the next timer."""
        if self._acting:
            return
        self._acting = True
        actions = self.detector.actions()
        while actions or self._stale:
            for action in actions:
                self._carry_out(action)
            if self._stale:
                self._publish()
            actions = self.detector.actions()
        self._acting = False
        due = [self.detector.next_due_ms()]
        due += [ms for ms in (self.voting.next_due_ms(), self.election.wake_ms) if ms is not None]
        due_ms = max(min(due), self.events.now_ms + 1)
        if self._wake_ms <= self.events.now_ms or due_ms < self._wake_ms:
            self._wake_ms = due_ms
            self.later(due_ms - self.events.now_ms, lambda: self._timer(due_ms))

    def _timer(self, due_ms: int) -> None:
        if self._wake_ms == due_ms:
            self._wake_ms = -1
            self.wake()

    # -- hearing, as Service does

    def _hear(self, envelope: Envelope, source: Address, now_ms: int) -> None:
        self.detector.receive(envelope, source, now_ms)
        message, sender = envelope.message, envelope.sender
        if isinstance(message, LeaseRequest):
            answer = self.detector.envelope(self.voting.answer(message, sender, now_ms))
            self.cluster.datagram(self, source, answer)
        elif isinstance(message, LeaseGrant):
            self.detector.answered(sender, now_ms)
            self.voting.hear_grant(message, sender, now_ms)
        elif isinstance(message, LeaseRelease):
            self.voting.granted.release(message.shard_id, sender, message.epoch)
        elif isinstance(message, RegisterRound):
            self.voting.hear(sender, message.payload)

    def take(self, teller: str, records: tuple[Record, ...], registers: tuple[RegisterNews, ...]) -> None:
        """The other half of a state exchange."""
        for news in registers:
            self._learn(news)
        self.detector.merge(records, teller, self.events.now_ms)
        self.settle()

    def half(self) -> tuple[tuple[Record, ...], tuple[RegisterNews, ...]]:
        return self.detector.records(), as_news(self.voting.decided)

    def _learn(self, news: RegisterNews) -> None:
        if news.data is None:
            return
        value = as_value(news)
        if "skip-epoch" in self._bugs and news.name != "voters":
            if self.voting.registers.decided.get(news.name) != value:
                self.voting.registers.decided[news.name] = value  # the bug: whatever came last
                self._learned(news.name, value)
            return
        if self.voting.learn(news.name, value):
            self._follow_registers()

    def _note_majority(self) -> None:
        voters = self.voting.voter_set
        self.detector.majority_there(self.voting.held.majority_granted_ms())
        heard: list[tuple[int, str]] = []
        for voter in voters.everyone():
            listed = self.detector.members.get(voter)
            if voter == self.id:
                heard.append((-self.events.now_ms, voter))
            elif listed is not None and listed.status in PRESENT:
                heard.append((-listed.heard_ms, voter))
        present: list[str] = []
        for since_ms, voter in sorted(heard):
            present.append(voter)
            if voters.has_quorum(present):
                self.detector.majority_there(-since_ms)
                return

    # -- acting

    def _carry_out(self, action: DetectorAction) -> None:
        if isinstance(action, SendDatagram):
            self.cluster.datagram(self, action.address, action.envelope)
        elif isinstance(action, MemberChanged):
            self._stale = True
            if action.before is not action.after and action.after is not Status.ALIVE:
                self.events.trace(
                    f"{self.life} holds {self.cluster.name(action.member)} {action.after.value}"
                )
        elif isinstance(action, RegisterHeard):
            self._learn(action.news)
        elif isinstance(action, FetchFrom):
            if action.registers_sum > self.detector.registers_sum:
                self.cluster.over_connection(self, action.address, self._fetched)
        elif isinstance(action, ExchangeWith):
            self._exchange_soon(action.address)
        elif isinstance(action, CheckPort):
            self.cluster.check_port(self, action.address, lambda refused: self._checked(action, refused))
        else:
            self._stale = True  # our incarnation rose

    def _checked(self, check: CheckPort, refused: bool) -> None:
        self.detector.checked(check.member, check.incarnation, refused, self.events.now_ms)
        self.settle()

    def _exchange_soon(self, address: Address) -> None:
        self.cluster.over_connection(self, address, self._exchanged)

    def _exchanged(self, other: Process) -> None:
        ours, theirs = self.half(), other.half()
        other.take(self.id, *ours)
        self.take(other.id, *theirs)

    def _fetched(self, other: Process) -> None:
        self.take(other.id, (), other.half()[1])

    def _send_to(self, member: str, envelope: Envelope) -> None:
        listed = self.detector.members.get(member)
        if listed is not None:
            self.cluster.datagram(self, listed.meta.bus_address, envelope)

    def _tell(self, member: str, message: Message) -> None:
        self._send_to(member, self.detector.envelope(RegisterRound(message.to_wire())))

    def _found_gone(self, member_id: str) -> bool:
        if self.detector.has_refused_evidence(member_id):
            return True
        self.detector.check_port(member_id, self.events.now_ms)
        return False

    # -- registers and the disk

    def propose(
        self, register: str, change: Callable[[Plain], Plain], then: Callable[[Value | Failed], None]
    ) -> None:
        proposal_id, actions = self.voting.registers.propose(register, change, self.events.now_ms)
        self._promised[proposal_id] = then
        self.voting.queue(actions)
        self.settle()

    def _queue(self, actions: list[RegisterAction]) -> None:
        self._waiting += actions
        self._work()

    def _work(self) -> None:
        """One batch at a time; with a promise in it, the disk comes first."""
        while self._waiting and not self._writing:
            batch, self._waiting = self._waiting, []
            if any(isinstance(action, Persist) for action in batch):
                self._writing = True
                self._save(lambda batch=batch: self._written(batch))  # type: ignore[misc]
            else:
                self._finish(batch)

    def _save(self, then: Callable[[], None]) -> None:
        disk = Disk(
            self.id,
            self.detector.incarnation,
            self.detector.records()[1:],
            self.voting.registers.durable_state(),
            self._meta.shard_id,
        )

        def written() -> None:
            self.machine.disk = disk
            then()

        self.later(self._dice.randint(*DISK_MS), written)

    def _written(self, batch: list[RegisterAction]) -> None:
        self._writing = False
        self._finish(batch)
        self._work()
        self.settle()

    def _finish(self, batch: list[RegisterAction]) -> None:
        for action in batch:
            if isinstance(action, SendRound):
                self._tell(action.to, action.message)
            elif isinstance(action, Learned):
                self._learned(action.register, action.value)
            elif isinstance(action, Decided):
                self._promised.pop(action.proposal_id, _nobody_asked)(action.value)
            elif isinstance(action, Failed):
                self._promised.pop(action.proposal_id, _nobody_asked)(action)

    def _learned(self, name: str, value: Value) -> None:
        self._follow_registers()
        self.detector.spread_register(RegisterNews(name, value.version, value.data), self.events.now_ms)

    def _follow_registers(self) -> None:
        decided = self.voting.decided
        found = shards(decided)
        named = dict.fromkeys(
            member for shard in found.values() for member in (shard.primary, *shard.in_sync)
        )
        named.update(dict.fromkeys(self.voting.voter_set.everyone()))
        self.detector.set_decided(
            self.voting.voter_set.everyone(),
            sum(value.version for value in decided.values()),
            max((shard.epoch for shard in found.values()), default=0),
            named.__contains__,
        )
        for shard_id, shard in found.items():
            version = decided[shard_register(shard_id)].version
            self.cluster.epochs.knows(
                self.life, shard_id, version, shard.epoch, self.cluster.name(shard.primary)
            )
        self._stale = True

    def _maintain(self) -> None:
        if self.joined:
            self._save(lambda: None)
        self.later(SAVE_MS, self._maintain)

    # -- the picture, and the lease that goes with it

    def _build(self, predecessor: Topology | None, version: int) -> Topology:
        voting = self.voting
        return build_topology(
            self.detector, voting.decided, voting.voter_set, CLUSTER_ID, predecessor, version
        )

    def _publish(self) -> None:
        self._stale = False
        self._topology = self._build(self._topology, self._topology.version + 1)
        self._follow_lease()
        self._observe()

    def _follow_lease(self) -> None:
        led = None if self._holding else self._topology.shard_led_by(self.id)
        shard_id, epoch = ("", 0) if led is None else (led.id, led.epoch)
        self.voting.follow_lease(shard_id, epoch, self.events.now_ms)

    def _observe(self) -> None:
        self.election.offset = self.offset
        self._act(self.election.observe(self._topology, self.events.now_ms))
        self._announce_offset()

    def _announce_offset(self) -> None:
        self.detector.offset = self.election.announced_offset

    def update_shard(self, shard_id: str) -> None:
        if shard_id != self._meta.shard_id:
            self._meta = replace(self._meta, shard_id=shard_id)
            self.detector.update_self(self._meta, self.events.now_ms)
            self._stale = True

    def join(self, other: Process) -> None:
        """A new member becomes one of the cluster of `other`."""
        records, registers = other.half()
        decided = {news.name: as_value(news) for news in registers if news.name != "voters"}
        self.joined = True
        self.voting.move_to(other.voting.voter_set, decided)
        self._follow_registers()
        self.detector.merge(records, other.id, self.events.now_ms)
        self.detector.announce(self.events.now_ms)
        self.settle()

    def found(self, shard_id: str) -> None:
        """Be the first primary of a new shard."""

        def change(data: Plain) -> Plain:
            return ShardView(shard_id, self.id, (self.id,), 1).to_data() if data is None else data

        self.election.found(shard_id)
        self.update_shard(shard_id)
        self.propose(shard_register(shard_id), change, lambda _outcome: None)

    def be_given_voters(self, voters: VoterSet) -> None:
        self.joined = True
        self.voting.move_to(voters, {})
        self._follow_registers()

    # -- the election's wishes, as ClusterNode does

    def _act(self, actions: list[ElectionAction]) -> None:
        for action in actions:
            if isinstance(action, Follow):
                self._follow(action)
            elif isinstance(action, StopStream):
                self.following, self.link_up = None, False
            elif isinstance(action, Propose):
                self._propose_office(action)
            elif isinstance(action, Lead):
                self.events.trace(f"{self.life} leads {action.shard_id} epoch {action.epoch}")
                self.office, self.following, self.link_up = (action.shard_id, action.epoch), None, False
                self._missing_since_ms.clear()
                self._release_hold()
                self.update_shard(action.shard_id)
                self._announce_offset()
            elif isinstance(action, Hold):
                self.events.trace(f"{self.life} came back empty as primary of {action.shard_id}")
                self.office, self.following, self.link_up = None, None, False
                self._holding = True
                self._follow_lease()
                self.update_shard(action.shard_id)
            else:
                self.office, self.following, self.link_up = None, None, False
                self._release_hold()
                self.update_shard("")

    def _follow(self, action: Follow) -> None:
        if "keep-office" not in self._bugs:
            self.office = None
        self._release_hold()
        self.update_shard(action.shard_id)
        self.following, self.link_up = (action if action.primary else None), False
        self._link_heard_ms = self.events.now_ms
        primary = self.cluster.name(action.primary)
        self.events.trace(f"{self.life} follows {primary} in {action.shard_id} epoch {action.epoch}")

    def _release_hold(self) -> None:
        self._holding = False
        self._follow_lease()

    def _propose_office(self, action: Propose) -> None:
        self.events.trace(f"{self.life} proposes a primary for {action.shard_id}")

        def then(outcome: Value | Failed) -> None:
            now_ms = self.events.now_ms
            self.election.offset = self.offset
            if isinstance(outcome, Failed):
                self.events.trace(f"{self.life} was not decided: {type(outcome.error).__name__}")
                self._act(self.election.failed(str(outcome.error), now_ms))
            else:
                self._act(self.election.won(ShardView.from_data(action.shard_id, outcome.data), now_ms))
            self._stale = True

        self.propose(shard_register(action.shard_id), action.change, then)

    # -- data, as a count

    def acknowledges(self, slot: int) -> tuple[str, int] | None:
        """The shard and epoch under which a write to this slot is acknowledged now; None when it is not."""
        if self.office is None or self._holding or self._topology.slot_owner(slot) != self.office[0]:
            return None
        if "skip-lease" not in self._bugs and self.events.now_ms >= self.voting.held.valid_until_ms:
            return None
        return self.office

    def owner_of(self, slot: int) -> str:
        """Whom we would send a client to, ourselves included; '' for nobody."""
        shard_id = self._topology.slot_owner(slot)
        if self.office is not None and self.office[0] == shard_id:
            return self.id
        shard = self._topology.shards.get(shard_id)
        return "" if shard is None else shard.primary

    def _tend_link(self) -> None:
        if self.office is not None:
            self._tend_in_sync()
        elif self.following is not None:
            self._poll_primary(self.following)
        self.settle()
        self.later(LINK_MS, self._tend_link)

    def _poll_primary(self, following: Follow) -> None:
        now_ms = self.events.now_ms
        machine = self.cluster.machine_of(following.primary)
        if machine is None:
            return
        if machine.paused or not self.cluster.network.connected(self.machine.number, machine.number):
            if now_ms - self._link_heard_ms > LINK_SILENT_MS:
                self.link_up, self._link_heard_ms = False, now_ms
                self.detector.report_broken(following.primary, now_ms)
            return
        primary = machine.process
        if primary is None or primary.id != following.primary:
            self.link_up = False
            self.detector.report_broken(following.primary, now_ms)
            if following.epoch == self.election.shard.epoch:
                self.election.offset = self.offset
                self._act(self.election.link_refused(now_ms))
            return
        self._link_heard_ms = now_ms
        if primary.office != (following.shard_id, following.epoch):
            self.link_up = False
        elif self.link_up:
            self.offset = primary.offset
        elif not self._copying:
            if self.election.data_epoch > 0 and self.offset <= primary.offset:
                self._linked(following)  # the backlog has what we missed
            else:
                self._copying = True
                self.election.sync_started()
                self.later(self._dice.randint(*FULL_COPY_MS), lambda: self._copied(following))
        self.election.offset = self.offset
        self._announce_offset()

    def _copied(self, following: Follow) -> None:
        self._copying = False
        machine = self.cluster.machine_of(following.primary)
        if following is not self.following or machine is None or machine.process is None:
            return
        primary = machine.process
        connected = self.cluster.network.connected(self.machine.number, machine.number)
        if (
            connected
            and primary.id == following.primary
            and primary.office == (following.shard_id, following.epoch)
        ):
            self._linked(following)
            self.offset = primary.offset

    def _linked(self, following: Follow) -> None:
        self.link_up = True
        self.election.synced(following.epoch)

    def _tend_in_sync(self) -> None:
        now_ms, shard = self.events.now_ms, self.election.shard
        if not self.election.leads or now_ms < self._tending_until_ms:
            return
        attached = self.cluster.attached(self)
        for member in shard.in_sync:
            if member in attached:
                self._missing_since_ms.pop(member, None)
            else:
                self._missing_since_ms.setdefault(member, now_ms)
        kept = [
            member
            for member in shard.in_sync
            if member != self.id and now_ms - self._missing_since_ms.get(member, now_ms) < LINK_SILENT_MS
        ]
        joined = [member for member in attached if member not in kept]
        wanted = (self.id, *kept, *joined)
        if sorted(wanted) != sorted(shard.in_sync):
            self._tending_until_ms = now_ms + 500
            self.propose(shard_register(shard.id), in_sync_set(self.id, shard, wanted), lambda _outcome: None)
