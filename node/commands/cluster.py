"""CLUSTER and its subcommands; READONLY, READWRITE and ASKING.

Reading commands answer from the topology at hand. Changing ones are proposals to the voters: the client
waits for the outcome while everybody else is served (node.errands). That makes their OK stronger than
Redis's, which only says that one node has changed its own mind and will tell the others: here it is
decided.

A router answers the reading ones; what needs a node with data it refuses.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from gossip.service import BUS_PORT_OFFSET, MeetRefused
from gossip.slots import slot_of
from gossip.topology import SLOT_COUNT, MemberView
from node.cluster import SLOT_HAS_KEYS, ClusterNode
from node.cluster_member import ClusterMember
from node.cluster_replies import (
    info_fields,
    leads,
    nodes_text,
    shard_id_of,
    shards_reply,
    shown_members,
    slots_reply,
)
from node.commands.help import answer_help
from node.commands.table import command
from node.commands.words import integer, shown
from node.context import node_of
from node.engine.reply import OK, CommandError, Reply, Verbatim

if TYPE_CHECKING:
    from node.engine.session import Session

BAD_SLOT: Final = "ERR Invalid or out of range slot"
PORT_MAX: Final = 65535
FAILOVERS_TOLD: Final = 10


# -- who answers
# -----------------------------------------------------------------------------------------------


def _member(session: Session) -> ClusterMember:
    """The cluster side of this process, which may be a router's."""
    member = node_of(session).cluster
    if member is None:
        raise CommandError("ERR This instance has cluster support disabled")
    return member


def _node(session: Session, name: str) -> ClusterNode:
    """The same, for commands that need a node with data."""
    member = _member(session)
    if not isinstance(member, ClusterNode):
        raise CommandError(
            f"ERR CLUSTER {name} is for nodes that hold data, and this is a router: ask one of them"
        )
    return member


def _known(member: ClusterMember, word: bytes) -> MemberView:
    found = member.topology.members.get(shown(word).lower())
    if found is None:
        raise CommandError(f"ERR Unknown node {shown(word)}")
    return found


def _slot(word: bytes) -> int:
    return integer(word, BAD_SLOT, low=0, high=SLOT_COUNT - 1)


# -- reading
# ---------------------------------------------------------------------------------------------------


def slots(session: Session, _args: list[bytes]) -> Reply:
    return slots_reply(_member(session).topology)


def shards(session: Session, _args: list[bytes]) -> Reply:
    member = _member(session)
    return shards_reply(member.topology, member.id)


def nodes(session: Session, _args: list[bytes]) -> Reply:
    member = _member(session)
    return Verbatim(
        b"txt", nodes_text(member.topology, member.id, member.pongs_ms(), moving=member.outlook.moving())
    )


def info(session: Session, _args: list[bytes]) -> Reply:
    member = _member(session)
    statistics = member.service.statistics()
    fields = info_fields(
        member.topology,
        member.id,
        ok=member.outlook.ok,
        messages_sent=statistics.datagrams_out,
        messages_received=statistics.datagrams_in,
    )
    return Verbatim(b"txt", "".join(f"{name}:{value}\r\n" for name, value in fields).encode())


def myid(session: Session, _args: list[bytes]) -> Reply:
    return _member(session).id.encode()


def myshardid(session: Session, _args: list[bytes]) -> Reply:
    member = _member(session)
    return shard_id_of(member.topology, member.id).encode()


def keyslot(_session: Session, args: list[bytes]) -> Reply:
    return slot_of(args[2])


def countkeysinslot(session: Session, args: list[bytes]) -> Reply:
    _member(session)
    slot = integer(args[2])
    if not 0 <= slot < SLOT_COUNT:
        raise CommandError("ERR Invalid slot")
    return session.engine.keyspace.slot_size(0, slot)


def getkeysinslot(session: Session, args: list[bytes]) -> Reply:
    _member(session)
    slot, count = integer(args[2]), integer(args[3])
    if not 0 <= slot < SLOT_COUNT or count < 0:
        raise CommandError("ERR Invalid slot or number of keys")
    return session.engine.keyspace.keys_in_slot(0, slot, min(count, 1 << 30))


def replicas(session: Session, args: list[bytes]) -> Reply:
    """CLUSTER REPLICAS and SLAVES: lines as in NODES."""
    member = _member(session)
    primary = _known(member, args[2])
    topology = member.topology
    if not leads(topology, primary):
        raise CommandError("ERR The specified node is not a master")
    following = topology.replicas_of(shard_id_of(topology, primary.id))
    pongs_ms = member.pongs_ms()
    shown_too = frozenset(view.id for view in shown_members(topology, member.id))
    return [
        nodes_text(topology, member.id, pongs_ms, shown=[replica]).rstrip()
        for replica in following
        if replica.id in shown_too
    ]


