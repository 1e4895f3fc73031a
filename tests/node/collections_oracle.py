"""One harness for the oracle of all families: random sequences to ours and to a real redis-server.

Each family of commands is a plug-in: a module of tests/node/families with a `FAMILY`. Its generator asks a
Chooser for every decision. In the tests that is Hypothesis, which finds small counter-examples; for a long
run it is a plain random number generator, many times as fast, and what fails is made smaller here:

    python -m tests.node.collections_oracle hashes sets --sequences 200000 --length 50 --seed 1

Where chance decides what a command does (SPOP), ours decides, and the other server is told to do the same
(`Family.instead`), so that both go on with the same data.

Both live by one clock that only the sequence moves (tests/held_clock.py), so times are compared to the
millisecond and keys expire in the middle of a sequence.

A sequence goes to both servers as one pipeline (one for each stretch between two moves of the clock), and
where the two streams of replies are the same bytes nobody takes them apart.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import pkgutil
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar

from hypothesis import strategies as st

from bench.measure import commit
from node.engine.reply import Reply
from tests.held_clock import HeldClock
from tests.node.strategies import FLOATS, NUMBERS, ODD_NUMBERS, Command
from tests.oracle import Ours, RedisServer, Wire, decoded, same
from tests.protocol import request, split_replies

FREED_AT_ONCE = 1 << 20  # entries of flushed databases; a sequence leaves fewer
REPORT_S = 30.0
# Times, which are no matter of opinion when both servers have one clock.
TIMES = frozenset({b"ttl", b"pttl", b"expiretime", b"pexpiretime", b"time"})
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
        self._chance = random.Random(seed).random

    def pick(self, choices: Sequence[Item]) -> Item:
        return choices[int(self._chance() * len(choices))]

    def number(self, low: int, high: int) -> int:
        return low + int(self._chance() * (high - low + 1))


# What the other server is told to do in place of a command whose outcome was ours to choose, given our reply;
# and what it must answer. None: the same command, and the same answer.
Step = Command | int  # a command, or how many milliseconds pass
Instead = Callable[[Command, Reply], "tuple[Command, Reply] | None"]


@dataclass(frozen=True)
class Family:
    """A family of commands.

    Attributes:
        command: one random command, right or wrong; or a number: so many milliseconds pass.
        questions: asked at the end of every sequence, about all the keys that there may be.
        settings: what CONFIG SET says before a sequence; one of them is chosen. What a real server does not
            know is told to ours only.
        instead: by command name, lower case.
    """

    name: str
    command: Callable[[Chooser], Step]
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
    """Steps for both servers, and the state in which they meet them."""

    resp: int
    settings: Mapping[bytes, bytes]
    steps: list[Step]


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


class Pair:
    """Ours and a real server, to be told the same. `clock` is the one that both live by.

    A fresh node of ours now and then, so that a difference needs few sequences before it.
    """

    SEQUENCES = 2000

    def __init__(self, theirs: Wire, clock: HeldClock) -> None:
        self.theirs, self.clock = theirs, clock
        self._known = parameters(theirs)
        self._changed: set[bytes] = set()
        theirs.call(b"DEBUG", b"SET-ACTIVE-EXPIRE", b"0")  # as in ours, where nothing runs in the background
        self.renew()

    def renew(self) -> None:
        """A fresh node, and the other server's parameters as they were at first."""
        changed = [[b"CONFIG", b"SET", name, self._known[name]] for name in sorted(self._changed)]
        self._changed.clear()
        assert all(reply == b"+OK\r\n" for reply in self.theirs.pipeline([[b"RESET"], *changed])[1:])
        self.ours = Ours(clock=self.clock)
        self._runs = 0

    def begin(self, wanted: Script) -> None:
        """Empties both and puts both connections into the state that a sequence wants."""
        self._runs += 1
        if self._runs > self.SEQUENCES:
            self.renew()
        ours, theirs = self.ours, self.theirs
        opening: list[Command] = [[b"RESET"], [b"FLUSHALL"], [b"HELLO", b"%d" % wanted.resp]]
        settings = [[b"CONFIG", b"SET", *pair] for pair in wanted.settings.items()]
        told = [words for words in settings if words[2] in self._known]
        self._changed.update(words[2] for words in told)
        theirs.send(b"".join(map(request, [*opening, *told])))
        ours.feed(b"".join(map(request, opening)))
        ours.engine.keyspace.free_some(FREED_AT_ONCE)
        mine = ours.feed(b"".join(map(request, settings)))
        assert mine == b"+OK\r\n" * len(settings), (mine, settings)
        its = [theirs.receive() for _ in (*opening, *told)]
        assert its[3:] == [b"+OK\r\n"] * len(told), (its, told)


