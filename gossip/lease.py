"""Leases: how long a primary may serve without asking again.

What a majority of the voters granted is valid for one lease from the moment the request *left* (the
primary's clock). A voter remembers its grant for one lease from the moment the request *arrived* (its own
clock), which is later. So, rates being equal, the primary stops before any of the granting voters lets go,
whatever the delays. `lease_margin_ms` pays for unequal rates. The request says how long a lease the primary
wants and the grant how long the voter binds itself, never longer than its own configuration says: members
that are configured differently, in the middle of a rolling change, never disagree about when a lease ends.

    sent      +400: renew, a bare majority      +500 .. +900: again, everybody      +990: stop serving
    |-----------------|-----|-----|-----|-----|-----|--------------------------------|

A primary asks again at two fifths of the lease: as late as it may so that a pause of `tolerated_pause_ms`
right before does not end its lease. It asks just enough voters; if they do not make a majority within a
tenth of the lease it asks all of them, each tenth again: six attempts fit into one lease, and the loss of any
single packet or voter costs nothing. It stays with those that answered last. They notice when it falls
silent, long before its lease ends.

Why two primaries never serve at once: the voters that granted and the voters that accept a new primary are
two majorities and share a voter. If that one granted first, it declines the change until its grant has run
out; if it accepted first, it grants the old primary nothing more, since what it accepted names another one.

    voter           granted, running        granted, run out / never        started less than a lease ago
    change primary  decline, say how long   accept                          decline, say how long (it may
    have forgotten) ... with evidence of its own that the process is gone: accept in every column

The voters themselves change, and then two majorities need not share one: those of the new set wait a lease
with each shard whose primary they have not heard ask since, for the old set's grants may still be used.

A lease can be given back (a planned hand-over), and asked for again in the same epoch when nothing comes of
that. Messages about both may be late, doubled and overtake each other, so requests have an order, `Asked`:
the asker's incarnation, then `sent_ms`. A release names the newest request that it gives up:

    primary   ask 1    give back all up to 1        ask 2
    voter        grant 1   |  forgets 1 |              grant 2   | the same release again: 2 is newer, stays
                           |            | ask 1 again: no        |
    primary                              grant 1 arrives late: given up, does not count

That a late request gets nothing is for speed: a grant that it revived would protect nobody, for its holder
does not count it, and keep the heir waiting. A voter remembers for one lease what was given back; a request
that is later still may delay a vote by another lease, which is the price of any request.

Voters keep this in memory only; the wait after a start, as long as the longest lease they may have granted,
is what makes that safe. It bounds stale reads. It never carries durability: that is the epoch check on the
replicas.

Rejected: asking everybody, or one more than a majority, each time. A spare saves a tenth of a lease after the
loss of a packet, of which six tenths are left; it costs a third of all packets of an idle cluster.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

from gossip.beat import on_beat
from gossip.topology import ShardView
from gossip.votes import VoterSet

Asked: TypeAlias = tuple[int, int]
"""Orders the requests of one member: its incarnation (it rises with every life, and a clock may begin anew
with one), and when the request left by its own clock.
"""
GIVEN_BACK_MAX: Final = 1_024
"""A voter remembers so many members that gave leases back; forgetting one may delay a vote."""
RETRIES_SOON: Final = 10
"""So many attempts follow each other closely; then the voters are out of reach, and a quarter of a lease
does.
"""
RETRIES_LATER: Final = 8
"""After so many of those we are silent for two leases. Some voters may grant us what others refuse because
they have accepted another primary, and with a voter gone neither are a majority: what the first granted has
to run out before they can accept it too.
"""


def renewal_ms(lease_ms: int) -> int:
    """How long after a request that was granted the next one leaves."""
    return lease_ms * 2 // 5


def silence_ms(lease_ms: int) -> int:
    """A primary that has not asked for so long is worth a look: 440 of 1,000 ms. A probe is cheap."""
    return renewal_ms(lease_ms) + lease_ms // 25


@dataclass(slots=True)
class _Grant:
    primary: str
    epoch: int
    until_ms: int
    asked: Asked


class LeaseVoter:
    """A voter's memory of what it granted.

    Args:
        lease_ms: how long a grant binds at most.
        forgot_until_ms: until when grants of a previous life may still run: start + lease_ms after a
            restart, 0 for a member that never voted before.
    """

    def __init__(self, lease_ms: int, forgot_until_ms: int) -> None:
        self._lease_ms = lease_ms
        self._silence_ms = silence_ms(lease_ms)
        self._forgot_until_ms = forgot_until_ms
        self._others_until_ms = 0
        self._asked: set[str] = set()  # shards whose primary got a grant here since the voters changed
        self._grants: dict[str, _Grant] = {}
        self._given_back: dict[str, tuple[Asked, int]] = {}  # member -> (up to which request, when to forget)
        self._heard: dict[str, tuple[str, int]] = {}  # shard -> (primary, when it last asked), oldest first

    def ask(
        self, primary: str, epoch: int, shard: ShardView, now_ms: int, wanted_ms: int, asked: Asked
    ) -> int:
        """For how long from now `primary` gets the lease for `shard`; 0: not at all.

        Args:
            epoch: of the configuration under which it asks. wanted_ms: how long a lease it wants.
            shard: the newest configuration that this voter knows *or has accepted*, decided or not.
            asked: which request of the primary's this is.
        """
        if wanted_ms <= 0 or epoch < shard.epoch or (epoch == shard.epoch and primary != shard.primary):
            return 0
        given_back, forget_ms = self._given_back.get(primary, (asked, 0))
        if forget_ms > now_ms and asked <= given_back:
            return 0  # a late one
        grant = self._grants.get(shard.id)
        if (
            grant is not None
            and grant.until_ms > now_ms
            and grant.primary != primary
            and grant.epoch >= epoch
        ):
            return 0
        granted_ms = min(wanted_ms, self._lease_ms)
        until_ms = now_ms + granted_ms
        if grant is not None and grant.primary == primary:
            if grant.until_ms > now_ms:
                asked = max(asked, grant.asked)  # they overtake each other
            until_ms = max(until_ms, grant.until_ms)  # a shorter wish does not take back what was granted
        self._grants[shard.id] = _Grant(primary, epoch, until_ms, asked)
        self._asked.add(shard.id)
        self._heard.pop(shard.id, None)
        self._heard[shard.id] = (primary, now_ms)
        return granted_ms

    def voters_changed(self, now_ms: int) -> None:
        """Others voted until now: what they granted may run for another lease, and they are asked no more."""
        self._others_until_ms = now_ms + self._lease_ms
        self._asked.clear()

    def release(self, shard_id: str, primary: str, epoch: int, asked: Asked, now_ms: int) -> None:
        """The holder gives back before its time what it was granted for this request of its and those before.

        A grant for a newer one stays: the holder asked again since, and serves by it.
        """
        given_back, _forget_ms = self._given_back.pop(primary, (asked, 0))
        if len(self._given_back) >= GIVEN_BACK_MAX:
            del self._given_back[next(iter(self._given_back))]
        self._given_back[primary] = (max(asked, given_back), now_ms + self._lease_ms)
        grant = self._grants.get(shard_id)
        if grant is not None and grant.primary == primary and grant.epoch <= epoch and grant.asked <= asked:
            del self._grants[shard_id]
            self._heard.pop(shard_id, None)

    def next_silence_ms(self) -> int | None:
        """When the primary that has been silent for longest is worth a look. Constant time."""
        for _primary, heard_ms in self._heard.values():
            return heard_ms + self._silence_ms
        return None

    def silences(self, now_ms: int) -> list[str]:
        """Primaries that asked us and should have asked again by now; each is named once.

        Something is wrong, or they ask others this time: worth a probe, no more.
        """
        silent: list[str] = []
        due_ms = self.next_silence_ms()
        if due_ms is None or due_ms > now_ms:
            return silent
        for shard_id, (primary, heard_ms) in list(self._heard.items()):
            if heard_ms + self._silence_ms > now_ms:
                break
            del self._heard[shard_id]
            silent.append(primary)
        return silent

    def holder(self, shard_id: str, now_ms: int, *, above: int = -1) -> str:
        """Who holds a running grant, under a later epoch than `above`; '' if nobody."""
        grant = self._grants.get(shard_id)
        runs = grant is not None and grant.until_ms > now_ms and grant.epoch > above
        return grant.primary if grant is not None and runs else ""

    def wait_ms(self, shard_id: str, successor: str, now_ms: int) -> int:
        """How long until `successor` may be accepted as primary; 0: now.
        Evidence of death is the caller's to weigh.
        """
        grant = self._grants.get(shard_id)
        if grant is not None and grant.primary == successor:
            return 0
        granted_ms = 0 if grant is None else grant.until_ms - now_ms
        others_ms = 0 if shard_id in self._asked else self._others_until_ms - now_ms
        return max(0, granted_ms, others_ms, self._forgot_until_ms - now_ms)


class LeaseHolder:
    """A primary's side.

    Args:
        me: our id: decides whom we ask first, so that not all primaries ask the same voters.
        lease_ms, margin_ms, beat_ms: see GossipConfig.
    """

    def __init__(self, me: str, lease_ms: int, margin_ms: int, beat_ms: int = 1) -> None:
        self._me = me
        self._lease_ms = lease_ms
        self._margin_ms = margin_ms
        self._beat_ms = beat_ms
        self._shard_id = ""
        self._epoch = 0
        self._voters = VoterSet(0, ())
        self._order: tuple[str, ...] = ()
        self._sent_ms: dict[str, int] = {}
        self._until_ms: dict[str, int] = {}
        self._due_ms = 0
        self._asked_ms = 0
        self._given_back_ms = -1
        self._attempts = 0
        self._valid_until_ms = 0

    @property
    def shard_id(self) -> str:
        """The shard we want to serve, '' for none."""
        return self._shard_id

    @property
    def epoch(self) -> int:
        return self._epoch

    @property
    def lease_ms(self) -> int:
        """How long a lease we ask for."""
        return self._lease_ms

    @property
    def valid_until_ms(self) -> int:
        """We may serve while the clock is below this. 0 without a lease."""
        return self._valid_until_ms

    def serve(self, shard_id: str, epoch: int, voters: VoterSet, now_ms: int) -> None:
        """What we want a lease for, and from whom. Grants of another shard or
        an older epoch are worth nothing now.
        """
        if (shard_id, epoch) != (self._shard_id, self._epoch):
            self._shard_id, self._epoch = shard_id, epoch
            self._sent_ms.clear()
            self._until_ms.clear()
            self._attempts = 0
            self._due_ms = max(now_ms, self._given_back_ms + 1)
        elif voters != self._voters:
            self._due_ms = now_ms
        if voters != self._voters:
            self._voters = voters
            self._order = _beginning_with(self._me, voters.everyone())
        self._revalue()

    def give_back(self, now_ms: int) -> int:
        """We serve no shard any more, whatever was granted. Returns when our newest request left, up to which
        voters may forget theirs. What they granted us until then counts no more, even if we hear of it only
        when we have asked again.
        """
        self._given_back_ms = self._asked_ms
        self.serve("", 0, self._voters, now_ms)
        return self._given_back_ms

    def over(self, now_ms: int) -> bool:
        """Whether there is a shard that we want to serve and may not."""
        return self._valid_until_ms <= now_ms and self._shard_id != ""

    def next_due_ms(self) -> int | None:
        return self._due_ms if self._shard_id else None

    def renewals(self, now_ms: int, slack_ms: int = 0) -> tuple[str, ...]:
        """Whom to ask now; empty when it is not time within `slack_ms`. Each is to get a request with
        sent_ms = now_ms.
        """
        if not self._shard_id or now_ms + slack_ms < self._due_ms or now_ms <= self._given_back_ms:
            return ()  # the last: two requests that left in one ms could not be told apart
        granted_ms = self.majority_granted_ms()
        late = granted_ms == 0 or self._asked_ms > granted_ms
        self._attempts += 1
        retry_ms = self._lease_ms // (10 if self._attempts <= RETRIES_SOON else 4)
        if self._attempts >= RETRIES_SOON + RETRIES_LATER:
            self._attempts, retry_ms = RETRIES_SOON, 2 * self._lease_ms
        self._asked_ms = now_ms
        self._due_ms = now_ms + retry_ms
        if late:
            return self._order
        ranked = sorted(self._order, key=lambda voter: -self._sent_ms.get(voter, 0))  # stable
        for count in range(1, len(ranked)):
            if self._voters.has_quorum(ranked[:count]):
                return tuple(ranked[:count])
        return self._order

    def granted(
        self, voter: str, shard_id: str, epoch: int, sent_ms: int, granted_ms: int, now_ms: int
    ) -> None:
        """A voter granted `granted_ms` for what we asked at `sent_ms`. Answers to other lives, shards or
        epochs are ignored, and those about what we gave back since.
        """
        if (shard_id, epoch) != (self._shard_id, self._epoch) or not shard_id:
            return
        if sent_ms <= self._given_back_ms:
            return  # the voter may have forgotten it
        if voter not in self._order or not now_ms - self._lease_ms <= sent_ms <= now_ms:
            return
        self._sent_ms[voter] = max(sent_ms, self._sent_ms.get(voter, 0))
        until_ms = sent_ms + min(granted_ms, self._lease_ms)
        self._until_ms[voter] = max(until_ms, self._until_ms.get(voter, 0))
        self._revalue()
        if self.majority_granted_ms() >= self._asked_ms > 0:
            self._attempts = 0
            shortest_ms = min(self._lease_ms, self._valid_until_ms + self._margin_ms - self._asked_ms)
            due_ms = self._asked_ms + renewal_ms(max(1, shortest_ms))
            self._due_ms = on_beat(due_ms, self._beat_ms, late_ms=self._lease_ms // 50)

    def majority_granted_ms(self) -> int:
        """Latest send time of which a majority granted that request or a later one; 0 before."""
        return self._of_majority(self._sent_ms)

    def _of_majority(self, times_ms: dict[str, int]) -> int:
        """The latest time that a majority has reached."""
        return self._voters.reached_ms(times_ms) or 0

    def _revalue(self) -> None:
        until_ms = self._of_majority(self._until_ms)
        self._valid_until_ms = max(0, until_ms - self._margin_ms) if until_ms and self._shard_id else 0


def _beginning_with(me: str, voters: tuple[str, ...]) -> tuple[str, ...]:
    """The voters in a ring, from `me` on; from somewhere that depends on our id when we do not vote."""
    if not voters:
        return ()
    at = voters.index(me) if me in voters else sum(me.encode()) % len(voters)
    return voters[at:] + voters[:at]
