"""Who leads our shard: when a replica stands for promotion, when a primary steps down, and why not.

The decision itself is the register's (`shard/<id>`, a majority of the voters). This core decides when to ask
and what to do with the answer. It knows one member and one shard: its own. Events and `now` go in, actions
come out.

A replica stands when its primary is dead by gossip, or refuses connections (the voters then look for
themselves before they agree). The best candidate goes first: data of the present epoch, in the in-sync set,
highest offset, lowest id; the k-th waits k turns, so that normally nobody competes. Before it asks it stops
taking the old primary's stream: whatever was acknowledged must be in the data it stands with.

It never stands with data that is not of the decided epoch: an empty replica, one in the middle of a full
sync, or one that missed a whole reign could only win by forgetting what others acknowledged. If no other
replica is left, the shard waits for its primary, or for a person (CLUSTER FAILOVER FORCE).

Where the register says `quorum`, membership in the decided in-sync set counts instead of the epoch: whoever
is in it has every acknowledged write, also of reigns it slept through, since nothing was acknowledged without
it. Nobody else may stand, and a successor keeps the others in the set, so that a second death loses nothing
either. That goes for the primary that it replaces, too: perhaps it only stood still. It has everything that
was ever acknowledged until its successor has voted it out (in_sync.py says when) and acknowledged more. So it
keeps the claim of its data as it steps down, and leads again if its successor dies with its memory first.

A primary that comes back *empty*, restarted so quickly that nobody noticed, still holds office by the
register. It must not serve emptiness, nor let its replicas copy it. It is `returning`: it cedes to an in-sync
replica that has data, and only if there is none after a while does it lead, with a new epoch. With `quorum`
it waits for as long as a member of the in-sync set is missing: that one may have what was acknowledged.

Rejected: letting every replica ask at once and the voters choose. The voters would need the offsets, which
change all the time, in what they persist.
"""

from __future__ import annotations

import random as random_module
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from gossip.register import Change
from gossip.topology import MemberView, ShardView, Topology
from node.accounts import UNKNOWN, Account
from node.succession import cession, promotion, renewal

# What happens in which state on which event; the product is complete and tested as such.
#
#   alone      we belong to no shard
#   following  a replica with its primary, or waiting for one
#   waiting    a candidate whose turn has not come
#   standing   our proposal is with the voters
#   leading    the primary, by decision
#   returning  primary by decision, but this process began without data
#   ceding     giving that office away (or taking it anew): the proposal is with the voters
#
#   primary_up / primary_down: somebody else is the decided primary and is usable / is not (or there is none)
TABLE: Final[Mapping[tuple[str, str], str]] = {
    ("alone", "no_shard"): "ignore",
    ("alone", "chosen"): "take_office",
    ("alone", "primary_up"): "follow",
    ("alone", "primary_down"): "follow",
    ("alone", "refused"): "ignore",
    ("alone", "timer"): "ignore",
    ("alone", "won"): "ignore",  # of a shard we left meanwhile
    ("alone", "failed"): "ignore",
    ("following", "no_shard"): "detach",
    ("following", "chosen"): "take_office",
    ("following", "primary_up"): "follow",
    ("following", "primary_down"): "follow",  # whoever it is now; then see whether to stand
    ("following", "refused"): "consider",
    ("following", "timer"): "ignore",
    ("following", "won"): "win",  # a proposal we had given up on
    ("following", "failed"): "ignore",
    ("waiting", "no_shard"): "detach",
    ("waiting", "chosen"): "take_office",
    ("waiting", "primary_up"): "reconsider",
    ("waiting", "primary_down"): "rank_again",
    ("waiting", "refused"): "ignore",
    ("waiting", "timer"): "stand",
    ("waiting", "won"): "win",
    ("waiting", "failed"): "ignore",
    ("standing", "no_shard"): "detach",
    ("standing", "chosen"): "take_office",
    ("standing", "primary_up"): "yield_to_successor",
    ("standing", "primary_down"): "yield_to_successor",
    ("standing", "refused"): "ignore",
    ("standing", "timer"): "ignore",
    ("standing", "won"): "win",
    ("standing", "failed"): "retry",
    ("leading", "no_shard"): "detach",
    ("leading", "chosen"): "note_epoch",
    ("leading", "primary_up"): "step_down",
    ("leading", "primary_down"): "step_down",
    ("leading", "refused"): "ignore",
    ("leading", "timer"): "ignore",
    ("leading", "won"): "note_epoch",
    ("leading", "failed"): "ignore",
    ("returning", "no_shard"): "detach",
    ("returning", "chosen"): "seek_heir",
    ("returning", "primary_up"): "step_down",
    ("returning", "primary_down"): "step_down",
    ("returning", "refused"): "ignore",
    ("returning", "timer"): "seek_heir",
    ("returning", "won"): "win",
    ("returning", "failed"): "ignore",
    ("ceding", "no_shard"): "detach",
    ("ceding", "chosen"): "note_shard",
    ("ceding", "primary_up"): "step_down",
    ("ceding", "primary_down"): "step_down",
    ("ceding", "refused"): "ignore",
    ("ceding", "timer"): "ignore",
    ("ceding", "won"): "win",
    ("ceding", "failed"): "return_again",
}

