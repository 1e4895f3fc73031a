"""`grapevine bench compare`: a stand-alone node beside redis-server, the same load for both, in turns.

Machines are noisy and their noise drifts, so the two servers run at the same time and are measured in pairs,
the first of a pair in turn; medians of the runs are shown, and ratios are medians of the pairs' ratios. What
counts for us is server CPU per request: redis-benchmark itself is the limit of throughput in most cases.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Final, NoReturn

from bench.figures import write_figures
from bench.load import PROGRAM, Case, LoadFailed, Sample, run
from bench.measure import machine, resident_bytes
from bench.servers import Server, ServerFailed, floor_kind, grapevine_kind, redis_kind, running

COMMANDS: Final = ("set", "get")  # SET first: GET finds what it left
CONNECTIONS: Final = (1, 50)
PIPELINES: Final = (1, 16, 32)
RESULTS: Final = Path("bench/results")
FILL_ROUNDS: Final = (
    5  # times as many SETs of keys drawn at random as there are keys: 99.3 % exist afterwards
)
PILOT_REQUESTS: Final = 4_000
TITLE_WIDTH: Final = 26
PILOT_BYTES: Final = 64 << 20  # large values: fewer requests


@dataclass(frozen=True, slots=True)
class Comparison:
    """All runs of one case, by server, pairs at the same index."""

    case: Case
    samples: dict[str, list[Sample]]

    def add(self, other: "Comparison") -> None:
        """More runs of the same case."""
        for server, samples in other.samples.items():
            self.samples[server] += samples

    def middle(self, server: str, figure: Callable[[Sample], float]) -> float:
        return median(figure(sample) for sample in self.samples[server])

    def ratios(self, figure: Callable[[Sample], float], peer: str = "redis") -> list[float]:
        """Ours to the peer's, pair by pair, in rising order.

        Empty without a peer or with figures of zero.
        """
        pairs = zip(self.samples["grapevine"], self.samples.get(peer, ()), strict=False)
        return sorted(figure(ours) / figure(theirs) for ours, theirs in pairs if figure(theirs))

    def ratio(self, figure: Callable[[Sample], float], peer: str = "redis") -> float | None:
        """The median of the pairs' ratios; None if there are none."""
        quotients = self.ratios(figure, peer)
        return median(quotients) if quotients else None


FIGURES: Final[dict[str, Callable[[Sample], float]]] = {
    "requests_per_s": lambda sample: sample.requests_per_s,
    "p50_ms": lambda sample: sample.p50_ms,
    "p99_ms": lambda sample: sample.p99_ms,
    "p999_ms": lambda sample: sample.p999_ms,
    "cpu_us_per_request": lambda sample: sample.cpu_us_per_request,
}


