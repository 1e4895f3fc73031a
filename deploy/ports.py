"""Are the ports free that a cluster needs? Asked before anything starts, so that the answer is one line."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from chaos.ports import BUS_OFFSET, LOCAL_HOST, can_bind, is_free
from chaos.topology import Address
from deploy.observe import NodeView, observe_all
from deploy.plan import PORT_MAX, ClusterPlan, is_beside_bus
from deploy.processes import command_line

ROUTER_PORT: Final = 6379
ROUTER_PORTS_TRIED: Final = 100
ASK_MS: Final = 1_000


class PortTaken(Exception):
    """A port that the cluster needs is in use; the text says which, by whom, and what to do."""


def choose_router_port(avoid: range) -> int:
    """6379 or the next port that is free, not a node's, and whose bus is none's port either.

    Raises:
        PortTaken: none of the next hundred is.
    """
    for port in _candidates(avoid):
        if is_free(port):
            return port
    raise PortTaken(
        f"no free port for the router from {ROUTER_PORT} to {ROUTER_PORT + ROUTER_PORTS_TRIED - 1}: "
        "choose one with --router-port, or use --no-router"
    )


def _candidates(avoid: range) -> Iterator[int]:
    for port in range(ROUTER_PORT, min(ROUTER_PORT + ROUTER_PORTS_TRIED, PORT_MAX - BUS_OFFSET)):
        if port not in avoid and not is_beside_bus(port, avoid):
            yield port


async def check_ports(plan: ClusterPlan) -> None:
    """Raises PortTaken unless every port of the plan is free."""
    taken = [each for each in plan.processes() if not is_free(each.port)]
    if not taken:
        return
    first = taken[0]
    address = Address(LOCAL_HOST, first.port)
    option = "--router-port" if first.kind == "router" else "--port"
    view = (await observe_all([address], ASK_MS))[address]
    if isinstance(view, NodeView) and view.cluster:
        name = "Grapevine" if view.version else "Redis"
        directory = _cluster_directory(view.pid)
        stop = f"stop it with grapevine down --dir {directory}" if directory else "stop it"
        raise PortTaken(
            f"a {name} cluster is already running on port {first.port} (process {view.pid}): "
            f"use it, {stop}, or choose another {option}"
        )
    if isinstance(view, NodeView):
        who = f"a {'Grapevine node' if view.version else 'Redis server'} (process {view.pid})"
    elif can_bind(first.port, socket.SOCK_STREAM):
        who = f"another program on its bus port {first.port + BUS_OFFSET}"
    else:
        who = "another program"
    raise PortTaken(f"port {first.port} is taken by {who}: stop it or choose another {option}")


def _cluster_directory(pid: int) -> str:
    """The directory of the cluster that a launcher started this process for; '' when none did."""
    words = command_line(pid)
    if "--dir" not in words[:-1]:
        return ""
    directory = Path(words[words.index("--dir") + 1]).parent
    return str(directory) if (directory / "cluster.json").exists() else ""
