"""CONFIG: the parameters of the running node."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from node.commands.help import answer_help
from node.commands.table import command
from node.commands.words import SYNTAX_ERROR, shown
from node.config import ConfigError, SetError
from node.context import node_of
from node.engine.glob import matches
from node.engine.reply import OK, CommandError, Reply

if TYPE_CHECKING:
    from node.engine.session import Session


def get(session: Session, args: list[bytes]) -> Reply:
    """CONFIG GET pattern ...: every parameter that fits one of the patterns."""
    values = node_of(session).config.shown()
    found: dict[bytes, Reply] = {}
    for pattern in args[2:]:
        if any(byte in b"*?[" for byte in pattern):
            for name, value in values.items():
                if matches(pattern, name.encode(), ignore_case=True):
                    found[name.encode()] = _bytes(value)
        else:
            name = shown(pattern.lower())
            if name in values and name.encode() not in found:
                found[pattern] = _bytes(values[name])
    return found


def change(session: Session, args: list[bytes]) -> Reply:
    """CONFIG SET name value ...: all of them or none."""
    words = [shown(word) for word in args[2:]]
    if len(words) % 2:
        raise CommandError(SYNTAX_ERROR)
    try:
        node_of(session).config.set_many(zip(words[::2], words[1::2], strict=True))
    except SetError as reason:
        if reason.unknown:
            raise CommandError(
                f"ERR Unknown option or number of arguments for CONFIG SET - '{reason.parameter}'"
            ) from None
        raise CommandError(
            f"ERR CONFIG SET failed (possibly related to argument '{reason.parameter}') - {reason.reason}"
        ) from None
    return OK


def resetstat(session: Session, _args: list[bytes]) -> Reply:
    node = node_of(session)
    node.engine.reset_statistics()
    node.engine.keyspace.reset_statistics()
    node.meter.forget_turns()
    return OK


def rewrite(session: Session, _args: list[bytes]) -> Reply:
    try:
        node_of(session).config.rewrite()
    except ConfigError as reason:
        raise CommandError(f"ERR {reason}") from None
    except OSError as reason:
        raise CommandError(f"ERR Rewriting config file: {reason.strerror}") from reason
    return OK


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


_config = partial(command, group="server")
_ADMIN = "admin noscript loading stale"
_EACH = "O(N) in the number of parameters named"

COMMANDS = (
    _config(
        "config", -2, "",
        since="2.0.0", complexity="Depends on the subcommand",
        summary="Container of commands about the parameters of this node.",
        subcommands=(
            _config(
                "config|get", -3, _ADMIN,
                handler=get, since="2.0.0", complexity=_EACH,
                arguments="parameter=(parameter:string)...",
                summary="Answers parameters whose names fit a pattern.",
            ),
            _config(
                "config|help", 2, "loading stale",
                handler=answer_help, since="5.0.0", summary="Lists the subcommands.",
            ),
            _config(
                "config|resetstat", 2, _ADMIN,
                handler=resetstat, since="2.0.0", summary="Sets the counters that INFO shows back to 0.",
            ),
            _config(
                "config|rewrite", 2, _ADMIN,
                handler=rewrite, since="2.8.0",
                summary="Writes changed parameters into the configuration file.",
            ),
            _config(
                "config|set", -4, _ADMIN,
                handler=change, since="2.0.0", complexity=_EACH,
                tips="request_policy:all_nodes response_policy:all_succeeded",
                arguments="parameter_value=(parameter:string value:string)...",
                summary="Changes parameters while the node runs: all of them or none.",
            ),
        ),
    ),
)  # fmt: skip
