"""Commands about the process: INFO, TIME, SHUTDOWN, MEMORY, DEBUG, LOLWUT."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING, Final

from node.commands.table import command
from node.commands.words import SYNTAX_ERROR, shown, wrong_subcommand
from node.context import node_of
from node.engine.audit import audit
from node.engine.digest import digest
from node.engine.reply import BLOCKED, OK, CommandError, Failure, Reply, SetReply, Status, Verbatim
from node.info import render
from node.version import GRAPEVINE_VERSION, REDIS_VERSION

if TYPE_CHECKING:
    from node.engine.session import Session

_SLEEP_S_MAX: Final = 300.0
_LOCAL: Final = ("127.", "[::1]", "unixsocket")
_DEBUG_OFF: Final = (
    "ERR DEBUG command not allowed. Set enable-debug-command to 'local' (connections from this machine)"
    " or 'yes' in the configuration file or on the command line, and start the node again."
)
_BUNCH: Final = """\
          \\_,-.
     __.-'|  )_)
    (    o o o o
     `- o o o o o
         o o o o
          o o o
           o o
            o
"""


_DEBUG_HELP: Final = (
    b"DEBUG <subcommand> [<argument> ...]. Subcommands:",
    b"AUDIT",
    b"    Counts all data again and answers OK, or an error for the first figure that is wrong.",
    b"DIGEST",
    b"    Answers a number that is equal on nodes that hold the same data.",
    b"ERROR <text>",
    b"    Answers an error.",
    b"PROTOCOL <kind>",
    b"    Answers a reply of that kind.",
    b"SET-ACTIVE-EXPIRE <0|1>",
    b"    Stops or lets go the search for expired keys; those that are asked for still vanish.",
    b"SLEEP <seconds>",
    b"    Freezes the process, gossip too.",
)


def info(session: Session, args: list[bytes]) -> Reply:
    text = render(node_of(session), [shown(word) for word in args[1:]])
    return Verbatim(b"txt", text.encode("utf-8", "surrogateescape"))


def tell_time(session: Session, _args: list[bytes]) -> Reply:
    """TIME: Unix seconds, and microseconds of the second, as strings."""
    seconds, micros = divmod(node_of(session).clock_us(), 1_000_000)
    return [b"%d" % seconds, b"%d" % micros]


def lolwut(_session: Session, _args: list[bytes]) -> Reply:
    text = f"{_BUNCH}\nGrapevine {GRAPEVINE_VERSION}, speaking Redis {REDIS_VERSION}\n"
    return Verbatim(b"txt", text.encode())


def shutdown(session: Session, args: list[bytes]) -> Reply:
    """SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE], or SHUTDOWN ABORT.

    Never answered: the client sees the connection end. NOW does not wait for replicas; with nothing to
    save there is nothing to FORCE.
    """
    words = [word.lower() for word in args[1:]]
    if words == [b"abort"]:
        raise CommandError("ERR No shutdown in progress.")
    if not set(words) <= {b"nosave", b"save", b"now", b"force"} or {b"nosave", b"save"} <= set(words):
        raise CommandError(SYNTAX_ERROR)
    if b"save" in words:
        raise CommandError("ERR this version keeps its data in memory only: SAVE is not possible, use NOSAVE")
    node_of(session).stop(now=b"now" in words)
    return BLOCKED  # whatever else is in the pipeline shall not run


def debug(session: Session, args: list[bytes]) -> Reply:
    """DEBUG: off unless enable-debug-command says otherwise; only what cannot damage data."""
    node = node_of(session)
    allowed = node.config.text("enable-debug-command")
    if allowed == "no" or (allowed == "local" and not session.address.startswith(_LOCAL)):
        raise CommandError(_DEBUG_OFF)
    match [args[1].lower(), *args[2:]]:
        case [b"sleep", seconds]:
            # Freezes the whole process, gossip too: that is what it is for.
            time.sleep(min(max(_seconds(seconds), 0.0), _SLEEP_S_MAX))
            return OK
        case [b"set-active-expire", on]:
            node.active_expiry = on == b"1"
            return OK
        case [b"error", text]:
            return Failure(text)
        case [b"audit"]:
            wrong = audit(node.engine.keyspace)
            return Failure(f"ERR {len(wrong)} figures are wrong. {wrong[0]}".encode()) if wrong else OK
        case [b"digest"]:
            return Status(b"%016x" % digest(node.engine.keyspace))
        case [b"protocol", kind]:
            return _example(kind.lower())
        case [b"help"]:
            return [Status(line) for line in _DEBUG_HELP]
    raise wrong_subcommand("DEBUG", args[1])


def _seconds(word: bytes) -> float:
    try:
        value = float(word)
    except ValueError:
        raise CommandError("ERR value is not a valid float") from None
    return 0.0 if math.isnan(value) else value


def _example(kind: bytes) -> Reply:
    """DEBUG PROTOCOL: a reply of the wanted kind, for authors of clients."""
    examples: dict[bytes, Reply] = {
        b"string": b"Hello World",
        b"integer": 12345,
        b"double": 3.141,
        b"null": None,
        b"array": [0, 1, 2],
        b"set": SetReply([0, 1, 2]),
        b"verbatim": Verbatim(b"txt", b"This is a verbatim\nstring"),
        b"true": True,
        b"false": False,
    }
    if kind not in examples:
        known = "|".join(name.decode() for name in examples)
        raise CommandError(f"ERR Wrong protocol type name. Please use one of the following: {known}")
    return examples[kind]


_server = partial(command, group="server")

COMMANDS = (
    _server(
        "info", -1, "loading stale",
        handler=info, categories="dangerous", since="1.0.0", arguments="[section:string...]",
        tips="nondeterministic_output request_policy:all_shards response_policy:special",
        summary="Answers figures about the node, by section.",
    ),
    _server(
        "time", 1, "loading stale fast",
        handler=tell_time, since="2.6.0", tips="nondeterministic_output",
        summary="Answers the time of this machine.",
    ),
    _server(
        "lolwut", -1, "readonly fast",
        handler=lolwut, since="5.0.0", complexity="", arguments="[VERSION version:integer]",
        summary="Shows something round.",
    ),
    _server(
        "shutdown", -1, "admin noscript loading stale no_multi allow_busy",
        handler=shutdown, since="1.0.0",
        arguments="[nosave_save=(NOSAVE | SAVE)] [NOW] [FORCE] [ABORT]",
        summary="Stops the node in order.",
    ),
    _server(
        "debug", -2, "admin noscript loading stale",
        handler=debug, since="1.0.0", complexity="Depends on the subcommand",
        summary="Helps those who test servers and clients; off by default.",
    ),
)  # fmt: skip
