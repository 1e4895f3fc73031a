"""`grapevine bench`: a stand-alone node beside redis-server, the same load for both, in turns.

Machines are noisy and their noise drifts, so the two servers run at the same time and are measured in pairs,
the first of a pair in turn; medians of the runs are shown, and ratios are medians of the pairs' ratios. What
counts for us is server CPU per request: redis-benchmark itself is the limit of throughput in most cases.
"""

import argparse
import json
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

from bench.load import PROGRAM, Case, LoadFailed, Sample, run
from bench.measure import commit, machine, resident_bytes
from bench.servers import Kind, Server, ServerFailed, floor_kind, grapevine_kind, redis_kind, running

COMMANDS: Final = ("set", "get")  # SET first: GET finds what it left
CONNECTIONS: Final = (1, 50)
PIPELINES: Final = (1, 16, 32)
RESULTS: Final = Path("bench/results")
FILL_REQUESTS: Final = 500_000  # 100,000 keys drawn at random: 99.3 % of them exist afterwards
PILOT_REQUESTS: Final = 4_000


@dataclass(frozen=True, slots=True)
class Comparison:
    """All runs of one case, by server, pairs at the same index."""

    case: Case
    samples: dict[str, list[Sample]]

    def middle(self, server: str, figure: Callable[[Sample], float]) -> float:
        return median(figure(sample) for sample in self.samples[server])

    def ratio(self, figure: Callable[[Sample], float]) -> float | None:
        """Ours to the peer's: the median of the pairs' ratios.

        None without a peer or with figures of zero.
        """
        if "redis" not in self.samples:
            return None
        pairs = zip(self.samples["grapevine"], self.samples["redis"], strict=True)
        quotients = [figure(ours) / figure(peer) for ours, peer in pairs if figure(peer)]
        return median(quotients) if quotients else None


FIGURES: Final[dict[str, Callable[[Sample], float]]] = {
    "requests_per_s": lambda sample: sample.requests_per_s,
    "p50_ms": lambda sample: sample.p50_ms,
    "p99_ms": lambda sample: sample.p99_ms,
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
    for server in servers:
        run(
            replace(cases[0], command="set", connections=50, pipeline=32),
            server.port,
            server.pid,
            FILL_REQUESTS,
        )
    for case in cases:
        # A pilot warms both servers up and tells how many requests fill the time.
        pilots = [run(case, server.port, server.pid, PILOT_REQUESTS) for server in servers]
        requests = max(PILOT_REQUESTS, int(min(pilot.requests_per_s for pilot in pilots) * seconds))
        samples: dict[str, list[Sample]] = {server.name: [] for server in servers}
        for turn in range(repeats):
            for server in servers if turn % 2 == 0 else reversed(servers):
                samples[server.name].append(run(case, server.port, server.pid, requests))
        yield Comparison(case, samples)


def head(names: Sequence[str]) -> str:
    """The two lines above the table."""
    width = 10 * len(names) + (7 if "redis" in names else 0)
    groups = ("thousand requests/s", "p50 ms", "p99 ms", "server CPU us/request")
    above = " " * 20 + "".join(f"   {group:^{width}.{width}}" for group in groups)
    columns = "".join(f"{name[:9]:>10}" for name in names) + ("  ratio" if "redis" in names else "")
    return f"{above}\n{'command':8}{'conns':>6}{'pipe':>6}" + f"   {columns}" * len(groups)


def line(comparison: Comparison) -> str:
    """One line of the table."""
    case = comparison.case
    text = f"{case.command.upper():8}{case.connections:6}{case.pipeline:6}"
    for name, figure in FIGURES.items():
        scale, digits = (1e-3, 1) if name == "requests_per_s" else (1.0, 3 if name.startswith("p") else 2)
        text += "   "
        for server in comparison.samples:
            text += f"{comparison.middle(server, figure) * scale:10.{digits}f}"
        ratio = comparison.ratio(figure)
        if "redis" in comparison.samples:
            text += f"{ratio:6.2f}x" if ratio is not None else "      -"
    return text


def as_json(
    comparisons: Sequence[Comparison], kinds: Sequence[Kind], empty: dict[str, int]
) -> dict[str, object]:
    """Everything that was measured, with what is needed to judge it."""
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": machine(),
        "commit": commit(),
        "versions": {kind.name: kind.version for kind in kinds},
        "resident_bytes_when_empty": empty,
        "cases": [
            {
                **asdict(each.case),
                "medians": {
                    server: {name: each.middle(server, figure) for name, figure in FIGURES.items()}
                    for server in each.samples
                },
                "ratios": {name: each.ratio(figure) for name, figure in FIGURES.items()},
                "samples": {server: [asdict(one) for one in runs] for server, runs in each.samples.items()},
            }
            for each in comparisons
        ],
    }


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
        prog="grapevine bench", description="Compares a stand-alone node with redis-server, side by side."
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
        target.write_text(json.dumps(as_json(comparisons, kinds, empty), indent=1) + "\n")
    except (LoadFailed, ServerFailed) as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(f"{error.filename or target}: {error.strerror}")
    except KeyboardInterrupt:
        return 130
    print(f"figures: {target}")
    return 0


def _failed(text: str) -> int:
    print(f"grapevine bench: {text}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
