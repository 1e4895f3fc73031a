"""memcached beside redis-server and us: server CPU per request, the same client loop for both protocols.

GET and SET of 64 bytes over 50 connections, alone and 32 in a pipeline. memcached is asked with its meta get
(`mg key v`): it answers each of 32 pipelined `get` with a system call of its own (5 us instead of 0.9), which
would measure a way of asking that nobody in a hurry uses. The load (probe.c) treats both
protocols alike; with one client process it is often the client that is saturated, so server CPU per request
says more than requests per second. memcached runs with one worker thread, as the others do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Final

from bench.load import LoadFailed
from bench.measure import cpu_ns
from bench.probe import Probe
from bench.servers import Server

KEYS: Final = 100_000
VALUE_BYTES: Final = 64
CONNECTIONS: Final = 50
PIPELINES: Final = (1, 32)
PILOT_REQUESTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Run:
    requests_per_s: float
    cpu_us_per_request: float
    p50_us: float
    p99_us: float
    p999_us: float


@dataclass(frozen=True, slots=True)
class Row:
    """All runs of one case, by server."""

    command: str
    pipeline: int
    runs: dict[str, list[Run]]

    def cpu_us(self, server: str) -> float:
        return median(run.cpu_us_per_request for run in self.runs[server])

    def requests_per_s(self, server: str) -> float:
        return median(run.requests_per_s for run in self.runs[server])


def measure(servers: Sequence[Server], probe: Probe, *, repeats: int, seconds: float) -> Iterator[Row]:
    """Raises: LoadFailed."""
    for server in servers:
        probe.run(
            server.port,
            protocol=_protocol(server),
            fill=True,
            keys=KEYS,
            value_bytes=VALUE_BYTES,
            pipeline=32,
        )
    for command in ("SET", "GET"):
        for pipeline in PIPELINES:
            pilots = [_run(server, probe, command, pipeline, PILOT_REQUESTS) for server in servers]
            count = max(PILOT_REQUESTS, int(min(run.requests_per_s for run in pilots) * seconds))
            runs: dict[str, list[Run]] = {server.name: [] for server in servers}
            for turn in range(repeats):
                for server in servers if turn % 2 == 0 else reversed(servers):
                    runs[server.name].append(_run(server, probe, command, pipeline, count))
            yield Row(command, pipeline, runs)


def _protocol(server: Server) -> str:
    return "memcached" if server.name == "memcached" else "resp"


def _run(server: Server, probe: Probe, command: str, pipeline: int, count: int) -> Run:
    before_ns = cpu_ns(server.pid)
    phase = probe.run(
        server.port, protocol=_protocol(server), connections=CONNECTIONS, pipeline=pipeline, keys=KEYS,
        value_bytes=VALUE_BYTES, sets=100 if command == "SET" else 0, count=count,
    )  # fmt: skip
    used_ns = cpu_ns(server.pid) - before_ns
    seen = phase.sets if command == "SET" else phase.gets
    if seen.misses:
        raise LoadFailed(f"{server.name}: {seen.misses} of {seen.count} keys were not there")
    return Run(
        phase.requests / phase.seconds,
        used_ns / 1000 / phase.requests,
        seen.percentiles_us["50"],
        seen.percentiles_us["99"],
        seen.percentiles_us["99.9"],
    )


def head(names: Sequence[str]) -> str:
    columns = "".join(f"{name:>12}" for name in names)
    return (
        f"{'':14}{'server CPU us/request':^{12 * len(names)}}   {'thousand requests/s':^{12 * len(names)}}\n"
        f"{'command':8}{'pipe':>6}{columns}   {columns}"
    )


def line(row: Row) -> str:
    cpu = "".join(f"{row.cpu_us(name):12.2f}" for name in row.runs)
    pace = "".join(f"{row.requests_per_s(name) / 1000:12.1f}" for name in row.runs)
    return f"{row.command:8}{row.pipeline:6}{cpu}   {pace}"


def as_json(rows: Sequence[Row]) -> dict[str, object]:
    return {
        "value_bytes": VALUE_BYTES,
        "rows": [
            {
                **asdict(row),
                "cpu_us_per_request": {name: row.cpu_us(name) for name in row.runs},
                "requests_per_s": {name: row.requests_per_s(name) for name in row.runs},
                **{
                    figure: {
                        name: median(getattr(run, figure) for run in row.runs[name]) for name in row.runs
                    }
                    for figure in ("p50_us", "p99_us", "p999_us")
                },
            }
            for row in rows
        ],
    }
