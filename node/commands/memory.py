"""MEMORY: what keys cost."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from node.commands.help import answer_help
from node.commands.table import KeySpec, command
from node.commands.words import SYNTAX_ERROR, integer
from node.engine.reply import CommandError, Reply

if TYPE_CHECKING:
    from node.engine.session import Session


def usage(session: Session, args: list[bytes]) -> Reply:
    """MEMORY USAGE key [SAMPLES count]: bytes, counted rather than estimated, so SAMPLES changes nothing."""
    options = args[3:]
    while options:
        if options[0].lower() != b"samples" or len(options) < 2:
            raise CommandError(SYNTAX_ERROR)
        integer(options[1], low=0, range_error=SYNTAX_ERROR)
        options = options[2:]
    size_bytes = session.engine.keyspace.key_bytes(session.database, args[2])
    return None if size_bytes < 0 else size_bytes


_memory = partial(command, group="server", since="4.0.0")

COMMANDS = (
    _memory(
        "memory", -2, "",
        complexity="Depends on the subcommand",
        summary="Container of commands about memory.",
        subcommands=(
            _memory(
                "memory|help", 2, "loading stale",
                handler=answer_help, summary="Lists the subcommands.",
            ),
            _memory(
                "memory|usage", -3, "readonly",
                handler=usage, keys=(KeySpec("RO", begin=2),), categories="read",
                arguments="key:key [SAMPLES count:integer]",
                summary="Answers the bytes that a key and its value take.",
            ),
        ),
    ),
)  # fmt: skip
