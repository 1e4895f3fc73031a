"""MULTI and its companions. The session keeps the queue and the watched keys; these are its doors."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from node.commands.table import KeySpec, command
from node.engine.reply import OK, Reply

if TYPE_CHECKING:
    from node.engine.session import Session


def multi(session: Session, _args: list[bytes]) -> Reply:
    session.begin_transaction()
    return OK


def execute(session: Session, _args: list[bytes]) -> Reply:
    return session.execute_transaction()


def discard(session: Session, _args: list[bytes]) -> Reply:
    session.discard_transaction()
    return OK


def watch(session: Session, args: list[bytes]) -> Reply:
    session.watch(args[1:])
    return OK


def unwatch(session: Session, _args: list[bytes]) -> Reply:
    session.unwatch()
    return OK


_transaction = partial(command, group="transactions", categories="transaction")

COMMANDS = (
    _transaction(
        "multi", 1, "noscript loading stale fast allow_busy",
        handler=multi, since="1.2.0", summary="Begins a transaction: what follows is queued.",
    ),
    _transaction(
        "exec", 1, "noscript loading stale skip_slowlog",
        handler=execute, since="1.2.0", complexity="Depends on the queued commands",
        summary="Runs the queued commands, unless a watched key has changed.",
    ),
    _transaction(
        "discard", 1, "noscript loading stale fast allow_busy",
        handler=discard, since="2.0.0", complexity="O(N) in the number of queued commands",
        summary="Drops the queued commands and ends the transaction.",
    ),
    _transaction(
        "watch", -2, "noscript loading stale fast allow_busy",
        handler=watch, keys=(KeySpec("RO", last=-1),), since="2.2.0", arguments="key:key...",
        complexity="O(1) for each key",
        summary="Makes the next EXEC depend on these keys staying as they are.",
    ),
    _transaction(
        "unwatch", 1, "noscript loading stale fast allow_busy",
        handler=unwatch, since="2.2.0", summary="Forgets all watched keys.",
    ),
)  # fmt: skip
