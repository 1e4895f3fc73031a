"""`grapevine chaos sim campaign`: many seeds of every scenario, counted.

A campaign is a row of batches: some seeds of one scenario in a process of its own. The scenario with the
fewest seeds so far goes next, so all are searched evenly however early it ends. What was run is in a record
after every batch, and a campaign that is started again goes on where the record ends. Seeds are counted per
state of the code (`--code`, the commit by default): a change gives them another meaning.

Runs are kept short, since a fault and its healing find more per second of computing than minutes of calm:
`--safety-ms` is the longest time that faults last. Scenarios that bound the number of failovers are never cut
short; their bound is for the whole run.

Exit status:
    0  every promise was kept (with --planted: every bug was found)
    1  a violation (with --planted: a bug that was not found)
    2  refused
"""

import argparse
import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from chaos.sim.run import PLANTED, options_of, run
from chaos.sim.scenario import names

BATCH: Final = 10
SAFETY_MS: Final = 10_000
BATCHES_PER_PROCESS: Final = 50
MS_PER_HOUR: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Found:
    """A seed that broke a promise, or whose run ended with an error of ours."""

    seed: int
    text: str


@dataclass(slots=True)
class Row:
    """What one scenario got under one state of the code.

    Attributes:
        seeds: how many, from 1 on. cpu_ms: of the processes that ran them.
        acknowledged: operations of clients that ended well. lost: by `async` failovers, as allowed.
    """

    scenario: str
    code: str
    safety_ms: int
    seeds: int = 0
    simulated_ms: int = 0
    cpu_ms: int = 0
    events: int = 0
    faults: int = 0
    failovers: int = 0
    acknowledged: int = 0
    lost: int = 0
    violations: list[Found] = field(default_factory=list)

    def take(self, other: "Row") -> None:
        """What `other` counted, whose seeds follow ours."""
        self.seeds += other.seeds
        self.simulated_ms += other.simulated_ms
        self.cpu_ms += other.cpu_ms
        self.events += other.events
        self.faults += other.faults
        self.failovers += other.failovers
        self.acknowledged += other.acknowledged
        self.lost += other.lost
        self.violations += other.violations


