"""Whole nodes of a cluster in this process, on free ports, and what tests do to them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path

import trio

from chaos.ports import free_port
from node.cluster import ClusterNode
from node.config import Config
from node.server import Node
from tests.node.replication.parts import Client
from tests.waiting import until

PATIENCE_S = 30


class Member:
    """One node and its life; it can be killed and started again in the same directory."""

    def __init__(self, directory: Path, seeds: str = "", settings: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.directory = directory
        self.seeds = seeds
        self.settings = tuple(settings)
        self.node: Node | None = None
        self._scope = trio.CancelScope()
        self._gone = trio.Event()

    @property
    def cluster(self) -> ClusterNode:
        assert self.node is not None
        assert self.node.cluster is not None
        return self.node.cluster

    @property
    def id(self) -> str:
        return self.cluster.id

    @property
    def leads(self) -> bool:
        return self.cluster.election.leads

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        settings = [f"port={self.port}", f"dir={self.directory}", "cluster-enabled=yes", *self.settings]
        self.node = Node(Config.load(None, settings), self.seeds)
        self._scope, self._gone = trio.CancelScope(), trio.Event()
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    await nursery.start(self.node.run)
                    task_status.started()
                    await trio.sleep_forever()
        finally:
            self.node.pump.close_all()
            self._gone.set()

    async def kill(self) -> None:
        """As if the process had died: every socket closes, nothing is said."""
        self._scope.cancel()
        await self._gone.wait()

    async def call(self, *words: str) -> object:
        """One command on a connection of its own; errors come back as RuntimeError."""
        async with await trio.open_tcp_stream("127.0.0.1", self.port) as stream:
            return await Client(stream)(*(word.encode() for word in words))


class Members:
    """The nodes of one test."""

    def __init__(self, nursery: trio.Nursery, directory: Path, settings: Sequence[str]) -> None:
        self._nursery = nursery
        self._settings = settings
        self._directory = directory
        self.all: list[Member] = []

    async def add(self) -> Member:
        """Starts one more; it joins the first."""
        seeds = f"127.0.0.1:{self.all[0].port}" if self.all else ""
        member = Member(self._directory / f"node-{len(self.all)}", seeds, self._settings)
        self.all.append(member)
        await self.start(member)
        return member

    async def start(self, member: Member) -> None:
        await self._nursery.start(member.run)

    async def shard(self, replicas: int) -> list[Member]:
        """One shard that owns all slots: its primary, then its replicas, all in sync and voting."""
        members = [await self.add() for _ in range(1 + replicas)]
        await self.acquainted()
        first = members[0]
        assert await first.call("CLUSTER", "ADDSLOTSRANGE", "0", "16383") == b"OK"
        for replica in members[1:]:
            await until(partial(_sees_all_slots, replica))
            assert await replica.call("CLUSTER", "REPLICATE", first.id) == b"OK"
        await until(lambda: len(first.cluster.election.shard.in_sync) == len(members))
        await until(lambda: all(member.cluster.outlook.ok for member in members))
        return members

    async def acquainted(self) -> None:
        """Everybody knows everybody, and the voter set has come to rest."""
        count = len(self.all)
        voters = min(5, count if count % 2 else count - 1)
        await until(
            lambda: all(
                len(member.cluster.topology.members) == count
                and len(member.cluster.topology.voter_set.voters) == voters
                and not member.cluster.topology.voter_set.joining
                for member in self.all
            )
        )

    def leader(self) -> Member | None:
        """Who leads and has had a lease for it, among those that run."""
        for member in self.all:
            if (
                not member._gone.is_set()
                and member.node is not None
                and member.leads
                and member.cluster.outlook.ok
            ):
                return member
        return None


@contextlib.asynccontextmanager
async def members(directory: Path, *settings: str) -> AsyncIterator[Members]:
    """Nodes that end with the block; `settings` are parameters of all of them, as `name=value`."""
    async with trio.open_nursery() as nursery:
        yield Members(nursery, directory, settings)
        nursery.cancel_scope.cancel()


def _sees_all_slots(member: Member) -> bool:
    return member.cluster.topology.slots_assigned() == 16384


def fields(text: object) -> dict[str, str]:
    """CLUSTER INFO as a mapping."""
    assert isinstance(text, bytes)
    return dict(line.split(":", 1) for line in text.decode().split("\r\n") if line)


def lines(text: object) -> Iterator[list[str]]:
    """CLUSTER NODES as words."""
    assert isinstance(text, bytes)
    return (line.split(" ") for line in text.decode().splitlines())
