"""deploy/logs.py: logs that others write to are kept short, and nothing that was said is lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploy.logs import old_log, shorten


def test_a_log_that_is_too_long_begins_anew_and_its_writer_notices_nothing(tmp_path: Path) -> None:
    log = tmp_path / "node.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * 2_000_000 + b"\n")
        assert not shorten(log, 2_000_001)
        assert not old_log(log).exists()
        assert shorten(log, 2_000_000)
        writer.write(b"after\n")
        assert log.read_bytes() == b"after\n"
        assert old_log(log).read_bytes() == b"x" * 2_000_000 + b"\n"
        assert shorten(log, 5)
        assert log.read_bytes() == b""
        assert old_log(log).read_bytes() == b"after\n"
    assert sorted(os.listdir(tmp_path)) == ["node.log", "node.log.1"]


def test_without_a_limit_it_grows(tmp_path: Path) -> None:
    log = tmp_path / "node.log"
    log.write_bytes(b"x" * 1000)
    assert not shorten(log, 0)
    assert log.stat().st_size == 1000


def test_a_log_that_is_not_there_is_short(tmp_path: Path) -> None:
    assert not shorten(tmp_path / "node.log", 1)


def test_what_cannot_be_kept_is_not_thrown_away(tmp_path: Path) -> None:
    log = tmp_path / "node.log"
    log.write_bytes(b"x" * 1000)
    old_log(log).mkdir()
    with pytest.raises(OSError, match=r"node\.log\.1"):
        shorten(log, 10)
    assert log.stat().st_size == 1000
