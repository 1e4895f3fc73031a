"""What a member must not forget: one file, and the lock that keeps its directory ours.

`grapevine-state.msgpack`:

    offset  bytes
    0       8   magic  b"GRAPEVIN"
    8       4   format version, little endian
    12      4   length of the body, little endian
    16      8   xxh64 of bytes 0..15 and the body, little endian
    24      n   body: msgpack map {"member_id": ..., "cluster_id": ..., "incarnation": ..., ...}

It is replaced as a whole: written beside, flushed to disk, renamed over, and the directory flushed, so that
after a crash either the old or the new one is there, never a mixture. A file that is damaged nevertheless is
refused, not repaired or ignored: it holds promises to other voters, and to go on without them could decide
something twice. Whoever wants that member gone moves the file away, and it comes back as a new member (its id
is drawn afresh). Rejected: an append-only log of promises. It would be written faster, but a few hundred
bytes to a few hundred KB at human frequency need no log, and a log needs a compactor.

The functions here block; the shell calls them from a worker thread where that matters.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final

import msgpack  # type: ignore[import-untyped]
import xxhash

from gossip.votes import Plain

STATE_FILE: Final = "grapevine-state.msgpack"
LOCK_FILE: Final = "grapevine.lock"
MAGIC: Final = b"GRAPEVIN"
FORMAT_VERSION: Final = 1
BODY_BYTES_MAX: Final = 64 * 1024 * 1024  # 1,000 members and 500 shards need about one hundredth

_HEADER: Final = struct.Struct("<8sII")
_CHECKSUM: Final = struct.Struct("<Q")


class StateError(Exception):
    """The state file or its directory cannot be used; the text names it and says what to do."""


class AlreadyRunning(StateError):
    """Another process holds the directory."""


class StateDirectory:
    """A directory that belongs to one running member, from construction until `close`.

    Raises (construction):
        AlreadyRunning: another live process holds it.
        StateError: it cannot be created or written.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / STATE_FILE
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock_fd = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StateError(
                f"cannot use the directory {directory}: {error.strerror}."
                " Choose another with --dir, or make it writable"
            ) from error
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._lock_fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._lock_fd)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise StateError(f"cannot lock {directory / LOCK_FILE}: {error.strerror}") from error
            raise AlreadyRunning(
                f"a node is already running in {directory} (process {holder})."
                " Stop it, or choose another directory"
            ) from error
        os.ftruncate(self._lock_fd, 0)
        os.pwrite(self._lock_fd, b"%d\n" % os.getpid(), 0)

    def load(self) -> dict[str, Plain] | None:
        """What `save` wrote last, or None if there never was anything.

        Raises:
            StateError: the file is damaged, foreign, or of a newer version.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StateError(f"cannot read the state file {self.path}: {error.strerror}") from error
        return decode_state(content, str(self.path))

    def save(self, state: Mapping[str, Plain]) -> None:
        """Replaces the file; when this returns the new content survives a power loss.

        Raises:
            StateError: it could not be written; the old content is still there. A member whose state cannot
            be
                written may not vote on.
        """
        content = encode_state(state)
        beside = self.path.with_suffix(".tmp")
        try:
            descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            try:
                view = memoryview(content)
                while view:
                    view = view[os.write(descriptor, view) :]
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            os.replace(beside, self.path)
            directory = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            raise StateError(f"cannot write the state file {self.path}: {error.strerror}") from error

    def close(self) -> None:
        """Gives the directory back. Repeating it does nothing."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)  # the lock goes with the descriptor
            self._lock_fd = -1

    def __enter__(self) -> StateDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def encode_state(state: Mapping[str, Plain]) -> bytes:
    """The file's content for this state."""
    body: bytes = msgpack.packb(state, use_bin_type=True)
    if len(body) > BODY_BYTES_MAX:
        raise StateError(f"the state to keep has {len(body)} bytes, at most {BODY_BYTES_MAX} are allowed")
    header = _HEADER.pack(MAGIC, FORMAT_VERSION, len(body))
    return header + _CHECKSUM.pack(xxhash.xxh64_intdigest(header + body)) + body


def decode_state(content: bytes, path: str) -> dict[str, Plain]:
    """The state in a file's content; `path` is for the error text.

    Raises:
        StateError: not a whole, undamaged state file of a version that we read.
    """
    start = _HEADER.size + _CHECKSUM.size
    if len(content) < start:
        raise _damaged(path, f"{len(content)} bytes are too few")
    magic, version, body_bytes = _HEADER.unpack_from(content)
    if magic != MAGIC:
        raise StateError(
            f"{path} is not a state file of Grapevine."
            " Move it away if it is not needed, or choose another directory"
        )
    if version != FORMAT_VERSION:
        raise StateError(
            f"the state file {path} has format {version}, this program reads {FORMAT_VERSION}."
            " Run the version that wrote it"
        )
    if body_bytes != len(content) - start:
        raise _damaged(path, f"{len(content) - start} bytes where {body_bytes} were written")
    (checksum,) = _CHECKSUM.unpack_from(content, _HEADER.size)
    body = content[start:]
    if checksum != xxhash.xxh64_intdigest(content[: _HEADER.size] + body):
        raise _damaged(path, "its checksum does not match")
    try:
        state = msgpack.unpackb(body, raw=False, use_list=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException) as error:
        raise _damaged(path, "its body cannot be unpacked") from error
    if not isinstance(state, dict):
        raise _damaged(path, "its body is not a map")
    return state


def _damaged(path: str, why: str) -> StateError:
    return StateError(
        f"the state file {path} is damaged: {why}. Move it away: this member then joins as a new one"
    )
