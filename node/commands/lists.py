"""Rows of the list commands. All of them are compiled: node/engine/list_commands.pyx, list_moves.pyx."""

from __future__ import annotations

from functools import partial

from node.commands.table import KeySpec, command

_list = partial(command, group="list", categories="list")

_READ = (KeySpec("RO access"),)
_INSERT = (KeySpec("RW insert"),)
_DELETE = (KeySpec("RW delete"),)
_TAKE = (KeySpec("RW access delete"),)
_MOVE = (KeySpec("RW access delete"), KeySpec("RW insert", begin=2))
_TAKE_ANY = (KeySpec("RW access delete", last=-2),)

COMMANDS = (
    _list(
        "lpush", -3, "write denyoom fast",
        keys=_INSERT, since="1.0.0", arguments="key:key element:string...",
        complexity="O(1) for each element",
        summary="Puts elements in front of a list; creates the key when there is none.",
    ),
    _list(
        "rpush", -3, "write denyoom fast",
        keys=_INSERT, since="1.0.0", arguments="key:key element:string...",
        complexity="O(1) for each element",
        summary="Puts elements behind a list; creates the key when there is none.",
    ),
    _list(
        "lpushx", -3, "write denyoom fast",
        keys=_INSERT, since="2.2.0", arguments="key:key element:string...",
        complexity="O(1) for each element",
        summary="Puts elements in front of a list if there is one.",
    ),
    _list(
        "rpushx", -3, "write denyoom fast",
        keys=_INSERT, since="2.2.0", arguments="key:key element:string...",
        complexity="O(1) for each element",
        summary="Puts elements behind a list if there is one.",
    ),
    _list(
        "linsert", 5, "write denyoom",
        keys=_INSERT, since="2.2.0",
        arguments="key:key where=(BEFORE | AFTER) pivot:string element:string",
        complexity="O(N) in the number of elements before the pivot",
        summary="Puts an element beside the first one that equals the pivot.",
    ),
    _list(
        "lset", 4, "write denyoom",
        keys=(KeySpec("RW update"),), since="1.0.0", arguments="key:key index:integer element:string",
        complexity="O(N/450) in the distance from the nearer end; O(1) at the ends",
        summary="Puts another element in the place of one.",
    ),
    _list(
        "lpop", -2, "write fast",
        keys=_TAKE, since="1.0.0", arguments="key:key [count:integer]",
        complexity="O(N) in the number of elements answered",
        summary="Takes elements from the front of a list and answers them.",
    ),
    _list(
        "rpop", -2, "write fast",
        keys=_TAKE, since="1.0.0", arguments="key:key [count:integer]",
        complexity="O(N) in the number of elements answered",
        summary="Takes elements from the back of a list and answers them, the last one first.",
    ),
    _list(
        "lrem", 4, "write",
        keys=_DELETE, since="1.0.0", arguments="key:key count:integer element:string",
        complexity="O(N) in the length of the list",
        summary="Removes elements equal to the given one: the first, the last, or all of them.",
    ),
    _list(
        "ltrim", 4, "write",
        keys=_DELETE, since="1.0.0", arguments="key:key start:integer stop:integer",
        complexity="O(N/450) in the number of elements removed",
        summary="Removes all elements but those in a range.",
    ),
    _list(
        "llen", 2, "readonly fast",
        keys=(KeySpec("RO"),), since="1.0.0", arguments="key:key",
        summary="Answers the number of elements.",
    ),
    _list(
        "lindex", 3, "readonly",
        keys=_READ, since="1.0.0", arguments="key:key index:integer",
        complexity="O(N/450) in the distance from the nearer end; O(1) at the ends",
        summary="Answers the element at an index; negative ones count from the end.",
    ),
    _list(
        "lrange", 4, "readonly",
        keys=_READ, since="1.0.0", arguments="key:key start:integer stop:integer",
        complexity="O(S/450+N) in the distance of the range from the nearer end and its length",
        summary="Answers the elements in a range; negative positions count from the end.",
    ),
    _list(
        "lpos", -3, "readonly",
        keys=_READ, since="6.0.6",
        arguments=(
            "key:key element:string [RANK rank:integer] [COUNT num-matches:integer] [MAXLEN len:integer]"
        ),
        complexity="O(N) in the number of elements looked at",
        summary="Answers where an element is in a list, once or several times.",
    ),
    _list(
        "lmove", 5, "write denyoom",
        keys=_MOVE, since="6.2.0",
        arguments="source:key destination:key wherefrom=(LEFT | RIGHT) whereto=(LEFT | RIGHT)",
        summary="Takes an element from one end of a list, puts it at an end of another, and answers it.",
    ),
    _list(
        "rpoplpush", 3, "write denyoom",
        keys=_MOVE, since="1.2.0", arguments="source:key destination:key",
        deprecated_since="6.2.0", replaced_by="`LMOVE` with the `RIGHT` and `LEFT` arguments",
        summary="Takes the last element of a list, puts it in front of another, and answers it.",
    ),
    _list(
        "lmpop", -4, "write",
        keys=(KeySpec("RW access delete", counted=True),), since="7.0.0",
        arguments="numkeys:integer key:key... where=(LEFT | RIGHT) [COUNT count:integer]",
        complexity="O(N+M) in the numbers of keys and of elements answered",
        summary="Takes elements from an end of the first of several lists that is there.",
    ),
    _list(
        "blpop", -3, "write noscript blocking",
        keys=_TAKE_ANY, since="2.0.0", arguments="key:key... timeout:double",
        complexity="O(N) in the number of keys",
        summary="Takes the first element of the first of several lists that is there; waits for one.",
    ),
    _list(
        "brpop", -3, "write noscript blocking",
        keys=_TAKE_ANY, since="2.0.0", arguments="key:key... timeout:double",
        complexity="O(N) in the number of keys",
        summary="Takes the last element of the first of several lists that is there; waits for one.",
    ),
    _list(
        "blmove", 6, "write denyoom noscript blocking",
        keys=_MOVE, since="6.2.0",
        arguments=(
            "source:key destination:key wherefrom=(LEFT | RIGHT) whereto=(LEFT | RIGHT) timeout:double"
        ),
        summary="As LMOVE, and waits for an element to move.",
    ),
    _list(
        "brpoplpush", 4, "write denyoom noscript blocking",
        keys=_MOVE, since="2.2.0", arguments="source:key destination:key timeout:double",
        deprecated_since="6.2.0", replaced_by="`BLMOVE` with the `RIGHT` and `LEFT` arguments",
        summary="As RPOPLPUSH, and waits for an element to move.",
    ),
    _list(
        "blmpop", -5, "write blocking",
        keys=(KeySpec("RW access delete", begin=2, counted=True),), since="7.0.0",
        arguments=(
            "timeout:double numkeys:integer key:key... where=(LEFT | RIGHT) [COUNT count:integer]"
        ),
        complexity="O(N+M) in the numbers of keys and of elements answered",
        summary="As LMPOP, and waits for a list to be there.",
    ),
)  # fmt: skip
