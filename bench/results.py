"""Makes docs/results.md and its plots from figures: `python -m bench.results DIR`.

DIR is what `grapevine bench all --out DIR` wrote. Its files are copied to docs/results, without the single
samples, so the page can be made again from there: `python -m bench.results` alone does so. A section that
is not in DIR keeps the figures it had.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench import plots

PAGE: Final = Path(__file__).resolve().parent.parent / "docs/results.md"
KEPT: Final = PAGE.with_suffix("")
Data = dict[str, Any]
# Text of a section, and its plots by file name.
Part = tuple[list[str], dict[str, str]]
PERCENTILES: Final = ("50", "75", "90", "95", "99", "99.5", "99.9", "99.95", "99.99", "100")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of Markdown."""
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]


def _ratio(found: Data | None) -> str:
    """A median of ratios with the lowest and the highest."""
    if not found or found["median"] is None:
        return "-"
    return f"**{found['median']:.2f}** ({found['all'][0]:.2f} - {found['all'][-1]:.2f})"


def _size(value_bytes: int) -> str:
    for unit, size in (("MB", 1 << 20), ("KB", 1 << 10)):
        if value_bytes >= size:
            return f"{value_bytes // size} {unit}"
    return f"{value_bytes} B"


def _facts(data: Data) -> str:
    machine = data["machine"]
    versions = ", ".join(f"{name} {version}".strip() for name, version in data["versions"].items())
    commit = data["commit"] or "unknown"
    quick = "; **a quick look, not a measurement**" if data.get("quick") else ""
    priority = "; at a real-time priority" if machine.get("real_time") else ""
    return (
        f"*{data['when'][:16].replace('T', ' ')}, commit {commit}; {machine['cpu']},"
        f" {machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']};"
        f" {versions}{priority}{quick}*"
    )


def compare_part(data: Data) -> Part:
    rows = []
    bars = []
    for case in data["cases"]:
        middle, ratios = case["medians"], case["ratios"]
        name = f"{case['command'].upper()} {_size(case['value_bytes'])}"
        peer, floor = ratios.get("redis", {}), ratios.get("floor", {})
        row = [name, str(case["connections"]), str(case["pipeline"])]
        for figure, scale, digits in (
            ("requests_per_s", 1e-3, 0), ("p50_ms", 1.0, 3), ("p99_ms", 1.0, 3), ("p999_ms", 1.0, 3),
            ("cpu_us_per_request", 1.0, 2),
        ):  # fmt: skip
            row.append(
                " / ".join(
                    f"{middle[server][figure] * scale:.{digits}f}"
                    for server in ("grapevine", "redis")
                    if server in middle
                )
            )
        row += [_ratio(peer.get("requests_per_s")), _ratio(peer.get("cpu_us_per_request"))]
        row.append(_ratio(floor.get("cpu_us_per_request")))
        rows.append(row)
        if case["value_bytes"] == 64:
            label = f"{name}, {case['connections']} conn., pipeline {case['pipeline']}"
            bars.append((label, {server: middle[server]["cpu_us_per_request"] for server in middle}))
    text = [
        "Medians, ours / Redis's; ratios are medians of pairs of runs that followed each other, with the"
        " lowest and the highest. *Floor* is a C loop that receives and answers `+OK`. Latencies are those of"
        " a whole pipeline.",
        "",
        *table(
            ["", "conn.", "pipe", "thousand/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU us/request",
             "requests/s to Redis", "CPU to Redis", "CPU to floor"],
            rows,
        ),
        "![server CPU per request](results/cpu.svg)",
        "",
    ]  # fmt: skip
    return text, {"cpu.svg": plots.bars("Server CPU per request, us (64-byte values)", bars)}


def commands_part(data: Data) -> Part:
    rows: list[list[str]] = []
    bars: list[tuple[str, dict[str, float]]] = []
    for case in data["cases"]:
        middle, ratios = case["medians"], case["ratios"].get("redis", {})
        rows.append(
            [
                case["name"],
                str(case["pipeline"]),
                " / ".join(
                    f"{middle[s]['requests_per_s'] / 1000:.0f}" for s in ("grapevine", "redis") if s in middle
                ),
                _ratio(ratios.get("requests_per_s")),
                " / ".join(
                    f"{middle[s]['cpu_us_per_request']:.2f}" for s in ("grapevine", "redis") if s in middle
                ),
                _ratio(ratios.get("cpu_us_per_request")),
            ]
        )
        if ratios:
            found = {f"pipeline {case['pipeline']}": ratios["requests_per_s"]["median"] or 0.0}
            if bars and bars[-1][0] == case["name"]:
                bars[-1][1].update(found)
            else:
                bars.append((case["name"], found))
    text = table(["", "pipe", "thousand/s, ours / Redis", "ratio", "CPU us, ours / Redis", "ratio"], rows)
    if data["missing"]:
        text += [f"Not there yet: {', '.join(data['missing'])}.", ""]
    if not bars:
        return text, {}
    text += ["![ratios of throughput](results/commands.svg)", ""]
    picture = plots.bars(
        "Requests per second, ours to Redis's (right of the line: ours is ahead)", bars, reference=1.0
    )
    return text, {"commands.svg": picture}


