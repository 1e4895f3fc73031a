"""Commands on sorted sets."""

from __future__ import annotations

from tests.node.collections_oracle import Chooser, Family, decimal, integer, mangled
from tests.node.families.hashes import anything, count, name, scan
from tests.node.strategies import Command

KEYS = (b"z", b"z", b"z", b"y", b"", b"\x00\xff\r\n", b"text", b"set")
LEX = b"lex"  # all scores are 0: ranges by bytes mean something there only


def _score(chooser: Chooser) -> bytes:
    match chooser.number(0, 5):
        case 0:
            return decimal(chooser)
        case 1:
            return chooser.pick((b"inf", b"-inf", b"+inf", b"0.1", b"-0", b"1e300", b"3.5", b"1e-7", b"1e21"))
    return b"%d" % chooser.number(-9, 9)


def _pairs(chooser: Chooser) -> Command:
    most = 4 if chooser.number(0, 5) else 150
    return [word for _ in range(chooser.number(1, most)) for word in (_score(chooser), name(chooser))]


def _add(chooser: Chooser, key: bytes) -> Command:
    options: Command = []
    for _ in range(chooser.pick((0, 0, 0, 1, 1, 2))):
        options.append(chooser.pick((b"NX", b"XX", b"gt", b"LT", b"CH", b"INCR", b"incr")))
    if any(option.upper() == b"INCR" for option in options) and chooser.number(0, 9):
        return [b"ZADD", key, *options, _score(chooser), name(chooser)]
    return [b"ZADD", key, *options, *_pairs(chooser)]


def _bound(chooser: Chooser) -> bytes:
    match chooser.number(0, 9):
        case 0:
            return chooser.pick(
                (b"", b"(", b" 1", b"1\x00x", b"((1", b"(nan", b"x", b"[1", b"0x10", b"1e", b"+5")
            )
        case 1 | 2:
            return chooser.pick((b"-inf", b"+inf", b"(-inf", b"(inf", b"infinity"))
        case 3 | 4 | 5:
            return b"(" + _score(chooser)
    return _score(chooser)


def _text_bound(chooser: Chooser) -> bytes:
    match chooser.number(0, 9):
        case 0:
            return chooser.pick((b"", b"a", b"++", b"+\x00", b"-x", b"(", b"[", b"5"))
        case 1 | 2 | 3:
            return chooser.pick((b"-", b"+"))
    return chooser.pick((b"(", b"[")) + name(chooser)


def _limit(chooser: Chooser) -> Command:
    match chooser.number(0, 5):
        case 0 | 1:
            return [b"LIMIT", b"%d" % chooser.number(-1, 12), b"%d" % chooser.number(-2, 12)]
        case 2:
            return [b"limit", integer(chooser), integer(chooser)]
    return []


def _range(chooser: Chooser, key: bytes) -> Command:
    """What stands behind ZRANGE, or behind the target of ZRANGESTORE."""
    way = [b"REV"] if chooser.number(0, 2) == 0 else []
    match chooser.number(0, 5):
        case 0:
            return [key, _bound(chooser), _bound(chooser), b"BYSCORE", *way, *_limit(chooser)]
        case 1:
            return [LEX, _text_bound(chooser), _text_bound(chooser), *way, b"bylex", *_limit(chooser)]
        case 2:
            options = chooser.pick(
                ([b"BYSCORE", b"BYLEX"], [b"REV", b"REV"], [b"LIMIT", b"0"], [b"x"], [b"LIMIT"])
            )
            return [key, integer(chooser), integer(chooser), *options]
    return [key, integer(chooser), integer(chooser), *way, *_limit(chooser)]


def _with_scores(chooser: Chooser) -> Command:
    return chooser.pick(([], [], [b"WITHSCORES"], [b"withscores"]))


def _old_range(chooser: Chooser, key: bytes) -> Command:
    match chooser.number(0, 3):
        case 0:
            return [b"ZREVRANGE", key, integer(chooser), integer(chooser), *_with_scores(chooser)]
        case 1:
            word = chooser.pick((b"ZRANGEBYLEX", b"ZREVRANGEBYLEX"))
            return [word, LEX, _text_bound(chooser), _text_bound(chooser), *_limit(chooser)]
        case _:
            word = chooser.pick((b"ZRANGEBYSCORE", b"ZREVRANGEBYSCORE"))
            return [word, key, _bound(chooser), _bound(chooser), *_with_scores(chooser), *_limit(chooser)]


def _sources(chooser: Chooser) -> Command:
    keys = [chooser.pick((*KEYS, LEX)) for _ in range(chooser.number(1, 3))]
    number = len(keys) if chooser.number(0, 9) else chooser.number(-1, 5)
    return [b"%d" % number if chooser.number(0, 19) else b"x", *keys]


