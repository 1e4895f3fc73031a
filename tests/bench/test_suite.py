"""`grapevine bench all` and the page made from it, tiny."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree
from pathlib import Path

import pytest

from bench import commands, outages, plots, results
from bench.commands import LIST
from bench.suite import SECTIONS, build_parser, main

NEEDED = ("redis-server", "redis-benchmark", "cc")


def test_every_section_has_a_part_of_the_page() -> None:
    assert [name for name, _, _ in results.PARTS] == [*SECTIONS, "oracle", "fuzz"]
    assert sum(section.about_s for section in SECTIONS.values()) <= 1_500


def test_the_list_is_redis_benchmarks() -> None:
    assert len(LIST) == 20
    taken = {name: before for name, _, before in LIST if before}
    assert set(taken) == {"LPOP", "RPOP", "SPOP", "ZPOPMIN"} | {f"LRANGE_{n}" for n in (100, 300, 500, 600)}


def test_a_section_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["nonsense"])
    assert end.value.code == 2
    assert "no section nonsense" in capsys.readouterr().err
    assert "a million keys" in build_parser().format_help()


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.skipif(any(shutil.which(name) is None for name in NEEDED), reason=f"needs {', '.join(NEEDED)}")
def test_measured_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "LIST", [row for row in LIST if row[0] in ("GET", "LPOP", "XADD")])
    # The sections that take longest even when quick are left out: their parts are tested alone.
    chosen = ["commands", "pauses", "storm", "peers", "timing"]
    assert main([*chosen, "--quick", "--out", str(tmp_path / "out")]) == 0
    for name in chosen:
        data = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert data["quick"]
        assert data["versions"]["redis"]
    assert results.main([str(tmp_path / "out"), "--page", str(tmp_path / "results.md")]) == 0
    page = (tmp_path / "results.md").read_text()
    for name, heading, _ in results.PARTS:
        assert (f"## {heading}" in page) == (name in chosen)
    assert page.count("a quick look, not a measurement") == len(chosen)
    for picture in (tmp_path / "results").glob("*.svg"):
        assert f"(results/{picture.name})" in page
        xml.etree.ElementTree.parse(picture)
    # Made again from what was kept: the same page.
    (tmp_path / "results.md").unlink()
    assert results.main(["--page", str(tmp_path / "results.md")]) == 0
    assert (tmp_path / "results.md").read_text() == page


def test_outages_are_shown_fault_by_fault() -> None:
    members = [outages.Idle("node-7000", 0.0051, 6.4, 39 << 20)]
    found = [
        outages.Outage(server, fault, 20, 66.4, 167.0, 41.6, 61_073, 12, 3, 0)
        for server in ("grapevine", "redis, node timeout 1 s")
        for fault in ("kill-primary", "freeze-primary")
    ]
    lines, pictures = results.outages_part(outages.as_json(1.85, members, found))
    assert pictures == {}
    assert "took 1.9 s" in lines[0]
    assert "| node-7000 | 0.51% | 6 | 39 MB |" in lines
    rows = [line for line in lines if "-primary" in line]
    assert rows[0] == "| freeze-primary | grapevine | 20 | **66** | 167 | 42 | 61,073 | 12 / 3 | 0 |"
    assert [row.split(" | ")[1] for row in rows] == ["grapevine", "redis, node timeout 1 s"] * 2


def test_a_folder_without_figures_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert results.main([str(tmp_path), "--page", str(tmp_path / "page.md")]) == 1
    assert "no figures there" in capsys.readouterr().err


def test_fuzzed_inputs_are_summed_by_build() -> None:
    chunk = {"target": "rdb", "seed": 1, "inputs": 1_000, "seconds": 1800.0, "build": "release"}
    data = {"chunks": [chunk, chunk, {**chunk, "build": "sanitize", "target": "lzf"}], "findings": []}
    text, _ = results.fuzz_part(data)
    assert "| release | 0 | 2,000 | **2,000** | 1.0 h |" in text
    assert "| sanitize | 1,000 | 0 | **1,000** | 0.5 h |" in text
    assert "No finding." in text


def test_bars_are_as_long_as_their_figures() -> None:
    picture = plots.bars("A < B", [("one", {"x": 10.0, "y": 5.0}), ("two", {"x": 0.0})], marks={"one": 20.0})
    root = xml.etree.ElementTree.fromstring(picture)
    bars = [rect for rect in root.iter() if rect.get("x") == str(plots.LABEL_WIDTH)]
    widths = [float(rect.get("width", "")) for rect in bars]
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.2)
    assert widths[2] == 0
    assert "A &lt; B" in picture


def test_lines_rise_by_decades() -> None:
    picture = plots.lines("t", ["50", "99", "100"], {"a": [1.0, 10.0, 100.0]}, "us")
    root = xml.etree.ElementTree.fromstring(picture)
    path = next(each.get("d", "") for each in root.iter() if each.get("stroke") == plots.color("a", 0))
    heights = [float(pair.split()[1]) for pair in path.lstrip("M").split("L")]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2])
