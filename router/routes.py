"""From the decided topology to the table by which the engine words its redirections.

The engine knows owners by index: a list of endpoints, and an index (or none) for each slot. A router owns no
slot, so every slot that has an owner becomes `MOVED slot host:port`, and a slot without one CLUSTERDOWN.

What is decided counts, not what is believed: the owner of a slot is the primary that the shard's register
names, also while gossip suspects it or knows it to be dead. Anybody else would refuse the write, and a client
that is sent to a dead address notices at once and asks again. Rejected: answering CLUSTERDOWN for such a slot
until a replica is promoted; clients treat it as final more often than a refused connection.
"""

from dataclasses import dataclass
from typing import Protocol

from gossip.slots import SLOT_COUNT
from gossip.topology import MemberView, Topology

UNASSIGNED = -1


class RoutingTable(Protocol):
    """The part of the engine that routes; see node/engine/engine.pyx."""

    def set_owners(self, endpoints: list[bytes]) -> None: ...
    def set_slot_range(self, first: int, last: int, owner: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Routes:
    """Endpoints by index, and slot ranges with the index of their owner; slots in no range have none."""

    endpoints: tuple[bytes, ...]
    ranges: tuple[tuple[int, int, int], ...]

    def install(self, table: RoutingTable) -> None:
        """Replaces everything in `table`. Not to be interrupted by commands: call it without awaiting."""
        # All slots lose their owner first: an index must never mean an endpoint of the other table.
        table.set_slot_range(0, SLOT_COUNT - 1, UNASSIGNED)
        table.set_owners(list(self.endpoints))
        for first, last, owner in self.ranges:
            table.set_slot_range(first, last, owner)


def endpoint(member: MemberView) -> bytes:
    """How MOVED names a member. Redis writes IPv6 without brackets, and clients split at the last colon."""
    return f"{member.host}:{member.port}".encode()


def routes_of(topology: Topology) -> Routes:
    """The routes that `topology` decides. Cost: one pass over the ranges and shards."""
    index_of: dict[str, int] = {}
    endpoints: list[bytes] = []
    for shard_id in sorted({shard_id for _, _, shard_id in topology.ranges()}):
        primary = topology.primary_of(shard_id)
        if primary is not None:
            index_of[shard_id] = len(endpoints)
            endpoints.append(endpoint(primary))
    ranges = tuple(
        (first, last, index_of[shard_id])
        for first, last, shard_id in topology.ranges()
        if shard_id in index_of
    )
    return Routes(tuple(endpoints), ranges)
