"""What a member remembers across restarts.

    member_id, cluster_id   who it is, and where it belongs
    incarnation             above which its next life begins
    members                 whom it knew, as in a state exchange
    registers               what its voter promised and accepted, and what it knows to be decided
    shard_id, lease_ms      whose data it holds; how long the leases were that its voter granted

The shell writes it to disk before anything leaves that depends on it (memory.py, state.py); the simulator
keeps it as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gossip.errors import PeerError
from gossip.messages import Record, record_from_plain, record_to_plain
from gossip.votes import MessageError, Plain


@dataclass(frozen=True, slots=True)
class Past:
    """A previous life, or a fresh start: then `fresh` is true, the ids are new and the rest is empty.

    Attributes:
        members: those it listed, itself left out.
        registers: what Registers.restore takes, None when there was nothing.
        shard_id: the shard it belonged to, '' for none: a replica follows it again.
        lease_ms: how long the leases were that its voter granted, 0 for none.
    """

    fresh: bool
    member_id: str
    cluster_id: str
    incarnation: int = 0
    members: tuple[Record, ...] = ()
    registers: Mapping[str, Plain] | None = None
    shard_id: str = ""
    lease_ms: int = 0

    def to_plain(self) -> dict[str, Plain]:
        """The state file's content."""
        return {
            "member_id": self.member_id,
            "cluster_id": self.cluster_id,
            "incarnation": self.incarnation,
            "members": tuple(record_to_plain(record) for record in self.members),
            "registers": self.registers,
            "shard_id": self.shard_id,
            "lease_ms": self.lease_ms,
        }

    @classmethod
    def from_plain(cls, state: Mapping[str, Plain]) -> Past:
        """What `to_plain` gave.

        Raises:
            MessageError: it makes no sense; the text says what is wrong with it.
        """
        member_id, cluster_id = state.get("member_id"), state.get("cluster_id")
        incarnation, members = state.get("incarnation"), state.get("members", ())
        registers, shard_id = state.get("registers"), state.get("shard_id", "")
        lease_ms = state.get("lease_ms", 0)
        if not isinstance(member_id, str) or not isinstance(cluster_id, str):
            raise MessageError("it names no member or no cluster")
        if not isinstance(incarnation, int) or not isinstance(members, tuple):
            raise MessageError("it has no incarnation or no members")
        if not isinstance(registers, Mapping) or not isinstance(shard_id, str):
            raise MessageError("it has no registers or no shard")
        if not isinstance(lease_ms, int):
            raise MessageError("it does not say how long our leases were")
        try:
            records = tuple(record_from_plain(item) for item in members)
        except PeerError as error:
            raise MessageError(str(error)) from error
        return cls(False, member_id, cluster_id, incarnation, records, registers, shard_id, lease_ms)
