"""What a moving picture promises beyond the model test: trouble in the sink, epochs, budgets, pins."""

from __future__ import annotations

import pytest

from node.engine.keyspace import Keyspace
from node.engine.snapshot import CallbackSink, Snapshot, SnapshotBusy, SnapshotSink

HASH_KEY = b"fedcba9876543210"


def filled(count: int) -> Keyspace:
    keyspace = Keyspace(hash_key=HASH_KEY, clock_ms=1_000)
    for number in range(count):
        keyspace.set(0, b"name%d" % number, b"old%d" % number)
    return keyspace


class Collected(dict[bytes, bytes]):
    """Names and values that came, each at most once."""

    def sink(self) -> CallbackSink:
        return CallbackSink(self._take)

    def _take(self, database: int, slot: int, name: bytes, value: bytes, expire_ms: int) -> None:
        assert name not in self
        self[name] = value


def test_steps_keep_to_their_budget() -> None:
    keyspace = filled(1_000)
    got = Collected()
    snapshot = Snapshot(keyspace, got.sink())
    before = 0
    while snapshot.step(10):
        assert len(got) - before <= 20  # a bucket may overshoot it
        before = len(got)
    assert len(got) == snapshot.delivered == 1_000
    assert snapshot.early == 0
    assert snapshot.done
    assert not snapshot.step(10)


def test_a_write_delivers_the_old_value_first() -> None:
    keyspace = filled(100)
    got = Collected()
    snapshot = Snapshot(keyspace, got.sink())
    keyspace.set(0, b"name7", b"new")
    assert got == {b"name7": b"old7"}
    keyspace.set(0, b"name7", b"newer")
    keyspace.delete(0, b"name8")
    keyspace.set(0, b"name8", b"again")
    keyspace.set(0, b"unheard of", b"new")
    while snapshot.step(1_000):
        pass
    assert got == {b"name%d" % number: b"old%d" % number for number in range(100)}
    assert snapshot.early == 2


def test_a_sink_that_breaks_ends_the_snapshot_and_not_the_write() -> None:
    keyspace = filled(10)

    def refuse(database: int, slot: int, name: bytes, value: bytes, expire_ms: int) -> None:
        raise OSError("disk full")

    snapshot = Snapshot(keyspace, CallbackSink(refuse))
    keyspace.set(0, b"name1", b"new")
    assert keyspace.get(0, b"name1") == b"new"
    assert snapshot.done
    with pytest.raises(OSError, match="disk full"):
        snapshot.step(1)
    assert not snapshot.step(1)

    snapshot = Snapshot(keyspace, CallbackSink(refuse))
    with pytest.raises(OSError, match="disk full"):
        snapshot.step(1_000)
    assert snapshot.done
    # Others are not disturbed.
    got = Collected()
    healthy = Snapshot(keyspace, got.sink())
    Snapshot(keyspace, CallbackSink(refuse))
    keyspace.set(0, b"name1", b"newer")
    while healthy.step(100):
        pass
    assert len(got) == 10


def test_a_bare_sink_says_that_it_is_abstract() -> None:
    snapshot = Snapshot(filled(1), SnapshotSink())
    with pytest.raises(NotImplementedError, match="a sink says"):
        snapshot.step(1_000)


def test_cleared_data_stays_until_it_was_delivered() -> None:
    keyspace = filled(500)
    got = Collected()
    snapshot = Snapshot(keyspace, got.sink())
    keyspace.clear(0)
    while keyspace.free_some(10_000):
        break  # it can't be freed yet
    used = keyspace.memory()["used_bytes"]
    assert used > 500 * 20
    while snapshot.step(100):
        pass
    assert len(got) == 500
    while keyspace.free_some(10_000):
        pass
    assert keyspace.memory()["used_bytes"] == 0


