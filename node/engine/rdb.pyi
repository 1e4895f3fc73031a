from collections.abc import Mapping
from types import TracebackType

from typing_extensions import Buffer

from node.engine.keyspace import Keyspace
from node.engine.rdb_values import SnapshotError as SnapshotError

VERSION_WRITTEN: int
VERSIONS_READ: range

class Decoder:
    """Loads a snapshot into a keyspace, from bytes in any split.

    What is in the keyspace already stays, unless a key of the snapshot replaces it.
    """

    keep_expired: bool
    version: int
    """0 until the header has been read."""
    database: int
    offset: int
    """Bytes of the snapshot decoded so far."""
    key_count: int
    expired_count: int
    """Entries left out because their time was over."""
    aux: dict[bytes, bytes]
    """Facts about the writer, small ones only."""

    def __init__(self, keyspace: Keyspace, *, keep_expired: bool) -> None:
        """
        Args:
            keep_expired: a replica keeps them (the primary's DEL will come); others leave them out.
        """

    @property
    def done(self) -> bool:
        """The end was reached and the checksum was right."""

    def feed(self, data: Buffer) -> bytes:
        """Takes more of the snapshot; returns what follows its end, empty until `done`.

        Raises:
            SnapshotError: damaged, or something this version cannot load. From then on every call
                raises the same; what was loaded before stays in the keyspace.
        """

class SnapshotWriter:
    """Writes everything that is in a keyspace at this moment as a snapshot, piece by piece."""

    written_bytes: int
    """Taken so far."""

    def __init__(self, keyspace: Keyspace, aux: Mapping[bytes, bytes], *, limit_bytes: int) -> None:
        """
        Args:
            aux: facts about the writer.
            limit_bytes: of what may wait to be taken. Clients' writes bring entries forward between
                two steps; beyond the limit the snapshot fails (the next `step` says so).

        Raises:
            SnapshotBusy: not just now, see node.engine.snapshot.
        """

    def __enter__(self) -> SnapshotWriter: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    def close(self) -> None:
        """Ends it, complete or not."""

    @property
    def entry_count(self) -> int:
        """Entries written so far."""

    def step(self, want_bytes: int) -> bool:
        """Encodes until `want_bytes` wait to be taken; False when the snapshot is complete.

        Raises:
            SnapshotError: more than `limit_bytes` were waiting, or an entry cannot be written.
        """

    def take(self) -> bytes:
        """What has been encoded since the last call."""
