"""Commands as clients might send them, from the command table: right and nearly right."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

from node.commands.syntax import Argument, parse
from node.commands.table import CommandSpec
from tests.fuzz.mutation import mutate, number_word

Words = list[bytes]

KEYS = (b"a", b"b", b"c", b"{t}1", b"{t}2", b"", b"k" * 70, b"\x00\xff\r\n")
_VALUES = (b"", b"x", b"10", b"3.5", b"abc", b"v" * 40, b"w" * 1200, b"\r\n$-1\r\n", b"\x00", b"\xff" * 9)
_MEMBERS = (b"a", b"b", b"c", b"m1", b"m2", b"7", b"70000", b"-5", b"w" * 65)
_BOUNDS = (
    b"-",
    b"+",
    b"[a",
    b"(b",
    b"-inf",
    b"+inf",
    b"(1",
    b"0",
    b"-1",
    b"5",
    b"$",
    b"*",
    b"0-1",
    b"5-*",
    b"LEFT",
    b"AND",
)
_PATTERNS = (b"*", b"?", b"[a-c]*", b"[^a]", b"\\*", b"[", b"a**b", b"*" * 20 + b"x", b"[z-a]")
_TOKEN = re.compile(r"[A-Z][A-Z0-9-]+")
_EXTRA = (
    b"u8",
    b"i64",
    b"u63",
    b"i1",
    b"u64",
    b"#0",
    b"#63",
    b"WRAP",
    b"SAT",
    b"FAIL",
    b"BYTE",
    b"BIT",
    b"NX",
    b"XX",
)


class Grammar:
    """Draws commands of the given table.

    Words that the syntax of a command names in capitals are its options; they are used where they belong most
    of the time, and elsewhere now and then. Most commands follow their syntax to the letter, the others only
    have about the right number of words.
    """

    def __init__(self, specs: Iterable[CommandSpec]) -> None:
        rows: list[tuple[Words, CommandSpec, list[bytes]]] = []
        for spec in specs:
            options = [word.encode() for word in _TOKEN.findall(spec.arguments)]
            if not spec.subcommands or spec.handler is not None:
                rows.append(([spec.name.encode()], spec, options))
            for sub in spec.subcommands:
                options = [word.encode() for word in _TOKEN.findall(sub.arguments)]
                rows.append(([spec.name.encode(), sub.word.encode()], sub, options))
        # Those with keys are what the room compiles: eight times as often as the rest.
        self._rows = [row for row in rows for _ in range(8 if row[1].key_positions([b"x"] * 8) else 1)]
        self.words = [word for head, _, options in rows for word in (head[0], *options)]

    def command(self, chance: random.Random) -> Words:
        head, spec, options = chance.choice(self._rows)
        if chance.random() < 0.7:
            return [*head, *_drawn(chance, parse(spec.arguments))]
        least = abs(spec.arity)
        count = least if spec.arity > 0 or chance.random() < 0.4 else least + chance.randrange(5)
        if chance.random() < 0.04:
            count = chance.randrange(10)
        out = list(head)
        keys = set(spec.key_positions([b"x"] * max(count, least)))
        while len(out) < count:
            if len(out) in keys:
                out.append(chance.choice(KEYS))
            else:
                out.append(self._argument(chance, options))
        return out

    def _argument(self, chance: random.Random, options: list[bytes]) -> bytes:
        kind = chance.randrange(12)
        if kind < 4 and options:
            word = chance.choice(options)
            return word if kind else word.lower()
        if kind < 7:
            return number_word(chance)
        if kind < 9:
            return chance.choice(_VALUES)
        if kind == 9:
            return chance.choice(_PATTERNS)
        return chance.choice(KEYS) if kind == 10 else chance.choice(_EXTRA)

    def conversation(self, chance: random.Random) -> list[Words]:
        return [self.command(chance) for _ in range(1 + chance.randrange(12))]

    def mutate(self, chance: random.Random, commands: list[Words], other: list[Words]) -> list[Words]:
        out = [list(words) for words in commands]
        for _ in range(1 << chance.randrange(3)):
            kind = chance.randrange(7)
            at = chance.randrange(len(out) + 1)
            words = out[at % len(out)] if out else []
            if kind == 0:
                out.insert(at, self.command(chance))
            elif kind == 1 and len(out) > 1:
                del out[at % len(out)]
            elif kind == 2 and other:
                out.insert(at, list(chance.choice(other)))
            elif kind == 3 and len(words) > 1:
                words[chance.randrange(1, len(words))] = self._argument(chance, self.words)
            elif kind == 4 and words:
                words.insert(1 + chance.randrange(len(words)), self._argument(chance, self.words))
            elif kind == 5 and len(words) > 1:
                del words[chance.randrange(1, len(words))]
            elif kind == 6 and len(words) > 1:
                place = chance.randrange(1, len(words))
                words[place] = mutate(chance, words[place], b"", self.words)
        return out[:40]


def _drawn(chance: random.Random, arguments: Sequence[Argument]) -> Words:
    """Words as the syntax of a command wants them."""
    out: Words = []
    counts: list[int] = []  # places of numkeys and the like, which tell how many of the next come
    for argument in arguments:
        if argument.optional and chance.random() < 0.6:
            continue
        times = chance.choice((1, 1, 2, 3, 9)) if argument.multiple else 1
        if argument.multiple:
            for place in counts:
                out[place] = b"%d" % times
            counts = []
        for turn in range(times):
            if argument.token and (turn == 0 or argument.multiple_token):
                out.append(argument.token.encode())
            if argument.kind == "integer" and argument.name.startswith("num") and chance.random() < 0.95:
                counts.append(len(out))
            out += _one(chance, argument)
    return out


def _one(chance: random.Random, argument: Argument) -> Words:
    match argument.kind:
        case "pure-token":
            return []
        case "block":
            return _drawn(chance, argument.children)
        case "oneof":
            child = chance.choice(argument.children)
            return _drawn(chance, (replace(child, optional=False),))
        case "key":
            return [chance.choice(KEYS[:6] if chance.random() < 0.95 else KEYS)]
        case "integer":
            small = chance.random() < 0.8
            return [b"%d" % chance.randrange(-3, 12) if small else number_word(chance)]
        case "unix-time":
            return [
                b"%d" % (chance.choice((1_700_000_000, 1_700_000_000_000)) + chance.randrange(-9, 99_999))
            ]
        case "double":
            return [b"%.*f" % (chance.randrange(4), chance.uniform(-90, 90))]
        case "pattern":
            return [chance.choice(_PATTERNS)]
        case _:
            # Few different words, so that members and fields are met again; some are bounds of ranges.
            pool = _MEMBERS if chance.random() < 0.6 else _BOUNDS if chance.random() < 0.5 else _VALUES
            return [chance.choice(pool)]


def encode(commands: Iterable[Sequence[bytes]]) -> bytes:
    return b"".join(
        b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
        for words in commands
    )


_ARRAY = re.compile(rb"\*(\d{1,4})\r\n")
_BULK = re.compile(rb"\$(\d{1,6})\r\n")


@lru_cache(maxsize=4096)  # parents come again and again
def decode(data: bytes) -> list[Words] | None:
    """The commands of a well-formed stream, not to be changed; None for any other."""
    out: list[Words] = []
    at = 0
    while at < len(data):
        if not (header := _ARRAY.match(data, at)):
            return None
        at = header.end()
        words: Words = []
        for _ in range(int(header[1])):
            if not (bulk := _BULK.match(data, at)):
                return None
            at = bulk.end() + int(bulk[1]) + 2
            words.append(data[bulk.end() : at - 2])
        out.append(words)
    return out
