"""Rows of the transaction commands. The queue and the watched keys: node/engine/transaction.pyx."""

from __future__ import annotations

from functools import partial

from node.commands.table import KeySpec, command

_transaction = partial(command, group="transactions", categories="transaction")

COMMANDS = (
    _transaction(
        "multi", 1, "noscript loading stale fast allow_busy",
        since="1.2.0", summary="Begins a transaction: what follows is queued.",
    ),
    _transaction(
        "exec", 1, "noscript loading stale skip_slowlog",
        since="1.2.0", complexity="Depends on the queued commands",
        summary="Runs the queued commands, unless a watched key has changed.",
    ),
    _transaction(
        "discard", 1, "noscript loading stale fast allow_busy",
        since="2.0.0", complexity="O(N) in the number of queued commands",
        summary="Drops the queued commands and ends the transaction.",
    ),
    _transaction(
        "watch", -2, "noscript loading stale fast allow_busy",
        keys=(KeySpec("RO", last=-1),), since="2.2.0", arguments="key:key...",
        complexity="O(1) for each key",
        summary="Makes the next EXEC depend on these keys staying as they are.",
    ),
    _transaction(
        "unwatch", 1, "noscript loading stale fast allow_busy",
        since="2.2.0", summary="Forgets all watched keys.",
    ),
)  # fmt: skip
