"""Every module of the compiled room may be the first one that somebody imports.

They name each other's functions in circles, which works as long as no circle needs a class of a module that
is still being read.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import node.engine

ROOM = Path(node.engine.__file__).parent

# One interpreter that has read nothing yet, and a child of it for each module.
SCRIPT = """
import importlib, os, sys
for name in sys.argv[1:]:
    child = os.fork()
    if child == 0:
        importlib.import_module(name)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        print("cannot be imported first:", name)
"""


def test_each_module_can_be_imported_first() -> None:
    names = [f"node.engine.{path.stem}" for path in sorted(ROOM.glob("*.pyx"))]
    assert len(names) > 50
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *names],
        cwd=ROOM.parents[1],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout == "", done.stdout + done.stderr
    assert done.returncode == 0, done.stderr
