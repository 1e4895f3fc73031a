"""Many runs of the fuzzer, counted: python -m tests.fuzz.campaign --inputs 10000000. See docs/safety.md.

A campaign is a row of chunks, each a process of its own with a seed that no chunk before it had. The target
that is furthest behind its share goes next, so the cheap ones do not make the number. What was run is
written to a record after every chunk; a campaign that is started again goes on where the record ends.

Inputs that reached something new (only the sanitizer build can tell) stay in a directory and are parents of
the chunks that come after, in the release build too, where nothing guides.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.measure import commit
from tests.fuzz.guide import Guide

# Of all inputs, by target. A program of `state` is some sixty changes, so few of them are much.
SHARES: Mapping[str, float] = {
    "commands": 0.35,
    "codec": 0.2,
    "restore": 0.15,
    "rdb": 0.08,
    "replica": 0.06,
    "bus": 0.05,
    "sketch": 0.05,
    "lzf": 0.05,
    "state": 0.01,
}
# About ten seconds each in the release build on a quiet machine; the sanitizers' takes a fifth of them.
CHUNK_INPUTS: Mapping[str, int] = {
    "commands": 50_000,
    "codec": 100_000,
    "rdb": 40_000,
    "restore": 40_000,
    "state": 5_000,
    "replica": 40_000,
    "sketch": 40_000,
    "bus": 100_000,
    "lzf": 100_000,
}
CHUNK_S_MAX = 3600.0
RECORD = Path("docs/results/fuzz.json")


@dataclass(frozen=True, slots=True)
class Chunk:
    """One run of one target. `build` is release or sanitize; edges are 0 where nobody counts them."""

    target: str
    seed: int
    inputs: int
    seconds: float
    build: str
    edges: int
    commit: str
    when: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A chunk that ended early. `journal` holds the inputs that lead there."""

    target: str
    seed: int
    build: str
    commit: str
    when: str
    text: str
    journal: str


class Record:
    """What was run so far, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.chunks: list[Chunk] = []
        self.findings: list[Finding] = []
        if path.exists():
            read = json.loads(path.read_text())
            self.chunks = [Chunk(**row) for row in read["chunks"]]
            self.findings = [Finding(**row) for row in read["findings"]]

    def inputs(self, build: str) -> Counter[str]:
        """How many inputs each target got in this build."""
        counts: Counter[str] = Counter()
        for chunk in self.chunks:
            if chunk.build == build:
                counts[chunk.target] += chunk.inputs
        return counts

    def next_seed(self, target: str) -> int:
        used = [chunk.seed for chunk in self.chunks if chunk.target == target]
        used += [finding.seed for finding in self.findings if finding.target == target]
        return max(used, default=0) + 1

    def write(self) -> None:
        def rows(items: list[Chunk] | list[Finding]) -> str:
            return "[" + ",".join("\n  " + json.dumps(asdict(item)) for item in items) + "]"

        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = f'{{"chunks": {rows(self.chunks)},\n "findings": {rows(self.findings)}}}\n'
        aside = self.path.with_suffix(".new")
        aside.write_text(text)
        aside.replace(self.path)


def most_behind(counts: Mapping[str, int], shares: Mapping[str, float]) -> str:
    """The target whose count is smallest in proportion to its share; the first of equals."""
    return min(shares, key=lambda target: counts.get(target, 0) / shares[target])


def run_chunk(
    target: str, seed: int, inputs: int, *, build: str, found: Path, journal: Path
) -> Chunk | Finding:
    """Runs one chunk in a process of its own."""
    words = ["--target", target, "--seed", str(seed), "--inputs", str(inputs), "--seconds", str(CHUNK_S_MAX)]
    words += ["--keep", str(found / target), "--journal", str(journal), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *words], capture_output=True, text=True, check=False
    )
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no word"]
        told = next((line for line in lines if "ERROR: " in line or "runtime error: " in line), lines[-1])
        text = f"ended with {done.returncode}: {told[:500]}"
        return Finding(target, seed, build, commit(), when, text, str(journal))
    told = json.loads(done.stdout)
    return Chunk(
        target, seed, told["inputs"], round(told["seconds"], 1), build, told["edges"], commit(), when
    )


def campaign(record: Record, *, inputs: int, seconds: float, found: Path, journals: Path) -> int:
    """Runs chunks until this build's inputs are that many or the time is over; returns 0, or 1 for findings.

    A target with a finding is left out from then on: it would find the same again.
    """
    build = "sanitize" if Guide().informed else "release"
    shares = dict(SHARES)
    ends = time.monotonic() + seconds
    failed = False
    journals.mkdir(parents=True, exist_ok=True)
    while shares and time.monotonic() < ends:
        counts = record.inputs(build)
        if counts.total() >= inputs:
            break
        target = most_behind(counts, shares)
        seed = record.next_seed(target)
        chunk_inputs = CHUNK_INPUTS[target] // (5 if build == "sanitize" else 1)
        size = min(chunk_inputs, inputs - counts.total())
        journal = journals / f"{build}-{target}-{seed}.journal"
        ended = run_chunk(target, seed, size, build=build, found=found, journal=journal)
        if isinstance(ended, Finding):
            record.findings.append(ended)
            del shares[target]
            failed = True
            print(f"{target}, seed {seed}: {ended.text}; inputs: {journal}", flush=True)
        else:
            record.chunks.append(ended)
            journal.unlink(missing_ok=True)
            print(f"{target}, seed {seed}: {ended.inputs} inputs in {ended.seconds:.0f} s", flush=True)
        record.write()
    total = record.inputs(build)
    print(f"{build}: {total.total():,} inputs: " + ", ".join(f"{n:,} {name}" for name, n in total.items()))
    return int(failed)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.campaign", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--inputs", type=int, default=10_000_000, help="of this build, counting the record")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no chunk after so long")
    parser.add_argument("--record", type=Path, default=RECORD, help="default: %(default)s")
    parser.add_argument("--found", type=Path, default=Path("build/fuzz/found"), help="inputs worth keeping")
    parser.add_argument("--journals", type=Path, default=Path("build/fuzz/journals"))
    options = parser.parse_args()
    return campaign(
        Record(options.record),
        inputs=options.inputs,
        seconds=options.seconds,
        found=options.found,
        journals=options.journals,
    )


if __name__ == "__main__":
    sys.exit(main())
