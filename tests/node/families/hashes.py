"""Commands on hashes."""

from __future__ import annotations

from tests.node.collections_oracle import Chooser, Family, decimal, integer, mangled
from tests.node.strategies import Command

KEYS = (b"h", b"h", b"h", b"g", b"", b"\x00\xff\r\n", b"text")
FIELDS = (
    b"a", b"b", b"c", b"", b"0", b"1", b"-1", b"127", b"128", b"01", b"-0", b"4095", b"4096", b"-4097",
    b"32768", b"8388608", b"2147483648", b"9223372036854775807", b"-9223372036854775808",
    b"9223372036854775808",
    b"\x00\xff\r\n", b"x" * 63, b"x" * 64, b"x" * 65, b"y" * 5000,
)  # fmt: skip


def name(chooser: Chooser) -> bytes:
    """A field, a value or a member."""
    if chooser.number(0, 2) == 0:
        return b"%d" % chooser.number(0, 300)
    return chooser.pick(FIELDS)


def _names(chooser: Chooser, most: int = 4) -> Command:
    return [name(chooser) for _ in range(chooser.number(1, most))]


def _pairs(chooser: Chooser) -> Command:
    most = 3 if chooser.number(0, 5) else 150
    return [word for _ in range(chooser.number(1, most)) for word in (name(chooser), name(chooser))]


def _options(chooser: Chooser) -> Command:
    words: Command = []
    for _ in range(chooser.pick((0, 0, 1, 2))):
        match chooser.number(0, 3):
            case 0:
                words += [b"MATCH", chooser.pick((b"*", b"x*", b"[0-9]", b"a", b""))]
            case 1:
                words += [b"count", chooser.pick((b"1", b"100", b"1000", b"0", b"-1", b"x"))]
            case 2:
                words += [chooser.pick((b"COUNT", b"NOVALUES", b"TYPE")), integer(chooser)]
            case _:
                words += [b"MATCH"]
    return words


def scan(chooser: Chooser, word: bytes, key: bytes) -> Command:
    """HSCAN, SSCAN or ZSCAN: from the beginning, for cursors are each server's own."""
    cursor = chooser.pick((b"0", b"0", b"0", b"", b"-1x", b"x", b"00", b"18446744073709551616"))
    return [word, key, cursor, *_options(chooser)]


def _command(chooser: Chooser) -> Command:
    key = chooser.pick(KEYS)
    match chooser.number(0, 23):
        case 0 | 1 | 2:
            return [b"HSET", key, *_pairs(chooser)]
        case 3:
            return [b"hmset", key, *_pairs(chooser)]
        case 4:
            return [b"HSETNX", key, name(chooser), name(chooser)]
        case 5:
            return [b"HGET", key, name(chooser)]
        case 6:
            return [b"HMGET", key, *_names(chooser)]
        case 7:
            return [b"HGETALL", key]
        case 8:
            return [chooser.pick((b"HKEYS", b"HVALS", b"hlen")), key]
        case 9:
            return [chooser.pick((b"HEXISTS", b"HSTRLEN")), key, name(chooser)]
        case 10 | 11:
            return [b"HDEL", key, *_names(chooser, 8)]
        case 12 | 13:
            return [b"HINCRBY", key, name(chooser), integer(chooser)]
        case 14:
            return [b"HINCRBYFLOAT", key, name(chooser), decimal(chooser)]
        case 15:
            return [b"HSET", key, name(chooser), chooser.pick((integer, decimal))(chooser)]
        case 16:
            return [b"HRANDFIELD", key]
        case 17:
            return [b"HRANDFIELD", key, count(chooser)]
        case 18:
            return [b"HRANDFIELD", key, count(chooser), chooser.pick((b"WITHVALUES", b"withvalues", b"x"))]
        case 19:
            return scan(chooser, b"HSCAN", key)
        case 20:
            return anything(chooser, KEYS)
        case 21:
            return [b"HDEL", key, *(b"%d" % number for number in range(chooser.number(0, 300)))]
        case _:
            return [b"HSET", key, name(chooser), name(chooser)]


def count(chooser: Chooser) -> bytes:
    """How many members of a collection: nothing that makes a server answer for hours."""
    return chooser.pick(
        (b"1", b"2", b"5", b"0", b"-1", b"-5", b"100", b"-300", b"1000000", b"9223372036854775807", b"x", b"",
         b"-9223372036854775808", b"9223372036854775808", b"1.5")
    )  # fmt: skip


def anything(chooser: Chooser, keys: tuple[bytes, ...]) -> Command:
    """What happens to keys of any type."""
    key = chooser.pick(keys)
    match chooser.number(0, 10):
        case 0:
            return [b"DEL", key]
        case 1:
            return [b"RENAME", key, chooser.pick(keys)]
        case 2:
            return [b"COPY", key, chooser.pick(keys), b"REPLACE"]
        case 3:
            return [b"TYPE", key]
        case 4:
            return [b"PEXPIRE", key, chooser.pick((b"100000", b"123456789", b"-1"))]
        case 5:
            return [b"PERSIST", key]
        case 6:
            return [b"SET", chooser.pick((key, b"text")), b"hello"]
        case 7:
            return [b"UNLINK", key]
        case 8:
            return [b"EXPIRETIME", key]
        case 9:
            return [b"MOVE", key, b"1"]
        case _:
            return [b"RENAMENX", key, chooser.pick(keys)]


_ALL = tuple(dict.fromkeys(KEYS))
FAMILY = Family(
    name="hashes",
    command=lambda chooser: mangled(chooser, _command(chooser)),
    questions=(
        *([word, key] for key in _ALL for word in (b"HGETALL", b"HLEN", b"TYPE", b"EXPIRETIME")),
        [b"DBSIZE"],
    ),
    settings=(
        {b"hash-max-listpack-entries": b"128", b"hash-max-listpack-value": b"64"},
        {b"hash-max-listpack-entries": b"4", b"hash-max-listpack-value": b"64"},
        {b"hash-max-listpack-entries": b"512", b"hash-max-listpack-value": b"6"},
        {b"hash-max-listpack-entries": b"0", b"hash-max-listpack-value": b"64"},
    ),
)
