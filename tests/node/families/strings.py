"""Commands on strings, with lives that end in the middle of a sequence."""

from __future__ import annotations

from tests.node.collections_oracle import Chooser, Family, Step, decimal, integer, mangled
from tests.node.strategies import Command

KEYS = (b"a", b"a", b"b", b"c", b"", b"\x00\xff\r\n", b"{t}x", b"list")
TEXTS = (
    b"", b"hello", b"Hello, World", b"x" * 44, b"x" * 45, b"\x00\x01\xfe\xff", b"\r\n", b"0", b"1", b"-1",
    b"007",
    b"ohmytext", b"mynewtext", b"y" * 2000,
)  # fmt: skip
SHORT_MS = (1, 5, 10, 50, 999, 1000, 1001, 2500)  # lives that a sequence outlasts
LONG_S = (100, 5000, 1_000_000)
ODD_TIMES = (
    b"0", b"-1", b"-100", b"9223372036854775", b"9223372036854776", b"9223372036854775807", b"x", b"", b"1.5",
    b"-9223372036854775808", b"9223372036854775808", b"9223370241606727", b"9223370241606727000",
)  # fmt: skip
NOW_S = 1_700_000_000  # where the clock begins; sequences move it on, so moments near it are past and to come


def value(chooser: Chooser) -> bytes:
    """What a string may hold: text, numbers, and what looks like them."""
    match chooser.number(0, 5):
        case 0:
            return integer(chooser)
        case 1:
            return decimal(chooser)
        case 2:
            return b"%d" % chooser.number(-300, 300)
    return chooser.pick(TEXTS)


def seconds(chooser: Chooser) -> bytes:
    """How long, in seconds: soon over, long, or wrong."""
    match chooser.number(0, 5):
        case 0:
            return chooser.pick(ODD_TIMES)
        case 1 | 2:
            return b"%d" % chooser.pick(LONG_S)
    return b"%d" % chooser.number(1, 4)


def milliseconds(chooser: Chooser) -> bytes:
    """How long, in milliseconds."""
    match chooser.number(0, 5):
        case 0:
            return chooser.pick(ODD_TIMES)
        case 1 | 2:
            return b"%d" % (1000 * chooser.pick(LONG_S))
    return b"%d" % chooser.pick(SHORT_MS)


def lifetime(chooser: Chooser) -> Command:
    """How long a value lives, as SET and GETEX take it."""
    match chooser.number(0, 3):
        case 0:
            return [b"EX", seconds(chooser)]
        case 1:
            return [b"px", milliseconds(chooser)]
        case 2:
            return [b"EXAT", at_seconds(chooser)]
    return [b"PXAT", at_milliseconds(chooser)]


def at_seconds(chooser: Chooser) -> bytes:
    """A moment: past, far away, or wrong. One near the clock would depend on sequences before."""
    if chooser.number(0, 5) == 0:
        return chooser.pick(ODD_TIMES)
    return chooser.pick((b"4102444800", b"9999999999", b"1", b"%d" % (NOW_S - 5)))


def at_milliseconds(chooser: Chooser) -> bytes:
    """As at_seconds, in milliseconds."""
    if chooser.number(0, 5) == 0:
        return chooser.pick(ODD_TIMES)
    return chooser.pick((b"4102444800000", b"9999999999999", b"1", b"%d" % (NOW_S * 1000 - 5)))


def moment(chooser: Chooser) -> int:
    """How many milliseconds pass."""
    return chooser.pick((1, 4, 9, 50, 998, 1000, 3000, 60_000))


def _set(chooser: Chooser, key: bytes) -> Command:
    words = [b"SET", key, value(chooser)]
    for _ in range(chooser.pick((0, 0, 1, 1, 2, 3))):
        match chooser.number(0, 5):
            case 0 | 1 | 2:
                words += lifetime(chooser)
            case 3:
                words.append(chooser.pick((b"NX", b"xx")))
            case 4:
                words.append(chooser.pick((b"GET", b"KEEPTTL")))
            case _:
                words.append(chooser.pick((b"GET", b"XX", b"x", b"EX")))
    return words


def _offset(chooser: Chooser) -> bytes:
    """Never one that takes half a gigabyte."""
    match chooser.number(0, 9):
        case 0:
            return chooser.pick(
                (b"536870912", b"9223372036854775807", b"-9223372036854775808", b"x", b"", b"1.0")
            )
    return b"%d" % chooser.number(-3, 60)


def _command(chooser: Chooser) -> Command:
    key = chooser.pick(KEYS)
    match chooser.number(0, 29):
        case 0 | 1 | 2 | 3 | 4:
            return _set(chooser, key)
        case 5 | 6 | 7:
            return [b"GET", key]
        case 8:
            return [b"SETNX", key, value(chooser)]
        case 9:
            return [b"SETEX", key, seconds(chooser), value(chooser)]
        case 10:
            return [b"psetex", key, milliseconds(chooser), value(chooser)]
        case 11:
            return [b"GETSET", key, value(chooser)]
        case 12:
            return [b"GETDEL", key]
        case 13 | 14:
            more = lifetime(chooser) if chooser.number(0, 2) else [b"PERSIST"]
            return [b"GETEX", key, *chooser.pick(([], more, more, [*more, b"PERSIST"]))]
        case 15:
            return [b"MGET", *(chooser.pick(KEYS) for _ in range(chooser.number(1, 5)))]
        case 16:
            pairs = [
                word for _ in range(chooser.number(1, 4)) for word in (chooser.pick(KEYS), value(chooser))
            ]
            return [chooser.pick((b"MSET", b"msetnx")), *pairs]
        case 17:
            return [b"APPEND", key, value(chooser)]
        case 18:
            return [b"STRLEN", key]
        case 19:
            return [chooser.pick((b"GETRANGE", b"SUBSTR")), key, integer(chooser), integer(chooser)]
        case 20:
            return [b"SETRANGE", key, _offset(chooser), value(chooser)]
        case 21:
            return [chooser.pick((b"INCR", b"DECR")), key]
        case 22 | 23:
            return [chooser.pick((b"INCRBY", b"DECRBY")), key, integer(chooser)]
        case 24:
            return [b"INCRBYFLOAT", key, decimal(chooser)]
        case 25:
            words = [b"LCS", key, chooser.pick(KEYS)]
            for _ in range(chooser.number(0, 3)):
                words += chooser.pick(
                    ([b"LEN"], [b"IDX"], [b"WITHMATCHLEN"], [b"MINMATCHLEN", integer(chooser)])
                )
            return words
        case 26:
            return [chooser.pick((b"TTL", b"PTTL", b"PEXPIRETIME", b"PERSIST")), key]
        case 27:
            return [b"RPUSH", b"list", b"x"] if chooser.number(0, 2) else [b"DEL", key]
    return [chooser.pick((b"EXISTS", b"TYPE", b"GET", b"PTTL")), key]


def _step(chooser: Chooser) -> Step:
    return moment(chooser) if chooser.number(0, 9) == 0 else mangled(chooser, _command(chooser))


_ALL = tuple(dict.fromkeys(KEYS))
FAMILY = Family(
    name="strings",
    command=_step,
    questions=(*([word, key] for key in _ALL for word in (b"GET", b"PTTL", b"TYPE")), [b"DBSIZE"]),
)
