"""The cluster as clients want to read it: CLUSTER NODES, SLOTS, SHARDS and INFO from one topology.

Pure functions of the snapshot. Shapes and words are Redis's, because every cluster client parses them. Two
differences in meaning:

- A router is a member but owns nothing. Nodes leave routers out, since clients take every line for a node
with data
  (`redis-cli --cluster` asks each for DBSIZE); a router shows itself, as clients look for the line `myself`.
- The primary of a slot is the decided one, also while it is dead and not replaced yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from gossip.topology import SLOT_COUNT, MemberView, Topology
from node.engine.reply import Reply


def shown_members(topology: Topology, me: str) -> list[MemberView]:
    """Members that clients are told of, ourselves first, then by id."""
    named = frozenset(shard.primary for shard in topology.shards.values())
    others = [
        topology.members[member_id]
        for member_id in sorted(topology.members)
        if member_id != me
        and topology.members[member_id].kind == "node"
        and (topology.members[member_id].status != "left" or member_id in named)
    ]
    return [topology.members[me], *others] if me in topology.members else others


def shard_id_of(topology: Topology, member_id: str) -> str:
    """The shard a member belongs to; one that has none yet is told as a shard of its own, by its own id."""
    led = topology.shard_led_by(member_id)
    if led is not None:
        return led.id
    member = topology.members.get(member_id)
    if member is not None and member.shard_id in topology.shards:
        return member.shard_id
    return member_id


def leads(topology: Topology, member: MemberView) -> bool:
    """Whether clients are told `master`: decided primaries, and members of no shard."""
    shard = topology.shards.get(shard_id_of(topology, member.id))
    return shard is None or shard.primary == member.id


def nodes_text(
    topology: Topology,
    me: str,
    pongs_ms: Mapping[str, int],
    *,
    shown: Iterable[MemberView] | None = None,
    moving: Iterable[str] = (),
) -> bytes:
    """CLUSTER NODES, one line a member:

        <id> <host:port@bus port> <flags> <primary's id or -> 0 <last pong, unix ms> <epoch> <link> <slots...>

    Args:
        pongs_ms: when members last answered us, in Unix ms.
        shown: members to describe; None for all that clients are told of.
        moving: our own slots on the move, as `[5->-id]` or `[5-<-id]`.
    """
    lines = []
    for member in shown_members(topology, me) if shown is None else shown:
        shard = topology.shards.get(shard_id_of(topology, member.id))
        master = leads(topology, member)
        flags = ["myself"] if member.id == me else []
        flags.append("master" if master else "slave")
        if member.kind == "router":
            flags.append("nofailover")
        if member.status == "suspect":
            flags.append("fail?")
        elif member.status in ("dead", "left"):
            flags.append("fail")
        fields = [
            member.id,
            f"{member.host}:{member.port}@{member.bus_port}",
            ",".join(flags),
            "-" if master or shard is None or not shard.primary else shard.primary,
            "0",
            str(pongs_ms.get(member.id, 0)),
            str(0 if shard is None else shard.epoch),
            "connected" if member.usable else "disconnected",
        ]
        if master and shard is not None:
            ranges = topology.ranges_of(shard.id)
            fields += [f"{first}-{last}" if first != last else f"{first}" for first, last in ranges]
        if member.id == me:
            fields += moving
        lines.append(" ".join(fields) + "\n")
    return "".join(lines).encode()


def slots_reply(topology: Topology) -> Reply:
    """CLUSTER SLOTS: for each range its primary and the replicas that can be read."""
    reply: list[Reply] = []
    for first, last, shard_id in topology.ranges():
        primary = topology.primary_of(shard_id)
        if primary is None:
            continue  # decided, but gossip has never heard of it: there is no address to tell
        replicas = (replica for replica in topology.replicas_of(shard_id) if replica.offset >= 0)
        readable = [primary, *(replica for replica in replicas if replica.usable)]
        reply.append([first, last, *map(_endpoint, readable)])
    return reply


def _endpoint(member: MemberView) -> Reply:
    return [member.host.encode(), member.port, member.id.encode(), []]


def shards_reply(topology: Topology, me: str) -> Reply:
    """CLUSTER SHARDS: every shard with its slots and members, those without slots too."""
    members: dict[str, list[MemberView]] = {}
    for member in shown_members(topology, me):
        if member.kind == "node":
            members.setdefault(shard_id_of(topology, member.id), []).append(member)
    unowned = ((SLOT_COUNT, SLOT_COUNT),)
    order = sorted(members, key=lambda shard_id: (topology.ranges_of(shard_id) or unowned, shard_id))
    unowned = ((SLOT_COUNT, SLOT_COUNT),)
    order = sorted(members, key=lambda shard_id: (topology.ranges_of(shard_id) or unowned, shard_id))
    return [
        {
            b"slots": [slot for pair in topology.ranges_of(shard_id) for slot in pair],
            b"nodes": [_member(topology, member) for member in _primary_first(topology, members[shard_id])],
        }
        for shard_id in order
    ]


def _primary_first(topology: Topology, members: list[MemberView]) -> list[MemberView]:
    return sorted(members, key=lambda member: (not leads(topology, member), member.id))


def _member(topology: Topology, member: MemberView) -> Mapping[bytes, Reply]:
    if not member.usable:
        health = b"fail"
    elif member.shard_id in topology.shards and member.offset < 0:
        health = b"loading"
    else:
        health = b"online"
    return {
        b"id": member.id.encode(),
        b"port": member.port,
        b"ip": member.host.encode(),
        b"endpoint": member.host.encode(),
        b"role": b"master" if leads(topology, member) else b"replica",
        b"replication-offset": max(0, member.offset),
        b"health": health,
    }


def info_fields(
    topology: Topology, me: str, *, ok: bool, messages_sent: int, messages_received: int
) -> Iterator[tuple[str, object]]:
    """CLUSTER INFO, field by field."""
    suspected = failed = 0
    for first, last, shard_id in topology.ranges():
        primary = topology.primary_of(shard_id)
        if primary is None or primary.status in ("dead", "left"):
            failed += last + 1 - first
        elif primary.status == "suspect":
            suspected += last + 1 - first
    assigned = topology.slots_assigned()
    mine = topology.shards.get(shard_id_of(topology, me))
    yield "cluster_state", "ok" if ok else "fail"
    yield "cluster_slots_assigned", assigned
    yield "cluster_slots_ok", assigned - suspected - failed
    yield "cluster_slots_pfail", suspected
    yield "cluster_slots_fail", failed
    yield "cluster_known_nodes", len(shown_members(topology, me))
    yield "cluster_size", len(frozenset(shard_id for _, _, shard_id in topology.ranges()))
    yield "cluster_current_epoch", topology.epoch
    yield "cluster_my_epoch", 0 if mine is None else mine.epoch
    yield "cluster_stats_messages_sent", messages_sent
    yield "cluster_stats_messages_received", messages_received
    yield "total_cluster_links_buffer_limit_exceeded", 0
    yield "cluster_id", topology.cluster_id
    yield "cluster_voters", len(topology.voters)
    # The one place where a node names routers: people ask where they are, clients never look here.
    routers = (member for member in topology.members.values() if member.kind == "router" and member.usable)
    yield "cluster_routers", ",".join(sorted(f"{router.host}:{router.port}" for router in routers))
