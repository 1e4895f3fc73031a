"""Rows of the commands on places. All of them are compiled: node/engine/geo.pyx."""

from __future__ import annotations

from functools import partial

from node.commands.table import KeySpec, command

_geo = partial(command, group="geo", categories="geo")

_READ = (KeySpec("RO access"),)
_INTO_FROM = (KeySpec("OW update"), KeySpec("RO access", begin=2))

_UNIT = "unit=(M | KM | FT | MI)"
_PLACE = "longitude_latitude=(longitude:double latitude:double)"
_SHAPE = (
    f"from=(FROMMEMBER member:string | FROMLONLAT {_PLACE})"
    f" by=(circle=(BYRADIUS radius:double {_UNIT}) | box=(BYBOX width:double height:double {_UNIT}))"
)
_COUNT = "[count=(COUNT count:integer [ANY])]"
_ORDER = "[order=(ASC | DESC)]"
_SHOW = "[WITHCOORD] [WITHDIST] [WITHHASH]"
_STORE = "[STORE key:key] [STOREDIST key:key]"
_SEARCH = "O(log N + M) with M places in the cells around the shape"


def _into(begin: int) -> tuple[KeySpec, ...]:
    return (
        KeySpec("RO access"),
        KeySpec("OW update", begin=begin, keyword="STORE"),
        KeySpec("OW update", begin=begin, keyword="STOREDIST"),
    )


COMMANDS = (
    _geo(
        "geoadd", -5, "write denyoom",
        keys=(KeySpec("RW update"),), since="3.2.0",
        arguments="key:key [condition=(NX | XX)] [change=CH]"
        " longitude_latitude_member=(longitude:double latitude:double member:string)...",
        complexity="O(log N) for each place",
        summary="Adds places to a sorted set, their position as the score.",
    ),
    _geo(
        "geopos", -2, "readonly",
        keys=_READ, since="3.2.0", arguments="key:key member:string...",
        complexity="O(1) for each member",
        summary="Answers the longitude and latitude of members.",
    ),
    _geo(
        "geohash", -2, "readonly",
        keys=_READ, since="3.2.0", arguments="key:key member:string...",
        complexity="O(1) for each member",
        summary="Answers the positions of members as geohash texts.",
    ),
    _geo(
        "geodist", -4, "readonly",
        keys=_READ, since="3.2.0", arguments=f"key:key member1:string member2:string [{_UNIT}]",
        summary="Answers the distance between two members.",
    ),
    _geo(
        "geosearch", -7, "readonly",
        keys=_READ, since="6.2.0",
        arguments=f"key:key {_SHAPE} {_ORDER} {_COUNT} {_SHOW}",
        complexity=_SEARCH,
        summary="Answers the members within a circle or a box.",
    ),
    _geo(
        "geosearchstore", -8, "write denyoom",
        keys=_INTO_FROM, since="6.2.0",
        arguments=f"destination:key source:key {_SHAPE} {_ORDER} {_COUNT} [STOREDIST]",
        complexity=_SEARCH,
        summary="Stores the members within a circle or a box.",
    ),
    _geo(
        "georadius", -6, "write denyoom",
        keys=_into(6), since="3.2.0",
        arguments=f"key:key longitude:double latitude:double radius:double {_UNIT}"
        f" {_SHOW} {_COUNT} {_ORDER} {_STORE}",
        complexity=_SEARCH,
        deprecated_since="6.2.0",
        replaced_by="`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument",
        summary="Answers or stores the members within a circle around a position.",
    ),
    _geo(
        "georadius_ro", -6, "readonly",
        keys=_READ, since="3.2.10",
        arguments=f"key:key longitude:double latitude:double radius:double {_UNIT} {_SHOW} {_COUNT} {_ORDER}",
        complexity=_SEARCH,
        deprecated_since="6.2.0", replaced_by="`GEOSEARCH` with the `BYRADIUS` argument",
        summary="Answers the members within a circle around a position.",
    ),
    _geo(
        "georadiusbymember", -5, "write denyoom",
        keys=_into(5), since="3.2.0",
        arguments=f"key:key member:string radius:double {_UNIT} {_SHOW} {_COUNT} {_ORDER} {_STORE}",
        complexity=_SEARCH,
        deprecated_since="6.2.0",
        replaced_by="`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
        summary="Answers or stores the members within a circle around another member.",
    ),
    _geo(
        "georadiusbymember_ro", -5, "readonly",
        keys=_READ, since="3.2.10",
        arguments=f"key:key member:string radius:double {_UNIT} {_SHOW} {_COUNT} {_ORDER}",
        complexity=_SEARCH,
        deprecated_since="6.2.0",
        replaced_by="`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments",
        summary="Answers the members within a circle around another member.",
    ),
)  # fmt: skip
