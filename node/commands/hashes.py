"""Rows of the commands on hashes. All are compiled: node/engine/hashes_commands.pyx."""

from __future__ import annotations

from functools import partial

from node.commands.table import KeySpec, command

_hash = partial(command, group="hash", categories="hash")

_READ = (KeySpec("RO access"),)
_LOOK = (KeySpec("RO"),)
_UPDATE = (KeySpec("RW update"),)
_INSERT = (KeySpec("RW insert"),)
_CHANGE = (KeySpec("RW access update"),)
_DELETE = (KeySpec("RW delete"),)
_EACH = "O(N) in the number of fields"

COMMANDS = (
    _hash(
        "hset", -4, "write denyoom fast",
        keys=_UPDATE, since="2.0.0", arguments="key:key field_value=(field:string value:string)...",
        complexity=_EACH,
        summary="Stores fields of a hash; answers how many of them are new.",
    ),
    _hash(
        "hsetnx", 4, "write denyoom fast",
        keys=_INSERT, since="2.0.0", arguments="key:key field:string value:string",
        summary="Stores a field of a hash only if there is no such field.",
    ),
    _hash(
        "hmset", -4, "write denyoom fast",
        keys=_UPDATE, since="2.0.0", arguments="key:key field_value=(field:string value:string)...",
        complexity=_EACH,
        deprecated_since="4.0.0", replaced_by="`HSET` with multiple field-value pairs",
        summary="Stores fields of a hash; the old form of HSET, which answers OK.",
    ),
    _hash(
        "hget", 3, "readonly fast",
        keys=_READ, since="2.0.0", arguments="key:key field:string",
        summary="Answers the value of a field.",
    ),
    _hash(
        "hmget", -3, "readonly fast",
        keys=_READ, since="2.0.0", arguments="key:key field:string...",
        complexity=_EACH,
        summary="Answers the values of several fields, null where there is none.",
    ),
    _hash(
        "hgetall", 2, "readonly",
        keys=_READ, since="2.0.0", arguments="key:key",
        complexity="O(N) in the size of the hash", tips="nondeterministic_output_order",
        summary="Answers all fields of a hash with their values.",
    ),
    _hash(
        "hkeys", 2, "readonly",
        keys=_READ, since="2.0.0", arguments="key:key",
        complexity="O(N) in the size of the hash", tips="nondeterministic_output_order",
        summary="Answers the names of all fields of a hash.",
    ),
    _hash(
        "hvals", 2, "readonly",
        keys=_READ, since="2.0.0", arguments="key:key",
        complexity="O(N) in the size of the hash", tips="nondeterministic_output_order",
        summary="Answers the values of all fields of a hash.",
    ),
    _hash(
        "hlen", 2, "readonly fast",
        keys=_LOOK, since="2.0.0", arguments="key:key",
        summary="Answers how many fields a hash has.",
    ),
    _hash(
        "hexists", 3, "readonly fast",
        keys=_LOOK, since="2.0.0", arguments="key:key field:string",
        summary="Answers whether a hash has a field.",
    ),
    _hash(
        "hstrlen", 3, "readonly fast",
        keys=_LOOK, since="3.2.0", arguments="key:key field:string",
        summary="Answers the length of a field's value in bytes.",
    ),
    _hash(
        "hdel", -3, "write fast",
        keys=_DELETE, since="2.0.0", arguments="key:key field:string...",
        complexity=_EACH,
        summary="Deletes fields; a hash without fields is deleted too.",
    ),
    _hash(
        "hincrby", 4, "write denyoom fast",
        keys=_CHANGE, since="2.0.0", arguments="key:key field:string increment:integer",
        summary="Adds a whole number to a field; a missing field counts as 0.",
    ),
    _hash(
        "hincrbyfloat", 4, "write denyoom fast",
        keys=_CHANGE, since="2.6.0", arguments="key:key field:string increment:double",
        summary="Adds a decimal number to a field; a missing field counts as 0.",
    ),
    _hash(
        "hrandfield", -2, "readonly",
        keys=_READ, since="6.2.0", arguments="key:key [options=(count:integer [WITHVALUES])]",
        complexity="O(N) in the number of answered fields", tips="nondeterministic_output",
        summary="Answers fields picked at random; a negative count may pick one several times.",
    ),
    _hash(
        "hscan", -3, "readonly",
        keys=_READ, since="2.8.0",
        arguments="key:key cursor:integer [MATCH pattern:pattern] [COUNT count:integer]",
        complexity="O(1) a call, O(N) for all fields of a hash", tips="nondeterministic_output",
        summary="Walks over the fields of a hash, some at each call.",
    ),
)  # fmt: skip
