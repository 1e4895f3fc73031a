"""Is the cluster whole? Facts collected from every member, and a pure judgement of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import trio

from chaos.client import Connection, ConnectionLost, NotConnected
from chaos.topology import (
    Address,
    BadView,
    NodeLine,
    SlotRange,
    parse_info,
    parse_nodes,
    parse_slots,
    whole_number,
)
from gossip.slots import SLOT_COUNT


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What one node said about itself and about the cluster."""

    address: Address
    pid: int
    role: str  # 'master' or 'slave', as INFO words it
    offset: int
    link_up: bool  # a replica's link to its primary; True for a primary
    loading: bool
    owners: tuple[tuple[int, int, Address], ...]  # CLUSTER SLOTS without the replicas
    lines: tuple[NodeLine, ...]


@dataclass(frozen=True, slots=True)
class View:
    """The cluster at about one moment: the facts of those who answered, and why the others did not."""

    facts: Mapping[Address, NodeFacts]
    silent: Mapping[Address, str]

    def lines(self) -> tuple[NodeLine, ...]:
        """CLUSTER NODES as the first who answered tells it; empty when nobody did."""
        return next((each.lines for each in self.facts.values()), ())

    def primaries(self) -> list[NodeLine]:
        """Lines of the members that own slots, by their first slot (member ids are random, slots are not)."""
        owners = [line for line in self.lines() if line.slot_count]
        return sorted(owners, key=lambda line: line.first_slot)

    def replicas_of(self, primary_id: str) -> list[NodeLine]:
        return [line for line in self.lines() if line.primary_id == primary_id]


async def observe(address: Address, timeout_ms: float) -> NodeFacts:
    """Asks one node about itself over a connection of its own.

    Raises:
        NotConnected, ConnectionLost, BadView: it cannot be reached, falls silent, or answers something else.
    """
    connection = await Connection.open(address, timeout_ms)
    try:
        info = parse_info(await connection.request("INFO", timeout_ms=timeout_ms), address)
        slots = parse_slots(await connection.request("CLUSTER", "SLOTS", timeout_ms=timeout_ms), address)
        lines = parse_nodes(await connection.request("CLUSTER", "NODES", timeout_ms=timeout_ms), address)
    finally:
        connection.abandon()
    role = info.get("role", "")
    return NodeFacts(
        address=address,
        pid=whole_number(info, "process_id", address),
        role=role,
        offset=whole_number(info, "slave_repl_offset" if role == "slave" else "master_repl_offset", address),
        link_up=role != "slave" or info.get("master_link_status") == "up",
        loading=info.get("loading", "0") != "0" or info.get("master_sync_in_progress", "0") != "0",
        owners=_owners(slots),
        lines=lines,
    )


def _owners(ranges: Iterable[SlotRange]) -> tuple[tuple[int, int, Address], ...]:
    """Adjacent ranges of one owner joined, so that nodes which cut them differently compare equal."""
    joined: list[tuple[int, int, Address]] = []
    for each in ranges:
        if joined and joined[-1][2] == each.primary and joined[-1][1] + 1 == each.first:
            joined[-1] = (joined[-1][0], each.last, each.primary)
        else:
            joined.append((each.first, each.last, each.primary))
    return tuple(joined)


async def look(addresses: Sequence[Address], timeout_ms: float = 1_000.0) -> View:
    """Asks all addresses at the same time."""
    facts: dict[Address, NodeFacts] = {}
    silent: dict[Address, str] = {}

    async def ask(address: Address) -> None:
        try:
            facts[address] = await observe(address, timeout_ms)
        except (NotConnected, ConnectionLost, BadView) as error:
            silent[address] = str(error)

    async with trio.open_nursery() as nursery:
        for address in addresses:
            nursery.start_soon(ask, address)
    # answers come in any order; what is derived from them must not
    return View({each: facts[each] for each in addresses if each in facts}, dict(sorted(silent.items())))


def _role(facts: NodeFacts) -> str:
    return "replica" if facts.role == "slave" else "primary"


def troubles(view: View, offsets_before: Mapping[Address, int]) -> list[str]:
    """What keeps the cluster from being whole; empty when nothing does.

    Whole means: every expected member answers, all agree who serves which slot and who follows whom, every
    slot is served, nobody is counted as failed, and every replica's link is up and has what its primary had
    a moment ago.

    Args:
        offsets_before: offsets of the members in the look before this one. A primary's offset moves while we
            look, so a replica is compared with what its primary had then; a primary that is not in there has
            not been seen long enough to judge its replicas.
    """
    found = [f"no answer from {why}" for why in view.silent.values()]
    maps = {facts.owners for facts in view.facts.values()}
    if len(maps) > 1:
        found.append(f"the members know {len(maps)} different slot maps")
    for address, facts in view.facts.items():
        served = sum(last - first + 1 for first, last, _ in facts.owners)
        if served < SLOT_COUNT:
            found.append(f"{address} knows no owner for {SLOT_COUNT - served} slots")
        if facts.loading:
            found.append(f"{address} is still loading")
        failed = [str(line.address) for line in facts.lines if line.failed]
        if failed:
            found.append(f"{address} counts {', '.join(failed)} as failed")
        if not facts.link_up:
            found.append(f"replica {address} has no link to its primary")
        for line in facts.lines:
            other = view.facts.get(line.address)
            if other is not None and bool(line.primary_id) != (other.role == "slave"):
                found.append(f"{address} has not heard that {line.address} is now a {_role(other)}")
    for line in view.lines():
        replica = view.facts.get(line.address)
        primary = next((each for each in view.lines() if each.id == line.primary_id), None)
        if replica is None or primary is None:
            continue
        wanted = offsets_before.get(primary.address)
        if wanted is None:
            found.append(f"{primary.address} has not been seen before; its replicas cannot be judged yet")
        elif replica.offset < wanted:
            found.append(
                f"replica {line.address} is {wanted - replica.offset} bytes behind {primary.address}"
            )
    return found
