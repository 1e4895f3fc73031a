"""Commands on streams. Ids are given: those that a server chooses are its own clock's."""

from __future__ import annotations

from tests.node.collections_oracle import Chooser, Family, integer, mangled
from tests.node.strategies import Command

KEYS = (b"s",) * 12 + (b"t", b"t", b"t", b"", b"\x00\xff\r\n", b"text", b"gone")
GROUPS = (b"g",) * 12 + (b"h", b"", b"nobody")
CONSUMERS = (b"c", b"d", b"e", b"", b"\xff")
ODD_IDS = (
    b"-", b"+", b"$", b">", b"*", b"", b"x", b"1-x", b"1-", b"-1", b"01-01", b"18446744073709551615-1",
    b"18446744073709551616-1", b"1-18446744073709551616", b"1--1", b"0-0", b"0-1", b"1-*", b"(1-1", b"1-1-1",
    b"9" * 140,
)  # fmt: skip
TEXTS = (b"a", b"b", b"", b"1", b"-1", b"100000", b"x" * 63, b"x" * 64, b"y" * 200, b"\x00\xff")


def _read_count(chooser: Chooser) -> bytes:
    """But the largest: redis-server counts on below zero from 2^63 - 1, and its own replicas refuse that."""
    drawn = integer(chooser)
    return b"7" if drawn in (b"9223372036854775807", b"9223372036854775806") else drawn


def _id(chooser: Chooser) -> bytes:
    """Near to others, so that they meet; in a small part of cases none at all."""
    match chooser.number(0, 11):
        case 0:
            return chooser.pick(ODD_IDS)
        case 1 | 2 | 3:
            return b"%d" % chooser.number(0, 60)
    return b"%d-%d" % (chooser.number(0, 60), chooser.number(0, 3))


def _new_id(chooser: Chooser) -> bytes:
    match chooser.number(0, 9):
        case 0:
            return chooser.pick(tuple(word for word in ODD_IDS if word != b"*"))
        case 1 | 2 | 3:
            return b"%d-*" % chooser.number(1, 60)
        case 4:
            return b"%d-%d" % (chooser.number(60, 1 << 50), chooser.number(0, 1 << 40))
    return b"%d-%d" % (chooser.number(1, 60), chooser.number(0, 200))


def _end(chooser: Chooser, open_end: bytes) -> bytes:
    match chooser.number(0, 3):
        case 0:
            return open_end
        case 1:
            return b"(" + _id(chooser)
    return _id(chooser)


def _fields(chooser: Chooser) -> Command:
    if chooser.number(0, 2):  # mostly the same fields in all entries
        return [b"a", chooser.pick(TEXTS), b"bb", chooser.pick(TEXTS)]
    return [chooser.pick(TEXTS) for _ in range(2 * chooser.number(1, 3))]


def _trim(chooser: Chooser) -> Command:
    words: Command = [chooser.pick((b"MAXLEN", b"maxlen", b"MINID"))]
    if chooser.number(0, 1):
        words.append(chooser.pick((b"~", b"=", b"~")))
    limit = b"%d" % chooser.number(0, 40) if chooser.number(0, 9) else integer(chooser)
    words.append(_id(chooser) if words[0] == b"MINID" else limit)
    if chooser.number(0, 4) == 0:
        words += [b"LIMIT", integer(chooser)]
    return words


def _count(chooser: Chooser) -> Command:
    return [b"COUNT", integer(chooser)] if chooser.number(0, 2) == 0 else []


def _streams(chooser: Chooser, special: bytes) -> Command:
    usual = KEYS[:15] if chooser.number(0, 9) else KEYS
    keys = [chooser.pick(usual) for _ in range(chooser.pick((1, 1, 1, 2)))]
    ids = [special if chooser.number(0, 1) else _id(chooser) for _ in keys]
    return [b"STREAMS", *keys, *ids]


def _add(chooser: Chooser, key: bytes) -> Command:
    words: Command = [b"XADD", key]
    if chooser.number(0, 9) == 0:
        words.append(b"NOMKSTREAM")
    if chooser.number(0, 3) == 0:
        words += _trim(chooser)
    return [*words, _new_id(chooser), *_fields(chooser)]


def _claim(chooser: Chooser) -> Command:
    words: Command = []
    for _ in range(chooser.pick((0, 0, 1, 1, 2, 3))):
        match chooser.number(0, 6):
            case 0:
                words += [b"IDLE", chooser.pick((b"0", b"100000", b"-5", b"x"))]
            case 1:
                words += [b"TIME", chooser.pick((b"0", b"1700000000000", b"-5", b"99999999999999", b"x"))]
            case 2:
                words += [b"RETRYCOUNT", chooser.pick((b"0", b"3", b"1000000", b"-1", b"x"))]
            case 3:
                words += [b"LASTID", _id(chooser)]
            case 4:
                words += [b"JUSTID"]
            case 5:
                words += [b"OTHER"] if chooser.number(0, 3) == 0 else [b"force"]
            case _:
                words += [b"FORCE"]
    return words


