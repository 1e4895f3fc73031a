"""How figures are kept: one JSON file for each kind of measurement, with what is needed to judge it."""

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from bench.measure import commit, machine
from bench.servers import Kind


def write_figures(path: Path, figures: Mapping[str, object], kinds: Iterable[Kind]) -> None:
    """Writes what was measured, on which machine, at which commit, with which servers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": machine(),
        "commit": commit(),
        "versions": {kind.name: kind.version for kind in kinds},
    }
    path.write_text(json.dumps({**facts, **figures}, indent=1) + "\n")
