"""Commands of replication: REPLICAOF, the replicas' own PSYNC and REPLCONF, and WAIT for clients."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from node.commands.table import command
from node.commands.words import SYNTAX_ERROR, integer, shown
from node.context import node_of
from node.engine.reply import NO_REPLY, NOTED, OK, CommandError, Failure, Reply, Status
from node.replication.history import Full
from node.replication.manager import ReplicationManager
from node.replication.report import role as role_reply

if TYPE_CHECKING:
    from node.engine.session import Session

log = logging.getLogger("grapevine.replication")

_PORT_ERROR: Final = "ERR Invalid master port"
_NO_LINK: Final = "NOMASTERLINK Can't SYNC while not connected with my master"
_OPTIONS_MAX: Final = 64


def replicaof(session: Session, args: list[bytes]) -> Reply:
    """REPLICAOF host port | NO ONE."""
    if session.engine.cluster:
        raise CommandError("ERR REPLICAOF not allowed in cluster mode.")
    manager = node_of(session).replication
    if args[1].lower() == b"no" and args[2].lower() == b"one":
        if manager.is_replica:
            log.info("told by %s to be a primary", session.address)
            manager.become_primary()
        return OK
    if session.is_replica:
        raise CommandError("ERR Command is not valid when client is a replica.")
    port = integer(args[2], _PORT_ERROR, low=0, high=65535)
    host = shown(args[1])
    target = manager.target
    if target is not None and (target.host, target.port) == (host, port):
        return Status(b"OK Already connected to specified master")
    session.part_effects()
    manager.follow(host, port)
    return OK


def psync(session: Session, args: list[bytes]) -> Reply:
    """PSYNC id offset: offset is the next byte wanted, counted from one."""
    offset = integer(args[2])
    if len(args) > 3:
        _take_over(session, args)
    _check_serving(session)
    return node_of(session).replication.feeder.ask(session, shown(args[1]), offset - 1)


def _take_over(session: Session, args: list[bytes]) -> None:
    """PSYNC id offset FAILOVER: our primary hands over to us."""
    if len(args) > 4 or args[3].lower() != b"failover":
        raise CommandError(SYNTAX_ERROR)
    if session.engine.cluster:
        raise CommandError("ERR PSYNC FAILOVER is not allowed in cluster mode: the shard's register decides")
    if not node_of(session).replication.promoted_by(shown(args[1])):
        raise CommandError("ERR PSYNC FAILOVER replid must match my replid.")
    log.info("%s handed over to this node", session.address)


def failover(session: Session, args: list[bytes]) -> Reply:
    """FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT ms]."""
    if session.engine.cluster:
        raise CommandError("ERR FAILOVER not allowed in cluster mode.")
    manager = node_of(session).replication
    if [word.lower() for word in args[1:]] == [b"abort"]:
        if not manager.abort_handover():
            raise CommandError("ERR No failover in progress.")
        return OK
    heir: tuple[str, int] | None = None
    timeout_ms = 0
    force = False
    words = args[1:]
    while words:
        match [words[0].lower(), *words[1:]]:
            case [b"to", host, port, *rest] if heir is None:
                heir = (shown(host), integer(port, low=0, high=65535))
                words = rest
            case [b"timeout", ms, *rest] if not timeout_ms:
                timeout_ms = integer(ms, low=1, range_error="ERR FAILOVER timeout must be greater than 0")
                words = rest
            case [b"force", *rest] if not force:
                force = True
                words = rest
            case _:
                raise CommandError(SYNTAX_ERROR)
    if force and (heir is None or not timeout_ms):
        raise CommandError("ERR FAILOVER with force option requires both a timeout and target HOST and IP.")
    if manager.is_replica:
        raise CommandError("ERR FAILOVER is not valid when server is a replica.")
    attached = [(replica.address, replica.port) for replica in manager.feeder.source.attached()]
    if not attached:
        raise CommandError("ERR FAILOVER requires connected replicas.")
    if heir is not None and heir not in attached:
        raise CommandError("ERR FAILOVER target HOST and PORT is not a replica.")
    if not manager.hand_over(heir, timeout_ms=timeout_ms, force=force):
        raise CommandError("ERR FAILOVER already in progress.")
    return OK


def sync(session: Session, _args: list[bytes]) -> Reply:
    """SYNC: a full sync for those who know nothing else (redis-cli --replica, old tools)."""
    _check_serving(session)
    feeder = node_of(session).replication.feeder
    feeder.greet(session).plain_sync = True
    return feeder.ask_full(session, Full("it asked with SYNC"))


def _check_serving(session: Session) -> None:
    manager = node_of(session).replication
    if manager.is_replica and not (manager.link_up and manager.complete):
        raise CommandError(_NO_LINK)
    if session.in_transaction or session.output_pending_bytes:
        raise CommandError("ERR SYNC and PSYNC are invalid with pending output")


def replconf(session: Session, args: list[bytes]) -> Reply:
    """REPLCONF: what replicas say about themselves, and their acknowledgements."""
    manager = node_of(session).replication
    if session.apply_stream:
        match [word.lower() for word in args[1:3]]:
            case [b"getack", b"always" | b"seldom" as how]:
                manager.follower.acknowledge_always(how == b"always")
            case [b"getack", *_]:
                manager.follower.acknowledge()
        return NO_REPLY
    if len(args) == 5 and args[1].lower() == b"grapevine":
        return _grapevine(manager, session, args)
    if len(args) % 2 == 0 or len(args) > 2 * _OPTIONS_MAX:
        raise CommandError(SYNTAX_ERROR)
    for option, value in zip(args[1::2], args[2::2], strict=True):
        match option.lower():
            case b"ack":
                manager.feeder.acknowledged(session, integer(value, low=0))
                return NOTED
            case b"getack":
                return NO_REPLY  # only primaries ask that, and only in their stream
            case b"fack":
                continue  # comes with ACK: how much is on the replica's disk
            case b"listening-port":
                port = integer(value, low=0, high=65535)
                manager.feeder.greet(session).port = port
            case b"ip-address":
                if len(value) > 255:
                    raise CommandError("ERR REPLCONF ip-address provided by replica instance is too long")
                manager.feeder.greet(session).address = shown(value)
            case b"capa":
                replica = manager.feeder.greet(session)
                if len(replica.capabilities) < _OPTIONS_MAX:
                    replica.capabilities |= {shown(value).lower()}
            case b"rdb-only" | b"rdb-filter-only":
                if value not in (b"0", b""):
                    raise CommandError(f"ERR REPLCONF {shown(option)}: this node sends whole data sets only")
            case _:
                raise CommandError(f"ERR Unrecognized REPLCONF option: {shown(option)}")
    return OK


def _grapevine(manager: ReplicationManager, session: Session, args: list[bytes]) -> Reply:
    """REPLCONF grapevine member shard epoch: another Grapevine node; answered with the same about us."""
    epoch = integer(args[4], low=-1)
    replica = manager.feeder.greet(session)
    replica.member_id = shown(args[2])
    replica.shard_id = shown(args[3])
    replica.epoch = epoch
    if epoch > manager.epoch and epoch >= 0:
        return Failure(
            b"STALE this node is at epoch %d, the replica follows epoch %d: it must not take data from here"
            % (manager.epoch, epoch)
        )
    text = f"GRAPEVINE {manager.member_id or '-'} {manager.shard_id or '-'} {manager.epoch}"
    return Status(text.encode())


def role(session: Session, _args: list[bytes]) -> Reply:
    return role_reply(node_of(session).replication)


def wait(session: Session, args: list[bytes]) -> Reply:
    """WAIT replicas timeout-ms."""
    manager = _primary_only(session, "WAIT")
    wanted = integer(args[1])
    timeout_ms = _timeout(args[2])
    return manager.feeder.wait(session, wanted, timeout_ms, lambda count: count, met=True)


def waitaof(session: Session, args: list[bytes]) -> Reply:
    """WAITAOF local replicas timeout-ms. Nothing is logged to disk yet, neither here nor on replicas."""
    manager = _primary_only(session, "WAITAOF")
    local = integer(args[1], low=0, high=1, range_error="ERR value is out of range, must be between 0 and 1")
    wanted = integer(args[2], low=0, range_error="ERR value is out of range, must be positive")
    timeout_ms = _timeout(args[3])
    if local:
        raise CommandError("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.")
    if wanted == 0:
        return [0, 0]
    return manager.feeder.wait(session, wanted, timeout_ms, lambda _count: [0, 0], met=False)


def _primary_only(session: Session, name: str) -> ReplicationManager:
    manager = node_of(session).replication
    if manager.is_replica:
        raise CommandError(
            f"ERR {name} cannot be used with replica instances. Please also note that writes to replicas are "
            "just local and are not propagated."
        )
    return manager


def _timeout(word: bytes) -> int:
    return integer(
        word, "ERR timeout is not an integer or out of range", low=0, range_error="ERR timeout is negative"
    )


_server = partial(command, group="server")
_FOLLOW_SYNTAX = "args=(host-port=(host:string port:integer) | no-one=(NO ONE))"

COMMANDS = (
    _server(
        "replicaof", 3, "admin noscript stale no_async_loading",
        handler=replicaof, since="5.0.0", arguments=_FOLLOW_SYNTAX,
        summary="Makes this node a replica of another, or with NO ONE a primary.",
    ),
    _server(
        "slaveof", 3, "admin noscript stale no_async_loading",
        handler=replicaof, since="1.0.0", arguments=_FOLLOW_SYNTAX,
        deprecated_since="5.0.0", replaced_by="`REPLICAOF`",
        summary="Makes this node a replica of another, or with NO ONE a primary.",
    ),
    _server(
        "failover", -1, "admin noscript stale",
        handler=failover, since="6.2.0",
        arguments="[TO target=(host:string port:integer [FORCE])] [ABORT] [TIMEOUT milliseconds:integer]",
        summary="Hands the office of a stand-alone primary to one of its replicas.",
    ),
    _server(
        "psync", -3, "admin noscript no_async_loading no_multi",
        handler=psync, since="2.8.0", arguments="replicationid:string offset:integer", complexity="",
        summary="A replica asks for the stream, from where it stands or with all data first.",
    ),
    _server(
        "sync", 1, "admin noscript no_async_loading no_multi",
        handler=sync, since="1.0.0", complexity="",
        summary="A replica asks for all data and then the stream.",
    ),
    _server(
        "replconf", -1, "admin noscript loading stale allow_busy",
        handler=replconf, since="3.0.0",
        summary="What primaries and replicas tell each other about themselves.",
    ),
    _server(
        "role", 1, "noscript loading stale fast",
        handler=role, since="2.8.12", categories="admin dangerous",
        summary="Who this node is in replication, who follows it or whom it follows.",
    ),
    command(
        "wait", 3, "noscript",
        group="generic", handler=wait, since="3.0.0", categories="connection",
        arguments="numreplicas:integer timeout:integer",
        tips="request_policy:all_shards response_policy:agg_min",
        summary="Waits until so many replicas have everything written before.",
    ),
    command(
        "waitaof", 4, "noscript",
        group="generic", handler=waitaof, since="7.2.0", categories="connection",
        arguments="numlocal:integer numreplicas:integer timeout:integer",
        tips="request_policy:all_shards response_policy:agg_min",
        summary="Waits until everything written before is on so many disks.",
    ),
)  # fmt: skip
