"""The shell: sockets, timers, the state file and tasks around the cores of this room.

    UDP socket --decode--> Detector --actions--> UDP socket, port checks, state exchanges
                  |          ^ news
                  +------> Voting (registers, leases) --actions--> disk first, then messages, then news
    TCP listener --------> Conversations: meetings, exchanges, registers, rounds too big for a datagram

One task reads the UDP socket and drives the timers of all cores, in that order: what waits in the socket is
heard before anything is declared missing. One task carries out the actions of the registers in order, with
the state file written before whatever depends on it. Connections, checks and exchanges are tasks of the same
nursery, each kind under a limiter.

What the cluster looks like is published as immutable `Topology` snapshots; `wait_changed` wakes whoever
follows.
"""

import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Final

import trio

from gossip import meeting
from gossip.beat import on_beat
from gossip.config import GossipConfig
from gossip.conversations import Conversations, MeetRefused
from gossip.conversations import Ties as ConversationTies
from gossip.detector import (
    Action,
    CheckPort,
    Detector,
    ExchangeWith,
    FetchFrom,
    IncarnationRaised,
    MemberChanged,
    RegisterHeard,
    Send,
)
from gossip.errors import PeerError
from gossip.exchange import as_news, as_value, half
from gossip.members import PRESENT, Status
from gossip.memory import Memory, content
from gossip.messages import (
    INTEGER_MAX,
    Address,
    Codec,
    Envelope,
    Exchange,
    LeaseGrant,
    LeaseRelease,
    LeaseRequest,
    Meta,
    Record,
    RegisterNews,
    RegisterRound,
)
from gossip.register import Change, NoMajority, Refused, RegisterError
from gossip.sealing import PLAIN, Keyring, Seal
from gossip.topology import Topology
from gossip.transport import Datagrams, resolve
from gossip.views import build_topology, check_content, shards
from gossip.voters import VoterPolicy
from gossip.votes import Message, MessageError, Plain, Value, VoterSet
from gossip.voting import Ties as VotingTies
from gossip.voting import Voting

__all__ = [
    "GossipConfig",
    "Link",
    "MeetRefused",
    "NoMajority",
    "Refused",
    "RegisterError",
    "SelfMeta",
    "Service",
    "Statistics",
]

BUS_PORT_OFFSET: Final = 10_000
DATAGRAMS_PER_TURN: Final = 64  # about 4 ms of work
TURNS_MAX: Final = 16  # then the timers have their turn though more is waiting
LOG_PAUSE_MS: Final = 10_000
CLOSE_TIMEOUT_MS: Final = 2_000
TIMER_SLACK_MS: Final = 20
"""Timers due this soon fire with whatever woke us: keeps the wake-ups of an idle member near its packets."""
GATHER_MS: Final = 8
"""After asking others something that can wait we sleep so long: their answers then cost one wake-up, not one
each.
"""
KNOWN_TRIED_AT_START: Final = 3

_log = logging.getLogger("grapevine.gossip")


