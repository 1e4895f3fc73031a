"""bench/load.py and bench/compare.py: redis-benchmark's words, and the arithmetic on them."""

import json
import os
import shutil
from pathlib import Path

import pytest

from bench.compare import FIGURES, Comparison, as_json, head, line, main, suite_cases
from bench.figures import write_figures
from bench.load import Case, LoadFailed, Sample, arguments, parse, run
from bench.measure import cpu_ns, machine, resident_bytes
from bench.servers import floor_kind, redis_kind, running

CASE = Case("get", 50, 16)
ANSWER = """====== GET ======
  20000 requests completed in 0.65 seconds

Latency by percentile distribution:
0.000% <= 0.103 milliseconds (cumulative count 2)
99.805% <= 3.639 milliseconds (cumulative count 19961)
99.902% <= 4.519 milliseconds (cumulative count 19981)
99.951% <= 5.535 milliseconds (cumulative count 19998)
100.000% <= 8.551 milliseconds (cumulative count 20000)

Cumulative distribution of latencies:
99.910% <= 4.903 milliseconds (cumulative count 2)
100.000% <= 9.103 milliseconds (cumulative count 20000)

Summary:
  throughput summary: 436300.50 requests per second
  latency summary (msec):
          avg       min       p50       p95       p99       max
        1.148     0.096     1.655     2.487     2.951     8.551
"""


def sample(cpu_us: float, rps: float = 1000.0) -> Sample:
    return Sample(100, rps, 0.5, 1.5, 2.5, cpu_us)


def test_a_case_becomes_a_command_line() -> None:
    words = " ".join(arguments(CASE, 7000, 100_000))
    assert words == ("redis-benchmark -h 127.0.0.1 -p 7000 -n 100000 -c 50 -P 16 -d 64 -r 100000 -t get")


def test_a_whole_command_stays_one() -> None:
    assert arguments(Case("LRANGE mylist 0 99", 50, 1), 7000, 10)[-4:] == ["LRANGE", "mylist", "0", "99"]


def test_figures_are_read_by_name() -> None:
    figures = parse(ANSWER)
    assert figures == {"rps": 436300.5, "p50_ms": 1.655, "p99_ms": 2.951, "p999_ms": 4.519}


@pytest.mark.parametrize(
    "answer", ["", "ERR unknown command", ANSWER + ANSWER, ANSWER.partition("Summary")[0]]
)
def test_anything_else_is_refused(answer: str) -> None:
    with pytest.raises(LoadFailed):
        parse(answer)


def test_ratios_are_taken_pair_by_pair() -> None:
    # the machine got twice as slow after the first pair: medians of each alone would say 1.0
    samples = {
        "redis": [sample(10), sample(20), sample(20)],
        "grapevine": [sample(5), sample(10), sample(10)],
    }
    comparison = Comparison(CASE, samples)
    assert comparison.ratio(lambda each: each.cpu_us_per_request) == 0.5
    assert comparison.middle("redis", lambda each: each.cpu_us_per_request) == 20
    assert "0.50x" in line(comparison)


def test_without_a_peer_there_is_no_ratio() -> None:
    comparison = Comparison(CASE, {"grapevine": [sample(5)]})
    assert comparison.ratio(lambda each: each.cpu_us_per_request) is None
    assert "x" not in line(comparison)


@pytest.mark.parametrize(
    "names", [["grapevine"], ["redis", "grapevine"], ["redis", "grapevine", "floor"], ["grapevine", "floor"]]
)
def test_the_table_is_as_wide_as_its_head(names: list[str]) -> None:
    comparison = Comparison(CASE, {name: [sample(5)] for name in names})
    assert len(line(comparison)) == len(head(names).splitlines()[1])


def test_figures_are_written_with_what_they_were_measured_on(tmp_path: Path) -> None:
    comparison = Comparison(CASE, {"redis": [sample(10)], "grapevine": [sample(5)]})
    write_figures(tmp_path / "new" / "figures.json", {"cases": as_json([comparison])}, [])
    written = json.loads((tmp_path / "new" / "figures.json").read_text())
    assert written["machine"]["cores"] == os.cpu_count()
    case = written["cases"][0]
    assert case["ratios"]["redis"]["cpu_us_per_request"] == {"median": 0.5, "all": [0.5]}
    assert case["samples"]["redis"][0]["cpu_us_per_request"] == 10
    assert set(case["medians"]["grapevine"]) == set(FIGURES)


def test_ratios_come_in_order() -> None:
    comparison = Comparison(
        CASE, {"redis": [sample(10), sample(10), sample(10)], "grapevine": [sample(9), sample(5), sample(7)]}
    )
    assert comparison.ratios(lambda each: each.cpu_us_per_request) == [0.5, 0.7, 0.9]
    assert comparison.ratios(lambda each: each.cpu_us_per_request, "floor") == []


def test_the_suite_compares_every_size() -> None:
    assert {case.value_bytes for case in suite_cases()} == {64, 1 << 10, 64 << 10, 1 << 20}
    assert all(case.value_bytes * case.keys <= 128 << 20 for case in suite_cases())


def test_our_own_cost_can_be_read() -> None:
    before = cpu_ns(os.getpid())
    while cpu_ns(os.getpid()) == before:
        pass  # reading it costs time, so this ends
    assert resident_bytes(os.getpid()) > 1_000_000
    assert machine()["cpu"]


@pytest.mark.parametrize("words", [["--connections", "0"], ["--pipelines", "1,x"], ["--repeats", "many"]])
def test_a_mistake_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.skipif(shutil.which("redis-benchmark") is None, reason="no redis-benchmark on PATH")
def test_the_floor_answers_pipelines(tmp_path: Path) -> None:
    with running(floor_kind(tmp_path), tmp_path) as server:
        measured = run(Case("get", 2, 16, keys=100), server.port, server.pid, 20_000)
    assert measured.requests_per_s > 0
    assert 0 < measured.cpu_us_per_request < 50


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server on PATH")
def test_a_real_server_is_measured(tmp_path: Path) -> None:
    kind = redis_kind()
    assert kind is not None
    with running(kind, tmp_path) as server:
        measured = run(Case("set", 2, 4, keys=100), server.port, server.pid, 2_000)
    assert measured.requests_per_s > 0
    assert 0 < measured.cpu_us_per_request < 1_000
