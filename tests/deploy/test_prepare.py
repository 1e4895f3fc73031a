"""deploy/prepare.sh: what a machine lacks is said in one line, before anything is downloaded or built."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("dirname", "cat", "uname", "mkdir", "rm", "find", "grep", "head", "sed", "flock", "cut", "mv")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As much of a checkout as the script looks at before it builds."""
    place = tmp_path / "checkout"
    (place / "deploy").mkdir(parents=True)
    shutil.copy(ROOT / "deploy" / "prepare.sh", place / "deploy")
    shutil.copy(ROOT / "pyproject.toml", place)
    return place


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH with the usual tools and no Python or compiler."""
    place = tmp_path / "tools"
    place.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        if found is not None:
            (place / name).symlink_to(found)
    return place


def write_python(
    place: Path, *, headers: str = "/nowhere", version: str = "3.11.9", new_enough: bool = True
) -> Path:
    """A stand-in that answers the script's questions as another Python would."""
    python = place / "python3"
    python.write_text(
        "#!/bin/sh\n"
        'case "$2" in\n'
        f"  *version_info*) exit {0 if new_enough else 1} ;;\n"
        f"  *python_version*) echo {version} ;;\n"
        "  *CC*) echo nocompiler -pthread ;;\n"
        f"  *include*) echo {headers} ;;\n"
        "  *) exit 1 ;;\n"
        "esac\n"
    )
    python.chmod(0o755)
    return python


def prepare(checkout: Path, path: Path, *parts: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(checkout / "deploy" / "prepare.sh"), *parts],
        env={"PATH": str(path), **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that was said."""
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("grapevine: ")
    return line


def test_no_python(checkout: Path, tools: Path) -> None:
    assert "no python3 here: install Python 3.11 or newer" in complaint(prepare(checkout, tools))


def test_an_old_python(checkout: Path, tools: Path) -> None:
    write_python(tools, version="3.9.2", new_enough=False)
    assert "Python 3.9.2 is too old: Grapevine needs 3.11" in complaint(prepare(checkout, tools))


def test_no_compiler(checkout: Path, tools: Path) -> None:
    write_python(tools)
    assert "no C compiler here: install gcc or clang" in complaint(prepare(checkout, tools))


def test_a_compiler_that_is_not_there(checkout: Path, tools: Path) -> None:
    write_python(tools)
    assert "CC=fancycc: there is no such compiler" in complaint(prepare(checkout, tools, CC="fancycc"))


def test_a_compiler_that_builds_nothing(checkout: Path, tools: Path) -> None:
    write_python(tools)
    (tools / "gcc").symlink_to(shutil.which("false") or "/bin/false")
    assert "the C compiler 'gcc' cannot build a program" in complaint(prepare(checkout, tools))


def test_no_python_headers(checkout: Path, tools: Path) -> None:
    write_python(tools, headers="/nowhere/include")
    (tools / "cc").symlink_to(shutil.which("true") or "/bin/true")
    line = complaint(prepare(checkout, tools))
    assert "Python's C headers are missing (/nowhere/include/Python.h)" in line


def test_a_file_where_the_environment_should_be(checkout: Path, tools: Path) -> None:
    (checkout / ".venv").touch()
    assert f"cannot write to {checkout}/.venv" in complaint(prepare(checkout, tools))


def test_an_unknown_part(checkout: Path, tools: Path) -> None:
    assert "unknown part 'everything'" in complaint(prepare(checkout, tools, "everything"))


@pytest.mark.slow
def test_no_network(checkout: Path) -> None:
    done = prepare(
        checkout, Path(os.environ["PATH"]), PYTHON=sys.executable,
        PIP_CONFIG_FILE=os.devnull, PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_RETRIES="0",
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line == (
        "grapevine: could not download Python packages: no network, or the package index does not answer "
        "(details: .venv/prepare.log)"
    )
