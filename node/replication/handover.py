"""FAILOVER: a stand-alone primary hands its office to a replica, without losing a write. A core.

    IDLE --start--> WAITING --a replica has everything--> OFFERING --it accepted--> IDLE
                       |  (time, and not FORCE)              |
                       +------------> IDLE <--- it refused --+

Writes are held while it lasts. The offer is the PSYNC by which the old primary asks to follow, with the word
FAILOVER behind it: the replica becomes a primary before it answers.
In a cluster the register of the shard decides instead (CLUSTER FAILOVER).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from node.replication.source import Replica, Stage


class Phase(enum.Enum):
    """How far it is. The value is `master_failover_state` of INFO."""

    IDLE = "no-failover"
    WAITING = "waiting-for-sync"
    OFFERING = "failover-in-progress"


class Event(enum.Enum):
    """What can happen."""

    START = "FAILOVER"
    ABORT = "FAILOVER ABORT"
    CAUGHT_UP = "a replica has everything"
    TIME_IS_UP = "the TIMEOUT ended"
    ACCEPTED = "the replica follows no more: it leads"
    REFUSED = "the replica said no, or is gone"


class Step(enum.Enum):
    """What to do."""

    NOTHING = "nothing"
    HOLD_WRITES = "hold writes"
    OFFER = "ask the replica to take over"
    RELEASE = "let writes go on: we stay the primary"
    FOLLOW = "let clients go on: we are a replica"
    TAKE_BACK = "be the primary again"
    COMPLAIN = "answer that this is not possible now"


P, E = Phase, Event
TABLE: Mapping[tuple[Phase, Event], tuple[Phase, Step]] = {
    (P.IDLE, E.START): (P.WAITING, Step.HOLD_WRITES),
    (P.IDLE, E.ABORT): (P.IDLE, Step.COMPLAIN),
    (P.IDLE, E.CAUGHT_UP): (P.IDLE, Step.NOTHING),
    (P.IDLE, E.TIME_IS_UP): (P.IDLE, Step.NOTHING),
    (P.IDLE, E.ACCEPTED): (P.IDLE, Step.NOTHING),  # an ordinary link came up
    (P.IDLE, E.REFUSED): (P.IDLE, Step.NOTHING),
    (P.WAITING, E.START): (P.WAITING, Step.COMPLAIN),
    (P.WAITING, E.ABORT): (P.IDLE, Step.RELEASE),
    (P.WAITING, E.CAUGHT_UP): (P.OFFERING, Step.OFFER),
    (P.WAITING, E.TIME_IS_UP): (P.IDLE, Step.RELEASE),  # with FORCE: see `look`
    (P.WAITING, E.ACCEPTED): (P.WAITING, Step.NOTHING),
    (P.WAITING, E.REFUSED): (P.WAITING, Step.NOTHING),
    (P.OFFERING, E.START): (P.OFFERING, Step.COMPLAIN),
    (P.OFFERING, E.ABORT): (P.IDLE, Step.TAKE_BACK),
    (P.OFFERING, E.CAUGHT_UP): (P.OFFERING, Step.NOTHING),
    (P.OFFERING, E.TIME_IS_UP): (P.OFFERING, Step.NOTHING),  # the link's own time limits count now
    (P.OFFERING, E.ACCEPTED): (P.IDLE, Step.FOLLOW),
    (P.OFFERING, E.REFUSED): (P.IDLE, Step.TAKE_BACK),
}


@dataclass(slots=True)
class Handover:
    """One node's handing over.

    Attributes:
        heir: (host, port) of the replica; None while any will do.
        deadline_ms: of WAITING; None: no limit.
        force: at the deadline the heir takes over even if it lacks writes; they are lost then.
    """

    phase: Phase = Phase.IDLE
    heir: tuple[str, int] | None = None
    deadline_ms: int | None = None
    force: bool = False

    def happened(self, event: Event) -> Step:
        """Moves along the table."""
        self.phase, step = TABLE[self.phase, event]
        return step

    def look(self, replicas: Iterable[Replica], offset: int, now_ms: int) -> Step:
        """Compares what replicas have with what there is. Call it on acknowledgements and as time passes.

        Args:
            offset: the end of the stream; nobody writes meanwhile.
        """
        if self.phase is not Phase.WAITING:
            return Step.NOTHING
        for replica in replicas:
            where = (replica.address, replica.port)
            if (
                self.heir in (None, where)
                and replica.port
                and replica.stage is Stage.ONLINE
                and replica.ack_offset >= offset
            ):
                self.heir = where
                return self.happened(Event.CAUGHT_UP)
        if self.deadline_ms is None or now_ms < self.deadline_ms:
            return Step.NOTHING
        # With FORCE there is an heir (the command demands one), and time is all that was left to wait for.
        return self.happened(Event.CAUGHT_UP if self.force else Event.TIME_IS_UP)
