"""Rows of the sorted set commands, all compiled: node/engine/zset*.pyx."""

from __future__ import annotations

from functools import partial

from node.commands.table import KeySpec, command

_sorted_set = partial(command, group="sorted-set", categories="sortedset")

_READ = (KeySpec("RO access"),)
_LOOK = (KeySpec("RO"),)
_PUT = (KeySpec("RW update"),)
_CHANGE = (KeySpec("RW access update"),)
_DELETE = (KeySpec("RW delete"),)
_POP = (KeySpec("RW access delete"),)
_SEVERAL = (KeySpec("RO access", counted=True),)
_INTO_FROM = (KeySpec("OW update"), KeySpec("RO access", begin=2))
_INTO_SEVERAL = (KeySpec("OW update"), KeySpec("RO access", begin=2, counted=True))

_SORTED_BY = "[sortby=(BYSCORE | BYLEX)] [REV]"
_LIMIT = "[LIMIT offset_count=(offset:integer count:integer)]"
_WEIGHED = "[WEIGHTS weight:integer...] [AGGREGATE aggregate=(SUM | MIN | MAX)]"
_FIND = "O(log N) for a large set, O(N) for a packed one"
_EACH = "O(log N) for each member, O(N) in a packed set"
_SHOWN = "O(log N + M) with M members in the answer"
_REMOVED = "O(log N + M) with M members removed"
_MERGED = "O(N log N) in all members of the inputs"

