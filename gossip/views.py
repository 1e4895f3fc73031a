"""From the cores' tables to the immutable picture that the rest of the program reads."""

from collections.abc import Mapping
from typing import Final

from gossip.denial import Presence
from gossip.detector import Detector
from gossip.members import Status
from gossip.messages import Meta
from gossip.topology import (
    SHARD_PREFIX,
    SLOTS_REGISTER,
    Kind,
    MemberView,
    Range,
    ShardView,
    Topology,
    ranges_from_data,
)
from gossip.topology import Status as ViewStatus
from gossip.votes import MessageError, Value, VoterSet


class Views:
    """Makes the pictures of one member, each from the last: what did not change since is taken over as it is.
    Offsets move many times a second, and with them a few numbers of a few members."""

    def __init__(self) -> None:
        self._members: dict[str, tuple[Meta, Status, MemberView]] = {}
        self._shards: dict[str, tuple[Value, ShardView]] = {}
        self._ranges: tuple[Value | None, tuple[Range, ...]] = (None, ())

    def build(
        self,
        detector: Detector,
        decided: Mapping[str, Value],
        voter_set: VoterSet,
        cluster_id: str,
        predecessor: Topology | None,
        version: int,
    ) -> Topology:
        """The picture now. Cost: one pass over members and shards; the slot table
        is shared while ranges stay the same.
        """
        status: ViewStatus = "left" if detector.presence is Presence.LEAVING else "alive"
        mine = _view(
            detector.me, detector.meta, status, detector.incarnation, detector.offset, detector.epoch_seen
        )
        members = {mine.id: mine}
        kept = self._members
        listed: dict[str, tuple[Meta, Status, MemberView]] = {}
        for member in detector.members:
            last = kept.get(member.id)
            if (
                last is None
                or last[0] is not member.meta
                or last[1] is not member.status
                or last[2].incarnation != member.incarnation
                or last[2].offset != member.offset
                or last[2].epoch_seen != member.epoch_seen
            ):
                view = _view(
                    member.id,
                    member.meta,
                    _STATUSES[member.status],
                    member.incarnation,
                    member.offset,
                    member.epoch_seen,
                )
                last = (member.meta, member.status, view)
            listed[member.id] = last
            members[member.id] = last[2]
        self._members = listed
        slots = decided.get(SLOTS_REGISTER)
        if slots is not self._ranges[0]:
            self._ranges = (slots, ranges_from_data(None if slots is None else slots.data))
        return Topology.build(
            version=version,
            cluster_id=cluster_id,
            members=members,
            shards=self.shards(decided),
            ranges=self._ranges[1],
            voter_set=voter_set,
            slots_version=0 if slots is None else slots.version,
            predecessor=predecessor,
        )

    def shards(self, decided: Mapping[str, Value]) -> dict[str, ShardView]:
        """Every shard that has a register, by id, sorted."""
        kept = self._shards
        named: dict[str, tuple[Value, ShardView]] = {}
        for name in sorted(decided):
            if name.startswith(SHARD_PREFIX):
                shard_id, value = name.removeprefix(SHARD_PREFIX), decided[name]
                last = kept.get(shard_id)
                if last is None or last[0] is not value:
                    last = (value, ShardView.from_data(shard_id, value.data))
                named[shard_id] = last
        self._shards = named
        return {shard_id: last[1] for shard_id, last in named.items()}


def check_content(name: str, value: Value) -> None:
    """Refuse a decided value that no picture could be built from.

    Raises:
        MessageError: its content is not what a register of that name holds.
    """
    if name == SLOTS_REGISTER:
        ranges_from_data(value.data)
    elif name.startswith(SHARD_PREFIX):
        ShardView.from_data(name.removeprefix(SHARD_PREFIX), value.data)
    elif name == "voters":
        VoterSet.from_value(value)
    else:
        raise MessageError(f"register {name[:64]!r} is not known here")


_STATUSES: Final[Mapping[Status, ViewStatus]] = {
    Status.ALIVE: "alive",
    Status.SUSPECT: "suspect",
    Status.DEAD: "dead",
    Status.LEFT: "left",
}


def _view(
    member_id: str, meta: Meta, status: ViewStatus, incarnation: int, offset: int, epoch_seen: int
) -> MemberView:
    kind: Kind = "router" if meta.kind == "router" else "node"
    return MemberView(
        id=member_id,
        host=meta.host,
        port=meta.port,
        bus_port=meta.bus_port,
        kind=kind,
        status=status,
        incarnation=incarnation,
        shard_id=meta.shard_id,
        zone=meta.zone,
        offset=offset,
        epoch_seen=epoch_seen,
        started_ms=meta.started_ms,
        version=meta.software,
    )
