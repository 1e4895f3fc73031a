"""Members stand still for moments while every core is busy: nobody may be taken for dead.

A detector that is quick to replace a dead primary is tempted to replace a slow one, and each such failover
costs clients an outage that nothing had caused. So this scenario freezes members for less than what means
death, one after the other, with processes beside them that want every core, and counts the failovers: each is
one too many.

A failover is seen as a new owner of a shard's first slot after a freeze, and, should it have been undone in
between, as a current epoch that has grown by the end.
"""

import os
import random
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from subprocess import DEVNULL
from typing import Final

import trio

from chaos.checkers.gaps import longest_gap, tally
from chaos.checkers.losses import Loss
from chaos.client import Connection, ConnectionLost, NotConnected, Outcome
from chaos.faults.processes import freeze, prove, thaw
from chaos.health import look
from chaos.scenarios.hurt_primary import owner_of, slot_groups
from chaos.scenarios.watch import CannotBegin, NotWhole, Patience, members, read_back, wait_whole, writing
from chaos.topology import Address, parse_info, whole_number
from chaos.workloads.history import History
from chaos.workloads.writers import Load, SlotGroup

FREEZE_MS_MIN: Final = 50.0
BUSY: Final = "while True: pass"


@dataclass(frozen=True, slots=True)
class Plan:
    """One run of the scenario.

    entry: any member of the cluster.
    seconds: how long.
    freeze_ms: the longest a member stands still; each time between FREEZE_MS_MIN and this.
    pause_ms: from the end of one freeze to the beginning of the next.
    busy: processes that want a core each; None: as many as there are cores.
    """

    entry: Address
    seconds: float = 60.0
    freeze_ms: float = 500.0
    pause_ms: float = 1_000.0
    busy: int | None = None
    seed: int = 0
    load: Load = field(default_factory=Load)
    patience: Patience = field(default_factory=Patience)
    op_timeout_ms: float = 2_000.0

    def __post_init__(self) -> None:
        if not 1 <= self.seconds <= 86_400:
            raise ValueError(f"seconds={self.seconds}: between 1 and 86400")
        if not FREEZE_MS_MIN <= self.freeze_ms <= 60_000:
            raise ValueError(f"freeze_ms={self.freeze_ms}: between {FREEZE_MS_MIN:.0f} and 60000")
        if not 0 <= self.pause_ms <= 60_000:
            raise ValueError(f"pause_ms={self.pause_ms}: between 0 and 60000")
        if self.busy is not None and not 0 <= self.busy <= 256:
            raise ValueError(f"busy={self.busy}: between 0 and 256")


@dataclass(frozen=True, slots=True)
class Result:
    """What the run showed. `failovers` names each: when, whose slots, from whom to whom."""

    plan: Plan
    freezes: int
    frozen_ms: float  # in all
    failovers: tuple[str, ...]
    epochs: tuple[int, int]  # the current epoch before and after
    gap_ms: float  # the longest without an acknowledged write in some shard
    counts: dict[Outcome, int]
    losses: tuple[Loss, ...]
    unread: str
    ended_early: str = ""


async def run(plan: Plan, say: Callable[[str], None]) -> Result:
    """The whole scenario against a running cluster. `say` is told one line at each step.

    Raises:
        CannotBegin: not whole at the start.
        Refused: a member is not provably a process of this machine.
        NotConnected, ConnectionLost, BadView: plan.entry is not a member of a cluster.
    """
    addresses = await members(plan.entry, timeout_ms=1_000)
    if not addresses:
        raise CannotBegin(f"the cluster at {plan.entry} serves no slots yet; create it first")
    try:
        view = await wait_whole(addresses, plan.patience, say=say)
    except NotWhole as error:
        raise CannotBegin(str(error)) from None
    groups = slot_groups(view)
    targets = [prove(address, view.facts[address].pid) for address in addresses]
    epoch_before = await _epoch(addresses)
    began = trio.current_time()

    def clock_ms() -> float:
        return (trio.current_time() - began) * 1000

    rng = random.Random(plan.seed)
    history = History()
    owners = [group.primary for group in groups]
    failovers: list[str] = []
    freezes, frozen_ms = 0, 0.0
    async with (
        busy_cores(os.cpu_count() or 1 if plan.busy is None else plan.busy),
        writing(plan, groups, addresses, history, clock_ms),
    ):
        from_ms = clock_ms()
        while clock_ms() - from_ms < plan.seconds * 1000:
            await trio.sleep(plan.pause_ms / 1000)
            target = targets[rng.randrange(len(targets))]
            still_ms = rng.uniform(FREEZE_MS_MIN, plan.freeze_ms)
            freeze(target)
            try:
                await trio.sleep(still_ms / 1000)
            finally:
                thaw(target)
            freezes, frozen_ms = freezes + 1, frozen_ms + still_ms
            for text in await _moved(addresses, groups, owners):
                failovers.append(
                    f"after {clock_ms() / 1000:.1f} s, {target.address} frozen for {still_ms:.0f} ms: {text}"
                )
                say(f"failover {failovers[-1]}")
            if freezes % 50 == 0:
                say(f"{clock_ms() / 1000:.0f} s: {freezes} freezes, {len(failovers)} failovers")
        to_ms = clock_ms()
    ended_early = ""
    try:
        await wait_whole(addresses, plan.patience, say=say)
    except NotWhole as error:
        ended_early = str(error)
    writes = list(history.since(0))
    losses, _, unread = await read_back(addresses, writes, plan.patience, plan.op_timeout_ms)
    return Result(
        plan=plan,
        freezes=freezes,
        frozen_ms=frozen_ms,
        failovers=tuple(failovers),
        epochs=(epoch_before, await _epoch(addresses)),
        gap_ms=max(longest_gap(writes, group.index, from_ms, to_ms).length_ms for group in groups),
        counts=tally(writes),
        losses=tuple(losses),
        unread=unread,
        ended_early=ended_early,
    )


@asynccontextmanager
async def busy_cores(count: int) -> AsyncGenerator[None, None]:
    """Processes of ours that want a core each, for as long as the block lasts."""
    processes: list[trio.Process] = []
    try:
        for _ in range(count):
            processes.append(
                await trio.lowlevel.open_process(
                    [sys.executable, "-I", "-c", BUSY], stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
                )
            )
        yield
    finally:
        with trio.CancelScope(shield=True):
            for process in processes:
                process.kill()
                await process.wait()


async def _moved(
    addresses: Sequence[Address], groups: Sequence[SlotGroup], owners: list[Address]
) -> list[str]:
    """Which shards have another owner than `owners` says; updates it."""
    view = await look(addresses)
    found = []
    for position, group in enumerate(groups):
        slot = min(group.slots)
        owner = owner_of(view, slot)
        if owner is not None and owner != owners[position]:
            found.append(f"slot {slot} went from {owners[position]} to {owner}")
            owners[position] = owner
    return found


async def _epoch(addresses: Sequence[Address]) -> int:
    """The highest current epoch that any member knows of.

    Raises:
        CannotBegin: nobody answers.
    """
    epochs = []
    for address in addresses:
        try:
            connection = await Connection.open(address, 1_000)
            try:
                info = parse_info(await connection.request("CLUSTER", "INFO", timeout_ms=1_000), address)
            finally:
                connection.abandon()
        except (NotConnected, ConnectionLost):
            continue
        epochs.append(whole_number(info, "cluster_current_epoch", address))
    if not epochs:
        raise CannotBegin("no member answers CLUSTER INFO")
    return max(epochs)
