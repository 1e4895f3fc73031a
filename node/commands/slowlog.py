"""SLOWLOG: the calls that took longer than slowlog-log-slower-than."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from node.commands.help import answer_help
from node.commands.table import command
from node.commands.words import integer, wrong_subcommand
from node.context import node_of
from node.engine.reply import OK, Reply

if TYPE_CHECKING:
    from node.engine.session import Session

_COUNT: Final = "ERR count should be greater than or equal to -1"
_USUAL_COUNT: Final = 10


def get(session: Session, args: list[bytes]) -> Reply:
    """SLOWLOG GET [count]: newest first; -1 for all."""
    if len(args) > 3:
        raise wrong_subcommand("SLOWLOG", args[1])
    count = integer(args[2], _COUNT, low=-1) if len(args) == 3 else _USUAL_COUNT
    return [
        [call.id, call.unix_s, call.duration_us, list(call.words), call.address, call.client_name]
        for call in node_of(session).observer.slow_log.newest(count)
    ]


def length(session: Session, _args: list[bytes]) -> Reply:
    return len(node_of(session).observer.slow_log)


def reset(session: Session, _args: list[bytes]) -> Reply:
    node_of(session).observer.slow_log.reset()
    return OK


_slowlog = partial(command, group="server", since="2.2.12")
_ADMIN: Final = "admin loading stale"

COMMANDS = (
    _slowlog(
        "slowlog", -2, "",
        complexity="Depends on the subcommand",
        summary="Container of commands about the slow log.",
        subcommands=(
            _slowlog(
                "slowlog|get", -2, _ADMIN,
                handler=get, complexity="O(N) in the number of entries answered",
                tips="request_policy:all_nodes nondeterministic_output", arguments="[count:integer]",
                summary="Answers the newest entries of the slow log.",
            ),
            _slowlog(
                "slowlog|help", 2, "loading stale",
                handler=answer_help, since="6.2.0", summary="Lists the subcommands.",
            ),
            _slowlog(
                "slowlog|len", 2, _ADMIN,
                handler=length,
                tips="request_policy:all_nodes response_policy:agg_sum nondeterministic_output",
                summary="Counts the entries of the slow log.",
            ),
            _slowlog(
                "slowlog|reset", 2, _ADMIN,
                handler=reset, complexity="O(N) in the number of entries",
                tips="request_policy:all_nodes response_policy:all_succeeded",
                summary="Empties the slow log.",
            ),
        ),
    ),
)  # fmt: skip
