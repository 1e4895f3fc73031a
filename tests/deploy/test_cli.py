"""deploy/cli.py: every mistake is one clear line, and a node starts light."""

import subprocess
import sys
from pathlib import Path

import pytest

from deploy.cli import build_parser
from deploy.spawn import child_environment, grapevine_argv


def grapevine(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        grapevine_argv(words), env=child_environment(), cwd=cwd, capture_output=True, text=True, check=False
    )


def test_every_command_is_listed_with_a_word_about_it() -> None:
    text = build_parser().format_help()
    for name in ("up", "down", "status", "node", "router", "chaos", "bench"):
        assert f"\n    {name} " in text


def test_version_names_the_distribution() -> None:
    done = grapevine("--version")
    assert done.returncode == 0
    assert done.stdout.startswith("grapevine 0.")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "status", "complaint"),
    [
        (["nonsense"], 2, "invalid choice: 'nonsense'"),
        (["up", "--shards", "many"], 2, "invalid int value: 'many'"),
        (["up", "--router-port", "0"], 2, "'0' is not a port"),
        (["up", "--router-port", "6379", "--no-router"], 2, "not allowed with argument"),
        (["up", "--shards", "0"], 1, "--shards 0: choose 1 to 500"),
        (["up", "--port", "60000", "--no-router"], 1, "--port 60000: choose 1 to 55530"),
        (["up", "--dir", "file"], 1, "is not a directory: choose another one"),
        (["up", "--dir", "file", "--detach"], 1, "is not a directory: choose another one"),
        (["up", "--dir", "/proc/nowhere", "--detach"], 1, "cannot write to --dir /proc/nowhere"),
        (["up", "--dir", "damaged", "--detach"], 1, "cluster.json is damaged"),
        (["down", "--dir", "nowhere"], 1, "there is no cluster in"),
        (["down", "--dir", "damaged"], 1, "cluster.json is damaged"),
        (["status", "--port", "1"], 1, "no member of a cluster answers on 127.0.0.1:1"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, words: list[str], status: int, complaint: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "cluster.json").write_text("{")
    done = grapevine(*words, cwd=tmp_path)
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert done.returncode == status


def test_a_folder_of_the_caller_does_not_replace_ours(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "__init__.py").write_text("raise RuntimeError('somebody else')")
    assert grapevine("--version", cwd=tmp_path).returncode == 0


def test_the_command_imports_nothing_a_node_does_not_need() -> None:
    heavy = {"rich", "trio", "deploy.launcher", "bench.compare"}
    code = f"import sys, deploy.cli; print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=child_environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
