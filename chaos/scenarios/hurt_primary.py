"""Hurt one primary a round while every shard is written to; measure the outage, count what is missing.

A round:

    warm up      writers run against the whole cluster for a moment
    choose       a primary with a replica, by the seed; prove which process it is
    hurt         SIGKILL, or SIGSTOP and after a while SIGCONT, or CLUSTER FAILOVER at its best replica
    heal         wait until the cluster is whole again: promoted, restarted or thawed, in sync
    settle       a moment more, so that an outage at the very end of the healing is seen whole
    check        read back every write that was acknowledged this round

Victims are chosen among primaries in slot order, so the same seed picks the same shards in every run.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import trio

from chaos.checkers.gaps import Gap, longest_gap, tally
from chaos.checkers.losses import Loss
from chaos.client import Connection, ConnectionLost, NotConnected, Outcome
from chaos.faults.processes import Refused, Target, freeze, kill, prove, thaw
from chaos.health import View, look, observe
from chaos.resp import ErrorReply, encode_command
from chaos.scenarios.watch import CannotBegin, NotWhole, Patience, members, read_back, wait_whole, writing
from chaos.topology import Address, BadView, NodeLine
from chaos.workloads.history import History, Write
from chaos.workloads.writers import Load, SlotGroup

HAND_OVER_LOOK_S: Final = 0.005


class Fault(StrEnum):
    """What happens to the victim. The value is the scenario's name."""

    KILL = "kill-primary"
    FREEZE = "freeze-primary"
    HAND_OVER = "hand-over"


@dataclass(frozen=True, slots=True)
class Plan:
    """One run of the scenario. Times in milliseconds.

    entry: any member of the cluster.
    freeze_ms: with Fault.FREEZE, how long the victim stands still.
    op_timeout_ms: a write without an answer for so long is unknown; a bound on how finely outages of silent
        (not refusing) nodes are seen.
    warm_up_ms, settle_ms: see the round above; settle_ms is watched for gaps too.
    durability: what every node must have as write-durability; '' takes them as they are.
    """

    entry: Address
    fault: Fault = Fault.KILL
    rounds: int = 5
    freeze_ms: float = 3_000.0
    seed: int = 0
    load: Load = field(default_factory=Load)
    patience: Patience = field(default_factory=Patience)
    op_timeout_ms: float = 250.0
    warm_up_ms: float = 1_000.0
    settle_ms: float = 500.0
    durability: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.rounds <= 1_000:
            raise ValueError(f"rounds={self.rounds}: between 1 and 1000")
        if not 10 <= self.freeze_ms <= 60_000:
            raise ValueError(f"freeze_ms={self.freeze_ms}: between 10 and 60000")
        if not 10 <= self.op_timeout_ms <= 60_000:
            raise ValueError(f"op_timeout_ms={self.op_timeout_ms}: between 10 and 60000")


@dataclass(frozen=True, slots=True)
class RoundResult:
    """What one round showed."""

    number: int
    victim: Address
    pid: int
    slot_count: int
    replica_lag_bytes: int  # of its best replica just before
    promoted: (
        Address | None
    )  # who served the victim's slots at the end; the victim itself: nobody was promoted
    healed_ms: float | None  # from the fault until the cluster was whole; None: it did not get there
    victim_gap: Gap  # longest stretch without an acknowledged write in the victim's slots
    other_gap: Gap  # the same for the worst of the other shards
    hurt_ms: float  # when the fault was injected
    counts: dict[Outcome, int]
    losses: tuple[Loss, ...]
    false_refusals: tuple[Write, ...]
    unread: str  # why the check could not be made; '' when it was


@dataclass(frozen=True, slots=True)
class Result:
    """What the run showed. `ended_early` says why fewer rounds were made than planned."""

    plan: Plan
    rounds: tuple[RoundResult, ...]
    losses: tuple[Loss, ...]  # found by any check, the one over all rounds at the end included
    false_refusals: tuple[Write, ...]
    unread: str
    acknowledged: int
    ended_early: str = ""


def slot_groups(view: View) -> list[SlotGroup]:
    """The slots of each primary, in slot order."""
    owners = next(iter(view.facts.values())).owners
    slots: dict[Address, set[int]] = {}
    for first, last, address in owners:
        slots.setdefault(address, set()).update(range(first, last + 1))
    return [
        SlotGroup(index, address, frozenset(held))
        for index, (address, held) in enumerate(sorted(slots.items(), key=lambda item: min(item[1])))
    ]