def count_failure_reports(session: Session, args: list[bytes]) -> Reply:
    member = _member(session)
    return member.service.failure_reports(_known(member, args[2]).id)


def links(session: Session, _args: list[bytes]) -> Reply:
    """CLUSTER LINKS: there are no standing connections; a link is a member that answers us."""
    member = _member(session)
    pongs_ms = member.pongs_ms()
    return [
        {
            b"direction": b"to",
            b"node": link.member_id.encode(),
            b"create-time": pongs_ms.get(link.member_id, 0),
            b"events": b"rw",
            b"send-buffer-allocated": 0,
            b"send-buffer-used": 0,
        }
        for link in member.service.links()
        if link.status in ("alive", "suspect")
    ]


# -- membership
# ------------------------------------------------------------------------------------------------


def meet(session: Session, args: list[bytes]) -> Reply:
    """CLUSTER MEET host port [bus-port]: OK once both are one cluster."""
    member = _member(session)
    host = shown(args[2])
    port = integer(args[3], f"ERR Invalid TCP base port specified: {shown(args[3])}")
    bus_port = port + BUS_PORT_OFFSET
    if len(args) == 5:
        bus_port = integer(args[4], f"ERR Invalid TCP bus port specified: {shown(args[4])}")
    if not (0 < port <= PORT_MAX and 0 < bus_port <= PORT_MAX) or not _is_address(host):
        raise CommandError(f"ERR Invalid node address specified: {host}:{port}")

    async def introduce() -> Reply:
        try:
            await member.service.meet(host, bus_port)
        except (MeetRefused, OSError, ValueError, trio.TooSlowError) as error:
            raise CommandError(f"ERR not applied: meeting {host}:{port} failed: {error}") from error
        return OK

    return member.errands.start(session, introduce)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def forget(session: Session, args: list[bytes]) -> Reply:
    member = _member(session)
    view = _known(member, args[2])
    topology = member.topology
    if view.id == member.id:
        raise CommandError("ERR I tried hard but I can't forget myself...")
    mine = topology.shards.get(shard_id_of(topology, member.id))
    if mine is not None and mine.primary == view.id:
        raise CommandError("ERR Can't forget my master!")
    member.service.forget(view.id)
    return OK


def replicate(session: Session, args: list[bytes]) -> Reply:
    node = _node(session, "REPLICATE")
    view = _known(node, args[2])
    if view.id == node.id:
        raise CommandError("ERR Can't replicate myself")
    if view.kind != "node" or not leads(node.topology, view):
        raise CommandError("ERR I can only replicate a master, not a replica.")
    keys = session.engine.keyspace.size(0)
    if not node.is_replica and (keys or node.topology.ranges_of(node.election.shard.id)):
        raise CommandError("ERR To set a master the node must be empty and without assigned slots.")
    return node.errands.start(session, partial(node.replicate, view.id))


def failover(session: Session, args: list[bytes]) -> Reply:
    node = _node(session, "FAILOVER")
    mode = "" if len(args) == 2 else shown(args[2]).lower()
    if len(args) > 3 or mode not in ("", "force", "takeover"):
        raise CommandError("ERR syntax error")
    if node.election.leads or not node.election.shard.id:
        raise CommandError("ERR You should send CLUSTER FAILOVER to a replica")
    if not node.election.shard.primary and not mode:
        raise CommandError("ERR I'm a replica but my master is unknown to me")
    if not mode and not node.replication.link_up:
        raise CommandError("ERR Master is down or failed, please use CLUSTER FAILOVER FORCE")
    return node.errands.start(session, partial(node.fail_over, mode))


def failover_log(session: Session, args: list[bytes]) -> Reply:
    """CLUSTER FAILOVER-LOG [count]: the elections this node stood in, the latest first."""
    node = _node(session, "FAILOVER-LOG")
    count = integer(args[2], low=0) if len(args) == 3 else FAILOVERS_TOLD
    if len(args) > 3:
        raise CommandError("ERR syntax error")
    latest = list(reversed(node.election.accounts))[:count]
    return [
        {
            name.encode(): value if isinstance(value, int) else value.encode()
            for name, value in account.fields()
        }
        for account in latest
    ]