ACCOUNTS_MAX: Final = 32
NO_SHARD: Final = ShardView("")


@dataclass(frozen=True, slots=True)
class ElectionPolicy:
    """`turn_ms`: how long the next candidate waits for the one before it; a decision takes a few round trips
    and disk writes. `retry_*`: random part of a doubled floor, at most the cap, between attempts of one
    candidate. `return_wait_ms`: how long an empty primary looks for a replica with data; longer than such a
    replica needs to be heard of after a restart of everything."""

    turn_ms: int = 200
    retry_floor_ms: int = 100
    retry_cap_ms: int = 5000
    return_wait_ms: int = 2000

    def __post_init__(self) -> None:
        if not 0 < self.retry_floor_ms <= self.retry_cap_ms:
            raise ValueError("retry_floor_ms must be positive and at most retry_cap_ms")
        if self.turn_ms < 0 or self.return_wait_ms < 0:
            raise ValueError("turn_ms and return_wait_ms must not be negative")


# -- actions -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Follow:
    """Replicate from this member (perhaps again).

    An empty `primary` means: from nobody, but stay a replica.
    """

    shard_id: str
    primary: str
    epoch: int


@dataclass(frozen=True, slots=True)
class StopStream:
    """Take nothing more from the old primary; comes before the proposal that is to replace it."""


@dataclass(frozen=True, slots=True)
class Propose:
    """Ask the voters; answer with `won(shard)` or `failed(why)`."""

    shard_id: str
    change: Change


