"""What can be done to keys of any type, across databases, while time passes.

DBSIZE is not asked: when an expired key that nobody named is taken away is each server's own affair.
"""

from __future__ import annotations

from tests.node.collections_oracle import Chooser, Family, Step, integer, mangled
from tests.node.families import strings
from tests.node.strategies import Command

KEYS = (b"a", b"a", b"b", b"c", b"l", b"h", b"s", b"z", b"x", b"", b"{t}x", b"\x00\xff\r\n")
DATABASES = (b"0", b"1", b"1", b"2", b"15", b"16", b"-1", b"x", b"99999999999999999999", b"4294967296")
PATTERNS = (
    b"*", b"a", b"?", b"{t}*", b"[ab]", b"[^a]", b"\\a", b"", b"*\x00*", b"[a-c]", b"**", b"[", b"a*",
    b"nothing",
    b"[c-a]", b"[a", b"\\", b"??*",
)  # fmt: skip


def _make(chooser: Chooser, key: bytes) -> Command:
    word = b"%d" % chooser.number(0, 9)
    return chooser.pick(
        (
            [b"SET", key, word], [b"SET", key, b"text"], [b"RPUSH", key, word, b"m"], [b"SADD", key, word],
            [b"HSET", key, word, word], [b"ZADD", key, word, b"m" + word], [b"XADD", key, b"*", b"f", word],
            [b"XADD", key, b"*", b"f", b"g"], [b"PFADD", key, word], [b"SETBIT", key, word, b"1"],
        )
    )  # fmt: skip


def _expire(chooser: Chooser, key: bytes) -> Command:
    match chooser.number(0, 3):
        case 0:
            words = [b"EXPIRE", key, strings.seconds(chooser)]
        case 1:
            words = [b"pexpire", key, strings.milliseconds(chooser)]
        case 2:
            words = [b"EXPIREAT", key, strings.at_seconds(chooser)]
        case _:
            words = [b"PEXPIREAT", key, strings.at_milliseconds(chooser)]
    for _ in range(chooser.pick((0, 0, 0, 1, 1, 2))):
        words.append(chooser.pick((b"NX", b"XX", b"gt", b"LT", b"no")))
    return words


def _command(chooser: Chooser) -> Command:
    key = chooser.pick(KEYS)
    match chooser.number(0, 31):
        case 0 | 1 | 2 | 3 | 4 | 5:
            return _make(chooser, key)
        case 6 | 7 | 8 | 9:
            return _expire(chooser, key)
        case 10 | 11:
            return [chooser.pick((b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME", b"PERSIST")), key]
        case 12:
            word = chooser.pick((b"DEL", b"UNLINK", b"EXISTS", b"TOUCH", b"exists"))
            return [word, *(chooser.pick(KEYS) for _ in range(chooser.number(1, 4)))]
        case 13 | 14:
            return [b"TYPE", key]
        case 15 | 16:
            return [chooser.pick((b"RENAME", b"RENAMENX")), key, chooser.pick(KEYS)]
        case 17 | 18:
            words = [b"COPY", key, chooser.pick(KEYS)]
            for _ in range(chooser.pick((0, 1, 1, 2))):
                words += chooser.pick(([b"REPLACE"], [b"DB", chooser.pick(DATABASES)]))
            return words
        case 19:
            return [b"MOVE", key, chooser.pick(DATABASES)]
        case 20:
            return [b"SWAPDB", chooser.pick(DATABASES), chooser.pick(DATABASES)]
        case 21:
            return [b"SELECT", chooser.pick(DATABASES)]
        case 22:
            return [b"KEYS", chooser.pick(PATTERNS)]
        case 23:
            return chooser.pick(([b"RANDOMKEY"], [b"TIME"]))
        case 24:
            flush = chooser.pick(([], [b"ASYNC"], [b"SYNC"], [b"OTHER"], [b"SYNC", b"ASYNC"]))
            return (
                [chooser.pick((b"FLUSHDB", b"FLUSHDB", b"FLUSHALL")), *flush]
                if chooser.number(0, 3)
                else [b"PING"]
            )
        case 25:
            return [b"OBJECT", chooser.pick((b"ENCODING", b"refcount", b"IDLETIME", b"nothing")), key]
        case 26 | 27:
            options: Command = []
            for _ in range(chooser.number(0, 2)):
                options += chooser.pick(
                    ([b"MATCH", chooser.pick(PATTERNS)], [b"COUNT", integer(chooser)], [b"TYPE", b"string"],
                     [b"TYPE", b"nothing"], [b"COUNT", b"1000"])
                )  # fmt: skip
            return [b"SCAN", chooser.pick((b"0", b"0", b"0", b"x", b"")), *options]
        case 28:
            return [b"GETEX", key, *strings.lifetime(chooser)]
    return chooser.pick(
        (
            [b"GET", key], [b"LLEN", key], [b"HLEN", key], [b"SCARD", key], [b"ZCARD", key], [b"XLEN", key],
            [b"APPEND", key, b"x"], [b"LPOP", key], [b"HDEL", key, b"1"], [b"SREM", key, b"1"],
        )
    )  # fmt: skip


def _step(chooser: Chooser) -> Step:
    return strings.moment(chooser) if chooser.number(0, 9) == 0 else mangled(chooser, _command(chooser))


_ALL = tuple(dict.fromkeys(KEYS))
FAMILY = Family(
    name="keys",
    command=_step,
    questions=(
        *(
            words
            for database in (b"0", b"1", b"2")
            for words in (
                [b"SELECT", database],
                *([word, key] for key in _ALL for word in (b"TYPE", b"PEXPIRETIME")),
                [b"KEYS", b"*"],
            )
        ),
    ),
)
