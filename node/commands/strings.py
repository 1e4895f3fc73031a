"""Rows of the string commands. All of them are compiled: node/engine/strings.pyx."""

from __future__ import annotations

from functools import partial

from node.commands.table import KeySpec, command

_string = partial(command, group="string", categories="string")

_READ = (KeySpec("RO access"),)
_LOOK = (KeySpec("RO"),)
_REPLACE = (KeySpec("OW update"),)
_CREATE = (KeySpec("OW insert"),)
_CHANGE = (KeySpec("RW access update"),)

_UNTIL = (
    "EX seconds:integer | PX milliseconds:integer"
    " | EXAT unix-time-seconds:unix-time | PXAT unix-time-milliseconds:unix-time"
)

COMMANDS = (
    _string(
        "get", 2, "readonly fast",
        keys=_READ, since="1.0.0", arguments="key:key",
        summary="Answers a key's value.",
    ),
    _string(
        "set", -3, "write denyoom",
        keys=(KeySpec("RW access update variable_flags", note="RW and ACCESS only with the GET option"),),
        since="1.0.0",
        arguments=f"key:key value:string [condition=(NX | XX)] [GET] [expiration=({_UNTIL} | KEEPTTL)]",
        summary="Stores a value, whatever the key held before; options say when, and for how long.",
    ),
    _string(
        "setnx", 3, "write denyoom fast",
        keys=_CREATE, since="1.0.0", arguments="key:key value:string",
        summary="Stores a value only if there is no such key.",
    ),
    _string(
        "setex", 4, "write denyoom",
        keys=_REPLACE, since="2.0.0", arguments="key:key seconds:integer value:string",
        summary="Stores a value that expires after some seconds.",
    ),
    _string(
        "psetex", 4, "write denyoom",
        keys=_REPLACE, since="2.6.0", arguments="key:key milliseconds:integer value:string",
        summary="Stores a value that expires after some milliseconds.",
    ),
    _string(
        "getset", 3, "write denyoom fast",
        keys=_CHANGE, since="1.0.0", arguments="key:key value:string",
        deprecated_since="6.2.0", replaced_by="`SET` with the `GET` argument",
        summary="Stores a value and answers the one it replaced.",
    ),
    _string(
        "getdel", 2, "write fast",
        keys=(KeySpec("RW access delete"),), since="6.2.0", arguments="key:key",
        summary="Answers a key's value and deletes the key.",
    ),
    _string(
        "getex", -2, "write fast",
        keys=(KeySpec("RW access update", note="RW and UPDATE because it can change the expiry"),),
        since="6.2.0",
        arguments=f"key:key [expiration=({_UNTIL} | PERSIST)]",
        summary="Answers a key's value and sets or removes its expiry.",
    ),
    _string(
        "mget", -2, "readonly fast",
        keys=(KeySpec("RO access", last=-1),), since="1.0.0", arguments="key:key...",
        complexity="O(N) in the number of keys", tips="request_policy:multi_shard",
        summary="Answers the values of several keys, null where there is none.",
    ),
    _string(
        "mset", -3, "write denyoom",
        keys=(KeySpec("OW update", last=-1, step=2),), since="1.0.1",
        arguments="key_value=(key:key value:string)...",
        complexity="O(N) in the number of keys",
        tips="request_policy:multi_shard response_policy:all_succeeded",
        summary="Stores several values at once.",
    ),
    _string(
        "msetnx", -3, "write denyoom",
        keys=(KeySpec("OW insert", last=-1, step=2),), since="1.0.1",
        arguments="key_value=(key:key value:string)...",
        complexity="O(N) in the number of keys",
        tips="request_policy:multi_shard response_policy:agg_min",
        summary="Stores several values at once, or none if one of the keys is there already.",
    ),
    _string(
        "append", 3, "write denyoom fast",
        keys=(KeySpec("RW insert"),), since="2.0.0", arguments="key:key value:string",
        complexity="O(1) amortized: room is doubled as the value grows",
        summary="Adds bytes at the end of a value; creates the key when there is none.",
    ),
    _string(
        "strlen", 2, "readonly fast",
        keys=_LOOK, since="2.2.0", arguments="key:key",
        summary="Answers the length of a value in bytes.",
    ),
    _string(
        "getrange", 4, "readonly",
        keys=_READ, since="2.4.0", arguments="key:key start:integer end:integer",
        complexity="O(N) in the length of the answer",
        summary="Answers part of a value; negative positions count from its end.",
    ),
    _string(
        "substr", 4, "readonly",
        keys=_READ, since="1.0.0", arguments="key:key start:integer end:integer",
        complexity="O(N) in the length of the answer",
        deprecated_since="2.0.0", replaced_by="`GETRANGE`",
        summary="Answers part of a value; the old name of GETRANGE.",
    ),
    _string(
        "setrange", 4, "write denyoom",
        keys=(KeySpec("RW update"),), since="2.2.0", arguments="key:key offset:integer value:string",
        complexity="O(N) in the length of the written part and of the gap before it",
        summary="Overwrites part of a value; a gap is filled with zero bytes.",
    ),
    _string(
        "incr", 2, "write denyoom fast",
        keys=_CHANGE, since="1.0.0", arguments="key:key",
        summary="Adds one to an integer; a missing key counts as 0.",
    ),
    _string(
        "decr", 2, "write denyoom fast",
        keys=_CHANGE, since="1.0.0", arguments="key:key",
        summary="Takes one from an integer; a missing key counts as 0.",
    ),
    _string(
        "incrby", 3, "write denyoom fast",
        keys=_CHANGE, since="1.0.0", arguments="key:key increment:integer",
        summary="Adds a whole number to an integer; a missing key counts as 0.",
    ),
    _string(
        "decrby", 3, "write denyoom fast",
        keys=_CHANGE, since="1.0.0", arguments="key:key decrement:integer",
        summary="Takes a whole number from an integer; a missing key counts as 0.",
    ),
    _string(
        "incrbyfloat", 3, "write denyoom fast",
        keys=_CHANGE, since="2.6.0", arguments="key:key increment:double",
        summary="Adds a decimal number to a value that reads as one; a missing key counts as 0.",
    ),
    _string(
        "lcs", -3, "readonly",
        keys=(KeySpec("RO access", last=1),), since="7.0.0",
        arguments="key1:key key2:key [LEN] [IDX] [MINMATCHLEN len:integer] [WITHMATCHLEN]",
        complexity="O(N*M) in the lengths of the two values",
        summary="Answers the longest common subsequence of two values.",
    ),
)  # fmt: skip
