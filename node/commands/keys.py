"""Rows of the commands on keys of any type. All of them are compiled: node/engine/keys.pyx."""

from __future__ import annotations

from functools import partial

from node.commands.help import answer_help
from node.commands.table import KeySpec, command

_key = partial(command, group="generic", categories="keyspace")
_server = partial(command, group="server", categories="keyspace")

_LOOK = (KeySpec("RO"),)
_READ = (KeySpec("RO access"),)
_LOOK_ALL = (KeySpec("RO", last=-1),)
_REMOVE_ALL = (KeySpec("RM delete", last=-1),)
_UPDATE = (KeySpec("RW update"),)
_REPLACE = (KeySpec("OW update"),)
_IN_CONTAINER = (KeySpec("RO", begin=2),)

_PER_KEY = "O(N) in the number of keys"
_ADDED_UP = "request_policy:multi_shard response_policy:agg_sum"
_EVERYWHERE = "request_policy:all_shards response_policy:all_succeeded"
_CONDITION = "[condition=(NX | XX | GT | LT)]"
_SORTED = (
    "key:key [BY pattern:pattern@1] [LIMIT offset_count=(offset:integer count:integer)]"
    " [GET pattern:pattern@1 +...] [order=(ASC | DESC)] [sorting=ALPHA]"
)
_SORT_COST = "O(N + M log M): N elements are there, M are answered; O(N) when nothing is sorted"
_FLUSH = "[async=(ASYNC | SYNC)]"

