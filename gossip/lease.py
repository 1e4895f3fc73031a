"""Leases: how long a primary may serve without asking again.

A primary asks every voter at a third of the lease; what a majority granted is valid for one lease from the
moment the request *left* (the primary's clock). A voter remembers its grant for one lease from the moment
the request *arrived* (its own clock), which is later. So, rates being equal, the primary stops before any of
the granting voters lets go, whatever the delays. `lease_margin_ms` pays for unequal rates.

Why two primaries never serve at once: the voters that granted and the voters that accept a new primary are
two majorities and share a voter. If that one granted first, it declines the change until its grant has run
out; if it accepted first, it grants the old primary nothing more, since what it accepted names another one.

    voter           granted, running        granted, run out / never        started less than a lease ago
    change primary  decline, say how long   accept                          decline, say how long (it may
    have forgotten) ... with evidence of its own that the process is gone: accept in every column

Voters keep this in memory only; the wait after a start is what makes that safe. It bounds stale reads. It
never
carries durability: that is the epoch check on the replicas.
"""

from dataclasses import dataclass

from gossip.topology import ShardView
from gossip.votes import VoterSet


@dataclass(slots=True)
class _Grant:
    primary: str
    epoch: int
    until_ms: int


class LeaseVoter:
    """A voter's memory of what it granted.

    Args:
        lease_ms: how long a grant binds.
        forgot_until_ms: until when grants of a previous life may still run: start + lease_ms after a
            restart, 0 for a member that never voted before.
    """

    def __init__(self, lease_ms: int, forgot_until_ms: int) -> None:
        self._lease_ms = lease_ms
        self._forgot_until_ms = forgot_until_ms
        self._grants: dict[str, _Grant] = {}
        self._heard: dict[str, tuple[str, int]] = {}  # shard -> (primary, when it last asked), oldest first

    def ask(self, primary: str, epoch: int, shard: ShardView, now_ms: int) -> bool:
        """Whether `primary` gets the lease for `shard`.

        Args:
            epoch: of the configuration under which it asks.
            shard: the newest configuration that this voter knows *or has accepted*, decided or not.
        """
        if epoch < shard.epoch or (epoch == shard.epoch and primary != shard.primary):
            return False
        grant = self._grants.get(shard.id)
        if (
            grant is not None
            and grant.until_ms > now_ms
            and grant.primary != primary
            and grant.epoch >= epoch
        ):
            return False
        self._grants[shard.id] = _Grant(primary, epoch, now_ms + self._lease_ms)
        self._heard.pop(shard.id, None)
        self._heard[shard.id] = (primary, now_ms)
        return True

    def release(self, shard_id: str, primary: str, epoch: int) -> None:
        """The holder gives it back before its time."""
        grant = self._grants.get(shard_id)
        if grant is not None and grant.primary == primary and grant.epoch <= epoch:
            del self._grants[shard_id]
            self._heard.pop(shard_id, None)

    def next_silence_ms(self) -> int | None:
        """When the primary that has been silent for longest is worth a look. Constant time."""
        for _primary, heard_ms in self._heard.values():
            return heard_ms + self._lease_ms // 2
        return None

    def silences(self, now_ms: int) -> list[str]:
        """Primaries that asked us and have been silent for half a lease now; each is named once.

        They ask at a third of a lease, so something is wrong, or they ask others this time: worth a probe,
        no more.
        """
        silent: list[str] = []
        for shard_id, (primary, heard_ms) in list(self._heard.items()):
            if heard_ms + self._lease_ms // 2 > now_ms:
                break
            del self._heard[shard_id]
            silent.append(primary)
        return silent

    def holder(self, shard_id: str, now_ms: int) -> str:
        """Who holds a running grant, '' if nobody."""
        grant = self._grants.get(shard_id)
        return grant.primary if grant is not None and grant.until_ms > now_ms else ""

    def wait_ms(self, shard_id: str, successor: str, now_ms: int) -> int:
        """How long until `successor` may be accepted as primary; 0: now.
        Evidence of death is the caller's to weigh.
        """
        grant = self._grants.get(shard_id)
        if grant is not None and grant.primary == successor:
            return 0
        granted_ms = 0 if grant is None else grant.until_ms - now_ms
        return max(0, granted_ms, self._forgot_until_ms - now_ms)


class LeaseHolder:
    """A primary's side.

    Args:
        lease_ms, margin_ms: see GossipConfig.
    """

    def __init__(self, lease_ms: int, margin_ms: int) -> None:
        self._lease_ms = lease_ms
        self._margin_ms = margin_ms
        self._shard_id = ""
        self._epoch = 0
        self._voters = VoterSet(0, ())
        self._sent_ms: dict[str, int] = {}
        self._due_ms = 0
        self._asked_ms = 0
        self._valid_until_ms = 0

    @property
    def shard_id(self) -> str:
        """The shard we want to serve, '' for none."""
        return self._shard_id

    @property
    def epoch(self) -> int:
        return self._epoch

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
            self._due_ms = now_ms
        elif voters != self._voters:
            self._due_ms = now_ms
        self._voters = voters
        self._revalue()

    def next_due_ms(self) -> int | None:
        return self._due_ms if self._shard_id else None

    def renewals(self, now_ms: int, slack_ms: int = 0) -> tuple[str, ...]:
        """Whom to ask now; empty when it is not time within `slack_ms`. Each is to get a request with
        sent_ms = now_ms.

        One voter more than the quorum needs, those that granted last before the others: asking everybody
        would cost packets and gain nothing while all is well. When the last renewal failed to complete,
        everybody.
        """
        if not self._shard_id or now_ms + slack_ms < self._due_ms:
            return ()
        self._due_ms = now_ms + self._lease_ms // 3
        everyone = self._voters.everyone()
        granted_ms = self.majority_granted_ms()
        late = granted_ms == 0 or self._asked_ms > granted_ms
        self._asked_ms = now_ms
        if late:
            return everyone
        ranked = sorted(everyone, key=lambda voter: -self._sent_ms.get(voter, 0))  # stable: ties in set order
        for count in range(1, len(ranked)):
            if self._voters.has_quorum(ranked[:count]):
                return tuple(ranked[: count + 1])
        return everyone

    def granted(self, voter: str, shard_id: str, epoch: int, sent_ms: int, now_ms: int) -> None:
        """A voter granted what we asked at `sent_ms`. Answers to other lives, shards or epochs are
        ignored.
        """
        if (shard_id, epoch) != (self._shard_id, self._epoch) or not shard_id:
            return
        if voter not in self._voters.everyone() or not now_ms - self._lease_ms <= sent_ms <= now_ms:
            return
        self._sent_ms[voter] = max(sent_ms, self._sent_ms.get(voter, 0))
        self._revalue()

    def majority_granted_ms(self) -> int:
        """Latest send time of which a majority granted that request or a later one; 0 before."""
        granted: list[str] = []
        for voter in sorted(self._sent_ms, key=lambda voter: (-self._sent_ms[voter], voter)):
            granted.append(voter)
            if self._voters.has_quorum(granted):
                return self._sent_ms[voter]
        return 0

    def _revalue(self) -> None:
        sent_ms = self.majority_granted_ms()
        self._valid_until_ms = sent_ms + self._lease_ms - self._margin_ms if sent_ms and self._shard_id else 0
