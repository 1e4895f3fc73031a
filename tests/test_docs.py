"""What the documents name exists: files, links, commands and their options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.cli import main

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ROOMS = ("gossip", "node", "router", "chaos", "deploy", "bench", "tests", "docs", ".ci")
# In the text: `pump.pyx`, `node/server.py`, and in drawings without the quotes: node/engine/resp.pyx
FILE = re.compile(r"(?<![\w/.*-])(?:[\w.-]+/)*[\w-]+\.(?:pyx|pxd|pyi|py|md|toml|sh)\b(?![\w/*])")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
COMMAND = re.compile(r"grapevine ((?:up|down|status|node|router|chaos|bench)\b(?: [a-z][a-z-]*)*)([^`|]*)")


@pytest.fixture(scope="module")
def existing() -> tuple[set[str], set[str]]:
    """Paths from the root, and names, of the files of the tree."""
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.is_file()]
    return {str(path.relative_to(ROOT)) for path in files}, {path.name for path in files}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_a_document_names_exist(document: Path, existing: tuple[set[str], set[str]]) -> None:
    paths, names = existing
    text = document.read_text()
    named = set(FILE.findall(text))
    missing = {name for name in named if name not in (paths if "/" in name else names)}
    assert {name for name in missing if not (document.parent / name).exists()} == set()
    assert {link for link in LINK.findall(text) if not (document.parent / link).exists()} == set()


def test_the_readme_leads_to_every_document() -> None:
    linked = {Path(link).name for link in LINK.findall((ROOT / "README.md").read_text())}
    assert {path.name for path in (ROOT / "docs").glob("*.md")} <= linked


@pytest.mark.slow  # it imports every room
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_know_the_options_that_a_document_gives_them(
    document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A synopsis goes on in the next line, which begins with blanks.
    text = re.sub(r"\n {4,}\[", " [", document.read_text())
    for words, rest in COMMAND.findall(text):
        options = set(re.findall(r"--[a-z][a-z-]*", rest.split("\n")[0]))
        if not options - {"--help"}:
            continue
        known = help_of(words.split(), capsys)
        assert {option for option in options if option not in known} == set(), words


def help_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What --help says of a command; words that are its arguments are left out."""
    for count in range(len(words), 0, -1):
        with pytest.raises(SystemExit) as ended:
            main([*words[:count], "--help"])
        said = capsys.readouterr().out
        if ended.value.code == 0:
            return said
    raise AssertionError(f"no command: grapevine {' '.join(words)}")
