"""A node made of its real parts (engine, pump, replication), in this process, on a free port."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from node.commands import all_commands
from node.config import Config
from node.engine.digest import digest
from node.engine.engine import Engine
from node.engine.pump import Pump
from node.engine.room import install_compiled
from node.replication.manager import ReplicationManager
from node.replication.wire import Sockets
from tests.waiting import until

PATIENCE_S = 20


class Client:
    """One connection; commands as bytes, replies as Python values; errors as RedisError."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._held = b""

    async def send(self, *args: bytes) -> None:
        data = b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(arg), arg) for arg in args)
        await self.stream.send_all(data)

    async def __call__(self, *args: bytes) -> object:
        with trio.fail_after(PATIENCE_S):
            await self.send(*args)
            return await self.reply()

    async def line(self) -> bytes:
        while b"\r\n" not in self._held:
            await self._more()
        line, self._held = self._held.split(b"\r\n", 1)
        return line

    async def exactly(self, count: int) -> bytes:
        while len(self._held) < count:
            await self._more()
        data, self._held = self._held[:count], self._held[count:]
        return data

    async def reply(self) -> object:
        line = await self.line()
        kind, rest = line[:1], line[1:]
        if kind in b"+-":
            return rest if kind == b"+" else RuntimeError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else (await self.exactly(int(rest) + 2))[:-2]
        assert kind == b"*", line
        return [await self.reply() for _ in range(int(rest))]

    async def _more(self) -> None:
        data = await self.stream.receive_some(65536)
        if not data:
            raise trio.BrokenResourceError("the node closed the connection")
        self._held += data


class PartsNode:
    """One running node."""

    def __init__(self, settings: tuple[str, ...], *, cluster: bool = False) -> None:
        self.active_expiry = True
        self.cluster = None
        self.config = Config.load(None, settings)
        self.engine = Engine(
            cluster=cluster, databases=16, hash_key=bytes(16), clock_ms=time.time_ns() // 1_000_000
        )
        self.broken: list[BaseException] = []
        self.engine.on_python_error = self.broken.append
        self.engine.bind_context(self)
        self.pump = Pump(self.engine)
        self._wire = Sockets(self.pump)
        self.replication = ReplicationManager(
            self.engine, self.pump, self._wire, self.config, random.Random(7)
        )
        self.pump.on_close = self.replication.on_close
        install_compiled(self.engine.registry)
        for spec in all_commands():
            self.engine.add_command(spec)
        self.info_sections = {"replication": self.replication.info_fields}
        self.listener = socket.socket()
        self.listener.setblocking(False)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(100)
        self.port: int = self.listener.getsockname()[1]
        self.replication.port = self.port
        self._scope = trio.CancelScope()

    @property
    def is_replica(self) -> bool:
        return self.replication.is_replica

    @property
    def digest(self) -> int:
        return digest(self.engine.keyspace)

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        with self._scope:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._wire.run, self.replication.follower)
                    await nursery.start(self.replication.run)
                    nursery.start_soon(self._drive)
                    nursery.start_soon(self._beat)
                    self.pump.listen(self.listener.fileno())
                    task_status.started()
            finally:
                self.pump.close_all()
                self.listener.close()

    def kill(self) -> None:
        """As if the process had died: every socket closes, nothing is said."""
        self._scope.cancel()

    async def _drive(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self.pump.fileno())
            while self.pump.run(1000, 0):
                await trio.lowlevel.checkpoint()

    async def _beat(self) -> None:
        while True:
            await trio.sleep(0.02)  # the beat, as node/server.py has one
            self.pump.tick()

    async def follow(self, other: PartsNode | int) -> None:
        """REPLICAOF, and wait until the link is up."""
        self.replication.follow("127.0.0.1", other if isinstance(other, int) else other.port)
        await until(lambda: self.replication.link_up)

    def cut_link(self) -> None:
        """Cuts the connection to the primary as a network fault would."""
        session = self.replication.follower.session
        assert session is not None
        self.pump.close(session, "cut by the test")


@asynccontextmanager
async def running(count: int, *settings: str) -> AsyncIterator[list[PartsNode]]:
    """So many nodes."""
    async with trio.open_nursery() as nursery:
        nodes = [PartsNode(settings) for _ in range(count)]
        for node in nodes:
            await nursery.start(node.run)
        try:
            yield nodes
        finally:
            for node in nodes:
                node.kill()
    for node in nodes:
        if node.broken:
            raise node.broken[0]


@asynccontextmanager
async def clients(*nodes: PartsNode | int) -> AsyncIterator[list[Client]]:
    """A connection to each."""
    async with AsyncExitStack() as stack:
        opened = []
        for node in nodes:
            port = node if isinstance(node, int) else node.port
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            opened.append(Client(await stack.enter_async_context(stream)))
        yield opened


async def caught_up(primary: PartsNode, *replicas: PartsNode) -> None:
    """Waits until the replicas have applied all that the primary wrote so far; their data must be equal."""
    offset = primary.replication.offset
    await until(lambda: all(replica.replication.offset >= offset for replica in replicas))
    assert {replica.replication.offset for replica in replicas} == {primary.replication.offset}
    assert {replica.digest for replica in replicas} == {primary.digest}
