"""Which waits the machine's standstills explain, and that the witnesses see one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.probe import Probe
from bench.servers import grapevine_kind, running
from bench.stillness import SLOW_US, WITNESS_US, Span, hurry, stillness, unexplained

MS = 1_000_000
STOP = Span(100 * MS, 10 * MS)


@pytest.mark.parametrize(
    ("from_ms", "lasts_ms", "explained"),
    [
        (90, 9, False),  # over when it began
        (90, 10, True),
        (105, 5, True),
        (95, 40, True),
        (119, 3, True),  # behind what had piled up
        (121, 3, False),
        (300, 50, False),
    ],
)
def test_a_wait_is_explained_by_a_standstill_that_it_touches(
    from_ms: int, lasts_ms: int, *, explained: bool
) -> None:
    wait = Span(from_ms * MS, lasts_ms * MS)
    far = Span(900 * MS, MS)
    assert unexplained([wait], [far, STOP]) == ([] if explained else [wait])


@pytest.mark.parametrize(("from_ms", "explained"), [(99, False), (104, True), (139, True), (141, False)])
def test_standstills_that_follow_each_other_add_up(from_ms: int, *, explained: bool) -> None:
    """Ten milliseconds of which it stands still for nine: what piles up is served in the next nine."""
    fits = [Span((100 + 10 * number) * MS, 9 * MS) for number in range(2)]
    together = [Span(stop.from_ns + MS // 2, stop.ns) for stop in fits]  # another processor, at the same time
    wait = Span(from_ms * MS, MS // 4)
    assert unexplained([wait], [*fits, *together]) == ([] if explained else [wait])


def test_what_is_left_is_told() -> None:
    slow = [Span(101 * MS, 9 * MS), Span(400 * MS, 3 * MS), Span(500 * MS, 2 * MS)]
    found = stillness(slow, [STOP, Span(700 * MS, 4 * MS)])
    assert (found.count, found.longest_us, found.total_us, found.own_us) == (2, 10_000, 14_000, 3_000)
    assert stillness([], []).own_us == SLOW_US


def test_who_waits_together_is_one_jam() -> None:
    slow = [
        Span(at * MS, lasts * MS)
        for at, lasts in ((111, 4), (110, 3), (112, 3), (300, 3), (303, 2), (400, 2))
    ]
    found = stillness(slow, [Span(300 * MS, MS)])
    assert (found.jams, found.own_jams) == (2, 1)


def _may_hurry() -> bool:
    words = [sys.executable, "-c", "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.skipif(not _may_hurry(), reason="no real-time priority")
def test_a_phase_tells_what_its_witnesses_saw(tmp_path: Path) -> None:
    """A stopped server is no standstill of the machine: its clients' wait stays unexplained."""
    with running(grapevine_kind(), tmp_path) as server:
        probe = Probe(tmp_path)
        assert probe.run(server.port, fill=True, keys=10).stillness is None
        with probe.start(server.port, rate=1_000, keys=10, witness_us=WITNESS_US) as ask:
            asked = 0
            while asked < 20:
                asked += ask.end_phase("before").gets.count
            hurry(ask.process_id, 0)
            assert len(os.sched_getaffinity(ask.process_id)) == 1
            assert os.sched_getscheduler(ask.process_id) == os.SCHED_FIFO
            stopped = subprocess.run(
                ["sh", "-c", f"kill -STOP {server.pid}; sleep 0.1; kill -CONT {server.pid}"], check=False
            )
            assert stopped.returncode == 0
            phase = ask.end_phase("stopped")
            while phase.gets.count == 0 or phase.gets.percentiles_us["100"] < 80_000:
                phase = ask.end_phase("stopped")  # what waited is answered in the next one, or the one after
            assert phase.stillness is not None
            assert phase.stillness.own_us > 80_000 or phase.stillness.longest_us > 30_000
