"""Rows of the stream commands. All of them are compiled: node/engine/stream_*.pyx."""

from __future__ import annotations

from functools import partial

from node.commands.help import answer_help
from node.commands.table import KeySpec, command

_stream = partial(command, group="stream", categories="stream")

_READ = (KeySpec("RO access"),)
_READ_SECOND = (KeySpec("RO access", begin=2),)
_INSERT_SECOND = (KeySpec("RW insert", begin=2),)
_UPDATE_SECOND = (KeySpec("RW update", begin=2),)
_DELETE_SECOND = (KeySpec("RW delete", begin=2),)
_UPDATE = (KeySpec("RW update"),)
_DELETE = (KeySpec("RW delete"),)
_TRIM = (
    "trim=(strategy=(MAXLEN | MINID) [operator=(equal== | approximately=~)] threshold:string"
    " [LIMIT count:integer])"
)

COMMANDS = (
    _stream(
        "xadd", -5, "write denyoom fast",
        keys=(KeySpec("RW update", note="UPDATE instead of INSERT because of the trimming"),),
        since="5.0.0", tips="nondeterministic_output",
        arguments=(
            f"key:key [NOMKSTREAM] [{_TRIM}] id_or_auto=(auto_id=* | id:string)"
            " field_value=(field:string value:string)..."
        ),
        complexity="O(1); with a trimming O(N) in the number of entries removed",
        summary="Adds an entry to a stream and answers its id; creates the key when there is none.",
    ),
    _stream(
        "xtrim", -4, "write",
        keys=_DELETE, since="5.0.0", tips="nondeterministic_output", arguments=f"key:key {_TRIM}",
        complexity="O(N) in the number of entries removed",
        summary="Removes the oldest entries of a stream.",
    ),
    _stream(
        "xlen", 2, "readonly fast",
        keys=(KeySpec("RO"),), since="5.0.0", arguments="key:key",
        summary="Answers the number of entries.",
    ),
    _stream(
        "xrange", -4, "readonly",
        keys=_READ, since="5.0.0", arguments="key:key start:string end:string [COUNT count:integer]",
        complexity="O(log N + M) in the numbers of entries and of those answered",
        summary="Answers the entries between two ids.",
    ),
    _stream(
        "xrevrange", -4, "readonly",
        keys=_READ, since="5.0.0", arguments="key:key end:string start:string [COUNT count:integer]",
        complexity="O(log N + M) in the numbers of entries and of those answered",
        summary="Answers the entries between two ids, the newest first.",
    ),
    _stream(
        "xdel", -3, "write fast",
        keys=_DELETE, since="5.0.0", arguments="key:key id:string...",
        complexity="O(log N) for each id",
        summary="Removes entries by their ids.",
    ),
    _stream(
        "xsetid", -3, "write denyoom fast",
        keys=_UPDATE, since="5.0.0",
        arguments=(
            "key:key last-id:string [ENTRIESADDED entries_added:integer]"
            " [MAXDELETEDID max_deleted_entry_id:string]"
        ),
        summary="Sets what a stream remembers of its past: its last id, its count, its deletions.",
    ),
    _stream(
        "xread", -4, "readonly blocking",
        keys=(KeySpec("RO access", begin=1, last=-1, keyword="STREAMS", half=True),), since="5.0.0",
        arguments=(
            "[COUNT count:integer] [BLOCK milliseconds:integer] STREAMS streams=(key:key... id:string...)"
        ),
        complexity="O(log N + M) for each stream in the numbers of entries and of those answered",
        summary="Answers the entries behind given ids of several streams; may wait for some.",
    ),
    _stream(
        "xreadgroup", -7, "write blocking",
        keys=(KeySpec("RO access", begin=4, last=-1, keyword="STREAMS", half=True),), since="5.0.0",
        arguments=(
            "GROUP group_consumer=(group:string consumer:string) [COUNT count:integer]"
            " [BLOCK milliseconds:integer] [NOACK] STREAMS streams=(key:key... id:string...)"
        ),
        complexity="O(M log P) for each stream in the numbers of entries answered and of pending ones",
        summary="Gives entries to a consumer of a group, or tells what it has pending; may wait.",
    ),
    command(
        "xgroup", -2, "", group="stream", since="5.0.0", complexity="Depends on the subcommand",
        summary="Groups of consumers that share the entries of a stream.",
        subcommands=(
            _stream(
                "xgroup|create", -5, "write denyoom",
                keys=_INSERT_SECOND, since="5.0.0",
                arguments=(
                    "key:key groupname:string id=(id:string | new_id=$) [MKSTREAM]"
                    " [ENTRIESREAD entries_read:integer]"
                ),
                summary="Makes a group that begins behind an id.",
            ),
            _stream(
                "xgroup|createconsumer", 5, "write denyoom",
                keys=_INSERT_SECOND, since="6.2.0", arguments="key:key groupname:string consumername:string",
                summary="Adds a consumer to a group.",
            ),
            _stream(
                "xgroup|setid", -5, "write",
                keys=_UPDATE_SECOND, since="5.0.0",
                arguments=(
                    "key:key groupname:string id=(id:string | new_id=$) [ENTRIESREAD entries_read:integer]"
                ),
                summary="Lets a group go on behind another id.",
            ),
            _stream(
                "xgroup|delconsumer", 5, "write",
                keys=_DELETE_SECOND, since="5.0.0", arguments="key:key groupname:string consumername:string",
                complexity="O(N log N) in the number of its pending entries",
                summary="Removes a consumer and what it has pending.",
            ),
            _stream(
                "xgroup|destroy", 4, "write",
                keys=_DELETE_SECOND, since="5.0.0", arguments="key:key groupname:string",
                complexity="O(1): what is pending is freed in the background",
                summary="Removes a group with all its consumers.",
            ),
            _stream(
                "xgroup|help", 2, "loading stale",
                since="5.0.0", handler=answer_help, summary="Shows what XGROUP can do.",
            ),
        ),
    ),
    _stream(
        "xack", -4, "write fast",
        keys=_UPDATE, since="5.0.0", arguments="key:key group:string id:string...",
        complexity="O(log N) for each id in the number of pending entries",
        summary="Says that entries are done with: they are pending no more.",
    ),
    _stream(
        "xpending", -3, "readonly",
        keys=_READ, since="5.0.0", tips="nondeterministic_output",
        arguments=(
            "key:key group:string"
            " [filters=([IDLE min-idle-time:integer] start:string end:string count:integer"
            " [consumer:string])]"
        ),
        complexity="O(log N + M) in the numbers of pending entries and of those looked at",
        summary="Tells what was given to consumers and not acknowledged.",
    ),
    _stream(
        "xclaim", -6, "write fast",
        keys=_UPDATE, since="5.0.0", tips="nondeterministic_output",
        arguments=(
            "key:key group:string consumer:string min-idle-time:string id:string... [IDLE ms:integer]"
            " [TIME unix-time-milliseconds:unix-time] [RETRYCOUNT count:integer] [FORCE] [JUSTID]"
            " [LASTID id:string]"
        ),
        complexity="O(log N) for each id in the number of pending entries",
        summary="Gives pending entries to another consumer.",
    ),
    _stream(
        "xautoclaim", -6, "write fast",
        keys=_DELETE, since="6.2.0", tips="nondeterministic_output",
        arguments=(
            "key:key group:string consumer:string min-idle-time:string start:string [COUNT count:integer]"
            " [JUSTID]"
        ),
        complexity="O(1) for a small count",
        summary="Gives entries that are pending for long to another consumer, some at a time.",
    ),
    command(
        "xinfo", -2, "", group="stream", since="5.0.0", complexity="Depends on the subcommand",
        summary="What is known of a stream, its groups and their consumers.",
        subcommands=(
            _stream(
                "xinfo|stream", -3, "readonly",
                keys=_READ_SECOND, since="5.0.0", arguments="key:key [FULL full=([COUNT count:integer])]",
                summary="Tells about a stream; with FULL also its entries and groups.",
            ),
            _stream(
                "xinfo|groups", 3, "readonly",
                keys=_READ_SECOND, since="5.0.0", arguments="key:key",
                summary="Lists the groups of a stream.",
            ),
            _stream(
                "xinfo|consumers", 4, "readonly",
                keys=_READ_SECOND, since="5.0.0", tips="nondeterministic_output",
                arguments="key:key groupname:string",
                summary="Lists the consumers of a group.",
            ),
            _stream(
                "xinfo|help", 2, "loading stale",
                since="5.0.0", handler=answer_help, summary="Shows what XINFO can do.",
            ),
        ),
    ),
)  # fmt: skip
