"""Real services on real sockets: joining, dying, voting, coming back."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio

from chaos.ports import BUS_OFFSET, free_port
from gossip.config import GossipConfig
from gossip.sealing import PLAIN, Keyring
from gossip.service import MeetRefused, NoMajority, Refused, SelfMeta, Service
from gossip.votes import Plain
from tests.waiting import until

pytestmark = pytest.mark.slow

QUICK = GossipConfig(maintenance_interval_ms=50)


@dataclass
class Village:
    """Several services in one process; each can be stopped as if its process had been killed."""

    directory: Path
    nursery: trio.Nursery
    config: GossipConfig = QUICK
    services: dict[str, Service] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    scopes: dict[str, trio.CancelScope] = field(default_factory=dict)
    ended: dict[str, trio.Event] = field(default_factory=dict)
    keyring: Keyring = PLAIN

    async def start(
        self, name: str, *, join: str | None = None, kind: str = "node", zone: str = ""
    ) -> Service:
        port = self.ports.setdefault(name, free_port() + BUS_OFFSET)
        seeds = [("127.0.0.1", self.ports[join] - BUS_OFFSET)] if join else []
        meta = SelfMeta("127.0.0.1", port - BUS_OFFSET, bus_port=port, kind=kind, zone=zone)
        directory = self.directory / name
        service = Service(self.config, meta, directory, Random(name), join=seeds, keyring=self.keyring)
        self.services[name] = service
        self.scopes[name], self.ended[name] = trio.CancelScope(), trio.Event()
        await self.nursery.start(self._run, name)
        return service

    async def _run(self, name: str, *, task_status: trio.TaskStatus[int]) -> None:
        with self.scopes[name]:
            await self.services[name].run(task_status=task_status)
        self.ended[name].set()

    async def stop(self, name: str) -> None:
        self.scopes[name].cancel()
        await self.ended[name].wait()
        del self.services[name]

    async def started(self, count: int) -> list[Service]:
        names = [f"m{number}" for number in range(count)]
        for name in names:
            await self.start(name, join="m0" if name != "m0" else None)
        services = [self.services[name] for name in names]
        await until(lambda: all(len(service.topology.members) == count for service in services))
        return services

    async def with_voters(self, count: int, voters: int) -> list[Service]:
        services = await self.started(count)
        await until(lambda: all(settled(service, voters) for service in services))
        return services


def settled(service: Service, voters: int) -> bool:
    voter_set = service.topology.voter_set
    return len(voter_set.voters) == voters and not voter_set.joining


@asynccontextmanager
async def village(directory: Path, config: GossipConfig = QUICK) -> AsyncIterator[Village]:
    async with trio.open_nursery() as nursery:
        yield Village(directory, nursery, config)
        nursery.cancel_scope.cancel()


def status(service: Service, member: Service | str) -> str:
    view = service.topology.members.get(member if isinstance(member, str) else member.id)
    return "unknown" if view is None else view.status


def led_by(primary: str) -> Callable[[Plain], Plain]:
    return lambda old: {"primary": primary, "in_sync": (primary,), "epoch": 1}


async def test_members_join_and_see_each_other(tmp_path: Path) -> None:
    async with village(tmp_path) as here:
        services = await here.started(3)
        assert len({service.cluster_id for service in services}) == 1
        ids = {service.id for service in services}
        assert all(set(service.topology.members) == ids for service in services)
        assert all(status(service, other) == "alive" for service in services for other in services)


@pytest.mark.parametrize("attempt", range(3))
async def test_a_crowd_that_joins_one_member_at_once_is_not_held_up(tmp_path: Path, attempt: int) -> None:
    """Which side gives way depends on the ids, which are random: a few attempts meet every order of events.

    One who is promised the first member's company, and left for another, must not wait out the long timeout.
    """
    async with village(tmp_path) as here:
        first = await here.start("m0")
        crowd = [f"m{number}" for number in range(1, 7)]
        async with trio.open_nursery() as nursery:
            for name in crowd:
                nursery.start_soon(partial(here.start, name, join="m0"))
        services = [first, *(here.services[name] for name in crowd)]
        await until(lambda: all(len(service.topology.members) == 7 for service in services), within_s=4)
        assert len({service.cluster_id for service in services}) == 1


async def test_voters_are_spread_over_zones_also_over_those_that_come_late(tmp_path: Path) -> None:
    async with village(tmp_path) as here:
        first = await here.start("m0", zone="x")
        for name in ("m1", "m2"):
            await here.start(name, join="m0", zone="x")
        await until(lambda: settled(first, 3))
        await first.propose("slots", lambda old: old or ((0, 9, "s"),))
        for name, zone in (("m3", "y"), ("m4", "z"), ("m5", "y")):
            await here.start(name, join="m0", zone=zone)

        def zones() -> list[str]:
            members = first.topology.members
            return sorted(members[voter].zone for voter in first.topology.voter_set.voters)

        await until(lambda: settled(first, 5) and zones() == ["x", "x", "y", "y", "z"])
        assert first.register("slots") == ((0, 9, "s"),)


async def test_the_voter_set_grows_and_decides(tmp_path: Path) -> None:
    async with village(tmp_path) as here:
        services = await here.with_voters(3, 3)
        content = await services[2].propose("shard/aa", led_by(services[1].id))
        assert content == {"primary": services[1].id, "in_sync": (services[1].id,), "epoch": 1}
        await until(lambda: all("aa" in service.topology.shards for service in services))
        await until(lambda: services[1].lease_valid_until_ms() > services[1].now_ms())
        assert services[0].lease_valid_until_ms() == 0


async def test_a_killed_member_is_dead_quickly(tmp_path: Path) -> None:
    async with village(tmp_path) as here:
        services = await here.with_voters(5, 5)
        victim = services[4]
        await here.stop("m4")
        began_ms = Service.now_ms()
        services[0].report_broken(victim.id)
        await until(lambda: all(status(service, victim) == "dead" for service in services[:4]))
        assert Service.now_ms() - began_ms < 300


async def test_a_restart_keeps_identity_and_is_alive_again(tmp_path: Path) -> None:
    async with village(tmp_path) as here:
        services = await here.with_voters(3, 3)
        await services[0].propose("shard/aa", led_by(services[0].id))
        await until(lambda: "aa" in services[2].topology.shards)
        before = services[2].id
        incarnation = services[0].topology.members[before].incarnation
        await here.stop("m2")
        await until(lambda: status(services[0], before) == "dead")
        again = await here.start("m2", join="m0")
        assert again.id == before
        assert again.cluster_id == services[0].cluster_id
        assert "aa" in again.topology.shards
        await until(lambda: all(status(service, before) == "alive" for service in services[:2]))
        assert services[0].topology.members[before].incarnation > incarnation


async def test_a_declined_change_is_refused(tmp_path: Path) -> None:
    def decline(old: Plain) -> Plain:
        raise Refused("not on a Sunday")

    async with village(tmp_path) as here:
        (service,) = await here.started(1)
        with pytest.raises(Refused, match="Sunday"):
            await service.propose("shard/aa", decline)


async def test_what_a_change_needs_is_done_half_way(tmp_path: Path) -> None:
    async with village(tmp_path) as here:
        services = await here.with_voters(3, 3)
        me = services[0]
        seen: list[object] = []

        async def look() -> None:
            await trio.lowlevel.checkpoint()
            ledgers = [service.core.voting.registers.acceptor.ledgers["shard/aa"] for service in services]
            seen.append((sum(ledger.accepted is None for ledger in ledgers), me.register("shard/aa")))

        decided = await me.propose("shard/aa", led_by(me.id), half_way=look)
        assert (seen, decided) == ([(3, None)], led_by(me.id)(None))

        async def fail() -> None:
            raise LookupError("the heir is gone")

        with pytest.raises(LookupError, match="heir"):
            await me.propose("shard/aa", led_by("f" * 40), half_way=fail)
        assert me.core.voting.registers.proposal_count == 0
        assert await services[1].propose("shard/aa", lambda old: old) == decided


async def test_without_a_majority_nothing_is_decided(tmp_path: Path) -> None:
    async with village(tmp_path) as here:
        services = await here.with_voters(3, 3)
        await here.stop("m1")
        await here.stop("m2")
        with pytest.raises(NoMajority, match="no majority of 3 voters"):
            await services[0].propose("shard/aa", led_by(services[0].id), timeout_ms=600)


async def test_two_clusters_that_own_slots_refuse_each_other(tmp_path: Path) -> None:
    async with village(tmp_path) as here:
        left = await here.start("left")
        right = await here.start("right")
        await left.propose("slots", lambda old: ((0, 100, "aa"),))
        await right.propose("slots", lambda old: ((200, 300, "bb"),))
        with pytest.raises(MeetRefused) as refusal:
            await left.meet("127.0.0.1", right.bus_port)
        assert left.cluster_id in str(refusal.value)
        assert right.cluster_id in str(refusal.value)
        assert left.cluster_id != right.cluster_id
        assert len(left.topology.members) == len(right.topology.members) == 1


async def test_the_answerer_adopts_when_only_it_is_empty(tmp_path: Path) -> None:
    async with village(tmp_path) as here:
        owner = await here.start("owner")
        empty = await here.start("empty")
        await owner.propose("slots", lambda old: ((0, 100, "aa"),))
        assert await owner.meet("127.0.0.1", empty.bus_port) == empty.id
        assert empty.cluster_id == owner.cluster_id
        await until(lambda: empty.topology.slot_owner(50) == "aa")


async def test_noise_and_foreign_clusters_are_ignored(tmp_path: Path) -> None:
    async with village(tmp_path) as here:
        ours = await here.started(2)
        foreign = await here.start("foreign")
        sender = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with sender:
            address = ("127.0.0.1", ours[0].bus_port)
            dice = Random(7)
            for length in (0, 1, 3, 20, 200, 1400, 3000):
                await sender.sendto(dice.randbytes(length), address)
            stranger = foreign._codec.encode(foreign.core.detector.envelope(_ping(ours[0].id)))
            await sender.sendto(stranger, address)
        await until(lambda: sum(ours[0].statistics().dropped.values()) >= 8)
        dropped = ours[0].statistics().dropped
        assert dropped["cluster"] == 1
        assert dropped["size"] == 1
        stream = await trio.open_tcp_stream("127.0.0.1", ours[0].bus_port)
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        assert await stream.receive_some(10) == b""
        await stream.aclose()
        assert status(ours[1], ours[0]) == "alive"
        assert len(ours[0].topology.members) == 2


def _ping(target: str) -> object:
    from gossip.messages import Ping

    return Ping(1, target)


async def test_who_leaves_is_gone_at_once(tmp_path: Path) -> None:
    async with village(tmp_path) as here:
        services = await here.started(3)
        await services[1].leave()
        await until(
            lambda: status(services[0], services[1]) == status(services[2], services[1]) == "left", 1.0
        )


async def test_meta_spreads_and_wakes_followers(tmp_path: Path) -> None:
    async with village(tmp_path) as here:
        services = await here.started(3)
        seen = services[0].topology.version
        services[1].update_self(shard_id="aa", offset=77)
        with trio.fail_after(2):
            while services[0].topology.members[services[1].id].shard_id != "aa":
                seen = (await services[0].wait_changed(seen)).version
        await until(lambda: services[0].topology.members[services[1].id].offset == 77)


async def test_forgotten_members_stay_away(tmp_path: Path) -> None:
    async with village(tmp_path) as here:
        services = await here.started(3)
        assert services[0].forget(services[2].id)
        assert status(services[0], services[2]) == "unknown"
        services[2].update_self(zone="b")
        await until(lambda: services[1].topology.members[services[2].id].zone == "b")
        assert status(services[0], services[2]) == "unknown"
        assert not services[0].forget("0" * 40)
