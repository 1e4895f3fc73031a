"""Waiting for a cluster to be whole, with a bound and with reasons; and reading back what it acknowledged.

Shared by the scenarios: each of them begins from a whole cluster, breaks something, and may only go on when
everything is healed, or the second fault would be blamed for what the first one left behind.
"""

import random
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from chaos.checkers.losses import Loss, ghosts, missing_writes
from chaos.client import ClusterClient, Connection, Outcome
from chaos.health import View, look, troubles
from chaos.topology import Address, parse_nodes
from chaos.workloads.history import History, Write
from chaos.workloads.writers import Load, SlotGroup, write_steadily

LOOK_INTERVAL_S: Final = 0.2


class CannotBegin(Exception):
    """The cluster is not in a state in which this scenario means anything; nothing was done to it."""


class NotWhole(Exception):
    """The cluster did not become whole in time. `reasons` says what was still wrong at the last look."""

    def __init__(self, message: str, reasons: Sequence[str]) -> None:
        super().__init__(message + (": " + "; ".join(reasons[:6]) if reasons else ""))
        self.reasons = tuple(reasons)


class NobodyRestarted(NotWhole):
    """A killed process was not started again by anybody."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, in milliseconds.

    whole_ms: for the cluster to be whole. Default: a full copy of a few GB, and a slow supervisor.
    restart_ms: for a killed process to answer again before we conclude that nobody restarts it. Less than
        whole_ms; supervisors back off for some seconds.
    """

    whole_ms: float = 60_000.0
    restart_ms: float = 20_000.0

    def __post_init__(self) -> None:
        if not 0 < self.restart_ms <= self.whole_ms:
            raise ValueError(
                f"restart_ms={self.restart_ms}: more than 0 and at most whole_ms={self.whole_ms}"
            )


async def members(entry: Address, timeout_ms: float) -> list[Address]:
    """The addresses of all nodes that serve slots or replicate one that does, as `entry` knows them.

    Routers and empty nodes are members too, but hold nothing that could be lost or missed.

    Raises:
        NotConnected, ConnectionLost, BadView: `entry` is no member of a cluster that can be asked.
    """
    connection = await Connection.open(entry, timeout_ms)
    try:
        lines = parse_nodes(await connection.request("CLUSTER", "NODES", timeout_ms=timeout_ms), entry)
    finally:
        connection.abandon()
    owners = {line.id for line in lines if line.slot_count}
    return sorted(line.address for line in lines if line.id in owners or line.primary_id in owners)


async def wait_whole(
    addresses: Sequence[Address],
    patience: Patience,
    *,
    killed: Address | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> View:
    """Looks until the cluster is whole; returns the view that showed it.

    Args:
        killed: a node whose process was killed; if it never answers within patience.restart_ms, we give up.
        say: told about what is still wrong, whenever that changes.
    Raises:
        NobodyRestarted, NotWhole: with the last reasons.
    """
    began = trio.current_time()
    offsets: dict[Address, int] = {}
    returned = killed is None
    told = ""
    while True:
        view = await look(addresses)
        reasons = troubles(view, offsets)
        if not reasons:
            return view
        offsets = {address: facts.offset for address, facts in view.facts.items()}
        returned = returned or killed in view.facts
        waited_ms = (trio.current_time() - began) * 1000
        if not returned and waited_ms >= patience.restart_ms:
            raise NobodyRestarted(
                f"nobody restarted the killed node {killed} within {patience.restart_ms / 1000:.0f} s",
                reasons,
            )
        if waited_ms >= patience.whole_ms:
            raise NotWhole(f"the cluster is not whole after {patience.whole_ms / 1000:.0f} s", reasons)
        kind = re.sub(r"\d+ bytes", "bytes", reasons[0])  # a lag that only grows is not news
        if kind != told and waited_ms > 1_000:
            told = kind
            say(f"waiting: {reasons[0]}")
        await trio.sleep(LOOK_INTERVAL_S)


class Writes(Protocol):
    """What a plan says about its writers."""

    @property
    def seed(self) -> int: ...
    @property
    def load(self) -> Load: ...
    @property
    def patience(self) -> Patience: ...
    @property
    def op_timeout_ms(self) -> float: ...


@asynccontextmanager
async def writing(
    plan: Writes,
    groups: Sequence[SlotGroup],
    addresses: Sequence[Address],
    history: History,
    clock_ms: Callable[[], float],
) -> AsyncGenerator[None, None]:
    """Writers on every shard for as long as the block lasts; it begins when each has acknowledged a write.

    Raises:
        CannotBegin: some shard acknowledges none within patience.whole_ms.
    """
    async with trio.open_nursery() as nursery:

        async def writers(task_status: trio.TaskStatus[None]) -> None:
            await write_steadily(
                groups,
                addresses,
                plan.load,
                history,
                # not from the seed: a repeated run would find the writes of the first one and miss its losses
                run=f"{random.SystemRandom().getrandbits(48):012x}",
                rng=random.Random(plan.seed + 1),
                op_timeout_ms=plan.op_timeout_ms,
                clock_ms=clock_ms,
                task_status=task_status,
            )

        with trio.move_on_after(plan.patience.whole_ms / 1000) as first_writes:
            await nursery.start(writers)
        if first_writes.cancelled_caught:
            raise CannotBegin("some shard acknowledges no write at all")
        yield
        nursery.cancel_scope.cancel()


async def read_back(
    addresses: Sequence[Address], writes: Sequence[Write], patience: Patience, op_timeout_ms: float
) -> tuple[list[Loss], tuple[Write, ...], str]:
    """Reads what was acknowledged or refused: (what is missing, what is there though refused).

    The text says why it could not be done within patience.restart_ms, '' when it was.
    """
    keys = [each.key for each in writes if each.outcome is not Outcome.UNKNOWN]
    async with ClusterClient(addresses, op_timeout_ms=max(op_timeout_ms, 1_000)) as client:
        try:
            found = await client.read_all(keys, limit_ms=patience.restart_ms)
        except TimeoutError as error:
            return [], (), str(error)
    return missing_writes(writes, found), tuple(ghosts(writes, found)), ""
