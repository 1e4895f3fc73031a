"""The shell: sockets, timers, the state file and tasks around the core of this room.

    UDP socket --decode--> Participant --actions--> UDP socket, port checks, state exchanges
    TCP listener --------> Conversations: meetings, exchanges, registers, rounds too big for a datagram
    state file <---------- Persist; what waited for it leaves then

One task reads the UDP socket and drives the timers, in that order: what waits in the socket is heard before
anything is declared missing. One task writes the state file. Connections, checks and exchanges are tasks of
the same nursery, each kind under a limiter.

What the cluster looks like is published as immutable `Topology` snapshots; `wait_changed` wakes whoever
follows. Nothing is decided here: see participant.py.
"""

import logging
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Final

import trio

from gossip.actions import (
    Announce,
    CheckPort,
    Concluded,
    Deliver,
    Dropped,
    ExchangeWith,
    FetchFrom,
    HalfWay,
    MemberChanged,
    Persist,
    RolledBack,
    Send,
    VotersTended,
)
from gossip.config import GossipConfig
from gossip.conversations import Conversations, MeetRefused
from gossip.conversations import Ties as ConversationTies
from gossip.errors import PeerError
from gossip.exchange import half
from gossip.membership import Link, Membership
from gossip.memory import Memory
from gossip.messages import Address, Codec, Envelope, Exchange, Meta, Record, RegisterNews
from gossip.participant import Action, Participant
from gossip.register import Change, NoMajority, Refused, RegisterError
from gossip.sealing import PLAIN, Keyring, Seal
from gossip.state import StateError
from gossip.topology import Topology
from gossip.transport import Datagrams, resolve
from gossip.votes import MessageError, Plain, Value, VoterSet

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
GATHER_MS: Final = 8
"""After asking others something that can wait we sleep so long: their answers then cost one wake-up, not one
each.
"""

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


@dataclass(slots=True)
class _Pending:
    """Somebody waits for the end of a proposal; and first for its half, which an early end is too."""

    half_way: trio.Event = field(default_factory=trio.Event)
    done: trio.Event = field(default_factory=trio.Event)
    value: Value | None = None
    error: RegisterError | None = None


