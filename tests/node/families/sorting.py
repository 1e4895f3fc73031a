"""SORT over lists, sets and sorted sets, by themselves and by other keys."""

from __future__ import annotations

from tests.node.collections_oracle import Chooser, Family, integer, mangled
from tests.node.strategies import Command

SOURCES = (b"l", b"s", b"z", b"n", b"text")
WEIGHTS = (b"w_1", b"w_2", b"w_3", b"w_a", b"w_b")


def _element(chooser: Chooser) -> bytes:
    if chooser.number(0, 4):
        return b"%d" % chooser.number(0, 40)
    return chooser.pick((b"a", b"b", b"1.5", b"-3", b"1e3", b"0x10", b" 7", b"", b"inf", b"nan", b"\xff"))


def _pattern(chooser: Chooser) -> bytes:
    return chooser.pick(
        (b"w_*", b"h_*->f", b"h_*->", b"nosort", b"*", b"#", b"w_*->f", b"w_*_*", b"h_*->f->g")
    )


def _options(chooser: Chooser) -> Command:
    words: Command = []
    for _ in range(chooser.pick((0, 1, 1, 2, 3))):
        match chooser.number(0, 9):
            case 0 | 1:
                words += [b"LIMIT", integer(chooser), integer(chooser)]
            case 2 | 3:
                words.append(chooser.pick((b"ASC", b"DESC", b"desc")))
            case 4:
                words.append(b"ALPHA")
            case 5 | 6:
                # With ALPHA elements of equal weight come in any order: not compared.
                words += [b"BY", _pattern(chooser)]
            case 7 | 8:
                words += [b"GET", _pattern(chooser)]
            case _:
                words += [b"STORE", chooser.pick((b"l", b"d"))]
    return words


def _command(chooser: Chooser) -> Command:
    match chooser.number(0, 12):
        case 0 | 1:
            return [b"RPUSH", b"l", *(_element(chooser) for _ in range(chooser.number(1, 6)))]
        case 2:
            return [b"SADD", b"s", *(b"%d" % chooser.number(0, 99) for _ in range(chooser.number(1, 6)))]
        case 3:
            return [b"ZADD", b"z", integer(chooser), _element(chooser)]
        case 4:
            return [b"SET", chooser.pick(WEIGHTS), b"%d" % chooser.number(0, 9)]
        case 5:
            return [b"HSET", chooser.pick((b"h_1", b"h_2", b"h_a")), b"f", b"%d" % chooser.number(0, 9)]
        case 6:
            return chooser.pick(
                ([b"DEL", b"l"], [b"DEL", b"d"], [b"SET", b"text", b"x"], [b"LRANGE", b"d", b"0", b"-1"])
            )
        case _:
            options = _options(chooser)
            if b"ALPHA" in options and b"BY" in options:
                options = [word for word in options if word != b"ALPHA"]
            source = chooser.pick(SOURCES)
            if source == b"s":  # the order of a set that is not sorted is each server's own
                options = [b"w_*" if word in (b"nosort", b"#") else word for word in options]
            return [chooser.pick((b"SORT", b"SORT", b"sort_ro")), source, *options]


def _without_zeros(command: Command) -> Command:
    """Redis compares up to a zero byte; what is equal up to there comes in any order."""
    return [word.replace(b"\x00", b"0") for word in command]


FAMILY = Family(
    name="sorting",
    command=lambda chooser: _without_zeros(mangled(chooser, _command(chooser))),
    questions=([b"LRANGE", b"d", b"0", b"-1"], [b"LRANGE", b"l", b"0", b"-1"], [b"DBSIZE"]),
    settings=({b"set-max-intset-entries": b"512"},),
)