COMMANDS = (
    _key(
        "del", -2, "write",
        keys=_REMOVE_ALL, since="1.0.0", arguments="key:key...", tips=_ADDED_UP,
        complexity="O(N) in the number of keys and of the elements they hold",
        summary="Deletes keys; answers how many there were.",
    ),
    _key(
        "unlink", -2, "write fast",
        keys=_REMOVE_ALL, since="4.0.0", arguments="key:key...", tips=_ADDED_UP,
        complexity=_PER_KEY,
        summary="Deletes keys; memory of large values is given back bit by bit.",
    ),
    _key(
        "exists", -2, "readonly fast",
        keys=_LOOK_ALL, since="1.0.0", arguments="key:key...", tips=_ADDED_UP,
        complexity=_PER_KEY,
        summary="Counts how many of the named keys are there; one named twice counts twice.",
    ),
    _key(
        "sort", -2, "write denyoom",
        keys=(
            KeySpec("RO access"),
            KeySpec(
                "RO access", unknown=True,
                note="For the optional BY/GET keyword. It is marked 'unknown' because the key names derive"
                " from the content of the key we sort",
            ),
            KeySpec(
                "OW update", unknown=True, keyword="STORE",
                note="For the optional STORE keyword. It is marked 'unknown' because the keyword can appear"
                " anywhere in the argument array",
            ),
        ),
        since="1.0.0", categories="set sortedset list dangerous",
        arguments=f"{_SORTED} [STORE destination:key]", complexity=_SORT_COST,
        summary="Answers the elements of a list, set or sorted set in order, or stores them as a list.",
    ),
    _key(
        "sort_ro", -2, "readonly",
        keys=(
            KeySpec("RO access"),
            KeySpec(
                "RO access", unknown=True,
                note="For the optional BY/GET keyword. It is marked 'unknown' because the key names derive"
                " from the content of the key we sort",
            ),
        ),
        since="7.0.0", categories="set sortedset list dangerous",
        arguments=_SORTED, complexity=_SORT_COST,
        summary="Answers the elements of a list, set or sorted set in order.",
    ),
    _key(
        "dump", 2, "readonly",
        keys=_READ, since="2.6.0", arguments="key:key", tips="nondeterministic_output",
        complexity="O(1) to find the key, O(N) in the elements of its value",
        summary="Answers a key's value as bytes for RESTORE.",
    ),
    _key(
        "restore", -4, "write denyoom",
        keys=_REPLACE, since="2.6.0", categories="keyspace dangerous",
        arguments="key:key ttl:integer serialized-value:string [REPLACE] [ABSTTL]"
        " [IDLETIME seconds:integer] [FREQ frequency:integer]",
        complexity="O(1) to make the key, O(N) in the elements of its value",
        summary="Makes a key of what DUMP answered.",
    ),
    _server(
        "restore-asking", -4, "write denyoom asking",
        keys=_REPLACE, since="3.0.0", categories="keyspace dangerous",
        arguments="key:key ttl:integer serialized-value:string [REPLACE] [ABSTTL]"
        " [IDLETIME seconds:integer] [FREQ frequency:integer]",
        complexity="O(1) to make the key, O(N) in the elements of its value",
        summary="RESTORE into a slot that is being imported, for MIGRATE.",
    ),
    _key(
        "type", 2, "readonly fast",
        keys=_LOOK, since="1.0.0", arguments="key:key",
        summary="Answers the type of a key's value, or none.",
    ),
    _key(
        "ttl", 2, "readonly fast",
        keys=_READ, since="1.0.0", arguments="key:key", tips="nondeterministic_output",
        summary="Answers the seconds a key still has; -1 without expiry, -2 without key.",
    ),
    _key(
        "pttl", 2, "readonly fast",
        keys=_READ, since="2.6.0", arguments="key:key", tips="nondeterministic_output",
        summary="Answers the milliseconds a key still has; -1 without expiry, -2 without key.",
    ),
    _key(
        "expiretime", 2, "readonly fast",
        keys=_READ, since="7.0.0", arguments="key:key",
        summary="Answers the Unix time in seconds at which a key expires.",
    ),
    _key(
        "pexpiretime", 2, "readonly fast",
        keys=_READ, since="7.0.0", arguments="key:key",
        summary="Answers the Unix time in milliseconds at which a key expires.",
    ),
    _key(
        "expire", -3, "write fast",
        keys=_UPDATE, since="1.0.0", arguments=f"key:key seconds:integer {_CONDITION}",
        summary="Lets a key expire after some seconds.",
    ),
    _key(
        "pexpire", -3, "write fast",
        keys=_UPDATE, since="2.6.0", arguments=f"key:key milliseconds:integer {_CONDITION}",
        summary="Lets a key expire after some milliseconds.",
    ),
    _key(
        "expireat", -3, "write fast",
        keys=_UPDATE, since="1.2.0", arguments=f"key:key unix-time-seconds:unix-time {_CONDITION}",
        summary="Lets a key expire at a Unix time in seconds.",
    ),
    _key(
        "pexpireat", -3, "write fast",
        keys=_UPDATE, since="2.6.0", arguments=f"key:key unix-time-milliseconds:unix-time {_CONDITION}",
        summary="Lets a key expire at a Unix time in milliseconds.",
    ),
    _key(
        "persist", 2, "write fast",
        keys=_UPDATE, since="2.2.0", arguments="key:key",
        summary="Removes the expiry of a key.",
    ),
    _key(
        "touch", -2, "readonly fast",
        keys=_LOOK_ALL, since="3.2.1", arguments="key:key...", tips=_ADDED_UP,
        complexity=_PER_KEY,
        summary="Marks keys as just used; answers how many there are.",
    ),
    _key(
        "rename", 3, "write",
        keys=(KeySpec("RW access delete"), KeySpec("OW update", begin=2)), since="1.0.0",
        arguments="key:key newkey:key",
        summary="Gives a key another name, replacing a key that has it.",
    ),
    _key(
        "renamenx", 3, "write fast",
        keys=(KeySpec("RW access delete"), KeySpec("OW insert", begin=2)), since="1.0.0",
        arguments="key:key newkey:key",
        summary="Gives a key another name unless that name is taken.",
    ),
    _key(
        "copy", -3, "write denyoom",
        keys=(KeySpec("RO access"), KeySpec("OW update", begin=2)), since="6.2.0",
        arguments="source:key destination:key [DB destination-db:integer] [REPLACE]",
        complexity="O(N) in the size of the value",
        summary="Copies a value and its expiry to another key.",
    ),
    _key(
        "move", 3, "write fast",
        keys=(KeySpec("RW access update"),), since="1.0.0", arguments="key:key db:integer",
        summary="Moves a key to another database.",
    ),
    _key(
        "keys", 2, "readonly",
        categories="keyspace dangerous", since="1.0.0", arguments="pattern:pattern",
        tips="request_policy:all_shards nondeterministic_output_order",
        complexity="O(N) in the number of keys in the database",
        summary="Answers every key that matches a pattern, in one go; prefer SCAN.",
    ),
    _key(
        "scan", -2, "readonly",
        since="2.8.0",
        arguments="cursor:integer [MATCH pattern:pattern] [COUNT count:integer] [TYPE type:string]",
        tips="nondeterministic_output request_policy:special",
        complexity="O(1) a call; O(N) for a whole pass",
        summary="Walks over the keys, some at each call.",
    ),
    _key(
        "randomkey", 1, "readonly",
        since="1.0.0", tips="request_policy:all_shards nondeterministic_output",
        summary="Answers some key of the database.",
    ),
    _server(
        "dbsize", 1, "readonly fast",
        since="1.0.0", tips="request_policy:all_shards response_policy:agg_sum",
        summary="Answers the number of keys in the database.",
    ),
    _server(
        "flushdb", -1, "write",
        categories="keyspace dangerous", since="1.0.0", arguments=_FLUSH, tips=_EVERYWHERE,
        complexity="O(N) in the number of keys in the database",
        summary="Deletes every key of the database.",
    ),
    _server(
        "flushall", -1, "write",
        categories="keyspace dangerous", since="1.0.0", arguments=_FLUSH, tips=_EVERYWHERE,
        complexity="O(N) in the number of keys",
        summary="Deletes every key of every database.",
    ),
    _server(
        "swapdb", 3, "write fast",
        categories="keyspace dangerous", since="4.0.0", arguments="index1:integer index2:integer",
        complexity="O(N) in the number of clients that watch keys there",
        summary="Exchanges the contents of two databases.",
    ),
    _key(
        "object", -2, "",
        categories="", since="2.2.3", complexity="Depends on the subcommand",
        summary="Container of commands that look at how a value is kept.",
        subcommands=(
            _key(
                "object|encoding", 3, "readonly",
                keys=_IN_CONTAINER, since="2.2.3", arguments="key:key", tips="nondeterministic_output",
                summary="Answers the internal encoding of a value.",
            ),
            _key(
                "object|freq", 3, "readonly",
                keys=_IN_CONTAINER, since="4.0.0", arguments="key:key", tips="nondeterministic_output",
                summary="Answers how often a key is used, on a logarithmic scale.",
            ),
            _key(
                "object|help", 2, "loading stale",
                handler=answer_help, since="6.2.0", summary="Lists the subcommands.",
            ),
            _key(
                "object|idletime", 3, "readonly",
                keys=_IN_CONTAINER, since="2.2.3", arguments="key:key", tips="nondeterministic_output",
                summary="Answers the seconds since a key was last used.",
            ),
            _key(
                "object|refcount", 3, "readonly",
                keys=_IN_CONTAINER, since="2.2.3", arguments="key:key", tips="nondeterministic_output",
                summary="Answers the reference count of a value: always 1 here.",
            ),
        ),
    ),
)  # fmt: skip