def parameters(theirs: Wire) -> dict[bytes, bytes]:
    """All parameters that a server has."""
    theirs.call(b"RESET")
    flat = decoded(theirs.call(b"CONFIG", b"GET", b"*"))
    assert isinstance(flat, list)
    words = [word for word in flat if isinstance(word, bytes)]
    return dict(zip(words[::2], words[1::2], strict=True))


def equal(words: Command, own: bytes, raw: bytes) -> bool:
    """Whether two replies to a command are as equal as they must be."""
    return own == raw or (words[0].lower() not in TIMES and same(words, own, raw))


def difference(pair: Pair, family: Family, wanted: Script) -> str:
    """Runs a sequence on both; what differs first, in words, or nothing."""
    pair.begin(wanted)
    steps = [*wanted.steps, *family.questions]
    at = 0
    while at < len(steps):
        end = at
        while end < len(steps) and not isinstance(steps[end], int):
            end += 1
        if end > at and (text := _stretch(pair, family, steps[at:end])):
            number, told = text
            before = "\n".join(f"  {step!r}," for step in steps[: at + number])
            return f"{told}\nnumber {at + number} with {wanted.settings!r} in RESP{wanted.resp} of\n{before}"
        if end < len(steps):
            passed_ms = steps[end]
            assert isinstance(passed_ms, int)
            pair.clock.advance(passed_ms)
        at = end + 1
    return ""


def _stretch(pair: Pair, family: Family, steps: Sequence[Step]) -> tuple[int, str] | None:
    """Commands between two moves of the clock: the place of the first difference, and what it is."""
    commands = [step for step in steps if not isinstance(step, int)]
    sent = list(map(request, commands))
    whole = b"".join(sent)
    swapping = bool(family.instead) and any(words[0].lower() in family.instead for words in commands)
    answers: dict[int, Reply] = {}
    if swapping:
        stream = pair.ours.feed(whole)
        for number, (words, own) in enumerate(zip(commands, split_replies(stream), strict=True)):
            swap = family.instead.get(words[0].lower())
            other = swap(words, decoded(own)) if swap is not None else None
            if other is not None:
                sent[number] = request(other[0])
                answers[number] = other[1]
        pair.theirs.send(b"".join(sent))
    else:
        pair.theirs.send(whole)
        stream = pair.ours.feed(whole)
    raw_stream = pair.theirs.confirm(len(commands), stream)
    if raw_stream == stream and not answers:
        return None
    mine, its = split_replies(stream), split_replies(raw_stream)
    for number, (words, own, raw) in enumerate(zip(commands, mine, its, strict=True)):
        if number in answers:
            if decoded(raw) != answers[number]:
                text = f"{words!r}\n   ours: {own[:600]!r}\n  redis: {raw[:600]!r} to {sent[number]!r}"
                return number, text
        elif not equal(words, own, raw):
            return number, f"{words!r}\n   ours: {own[:600]!r}\n  redis: {raw[:600]!r}"
    return None


