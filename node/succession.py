"""Changes of who leads a shard, as functions from what its register holds to what it shall hold.

Pure, and applied to whatever is decided by then: each says itself whether that still is what the wish was
derived from. When one is proposed is the business of election.py; other changes are in slot_changes.py.
"""

from __future__ import annotations

from dataclasses import replace

from gossip.register import Change, Refused
from gossip.topology import ShardView
from gossip.votes import Plain


def promotion(
    member_id: str, seen: ShardView, *, floor: int = 0, force: bool = False, takeover: bool = False
) -> Change:
    """`member_id` becomes primary in place of the one in `seen`, with the next epoch.

    Args:
        seen: the configuration the wish was derived from; any other decided meanwhile refuses it.
        floor: highest epoch known of any shard. Epochs need to rise within a shard only, but people and tools
            (`cluster_current_epoch`) expect every failover to be newer than all before.
        force: a person wants it, whoever leads now.
        takeover: and takes the risk of losing what was acknowledged by quorum.
    """

    def change(data: Plain) -> Plain:
        shard = ShardView.from_data(seen.id, data)
        if shard.primary == member_id:
            return data
        if not force and (shard.epoch != seen.epoch or shard.primary != seen.primary):
            raise Refused(
                f"shard {seen.id} is at epoch {shard.epoch} with primary {shard.primary[:8] or 'none'}, "
                f"no longer at {seen.epoch} with {seen.primary[:8] or 'none'}"
            )
        if shard.quorum and not takeover and member_id not in shard.in_sync:
            raise Refused(
                f"member {member_id[:8]} is not in the in-sync set of shard {seen.id}: it may lack "
                "acknowledged writes (write-durability quorum). CLUSTER FAILOVER TAKEOVER takes that risk"
            )
        return _under(shard, member_id, "", floor).to_data()

    return change


def _under(shard: ShardView, primary: str, empty: str, floor: int) -> ShardView:
    """The shard with another primary in a new epoch.

    Args:
        empty: who is known to have no data any more; '' for nobody.
    """
    others = shard.in_sync if shard.quorum and primary in shard.in_sync else ()
    in_sync = (primary, *(other for other in others if other not in (primary, empty)))
    return ShardView(shard.id, primary, in_sync, max(shard.epoch, floor) + 1, quorum=shard.quorum)


def cession(member_id: str, heir: str, seen: ShardView, *, floor: int = 0, with_data: bool = False) -> Change:
    """The primary `member_id` gives its office to `heir`, who must still be in sync.

    Args:
        with_data: it has all data itself; otherwise it came back empty.
    """

    def change(data: Plain) -> Plain:
        shard = ShardView.from_data(seen.id, data)
        if shard.primary != member_id:
            return data  # whoever it is, it is not an empty one
        if heir not in shard.in_sync:
            raise Refused(f"member {heir[:8]} left the in-sync set of shard {seen.id}")
        return _under(shard, heir, "" if with_data else member_id, floor).to_data()

    return change


def renewal(member_id: str, seen: ShardView, *, floor: int = 0) -> Change:
    """The empty primary leads after all, in a new epoch that voids every older copy.

    A newer epoch than the one it has seen does not count as its own effect: a former life of it may have led
    under that, and its copies may have followed; the disk keeps no news of the last moments.
    """

    def change(data: Plain) -> Plain:
        shard = ShardView.from_data(seen.id, data)
        if shard.primary != member_id:
            return data
        unasked = [member for member in shard.in_sync if member not in (member_id, *seen.in_sync)]
        if unasked:  # decided before we went down, and our disk did not have it yet
            raise Refused(
                f"shard {seen.id} has copies in sync that were not asked: {', '.join(m[:8] for m in unasked)}"
            )
        alone = replace(shard, in_sync=(member_id,), heir="")
        return replace(alone, epoch=max(shard.epoch, floor) + 1).to_data()

    return change
