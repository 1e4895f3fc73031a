"""`grapevine bench all`: everything we claim in figures, measured side by side, one JSON file for each kind.

The page is made from the files afterwards: `python -m bench.results DIR`. A section that fails is told and
the others go on; its file stays what it was.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import commands, compare, eviction, memory, outages, pauses, peers, storm, timing
from bench.client import Refused
from bench.figures import write_figures
from bench.load import PROGRAM, LoadFailed
from bench.measure import commit, machine
from bench.probe import Probe
from bench.servers import (
    Kind,
    Server,
    ServerFailed,
    floor_kind,
    grapevine_kind,
    memcached_kind,
    redis_kind,
    running,
)

Figures = dict[str, object]
SMALL_BYTES: Final = 64  # compared with the bare loop, which knows no larger ones


@dataclass(frozen=True, slots=True)
class Place:
    """What a section works with.

    Attributes:
        directory: for servers and built programs; a section takes folders of its own name in it.
        kinds: ours, and redis-server if it is installed; a section may add others.
        quick: a look, not a measurement.
    """

    directory: Path
    kinds: list[Kind]
    quick: bool

    def servers(self, stack: ExitStack, kinds: Sequence[Kind], name: str) -> list[Server]:
        return [stack.enter_context(running(kind, self.directory / name / kind.name)) for kind in kinds]


@dataclass(frozen=True, slots=True)
class Section:
    """One kind of measurement. `about_s`: how long it takes on a quiet machine of two cores."""

    title: str
    about_s: int
    measure: Callable[[Place], Figures]


def _say(text: str) -> None:
    print(text, flush=True)


def _compare(place: Place) -> Figures:
    kinds = [*place.kinds, floor_kind(place.directory)]
    small_cases = [case for case in compare.suite_cases() if case.value_bytes == SMALL_BYTES]
    large_cases = [case for case in compare.suite_cases() if case.value_bytes != SMALL_BYTES]
    found: list[compare.Comparison] = []
    for name, cases, used, repeats in (
        ("small", small_cases, kinds, 5),
        ("large", large_cases, place.kinds, 3),
    ):
        with ExitStack() as stack:
            servers = place.servers(stack, used, f"compare-{name}")
            _say(compare.head([kind.name for kind in used]))
            often, seconds = (1, 0.05) if place.quick else (repeats, 0.8)
            for each in compare.compare(cases, servers, repeats=often, seconds=seconds):
                found.append(each)
                _say(compare.line(each))
    return {"cases": compare.as_json(found)}


def _commands(place: Place) -> Figures:
    """Several times over, on servers just started: the same one differs by 5 % from start to start."""
    repeats, seconds = (1, 0.02) if place.quick else (commands.REPEATS, commands.SECONDS)
    found: list[compare.Comparison] = []
    for number in range(1 if place.quick else commands.STARTS):
        with ExitStack() as stack:
            servers = place.servers(stack, place.kinds, f"commands-{number}")
            named, missing = commands.cases(servers)
            _say(compare.head([kind.name for kind in place.kinds]))
            runs = compare.compare([case for _, case in named], servers, repeats=repeats, seconds=seconds)
            for at, each in enumerate(runs):
                _say(compare.line(each))
                if number == 0:
                    found.append(each)
                else:
                    found[at].add(each)
    _say("all of them together:")
    for each in found:
        _say(compare.line(each))
    for name in missing:
        _say(f"{name}: a server does not know it")
    rows = compare.as_json(found)
    return {
        "starts": 1 if place.quick else commands.STARTS,
        "cases": [{"name": name, **row} for (name, _), row in zip(named, rows, strict=True)],
        "missing": missing,
    }


def _pauses(place: Place) -> Figures:
    probe = Probe(place.directory)
    found: list[pauses.Pause] = []
    missing: dict[str, list[str]] = {}
    _say(pauses.HEAD)
    for kind in place.kinds:
        measured, missing[kind.name] = pauses.measure(
            kind, probe, place.directory / "pauses" / kind.name, quick=place.quick
        )
        for each in measured:
            _say(pauses.line(each))
        for what in missing[kind.name]:
            _say(f"{kind.name:10}{what:10} is not there")
        found += measured
    return pauses.as_json(found, missing)


def _storm(place: Place) -> Figures:
    probe = Probe(place.directory)
    found = []
    _say(storm.HEAD)
    for turn in range(1 if place.quick else storm.REPEATS):
        for kind in place.kinds if turn % 2 == 0 else reversed(place.kinds):
            each = storm.measure(
                kind, probe, place.directory / f"storm-{turn}" / kind.name, quick=place.quick
            )
            found.append(each)
            _say(storm.line(each))
    return storm.as_json(found)


def _memory(place: Place) -> Figures:
    empty = {
        kind.name: memory.empty_cost(kind, place.directory / "empty" / kind.name) for kind in place.kinds
    }
    for name, cost in empty.items():
        _say(
            f"{name}, empty: {cost['resident_bytes'] / (1 << 20):.1f} MB,"
            f" {cost['cpu_share']:.2%} of a processor"
        )
    _say(memory.head(place.kinds))
    rows = []
    entries = 10 * memory.BATCH if place.quick else memory.ENTRIES
    for shape, slopes in memory.measure(place.kinds, place.directory / "memory", entries):
        rows.append((shape, slopes))
        _say(memory.line(shape, place.kinds, slopes))
    return memory.as_json(rows, empty)


def _peers(place: Place) -> Figures:
    memcached = memcached_kind()
    kinds = [*place.kinds, *([memcached] if memcached is not None else []), floor_kind(place.directory)]
    if memcached is None:
        _say("memcached is not installed (Debian, Ubuntu: apt-get install memcached)")
    rows = []
    with ExitStack() as stack:
        servers = place.servers(stack, kinds, "peers")
        _say(peers.head([kind.name for kind in kinds]))
        repeats, seconds = (1, 0.05) if place.quick else (3, 0.6)
        for row in peers.measure(servers, Probe(place.directory), repeats=repeats, seconds=seconds):
            rows.append(row)
            _say(peers.line(row))
    return peers.as_json(rows)


def _eviction(place: Place) -> Figures:
    requests = 1_000 if place.quick else eviction.REQUESTS
    _say(eviction.head())
    rows: dict[str, dict[str, float]] = {}
    for name, row in eviction.measure(place.directory / "eviction", requests, eviction.SEED):
        rows[name] = row
        _say(eviction.line(name, row))
    _say(eviction.line("mean", eviction.means(rows)))
    return eviction.as_json(rows, requests)


def _timing(place: Place) -> Figures:
    directory = place.directory / "timing"
    directory.mkdir(exist_ok=True)
    counts = None if place.quick else timing.instructions(directory)
    if counts is None:
        _say("instructions are not counted" + ("" if place.quick else ": valgrind is not installed"))
    repeats, requests = (1, 1_000) if place.quick else (7, 400_000)
    cpu = timing.cpu_us(Probe(place.directory), directory, repeats=repeats, requests=requests)
    for text in timing.lines(counts, cpu):
        _say(text)
    return {"instructions_per_get": counts, "cpu_us_per_get": cpu}


def _outages(place: Place) -> Figures:
    directory = place.directory / "cluster"
    found: list[outages.Outage] = []
    _say(outages.HEAD)
    with outages.grapevine_cluster(directory) as (port, up_s):
        members = outages.idle(directory, 1.0 if place.quick else outages.IDLE_S)
        for each in outages.ours(port, place.quick):
            found.append(each)
            _say(outages.line(each))
    if any(kind.name == "redis" for kind in place.kinds):
        for each in outages.theirs(place.quick):
            found.append(each)
            _say(outages.line(each))
    _say(f"up: {up_s:.1f} s; while idle:")
    for member in members:
        _say(
            f"{member.name:12} {member.cpu_share:.2%} of a core, {member.wakes_per_s:.0f} wake-ups/s,"
            f" {member.resident_bytes / (1 << 20):.0f} MB"
        )
    return outages.as_json(up_s, members, found)


SECTIONS: Final[dict[str, Section]] = {
    "compare": Section("GET and SET beside redis-server and a bare loop", 160, _compare),
    "commands": Section("redis-benchmark's default list", 335, _commands),
    "pauses": Section("snapshots and full syncs of 1 GB", 70, _pauses),
    "storm": Section("a million keys expire in one second", 60, _storm),
    "memory": Section("resident bytes per entry", 110, _memory),
    "peers": Section("memcached beside us", 25, _peers),
    "eviction": Section("hit ratios of eviction policies", 130, _eviction),
    "timing": Section("what timing every command costs", 50, _timing),
    "outages": Section("a cluster at rest, and when a primary is killed, frozen, handed over", 560, _outages),
}


def build_parser() -> argparse.ArgumentParser:
    total_s = sum(section.about_s for section in SECTIONS.values())
    about = "\n".join(f"  {name:10}{each.about_s:4} s  {each.title}" for name, each in SECTIONS.items())
    parser = argparse.ArgumentParser(
        prog="grapevine bench all",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"Measures everything beside real peers in about {total_s // 60 + 1} quiet minutes.",
        epilog=f"sections:\n{about}",
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", help="only these (default: all)")
    parser.add_argument(
        "--out", type=Path, default=Path("bench/results/all"), metavar="DIR",
        help="where to write the figures, a JSON file for each section (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--quick", action="store_true", help="one short run of each: a look, not a measurement"
    )
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Runs the sections; returns the exit status: 1 if one failed."""
    parser = build_parser()
    options = parser.parse_args(words)
    unknown = [name for name in options.sections if name not in SECTIONS]
    if unknown:
        parser.exit(2, f"{parser.prog}: no section {unknown[0]} (choose from {', '.join(SECTIONS)})\n")
    if shutil.which(PROGRAM) is None:
        return _failed(f"{PROGRAM} is not installed (Debian, Ubuntu: apt-get install redis-tools)")
    redis = redis_kind()
    if redis is None:
        _say(
            "redis-server is not installed, so nothing is compared"
            " (Debian, Ubuntu: apt-get install redis-server)"
        )
    kinds = [*([redis] if redis is not None else []), grapevine_kind()]
    facts = machine()
    versions = ", ".join(f"{kind.name} {kind.version}" for kind in kinds)
    _say(
        f"{facts['cpu']}, {facts['cores']} cores, Linux {facts['kernel']}; {versions},"
        f" commit {commit() or 'unknown'}"
    )
    status = 0
    with tempfile.TemporaryDirectory(prefix="grapevine-bench-") as name:
        place = Place(Path(name), kinds, options.quick)
        for chosen in options.sections or SECTIONS:
            section, began = SECTIONS[chosen], time.monotonic()
            _say(f"\n{chosen}: {section.title} (about {section.about_s} s)")
            try:
                figures = section.measure(place)
                told = [*kinds, *filter(None, [memcached_kind()])] if chosen == "peers" else kinds
                write_figures(options.out / f"{chosen}.json", {"quick": options.quick, **figures}, told)
            except (LoadFailed, ServerFailed, Refused) as error:
                status = _failed(f"{chosen}: {error}")
            except OSError as error:
                status = _failed(f"{chosen}: {error.filename or options.out}: {error.strerror}")
            except KeyboardInterrupt:
                return 130
            _say(f"{chosen}: {time.monotonic() - began:.0f} s")
    _say(f"\nfigures: {options.out} (the page: python -m bench.results {options.out})")
    return status


def _failed(text: str) -> int:
    print(f"grapevine bench all: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main())