COMMANDS = (
    _sorted_set(
        "zadd", -4, "write denyoom fast",
        keys=_PUT, since="1.2.0",
        arguments="key:key [condition=(NX | XX)] [comparison=(GT | LT)] [change=CH] [increment=INCR]"
        " score_member=(score:double member:string)...",
        complexity=_EACH,
        summary="Adds members with their scores, or gives the ones that are there other scores.",
    ),
    _sorted_set(
        "zincrby", 4, "write denyoom fast",
        keys=_CHANGE, since="1.2.0", arguments="key:key increment:integer member:string",
        complexity=_FIND,
        summary="Adds to the score of a member; a missing one counts as 0.",
    ),
    _sorted_set(
        "zrem", -3, "write fast",
        keys=_DELETE, since="1.2.0", arguments="key:key member:string...",
        complexity=_EACH,
        summary="Removes members; a set without members is deleted too.",
    ),
    _sorted_set(
        "zcard", 2, "readonly fast",
        keys=_LOOK, since="1.2.0", arguments="key:key",
        summary="Answers the number of members.",
    ),
    _sorted_set(
        "zscore", 3, "readonly fast",
        keys=_READ, since="1.2.0", arguments="key:key member:string",
        summary="Answers the score of a member.",
    ),
    _sorted_set(
        "zmscore", -3, "readonly fast",
        keys=_READ, since="6.2.0", arguments="key:key member:string...",
        complexity="O(N) in the number of members asked for",
        summary="Answers the scores of several members, null where there is none.",
    ),
    _sorted_set(
        "zrank", -3, "readonly fast",
        keys=_READ, since="2.0.0", arguments="key:key member:string [WITHSCORE]",
        complexity=_FIND,
        summary="Answers how many members stand before one, counted from the lowest score.",
    ),
    _sorted_set(
        "zrevrank", -3, "readonly fast",
        keys=_READ, since="2.0.0", arguments="key:key member:string [WITHSCORE]",
        complexity=_FIND,
        summary="Answers how many members stand before one, counted from the highest score.",
    ),
    _sorted_set(
        "zcount", 4, "readonly fast",
        keys=_READ, since="2.0.0", arguments="key:key min:double max:double",
        complexity=_FIND,
        summary="Counts the members with a score between two.",
    ),
    _sorted_set(
        "zlexcount", 4, "readonly fast",
        keys=_READ, since="2.8.9", arguments="key:key min:string max:string",
        complexity=_FIND,
        summary="Counts the members between two, where all scores are equal.",
    ),
    _sorted_set(
        "zrange", -4, "readonly",
        keys=_READ, since="1.2.0",
        arguments=f"key:key start:string stop:string {_SORTED_BY} {_LIMIT} [WITHSCORES]",
        complexity=_SHOWN,
        summary="Answers a range of members: by rank, by score or by their bytes, either way round.",
    ),
    _sorted_set(
        "zrevrange", -4, "readonly",
        keys=_READ, since="1.2.0", arguments="key:key start:integer stop:integer [WITHSCORES]",
        complexity=_SHOWN,
        deprecated_since="6.2.0", replaced_by="`ZRANGE` with the `REV` argument",
        summary="Answers a range of ranks, from the highest score down.",
    ),
    _sorted_set(
        "zrangebyscore", -4, "readonly",
        keys=_READ, since="1.0.5", arguments=f"key:key min:double max:double [WITHSCORES] {_LIMIT}",
        complexity=_SHOWN,
        deprecated_since="6.2.0", replaced_by="`ZRANGE` with the `BYSCORE` argument",
        summary="Answers the members with a score between two.",
    ),
    _sorted_set(
        "zrevrangebyscore", -4, "readonly",
        keys=_READ, since="2.2.0", arguments=f"key:key max:double min:double [WITHSCORES] {_LIMIT}",
        complexity=_SHOWN,
        deprecated_since="6.2.0", replaced_by="`ZRANGE` with the `REV` and `BYSCORE` arguments",
        summary="Answers the members with a score between two, from the highest down.",
    ),
    _sorted_set(
        "zrangebylex", -4, "readonly",
        keys=_READ, since="2.8.9", arguments=f"key:key min:string max:string {_LIMIT}",
        complexity=_SHOWN,
        deprecated_since="6.2.0", replaced_by="`ZRANGE` with the `BYLEX` argument",
        summary="Answers the members between two, where all scores are equal.",
    ),
    _sorted_set(
        "zrevrangebylex", -4, "readonly",
        keys=_READ, since="2.8.9", arguments=f"key:key max:string min:string {_LIMIT}",
        complexity=_SHOWN,
        deprecated_since="6.2.0", replaced_by="`ZRANGE` with the `REV` and `BYLEX` arguments",
        summary="Answers the members between two, from the last down, where all scores are equal.",
    ),
    _sorted_set(
        "zrangestore", -5, "write denyoom",
        keys=_INTO_FROM, since="6.2.0",
        arguments=f"dst:key src:key min:string max:string {_SORTED_BY} {_LIMIT}",
        complexity="O(log N + M log M) with M members stored",
        summary="Stores what ZRANGE would answer under another key.",
    ),
    _sorted_set(
        "zremrangebyrank", 4, "write",
        keys=_DELETE, since="2.0.0", arguments="key:key start:integer stop:integer",
        complexity=_REMOVED,
        summary="Removes a range of ranks.",
    ),
    _sorted_set(
        "zremrangebyscore", 4, "write",
        keys=_DELETE, since="1.2.0", arguments="key:key min:double max:double",
        complexity=_REMOVED,
        summary="Removes the members with a score between two.",
    ),
    _sorted_set(
        "zremrangebylex", 4, "write",
        keys=_DELETE, since="2.8.9", arguments="key:key min:string max:string",
        complexity=_REMOVED,
        summary="Removes the members between two, where all scores are equal.",
    ),
    _sorted_set(
        "zpopmin", -2, "write fast",
        keys=_POP, since="5.0.0", arguments="key:key [count:integer]",
        complexity="O(log N) for each member",
        summary="Removes the members with the lowest scores and answers them.",
    ),
    _sorted_set(
        "zpopmax", -2, "write fast",
        keys=_POP, since="5.0.0", arguments="key:key [count:integer]",
        complexity="O(log N) for each member",
        summary="Removes the members with the highest scores and answers them.",
    ),
    _sorted_set(
        "zmpop", -4, "write",
        keys=(KeySpec("RW access delete", counted=True),), since="7.0.0",
        arguments="numkeys:integer key:key... where=(MIN | MAX) [COUNT count:integer]",
        complexity="O(K) keys, and O(log N) for each member",
        summary="Pops from the first of several sorted sets that is there.",
    ),
    _sorted_set(
        "bzpopmin", -3, "write noscript fast blocking",
        keys=(KeySpec("RW access delete", last=-2),), since="5.0.0",
        arguments="key:key... timeout:double",
        complexity="O(log N)",
        summary="Pops the member with the lowest score, waiting for one if there is none.",
    ),
    _sorted_set(
        "bzpopmax", -3, "write noscript fast blocking",
        keys=(KeySpec("RW access delete", last=-2),), since="5.0.0",
        arguments="key:key... timeout:double",
        complexity="O(log N)",
        summary="Pops the member with the highest score, waiting for one if there is none.",
    ),
    _sorted_set(
        "bzmpop", -5, "write blocking",
        keys=(KeySpec("RW access delete", begin=2, counted=True),), since="7.0.0",
        arguments="timeout:double numkeys:integer key:key... where=(MIN | MAX) [COUNT count:integer]",
        complexity="O(K) keys, and O(log N) for each member",
        summary="Pops from the first of several sorted sets that is there, waiting for one if none is.",
    ),
    _sorted_set(
        "zunion", -3, "readonly",
        keys=_SEVERAL, since="6.2.0", arguments=f"numkeys:integer key:key... {_WEIGHED} [WITHSCORES]",
        complexity=_MERGED,
        summary="Answers the members of any of several sorted sets.",
    ),
    _sorted_set(
        "zunionstore", -4, "write denyoom",
        keys=_INTO_SEVERAL, since="2.0.0",
        arguments=f"destination:key numkeys:integer key:key... {_WEIGHED}",
        complexity=_MERGED,
        summary="Stores the members of any of several sorted sets.",
    ),
    _sorted_set(
        "zinter", -3, "readonly",
        keys=_SEVERAL, since="6.2.0", arguments=f"numkeys:integer key:key... {_WEIGHED} [WITHSCORES]",
        complexity="O(N K) in the members of the smallest of K inputs",
        summary="Answers the members that several sorted sets have in common.",
    ),
    _sorted_set(
        "zinterstore", -4, "write denyoom",
        keys=_INTO_SEVERAL, since="2.0.0",
        arguments=f"destination:key numkeys:integer key:key... {_WEIGHED}",
        complexity="O(N K) in the members of the smallest of K inputs",
        summary="Stores the members that several sorted sets have in common.",
    ),
    _sorted_set(
        "zintercard", -3, "readonly",
        keys=_SEVERAL, since="7.0.0", arguments="numkeys:integer key:key... [LIMIT limit:integer]",
        complexity="O(N K) in the members of the smallest of K inputs",
        summary="Counts the members that several sorted sets have in common, up to a limit.",
    ),
    _sorted_set(
        "zdiff", -3, "readonly",
        keys=_SEVERAL, since="6.2.0", arguments="numkeys:integer key:key... [WITHSCORES]",
        complexity=_MERGED,
        summary="Answers the members of the first of several sorted sets that no other has.",
    ),
    _sorted_set(
        "zdiffstore", -4, "write denyoom",
        keys=_INTO_SEVERAL, since="6.2.0", arguments="destination:key numkeys:integer key:key...",
        complexity=_MERGED,
        summary="Stores the members of the first of several sorted sets that no other has.",
    ),
    _sorted_set(
        "zrandmember", -2, "readonly",
        keys=_READ, since="6.2.0", arguments="key:key [options=(count:integer [WITHSCORES])]",
        complexity="O(N) in the number of answered members", tips="nondeterministic_output",
        summary="Answers members picked at random; a negative count may pick one several times.",
    ),
    _sorted_set(
        "zscan", -3, "readonly",
        keys=_READ, since="2.8.0",
        arguments="key:key cursor:integer [MATCH pattern:pattern] [COUNT count:integer]",
        complexity="O(1) a call, O(N) for all members of a set", tips="nondeterministic_output",
        summary="Walks over the members of a sorted set, some at each call.",
    ),
)  # fmt: skip
