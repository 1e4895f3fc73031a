"""Commands on sets."""

from __future__ import annotations

from node.engine.reply import Failure, Reply, SetReply
from tests.node.collections_oracle import Chooser, Family, integer, mangled
from tests.node.families.hashes import anything, count, name, scan
from tests.node.strategies import Command

KEYS = (b"s", b"s", b"t", b"u", b"", b"\x00\xff\r\n", b"text")


def _members(chooser: Chooser, most: int = 5) -> Command:
    match chooser.number(0, 5):
        case 0:
            low = chooser.number(-70000, 70000)
            return [b"%d" % number for number in range(low, low + chooser.number(1, 700))]
        case 1 | 2:
            return [b"%d" % chooser.number(-9, 9) for _ in range(chooser.number(1, most))]
    return [name(chooser) for _ in range(chooser.number(1, most))]


def _keys(chooser: Chooser, least: int = 1) -> Command:
    return [chooser.pick(KEYS) for _ in range(chooser.number(least, 4))]


def _command(chooser: Chooser) -> Command:
    key = chooser.pick(KEYS)
    match chooser.number(0, 23):
        case 0 | 1 | 2 | 3:
            return [b"SADD", key, *_members(chooser)]
        case 4 | 5:
            return [b"SREM", key, *_members(chooser, 8)]
        case 6:
            return [b"SISMEMBER", key, name(chooser)]
        case 7:
            return [b"SMISMEMBER", key, *_members(chooser)]
        case 8:
            return [b"SMEMBERS", key]
        case 9:
            return [b"SCARD", key]
        case 10:
            return [b"SPOP", key]
        case 11:
            return [b"SPOP", key, count(chooser)]
        case 12:
            return [b"SRANDMEMBER", key]
        case 13:
            return [b"SRANDMEMBER", key, count(chooser)]
        case 14 | 15:
            return [b"SMOVE", key, chooser.pick(KEYS), name(chooser)]
        case 16 | 17:
            return [chooser.pick((b"SINTER", b"SUNION", b"sdiff")), *_keys(chooser)]
        case 18 | 19:
            return [chooser.pick((b"SINTERSTORE", b"SUNIONSTORE", b"SDIFFSTORE")), key, *_keys(chooser)]
        case 20 | 21:
            keys = _keys(chooser)
            number = chooser.pick((b"%d" % len(keys), b"%d" % len(keys), integer(chooser)))
            limit = chooser.pick(((), (), (b"LIMIT", integer(chooser)), (b"limit",), (b"x", b"1")))
            return [b"SINTERCARD", number, *keys, *limit]
        case 22:
            return scan(chooser, b"SSCAN", key)
        case _:
            return anything(chooser, KEYS)


def _pop(words: Command, own: Reply) -> tuple[Command, Reply] | None:
    popped = own.items if isinstance(own, SetReply) else own if isinstance(own, list) else [own]
    members = [member for member in popped if isinstance(member, bytes)]
    if isinstance(own, Failure) or not members:
        return None
    return [b"SREM", words[1], *members], len(members)


_ALL = tuple(dict.fromkeys(KEYS))
FAMILY = Family(
    name="sets",
    command=lambda chooser: mangled(chooser, _command(chooser)),
    questions=(
        *([word, key] for key in _ALL for word in (b"SMEMBERS", b"SCARD", b"TYPE", b"EXPIRETIME")),
        [b"DBSIZE"],
    ),
    settings=tuple(
        {
            b"set-max-intset-entries": sorted_,
            b"set-max-listpack-entries": most,
            b"set-max-listpack-value": size,
        }
        for sorted_, most, size in (
            (b"512", b"128", b"64"),
            (b"4", b"128", b"64"),
            (b"512", b"6", b"6"),
            (b"0", b"0", b"64"),
        )
    ),
    instead={b"spop": _pop},
)
