"""Which copies a shard's acknowledgements wait for: the in-sync set, as its primary keeps it. A core.

The decided set stands in the shard's register. Here the primary judges each member by what it acknowledges,
says which set it should propose instead, and how far the stream is *committed*: every member of the decided
set has it. While a proposal is out nobody knows which of the two sets is decided, so both count.

    outside   no member of the decided set
    ready     not a member, has everything that was ever committed: take it in
    in        a member that keeps up
    late      a member that lacks something; its time runs
    overdue   a member whose time is over: leave it out, if enough others stay

With `quorum` off (write-durability async) nobody waits for acknowledgements: a member keeps up as long as it
is attached, and the set only says who would lose least.

A set never shrinks below `copies_min`: who is left in it has every acknowledged write and could be elected.
While that keeps somebody in who is overdue, nothing can be committed: writes are refused (`short`).
Only those count for it who kept up in this reign: of others nobody knows whether they still live.

A primary that was replaced without its help (`deposed`) is in the set of its successor, and overdue from the
beginning unless its stream runs: most likely it is dead. It is left out as soon as enough others have shown
that they are not. With two copies that is never, and it may lead again should its successor lose its memory.

Rejected: judging by the lag in bytes. A replica that applies a large value is far behind and fine; one that
was frozen is one byte behind and holds everybody up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

OUTSIDE, READY, IN, LATE, OVERDUE = "outside", "ready", "in", "late", "overdue"

# What becomes of a member's standing; the product is complete and tested as such.
#
#   keeps_up   attached, usable by gossip, and has what was asked of it
#   lags       anything else
#   time_up    it has lagged for longer than the bound, or gossip holds it for dead
#   decided_in, decided_out: the register says so
TABLE: Final[Mapping[tuple[str, str], str]] = {
    (OUTSIDE, "keeps_up"): READY,
    (OUTSIDE, "lags"): OUTSIDE,
    (OUTSIDE, "time_up"): OUTSIDE,
    (OUTSIDE, "decided_in"): LATE,  # by somebody before us; it has yet to be heard
    (OUTSIDE, "decided_out"): OUTSIDE,
    (READY, "keeps_up"): READY,
    (READY, "lags"): OUTSIDE,
    (READY, "time_up"): OUTSIDE,
    (READY, "decided_in"): IN,
    (READY, "decided_out"): READY,
    (IN, "keeps_up"): IN,
    (IN, "lags"): LATE,
    (IN, "time_up"): OVERDUE,  # dead by gossip
    (IN, "decided_in"): IN,
    (IN, "decided_out"): OUTSIDE,
    (LATE, "keeps_up"): IN,
    (LATE, "lags"): LATE,
    (LATE, "time_up"): OVERDUE,
    (LATE, "decided_in"): LATE,
    (LATE, "decided_out"): OUTSIDE,
    (OVERDUE, "keeps_up"): IN,
    (OVERDUE, "lags"): OVERDUE,
    (OVERDUE, "time_up"): OVERDUE,
    (OVERDUE, "decided_in"): OVERDUE,
    (OVERDUE, "decided_out"): OUTSIDE,
}


@dataclass(frozen=True, slots=True)
class Copy:
    """A replica whose stream runs: how far it acknowledged, and whether gossip holds it for alive."""

    ack_offset: int
    usable: bool = True


@dataclass(slots=True)
class _Judged:
    standing: str = OUTSIDE
    due_offset: int = 0  # it has to acknowledge this,
    since_ms: int = 0  # which was there at this time
    sure: bool = False  # it kept up at least once in this reign


@dataclass(slots=True)
class InSync:
    """The in-sync set of a shard, kept by its primary `member_id` for one reign.

    Args:
        quorum: whether acknowledgements count (decided in the register).
        copies_min: `write-quorum`: the set never shrinks below so many, the primary included.
        bound_ms: a member may lag for so long.
        deposed: the primary before us, if it did not hand over; '' otherwise.
        began_offset: where our reign began: all before may have been acknowledged by those before us.
    """

    member_id: str
    quorum: bool = False
    copies_min: int = 1
    bound_ms: int = 1000
    deposed: str = ""
    began_offset: int = 0
    decided: tuple[str, ...] = ()
    committed: int = 0
    _proposed: frozenset[str] = frozenset()
    _members: dict[str, _Judged] = field(default_factory=dict)

    # -- events

    def note_decided(self, in_sync: Iterable[str], now_ms: int) -> None:
        """The register's set: at the beginning of the reign, and as the outcome of each of our proposals. No
        earlier one can change it any more then, whatever became of it."""
        self.decided = tuple(in_sync)
        self._proposed = frozenset()
        for member_id in {*self._members, *self.decided} - {self.member_id}:
            self._members.setdefault(member_id, _Judged(since_ms=now_ms))
            self._happens(member_id, "decided_in" if member_id in self.decided else "decided_out")

    def note_proposed(self, in_sync: Iterable[str]) -> None:
        """This set was handed to the voters: until an outcome is known it may be the decided one."""
        self._proposed |= frozenset(in_sync)

    def look(self, copies: Mapping[str, Copy], offset: int, now_ms: int, *, dead: frozenset[str]) -> None:
        """Judges everybody.

        Args:
            copies: replicas of this shard whose stream runs, by member id.
            offset: the end of our stream.
            dead: members that gossip holds for dead or gone.
        """
        for member_id in {*copies, *self._members} - {self.member_id}:
            judged = self._members.setdefault(member_id, _Judged())
            copy = copies.get(member_id)
            member = judged.standing in (IN, LATE, OVERDUE)
            due = judged.due_offset if member else max(self.committed, self.began_offset)
            if copy is not None and copy.usable and (not self.quorum or copy.ack_offset >= due):
                self._happens(member_id, "keeps_up")
                judged.due_offset, judged.since_ms, judged.sure = offset, now_ms, True
                if member and self.quorum and copy.ack_offset < offset:
                    self._happens(member_id, "lags")  # its time for the rest begins only now
                continue
            self._happens(member_id, "lags")
            missed = copy is None and member_id == self.deposed and not judged.sure
            if missed or member_id in dead or now_ms - judged.since_ms >= self.bound_ms:
                self._happens(member_id, "time_up")
        for member_id in [name for name, each in self._members.items() if each.standing == OUTSIDE]:
            del self._members[member_id]

    def commit(self, acknowledged: Mapping[str, int], offset: int) -> int:
        """How far the stream is committed; never falls. Called for every acknowledgement, so it does little.

        Args:
            acknowledged: how far each attached replica is, by member id.
            offset: the end of our stream.
        """
        for member_id in self.required:
            offset = min(offset, acknowledged.get(member_id, 0))
        self.committed = max(self.committed, offset)
        return self.committed

    def _happens(self, member_id: str, event: str) -> None:
        judged = self._members[member_id]
        judged.standing = TABLE[judged.standing, event]

    # -- what to do

    @property
    def required(self) -> frozenset[str]:
        """Whose acknowledgement each commit needs, besides our own."""
        return self._proposed.union(self.decided) - {self.member_id}

    @property
    def settled(self) -> bool:
        """Whether no proposal is on its way or ended without an outcome."""
        return not self._proposed

    def standing(self, member_id: str) -> str:
        """What we think of a member, for people."""
        judged = self._members.get(member_id)
        return OUTSIDE if judged is None else judged.standing

    @property
    def wanted(self) -> tuple[str, ...]:
        """The set that should be decided, ourselves first; the decided one when nothing is to change."""
        staying = self._staying()
        sure = sum(1 for name in staying if self._members[name].sure)
        if self.quorum and 1 + sure < self.copies_min:
            staying |= {name for name, each in self._members.items() if each.standing == OVERDUE}
        return (self.member_id, *sorted(staying))

    def _staying(self) -> set[str]:
        """Members and those to be, without those whose time is up."""
        return {name for name, each in self._members.items() if each.standing in (READY, IN, LATE)}

    @property
    def short(self) -> str:
        """Why no write can be acknowledged now; '' when they can."""
        if not self.quorum:
            return ""
        if len(self.decided) < self.copies_min:
            return f"the in-sync set has {len(self.decided)} of {self.copies_min} copies (write-quorum)"
        overdue = sorted(
            name for name, each in self._members.items() if each.standing == OVERDUE and name in self.decided
        )
        if overdue and 1 + len(self._staying()) < self.copies_min:
            names = ", ".join(name[:8] for name in overdue)
            return (
                f"{names} did not acknowledge within {self.bound_ms} ms (write-quorum-timeout-ms) and cannot "
                f"be left out: write-quorum {self.copies_min}"
            )
        return ""
