"""Commands about the connection itself: HELLO, AUTH, RESET, QUIT; and the rows of PING, ECHO, SELECT.

There are no users and passwords yet: everybody is `default`, whose password may be anything, as in a
Redis without `requirepass`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from node.commands.client import check_name
from node.commands.table import command
from node.commands.words import SYNTAX_ERROR, integer, shown
from node.context import node_of
from node.engine.reply import OK, CommandError, Reply, Status
from node.version import REDIS_VERSION

if TYPE_CHECKING:
    from node.engine.session import Session

_NO_PASSWORD = (
    "ERR AUTH <password> called without any password configured for the default user."
    " Are you sure your configuration is correct?"
)


def hello(session: Session, args: list[bytes]) -> Reply:
    """HELLO [protocol [AUTH user password] [SETNAME name]]: nothing changes unless all of it is right."""
    protocol = session.resp
    user: bytes | None = None
    name: bytes | None = None
    if len(args) > 1:
        protocol = integer(args[1], "ERR Protocol version is not an integer or out of range")
        if protocol not in (2, 3):
            raise CommandError("NOPROTO unsupported protocol version")
    at = 2
    while at < len(args):
        match args[at].lower(), len(args) - at:
            case b"auth", left if left > 2:
                user = _authenticated(args[at + 1])
                at += 3
            case b"setname", left if left > 1:
                name = check_name(args[at + 1])
                at += 2
            case _:
                raise CommandError(f"ERR Syntax error in HELLO option '{shown(args[at])}'")
    if user is not None:
        session.user = user
    if name is not None:
        session.name = name
    session.set_protocol(protocol)
    node = node_of(session)
    return {
        b"server": b"redis",
        b"version": REDIS_VERSION.encode(),
        b"proto": session.resp,
        b"id": session.id,
        b"mode": b"cluster" if node.engine.cluster else b"standalone",
        b"role": b"replica" if node.is_replica else b"master",
        b"modules": [],
    }


def auth(session: Session, args: list[bytes]) -> Reply:
    if len(args) > 3:
        raise CommandError(SYNTAX_ERROR)
    if len(args) == 2:
        raise CommandError(_NO_PASSWORD)
    session.user = _authenticated(args[1])
    return OK


def reset(session: Session, _args: list[bytes]) -> Reply:
    session.reset()
    return Status(b"RESET")


def end(session: Session, _args: list[bytes]) -> Reply:
    """QUIT: what comes after it in the pipeline is not executed."""
    session.close_after_reply("the client said QUIT")
    return OK


def _authenticated(user: bytes) -> bytes:
    if user != b"default":
        raise CommandError("WRONGPASS invalid username-password pair or user is disabled.")
    return user


_connection = partial(command, group="connection", categories="connection")

COMMANDS = (
    _connection(
        "ping", -1, "fast",
        since="1.0.0", arguments="[message:string]",
        tips="request_policy:all_shards response_policy:all_succeeded",
        summary="Answers PONG, or the message.",
    ),
    _connection(
        "echo", 2, "fast loading stale",
        since="1.0.0", arguments="message:string",
        summary="Answers the message.",
    ),
    _connection(
        "select", 2, "fast loading stale",
        since="1.0.0", arguments="index:integer",
        summary="Chooses the database that this connection works in.",
    ),
    _connection(
        "auth", -2, "noscript loading stale fast no_auth allow_busy",
        handler=auth, since="1.0.0", arguments="[username:string] password:string",
        summary="Says who the client is.",
    ),
    _connection(
        "hello", -1, "noscript loading stale fast no_auth allow_busy",
        handler=hello, since="6.0.0",
        arguments="[arguments=(protover:integer"
        " [AUTH username_password=(username:string password:string)] [SETNAME clientname:string])]",
        summary="Chooses the protocol version; answers what this server is.",
    ),
    _connection(
        "reset", 1, "noscript loading stale fast no_auth allow_busy",
        handler=reset, since="6.2.0",
        summary="Puts the connection back into the state of a fresh one.",
    ),
    _connection(
        "quit", -1, "noscript loading stale fast no_auth allow_busy",
        handler=end, since="1.0.0",
        summary="Ends the connection after the replies so far.",
    ),
)  # fmt: skip
