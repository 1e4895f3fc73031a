"""The whole scenario against a cluster of real redis-server processes."""

import io
import json
import shutil
from pathlib import Path

import pytest
import trio
from rich.console import Console

from chaos.client import Connection, Outcome
from chaos.peers import PeerOptions, redis_cluster
from chaos.report import as_json, print_table
from chaos.scenarios.hurt_primary import Fault, Plan, run
from chaos.scenarios.watch import CannotBegin, Patience
from chaos.workloads.writers import Load

pytestmark = [
    pytest.mark.slow,
    pytest.mark.oracle,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server"),
]

LOAD = Load(rate=100, writers=2)


def text_of(result: object) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    print_table(result, console)  # type: ignore[arg-type]
    return console.export_text()


async def test_two_rounds(tmp_path: Path) -> None:
    options = PeerOptions(node_timeout_ms=500, restart_after_ms=2_500)
    told: list[str] = []
    async with redis_cluster(tmp_path, options) as addresses:
        plan = Plan(entry=addresses[0], rounds=2, seed=11, load=LOAD, warm_up_ms=300)
        result = await run(plan, told.append)
    assert (result.ended_early, result.unread, len(result.rounds)) == ("", "", 2)
    for each in result.rounds:
        assert each.victim in addresses
        assert each.promoted is not None
        assert each.promoted != each.victim
        assert each.healed_ms is not None
        # it cannot notice before half its node timeout has passed, and the outage ends before all is whole
        assert 250 < each.victim_gap.length_ms < each.healed_ms + 1_000
        assert each.victim_gap.began_ms <= each.hurt_ms + 50
        assert each.counts[Outcome.ACKNOWLEDGED] > 100
        assert each.counts[Outcome.NOT_APPLIED] > 0
    assert result.acknowledged >= sum(each.counts[Outcome.ACKNOWLEDGED] for each in result.rounds)
    assert result.false_refusals == ()
    assert sum("kill-primary 127.0.0.1:" in line for line in told) == 2
    values = json.loads(json.dumps(as_json(result)))
    assert (values["seed"], values["missing"], len(values["rounds"])) == (11, len(result.losses), 2)
    assert "writes acknowledged" in text_of(result)


async def test_a_frozen_primary_goes_on_and_follows(tmp_path: Path) -> None:
    async with redis_cluster(tmp_path, PeerOptions(node_timeout_ms=500)) as addresses:
        plan = Plan(addresses[0], Fault.FREEZE, rounds=1, freeze_ms=2_500, seed=8, load=LOAD, warm_up_ms=300)
        told: list[str] = []
        result = await run(plan, told.append)
    assert result.ended_early == ""
    (only,) = result.rounds
    assert "round 1 of 1: freeze-primary " in told[0]
    assert only.promoted not in (None, only.victim)
    assert only.healed_ms is not None
    assert only.healed_ms > 2_500
    assert 250 < only.victim_gap.length_ms < 2_500 + 1_000
    assert as_json(result)["scenario"] == "freeze-primary"


async def test_nobody_restarts(tmp_path: Path) -> None:
    async with redis_cluster(tmp_path, PeerOptions(node_timeout_ms=500)) as addresses:
        plan = Plan(
            entry=addresses[0],
            rounds=3,
            seed=4,
            load=LOAD,
            warm_up_ms=200,
            patience=Patience(whole_ms=9_000, restart_ms=3_000),
        )
        result = await run(plan, lambda _: None)
    assert len(result.rounds) == 1
    assert f"nobody restarted the killed node {result.rounds[0].victim} within 3 s" in result.ended_early
    assert result.rounds[0].healed_ms is None
    assert result.unread == ""
    assert "Ended early: nobody restarted" in text_of(result)


async def test_a_planted_loss_is_reported(tmp_path: Path) -> None:
    """A bystander deletes acknowledged keys while the scenario runs; every deleted one must be reported."""
    options = PeerOptions(node_timeout_ms=500, restart_after_ms=2_000)
    deleted: set[bytes] = set()
    told: list[str] = []
    struck = trio.Event()

    def tell(line: str) -> None:
        told.append(line)
        struck.set()

    async with redis_cluster(tmp_path, options) as addresses, trio.open_nursery() as nursery:

        async def thief() -> None:
            await struck.wait()  # by then there are keys everywhere
            for address in addresses[:3]:
                if str(address) not in told[0]:
                    connection = await Connection.open(address, 1_000)
                    for _ in range(2):
                        key = await connection.request("RANDOMKEY", timeout_ms=1_000)
                        assert isinstance(key, bytes)
                        assert await connection.request("DEL", key, timeout_ms=1_000) == 1
                        deleted.add(key)
                    connection.abandon()

        nursery.start_soon(thief)
        result = await run(Plan(entry=addresses[0], rounds=1, seed=1, load=LOAD, warm_up_ms=800), tell)
    assert len(deleted) == 4
    assert deleted <= {loss.write.key for loss in result.losses}
    assert "missing: chaos:{" in text_of(result)


async def test_refuses_a_cluster_without_replicas(tmp_path: Path) -> None:
    async with redis_cluster(tmp_path, PeerOptions(replicas=0)) as addresses:
        with pytest.raises(CannotBegin, match="no primary has a replica in sync"):
            await run(Plan(entry=addresses[0], load=LOAD), lambda _: None)
        connection = await Connection.open(addresses[0], 1_000)
        assert await connection.request("DBSIZE", timeout_ms=1_000) == 0  # refused before the first write
        connection.abandon()
