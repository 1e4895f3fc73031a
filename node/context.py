"""What command handlers need of the node they run in.

Handlers are plain functions of a session and its arguments. Those that need more ask `node_of(session)`;
the composition root has bound the node to the engine. A protocol rather than the class itself, so that
handlers do not depend on the root that depends on them, and tests can compose a smaller node of real
parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, cast

from node.config import Config
from node.engine.reply import Failure

if TYPE_CHECKING:
    from node.cluster_member import ClusterMember
    from node.engine.engine import Engine
    from node.engine.pump import Pump
    from node.engine.session import Session
    from node.info import Meter
    from node.observer import Observer
    from node.replication.manager import ReplicationManager

# Fields of one section of INFO, in order. Values are shown with str(); bools as 1 and 0.
InfoSection: TypeAlias = Callable[[], Iterable[tuple[str, object]]]


# A handler that answers BLOCKED leaves under this key of `session.notes` what ends the wait when another
# client says CLIENT UNBLOCK: called with whether an error is wanted instead of the reply of a timeout.
UNBLOCK_NOTE: Final = "unblock"
UNBLOCKED: Final = Failure(b"UNBLOCKED client unblocked via CLIENT UNBLOCK")


class ProcessContext(Protocol):
    """One running process with a client port: a node, or a router.

    Attributes:
        active_expiry: whether expired keys are looked for in the background; DEBUG can turn it off.
    """

    active_expiry: bool

    @property
    def engine(self) -> Engine: ...

    @property
    def pump(self) -> Pump: ...

    @property
    def config(self) -> Config: ...

    @property
    def cluster(self) -> ClusterMember | None:
        """Our part in the cluster; None for a stand-alone node."""
        ...

    @property
    def run_id(self) -> str:
        """40 hexadecimal characters, new at each start."""
        ...

    @property
    def started_ms(self) -> int:
        """When the process started, on the engine's monotonic clock."""
        ...

    @property
    def is_replica(self) -> bool: ...

    @property
    def meter(self) -> Meter:
        """Sampled about ten times a second by whoever runs the node."""
        ...

    @property
    def observer(self) -> Observer:
        """The slow log and the latency monitor."""
        ...

    @property
    def info_sections(self) -> Mapping[str, InfoSection]:
        """What others than `node.info` know: sections `replication` and `cluster`, `syncs` of `stats`."""
        ...

    def clock_us(self) -> int:
        """Unix time in microseconds."""
        ...

    def stop(self, *, now: bool = False) -> None:
        """Begins the ordered end of the process and returns at once; `now`: does not wait for replicas."""
        ...


class NodeContext(ProcessContext, Protocol):
    """One running node. A router lacks what is named here, and refuses the commands that ask for it."""

    @property
    def replication(self) -> ReplicationManager: ...


def node_of(session: Session) -> NodeContext:
    """The node a session belongs to."""
    return cast(NodeContext, session.engine.context)
