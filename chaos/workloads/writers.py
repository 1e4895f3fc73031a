"""Writers on every shard, at a bounded rate.

The slots are divided into groups, one per shard as the cluster stood when the run began. Each group has
writers of its own: a shard that does not answer must not slow the writes to the others, or the gaps of the
others could not be told. A writer sends one write at a time, with a key and a value that nobody used before.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from chaos.client import ClusterClient, Outcome
from chaos.topology import Address
from chaos.workloads.history import History, Write
from gossip.slots import SLOT_COUNT, slot_of

TAGS_PER_GROUP: Final = 64
PAUSE_AFTER_FAILURE_MS: Final = 10.0  # bounds how finely a gap is seen, and how hard a failing shard is asked
KEY_TTL_S: Final = 6 * 3600  # what a killed run leaves behind goes by itself; far longer than any run


@dataclass(frozen=True, slots=True)
class SlotGroup:
    """The slots one shard served when the run began."""

    index: int
    primary: Address  # at that time
    slots: frozenset[int]


@dataclass(frozen=True, slots=True)
class Load:
    """How hard the writers work.

    rate: writes a second and group, all its writers together.
    writers: writers per group; also the most writes of a group that can be on their way at one moment.
    value_bytes: size of a value.
    """

    rate: float = 300.0
    writers: int = 4
    value_bytes: int = 64

    def __post_init__(self) -> None:
        if not 1 <= self.rate <= 5_000:
            raise ValueError(f"rate={self.rate}: between 1 and 5000 writes a second and shard")
        if not 1 <= self.writers <= 64:
            raise ValueError(f"writers={self.writers}: between 1 and 64 a shard")
        if not 48 <= self.value_bytes <= 65_536:
            raise ValueError(f"value_bytes={self.value_bytes}: between 48 and 65536")


def tags_for(
    groups: Sequence[SlotGroup], rng: random.Random, wanted: int = TAGS_PER_GROUP
) -> list[list[bytes]]:
    """For each group, hash tags that fall into its slots (`wanted` of them, fewer if it has fewer slots).

    A tag fixes the slot of every key that carries it, so that a writer can make keys without a search.
    """
    group_of: list[int] = [-1] * SLOT_COUNT
    for position, group in enumerate(groups):
        for slot in group.slots:
            group_of[slot] = position
    left = [min(wanted, len(group.slots)) for group in groups]
    tags: list[list[bytes]] = [[] for _ in groups]
    seen: set[int] = set()
    while any(left):
        tag = b"%x" % rng.getrandbits(48)
        slot = slot_of(tag)
        position = group_of[slot]
        if position >= 0 and left[position] and slot not in seen:
            seen.add(slot)
            left[position] -= 1
            tags[position].append(tag)
    return tags


async def write_steadily(
    groups: Sequence[SlotGroup],
    seeds: Sequence[Address],
    load: Load,
    history: History,
    *,
    run: str,
    rng: random.Random,
    op_timeout_ms: float,
    clock_ms: Callable[[], float],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Runs the writers until it is cancelled. Started means: every group has acknowledged a write.

    A write under way at a cancellation is recorded as unknown: it was sent, and nobody waited for its answer.

    Args:
        run: part of every key and value; never used before on this cluster.
    Raises:
        HistoryFull: more writes than the history holds.
    """
    tags = tags_for(groups, rng)
    ready = [trio.Event() for _ in groups]
    interval_s = load.writers / load.rate
    async with trio.open_nursery() as nursery:
        for group, group_tags, first_ack in zip(groups, tags, ready, strict=True):
            for number in range(load.writers):
                # spread over the interval, so that the writers of a group take turns
                nursery.start_soon(
                    _writer,
                    group,
                    group_tags,
                    ClusterClient(seeds, op_timeout_ms=op_timeout_ms),
                    f"{run}:{group.index}:{number}",
                    interval_s,
                    interval_s * number / load.writers,
                    "x" * load.value_bytes,
                    history,
                    clock_ms,
                    first_ack,
                )
        for first_ack in ready:
            await first_ack.wait()
        task_status.started()


async def _writer(
    group: SlotGroup,
    tags: Sequence[bytes],
    client: ClusterClient,
    name: str,
    interval_s: float,
    first_after_s: float,
    filler: str,
    history: History,
    clock_ms: Callable[[], float],
    first_ack: trio.Event,
) -> None:
    async with client:
        due = trio.current_time() + first_after_s
        number = 0
        while True:
            await trio.sleep_until(due)
            number += 1
            key = b"chaos:{%b}:%b:%d" % (tags[number % len(tags)], name.encode(), number)
            value = f"{name}:{number}:{filler}"[: len(filler)].encode()
            began_ms = clock_ms()
            outcome, detail = Outcome.UNKNOWN, "the run ended before the answer"
            try:
                answer = await client.write("SET", key, value, "EX", KEY_TTL_S, key=key)
                outcome, detail = answer.outcome, answer.detail
            finally:
                history.add(Write(key, value, group.index, began_ms, clock_ms(), outcome, detail))
            if outcome is Outcome.ACKNOWLEDGED:
                first_ack.set()
                # late is late: catching up would send in bursts and make the gaps of others look better
                due = max(due + interval_s, trio.current_time())
            else:
                due = trio.current_time() + PAUSE_AFTER_FAILURE_MS / 1000
