"""Commands on places."""

from __future__ import annotations

import zlib

from tests.node.collections_oracle import Chooser, Family, decimal, mangled
from tests.node.families.hashes import anything, count
from tests.node.strategies import Command

KEYS = (b"g", b"g", b"g", b"h", b"text", b"none", b"z")
MEMBERS = (b"", b"\x00\xff\r\n", b"m" * 65, *(b"%d" % number for number in range(40)), b"palermo", b"catania")
DISTANCES = b"distances"  # taken for places, many of them would be the same one
UNITS = (b"m", b"km", b"ft", b"MI", b"M", b"Km")


# At the ends of what is allowed, each of one member only; and beyond them.
OWN_PLACES = {
    b"palermo": (b"180", b"85.05112878"),
    b"catania": (b"-180", b"-85.05112878"),
    b"": (b"0", b"0"),
    b"0": (b"179.999999", b"84.9"),
}
NO_PLACES = ((b"180.1", b"0"), (b"0", b"85.06"), (b"inf", b"0"), (b"nan", b"0"))


def _place(chooser: Chooser, member: bytes) -> Command:
    """No other member's: where two are equally far away, any may come first."""
    spread = zlib.crc32(member)
    width = chooser.pick((b"0.01", b"10", b"170"))
    scale = float(width)
    longitude = b"%.7f" % (((spread & 0xFFFF) / 0x8000 - 1) * scale)
    latitude = b"%.7f" % (((spread >> 16) / 0x8000 - 1) * min(scale, 85))
    match chooser.number(0, 29):
        case 0:
            return chooser.pick(([decimal(chooser), latitude], [longitude, decimal(chooser)]))
        case 1:
            return list(chooser.pick((OWN_PLACES.get(member, (longitude, latitude)), *NO_PLACES)))
    return [longitude, latitude]


def _member(chooser: Chooser) -> bytes:
    return chooser.pick(MEMBERS)


def _add(chooser: Chooser, key: bytes) -> Command:
    options = chooser.pick(([], [], [], [b"NX"], [b"xx"], [b"CH"], [b"NX", b"XX"], [b"NX", b"CH"]))
    most = 4 if chooser.number(0, 5) else 60
    words: Command = []
    for _ in range(chooser.number(1, most)):
        member = _member(chooser)
        words += [*_place(chooser, member), member]
    return [b"GEOADD", key, *options, *words]


def _length(chooser: Chooser) -> bytes:
    if chooser.number(0, 15) == 0:
        return decimal(chooser)
    return chooser.pick(
        (b"0", b"1", b"100", b"500.5", b"1000", b"5000", b"20000", b"100000", b"1000000", b"1e8")
    )


def _unit(chooser: Chooser) -> bytes:
    return chooser.pick(UNITS) if chooser.number(0, 30) else b"x"


def _options(chooser: Chooser, *, storing: bool) -> Command:
    words: Command = []
    for _ in range(chooser.number(0, 4)):
        match chooser.number(0, 9):
            case 0 | 1:
                words.append(chooser.pick((b"WITHCOORD", b"WITHDIST", b"withhash")))
            case 2 | 3 | 4:
                words.append(chooser.pick((b"ASC", b"DESC", b"asc")))
            case 5 | 6:
                words += [b"COUNT", count(chooser)]
            case 7:
                words += [b"COUNT", b"%d" % chooser.number(1, 20), b"ANY"]
            case 8:
                words += [chooser.pick((b"ANY", b"x", b"COUNT", b"STOREDIST"))]
            case _ if storing:
                words += [b"STORE", chooser.pick(KEYS)] if chooser.number(0, 1) else [b"storedist", DISTANCES]
    return words


def _shape(chooser: Chooser) -> Command:
    center = [b"FROMMEMBER", _member(chooser)]
    if chooser.number(0, 1):
        center = [b"FROMLONLAT", *_place(chooser, _member(chooser))]
    extent = [b"BYRADIUS", _length(chooser), _unit(chooser)]
    if chooser.number(0, 1):
        extent = [b"bybox", _length(chooser), _length(chooser), _unit(chooser)]
    match chooser.number(0, 20):
        case 0:
            return [*center, *center, *extent]
        case 1:
            return [*center, *extent, b"FROMMEMBER", b"1"]
        case 2:
            return [*center, *extent, b"BYRADIUS", b"1", b"m"]
        case 3:
            return [*center, b"ASC", b"DESC", b"ASC", b"DESC"]
        case 4:
            return [*extent, b"ASC", b"DESC", b"ASC"]
    return [*center, *extent] if chooser.number(0, 1) else [*extent, *center]


def _command(chooser: Chooser) -> Command:
    key = chooser.pick(KEYS)
    match chooser.number(0, 16):
        case 0 | 1 | 2 | 3:
            return _add(chooser, key)
        case 4:
            return [
                chooser.pick((b"GEOPOS", b"GEOHASH")),
                key,
                *(_member(chooser) for _ in range(chooser.number(0, 4))),
            ]
        case 5:
            unit = [_unit(chooser)] if chooser.number(0, 1) else []
            return [b"GEODIST", key, _member(chooser), _member(chooser), *unit]
        case 6 | 7 | 8:
            return [b"GEOSEARCH", key, *_shape(chooser), *_options(chooser, storing=False)]
        case 9:
            options = chooser.pick(
                ([], [b"STOREDIST"], [b"COUNT", b"5"], [b"WITHDIST"], [b"storedist", b"ASC"])
            )
            into = DISTANCES if b"STOREDIST" in options or b"storedist" in options else chooser.pick(KEYS)
            return [b"GEOSEARCHSTORE", into, key, *_shape(chooser), *options]
        case 10 | 11:
            words = [*_place(chooser, _member(chooser)), _length(chooser), _unit(chooser)]
            if chooser.number(0, 1):
                return [b"GEORADIUS", key, *words, *_options(chooser, storing=True)]
            return [b"GEORADIUS_RO", key, *words, *_options(chooser, storing=False)]
        case 12 | 13:
            words = [_member(chooser), _length(chooser), _unit(chooser)]
            if chooser.number(0, 1):
                return [b"GEORADIUSBYMEMBER", key, *words, *_options(chooser, storing=True)]
            return [b"GEORADIUSBYMEMBER_RO", key, *words, *_options(chooser, storing=False)]
        case 14:
            return [b"ZREM", key, *(_member(chooser) for _ in range(chooser.number(1, 20)))]
        case 15:
            # Scores that are no places.
            member = _member(chooser)
            return [b"ZADD", b"z", b"%d" % (zlib.crc32(member) - chooser.pick((0, 1 << 31))), member]
    return anything(chooser, KEYS)


_ALL = tuple(dict.fromkeys(KEYS))
FAMILY = Family(
    name="geo",
    command=lambda chooser: mangled(chooser, _command(chooser)),
    questions=(
        *(
            [b"GEOSEARCH", key, *b"FROMLONLAT 0 0 BYRADIUS 30000 km ASC WITHCOORD WITHHASH".split()]
            for key in _ALL
        ),
        [b"ZRANGE", DISTANCES, b"0", b"-1", b"WITHSCORES"],
        *([word, key] for key in _ALL for word in (b"ZCARD", b"TYPE", b"EXPIRETIME")),
    ),
    settings=(
        {b"zset-max-listpack-entries": b"128"},
        {b"zset-max-listpack-entries": b"4"},
    ),
)