class Record:
    """Rows in a file."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.rows: list[Row] = []
        if path is not None and path.exists():
            for kept in json.loads(path.read_text())["rows"]:
                kept["violations"] = [Found(**found) for found in kept["violations"]]
                self.rows.append(Row(**kept))

    def row(self, scenario: str, code: str, safety_ms: int) -> Row:
        """The one to add to; a new one if there is none."""
        for row in self.rows:
            if (row.scenario, row.code, row.safety_ms) == (scenario, code, safety_ms):
                return row
        row = Row(scenario, code, safety_ms)
        self.rows.append(row)
        return row

    def write(self) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        rows = ",\n ".join(json.dumps(asdict(row)) for row in sorted(self.rows, key=lambda row: row.scenario))
        aside = self._path.with_suffix(".new")
        aside.write_text(f'{{"rows": [\n {rows}\n]}}\n')
        aside.replace(self._path)


def run_batch(scenario: str, first_seed: int, count: int, code: str, safety_ms: int) -> Row:
    """Seeds `first_seed` to `first_seed + count - 1`. An exception is a finding; the next seed goes on."""
    row = Row(scenario, code, safety_ms)
    began = time.process_time()
    for seed in range(first_seed, first_seed + count):
        row.seeds += 1
        try:
            outcome = run(options_of(scenario, seed, safety_ms_max=safety_ms), seed)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is told with its seed)
            row.violations.append(Found(seed, f"error: {type(error).__name__}: {error}"))
            continue
        row.simulated_ms += outcome.simulated_ms
        row.events += outcome.events
        row.faults += outcome.faults
        row.failovers += outcome.failovers
        row.acknowledged += outcome.acknowledged
        row.lost += outcome.lost
        if outcome.violation:
            row.violations.append(Found(seed, outcome.violation))
    row.cpu_ms = int((time.process_time() - began) * 1000)
    return row


def campaign(
    record: Record,
    scenarios: Sequence[str],
    *,
    seeds: int,
    seconds: float,
    jobs: int,
    code: str,
    safety_ms: int,
) -> None:
    """Runs batches until every scenario has its seeds or the time is over; prints each finding at once."""
    rows = {name: record.row(name, code, safety_ms) for name in scenarios}
    planned = {name: row.seeds for name, row in rows.items()}
    ends = time.monotonic() + seconds
    with ProcessPoolExecutor(
        jobs,
        mp_context=get_context("spawn"),
        max_tasks_per_child=BATCHES_PER_PROCESS,
        initializer=logging.disable,  # nodes tell of every refusal; here only promises count
        initargs=(logging.CRITICAL,),
    ) as pool:
        running: dict[Future[Row], None] = {}
        while True:
            while len(running) < jobs and time.monotonic() < ends:
                name = min(planned, key=lambda name: planned[name])
                count = min(BATCH, seeds - planned[name])
                if count <= 0:
                    break
                # Batches of one scenario may end in any order; each knows its own seeds.
                running[pool.submit(run_batch, name, planned[name] + 1, count, code, safety_ms)] = None
                planned[name] += count
            if not running:
                return
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                del running[done]
                batch = done.result()
                rows[batch.scenario].take(batch)
                record.write()
                for found in batch.violations:
                    print(f"VIOLATION {found.text}\n  again: {_again(batch, found.seed)}", flush=True)


def _again(row: Row, seed: int) -> str:
    words = f"--scenario {row.scenario} --seed {seed} --safety-ms {row.safety_ms} --trace"
    return f"grapevine chaos sim {words}"


def table(rows: Iterable[Row]) -> str:
    """For people, and for docs/simulator.md."""
    lines = [
        "| scenario | seeds | violations | simulated hours | CPU min | x real time | faults | failovers |"
        " acknowledged |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    total = Row("all", "", 0)
    for row in sorted(rows, key=lambda row: row.scenario):
        total.take(row)
        lines.append(_line(row, f"`{row.scenario}`"))
    lines.append(_line(total, "all"))
    return "\n".join(lines)


def _line(row: Row, name: str) -> str:
    seeds = ", ".join(str(found.seed) for found in sorted(row.violations, key=lambda found: found.seed)[:6])
    told = f"{len(row.violations)}" + (f" ({seeds})" if seeds and row.code else "")
    hours, minutes = row.simulated_ms / MS_PER_HOUR, row.cpu_ms / 60_000
    return (
        f"| {name} | {row.seeds:,} | {told} | {hours:.1f} | {minutes:.1f} |"
        f" {row.simulated_ms / max(1, row.cpu_ms):.0f} | {row.faults:,} | {row.failovers:,} |"
        f" {row.acknowledged:,} |"
    )


def find_planted(seeds: int, safety_ms: int) -> int:
    """Every planted bug, seed by seed, until its checker speaks. Returns how many were not found."""
    missed = 0
    print("| planted | checker | scenario | found by seed |\n|---|---|---|---|")
    for bug, (scenario, promise) in PLANTED.items():
        for seed in range(1, seeds + 1):
            options = options_of(scenario, seed, safety_ms_max=safety_ms)
            if run(options, seed, bugs=frozenset([bug])).violation.startswith(promise):
                print(f"| `{bug}` | `{promise}` | `{scenario}` | {seed} |", flush=True)
                break
        else:
            missed += 1
            print(f"| `{bug}` | `{promise}` | `{scenario}` | not within {seeds} |", flush=True)
    return missed


def _commit() -> str:
    """Of the code that runs; '' where it is not a checkout."""
    here = Path(__file__).parent
    words = ["git", "-C", str(here), "rev-parse", "--short=10", "HEAD"]
    told = subprocess.run(words, capture_output=True, text=True, check=False)
    return told.stdout.strip()


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="grapevine chaos sim campaign", description="Many seeds of every scenario, counted."
    )
    parser.add_argument("--scenario", action="append", choices=names(), help="only this one; may be repeated")
    parser.add_argument("--seeds", type=int, default=100, help="of each scenario (%(default)s)")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin nothing new after so long")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time (%(default)s)")
    parser.add_argument(
        "--safety-ms", type=int, default=SAFETY_MS, help="faults last at most so long (%(default)s)"
    )
    parser.add_argument("--record", type=Path, help="a file to count in, and to go on from")
    parser.add_argument("--code", default="", help="what to call this state of the code (the commit)")
    parser.add_argument("--planted", action="store_true", help="look for the planted bugs instead")
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the words after `chaos sim campaign`; returns the exit status."""
    words = build_parser().parse_args(argv)
    if min(words.seeds, words.jobs, words.safety_ms) < 1:
        sys.stderr.write("grapevine chaos sim campaign: --seeds, --jobs and --safety-ms are at least 1\n")
        return 2
    if words.planted:
        logging.disable(logging.CRITICAL)
        return 1 if find_planted(words.seeds, words.safety_ms) else 0
    record, code = Record(words.record), words.code or _commit() or "unknown"
    scenarios = tuple(words.scenario or names())
    campaign(
        record,
        scenarios,
        seeds=words.seeds,
        seconds=words.seconds,
        jobs=words.jobs,
        code=code,
        safety_ms=words.safety_ms,
    )
    mine = [record.row(name, code, words.safety_ms) for name in scenarios]
    print(table(mine))
    return 1 if any(row.violations for row in mine) else 0