def _merge(chooser: Chooser) -> Command:
    kind = chooser.pick((b"UNION", b"INTER", b"DIFF"))
    sources = _sources(chooser)
    options: Command = []
    if chooser.number(0, 1):
        weights = len(sources) - 1 if chooser.number(0, 9) else chooser.number(0, 4)
        options += [b"WEIGHTS", *(_score(chooser) for _ in range(weights))]
    if chooser.number(0, 1):
        options += [b"AGGREGATE", chooser.pick((b"SUM", b"min", b"MAX", b"MIN", b"avg"))]
    if kind == b"DIFF" and chooser.number(0, 9):
        options = []
    if chooser.number(0, 1):
        return [b"Z" + kind + b"STORE", chooser.pick(KEYS), *sources, *options]
    if kind == b"INTER" and chooser.number(0, 1):
        limit = chooser.pick(([], [], [b"LIMIT", count(chooser)], [b"LIMIT"]))
        return [b"ZINTERCARD", *sources, *limit]
    return [b"Z" + kind, *sources, *options, *_with_scores(chooser)]


def _pop(chooser: Chooser, key: bytes) -> Command:
    word = chooser.pick((b"ZPOPMIN", b"zpopmax"))
    if chooser.number(0, 1):
        return [word, key]
    if chooser.number(0, 1):
        return [word, key, count(chooser)]
    counted = chooser.pick(([], [b"COUNT", count(chooser)], [b"COUNT"], [b"count", b"2", b"COUNT", b"1"]))
    return [b"ZMPOP", *_sources(chooser), chooser.pick((b"MIN", b"MAX", b"min", b"x")), *counted]


def _remove(chooser: Chooser, key: bytes) -> Command:
    match chooser.number(0, 5):
        case 0:
            return [b"ZREMRANGEBYSCORE", key, _bound(chooser), _bound(chooser)]
        case 1:
            return [b"ZREMRANGEBYLEX", LEX, _text_bound(chooser), _text_bound(chooser)]
        case 2:
            return [b"ZREMRANGEBYRANK", key, integer(chooser), integer(chooser)]
    return [b"ZREM", key, *(name(chooser) for _ in range(chooser.number(1, 8)))]


def _command(chooser: Chooser) -> Command:
    key = chooser.pick(KEYS)
    match chooser.number(0, 25):
        case 0 | 1 | 2 | 3 | 4:
            return _add(chooser, key)
        case 5:
            return [
                b"ZADD",
                LEX,
                *(word for _ in range(chooser.number(1, 40)) for word in (b"0", name(chooser))),
            ]
        case 6:
            return [b"ZINCRBY", key, _score(chooser), name(chooser)]
        case 7 | 8:
            return _remove(chooser, key)
        case 9:
            return [b"ZSCORE", key, name(chooser)]
        case 10:
            return [b"ZMSCORE", key, *(name(chooser) for _ in range(chooser.number(1, 5)))]
        case 11:
            return [chooser.pick((b"ZRANK", b"zrevrank")), key, name(chooser)]
        case 12:
            return [b"ZCOUNT", key, _bound(chooser), _bound(chooser)]
        case 13:
            return [b"ZLEXCOUNT", LEX, _text_bound(chooser), _text_bound(chooser)]
        case 14 | 15 | 16:
            return [b"ZRANGE", *_range(chooser, key), *_with_scores(chooser)]
        case 17:
            return [b"ZRANGESTORE", chooser.pick(KEYS), *_range(chooser, key)]
        case 18:
            return _old_range(chooser, key)
        case 19 | 20:
            return _merge(chooser)
        case 21:
            return _pop(chooser, key)
        case 22:
            number = chooser.pick(([], [count(chooser)], [count(chooser), b"WITHSCORES"], [b"1", b"x"]))
            return [b"ZRANDMEMBER", key, *number]
        case 23:
            return scan(chooser, b"ZSCAN", key)
        case 24:
            return [chooser.pick((b"SADD", b"SREM")), b"set", name(chooser), name(chooser)]
    return anything(chooser, KEYS)


_ALL = tuple(dict.fromkeys((*KEYS, LEX)))
FAMILY = Family(
    name="sorted sets",
    command=lambda chooser: mangled(chooser, _command(chooser)),
    questions=(
        *([b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"] for key in _ALL),
        *([word, key] for key in _ALL for word in (b"ZCARD", b"TYPE", b"EXPIRETIME")),
        [b"DBSIZE"],
    ),
    settings=(
        {b"zset-max-listpack-entries": b"128", b"zset-max-listpack-value": b"64"},
        {b"zset-max-listpack-entries": b"4", b"zset-max-listpack-value": b"64"},
        {b"zset-max-listpack-entries": b"1000", b"zset-max-listpack-value": b"6"},
        {b"zset-max-listpack-entries": b"0", b"zset-max-listpack-value": b"64"},
    ),
)
