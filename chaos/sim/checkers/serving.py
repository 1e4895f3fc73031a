"""At most one node acknowledges writes to a shard, in every moment and for every epoch.

Lease-aware by looking at acknowledgements alone: a deposed primary may believe what it likes as long as it
says nothing. Two things must not be: two nodes that acknowledge under one epoch, and an acknowledgement
under an epoch after another node acknowledged under a higher one. The second is what the lease prevents;
without it a primary that was cut off goes on beside its successor.
"""

from chaos.sim.checkers import Violation


class OneServing:
    """Told of every acknowledgement, in the order of time."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self._newest: dict[str, tuple[int, str, int]] = {}  # shard -> (epoch, member, when)

    def acknowledges(self, shard: str, epoch: int, member: str, now_ms: int) -> None:
        """`member` acknowledged a write to `shard` as its primary of `epoch`.

        Raises:
            Violation: somebody else did under the same epoch or, earlier, under a higher one.
        """
        self.acknowledged += 1
        newest, other, at_ms = self._newest.get(shard, (epoch, member, now_ms))
        if epoch < newest:
            raise Violation(
                f"one-serving: shard {shard}: {member} acknowledged a write at {now_ms} ms under"
                f" epoch {epoch}, though {other} did under epoch {newest} at {at_ms} ms already"
            )
        if epoch == newest and member != other:
            raise Violation(
                f"one-serving: shard {shard} epoch {epoch}: {member} acknowledged a write at {now_ms} ms and "
                f"{other} at {at_ms} ms"
            )
        self._newest[shard] = (epoch, member, now_ms)
