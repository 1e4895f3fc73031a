"""What INFO says: Redis's sections and field names, so that existing monitoring reads them.

Only what we measure is shown. A field of Redis's that has no meaning here (fork times, Lua memory) is
left out rather than shown as 0: a graph of a constant is a lie. Fields that clients insist on are kept
where their value is true.

Reads /proc and resource usage, so it is a shell: nothing in the cores depends on it.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from node.observer import percentile_us
from node.version import GRAPEVINE_VERSION, REDIS_VERSION

if TYPE_CHECKING:
    from node.context import NodeContext
    from node.engine.engine import Engine
    from node.engine.registry import Command
    from node.engine.session import Session

Fields: TypeAlias = Iterator[tuple[str, object]]

_PAGE_BYTES: Final = resource.getpagesize()
_SAMPLES: Final = 16  # at ten a second: rates are means of the last 1.6 s


class Meter:
    """Rates and the memory peak, from samples taken about ten times a second."""

    def __init__(self, engine: Engine, now_ms: int) -> None:
        self._engine = engine
        self._samples: list[tuple[int, int, int, int]] = []
        self.peak_bytes = 0
        self.turns = self.turns_us = self.longest_turn_us = self.longest_step_us = 0
        self.sleeps = self.looks = self.finds = self.looked_us = 0
        self.sample(now_ms)

    def sample(self, now_ms: int) -> None:
        """Takes a sample.

        Args:
            now_ms: monotonic; samples of the same millisecond replace each other.
        """
        counters = self._engine.statistics()
        taken = (now_ms, counters["commands"], counters["net_input_bytes"], counters["net_output_bytes"])
        if self._samples and taken[1] < self._samples[-1][1]:
            self._samples.clear()  # the counters were reset
        if self._samples and self._samples[-1][0] >= now_ms:
            self._samples.pop()
        self._samples = [*self._samples[-_SAMPLES:], taken]
        self.peak_bytes = max(self.peak_bytes, self._engine.keyspace.memory()["used_bytes"])

    def add_turns(self, count: int, total_us: int, longest_us: int) -> None:
        """What the pump's `take_turns` returned."""
        self.turns += count
        self.turns_us += total_us
        self.longest_turn_us = max(self.longest_turn_us, longest_us)

    def add_step(self, processor_us: int) -> None:
        """The longest step of chores (chores.py) in a while."""
        self.longest_step_us = max(self.longest_step_us, processor_us)

    def add_sleeps(self, count: int, looks: int, finds: int, looked_us: int) -> None:
        """What the pump's `take_sleeps` returned."""
        self.sleeps += count
        self.looks += looks
        self.finds += finds
        self.looked_us += looked_us

    def forget_turns(self) -> None:
        """CONFIG RESETSTAT: counts turns, steps and sleeps from zero."""
        self.turns = self.turns_us = self.longest_turn_us = self.longest_step_us = 0
        self.sleeps = self.looks = self.finds = self.looked_us = 0

    def rates(self) -> tuple[float, float, float]:
        """Commands, bytes in and bytes out, each a second."""
        first, last = self._samples[0], self._samples[-1]
        seconds = (last[0] - first[0]) / 1000
        if seconds <= 0:
            return 0.0, 0.0, 0.0
        commands, received, sent = ((last[at] - first[at]) / seconds for at in (1, 2, 3))
        return commands, received, sent


def render(node: NodeContext, wanted: Sequence[str] = ()) -> str:
    """The text of INFO.

    Args:
        wanted: names of sections, or `default`, `all`, `everything`; unknown ones are ignored; none
            means the default.
    """
    names = {name.lower() for name in wanted} or {"default"}
    if "default" in names:
        names |= _DEFAULT
    if names & {"all", "everything"}:
        names |= _SECTIONS.keys()
    parts = []
    for name, (title, fields) in _SECTIONS.items():
        if name in names:
            lines = [f"# {title}", *(f"{field}:{_shown(value)}" for field, value in fields(node))]
            parts.append("".join(f"{line}\r\n" for line in lines))
    return "\r\n".join(parts)


def human(size_bytes: int) -> str:
    """Bytes for people, as Redis writes them: `1.61M`."""
    if size_bytes < 1024:
        return f"{size_bytes}B"
    size = float(size_bytes)
    for unit in "KMGTP":
        size /= 1024
        if size < 1024 or unit == "P":
            break
    return f"{size:.2f}{unit}"


