"""The shell: sockets, timers, the state file and tasks around the cores of this room.

    UDP socket --decode--> Detector --actions--> UDP socket, port checks, state exchanges
                  |        LeaseHolder, LeaseVoter
                  +------> Registers --actions--> disk first, then messages, then news to the Detector
    TCP listener --------> meetings, state exchanges, register values and rounds too big for a datagram

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
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Final, TypeAlias

import trio

from gossip import meeting
from gossip.config import GossipConfig
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
from gossip.exchange import CHUNKS_MAX, as_news, as_value, half
from gossip.lease import LeaseHolder, LeaseVoter
from gossip.members import Status
from gossip.messages import (
    Address,
    Codec,
    Envelope,
    Exchange,
    Fetch,
    LeaseGrant,
    LeaseRelease,
    LeaseRequest,
    Meet,
    MeetAnswer,
    Message,
    Meta,
    PeerError,
    Record,
    RegisterNews,
    RegisterRound,
    record_from_plain,
    record_to_plain,
)
from gossip.register import Action as RegisterAction
from gossip.register import (
    Change,
    Decided,
    Failed,
    Learned,
    NoMajority,
    Persist,
    Refused,
    RegisterError,
    Registers,
    Timing,
)
from gossip.register import Send as RegisterSend
from gossip.state import StateDirectory, StateError
from gossip.topology import (
    SHARD_PREFIX,
    SLOTS_REGISTER,
    ShardView,
    Topology,
    ranges_from_data,
)
from gossip.transport import Datagrams, FrameReader, is_refused, resolve, send_frame
from gossip.views import build_topology, check_content, shards
from gossip.voters import VoterPolicy, next_voters
from gossip.votes import VOTERS, MessageError, Plain, Value, VoterSet
from gossip.votes import decode as decode_round

__all__ = [
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
DATAGRAMS_PER_TURN: Final = 256
REGISTER_ACTIONS_MAX: Final = 16_384
LOG_PAUSE_MS: Final = 10_000
JOIN_PAUSE_MS: Final = 250
JOIN_PAUSE_MAX_MS: Final = 2_000
SAVE_RETRY_MS: Final = 500
CLOSE_TIMEOUT_MS: Final = 2_000
ERRANDS_WAITING_MAX: Final = 32
KNOWN_TRIED_AT_START: Final = 3

_Errand: TypeAlias = Callable[[Address], Awaitable[None]]

_log = logging.getLogger("grapevine.gossip")


class TryAgain(Exception):
    """A meeting came at a bad moment: one side is in the middle of another one. Nothing happened."""


class MeetRefused(Exception):
    """The other cluster, or ours, does not want to be merged. The text names both and says what to do."""


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
        heard_ms: when anything of it last came directly, on the clock of `Service.now_ms`.
        answered_ms: when it last completed a round trip with us.
    """

    member_id: str
    address: Address
    status: str
    heard_ms: int
    answered_ms: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts since the start. `dropped` by reason: 'size', 'malformed', 'version', 'cluster', 'type',
    'send'.
    """

    datagrams_in: int
    datagrams_out: int
    bytes_in: int
    bytes_out: int
    dropped: Mapping[str, int]
    awareness: int
    news_waiting: int


@dataclass(slots=True)
class _Pending:
    """Somebody waits for the end of a proposal."""

    done: trio.Event = field(default_factory=trio.Event)
    value: Value | None = None
    error: RegisterError | None = None


def boottime_ms() -> int:
    """The clock of this room: monotonic, and it counts while the machine sleeps, so that a lease ends then
    too.
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
        join: `(host, CLIENT port)` of members to join through. Tried in turn until one takes us in; ignored
            once we belong to a cluster with other members.
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
    ) -> None:
        self.config = config
        self.join = tuple(join)
        self._me = me
        self._rng = rng
        self._state_directory = StateDirectory(directory)
        try:
            state = self._state_directory.load()
            now_ms = boottime_ms()
            fresh = state is None
            if state is None:
                state = {
                    "member_id": secrets.token_hex(20),
                    "cluster_id": secrets.token_hex(20),
                    "incarnation": 0,
                }
            self._id, self._cluster_id, incarnation = _identity(state, self._state_directory.path)
            self._codec = Codec(self._cluster_id)
            self._meta = Meta(
                host=me.host,
                port=me.port,
                bus_port=me.bus_port or me.port + BUS_PORT_OFFSET,
                kind=me.kind,
                zone=me.zone,
                shard_id=me.shard_id,
                started_ms=time.time_ns() // 1_000_000,
                software=me.software,
            )
            self._detector = Detector(
                self._id, self._meta, incarnation + 1, config, Random(rng.getrandbits(64)), now_ms
            )
            self._leases = LeaseVoter(config.lease_ms, 0 if fresh else now_ms + config.lease_ms)
            self._holder = LeaseHolder(config.lease_ms, config.lease_margin_ms)
            self._registers = Registers(
                self._id,
                VoterSet(1, (self._id,)),
                Random(rng.getrandbits(64)),
                timing=Timing(
                    round_timeout_ms=config.round_timeout_ms, proposal_timeout_ms=config.propose_timeout_ms
                ),
                may_change=self._may_change,
            )
            self._restore(state, now_ms)
        except BaseException:
            self._state_directory.close()
            raise
        self.lease_wanted = True
        """False: do not ask for leases though the register names us primary (our data is not in place
        yet).
        """
        self.join_error: str | None = None
        """Why joining was refused, if it was; it is not tried again then."""
        self._datagrams: Datagrams | None = None
        self._nursery: trio.Nursery | None = None
        self._checks = trio.CapacityLimiter(16)
        self._exchanges = trio.CapacityLimiter(8)
        self._connections = trio.CapacityLimiter(config.connections_max)
        self._nap = trio.CancelScope()
        self._register_actions: deque[RegisterAction] = deque()
        self._register_work = trio.Event()
        self._pending: dict[int, _Pending] = {}
        self._saving = trio.Lock()
        self._unsaved = fresh
        self._changed = trio.Event()
        self._stale = False
        self._vitals_revision = self._detector.vitals_revision
        self._dropped: Counter[str] = Counter()
        self._logged_ms: dict[str, int] = {}
        self._counts: Counter[str] = Counter()
        self._left = False
        self._hosting = 0
        """Conversations in which somebody takes our cluster id: until they end we must not give it up."""
        self._moving = False
        """We are taking another cluster's id, or promised to."""
        self._publish_decided()
        self._topology = self._build(None, 1)

    # -- what others read
    # --------------------------------------------------------------------------------------

    @property
    def id(self) -> str:
        """Our member id, 40 hex characters; the same after a restart in the same directory."""
        return self._id

    @property
    def cluster_id(self) -> str:
        """Changes once at most: when we, empty and alone, join another cluster."""
        return self._cluster_id

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

        Compare again right before replies leave. It moves forward about every lease_ms / 3, and falls to 0
        when the shard's register names somebody else or a newer epoch of ours has not been granted yet.
        Constant time.
        """
        return self._holder.valid_until_ms

    def majority_heard_ms(self) -> int:
        """Latest moment since which a majority of the voters has been heard, by any message; 0 when never.

        For members without a lease (replicas, routers): tells whether we sit in a minority.
        """
        heard: list[tuple[int, str]] = []
        now_ms = boottime_ms()
        voters = self._registers.voter_set
        for voter in voters.everyone():
            listed = self._detector.members.get(voter)
            if voter == self._id:
                heard.append((-now_ms, voter))
            elif listed is not None:
                heard.append((-max(listed.heard_ms, listed.answered_ms), voter))
        present: list[str] = []
        for since_ms, voter in sorted(heard):
            present.append(voter)
            if voters.has_quorum(present):
                return -since_ms
        return 0

    def failure_reports(self, member_id: str) -> int:
        """How many members accuse `member_id` at this moment (CLUSTER COUNT-FAILURE-REPORTS)."""
        return len(self._detector.failure_reports(member_id))

    def links(self) -> tuple[Link, ...]:
        """One entry for each listed member but ourselves, in order of arrival."""
        return tuple(
            Link(member.id, member.meta.bus_address, member.status.value, member.heard_ms, member.answered_ms)
            for member in self._detector.members
        )

    def statistics(self) -> Statistics:
        counts = self._counts
        return Statistics(
            datagrams_in=counts["in"],
            datagrams_out=counts["out"],
            bytes_in=counts["bytes_in"],
            bytes_out=counts["bytes_out"],
            dropped=dict(self._dropped),
            awareness=self._detector.awareness.score,
            news_waiting=len(self._detector.news),
        )

    def register(self, name: str) -> Plain:
        """The newest decided value of a register that we know, None when there is none. May be behind the
        majority.
        """
        value = self._registers.decided.get(name)
        return None if value is None else value.data

    # -- what others do
    # ----------------------------------------------------------------------------------------

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
        if offset is not None:
            self._detector.offset = offset
            self._vitals_revision = -1
        meta = self._meta
        if shard_id is not None:
            meta = replace(meta, shard_id=shard_id)
        if zone is not None:
            meta = replace(meta, zone=zone)
        if meta != self._meta:
            self._meta = meta
            self._detector.update_self(meta, boottime_ms())
            self._stale = True
            self._carry_out()

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
        proposal, actions = self._registers.propose(register, change, boottime_ms(), timeout_ms=timeout_ms)
        return (await self._outcome(proposal, actions)).data

    async def change_voters(self, voters: tuple[str, ...], expected_version: int) -> VoterSet:
        """Change the voter set by hand. Normally the members see to that themselves.

        Args:
            expected_version: of the set that the wish was derived from (`topology.voter_set.version`).
        Raises: as `propose`.
        """
        proposal, actions = self._registers.change_voters(voters, expected_version, boottime_ms())
        return VoterSet.from_value(await self._outcome(proposal, actions))

    def report_broken(self, member_id: str, refused: bool = False) -> None:
        """A connection to `member_id` was refused or reset, or its link fell silent: find out now.

        Probes it and tries its bus port at once. If that refuses connections the voters hear of it, each
        tries for
        itself, and once a majority was refused the member is dead, without waiting for a suspicion: within
            some
        tens of ms on one machine. If the port answers, the ordinary probe decides. Harmless when wrong;
        repeats within 40 ms are ignored. `refused` is welcome but not believed: we try for ourselves.
        """
        del refused  # both kinds of break lead to the same check
        self._detector.report_broken(member_id, boottime_ms())
        self._carry_out()

    def forget(self, member_id: str) -> bool:
        """Drop a member from our list and ignore what is said about it for a minute (CLUSTER FORGET, per
        member as there).

        False when it was not listed. Registers that name it are not changed.
        """
        done = self._detector.forget(member_id, boottime_ms())
        self._carry_out()
        return done

    async def leave(self) -> None:
        """Leave the cluster for good: say so to the voters and some others at once, then keep quiet.

        Others see 'left' within milliseconds, so replicas need not wait for a suspicion. For a restart do
        not call this, just end `run`. Give up a primary's role before. After this the service answers
        nothing.
        """
        self._detector.leave(boottime_ms())
        self._carry_out()
        await trio.sleep(2 * self.config.gossip_interval_ms / 1000)
        self._left = True

    def release_lease(self) -> None:
        """Stop serving now and tell the voters, so that a planned successor need not wait for our lease to
        end.

        `lease_wanted` becomes False; set it to True again to take part anew.
        """
        shard_id, epoch = self._holder.shard_id, self._holder.epoch
        self.lease_wanted = False
        self._follow_lease()
        if not shard_id:
            return
        self._leases.release(shard_id, self._id, epoch)
        for voter in self._registers.voter_set.everyone():
            listed = self._detector.members.get(voter)
            if listed is not None:
                self._send(listed.meta.bus_address, self._detector.envelope(LeaseRelease(shard_id, epoch)))

    async def meet(self, host: str, bus_port: int) -> str:
        """Make our cluster and that of the member at `host:bus_port` one; returns that member's id.

        Whoever owns no slots and is alone takes the other's cluster id; when neither is, it is refused.

        Raises:
            MeetRefused: two clusters that must not be merged; names both.
            OSError: nobody there, or no answer in time.
            PeerError: somebody there, but no Grapevine member of our version.
        """
        address = (await resolve(host), bus_port)
        with trio.fail_after(self.config.frame_timeout_ms / 1000):
            while True:
                try:
                    return await self._meet(address)
                except TryAgain as reason:
                    _log.debug("meeting %s:%d: %s", *address, reason)
                    await trio.sleep(JOIN_PAUSE_MS / 1000 * self._rng.random())

    # -- running
    # -----------------------------------------------------------------------------------------------

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
            bind = self._me.bind or host
            self._meta = replace(self._meta, host=host)
            listeners = await self._bind(bind)
            try:
                await self._save()
                self._detector.update_self(self._meta, boottime_ms())
                self._detector.announce(boottime_ms())
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    nursery.start_soon(self._drive)
                    nursery.start_soon(self._settle)
                    nursery.start_soon(self._maintain)
                    nursery.start_soon(self._join)
                    nursery.start_soon(self._serve, listeners)
                    self._carry_out()
                    self._publish()
                    task_status.started(self._meta.bus_port)
            finally:
                self._nursery = None
                if self._datagrams is not None:
                    self._datagrams.close()
                    self._datagrams = None
                with trio.move_on_after(CLOSE_TIMEOUT_MS / 1000, shield=True):
                    for listener in listeners:
                        await listener.aclose()
                    await self._save()
        finally:
            self._state_directory.close()

    async def _bind(self, bind: str) -> list[trio.SocketListener]:
        where = f"{bind}:{self._meta.bus_port}"
        try:
            listeners = await trio.open_tcp_listeners(self._meta.bus_port, host=bind)
        except OSError as error:
            raise OSError(
                error.errno,
                f"cannot bind the cluster bus to TCP {where} ({error.strerror}): choose another port",
            ) from error
        try:
            self._datagrams = Datagrams(bind, self._meta.bus_port)
        except OSError as error:
            for listener in listeners:
                await listener.aclose()
            raise OSError(
                error.errno,
                f"cannot bind the cluster bus to UDP {where} ({error.strerror}): choose another port",
            ) from error
        return listeners

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
            for data, source in datagrams.receive(self.config.datagram_bytes_max, DATAGRAMS_PER_TURN):
                self._hear(data, source)
            now_ms = boottime_ms()
            if datagrams.unreachable:
                gone, datagrams.unreachable = datagrams.unreachable, []
                for address in dict.fromkeys(gone):
                    self._detector.datagram_refused(address, now_ms)
            if self._detector.next_due_ms() <= now_ms:
                self._detector.tick(now_ms)
            self._renew_lease(now_ms)
            wake_ms = self._registers.wake_ms()
            if wake_ms is not None and wake_ms <= now_ms:
                self._queue(self._registers.tick(now_ms))
            self._carry_out()

    def _next_due_ms(self) -> int:
        due_ms = self._detector.next_due_ms()
        lease_ms = self._holder.next_due_ms()
        if lease_ms is not None:
            due_ms = min(due_ms, lease_ms)
        wake_ms = self._registers.wake_ms()
        return due_ms if wake_ms is None else min(due_ms, wake_ms)

    # -- hearing
    # -----------------------------------------------------------------------------------------------

    def _hear(self, data: bytes, source: Address) -> None:
        self._counts["in"] += 1
        self._counts["bytes_in"] += len(data)
        try:
            envelope = self._codec.decode(data, self.config.datagram_bytes_max)
            self._dispatch(envelope, source)
        except PeerError as error:
            self._drop(error.reason, source, str(error))

    def _dispatch(self, envelope: Envelope, source: Address) -> None:
        """A message of our cluster, by either way. Raises PeerError when its content is no good."""
        now_ms = boottime_ms()
        self._detector.receive(envelope, source, now_ms)
        message, sender = envelope.message, envelope.sender
        if sender == self._id:
            return
        if isinstance(message, LeaseRequest):
            self._grant(message, sender, source, now_ms)
        elif isinstance(message, LeaseGrant):
            self._detector.answered(sender, now_ms)
            if message.granted:
                self._holder.granted(sender, message.shard_id, message.epoch, message.sent_ms, now_ms)
        elif isinstance(message, LeaseRelease):
            self._leases.release(message.shard_id, sender, message.epoch)
        elif isinstance(message, RegisterRound):
            try:
                actions = self._registers.receive(sender, decode_round(message.payload), now_ms)
            except MessageError as error:
                raise PeerError("malformed", str(error)) from None
            self._queue(actions)

    def _drop(self, reason: str, source: Address, detail: str) -> None:
        self._dropped[reason] += 1
        now_ms = boottime_ms()
        last_ms = self._logged_ms.get(reason)
        if last_ms is None or now_ms - last_ms >= LOG_PAUSE_MS:
            self._logged_ms[reason] = now_ms
            _log.info(
                "dropped a message from %s:%s (%s); %d so far for this reason",
                *source[:2],
                detail,
                self._dropped[reason],
            )

    # -- acting
    # ------------------------------------------------------------------------------------------------

    def _carry_out(self) -> None:
        """Do what the detector wants done, then tell those who wait for changes."""
        nursery = self._nursery
        if nursery is None:
            return
        actions = self._detector.actions()
        while actions:
            for action in actions:
                self._act(action, nursery)
            actions = self._detector.actions()
        if self._stale:
            self._publish()
        self._shorten_nap()

    def _shorten_nap(self) -> None:
        """Some timer may be due earlier than the driving task sleeps: its deadline can be moved while it
        sleeps.
        """
        self._nap.deadline = min(
            self._nap.deadline, trio.current_time() + (self._next_due_ms() - boottime_ms()) / 1000
        )

    def _act(self, action: Action, nursery: trio.Nursery) -> None:
        if isinstance(action, Send):
            self._send(action.address, action.envelope)
        elif isinstance(action, MemberChanged):
            self._stale = self._unsaved = True
            if action.before is not action.after:
                _log.info("member %s: %s -> %s", action.member, action.before.value, action.after.value)
        elif isinstance(action, RegisterHeard):
            self._learn(action.news)
        elif isinstance(action, FetchFrom):
            if action.registers_sum > self._detector.registers_sum:
                nursery.start_soon(self._limited, self._exchanges, self._fetch, action.address)
        elif isinstance(action, ExchangeWith):
            nursery.start_soon(self._limited, self._exchanges, self._exchange, action.address)
        elif isinstance(action, CheckPort):
            nursery.start_soon(self._check_port, action)
        else:
            assert isinstance(action, IncarnationRaised)
            self._stale = self._unsaved = True

    def _send(self, address: Address, envelope: Envelope) -> None:
        if self._datagrams is None:
            return
        data = self._codec.encode(envelope)
        if len(data) > self.config.datagram_bytes_max:
            self._dropped["send"] += 1
            return
        self._counts["out"] += 1
        self._counts["bytes_out"] += len(data)
        self._datagrams.send(data, address)

    async def _limited(self, limiter: trio.CapacityLimiter, do: _Errand, about: Address) -> None:
        """Run an errand to a peer. Its troubles end here: they are the peer's, and the next occasion will
        come.
        """
        if limiter.statistics().tasks_waiting >= ERRANDS_WAITING_MAX:
            return
        async with limiter:
            try:
                with trio.fail_after(self.config.frame_timeout_ms / 1000):
                    await do(about)
            except PeerError as error:
                self._drop(error.reason, about, str(error))
            except (
                OSError,
                TryAgain,
                trio.TooSlowError,
                trio.BrokenResourceError,
                trio.ClosedResourceError,
            ) as error:
                _log.debug("errand to %s:%s failed: %r", *about, error)
        self._carry_out()

    async def _check_port(self, check: CheckPort) -> None:
        async with self._checks:
            refused = await is_refused(check.address, self.config.connect_timeout_ms)
        if refused is not None:
            self._detector.checked(check.member, check.incarnation, refused, boottime_ms())
            self._carry_out()

    # -- leases
    # ------------------------------------------------------------------------------------------------

    def _grant(self, request: LeaseRequest, sender: str, source: Address, now_ms: int) -> None:
        granted = self._is_voter() and self._leases.ask(
            sender, request.epoch, self._newest_shard(request.shard_id), now_ms
        )
        answer = LeaseGrant(request.shard_id, request.epoch, request.sent_ms, granted)
        self._send(source, self._detector.envelope(answer))

    def _newest_shard(self, shard_id: str) -> ShardView:
        """The shard as decided or as our voter accepted it, whichever is newer."""
        name = SHARD_PREFIX + shard_id
        decided = self._registers.decided.get(name)
        ledger = self._registers.acceptor.ledgers.get(name)
        accepted = None if ledger is None else ledger.accepted
        if decided is None or (accepted is not None and accepted.version > decided.version):
            decided = accepted
        return ShardView.from_data(shard_id, None if decided is None else decided.data)

    def _renew_lease(self, now_ms: int) -> None:
        voters = self._holder.renewals(now_ms)
        if not voters:
            return
        request = LeaseRequest(self._holder.shard_id, self._holder.epoch, now_ms)
        envelope = self._detector.envelope(request)
        for voter in voters:
            listed = self._detector.members.get(voter)
            if voter == self._id:
                if self._leases.ask(self._id, request.epoch, self._newest_shard(request.shard_id), now_ms):
                    self._holder.granted(self._id, request.shard_id, request.epoch, now_ms, now_ms)
            elif listed is not None:
                self._send(listed.meta.bus_address, envelope)

    def _follow_lease(self) -> None:
        """Want a lease for the shard that the registers let us lead, unless told otherwise."""
        led = self._topology.shard_led_by(self._id) if self.lease_wanted else None
        shard_id, epoch = ("", 0) if led is None else (led.id, led.epoch)
        self._holder.serve(shard_id, epoch, self._registers.voter_set, boottime_ms())

    def _may_change(self, register: str, _old: Plain, new: Plain) -> bool | str:
        """Our voter's word on a change: no new primary while another may still be serving by our grant."""
        if not register.startswith(SHARD_PREFIX):
            if register == SLOTS_REGISTER:
                ranges_from_data(new)
            return True
        shard_id = register.removeprefix(SHARD_PREFIX)
        now_ms = boottime_ms()
        before = self._newest_shard(shard_id)
        after = ShardView.from_data(shard_id, new)
        if before.primary in ("", after.primary):
            return True
        holder = self._leases.holder(shard_id, now_ms) or before.primary
        wait_ms = self._leases.wait_ms(shard_id, after.primary, now_ms)
        if wait_ms <= 0 or self._detector.has_refused_evidence(holder):
            return True
        return (
            f"shard {shard_id} epoch {before.epoch}: the lease of primary {holder} may run for {wait_ms} ms"
            " yet, and its port was not found closed from here"
        )

    # -- registers
    # ---------------------------------------------------------------------------------------------

    def _is_voter(self) -> bool:
        return self._registers.is_voter

    def _queue(self, actions: list[RegisterAction]) -> None:
        for action in actions:
            if isinstance(action, RegisterSend) and len(self._register_actions) >= REGISTER_ACTIONS_MAX:
                self._dropped["send"] += 1  # the disk is far behind; losing a message is allowed
                continue
            self._register_actions.append(action)
        if actions:
            self._register_work.set()

    async def _settle(self) -> None:
        """Carries out what the registers want, in order: whatever follows a Persist waits for the disk.

        All that has piled up shares one write, since the state written is the newest, which covers every
        promise made so far. When writing fails nothing leaves, and it is tried again: this member then does
        not vote, which is what a member that cannot remember must do.
        """
        while True:
            await self._register_work.wait()
            self._register_work = trio.Event()
            batch, self._register_actions = self._register_actions, deque()
            if any(isinstance(action, Persist) for action in batch):
                await self._save_surely()
            for action in batch:
                if isinstance(action, RegisterSend):
                    await self._send_round(action)
                elif isinstance(action, Learned):
                    self._unsaved = True
                    self._publish_decided()
                    news = RegisterNews(action.register, action.value.version, action.value.data)
                    self._detector.spread_register(news, boottime_ms())
                elif isinstance(action, Decided):
                    self._finish(action.proposal_id, action.value, None)
                elif isinstance(action, Failed):
                    self._finish(action.proposal_id, None, action.error)
            self._carry_out()

    async def _send_round(self, action: RegisterSend) -> None:
        listed = self._detector.members.get(action.to)
        nursery = self._nursery
        if listed is None or nursery is None:
            return
        envelope = self._detector.envelope(RegisterRound(action.message.to_wire()))
        data = self._codec.encode(envelope)
        if len(data) <= self.config.datagram_bytes_max:
            self._send(listed.meta.bus_address, envelope)
        else:
            nursery.start_soon(
                self._limited, self._exchanges, partial(self._deliver, data), listed.meta.bus_address
            )

    async def _deliver(self, data: bytes, address: Address) -> None:
        async with await self._connect(address) as stream:
            await send_frame(stream, data)

    def _finish(self, proposal_id: int, value: Value | None, error: RegisterError | None) -> None:
        pending = self._pending.pop(proposal_id, None)
        if pending is not None:
            pending.value, pending.error = value, error
            pending.done.set()

    async def _outcome(self, proposal_id: int, actions: list[RegisterAction]) -> Value:
        pending = self._pending[proposal_id] = _Pending()
        self._queue(actions)
        self._shorten_nap()
        try:
            await pending.done.wait()
        finally:
            if self._pending.pop(proposal_id, None) is not None:
                self._queue(self._registers.cancel(proposal_id, boottime_ms()))
        if pending.error is not None:
            raise pending.error
        assert pending.value is not None
        return pending.value

    def _learn(self, news: RegisterNews) -> None:
        """A decided value from a peer. A value that makes no sense is the peer's fault and dropped."""
        if news.data is None:
            return  # too big to ride along; the sender's sum of versions makes us fetch it
        try:
            value = as_value(news)
            check_content(news.name, value)
            actions = self._registers.learn(news.name, value, boottime_ms())
        except MessageError as error:
            self._drop("malformed", ("news", 0), str(error))
            return
        self._queue(actions)
        if actions:
            self._publish_decided()  # so that the same news does not make us fetch what we hold

    def _publish_decided(self) -> None:
        """Tell the detector and the followers what the registers hold now."""
        decided = self._registers.decided
        found = shards(decided)
        named = dict.fromkeys(
            member for shard in found.values() for member in (shard.primary, *shard.in_sync)
        )
        named.update(dict.fromkeys(self._registers.voter_set.everyone()))
        self._detector.set_decided(
            self._registers.voter_set.everyone(),
            sum(value.version for value in decided.values()),
            max((shard.epoch for shard in found.values()), default=0),
            named.__contains__,
        )
        self._stale = True

    def _publish(self) -> None:
        """A new snapshot for everybody who follows."""
        self._stale = False
        self._vitals_revision = self._detector.vitals_revision
        self._topology = self._build(self._topology, self._topology.version + 1)
        self._follow_lease()
        self._changed.set()
        self._changed = trio.Event()

    def _build(self, predecessor: Topology | None, version: int) -> Topology:
        return build_topology(
            self._detector,
            self._registers.decided,
            self._registers.voter_set,
            self._cluster_id,
            predecessor,
            version,
        )

    # -- the state file
    # ----------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Plain]:
        others = tuple(record_to_plain(record) for record in self._detector.records()[1:])
        return {
            "member_id": self._id,
            "cluster_id": self._cluster_id,
            "incarnation": self._detector.incarnation,
            "members": others,
            "registers": self._registers.durable_state(),
        }

    def _restore(self, state: Mapping[str, Plain], now_ms: int) -> None:
        path = self._state_directory.path
        try:
            registers = state.get("registers")
            if isinstance(registers, Mapping):
                self._registers.restore(registers)
            members = state.get("members")
            if isinstance(members, tuple):
                self._detector.merge(tuple(record_from_plain(item) for item in members), self._id, now_ms)
            self._detector.actions()
        except (MessageError, PeerError) as error:
            raise StateError(
                f"the state file {path} holds something unexpected: {error}."
                " Restore it from a copy, or move it away: this member then joins as a new one"
            ) from error

    async def _save(self) -> None:
        async with self._saving:
            state = self._state()
            self._unsaved = False
            try:
                await trio.to_thread.run_sync(self._state_directory.save, state)
            except BaseException:
                self._unsaved = True
                raise

    async def _save_surely(self) -> None:
        while True:
            try:
                await self._save()
            except StateError as error:
                _log.error("%s. This member takes no part in votes until it can", error)
                await trio.sleep(SAVE_RETRY_MS / 1000)
            else:
                return

    # -- looking after the cluster
    # -----------------------------------------------------------------------------

    async def _maintain(self) -> None:
        """Saves what can be relearned now and then, and lets the voter set grow or heal, one member at a
        time.
        """
        policy = VoterPolicy(wanted=self.config.voters_wanted)
        saved_ms = boottime_ms()
        while True:
            await trio.sleep(self.config.maintenance_interval_ms / 1000)
            now_ms = boottime_ms()
            if self._unsaved and now_ms - saved_ms >= self.config.save_interval_ms:
                saved_ms = now_ms
                await self._save_surely()
            if self._speaks_for_voters():
                await self._tend_voters(policy, now_ms)

    def _speaks_for_voters(self) -> bool:
        """Whether we are the voter with the lowest id among those alive."""
        members = self._topology.members
        usable = [voter for voter in self._topology.voters if voter in members and members[voter].usable]
        return bool(usable) and min(usable) == self._id

    async def _tend_voters(self, policy: VoterPolicy, now_ms: int) -> None:
        since_ms = {
            member.id: member.since_ms
            for member in self._detector.members
            if member.status in (Status.DEAD, Status.LEFT)
        }
        current = self._registers.voter_set
        wanted = next_voters(self._topology.members, current, since_ms, now_ms, policy)
        if wanted is None or (wanted == current.voters and not current.joining):
            return
        try:
            await self.change_voters(wanted, current.version)
        except RegisterError as error:
            _log.info("voter set %d stays as it is for now: %s", current.version, error)
        else:
            _log.info("voters are now %s", ", ".join(wanted))

    # -- joining
    # -----------------------------------------------------------------------------------------------

    async def _join(self) -> None:
        """Find back to those we knew, or join through the addresses we were given, until we are not alone."""
        known = [member.meta.bus_address for member in self._detector.members]
        for address in known[:KNOWN_TRIED_AT_START]:
            await self._limited(self._exchanges, self._exchange, address)
        pause_ms = JOIN_PAUSE_MS
        while self.join and len(self._detector.members) == 0:
            for host, port in self.join:
                if (host, port) in ((self._me.host, self._me.port), (self._meta.host, self._meta.port)):
                    continue
                try:
                    await self.meet(host, port + BUS_PORT_OFFSET)
                except MeetRefused as error:
                    self.join_error = str(error)
                    _log.error("cannot join through %s:%d: %s", host, port, error)
                    return
                except (OSError, trio.TooSlowError, PeerError, trio.BrokenResourceError) as error:
                    _log.debug("cannot join through %s:%d yet: %r", host, port, error)
                else:
                    if len(self._detector.members):
                        return
            await trio.sleep(pause_ms / 1000 * (0.5 + self._rng.random()))
            pause_ms = min(JOIN_PAUSE_MAX_MS, pause_ms * 2)

    def _standing(self) -> meeting.Standing:
        others = any(member.status is not Status.LEFT for member in self._detector.members)
        alone = not others and not self._hosting
        return meeting.Standing(self._cluster_id, alone, bool(self._topology.ranges()), self._moving)

    def _my_record(self) -> Record:
        return self._detector.records()[0]

    async def _meet(self, address: Address) -> str:
        ours = self._standing()
        async with await self._connect(address) as stream:
            reader = FrameReader(stream, self.config.frame_bytes_max)
            await self._say(stream, self._codec, Meet(self._my_record(), ours.alone, ours.owns_slots))
            envelope = await self._listen(reader, self._codec)
            answer = envelope.message
            if not isinstance(answer, MeetAnswer):
                raise PeerError("type", f"a meeting was answered with {type(answer).__name__}")
            if envelope.sender == self._id:
                return self._id
            if answer.verdict == meeting.REFUSED:
                raise MeetRefused(answer.text)
            if answer.verdict == meeting.BUSY:
                raise TryAgain(
                    f"the member at {address[0]}:{address[1]} is joining another cluster right now"
                )
            if answer.verdict == meeting.ADOPT_MINE:
                await self._adopt(stream, reader, envelope.cluster)
            elif answer.verdict == meeting.SAME:
                await self._swap(stream, reader, self._codec)
        if answer.verdict == meeting.ADOPTING_YOURS:
            self._hosting += 1  # it takes the cluster id that we have now
            try:
                while self._detector.members.status_of(envelope.sender) is Status.UNKNOWN:
                    await self.wait_changed(self._topology.version)
            finally:
                self._hosting -= 1
        return envelope.sender

    async def _adopt(self, stream: trio.SocketStream, reader: FrameReader, cluster_id: str) -> None:
        """Become a member of `cluster_id`, told by the member at the other end. All or nothing."""
        if self._moving or not self._standing().free:
            raise TryAgain(f"cannot move to cluster {cluster_id} now: busy with another meeting")
        self._moving = True
        try:
            records, registers = await self._fetch_all(stream, reader, Codec(cluster_id))
            decided = {news.name: as_value(news) for news in registers}
            for name, value in decided.items():
                check_content(name, value)
            voters = decided.pop(VOTERS, None)
            if voters is None or not records:
                raise PeerError("malformed", f"cluster {cluster_id} was offered without voters or members")
            if not self._standing().free:
                raise TryAgain(f"cannot move to cluster {cluster_id} now: no longer empty and alone")
            self._move(cluster_id, records, VoterSet.from_value(voters), decided)
        except MessageError as error:
            raise PeerError("malformed", str(error)) from None
        finally:
            self._moving = False
        await self._save_surely()
        self._carry_out()
        await self._swap(
            stream, reader, self._codec
        )  # now as a member: so that the other end knows us at once

    def _move(
        self, cluster_id: str, records: tuple[Record, ...], voters: VoterSet, decided: Mapping[str, Value]
    ) -> None:
        _log.info("joining cluster %s, leaving cluster %s", cluster_id, self._cluster_id)
        now_ms = boottime_ms()
        self._cluster_id = self._codec.cluster = cluster_id
        self._leases = LeaseVoter(self.config.lease_ms, 0)
        self._queue(self._registers.move_to(voters, decided, now_ms))
        self._publish_decided()
        self._detector.merge(records, records[0].member, now_ms)
        self._detector.announce(now_ms)

    # -- conversations over TCP
    # --------------------------------------------------------------------------------

    async def _connect(self, address: Address) -> trio.SocketStream:
        with trio.fail_after(self.config.connect_timeout_ms / 1000):
            return await trio.open_tcp_stream(*address)

    async def _say(self, stream: trio.SocketStream, codec: Codec, message: Message) -> None:
        await send_frame(stream, codec.encode(self._detector.envelope(message)))

    async def _listen(self, reader: FrameReader, codec: Codec) -> Envelope:
        frame = await reader.next()
        if frame is None:
            raise PeerError("malformed", "connection closed instead of an answer")
        return codec.decode(frame, self.config.frame_bytes_max)

    async def _listen_half(
        self, reader: FrameReader, codec: Codec
    ) -> tuple[str, list[Record], list[RegisterNews]]:
        records: list[Record] = []
        registers: list[RegisterNews] = []
        for _ in range(CHUNKS_MAX):
            envelope = await self._listen(reader, codec)
            if not isinstance(envelope.message, Exchange):
                raise PeerError("type", f"an exchange went on with {type(envelope.message).__name__}")
            records.extend(envelope.message.records)
            registers.extend(envelope.message.registers)
            if envelope.message.last:
                return envelope.sender, records, registers
        raise PeerError("size", f"an exchange of more than {CHUNKS_MAX} frames")

    async def _say_half(self, stream: trio.SocketStream, codec: Codec) -> None:
        for chunk in half(self._detector.records(), as_news(self._registers.decided)):
            await self._say(stream, codec, chunk)

    async def _exchange(self, address: Address) -> None:
        async with await self._connect(address) as stream:
            await self._swap(stream, FrameReader(stream, self.config.frame_bytes_max), self._codec)

    async def _swap(self, stream: trio.SocketStream, reader: FrameReader, codec: Codec) -> None:
        await self._say_half(stream, codec)
        self._take_half(*await self._listen_half(reader, codec))

    async def _fetch_all(
        self, stream: trio.SocketStream, reader: FrameReader, codec: Codec
    ) -> tuple[tuple[Record, ...], tuple[RegisterNews, ...]]:
        """Everything the other end knows, without telling it anything."""
        await self._say(stream, codec, Fetch(()))
        _teller, records, registers = await self._listen_half(reader, codec)
        return tuple(records), tuple(registers)

    def _take_half(self, teller: str, records: list[Record], registers: list[RegisterNews]) -> None:
        for news in registers:
            self._learn(news)
        self._detector.merge(tuple(records), teller, boottime_ms())
        self._carry_out()

    async def _fetch(self, address: Address) -> None:
        async with await self._connect(address) as stream:
            reader = FrameReader(stream, self.config.frame_bytes_max)
            _records, registers = await self._fetch_all(stream, reader, self._codec)
        for news in registers:
            self._learn(news)
        self._carry_out()

    async def _serve(self, listeners: list[trio.SocketListener]) -> None:
        async with trio.open_nursery() as nursery:
            await trio.serve_listeners(self._converse, listeners, handler_nursery=nursery)

    async def _converse(self, stream: trio.SocketStream) -> None:
        """One connection of somebody else: requests one after the other, until it closes, errs or dawdles."""
        source: Address = ("?", 0)
        try:
            async with stream:
                name = stream.socket.getpeername()
                source = (name[0], name[1])
                if self._connections.available_tokens < 1:
                    raise PeerError("size", f"more than {self.config.connections_max} connections")
                async with self._connections:
                    reader = FrameReader(stream, self.config.frame_bytes_max)
                    while not self._left:
                        with trio.fail_after(self.config.frame_timeout_ms / 1000):
                            frame = await reader.next()
                            if frame is None:
                                return
                            await self._answer(stream, reader, frame, source)
        except PeerError as error:
            self._drop(error.reason, source, str(error))
        except (OSError, trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            _log.debug("connection from %s:%s ended: %r", *source, error)

    async def _answer(
        self,
        stream: trio.SocketStream,
        reader: FrameReader,
        frame: bytes,
        source: Address,
        *,
        may_meet: bool = True,
    ) -> None:
        envelope = self._codec.decode(frame, self.config.frame_bytes_max)
        message = envelope.message
        if isinstance(message, Meet) and may_meet:
            await self._answer_meet(stream, reader, envelope, source)
        elif isinstance(message, Fetch):
            await self._say_half(stream, self._codec)
        elif isinstance(message, Exchange):
            records, registers = list(message.records), list(message.registers)
            if not message.last:
                _teller, more_records, more_registers = await self._listen_half(reader, self._codec)
                records, registers = records + more_records, registers + more_registers
            self._take_half(envelope.sender, records, registers)
            await self._say_half(stream, self._codec)
        elif isinstance(message, RegisterRound):
            self._dispatch(envelope, source)
            self._carry_out()
        else:
            raise PeerError("type", f"{type(message).__name__} does not belong on a connection")

    async def _answer_meet(
        self, stream: trio.SocketStream, reader: FrameReader, envelope: Envelope, source: Address
    ) -> None:
        message = envelope.message
        assert isinstance(message, Meet)
        asker = meeting.Standing(envelope.cluster, message.alone, message.owns_slots)
        verdict, text = meeting.judge_meeting(asker, self._standing())
        answer = MeetAnswer(verdict, text, self._my_record())
        if verdict == meeting.ADOPT_MINE:
            self._hosting += 1
            try:
                await self._say(stream, self._codec, answer)
                for _ in range(2):  # it fetches what we know, moves, and then exchanges as a member
                    frame = await reader.next()
                    if frame is None:
                        return
                    await self._answer(stream, reader, frame, source, may_meet=False)
            finally:
                self._hosting -= 1
            return
        await self._say(stream, self._codec, answer)
        if verdict == meeting.ADOPTING_YOURS and self._nursery is not None:
            address = message.claim.meta.bus_address
            adopt = partial(self._adopt_from, envelope.cluster)
            self._nursery.start_soon(self._limited, self._exchanges, adopt, address)

    async def _adopt_from(self, cluster_id: str, address: Address) -> None:
        async with await self._connect(address) as stream:
            await self._adopt(stream, FrameReader(stream, self.config.frame_bytes_max), cluster_id)


def _identity(state: Mapping[str, Plain], path: Path) -> tuple[str, str, int]:
    member_id, cluster_id, incarnation = (
        state.get("member_id"),
        state.get("cluster_id"),
        state.get("incarnation"),
    )
    if not isinstance(member_id, str) or not isinstance(cluster_id, str) or not isinstance(incarnation, int):
        raise StateError(
            f"the state file {path} names no member, cluster or incarnation."
            " Restore it from a copy, or move it away: this member then joins as a new one"
        )
    return member_id, cluster_id, incarnation