def choose_victim(view: View, rng: random.Random) -> NodeLine:
    """A primary that has a replica with its link up.

    Raises:
        CannotBegin: there is none; killing a primary without a replica measures only the restart.
    """
    candidates = [line for line in view.primaries() if lag_bytes(view, line) is not None]
    if not candidates:
        raise CannotBegin(
            "no primary has a replica in sync, so nobody could take over. "
            "Add replicas (`grapevine up --replicas 1`)."
        )
    return candidates[rng.randrange(len(candidates))]


def lag_bytes(view: View, primary: NodeLine) -> int | None:
    """How far its best replica with a link is behind `primary`; None when it has no such replica."""
    best = best_replica(view, primary)
    return None if best is None else best[0]


def best_replica(view: View, primary: NodeLine) -> tuple[int, Address] | None:
    """The replica with a link that is least behind `primary`, as (bytes behind, address)."""
    facts = view.facts.get(primary.address)
    linked = [
        (max(0, facts.offset - replica.offset), replica.address)
        for line in view.replicas_of(primary.id)
        if facts and (replica := view.facts.get(line.address)) and replica.link_up and not replica.loading
    ]
    return min(linked, default=None)


def owner_of(view: View, slot: int) -> Address | None:
    """Who serves `slot`, as the first who answered knows it."""
    for facts in view.facts.values():
        return next((address for first, last, address in facts.owners if first <= slot <= last), None)
    return None


async def run(plan: Plan, say: Callable[[str], None]) -> Result:
    """The whole scenario against a running cluster. `say` is told one line at each step.

    Raises:
        CannotBegin: not whole at the start, or no primary with a replica.
        Refused: the first victim is not provably a process of this machine.
        NotConnected, ConnectionLost, BadView: plan.entry is not a member of a cluster.
    """
    addresses = await members(plan.entry, timeout_ms=1_000)
    if not addresses:
        raise CannotBegin(f"the cluster at {plan.entry} serves no slots yet; create it first")
    try:
        view = await wait_whole(addresses, plan.patience, say=say)
    except NotWhole as error:
        raise CannotBegin(str(error)) from None
    await _check_durability(plan, addresses)
    groups = slot_groups(view)
    choose_victim(view, random.Random(plan.seed))  # refuse before the first write
    began = trio.current_time()

    def clock_ms() -> float:
        return (trio.current_time() - began) * 1000

    rng = random.Random(plan.seed)
    history = History()
    rounds: list[RoundResult] = []
    ended_early = ""
    async with writing(plan, groups, addresses, history, clock_ms):
        for number in range(1, plan.rounds + 1):
            result, ended_early = await _round(number, plan, addresses, groups, rng, history, clock_ms, say)
            if result is not None:
                rounds.append(result)
            if ended_early:
                say(f"ends after round {number} of {plan.rounds}: {ended_early}")
                break
    say("reading every acknowledged write back")
    losses, refusals, unread = await read_back(
        addresses, list(history.since(0)), plan.patience, plan.op_timeout_ms
    )
    known = {loss.write.key: loss for each in rounds for loss in each.losses} | {
        loss.write.key: loss for loss in losses
    }
    return Result(
        plan=plan,
        rounds=tuple(rounds),
        losses=tuple(known.values()),
        false_refusals=refusals,
        unread=unread,
        acknowledged=tally(history.since(0))[Outcome.ACKNOWLEDGED],
        ended_early=ended_early,
    )


async def _check_durability(plan: Plan, addresses: Sequence[Address]) -> None:
    """A node that promises less would make the outcome say nothing about the promise.

    Raises:
        CannotBegin: some node has another write-durability than the plan.
    """
    if not plan.durability:
        return
    for address in addresses:
        connection = await Connection.open(address, 1_000)
        try:
            (answer,) = await connection.pipeline(
                [encode_command("CONFIG", "GET", "write-durability")], timeout_ms=1_000
            )
        finally:
            connection.abandon()
        found = answer[1] if isinstance(answer, list) and len(answer) == 2 else answer
        if found != plan.durability.encode():
            raise CannotBegin(
                f"--durability {plan.durability}: write-durability of {address} is {found!r}: start "
                f"the cluster with grapevine up --set write-durability={plan.durability}"
            )


