"""Failure detection and dissemination: SWIM with Lifeguard, as one core.

Events go in (a decoded datagram, a tick of the clock, a call of our own process), actions come out (send
this, check that port, this member changed). The core reads no clock and no dice of its own: `now_ms` and a
seeded `random.Random` are given, so the shell, the tests and the simulator drive the same object.

    probe           each interval one member, directly and then through others (probes.py); whoever answers
                    nobody is accused
    suspicion       others who hear of it probe at once and confirm or not; the accused hears it with the next
                    packet anybody sends it, and denies it by raising its incarnation
    news            rides on every packet, and forms packets of its own for as long as something is new
    reconnect       the dead are tried now and then, so that a healed partition grows together
    stall           a timer of ours that fires late says that we stood still: what we did not hear proves
    nothing,
                    so probes and suspicions get that time back

Source: SWIM (Das, Gupta, Motivala 2002); Lifeguard (arXiv 1707.00788).
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Final, TypeAlias

from gossip.actions import (
    CheckPort,
    ExchangeWith,
    FetchFrom,
    IncarnationRaised,
    MemberChanged,
    RegisterHeard,
    RolledBack,
    Send,
)
from gossip.awareness import Awareness
from gossip.beat import on_beat
from gossip.broadcast import Broadcast
from gossip.config import GossipConfig
from gossip.denial import SELF_TABLE, Presence, SelfEffect, event_of
from gossip.members import PRESENT, Change, Member, Members, Status
from gossip.messages import (
    HEADER_BYTES_MAX,
    Ack,
    Address,
    Alive,
    Claim,
    Envelope,
    Forgot,
    Left,
    MemberClaim,
    Message,
    Meta,
    Nack,
    News,
    Ping,
    ProbeFor,
    Record,
    Refused,
    RegisterNews,
    Suspect,
    Vitals,
    encode_claim,
    encode_news,
)
from gossip.probes import Probes
from gossip.refusal import Refusals
from gossip.suspicion import Suspicion

Action: TypeAlias = (
    Send
    | CheckPort
    | ExchangeWith
    | FetchFrom
    | MemberChanged
    | RegisterHeard
    | IncarnationRaised
    | RolledBack
)


BURST_PAUSE_MS: Final = 10
"""Least pause between two rounds of pure news: what arrives meanwhile shares the next one."""
BEAT_LATE_MS: Final = 20
"""A timer moves to a beat that comes at most so much later than it was due."""
REFUSED_RESEND_MS: Final = 100
FETCH_PAUSE_MS: Final = 50
STRANGERS_MAX: Final = 256
STRANGER_PAUSE_MS: Final = 1_000
CONFIRMERS: Final = 8
"""About so many members probe a suspect out of turn, however large the cluster."""
FAREWELLS_MAX: Final = 32
MAJORITY_HOPS_MAX: Final = 12
"""Enough for thousands of members, few enough that evidence that goes in circles soon ages."""


class Detector:
    """The core of one member.

    Every public method that takes `now_ms` may produce actions; `actions()` hands over those that piled up.
    `now_ms` must not decrease.

    Args:
        me: our id. meta: what we tell about ourselves. incarnation: above every one we used before.
    """

    def __init__(
        self, me: str, meta: Meta, incarnation: int, config: GossipConfig, rng: Random, now_ms: int
    ) -> None:
        self.me = me
        self.meta = meta
        self.incarnation = incarnation
        self.presence = Presence.PRESENT
        self.offset = -1
        self.epoch_seen = 0
        self.registers_sum = 0
        self.serial = 0
        """Of our state file, as far as it is on disk."""
        self.voters: tuple[str, ...] = ()
        self.config = config
        self.awareness = Awareness(config.awareness_max)
        self.members = Members(
            me,
            self._new_suspicion,
            members_max=config.members_max,
            tombstones_max=config.tombstones_max,
            forget_ms=config.forget_ms,
            dead_keep_ms=config.dead_keep_ms,
        )
        self.refusals = Refusals(me)
        self.news: Broadcast[Claim] = Broadcast(config.news_max)
        self._rng = rng
        self._out: list[Action] = []
        self._probes = Probes(self.members, self.awareness, config, rng, self._send)
        self._checked_ms: OrderedDict[str, int] = OrderedDict()
        self._strangers_ms: OrderedDict[str, int] = OrderedDict()
        self._fetched_ms = now_ms - FETCH_PAUSE_MS
        self.majority_ms = 0
        """When a majority of the voters was certainly there, by our own ears or by what others passed on; 0:
        never.
        """
        self._majority_hops = 0
        self.vitals_revision = 0
        """Counts changes of others' offsets and epochs, which come too often to be announced one by one."""
        self._stale_accuser = False
        self._kept: Callable[[str], bool] = lambda _member: False
        self._now_ms = now_ms
        self._probe_due_ms = now_ms + rng.randrange(config.probe_interval_ms)
        self._gossip_due_ms = now_ms
        self._gossiped_ms = now_ms - config.gossip_interval_ms
        self._exchange_due_ms = now_ms + self.exchange_pause_ms()
        self._reconnect_due_ms = now_ms + config.reconnect_interval_ms

    # -- what the shell reads ---------------------------------------------------------------------------

    def actions(self) -> list[Action]:
        """What is to be done now, in order. Empties the list."""
        out, self._out = self._out, []
        return out

    def next_due_ms(self) -> int:
        """When to call `tick` next, unless something else happens before."""
        # Asked at every wake-up: comparisons cost a third of calls of `min`.
        probe_ms, exchange_ms = self._probe_due_ms, self._exchange_due_ms
        due_ms = probe_ms if probe_ms < exchange_ms else exchange_ms
        due_ms = due_ms if due_ms < self._reconnect_due_ms else self._reconnect_due_ms
        if self._gossip_due_ms < due_ms and len(self.news):
            due_ms = self._gossip_due_ms
        due_ms = self._probes.next_due_ms(due_ms)
        suspicion_ms = self.members.next_due_ms()
        if suspicion_ms is not None and suspicion_ms < due_ms:
            due_ms = suspicion_ms
        resend_ms = self.refusals.next_due_ms(REFUSED_RESEND_MS)
        return due_ms if resend_ms is None or resend_ms > due_ms else resend_ms

    @property
    def quiet(self) -> bool:
        """No news to pass on, nobody suspected, no evidence to spread."""
        return (
            not len(self.news)
            and self.members.next_due_ms() is None
            and self.refusals.next_due_ms(REFUSED_RESEND_MS) is None
        )

    def envelope(self, message: Message, news: tuple[Claim, ...] = ()) -> Envelope:
        """`message` under our name and vitals."""
        age_ms = max(0, self._now_ms - self.majority_ms) if self.majority_ms else -1
        vitals = Vitals(
            self.incarnation,
            self.offset,
            self.epoch_seen,
            self.registers_sum,
            age_ms,
            self._majority_hops,
            self.serial,
        )
        return Envelope(self.me, vitals, message, news)

    def records(self) -> tuple[Record, ...]:
        """Our half of a state exchange: ourselves first, then everybody listed."""
        status = "left" if self.presence is Presence.LEAVING else "alive"
        mine = Record(status, self.me, self.incarnation, self.meta, self.offset, self.serial)
        others = [
            Record(
                member.status.value, member.id, member.incarnation, member.meta, member.offset, member.serial
            )
            for member in self.members
        ]
        return (mine, *others)

    def failure_reports(self, member: str) -> tuple[str, ...]:
        """Who accuses `member` right now, in order of arrival; empty unless it is suspect."""
        listed = self.members.get(member)
        return () if listed is None or listed.suspicion is None else tuple(listed.suspicion.accusers)

    def has_refused_evidence(self, member: str) -> bool:
        """We ourselves found its port closed, in the incarnation we know,
        and nothing has contradicted it since.
        """
        listed = self.members.get(member)
        return listed is not None and self.refusals.evidence(member, listed.incarnation)

    # -- calls of our own process -----------------------------------------------------------------------

    def set_decided(
        self, voters: tuple[str, ...], registers_sum: int, epoch_seen: int, kept: Callable[[str], bool]
    ) -> None:
        """The registers moved on. `kept` tells whose listing must survive though
        they are dead: those named in them.
        """
        self.voters, self.registers_sum, self.epoch_seen, self._kept = voters, registers_sum, epoch_seen, kept

    def update_self(self, meta: Meta, now_ms: int) -> None:
        """Tell the cluster something new about ourselves."""
        self._now_ms = max(self._now_ms, now_ms)
        if meta != self.meta:
            self.meta = meta
            self._raise_above(self.incarnation)

    def announce(self, now_ms: int) -> None:
        """Spread our own alive claim (after a start, or after joining)."""
        self._now_ms = max(self._now_ms, now_ms)
        self._spread(Alive(self.me, self.incarnation, self.meta))

    def spread_register(self, news: RegisterNews, now_ms: int) -> None:
        """Pass a decided value on. Too big a value travels as its name and version only."""
        self._now_ms = max(self._now_ms, now_ms)
        encoded = encode_news(news)
        if len(encoded) > self._room_bytes() // 2:
            news = replace(news, data=None)
            encoded = encode_news(news)
        self.news.add(("register", news.name), news, len(encoded))
        self._gossip_soon()

    def merge(self, records: tuple[Record, ...], teller: str, now_ms: int) -> None:
        """Take the other half of a state exchange, told by `teller`."""
        self._now_ms = max(self._now_ms, now_ms)
        for record in records:
            alive = Alive(record.member, record.incarnation, record.meta)
            if record.member == self.me:
                told: MemberClaim = alive
                if record.status in ("suspect", "dead"):
                    told = Suspect(self.me, record.incarnation, teller)
                elif record.status == "left":
                    told = Left(self.me, record.incarnation)
                self._about_me(told)
                self._compare(record.serial, teller)
                continue
            for change in self.members.exchanged(record.status, alive, teller, now_ms):
                self._changed(change)
            listed = self.members.get(record.member)
            if listed is not None and record.offset > listed.offset:
                listed.offset = record.offset
            if listed is not None:
                listed.serial = max(listed.serial, record.serial)

    def forget(self, member: str, now_ms: int) -> bool:
        """Drop `member` and ban it for a while. False when it was not listed."""
        self._now_ms = max(self._now_ms, now_ms)
        if self.members.get(member) is None:
            return False
        self._change(self.members.forget(member, now_ms))
        self.news.drop(member)
        return True

    def leave(self, now_ms: int) -> None:
        """Say farewell: to the voters and some others at once, to the rest
        as news. Nothing is refuted any more.
        """
        self._now_ms = max(self._now_ms, now_ms)
        self.presence = Presence.LEAVING
        farewell = Left(self.me, self.incarnation)
        self._spread(farewell)
        first = [member for member in self.members if member.id in self.voters and member.status in PRESENT]
        rest = [member for member in self.members.all_present() if member not in first]
        self._rng.shuffle(rest)
        for member in (first + rest)[:FAREWELLS_MAX]:
            self._out.append(Send(member.meta.bus_address, self.envelope(News(), (farewell,))))

    def majority_there(self, at_ms: int, hops: int = 0) -> None:
        """At `at_ms` a majority of the voters was reachable for us, or for somebody `hops` members away."""
        if at_ms > self.majority_ms:
            self.majority_ms, self._majority_hops = at_ms, hops

    def answered(self, member: str, now_ms: int) -> None:
        """`member` answered a request of ours (a lease, a register round): as good as a probe."""
        listed = self.members.get(member)
        if listed is not None:
            listed.answered_ms = now_ms

    def report_silent(self, member: str, now_ms: int) -> None:
        """`member` should have spoken to us by now: probe it at once, directly and indirectly."""
        self._now_ms = max(self._now_ms, now_ms)
        listed = self.members.get(member)
        if listed is not None and listed.status in PRESENT:
            self._probes.start(listed, self._now_ms, urgent=True)

    def report_broken(self, member: str, now_ms: int) -> None:
        """Evidence that `member` may be gone (a refused or reset connection):
        probe it and check its port at once.
        """
        self._now_ms = max(self._now_ms, now_ms)
        listed = self.members.get(member)
        if listed is None or listed.status not in PRESENT:
            return
        self._probes.start(listed, self._now_ms, urgent=True)
        self._check_port(listed)

    def check_port(self, member: str, now_ms: int) -> None:
        """Find out whether its port is closed, dead or not: our voter has to know for itself."""
        self._now_ms = max(self._now_ms, now_ms)
        listed = self.members.get(member)
        if listed is not None and listed.status is not Status.LEFT:
            self._check_port(listed)

    def datagram_refused(self, address: Address, now_ms: int) -> None:
        """The network said that nobody listens at `address` (ICMP port unreachable)."""
        for member in self.members:
            if member.meta.bus_address == address:
                self.report_broken(member.id, now_ms)

    def checked(self, member: str, incarnation: int, refused: bool, now_ms: int) -> None:
        """What a CheckPort found: refused, or a connection. No answer at all is no finding: do not call."""
        self._now_ms = max(self._now_ms, now_ms)
        listed = self.members.get(member)
        if listed is None or listed.status is Status.LEFT or listed.incarnation != incarnation:
            return
        if not refused:
            self.refusals.contradicted(member)
            return
        issued_ms = self._checked_ms.get(member)
        if issued_ms is not None and listed.heard_ms >= issued_ms:
            # It spoke while we tried: last words from before, or a new life that may be serving by now. Try
            # again.
            del self._checked_ms[member]
            self._check_port(listed)
            return
        self.refusals.found(member, incarnation, now_ms)
        if listed.status is Status.DEAD:
            return  # decided already; the evidence still tells our voter that no lease is being used
        self._change(self.members.claim(Suspect(member, incarnation, self.me), now_ms))
        self._tell_refused(member, incarnation)
        self._judge(member)

    # -- the clock --------------------------------------------------------------------------------------

    def tick(self, now_ms: int) -> None:
        """Do what is due. Drain the socket first: an answer that waits
        there must be heard before it is missed.
        """
        late_ms = now_ms - self.next_due_ms()
        if late_ms > self.config.stall_ms:
            self._stood_still(late_ms)
        self._now_ms = max(self._now_ms, now_ms)
        for silent in self._probes.tick(now_ms):
            self._change(self.members.claim(Suspect(silent.id, silent.incarnation, self.me), now_ms))
        for change in self.members.tick(now_ms, self._kept):
            self._changed(change)
        for member, incarnation in self.refusals.due(now_ms, REFUSED_RESEND_MS):
            listed = self.members.get(member)
            if listed is None or listed.incarnation != incarnation:
                self.refusals.contradicted(member)
            elif listed.status in PRESENT:
                self._tell_refused(member, incarnation)
            else:
                self.refusals.settled(member)
        if self._probe_due_ms <= now_ms:
            self._probe_due_ms = self._on_beat(
                now_ms + self.awareness.stretch_ms(self.config.probe_interval_ms)
            )
            self._probes.next_in_turn(now_ms)
        if self._reconnect_due_ms <= now_ms:
            self._reconnect_due_ms = self._on_beat(now_ms + self.config.reconnect_interval_ms)
            self._reconnect()
        if self._exchange_due_ms <= now_ms:
            self._exchange_due_ms = self._on_beat(now_ms + self.exchange_pause_ms())
            present = self.members.all_present()
            if present:
                self._out.append(ExchangeWith(self._rng.choice(present).meta.bus_address))
        if len(self.news) and self._gossip_due_ms <= now_ms:
            self._gossip()

    def _on_beat(self, due_ms: int) -> int:
        return on_beat(due_ms, self.config.beat_ms, BEAT_LATE_MS)

    def _stood_still(self, late_ms: int) -> None:
        self.awareness.worse()
        self.members.stand_still(late_ms)
        self._probes.stand_still(late_ms)

    # -- what others say --------------------------------------------------------------------------------

    def receive(self, envelope: Envelope, source: Address, now_ms: int) -> None:
        """A decoded datagram from `source`. Messages that are not ours to handle only contribute their
        news.
        """
        self._now_ms = max(self._now_ms, now_ms)
        sender = envelope.sender
        if sender == self.me:
            return
        self._stale_accuser = False
        for claim in envelope.news:
            self._claim(claim)
        if not self._heard(envelope, source):
            return
        message = envelope.message
        if isinstance(message, Ping):
            if message.target == self.me:
                self._send(source, Ack(message.sequence), sender, with_claim=self._stale_accuser)
        elif isinstance(message, Ack):
            answered = self._probes.acknowledged(message.sequence)
            if answered is not None:
                self.answered(answered, self._now_ms)
        elif isinstance(message, ProbeFor):
            self._probes.relay(message, source, self._now_ms)
        elif isinstance(message, Nack):
            self._probes.nacked(message.sequence)
        elif isinstance(message, Refused):
            self._heard_refused(message, sender)
        elif isinstance(message, Forgot):
            self._compare(message.serial, sender)

    def _heard(self, envelope: Envelope, source: Address) -> bool:
        """Note the sender's vitals. False when it is banned and must not be talked to."""
        listed = self.members.get(envelope.sender)
        if listed is None:
            if self.members.status_of(envelope.sender) is Status.BANNED:
                return False
            last_ms = self._strangers_ms.get(envelope.sender)
            if last_ms is None or self._now_ms - last_ms >= STRANGER_PAUSE_MS:
                self._strangers_ms.pop(envelope.sender, None)
                if len(self._strangers_ms) >= STRANGERS_MAX:
                    self._strangers_ms.popitem(last=False)
                self._strangers_ms[envelope.sender] = self._now_ms
                self._out.append(ExchangeWith(source))
            return True
        if envelope.vitals.serial < listed.serial and not isinstance(envelope.message, Forgot):
            self._send(source, Forgot(listed.serial))  # old words, or an old disk: it will know
        vitals = envelope.vitals
        listed.serial = max(listed.serial, vitals.serial)
        listed.heard_ms = self._now_ms
        self.refusals.contradicted(
            envelope.sender
        )  # evidence of death counts only while it is newer than any word
        if vitals.majority_age_ms >= 0 and vitals.majority_hops < MAJORITY_HOPS_MAX:
            self.majority_there(self._now_ms - vitals.majority_age_ms, vitals.majority_hops + 1)
        if vitals.incarnation >= listed.incarnation:
            if listed.offset != vitals.offset or listed.epoch_seen != vitals.epoch_seen:
                listed.offset, listed.epoch_seen = vitals.offset, vitals.epoch_seen
                self.vitals_revision += 1
            listed.registers_sum = vitals.registers_sum
        if vitals.incarnation > listed.incarnation and not listed.behind:
            listed.behind = True  # its alive claim passed us by; the probe asks for it, see _accusation
            self._probes.start(listed, self._now_ms)
        if vitals.registers_sum > self.registers_sum and self._now_ms - self._fetched_ms >= FETCH_PAUSE_MS:
            self._fetched_ms = self._now_ms
            self._out.append(FetchFrom(listed.meta.bus_address, vitals.registers_sum))
        return True

    def has_forgotten(self, envelope: Envelope) -> bool:
        """Whether the sender once had a newer state file than it had as it wrote this."""
        listed = self.members.get(envelope.sender)
        return listed is not None and envelope.vitals.serial < listed.serial

    def _compare(self, serial: int, teller: str) -> None:
        """What others heard of our state file: never more than is true, unless ours is an old copy."""
        if serial > self.serial:
            self._out.append(RolledBack(teller, self.serial, serial))

    def _claim(self, claim: Claim) -> None:
        if isinstance(claim, RegisterNews):
            self._out.append(RegisterHeard(claim))
        elif claim.member == self.me:
            self._about_me(claim)
        else:
            self._change(self.members.claim(claim, self._now_ms))

    def _about_me(self, claim: MemberClaim) -> None:
        if claim.incarnation < self.incarnation:
            self._stale_accuser = not isinstance(claim, Alive)  # it missed our denial: tell it again
        effect = SELF_TABLE[self.presence][event_of(claim, self.incarnation, self.meta)]
        if effect is SelfEffect.REFUTE:
            self.awareness.worse()
        if effect is not SelfEffect.NOTHING:
            self._raise_above(claim.incarnation)

    def _raise_above(self, incarnation: int) -> None:
        self.incarnation = max(self.incarnation, incarnation) + 1
        self._out.append(IncarnationRaised(self.incarnation))
        self._spread(Alive(self.me, self.incarnation, self.meta))

    # -- doubts ----------------------------------------------------------------------------------------

    def _reconnect(self) -> None:
        """Try one of the dead. Our belief rides along, so that a live one can deny it."""
        if len(self.members) == self.members.present:
            return  # nobody is; not looked for one by one, which thousands of members would make dear
        dead = [member for member in self.members if member.status is Status.DEAD]
        if dead:
            self._probes.start(self._rng.choice(dead), self._now_ms)

    def _new_suspicion(self, now_ms: int) -> Suspicion:
        count = self.members.present + 1
        floor_ms = self.config.suspicion_floor_ms(count)
        wanted = max(0, min(self.config.suspicion_confirmations, count - 2))
        return Suspicion(now_ms, floor_ms, int(floor_ms * self.config.suspicion_stretch), wanted)

    # -- the fast path ----------------------------------------------------------------------------------

    def _check_port(self, member: Member) -> None:
        last_ms = self._checked_ms.get(member.id)
        if last_ms is not None and self._now_ms - last_ms < self.config.refused_check_ms:
            return
        self._checked_ms.pop(member.id, None)
        if len(self._checked_ms) >= STRANGERS_MAX:
            self._checked_ms.popitem(last=False)
        self._checked_ms[member.id] = self._now_ms
        self._out.append(CheckPort(member.id, member.incarnation, member.meta.bus_address))

    def _tell_refused(self, member: str, incarnation: int) -> None:
        self.refusals.told(member, self._now_ms)
        for voter in self.voters:
            listed = self.members.get(voter)
            if listed is not None and voter != member and listed.status in PRESENT:
                self._send(listed.meta.bus_address, Refused(member, incarnation), voter)

    def _heard_refused(self, message: Refused, sender: str) -> None:
        listed = self.members.get(message.member)
        if message.member == self.me or listed is None or listed.status is Status.LEFT:
            return
        if message.incarnation < listed.incarnation:
            return
        self.refusals.heard(message.member, message.incarnation, sender)
        if not self.refusals.evidence(message.member, message.incarnation):
            self._check_port(listed)
        self._judge(message.member)

    def _judge(self, member: str) -> None:
        listed = self.members.get(member)
        if listed is not None and self.refusals.majority(member, listed.incarnation, self.voters):
            self._change(self.members.refused(member, listed.incarnation, self._now_ms))

    # -- changes and news -------------------------------------------------------------------------------

    def _change(self, change: Change | None) -> None:
        if change is not None:
            self._changed(change)

    def _changed(self, change: Change) -> None:
        if change.spread is not None:
            self._spread(change.spread)
        if change.visible:
            self._out.append(MemberChanged(change.member, change.before, change.after))
        if change.before is change.after and not change.visible:
            return
        if change.after in PRESENT and change.before not in PRESENT:
            self._probes.arrived(change.member)
        if change.after is Status.DEAD:
            listed = self.members.get(change.member)
            if listed is not None and self.me in self.voters and not self.has_refused_evidence(change.member):
                self._check_port(listed)  # with evidence of our own, our voter need not wait for its lease
        elif change.after is not Status.SUSPECT:
            self.refusals.contradicted(change.member)
        elif (
            change.before is Status.ALIVE
            and change.after is Status.SUSPECT
            and isinstance(change.spread, Suspect)
            and change.spread.accuser != self.me
        ):
            self._confirm(change.member)

    def _confirm(self, member: str) -> None:
        """Others accuse it: find out for ourselves, if we decide about it,
        share its shard, or the dice say so.
        """
        listed = self.members.get(member)
        if listed is None:
            return
        mate = listed.meta.shard_id != "" and listed.meta.shard_id == self.meta.shard_id
        if mate or self.me in self.voters or self._rng.random() * (self.members.present + 1) < CONFIRMERS:
            self._probes.start(listed, self._now_ms, urgent=True)

    def _spread(self, claim: MemberClaim) -> None:
        self.news.add(claim.member, claim, len(encode_claim(claim)))
        self._gossip_soon()

    def _gossip_soon(self) -> None:
        soon_ms = max(self._now_ms, self._gossiped_ms + BURST_PAUSE_MS)
        if not self._now_ms <= self._gossip_due_ms <= soon_ms:  # left over from quiet times, or far off
            self._gossip_due_ms = soon_ms

    def _gossip(self) -> None:
        self._gossiped_ms = self._now_ms
        self._gossip_due_ms = self._now_ms + self.config.gossip_interval_ms
        present = self.members.all_present()
        for member in self._rng.sample(present, min(self.config.gossip_fanout, len(present))):
            if not len(self.news):
                return
            self._send(member.meta.bus_address, News(), member.id)

    def _room_bytes(self) -> int:
        return self.config.datagram_bytes_max - HEADER_BYTES_MAX - ENCRYPTION_BYTES

    def _send(
        self, address: Address, message: Message, to: str | None = None, *, with_claim: bool = False
    ) -> None:
        """Queue a datagram, filled up with news. Whoever is accused hears
        that first (so that it can deny it).
        """
        room_bytes = self._room_bytes()
        news: list[Claim] = []
        if with_claim:
            mine = Alive(self.me, self.incarnation, self.meta)
            news.append(mine)
            room_bytes -= len(encode_claim(mine))
        listed = None if to is None else self.members.get(to)
        if listed is not None:
            accusation = self._accusation(listed)
            if accusation is not None:
                news.append(accusation)
                room_bytes -= len(encode_claim(accusation))
        if len(self.news):
            limit = self.config.retransmit_limit(self.members.present + 1)
            news.extend(claim for claim in self.news.take(room_bytes, limit) if claim not in news)
        self._out.append(Send(address, self.envelope(message, tuple(news))))

    def _accusation(self, listed: Member) -> MemberClaim | None:
        if listed.behind:  # an accusation so old that the answer to it is the claim we missed
            return Suspect(listed.id, listed.incarnation, self.me)
        if listed.status is Status.ALIVE:
            return None
        if listed.status is Status.SUSPECT:
            accusers = () if listed.suspicion is None else tuple(listed.suspicion.accusers)
            return Suspect(listed.id, listed.incarnation, accusers[0] if accusers else self.me)
        if listed.status is Status.DEAD:
            return Suspect(listed.id, listed.incarnation, self.me)
        if listed.status is Status.LEFT:
            return Left(listed.id, listed.incarnation)
        return None

    def exchange_pause_ms(self) -> int:
        """Until our next state exchange, with a quarter of jitter so that members do not march in step.

        In proportion to the members beyond 32, since an exchange costs bytes in proportion to them.
        """
        count = self.members.present + 1
        scale = min(max(1.0, count / 32), EXCHANGE_SCALE_MAX)
        pause_ms = int(self.config.exchange_interval_ms * scale)
        return pause_ms - self._rng.randrange(pause_ms // 4 + 1)


EXCHANGE_SCALE_MAX: Final = 40
"""From 1,280 members on the pause grows no more: 20 minutes are long enough to believe something outdated."""
ENCRYPTION_BYTES: Final = 48
"""Room kept in each datagram for a nonce, a tag and a key id."""
