"""How the cluster looks from one member: are slots covered, are primaries there, are voters heard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gossip.membership import Membership
from gossip.topology import SLOT_COUNT, Topology

# Silence of the voters for so many leases puts a member without a lease in doubt. What one primary of 60
# members hears is up to 2 leases old when it has come to the last of them in a quiet cluster.
MAJORITY_LEASES: Final = 3


class Outlook:
    """A core: it only looks.

    Args:
        full_coverage: whether a slot without an owner fails the whole (cluster-require-full-coverage).
    """

    def __init__(self, service: Membership, *, full_coverage: bool = True) -> None:
        self.service = service
        self.full_coverage = full_coverage

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
