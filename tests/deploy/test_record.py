"""deploy/record.py: what is written comes back, damage is named, one launcher at a time."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.processes import ProcessKey, identify
from deploy.record import DirectoryLock, Record, RecordError, Started, read_record, write_record

KEY = ProcessKey(4711, 99, "boot")


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    record = Record(3, 1, 7000, 6379, formed=True, launcher=identify(os.getpid()))
    record = record.with_started(Started("node-7000", "node", 7000, "primary", KEY))
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record


def test_a_restarted_process_takes_the_place_of_its_former_self() -> None:
    first = Started("node-7000", "node", 7000, "primary", KEY)
    second = replace(first, key=replace(KEY, pid=4712))
    other = replace(first, name="node-7001", port=7001)
    record = Record(3, 1, 7000, 6379).with_started(first).with_started(other).with_started(second)
    assert record.started == (other, second)


def test_no_record_is_none(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "7", '{"format": 1}', '{"format": 1, "launcher": 3, "started": []}']
)
def test_a_damaged_record_is_refused_with_its_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "cluster.json").write_text(content)
    with pytest.raises(RecordError, match=r"cluster\.json is damaged"):
        read_record(tmp_path)


def test_a_record_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text('{"format": 2}')
    with pytest.raises(RecordError, match="another version"):
        read_record(tmp_path)


def test_a_directory_has_one_lock(tmp_path: Path) -> None:
    lock = DirectoryLock.take(tmp_path / "new" / "place")
    assert lock is not None
    assert DirectoryLock.take(tmp_path / "new" / "place") is None
    lock.release()
    again = DirectoryLock.take(tmp_path / "new" / "place")
    assert again is not None
    again.release()


def test_a_file_in_place_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(RecordError, match="is not a directory"):
            DirectoryLock.take(place)


def test_an_unwritable_directory_is_named() -> None:
    with pytest.raises(RecordError, match=r"cannot write to --dir /proc/grapevine \("):
        DirectoryLock.take(Path("/proc/grapevine"))