def reset(session: Session, args: list[bytes]) -> Reply:
    node = _node(session, "RESET")
    mode = "soft" if len(args) == 2 else shown(args[2]).lower()
    if len(args) > 3 or mode not in ("soft", "hard"):
        raise CommandError("ERR syntax error")
    if mode == "hard":
        raise CommandError(
            "ERR CLUSTER RESET HARD would change this member's id, which its votes hang on: "
            "stop the node and start it with an empty directory"
        )
    if not node.is_replica and session.engine.keyspace.size(0):
        raise CommandError("ERR CLUSTER RESET can't be called with master nodes containing keys")
    return node.errands.start(session, node.reset)


def saveconfig(session: Session, _args: list[bytes]) -> Reply:
    """CLUSTER SAVECONFIG: nothing to do, what matters is on disk before it is answered."""
    _member(session)
    return OK


def set_config_epoch(session: Session, args: list[bytes]) -> Reply:
    """CLUSTER SET-CONFIG-EPOCH: accepted for tools that number fresh nodes; the voters number shards."""
    _member(session)
    if integer(args[2]) < 0:
        raise CommandError(f"ERR Invalid config epoch specified: {shown(args[2])}")
    return OK


def bumpepoch(session: Session, _args: list[bytes]) -> Reply:
    node = _node(session, "BUMPEPOCH")
    if not node.election.leads:
        raise CommandError("ERR only the primary of a shard can raise its epoch")
    return node.errands.start(session, node.bump_epoch)


# -- slots
# -----------------------------------------------------------------------------------------------------


def _listed(args: list[bytes]) -> list[int]:
    return [_slot(word) for word in args[2:]]


def _ranges(args: list[bytes]) -> list[int]:
    if len(args) % 2:
        raise CommandError(f"ERR wrong number of arguments for 'cluster|{shown(args[1]).lower()}' command")
    wanted: list[int] = []
    for at in range(2, len(args), 2):
        first, last = _slot(args[at]), _slot(args[at + 1])
        if first > last:
            raise CommandError(f"ERR start slot number {first} is greater than end slot number {last}")
        wanted += range(first, last + 1)
        if len(wanted) > SLOT_COUNT:
            raise CommandError(f"ERR Slot {first} specified multiple times")
    return wanted


def _once(wanted: list[int]) -> None:
    seen: set[int] = set()
    for slot in wanted:
        if slot in seen:
            raise CommandError(f"ERR Slot {slot} specified multiple times")
        seen.add(slot)


def add_slots(session: Session, args: list[bytes], *, read: Callable[[list[bytes]], list[int]]) -> Reply:
    node = _node(session, shown(args[1]).upper())
    wanted = read(args)
    for slot in wanted:
        if node.topology.slot_owner(slot):
            raise CommandError(f"ERR Slot {slot} is already busy")
    _once(wanted)
    return node.errands.start(session, partial(node.add_slots, wanted))


def del_slots(session: Session, args: list[bytes], *, read: Callable[[list[bytes]], list[int]]) -> Reply:
    node = _node(session, shown(args[1]).upper())
    wanted = read(args)
    for slot in wanted:
        owner = node.topology.slot_owner(slot)
        if not owner:
            raise CommandError(f"ERR Slot {slot} is already unassigned")
        if owner != node.election.shard.id or not node.election.leads:
            raise CommandError(f"ERR Slot {slot} is owned by shard {owner}: send this to its primary")
    _once(wanted)
    return node.errands.start(session, partial(node.release_slots, wanted))


def flushslots(session: Session, _args: list[bytes]) -> Reply:
    node = _node(session, "FLUSHSLOTS")
    if session.engine.keyspace.size(0):
        raise CommandError("ERR DB must be empty to perform CLUSTER FLUSHSLOTS.")
    if not node.election.leads:
        return OK
    ranges = node.topology.ranges_of(node.election.shard.id)
    wanted = [slot for first, last in ranges for slot in range(first, last + 1)]
    if not wanted:
        return OK
    return node.errands.start(session, partial(node.release_slots, wanted))