def boottime_ms() -> int:
    """The clock of this room: monotonic, and it counts while the machine
    sleeps, so that a lease ends then too.
    """
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class Service(Membership):
    """One member of a cluster, on real sockets.

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
        self.join = tuple(join)
        self.join_error: str | None = None
        """Why joining was refused, if it was; it is not tried again then."""
        self._me = me
        self._rng = rng
        self._memory = Memory(directory)
        past = self._memory.past
        self._seal = Seal(secrets.token_bytes)
        self._seal.use(keyring)
        self._codec = Codec(past.cluster_id, self._seal)
        meta = Meta(
            host=me.host,
            port=me.port,
            bus_port=me.bus_port or me.port + BUS_PORT_OFFSET,
            kind=me.kind,
            zone=me.zone,
            shard_id=me.shard_id or past.shard_id,
            started_ms=time.time_ns() // 1_000_000,
            software=me.software,
        )
        try:
            super().__init__(Participant(past, meta, config, rng, boottime_ms()))
        except MessageError as error:
            self._memory.close()
            raise self._memory.unusable(str(error)) from error
        self._datagrams: Datagrams | None = None
        self._conversations: Conversations | None = None
        self._nap = trio.CancelScope()
        self._changed = trio.Event()
        self._to_write = trio.Event()
        self._fatal: StateError | None = None
        """Why the driving task has to end us."""
        self._pending: dict[int, _Pending] = {}
        self._left = False
        self._dropped: Counter[str] = Counter()
        self._logged_ms: dict[str, int] = {}
        self._counts: Counter[str] = Counter()

    # -- what others read -------------------------------------------------------------------------------

    @staticmethod
    def now_ms() -> int:
        """The clock of every `_ms` figure here: CLOCK_BOOTTIME."""
        return boottime_ms()

    async def wait_changed(self, version: int) -> Topology:
        """Returns the newest topology as soon as its version exceeds `version` (at once, if it does already).

        Members, their status and meta, shards, voters and slot ranges count as changes; offsets do not.
        Cancellation leaves nothing behind. A checkpoint.
        """
        await trio.lowlevel.checkpoint()
        while self.core.topology.version <= version:
            await self._changed.wait()
        return self.topology

    def statistics(self) -> Statistics:
        counts = self._counts
        dropped = dict(self._dropped)
        dropped["send"] = dropped.get("send", 0) + self.core.voting.messages_dropped
        return Statistics(
            datagrams_in=counts["in"],
            datagrams_out=counts["out"],
            bytes_in=counts["bytes_in"],
            bytes_out=counts["bytes_out"],
            dropped=dropped,
            awareness=self.core.detector.awareness.score,
            news_waiting=len(self.core.detector.news),
            sealed=self._seal.seals,
        )

    # -- what others do ---------------------------------------------------------------------------------

    def use_keys(self, keyring: Keyring) -> None:
        """Seal and open messages with these from now on. To change keys under way see sealing.py."""
        _log.info("gossip keys: %s", keyring)
        self._seal.use(keyring)

    async def propose(
        self,
        register: str,
        change: Change,
        *,
        timeout_ms: int | None = None,
        half_way: Callable[[], Awaitable[None]] | None = None,
    ) -> Plain:
        """See Membership.propose."""
        stops = half_way is not None
        asked = self.core.propose(register, change, timeout_ms, boottime_ms(), stops=stops)
        return (await self._outcome(asked, half_way)).data

    async def change_voters(self, voters: tuple[str, ...], expected_version: int) -> VoterSet:
        """Change the voter set by hand. Normally the members see to that themselves.

        Args:
            expected_version: of the set that the wish was derived from (`topology.voter_set.version`).
        Raises: as `propose`.
        """
        asked = self.core.change_voters(voters, expected_version, boottime_ms())
        return VoterSet.from_value(await self._outcome(asked))

    async def _outcome(
        self, proposal_id: int, half_way: Callable[[], Awaitable[None]] | None = None
    ) -> Value:
        pending = self._pending[proposal_id] = _Pending()
        self.carry_out()
        try:
            if half_way is not None:
                await pending.half_way.wait()
                if pending.error is None:
                    await half_way()
                    self.core.go_on(proposal_id, boottime_ms())
                    self.carry_out()
            await pending.done.wait()
        finally:
            if self._pending.pop(proposal_id, None) is not None:
                self.core.cancel(proposal_id, boottime_ms())
                self.carry_out()
        if pending.error is not None:
            raise pending.error
        assert pending.value is not None
        return pending.value

    async def leave(self) -> None:
        """Leave the cluster for good: say so to the voters and some others at once, then keep quiet.

        Others see 'left' within milliseconds, so replicas need not wait for a suspicion. For a restart do not
        call this, just end `run`. Give up a primary's role before. After this the service answers nothing.
        """
        self.core.leave(boottime_ms())
        self.carry_out()
        await trio.sleep(2 * self.config.gossip_interval_ms / 1000)
        self._left = True

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
            StateError: the state file cannot be written at the start, or turns out to be an old copy.
        """
        try:
            host = await resolve(self._me.host)
            listeners = await self._bind(self._me.bind or host)
            try:
                await self._memory.save(self.core.past)
                self.core.update_meta(replace(self.core.meta, host=host), boottime_ms())
                async with trio.open_nursery() as nursery:
                    self._conversations = Conversations(
                        self.config, self._conversation_ties(), Random(self._rng.getrandbits(64)), nursery
                    )
                    nursery.start_soon(self._drive)
                    nursery.start_soon(self._write)
                    nursery.start_soon(self._join)
                    nursery.start_soon(trio.serve_listeners, self._conversations.converse, listeners)
                    self.core.start(boottime_ms())
                    self.carry_out()
                    task_status.started(self.bus_port)
            finally:
                self._conversations = None
                if self._datagrams is not None:
                    self._datagrams.close()
                    self._datagrams = None
                with trio.move_on_after(CLOSE_TIMEOUT_MS / 1000, shield=True):
                    for listener in listeners:
                        await listener.aclose()
                    await self._memory.save(self.core.past)
        finally:
            self._memory.close()

    async def _bind(self, bind: str) -> list[trio.SocketListener]:
        port = self.bus_port
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
            speak=self.core.detector.envelope,
            half=self._half,
            take=self._take,
            standing=self.core.standing,
            know=lambda member: self.core.detector.members.get(member) is not None,
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
            wait_ms = self.core.next_due_ms() - boottime_ms()
            if wait_ms > 0:
                self._nap = trio.CancelScope(deadline=trio.current_time() + wait_ms / 1000)
                with self._nap:
                    await datagrams.wait_readable()
            else:
                await trio.lowlevel.checkpoint()
            if self._fatal is not None:
                raise self._fatal
            if self._left:
                await trio.sleep_forever()
            await self._drain(datagrams)
            if self._fire(datagrams) and self.core.quiet(boottime_ms()):
                await trio.sleep(GATHER_MS / 1000)
                await self._drain(datagrams)
                self.carry_out()

    def _fire(self, datagrams: Datagrams) -> bool:
        """Lets the core do what is due. True when others were asked something."""
        now_ms = boottime_ms()
        sent_before = self._counts["out"]
        if datagrams.unreachable:
            gone, datagrams.unreachable = datagrams.unreachable, []
            for address in dict.fromkeys(gone):
                self.core.datagram_refused(address, now_ms)
        self.core.tick(now_ms)
        self.carry_out()
        return self._counts["out"] != sent_before

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

    async def _write(self) -> None:
        """Writes the state file whenever the core wants it written."""
        while True:
            await self._to_write.wait()
            self._to_write = trio.Event()
            await self._memory.save_surely(self.core.past)
            self.core.persisted(boottime_ms())
            self.carry_out()

    # -- hearing ----------------------------------------------------------------------------------------

    def _hear_datagram(self, data: bytes, source: Address) -> None:
        self._counts["in"] += 1
        self._counts["bytes_in"] += len(data)
        try:
            envelope = self._codec.decode(data, self.config.datagram_bytes_max)
            self.core.hear(envelope, source, boottime_ms())
        except PeerError as error:
            self._drop(error.reason, source, str(error))

    def _hear_frame(self, envelope: Envelope, source: Address) -> None:
        self.core.hear(envelope, source, boottime_ms())
        self.carry_out()

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
        self.core.take(teller, records, registers, boottime_ms())
        self.carry_out()

    # -- acting -----------------------------------------------------------------------------------------

    def carry_out(self) -> None:
        """Do what the core wants done, and sleep no longer than it wants. Nothing before `run`."""
        conversations = self._conversations
        if conversations is None:
            return
        now_ms = boottime_ms()
        for action in self.core.actions(now_ms):
            self._act(action, conversations)
        # The driving task may sleep beyond a timer that was just set; its deadline moves while it sleeps.
        due_s = trio.current_time() + (self.core.next_due_ms() - now_ms) / 1000
        self._nap.deadline = min(self._nap.deadline, due_s)

    def _act(self, action: Action, conversations: Conversations) -> None:
        if isinstance(action, Send):
            data = self._codec.encode(action.envelope)
            if len(data) <= self.config.datagram_bytes_max:
                self._post(data, action.address)
            else:
                self._dropped["send"] += 1
        elif isinstance(action, Deliver):
            data = self._codec.encode(action.envelope)
            if len(data) <= self.config.datagram_bytes_max:
                self._post(data, action.address)
            else:
                conversations.deliver_soon(self._codec.encode(action.envelope, frame=True), action.address)
        elif isinstance(action, Persist):
            self._to_write.set()
        elif isinstance(action, CheckPort):
            conversations.check_soon(action.address, lambda refused: self._checked(action, refused))
        elif isinstance(action, ExchangeWith):
            conversations.exchange_soon(action.address)
        elif isinstance(action, FetchFrom):
            conversations.fetch_soon(action.address)
        elif isinstance(action, Announce):
            self._changed.set()
            self._changed = trio.Event()
        elif isinstance(action, HalfWay):
            if action.proposal_id in self._pending:
                self._pending[action.proposal_id].half_way.set()
        elif isinstance(action, Concluded):
            self._conclude(action)
        elif isinstance(action, RolledBack):
            self._fatal = self._memory.rolled_back(action.teller, action.ours, action.theirs)
            self._nap.cancel()
        else:
            self._tell(action)

    def _tell(self, action: Action) -> None:
        """What people may want to know."""
        if isinstance(action, MemberChanged):
            if action.before is not action.after:
                _log.info("member %s: %s -> %s", action.member, action.before.value, action.after.value)
        elif isinstance(action, VotersTended):
            if action.error is None:
                _log.info("voters are now %s", ", ".join(action.voters))
            else:
                _log.info("the voters stay as they are for now: %s", action.error)
        elif isinstance(action, Dropped):
            self._drop(action.reason, ("news", 0), action.detail)

    def _conclude(self, action: Concluded) -> None:
        pending = self._pending.pop(action.proposal_id, None)
        if pending is not None:  # else nobody waits any more, or it was a read of the member's own accord
            pending.value, pending.error = action.value, action.error
            pending.half_way.set()
            pending.done.set()

    def _checked(self, check: CheckPort, refused: bool) -> None:
        self.core.checked(check, refused, boottime_ms())
        self.carry_out()

    def _post(self, data: bytes, address: Address) -> None:
        if self._datagrams is not None:
            self._counts["out"] += 1
            self._counts["bytes_out"] += len(data)
            self._datagrams.send(data, address)

    # -- joining ----------------------------------------------------------------------------------------

    async def _join(self) -> None:
        """Join through the addresses we were given, until somebody of our cluster speaks to us."""
        conversations = self._conversations
        assert conversations is not None
        ours = ((self._me.host, self._me.port), (self.core.meta.host, self.core.meta.port))
        seeds = [(host, port + BUS_PORT_OFFSET) for host, port in self.join if (host, port) not in ours]
        self.join_error = await conversations.join(seeds, lambda: self.core.company)

    async def _wait_next_change(self) -> None:
        await self.wait_changed(self.core.topology.version)

    def _half(self) -> list[Exchange]:
        return half(*self.core.half())

    async def _move(
        self, cluster_id: str, records: tuple[Record, ...], voters: VoterSet, decided: dict[str, Value]
    ) -> None:
        """Become a member of another cluster. Saved before anybody hears of it."""
        _log.info("joining cluster %s, leaving cluster %s", cluster_id, self.cluster_id)
        self._codec.cluster = cluster_id
        self.core.move(cluster_id, records, voters, decided, boottime_ms())
        await self._memory.save_surely(self.core.past)
        self.carry_out()
