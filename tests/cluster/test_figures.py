"""Figures that a user notices when they slip: time to ready, and what an idle process costs."""

import os
import time
from pathlib import Path

import pytest

from tests.cluster.local import LocalCluster, running_cluster

pytestmark = pytest.mark.slow

READY_LIMIT_S = 6.0
RESIDENT_LIMIT_BYTES = 50 * 1024 * 1024
IDLE_CPU_LIMIT = 0.01  # of one core
WATCH_S = 4.0


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_an_idle_cluster_costs_little(cluster: LocalCluster) -> None:
    cluster.whole()
    pids = {port: cluster.pid(port) for port in [*cluster.ports, cluster.router_port]}
    cluster.close()
    before = {port: cpu_s(pid) for port, pid in pids.items()}
    time.sleep(WATCH_S)  # what is measured is the passing of time itself
    shares = {port: round((cpu_s(pid) - before[port]) / WATCH_S, 4) for port, pid in pids.items()}
    sizes = {port: resident_bytes(pid) for port, pid in pids.items()}
    print(f"idle CPU {shares}, resident MB { {port: size // 2**20 for port, size in sizes.items()} }")
    assert max(sizes.values()) <= RESIDENT_LIMIT_BYTES, sizes
    # the clock ticks of /proc are 10 ms: one more or less is 0.25 % here
    assert sum(shares.values()) / len(shares) <= IDLE_CPU_LIMIT, shares


def test_ready_in_time(tmp_path: Path) -> None:
    began = time.monotonic()
    with running_cluster(tmp_path) as started:
        took_s = time.monotonic() - began
        print(f"3 shards with a replica each and a router: ready after {took_s:.1f} s")
        assert took_s <= READY_LIMIT_S, started.logs()
        started.whole()
