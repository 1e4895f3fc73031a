"""`grapevine chaos sim`: run simulated disasters by seed.

Exit status:
    0  every seed kept every promise
    1  a promise was broken; the line says which, and how to see that run again
    2  refused: no such scenario, or its file makes no sense
"""

import argparse
import sys
import time
from collections.abc import Sequence

from chaos.sim.campaign import main as campaign
from chaos.sim.run import BUGS, options_of, run
from chaos.sim.scenario import ANY_NUMBER, BadScenario, names


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="grapevine chaos sim",
        description="Run simulated clusters through faults; see docs/simulator.md. `sim campaign` runs many"
        " seeds of every scenario and has options of its own: sim campaign --help.",
    )
    parser.add_argument("--scenario", default="storm", help=f"one of {', '.join(names())} (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the first seed (%(default)s)")
    parser.add_argument(
        "--count", type=int, default=1, help="how many seeds, one after the other (%(default)s)"
    )
    parser.add_argument(
        "--safety-ms", type=int, default=ANY_NUMBER, help="faults last no longer (as the scenario has it)"
    )
    parser.add_argument("--trace", action="store_true", help="print what happens, one line each")
    parser.add_argument(
        "--plant",
        action="append",
        choices=BUGS,
        default=[],
        help="leave a safeguard out, to see that a checker notices",
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Runs the words after `chaos sim`; returns the exit status."""
    if argv[:1] == ["campaign"]:
        return campaign(argv[1:])
    words = build_parser().parse_args(argv)
    if words.count < 1:
        sys.stderr.write(f"grapevine chaos sim: --count {words.count}: at least 1\n")
        return 2
    began_s, simulated_ms, broken = time.monotonic(), 0, 0
    for seed in range(words.seed, words.seed + words.count):
        try:
            options = options_of(words.scenario, seed, safety_ms_max=words.safety_ms)
        except BadScenario as error:
            sys.stderr.write(f"grapevine chaos sim: {error}\n")
            return 2
        print(f"seed {seed} scenario {words.scenario} {options}", flush=True)
        outcome = run(options, seed, bugs=frozenset(words.plant), tell=print if words.trace else None)
        simulated_ms += outcome.simulated_ms
        print(
            f"  digest {outcome.digest} faults {outcome.faults} failovers {outcome.failovers}"
            f" acknowledged {outcome.acknowledged} lost {outcome.lost}"
            f" converged_ms {outcome.converged_ms} events {outcome.events}"
        )
        if outcome.violation:
            broken += 1
            plant = "".join(f" --plant {bug}" for bug in words.plant)
            print(f"  VIOLATION {outcome.violation}")
            short = "" if words.safety_ms == ANY_NUMBER else f" --safety-ms {words.safety_ms}"
            again = f"--scenario {words.scenario} --seed {seed}{short} --trace{plant}"
            print(f"  again: grapevine chaos sim {again}")
    elapsed_s = time.monotonic() - began_s
    print(
        f"{words.count} seeds, {broken} with a violation, {simulated_ms / 60_000:.1f} simulated minutes in"
        f" {elapsed_s:.1f} s: {simulated_ms / 1000 / max(elapsed_s, 0.001):.0f} times real time"
    )
    return 1 if broken else 0
