"""Commands on lists."""

from __future__ import annotations

from tests.node.collections_oracle import Chooser, Family, integer, mangled
from tests.node.strategies import Command

KEYS = (b"l", b"l", b"l", b"l", b"m", b"m", b"", b"\x00\xff\r\n", b"text", b"gone")
VALUES = (
    b"a", b"b", b"c", b"", b"0", b"1", b"-1", b"127", b"128", b"01", b"-0", b"4095", b"4096", b"-4097",
    b"32768", b"8388608", b"2147483648", b"9223372036854775807", b"-9223372036854775808",
    b"9223372036854775808",
    b"\x00\xff\r\n", b"x" * 63, b"x" * 64, b"x" * 130, b"y" * 500, b"y" * 5000, b"z" * 17_000,
)  # fmt: skip
ENDS = (b"LEFT", b"RIGHT", b"left", b"rIGHT")


def value(chooser: Chooser) -> bytes:
    """An element. Few, so that equal ones meet; most are short."""
    return chooser.pick(VALUES[:5]) if chooser.number(0, 1) else chooser.pick(VALUES)


def _values(chooser: Chooser) -> Command:
    """Now and then so many that the list changes its form, or fills several chunks."""
    match chooser.number(0, 11):
        case 10:
            return [value(chooser) for _ in range(chooser.number(10, 60))]
        case 11:
            return [b"%d" % number for number in range(chooser.number(50, 3000))]
    return [value(chooser) for _ in range(chooser.number(1, 4))]


def _position(chooser: Chooser) -> bytes:
    if chooser.number(0, 9) == 9:
        return b"%d" % chooser.number(-3000, 3000)
    return integer(chooser)


def _end(chooser: Chooser) -> bytes:
    return chooser.pick(ENDS) if chooser.number(0, 19) else b"MIDDLE"


def _count(chooser: Chooser) -> Command:
    return [b"COUNT", _position(chooser)] if chooser.number(0, 1) else []


def _keys(chooser: Chooser) -> Command:
    """numkeys and the keys; sometimes they do not fit."""
    keys = [chooser.pick(KEYS) for _ in range(chooser.number(1, 3))]
    number = b"%d" % len(keys) if chooser.number(0, 15) else integer(chooser)
    return [number, *keys]


def _search(chooser: Chooser) -> Command:
    words: Command = []
    for _ in range(chooser.pick((0, 0, 1, 2, 3))):
        words += [chooser.pick((b"RANK", b"COUNT", b"maxlen", b"RANK", b"OTHER")), _position(chooser)]
    return words


def _command(chooser: Chooser) -> Command:
    key = chooser.pick(KEYS)
    match chooser.number(0, 29):
        case 0 | 1 | 2:
            return [b"RPUSH", key, *_values(chooser)]
        case 3 | 4:
            return [b"LPUSH", key, *_values(chooser)]
        case 5:
            return [chooser.pick((b"LPUSHX", b"RPUSHX")), key, *_values(chooser)]
        case 6 | 7:
            return [chooser.pick((b"LPOP", b"RPOP")), key]
        case 8:
            return [chooser.pick((b"LPOP", b"RPOP")), key, _position(chooser)]
        case 9:
            return [b"LLEN", key]
        case 10 | 11:
            return [b"LRANGE", key, _position(chooser), _position(chooser)]
        case 12:
            return [b"LINDEX", key, _position(chooser)]
        case 13 | 14:
            return [b"LSET", key, _position(chooser), value(chooser)]
        case 15 | 16:
            where = chooser.pick((b"BEFORE", b"AFTER", b"after", b"BESIDE"))
            return [b"LINSERT", key, where, value(chooser), value(chooser)]
        case 17 | 18:
            return [b"LREM", key, _position(chooser), value(chooser)]
        case 19:
            return [b"LTRIM", key, _position(chooser), _position(chooser)]
        case 20 | 21:
            return [b"LPOS", key, value(chooser), *_search(chooser)]
        case 22 | 23:
            return [b"LMOVE", key, chooser.pick(KEYS), _end(chooser), _end(chooser)]
        case 24:
            return [b"RPOPLPUSH", key, chooser.pick(KEYS)]
        case 25:
            return [b"LMPOP", *_keys(chooser), _end(chooser), *_count(chooser)]
        case 26:
            return [chooser.pick((b"RENAME", b"COPY")), key, chooser.pick(KEYS)]
        case 27:
            return [chooser.pick((b"DEL", b"TYPE", b"EXISTS", b"UNLINK")), key]
        case 28:
            return [b"EXPIRE", key, b"100000"]
    return [b"SET", b"text", b"no list"]


FAMILY = Family(
    name="lists",
    command=lambda chooser: mangled(chooser, _command(chooser)),
    questions=(
        *([b"LRANGE", key, b"0", b"-1"] for key in sorted(set(KEYS))),
        *([b"LLEN", key] for key in sorted(set(KEYS))),
        *([b"TTL", key] for key in sorted(set(KEYS))),
        [b"DBSIZE"],
    ),
    settings=(
        {},
        {b"list-max-listpack-size": b"3"},
        {b"list-max-listpack-size": b"-1"},
        {b"list-max-listpack-size": b"-5"},
    ),
)
