"""What it costs to time every command: for SLOWLOG, LATENCY, and latencystats in INFO.

Twice: instructions per GET, counted by callgrind in the room itself, which no other load on the machine can
disturb; and server CPU per GET of a node, timing switched on and off in turns by CONFIG SET.
"""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

from bench.client import Client, command
from bench.load import LoadFailed
from bench.measure import cpu_ns
from bench.probe import Probe
from bench.servers import grapevine_kind, running
from node.config import Config
from node.engine.session import Session
from node.server import Node

PIPELINE: Final = 32
KEYS: Final = 1_000
COUNTED_REQUESTS: Final = (5_000, 25_000)
CALLGRIND_S_MAX: Final = 300.0
SETTINGS: Final[dict[str, Sequence[tuple[bytes, bytes]]]] = {
    "off": ((b"slowlog-log-slower-than", b"-1"), (b"latency-tracking", b"no")),
    "on": ((b"slowlog-log-slower-than", b"10000"), (b"latency-tracking", b"yes")),
}
_COLLECTED: Final = re.compile(r"Collected\s*:\s*(\d+)")


def work(timed: bool, requests: int) -> None:
    """GETs in pipelines through a session, no sockets: what callgrind counts."""
    node = Node(Config.load(None, []))
    engine, pump = node.engine, node.pump
    while not engine.ticks_per_us:  # the pump measures the counter's pace on its first turns
        pump.run(0, 0)
        time.sleep(0.02)
    engine.set_slow_us(10_000 if timed else -1)
    engine.latency_tracking = timed
    session = Session(engine)
    for key in range(KEYS):
        session.feed(command(b"SET", b"key:%012d" % key, b"v" * 64))
    batches = [
        b"".join(command(b"GET", b"key:%012d" % key) for key in range(first, first + PIPELINE))
        for first in range(0, KEYS - PIPELINE, PIPELINE)
    ]
    for number in range(requests // PIPELINE):
        answer = session.feed(batches[number % len(batches)])
        if answer[:5] != b"$64\r\n":
            raise LoadFailed(f"GET answers {answer[:80]!r}")


def instructions(directory: Path) -> dict[str, float] | None:
    """Instructions per GET, timing off and on; None without valgrind.

    The difference of two runs of different length, so that starting Python does not count. All four run at
    once: counts do not mind.

    Raises:
        LoadFailed: callgrind ended without a count.
    """
    if shutil.which("valgrind") is None:
        return None
    runs: dict[tuple[str, int], subprocess.Popen[str]] = {}
    for setting in SETTINGS:
        for requests in COUNTED_REQUESTS:
            words = [
                "valgrind",
                "--tool=callgrind",
                f"--callgrind-out-file={directory}/cg-{setting}-{requests}",
            ]
            words += [sys.executable, "-m", "bench.timing", setting, str(requests)]
            runs[setting, requests] = subprocess.Popen(
                words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
    counted: dict[tuple[str, int], int] = {}
    try:
        for key, process in runs.items():
            _, told = process.communicate(timeout=CALLGRIND_S_MAX)
            found = _COLLECTED.search(told)
            if found is None:
                raise LoadFailed(f"callgrind counted nothing: {told.strip().splitlines()[-1:]}")
            counted[key] = int(found[1])
    except subprocess.TimeoutExpired:
        raise LoadFailed(f"callgrind took longer than {CALLGRIND_S_MAX:.0f} s") from None
    finally:
        for process in runs.values():
            process.kill()
            process.wait()
    few, many = COUNTED_REQUESTS
    return {setting: (counted[setting, many] - counted[setting, few]) / (many - few) for setting in SETTINGS}


def cpu_us(
    probe: Probe, directory: Path, *, repeats: int, requests: int
) -> dict[str, dict[str, list[float]]]:
    """Server CPU us per GET, by pipeline, then timing off and on; as many runs as repeats, in turns."""
    found: dict[str, dict[str, list[float]]] = {}
    with running(grapevine_kind(), directory) as server, Client(server.port) as client:
        probe.run(server.port, fill=True, keys=100_000, pipeline=PIPELINE)
        for pipeline in (1, PIPELINE):
            count = requests if pipeline > 1 else requests // 8
            runs: dict[str, list[float]] = {setting: [] for setting in SETTINGS}
            probe.run(server.port, count=count // 4, pipeline=pipeline)
            for turn in range(repeats):
                for setting in SETTINGS if turn % 2 == 0 else reversed(SETTINGS):
                    client.ask([command(b"CONFIG", b"SET", *pair) for pair in SETTINGS[setting]])
                    before_ns = cpu_ns(server.pid)
                    probe.run(server.port, count=count, pipeline=pipeline)
                    runs[setting].append((cpu_ns(server.pid) - before_ns) / 1000 / count)
            found[str(pipeline)] = runs
    return found


def lines(counts: dict[str, float] | None, cpu: dict[str, dict[str, list[float]]]) -> list[str]:
    """The table."""
    out = [f"{'':34}{'off':>10}{'on':>10}{'more':>9}"]
    if counts is not None:
        out.append(_line("instructions per GET, pipeline 32", counts["off"], counts["on"], 0))
    for pipeline, runs in cpu.items():
        off, on = median(runs["off"]), median(runs["on"])
        out.append(_line(f"CPU us per GET, pipeline {pipeline}", off, on, 3))
    return out


def _line(name: str, off: float, on: float, digits: int) -> str:
    return f"{name:34}{off:10.{digits}f}{on:10.{digits}f}{on / off - 1:9.1%}"


if __name__ == "__main__":
    work(sys.argv[1] == "on", int(sys.argv[2]))
