"""A throw-away cluster of redis-server processes, to measure a peer with the very scenario that measures us.

Everything lives in one directory and on loopback; the processes are our children and end with us. A process
that dies is started again after `restart_after_ms`. That delay matters: these servers keep nothing on disk,
and a primary that comes back empty before its replicas noticed would make them copy the emptiness.
"""

import shutil
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from typing import Final

import trio

from chaos.client import Connection, NotConnected
from chaos.ports import free_ports
from chaos.resp import ErrorReply, Reply
from chaos.scenarios.watch import Patience, wait_whole
from chaos.topology import Address, parse_info
from gossip.slots import SLOT_COUNT

START_LIMIT_S: Final = 10.0


class PeerMissing(Exception):
    """redis-server is not installed, or did not start."""


@dataclass(frozen=True, slots=True)
class PeerOptions:
    """The shape of the peer cluster.

    node_timeout_ms: cluster-node-timeout; 15000 is the server's default.
    restart_after_ms: None: a dead process stays dead.
    """

    shards: int = 3
    replicas: int = 1
    node_timeout_ms: int = 15_000
    restart_after_ms: float | None = None

    def __post_init__(self) -> None:
        if not 3 <= self.shards <= 20:
            raise ValueError(f"shards={self.shards}: between 3 (fewer have no majority of primaries) and 20")
        if not 0 <= self.replicas <= 3:
            raise ValueError(f"replicas={self.replicas}: between 0 and 3")


@asynccontextmanager
async def redis_cluster(directory: Path, options: PeerOptions) -> AsyncGenerator[list[Address], None]:
    """A running, whole cluster; its addresses, primaries first.

    Raises:
        PeerMissing: no redis-server on PATH, or one does not start.
        NotWhole: the cluster does not form in time.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise PeerMissing(
            "redis-server is not on PATH; install it to measure it (Debian: apt-get install redis-server)"
        )
    addresses = [Address("127.0.0.1", port) for port in free_ports(options.shards * (1 + options.replicas))]
    async with trio.open_nursery() as nursery:
        for address in addresses:
            await nursery.start(_supervise, program, directory, address, options)
        await _form(addresses, options)
        await wait_whole(addresses, Patience(whole_ms=30_000, restart_ms=30_000))
        yield addresses
        nursery.cancel_scope.cancel()


async def _supervise(
    program: str,
    directory: Path,
    address: Address,
    options: PeerOptions,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Runs one server until cancelled, starting it again as the options say. Started means: it answers."""
    home = directory / str(address.port)
    home.mkdir(parents=True, exist_ok=True)
    command = [
        program, "--port", str(address.port), "--bind", address.host, "--dir", str(home),
        "--cluster-enabled", "yes",
        "--cluster-node-timeout", str(options.node_timeout_ms), "--save", "", "--appendonly", "no",
        "--repl-diskless-sync-delay", "0", "--logfile", str(home / "log"),
    ]  # fmt: skip
    first = True
    while True:
        process = await trio.lowlevel.open_process(command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
        try:
            if first:
                await _answers(address, process, home / "log")
                task_status.started()
                first = False
            await process.wait()
        finally:
            if process.returncode is None:
                process.kill()  # nothing to save: no log, no snapshot
                with trio.CancelScope(shield=True):
                    await process.wait()
        if options.restart_after_ms is None:
            return
        await trio.sleep(options.restart_after_ms / 1000)


async def _answers(address: Address, process: trio.Process, log: Path) -> None:
    deadline = trio.current_time() + START_LIMIT_S
    while trio.current_time() < deadline:
        if process.poll() is not None:
            raise PeerMissing(f"redis-server on {address} ended with status {process.returncode}; see {log}")
        try:
            connection = await Connection.open(address, 500)
        except NotConnected:
            await trio.sleep(0.02)
            continue
        connection.abandon()
        return
    raise PeerMissing(f"redis-server on {address} does not answer within {START_LIMIT_S:.0f} s; see {log}")


async def _ask(address: Address, *words: str | int) -> Reply:
    connection = await Connection.open(address, 2_000)
    try:
        return await connection.request(*words, timeout_ms=5_000)
    finally:
        connection.abandon()


async def _form(addresses: Sequence[Address], options: PeerOptions) -> None:
    """Slots to the first `shards` members, everybody introduced, then the replicas to their primaries."""
    primaries, replicas = addresses[: options.shards], addresses[options.shards :]
    for index, address in enumerate(primaries):
        first = SLOT_COUNT * index // options.shards
        last = SLOT_COUNT * (index + 1) // options.shards - 1
        _expect_ok(await _ask(address, "CLUSTER", "ADDSLOTSRANGE", first, last), address)
        # distinct epochs from the start, as redis-cli --cluster create assigns them
        _expect_ok(await _ask(address, "CLUSTER", "SET-CONFIG-EPOCH", index + 1), address)
    for address in addresses[1:]:
        _expect_ok(await _ask(address, "CLUSTER", "MEET", addresses[0].host, addresses[0].port), address)
    deadline = trio.current_time() + START_LIMIT_S
    for address in addresses:
        while parse_info(await _ask(address, "CLUSTER", "INFO"), address).get("cluster_known_nodes") != str(
            len(addresses)
        ):
            if trio.current_time() > deadline:
                raise PeerMissing(
                    f"redis-server on {address} has not met the others within {START_LIMIT_S:.0f} s"
                )
            await trio.sleep(0.05)
    for index, address in enumerate(replicas):
        primary = primaries[index % options.shards]
        primary_id = await _ask(primary, "CLUSTER", "MYID")
        if not isinstance(primary_id, bytes):
            raise PeerMissing(f"redis-server on {primary} answers CLUSTER MYID with {primary_id!r}")
        _expect_ok(await _ask(address, "CLUSTER", "REPLICATE", primary_id.decode()), address)


def _expect_ok(reply: Reply, address: Address) -> None:
    if reply != b"OK":
        raise PeerMissing(
            f"redis-server on {address}: {reply.text if isinstance(reply, ErrorReply) else reply!r}"
        )
