"""min-replicas-to-write: a primary that too few replicas follow refuses writes.

It narrows the window of writes that a failover would lose; it does not close it, because a write is
checked before it runs and not after its replicas have it. That is what write-durability is for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from node.replication.source import Replica, Stage

REFUSAL: Final = b"NOREPLICAS Not enough good replicas to write."


def refusal(replicas: Iterable[Replica], wanted: int, lag_max_s: int, now_ms: int) -> bytes | None:
    """What writes are answered with, or None when they may run.

    Args:
        wanted: replicas that must keep up; 0 turns the rule off, as lag_max_s 0 does.
        lag_max_s: how long ago a replica that keeps up may last have been heard.
        now_ms: monotonic, as the replicas' times.
    """
    if wanted == 0 or lag_max_s == 0:
        return None
    good = sum(replica.stage is Stage.ONLINE and replica.lag_s(now_ms) <= lag_max_s for replica in replicas)
    return None if good >= wanted else REFUSAL