def setslot(session: Session, args: list[bytes]) -> Reply:
    """CLUSTER SETSLOT slot IMPORTING|MIGRATING|NODE id, or STABLE: the steps of redis-cli's resharding."""
    node = _node(session, "SETSLOT")
    slot = _slot(args[2])
    if not node.election.leads and node.election.state != "alone":
        raise CommandError("ERR You can use SETSLOT only with masters.")
    mine = bool(node.election.shard.id) and node.topology.slot_owner(slot) == node.election.shard.id
    match [shown(word).lower() for word in args[3:4]], args[4:]:
        case ["migrating"], [target]:
            if not mine:
                raise CommandError(f"ERR I'm not the owner of hash slot {slot}")
            node.mark_migrating(slot, _other(node, target).id)
        case ["importing"], [source]:
            if mine:
                raise CommandError(f"ERR I'm already the owner of hash slot {slot}")
            if node.office.routes.drops(slot):
                raise CommandError(
                    f"ERR not applied: this node still drops the keys it had of hash slot {slot}; try again"
                )
            node.mark_importing(slot, _other(node, source).id)
        case ["stable"], []:
            node.mark_stable(slot)
        case ["node"], [target]:
            view = _known(node, target)
            if view.id != node.id and not leads(node.topology, view):
                raise CommandError("ERR Target node is not a master")
            if mine and view.id != node.id and session.engine.keyspace.slot_size(0, slot):
                raise CommandError(SLOT_HAS_KEYS.format(slot=slot))
            return node.errands.start(session, partial(node.move_slot, slot, view.id))
        case _:
            raise CommandError("ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP")
    return OK


def _other(node: ClusterNode, word: bytes) -> MemberView:
    view = node.topology.members.get(shown(word).lower())
    if view is None:
        raise CommandError(f"ERR I don't know about node {shown(word)}")
    if view.kind != "node" or not leads(node.topology, view):
        raise CommandError("ERR Target node is not a master")
    return view


# -- the connection
# --------------------------------------------------------------------------------------------


def readonly(session: Session, _args: list[bytes]) -> Reply:
    _member(session)
    session.readonly_mode = True
    return OK


def readwrite(session: Session, _args: list[bytes]) -> Reply:
    _member(session)
    session.readonly_mode = False
    return OK


def asking(session: Session, _args: list[bytes]) -> Reply:
    _member(session)
    session.asking = True
    return OK


_cluster = partial(command, group="cluster", since="3.0.0")
_ANY_ORDER: Final = "nondeterministic_output"
_ADMIN: Final = "admin stale no_async_loading"
_READS: Final = "stale"

