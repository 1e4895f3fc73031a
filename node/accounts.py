"""What became of an election, as the member that stood tells it afterwards. No decision hangs on it.

    suspected   gossip: the first accusation we heard of, and by whom
    noticed     we know that our primary is gone, and how
    stood       our turn: the stream is stopped, the voters are asked
    decided     a majority accepted, after its disks had it
    served      we have a lease: the first client is answered

What a failover may lose can be bounded only from what was known then: how much of the stream the old primary
had announced beyond ours, and how long we had heard nothing from it. What it really took with it is known
when it comes back and asks for a stream that we do not have: `discarded_bytes`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

ANSWERS_MAX: Final = 5  # of failed attempts, the last ones; a text names up to seven voters
UNKNOWN: Final = -1


@dataclass(slots=True)
class Account:
    """One election as this member lived it.

    Attributes:
        epoch: of the configuration that was to be replaced. new_epoch: of ours, if it was decided.
        rivals: (member id, announced offset, in the in-sync set), as known when noticed.
        accusers: who accused the old primary by gossip, and when we heard of it.
        answers: why attempts failed, the last few; each names the voters and what they said.
        accepted_by: the voters whose votes decided it.
        primary_offset: what the old primary had last announced; -1 unknown.
        silent_ms: how long we had heard nothing from it when we stood.
        discarded_bytes: how much of its stream it had to drop when it came back; -1: not known.
        *_ms: on the clock of this machine since its start; -1: it did not come to that.
        unix_ms: wall clock when noticed.
    """

    shard_id: str
    epoch: int
    old_primary: str
    reason: str
    noticed_ms: int
    rank: int
    offset: int
    rivals: tuple[tuple[str, int, bool], ...]
    quorum: bool = False
    primary_offset: int = UNKNOWN
    accusers: dict[str, int] = field(default_factory=dict)
    unix_ms: int = UNKNOWN
    stood_ms: int = UNKNOWN
    silent_ms: int = UNKNOWN
    attempts: int = 0
    answers: list[str] = field(default_factory=list)
    decided_ms: int = UNKNOWN
    new_epoch: int = UNKNOWN
    accepted_by: tuple[str, ...] = ()
    served_ms: int = UNKNOWN
    ended_ms: int = UNKNOWN
    outcome: str = ""
    discarded_bytes: int = UNKNOWN

    def note_answer(self, why: str) -> None:
        """An attempt failed."""
        self.outcome = why
        self.answers.append(why)
        del self.answers[:-ANSWERS_MAX]

    @property
    def won(self) -> bool:
        """Whether this member took office."""
        return self.new_epoch != UNKNOWN

    @property
    def lost(self) -> str:
        """What was lost, or may have been, in words."""
        if not self.won:
            return "nothing: no change of office"
        if self.discarded_bytes >= 0:
            what = f"{self.discarded_bytes} bytes of the stream, dropped when the old primary came back"
        elif self.silent_ms >= 0:
            behind_bytes = max(0, self.primary_offset - self.offset) if self.primary_offset >= 0 else 0
            what = (
                f"what it wrote in the {self.silent_ms} ms before we stood; {behind_bytes} bytes are known of"
            )
        else:
            what = "nothing: it handed over"
        return f"nothing acknowledged (quorum); unacknowledged: {what}" if self.quorum else what

    def fields(self) -> Iterator[tuple[str, str | int]]:
        """For CLUSTER FAILOVER-LOG, in order."""
        first_ms = min(self.accusers.values(), default=self.noticed_ms)
        yield "time", self.unix_ms
        yield "shard", self.shard_id
        yield "outcome", self.outcome or "under way"
        yield "reason", self.reason
        yield "old-primary", self.old_primary
        yield "old-epoch", self.epoch
        yield "new-epoch", self.new_epoch
        yield "durability", "quorum" if self.quorum else "async"
        yield "lost", self.lost
        yield "discarded-bytes", self.discarded_bytes
        yield "offset", self.offset
        yield "old-primary-offset", self.primary_offset
        yield "silent-ms", self.silent_ms
        yield (
            "accusers",
            " ".join(f"{name}@{at_ms - self.noticed_ms:+d}ms" for name, at_ms in self.accusers.items()),
        )
        yield "rank", self.rank
        yield (
            "rivals",
            " ".join(
                f"{name}@{offset}{'' if in_sync else ' (not in sync)'}"
                for name, offset, in_sync in self.rivals
            ),
        )
        yield "attempts", self.attempts
        yield "answers", " | ".join(self.answers)
        yield "accepted-by", " ".join(self.accepted_by)
        yield "suspected-for-ms", max(0, self.noticed_ms - first_ms)
        yield "waited-ms", _between(self.noticed_ms, self.stood_ms)
        yield "voted-ms", _between(self.stood_ms if self.stood_ms >= 0 else self.noticed_ms, self.decided_ms)
        yield "served-after-ms", _between(self.decided_ms, self.served_ms)
        yield "took-ms", _between(self.noticed_ms, self.served_ms if self.served_ms >= 0 else self.ended_ms)


def _between(begin_ms: int, end_ms: int) -> int:
    return end_ms - begin_ms if begin_ms >= 0 and end_ms >= 0 else UNKNOWN
