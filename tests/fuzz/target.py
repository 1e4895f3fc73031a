"""What a target of the fuzzer is, and the values that inputs of several of them are made of."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence

from node.commands import replication
from node.commands.table import CommandSpec
from node.engine.keyspace import Keyspace
from tests.fuzz.grammar import encode
from tests.fuzz.mutation import mutate, number_word
from tests.oracle import Ours

NOW_MS = 1_700_000_000_000
HASH_KEY = b"0123456789abcdef"  # the same in every run: a finding must come back


class Finding(AssertionError):
    """An input after which something does not hold."""


def must(holds: bool, what: object) -> None:
    if not holds:
        raise Finding(str(what))


class Target(ABC):
    """One door of the room. `run` raises for a finding; a crash speaks for itself."""

    name: str
    words: Sequence[bytes]
    lifetime_inputs = 1000  # then everything is made anew, so that a finding needs few inputs before it

    def renew(self) -> None:
        """Forgets all earlier inputs."""
        return

    @abstractmethod
    def generate(self, chance: random.Random) -> bytes: ...

    def mutate(self, chance: random.Random, data: bytes, other: bytes) -> bytes:
        return mutate(chance, data, other, self.words)

    @abstractmethod
    def run(self, data: bytes) -> None: ...


class Alone(Ours):
    """A node without the commands that speak to other processes, of which there are none here."""

    def rows(self) -> list[CommandSpec]:
        return [spec for spec in super().rows() if spec not in replication.COMMANDS]


class Maker:
    """A node that builds the values which inputs are made of."""

    def __init__(self) -> None:
        self._ours = Alone(hash_key=HASH_KEY)
        self.session = self._ours.connect()

    def make(self, commands: Sequence[Sequence[bytes]]) -> Keyspace:
        """A keyspace with what these commands leave, and nothing else."""
        self._ours.engine.set_clock_ms(NOW_MS, 0)
        self.session.feed(encode([[b"FLUSHALL"], *commands]))
        keyspace = self._ours.engine.keyspace
        while not keyspace.snapshot_ready():
            keyspace.sweep_some(10_000)
        keyspace.free_some(10_000)
        return keyspace


def value_commands(chance: random.Random, key: bytes) -> list[list[bytes]]:
    """What makes a value of any type under this key, small or large."""
    count = chance.choice((1, 2, 5, 30, 200))
    items = [_item(chance) for _ in range(count)]
    match chance.randrange(8):
        case 0:
            return [[b"SET", key, items[0]]]
        case 1:
            return [
                [b"HSET", key, *(word for pair in zip(items, reversed(items), strict=True) for word in pair)]
            ]
        case 2:
            return [[b"SADD", key, *items]]
        case 3:
            return [[b"SADD", key, *(b"%d" % chance.randrange(-(2**40), 2**40) for _ in range(count))]]
        case 4:
            return [[b"RPUSH", key, *items]]
        case 5:
            return [[b"ZADD", key, *(word for item in items for word in (number_word(chance), item))]]
        case 6:
            return [[b"PFADD", key, *items]]
    made = [
        [
            b"XADD",
            key,
            b"%d-%d" % (number + 1, chance.randrange(3)),
            *chance.choice((items[:2] * 2, [b"a", b"1"])),
        ]
        for number in range(min(count, 30))
    ]
    group = [
        [b"XGROUP", b"CREATE", key, b"g", b"0"],
        [b"XREADGROUP", b"GROUP", b"g", b"c", b"COUNT", b"%d" % count, b"STREAMS", key, b">"],
        [b"XGROUP", b"CREATECONSUMER", key, b"g", b"d"],
        [b"XDEL", key, b"2-0", b"2-1", b"2-2"],
    ]
    return made + group[: chance.randrange(5)]


def _item(chance: random.Random) -> bytes:
    kind = chance.randrange(5)
    if kind == 0:
        return number_word(chance)
    if kind == 1:
        return b"m%d" % chance.randrange(4)
    return chance.randbytes(chance.choice((0, 3, 12, 63, 64, 70)))
