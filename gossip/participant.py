"""One member's part in the cluster: the cores of this room wired together, without I/O.

    envelope --> Detector --actions--> datagrams, port checks, exchanges
         |         ^ news
         +-----> Voting --actions--> disk first, then messages, then news, then whoever proposed
    tick, calls    |
                   +--> Topology: a new picture, and the lease that goes with it

Events go in with the time at which they are handled, `actions` says what is to be done. The trio shell
(service.py) carries that out with sockets, timers and a disk, the simulator with simulated ones; the order of
things is decided here, so what is simulated is what runs:

    - messages before the clock: whoever drives this hears what has arrived, then calls `tick`;
    - the disk before the mouth: what follows a promise leaves after `persisted`; all that has piled up by
      then shares one write, since the state written is the newest and covers every promise made so far;
    - a picture is published after everything that was heard in one go, not once for each piece.

Rejected: a queue of work and a task for each core, which the simulator would have had to imitate.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Final, TypeAlias

from gossip import meeting
from gossip.actions import (
    Announce,
    CheckPort,
    Concluded,
    Deliver,
    Dropped,
    ExchangeWith,
    FetchFrom,
    HalfWay,
    IncarnationRaised,
    MemberChanged,
    Persist,
    RegisterHeard,
    RolledBack,
    Send,
    VotersTended,
)
from gossip.beat import on_beat
from gossip.config import GossipConfig
from gossip.detector import Detector
from gossip.exchange import as_news, as_value
from gossip.members import PRESENT, Status
from gossip.messages import (
    INTEGER_MAX,
    Address,
    Envelope,
    LeaseGrant,
    LeaseRelease,
    LeaseRequest,
    Meta,
    News,
    Record,
    RegisterNews,
    RegisterRound,
)
from gossip.past import Past
from gossip.register import Action as RegisterAction
from gossip.register import Change, Decided, Failed, Learned, Promised, RegisterError
from gossip.register import Persist as RegisterPersist
from gossip.register import Send as RegisterSend
from gossip.topology import SHARD_PREFIX, ShardView, Topology
from gossip.views import Views, check_content
from gossip.voters import VoterPolicy
from gossip.votes import Message, MessageError, Value, VoterSet
from gossip.voting import Voting, void

TIMER_SLACK_MS: Final = 20
"""Timers due this soon fire with whatever woke us: keeps the wake-ups of an idle member near its packets."""
KNOWN_TRIED_AT_START: Final = 3
VOTES: Final = (LeaseRequest, LeaseGrant, RegisterRound)


Action: TypeAlias = (
    Send
    | Deliver
    | Persist
    | CheckPort
    | ExchangeWith
    | FetchFrom
    | MemberChanged
    | RolledBack
    | Learned
    | Announce
    | HalfWay
    | Concluded
    | VotersTended
    | Dropped
)


class Participant:
    """The core of one member.

    Every public method that takes `now_ms` may produce actions. `now_ms` must not decrease, and counts on
    while the machine sleeps.

    Args:
        past: what our state file held. meta: what we tell others about ourselves.
        rng: dice of the cores.
    Raises:
        MessageError: the registers of `past` are damaged.

    Attributes:
        topology: the newest picture. Offsets in it are those of `fresh_topology` or older.
        company: some other member of our cluster spoke to us since we started.
        rolled_back: our state file was an old copy. We vote on nothing more, and whoever drives this ends us.
    """

    def __init__(self, past: Past, meta: Meta, config: GossipConfig, rng: Random, now_ms: int) -> None:
        self.id = past.member_id
        self.cluster_id = past.cluster_id
        self.config = config
        self.meta = meta
        self.company = False
        self._now_ms = now_ms
        self.detector = Detector(
            self.id, meta, past.incarnation + 1, config, Random(rng.getrandbits(64)), now_ms
        )
        self.voting = Voting(
            self.id,
            config,
            Random(rng.getrandbits(64)),
            0 if past.fresh else now_ms + max(past.lease_ms, config.lease_ms),
            now_ms=lambda: self._now_ms,
            is_gone=self._found_gone,
        )
        if past.registers is not None:
            self.voting.restore(past.registers)
        self.detector.merge(past.members, self.id, now_ms)
        self.detector.actions()  # nobody follows yet
        self._policy = VoterPolicy(wanted=config.voters_wanted)
        self._lease_wanted = True
        self._out: list[Action] = []
        self._after_disk: list[RegisterAction] | None = None
        """What waits for the disk while it writes; None: it does not."""
        self._serial_asked = self.voting.registers.serial  # what the state file has once it is written
        self.detector.serial = self._serial_asked
        self.rolled_back = False
        self._unsaved = True
        self._save_wanted = False
        self._saved_ms = now_ms
        self._maintenance_due_ms: int | None = None
        self._voters_asked: tuple[int, tuple[str, ...]] | None = None
        self._vitals_revision = self.detector.vitals_revision
        self._stale = False
        self._views = Views()
        self._follow_registers()
        self.topology = self._build(None, 1)

    # -- what others read -------------------------------------------------------------------------------

    def fresh_topology(self) -> Topology:
        """The newest picture with the newest offsets, which alone do not raise its version.

        Cost: nothing, unless an offset moved since the last call (then a copy of the member table).
        """
        if self._vitals_revision != self.detector.vitals_revision:
            self._vitals_revision = self.detector.vitals_revision
            self.topology = self._build(self.topology, self.topology.version)
        return self.topology

    def next_due_ms(self) -> int:
        """When to call `tick` next, unless something else happens before."""
        due_ms = self.detector.next_due_ms()
        voting_ms = self.voting.next_due_ms()
        if voting_ms is not None and voting_ms < due_ms:
            due_ms = voting_ms
        if self._maintenance_due_ms is not None and self._maintenance_due_ms < due_ms:
            due_ms = self._maintenance_due_ms
        return due_ms

    def quiet(self, now_ms: int) -> bool:
        """Whether nothing goes on here for which a few ms matter."""
        voting = self.voting
        if voting.held.shard_id and voting.held.valid_until_ms < now_ms + self.config.lease_ms // 4:
            return False
        return self.detector.quiet and voting.registers.proposal_count == 0

    def majority_heard_ms(self, now_ms: int) -> int:
        """When a majority of the voters was certainly there, 0 when never."""
        self._see(now_ms)
        self._note_majority()
        return self.detector.majority_ms

    def past(self) -> Past:
        """What has to be known in our next life."""
        return Past(
            False,
            self.id,
            self.cluster_id,
            self.detector.incarnation,
            self.detector.records()[1:],
            self.voting.registers.durable_state(),
            self.meta.shard_id,
            self.config.lease_ms,
        )

    def half(self) -> tuple[tuple[Record, ...], tuple[RegisterNews, ...]]:
        """Our half of a state exchange."""
        return self.detector.records(), as_news(self.voting.decided)

    def standing(self) -> meeting.Standing:
        """Of our cluster, going by the lists alone."""
        alone = all(member.status is Status.LEFT for member in self.detector.members)
        return meeting.Standing(self.cluster_id, alone, bool(self.topology.ranges()))

    # -- events -----------------------------------------------------------------------------------------

    def start(self, now_ms: int) -> None:
        """Our life begins: tell about it, and find back to those we knew."""
        self._see(now_ms)
        self._plan_maintenance(now_ms)
        self.detector.announce(now_ms)
        for member in list(self.detector.members)[:KNOWN_TRIED_AT_START]:
            self._out.append(ExchangeWith(member.meta.bus_address))
        self._stale = True

    def hear(self, envelope: Envelope, source: Address, now_ms: int) -> None:
        """A message of our cluster, by whatever way.

        Raises:
            PeerError: its content is no good.
        """
        self._see(now_ms)
        self.detector.receive(envelope, source, now_ms)
        message, sender = envelope.message, envelope.sender
        if sender == self.id:
            return
        self.company = True
        votes = isinstance(message, VOTES)
        if votes and (self.rolled_back or self.detector.has_forgotten(envelope)):
            return  # no votes by or for who forgot some; words that were overtaken are lost as on the way
        if isinstance(message, LeaseRequest):
            answer = self.voting.answer(message, sender, envelope.vitals.incarnation, now_ms)
            self._out.append(Send(source, self.detector.envelope(answer)))
        elif isinstance(message, LeaseGrant):
            self.detector.answered(sender, now_ms)
            self.voting.hear_grant(message, sender, now_ms)
        elif isinstance(message, LeaseRelease):
            self.voting.hear_release(message, sender, envelope.vitals.incarnation, now_ms)
        elif isinstance(message, RegisterRound):
            self.voting.hear(sender, message.payload)

    def take(
        self, teller: str, records: tuple[Record, ...], registers: tuple[RegisterNews, ...], now_ms: int
    ) -> None:
        """The other half of an exchange."""
        self._see(now_ms)
        self.company = self.company or teller != self.id
        for news in registers:
            self.learn(news)
        self.detector.merge(records, teller, now_ms)

    def tick(self, now_ms: int) -> None:
        """Lets every core do what is due.

        What is due in a moment shares this wake-up: waking costs more than anything done here.
        """
        self._see(now_ms)
        soon_ms = now_ms + TIMER_SLACK_MS
        due_ms = self.detector.next_due_ms()
        if due_ms <= soon_ms:
            self._note_majority()
            self.detector.tick(max(now_ms, due_ms))
        voting_ms = self.voting.next_due_ms()
        if (voting_ms is not None and voting_ms <= soon_ms) or self.voting.held.over(now_ms):
            self._tick_voting(now_ms)
        if self._maintenance_due_ms is not None and self._maintenance_due_ms <= soon_ms:
            self._plan_maintenance(now_ms)
            self._maintain(now_ms)

    def _tick_voting(self, now_ms: int) -> None:
        self.voting.tick(now_ms)
        for primary in self.voting.granted.silences(now_ms):
            self.detector.report_silent(primary, now_ms)
        renewal = self.voting.renewals(now_ms, TIMER_SLACK_MS)
        if renewal is not None:
            self._follow_detector()  # what it had to say comes first
            envelope = self.detector.envelope(renewal[0])
            for voter in renewal[1]:
                self._send_to(voter, envelope)

    def persisted(self, now_ms: int) -> None:
        """The state that `Persist` asked for is on disk: what waited for it may leave."""
        self._see(now_ms)
        batch, self._after_disk = self._after_disk or [], None
        self.detector.serial = self._serial_asked
        self._finish(batch)

    def checked(self, check: CheckPort, refused: bool, now_ms: int) -> None:
        """What came of a CheckPort: refused, or a connection. No answer at all is no finding: do not call."""
        self._see(now_ms)
        self.detector.checked(check.member, check.incarnation, refused, now_ms)

    def datagram_refused(self, address: Address, now_ms: int) -> None:
        """The network said that nobody listens at `address`."""
        self._see(now_ms)
        self.detector.datagram_refused(address, now_ms)

    def propose(
        self, register: str, change: Change, timeout_ms: int | None, now_ms: int, *, stops: bool = False
    ) -> int:
        """Begins to change a register; `Concluded` with the id returned ends it. See Membership.propose.

        Args:
            stops: before anything can be decided, with `HalfWay`, until `go_on`.
        """
        self._see(now_ms)
        return self.voting.propose(register, change, timeout_ms, stops=stops)

    def go_on(self, proposal_id: int, now_ms: int) -> None:
        """With a proposal that stops half-way."""
        self._see(now_ms)
        self.voting.go_on(proposal_id)

    def change_voters(self, voters: tuple[str, ...], expected_version: int, now_ms: int) -> int:
        """As `propose`, for the voter set."""
        self._see(now_ms)
        return self.voting.change_voters(voters, expected_version)

    def cancel(self, proposal_id: int, now_ms: int) -> None:
        """Nobody waits for that proposal any more; it may or may not be decided."""
        self._see(now_ms)
        self.voting.cancel(proposal_id)

    def tell(self, register: str, members: Iterable[str], now_ms: int) -> None:
        """Tells these members now what is decided of a register, as far as we know it."""
        self._see(now_ms)
        value = self.voting.decided.get(register)
        if value is not None:
            for member in members:
                self._tell(member, register, value)

    def update_offset(self, offset: int) -> None:
        """Our replication offset; it rides on whatever we send anyway."""
        if offset != self.detector.offset:
            self.detector.offset = offset
            self._vitals_revision = -1

    def update_meta(self, meta: Meta, now_ms: int) -> None:
        """What we tell about ourselves; news at once, if it is any."""
        self._see(now_ms)
        if meta != self.meta:
            self.meta = meta
            self._unsaved = True
            self.detector.update_self(meta, now_ms)

    def report_broken(self, member_id: str, now_ms: int) -> None:
        """Evidence that the member may be gone."""
        self._see(now_ms)
        self.detector.report_broken(member_id, now_ms)

    def forget(self, member_id: str, now_ms: int) -> bool:
        """Drops a member from our list; False when it was not there."""
        self._see(now_ms)
        return self.detector.forget(member_id, now_ms)

    def leave(self, now_ms: int) -> None:
        """Says farewell for good."""
        self._see(now_ms)
        self.detector.leave(now_ms)

    @property
    def lease_wanted(self) -> bool:
        """Whether we ask for leases when the register names us primary."""
        return self._lease_wanted

    def want_lease(self, wanted: bool, now_ms: int) -> None:
        """Takes effect at once."""
        self._see(now_ms)
        self._lease_wanted = wanted
        self._follow_lease()

    def release_lease(self, now_ms: int) -> None:
        """Gives our lease up, wants no other, and tells the voters."""
        self._see(now_ms)
        self._lease_wanted = False
        message = self.voting.release(now_ms)
        if message is not None:
            envelope = self.detector.envelope(message)
            for voter in self.voting.voter_set.everyone():
                self._send_to(voter, envelope)

    def move(
        self,
        cluster_id: str,
        records: tuple[Record, ...],
        voters: VoterSet,
        decided: dict[str, Value],
        now_ms: int,
    ) -> None:
        """Become a member of another cluster, told by the member that the first of `records` is about."""
        self._see(now_ms)
        self.cluster_id = cluster_id
        if self._after_disk is not None:
            self._after_disk = void(self._after_disk)
        self.voting.move_to(voters, decided)
        self._follow_registers()
        if records:
            self.detector.merge(records, records[0].member, now_ms)
        self.detector.announce(now_ms)

    # -- acting -----------------------------------------------------------------------------------------

    def actions(self, now_ms: int) -> list[Action]:
        """What is to be done now, in order. Empties the list."""
        self._see(now_ms)
        while self._follow_detector() or self._follow_voting() or (self._stale and self._publish()):
            pass
        out, self._out = self._out, []
        return out

    def _see(self, now_ms: int) -> None:
        self._now_ms = now_ms if now_ms > self._now_ms else self._now_ms  # often: three times `max`'s pace

    def _follow_detector(self) -> bool:
        """True when it wanted anything."""
        wanted = self.detector.actions()
        if not wanted:
            return False
        for action in wanted:
            if isinstance(action, Send):  # most of them
                self._out.append(action)
            elif isinstance(action, RegisterHeard):
                self.learn(action.news)
            elif isinstance(action, FetchFrom):
                if action.registers_sum > self.detector.registers_sum:
                    self._out.append(action)
            elif isinstance(action, IncarnationRaised):
                self._stale = self._unsaved = True
            elif isinstance(action, RolledBack):
                if not self.rolled_back:
                    self.rolled_back = True
                    self._out.append(action)
            else:
                if isinstance(action, MemberChanged):
                    self._stale = self._unsaved = True
                self._out.append(action)
        return True

    def _follow_voting(self) -> bool:
        """One batch of what the registers want; what follows a promise in it waits for the disk.

        What comes before leaves at once: our own voter writes while the others are being asked, which spares
        every round of ours a disk write.
        """
        if self._after_disk is not None:
            return False
        batch = self.voting.actions()
        if not batch and not self._save_wanted:
            return False
        persists = (at for at, action in enumerate(batch) if isinstance(action, RegisterPersist))
        first = next(persists, len(batch))
        self._finish(batch[:first])
        if first < len(batch) or self._save_wanted:
            self._save_wanted = self._unsaved = False
            self._after_disk = batch[first:]
            self._serial_asked = self.voting.registers.serial
            self._out.append(Persist())
            return True
        return bool(batch)

    def _finish(self, batch: list[RegisterAction]) -> None:
        for action in batch:
            if isinstance(action, RegisterSend):
                self._deliver_to(action.to, action.message)
            elif isinstance(action, Learned):
                self._learned(action)
            elif isinstance(action, Promised):
                self._out.append(HalfWay(action.proposal_id))
            elif isinstance(action, Decided):
                self._tell_primary(action.register, action.value)
                self._conclude(action.proposal_id, action.value, None)
            elif isinstance(action, Failed):
                self._conclude(action.proposal_id, None, action.error)

    def _tell_primary(self, register: str, value: Value) -> None:
        """What we had decided of a shard concerns its primary before anybody else: a new one, whom clients
        wait for, or one that is to hand over. News reach it by chance only, some at the third pass."""
        if not register.startswith(SHARD_PREFIX):
            return
        primary = ShardView.from_data(register.removeprefix(SHARD_PREFIX), value.data).primary
        if primary not in ("", self.id):
            self._tell(primary, register, value)

    def _tell(self, member: str, register: str, value: Value) -> None:
        news = RegisterNews(register, value.version, value.data)
        self._send_to(member, self.detector.envelope(News(), (news,)))

    def _conclude(self, proposal_id: int, value: Value | None, error: RegisterError | None) -> None:
        if self._voters_asked is not None and self._voters_asked[0] == proposal_id:
            self._out.append(VotersTended(self._voters_asked[1], error))
            self._voters_asked = None
        else:
            self._out.append(Concluded(proposal_id, value, error))

    def _send_to(self, member: str, envelope: Envelope) -> None:
        listed = self.detector.members.get(member)
        if listed is not None:
            self._out.append(Send(listed.meta.bus_address, envelope))

    def _deliver_to(self, member: str, message: Message) -> None:
        listed = self.detector.members.get(member)
        if listed is not None:
            envelope = self.detector.envelope(RegisterRound(message.to_wire()))
            self._out.append(Deliver(listed.meta.bus_address, envelope))

    # -- what the registers say -------------------------------------------------------------------------

    def learn(self, news: RegisterNews) -> None:
        """A decided value from a peer. A value that makes no sense is the peer's fault and dropped."""
        if news.data is None:
            return  # too big to ride along; the sender's sum of versions makes us fetch it
        known = self.voting.decided.get(news.name)
        if known is not None and known.version == news.version and known.data == news.data:
            return  # as most of what comes more than once
        try:
            value = as_value(news)
            check_content(news.name, value)
            newer = self.voting.learn(news.name, value)
        except MessageError as error:
            self._out.append(Dropped("malformed", str(error)))
            return
        if newer:
            self._follow_registers()  # so that the same news does not make us fetch what we hold

    def _learned(self, learned: Learned) -> None:
        """A newer decided value, learned or decided by ourselves: pass it on."""
        self._unsaved = True
        self._follow_registers()
        value = learned.value
        self.detector.spread_register(RegisterNews(learned.register, value.version, value.data), self._now_ms)
        self._out.append(learned)

    def _follow_registers(self) -> None:
        """Tell the detector what the registers hold now; the followers hear of it with the next picture."""
        decided = self.voting.decided
        found = self._views.shards(decided)
        voters = self.voting.voter_set.everyone()
        named = dict.fromkeys(
            member for shard in found.values() for member in (shard.primary, *shard.in_sync)
        )
        named.update(dict.fromkeys(voters))
        self.detector.set_decided(
            voters,
            min(INTEGER_MAX, sum(value.version for value in decided.values())),
            max((shard.epoch for shard in found.values()), default=0),
            named.__contains__,
        )
        self._stale = True

    def _publish(self) -> bool:
        """A new picture for everybody who follows, and the lease that goes with it; there may be more."""
        self._stale = False
        self._vitals_revision = self.detector.vitals_revision
        self.topology = self._build(self.topology, self.topology.version + 1)
        self._follow_lease()
        self._out.append(Announce(self.topology))
        return True

    def _follow_lease(self) -> None:
        """Want a lease for the shard that the registers let us lead, unless told otherwise."""
        led = self.topology.shard_led_by(self.id) if self._lease_wanted else None
        shard_id, epoch = ("", 0) if led is None else (led.id, led.epoch)
        self.voting.follow_lease(shard_id, epoch, self._now_ms)

    def _build(self, predecessor: Topology | None, version: int) -> Topology:
        voting = self.voting
        return self._views.build(
            self.detector, voting.decided, voting.voter_set, self.cluster_id, predecessor, version
        )

    # -- looking after the cluster ----------------------------------------------------------------------

    def _note_majority(self) -> None:
        """What we know at first hand: grants of our lease, and which voters spoke to us."""
        voters = self.voting.voter_set
        self.detector.majority_there(self.voting.held.majority_granted_ms())
        heard_ms: dict[str, int] = {}
        for voter in voters.everyone():
            listed = self.detector.members.get(voter)
            if voter == self.id:
                heard_ms[voter] = self._now_ms
            elif listed is not None and listed.status in PRESENT:
                heard_ms[voter] = listed.heard_ms
        reached_ms = voters.reached_ms(heard_ms)
        if reached_ms is not None:
            self.detector.majority_there(reached_ms)

    def _found_gone(self, member_id: str) -> bool:
        """Whether we found its port closed. If not, we look, so that the next attempt finds us knowing."""
        if self.detector.has_refused_evidence(member_id):
            return True
        self.detector.check_port(member_id, self._now_ms)
        return False

    def _plan_maintenance(self, now_ms: int) -> None:
        due_ms = now_ms + self.config.maintenance_interval_ms
        self._maintenance_due_ms = on_beat(due_ms, self.config.beat_ms, TIMER_SLACK_MS)

    def _maintain(self, now_ms: int) -> None:
        """Saves what can be relearned now and then, and lets the voter set grow or heal."""
        if self._unsaved and now_ms - self._saved_ms >= self.config.save_interval_ms:
            self._saved_ms = now_ms
            self._save_wanted = True
        if self._voters_asked is not None:
            return
        gone_since_ms = {
            member.id: member.since_ms
            for member in self.detector.members
            if member.status in (Status.DEAD, Status.LEFT)
        }
        wanted = self.voting.voters_due(self.topology.members, gone_since_ms, self._policy)
        if wanted is not None:
            version = self.voting.voter_set.version
            self._voters_asked = (self.voting.change_voters(wanted, version), wanted)
