"""Load from redis-benchmark: its command line, its answer, one measured run."""

import csv
import subprocess
import time
from dataclasses import dataclass
from typing import Final

from bench.measure import cpu_ns

PROGRAM: Final = "redis-benchmark"
RUN_S_MAX: Final = 120.0


class LoadFailed(Exception):
    """redis-benchmark could not do its work; the text is its own last line."""


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of load. `command` as redis-benchmark's -t names it."""

    command: str
    connections: int
    pipeline: int
    value_bytes: int = 64
    keys: int = 100_000  # drawn at random from this many


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: what the clients saw, and what it cost the server. Latencies are those of a whole pipeline."""

    requests: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us_per_request: float


def arguments(case: Case, port: int, requests: int) -> list[str]:
    return [
        PROGRAM, "-h", "127.0.0.1", "-p", str(port), "-t", case.command, "-n", str(requests),
        "-c", str(case.connections), "-P", str(case.pipeline), "-d", str(case.value_bytes), "-r",
        str(case.keys), "--csv",
    ]  # fmt: skip


def parse(output: str) -> dict[str, float]:
    """The figures of a run of one command, by the names in redis-benchmark's CSV header.

    Raises:
        LoadFailed: no header with one row of figures (versions before 6.2 print no header).
    """
    lines = [line for line in output.splitlines() if line.startswith('"')]
    if len(lines) != 2 or not lines[0].startswith('"test"'):
        raise LoadFailed(f"{PROGRAM} answered without a table of figures: {output[-200:].strip()!r}")
    names, figures = csv.reader(lines)
    return {name: float(figure) for name, figure in zip(names[1:], figures[1:], strict=True)}


def run(case: Case, port: int, pid: int, requests: int) -> Sample:
    """Drives the server on `port` with `requests` requests, and charges it (process `pid`) with its CPU time.

    Raises:
        LoadFailed: the load did not come about.
    """
    before_ns = cpu_ns(pid)
    began = time.monotonic()
    try:
        done = subprocess.run(
            arguments(case, port, requests), capture_output=True, text=True, timeout=RUN_S_MAX, check=False
        )
    except subprocess.TimeoutExpired:
        raise LoadFailed(f"{case} did not end within {RUN_S_MAX:.0f} s") from None
    used_ns = cpu_ns(pid) - before_ns
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise LoadFailed(
            f"{PROGRAM}: {words[-1] if words else 'no word'} (after {time.monotonic() - began:.1f} s)"
        )
    figures = parse(done.stdout)
    return Sample(
        requests=requests,
        requests_per_s=figures["rps"],
        p50_ms=figures["p50_latency_ms"],
        p99_ms=figures["p99_latency_ms"],
        cpu_us_per_request=used_ns / 1000 / requests,
    )
