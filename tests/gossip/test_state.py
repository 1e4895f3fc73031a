"""The state file survives everything short of damage, and damage is refused by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gossip.state import (
    FORMAT_VERSION,
    STATE_FILE,
    AlreadyRunning,
    StateDirectory,
    StateError,
    decode_state,
    encode_state,
)

STATE = {"member_id": "a" * 40, "incarnation": 7, "decided": {"slots": (3, ((0, 16383, "s"),))}, "none": None}


def test_saved_state_is_loaded(tmp_path: Path) -> None:
    with StateDirectory(tmp_path / "new" / "dir") as directory:
        assert directory.load() is None
        directory.save(STATE)
        assert directory.load() == STATE
        directory.save({**STATE, "incarnation": 8})
    with StateDirectory(tmp_path / "new" / "dir") as directory:
        assert directory.load() == {**STATE, "incarnation": 8}


@pytest.mark.parametrize("cut", range(len(encode_state(STATE))))
def test_file_torn_at_every_byte_is_refused(cut: int) -> None:
    with pytest.raises(StateError, match=r"/d/file.*damaged.*Move it away"):
        decode_state(encode_state(STATE)[:cut], "/d/file")


@pytest.mark.parametrize("at", range(len(encode_state(STATE))))
def test_every_flipped_byte_is_refused(at: int) -> None:
    content = bytearray(encode_state(STATE))
    content[at] ^= 0x41
    with pytest.raises(StateError, match="/d/file"):
        decode_state(bytes(content), "/d/file")


def test_foreign_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).write_bytes(b"REDIS0011 something else entirely, long enough")
    with (
        StateDirectory(tmp_path) as directory,
        pytest.raises(StateError, match="not a state file of Grapevine"),
    ):
        directory.load()


def test_newer_format_is_refused() -> None:
    content = bytearray(encode_state(STATE))
    content[8] = FORMAT_VERSION + 1
    with pytest.raises(StateError, match="Run the version that wrote it"):
        decode_state(bytes(content), "f")


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    with StateDirectory(tmp_path) as directory:
        directory.save(STATE)
        directory.path.with_suffix(".tmp").mkdir()  # the file beside cannot be opened
        with pytest.raises(StateError, match="cannot write the state file"):
            directory.save({"member_id": "b" * 40})
        assert directory.load() == STATE


def test_leftover_of_a_crash_is_overwritten(tmp_path: Path) -> None:
    with StateDirectory(tmp_path) as directory:
        directory.path.with_suffix(".tmp").write_bytes(b"half a fi")
        directory.save(STATE)
        assert directory.load() == STATE


def test_directory_belongs_to_one_process(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from gossip.state import StateDirectory\n"
        f"d = StateDirectory(Path({str(tmp_path)!r})); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path.cwd()
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(AlreadyRunning, match=rf"already running in .*process {holder.pid}\)"):
            StateDirectory(tmp_path)
        holder.stdin.close()
        assert holder.wait(10) == 0
    with StateDirectory(tmp_path) as directory:
        assert directory.load() is None


def test_same_process_cannot_share_it_either(tmp_path: Path) -> None:
    with StateDirectory(tmp_path), pytest.raises(AlreadyRunning, match=str(os.getpid())):
        StateDirectory(tmp_path)


def test_close_can_be_repeated(tmp_path: Path) -> None:
    directory = StateDirectory(tmp_path)
    directory.close()
    directory.close()
    StateDirectory(tmp_path).close()


def test_unusable_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateError, match=r"cannot use the directory .*file/below"):
        StateDirectory(tmp_path / "file" / "below")
