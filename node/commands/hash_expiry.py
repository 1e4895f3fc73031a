"""Rows of the commands on the expiry of hash fields. All are compiled: node/engine/hashes_expiry.pyx.

They are younger than the Redis 7.2 whose commands we have in full: 7.4 and 8.0 introduced them.
"""

from __future__ import annotations

from functools import partial

from node.commands.table import KeySpec, command

_hash = partial(command, group="hash", categories="hash")

_READ = (KeySpec("RO access"),)
_UPDATE = (KeySpec("RW update"),)
_CHANGE = (KeySpec("RW access update"),)

_FIELDS = "fields=(FIELDS numfields:integer field:string...)"
_UNTIL = (
    "EX seconds:integer | PX milliseconds:integer"
    " | EXAT unix-time-seconds:unix-time | PXAT unix-time-milliseconds:unix-time"
)
_IF = "[condition=(NX | XX | GT | LT)]"
_EACH = "O(N) in the number of fields"

COMMANDS = (
    *(
        _hash(
            name, -6, "write denyoom fast",
            keys=_UPDATE, since="7.4.0", arguments=f"key:key {time} {_IF} {_FIELDS}",
            complexity=_EACH, summary=f"Lets fields of a hash expire {when}.",
        )
        for name, time, when in (
            ("hexpire", "seconds:integer", "after some seconds"),
            ("hpexpire", "milliseconds:integer", "after some milliseconds"),
            ("hexpireat", "unix-time-seconds:unix-time", "at a Unix time in seconds"),
            ("hpexpireat", "unix-time-milliseconds:unix-time", "at a Unix time in milliseconds"),
        )
    ),
    *(
        _hash(
            name, -5, "readonly fast",
            keys=_READ, since="7.4.0", arguments=f"key:key {_FIELDS}",
            complexity=_EACH, summary=f"Answers for each field {what}; -1: never, -2: no such field.",
        )
        for name, what in (
            ("httl", "in how many seconds it expires"),
            ("hpttl", "in how many milliseconds it expires"),
            ("hexpiretime", "the Unix time in seconds at which it expires"),
            ("hpexpiretime", "the Unix time in milliseconds at which it expires"),
        )
    ),
    _hash(
        "hpersist", -5, "write fast",
        keys=_UPDATE, since="7.4.0", arguments=f"key:key {_FIELDS}",
        complexity=_EACH, summary="Takes the expiry from fields of a hash.",
    ),
    _hash(
        "hgetex", -5, "write fast",
        keys=_CHANGE, since="8.0.0", arguments=f"key:key [expiration=({_UNTIL} | PERSIST)] {_FIELDS}",
        complexity=_EACH, summary="Answers the values of fields and sets or removes their expiry.",
    ),
    _hash(
        "hsetex", -6, "write denyoom fast",
        keys=_UPDATE, since="8.0.0",
        arguments=f"key:key [condition=(FNX | FXX)] [expiration=({_UNTIL} | KEEPTTL)]"
        " fields=(FIELDS numfields:integer data=(field:string value:string)...)",
        complexity=_EACH, summary="Stores fields of a hash together with the moment at which they expire.",
    ),
    _hash(
        "hgetdel", -5, "write fast",
        keys=(KeySpec("RW access delete"),), since="8.0.0", arguments=f"key:key {_FIELDS}",
        complexity=_EACH, summary="Answers the values of fields and deletes the fields.",
    ),
)  # fmt: skip