@dataclass(frozen=True, slots=True)
class SelfMeta:
    """What a process says about itself when it starts.

    Attributes:
        host: address that members and clients use; a name is resolved once, when the service starts.
        port: client port. bus_port: 0 stands for port + 10000, as Redis has it.
        bind: local address to listen at; '' for `host`.
        kind: 'node' or 'router'. zone: failure domain, '' when unknown. shard_id: '' when it serves none.
        software: version, for people.
    """

    host: str
    port: int
    kind: str = "node"
    zone: str = ""
    shard_id: str = ""
    software: str = ""
    bind: str = ""
    bus_port: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """How we stand with one member. There are no standing connections; this is what replaces them.

    Attributes:
        heard_ms: when anything of it last came directly, on the clock of `Service.now_ms`; 0 when never.
        answered_ms: when it last completed a round trip with us; 0 when never.
    """

    member_id: str
    address: Address
    status: str
    heard_ms: int
    answered_ms: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts since the start.

    Attributes:
        dropped: by reason: those of PeerError are peers' faults, 'send' means one of ours that was too big or
            came while the disk was far behind.
        sealed: what we send is.
        awareness: our own health score, 0 is healthy. news_waiting: pieces of news not yet passed on enough.
    """

    datagrams_in: int
    datagrams_out: int
    bytes_in: int
    bytes_out: int
    dropped: Mapping[str, int]
    awareness: int
    news_waiting: int
    sealed: bool


def boottime_ms() -> int:
    """The clock of this room: monotonic, and it counts while the machine
    sleeps, so that a lease ends then too.
    """
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class Service:
    """One member of a cluster: the public face of the gossip room.

    Create it, start `run` with `nursery.start`, read `topology`, await `wait_changed`, change things with
    `propose`. All methods belong to the trio thread.

    Args:
        config: timings and caps.
        me: what we tell others about ourselves. In a directory that was used before, id, cluster id,
            incarnation and everything known come from its state file; host and ports are always taken from
            here.
        directory: ours alone while the object lives (locked); holds grapevine-state.msgpack.
        rng: dice of the cores. The ids of a first start come from the operating system instead.
        join: `(host, CLIENT port)` of members to join through. Tried in turn until one takes us in, or until
            anybody of the cluster we belong to already speaks to us.
        keyring: with what messages are sealed; see `use_keys`.
    Raises:
        StateError: the directory or the state file cannot be used; the text names it and says what to do.
    """

    def __init__(
        self,
        config: GossipConfig,
        me: SelfMeta,
        directory: Path,
        rng: Random,
        *,
        join: Iterable[tuple[str, int]] = (),
        keyring: Keyring = PLAIN,
    ) -> None:
        self.config = config
        self.join = tuple(join)
        self.join_error: str | None = None
        """Why joining was refused, if it was; it is not tried again then."""
        self._me = me
        self._rng = rng
        self._memory = Memory(directory)
        past, now_ms = self._memory.past, boottime_ms()
        self._id = past.member_id
        self._seal = Seal(secrets.token_bytes)
        self._seal.use(keyring)
        self._codec = Codec(past.cluster_id, self._seal)
        self._meta = Meta(
            host=me.host,
            port=me.port,
            bus_port=me.bus_port or me.port + BUS_PORT_OFFSET,
            kind=me.kind,
            zone=me.zone,
            shard_id=me.shard_id or past.shard_id,
            started_ms=time.time_ns() // 1_000_000,
            software=me.software,
        )
        self._detector = Detector(
            self._id, self._meta, past.incarnation + 1, config, Random(rng.getrandbits(64)), now_ms
        )
        self._voting = Voting(
            self._id,
            config,
            Random(rng.getrandbits(64)),
            VotingTies(
                now_ms=boottime_ms,
                save=self._save_surely,
                tell=self._tell,
                learned=self._learned,
                settled=self._carry_out,
                is_gone=self._found_gone,
            ),
            0 if past.fresh else now_ms + max(past.lease_ms, config.lease_ms),
        )
        try:
            if past.registers is not None:
                self._voting.restore(past.registers)
        except MessageError as error:
            self._memory.close()
            raise self._memory.unusable(str(error)) from error
        self._detector.merge(past.members, self._id, now_ms)
        self._detector.actions()  # nobody follows yet
        self._datagrams: Datagrams | None = None
        self._conversations: Conversations | None = None
        self._nap = trio.CancelScope()
        self._changed = trio.Event()
        self._left = False
        self._lease_wanted = True
        self._company = False
        """Some other member of our cluster spoke to us since we started."""
        self._dropped: Counter[str] = Counter()
        self._logged_ms: dict[str, int] = {}
        self._counts: Counter[str] = Counter()
        self._vitals_revision = self._detector.vitals_revision
        self._stale = False
        self._follow_registers()
        self._topology = self._build(None, 1)

    # -- what others read -------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Our member id, 40 hex characters; the same after a restart in the same directory."""
        return self._id

    @property
    def cluster_id(self) -> str:
        """Changes once at most: when we, empty and alone, join another cluster."""
        return self._codec.cluster

    @property
    def bus_port(self) -> int:
        return self._meta.bus_port

    @property
    def topology(self) -> Topology:
        """The newest snapshot. Offsets in it are as fresh as the last packets; they alone do not raise its
        version.

        Cost: nothing, unless an offset moved since the last call (then a copy of the member table).
        """
        if self._vitals_revision != self._detector.vitals_revision:
            self._vitals_revision = self._detector.vitals_revision
            self._topology = self._build(self._topology, self._topology.version)
        return self._topology

    async def wait_changed(self, version: int) -> Topology:
        """Returns the newest topology as soon as its version exceeds `version` (at once, if it does already).

        Members, their status and meta, shards, voters and slot ranges count as changes; offsets do not.
        Cancellation leaves nothing behind. A checkpoint.
        """
        await trio.lowlevel.checkpoint()
        while self._topology.version <= version:
            await self._changed.wait()
        return self.topology

    @staticmethod
    def now_ms() -> int:
        """The clock of every `_ms` figure here: CLOCK_BOOTTIME."""
        return boottime_ms()

    def lease_valid_until_ms(self) -> int:
        """While `now_ms()` is below this, we may serve as primary of our shard; 0: never had a lease, or
        lost it.

        Compare again right before replies leave. It moves forward about every lease_ms * 2 / 5, and falls to
        0 when the shard's register names somebody else or a newer epoch of ours has not been granted yet.
        Constant time.
        """
        return self._voting.held.valid_until_ms

    def on_lease(self, call: Callable[[], None]) -> None:
        """`call` from now on whenever `lease_valid_until_ms` moved. It may look, and change nothing here."""
        self._voting.on_lease = call

    @property
    def lease_wanted(self) -> bool:
        """Whether we ask for leases when the register names us primary. True from the start; set it to False
        while our data is not in place, or to stop serving. Takes effect at once.
        """
        return self._lease_wanted

    @lease_wanted.setter
    def lease_wanted(self, wanted: bool) -> None:
        self._lease_wanted = wanted
        self._follow_lease()

    def majority_heard_ms(self) -> int:
        """When a majority of the voters was certainly there, 0 when never: tells whether we sit in a
        minority.

        For members without a lease. Evidence passes from member to member with every packet (each says how
        old its own is), so it is fresh to within some hundred ms in a cluster of any size, and grows old in
        a minority. A hint for routing: packets that waited while we stood still count as new. A primary goes
        by its lease.
        """
        self._note_majority()
        return self._detector.majority_ms

    def _note_majority(self) -> None:
        """What we know at first hand: grants of our lease, and which voters spoke to us."""
        voters = self._voting.voter_set
        self._detector.majority_there(self._voting.held.majority_granted_ms())
        heard: list[tuple[int, str]] = []
        for voter in voters.everyone():
            listed = self._detector.members.get(voter)
            if voter == self._id:
                heard.append((-boottime_ms(), voter))
            elif listed is not None and listed.status in PRESENT:
                heard.append((-listed.heard_ms, voter))
        present: list[str] = []
        for since_ms, voter in sorted(heard):
            present.append(voter)
            if voters.has_quorum(present):
                self._detector.majority_there(-since_ms)
                return

    def failure_reports(self, member_id: str) -> int:
        """How many members accuse `member_id` at this moment (CLUSTER COUNT-FAILURE-REPORTS)."""
        return len(self.accusers(member_id))

    def accusers(self, member_id: str) -> tuple[str, ...]:
        """Who accuses `member_id` at this moment; empty unless it is suspect."""
        return self._detector.failure_reports(member_id)

    def accepted_by(self, register: str) -> tuple[str, ...]:
        """Whose votes decided our last change of this register; empty when there was none."""
        return self._voting.registers.accepted_by.get(register, ())

    def links(self) -> tuple[Link, ...]:
        """One entry for each listed member but ourselves, in order of arrival."""
        return tuple(
            Link(member.id, member.meta.bus_address, member.status.value, member.heard_ms, member.answered_ms)
            for member in self._detector.members
        )

    def statistics(self) -> Statistics:
        counts = self._counts
        dropped = dict(self._dropped)
        dropped["send"] = dropped.get("send", 0) + self._voting.messages_dropped
        return Statistics(
            datagrams_in=counts["in"],
            datagrams_out=counts["out"],
            bytes_in=counts["bytes_in"],
            bytes_out=counts["bytes_out"],
            dropped=dropped,
            awareness=self._detector.awareness.score,
            news_waiting=len(self._detector.news),
            sealed=self._seal.seals,
        )

    def register(self, name: str) -> Plain:
        """The newest decided content of a register that we know, None when there is none. May be behind the
        majority's; `propose` with an identity change reads what is decided.
        """
        value = self._voting.decided.get(name)
        return None if value is None else value.data

    # -- what others do ---------------------------------------------------------------------------------

    def update_self(
        self, *, shard_id: str | None = None, offset: int | None = None, zone: str | None = None
    ) -> None:
        """Tell the cluster about ourselves. Cheap; call it as often as you like.

        Args:
            shard_id: the shard we belong to, '' for none. Spreads as news at once.
            zone: our failure domain. Spreads as news at once.
            offset: our replication offset. Rides on whatever we send anyway (a few packets a second), so
                others see it late by up to a second or so; -1 stands for no usable data.
        """
        if offset is not None and offset != self._detector.offset:
            self._detector.offset = offset
            self._vitals_revision = -1
        meta = self._meta
        if shard_id is not None:
            meta = replace(meta, shard_id=shard_id)
        if zone is not None:
            meta = replace(meta, zone=zone)
        if meta != self._meta:
            self._meta = meta
            self._memory.unsaved = True
            self._detector.update_self(meta, boottime_ms())
            self._carry_out()

    def use_keys(self, keyring: Keyring) -> None:
        """Seal and open messages with these from now on. To change keys under way see sealing.py."""
        _log.info("gossip keys: %s", keyring)
        self._seal.use(keyring)

    async def propose(self, register: str, change: Change, *, timeout_ms: int | None = None) -> Plain:
        """Change a register by the votes of a majority; returns its decided content.

        Args:
            register: 'slots' or 'shard/<id>'.
            change: from the present content (None when never written) to the next, as plain data (maps with
                str keys, tuples or lists, str, int, bool, None). Pure: it may run several times, also on a
                value that already holds its own effect, which it must recognise and return unchanged. To
                decline it raises `Refused("why")`, which comes out of here: not applied.
            timeout_ms: patience over all attempts; None for propose_timeout_ms.
        Raises:
            Refused: not applied; the change declined.
            NoMajority: too few voters agreed in time. Its `unknown` tells "not applied" from "unknown whether
                applied"; its text names the voters and what each said.
        Cancelled: the change may or may not be decided.
        """
        return (await self._voting.propose(register, change, timeout_ms)).data

    async def change_voters(self, voters: tuple[str, ...], expected_version: int) -> VoterSet:
        """Change the voter set by hand. Normally the members see to that themselves.

        Args:
            expected_version: of the set that the wish was derived from (`topology.voter_set.version`).
        Raises: as `propose`.
        """
        return VoterSet.from_value(await self._voting.change_voters(voters, expected_version))

    def report_broken(self, member_id: str, refused: bool = False) -> None:
        """A connection to `member_id` was refused or reset, or its link fell silent: find out now.

        Probes it and tries its bus port at once. If that refuses connections the voters hear of it, each
        tries
        for itself, and once a majority was refused the member is dead, without waiting for a suspicion:
            within
        some tens of ms on one machine. If the port answers, the ordinary probe decides. Harmless when wrong;
        repeats within 40 ms are ignored. `refused` is welcome but not believed: we try for ourselves.
        """
        del refused  # either kind of break leads to the same check
        self._detector.report_broken(member_id, boottime_ms())
        self._carry_out()

    def forget(self, member_id: str) -> bool:
        """Drop a member from our list and ignore what is said about it for a minute (CLUSTER FORGET; each
        member must be told, as there). False when it was not listed. Registers that name it are not changed.
        """
        done = self._detector.forget(member_id, boottime_ms())
        self._carry_out()
        return done

    async def leave(self) -> None:
        """Leave the cluster for good: say so to the voters and some others at once, then keep quiet.

        Others see 'left' within milliseconds, so replicas need not wait for a suspicion. For a restart do not
        call this, just end `run`. Give up a primary's role before. After this the service answers nothing.
        """
        self._detector.leave(boottime_ms())
        self._carry_out()
        await trio.sleep(2 * self.config.gossip_interval_ms / 1000)
        self._left = True

    def release_lease(self) -> None:
        """Stop serving now and tell the voters, so that a planned successor need not wait for our lease to
        end.

        Sets `lease_wanted` to False; set it to True again to take part anew.
        """
        self._lease_wanted = False
        message = self._voting.release(boottime_ms())
        if message is not None:
            envelope = self._detector.envelope(message)
            for voter in self._voting.voter_set.everyone():
                self._send_to(voter, envelope)

    async def meet(self, host: str, bus_port: int) -> str:
        """Make our cluster and that of the member at `host:bus_port` one; returns that member's id.

        Whoever owns no slots and is alone takes the other's cluster id; when neither is, it is refused.

        Raises:
            MeetRefused: two clusters that must not be merged; names both.
            OSError, trio.TooSlowError: nobody there, or no answer in time.
            PeerError: somebody there, but no Grapevine member of our version.
        """
        if self._conversations is None:
            raise OSError("the cluster bus is not running: start the service first")
        return await self._conversations.meet((await resolve(host), bus_port))

    # -- running ----------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Take part in the cluster until cancelled. Start it with `nursery.start`: started means bound and
        ready.

        Starts with the bus port. Saves the state file on the way out (within two seconds) and releases the
        directory; the object cannot be run again.

        Raises:
            OSError: the bus port cannot be bound; names the address.
            StateError: the state file cannot be written at the start.
        """
        try:
            host = await resolve(self._me.host)
            self._meta = replace(self._meta, host=host)
            listeners = await self._bind(self._me.bind or host)
            try:
                await self._memory.save(self._state)
                self._detector.update_self(self._meta, boottime_ms())
                self._detector.announce(boottime_ms())
                async with trio.open_nursery() as nursery:
                    self._conversations = Conversations(
                        self.config, self._conversation_ties(), Random(self._rng.getrandbits(64)), nursery
                    )
                    nursery.start_soon(self._drive)
                    nursery.start_soon(self._voting.run)
                    nursery.start_soon(self._maintain)
                    nursery.start_soon(self._join)
                    nursery.start_soon(trio.serve_listeners, self._conversations.converse, listeners)
                    self._carry_out()
                    self._publish()
                    task_status.started(self._meta.bus_port)
            finally:
                self._conversations = None
                if self._datagrams is not None:
                    self._datagrams.close()
                    self._datagrams = None
                with trio.move_on_after(CLOSE_TIMEOUT_MS / 1000, shield=True):
                    for listener in listeners:
                        await listener.aclose()
                    await self._memory.save(self._state)
        finally:
            self._memory.close()

    async def _bind(self, bind: str) -> list[trio.SocketListener]:
        port = self._meta.bus_port
        listeners: list[trio.SocketListener] = []
        try:
            listeners = await trio.open_tcp_listeners(port, host=bind)
            self._datagrams = Datagrams(bind, port)
        except OSError as error:
            for listener in listeners:
                await listener.aclose()
            raise OSError(
                error.errno,
                f"cannot bind the cluster bus to {bind}:{port} ({error.strerror}): choose another port",
            ) from error
        return listeners

    def _conversation_ties(self) -> ConversationTies:
        return ConversationTies(
            codec=self._codec,
            speak=self._detector.envelope,
            half=self._half,
            take=self._take,
            standing=self._standing,
            know=lambda member: self._detector.members.get(member) is not None,
            wait_changed=self._wait_next_change,
            move=self._move,
            hear=self._hear_frame,
            drop=self._drop,
        )

    async def _drive(self) -> None:
        """Reads the UDP socket and drives every timer. Messages first, then the clock."""
        datagrams = self._datagrams
        assert datagrams is not None
        while True:
            wait_ms = self._next_due_ms() - boottime_ms()
            if wait_ms > 0:
                self._nap = trio.CancelScope(deadline=trio.current_time() + wait_ms / 1000)
                with self._nap:
                    await datagrams.wait_readable()
            else:
                await trio.lowlevel.checkpoint()
            if self._left:
                await trio.sleep_forever()
            await self._drain(datagrams)
            if self._fire(datagrams) and self._quiet():
                await trio.sleep(GATHER_MS / 1000)
                await self._drain(datagrams)
                self._carry_out()

    def _fire(self, datagrams: Datagrams) -> bool:
        """Lets every core do what is due. True when others were asked something.

        What is due in a moment shares this wake-up: waking costs more than anything done here.
        """
        now_ms = boottime_ms()
        soon_ms = now_ms + TIMER_SLACK_MS
        sent_before = self._counts["out"]
        if datagrams.unreachable:
            gone, datagrams.unreachable = datagrams.unreachable, []
            for address in dict.fromkeys(gone):
                self._detector.datagram_refused(address, now_ms)
        due_ms = self._detector.next_due_ms()
        if due_ms <= soon_ms:
            self._note_majority()
            self._detector.tick(max(now_ms, due_ms))
        self._voting.tick(now_ms)
        for primary in self._voting.granted.silences(now_ms):
            self._detector.report_silent(primary, now_ms)
        renewal = self._voting.renewals(now_ms, TIMER_SLACK_MS)
        if renewal is not None:
            envelope = self._detector.envelope(renewal[0])
            for voter in renewal[1]:
                self._send_to(voter, envelope)
        self._carry_out()
        return self._counts["out"] != sent_before

    def _quiet(self) -> bool:
        """Whether nothing goes on here for which a few ms matter."""
        voting, now_ms = self._voting, boottime_ms()
        if voting.held.shard_id and voting.held.valid_until_ms < now_ms + self.config.lease_ms // 4:
            return False
        return self._detector.quiet and voting.registers.proposal_count == 0

    async def _drain(self, datagrams: Datagrams) -> None:
        """Hear what waits in the socket, in turns so that a flood does not keep clients waiting."""
        for _ in range(TURNS_MAX):
            count = 0
            for data, source in datagrams.receive(self.config.datagram_bytes_max, DATAGRAMS_PER_TURN):
                self._hear_datagram(data, source)
                count += 1
            if count < DATAGRAMS_PER_TURN:
                return
            await trio.lowlevel.checkpoint()

    def _next_due_ms(self) -> int:
        detector_ms, voting_ms = self._detector.next_due_ms(), self._voting.next_due_ms()
        return detector_ms if voting_ms is None else min(detector_ms, voting_ms)

    # -- hearing ----------------------------------------------------------------------------------------

    def _hear_datagram(self, data: bytes, source: Address) -> None:
        self._counts["in"] += 1
        self._counts["bytes_in"] += len(data)
        try:
            self._hear(self._codec.decode(data, self.config.datagram_bytes_max), source)
        except PeerError as error:
            self._drop(error.reason, source, str(error))

    def _hear_frame(self, envelope: Envelope, source: Address) -> None:
        self._hear(envelope, source)
        self._carry_out()

    def _hear(self, envelope: Envelope, source: Address) -> None:
        """A message of our cluster, by either way. Raises PeerError when its content is no good."""
        now_ms = boottime_ms()
        self._detector.receive(envelope, source, now_ms)
        message, sender = envelope.message, envelope.sender
        if sender == self._id:
            return
        self._company = True
        if isinstance(message, LeaseRequest):
            answer = self._voting.answer(message, sender, now_ms)
            self._send(source, self._detector.envelope(answer))
        elif isinstance(message, LeaseGrant):
            self._detector.answered(sender, now_ms)
            self._voting.hear_grant(message, sender, now_ms)
        elif isinstance(message, LeaseRelease):
            self._voting.granted.release(message.shard_id, sender, message.epoch)
        elif isinstance(message, RegisterRound):
            self._voting.hear(sender, message.payload)

    def _drop(self, reason: str, source: Address, detail: str) -> None:
        """Count what a peer did wrong; tell about it now and then."""
        self._dropped[reason] += 1
        now_ms = boottime_ms()
        if now_ms - self._logged_ms.get(reason, -LOG_PAUSE_MS) >= LOG_PAUSE_MS:
            self._logged_ms[reason] = now_ms
            count = self._dropped[reason]
            _log.info("dropped a message from %s:%s (%s); %d so far for this", *source[:2], detail, count)

    def _take(self, teller: str, records: tuple[Record, ...], registers: tuple[RegisterNews, ...]) -> None:
        """The other half of an exchange."""
        self._company = self._company or teller != self._id
        for news in registers:
            self._learn(news)
        self._detector.merge(records, teller, boottime_ms())
        self._carry_out()

    def _learn(self, news: RegisterNews) -> None:
        """A decided value from a peer. A value that makes no sense is the peer's fault and dropped."""
        if news.data is None:
            return  # too big to ride along; the sender's sum of versions makes us fetch it
        try:
            value = as_value(news)
            check_content(news.name, value)
            newer = self._voting.learn(news.name, value)
        except MessageError as error:
            self._drop("malformed", ("news", 0), str(error))
            return
        if newer:
            self._follow_registers()  # so that the same news does not make us fetch what we hold

    # -- acting -----------------------------------------------------------------------------------------

    def _carry_out(self) -> None:
        """Do what the detector wants done, then tell those who wait for changes."""
        conversations = self._conversations
        if conversations is None:
            return
        actions = self._detector.actions()
        while actions:
            for action in actions:
                self._act(action, conversations)
            actions = self._detector.actions()
        if self._stale:
            self._publish()
        self._shorten_nap()

    def _act(self, action: Action, conversations: Conversations) -> None:
        if isinstance(action, Send):
            self._send(action.address, action.envelope)
        elif isinstance(action, MemberChanged):
            self._stale = self._memory.unsaved = True
            if action.before is not action.after:
                _log.info("member %s: %s -> %s", action.member, action.before.value, action.after.value)
        elif isinstance(action, RegisterHeard):
            self._learn(action.news)
        elif isinstance(action, FetchFrom):
            if action.registers_sum > self._detector.registers_sum:
                conversations.fetch_soon(action.address)
        elif isinstance(action, ExchangeWith):
            conversations.exchange_soon(action.address)
        elif isinstance(action, CheckPort):
            conversations.check_soon(action.address, lambda refused: self._checked(action, refused))
        else:
            assert isinstance(action, IncarnationRaised)
            self._stale = self._memory.unsaved = True

    def _checked(self, check: CheckPort, refused: bool) -> None:
        self._detector.checked(check.member, check.incarnation, refused, boottime_ms())
        self._carry_out()

    def _send(self, address: Address, envelope: Envelope) -> None:
        if self._datagrams is None:
            return
        data = self._codec.encode(envelope)
        if len(data) > self.config.datagram_bytes_max:
            self._dropped["send"] += 1
            return
        self._post(data, address)

    def _post(self, data: bytes, address: Address) -> None:
        if self._datagrams is not None:
            self._counts["out"] += 1
            self._counts["bytes_out"] += len(data)
            self._datagrams.send(data, address)

    def _send_to(self, member: str, envelope: Envelope) -> None:
        listed = self._detector.members.get(member)
        if listed is not None:
            self._send(listed.meta.bus_address, envelope)

    def _tell(self, member: str, message: Message) -> None:
        """A register message: by datagram when it fits, else over TCP."""
        listed, conversations = self._detector.members.get(member), self._conversations
        if listed is None or conversations is None:
            return
        envelope = self._detector.envelope(RegisterRound(message.to_wire()))
        data = self._codec.encode(envelope)
        if len(data) <= self.config.datagram_bytes_max:
            self._post(data, listed.meta.bus_address)
        else:
            frame = self._codec.encode(envelope, frame=True)
            conversations.deliver_soon(frame, listed.meta.bus_address)

    # -- what the registers say -------------------------------------------------------------------------

    def _learned(self, name: str, value: Value) -> None:
        """A newer decided value, learned or decided by ourselves: pass it on."""
        self._memory.unsaved = True
        self._follow_registers()
        self._detector.spread_register(RegisterNews(name, value.version, value.data), boottime_ms())

    def _follow_registers(self) -> None:
        """Tell the detector what the registers hold now; the followers hear of it with the next snapshot."""
        decided = self._voting.decided
        found = shards(decided)
        named = dict.fromkeys(
            member for shard in found.values() for member in (shard.primary, *shard.in_sync)
        )
        named.update(dict.fromkeys(self._voting.voter_set.everyone()))
        self._detector.set_decided(
            self._voting.voter_set.everyone(),
            min(INTEGER_MAX, sum(value.version for value in decided.values())),
            max((shard.epoch for shard in found.values()), default=0),
            named.__contains__,
        )
        self._stale = True

    def _publish(self) -> None:
        """A new snapshot for everybody who follows, and the lease that goes with it."""
        self._stale = False
        self._vitals_revision = self._detector.vitals_revision
        self._topology = self._build(self._topology, self._topology.version + 1)
        self._follow_lease()
        self._changed.set()
        self._changed = trio.Event()

    def _follow_lease(self) -> None:
        """Want a lease for the shard that the registers let us lead, unless told otherwise."""
        led = self._topology.shard_led_by(self._id) if self._lease_wanted else None
        shard_id, epoch = ("", 0) if led is None else (led.id, led.epoch)
        self._voting.follow_lease(shard_id, epoch, boottime_ms())
        self._shorten_nap()

    def _shorten_nap(self) -> None:
        """The driving task may sleep beyond a timer that was just set; its deadline moves while it sleeps."""
        if self._conversations is None:
            return
        due_s = trio.current_time() + (self._next_due_ms() - boottime_ms()) / 1000
        self._nap.deadline = min(self._nap.deadline, due_s)

    def _build(self, predecessor: Topology | None, version: int) -> Topology:
        voting = self._voting
        return build_topology(
            self._detector, voting.decided, voting.voter_set, self._codec.cluster, predecessor, version
        )

    async def _wait_next_change(self) -> None:
        await self.wait_changed(self._topology.version)

    # -- the state file ---------------------------------------------------------------------------------

    def _state(self) -> dict[str, Plain]:
        return content(
            self._id,
            self._codec.cluster,
            self._detector.incarnation,
            self._detector.records()[1:],
            self._voting.registers.durable_state(),
            self._meta.shard_id,
            self.config.lease_ms,
        )

    def _found_gone(self, member_id: str) -> bool:
        """Whether we found its port closed. If not, we look, so that the next attempt finds us knowing."""
        if self._detector.has_refused_evidence(member_id):
            return True
        self._detector.check_port(member_id, boottime_ms())
        return False

    async def _save_surely(self) -> None:
        await self._memory.save_surely(self._state)

    # -- looking after the cluster ----------------------------------------------------------------------

    async def _maintain(self) -> None:
        """Saves what can be relearned now and then, and lets the voter set
        grow or heal, one member at a time.
        """
        policy = VoterPolicy(wanted=self.config.voters_wanted)
        saved_ms = boottime_ms()
        while True:
            now_ms = boottime_ms()
            due_ms = on_beat(
                now_ms + self.config.maintenance_interval_ms, self.config.beat_ms, TIMER_SLACK_MS
            )
            await trio.sleep((due_ms - now_ms) / 1000)
            now_ms = boottime_ms()
            if self._memory.unsaved and now_ms - saved_ms >= self.config.save_interval_ms:
                saved_ms = now_ms
                await self._save_surely()
            gone_since_ms = {
                member.id: member.since_ms
                for member in self._detector.members
                if member.status in (Status.DEAD, Status.LEFT)
            }
            await self._voting.tend(self._topology.members, gone_since_ms, policy)

    # -- joining ----------------------------------------------------------------------------------------

    async def _join(self) -> None:
        """Find back to those we knew, or join through the addresses we were
        given, until somebody speaks to us.
        """
        conversations = self._conversations
        assert conversations is not None
        known = [member.meta.bus_address for member in self._detector.members]
        for address in known[:KNOWN_TRIED_AT_START]:
            conversations.exchange_soon(address)
        ours = ((self._me.host, self._me.port), (self._meta.host, self._meta.port))
        seeds = [(host, port + BUS_PORT_OFFSET) for host, port in self.join if (host, port) not in ours]
        self.join_error = await conversations.join(seeds, lambda: self._company)

    def _standing(self) -> meeting.Standing:
        alone = all(member.status is Status.LEFT for member in self._detector.members)
        return meeting.Standing(self._codec.cluster, alone, bool(self._topology.ranges()))

    def _half(self) -> list[Exchange]:
        return half(self._detector.records(), as_news(self._voting.decided))

    async def _move(
        self, cluster_id: str, records: tuple[Record, ...], voters: VoterSet, decided: dict[str, Value]
    ) -> None:
        """Become a member of another cluster. Saved before anybody hears of it."""
        _log.info("joining cluster %s, leaving cluster %s", cluster_id, self._codec.cluster)
        now_ms = boottime_ms()
        self._codec.cluster = cluster_id
        self._voting.move_to(voters, decided)
        self._follow_registers()
        self._detector.merge(records, records[0].member, now_ms)
        self._detector.announce(now_ms)
        await self._save_surely()
        self._carry_out()
