"""DUMP and RESTORE: what ours dumps goes on in the other server, and is read, changed and dumped again there.

How a value is packed is each server's own affair, so payloads are not compared: where ours dumps a key, the
other server is told to restore that payload over its own copy. From then on every answer about that key tells
whether it took the value as we meant it.
"""

from __future__ import annotations

from node.engine.reply import Reply, Status
from tests.node.collections_oracle import Chooser, Family, Step, mangled
from tests.node.families import strings
from tests.node.families.hashes import FIELDS
from tests.node.strategies import Command

KEYS = (b"str", b"hash", b"set", b"zset", b"list", b"stream", b"none")
BAD = (
    b"", b"x", b"\x00\x01a\x09\x00", b"\x07" * 20, b"\x00\x01a\x09\x00\xd5\xdc\xa3\xf0\xf5\x86\xa5\x25",
    b"\x00\x01a\xff\xff" + b"\x00" * 8,
)  # fmt: skip


def _word(chooser: Chooser) -> bytes:
    match chooser.number(0, 4):
        case 0:
            return chooser.pick(FIELDS)
        case 1:
            return chooser.pick((b"ab" * 40, b"z" * 200, b"\x00" * 30, b"1.5", b"-70000"))
    return b"%d" % chooser.number(-70000, 70000)


def _words(chooser: Chooser) -> Command:
    return [_word(chooser) for _ in range(chooser.pick((1, 1, 2, 3, 5, 20, 150)))]


def _make(chooser: Chooser) -> Command:
    words = _words(chooser)
    match chooser.number(0, 7):
        case 0:
            return [b"SET", b"str", words[0]]
        case 1:
            return [b"HSET", b"hash", *(word for one in words for word in (one, _word(chooser)))]
        case 2:
            return [b"SADD", b"set", *words]
        case 3:
            return [b"SADD", b"set", *(b"%d" % chooser.number(-(1 << 40), 1 << 40) for _ in words)]
        case 4:
            scores = (chooser.pick((b"1", b"-2.5", b"inf", b"-inf", b"1e30", b"0", b"0.1")) for _ in words)
            return [
                b"ZADD",
                b"zset",
                *(word for score, one in zip(scores, words, strict=True) for word in (score, one)),
            ]
        case 5:
            return [b"RPUSH", b"list", *words]
    return [b"XADD", b"stream", b"*", *(word for one in words[:20] for word in (one, _word(chooser)))]


def _change(chooser: Chooser) -> Command:
    word = _word(chooser)
    return chooser.pick(
        (
            [b"APPEND", b"str", word], [b"HDEL", b"hash", word], [b"HSET", b"hash", word, word],
            [b"SREM", b"set", word], [b"ZADD", b"zset", b"3", word], [b"ZPOPMIN", b"zset"],
            [b"LPOP", b"list"],
            [b"LSET", b"list", b"0", word], [b"LREM", b"list", b"1", word],
            [b"XTRIM", b"stream", b"MAXLEN", b"3"],
            [b"XDEL", b"stream", b"1700000000000-0"], [b"XGROUP", b"CREATE", b"stream", b"g", b"0"],
            [b"XGROUP", b"CREATE", b"stream", b"h", b"$", b"MKSTREAM"],
            [b"XREADGROUP", b"GROUP", b"g", b"me", b"COUNT", b"2", b"STREAMS", b"stream", b">"],
            [b"XREADGROUP", b"GROUP", b"h", b"you", b"STREAMS", b"stream", b">"],
            [b"XACK", b"stream", b"g", b"1700000000000-0"],
            [b"XGROUP", b"CREATECONSUMER", b"stream", b"g", b"idle"],
        )
    )  # fmt: skip


_READS: tuple[Command, ...] = (
    [b"GET", b"str"],
    [b"HGETALL", b"hash"],
    [b"SMEMBERS", b"set"],
    [b"ZRANGE", b"zset", b"0", b"-1", b"WITHSCORES"],
    [b"LRANGE", b"list", b"0", b"-1"],
    [b"XRANGE", b"stream", b"-", b"+"],
    [b"XINFO", b"STREAM", b"stream", b"FULL", b"COUNT", b"0"],
    [b"XPENDING", b"stream", b"g"],
)


def _step(chooser: Chooser) -> Step:
    match chooser.number(0, 11):
        case 0 | 1 | 2 | 3:
            return mangled(chooser, _make(chooser))
        case 4 | 5:
            return _change(chooser)
        case 6 | 7 | 8:
            return [b"DUMP", chooser.pick(KEYS)]
        case 9:
            return chooser.pick((1, 10, 1000))
        case 10:
            words = [b"RESTORE", chooser.pick(KEYS), strings.milliseconds(chooser), chooser.pick(BAD)]
            for _ in range(chooser.number(0, 2)):
                words += chooser.pick(
                    (
                        [b"REPLACE"],
                        [b"ABSTTL"],
                        [b"IDLETIME", b"5"],
                        [b"FREQ", b"9"],
                        [b"FREQ", b"-1"],
                        [b"x"],
                    )
                )
            return words
    return chooser.pick(_READS)


def _taken(words: Command, own: Reply) -> tuple[Command, Reply] | None:
    return ([b"RESTORE", words[1], b"0", own, b"REPLACE"], Status(b"OK")) if isinstance(own, bytes) else None


FAMILY = Family(
    name="dump",
    command=_step,
    questions=_READS,
    settings=tuple(
        {
            **dict.fromkeys(
                (b"hash-max-listpack-entries", b"zset-max-listpack-entries", b"set-max-intset-entries"), most
            ),
            b"list-max-listpack-size": items,
            b"stream-node-max-entries": entries,
            # By bytes they would not split alike: the dump, ours, leaves out what is marked as deleted.
            b"stream-node-max-bytes": b"0",
        }
        for most, items, entries in ((b"128", b"-2", b"100"), (b"4", b"-2", b"2"), (b"0", b"3", b"0"))
    ),
    instead={b"dump": _taken},
)