def _percentiles(phase: Data) -> list[float]:
    return [phase["gets"]["percentiles_us"][percent] for percent in PERCENTILES]


def pauses_part(data: Data) -> Part:
    rows = []
    series: dict[str, dict[str, list[float]]] = {}
    for each in data["pauses"]:
        quiet, busy = each["quiet"]["gets"]["percentiles_us"], each["disturbed"]["gets"]["percentiles_us"]
        rows.append(
            [
                each["server"], each["what"], f"{each['seconds']:.1f}", f"{quiet['99.9']:,.0f}",
                f"{busy['99.9']:,.0f}", f"**{each['ratio']:.2f}**", f"{busy['100']:,.0f}",
                f"{each['extra_share']:.1%}",
            ]
        )  # fmt: skip
        lines = series.setdefault(each["what"], {})
        lines[f"{each['server']} quiet"] = _percentiles(each["quiet"])
        lines[each["server"]] = _percentiles(each["disturbed"])
    text = table(
        ["server", "during", "seconds", "quiet p99.9 us", "p99.9 us", "ratio", "longest us", "extra memory"],
        rows,
    )
    for server, missing in data["missing"].items():
        text += [f"{server} has no {what} yet.\n" for what in missing]
    pictures = {}
    for what, lines in series.items():
        name = f"{what.replace(' ', '-')}.svg"
        pictures[name] = plots.lines(
            f"Latency of GET during a {what} of 1 GB, by percentile", PERCENTILES, lines, "us"
        )
        text += [f"![latency during a {what}](results/{name})", ""]
    return text, pictures


def storm_part(data: Data) -> Part:
    rows = []
    series: dict[str, list[float]] = {}
    for each in data["storms"]:
        quiet, busy = each["quiet"]["gets"]["percentiles_us"], each["storm"]["gets"]["percentiles_us"]
        rows.append(
            [
                each["server"], f"{each['seconds']:.2f}", f"{quiet['99.9']:,.0f}", f"{busy['99.9']:,.0f}",
                f"**{each['ratio']:.2f}**", f"{busy['100']:,.0f}",
            ]
        )  # fmt: skip
        series[f"{each['server']} quiet"] = _percentiles(each["quiet"])
        series[each["server"]] = _percentiles(each["storm"])
    text = table(["server", "all gone after s", "quiet p99.9 us", "p99.9 us", "ratio", "longest us"], rows)
    title = "Latency of GET while a million keys expire, by percentile"
    picture = plots.lines(title, PERCENTILES, series, "us")
    return [*text, "![latency while keys expire](results/storm.svg)", ""], {"storm.svg": picture}


def memory_part(data: Data) -> Part:
    rows, bars = [], []
    marks = {}
    for row in data["slopes"]:
        slopes, target = row["bytes"], row["target_bytes"]
        ours = slopes.get("grapevine")
        rows.append(
            [
                row["shape"],
                f"{ours:.1f}" if ours is not None else "not there yet",
                f"{slopes['redis']:.1f}" if "redis" in slopes else "-",
                f"{target:g}",
                "-" if ours is None else "yes" if ours <= target else f"**{ours / target - 1:.0%} over**",
            ]
        )
        if slopes:
            bars.append((row["shape"], slopes))
            marks[row["shape"]] = target
    text = table(["bytes per entry", "ours", "Redis", "target", "met"], rows)
    for name, cost in data["empty"].items():
        text.append(
            f"- {name}, empty: {cost['resident_bytes'] / (1 << 20):.1f} MB resident,"
            f" {cost['cpu_share']:.2%} of a processor when nobody asks"
        )
    text += ["", "![bytes per entry](results/memory.svg)", ""]
    large = [(label, values) for label, values in bars if marks[label] < 1000]
    picture = plots.bars(
        "Resident bytes per entry (the mark is the target)", large, marks=marks_of(large, marks)
    )
    return text, {"memory.svg": picture}


def marks_of(groups: Sequence[tuple[str, object]], marks: Mapping[str, float]) -> dict[str, float]:
    return {label: marks[label] for label, _ in groups}


