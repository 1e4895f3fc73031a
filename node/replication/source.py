"""The replicas attached to us, as their primary sees them. A core: events in, what to do out.

    GREETING --asks--> WAITING --begins--> SENDING --sent--> SETTLING --ack--> ONLINE
        |                                                                         ^
        +------------------- asks, and the ring still has it ---------------------+

The stream of effects must not follow the snapshot at once. A Redis replica finds the end of a snapshot of
unknown length by comparing the last forty bytes it has read with the mark; had the stream begun, those
would be other bytes. So the first ACK, sent once everything is loaded, starts the stream (SETTLING).

What is written meanwhile is in the ring. A replica whose place in the ring is overwritten before it is
online gets no stream with a hole in it: it is dropped and asks again.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


class Stage(enum.Enum):
    """How far a replica has come."""

    GREETING = "has asked for nothing yet"
    WAITING = "waits for a snapshot to begin"
    SENDING = "is being sent a snapshot"
    SETTLING = "loads the snapshot"
    ONLINE = "reads the stream"

    @property
    def label(self) -> str:
        """The word of INFO, which tells fewer stages apart."""
        return _INFO_WORDS[self]


_INFO_WORDS: Mapping[Stage, str] = {
    Stage.GREETING: "none",
    Stage.WAITING: "wait_bgsave",
    Stage.SENDING: "send_bulk",
    Stage.SETTLING: "send_bulk",
    Stage.ONLINE: "online",
}


class Event(enum.Enum):
    """What happens to an attached replica."""

    ASKS_FULL = "PSYNC that cannot be continued, or SYNC"
    ASKS_CONTINUE = "PSYNC that the ring can serve"
    BEGINS = "a snapshot for it begins"
    SENT = "the whole snapshot was written"
    ACK = "REPLCONF ACK"
    OVERRUN = "the ring moved past its place"
    SILENT = "nothing heard for repl-timeout"
    CLOSED = "its connection ended"


class Action(enum.Enum):
    """What the shell has to do about it."""

    NOTHING = "nothing"
    QUEUE = "let it take part in the next snapshot"
    STREAM = "start the feed at its offset"
    DROP = "close its connection"
    FORGET = "its connection is gone: drop what belongs to it"
    REFUSE = "answer that it asked already"


S, E, A = Stage, Event, Action

# (stage, event) -> (next stage, or None: not attached any more; action). A missing pair is a bug of ours.
TABLE: Mapping[tuple[Stage, Event], tuple[Stage | None, Action]] = {
    (S.GREETING, E.ASKS_FULL): (S.WAITING, A.QUEUE),
    (S.GREETING, E.ASKS_CONTINUE): (S.ONLINE, A.STREAM),
    (S.GREETING, E.ACK): (S.GREETING, A.NOTHING),
    (S.GREETING, E.SILENT): (S.GREETING, A.NOTHING),  # an ordinary client so far: its idle timeout counts
    (S.GREETING, E.OVERRUN): (S.GREETING, A.NOTHING),
    (S.GREETING, E.CLOSED): (None, A.FORGET),
    (S.WAITING, E.ASKS_FULL): (S.WAITING, A.REFUSE),
    (S.WAITING, E.ASKS_CONTINUE): (S.WAITING, A.REFUSE),
    (S.WAITING, E.BEGINS): (S.SENDING, A.NOTHING),
    (S.WAITING, E.ACK): (S.WAITING, A.NOTHING),
    (S.WAITING, E.OVERRUN): (S.WAITING, A.NOTHING),  # it has no place in the ring yet
    (S.WAITING, E.SILENT): (S.WAITING, A.NOTHING),  # it waits for us, not we for it
    (S.WAITING, E.CLOSED): (None, A.FORGET),
    (S.SENDING, E.ASKS_FULL): (S.SENDING, A.REFUSE),
    (S.SENDING, E.ASKS_CONTINUE): (S.SENDING, A.REFUSE),
    (S.SENDING, E.SENT): (S.SETTLING, A.NOTHING),
    (S.SENDING, E.ACK): (S.SENDING, A.NOTHING),
    (S.SENDING, E.OVERRUN): (None, A.DROP),
    (S.SENDING, E.SILENT): (None, A.DROP),  # silence here: it takes no bytes
    (S.SENDING, E.CLOSED): (None, A.FORGET),
    (S.SETTLING, E.ASKS_FULL): (S.SETTLING, A.REFUSE),
    (S.SETTLING, E.ASKS_CONTINUE): (S.SETTLING, A.REFUSE),
    (S.SETTLING, E.ACK): (S.ONLINE, A.STREAM),
    (S.SETTLING, E.OVERRUN): (None, A.DROP),
    (S.SETTLING, E.SILENT): (None, A.DROP),
    (S.SETTLING, E.CLOSED): (None, A.FORGET),
    (S.ONLINE, E.ASKS_FULL): (S.ONLINE, A.REFUSE),
    (S.ONLINE, E.ASKS_CONTINUE): (S.ONLINE, A.REFUSE),
    (S.ONLINE, E.ACK): (S.ONLINE, A.NOTHING),
    (S.ONLINE, E.OVERRUN): (None, A.DROP),
    (S.ONLINE, E.SILENT): (None, A.DROP),
    (S.ONLINE, E.CLOSED): (None, A.FORGET),
}

# The shell begins snapshots for waiting replicas only and ends only what it began.
IMPOSSIBLE = frozenset(
    {
        (S.GREETING, E.BEGINS),
        (S.GREETING, E.SENT),
        (S.WAITING, E.SENT),
        (S.SENDING, E.BEGINS),
        (S.SETTLING, E.BEGINS),
        (S.SETTLING, E.SENT),
        (S.ONLINE, E.BEGINS),
        (S.ONLINE, E.SENT),
    }
)


@dataclass(slots=True)
class Replica:
    """One attached replica. `session_id` names its connection.

    Attributes:
        address: where its connection comes from, without the port.
        port: where it listens itself, as it said; 0 unknown.
        member_id, shard_id, epoch: what a Grapevine node says about itself; empty and -1 for others.
        capabilities: from REPLCONF capa.
        offset: where its stream starts (the snapshot's offset, or what it asked for).
        ack_offset: how far it says it came.
        heard_ms: when it last acknowledged anything, or bytes went either way.
        moved_bytes: how many did so far.
    """

    session_id: int
    address: str
    heard_ms: int
    stage: Stage = Stage.GREETING
    port: int = 0
    member_id: str = ""
    shard_id: str = ""
    epoch: int = -1
    capabilities: frozenset[str] = frozenset()
    offset: int = 0
    ack_offset: int = 0
    moved_bytes: int = 0
    plain_sync: bool = False  # it said SYNC: it gets no +FULLRESYNC line and need not acknowledge

    def lag_s(self, now_ms: int) -> int:
        """Seconds since we last heard of it, as INFO shows it."""
        return max(0, now_ms - self.heard_ms) // 1000


@dataclass(slots=True)
class Source:
    """All attached replicas, in the order they came."""

    replicas: dict[int, Replica] = field(default_factory=dict)

    def greet(self, session_id: int, address: str, now_ms: int) -> Replica:
        """The replica behind a connection; made on its first REPLCONF or PSYNC."""
        replica = self.replicas.get(session_id)
        if replica is None:
            replica = Replica(session_id, address, now_ms)
            self.replicas[session_id] = replica
        return replica

    def happened(self, session_id: int, event: Event) -> Action:
        """Moves a replica along the table.

        Raises:
            LookupError: no such replica, or an event that cannot happen in its stage: our own bug.
        """
        replica = self.replicas[session_id]
        try:
            stage, action = TABLE[replica.stage, event]
        except KeyError:
            raise LookupError(f"a replica in stage {replica.stage.name} cannot see {event.name}") from None
        if stage is None:
            del self.replicas[session_id]
        else:
            replica.stage = stage
        return action

    def acknowledged(self, session_id: int, offset: int, now_ms: int) -> Action:
        """REPLCONF ACK: `offset` never falls here, whatever a confused replica says."""
        replica = self.replicas[session_id]
        replica.heard_ms = now_ms
        if replica.stage in (Stage.SETTLING, Stage.ONLINE):
            replica.ack_offset = max(replica.ack_offset, offset)
        return self.happened(session_id, Event.ACK)

    def moved(self, session_id: int, moved_bytes: int, now_ms: int) -> None:
        """So many bytes went either way so far. More than the last time: the replica is alive. It takes what
        we send, or tells with empty lines that it is still loading, as a redis-server does."""
        replica = self.replicas[session_id]
        if moved_bytes != replica.moved_bytes:
            replica.moved_bytes = moved_bytes
            replica.heard_ms = now_ms

    def silent(self, now_ms: int, timeout_ms: int) -> list[int]:
        """Sessions of replicas we have not heard of for longer than `timeout_ms`."""
        return [
            replica.session_id
            for replica in self.attached()
            if now_ms - replica.heard_ms > timeout_ms
            and not (replica.plain_sync and replica.stage is Stage.ONLINE)
        ]

    def attached(self) -> Iterator[Replica]:
        """Replicas that asked for our stream, in the order they came."""
        return (replica for replica in self.replicas.values() if replica.stage is not Stage.GREETING)

    def waiting(self) -> list[Replica]:
        """Replicas that the next snapshot is for."""
        return [replica for replica in self.replicas.values() if replica.stage is Stage.WAITING]

    def syncing(self) -> list[Replica]:
        """Replicas that hold on to a place in the ring but do not read from it yet."""
        return [r for r in self.replicas.values() if r.stage in (Stage.SENDING, Stage.SETTLING)]

    def count_at(self, offset: int) -> int:
        """How many online replicas acknowledged everything before `offset` (WAIT)."""
        return sum(r.stage is Stage.ONLINE and r.ack_offset >= offset for r in self.replicas.values())
