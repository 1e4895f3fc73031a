"""One harness for the oracle of all collections: random sequences to ours and to a real redis-server.

Each family of commands is a plug-in: a module of tests/node/families with a `FAMILY`. Its generator asks a
Chooser for every decision. In the tests that is Hypothesis, which finds small counter-examples; for a long
run it is a plain random number generator, many times as fast, and what fails is made smaller here:

    python -m tests.node.collections_oracle hashes sets --sequences 200000 --length 50 --seed 1

Where chance decides what a command does (SPOP), ours decides, and the other server is told to do the same
(`Family.instead`), so that both go on with the same data.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from hypothesis import strategies as st

from node.engine.reply import Reply
from tests.node.strategies import FLOATS, NUMBERS, ODD_NUMBERS, Command
from tests.oracle import Ours, RedisServer, Wire, decoded, same

FREED_AT_ONCE = 1 << 20  # entries of flushed databases; a sequence leaves fewer
REPORT_S = 30.0
Item = TypeVar("Item")


class Chooser(Protocol):
    """Who decides. Of several choices the first counts as the simplest."""

    def pick(self, choices: Sequence[Item]) -> Item: ...
    def number(self, low: int, high: int) -> int:
        """From low to high, both included."""
        ...


class Drawn:
    """Hypothesis decides."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def pick(self, choices: Sequence[Item]) -> Item:
        return self._data.draw(st.sampled_from(choices))

    def number(self, low: int, high: int) -> int:
        return self._data.draw(st.integers(low, high))