def peers_part(data: Data) -> Part:
    rows = []
    for row in data["rows"]:
        for name in row["runs"]:
            figures = [f"{row['cpu_us_per_request'][name]:.2f}", f"{row['requests_per_s'][name] / 1000:.0f}"]
            figures += [f"{row[figure][name]:,.0f}" for figure in ("p50_us", "p99_us", "p999_us")]
            rows.append([row["command"], str(row["pipeline"]), name, *figures])
    head = ["", "pipe", "server", "CPU us/request", "thousand/s", "p50 us", "p99 us", "p99.9 us"]
    groups = [
        (f"{row['command']}, pipeline {row['pipeline']}", row["cpu_us_per_request"]) for row in data["rows"]
    ]
    picture = plots.bars("Server CPU per request, us", groups)
    text = [
        "One client process, 50 connections, values of 64 bytes; latencies are those of a whole pipeline."
        " memcached is asked with `mg`, its pipelined form: of `get` it answers each with a system call."
        " *Floor* is a C loop that receives and answers `+OK`.",
        "",
        *table(head, rows),
        "![server CPU per request](results/peers.svg)",
        "",
    ]
    return text, {"peers.svg": picture}


def eviction_part(data: Data) -> Part:
    titles = list(data["means"])
    found = {**data["hit_ratios"], "**mean**": data["means"]}
    rows = [[name, *(f"{row[title]:.1%}" for title in titles)] for name, row in found.items()]
    shown = [title for title in titles if "lru" not in title or title == "redis lru"]
    groups = [
        (name, {title: row[title] * 100 for title in shown}) for name, row in data["hit_ratios"].items()
    ]
    text = [
        f"{data['objects']:,} objects, {data['requests']:,} requests of a look-aside client, the cache holds"
        " 1 % or 10 % of the objects. *exact* is libcachesim with as many entries. More in"
        " [eviction.md](eviction.md).",
        "",
        *table(["", *titles], rows),
        "![hit ratios](results/eviction.svg)",
        "",
    ]
    return text, {"eviction.svg": plots.bars("Hit ratio, %", groups)}


