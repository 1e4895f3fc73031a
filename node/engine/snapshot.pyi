from collections.abc import Callable, Iterable

from node.engine.keyspace import Keyspace

class SnapshotBusy(Exception): ...

class SnapshotSink:
    """Takes what a snapshot delivers. Subclasses are compiled (see snapshot.pxd)."""

class CallbackSink(SnapshotSink):
    def __init__(self, function: Callable[[int, int, bytes, bytes, int], object]) -> None: ...

class Snapshot:
    """Everything in the chosen databases and slots as it is now, delivered to `sink` by step().

    Raises SnapshotBusy when epochs have run out; Keyspace.snapshot_ready() tells when to try again.
    Must be closed (step() does so when it has delivered everything); until then writes feed the sink.
    """

    keyspace: Keyspace
    sink: SnapshotSink
    done: bool
    delivered: int
    early: int
    def __init__(
        self,
        keyspace: Keyspace,
        sink: SnapshotSink,
        *,
        databases: Iterable[int] | None = None,
        slots: Iterable[int] | None = None,
    ) -> None: ...
    def step(self, budget_entries: int) -> bool: ...
    def close(self) -> int: ...
