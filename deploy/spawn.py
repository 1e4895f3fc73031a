"""How a process of ours is started, and what can be said of it when it has ended."""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path


def grapevine_argv(words: Sequence[str]) -> list[str]:
    """The command line for `grapevine WORDS`: this very Python, and our packages wherever the caller stands.

    -P keeps the current directory out of the module path: somebody's own `node` or `deploy` folder must not
    become part of a cache node.
    """
    return [sys.executable, "-P", "-m", "deploy.cli", *words]


def child_environment() -> dict[str, str]:
    """Our environment, with the directory of our packages first on the module path."""
    here = str(Path(__file__).resolve().parent.parent)
    others = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{here}{os.pathsep}{others}" if others else here}


def last_line(path: Path) -> str:
    """The last thing a log says, for an error message; '' when it says nothing."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError as error:
        return f"(the log cannot be read: {error.strerror})"
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def describe_exit(status: int) -> str:
    """How a process ended, from its return code as subprocess gives it."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