def _server(node: NodeContext) -> Fields:
    now_us = node.clock_us()
    up_s = max(0, node.engine.monotonic_now_ms - node.started_ms) // 1000
    system = platform.uname()
    yield "redis_version", REDIS_VERSION
    yield "grapevine_version", GRAPEVINE_VERSION
    yield "redis_mode", "cluster" if node.engine.cluster else "standalone"
    yield "os", f"{system.system} {system.release} {system.machine}"
    yield "arch_bits", 64 if sys.maxsize > (1 << 32) else 32
    yield "monotonic_clock", "POSIX clock_gettime"
    yield "multiplexing_api", "epoll"
    yield "python_version", platform.python_version()
    yield "process_id", os.getpid()
    yield "run_id", node.run_id
    yield "tcp_port", node.config.integer("port")
    yield "server_time_usec", now_us
    yield "uptime_in_seconds", up_s
    yield "uptime_in_days", up_s // 86400
    yield "hz", node.config.integer("hz")
    yield "configured_hz", node.config.integer("hz")
    yield "executable", sys.executable
    yield "config_file", "" if node.config.file is None else node.config.file.resolve()
    yield "zone", node.config.text("zone")


def _clients(node: NodeContext) -> Fields:
    sessions = list(node.pump.sessions.values())
    clients = [session for session in sessions if not session.is_replica and not session.apply_stream]
    yield "connected_clients", len(clients)
    yield "maxclients", node.config.integer("maxclients")
    yield "client_recent_max_input_buffer", max((s.query_capacity_bytes for s in sessions), default=0)
    yield "client_recent_max_output_buffer", max((s.output_capacity_bytes for s in sessions), default=0)
    yield "blocked_clients", sum(session.blocked or session.stalled for session in sessions)
    yield "tracking_clients", 0
    yield "watching_clients", sum(session.watching_count > 0 for session in sessions)


def _memory(node: NodeContext) -> Fields:
    heap = node.engine.keyspace.memory()
    used, rss, limit = heap["used_bytes"], resident_bytes(), node.config.integer("maxmemory")
    peak = max(used, node.meter.peak_bytes)
    system = os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES
    sessions = list(node.pump.sessions.values())
    for name, size in (
        ("used_memory", used),
        ("used_memory_rss", rss),
        ("used_memory_peak", peak),
        ("total_system_memory", system),
        ("maxmemory", limit),
    ):
        yield name, size
        yield f"{name}_human", human(size)
    yield "used_memory_peak_perc", f"{100 * used / peak if peak else 0:.2f}%"
    yield "used_memory_dataset", used
    yield "maxmemory_policy", node.config.text("maxmemory-policy")
    yield "allocator_allocated", used
    yield "allocator_active", heap["held_bytes"]
    yield "allocator_resident", rss
    yield "allocator_frag_ratio", f"{heap['held_bytes'] / used if used else 1:.2f}"
    yield "allocator_frag_bytes", max(0, heap["held_bytes"] - used)
    yield "mem_fragmentation_ratio", f"{rss / used if used else 1:.2f}"
    yield "mem_fragmentation_bytes", max(0, rss - used)
    yield "mem_replication_backlog", backlog_bytes(node)
    yield "mem_clients_slaves", sum(buffer_bytes(session) for session in sessions if session.is_replica)
    yield "mem_clients_normal", sum(buffer_bytes(session) for session in sessions if not session.is_replica)
    yield "mem_allocator", "grapevine"


def _persistence(node: NodeContext) -> Fields:
    yield "loading", node.engine.loading
    yield "async_loading", 0
    yield "rdb_changes_since_last_save", node.engine.keyspace.changes
    yield "rdb_bgsave_in_progress", 0
    yield "rdb_last_bgsave_status", "ok"
    yield "aof_enabled", 0
    yield "aof_rewrite_in_progress", 0
    yield "aof_last_bgrewrite_status", "ok"
    yield "aof_last_write_status", "ok"


def _stats(node: NodeContext) -> Fields:
    counters = node.engine.statistics()
    keyspace = node.engine.keyspace
    commands, received, sent = node.meter.rates()
    yield "total_connections_received", counters["connections"]
    yield "total_commands_processed", counters["commands"]
    yield "instantaneous_ops_per_sec", round(commands)
    yield "total_net_input_bytes", counters["net_input_bytes"]
    yield "total_net_output_bytes", counters["net_output_bytes"]
    yield "total_net_repl_output_bytes", counters["net_repl_output_bytes"]
    yield "instantaneous_input_kbps", f"{received / 1024:.2f}"
    yield "instantaneous_output_kbps", f"{sent / 1024:.2f}"
    yield "rejected_connections", counters["rejected_connections"]
    section = node.info_sections.get("syncs")
    if section is not None:
        yield from section()
    yield "expired_keys", keyspace.expired
    yield "expired_subkeys", keyspace.expired_fields
    yield "evicted_keys", keyspace.evicted
    yield "evicted_clients", 0
    yield "keyspace_hits", keyspace.hits
    yield "keyspace_misses", keyspace.misses
    yield "pubsub_channels", 0
    yield "pubsub_patterns", 0
    yield "pubsubshard_channels", 0
    yield "unexpected_error_replies", counters["unexpected_errors"]
    yield "total_error_replies", counters["errors"]
    yield "client_query_buffer_limit_disconnections", counters["query_limit_disconnections"]
    yield "client_output_buffer_limit_disconnections", counters["output_limit_disconnections"]
    yield "eventloop_cycles", node.meter.turns
    yield "eventloop_duration_sum", node.meter.turns_us
    yield "grapevine_longest_turn_usec", node.meter.longest_turn_us
    yield "grapevine_longest_step_usec", node.meter.longest_step_us
    yield "grapevine_sleeps", node.meter.sleeps
    yield "grapevine_looks_before_sleep", node.meter.looks
    yield "grapevine_looks_that_found", node.meter.finds
    yield "grapevine_looked_usec", node.meter.looked_us


