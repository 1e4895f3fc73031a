"""What we believe of every member: the state table, the list, and the tombstones.

A claim says "member M was S at incarnation I". Only M raises I, so claims about M are ordered however late
and
often they arrive: a lower incarnation is old news and ignored, an accusation needs at least the incarnation
we know, and a denial must exceed it. The table below is the whole of it; `Members` only looks the outcome up
and carries it out.

Two events deserve a word.
  EXCHANGED_DEAD: a "dead" that came with a state exchange is somebody's belief, not a fresh verdict, and may
  be
    hours old. It arrives as suspicion, so that the accused can speak.
  REFUSED: a majority of the voters found the member's port refusing connections, each by its own check. That
  is
    the death of a process, not silence: no suspicion precedes it.

A dead or departed member stays listed for a while (people want to see it, and it is tried again), then turns
into
a tombstone: id and incarnation only, so that late news cannot raise it. Both lists are bounded.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

from gossip.messages import Alive, Dead, Left, MemberClaim, Meta, Suspect
from gossip.suspicion import LocalError, Suspicion


class Status(Enum):
    """Of somebody else, as we see it. UNKNOWN, BURIED and BANNED members are not listed."""

    UNKNOWN = "unknown"
    ALIVE = "alive"
    SUSPECT = "suspect"
    DEAD = "dead"
    LEFT = "left"
    BURIED = "buried"
    """A tombstone: reaped after it was dead or gone. A higher incarnation raises it."""
    BANNED = "banned"
    """Forgotten by command: nothing raises it until the ban ends."""


class Event(Enum):
    STALE = "a claim below the incarnation we know, or an alive one equal to it"
    ALIVE = "an alive claim above the incarnation we know"
    SUSPECTED = "an accusation at or above the incarnation we know"
    DECLARED_DEAD = "a verdict at or above the incarnation we know"
    EXCHANGED_DEAD = "dead in a state exchange, at or above the incarnation we know"
    DECLARED_LEFT = "its own farewell, at or above the incarnation we know"
    REFUSED = "a majority of the voters found its port closed, at or above the incarnation we know"
    TIMER = "the suspicion ran out"
    FORGET = "forgotten by command"
    REAP = "dead or gone for long"
    EXPIRE = "the tombstone's time is over"


class Effect(Enum):
    LEARN = "take over incarnation and meta"
    CLEAR = "end the suspicion"
    ACCUSE = "start a suspicion"
    CONFIRM = "count the accuser"
    MARK = "take over the incarnation"
    SPREAD = "pass the claim on"
    VERDICT = "announce our own verdict"
    BURY = "keep a tombstone instead of the member"
    RELEASE = "drop the tombstone"


@dataclass(frozen=True, slots=True)
class Outcome:
    becomes: Status
    effects: tuple[Effect, ...] = ()


_S, _E, _F = Status, Event, Effect
_KEEP: Final[dict[Status, Outcome]] = {status: Outcome(status) for status in Status}
_BAN: Final = Outcome(_S.BANNED, (_F.CLEAR, _F.BURY))

TABLE: Final[dict[Status, dict[Event, Outcome]]] = {
    _S.UNKNOWN: {
        _E.STALE: _KEEP[_S.UNKNOWN],
        _E.ALIVE: Outcome(_S.ALIVE, (_F.LEARN, _F.SPREAD)),
        _E.SUSPECTED: _KEEP[_S.UNKNOWN],
        _E.DECLARED_DEAD: _KEEP[_S.UNKNOWN],
        _E.EXCHANGED_DEAD: Outcome(_S.DEAD, (_F.LEARN,)),
        _E.DECLARED_LEFT: _KEEP[_S.UNKNOWN],
        _E.REFUSED: _KEEP[_S.UNKNOWN],
        _E.TIMER: _KEEP[_S.UNKNOWN],
        _E.FORGET: _BAN,
        _E.REAP: _KEEP[_S.UNKNOWN],
        _E.EXPIRE: _KEEP[_S.UNKNOWN],
    },
    _S.ALIVE: {
        _E.STALE: _KEEP[_S.ALIVE],
        _E.ALIVE: Outcome(_S.ALIVE, (_F.LEARN, _F.SPREAD)),
        _E.SUSPECTED: Outcome(_S.SUSPECT, (_F.MARK, _F.ACCUSE, _F.SPREAD)),
        _E.DECLARED_DEAD: Outcome(_S.DEAD, (_F.MARK, _F.SPREAD)),
        _E.EXCHANGED_DEAD: Outcome(_S.SUSPECT, (_F.MARK, _F.ACCUSE, _F.SPREAD)),
        _E.DECLARED_LEFT: Outcome(_S.LEFT, (_F.MARK, _F.SPREAD)),
        _E.REFUSED: Outcome(_S.DEAD, (_F.MARK, _F.VERDICT)),
        _E.TIMER: _KEEP[_S.ALIVE],
        _E.FORGET: _BAN,
        _E.REAP: _KEEP[_S.ALIVE],
        _E.EXPIRE: _KEEP[_S.ALIVE],
    },
    _S.SUSPECT: {
        _E.STALE: _KEEP[_S.SUSPECT],
        _E.ALIVE: Outcome(_S.ALIVE, (_F.CLEAR, _F.LEARN, _F.SPREAD)),
        _E.SUSPECTED: Outcome(_S.SUSPECT, (_F.MARK, _F.CONFIRM)),
        _E.DECLARED_DEAD: Outcome(_S.DEAD, (_F.CLEAR, _F.MARK, _F.SPREAD)),
        _E.EXCHANGED_DEAD: Outcome(_S.SUSPECT, (_F.MARK, _F.CONFIRM)),
        _E.DECLARED_LEFT: Outcome(_S.LEFT, (_F.CLEAR, _F.MARK, _F.SPREAD)),
        _E.REFUSED: Outcome(_S.DEAD, (_F.CLEAR, _F.MARK, _F.VERDICT)),
        _E.TIMER: Outcome(_S.DEAD, (_F.CLEAR, _F.VERDICT)),
        _E.FORGET: _BAN,
        _E.REAP: _KEEP[_S.SUSPECT],
        _E.EXPIRE: _KEEP[_S.SUSPECT],
    },
    _S.DEAD: {
        _E.STALE: _KEEP[_S.DEAD],
        _E.ALIVE: Outcome(_S.ALIVE, (_F.LEARN, _F.SPREAD)),
        _E.SUSPECTED: _KEEP[_S.DEAD],
        _E.DECLARED_DEAD: Outcome(_S.DEAD, (_F.MARK,)),
        _E.EXCHANGED_DEAD: Outcome(_S.DEAD, (_F.MARK,)),
        _E.DECLARED_LEFT: Outcome(_S.LEFT, (_F.MARK, _F.SPREAD)),
        _E.REFUSED: _KEEP[_S.DEAD],
        _E.TIMER: _KEEP[_S.DEAD],
        _E.FORGET: _BAN,
        _E.REAP: Outcome(_S.BURIED, (_F.BURY,)),
        _E.EXPIRE: _KEEP[_S.DEAD],
    },
    _S.LEFT: {
        _E.STALE: _KEEP[_S.LEFT],
        _E.ALIVE: Outcome(_S.ALIVE, (_F.LEARN, _F.SPREAD)),
        _E.SUSPECTED: _KEEP[_S.LEFT],
        _E.DECLARED_DEAD: _KEEP[_S.LEFT],
        _E.EXCHANGED_DEAD: _KEEP[_S.LEFT],
        _E.DECLARED_LEFT: Outcome(_S.LEFT, (_F.MARK,)),
        _E.REFUSED: _KEEP[_S.LEFT],
        _E.TIMER: _KEEP[_S.LEFT],
        _E.FORGET: _BAN,
        _E.REAP: Outcome(_S.BURIED, (_F.BURY,)),
        _E.EXPIRE: _KEEP[_S.LEFT],
    },
    _S.BURIED: {
        _E.STALE: _KEEP[_S.BURIED],
        _E.ALIVE: Outcome(_S.ALIVE, (_F.RELEASE, _F.LEARN, _F.SPREAD)),
        _E.SUSPECTED: _KEEP[_S.BURIED],
        _E.DECLARED_DEAD: _KEEP[_S.BURIED],
        _E.EXCHANGED_DEAD: _KEEP[_S.BURIED],
        _E.DECLARED_LEFT: _KEEP[_S.BURIED],
        _E.REFUSED: _KEEP[_S.BURIED],
        _E.TIMER: _KEEP[_S.BURIED],
        _E.FORGET: _BAN,
        _E.REAP: _KEEP[_S.BURIED],
        _E.EXPIRE: Outcome(_S.UNKNOWN, (_F.RELEASE,)),
    },
    _S.BANNED: {
        _E.STALE: _KEEP[_S.BANNED],
        _E.ALIVE: _KEEP[_S.BANNED],
        _E.SUSPECTED: _KEEP[_S.BANNED],
        _E.DECLARED_DEAD: _KEEP[_S.BANNED],
        _E.EXCHANGED_DEAD: _KEEP[_S.BANNED],
        _E.DECLARED_LEFT: _KEEP[_S.BANNED],
        _E.REFUSED: _KEEP[_S.BANNED],
        _E.TIMER: _KEEP[_S.BANNED],
        _E.FORGET: _BAN,
        _E.REAP: _KEEP[_S.BANNED],
        _E.EXPIRE: Outcome(_S.UNKNOWN, (_F.RELEASE,)),
    },
}

LISTED: Final = (Status.ALIVE, Status.SUSPECT, Status.DEAD, Status.LEFT)
PRESENT: Final = (Status.ALIVE, Status.SUSPECT)
"""Counted as members of the cluster, probed, and sent news."""
SWEEP_INTERVAL_MS: Final = 1_000
"""The long dead and old tombstones are looked for this often: a walk of both lists, and no hurry."""


@dataclass(slots=True)
class Member:
    """Somebody else. Mutable; owned by `Members`.

    Attributes:
        since_ms: when `status` was taken.
        answered_ms: when it last answered us (a completed round trip), 0 when never.
        heard_ms: when anything of it last reached us directly, 0 when never.
        offset, epoch_seen, registers_sum: its vitals as last heard; -1, 0, 0 before.
        serial: the highest of its state file that was heard of.
        behind: it spoke with a higher incarnation than we know: its claim got lost on the way to us.
    """

    id: str
    status: Status
    incarnation: int
    meta: Meta
    since_ms: int
    answered_ms: int = 0
    heard_ms: int = 0
    offset: int = -1
    epoch_seen: int = 0
    registers_sum: int = 0
    serial: int = 0
    suspicion: Suspicion | None = None
    behind: bool = False


@dataclass(frozen=True, slots=True)
class Tombstone:
    status: Status
    incarnation: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class Change:
    """What one event did.

    Attributes:
        before, after: status. Equal when only incarnation, meta or a suspicion's accusers changed.
        spread: the claim to pass on, if any.
        visible: status or meta changed: others who look at the list want to know.
    """

    member: str
    before: Status
    after: Status
    spread: MemberClaim | None
    visible: bool


class Members:
    """Everybody but ourselves, by id, in order of arrival.

    Args:
        me: our own id. A claim about it must not come here.
        suspicion_of: makes the timer of a new suspicion; the caller knows the cluster's size and its own
            health.
        members_max, tombstones_max, forget_ms, dead_keep_ms: see GossipConfig.
    """

    def __init__(
        self,
        me: str,
        suspicion_of: Callable[[int], Suspicion],
        *,
        members_max: int,
        tombstones_max: int,
        forget_ms: int,
        dead_keep_ms: int,
    ) -> None:
        self.me = me
        self._suspicion_of = suspicion_of
        self._members_max = members_max
        self._tombstones_max = tombstones_max
        self._forget_ms = forget_ms
        self._dead_keep_ms = dead_keep_ms
        self._listed: dict[str, Member] = {}
        self._suspects: dict[str, Suspicion] = {}
        self._tombstones: OrderedDict[str, Tombstone] = OrderedDict()
        self._present = 0
        self._sweep_due_ms = 0

    def __iter__(self) -> Iterator[Member]:
        return iter(self._listed.values())

    def __len__(self) -> int:
        return len(self._listed)

    def get(self, member: str) -> Member | None:
        return self._listed.get(member)

    @property
    def present(self) -> int:
        """Alive or suspect members, ourselves not counted. Constant time."""
        return self._present

    def all_present(self) -> list[Member]:
        """Those that `present` counts, in order of arrival."""
        return [member for member in self._listed.values() if member.status in PRESENT]

    @property
    def tombstones(self) -> int:
        return len(self._tombstones)

    def status_of(self, member: str) -> Status:
        listed = self._listed.get(member)
        if listed is not None:
            return listed.status
        tombstone = self._tombstones.get(member)
        return Status.UNKNOWN if tombstone is None else tombstone.status

    # -- events -----------------------------------------------------------------------------------------

    def claim(self, claim: MemberClaim, now_ms: int) -> Change | None:
        """Take a claim heard as news. None when it changed nothing worth telling."""
        event: Event
        if isinstance(claim, Alive):
            if claim.incarnation <= self._incarnation_of(claim.member):
                return None
            event = Event.ALIVE
        elif claim.incarnation < self._incarnation_of(claim.member):
            return None
        elif isinstance(claim, Suspect):
            event = Event.SUSPECTED
        elif isinstance(claim, Dead):
            event = Event.DECLARED_DEAD
        else:
            event = Event.DECLARED_LEFT
        return self._happen(claim.member, event, now_ms, claim)

    def exchanged(self, status: str, claim: Alive, accuser: str, now_ms: int) -> list[Change]:
        """Take one row of a state exchange, told by `accuser`: what is
        known of a member and its status there.
        """
        changes: list[Change | None] = []
        member, incarnation = claim.member, claim.incarnation
        if status == "dead":
            if incarnation >= self._incarnation_of(member):
                told = Suspect(member, incarnation, accuser)
                changes.append(self._happen(member, Event.EXCHANGED_DEAD, now_ms, told, meta=claim.meta))
        elif status == "left":
            changes.append(self.claim(Left(member, incarnation), now_ms))
        else:
            changes.append(self.claim(claim, now_ms))
            if status == "suspect":
                changes.append(self.claim(Suspect(member, incarnation, accuser), now_ms))
        return [change for change in changes if change is not None]

    def refused(self, member: str, incarnation: int, now_ms: int) -> Change | None:
        """A majority of the voters found the port of `member` closed."""
        if incarnation < self._incarnation_of(member):
            return None
        return self._happen(member, Event.REFUSED, now_ms, Dead(member, incarnation, self.me))

    def forget(self, member: str, now_ms: int) -> Change | None:
        """Drop `member` and refuse to learn it again for forget_ms."""
        incarnation = self._incarnation_of(member)
        return self._happen(member, Event.FORGET, now_ms, Left(member, max(0, incarnation)))

    def tick(self, now_ms: int, keep: Callable[[str], bool]) -> list[Change]:
        """Let suspicions run out, reap the long dead (unless `keep` says they
        still matter), drop old tombstones.
        """
        changes: list[Change | None] = []
        for member, suspicion in list(self._suspects.items()):
            if suspicion.due_ms() <= now_ms:
                incarnation = self._listed[member].incarnation
                changes.append(self._happen(member, Event.TIMER, now_ms, Dead(member, incarnation, self.me)))
        if now_ms >= self._sweep_due_ms:
            self._sweep_due_ms = now_ms + SWEEP_INTERVAL_MS
            for member, tombstone in list(self._tombstones.items()):
                if tombstone.until_ms <= now_ms:
                    self._happen(member, Event.EXPIRE, now_ms, Left(member, 0))
            for listed in list(self._listed.values()):
                gone = listed.status not in PRESENT and now_ms - listed.since_ms >= self._dead_keep_ms
                if gone and not keep(listed.id):
                    changes.append(
                        self._happen(listed.id, Event.REAP, now_ms, Left(listed.id, listed.incarnation))
                    )
        return [change for change in changes if change is not None]

    def next_due_ms(self) -> int | None:
        """When the next suspicion runs out. Reaping and tombstones wait for whatever tick comes."""
        if not self._suspects:
            return None
        return min(suspicion.due_ms() for suspicion in self._suspects.values())

    def stand_still(self, pause_ms: int) -> None:
        """We stood still: every running suspicion gets that time back."""
        for suspicion in self._suspects.values():
            suspicion.stand_still(pause_ms)

    # -- carrying out -----------------------------------------------------------------------------------

    def _incarnation_of(self, member: str) -> int:
        listed = self._listed.get(member)
        if listed is not None:
            return listed.incarnation
        tombstone = self._tombstones.get(member)
        return -1 if tombstone is None else tombstone.incarnation

    def _happen(
        self, member: str, event: Event, now_ms: int, claim: MemberClaim, *, meta: Meta | None = None
    ) -> Change | None:
        if member == self.me:
            raise LocalError(f"event {event.name} about ourselves ({member}) belongs to the detector")
        before = self.status_of(member)
        outcome = TABLE[before][event]
        learns = Effect.LEARN in outcome.effects
        if learns and before not in LISTED and len(self._listed) >= self._members_max:
            return None
        listed = self._listed.get(member)
        spread: MemberClaim | None = None
        visible = before is not outcome.becomes
        for effect in outcome.effects:
            if effect is Effect.LEARN:
                told = claim.meta if isinstance(claim, Alive) else meta
                if told is None:
                    raise LocalError(f"event {event.name} about {member} needs a meta")
                if listed is None:
                    listed = Member(member, before, claim.incarnation, told, now_ms)
                    self._listed[member] = listed
                visible = visible or listed.meta != told
                listed.incarnation, listed.meta, listed.behind = claim.incarnation, told, False
            elif effect is Effect.MARK:
                assert listed is not None
                if claim.incarnation > listed.incarnation and listed.suspicion is not None:
                    self._clear(listed)  # a suspicion belongs to one incarnation
                    self._accuse(listed, now_ms)
                listed.incarnation = claim.incarnation
            elif effect is Effect.CLEAR:
                if listed is not None:
                    self._clear(listed)
            elif effect is Effect.ACCUSE:
                assert listed is not None
                self._accuse(listed, now_ms)
                assert listed.suspicion is not None
                if isinstance(claim, Suspect):
                    listed.suspicion.confirm(claim.accuser)
            elif effect is Effect.CONFIRM:
                assert listed is not None
                assert listed.suspicion is not None
                if isinstance(claim, Suspect) and listed.suspicion.confirm(claim.accuser):
                    spread = claim
            elif effect in (Effect.SPREAD, Effect.VERDICT):
                spread = claim
            elif effect is Effect.BURY:
                self._bury(member, outcome.becomes, claim.incarnation, now_ms)
                listed = None
            else:
                assert effect is Effect.RELEASE
                del self._tombstones[member]
        self._present += (outcome.becomes in PRESENT) - (before in PRESENT)
        if listed is not None and listed.status is not outcome.becomes:
            listed.status = outcome.becomes
            listed.since_ms = now_ms
        if spread is None and not visible:
            return None
        return Change(member, before, outcome.becomes, spread, visible)

    def _accuse(self, listed: Member, now_ms: int) -> None:
        listed.suspicion = self._suspicion_of(now_ms)
        self._suspects[listed.id] = listed.suspicion

    def _clear(self, listed: Member) -> None:
        listed.suspicion = None
        self._suspects.pop(listed.id, None)

    def _bury(self, member: str, status: Status, incarnation: int, now_ms: int) -> None:
        self._listed.pop(member, None)
        self._tombstones.pop(member, None)
        if len(self._tombstones) >= self._tombstones_max:
            self._tombstones.popitem(last=False)
        keep_ms = self._forget_ms if status is Status.BANNED else self._dead_keep_ms
        self._tombstones[member] = Tombstone(status, incarnation, now_ms + keep_ms)