def smaller(pair: Pair, family: Family, wanted: Script) -> str:
    """The difference that is left when every step that can be missed has been left out."""
    steps = list(wanted.steps)
    text = difference(pair, family, wanted)
    piece = max(len(steps) // 2, 1)
    while True:
        at = 0
        while at < len(steps):
            fewer = Script(wanted.resp, wanted.settings, steps[:at] + steps[at + piece :])
            found = difference(pair, family, fewer)
            if found:
                steps, text = fewer.steps, found
            else:
                at += piece
        if piece == 1:
            return text
        piece //= 2


@contextmanager
def paired() -> Iterator[Pair]:
    """A real server of its own with a held clock, and ours beside it."""
    with HeldClock() as clock, RedisServer(clock=clock) as server, server.connect() as theirs:
        yield Pair(theirs, clock)


@dataclass(frozen=True, slots=True)
class Run:
    """What was run of one family without a difference."""

    family: str
    sequences: int
    length: int
    first_seed: int
    seconds: float
    commit: str
    when: str


class Record:
    """Runs so far, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._commit = commit()  # of what runs, whatever happens to the checkout meanwhile
        self.runs = [Run(**row) for row in json.loads(path.read_text())["runs"]] if path.exists() else []

    def next_seed(self, family: str) -> int:
        """The first that no run of this family had."""
        ends = [run.first_seed + run.sequences for run in self.runs if run.family == family]
        return max(ends, default=0)

    def add(self, family: str, sequences: int, length: int, first_seed: int, seconds: float) -> None:
        """Writes down that these agreed; what goes on where the last run ended is one run with it."""
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        run = Run(family, sequences, length, first_seed, round(seconds, 1), self._commit, when)
        last = self.runs[-1] if self.runs else run
        if (last.family, last.length, last.first_seed + last.sequences, last.commit) == (
            family,
            length,
            first_seed,
            self._commit,
        ):
            self.runs[-1] = replace(
                last,
                sequences=last.sequences + sequences,
                seconds=round(last.seconds + seconds, 1),
                when=when,
            )
        else:
            self.runs.append(run)
        rows = ",".join("\n  " + json.dumps(asdict(each)) for each in self.runs)
        aside = self.path.with_suffix(".new")
        aside.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(f'{{"runs": [{rows}]}}\n')
        aside.replace(self.path)


def run(pair: Pair, family: Family, *, sequences: int, length: int, seed: int, record: Record | None) -> bool:
    """So many sequences of one family, told and noted a piece at a time; whether they all agree."""
    began = told = time.monotonic()
    first = seed
    for number in range(seed, seed + sequences):
        wanted = script(family, Rolled(number), length, length)
        if difference(pair, family, wanted):
            pair.renew()
            print(f"{family.name}, seed {number}:", smaller(pair, family, wanted), flush=True)
            return False
        now, last = time.monotonic(), number + 1 == seed + sequences
        if not last and now < told + REPORT_S:
            continue
        if record is not None:
            record.add(family.name, number + 1 - first, length, first, now - told)
            first = number + 1
        told = now
        ending = ", no difference" if last else ""
        print(f"{family.name}: {number + 1 - seed:,} sequences, {now - began:.0f} s{ending}", flush=True)
    return True


def main(words: Sequence[str] | None = None) -> int:
    """Long runs; ends with 1 at the first difference."""
    every = families()
    parser = argparse.ArgumentParser(prog="python -m tests.node.collections_oracle")
    parser.add_argument("families", nargs="*", metavar="family", help=f"of {', '.join(every)}; default: all")
    parser.add_argument("--sequences", type=int, default=1000, help="of each family")
    parser.add_argument("--length", type=int, default=50, help="commands of each sequence")
    parser.add_argument(
        "--seed",
        type=int,
        help="of the first sequence; then one more each (default: 0, or the record's next)",
    )
    parser.add_argument(
        "--record", type=Path, help="a file that counts what was run, e.g. docs/results/oracle.json"
    )
    options = parser.parse_args(words)
    unknown = [name for name in options.families if name not in every]
    if unknown:
        parser.error(f"no family {unknown[0]!r} (choose from {', '.join(map(repr, every))})")
    record = Record(options.record) if options.record else None
    gc.freeze()  # what was imported lives as long as the process: nobody need look through it again
    with paired() as pair:
        for name in options.families or every:
            seed = record.next_seed(name) if record and options.seed is None else options.seed or 0
            pair.renew()
            if not run(
                pair,
                every[name],
                sequences=options.sequences,
                length=options.length,
                seed=seed,
                record=record,
            ):
                return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
