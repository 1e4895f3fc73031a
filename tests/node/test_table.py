"""The command table against a real server's, and against itself."""

from collections.abc import Mapping
from typing import Any

import pytest

from node.commands import all_commands
from node.commands.command import describe, document
from node.commands.help import help_lines, written
from node.commands.syntax import NotationError, parse
from node.commands.table import CommandSpec, KeySpec, command
from node.engine.reply import SetReply, Status
from tests.oracle import Ours, Wire, decoded

ROWS = {row.name: row for row in all_commands()}
ALL = {spec.name: spec for row in ROWS.values() for spec in (row, *row.subcommands)}

# Newer than the Redis 7.0 that we compare with.
ONLY_OURS = {
    *("client|no-touch", "client|setinfo", "cluster|failover-log", "cluster|myshardid", "waitaof"),
    *("hexpire", "hpexpire", "hexpireat", "hpexpireat", "httl", "hpttl", "hexpiretime", "hpexpiretime"),
    *("hpersist", "hgetex", "hsetex", "hgetdel"),
}
# Redis 7.2 gave these an option.
LONGER = {"zrank", "zrevrank"}
# Redis 7.2 answers these while it loads; 7.0 did not yet.
NEWER_FLAGS = {"cluster|shards": "loading", "cluster|slots": "loading"}


def plain(value: object) -> Any:
    """Replies as comparable Python: sets without order, status lines and bulks as text."""
    if isinstance(value, SetReply):
        return sorted((plain(item) for item in value.items), key=repr)
    if isinstance(value, Status):
        return value.text.decode()
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def facts(row: Any) -> dict[str, Any]:
    name, arity, flags, first, last, step, categories, tips, keys, _subcommands = plain(row)
    for spec in keys:
        spec.pop("notes", None)
    return {
        "name": name, "arity": arity, "flags": flags, "positions": (first, last, step),
        "categories": categories, "tips": tips, "keys": keys,
    }  # fmt: skip


def syntax_tree(arguments: list[Any]) -> list[Any]:
    """An argument tree without what is ours to say: version notes."""
    return [
        {
            **{key: node[key] for key in ("name", "type", "token", "key_spec_index") if key in node},
            "flags": sorted(node.get("flags", [])),
            "arguments": syntax_tree(node.get("arguments", [])),
        }
        for node in arguments
    ]


@pytest.mark.oracle
@pytest.mark.parametrize("name", sorted(ALL.keys() - ONLY_OURS))
def test_a_row_equals_the_real_servers(theirs: Wire, name: str) -> None:
    theirs.call(b"HELLO", b"3")
    row = decoded(theirs.call(b"COMMAND", b"INFO", name.encode()))[0]  # type: ignore[index]
    assert row is not None, f"a real server has no {name}"
    wanted = facts(row)
    if name in LONGER:
        wanted["arity"] = -wanted["arity"]
    wanted["flags"] = sorted({*wanted["flags"], *NEWER_FLAGS.get(name, "").split()}, key=repr)
    assert facts(describe(ALL[name])) == wanted


@pytest.mark.oracle
@pytest.mark.parametrize("name", sorted(ALL.keys() - ONLY_OURS))
def test_the_syntax_of_a_row_equals_the_real_servers(theirs: Wire, name: str) -> None:
    theirs.call(b"HELLO", b"3")
    its = plain(decoded(theirs.call(b"COMMAND", b"DOCS", name.encode())))[name]
    mine = plain(document(ALL[name]))
    tree = syntax_tree(mine.get("arguments", []))
    assert (tree[:-1] if name in LONGER else tree) == syntax_tree(its.get("arguments", []))
    for fact in ("since", "group", "deprecated_since"):
        assert mine.get(fact) == its.get(fact), fact
    assert mine["summary"] != its["summary"]  # our own words


@pytest.mark.oracle
def test_we_have_every_command_on_strings_and_on_the_connection(theirs: Wire) -> None:
    for category, later in {
        b"string": set(),
        b"bitmap": set(),
        b"connection": {"client|caching", "client|tracking", "wait", "asking", "readonly", "readwrite"},
        b"transaction": set(),
    }.items():
        names = decoded(theirs.call(b"COMMAND", b"LIST", b"FILTERBY", b"ACLCAT", category))
        assert {name.decode() for name in names} - later <= ALL.keys()  # type: ignore[union-attr]


