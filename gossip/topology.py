"""The cluster as one member sees it now: who is there, who leads which shard, who owns which slot.

A `Topology` is an immutable snapshot. Whoever routes holds on to one while it answers and picks up the next
when the service announces it; nobody sees half of a change. Rebuilding is cheap because the expensive part,
one owner per slot, is shared with the predecessor while the slot ranges stay the same, and those change
rarely; a replication offset that moved costs a copy of the member table only.

What is *decided* (ranges, shards, voters) comes from registers; what is *believed* (members, their status and
offsets) comes from gossip. Only the decided part ever settles who may accept a write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from gossip.votes import MessageError, Plain, VoterSet

SLOT_COUNT: Final = 16384
SLOTS_REGISTER: Final = "slots"
SHARD_PREFIX: Final = "shard/"

Kind: TypeAlias = Literal["node", "router"]
Status: TypeAlias = Literal["alive", "suspect", "dead", "left"]
Range: TypeAlias = tuple[int, int, str]
"""(first slot, last slot, shard id), both ends included."""


@dataclass(frozen=True, slots=True)
class MemberView:
    """What gossip believes about one member.

    `offset` is the replication offset it last announced, `epoch_seen` the highest shard epoch it knew then,
    `started_ms` when its process began (its own wall clock), `version` that of its software.
    """

    id: str
    host: str
    port: int
    bus_port: int
    kind: Kind = "node"
    status: Status = "alive"
    incarnation: int = 0
    shard_id: str = ""
    zone: str = ""
    offset: int = 0
    epoch_seen: int = 0
    started_ms: int = 0
    version: str = ""

    @property
    def usable(self) -> bool:
        """Whether to count on it: a suspect still is, suspicion is no verdict."""
        return self.status in ("alive", "suspect")


@dataclass(frozen=True, slots=True)
class ShardView:
    """What a shard's register holds. An empty `primary` is a shard that has none yet.

    `heir` is a replica that a person wants in office (a planned failover): the primary hands over when it has
    everything. Any change of the primary settles it.

    `quorum` says what an acknowledgement means: every member of `in_sync` has it, so only they may be
    elected.
    """

    id: str
    primary: str = ""
    in_sync: tuple[str, ...] = ()
    epoch: int = 0
    heir: str = ""
    quorum: bool = False

    def to_data(self) -> Plain:
        """As content of the register `shard/<id>`."""
        data: dict[str, Plain] = {"primary": self.primary, "in_sync": self.in_sync, "epoch": self.epoch}
        if self.heir:
            data["heir"] = self.heir
        if self.quorum:
            data["quorum"] = True
        return data

    @classmethod
    def from_data(cls, shard_id: str, data: Plain) -> ShardView:
        """The view of a register's content; None (never written) is a shard at epoch 0.

        Raises:
            MessageError: the content is not a shard's.
        """
        if data is None:
            return cls(shard_id)
        if not isinstance(data, Mapping):
            raise MessageError(f"register 'shard/{shard_id}' does not hold a map")
        primary, in_sync, epoch = data.get("primary"), data.get("in_sync"), data.get("epoch")
        if not isinstance(primary, str) or not isinstance(epoch, int) or isinstance(epoch, bool):
            raise MessageError(f"register 'shard/{shard_id}' holds no primary or no epoch")
        if not isinstance(in_sync, (tuple, list)):
            raise MessageError(f"register 'shard/{shard_id}' holds no in-sync set")
        members = tuple(member for member in in_sync if isinstance(member, str))
        if len(members) != len(in_sync):
            raise MessageError(
                f"register 'shard/{shard_id}' has something else than member ids in its in-sync set"
            )
        heir = data.get("heir", "")
        if not isinstance(heir, str):
            raise MessageError(f"register 'shard/{shard_id}' holds an heir that is no member id")
        quorum = data.get("quorum", False)
        if not isinstance(quorum, bool):
            raise MessageError(f"register 'shard/{shard_id}' says neither yes nor no to quorum")
        return cls(shard_id, primary, members, epoch, heir, quorum)


def shard_register(shard_id: str) -> str:
    """Name of the register that holds this shard's configuration."""
    return SHARD_PREFIX + shard_id


def ranges_from_data(data: Plain) -> tuple[Range, ...]:
    """The slot ranges in the register `slots`: sorted, disjoint, within 0..16383; None is no slot assigned.

    Raises:
        MessageError: the content is not a slot map.
    """
    if data is None:
        return ()
    if not isinstance(data, (tuple, list)):
        raise MessageError("register 'slots' does not hold a list of ranges")
    ranges: list[Range] = []
    after = -1
    for item in data:
        if not isinstance(item, (tuple, list)) or len(item) != 3:
            raise MessageError("register 'slots' holds something else than [first, last, shard id]")
        first, last, shard_id = item
        if not isinstance(first, int) or not isinstance(last, int) or not isinstance(shard_id, str):
            raise MessageError("register 'slots' holds a range of wrong types")
        if not after < first <= last < SLOT_COUNT or not shard_id:
            raise MessageError(f"register 'slots' holds a range out of place: {first}-{last}")
        ranges.append((first, last, shard_id))
        after = last
    return tuple(ranges)


