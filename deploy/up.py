"""`grapevine up`:.

From options and what the directory remembers to a plan; then a launcher, here or detached.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from chaos.ports import is_free
from deploy.launcher import Launcher, StartFailed
from deploy.logs import LOG_BYTES_MAX
from deploy.plan import PlanError
from deploy.ports import ROUTER_PORT, PortTaken, check_ports, choose_router_port
from deploy.processes import identify, is_alive
from deploy.record import DirectoryLock, Record, RecordError, cannot_write, read_record, write_record
from deploy.report import PipeReporter, Reporter, relay

if TYPE_CHECKING:
    from deploy.screen import Screen

SHARDS: Final = 3
REPLICAS: Final = 1
PORT: Final = 7000
NO_ROUTER: Final = 0


@dataclass(frozen=True, slots=True)
class Wish:
    """The options as given; None where nothing was said."""

    directory: Path
    shards: int | None = None
    replicas: int | None = None
    port: int | None = None
    router_port: int | None = None  # NO_ROUTER: none wanted
    settings: tuple[str, ...] = ()  # none: those of the record
    restart: bool = True
    log_bytes_max: int | None = None  # of each process; 0: any
    zones: tuple[str, ...] = ()  # none: those of the record


class UpError(Exception):
    """The cluster cannot be started; one line for the person who asked."""


def resolve(wish: Wish, record: Record | None, free_router_port: int) -> Record:
    """The cluster to start: what was asked for, completed from the record or the defaults.

    Args:
        record: what the directory remembers; its nodes' state files hold this very shape.
        free_router_port: for a router nobody named a port for.
    Raises:
        PlanError: the wish contradicts the record, or no cluster can look like this.
    """
    if record is None:
        wanted = Record(
            shards=SHARDS if wish.shards is None else wish.shards,
            replicas=REPLICAS if wish.replicas is None else wish.replicas,
            port=PORT if wish.port is None else wish.port,
            router_port=free_router_port if wish.router_port is None else wish.router_port,
            settings=wish.settings,
            zones=wish.zones,
        )
    else:
        for option, asked, known in (
            ("--shards", wish.shards, record.shards),
            ("--replicas", wish.replicas, record.replicas),
            ("--port", wish.port, record.port),
        ):
            if asked is not None and asked != known:
                raise PlanError(
                    f"{option} {asked}: the cluster in {wish.directory} has {option} {known}; "
                    "leave the option out, or choose another --dir for a new cluster"
                )
        router_port = wish.router_port
        if router_port is None:
            router_port = NO_ROUTER if record.router_port == NO_ROUTER else free_router_port
        wanted = replace(
            record,
            router_port=router_port,
            settings=wish.settings or record.settings,
            zones=wish.zones or record.zones,
        )
    wanted.plan(wish.directory)
    return wanted


def up(wish: Wish, screen: Screen, *, detach: bool) -> int:
    """Starts a cluster.

    In the foreground it returns when the cluster has been stopped; detached when it is ready.
    """
    return _detached(wish, screen) if detach else _launch(wish, screen)


def _launch(wish: Wish, reporter: Reporter) -> int:
    """Runs a launcher in this process until it is stopped."""
    try:
        lock = DirectoryLock.take(wish.directory)
        if lock is None:
            raise UpError(_already_running(wish.directory))
        record = read_record(wish.directory)
        _refuse_leftovers(wish.directory, record)
        record = resolve(wish, record, _router_port(wish, record, reporter))
        record = replace(record, launcher=identify(os.getpid()), started=())
        plan = record.plan(wish.directory)
        trio.run(check_ports, plan)
        write_record(wish.directory, record)
        reporter.progress(f"starting {plan.node_count} nodes" + (" and a router" if plan.router_port else ""))
        trio.run(
            Launcher(
                plan,
                record,
                reporter,
                restart=wish.restart,
                log_bytes_max=LOG_BYTES_MAX if wish.log_bytes_max is None else wish.log_bytes_max,
            ).run
        )
    except (UpError, PlanError, RecordError, PortTaken, StartFailed) as error:
        reporter.failed(str(error))
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        reporter.failed(f"{error.filename}: {error.strerror}")
        return 1
    lock.release()
    return 0


def _already_running(directory: Path) -> str:
    try:
        record = read_record(directory)
    except RecordError:
        record = None
    where = f"in {directory}"
    if record is None or record.launcher is None:
        return (
            f"a cluster is already being started or stopped {where}: wait, or choose another --dir and --port"
        )
    return (
        f"a cluster is already running {where} on port {record.port} and up "
        f"(launcher: process {record.launcher.pid}): see it with grapevine status --port {record.port}, "
        f"stop it with grapevine down --dir {directory}"
    )


def _refuse_leftovers(directory: Path, record: Record | None) -> None:
    alive = [each for each in record.started if is_alive(each.key)] if record else []
    if alive:
        some = ", ".join(f"{each.name} (process {each.key.pid})" for each in alive[:3])
        raise UpError(
            f"the launcher of the cluster in {directory} has died, but {len(alive)} of its processes "
            f"still run ({some}): stop them with grapevine down --dir {directory}, then start again"
        )


def _router_port(wish: Wish, record: Record | None, reporter: Reporter) -> int:
    """A free port for a router, if one is wanted and none was named. Says so when it is not the usual one."""
    if wish.router_port is not None or (record is not None and record.router_port == NO_ROUTER):
        return NO_ROUTER
    if record is not None and is_free(record.router_port):
        return record.router_port
    first = wish.port or (record.port if record else PORT)
    shards = wish.shards or (record.shards if record else SHARDS)
    replicas = (record.replicas if record else REPLICAS) if wish.replicas is None else wish.replicas
    port = choose_router_port(range(first, first + shards * (1 + replicas)))
    if port != ROUTER_PORT:
        taken = ROUTER_PORT if record is None else record.router_port
        reporter.note(f"the router gets port {port}, because {taken} is taken")
    return port


def _detached(wish: Wish, screen: Screen) -> int:
    """Runs the launcher in a session of its own, and returns when that one is ready or has failed.

    A fork, not a second command line: there is nothing to pass on that could be understood differently. In
    the forked process this function returns too, when the cluster has been stopped.
    """
    try:
        wish.directory.mkdir(parents=True, exist_ok=True)
        log = os.open(wish.directory / "launcher.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        screen.failed(str(cannot_write(wish.directory, error)))
        return 1
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.setsid()
        for descriptor, stream in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
            os.dup2(descriptor, stream)
        return _launch(wish, PipeReporter(writing))
    os.close(writing)
    os.close(log)
    try:
        ready = relay(reading, screen)
    except KeyboardInterrupt:
        screen.quiet()
        os.kill(pid, signal.SIGTERM)  # our own child, not waited for yet: the number is still its own
        os.waitpid(pid, 0)
        screen.failed("stopped before it was ready")
        return 130
    if ready is None:
        screen.failed(f"the launcher ended without a word: see {wish.directory / 'launcher.log'}")
    if not ready:
        os.waitpid(pid, 0)
        return 1
    return 0
