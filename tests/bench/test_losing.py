"""`grapevine bench losing`, tiny: every way of losing every type comes about and is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import losing


def test_every_type_is_lost_in_every_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(losing, "QUICK_MEMBERS", 3_000)
    monkeypatch.setattr(losing, "keep_pages", lambda: None)  # it would concern the tests that follow
    out = tmp_path / "losing.json"
    assert losing.main(["--only", "engine", "--quick", "--out", str(out)]) == 0
    # What is freed of 3,000 members takes several slices, unless they stand in a few chunks or nodes.
    rows = json.loads(out.read_text())["steps"]
    assert [(row["type"], row["way"]) for row in rows] == [
        (each, way) for each in losing.TYPES for way in losing.WAYS
    ]
    assert all(
        row["longest_us"] > 0 and row["count"] > 1 for row in rows if row["type"] not in ("list", "stream")
    )
    assert capsys.readouterr().out.count("\n") == 1 + len(rows)


def test_a_type_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        losing.main(["string"])
    assert end.value.code == 2
    assert "no type string" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        losing.main(["set", "--ways", "DEL,GETDEL"])
    assert end.value.code == 2
    assert "no way 'GETDEL'" in capsys.readouterr().err