def owners_from_ranges(ranges: Iterable[Range]) -> list[str]:
    """One shard id per slot, '' where none: the form in which slots are easily moved about."""
    owners = [""] * SLOT_COUNT
    for first, last, shard_id in ranges:
        owners[first : last + 1] = [shard_id] * (last + 1 - first)
    return owners


def ranges_from_owners(owners: Sequence[str]) -> tuple[Range, ...]:
    """The shortest sorted ranges that say the same; inverse of `owners_from_ranges`."""
    ranges: list[Range] = []
    first = 0
    for slot in range(1, len(owners) + 1):
        if slot == len(owners) or owners[slot] != owners[first]:
            if owners[first]:
                ranges.append((first, slot - 1, owners[first]))
            first = slot
    return tuple(ranges)


@dataclass(frozen=True, slots=True)
class _SlotMap:
    """The part of a snapshot that successive ones share."""

    ranges: tuple[Range, ...]
    owners: tuple[str, ...]
    ranges_by_shard: Mapping[str, tuple[tuple[int, int], ...]]
    assigned: int

    @classmethod
    def of(cls, ranges: tuple[Range, ...]) -> _SlotMap:
        by_shard: dict[str, list[tuple[int, int]]] = {}
        for first, last, shard_id in ranges:
            by_shard.setdefault(shard_id, []).append((first, last))
        return cls(
            ranges,
            tuple(owners_from_ranges(ranges)),
            {shard_id: tuple(pairs) for shard_id, pairs in by_shard.items()},
            sum(last + 1 - first for first, last, _ in ranges),
        )


@dataclass(frozen=True, slots=True)
class Topology:
    """An immutable snapshot. Build with `Topology.build`, giving the predecessor if there is one.

    `version` counts the snapshots of this process; it means nothing elsewhere.
    """

    version: int
    cluster_id: str
    members: Mapping[str, MemberView]
    shards: Mapping[str, ShardView]
    voter_set: VoterSet
    epoch: int
    slots_version: int
    _slots: _SlotMap = field(repr=False)
    _led: Mapping[str, str] = field(repr=False, compare=False)  # member id -> a shard it is decided to lead
    _replicas: dict[str, tuple[MemberView, ...]] = field(repr=False, compare=False)  # filled when first asked

    @classmethod
    def build(
        cls,
        *,
        version: int,
        cluster_id: str,
        members: Mapping[str, MemberView],
        shards: Mapping[str, ShardView],
        ranges: tuple[Range, ...],
        voter_set: VoterSet,
        slots_version: int = 0,
        predecessor: Topology | None = None,
    ) -> Topology:
        """A snapshot of these tables, which are copied.

        Args:
            ranges: sorted and disjoint, as `ranges_from_data` gives them.
            slots_version: of the register `slots`, so that two snapshots tell which map is newer.
            predecessor: lends its slot table when the ranges are the same.
        """
        same = predecessor is not None and predecessor._slots.ranges == ranges
        slots = predecessor._slots if same and predecessor is not None else _SlotMap.of(ranges)
        return cls(
            version=version,
            cluster_id=cluster_id,
            members=MappingProxyType(dict(members)),
            shards=MappingProxyType(dict(shards)),
            voter_set=voter_set,
            epoch=max((shard.epoch for shard in shards.values()), default=0),
            slots_version=slots_version,
            _slots=slots,
            _led={shards[shard_id].primary: shard_id for shard_id in sorted(shards, reverse=True)},
            _replicas={},
        )

    @property
    def voters(self) -> tuple[str, ...]:
        """Everyone whose vote counts now, those of a coming voter set included."""
        return self.voter_set.everyone()

    def slot_owner(self, slot: int) -> str:
        """The shard that owns this slot, '' if none does. Constant time."""
        return self._slots.owners[slot]

    def ranges(self) -> tuple[Range, ...]:
        """All assigned slots as sorted, maximal ranges."""
        return self._slots.ranges

    def ranges_of(self, shard_id: str) -> tuple[tuple[int, int], ...]:
        return self._slots.ranges_by_shard.get(shard_id, ())

    def slots_assigned(self) -> int:
        return self._slots.assigned

    def primary_of(self, shard_id: str) -> MemberView | None:
        """The member that the shard's register names, if gossip knows it."""
        shard = self.shards.get(shard_id)
        return None if shard is None else self.members.get(shard.primary)

    def replicas_of(self, shard_id: str) -> tuple[MemberView, ...]:
        """Members that say they belong to the shard and are not its decided primary, by id; the dead
        included."""
        if not self._replicas and self.members:
            found: dict[str, list[MemberView]] = {"": []}
            for member_id in sorted(self.members):
                member = self.members[member_id]
                shard = self.shards.get(member.shard_id)
                if member.shard_id and (shard is None or shard.primary != member_id):
                    found.setdefault(member.shard_id, []).append(member)
            self._replicas.update({each: tuple(views) for each, views in found.items()})
        return self._replicas.get(shard_id, ())

    def shard_led_by(self, member_id: str) -> ShardView | None:
        """The shard whose decided primary this member is; there is at most one."""
        member = self.members.get(member_id)
        if member is not None:
            shard = self.shards.get(member.shard_id)
            if shard is not None and shard.primary == member_id:
                return shard
        return self.shards.get(self._led.get(member_id, ""))
