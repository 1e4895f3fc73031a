"""The notation in which a command's arguments are written down, and its reader.

COMMAND DOCS gives clients a tree of arguments; redis-cli draws its hints from it. Writing those trees
as nested Python would bury the table, so a row carries one line:

    key:key value:string [condition=(NX | XX)] [EX seconds:integer]

| written            | means                                                              |
|--------------------|--------------------------------------------------------------------|
| `seconds:integer`  | an argument and its type                                           |
| `EX seconds:integer` | the same, introduced by a token                                  |
| `NX`               | a token that stands for itself                                     |
| `change=CH`, `equal==` | the same under another name                                    |
| `[...]`            | optional                                                           |
| `x...`             | may be repeated                                                    |
| `TOKEN x +...`     | may be repeated, each time with its token                          |
| `name=(a b)`       | a block: a then b                                                  |
| `name=(a | b)`     | one of a, b                                                        |

Types: string integer double key pattern unix-time; `pattern@1` is a pattern for keys of key spec 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from node.engine.reply import Reply, Status

_WORD = re.compile(r"\+?\.\.\.|[\[\]()|]|[^\s\[\]()|.]+(?:\.(?!\.\.)[^\s\[\]()|.]+)*")


class NotationError(ValueError):
    """A row of the command table is written wrongly. Ours, never a client's."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One node of an argument tree; `children` only for blocks and choices."""

    name: str
    kind: str
    token: str = ""
    optional: bool = False
    multiple: bool = False
    multiple_token: bool = False
    key_run: int = -1
    children: tuple[Argument, ...] = ()


@lru_cache(maxsize=1024)  # more than there are commands; rows never change
def parse(notation: str) -> tuple[Argument, ...]:
    """Reads one line of the notation.

    Raises:
        NotationError: the line does not parse; names the place.
    """
    words = _WORD.findall(notation)
    found, end = _sequence(words, 0, notation)
    if end != len(words):
        raise NotationError(f"{notation!r}: unexpected {words[end]!r}")
    return found


def describe(arguments: tuple[Argument, ...], key_runs: Sequence[int] = ()) -> list[Reply]:
    """The trees as COMMAND DOCS sends them.

    Args:
        key_runs: for each key among the arguments, in order, which of the command's key specs it is of.
    """
    return _describe(arguments, iter(key_runs))


def _sequence(words: list[str], at: int, whole: str) -> tuple[tuple[Argument, ...], int]:
    found: list[Argument] = []
    while at < len(words) and words[at] not in ("]", ")", "|"):
        argument, at = _one(words, at, whole)
        found.append(argument)
    return tuple(found), at


def _one(words: list[str], at: int, whole: str) -> tuple[Argument, int]:
    word = words[at]
    if word == "[":
        inner, at = _one(words, at + 1, whole)
        if at >= len(words) or words[at] != "]":
            raise NotationError(f"{whole!r}: '[' holds one argument; name a block to group several")
        argument, at = replace(inner, optional=True), at + 1
    elif word.endswith("=") and not word.endswith("=="):
        argument, at = _group(words, at, whole)
    elif _has_type(word):
        argument, at = _typed(word), at + 1
    elif "=" in word:
        name, _, token = word.partition("=")
        argument, at = Argument(name, "pure-token", token=token), at + 1
    elif word in ("(", ")", "]", "|", "...", "+..."):
        raise NotationError(f"{whole!r}: unexpected {word!r}")
    elif at + 1 < len(words) and (_has_type(words[at + 1]) or words[at + 1].endswith("=")):
        inner, at = _one(words, at + 1, whole)
        argument = replace(inner, token=word)
    else:
        argument, at = Argument(word.lower(), "pure-token", token=word), at + 1
    if at < len(words) and words[at] == "...":
        argument, at = replace(argument, multiple=True), at + 1
    elif at < len(words) and words[at] == "+...":
        argument, at = replace(argument, multiple=True, multiple_token=True), at + 1
    return argument, at


def _group(words: list[str], at: int, whole: str) -> tuple[Argument, int]:
    name = words[at][:-1]
    if at + 1 >= len(words) or words[at + 1] != "(":
        raise NotationError(f"{whole!r}: '{name}=' must be followed by '('")
    first, at = _sequence(words, at + 2, whole)
    if at < len(words) and words[at] == "|":
        choices = list(first)
        while at < len(words) and words[at] == "|":
            choice, at = _one(words, at + 1, whole)
            choices.append(choice)
        group = Argument(name, "oneof", children=tuple(choices))
    else:
        group = Argument(name, "block", children=first)
    if at >= len(words) or words[at] != ")":
        raise NotationError(f"{whole!r}: ')' is missing after '{name}='")
    return group, at + 1


def _has_type(word: str) -> bool:
    return ":" in word[1:]


def _typed(word: str) -> Argument:
    name, _, kind = word.rpartition(":")
    if "=" in name:
        raise NotationError(f"{word!r}: a group is written name=(...)")
    kind, _, run = kind.partition("@")
    if kind not in ("string", "integer", "double", "key", "pattern", "unix-time"):
        raise NotationError(f"{word!r}: unknown type {kind!r}")
    return Argument(name, kind, key_run=int(run) if run else -1)


def _describe(arguments: tuple[Argument, ...], key_runs: Iterator[int]) -> list[Reply]:
    out: list[Reply] = []
    for argument in arguments:
        node: dict[bytes, Reply] = {b"name": argument.name.encode(), b"type": argument.kind.encode()}
        if argument.kind == "key":
            node[b"key_spec_index"] = next(key_runs)
        elif argument.key_run >= 0:
            node[b"key_spec_index"] = argument.key_run
        if argument.token:
            node[b"token"] = argument.token.encode()
        if argument.optional or argument.multiple:
            flags: list[Reply] = []
            if argument.optional:
                flags.append(Status(b"optional"))
            if argument.multiple:
                flags.append(Status(b"multiple"))
            if argument.multiple_token:
                flags.append(Status(b"multiple_token"))
            node[b"flags"] = flags
        if argument.children:
            node[b"arguments"] = _describe(argument.children, key_runs)
        out.append(node)
    return out
