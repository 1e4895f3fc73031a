"""chaos/sim/run.py: whole runs. The same seed gives the same trace, promises hold, planted bugs are found."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.cli import main
from chaos.sim.campaign import Found, Record, run_batch, table
from chaos.sim.run import BUGS, PLANTED, Outcome, options_of, run
from chaos.sim.scenario import names

SAFETY_MS = 10_000


def outcome(scenario: str, seed: int, *bugs: str) -> Outcome:
    return run(options_of(scenario, seed, safety_ms_max=SAFETY_MS), seed, bugs=frozenset(bugs))


@pytest.mark.slow
@pytest.mark.parametrize("scenario", names())
def test_promises_hold(scenario: str) -> None:
    found = outcome(scenario, 1)
    assert found.violation == ""
    assert found.acknowledged > 100
    assert 0 <= found.converged_ms <= options_of(scenario, 1).liveness_ms


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["storm", "row-23-backlog-overflow"])
def test_a_seed_repeats(scenario: str) -> None:
    """The second run also prints, which must change nothing."""
    lines: list[str] = []
    first = outcome(scenario, 2)
    assert first == run(options_of(scenario, 2, safety_ms_max=SAFETY_MS), 2, tell=lines.append)
    assert first.faults > 0
    assert sum(" leads " in line for line in lines) >= 3
    assert any("everything heals" in line for line in lines)


@pytest.mark.slow
def test_an_old_copy_of_a_disk_is_noticed() -> None:
    lines: list[str] = []
    assert run(options_of("old-disk", 2), 2, tell=lines.append).violation == ""
    assert any("stops: its disk has serial" in line for line in lines), "within milliseconds of its start"


@pytest.mark.slow
def test_a_disk_that_forgot_what_it_confirmed_is_noticed() -> None:
    """What a machine lost may have been news only; in three runs some lose promises."""
    lines: list[str] = []
    for seed in (2, 3, 4):
        options = options_of("lost-fsync", seed, safety_ms_max=SAFETY_MS)
        assert run(options, seed, tell=lines.append).violation == ""
    assert any("loses power, and its disk the last" in line for line in lines)
    assert any("stops: its disk has serial" in line for line in lines)


@pytest.mark.slow
def test_hash_seeds_do_not_matter() -> None:
    """Two processes with different orders of sets and dictionaries of text print the same."""
    script = "import sys; from chaos.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["sim", "--scenario", "storm", "--seed", "3", "--trace"]
    printed = [
        subprocess.run(
            [sys.executable, "-c", script, *words],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout.splitlines()[:-1]  # the last line tells how long it took
        for hash_seed in ("1", "4242")
    ]
    assert printed[0] == printed[1]
    assert printed[0][-1].startswith("  digest ")


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_are_found(bug: str) -> None:
    """Within ten seeds; most are found by the first."""
    scenario, promise = PLANTED[bug]
    found = ""
    for seed in range(1, 11):
        found = outcome(scenario, seed, bug).violation
        if found.startswith(promise):
            break
    assert found.startswith(promise)


@pytest.mark.slow
def test_the_command_prints_what_it_drew_first_and_how_to_repeat(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["sim", "--scenario", "row-10-long-pause", "--seed", "2", "--plant", "skip-lease"])
    lines = capsys.readouterr().out.splitlines()
    assert status == 1
    assert lines[0].startswith("seed 2 scenario row-10-long-pause nodes=6 shards=3 voters=5 safety_ms=")
    assert lines[1].startswith("  digest ")
    assert lines[2].startswith("  VIOLATION one-serving: shard ")
    assert "sim --scenario row-10-long-pause --seed 2 --trace --plant skip-lease" in lines[3]
    assert lines[-1].startswith("1 seeds, 1 with a violation")


@pytest.mark.slow
def test_a_campaign_counts_and_goes_on_where_it_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "record.json"
    words = ["sim", "campaign", "--scenario", "row-10-long-pause", "--safety-ms", "500", "--code", "x"]
    for seeds in (1, 3):
        assert main([*words, "--record", str(record), "--seeds", str(seeds)]) == 0
        (row,) = Record(record).rows
        assert (row.scenario, row.code, row.seeds, row.violations) == ("row-10-long-pause", "x", seeds, [])
        assert capsys.readouterr().out.splitlines()[2].startswith(f"| `row-10-long-pause` | {seeds} | 0 |")


@pytest.mark.slow
def test_a_campaign_tells_of_what_it_found() -> None:
    row = run_batch("row-10-long-pause", 1, 2, "x", 500)
    row.violations.append(Found(2, "one-owner: two"))
    assert "| `row-10-long-pause` | 2 | 1 (2) |" in table([row])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--scenario", "earthquake"], "no scenario is called 'earthquake'"),
        (["--count", "0"], "at least 1"),
        (["campaign", "--jobs", "0"], "--jobs and --safety-ms are at least 1"),
    ],
)
def test_refused(words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", *words]) == 2
    assert text in capsys.readouterr().err


def test_unknown_bugs_are_refused() -> None:
    with pytest.raises(ValueError, match="skip-lease"):
        outcome("storm", 1, "no-such")
    assert len(BUGS) == 13
