"""One life of a member under virtual time: the real core of gossip, and the node that runs on it.

Where gossip/service.py has sockets, timers and a state file, this has datagrams, timers and a disk of the
simulator's; what is done with them, and in which order, the core says (gossip/participant.py). The data side
is node.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final

from chaos.sim.checkers.reigns import Written
from chaos.sim.clock import Clock
from chaos.sim.events import Events
from chaos.sim.histories import Key
from chaos.sim.node import Node, Timer
from chaos.sim.streams import End
from chaos.sim.tasks import Pending, run_task
from gossip.actions import (
    Announce,
    CheckPort,
    Concluded,
    Deliver,
    ExchangeWith,
    FetchFrom,
    HalfWay,
    MemberChanged,
    Persist,
    RolledBack,
    Send,
)
from gossip.config import GossipConfig
from gossip.exchange import as_value
from gossip.members import Status
from gossip.membership import Membership
from gossip.messages import Address, Envelope, LeaseRelease, Meta, Record, RegisterNews
from gossip.participant import Action, Participant
from gossip.past import Past
from gossip.register import Change, Learned, Refused, RegisterError
from gossip.service import Statistics
from gossip.topology import SHARD_PREFIX, ShardView, shard_register
from gossip.votes import VOTERS, Plain, Value, VoterSet
from node.config import Config
from node.slot_changes import founding

if TYPE_CHECKING:
    from chaos.sim.cluster import Cluster, Machine

CLUSTER_ID: Final = "c" * 40
DISK_MS: Final = (1, 4)
SAVE_AGAIN_MS: Final = 1_000
ROUNDS_MAX: Final = 1_000
LINKS_TIDY: Final = 64
DATAGRAMS: Final = (Send, Deliver)


class _Forgetful(Participant):
    """Planted: a release ends whatever its sender was granted."""

    def hear(self, envelope: Envelope, source: Address, now_ms: int) -> None:
        super().hear(envelope, source, now_ms)
        message, granted = envelope.message, self.voting.granted
        if isinstance(message, LeaseRelease) and granted.holder(message.shard_id, now_ms) == envelope.sender:
            del granted._grants[message.shard_id]  # the bug: it may have asked again since


class _Credulous(Participant):
    """Planted: news are believed whatever their version."""

    def learn(self, news: RegisterNews) -> None:
        if news.data is None or news.name == VOTERS:
            super().learn(news)
            return
        value, decided = as_value(news), self.voting.registers.decided
        if decided.get(news.name) != value:
            decided[news.name] = value  # the bug: whatever came last
            self._learned(Learned(news.name, value))


class Process(Membership):
    """One life of a member; also what its node knows as its membership.

    Args:
        life: names it in the trace, like n2/1.
        past: what its disk holds.
        config: parameters of the node.
        bugs: parts that are left out on purpose, so that a checker can be seen to notice.
    """

    def __init__(
        self,
        cluster: Cluster,
        machine: Machine,
        life: str,
        past: Past,
        config: Config,
        bugs: frozenset[str],
    ) -> None:
        self.cluster, self.machine, self.life, self.bugs = cluster, machine, life, bugs
        self.clock: Clock = machine.clock
        self.events: Events = cluster.events
        self.alive = True
        self.joined = past.registers is not None
        now_ms = self.now_ms()
        meta = Meta(
            f"10.0.0.{machine.number + 1}", 7000 + machine.formats, 17000 + machine.formats,
            "node", "", past.shard_id, now_ms, "sim",
        )  # fmt: skip
        self.address: Address = meta.bus_address
        self.client_address: Address = (meta.host, meta.port)
        kinds = {"any-release": _Forgetful, "skip-epoch": _Credulous}
        kind = next((kinds[bug] for bug in kinds if bug in bugs), Participant)
        dice: Random = self.events.dice(f"{life} member")
        super().__init__(kind(past, meta, GossipConfig(), dice, now_ms))
        self._dice = self.events.dice(f"{life} disk")
        self._mail: list[tuple[Envelope, Address]] = []
        self._promised: dict[int, Pending[Value]] = {}
        self._half_ways: dict[int, Pending[None]] = {}
        self._asked = False
        self._acting = False
        self._timer = Timer(self, self.wake)
        self._office: tuple[str, int] | None = None
        self._last_office: tuple[str, int] | None = None
        self._state = ""
        self._links: dict[End, None] = {}
        self._unanswered: dict[End, Written] = {}  # clients' writes whose replies have not left yet
        for name, value in self.core.voting.decided.items():
            self._knows(name, value)
        self.node = Node(self, config, self.events.dice(f"{life} node"))
        self.node.replication.port = meta.port
        if "empty-serves" in bugs and past.shard_id:
            self.node.cluster.election.found(past.shard_id)

    def start(self) -> None:
        self.core.start(self.now_ms())
        self.settle()

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

    # -- its membership, as the node has it ------------------------------------------------------------------

    def now_ms(self) -> int:
        """The machine's monotonic clock."""
        return self.clock.now_ms

    def carry_out(self) -> None:
        """Soon: whatever calls this is part of an event, at whose end all is settled."""
        self._asked = True

    def lease_valid_until_ms(self) -> int:
        return 1 << 62 if "skip-lease" in self.bugs else super().lease_valid_until_ms()

    async def propose(
        self,
        register: str,
        change: Change,
        *,
        timeout_ms: int | None = None,
        half_way: Callable[[], Awaitable[None]] | None = None,
    ) -> Plain:
        """Raises RegisterError, and what `half_way` raises."""
        if "never-stand" in self.bugs and self.office is None and self.cluster.disturbed_ms:
            raise Refused("planted: only who is in office proposes anything")
        stops = half_way is not None
        proposal_id = self.core.propose(register, change, timeout_ms, self.now_ms(), stops=stops)
        outcome = self._promised[proposal_id] = Pending()
        self.carry_out()
        if half_way is not None:
            stop = self._half_ways[proposal_id] = Pending()
            await stop
            try:
                await half_way()
            except BaseException:
                self._promised.pop(proposal_id, None)
                self.core.cancel(proposal_id, self.now_ms())
                self.carry_out()
                raise
            self.core.go_on(proposal_id, self.now_ms())
            self.carry_out()
        return (await outcome).data

    def statistics(self) -> Statistics:
        """Nobody counts datagrams here."""
        detector = self.core.detector
        return Statistics(0, 0, 0, 0, {}, detector.awareness.score, len(detector.news), False)

    # -- time ------------------------------------------------------------------------------------------------

    def at(self, local_ms: int, then: Callable[[], None]) -> None:
        """`then`, when our clock shows so much; unless this life is over, and after a standstill."""
        self.events.at(self.clock.world_ms(local_ms), partial(self.at_once, then))

    def later(self, delay_ms: int, then: Callable[[], None]) -> None:
        """As `at`, from now on."""
        self.events.at(self.events.now_ms + delay_ms, partial(self.at_once, then))

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
            self.core.hear(envelope, source, now_ms)
        self.core.tick(now_ms)
        self.settle(heard_only=True)

    def settle(self, *, heard_only: bool = False) -> None:
        """After each event: carry out what the core wants, tell the node what changed, set the timers.

        Args:
            heard_only: gossip alone had a part in the event. If all that comes of it is datagrams, the data
                side need not be looked at; most events are of that kind.
        """
        if self._acting or not self.alive:
            return
        self._acting = True
        node, core, now_ms = self.node, self.core, self.now_ms()  # time stands still in an event
        for _ in range(ROUNDS_MAX):
            self._asked = acted = False
            for action in core.actions(now_ms):
                if isinstance(action, DATAGRAMS):
                    self.cluster.datagram(self, action.address, action.envelope)
                else:
                    self._act(action)
                    acted = True
            if node.glue_woken or node.replication_woken:
                node.tick()
                heard_only = False
            elif not acted and not self._asked:
                break
            heard_only = heard_only and not acted
        else:
            raise RuntimeError(f"{self.life} keeps waking itself")
        self._acting = False
        if not heard_only:
            node.feed_replicas()
            node.let_replies_leave()
            self._note_office()
        due_ms = core.next_due_ms()
        self._timer.set(due_ms if due_ms > now_ms else now_ms + 1)

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
        if node.glue_woken or node.replication_woken or self._asked:
            self.settle()

    def _note_office(self) -> None:
        """For the trace and the checkers: whoever takes office does so in this moment."""
        election = self.node.cluster.election
        office = (election.shard.id, election.shard.epoch) if election.leads else None
        if office != self._office:
            self._office = office
            if office is not None:
                self._last_office = office
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
            self.cluster.reigns.executes(office[0], self.life, write)

    def answers(self, end: End, reply: bytes, *, held: bool) -> None:
        """A reply is about to leave to a client; at the end of its turn, or later when it was held."""
        write = self._unanswered.pop(end, None)
        if reply.startswith(b"-") or not isinstance(end.peer.note, Key):
            return  # an error, or a replica's greeting
        office = self.office
        if office is None and held:  # it was set free before it stepped down
            office = self._last_office
        end.peer.note = self.cluster.answered(self, office, held=held)
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

    # -- acting ----------------------------------------------------------------------------------------------

    def _act(self, action: Action) -> None:
        if isinstance(action, Persist):
            self._write()
        elif isinstance(action, CheckPort):
            self.cluster.check_port(self, action.address, lambda refused: self._checked(action, refused))
        elif isinstance(action, ExchangeWith):
            self.cluster.over_connection(self, action.address, self._exchanged)
        elif isinstance(action, FetchFrom):
            self.cluster.over_connection(self, action.address, self._fetched)
        elif isinstance(action, Announce):
            if "keep-office" not in self.bugs or self.office is None:
                self.node.cluster.observe()
        elif isinstance(action, HalfWay):
            self._stop(action.proposal_id, None)
        elif isinstance(action, Concluded):
            self._conclude(action)
        elif isinstance(action, RolledBack):
            self.cluster.ends_rolled_back(self, action.ours, action.theirs)
        elif isinstance(action, Learned):
            self._knows(action.register, action.value)
        elif isinstance(action, MemberChanged) and action.after not in (action.before, Status.ALIVE):
            self.events.trace(f"{self.life} holds {self.cluster.name(action.member)} {action.after.value}")

    def _stop(self, proposal_id: int, error: Exception | None) -> None:
        """A proposal is half-way, or has ended before it was."""
        stop = self._half_ways.pop(proposal_id, None)
        if stop is not None and error is None:
            stop.settle(None)
        elif stop is not None and error is not None:
            stop.fail(error)

    def _conclude(self, action: Concluded) -> None:
        self._stop(action.proposal_id, action.error)
        asked = self._promised.pop(action.proposal_id, None)
        if asked is None:
            return  # a read of the member's own accord
        if action.error is not None:
            asked.fail(action.error)
        elif action.value is not None:
            asked.settle(action.value)

    def _knows(self, register: str, value: Value) -> None:
        """For the checkers."""
        if register.startswith(SHARD_PREFIX):
            shard = ShardView.from_data(register.removeprefix(SHARD_PREFIX), value.data)
            name = self.cluster.name
            in_sync = frozenset(map(name, shard.in_sync))
            self.cluster.epochs.knows(
                self.life, shard.id, value.version, shard.epoch, name(shard.primary), in_sync
            )

    def _write(self) -> None:
        """What is to be remembered reaches the disk a little later; nothing of one that has not joined."""
        past = self.core.past() if self.joined else self.machine.disk
        delay_ms = self._dice.randint(*(self.machine.slow_disk or DISK_MS))
        self.later(delay_ms, partial(self._written, past))

    def _written(self, past: Past) -> None:
        if self.machine.disk_fails:
            self.later(SAVE_AGAIN_MS, partial(self._written, past))
            return
        self.machine.write(past)
        self.core.persisted(self.now_ms())
        self.settle()

    def _checked(self, check: CheckPort, refused: bool) -> None:
        self.core.checked(check, refused, self.now_ms())
        self.settle()

    def take(self, teller: str, records: tuple[Record, ...], registers: tuple[RegisterNews, ...]) -> None:
        """The other half of a state exchange."""
        self.core.take(teller, records, registers, self.now_ms())
        self.settle()

    def _exchanged(self, other: Process) -> None:
        ours, theirs = self.core.half(), other.core.half()
        other.take(self.id, *ours)
        self.take(other.id, *theirs)

    def _fetched(self, other: Process) -> None:
        self.take(other.id, (), other.core.half()[1])

    # -- what the scenario has it do -------------------------------------------------------------------------

    def join(self, other: Process) -> None:
        """A new member becomes one of the cluster of `other`."""
        records, registers = other.core.half()
        decided = {news.name: as_value(news) for news in registers if news.name != VOTERS}
        self.enter(other.core.voting.voter_set, records, decided)
        self.settle()

    def enter(self, voters: VoterSet, records: tuple[Record, ...], decided: dict[str, Value]) -> None:
        """It is a member of the cluster that these are of."""
        self.joined = True
        self.core.move(CLUSTER_ID, records, voters, decided, self.now_ms())

    def change_voters(self, voters: tuple[str, ...]) -> None:
        """Propose these instead of those we know, and never mind what comes of it."""
        self.core.change_voters(voters, self.core.voting.voter_set.version, self.now_ms())
        self.settle()

    def leave(self) -> None:
        """Say farewell; the process is to end soon."""
        self.core.leave(self.now_ms())
        self.settle()

    def drop(self, member_id: str) -> None:
        """CLUSTER FORGET."""
        self.forget(member_id)
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
