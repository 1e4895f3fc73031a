"""Which commands a router answers.

The table of a node is the starting point, so that COMMAND tells clients of a router the same key positions as
those of a node, and a command that is added there is redirected here without anything to do:

    has keys                        stays: the engine redirects it before it would run
    about connection or process     stays
    anything else without keys      answered with an error that says where to go

The last kind is made of commands whose answer would have to come from every primary (DBSIZE, SCAN, FLUSHALL).
Rejected: asking all primaries and adding up. A client that knows the cluster does it itself and better; one
that does not is served by the proxy, which will be a door of its own.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from node.commands.table import CommandSpec
from node.engine.reply import CommandError, Reply

if TYPE_CHECKING:
    from node.engine.session import Session

# Groups of commands whose answer concerns the connection or this very process.
OWN_GROUPS: Final = frozenset({"connection", "cluster", "transactions"})
# The same among the group `server`; the rest of that group is about data, persistence or replication.
OWN_SERVER_COMMANDS: Final = frozenset(
    {
        "acl", "command", "config", "debug", "info", "latency", "lolwut", "memory", "module",
        "shutdown", "slowlog", "time",
    }
)  # fmt: skip


def router_commands(specs: Iterable[CommandSpec]) -> Iterator[CommandSpec]:
    """The rows of a router's table, from those of a node's."""
    for spec in specs:
        yield spec if stays(spec) else replace(spec, handler=refuse, subcommands=())


def stays(spec: CommandSpec) -> bool:
    """Whether a router treats the command as a node does."""
    if spec.group in OWN_GROUPS or (spec.group == "server" and spec.name in OWN_SERVER_COMMANDS):
        return True
    return has_keys(spec)


def has_keys(spec: CommandSpec) -> bool:
    """Whether the command, or each of its subcommands that is a command in its own right, names keys."""
    if spec.subcommands:
        return any(has_keys(sub) for sub in spec.subcommands)
    return spec.first_key != 0 or spec.get_keys is not None or bool(spec.key_specs)


def refuse(_session: "Session", args: list[bytes]) -> Reply:
    """Answers a command that needs data which a router does not have."""
    name = args[0].decode("latin-1").upper()
    raise CommandError(
        f"ERR {name} needs data, and this is a router, which holds none: "
        "send it to each primary (CLUSTER SLOTS names them)"
    )