_SUBCOMMANDS = (
    _cluster(
        "cluster|addslots", -3, _ADMIN, handler=partial(add_slots, read=_listed),
        arguments="slot:integer...", complexity="O(N) in the number of slots",
        summary="Gives free slots to this node.",
    ),
    _cluster(
        "cluster|addslotsrange", -4, _ADMIN, handler=partial(add_slots, read=_ranges), since="7.0.0",
        arguments="start-slot_end-slot=(start-slot:integer end-slot:integer)...",
        complexity="O(N) in the number of slots",
        summary="Gives free ranges of slots to this node.",
    ),
    _cluster(
        "cluster|bumpepoch", 2, _ADMIN, handler=bumpepoch, tips=_ANY_ORDER,
        summary="Raises the epoch of this node's shard.",
    ),
    _cluster(
        "cluster|count-failure-reports", 3, "admin stale", handler=count_failure_reports,
        arguments="node-id:string", complexity="O(N) in the number of accusers", tips=_ANY_ORDER,
        summary="Answers how many members suspect a member.",
    ),
    _cluster(
        "cluster|countkeysinslot", 3, _READS, handler=countkeysinslot, arguments="slot:integer",
        summary="Answers the number of keys in a slot.",
    ),
    _cluster(
        "cluster|delslots", -3, _ADMIN, handler=partial(del_slots, read=_listed),
        arguments="slot:integer...", complexity="O(N) in the number of slots",
        summary="Makes slots of this node free.",
    ),
    _cluster(
        "cluster|delslotsrange", -4, _ADMIN, handler=partial(del_slots, read=_ranges), since="7.0.0",
        arguments="start-slot_end-slot=(start-slot:integer end-slot:integer)...",
        complexity="O(N) in the number of slots",
        summary="Makes ranges of slots of this node free.",
    ),
    _cluster(
        "cluster|failover", -2, _ADMIN, handler=failover,
        arguments="[options=(FORCE | TAKEOVER)]",
        summary="Makes this replica the primary of its shard.",
    ),
    _cluster(
        "cluster|failover-log", -2, "admin stale", handler=failover_log, since="7.2.0",
        arguments="[count:integer]", complexity="O(N) in the number of elections asked for",
        summary="Tells of the elections that this node stood in.",
    ),
    _cluster(
        "cluster|flushslots", 2, _ADMIN, handler=flushslots,
        summary="Makes all slots of this node free.",
    ),
    _cluster(
        "cluster|forget", 3, _ADMIN, handler=forget, arguments="node-id:string",
        summary="Takes a member off this node's list.",
    ),
    _cluster(
        "cluster|getkeysinslot", 4, _READS, handler=getkeysinslot,
        arguments="slot:integer count:integer", complexity="O(N) in the number of keys asked for",
        tips=_ANY_ORDER, summary="Answers names of keys in a slot.",
    ),
    _cluster(
        "cluster|help", 2, "loading stale", handler=answer_help, since="5.0.0",
        summary="Lists the subcommands.",
    ),
    _cluster(
        "cluster|info", 2, _READS, handler=info, tips=_ANY_ORDER,
        summary="Tells the state of the cluster.",
    ),
    _cluster(
        "cluster|keyslot", 3, _READS, handler=keyslot, arguments="key:string",
        complexity="O(N) in the length of the key", summary="Answers the slot of a key.",
    ),
    _cluster(
        "cluster|links", 2, _READS, handler=links, since="7.0.0", tips=_ANY_ORDER,
        complexity="O(N) in the number of members", summary="Lists how this node stands with the others.",
    ),
    _cluster(
        "cluster|meet", -4, _ADMIN, handler=meet,
        arguments="ip:string port:integer [cluster_bus_port:integer]",
        summary="Makes this node's cluster and another's one.",
    ),
    _cluster("cluster|myid", 2, _READS, handler=myid, summary="Answers the id of this member."),
    _cluster(
        "cluster|myshardid", 2, _READS, handler=myshardid, since="7.2.0", tips=_ANY_ORDER,
        summary="Answers the id of this node's shard.",
    ),
    _cluster(
        "cluster|nodes", 2, _READS, handler=nodes, tips=_ANY_ORDER,
        complexity="O(N) in the number of members", summary="Describes every node in a line.",
    ),
    _cluster(
        "cluster|replicas", 3, "admin stale", handler=replicas, since="5.0.0", tips=_ANY_ORDER,
        arguments="node-id:string", complexity="O(N) in the number of replicas",
        summary="Describes the replicas of a primary.",
    ),
    _cluster(
        "cluster|replicate", 3, _ADMIN, handler=replicate, arguments="node-id:string",
        summary="Makes this node a replica of a primary.",
    ),
    _cluster(
        "cluster|reset", -2, "admin noscript stale", handler=reset,
        arguments="[hard_soft=(HARD | SOFT)]", complexity="O(N) in the number of keys",
        summary="Makes this node own nothing and follow nobody.",
    ),
    _cluster(
        "cluster|saveconfig", 2, _ADMIN, handler=saveconfig,
        summary="Saves what this node knows of the cluster.",
    ),
    _cluster(
        "cluster|set-config-epoch", 3, _ADMIN, handler=set_config_epoch, arguments="config-epoch:integer",
        summary="Accepted for tools; epochs are decided by the voters.",
    ),
    _cluster(
        "cluster|setslot", -4, _ADMIN, handler=setslot,
        arguments="slot:integer subcommand=(IMPORTING node-id:string | MIGRATING node-id:string"
        " | NODE node-id:string | STABLE)",
        summary="Marks a slot as on the move, or moves it.",
    ),
    _cluster(
        "cluster|shards", 2, "loading stale", handler=shards, since="7.0.0", tips=_ANY_ORDER,
        complexity="O(N) in the number of members", summary="Describes every shard: slots and members.",
    ),
    _cluster(
        "cluster|slaves", 3, "admin stale", handler=replicas, tips=_ANY_ORDER,
        arguments="node-id:string", complexity="O(N) in the number of replicas",
        deprecated_since="5.0.0", replaced_by="`CLUSTER REPLICAS`",
        summary="Describes the replicas of a primary.",
    ),
    _cluster(
        "cluster|slots", 2, "loading stale", handler=slots, tips=_ANY_ORDER,
        complexity="O(N) in the number of ranges", deprecated_since="7.0.0", replaced_by="`CLUSTER SHARDS`",
        summary="Tells which node serves which slots.",
    ),
)  # fmt: skip

COMMANDS = (
    _cluster("cluster", -2, "", subcommands=_SUBCOMMANDS, summary="Holds the commands about the cluster."),
    _cluster(
        "asking", 1, "fast", handler=asking, categories="connection",
        summary="Lets the next command use a slot that is being imported.",
    ),
    _cluster(
        "readonly", 1, "loading stale fast", handler=readonly, categories="connection",
        summary="Lets this connection read from a replica.",
    ),
    _cluster(
        "readwrite", 1, "loading stale fast", handler=readwrite, categories="connection",
        summary="Ends READONLY.",
    ),
)  # fmt: skip
