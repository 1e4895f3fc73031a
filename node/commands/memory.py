"""MEMORY: what keys cost, where memory is, and giving back what is empty."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from node.commands.help import answer_help
from node.commands.table import KeySpec, command
from node.commands.words import SYNTAX_ERROR, integer
from node.context import NodeContext, node_of
from node.engine.reply import OK, CommandError, Reply, Verbatim
from node.info import backlog_bytes, buffer_bytes, human, resident_bytes

if TYPE_CHECKING:
    from node.engine.session import Session


def usage(session: Session, args: list[bytes]) -> Reply:
    """MEMORY USAGE key [SAMPLES count]: bytes, counted rather than estimated, so SAMPLES changes nothing."""
    options = args[3:]
    while options:
        if options[0].lower() != b"samples" or len(options) < 2:
            raise CommandError(SYNTAX_ERROR)
        integer(options[1], low=0, range_error=SYNTAX_ERROR)
        options = options[2:]
    size_bytes = session.engine.keyspace.key_bytes(session.database, args[2])
    return None if size_bytes < 0 else size_bytes


def stats(session: Session, _args: list[bytes]) -> Reply:
    """MEMORY STATS: Redis's names, where there is such a thing here."""
    node = node_of(session)
    keyspace = node.engine.keyspace
    heap = keyspace.memory()
    used, held, rss = heap["used_bytes"], heap["held_bytes"], resident_bytes()
    peak = max(used, node.meter.peak_bytes)
    replicas, clients = _client_bytes(node)
    backlog = backlog_bytes(node)
    sizes = {number: keyspace.size(number) for number in range(keyspace.database_count)}
    count = sum(sizes.values())
    return {
        b"peak.allocated": peak,
        b"total.allocated": used,
        b"replication.backlog": backlog,
        b"clients.slaves": replicas,
        b"clients.normal": clients,
        b"overhead.total": backlog + replicas + clients,
        b"keys.count": count,
        b"keys.bytes-per-key": used // count if count else 0,
        b"dataset.bytes": used,
        b"dataset.percentage": _ratio(100 * used, rss),
        b"peak.percentage": _ratio(100 * used, peak),
        b"allocator.allocated": used,
        b"allocator.active": held,
        b"allocator.resident": rss,
        b"allocator-fragmentation.ratio": _ratio(held, used),
        b"allocator-fragmentation.bytes": max(0, held - used),
        b"rss-overhead.ratio": _ratio(rss, held),
        b"rss-overhead.bytes": max(0, rss - held),
        b"fragmentation": _ratio(rss, used),
        b"fragmentation.bytes": max(0, rss - used),
    }


def doctor(session: Session, _args: list[bytes]) -> Reply:
    """MEMORY DOCTOR: what looks wrong, and what to do."""
    return Verbatim(b"txt", "".join(f"{line}\n" for line in _complaints(node_of(session))).encode())


def purge(session: Session, _args: list[bytes]) -> Reply:
    """MEMORY PURGE: empty arenas go back to the system."""
    node_of(session).engine.keyspace.trim()
    return OK


def malloc_stats(session: Session, _args: list[bytes]) -> Reply:
    """MEMORY MALLOC-STATS: the entries' own allocator."""
    heap = node_of(session).engine.keyspace.memory()
    lines = (
        f"arenas: {heap['arenas']}",
        f"held from the system: {heap['held_bytes']} bytes",
        f"in use by keys and values: {heap['used_bytes']} bytes",
        f"resident, the whole process: {resident_bytes()} bytes",
    )
    return Verbatim(b"txt", "".join(f"{line}\n" for line in lines).encode())


def _client_bytes(node: NodeContext) -> tuple[int, int]:
    """What links to replicas, and all other connections, hold in buffers."""
    replicas = clients = 0
    for session in node.pump.sessions.values():
        if session.is_replica:
            replicas += buffer_bytes(session)
        else:
            clients += buffer_bytes(session)
    return replicas, clients


def _complaints(node: NodeContext) -> Iterator[str]:
    heap = node.engine.keyspace.memory()
    used, held, limit = heap["used_bytes"], heap["held_bytes"], node.config.integer("maxmemory")
    replicas, clients = _client_bytes(node)
    if used < _TOO_LITTLE_BYTES:
        yield f"Keys and values take {human(used)}: too little to judge by."
        return
    fine = True
    if node.meter.peak_bytes > used * 3 // 2:
        fine = False
        yield (
            f"The peak was {human(node.meter.peak_bytes)}, now {human(used)} are used. MEMORY PURGE returns"
            " arenas that are empty."
        )
    if held > used * 7 // 5:
        fine = False
        yield f"The allocator holds {human(held)} for {human(used)}: entries were deleted between others."
    if limit and used > limit * 9 // 10:
        fine = False
        yield f"{human(used)} of maxmemory {human(limit)} are used: see maxmemory-policy for what goes first."
    if clients > used // 2:
        fine = False
        yield f"Clients' buffers take {human(clients)}: CLIENT LIST shows whose (qbuf, omem)."
    if replicas > used // 2:
        fine = False
        yield f"Replicas' buffers take {human(replicas)}: some replica reads slowly (INFO replication)."
    if fine:
        yield "Nothing looks wrong."


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


_SPECIAL: Final = "nondeterministic_output request_policy:all_shards response_policy:special"
_TOO_LITTLE_BYTES: Final = 5 << 20

_memory = partial(command, group="server", since="4.0.0")

COMMANDS = (
    _memory(
        "memory", -2, "",
        complexity="Depends on the subcommand",
        summary="Container of commands about memory.",
        subcommands=(
            _memory(
                "memory|doctor", 2, "",
                handler=doctor, tips=_SPECIAL, summary="Says in sentences what looks wrong.",
            ),
            _memory(
                "memory|help", 2, "loading stale",
                handler=answer_help, summary="Lists the subcommands.",
            ),
            _memory(
                "memory|malloc-stats", 2, "",
                handler=malloc_stats, tips=_SPECIAL, summary="Answers figures of the allocator.",
            ),
            _memory(
                "memory|purge", 2, "",
                handler=purge, complexity="O(N) in the number of arenas",
                tips="request_policy:all_shards response_policy:all_succeeded",
                summary="Returns empty memory to the system.",
            ),
            _memory(
                "memory|stats", 2, "",
                handler=stats, tips=_SPECIAL, summary="Answers where memory is, in bytes.",
            ),
            _memory(
                "memory|usage", -3, "readonly",
                handler=usage, keys=(KeySpec("RO", begin=2),), categories="read",
                arguments="key:key [SAMPLES count:integer]",
                summary="Answers the bytes that a key and its value take.",
            ),
        ),
    ),
)  # fmt: skip
