"""A process as a member of the cluster, as far as every kind of member goes: what CLUSTER commands need.

A router is just this. A node with data is more, see cluster.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import trio

from gossip.service import Service
from gossip.topology import SLOT_COUNT, Topology
from node.errands import Errands

# Silence of the voters for so many leases puts a member without a lease in doubt. What one primary of 60
# members hears is up to 2 leases old when it has come to the last of them in a quiet cluster.
MAJORITY_LEASES: Final = 3


class ClusterMember:
    """Gossip, and the errands of clients that wait for it.

    Args:
        service: made; run by the composition root, before this is.
        full_coverage: whether a slot without an owner fails the whole (cluster-require-full-coverage).
        errands: who does what takes longer.
    """

    def __init__(
        self, service: Service, *, full_coverage: bool = True, errands: Errands | None = None
    ) -> None:
        self.service = service
        self.full_coverage = full_coverage
        self.errands = errands or Errands()

    @property
    def id(self) -> str:
        return self.service.id

    @property
    def topology(self) -> Topology:
        return self.service.topology

    @property
    def holds_clients(self) -> bool:
        """Whether clients wait because an office is changing hands; nobody may let them go on then."""
        return False

    @property
    def hears_majority(self) -> bool:
        """Whether we are on the side of the voters, if there are sides."""
        silence_ms = self.service.now_ms() - self.service.majority_heard_ms()
        return silence_ms <= MAJORITY_LEASES * self.service.config.lease_ms

    @property
    def covered(self) -> bool:
        """Whether enough slots have an owner to serve any."""
        return not self.full_coverage or self.topology.slots_assigned() == SLOT_COUNT

    @property
    def served(self) -> bool:
        """Whether every slot's primary is there. With full coverage required the state of the cluster is
        `fail` otherwise, as in Redis; but unlike there the others go on serving their slots."""
        if not self.full_coverage:
            return True
        topology = self.topology
        primaries = (topology.primary_of(shard_id) for _, _, shard_id in topology.ranges())
        return all(primary is not None and primary.usable for primary in primaries)

    @property
    def ok(self) -> bool:
        """`cluster_state` of CLUSTER INFO."""
        return self.covered and self.served and self.hears_majority

    def moving(self) -> Iterator[str]:
        """Our slots on the move, as CLUSTER NODES writes them."""
        return iter(())

    def gossip_fields(self) -> Iterator[tuple[str, object]]:
        """What the section `cluster` of INFO tells about the cluster bus."""
        statistics = self.service.statistics()
        yield "grapevine_gossip_sealed", int(statistics.sealed)
        yield "grapevine_gossip_awareness", statistics.awareness
        dropped = sorted(statistics.dropped.items())
        yield "grapevine_gossip_dropped", ",".join(f"{reason}={count}" for reason, count in dropped)

    def pongs_ms(self) -> dict[str, int]:
        """When each member last answered us, in Unix ms; those that never did are missing."""
        ahead_ms = time.time_ns() // 1_000_000 - self.service.now_ms()
        return {
            link.member_id: ahead_ms + link.answered_ms
            for link in self.service.links()
            if link.answered_ms > 0
        }

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Does errands until cancelled."""
        await self.errands.run(task_status=task_status)