class Rolled:
    """A seeded random number generator decides."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def pick(self, choices: Sequence[Item]) -> Item:
        return choices[int(self._random.random() * len(choices))]

    def number(self, low: int, high: int) -> int:
        return self._random.randint(low, high)


# What the other server is told to do in place of a command whose outcome was ours to choose, given our reply;
# and what it must answer. None: the same command, and the same answer.
Instead = Callable[[Command, Reply], "tuple[Command, Reply] | None"]


@dataclass(frozen=True)
class Family:
    """A family of commands.

    Attributes:
        command: one random command, right or wrong.
        questions: asked at the end of every sequence, about all the keys that there may be.
        settings: what CONFIG SET says before a sequence; one of them is chosen. What a real server does not
            know is told to ours only.
        instead: by command name, lower case.
    """

    name: str
    command: Callable[[Chooser], Command]
    questions: tuple[Command, ...]
    settings: tuple[Mapping[bytes, bytes], ...] = ({},)
    instead: Mapping[bytes, Instead] = field(default_factory=dict)


def families() -> dict[str, Family]:
    """Every family, by name."""
    folder = Path(__file__).parent / "families"
    modules = sorted(module.name for module in pkgutil.iter_modules([str(folder)]))
    found = [importlib.import_module(f"tests.node.families.{name}").FAMILY for name in modules]
    return {family.name: family for family in found}


# ----------------------------------------------------------------------------------------- generating


@dataclass(frozen=True)
class Script:
    """Commands for both servers, and the state in which they meet them."""

    resp: int
    settings: Mapping[bytes, bytes]
    commands: list[Command]


def script(family: Family, chooser: Chooser, least: int, most: int) -> Script:
    """A random sequence of `least` to `most` commands; the questions come on top."""
    settings = chooser.pick(family.settings)
    resp = chooser.pick((2, 3))
    return Script(resp, settings, [family.command(chooser) for _ in range(chooser.number(least, most))])


def integer(chooser: Chooser) -> bytes:
    """A word where an integer belongs: mostly small, sometimes at a boundary, sometimes none."""
    match chooser.number(0, 7):
        case 0:
            return b"%d" % chooser.pick(NUMBERS)
        case 1:
            return chooser.pick(ODD_NUMBERS)
    return b"%d" % chooser.number(-12, 12)


def decimal(chooser: Chooser) -> bytes:
    """A word where a floating-point number belongs."""
    if chooser.number(0, 2) == 0:
        return integer(chooser)
    return chooser.pick(FLOATS)


def mangled(chooser: Chooser, command: Command) -> Command:
    """Mostly as it is; sometimes a word short or a word long."""
    chance = chooser.number(0, 59)
    if chance == 59:
        return command[:-1] if len(command) > 1 else command
    if chance == 58:
        return [*command, chooser.pick(ODD_NUMBERS)]
    return command


# ------------------------------------------------------------------------------------------ comparing


def _begin(ours: Ours, theirs: Wire, known: set[bytes], wanted: Script) -> None:
    opening: list[Command] = [[b"RESET"], [b"FLUSHALL"], [b"HELLO", b"%d" % wanted.resp]]
    ours.pipeline(opening)
    ours.engine.keyspace.free_some(FREED_AT_ONCE)
    for name, value in wanted.settings.items():
        assert ours.call(b"CONFIG", b"SET", name, value) == b"+OK\r\n", name
    settings = [[b"CONFIG", b"SET", name, value] for name, value in wanted.settings.items() if name in known]
    replies = theirs.pipeline([*opening, *settings])
    assert all(reply == b"+OK\r\n" for reply in replies[3:]), replies


def parameters(theirs: Wire) -> set[bytes]:
    """The names of all parameters that a server has."""
    theirs.call(b"RESET")
    flat = decoded(theirs.call(b"CONFIG", b"GET", b"*"))
    assert isinstance(flat, list)
    return {name for name in flat[::2] if isinstance(name, bytes)}


def difference(ours: Ours, theirs: Wire, known: set[bytes], family: Family, wanted: Script) -> str:
    """Runs a sequence on both; what differs first, in words, or nothing."""
    _begin(ours, theirs, known, wanted)
    commands = [*wanted.commands, *family.questions]
    mine = ours.pipeline(commands)
    told: list[Command] = []
    answers: dict[int, Reply] = {}
    for number, (words, own) in enumerate(zip(commands, mine, strict=True)):
        swap = family.instead.get(words[0].lower())
        other = swap(words, decoded(own)) if swap is not None else None
        if other is None:
            told.append(words)
        else:
            told.append(other[0])
            answers[number] = other[1]
    its = theirs.pipeline(told)
    for number, (words, own, raw) in enumerate(zip(commands, mine, its, strict=True)):
        equal = decoded(raw) == answers[number] if number in answers else same(words, own, raw)
        if not equal:
            asked = f" to {told[number]!r}" if number in answers else ""
            before = "\n".join(f"  {command!r}," for command in commands[:number])
            return (
                f"{words!r}\n   ours: {own[:600]!r}\n  redis: {raw[:600]!r}{asked}\n"
                f"number {number} with {wanted.settings!r} in RESP{wanted.resp} of\n{before}"
            )
    return ""


def smaller(ours: Ours, theirs: Wire, known: set[bytes], family: Family, wanted: Script) -> str:
    """The difference that is left when every command that can be missed has been left out."""
    commands = list(wanted.commands)
    text = difference(ours, theirs, known, family, wanted)
    piece = max(len(commands) // 2, 1)
    while True:
        at = 0
        while at < len(commands):
            fewer = Script(wanted.resp, wanted.settings, commands[:at] + commands[at + piece :])
            found = difference(ours, theirs, known, family, fewer)
            if found:
                commands, text = fewer.commands, found
            else:
                at += piece
        if piece == 1:
            return text
        piece //= 2


def main(words: Sequence[str] | None = None) -> int:
    """Long runs; ends with 1 at the first difference."""
    every = families()
    parser = argparse.ArgumentParser(prog="python -m tests.node.collections_oracle")
    parser.add_argument("families", nargs="*", metavar="family", help=f"of {', '.join(every)}; default: all")
    parser.add_argument("--sequences", type=int, default=1000, help="of each family")
    parser.add_argument("--length", type=int, default=50, help="commands of each sequence")
    parser.add_argument("--seed", type=int, default=0, help="of the first sequence; then one more each")
    options = parser.parse_args(words)
    with RedisServer() as server, server.connect() as theirs:
        known = parameters(theirs)
        for name in options.families or every:
            ours = Ours()
            commands, began = 0, time.monotonic()
            told = began
            for seed in range(options.seed, options.seed + options.sequences):
                wanted = script(every[name], Rolled(seed), options.length, options.length)
                if difference(ours, theirs, known, every[name], wanted):
                    print(f"{name}, seed {seed}:", smaller(ours, theirs, known, every[name], wanted))
                    return 1
                commands += len(wanted.commands)
                if time.monotonic() > told + REPORT_S:
                    told = time.monotonic()
                    print(f"{name}: seed {seed}, {commands:,} commands, {told - began:.0f} s", flush=True)
            print(
                f"{name}: {options.sequences:,} sequences, {commands:,} commands,"
                f" {time.monotonic() - began:.0f} s, no difference",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
