"""Rows of the commands on sets. All of them are compiled: node/engine/sets_commands.pyx, sets_algebra.pyx."""

from __future__ import annotations

from functools import partial

from node.commands.table import KeySpec, command

_set = partial(command, group="set", categories="set")

_READ = (KeySpec("RO access"),)
_LOOK = (KeySpec("RO"),)
_ALL = (KeySpec("RO access", last=-1),)
_SOURCES = KeySpec("RO access", begin=2, last=-1)

COMMANDS = (
    _set(
        "sadd", -3, "write denyoom fast",
        keys=(KeySpec("RW insert"),), since="1.0.0", arguments="key:key member:string...",
        complexity="O(N) in the number of members that are added",
        summary="Adds members to a set; answers how many of them are new.",
    ),
    _set(
        "srem", -3, "write fast",
        keys=(KeySpec("RW delete"),), since="1.0.0", arguments="key:key member:string...",
        complexity="O(N) in the number of members that are removed",
        summary="Removes members; a set without members is deleted.",
    ),
    _set(
        "sismember", 3, "readonly fast",
        keys=_LOOK, since="1.0.0", arguments="key:key member:string",
        summary="Answers whether something is a member of a set.",
    ),
    _set(
        "smismember", -3, "readonly fast",
        keys=_READ, since="6.2.0", arguments="key:key member:string...",
        complexity="O(N) in the number of members that are looked for",
        summary="Answers for each of several words whether it is a member of a set.",
    ),
    _set(
        "smembers", 2, "readonly",
        keys=_READ, since="1.0.0", arguments="key:key",
        complexity="O(N) in the size of the set", tips="nondeterministic_output_order",
        summary="Answers all members of a set.",
    ),
    _set(
        "scard", 2, "readonly fast",
        keys=_LOOK, since="1.0.0", arguments="key:key",
        summary="Answers how many members a set has.",
    ),
    _set(
        "spop", -2, "write fast",
        keys=(KeySpec("RW access delete"),), since="1.0.0", arguments="key:key [count:integer]",
        complexity="O(N) in the number of members that are removed", tips="nondeterministic_output",
        summary="Removes members picked at random and answers them.",
    ),
    _set(
        "srandmember", -2, "readonly",
        keys=_READ, since="1.0.0", arguments="key:key [count:integer]",
        complexity="O(N) in the number of members that are answered", tips="nondeterministic_output",
        summary="Answers members picked at random; a negative count may pick one several times.",
    ),
    _set(
        "smove", 4, "write fast",
        keys=(KeySpec("RW access delete"), KeySpec("RW insert", begin=2)), since="1.0.0",
        arguments="source:key destination:key member:string",
        summary="Takes a member from one set and adds it to another.",
    ),
    _set(
        "sinter", -2, "readonly",
        keys=_ALL, since="1.0.0", arguments="key:key...",
        complexity="O(N*M) in the size of the smallest set and the number of sets",
        tips="nondeterministic_output_order",
        summary="Answers what all the sets have in common.",
    ),
    _set(
        "sinterstore", -3, "write denyoom",
        keys=(KeySpec("RW update"), _SOURCES), since="1.0.0", arguments="destination:key key:key...",
        complexity="O(N*M) in the size of the smallest set and the number of sets",
        summary="Stores what all the sets have in common; answers how many members that is.",
    ),
    _set(
        "sintercard", -3, "readonly",
        keys=(KeySpec("RO access", counted=True),), since="7.0.0",
        arguments="numkeys:integer key:key... [LIMIT limit:integer]",
        complexity="O(N*M) in the size of the smallest set and the number of sets",
        summary="Answers how many members all the sets have in common, counting up to a limit.",
    ),
    _set(
        "sunion", -2, "readonly",
        keys=_ALL, since="1.0.0", arguments="key:key...",
        complexity="O(N) in the size of all the sets", tips="nondeterministic_output_order",
        summary="Answers what is in at least one of the sets.",
    ),
    _set(
        "sunionstore", -3, "write denyoom",
        keys=(KeySpec("OW update"), _SOURCES), since="1.0.0", arguments="destination:key key:key...",
        complexity="O(N) in the size of all the sets",
        summary="Stores what is in at least one of the sets; answers how many members that is.",
    ),
    _set(
        "sdiff", -2, "readonly",
        keys=_ALL, since="1.0.0", arguments="key:key...",
        complexity="O(N) in the size of all the sets", tips="nondeterministic_output_order",
        summary="Answers what is in the first set and in none of the others.",
    ),
    _set(
        "sdiffstore", -3, "write denyoom",
        keys=(KeySpec("OW update"), _SOURCES), since="1.0.0", arguments="destination:key key:key...",
        complexity="O(N) in the size of all the sets",
        summary="Stores what is in the first set and in no other one; answers how many members that is.",
    ),
    _set(
        "sscan", -3, "readonly",
        keys=_READ, since="2.8.0",
        arguments="key:key cursor:integer [MATCH pattern:pattern] [COUNT count:integer]",
        complexity="O(1) a call, O(N) for all members of a set", tips="nondeterministic_output",
        summary="Walks over the members of a set, some at each call.",
    ),
)  # fmt: skip
