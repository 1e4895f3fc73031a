"""Load from redis-benchmark: its command line, its answer, one measured run."""

import re
import subprocess
import time
from dataclasses import dataclass, replace
from typing import Final

from bench.measure import cpu_ns

PROGRAM: Final = "redis-benchmark"
RUN_S_MAX: Final = 120.0


class LoadFailed(Exception):
    """redis-benchmark could not do its work; the text is its own last line."""


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of load. `command` as redis-benchmark's -t names it, or a whole command, its name in capitals.

    `before` is run as often right before, unmeasured: what LPOP takes must be there.
    """

    command: str
    connections: int
    pipeline: int
    value_bytes: int = 64
    keys: int = 100_000  # drawn at random from this many
    before: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: what the clients saw, and what it cost the server. Latencies are those of a whole pipeline."""

    requests: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    cpu_us_per_request: float


def arguments(case: Case, port: int, requests: int) -> list[str]:
    words = [
        PROGRAM, "-h", "127.0.0.1", "-p", str(port), "-n", str(requests), "-c", str(case.connections), "-P",
        str(case.pipeline), "-d", str(case.value_bytes), "-r", str(case.keys),
    ]  # fmt: skip
    return [*words, *(["-t", case.command] if case.command.islower() else case.command.split())]


_RATE: Final = re.compile(r"throughput summary: ([0-9.]+) requests per second")
_SUMMARY: Final = re.compile(r"avg +min +p50 +p95 +p99 +max\n((?: +[0-9.]+){6})")
_SHARE: Final = re.compile(r"^([0-9.]+)% <= ([0-9.]+) milliseconds", re.MULTILINE)


def parse(output: str) -> dict[str, float]:
    """The figures of a run of one command: rps, p50, p99 and p999 in ms.

    p999 is the first share of the printed distribution that is not below 99.9 %: the shares go
    ... 99.805, 99.902, 99.951 ..., so it is a little too high rather than too low.

    Raises:
        LoadFailed: not exactly one report (versions before 6.2 print another).
    """
    rates, summaries = _RATE.findall(output), _SUMMARY.findall(output)
    shares, heading, _ = output.partition("Cumulative distribution of latencies")
    tail = [float(bound) for share, bound in _SHARE.findall(shares) if float(share) >= 99.9]
    if len(rates) != 1 or len(summaries) != 1 or not heading or not tail:
        raise LoadFailed(f"{PROGRAM} answered without one table of figures: {output[-200:].strip()!r}")
    _, _, p50_ms, _, p99_ms, _ = map(float, summaries[0].split())
    return {"rps": float(rates[0]), "p50_ms": p50_ms, "p99_ms": p99_ms, "p999_ms": min(tail)}


def run(case: Case, port: int, pid: int, requests: int) -> Sample:
    """Drives the server on `port` with `requests` requests, and charges it (process `pid`) with its CPU time.

    Raises:
        LoadFailed: the load did not come about.
    """
    if case.before:
        run(replace(case, command=case.before, before=""), port, pid, requests)
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
        p50_ms=figures["p50_ms"],
        p99_ms=figures["p99_ms"],
        p999_ms=figures["p999_ms"],
        cpu_us_per_request=used_ns / 1000 / requests,
    )
