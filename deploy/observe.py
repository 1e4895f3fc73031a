"""What the members of a cluster say about themselves and about each other, asked with ordinary commands.

Every answer is parsed into a `NodeView`; nothing here decides anything. Used while a cluster is being formed,
for `grapevine status`, and to find out who is a replica before an ordered shutdown.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import trio

from chaos.client import Connection, ConnectionLost, NotConnected
from chaos.resp import ErrorReply, encode_command
from chaos.topology import (
    Address,
    BadView,
    NodeLine,
    SlotRange,
    parse_address,
    parse_info,
    parse_nodes,
    parse_slots,
)
from gossip.slots import SLOT_COUNT

QUESTIONS = (("INFO",), ("CLUSTER", "INFO"), ("CLUSTER", "SLOTS"), ("CLUSTER", "NODES"))


@dataclass(frozen=True, slots=True)
class NodeView:
    """One member's own account. For a stand-alone node everything about the cluster is empty."""

    address: Address
    cluster: bool
    id: str
    pid: int
    role: str  # 'primary', 'replica' or 'router'
    primary_id: str  # '' when it has none
    serving: bool  # cluster_state:ok
    loading: bool  # reads its data or its primary's
    link_up: bool  # a replica's link to its primary; True for others
    replicas_online: int
    memory_bytes: int
    uptime_s: int
    version: str
    routers: tuple[Address, ...]  # CLUSTER NODES leaves them out
    lines: tuple[NodeLine, ...]  # CLUSTER NODES as it tells it
    ranges: tuple[SlotRange, ...]  # CLUSTER SLOTS as it tells it

    @property
    def slots_served(self) -> int:
        """How many slots have an owner, as this member knows it."""
        return sum(each.last - each.first + 1 for each in self.ranges)

    @property
    def known_ids(self) -> frozenset[str]:
        return frozenset(line.id for line in self.lines)

    def slots_of(self, address: Address) -> tuple[tuple[int, int], ...]:
        """The slots that `address` is primary for, as this member knows it; neighbours joined."""
        joined: list[tuple[int, int]] = []
        for each in self.ranges:
            if each.primary != address:
                continue
            if joined and joined[-1][1] + 1 == each.first:
                joined[-1] = (joined[-1][0], each.last)
            else:
                joined.append((each.first, each.last))
        return tuple(joined)


def parse_view(address: Address, info: dict[str, str], cluster: dict[str, str] | None,
               ranges: tuple[SlotRange, ...], lines: tuple[NodeLine, ...]) -> NodeView:  # fmt: skip
    """Puts the four answers of a member together. `cluster` is None when cluster mode is off."""
    own = next((line for line in lines if "myself" in line.flags), None)
    replica = info.get("role") == "slave"
    role = "router" if info.get("grapevine_kind") == "router" else "replica" if replica else "primary"
    online = [
        name for name, value in info.items()
        if name.startswith("slave") and name[5:].isdigit() and "state=online" in value.split(",")
    ]  # fmt: skip
    return NodeView(
        address=address,
        cluster=cluster is not None,
        id=own.id if own else "",
        pid=int(info.get("process_id", 0)),
        role=role,
        primary_id=own.primary_id if own else "",
        serving=cluster is not None and cluster.get("cluster_state") == "ok",
        loading=info.get("loading", "0") != "0" or info.get("master_sync_in_progress", "0") != "0",
        link_up=not replica or info.get("master_link_status") == "up",
        replicas_online=len(online),
        memory_bytes=int(info.get("used_memory_rss", 0)) or int(info.get("used_memory", 0)),
        uptime_s=int(info.get("uptime_in_seconds", 0)),
        version=info.get("grapevine_version", ""),
        routers=tuple(
            parse_address(text) for text in (cluster or {}).get("cluster_routers", "").split(",") if text
        ),
        lines=lines,
        ranges=ranges,
    )


async def observe(address: Address, timeout_ms: float) -> NodeView:
    """Asks one member, over a connection of its own.

    Raises:
        NotConnected, ConnectionLost: it cannot be reached or falls silent.
        BadView: it answers, but not as a member of a cluster or a stand-alone node does.
    """
    connection = await Connection.open(address, timeout_ms)
    try:
        commands = [encode_command(*words) for words in QUESTIONS]
        replies = await connection.pipeline(commands, timeout_ms=timeout_ms)
    finally:
        connection.abandon()
    info = parse_info(replies[0], address)
    if isinstance(replies[1], ErrorReply) and info.get("cluster_enabled", "0") == "0":
        return parse_view(address, info, None, (), ())
    return parse_view(
        address, info, parse_info(replies[1], address),
        parse_slots(replies[2], address), parse_nodes(replies[3], address),
    )  # fmt: skip


async def observe_all(addresses: Iterable[Address], timeout_ms: float) -> dict[Address, NodeView | str]:
    """Asks all at the same time. Who cannot answer is in the result with the reason."""
    wanted = list(addresses)
    found: dict[Address, NodeView | str] = {}

    async def ask(address: Address) -> None:
        try:
            found[address] = await observe(address, timeout_ms)
        except (NotConnected, ConnectionLost, BadView) as error:
            found[address] = str(error)

    async with trio.open_nursery() as nursery:
        for address in wanted:
            nursery.start_soon(ask, address)
    return {address: found[address] for address in wanted}


def covers_all_slots(view: NodeView) -> bool:
    return view.slots_served == SLOT_COUNT