def _group_command(chooser: Chooser, key: bytes) -> Command:
    group, consumer = chooser.pick(GROUPS), chooser.pick(CONSUMERS)
    idle = chooser.pick((b"0", b"0", b"50000", b"-1", b"x"))
    match chooser.number(0, 17):
        case 0 | 1:
            made = [[b"MKSTREAM"], [b"MKSTREAM"], [b"ENTRIESREAD", _read_count(chooser)], []]
            return [
                b"XGROUP",
                b"CREATE",
                key,
                group,
                chooser.pick((b"0", b"$", _id(chooser))),
                *chooser.pick(made),
            ]
        case 2:
            more = [b"ENTRIESREAD", _read_count(chooser)] if chooser.number(0, 2) == 0 else []
            return [b"XGROUP", b"SETID", key, group, chooser.pick((b"0", b"$", _id(chooser))), *more]
        case 3:
            return [b"XGROUP", chooser.pick((b"CREATECONSUMER", b"DELCONSUMER")), key, group, consumer]
        case 4 if chooser.number(0, 3) == 0:
            return [b"XGROUP", chooser.pick((b"DESTROY", b"NOTHING")), key, group]
        case 4 | 5 | 6 | 7 | 8:
            more = [b"NOACK"] if chooser.number(0, 5) == 0 else []
            more += [*_count(chooser), *_streams(chooser, b">")]
            return [b"XREADGROUP", b"GROUP", group, consumer, *more]
        case 9 | 10:
            return [b"XACK", key, group, *(_id(chooser) for _ in range(chooser.number(1, 3)))]
        case 11:
            return [b"XPENDING", key, group]
        case 12:
            words = [b"IDLE", idle] if chooser.number(0, 2) == 0 else []
            words += [_end(chooser, b"-"), _end(chooser, b"+"), integer(chooser)]
            return [b"XPENDING", key, group, *words, *([consumer] if chooser.number(0, 2) == 0 else [])]
        case 13 | 14:
            ids = [_id(chooser) for _ in range(chooser.number(1, 4))]
            return [b"XCLAIM", key, group, consumer, idle, *ids, *_claim(chooser)]
        case 15:
            count = [b"COUNT", b"%d" % chooser.number(-1, 5)] if chooser.number(0, 1) else []
            more = [b"JUSTID"] if chooser.number(0, 2) == 0 else []
            return [b"XAUTOCLAIM", key, group, consumer, idle, _end(chooser, b"-"), *count, *more]
        case 16:
            return [b"XINFO", b"CONSUMERS", key, group]
    return [b"XINFO", chooser.pick((b"GROUPS", b"STREAM")), key]


def _command(chooser: Chooser) -> Command:
    key = chooser.pick(KEYS)
    match chooser.number(0, 29):
        case 0 | 1 | 2 | 3 | 4 | 5:
            return _add(chooser, key)
        case 6:
            return [b"XLEN", key]
        case 7 | 8:
            return [b"XRANGE", key, _end(chooser, b"-"), _end(chooser, b"+"), *_count(chooser)]
        case 9 | 10:
            return [b"XREVRANGE", key, _end(chooser, b"+"), _end(chooser, b"-"), *_count(chooser)]
        case 11 | 12:
            # The highest id stays: XSETID below what was deleted is another thing that 7.0 took.
            ids = (_id(chooser) for _ in range(chooser.number(1, 3)))
            return [b"XDEL", key, *(b"1-1" if word == ODD_IDS[11] else word for word in ids)]
        case 13:
            return [b"XTRIM", key, *_trim(chooser)]
        case 14:
            return [b"XREAD", *_count(chooser), *_streams(chooser, b"$")]
        case 15:
            more = [b"ENTRIESADDED", integer(chooser)] if chooser.number(0, 2) == 0 else []
            more += [b"MAXDELETEDID", _id(chooser)] if chooser.number(0, 3) == 0 else []
            # Lower ones are refused by Redis 7.2 where 7.0 took them.
            return [b"XSETID", key, b"%d-0" % chooser.number(61, 100), *more]
        case 16:
            return [b"XINFO", b"STREAM", key, b"FULL", *_count(chooser)]
        case 17:
            return [b"COPY", key, chooser.pick(KEYS), *([b"REPLACE"] if chooser.number(0, 5) == 0 else [])]
        case 18:
            if chooser.number(0, 4) == 0:
                return [b"RENAME", key, chooser.pick(KEYS)]
            return [chooser.pick((b"DEL", b"TYPE", b"EXISTS", b"TYPE")), key]
        case 19:
            return [b"SET", b"text", b"no stream"]
    return _group_command(chooser, key)


FAMILY = Family(
    name="streams",
    command=lambda chooser: mangled(chooser, _command(chooser)),
    questions=(
        *([b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"] for key in sorted(set(KEYS))),
        *([b"XREVRANGE", key, b"+", b"-"] for key in sorted(set(KEYS))),
        *([b"XPENDING", key, group] for key in (b"s", b"t") for group in sorted(set(GROUPS))),
        [b"DBSIZE"],
    ),
    settings=(
        {b"stream-node-max-entries": b"100", b"stream-node-max-bytes": b"4096"},
        {b"stream-node-max-entries": b"3", b"stream-node-max-bytes": b"4096"},
        {b"stream-node-max-entries": b"0", b"stream-node-max-bytes": b"0"},
        {b"stream-node-max-entries": b"0", b"stream-node-max-bytes": b"300"},
    ),
)
