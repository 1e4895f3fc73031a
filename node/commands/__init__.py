"""One module per command family; `table` says what a row is, `all_commands` collects the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.commands import (
    bits,
    client,
    cluster,
    command,
    configuration,
    connection,
    geo,
    hash_expiry,
    hashes,
    hyperloglog,
    keys,
    latency,
    lists,
    memory,
    replication,
    server,
    sets,
    slowlog,
    sorted_sets,
    streams,
    strings,
    transactions,
)

if TYPE_CHECKING:
    from node.commands.table import CommandSpec

_FAMILIES = (
    strings.COMMANDS,
    bits.COMMANDS,
    hyperloglog.COMMANDS,
    hashes.COMMANDS,
    hash_expiry.COMMANDS,
    sets.COMMANDS,
    sorted_sets.COMMANDS,
    geo.COMMANDS,
    keys.COMMANDS,
    lists.COMMANDS,
    streams.COMMANDS,
    transactions.COMMANDS,
    connection.COMMANDS,
    client.COMMANDS,
    configuration.COMMANDS,
    command.COMMANDS,
    server.COMMANDS,
    memory.COMMANDS,
    slowlog.COMMANDS,
    latency.COMMANDS,
    replication.COMMANDS,
    cluster.COMMANDS,
)


def all_commands() -> tuple[CommandSpec, ...]:
    """Every row of the command table."""
    return tuple(spec for family in _FAMILIES for spec in family)
