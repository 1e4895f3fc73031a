"""The command table: what each command is called, takes and touches, as data.

One row per command serves everybody who has to know: the engine (arity, key positions, who runs it),
COMMAND and its subcommands, access rules, the router. A row without a handler is compiled; the engine
finds its function by name. Rows are written with `command` below, in one module per family.

The facts clients rely on (arity, flags, key positions, categories) equal those of Redis; a test
compares every row with a real server. The sentences are our own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from node.engine.reply import Reply

if TYPE_CHECKING:
    from node.engine.session import Session

Handler: TypeAlias = "Callable[[Session, list[bytes]], Reply]"
# From a whole command (name first) to the positions of its keys; for commands whose keys move about.
GetKeys: TypeAlias = Callable[[Sequence[bytes]], list[int]]

# Flags that put a command into an access category without its row saying so.
_IMPLIED_CATEGORIES = {
    "write": ("write",),
    "readonly": ("read",),
    "admin": ("admin", "dangerous"),
    "pubsub": ("pubsub",),
    "blocking": ("blocking",),
}


@dataclass(frozen=True, slots=True)
class KeySpec:
    """A run of keys among the arguments and what happens to them.

    Attributes:
        access: Redis's words, blank-separated: one of RO RW OW RM, then access, insert, update, delete.
        begin: position of the first key; the command's name is position 0.
        last: position of the last key: relative to `begin`, or -1 for the last argument.
        step: distance between keys.
        note: shown by COMMAND INFO.
        counted: the word at `begin` says how many keys follow it; `last` and `step` mean nothing then.
        keyword: the key follows this word, the last of its kind from `begin` on; it may be missing.
        half: with a keyword, the first half of all words behind the first one of its kind (XREAD's keys).
        unknown: clients are told that they cannot find these keys; we do when there is a `keyword`.
    """

    access: str
    begin: int = 1
    last: int = 0
    step: int = 1
    note: str = ""
    counted: bool = False
    keyword: str = ""
    unknown: bool = False
    half: bool = False

    @property
    def moves(self) -> bool:
        """Whether one must look at the words to know where the keys are."""
        return self.counted or self.unknown or bool(self.keyword)

    def among(self, words: Sequence[bytes]) -> range:
        """Positions of this run's keys among the words of a command; none if its count is wrong."""
        if self.keyword:
            wanted = self.keyword.lower().encode()
            if self.half:
                found = (at for at in range(self.begin, len(words)) if words[at].lower() == wanted)
                at = next(found, len(words))
                return range(at + 1, at + 1 + (len(words) - at - 1) // 2)
            for at in range(len(words) - 2, self.begin - 1, -1):
                if words[at].lower() == wanted:
                    return range(at + 1, at + 2)
            return range(0)
        if self.unknown:
            return range(0)
        if not self.counted:
            return self.positions(len(words))
        number = words[self.begin] if self.begin < len(words) else b""
        count = int(number) if number.isdigit() and len(number) < 10 else 0
        return range(self.begin + 1, self.begin + 1 + count) if self.begin + count < len(words) else range(0)

    def positions(self, argc: int) -> range:
        """The same, knowing only how many words there are, name included; not for runs that move."""
        last = argc + self.last if self.last < 0 else self.begin + self.last
        return range(self.begin, min(last, argc - 1) + 1, self.step)


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One command, or one subcommand, named as Redis names it: `get`, `client|id`.

    Attributes:
        arity: number of words with the name; negative: at least that many.
        flags: Redis's words.
        first_key, last_key, key_step: the summary of `key_specs` that old clients read; 0 for no keys,
            last_key -1 for "to the end".
        handler: None for compiled commands and for bare containers.
        categories: access categories without '@'; those implied by flags are added here.
        summary, since, group, complexity: for people; `since` is the Redis version that introduced it.
        get_keys: set when `key_specs` cannot say where the keys are.
        tips: hints for clients and proxies.
        arguments: the syntax, in the notation of `node.commands.syntax`.
        replaced_by, deprecated_since: set together.
    """

    name: str
    arity: int
    flags: frozenset[str]
    first_key: int = 0
    last_key: int = 0
    key_step: int = 0
    handler: Handler | None = None
    categories: frozenset[str] = frozenset()
    summary: str = ""
    since: str = "1.0.0"
    group: str = "generic"
    complexity: str = ""
    subcommands: tuple[CommandSpec, ...] = ()
    get_keys: GetKeys | None = None
    tips: tuple[str, ...] = ()
    arguments: str = ""
    key_specs: tuple[KeySpec, ...] = ()
    deprecated_since: str = ""
    replaced_by: str = ""

    def __post_init__(self) -> None:
        implied = {category for flag in self.flags for category in _IMPLIED_CATEGORIES.get(flag, ())}
        implied.add("fast" if "fast" in self.flags else "slow")
        object.__setattr__(self, "categories", self.categories | implied)
        for sub in self.subcommands:
            if not sub.name.startswith(f"{self.name}|"):
                raise ValueError(f"subcommand {sub.name!r} of {self.name!r} must be named '{self.name}|...'")

    @property
    def word(self) -> str:
        """What the client types: the subcommand's own word, or the name."""
        return self.name.rpartition("|")[2]

    def accepts(self, argc: int) -> bool:
        """Whether a command of `argc` words (name included) has a right number of them."""
        return argc == self.arity if self.arity >= 0 else argc >= -self.arity

    def subcommand(self, word: bytes) -> CommandSpec | None:
        """The subcommand a client means by `word`, in any case."""
        wanted = word.lower()
        for sub in self.subcommands:
            if sub.word.encode() == wanted:
                return sub
        return None

    def key_positions(self, words: Sequence[bytes]) -> list[int]:
        """Where the keys of this very command stand. Arity must have been checked."""
        if self.get_keys is not None:
            return self.get_keys(words)
        if self.key_specs:
            return [at for spec in self.key_specs for at in spec.among(words)]
        if self.first_key == 0:
            return []
        last = len(words) + self.last_key if self.last_key < 0 else self.last_key
        return list(range(self.first_key, min(last, len(words) - 1) + 1, self.key_step))


def command(
    name: str,
    arity: int,
    flags: str,
    *,
    group: str,
    summary: str,
    since: str,
    complexity: str = "O(1)",
    keys: Iterable[KeySpec] = (),
    categories: str = "",
    handler: Handler | None = None,
    arguments: str = "",
    tips: str = "",
    subcommands: Iterable[CommandSpec] = (),
    get_keys: GetKeys | None = None,
    deprecated_since: str = "",
    replaced_by: str = "",
) -> CommandSpec:
    """A row of the table; words in `flags`, `categories` and `tips` are separated by blanks.

    First, last and step are worked out from `keys`: the runs must touch (as RENAME's two keys do). They tell
    nothing of runs that move.
    """
    key_specs = tuple(keys)
    first, last, step = _legacy_range(name, tuple(spec for spec in key_specs if not spec.moves))
    if get_keys is None and any(spec.moves for spec in key_specs):
        get_keys = partial(_positions_of, key_specs)
        flags += " movablekeys"
    return CommandSpec(
        name=name,
        arity=arity,
        flags=frozenset(flags.split()),
        first_key=first,
        last_key=last,
        key_step=step,
        handler=handler,
        categories=frozenset(categories.split()),
        summary=summary,
        since=since,
        group=group,
        complexity=complexity,
        subcommands=tuple(subcommands),
        get_keys=get_keys,
        tips=tuple(tips.split()),
        arguments=arguments,
        key_specs=key_specs,
        deprecated_since=deprecated_since,
        replaced_by=replaced_by,
    )


def _positions_of(specs: tuple[KeySpec, ...], words: Sequence[bytes]) -> list[int]:
    return [at for spec in specs for at in spec.among(words)]


def _legacy_range(name: str, specs: tuple[KeySpec, ...]) -> tuple[int, int, int]:
    if not specs:
        return 0, 0, 0
    first = specs[0]
    last = first.last if first.last < 0 else first.begin + first.last
    for spec in specs[1:]:
        if last < 0 or spec.begin != last + 1 or spec.step != first.step:
            raise ValueError(f"{name}: key runs must touch; give it get_keys instead")
        last = spec.last if spec.last < 0 else spec.begin + spec.last
    return first.begin, last, first.step
