"""A cluster of real processes on this machine, started by the launcher as a user would start it.

Ports are searched for below the kernel's ephemeral range, so that no client
socket of another test takes one between the search and the bind.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import redis
import trio
from redis.cluster import RedisCluster

from chaos.health import View
from chaos.ports import free_ports
from chaos.scenarios.watch import Patience, members, wait_whole
from chaos.topology import Address
from deploy.processes import is_alive, send_signal
from deploy.record import read_record

HERE = Path(__file__).resolve().parent.parent.parent
START_LIMIT_S = 90.0  # beyond what the launcher itself allows


def grapevine(*words: str, timeout_s: float = START_LIMIT_S) -> subprocess.CompletedProcess[str]:
    """Runs the `grapevine` command of this tree to its end."""
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", *words],
        cwd=HERE,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@dataclass
class LocalCluster:
    """A running cluster and what tests ask of it."""

    directory: Path
    port: int
    router_port: int
    shards: int = 3
    replicas: int = 1
    settings: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    _clients: list[redis.Redis] = field(default_factory=list)

    @property
    def ports(self) -> list[int]:
        return list(range(self.port, self.port + self.shards * (1 + self.replicas)))

    def node(self, port: int, **options: object) -> redis.Redis:
        """A plain connection to one process, closed with the fixture."""
        client: redis.Redis = redis.Redis("127.0.0.1", port, socket_timeout=5, **options)  # type: ignore[arg-type]
        self._clients.append(client)
        return client

    @contextmanager
    def client(self, port: int | None = None) -> Iterator[RedisCluster]:
        """redis-py's cluster client, entering by `port` (the router when not given)."""
        client = RedisCluster(host="127.0.0.1", port=port or self.router_port, socket_timeout=5)
        try:
            yield client
        finally:
            client.close()

    def whole(self, limit_s: float = 30.0) -> View:
        """Waits until the cluster is whole and returns the view that showed it."""
        patience = Patience(whole_ms=limit_s * 1000, restart_ms=limit_s * 1000)

        async def wait() -> View:
            addresses = [Address("127.0.0.1", port) for port in self.ports]
            return await wait_whole(addresses, patience)

        return trio.run(wait)

    def member_addresses(self) -> list[Address]:
        return trio.run(partial(members, Address("127.0.0.1", self.port), timeout_ms=2_000))

    def primaries(self) -> list[Address]:
        """Owners of slots in slot order."""
        return [line.address for line in self.whole().primaries()]

    def pid(self, port: int) -> int:
        return int(self.node(port).info("server")["process_id"])

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self._clients.clear()

    def logs(self, lines: int = 15) -> str:
        """The ends of all logs, for a failure that should explain itself."""
        parts = []
        for path in sorted(self.directory.glob("*/node.log")):
            tail = path.read_text(errors="replace").splitlines()[-lines:]
            parts.append(f"--- {path.parent.name}\n" + "\n".join(tail))
        return "\n".join(parts)


@contextmanager
def running_cluster(
    directory: Path,
    *,
    shards: int = 3,
    replicas: int = 1,
    restart: bool = True,
    settings: tuple[str, ...] = (),
    zones: tuple[str, ...] = (),
) -> Iterator[LocalCluster]:
    """Starts a cluster detached and ends it, whatever happens. `settings`: of all nodes, as `name=value`."""
    first = free_ports(shards * (1 + replicas) + 1).start
    router_port = first + shards * (1 + replicas)
    cluster = LocalCluster(directory, first, router_port, shards, replicas, settings, zones)
    try:
        started = up(cluster, restart=restart)
        assert started.returncode == 0, f"{started.stdout}{started.stderr}\n{cluster.logs()}"
        yield cluster
    finally:
        cluster.close()
        ended = grapevine("down", "--dir", str(directory))
        leftovers = kill_leftovers(directory)
    assert ended.returncode == 0, f"{ended.stdout}{ended.stderr}\n{cluster.logs()}"
    assert leftovers == []


def up(cluster: LocalCluster, *, restart: bool = True) -> subprocess.CompletedProcess[str]:
    """`grapevine up --detach` for this cluster, for the first time or again."""
    words = ["up", "--detach", "--shards", str(cluster.shards), "--replicas", str(cluster.replicas)]
    words += [
        "--port",
        str(cluster.port),
        "--router-port",
        str(cluster.router_port),
        "--dir",
        str(cluster.directory),
    ]
    for setting in cluster.settings:
        words += ["--set", setting]
    if cluster.zones:
        words += ["--zones", ",".join(cluster.zones)]
    return grapevine(*words, *([] if restart else ["--no-restart"]))


def kill_leftovers(directory: Path) -> list[str]:
    """Kills what the record of this directory says was started and still runs; their names."""
    record = read_record(directory)
    alive = [each for each in record.started if is_alive(each.key)] if record else []
    for each in alive:
        send_signal(each.key, signal.SIGKILL)
    if record and record.launcher and is_alive(record.launcher):
        send_signal(record.launcher, signal.SIGKILL)
        return [*(each.name for each in alive), "launcher"]
    return [each.name for each in alive]


def raw(port: int, *lines: str) -> list[str]:
    """Replies to inline commands, one line each, exactly as they come."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        file = client.makefile("rwb")
        replies = []
        for line in lines:
            file.write(line.encode() + b"\r\n")
            file.flush()
            reply = file.readline().decode().rstrip("\r\n")
            if reply.startswith("$") and reply != "$-1":
                reply = file.readline().decode().rstrip("\r\n")
            replies.append(reply)
        return replies


@contextmanager
def process(*words: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One `grapevine` process in the foreground, ended with the block."""
    with log.open("ab") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "deploy.cli", *words],
            cwd=HERE,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(HERE)},
        )
    with child:
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                raise
