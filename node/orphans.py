"""Replica migration: which replica moves to a primary that has none left, and when. A core.

Of the shards that can spare a replica the one with the most gives, and of its replicas the one with the
lowest id goes: everybody comes to the same answer from the same topology, so one moves and not all. Views
differ for a moment, hence the wait. Two that move at once do no harm, and the next look sends nobody back.

Source: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/ (replica migration)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gossip.topology import MemberView, Topology

WAIT_MS: Final = 5000  # a replica that restarts is back by then; Redis waits as long


def destination(topology: Topology, member_id: str, barrier: int) -> str:
    """The primary that this member should replicate instead of its own; '' when it stays.

    Args:
        barrier: replicas that the shard we leave must keep.
    """
    me = topology.members.get(member_id)
    if me is None or topology.shard_led_by(member_id) is not None or me.shard_id not in topology.shards:
        return ""
    replicas = {shard_id: _working(topology, shard_id) for shard_id in topology.shards}
    orphans = sorted(
        shard_id
        for shard_id in topology.shards
        if not replicas[shard_id] and topology.ranges_of(shard_id) and _led(topology, shard_id)
    )
    spare = [
        shard_id
        for shard_id in topology.shards
        if len(replicas[shard_id]) > max(barrier, 0) and _led(topology, shard_id)
    ]
    if not orphans or not spare:
        return ""
    giver = min(spare, key=lambda shard_id: (-len(replicas[shard_id]), shard_id))
    if giver != me.shard_id or min(replica.id for replica in replicas[giver]) != member_id:
        return ""
    return topology.shards[orphans[0]].primary


def _working(topology: Topology, shard_id: str) -> list[MemberView]:
    return [replica for replica in topology.replicas_of(shard_id) if replica.usable]


def _led(topology: Topology, shard_id: str) -> bool:
    primary = topology.primary_of(shard_id)
    return primary is not None and primary.usable


@dataclass(slots=True)
class Migration:
    """One replica's patience."""

    _wanted: str = ""
    _since_ms: int = 0

    def look(self, topology: Topology, member_id: str, barrier: int, now_ms: int) -> str:
        """The primary to move to now, or ''; the same destination must have stood for a while."""
        wanted = destination(topology, member_id, barrier)
        if wanted != self._wanted:
            self._wanted, self._since_ms = wanted, now_ms
        if not wanted or now_ms - self._since_ms < WAIT_MS:
            return ""
        self._since_ms = now_ms  # should it come to nothing, again after a while
        return wanted