@dataclass(frozen=True, slots=True)
class Lead:
    """Serve the shard's slots as primary of this epoch."""

    shard_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Primary by decision, yet serve nothing and feed no replica for now."""

    shard_id: str


@dataclass(frozen=True, slots=True)
class Detach:
    """We belong to no shard any more."""


Action: TypeAlias = Follow | StopStream | Propose | Lead | Hold | Detach


@dataclass(frozen=True, slots=True)
class Event:
    """An event with what belongs to it."""

    kind: str
    now_ms: int
    shard: ShardView = NO_SHARD
    why: str = ""


@dataclass(slots=True)
class Election:
    """One member's part in who leads its shard.

    Members announce their replication offset by gossip, -1 while they hold no complete copy of the data of
    the epoch they know (`announced_offset`). Right after a restart nothing has been heard of anybody yet,
    which looks the same; hence the patience of an empty primary.

    `offset` and `data_epoch` describe our data and are kept current by the shell: `data_epoch` is the epoch
    of the configuration whose primary we hold a complete copy of (or which we led), 0 while there is none;
    `heard_ms` when the stream last brought anything.

    `deposed` is whom we replaced without its help when we took office; '' after a handover.

    `accounts` tell of elections, the last few; `take_ended` gives each once, when it is over.
    """

    member_id: str
    random: random_module.Random
    policy: ElectionPolicy = ElectionPolicy()
    state: str = "alone"
    shard: ShardView = NO_SHARD
    offset: int = 0
    data_epoch: int = 0
    heard_ms: int = UNKNOWN
    wake_ms: int | None = None
    why_not: str = ""
    deposed: str = ""
    accounts: deque[Account] = field(default_factory=lambda: deque(maxlen=ACCOUNTS_MAX))
    _topology: Topology | None = None
    _followed: tuple[str, str, int] | None = None
    _founded: str = ""
    _refused: bool = False
    _attempts: int = 0
    _return_deadline_ms: int = 0
    _account: Account | None = None
    _ended: list[Account] = field(default_factory=list)
    _accusers: dict[str, int] = field(default_factory=dict)
    _actions: list[Action] = field(default_factory=list)

    # -- events

    def observe(self, topology: Topology, now_ms: int) -> list[Action]:
        """The cluster as seen now: settles most questions."""
        self._topology = topology
        shard = topology.shard_led_by(self.member_id)
        if shard is None:
            me = topology.members.get(self.member_id)
            shard = topology.shards.get(me.shard_id) if me is not None and me.shard_id else None
        if shard is None:
            return self._happens(Event("no_shard", now_ms))
        if shard.id == self.shard.id and shard.epoch < self.shard.epoch:
            return []  # gossip lags behind what we had decided ourselves
        if shard.primary == self.member_id:
            return self._happens(Event("chosen", now_ms, shard))
        primary = topology.members.get(shard.primary)
        up = primary is not None and primary.usable
        return self._happens(Event("primary_up" if up else "primary_down", now_ms, shard))

    def found(self, shard_id: str) -> None:
        """We are about to create this shard with ourselves as its primary:.

        Nothing to be afraid of in being empty.
        """
        self._founded = shard_id

    def link_refused(self, now_ms: int, why: str = "its connections were refused") -> list[Action]:
        """Our primary's process is gone, or its machine says so; or it says itself that it cannot serve."""
        return self._happens(Event("refused", now_ms, self.shard, why))

    def sync_started(self) -> None:
        """A full copy begins to replace our data: until it is complete we hold nothing."""
        self.data_epoch = 0

    def synced(self, epoch: int) -> None:
        """We hold a complete copy of the primary of that epoch and follow its stream."""
        self.data_epoch = epoch
        self._refused = False

    def won(self, shard: ShardView, now_ms: int) -> list[Action]:
        """Our proposal was decided; `shard` is the decided configuration."""
        return self._happens(Event("won", now_ms, shard))

    def failed(self, why: str, now_ms: int) -> list[Action]:
        """Our proposal was refused or found no majority."""
        return self._happens(Event("failed", now_ms, self.shard, why))

    def refresh(self, topology: Topology) -> None:
        """The picture that was observed last, with what members have told of their data since: nothing to act
        upon by itself, but what we do next goes by it."""
        if self._topology is not None and topology.version == self._topology.version:
            self._topology = topology

    def tick(self, now_ms: int) -> list[Action]:
        if self.wake_ms is None or now_ms < self.wake_ms:
            return []
        self.wake_ms = None
        return self._happens(Event("timer", now_ms, self.shard))

    @property
    def announced_offset(self) -> int:
        """What to tell the others about our data."""
        return -1 if self._reason_not_to_stand() and self.state != "leading" else self.offset

    @property
    def _floor(self) -> int:
        return 0 if self._topology is None else self._topology.epoch

    @property
    def leads(self) -> bool:
        return self.state == "leading"

    def _happens(self, event: Event) -> list[Action]:
        handler: Callable[[Event], None] = getattr(self, f"_{TABLE[self.state, event.kind]}")
        handler(event)
        actions, self._actions = self._actions, []
        return actions

    # -- what happens

    def _ignore(self, event: Event) -> None:
        pass

    def _detach(self, event: Event) -> None:
        self._close_account("left the shard", event.now_ms)
        self.state, self.shard, self.wake_ms = "alone", NO_SHARD, None
        self._followed = None
        self.data_epoch = 0
        self._refused = False
        self._actions.append(Detach())

    def _follow(self, event: Event) -> None:
        """Replica of whoever is decided; asks for the stream only when something about it is new."""
        shard = event.shard
        if shard.epoch != self.shard.epoch or shard.id != self.shard.id:
            self._refused = False
            self._attempts = 0
            self._accusers = {}
        self._enter(shard)
        self.state, self.shard, self.wake_ms = "following", shard, None
        wanted = (shard.id, shard.primary, shard.epoch)
        if wanted != self._followed:
            self._followed = wanted
            self._actions.append(Follow(*wanted))
        if event.kind == "primary_down":
            self._consider(event)

    def _enter(self, shard: ShardView) -> None:
        """A copy of another shard counts for nothing in this one, though its epoch may be the same."""
        if shard.id != self.shard.id:
            self.data_epoch = 0

    def _consider(self, event: Event) -> None:
        """Our primary is gone, as far as we know: do we stand, and when is our turn?"""
        self.shard = event.shard
        if event.kind == "refused":
            self._refused = True
        self.why_not = self._reason_not_to_stand()
        if self.why_not:
            return
        rank, rivals = self._rank()
        self.state = "waiting"
        self.wake_ms = event.now_ms + rank * self.policy.turn_ms + self._backoff_ms()
        if self._account is None:
            reason = event.why if event.kind == "refused" else "dead by gossip"
            self._open_account(self.shard, reason, event.now_ms, rank, rivals)

    def _reason_not_to_stand(self) -> str:
        shard = self.shard
        if self.data_epoch == 0:
            return "this replica holds no complete copy"
        if shard.quorum:
            return "" if self.member_id in shard.in_sync else "this replica is not in the in-sync set"
        if self.data_epoch != shard.epoch:
            return f"this replica's data is of epoch {self.data_epoch}, the shard is at {shard.epoch}"
        return ""

    def _rank(self) -> tuple[int, tuple[tuple[str, int, bool], ...]]:
        """How many usable siblings go before us, and what was known of all of them."""
        assert self._topology is not None
        in_sync = self.shard.in_sync
        mine = (self.member_id not in in_sync, -self.offset, self.member_id)
        rank = 0
        rivals: list[tuple[str, int, bool]] = []
        for sibling in self._topology.replicas_of(self.shard.id):
            if sibling.id == self.member_id or not sibling.usable:
                continue
            rivals.append((sibling.id, sibling.offset, sibling.id in in_sync))
            whole = sibling.offset >= 0 and (sibling.id in in_sync or not self.shard.quorum)
            if whole and (sibling.id not in in_sync, -sibling.offset, sibling.id) < mine:
                rank += 1
        return rank, tuple(rivals)

    def _rank_again(self, event: Event) -> None:
        """News while we wait. A better candidate may have gone; a new epoch starts everything anew."""
        if event.shard.epoch != self.shard.epoch or event.shard.primary != self.shard.primary:
            self._close_account("somebody else was decided", event.now_ms)
            self._follow(event)
            return
        self.shard = event.shard
        rank, _ = self._rank()
        if self._account is not None and rank < self._account.rank and self._attempts == 0:
            self._account.rank = rank
            self.wake_ms = min(self.wake_ms or event.now_ms, event.now_ms + rank * self.policy.turn_ms)

    def _reconsider(self, event: Event) -> None:
        """The primary seems up.

        If its death was hearsay, it is called off; refused connections still count once.
        """
        same = event.shard.epoch == self.shard.epoch and event.shard.primary == self.shard.primary
        if same and self._refused:
            self.shard = event.shard
            return
        outcome = "called off: the primary is there" if same else "somebody else was decided"
        self._close_account(outcome, event.now_ms)
        self._follow(event)

    def _stand(self, event: Event) -> None:
        self.why_not = self._reason_not_to_stand()
        if self.why_not:
            self._close_account(self.why_not, event.now_ms)
            self.state = "following"
            return
        self.state = "standing"
        self._followed = None  # whoever is followed next is asked anew
        self._attempts += 1
        if self._account is not None:
            self._account.stood_ms = event.now_ms if self._account.stood_ms < 0 else self._account.stood_ms
            self._account.attempts = self._attempts
            self._account.offset = self.offset
            if self.heard_ms >= 0:
                self._account.silent_ms = event.now_ms - self.heard_ms
        self._actions.append(StopStream())
        change = promotion(self.member_id, self.shard, floor=self._floor)
        self._actions.append(Propose(self.shard.id, change))

    def _retry(self, event: Event) -> None:
        """Nothing decided that we know of.

        Wait a little longer each time; for a primary that shows up, go back.
        """
        self.state = "waiting"
        self.wake_ms = event.now_ms + self._backoff_ms()
        self._refused = False  # spent: the voters did not find it so
        if self._account is not None:
            self._account.note_answer(event.why)
        if self._topology is not None:
            self._actions = self._look_again(event.now_ms)

    def _backoff_ms(self) -> int:
        """Before the next attempt; nothing before the first."""
        if self._attempts == 0:
            return 0
        span_ms = min(self.policy.retry_cap_ms, self.policy.retry_floor_ms << min(self._attempts - 1, 16))
        return 1 + round(span_ms * (0.5 + self.random.random() / 2))

    def _look_again(self, now_ms: int) -> list[Action]:
        """What was to be done already, then what the present view of the cluster asks for."""
        assert self._topology is not None
        kept, self._actions = self._actions, []
        return kept + self.observe(self._topology, now_ms)

    def _yield_to_successor(self, event: Event) -> None:
        """While our proposal is out only another decision matters; the old primary's state does not."""
        if event.shard.epoch != self.shard.epoch or event.shard.primary != self.shard.primary:
            self._close_account("somebody else was decided", event.now_ms)
            self._follow(event)

    def _win(self, event: Event) -> None:
        if event.shard.id != self.shard.id or event.shard.epoch < self.shard.epoch:
            return  # decided long ago, and history went on
        if event.shard.primary != self.member_id:
            self._step_down(event)
            return
        if self._account is None:
            self._open_account(self.shard, "a person asked for it (CLUSTER FAILOVER FORCE)", event.now_ms)
            self.accounts[-1].stood_ms = event.now_ms
        self._take_account(event)
        self._lead(event.shard, deposed=self.shard.primary)

    def _take_office(self, event: Event) -> None:
        """The register names us. With data (or founding the shard) we lead; otherwise we came back empty."""
        founded = self._founded == event.shard.id
        self._enter(event.shard)
        if founded or self.data_epoch > 0:
            if self._account is None and not founded:
                self._open_account(self.shard, "its predecessor handed over", event.now_ms)
            self._take_account(event)
            self._lead(event.shard)
            return
        self.state, self.shard = "returning", event.shard
        self._return_deadline_ms = event.now_ms + self.policy.return_wait_ms
        self._attempts = 0
        reason = "this primary came back without data"
        self._open_account(event.shard, reason, event.now_ms, 0, self._heirs_known())
        self._actions.append(Hold(event.shard.id))
        self._seek_heir(event)

    def _lead(self, shard: ShardView, deposed: str = "") -> None:
        self.deposed = "" if deposed == self.member_id else deposed
        self.state, self.shard, self.wake_ms = "leading", shard, None
        self.data_epoch = shard.epoch
        self.why_not = ""
        self._founded, self._followed = "", None
        self._refused, self._attempts = False, 0
        self._actions.append(Lead(shard.id, shard.epoch))

    def _note_epoch(self, event: Event) -> None:
        if event.shard.id == self.shard.id and event.shard.epoch < self.shard.epoch:
            return
        if event.shard.primary != self.member_id:
            self._step_down(event)  # what was decided for us is that our heir leads
            return
        moved = (event.shard.id, event.shard.epoch) != (self.shard.id, self.shard.epoch)
        self.shard = event.shard
        if moved:
            self.data_epoch = event.shard.epoch
            self._actions.append(Lead(event.shard.id, event.shard.epoch))

    def _step_down(self, event: Event) -> None:
        """Somebody else was decided: our reign is over, our tail that nobody has is void.

        But not our claim, where the set still counts on us: nothing was acknowledged without us since then.
        """
        self._close_account("another member is the decided primary", event.now_ms)
        self._founded = ""
        counted_on = event.shard.quorum and self.member_id in event.shard.in_sync
        if self.state in ("leading", "returning", "ceding") and not counted_on:
            self.data_epoch = 0  # ours is another history until the new primary says otherwise (`synced`)
        self._follow(event)

    # -- the empty primary

    def _heirs_known(self) -> tuple[tuple[str, int, bool], ...]:
        assert self._topology is not None
        members = self._topology.members
        return tuple(
            (member_id, members[member_id].offset, True)
            for member_id in self.shard.in_sync
            if member_id != self.member_id and member_id in members
        )

    def _seek_heir(self, event: Event) -> None:
        assert self._topology is not None
        self.shard = event.shard
        members = self._topology.members
        others = [member_id for member_id in self.shard.in_sync if member_id != self.member_id]
        heirs: list[MemberView] = []
        for member_id in others:
            member = members.get(member_id)
            if member is not None and member.usable and member.offset >= 0:
                heirs.append(member)
        if heirs:
            heir = min(heirs, key=lambda member: (-member.offset, member.id))
            self._office_proposal(cession(self.member_id, heir.id, self.shard, floor=self._floor))
        elif not others or (event.now_ms >= self._return_deadline_ms and not self._missing(others)):
            # Nobody has anything: a new epoch, so that no copy of the old one can ever be elected.
            self._office_proposal(renewal(self.member_id, self.shard, floor=self._floor))
        else:
            self.wake_ms = max(self._return_deadline_ms, event.now_ms + self.policy.retry_cap_ms // 5)

    def _note_shard(self, event: Event) -> None:
        """Decided by our former life, perhaps: the next attempt goes by it."""
        self.shard = event.shard

    def _missing(self, others: Iterable[str]) -> list[str]:
        """With `quorum`: whose word we wait for, because they may have what was acknowledged."""
        assert self._topology is not None
        members = self._topology.members
        if not self.shard.quorum:
            return []
        missing = [
            other
            for other in others
            if other not in members or not members[other].usable or members[other].epoch_seen == 0
        ]  # alive by what others said, before it told of its data itself, is missing too
        self.why_not = f"no data, and in-sync {', '.join(missing)} may have it" if missing else ""
        return missing

    def _office_proposal(self, change: Change) -> None:
        self.state, self.wake_ms = "ceding", None
        self._attempts += 1
        if self._account is not None:
            self._account.attempts = self._attempts
        self._actions.append(Propose(self.shard.id, change))

    def _return_again(self, event: Event) -> None:
        self.state = "returning"
        self.wake_ms = event.now_ms + self._backoff_ms()
        if self._account is not None:
            self._account.note_answer(event.why)

    # -- telling of it

    def note_accusers(self, accusers: Iterable[str], now_ms: int) -> None:
        """Who accuses our primary at this moment, by gossip."""
        for accuser in accusers:
            self._accusers.setdefault(accuser, now_ms)

    def take_ended(self) -> list[Account]:
        """The accounts of elections that ended since the last call."""
        ended, self._ended = self._ended, []
        return ended

    def _open_account(
        self,
        shard: ShardView,
        reason: str,
        now_ms: int,
        rank: int = 0,
        rivals: tuple[tuple[str, int, bool], ...] = (),
    ) -> None:
        primary = None if self._topology is None else self._topology.members.get(shard.primary)
        self._account = Account(
            shard_id=shard.id,
            epoch=shard.epoch,
            old_primary=shard.primary,
            reason=reason,
            noticed_ms=now_ms,
            rank=rank,
            offset=self.offset,
            rivals=rivals,
            quorum=shard.quorum,
            primary_offset=UNKNOWN if primary is None else primary.offset,
            accusers=self._accusers,
        )
        self.accounts.append(self._account)

    def _take_account(self, event: Event) -> None:
        """The election ended with us in office."""
        if self._account is not None:
            self._account.decided_ms, self._account.new_epoch = event.now_ms, event.shard.epoch
        self._close_account("won", event.now_ms)

    def _close_account(self, outcome: str, now_ms: int) -> None:
        if self._account is not None:
            self._account.outcome, self._account.ended_ms = outcome, now_ms
            self._ended.append(self._account)
            self._account = None
