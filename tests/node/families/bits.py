"""Commands on the bits of strings."""

from __future__ import annotations

from tests.node.collections_oracle import Chooser, Family, integer, mangled
from tests.node.strategies import Command

KEYS = (b"a", b"a", b"b", b"c", b"d", b"", b"list")
DIGITS = (b"0", b"1", b"1", b"0", b"1", b"2", b"-1", b"x", b"9223372036854775808")
ODD_OFFSETS = (
    b"4294967296",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"4294967303",
    b"8192",
    b"",
    b"x",
)
ODD_TYPES = (b"i64", b"u63", b"u64", b"i65", b"i0", b"u-1", b"x8", b"", b"u", b"I8", b"i08", b"u0")


def _value(chooser: Chooser) -> bytes:
    size = chooser.pick((0, 1, 2, 3, 7, 8, 9, 15, 16, 31, 33, 64, 100, 300))
    match chooser.number(0, 2):
        case 0:
            return chooser.pick((b"\x00", b"\xff", b"\x80", b"\x01")) * size
        case 1:
            return (
                b"\x00" * size + chooser.pick((b"\x01", b"\x80", b"\x10")) + b"\x00" * chooser.number(0, 20)
            )
    return bytes(chooser.number(0, 255) for _ in range(min(size, 40)))


def _offset(chooser: Chooser) -> bytes:
    """Near the ends of short values, of words and of what is allowed; never half a gigabyte away."""
    return chooser.pick(ODD_OFFSETS) if chooser.number(0, 9) == 0 else b"%d" % chooser.number(-1, 300)


def _end(chooser: Chooser) -> bytes:
    match chooser.number(0, 5):
        case 0:
            return integer(chooser)
        case 1 | 2:
            return b"%d" % chooser.number(-330, 330)
    return b"%d" % chooser.number(-40, 40)


def _range(chooser: Chooser) -> Command:
    words = [_end(chooser), _end(chooser)][: chooser.pick((0, 1, 2, 2, 2, 2))]
    if len(words) == 2 and chooser.number(0, 1):
        words.append(chooser.pick((b"BIT", b"BYTE", b"bit", b"bYTE", b"BIT", b"bits", b"")))
    return words


def _type(chooser: Chooser) -> bytes:
    if chooser.number(0, 9) == 0:
        return chooser.pick(ODD_TYPES)
    return chooser.pick((b"i", b"u")) + b"%d" % chooser.number(1, 63)


def _place(chooser: Chooser) -> bytes:
    return b"#%d" % chooser.number(0, 20) if chooser.number(0, 3) == 0 else _offset(chooser)


def _steps(chooser: Chooser, *, reading: bool) -> Command:
    words: Command = []
    for _ in range(chooser.number(0, 5)):
        kind = chooser.number(0, 7)
        if kind <= 2 or (reading and kind != 7):
            words += [b"GET", _type(chooser), _place(chooser)]
        elif kind == 3:
            words += [b"SET", _type(chooser), _place(chooser), integer(chooser)]
        elif kind == 4 or kind == 5:
            words += [b"incrby", _type(chooser), _place(chooser), integer(chooser)]
        elif kind == 6:
            words += [b"OVERFLOW", chooser.pick((b"WRAP", b"sat", b"FAIL", b"SAT", b"fail", b"none"))]
        else:
            words += chooser.pick(
                ([b"SET", _type(chooser)], [b"GET"], [b"x"], [b"GET", _type(chooser), b"#"])
            )
    return words


def _command(chooser: Chooser) -> Command:
    key = chooser.pick(KEYS)
    match chooser.number(0, 19):
        case 0 | 1 | 2:
            return [b"SET", key, _value(chooser)]
        case 3 | 4 | 5:
            return [b"SETBIT", key, _offset(chooser), chooser.pick(DIGITS)]
        case 6:
            return [b"GETBIT", key, _offset(chooser)]
        case 7 | 8:
            return [b"BITCOUNT", key, *_range(chooser)]
        case 9 | 10:
            return [b"BITPOS", key, chooser.pick(DIGITS), *_range(chooser)]
        case 11 | 12 | 13:
            word = chooser.pick((b"AND", b"or", b"XOR", b"Not", b"AND", b"XOR"))
            count = 1 if word == b"Not" and chooser.number(0, 5) else chooser.number(1, 4)
            return [b"BITOP", word, key, *(chooser.pick(KEYS) for _ in range(count))]
        case 14 | 15 | 16:
            return [b"BITFIELD", key, *_steps(chooser, reading=False)]
        case 17:
            return [b"BITFIELD_RO", key, *_steps(chooser, reading=chooser.number(0, 5) != 0)]
        case 18:
            return [b"RPUSH", b"list", b"x"]
    return [chooser.pick((b"GET", b"STRLEN", b"DEL", b"INCR")), key]


FAMILY = Family(
    name="bits",
    command=lambda chooser: mangled(chooser, _command(chooser)),
    questions=(*([b"GET", key] for key in dict.fromkeys(KEYS)), [b"DBSIZE"]),
)
