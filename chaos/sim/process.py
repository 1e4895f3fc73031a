"""One member under virtual time: the real cores, and what the trio shell of gossip does around them.

The order of things is that of gossip/service.py: messages before timers, the disk before whatever depends on
it. Where that changes, this has to follow. The data side (node.py) is the real one, and this is its
`Service`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from chaos.sim.checkers.reigns import Written
from chaos.sim.clock import Clock
from chaos.sim.events import Events
from chaos.sim.histories import Key
from chaos.sim.node import Node, Timer
from chaos.sim.streams import End
from chaos.sim.tasks import Pending, run_task
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
from gossip.register import Change, Decided, Failed, Learned, Persist, RegisterError
from gossip.register import Send as SendRound
from gossip.service import TIMER_SLACK_MS
from gossip.topology import Topology, shard_register
from gossip.views import build_topology, shards
from gossip.votes import Message, Plain, Value, VoterSet
from gossip.voting import Ties, Voting
from node.config import Config
from node.slot_changes import founding

if TYPE_CHECKING:
    from chaos.sim.cluster import Cluster, Machine

CLUSTER_ID: Final = "c" * 40
SAVE_MS: Final = GossipConfig().save_interval_ms
DISK_MS: Final = (1, 4)
ROUNDS_MAX: Final = 1_000
LINKS_TIDY: Final = 64


@dataclass(frozen=True, slots=True)
class Disk:
    """What a state file holds."""

    member_id: str
    incarnation: int
    records: tuple[Record, ...] = ()
    registers: Mapping[str, Plain] | None = None
    shard_id: str = ""


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
    """One life of a member; also what its node knows as the gossip `Service`.

    Args:
        life: names it in the trace, like n2/1.
        config: parameters of the node.
        bugs: parts that are left out on purpose, so that a checker can be seen to notice.
    """

    def __init__(
        self,
        cluster: Cluster,
        machine: Machine,
        life: str,
        disk: Disk,
        config: Config,
        bugs: frozenset[str],
    ) -> None:
        self.cluster, self.machine, self.life, self.bugs = cluster, machine, life, bugs
        self.clock: Clock = machine.clock
        self.events = cluster.events
        self.id = disk.member_id
        self.alive = True
        self.joined = disk.registers is not None
        self.config = GossipConfig()
        now_ms = self.now_ms()
        self._meta = Meta(
            f"10.0.0.{machine.number + 1}", 7000 + machine.formats, 17000 + machine.formats,
            "node", "", disk.shard_id, now_ms, "sim",
        )  # fmt: skip
        dice = self.events.dice(f"{life} detector")
        self.detector = Detector(self.id, self._meta, disk.incarnation + 1, self.config, dice, now_ms)
        ties = Ties(
            now_ms=self.now_ms,
            save=_no_task,
            tell=self._tell,
            learned=self._learned,
            settled=lambda: None,
            is_gone=self._found_gone,
        )
        forgot_until_ms = now_ms + self.config.lease_ms if self.joined else 0
        self.voting = _Voting(self.id, self.events, life, ties, forgot_until_ms, self._queue)
        if disk.registers is not None:
            self.voting.restore(disk.registers)
        self.detector.merge(disk.records, self.id, now_ms)
        self.detector.actions()
        self._lease_wanted = True
        self._dice = self.events.dice(f"{life} shell")
        self._mail: list[tuple[Envelope, Address]] = []
        self._waiting: list[RegisterAction] = []
        self._writing = False
        self._promised: dict[int, Pending[Value]] = {}
        self._stale = True
        self._acting = False
        self._vitals_revision = self.detector.vitals_revision
        self._timer = Timer(self, self.wake)
        self._topology = self._build(None, 1)
        self._follow_registers()
        self._office: tuple[str, int] | None = None
        self._state = ""
        self._links: dict[End, None] = {}
        self._unanswered: dict[End, Written] = {}  # clients' writes whose replies have not left yet
        self.node = Node(self, config, self.events.dice(f"{life} node"))
        self.node.replication.port = self._meta.port
        if "empty-serves" in bugs and disk.shard_id:
            self.node.cluster.election.found(disk.shard_id)

    def start(self) -> None:
        self.detector.announce(self.now_ms())
        if self.joined:
            for address in [member.meta.bus_address for member in self.detector.members][:3]:
                self._exchange_soon(address)
        self._maintain()
        self.settle()

    @property
    def address(self) -> Address:
        return self._meta.bus_address

    @property
    def client_address(self) -> Address:
        return self._meta.host, self._meta.port

    @property
    def office(self) -> tuple[str, int] | None:
        """The shard and epoch whose primary it acts as."""
        election = self.node.cluster.election
        return (election.shard.id, election.shard.epoch) if election.leads else None

    def serves(self, shard_id: str) -> bool:
        """A write to that shard would be executed now."""
        office, lease_ms = self.office, self.node.engine.lease_until_ms
        return office is not None and office[0] == shard_id and self.now_ms() < lease_ms

    def owner_of(self, slot: int) -> str:
        """Whom we would send a client to, ourselves included; '' for nobody."""
        shard_id = self.topology.slot_owner(slot)
        if self.office is not None and self.office[0] == shard_id:
            return self.id
        shard = self.topology.shards.get(shard_id)
        return "" if shard is None else shard.primary

    @property
    def careless(self) -> bool:
        """Planted: the lease is not looked at again before replies leave."""
        return "late-reply" in self.bugs

    # -- what the node asks of its Service -------------------------------------------------------------------

    def now_ms(self) -> int:
        """The machine's monotonic clock."""
        return self.clock.now_ms

    @property
    def topology(self) -> Topology:
        if self._vitals_revision != self.detector.vitals_revision:
            self._vitals_revision = self.detector.vitals_revision
            self._topology = self._build(self._topology, self._topology.version)
        return self._topology

    def lease_valid_until_ms(self) -> int:
        return 1 << 62 if "skip-lease" in self.bugs else self.voting.held.valid_until_ms

    def on_lease(self, call: Callable[[], None]) -> None:
        self.voting.on_lease = call

    def majority_heard_ms(self) -> int:
        self._note_majority()
        return self.detector.majority_ms

    @property
    def lease_wanted(self) -> bool:
        return self._lease_wanted

    @lease_wanted.setter
    def lease_wanted(self, wanted: bool) -> None:
        if self._lease_wanted != wanted:
            self._lease_wanted = wanted
            self._follow_lease()

    def release_lease(self) -> None:
        self._lease_wanted = False
        message = self.voting.release(self.now_ms())
        if message is not None:
            envelope = self.detector.envelope(message)
            for voter in self.voting.voter_set.everyone():
                self._send_to(voter, envelope)

    def update_self(self, *, shard_id: str | None = None, offset: int | None = None) -> None:
        if offset is not None and offset != self.detector.offset:
            self.detector.offset = offset
            self._vitals_revision = -1
        if shard_id is not None and shard_id != self._meta.shard_id:
            self._meta = replace(self._meta, shard_id=shard_id)
            self.detector.update_self(self._meta, self.now_ms())
            self._stale = True

    def report_broken(self, member_id: str, refused: bool = False) -> None:
        del refused
        self.detector.report_broken(member_id, self.now_ms())

    async def propose(self, register: str, change: Change, *, timeout_ms: int | None = None) -> Plain:
        """Raises RegisterError."""
        proposal_id, actions = self.voting.registers.propose(
            register, change, self.now_ms(), timeout_ms=timeout_ms
        )
        outcome = self._promised[proposal_id] = Pending()
        self.voting.queue(actions)
        return (await outcome).data

    def accusers(self, member_id: str) -> tuple[str, ...]:
        return self.detector.failure_reports(member_id)

    def accepted_by(self, register: str) -> tuple[str, ...]:
        return self.voting.registers.accepted_by.get(register, ())

    # -- time ------------------------------------------------------------------------------------------------

    def at(self, local_ms: int, then: Callable[[], None]) -> None:
        """`then`, when our clock shows so much; unless this life is over, and after a standstill."""
        self.events.at(self.clock.world_ms(local_ms), lambda: self.at_once(then))

    def later(self, delay_ms: int, then: Callable[[], None]) -> None:
        """As `at`, from now on."""
        self.events.at(self.events.now_ms + delay_ms, lambda: self.at_once(then))

    def at_once(self, then: Callable[[], None]) -> None:
        """Now; when the process stands still, as soon as it goes on; never, when it is dead."""
        if self.machine.paused:
            if self.alive:
                self.machine.put_off.append(lambda: self.at_once(then))
        elif self.alive:
            then()

    def deliver(self, envelope: Envelope, source: Address) -> None:
        """A datagram arrives at the socket."""
        if self.alive and self.joined:
            self._mail.append((envelope, source))
            if not self.machine.paused:
                self.wake()

    def wake(self) -> None:
        """The driving task goes round once: messages first, then the clock."""
        now_ms = self.now_ms()
        mail, self._mail = self._mail, []
        for envelope, source in mail:
            self._hear(envelope, source, now_ms)
        soon_ms = now_ms + TIMER_SLACK_MS
        due_ms = self.detector.next_due_ms()
        if due_ms <= soon_ms:
            self._note_majority()
            self.detector.tick(max(now_ms, due_ms))
        self.voting.tick(now_ms)
        for primary in self.voting.granted.silences(now_ms):
            self.detector.report_silent(primary, now_ms)
        renewal = self.voting.renewals(now_ms, TIMER_SLACK_MS)
        if renewal is not None:
            envelope = self.detector.envelope(renewal[0])
            for voter in renewal[1]:
                self._send_to(voter, envelope)
        self.settle()

    def settle(self) -> None:
        """After each event: carry out what the cores want, tell the node what changed, set the next
        timers."""
        if self._acting or not self.alive:
            return
        self._acting = True
        node = self.node
        for _ in range(ROUNDS_MAX):
            actions = self.detector.actions()
            for action in actions:
                self._carry_out(action)
            if self._stale:
                self._publish()
            elif node.glue_woken or node.replication_woken:
                node.tick()
            elif not actions:
                break
        else:
            raise RuntimeError(f"{self.life} keeps waking itself")
        self._acting = False
        node.feed_replicas()
        node.let_replies_leave()
        self._note_office()
        due_ms = self.detector.next_due_ms()
        voting_due_ms = self.voting.next_due_ms()
        if voting_due_ms is not None and voting_due_ms < due_ms:
            due_ms = voting_due_ms
        self._timer.set(max(due_ms, self.now_ms() + 1))

    def turn(self) -> None:
        """A session executed something. Whoever waits for a chance to strike in the middle of it does so."""
        if self._acting or not self.alive:
            return
        node = self.node
        strike = self.machine.strike
        if strike is not None and node.replies_waiting and strike(self):
            return
        self.end_turn()

    def end_turn(self) -> None:
        """What follows execution."""
        node = self.node
        node.feed_replicas()
        node.let_replies_leave()
        if node.glue_woken or node.replication_woken or self._stale:
            self.settle()

    def _note_office(self) -> None:
        """For the trace and the checkers: whoever takes office does so in this moment."""
        election = self.node.cluster.election
        office = (election.shard.id, election.shard.epoch) if election.leads else None
        if office != self._office:
            self._office = office
            if office is not None:
                self.events.trace(f"{self.life} leads {office[0]} epoch {office[1]}")
                self.cluster.takes_office(self, *office)
        if election.state != self._state:
            self._state = election.state
            self.events.trace(f"{self.life} is {self._state}: {self._whom()}")

    def _whom(self) -> str:
        shard = self.node.cluster.election.shard
        return f"{shard.id or 'no shard'} epoch {shard.epoch} of {self.cluster.name(shard.primary)}"

    def executed(self, end: End) -> None:
        """A client's write."""
        key, office = end.peer.note, self.office
        if isinstance(key, Key) and key.kind != "lapsing" and office is not None:
            node = self.node
            write = Written(node.engine.effects.offset, key.name, node.engine.keyspace.get(0, key.name))
            self._unanswered[end] = write
            self.cluster.reigns.executes(office[0], write)

    def answers(self, end: End, reply: bytes, *, held: bool) -> None:
        """A reply is about to leave to a client; at the end of its turn, or later when it was held."""
        write = self._unanswered.pop(end, None)
        if reply.startswith(b"-") or not isinstance(end.peer.note, Key):
            return  # an error, or a replica's greeting
        end.peer.note = self.cluster.answered(self, held=held)
        office = self.office
        if write is not None and office is not None:
            self.cluster.reigns.acknowledges(
                office[0],
                write,
                self.life,
                self.cluster.holders(self.node.replication.history.id, write.offset),
            )

    # -- connections of the node -----------------------------------------------------------------------------

    def dial(self, host: str, port: int, done: Callable[[End | None], None]) -> None:
        """`done` with our end, or None when it was refused; not at all when nobody answers."""
        self.cluster.dial(self, (host, port), done)

    def own(self, end: End) -> None:
        """Ours from now on: what arrives waits while we stand still, and it breaks when we die."""
        if len(self._links) > LINKS_TIDY:
            self._links = {link: None for link in self._links if link.open}
        self._links[end] = None
        end.later = self.at_once

    def break_connections(self) -> None:
        """Both ends of each hear that it is over."""
        if self.machine.paused:
            return
        links, self._links = self._links, {}
        for end in links:
            gone = end.gone
            end.close(reset=True)
            gone(True)

    def die(self) -> None:
        """The process ends; its kernel resets its connections."""
        self.alive = False
        for end in self._links:
            end.close(reset=True)
        self._links.clear()

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
        self.detector.merge(records, teller, self.now_ms())
        self.settle()

    def half(self) -> tuple[tuple[Record, ...], tuple[RegisterNews, ...]]:
        return self.detector.records(), as_news(self.voting.decided)

    def _learn(self, news: RegisterNews) -> None:
        if news.data is None:
            return
        value = as_value(news)
        if "skip-epoch" in self.bugs and news.name != "voters":
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
                heard.append((-self.now_ms(), voter))
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
        self.detector.checked(check.member, check.incarnation, refused, self.now_ms())
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
        self.detector.check_port(member_id, self.now_ms())
        return False

    # -- registers and the disk

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

        self.later(self._dice.randint(*(self.machine.slow_disk or DISK_MS)), written)

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
                asked = self._promised.pop(action.proposal_id, None)
                if asked is not None:  # else a read of the member's own accord
                    asked.settle(action.value)
            elif isinstance(action, Failed):
                asked = self._promised.pop(action.proposal_id, None)
                if asked is not None:
                    asked.fail(action.error)

    def _learned(self, name: str, value: Value) -> None:
        self._follow_registers()
        self.detector.spread_register(RegisterNews(name, value.version, value.data), self.now_ms())

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
        self._vitals_revision = self.detector.vitals_revision
        self._topology = self._build(self._topology, self._topology.version + 1)
        self._follow_lease()
        if "keep-office" not in self.bugs or self.office is None:
            self.node.cluster.observe()

    def _follow_lease(self) -> None:
        led = self._topology.shard_led_by(self.id) if self._lease_wanted else None
        shard_id, epoch = ("", 0) if led is None else (led.id, led.epoch)
        self.voting.follow_lease(shard_id, epoch, self.now_ms())

    def join(self, other: Process) -> None:
        """A new member becomes one of the cluster of `other`."""
        records, registers = other.half()
        decided = {news.name: as_value(news) for news in registers if news.name != "voters"}
        self.joined = True
        self.voting.move_to(other.voting.voter_set, decided)
        self._follow_registers()
        self.detector.merge(records, other.id, self.now_ms())
        self.detector.announce(self.now_ms())
        self.settle()

    def found(self, shard_id: str) -> None:
        """Be the first primary of a new shard."""
        self.node.cluster.election.found(shard_id)
        self.update_self(shard_id=shard_id)
        self.ask(shard_register(shard_id), founding(self.id, shard_id, 1))

    def ask(self, register: str, change: Change) -> None:
        """Propose, and never mind what comes of it."""

        async def do() -> None:
            try:
                await self.propose(register, change)
            except RegisterError as error:
                self.events.trace(f"{self.life} changed nothing in {register}: {type(error).__name__}")

        run_task(do())
        self.settle()

    def be_given_voters(self, voters: VoterSet) -> None:
        self.joined = True
        self.voting.move_to(voters, {})
        self._follow_registers()
