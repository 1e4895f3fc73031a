"""The cores of this room do no I/O: they import no trio, no socket, no time, and roll no dice of their
own.
"""

import ast
from pathlib import Path

import pytest

import gossip

ROOM = Path(gossip.__file__).parent
SHELLS = ("service", "transport", "conversations", "memory", "state", "__init__")
CORES = sorted(path.stem for path in ROOM.glob("*.py") if path.stem not in SHELLS)
FORBIDDEN = (
    "trio",
    "socket",
    "time",
    "select",
    "threading",
    "asyncio",
    "secrets",
    "os",
    "uuid",
    "datetime",
    "logging",
)


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("core", CORES)
def test_cores_do_no_io(core: str) -> None:
    assert not imported(ROOM / f"{core}.py").intersection(FORBIDDEN)


@pytest.mark.parametrize("core", CORES)
def test_cores_roll_no_dice_of_their_own(core: str) -> None:
    """They may name the class random.Random, given to them; never the functions of the module."""
    tree = ast.parse((ROOM / f"{core}.py").read_text())
    modules = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "random"
    }
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules
    }
    taken = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "random"
        for alias in node.names
    }
    assert used | taken <= {"Random"}


def test_the_room_imports_nothing_of_ours() -> None:
    for path in ROOM.glob("*.py"):
        assert not imported(path).intersection({"node", "router", "deploy", "chaos", "bench"})


def test_the_cores_are_the_ones_we_think() -> None:
    assert {
        *("detector", "members", "suspicion", "awareness", "broadcast", "messages", "lease"),
        *("participant", "membership", "voting"),
    } <= set(CORES)
