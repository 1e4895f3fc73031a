"""CLIENT: who is connected, what they are called, and holding or ending their connections."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from node.commands.help import answer_help
from node.commands.table import command
from node.commands.words import (
    NOT_AN_INTEGER,
    SYNTAX_ERROR,
    integer,
    on_or_off,
    printable,
    shown,
    wrong_subcommand,
)
from node.context import UNBLOCK_NOTE, UNBLOCKED, node_of
from node.engine.reply import NO_REPLY, OK, CommandError, Reply, SetReply, Verbatim

if TYPE_CHECKING:
    from node.engine.session import Session

_TYPES = {
    b"normal": "normal",
    b"master": "master",
    b"slave": "replica",
    b"replica": "replica",
    b"pubsub": "pubsub",
}


def describe(session: Session, now_ms: int) -> str:
    """One line of CLIENT LIST.

    Args:
        now_ms: the engine's monotonic clock.
    """
    pending_bytes = session.output_pending_bytes
    capacity_bytes = session.query_capacity_bytes + session.output_capacity_bytes
    fields = {
        "id": session.id,
        "addr": session.address,
        "laddr": session.local_address,
        "fd": session.fd,
        "name": shown(session.name),
        "age": max(0, now_ms - session.created_ms) // 1000,
        "idle": max(0, now_ms - session.active_ms) // 1000,
        "flags": _flags(session),
        "db": session.database,
        "sub": 0,
        "psub": 0,
        "ssub": 0,
        "multi": session.queued_count,
        "qbuf": session.query_buffered_bytes,
        "qbuf-free": session.query_capacity_bytes - session.query_buffered_bytes,
        "argv-mem": session.argument_bytes,
        "multi-mem": 0,
        "rbs": session.output_capacity_bytes,
        "rbp": pending_bytes,
        "obl": pending_bytes,
        "oll": 0,
        "omem": 0,
        "tot-mem": sys.getsizeof(session) + capacity_bytes,
        "events": "rw" if pending_bytes and session.fd >= 0 else "r",
        "cmd": session.last_command,
        "user": shown(session.user),
        "redir": -1,
        "resp": session.resp,
        "lib-name": shown(session.library_name),
        "lib-ver": shown(session.library_version),
    }
    return " ".join(f"{name}={value}" for name, value in fields.items())


def check_name(name: bytes) -> bytes:
    """A client's or library's name that can be shown on one line."""
    if not printable(name):
        raise CommandError("ERR Client names cannot contain spaces, newlines or special characters.")
    return name


def client_type(session: Session) -> str:
    """normal, replica (it follows us) or master (we follow it)."""
    if session.is_replica:
        return "replica"
    return "master" if session.apply_stream else "normal"


def client_id(session: Session, _args: list[bytes]) -> Reply:
    return session.id


def info(session: Session, _args: list[bytes]) -> Reply:
    return _lines([session], session.engine.monotonic_now_ms)


def listing(session: Session, args: list[bytes]) -> Reply:
    """CLIENT LIST [TYPE type | ID id ...]."""
    sessions = sorted(node_of(session).pump.sessions.values(), key=lambda other: other.id)
    match [word.lower() for word in args[2:3]], args[3:]:
        case [], []:
            pass
        case [b"type"], [kind]:
            wanted_type = _client_type(kind)
            sessions = [other for other in sessions if client_type(other) == wanted_type]
        case [b"id"], [_, *_] as words:
            wanted = [integer(word, "ERR Invalid client ID") for word in words]
            by_id = {other.id: other for other in sessions}
            sessions = [by_id[number] for number in wanted if number in by_id]
        case _:
            raise CommandError(SYNTAX_ERROR)
    return _lines(sessions, session.engine.monotonic_now_ms)


def setname(session: Session, args: list[bytes]) -> Reply:
    session.name = check_name(args[2])
    return OK


def getname(session: Session, _args: list[bytes]) -> Reply:
    return session.name or None


def setinfo(session: Session, args: list[bytes]) -> Reply:
    """CLIENT SETINFO LIB-NAME | LIB-VER value."""
    option, value = args[2].lower(), args[3]
    if option not in (b"lib-name", b"lib-ver"):
        raise CommandError(f"ERR Unrecognized option '{shown(args[2])}'")
    if not printable(value):
        raise CommandError(f"ERR {option.decode()} cannot contain spaces, newlines or special characters.")
    if option == b"lib-name":
        session.library_name = value
    else:
        session.library_version = value
    return OK


def no_evict(session: Session, args: list[bytes]) -> Reply:
    session.no_evict = on_or_off(args[2])
    return OK


def no_touch(session: Session, args: list[bytes]) -> Reply:
    session.no_touch = on_or_off(args[2])
    return OK


def reply(session: Session, args: list[bytes]) -> Reply:
    """CLIENT REPLY: only ON is answered."""
    mode = args[2].lower()
    if mode not in (b"on", b"off", b"skip"):
        raise CommandError(SYNTAX_ERROR)
    session.set_reply_mode(mode.decode())
    return OK if mode == b"on" else NO_REPLY


def pause(session: Session, args: list[bytes]) -> Reply:
    """CLIENT PAUSE milliseconds [WRITE | ALL]."""
    match [word.lower() for word in args[3:]]:
        case [] | [b"all"]:
            everything = True
        case [b"write"]:
            everything = False
        case [_]:
            raise CommandError("ERR CLIENT PAUSE mode must be WRITE or ALL")
        case _:
            raise wrong_subcommand("CLIENT", args[1])
    wait_ms = integer(
        args[2], "ERR timeout is not an integer or out of range", low=0, range_error="ERR timeout is negative"
    )
    # As long as 64 bits allow: the sum must not run over.
    session.engine.pause(session.engine.monotonic_now_ms + min(wait_ms, 1 << 62), everything)
    return OK


def unpause(session: Session, _args: list[bytes]) -> Reply:
    """CLIENT UNPAUSE: clients that were held back go on at once."""
    node = node_of(session)
    if node.cluster is not None and node.cluster.outlook.holds_clients:
        raise CommandError("ERR not unpaused: clients wait for a failover of this shard, for a moment")
    node.engine.unpause()
    for other in list(node.pump.sessions.values()):
        if other.stalled:
            other.resume()
    return OK


def unblock(session: Session, args: list[bytes]) -> Reply:
    """CLIENT UNBLOCK id [TIMEOUT | ERROR]: 1 when that client was waiting in a command."""
    with_error = False
    match [word.lower() for word in args[3:]]:
        case [] | [b"timeout"]:
            pass
        case [b"error"]:
            with_error = True
        case [_]:
            raise CommandError("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR")
        case _:
            raise wrong_subcommand("CLIENT", args[1])
    other = node_of(session).pump.sessions.get(integer(args[2], NOT_AN_INTEGER))
    if other is None or not other.blocked:
        return 0
    if other.waiting is not None:
        other.unblock(UNBLOCKED if with_error else other.waiting.on_timeout)
        return 1
    if other.notes is None:
        return 0
    end_wait: Callable[[bool], None] | None = other.notes.get(UNBLOCK_NOTE)
    if end_wait is None:
        return 0
    end_wait(with_error)
    return 1


def trackinginfo(_session: Session, _args: list[bytes]) -> Reply:
    return {b"flags": SetReply([b"off"]), b"redirect": -1, b"prefixes": []}


def getredir(_session: Session, _args: list[bytes]) -> Reply:
    return -1  # key tracking is off


@dataclass(slots=True)
class _Filter:
    """Whom CLIENT KILL means. Every condition given must hold."""

    client: int | None = None
    kind: str | None = None
    user: bytes | None = None
    address: str | None = None
    local_address: str | None = None
    skip_me: bool = True

    def fits(self, other: Session, me: Session) -> bool:
        return (
            (self.client is None or other.id == self.client)
            and (self.kind is None or client_type(other) == self.kind)
            and (self.user is None or other.user == self.user)
            and (self.address is None or other.address == self.address)
            and (self.local_address is None or other.local_address == self.local_address)
            and not (self.skip_me and other is me)
        )


def kill(session: Session, args: list[bytes]) -> Reply:
    """CLIENT KILL address, or CLIENT KILL with filters: the number of clients that were ended."""
    pump = node_of(session).pump
    by_address = len(args) == 3
    chosen = _Filter(address=shown(args[2]), skip_me=False) if by_address else _read_filter(args[2:])
    victims = [other for other in list(pump.sessions.values()) if chosen.fits(other, session)]
    for other in victims:
        if other is session:
            session.close_after_reply("killed by itself")
        else:
            pump.close(other, f"killed by client {session.id}")
    if by_address:
        if not victims:
            raise CommandError("ERR No such client")
        return OK
    return len(victims)


def _read_filter(words: list[bytes]) -> _Filter:
    chosen = _Filter()
    for option, value in zip(words[::2], words[1::2], strict=False):
        match option.lower():
            case b"id":
                chosen.client = integer(value, "ERR client-id should be greater than 0", low=1)
            case b"type":
                chosen.kind = _client_type(value)
            case b"user":
                if value != b"default":
                    raise CommandError(f"ERR No such user '{shown(value)}'")
                chosen.user = value
            case b"addr":
                chosen.address = shown(value)
            case b"laddr":
                chosen.local_address = shown(value)
            case b"skipme" if value.lower() in (b"yes", b"no"):
                chosen.skip_me = value.lower() == b"yes"
            case _:
                raise CommandError(SYNTAX_ERROR)
    if len(words) % 2:
        raise CommandError(SYNTAX_ERROR)
    return chosen


def _client_type(word: bytes) -> str:
    kind = _TYPES.get(word.lower())
    if kind is None:
        raise CommandError(f"ERR Unknown client type '{shown(word)}'")
    return kind


def _flags(session: Session) -> str:
    letters = [
        letter
        for letter, is_set in (
            ("S", session.is_replica),
            ("M", session.apply_stream),
            ("x", session.in_transaction),
            ("b", session.blocked),
            ("d", session.watch_broken),
            ("c", session.closing),
            ("U", session.address.startswith("unixsocket")),
            ("r", session.readonly_mode),
            ("e", session.no_evict),
            ("T", session.no_touch),
        )
        if is_set
    ]
    return "".join(letters) or "N"


def _lines(sessions: Iterable[Session], now_ms: int) -> Verbatim:
    text = "".join(f"{describe(session, now_ms)}\n" for session in sessions)
    return Verbatim(b"txt", text.encode("utf-8", "surrogateescape"))


_client = partial(command, group="connection", categories="connection")
_MINE = "noscript loading stale"
_ADMIN = "admin noscript loading stale"
_ALL_CLIENTS = "O(N) in the number of connected clients"

COMMANDS = (
    _client(
        "client", -2, "",
        categories="", since="2.4.0", complexity="Depends on the subcommand",
        summary="Container of commands about client connections.",
        subcommands=(
            _client(
                "client|getname", 2, _MINE,
                handler=getname, since="2.6.9", summary="Answers the name of this connection.",
            ),
            _client(
                "client|getredir", 2, _MINE,
                handler=getredir, since="6.0.0",
                summary="Answers which client gets this one's invalidation messages.",
            ),
            _client(
                "client|help", 2, "loading stale",
                handler=answer_help, since="5.0.0", summary="Lists the subcommands.",
            ),
            _client(
                "client|id", 2, _MINE,
                handler=client_id, since="5.0.0", summary="Answers the number of this connection.",
            ),
            _client(
                "client|info", 2, _MINE,
                handler=info, since="6.2.0", tips="nondeterministic_output",
                summary="Describes this connection.",
            ),
            _client(
                "client|kill", -3, _ADMIN,
                handler=kill, since="2.4.0", complexity=_ALL_CLIENTS,
                arguments="filter=(ip:port:string | new-format=([ID client-id:integer]"
                " | [TYPE normal_master_slave_pubsub=(NORMAL | MASTER | SLAVE | REPLICA | PUBSUB)]"
                " | [USER username:string] | [ADDR ip:port:string] | [LADDR ip:port:string]"
                " | [SKIPME yes/no:string])...)",
                summary="Ends connections.",
            ),
            _client(
                "client|list", -2, _ADMIN,
                handler=listing, since="2.4.0", complexity=_ALL_CLIENTS, tips="nondeterministic_output",
                arguments="[TYPE normal_master_replica_pubsub=(NORMAL | MASTER | REPLICA | PUBSUB)]"
                " [ID id=(client-id:integer...)]",
                summary="Describes connections, a line each.",
            ),
            _client(
                "client|no-evict", 3, _ADMIN,
                handler=no_evict, since="7.0.0", arguments="enabled=(ON | OFF)",
                summary="Keeps this connection when memory for clients runs out.",
            ),
            _client(
                "client|no-touch", 3, _MINE,
                handler=no_touch, since="7.2.0", arguments="enabled=(ON | OFF)",
                summary="Lets reads of this connection leave the recency of keys alone.",
            ),
            _client(
                "client|pause", -3, _ADMIN,
                handler=pause, since="2.9.50", arguments="timeout:integer [mode=(WRITE | ALL)]",
                summary="Holds clients back for some milliseconds.",
            ),
            _client(
                "client|reply", 3, _MINE,
                handler=reply, since="3.2.0", arguments="on_off_skip=(ON | OFF | SKIP)",
                summary="Turns replies to this connection off and on, or skips one.",
            ),
            _client(
                "client|setinfo", 4, _MINE,
                handler=setinfo, since="7.2.0",
                arguments="attr=(LIB-NAME libname:string | LIB-VER libver:string)",
                tips="request_policy:all_nodes response_policy:all_succeeded",
                summary="Tells the name or version of the client library.",
            ),
            _client(
                "client|setname", 3, _MINE,
                handler=setname, since="2.6.9", arguments="connection-name:string",
                summary="Names this connection; an empty name takes it away.",
            ),
            _client(
                "client|trackinginfo", 2, _MINE,
                handler=trackinginfo, since="6.2.0",
                summary="Answers whether keys are tracked for this connection: not in this version.",
            ),
            _client(
                "client|unblock", -3, _ADMIN,
                handler=unblock, since="5.0.0",
                arguments="client-id:integer [timeout_error=(TIMEOUT | ERROR)]",
                summary="Ends the wait of a client inside a blocking command.",
            ),
            _client(
                "client|unpause", 2, _ADMIN,
                handler=unpause, since="6.2.0", complexity="O(N) in the number of clients held back",
                summary="Ends CLIENT PAUSE.",
            ),
        ),
    ),
)  # fmt: skip
