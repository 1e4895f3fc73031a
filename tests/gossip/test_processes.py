"""Members as processes that are killed and frozen: what a primary and its voters do then."""

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from chaos.ports import BUS_OFFSET, free_port
from gossip.config import GossipConfig
from gossip.register import Change, NoMajority
from gossip.service import Service
from gossip.votes import Plain
from tests.gossip.test_service import Village, led_by, settled, status, village
from tests.waiting import until

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("member_process.py")
CONFIG = GossipConfig(maintenance_interval_ms=50)


class Outsider:
    """A member in a process of its own."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.id = ""

    async def line(self) -> str:
        assert self.process.stdout is not None
        text = b""
        while not text.endswith(b"\n"):
            more = await self.process.stdout.receive_some(1_000)
            assert more, "the member ended"
            text += more
        return text.decode().strip()

    async def lease_left_ms(self) -> int:
        assert self.process.stdin is not None
        await self.process.stdin.send_all(b"?\n")
        return int(await self.line())


@asynccontextmanager
async def outsider(here: Village, name: str) -> AsyncIterator[Outsider]:
    port, join = free_port() + BUS_OFFSET, here.ports["m0"] - BUS_OFFSET
    process = await trio.lowlevel.open_process(
        [sys.executable, str(SCRIPT), str(here.directory / name), str(port), str(join)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"},
    )
    member = Outsider(process)
    try:
        with trio.fail_after(20):
            member.id = await member.line()
        yield member
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


def succession(new: str) -> Change:
    def change(content: Plain) -> Plain:
        return {"primary": new, "in_sync": (new,), "epoch": 2}

    return change


async def led_by_the_outsider(here: Village, member: Outsider) -> list[Service]:
    """Four services and the outsider, all voters. The outsider leads the shard and has a lease."""
    services = [here.services["m0"]]
    for name in ("m1", "m2", "m3"):
        services.append(await here.start(name, join="m0"))
    await until(lambda: all(len(service.topology.members) == 5 for service in services))
    await until(lambda: all(settled(service, 5) for service in services))
    await services[0].propose("shard/s", led_by(member.id))

    async def leads() -> bool:
        return await member.lease_left_ms() > 0

    await until(leads)
    return services


async def test_a_killed_primary_is_replaced_at_once_though_its_lease_still_runs(tmp_path: Path) -> None:
    async with village(tmp_path, CONFIG) as here:
        await here.start("m0")
        async with outsider(here, "primary") as primary:
            services = await led_by_the_outsider(here, primary)
            began_ms = Service.now_ms()
            primary.process.send_signal(signal.SIGKILL)
            services[1].report_broken(primary.id)
            await until(lambda: status(services[1], primary.id) == "dead")
            dead_ms = Service.now_ms() - began_ms
            change = succession(services[1].id)
            await services[1].propose("shard/s", change)
            replaced_ms = Service.now_ms() - began_ms
            await until(lambda: services[1].lease_valid_until_ms() > Service.now_ms())
            serving_ms = Service.now_ms() - began_ms
        # some 50 ms on a quiet machine; on a busy one still before the lease could have run out by itself
        assert dead_ms < 700
        assert replaced_ms < CONFIG.lease_ms
        assert serving_ms < CONFIG.lease_ms + 200


async def test_a_killed_primary_is_noticed_without_any_report(tmp_path: Path) -> None:
    """No replica, no broken connection: the kernel's answer to the next packet tells."""
    async with village(tmp_path, CONFIG) as here:
        await here.start("m0")
        async with outsider(here, "primary") as primary:
            services = await led_by_the_outsider(here, primary)
            began_ms = Service.now_ms()
            primary.process.send_signal(signal.SIGKILL)
            await until(lambda: all(status(service, primary.id) == "dead" for service in services))
            assert Service.now_ms() - began_ms < 1_500  # 300 on a quiet machine


async def test_a_frozen_primary_is_replaced_only_after_its_lease(tmp_path: Path) -> None:
    async with village(tmp_path, CONFIG) as here:
        await here.start("m0")
        async with outsider(here, "primary") as primary:
            services = await led_by_the_outsider(here, primary)
            primary.process.send_signal(signal.SIGSTOP)
            began_ms = Service.now_ms()
            change = succession(services[1].id)
            with pytest.raises(NoMajority, match="the lease of primary"):
                await services[1].propose("shard/s", change, timeout_ms=200)
            await services[1].propose("shard/s", change)
            replaced_ms = Service.now_ms() - began_ms
            await until(lambda: status(services[1], primary.id) == "dead")
            dead_ms = Service.now_ms() - began_ms
            primary.process.send_signal(signal.SIGCONT)
            assert await primary.lease_left_ms() <= 0
            await until(lambda: all(status(service, primary.id) == "alive" for service in services))
            assert await primary.lease_left_ms() <= 0
        assert CONFIG.lease_ms - CONFIG.lease_ms // 3 - 100 <= replaced_ms <= 1_500
        assert dead_ms <= 2_000


async def test_a_pause_of_half_a_second_is_forgiven(tmp_path: Path) -> None:
    async with village(tmp_path, CONFIG) as here:
        await here.start("m0")
        async with outsider(here, "primary") as primary:
            services = await led_by_the_outsider(here, primary)
            seen: list[str] = []
            for _ in range(3):
                primary.process.send_signal(signal.SIGSTOP)
                await trio.sleep(0.5)  # the pause itself, not a wait for something
                primary.process.send_signal(signal.SIGCONT)
                with trio.move_on_after(1.0):
                    while True:
                        seen.append(status(services[0], primary.id))
                        await services[0].wait_changed(services[0].topology.version)
                await until(lambda: status(services[0], primary.id) == "alive")
            assert "dead" not in seen
            assert await primary.lease_left_ms() > 0
