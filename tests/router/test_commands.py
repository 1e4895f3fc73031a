"""router/commands.py: every row of a node's table stays, or is refused with a way out; none disappears."""

import pytest

from node.commands import all_commands
from node.commands.table import CommandSpec, KeySpec, command
from node.engine.reply import CommandError
from router.commands import has_keys, refuse, router_commands, stays

ROWS = all_commands()
# A row that is added later must be put on one side deliberately, by its group or its keys.
REFUSED = {
    "keys", "scan", "randomkey", "dbsize", "flushdb", "flushall", "swapdb",
    "failover", "pfselftest", "psync", "replconf", "replicaof", "role", "slaveof", "sync", "wait", "waitaof",
}  # fmt: skip


def row(name: str, group: str, **more: object) -> CommandSpec:
    return command(name, -1, "", group=group, summary="", since="1.0.0", **more)  # type: ignore[arg-type]


def test_only_keyless_commands_on_data_are_refused() -> None:
    answered = {spec.name: spec for spec in router_commands(ROWS)}
    assert answered.keys() == {spec.name for spec in ROWS}
    assert {name for name, spec in answered.items() if spec.handler is refuse} == REFUSED
    for spec in ROWS:
        if spec.name not in REFUSED:
            assert answered[spec.name] is spec


def test_a_refused_row_keeps_what_command_tells() -> None:
    original = next(spec for spec in ROWS if spec.name == "scan")
    refused = next(router_commands([original]))
    assert (refused.arity, refused.flags, refused.categories) == (
        original.arity,
        original.flags,
        original.categories,
    )


@pytest.mark.parametrize(
    ("spec", "stay"),
    [
        (row("get", "string", keys=[KeySpec("RO")]), True),
        (row("wait", "generic"), False),
        (row("eval", "scripting", get_keys=lambda words: [3]), True),
        (
            row(
                "object",
                "generic",
                subcommands=[row("object|freq", "generic", keys=[KeySpec("RO", begin=2)])],
            ),
            True,
        ),
        (row("script", "scripting", subcommands=[row("script|flush", "scripting")]), False),
        (row("bgsave", "server"), False),
        (row("time", "server"), True),
        (row("cluster", "cluster", subcommands=[row("cluster|slots", "cluster")]), True),
    ],
)
def test_stays(spec: CommandSpec, stay: bool) -> None:
    assert stays(spec) is stay
    if spec.group not in ("server", "cluster"):
        assert has_keys(spec) is stay


def test_the_refusal_says_where_to_go() -> None:
    with pytest.raises(CommandError) as refused:
        refuse(None, [b"dbSize"])  # type: ignore[arg-type]
    assert refused.value.failure.text.startswith(b"ERR DBSIZE needs data, and this is a router")
    assert b"CLUSTER SLOTS" in refused.value.failure.text