def test_closing_early_frees_what_it_held() -> None:
    keyspace = filled(500)
    got = Collected()
    snapshot = Snapshot(keyspace, got.sink())
    snapshot.step(100)
    keyspace.clear(0)
    snapshot.close()
    snapshot.close()
    while keyspace.free_some(10_000):
        pass
    assert keyspace.memory()["used_bytes"] == 0
    keyspace.set(0, b"name1", b"new")
    assert len(got) < 500


def test_several_at_once_each_with_their_own_moment() -> None:
    keyspace = filled(300)
    pictures = []
    for round_number in range(5):
        got = Collected()
        pictures.append((Snapshot(keyspace, got.sink()), got))
        for number in range(round_number, 300, 7):
            keyspace.set(0, b"name%d" % number, b"round%d" % round_number)
        for snapshot, _ in pictures:
            snapshot.step(30)
    expected = {b"name%d" % number: b"old%d" % number for number in range(300)}
    for round_number, (snapshot, got) in enumerate(pictures):
        while snapshot.step(1_000):
            pass
        assert got == expected
        for number in range(round_number, 300, 7):
            expected[b"name%d" % number] = b"round%d" % round_number


def test_epochs_run_out_and_come_back() -> None:
    keyspace = filled(50)
    held = Snapshot(keyspace, Collected().sink())
    others = [Snapshot(keyspace, Collected().sink()) for _ in range(254)]
    assert not keyspace.snapshot_ready()
    with pytest.raises(SnapshotBusy, match="once the running snapshots have ended"):
        Snapshot(keyspace, Collected().sink())
    for snapshot in others:
        snapshot.close()
    assert not keyspace.snapshot_ready()  # one still runs, and its epochs count
    while held.step(1_000):
        pass
    assert keyspace.sweeping
    with pytest.raises(SnapshotBusy, match="being reset"):
        Snapshot(keyspace, Collected().sink())
    # Writes and swaps in the middle of the sweep leave no stale epoch behind.
    keyspace.sweep_some(10)
    keyspace.swap(0, 1)
    keyspace.set(1, b"name3", b"new")
    keyspace.set(0, b"fresh", b"")
    while keyspace.sweep_some(10):
        pass
    assert keyspace.snapshot_ready()
    got = Collected()
    snapshot = Snapshot(keyspace, got.sink())
    keyspace.delete(1, b"name4")
    while snapshot.step(1_000):
        pass
    assert len(got) == 51


def test_what_comes_back_from_aside_carries_no_stale_epoch() -> None:
    """Epochs begin anew while the entries are aside; a snapshot after their return delivers all of them."""
    keyspace = filled(50)
    for _ in range(150):
        Snapshot(keyspace, Collected().sink()).close()
        keyspace.set(0, b"name1", b"again")  # of the present epoch
    keyspace.set_aside()
    while keyspace.snapshot_ready():
        Snapshot(keyspace, Collected().sink()).close()
    while keyspace.sweep_some(10):
        pass
    assert keyspace.snapshot_ready()
    keyspace.take_back()
    while keyspace.sweep_some(10):
        pass
    got = Collected()
    snapshot = Snapshot(keyspace, got.sink())
    keyspace.delete(0, b"name1")
    while snapshot.step(1_000):
        pass
    assert len(got) == 50


def test_epochs_are_reset_early_when_it_is_quiet() -> None:
    keyspace = filled(5)
    for _ in range(1_000):
        got = Collected()
        snapshot = Snapshot(keyspace, got.sink())
        while snapshot.step(1_000):
            pass
        assert len(got) == 5
        while keyspace.sweep_some(1_000):
            pass


def test_slots_and_databases_are_checked() -> None:
    keyspace = filled(1)
    with pytest.raises(IndexError, match="slot 16384"):
        Snapshot(keyspace, Collected().sink(), slots=[16384])
    with pytest.raises(IndexError, match="there are 16"):
        Snapshot(keyspace, Collected().sink(), databases=[16])
    with pytest.raises((OverflowError, IndexError)):
        Snapshot(keyspace, Collected().sink(), slots=[-1])