def _replication(node: NodeContext) -> Fields:
    section = node.info_sections.get("replication")
    if section is not None:
        yield from section()
        return
    effects = node.engine.effects
    yield "role", "master"
    yield "connected_slaves", 0
    yield "master_failover_state", "no-failover"
    yield "master_replid", node.run_id
    yield "master_replid2", "0" * 40
    yield "master_repl_offset", effects.offset
    yield "second_repl_offset", -1
    yield "repl_backlog_active", effects.active
    yield "repl_backlog_size", node.config.integer("repl-backlog-size")
    yield "repl_backlog_first_byte_offset", effects.start
    yield "repl_backlog_histlen", effects.offset - effects.start


def _cpu(_node: NodeContext) -> Fields:
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    yield "used_cpu_sys", f"{own.ru_stime:.6f}"
    yield "used_cpu_user", f"{own.ru_utime:.6f}"
    yield "used_cpu_sys_children", f"{children.ru_stime:.6f}"
    yield "used_cpu_user_children", f"{children.ru_utime:.6f}"


def _modules(_node: NodeContext) -> Fields:
    yield from ()


def _each_command(node: NodeContext) -> Iterator[Command]:
    for command in node.engine.registry.commands():
        yield command
        yield from (command.children or {}).values()


def _commandstats(node: NodeContext) -> Fields:
    ticks_per_us = node.engine.ticks_per_us
    for row in _each_command(node):
        if row.calls or row.rejected or row.failed:
            spent_us = row.ticks / ticks_per_us if ticks_per_us else 0.0
            yield (
                f"cmdstat_{row.name}",
                f"calls={row.calls},usec={spent_us:.0f},usec_per_call={spent_us / (row.calls or 1):.2f},"
                f"rejected_calls={row.rejected},failed_calls={row.failed}",
            )


def _latencystats(node: NodeContext) -> Fields:
    if not node.config.flag("latency-tracking"):
        return
    percents = node.config.text("latency-tracking-info-percentiles").split()
    for row in _each_command(node):
        if percents and row.latencies():
            yield (
                f"latency_percentiles_usec_{row.name}",
                ",".join(
                    f"p{percent}={percentile_us(row, float(percent), node.engine.ticks_per_us):.3f}"
                    for percent in percents
                ),
            )


def _errorstats(node: NodeContext) -> Fields:
    for code, count in sorted(node.engine.errors_by_code.items()):
        yield f"errorstat_{code.decode('ascii', 'backslashreplace')}", f"count={count}"


def _cluster(node: NodeContext) -> Fields:
    yield "cluster_enabled", node.engine.cluster
    section = node.info_sections.get("cluster")
    if section is not None:
        yield from section()


def _keyspace(node: NodeContext) -> Fields:
    keyspace = node.engine.keyspace
    for number in range(keyspace.database_count):
        size = keyspace.size(number)
        if size:
            yield f"db{number}", f"keys={size},expires={keyspace.expiring(number)},avg_ttl=0"


_SECTIONS: Final[dict[str, tuple[str, Callable[[NodeContext], Iterable[tuple[str, object]]]]]] = {
    "server": ("Server", _server),
    "clients": ("Clients", _clients),
    "memory": ("Memory", _memory),
    "persistence": ("Persistence", _persistence),
    "stats": ("Stats", _stats),
    "replication": ("Replication", _replication),
    "cpu": ("CPU", _cpu),
    "modules": ("Modules", _modules),
    "commandstats": ("Commandstats", _commandstats),
    "errorstats": ("Errorstats", _errorstats),
    "latencystats": ("Latencystats", _latencystats),
    "cluster": ("Cluster", _cluster),
    "keyspace": ("Keyspace", _keyspace),
}
_DEFAULT: Final = frozenset(_SECTIONS) - {"commandstats", "latencystats"}


def resident_bytes() -> int:
    """Resident memory of this process."""
    with open("/proc/self/statm", "rb") as stream:
        return int(stream.read().split()[1]) * _PAGE_BYTES


def buffer_bytes(session: Session) -> int:
    """What a connection's input and replies take now."""
    return session.query_capacity_bytes + session.output_capacity_bytes


def backlog_bytes(node: NodeContext) -> int:
    """What the stream kept for replicas takes."""
    effects = node.engine.effects
    return effects.held_bytes if effects.active else 0


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value)
