"""Which past a data set has: the pair (replication id, offset) and what may be continued from it.

A replication id names one history of writes; an offset counts the bytes of its stream. Two nodes at the
same id and offset hold the same data. When a replica becomes primary it begins a history of its own, but
up to that moment it shares the old one, so it keeps that id as a second one:

    old primary   id A  ---------------+~~~~~~~  tail that nobody else has
                                       |
    new primary   id A  ---------------+         second id A, valid up to here
                  id B                 +------>  id B

A replica that stands on A before the fork goes on with B as if nothing had happened. One that stands
behind the fork (the old primary with its tail) cannot, and takes a full sync: its tail is discarded.

On the wire Redis counts from one: `PSYNC id n` asks for the n-th byte, which is byte n - 1 here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

ID_LENGTH = 40
NO_ID = "0" * ID_LENGTH  # what INFO shows for a second id that does not exist


def is_replication_id(text: str) -> bool:
    """True for what Redis uses as an id: forty characters without blanks or control characters."""
    return len(text) == ID_LENGTH and text.isascii() and text.isalnum()


@dataclass(frozen=True, slots=True)
class Ring:
    """What of the stream is still at hand: bytes `start` up to, not including, `end`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Continue:
    """The stream can go on from `offset`."""

    offset: int


@dataclass(frozen=True, slots=True)
class Full:
    """Only a full sync helps; `reason` is for the log."""

    reason: str


@dataclass(frozen=True, slots=True)
class History:
    """The id our writes go under, and the one they went under before the last fork.

    Attributes:
        id: forty characters, random for every history.
        second_id: the id before the fork, or empty.
        second_end: the offset of the fork: `second_id` says the same as `id` for bytes before it.
    """

    id: str
    second_id: str = ""
    second_end: int = -1

    def __post_init__(self) -> None:
        if not is_replication_id(self.id):
            raise ValueError(f"a replication id is {ID_LENGTH} letters and digits, not {self.id!r}")

    def forked(self, new_id: str, offset: int) -> History:
        """The history of a replica that becomes primary at `offset`."""
        return History(new_id, self.id, offset)

    def renamed(self, new_id: str, offset: int) -> History:
        """The history of a replica whose primary goes on under another id (`+CONTINUE new-id`)."""
        return self if new_id == self.id else History(new_id, self.id, offset)

    def without_past(self) -> History:
        """Forgets the id before the fork."""
        return replace(self, second_id="", second_end=-1)

    def decide(self, asked_id: str, asked_offset: int, ring: Ring | None) -> Continue | Full:
        """What to answer to a replica that has everything before byte `asked_offset` of `asked_id`.

        Args:
            asked_id: "?" when the replica has nothing.
            asked_offset: 0 for the first byte; anything below asks for a full sync.
            ring: None when no stream is kept.
        """
        if asked_id == "?" or asked_offset < 0:
            return Full("it has no data of ours yet")
        if asked_id != self.id:
            if not self.second_id or asked_id != self.second_id:
                return Full(f"its history {asked_id} is unknown here (ours is {self.id})")
            if asked_offset > self.second_end:
                return Full(
                    f"it went on with history {asked_id} up to offset {asked_offset}; "
                    f"we left that history at {self.second_end}"
                )
        if ring is None:
            return Full("there is no replication backlog")
        if asked_offset < ring.start:
            return Full(f"the backlog begins at offset {ring.start}, it needs {asked_offset}")
        if asked_offset > ring.end:
            return Full(f"it claims offset {asked_offset}, the stream ends at {ring.end}")
        return Continue(asked_offset)
