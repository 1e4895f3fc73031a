"""The cores of replication do no I/O and roll no dice of their own."""

import ast
from pathlib import Path

import pytest

import node.replication

ROOM = Path(node.replication.__file__).parent
CORES = ("actions", "handover", "history", "link", "quota", "settings", "source")
SHELLS = ("feeder", "follower", "manager", "report", "wire")
TRIO = {"manager", "wire"}  # all others can be driven under virtual time
FORBIDDEN = {"trio", "socket", "time", "select", "threading", "asyncio", "secrets", "os", "logging"}


def test_every_module_is_one_or_the_other() -> None:
    assert sorted(path.stem for path in ROOM.glob("*.py")) == sorted([*CORES, *SHELLS, "__init__"])


@pytest.mark.parametrize("core", CORES)
def test_cores_import_nothing_that_acts(core: str) -> None:
    modules: set[str] = set()
    for statement in ast.walk(ast.parse((ROOM / f"{core}.py").read_text())):
        if isinstance(statement, ast.Import):
            modules.update(alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            modules.add(statement.module or "")
    assert not {module.split(".")[0] for module in modules} & FORBIDDEN
    assert not {module for module in modules if module.startswith("node.engine")}


def test_few_modules_wait() -> None:
    assert {path.stem for path in ROOM.glob("*.py") if "import trio" in path.read_text()} == TRIO
