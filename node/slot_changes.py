"""Changes of the slot map, as functions from what the register `slots` holds to what it shall hold.

Pure, and each recognises its own effect: a proposal may be tried again on a map that already shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from gossip.register import Change, Refused
from gossip.topology import ShardView, owners_from_ranges, ranges_from_data, ranges_from_owners
from gossip.votes import Plain


def _edited(edit: Callable[[list[str]], None]) -> Change:
    def change(data: Plain) -> Plain:
        owners = owners_from_ranges(ranges_from_data(data))
        edit(owners)
        return ranges_from_owners(owners)

    return change


def assignment(slots: Iterable[int], shard_id: str) -> Change:
    """Free slots become the shard's."""
    wanted = tuple(slots)

    def edit(owners: list[str]) -> None:
        for slot in wanted:
            if owners[slot] not in ("", shard_id):
                raise Refused(f"Slot {slot} is already busy")
            owners[slot] = shard_id

    return _edited(edit)


def release(slots: Iterable[int], shard_id: str) -> Change:
    """Slots of the shard become free."""
    wanted = tuple(slots)

    def edit(owners: list[str]) -> None:
        for slot in wanted:
            if owners[slot] not in ("", shard_id):
                raise Refused(f"Slot {slot} is owned by shard {owners[slot]}: release it there")
            owners[slot] = ""

    return _edited(edit)


def transfer(slot: int, source: str, target: str) -> Change:
    """One slot moves from a shard ('' for nobody) to another."""

    def edit(owners: list[str]) -> None:
        if owners[slot] not in (source, target):
            owner = owners[slot] or "none"
            raise Refused(f"Slot {slot} is owned by shard {owner} by now, not by {source or 'none'}")
        owners[slot] = target

    return _edited(edit)


# -- changes of a shard's register that are no elections (those are in succession.py) ------------------------


def founding(member_id: str, shard_id: str, epoch: int) -> Change:
    """A new shard with this member as its primary."""

    def change(data: Plain) -> Plain:
        shard = ShardView.from_data(shard_id, data)
        if data is not None and shard.primary != member_id:
            raise Refused(f"shard {shard_id} exists already, with primary {shard.primary[:8] or 'none'}")
        return data if data is not None else ShardView(shard_id, member_id, (member_id,), epoch).to_data()

    return change


def vacating(member_id: str, shard_id: str) -> Change:
    """The primary of a shard without slots leaves it for good."""

    def change(data: Plain) -> Plain:
        shard = ShardView.from_data(shard_id, data)
        if shard.primary != member_id:
            return data
        return ShardView(shard_id, "", (), shard.epoch + 1).to_data()

    return change


def in_sync_set(member_id: str, seen: ShardView, in_sync: tuple[str, ...], *, quorum: bool = False) -> Change:
    """The primary says who acknowledges, and whether that is waited for; only as long as it is the primary of
    that epoch."""

    def change(data: Plain) -> Plain:
        shard = ShardView.from_data(seen.id, data)
        if shard.primary != member_id or shard.epoch != seen.epoch:
            raise Refused(
                f"member {member_id[:8]} is not the primary of shard {seen.id} at epoch {seen.epoch} any more"
            )
        return replace(shard, in_sync=in_sync, quorum=quorum).to_data()

    return change


def nomination(heir: str, seen: ShardView) -> Change:
    """A replica asks the present primary to hand over to it; '' withdraws."""

    def change(data: Plain) -> Plain:
        shard = ShardView.from_data(seen.id, data)
        if shard.epoch != seen.epoch or shard.primary != seen.primary:
            raise Refused(f"shard {seen.id} is at epoch {shard.epoch} by now, not at {seen.epoch}")
        return replace(shard, heir=heir).to_data()

    return change


def new_epoch(member_id: str, seen: ShardView, *, floor: int = 0) -> Change:
    """The primary raises its own epoch by one."""

    def change(data: Plain) -> Plain:
        shard = ShardView.from_data(seen.id, data)
        if shard.primary != member_id:
            raise Refused(f"member {member_id[:8]} is not the primary of shard {seen.id}")
        if shard.epoch > seen.epoch:
            return data
        return replace(shard, epoch=max(shard.epoch, floor) + 1, heir="").to_data()

    return change
