"""COMMAND: what a client can learn about our commands. All of it is read from the table."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from node.commands import syntax
from node.commands.help import answer_help
from node.commands.table import CommandSpec, KeySpec, command
from node.engine.glob import matches
from node.engine.reply import CommandError, Reply, SetReply, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node.engine.session import Session


def everything(session: Session, _args: list[bytes]) -> Reply:
    """COMMAND: every row."""
    return [describe(spec) for spec in _rows(session)]


def count(session: Session, _args: list[bytes]) -> Reply:
    return len(session.engine.registry)


def info(session: Session, args: list[bytes]) -> Reply:
    """COMMAND INFO: the named rows, null for a name we do not know; without names every row."""
    found: Sequence[CommandSpec | None] = (
        _rows(session) if len(args) == 2 else [_row(session, name) for name in args[2:]]
    )
    return [None if spec is None else describe(spec) for spec in found]


def docs(session: Session, args: list[bytes]) -> Reply:
    """COMMAND DOCS: as a map by name; names we do not know are left out."""
    found: Sequence[CommandSpec | None] = (
        _rows(session) if len(args) == 2 else [_row(session, name) for name in args[2:]]
    )
    return {spec.name.encode(): document(spec) for spec in found if spec is not None}


def listing(session: Session, args: list[bytes]) -> Reply:
    """COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]: names only."""
    specs = [spec for row in _rows(session) for spec in (row, *row.subcommands)]
    match [word.lower() for word in args[2:4]], args[4:]:
        case [], []:
            pass
        case [b"filterby", b"module"], [_]:
            specs = []  # we have no modules
        case [b"filterby", b"aclcat"], [category]:
            wanted = category.lower().decode("latin-1")
            specs = [spec for spec in specs if wanted in spec.categories]
        case [b"filterby", b"pattern"], [pattern]:
            specs = [spec for spec in specs if matches(pattern, spec.name.encode(), ignore_case=True)]
        case _:
            raise CommandError("ERR syntax error")
    return [spec.name.encode() for spec in specs]


def getkeys(session: Session, args: list[bytes]) -> Reply:
    """COMMAND GETKEYS: the keys among the words of a whole command."""
    words = args[2:]
    return [words[at] for at, _access in _keys_of(session, words)]


def getkeysandflags(session: Session, args: list[bytes]) -> Reply:
    """COMMAND GETKEYSANDFLAGS: each key with what the command does to it."""
    words = args[2:]
    return [
        [words[at], SetReply([Status(word.encode()) for word in access.split()])]
        for at, access in _keys_of(session, words)
    ]


def describe(spec: CommandSpec) -> list[Reply]:
    """A row as COMMAND INFO sends it."""
    return [
        spec.name.encode(),
        spec.arity,
        SetReply([Status(flag.encode()) for flag in sorted(spec.flags)]),
        spec.first_key,
        spec.last_key,
        spec.key_step,
        SetReply([Status(b"@" + category.encode()) for category in sorted(spec.categories)]),
        SetReply([tip.encode() for tip in spec.tips]),
        SetReply([_describe_keys(keys) for keys in spec.key_specs]),
        [describe(sub) for sub in spec.subcommands] or SetReply([]),  # a set when empty: as Redis
    ]


def document(spec: CommandSpec) -> dict[bytes, Reply]:
    """A row as COMMAND DOCS sends it."""
    out: dict[bytes, Reply] = {
        b"summary": spec.summary.encode(),
        b"since": spec.since.encode(),
        b"group": spec.group.encode(),
    }
    if spec.complexity:
        out[b"complexity"] = spec.complexity.encode()
    if spec.deprecated_since:
        out[b"doc_flags"] = SetReply([Status(b"deprecated")])
        out[b"deprecated_since"] = spec.deprecated_since.encode()
        out[b"replaced_by"] = spec.replaced_by.encode()
    if spec.arguments:
        out[b"arguments"] = syntax.describe(syntax.parse(spec.arguments), _key_runs(spec))
    if spec.subcommands:
        out[b"subcommands"] = {sub.name.encode(): document(sub) for sub in spec.subcommands}
    return out


def _key_runs(spec: CommandSpec) -> list[int]:
    """For each key in the syntax, its key spec: one key for an open run, all keys of a closed one."""
    runs: list[int] = []
    for number, keys in enumerate(spec.key_specs):
        if keys.unknown and not keys.keyword:
            continue
        runs += [number] * (1 if keys.last < 0 or keys.counted else keys.last // keys.step + 1)
    return runs


def _rows(session: Session) -> Sequence[CommandSpec]:
    return [found.spec for found in session.engine.registry.commands()]


def _row(session: Session, name: bytes) -> CommandSpec | None:
    found = None if name.endswith(b"|") else session.engine.registry.get(name.decode("latin-1"))
    return None if found is None else found.spec


def _describe_keys(keys: KeySpec) -> dict[bytes, Reply]:
    out: dict[bytes, Reply] = {}
    if keys.note:
        out[b"notes"] = keys.note.encode()
    out[b"flags"] = SetReply([Status(word.encode()) for word in keys.access.split()])
    if keys.unknown:
        return out | {word: {b"type": b"unknown", b"spec": {}} for word in (b"begin_search", b"find_keys")}
    if keys.keyword:
        where: Reply = {b"keyword": keys.keyword.encode(), b"startfrom": keys.begin}
        out[b"begin_search"] = {b"type": b"keyword", b"spec": where}
    else:
        out[b"begin_search"] = {b"type": b"index", b"spec": {b"index": keys.begin}}
    if keys.counted:
        out[b"find_keys"] = {b"type": b"keynum", b"spec": {b"keynumidx": 0, b"firstkey": 1, b"keystep": 1}}
    else:
        out[b"find_keys"] = {
            b"type": b"range",
            b"spec": {b"lastkey": keys.last, b"keystep": keys.step, b"limit": 2 if keys.half else 0},
        }
    return out


def _keys_of(session: Session, words: list[bytes]) -> list[tuple[int, str]]:
    spec = _row(session, words[0])
    if spec is not None and spec.subcommands and len(words) > 1:
        spec = spec.subcommand(words[1])
    if spec is None:
        raise CommandError("ERR Invalid command specified")
    if not spec.key_specs and spec.get_keys is None and spec.first_key == 0:
        raise CommandError("ERR The command has no key arguments")
    if not spec.accepts(len(words)):
        raise CommandError("ERR Invalid number of arguments specified for command")
    if spec.name == "set":
        reads = any(word.lower() == b"get" for word in words[3:])
        return [(1, "RW access update" if reads else "OW update")]
    if spec.name == "bitfield" and _only_gets(words):
        return [(1, "RO access")]
    if spec.key_specs:
        found = [(at, _fixed(keys.access)) for keys in spec.key_specs for at in keys.among(words)]
        if not found or any(keys.counted and not keys.among(words) for keys in spec.key_specs):
            raise CommandError("ERR Invalid arguments specified for command")
        return found
    access = "RO access" if "readonly" in spec.flags else "RW access update"
    return [(at, access) for at in spec.key_positions(words)]


def _only_gets(words: list[bytes]) -> bool:
    """Whether no step of a BITFIELD writes; words that are no step count as one that does."""
    at = 2
    while at < len(words):
        match words[at].lower():
            case b"get" if at + 2 < len(words):
                at += 3
            case b"overflow" if at + 1 < len(words):
                at += 2
            case _:
                return False
    return True


def _fixed(access: str) -> str:
    """What a very command does to a key: here nothing varies any more."""
    return access.removesuffix(" variable_flags")


_command = partial(command, group="server", categories="connection")
_ANY_ORDER = "nondeterministic_output_order"
_PER_NAME = "O(N) in the number of names"

COMMANDS = (
    _command(
        "command", -1, "loading stale",
        handler=everything, since="2.8.13", tips=_ANY_ORDER,
        complexity="O(N) in the number of commands",
        summary="Describes every command.",
        subcommands=(
            _command(
                "command|count", 2, "loading stale",
                handler=count, since="2.8.13", summary="Answers the number of commands.",
            ),
            _command(
                "command|docs", -2, "loading stale",
                handler=docs, since="7.0.0", tips=_ANY_ORDER, complexity=_PER_NAME,
                arguments="[command-name:string...]",
                summary="Explains commands: summary, history, arguments.",
            ),
            _command(
                "command|getkeys", -4, "loading stale",
                handler=getkeys, since="2.8.13", complexity="O(N) in the number of words",
                summary="Answers the keys among the words of a command.",
            ),
            _command(
                "command|getkeysandflags", -4, "loading stale",
                handler=getkeysandflags, since="7.0.0", complexity="O(N) in the number of words",
                summary="Answers the keys of a command and what it does to each.",
            ),
            _command(
                "command|help", 2, "loading stale",
                handler=answer_help, since="5.0.0", summary="Lists the subcommands.",
            ),
            _command(
                "command|info", -2, "loading stale",
                handler=info, since="2.8.13", tips=_ANY_ORDER, complexity=_PER_NAME,
                arguments="[command-name:string...]",
                summary="Describes commands: arity, flags, keys, categories.",
            ),
            _command(
                "command|list", -2, "loading stale",
                handler=listing, since="7.0.0", tips=_ANY_ORDER,
                complexity="O(N) in the number of commands",
                arguments="[FILTERBY filterby=(MODULE module-name:string | ACLCAT category:string"
                " | PATTERN pattern:pattern)]",
                summary="Lists names of commands, all or by module, access category or pattern.",
            ),
        ),
    ),
)  # fmt: skip
