"""CLUSTER FAILOVER with real processes under writers: nobody sees an error, and the pause is short."""

import random
import statistics
import time

import pytest
import trio

from chaos.checkers.gaps import longest_gap, tally
from chaos.client import ClusterClient, Connection, Outcome
from chaos.resp import encode_command
from chaos.scenarios.hurt_primary import slot_groups
from chaos.topology import Address
from chaos.workloads.history import History
from chaos.workloads.writers import Load, write_steadily
from tests.cluster.local import LocalCluster

pytestmark = pytest.mark.slow

ROUNDS = 5
PAUSE_LIMIT_MS = 50.0  # on a machine that is not busy, where a vote takes some 10 ms
VOTES_MAX = 3  # elsewhere: so many plain votes, measured in the same run, come on top


async def handed_over(cluster: LocalCluster) -> tuple[list[float], dict[Outcome, int], list[str]]:
    """Lets a replica of the first shard take over again and again: longest gaps, outcomes, complaints."""
    view = await trio.to_thread.run_sync(cluster.whole)
    groups = slot_groups(view)
    history = History()
    addresses = [Address("127.0.0.1", port) for port in cluster.ports]
    began = trio.current_time()

    def clock_ms() -> float:
        return (trio.current_time() - began) * 1000

    gaps: list[float] = []
    async with trio.open_nursery() as nursery:

        async def writers(task_status: trio.TaskStatus[None]) -> None:
            await write_steadily(
                groups,
                addresses,
                Load(rate=400.0, writers=4),
                history,
                run=f"{random.SystemRandom().getrandbits(48):012x}",
                rng=random.Random(1),
                op_timeout_ms=2_000,
                clock_ms=clock_ms,
                task_status=task_status,
            )

        await nursery.start(writers)
        async with ClusterClient(addresses) as client:
            for _ in range(ROUNDS):
                view = await trio.to_thread.run_sync(cluster.whole)
                primary = view.primaries()[0]
                heir = view.replicas_of(primary.id)[0].address
                await trio.sleep(0.3)  # the load itself, so that the gap has edges
                from_ms = clock_ms()
                connection = await Connection.open(heir, 1_000)
                assert (
                    await connection.pipeline([encode_command("CLUSTER", "FAILOVER")], timeout_ms=2_000)
                ) == [b"OK"]
                connection.abandon()
                with trio.fail_after(10):
                    while client.slots.owner(primary.first_slot) != heir:
                        await client.refresh()
                await trio.sleep(0.3)
                writes = list(history.since(0))
                gaps.append(longest_gap(writes, 0, from_ms, clock_ms()).length_ms)
        nursery.cancel_scope.cancel()
    writes = [each for each in history.since(0) if each.detail != "the run ended before the answer"]
    complaints = [each.detail for each in writes if each.outcome is not Outcome.ACKNOWLEDGED]
    return gaps, tally(writes), complaints


def vote_ms(cluster: LocalCluster) -> float:
    """What a change of a register costs here and now: CLUSTER BUMPEPOCH is one and nothing else."""
    client = cluster.node(cluster.primaries()[1].port)
    took = []
    for _ in range(5):
        began = time.monotonic()
        client.execute_command("CLUSTER", "BUMPEPOCH")
        took.append((time.monotonic() - began) * 1000)
    return statistics.median(took)


def test_a_planned_failover_shows_no_error_and_pauses_shortly(cluster: LocalCluster) -> None:
    cluster.whole()
    votes_ms = vote_ms(cluster)
    gaps, counts, complaints = trio.run(handed_over, cluster)
    votes_ms = max(votes_ms, vote_ms(cluster))
    print(f"gaps {[round(gap) for gap in gaps]} ms, a vote {votes_ms:.0f} ms, {counts} {set(complaints)}")
    assert complaints == [], cluster.logs()
    assert counts[Outcome.ACKNOWLEDGED] > 500
    assert statistics.median(gaps) < PAUSE_LIMIT_MS + VOTES_MAX * votes_ms, (gaps, cluster.logs())
