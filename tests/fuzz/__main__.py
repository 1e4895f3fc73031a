"""python -m tests.fuzz --target NAME --seconds N --seed S. See docs/safety.md."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.fuzz.fuzzer import Fuzzer, replay
from tests.fuzz.targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzzes the compiled room.")
    parser.add_argument("--target", choices=sorted(TARGETS), required=True)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inputs", type=int, default=0, help="stop after so many; 0: only the time counts")
    parser.add_argument(
        "--keep", type=Path, help="a directory of more parents; inputs that reached something new are added"
    )
    parser.add_argument("--replay", type=Path, help="run the inputs of a journal or one input, nothing else")
    parser.add_argument("--journal", type=Path, help="where inputs are noted before they run")
    parser.add_argument("--json", action="store_true", help="the report for programs")
    options = parser.parse_args()
    target = TARGETS[options.target]()
    if options.replay:
        print(f"{replay(target, options.replay)} inputs, no finding")
        return 0
    journal = options.journal or Path(f"fuzz-{options.target}-{options.seed}.journal")
    fuzzer = Fuzzer(target, options.seed, journal=journal, keep=options.keep)
    fuzzer.run(seconds=options.seconds, inputs=options.inputs)
    print(json.dumps(fuzzer.summary()) if options.json else fuzzer.report())
    return 0


if __name__ == "__main__":
    sys.exit(main())