def compare(
    cases: Sequence[Case], servers: Sequence[Server], *, repeats: int, seconds: float
) -> Iterator[Comparison]:
    """Measures case by case.

    Args:
        seconds: about how long one run lasts; the number of requests is the same for all servers.
    Raises:
        LoadFailed: a load did not come about.
    """
    filled: tuple[int, int] | None = None
    for case in cases:
        if filled != (filled := (case.value_bytes, case.keys)):
            fill = replace(case, command="set", connections=50, pipeline=32, before="")
            for server in servers:
                run(fill, server.port, server.pid, FILL_ROUNDS * case.keys)
        # A pilot warms both servers up and tells how many requests fill the time.
        pilot = max(case.connections, min(PILOT_REQUESTS, PILOT_BYTES // case.value_bytes))
        pilots = [run(case, server.port, server.pid, pilot) for server in servers]
        requests = max(pilot, int(min(each.requests_per_s for each in pilots) * seconds))
        samples: dict[str, list[Sample]] = {server.name: [] for server in servers}
        for turn in range(repeats):
            for server in servers if turn % 2 == 0 else reversed(servers):
                samples[server.name].append(run(case, server.port, server.pid, requests))
        yield Comparison(case, samples)


def title(case: Case) -> str:
    """What a case does, for tables."""
    size = case.value_bytes
    unit = f"{size >> 20} MB" if size >= 1 << 20 else f"{size >> 10} KB" if size >= 1 << 10 else f"{size} B"
    return f"{case.command.upper()[: TITLE_WIDTH - 8]} {unit}"


def head(names: Sequence[str]) -> str:
    """The two lines above the table."""
    width = 10 * len(names) + (7 if "redis" in names else 0)
    groups = ("thousand requests/s", "p50 ms", "p99 ms", "p99.9 ms", "server CPU us/request")
    above = " " * (TITLE_WIDTH + 12) + "".join(f"   {group:^{width}.{width}}" for group in groups)
    columns = "".join(f"{name[:9]:>10}" for name in names) + ("  ratio" if "redis" in names else "")
    return f"{above}\n{'command':{TITLE_WIDTH}}{'conns':>6}{'pipe':>6}" + f"   {columns}" * len(groups)


def line(comparison: Comparison) -> str:
    """One line of the table."""
    case = comparison.case
    text = f"{title(case):{TITLE_WIDTH}}{case.connections:6}{case.pipeline:6}"
    for name, figure in FIGURES.items():
        scale, digits = (1e-3, 1) if name == "requests_per_s" else (1.0, 3 if name.startswith("p") else 2)
        text += "   "
        for server in comparison.samples:
            text += f"{comparison.middle(server, figure) * scale:10.{digits}f}"
        ratio = comparison.ratio(figure)
        if "redis" in comparison.samples:
            text += f"{ratio:6.2f}x" if ratio is not None else "      -"
    return text


def as_json(comparisons: Sequence[Comparison]) -> list[dict[str, object]]:
    """Everything that was measured: medians, ratios to each peer with their spread, and the samples."""
    return [
        {
            **asdict(each.case),
            "medians": {
                server: {name: each.middle(server, figure) for name, figure in FIGURES.items()}
                for server in each.samples
            },
            "ratios": {
                peer: {
                    name: {"median": each.ratio(figure, peer), "all": each.ratios(figure, peer)}
                    for name, figure in FIGURES.items()
                }
                for peer in each.samples
                if peer != "grapevine"
            },
            "samples": {server: [asdict(one) for one in runs] for server, runs in each.samples.items()},
        }
        for each in comparisons
    ]


def suite_cases() -> list[Case]:
    """What `grapevine bench all` compares: small values closely, large ones too."""
    small = [
        Case(command, connections, pipeline)
        for command in COMMANDS
        for connections, pipeline in ((1, 1), (50, 1), (50, 16), (50, 32))
    ]
    large = [
        Case(command, connections, pipeline, value_bytes, keys)
        for value_bytes, keys, connections, pipeline in (
            (1 << 10, 100_000, 50, 1),
            (1 << 10, 100_000, 50, 16),
            (64 << 10, 1_000, 50, 1),
            (1 << 20, 100, 10, 1),
        )
        for command in COMMANDS
    ]
    return small + large


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _numbers(text: str) -> tuple[int, ...]:
    if not all(part.isdigit() and int(part) > 0 for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers like 1,50")
    return tuple(int(part) for part in text.split(","))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.lower().split(","))


def build_parser() -> Parser:
    parser = Parser(
        prog="grapevine bench compare",
        description="Compares a stand-alone node with redis-server, side by side.",
    )
    parser.add_argument(
        "--commands",
        type=_words,
        default=COMMANDS,
        metavar="LIST",
        help="as redis-benchmark -t names them: set,get",
    )
    parser.add_argument(
        "--connections", type=_numbers, default=CONNECTIONS, metavar="LIST", help="default: 1,50"
    )
    parser.add_argument(
        "--pipelines", type=_numbers, default=PIPELINES, metavar="LIST", help="default: 1,16,32"
    )
    parser.add_argument("--value-bytes", type=int, default=64, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--repeats", type=int, default=5, metavar="N", help="runs of each case (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=1.0, metavar="S", help="length of a run (default: %(default)s)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="one short run of each case: a look, not a measurement"
    )
    parser.add_argument(
        "--floor", action="store_true", help="also a bare recv+send loop: what no server can beat"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help=f"where to write the figures (default: {RESULTS}/)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the comparison; returns its exit status."""
    options = build_parser().parse_args(argv)
    if shutil.which(PROGRAM) is None:
        return _failed(f"{PROGRAM} is not installed (Debian, Ubuntu: apt-get install redis-tools)")
    kinds = [grapevine_kind()]
    redis = redis_kind()
    if redis is None:
        print(
            "redis-server is not installed, so Grapevine is measured alone "
            "(Debian, Ubuntu: apt-get install redis-server)"
        )
    else:
        kinds.insert(0, redis)
    cases = [
        Case(command, connections, pipeline, options.value_bytes)
        for command, connections, pipeline in product(
            options.commands, options.connections, options.pipelines
        )
    ]
    target = options.json or RESULTS / time.strftime("compare-%Y%m%d-%H%M%S.json")
    repeats, seconds = (1, 0.2) if options.quick else (options.repeats, options.seconds)
    comparisons = []
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="grapevine-bench-") as name, ExitStack() as stack:
            if options.floor:
                kinds.append(floor_kind(Path(name)))
            servers = [stack.enter_context(running(kind, Path(name) / kind.name)) for kind in kinds]
            empty = {server.name: resident_bytes(server.pid) for server in servers}
            print(
                ", ".join(f"{kind.name} {kind.version}".strip() for kind in kinds) + f"; {machine()['cpu']}"
            )
            print(head([kind.name for kind in kinds]))
            for comparison in compare(cases, servers, repeats=repeats, seconds=seconds):
                comparisons.append(comparison)
                print(line(comparison), flush=True)
        figures = {"resident_bytes_when_empty": empty, "cases": as_json(comparisons)}
        write_figures(target, figures, kinds)
    except (LoadFailed, ServerFailed) as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(f"{error.filename or target}: {error.strerror}")
    except KeyboardInterrupt:
        return 130
    print(f"figures: {target}")
    return 0


def _failed(text: str) -> int:
    print(f"grapevine bench compare: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