@pytest.mark.oracle
@pytest.mark.parametrize("filtered", [[], [b"FILTERBY", b"PATTERN", b"*"]])
def test_subcommands_are_listed(theirs: Wire, filtered: list[bytes]) -> None:
    mine, its = (decoded(side.call(b"COMMAND", b"LIST", *filtered)) for side in (Ours(), theirs))
    assert isinstance(mine, list)
    assert isinstance(its, list)
    assert {name.decode() for name in mine} == ALL.keys()
    assert {b"client", b"client|list"} <= {*mine} & {*its}


def test_rows_are_whole() -> None:
    for spec in ALL.values():
        assert spec.summary.endswith("."), spec.name
        assert spec.group, spec.name
        counted = any(keys.moves for keys in spec.key_specs)
        assert (spec.first_key > 0) == bool(spec.key_specs) or counted, spec.name
        assert bool(spec.deprecated_since) == bool(spec.replaced_by), spec.name
        parse(spec.arguments)
        if spec.subcommands:
            assert help_lines(spec)[0].startswith(spec.name.upper())
            assert spec.handler is not None or spec.arity == -2, spec.name


def test_every_row_is_answered_by_somebody(ours: Ours) -> None:
    for name in ALL:
        found = ours.engine.registry.get(name)
        assert found is not None
        assert found.is_compiled or found.handler is not None or found.children, name


@pytest.mark.parametrize(
    ("name", "words", "positions"),
    [
        ("get", "GET k", [1]),
        ("mget", "MGET a b c", [1, 2, 3]),
        ("mset", "MSET a 1 b 2", [1, 3]),
        ("mset", "MSET a 1 b", [1, 3]),
        ("rename", "RENAME a b", [1, 2]),
        ("object|freq", "OBJECT FREQ k", [2]),
        ("ping", "PING k", []),
    ],
)
def test_key_positions(name: str, words: str, positions: list[int]) -> None:
    assert ALL[name].key_positions(words.encode().split()) == positions


def test_key_runs_must_touch_or_be_computed() -> None:
    row = {"group": "x", "summary": "x.", "since": "1.0.0"}
    with pytest.raises(ValueError, match="key runs must touch"):
        command("odd", 4, "", keys=[KeySpec("RO"), KeySpec("RO", begin=3)], **row)
    with pytest.raises(ValueError, match=r"must be named 'a\|...'"):
        command("a", -2, "", subcommands=[command("b|c", 2, "", **row)], **row)


def test_flags_imply_categories() -> None:
    spec = CommandSpec("x", 1, frozenset({"write", "admin", "fast"}), categories=frozenset({"own"}))
    assert spec.categories == {"own", "write", "admin", "dangerous", "fast"}


@pytest.mark.parametrize(
    ("notation", "name", "kind", "shown"),
    [
        ("key:key", "key", "key", "<key>"),
        ("[NX]", "nx", "pure-token", "[NX]"),
        ("key:key...", "key", "key", "<key> [<key> ...]"),
        ("[EX seconds:integer]", "seconds", "integer", "[EX <seconds>]"),
        ("c=(NX | XX)", "c", "oneof", "(NX | XX)"),
        ("[c=(NX | XX)]", "c", "oneof", "[NX | XX]"),
        ("[GET x=(a:string b:string) +...]", "x", "block", "[GET <a> <b> [GET <a> <b> ...]]"),
        ("kv=(key:key value:string)...", "kv", "block", "<key> <value> ..."),
        ("AUTH up=(u:string p:string)", "up", "block", "AUTH <u> <p>"),
        ("ip:port:string", "ip:port", "string", "<ip:port>"),
    ],
)
def test_notation(notation: str, name: str, kind: str, shown: str) -> None:
    (argument,) = parse(notation)
    assert (argument.name, argument.kind) == (name, kind)
    assert written(argument) == shown


@pytest.mark.parametrize(
    "notation",
    ["[a:string", "a:nonsense", "x=a:string", "x=(a:string", "]", "a:string )", "[a:string b:string]", "..."],
)
def test_wrong_notation_is_named(notation: str) -> None:
    with pytest.raises(NotationError):
        parse(notation)


def test_the_version_is_the_packages() -> None:
    import tomllib
    from pathlib import Path

    from node.version import GRAPEVINE_VERSION

    project = tomllib.loads(Path("pyproject.toml").read_text())
    assert project["project"]["version"] == GRAPEVINE_VERSION