async def _round(
    number: int,
    plan: Plan,
    addresses: Sequence[Address],
    groups: Sequence[SlotGroup],
    rng: random.Random,
    history: History,
    clock_ms: Callable[[], float],
    say: Callable[[str], None],
) -> tuple[RoundResult | None, str]:
    """One round; the text says why there can be no further one, '' when there can."""
    first_index, from_ms = len(history), clock_ms()
    await trio.sleep(plan.warm_up_ms / 1000)
    view = await look(addresses)
    try:
        victim = choose_victim(view, rng)
        target = prove(victim.address, view.facts[victim.address].pid)
    except (CannotBegin, Refused) as error:
        if number == 1:
            raise
        return None, str(error)
    lag, heir = best_replica(view, victim) or (0, None)
    group = next(each for each in groups if victim.first_slot in each.slots)
    say(
        f"round {number} of {plan.rounds}: {plan.fault.value} {victim.address} "
        f"(process {target.pid}, {victim.slot_count} slots)"
    )
    healed_ms, ended_early = None, ""
    hurt_ms = clock_ms()
    try:
        hurt_ms = await _hurt(plan, target, heir, clock_ms)
        killed = victim.address if plan.fault is Fault.KILL else None
        view = await wait_whole(addresses, plan.patience, killed=killed, say=say)
        healed_ms = clock_ms() - hurt_ms
    except NotWhole as error:
        ended_early = str(error)
        view = await look(addresses)
    await trio.sleep(plan.settle_ms / 1000)
    to_ms = clock_ms()
    writes = list(history.since(first_index))
    victim_gap = longest_gap(writes, group.index, from_ms, to_ms)
    others = [longest_gap(writes, each.index, from_ms, to_ms) for each in groups if each.index != group.index]
    losses, refusals, unread = await read_back(addresses, writes, plan.patience, plan.op_timeout_ms)
    say(
        f"round {number} of {plan.rounds}: {victim_gap.length_ms:.0f} ms without an acknowledged write, "
        + ("not checked" if unread else f"{len(losses)} acknowledged writes missing")
    )
    result = RoundResult(
        number=number,
        victim=victim.address,
        pid=target.pid,
        slot_count=victim.slot_count,
        replica_lag_bytes=lag,
        promoted=owner_of(view, victim.first_slot),
        healed_ms=healed_ms,
        victim_gap=victim_gap,
        other_gap=max(others, key=lambda gap: gap.length_ms, default=Gap(from_ms, from_ms)),
        hurt_ms=hurt_ms,
        counts=tally(writes),
        losses=tuple(losses),
        false_refusals=refusals,
        unread=unread,
    )
    return result, ended_early


async def _hurt(plan: Plan, target: Target, heir: Address | None, clock_ms: Callable[[], float]) -> float:
    """Injects the fault and returns the moment it began. Whatever happens to us, nothing stays frozen.

    Raises:
        NotWhole: the planned failover was refused, or did not happen.
    """
    await trio.lowlevel.checkpoint()  # so that the moment we note is the moment it happens
    hurt_ms = clock_ms()
    match plan.fault:
        case Fault.KILL:
            kill(target)
        case Fault.FREEZE:
            freeze(target)
            try:
                await trio.sleep(plan.freeze_ms / 1000)
            finally:
                thaw(target)
        case Fault.HAND_OVER:
            await _hand_over(heir, plan.patience.restart_ms)
    return hurt_ms


async def _hand_over(heir: Address | None, limit_ms: float) -> None:
    """CLUSTER FAILOVER, and the wait until the replica leads: the reply only says that it will try."""
    if heir is None:
        raise NotWhole("nobody to hand over to", ["the victim's replica has lost its link"])
    try:
        connection = await Connection.open(heir, 1_000)
        try:
            reply = await connection.request("CLUSTER", "FAILOVER", timeout_ms=5_000)
        finally:
            connection.abandon()
    except (NotConnected, ConnectionLost) as error:
        raise NotWhole(f"{heir} does not answer CLUSTER FAILOVER", [str(error)]) from None
    if isinstance(reply, ErrorReply):
        raise NotWhole(f"{heir} refuses CLUSTER FAILOVER", [reply.text])
    role = "?"
    with trio.move_on_after(limit_ms / 1000):
        while role != "master":
            try:
                role = (await observe(heir, 1_000)).role
            except (NotConnected, ConnectionLost, BadView) as error:
                raise NotWhole(f"{heir} was lost while it took over", [str(error)]) from None
            await trio.sleep(HAND_OVER_LOOK_S)
    if role != "master":
        raise NotWhole(f"{heir} has not taken over within {limit_ms / 1000:.0f} s", [])