def timing_part(data: Data) -> Part:
    rows = []
    counts = data["instructions_per_get"]
    if counts is not None:
        rows.append(
            ["instructions per GET, pipeline 32 (callgrind)", *_off_on(counts["off"], counts["on"], 0)]
        )
    for pipeline, runs in data["cpu_us_per_get"].items():
        off, on = (sorted(runs[setting])[len(runs[setting]) // 2] for setting in ("off", "on"))
        rows.append([f"server CPU us per GET, pipeline {pipeline}", *_off_on(off, on, 3)])
    return table(["", "off", "on", "more"], rows), {}


def _off_on(off: float, on: float, digits: int) -> list[str]:
    return [f"{off:.{digits}f}", f"{on:.{digits}f}", f"{on / off - 1:+.1%}"]


def outages_part(data: Data) -> Part:
    members = data["idle"]
    costs = [
        [
            each["name"],
            f"{each['cpu_share']:.2%}",
            f"{each['wakes_per_s']:.0f}",
            f"{each['resident_bytes'] / (1 << 20):.0f} MB",
        ]
        for each in members
    ]
    rows = [
        [
            each["fault"],
            each["server"],
            str(each["rounds"]),
            f"**{each['gap_median_ms']:.0f}**",
            f"{each['gap_worst_ms']:.0f}",
            f"{each['elsewhere_worst_ms']:.0f}",
            f"{each['acknowledged']:,}",
            f"{each['refused']} / {each['unknown']}",
            str(each["missing"]),
        ]
        for each in sorted(data["outages"], key=lambda one: one["fault"])
    ]
    text = [
        f"3 shards with a replica each, all on this machine. `grapevine up` took {data['up_s']:.1f} s until"
        " every slot was served and every replica in sync. While nobody asked for anything:",
        "",
        *table(["process", "of a core", "wake-ups/s", "resident"], costs),
        "One primary a round, with 300 writes a second in each shard ([what the columns mean](chaos.md))."
        " *Gap* is the longest time without an acknowledged write in the victim's slots. A server without"
        " persistence that comes back before it is missed loses everything, so the peers' victims stay away"
        " until their failover is over. A write without an answer for 100 ms counts as unknown, and its"
        " writer asks for the map.",
        "",
        *table(
            ["fault", "server", "rounds", "gap ms, median", "worst", "elsewhere", "acknowledged",
             "refused / unknown", "missing"],
            rows,
        ),
    ]  # fmt: skip
    return text, {}


def fuzz_part(data: Data) -> Part:
    counts: dict[str, Counter[str]] = {}
    seconds: Counter[str] = Counter()
    for chunk in data["chunks"]:
        counts.setdefault(chunk["build"], Counter())[chunk["target"]] += chunk["inputs"]
        seconds[chunk["build"]] += round(chunk["seconds"])
    targets = sorted({target for one in counts.values() for target in one})
    rows = [
        [
            build,
            *(f"{one[target]:,}" for target in targets),
            f"**{one.total():,}**",
            f"{seconds[build] / 3600:.1f} h",
        ]
        for build, one in counts.items()
    ]
    text = table(["build", *targets, "inputs", "time"], rows)
    if data["findings"]:
        text += ["Findings, all of them inputs of a test since:", ""]
        text += [
            f"- {each['target']}, seed {each['seed']} ({each['build']}): {each['text']}"
            for each in data["findings"]
        ]
    else:
        text += ["No finding."]
    return [*text, ""], {}


def oracle_part(data: Data) -> Part:
    rows: dict[str, list[Data]] = {}
    for run in data["runs"]:
        rows.setdefault(run["family"], []).append(run)
    table_rows = [
        [
            family,
            f"{sum(run['sequences'] for run in runs):,}",
            f"{sum(run['sequences'] * run['length'] for run in runs):,}",
            ", ".join(dict.fromkeys(run["commit"] for run in runs)),
        ]
        for family, runs in sorted(rows.items())
    ]
    sequences = sum(run["sequences"] for run in data["runs"])
    commands = sum(run["sequences"] * run["length"] for run in data["runs"])
    table_rows.append(["**all**", f"**{sequences:,}**", f"**{commands:,}**", ""])
    text = [
        "Random sequences to us and to a redis-server 7.0.15 under one clock, every reply the same"
        " ([how](safety.md)).",
        "",
        *table(["family", "sequences", "commands", "commit"], table_rows),
    ]
    return text, {}


# File name, heading, what makes the text of it. `fuzz` and `oracle` are records of
# their own (tests/fuzz/campaign.py, tests/node/collections_oracle.py).
PARTS: Final[Sequence[tuple[str, str, Callable[[Data], Part]]]] = (
    ("compare", "GET and SET beside redis-server", compare_part),
    ("commands", "redis-benchmark's default list", commands_part),
    ("pauses", "While a snapshot or a full sync of 1 GB runs", pauses_part),
    ("storm", "A million keys expire in the same second", storm_part),
    ("memory", "Memory", memory_part),
    ("peers", "memcached beside us", peers_part),
    ("eviction", "Hit ratios", eviction_part),
    ("timing", "What timing every command costs", timing_part),
    ("outages", "A cluster at rest, and when a primary goes", outages_part),
    ("oracle", "Sequences beside a real server", oracle_part),
    ("fuzz", "Fuzzing", fuzz_part),
)
INTRODUCTION: Final = """# Results

What we measured, beside real peers on the same machine in the same run. `grapevine bench all --out DIR`
measures, `python -m bench.results DIR` writes this page and its plots; the figures themselves are in
`docs/results/*.json`. Ratios count, and counts: times on a machine with few cores are noisy.
"""


def without_samples(data: Data) -> Data:
    """The figures that the page shows; the single runs stay in DIR."""
    return {
        **data,
        **(
            {
                "cases": [
                    {key: value for key, value in case.items() if key != "samples"} for case in data["cases"]
                ]
            }
            if "cases" in data
            else {}
        ),
    }


def take(source: Path, kept: Path) -> list[str]:
    """Copies the figures that are in `source`; returns the names of their sections."""
    taken = []
    kept.mkdir(parents=True, exist_ok=True)
    for name, _, _ in PARTS:
        path = source / f"{name}.json"
        if path.exists():
            data = without_samples(json.loads(path.read_text()))
            (kept / path.name).write_text(json.dumps(data, indent=1) + "\n")
            taken.append(name)
    return taken


def make(kept: Path, page: Path) -> list[str]:
    """Writes the page and its plots; returns the sections without figures."""
    text = [INTRODUCTION]
    missing = []
    for name, heading, part in PARTS:
        path = kept / f"{name}.json"
        if not path.exists():
            missing.append(name)
            continue
        data = json.loads(path.read_text())
        lines, pictures = part(data)
        text += [f"## {heading}", "", *([_facts(data), ""] if "machine" in data else []), *lines]
        for file, picture in pictures.items():
            (kept / file).write_text(picture)
    page.write_text("\n".join(text).rstrip("\n") + "\n")
    return missing


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.results", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "source", type=Path, nargs="?", metavar="DIR", help="what `grapevine bench all` wrote"
    )
    parser.add_argument("--page", type=Path, default=PAGE, help="default: %(default)s")
    options = parser.parse_args(words)
    kept = options.page.with_suffix("")
    if options.source is not None and not take(options.source, kept):
        print(
            f"{options.source}: no figures there (grapevine bench all --out {options.source})",
            file=sys.stderr,
        )
        return 1
    missing = make(kept, options.page)
    print(f"{options.page}" + (f" (no figures: {', '.join(missing)})" if missing else ""))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
