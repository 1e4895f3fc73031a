"""deploy/up.py and deploy/ports.py: what is started when little is said, and what is refused."""

import socket
from pathlib import Path

import pytest

from chaos.ports import free_ports
from deploy.plan import ClusterPlan, PlanError
from deploy.ports import PortTaken, check_ports, choose_router_port
from deploy.record import Record
from deploy.up import NO_ROUTER, Wish, resolve

HERE = Path("/somewhere")


def test_defaults_fill_what_was_not_said() -> None:
    assert resolve(Wish(HERE), None, 6380) == Record(3, 1, 7000, 6380)
    assert resolve(Wish(HERE, 5, 0, 8000, 9000), None, 6380) == Record(5, 0, 8000, 9000)
    assert resolve(Wish(HERE, router_port=NO_ROUTER), None, 6380).router_port == NO_ROUTER


def test_a_second_start_takes_its_shape_from_the_record() -> None:
    known = Record(5, 2, 8000, 9000, formed=True)
    assert resolve(Wish(HERE), known, 9000) == known
    assert resolve(Wish(HERE, 5, 2, 8000), known, 9001) == Record(5, 2, 8000, 9001, formed=True)
    assert resolve(Wish(HERE), Record(5, 2, 8000, NO_ROUTER), 6379).router_port == NO_ROUTER
    assert resolve(Wish(HERE, router_port=6400), Record(5, 2, 8000, NO_ROUTER), 6379).router_port == 6400


@pytest.mark.parametrize(
    ("wish", "option"),
    [
        (Wish(HERE, shards=4), "--shards 4"),
        (Wish(HERE, replicas=0), "--replicas 0"),
        (Wish(HERE, port=1), "--port 1"),
    ],
)
def test_another_shape_than_the_directory_holds_is_refused(wish: Wish, option: str) -> None:
    with pytest.raises(PlanError, match=f"^{option}: the cluster in /somewhere has"):
        resolve(wish, Record(5, 2, 8000, 9000), 6379)


async def test_free_ports_are_fine() -> None:
    await check_ports(ClusterPlan(1, 1, free_ports(2).start, 0, HERE))


@pytest.mark.parametrize(
    ("kind", "offset", "who"),
    [
        (socket.SOCK_STREAM, 0, "another program"),
        (socket.SOCK_STREAM, 10_000, "another program on its bus port"),
        (socket.SOCK_DGRAM, 10_000, "another program on its bus port"),
    ],
)
async def test_a_taken_port_is_named(kind: socket.SocketKind, offset: int, who: str) -> None:
    base = free_ports(2).start
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", base + 1 + offset))
        if kind is socket.SOCK_STREAM:
            other.listen()
        with pytest.raises(PortTaken, match=f"^port {base + 1} is taken by {who}"):
            await check_ports(ClusterPlan(1, 1, base, 0, HERE))


def test_the_router_gets_no_port_whose_bus_is_a_nodes_port() -> None:
    # Whatever is taken on this machine: with the bus on port + 10000 none of these is possible.
    assert choose_router_port(range(16_379, 16_385)) not in range(6_379, 6_385)
