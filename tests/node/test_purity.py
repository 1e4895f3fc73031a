"""The node's deciding cores do no I/O and read no clock: the simulator drives the very same objects."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import node

ROOM = Path(node.__file__).parent
FORBIDDEN = {
    "trio",
    "socket",
    "time",
    "os",
    "select",
    "asyncio",
    "threading",
    "secrets",
    "logging",
    "datetime",
}


def imported(core: str) -> set[str]:
    tree = ast.parse((ROOM / f"{core}.py").read_text())
    return {
        name.split(".")[0]
        for found in ast.walk(tree)
        for name in (
            [alias.name for alias in found.names]
            if isinstance(found, ast.Import)
            else [found.module or ""]
            if isinstance(found, ast.ImportFrom)
            else []
        )
    }


@pytest.mark.parametrize(
    "core",
    [
        *("election", "succession", "slot_changes", "in_sync", "accounts", "orphans", "cluster_replies"),
        *("outlook", "routes", "pace"),
    ],
)
def test_cores_do_no_io(core: str) -> None:
    assert not imported(core) & FORBIDDEN


@pytest.mark.parametrize("core", ["office", "heir", "durability", "chronicle"])
def test_these_only_write_to_the_log(core: str) -> None:
    assert not imported(core) & (FORBIDDEN - {"logging"})
