"""What a cluster's directory remembers about it: cluster.json, and the lock that says a launcher is at work.

    DIR/cluster.json        shape of the cluster, the launcher's process, every process it started
    DIR/cluster.lock        locked by the launcher as long as it lives; the kernel lets go of it when it dies
    DIR/launcher.log        what a detached launcher has to say
    DIR/node-7000/          one directory per process: its state file and node.log
    DIR/router-6379/

The record is advice and the lock is proof: a record can outlive its launcher, and then the processes in it
are looked up by pid and start time before anybody signals them.
"""

import fcntl
import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

from deploy.plan import ClusterPlan
from deploy.processes import ProcessKey

FORMAT: Final = 1


class RecordError(Exception):
    """The directory cannot be used; the text names the file and what to do."""


@dataclass(frozen=True, slots=True)
class Started:
    """A process that a launcher started, and the role it had when last heard of."""

    name: str
    kind: str
    port: int
    role: str
    key: ProcessKey


@dataclass(frozen=True, slots=True)
class Record:
    """The content of cluster.json.

    `formed` says that slots and replicas were once handed out: from then on the cluster's own state files
    know who does what, and a launcher only starts the processes. `settings` are parameters of all nodes.
    """

    shards: int
    replicas: int
    port: int
    router_port: int
    formed: bool = False
    launcher: ProcessKey | None = None
    started: tuple[Started, ...] = field(default=())
    settings: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()

    def plan(self, directory: Path) -> ClusterPlan:
        return ClusterPlan(
            self.shards, self.replicas, self.port, self.router_port, directory, self.settings, self.zones
        )

    def with_started(self, new: Started) -> Self:
        """The record with this process in place of an earlier one of the same name."""
        others = [each for each in self.started if each.name != new.name]
        return replace(self, started=(*others, new))


def _path(directory: Path) -> Path:
    return directory / "cluster.json"


def read_record(directory: Path) -> Record | None:
    """The record, or None when there is none.

    Raises:
        RecordError: it is there and cannot be understood.
    """
    path = _path(directory)
    try:
        fields = json.loads(path.read_text())
        if fields.pop("format") != FORMAT:
            raise RecordError(f"{path} was written by another version of Grapevine: choose another --dir")
        return Record(
            **{
                **fields,
                "launcher": _key(fields["launcher"]),
                "settings": tuple(fields.get("settings", ())),
                "zones": tuple(fields.get("zones", ())),
                "started": tuple(Started(**{**each, "key": _key(each["key"])}) for each in fields["started"]),
            }
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RecordError(
            f"{path} is damaged ({error}): stop what still runs, then remove the directory or choose another"
        ) from None


def _key(fields: dict[str, Any] | None) -> ProcessKey | None:
    return None if fields is None else ProcessKey(**fields)


def write_record(directory: Path, record: Record) -> None:
    """Replaces the record in one step: a reader sees the old one or the new one."""
    path = _path(directory)
    beside = path.with_suffix(".json.new")
    beside.write_text(json.dumps({"format": FORMAT, **asdict(record)}, indent=1) + "\n")
    os.replace(beside, path)


def cannot_write(directory: Path, error: OSError) -> RecordError:
    """What to say when a cluster's directory cannot be made or written."""
    if isinstance(error, FileExistsError | NotADirectoryError):
        return RecordError(f"--dir {directory} is not a directory: choose another one")
    return RecordError(
        f"cannot write to --dir {directory} ({error.strerror}): choose a directory that you may write to"
    )


class DirectoryLock:
    """The lock of a cluster's directory, held by its launcher from start to end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, directory: Path) -> Self | None:
        """The lock, or None when another process holds it. Creates the directory.

        Raises:
            RecordError: the directory cannot be written.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(directory / "cluster.lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise cannot_write(directory, error) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(descriptor)

    def release(self) -> None:
        os.close(self._descriptor)
