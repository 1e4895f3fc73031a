"""A process as a member of the cluster, as far as every kind of member goes: what CLUSTER commands need.

A router is just this. A node with data is more, see cluster.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import trio

from gossip.service import Service
from gossip.topology import Topology
from node.errands import Errands
from node.outlook import Outlook


class ClusterMember:
    """Gossip, and the errands of clients that wait for it.

    Args:
        service: made; run by the composition root, before this is.
        outlook: how the cluster looks from here.
        errands: who does what takes longer.
    """

    def __init__(self, service: Service, outlook: Outlook, errands: Errands) -> None:
        self.service = service
        self.outlook = outlook
        self.errands = errands

    @property
    def id(self) -> str:
        return self.service.id

    @property
    def topology(self) -> Topology:
        return self.service.topology

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
