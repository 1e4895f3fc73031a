"""Transactions of one connection: queues, errors in them, watched keys that change or expire."""

from __future__ import annotations

from tests.node.collections_oracle import Chooser, Family, Step, integer, mangled
from tests.node.families import strings
from tests.node.strategies import Command

KEYS = (b"a", b"a", b"b", b"l", b"z", b"none")


def _inner(chooser: Chooser) -> Command:
    """What is queued."""
    key = chooser.pick(KEYS)
    number = b"%d" % chooser.number(0, 9)
    match chooser.number(0, 15):
        case 0 | 1 | 2:
            return [
                b"SET",
                key,
                strings.value(chooser),
                *chooser.pick(([], [], [b"PX", b"50"], [b"EX", b"x"])),
            ]
        case 3:
            return [b"INCR", key]
        case 4 | 5:
            return [chooser.pick((b"RPUSH", b"LPUSH")), key, number, number]
        case 6:
            return [chooser.pick((b"GET", b"TYPE", b"PTTL", b"LLEN", b"ZCARD")), key]
        case 7:
            return [chooser.pick((b"DEL", b"PERSIST", b"EXISTS")), key]
        case 8:
            return [b"ZADD", key, number, b"m" + number]
        case 9:
            return [b"LRANGE", key, b"0", integer(chooser)]
        case 10:
            return chooser.pick(([b"NOSUCHCOMMAND", b"x"], [b"GET"], [b"SET", b"a"], [b"INCR", b"a", b"b"]))
        case 11:
            return [b"PEXPIRE", key, strings.milliseconds(chooser)]
        case 12:
            return chooser.pick(
                ([b"SELECT", b"1"], [b"SELECT", b"0"], [b"SELECT", b"99"], [b"PING"], [b"ECHO", number])
            )
        case 13:
            return [b"SWAPDB", b"0", b"1"] if chooser.number(0, 3) == 0 else [b"MOVE", key, b"1"]
        case 14:
            return chooser.pick(([b"FLUSHDB"], [b"FLUSHALL"], [b"UNWATCH"]))
    return [b"COPY", key, chooser.pick(KEYS), b"REPLACE"]


def _whole(chooser: Chooser) -> Command:
    match chooser.number(0, 9):
        case 0 | 1 | 2:
            return [b"MULTI"]
        case 3 | 4 | 5:
            return [b"EXEC"]
        case 6:
            return [b"DISCARD"]
        case 7 | 8:
            return [b"WATCH", *(chooser.pick(KEYS) for _ in range(chooser.number(1, 3)))]
    return [b"UNWATCH"]


def _step(chooser: Chooser) -> Step:
    match chooser.number(0, 19):
        case 0:
            return strings.moment(chooser)
        case 1:
            return chooser.pick(([b"MULTI"], [b"RESET"], [b"HELLO", b"3"], [b"HELLO", b"2"]))
        case 2 | 3 | 4 | 5 | 6 | 7:
            return mangled(chooser, _whole(chooser))
    return mangled(chooser, _inner(chooser))


FAMILY = Family(
    name="transactions",
    command=_step,
    questions=(
        [b"DISCARD"],
        *(
            words
            for database in (b"1", b"0")
            for words in (
                [b"SELECT", database],
                *([word, key] for key in dict.fromkeys(KEYS) for word in (b"TYPE", b"PEXPIRETIME", b"GET")),
            )
        ),
    ),
)
