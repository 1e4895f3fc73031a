"""What a member remembers: a fresh start, a second life, and files that make no sense."""

from pathlib import Path
from random import Random

import pytest
import trio

from gossip.config import GossipConfig
from gossip.memory import Memory
from gossip.messages import Meta, Record
from gossip.past import Past
from gossip.service import SelfMeta, Service
from gossip.state import STATE_FILE, StateDirectory, StateError
from gossip.votes import Plain

M = "1" * 40
RECORD = Record("dead", M, 4, Meta("10.0.0.1", 7000, 17000, "node", "z", "s", 1, "v"), 55)


PAST = Past(False, "a" * 40, "b" * 40, 9, (RECORD,), {"x": 1}, "shard", 1_000)


def state(**changes: Plain) -> dict[str, Plain]:
    return PAST.to_plain() | changes


async def test_a_fresh_directory_gives_new_ids(tmp_path: Path) -> None:
    ids: list[str] = []
    for name in ("one", "two"):
        memory = Memory(tmp_path / name)
        assert memory.past.fresh
        assert memory.past.incarnation == 0
        ids += [memory.past.member_id, memory.past.cluster_id]
        memory.close()
    assert len(set(ids)) == 4
    assert all(len(one) == 40 and set(one) <= set("0123456789abcdef") for one in ids)


async def test_a_second_life_knows_the_first(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    await memory.save(lambda: PAST)
    memory.close()
    again = Memory(tmp_path)
    past = again.past
    again.close()
    assert past == PAST


@pytest.mark.parametrize(
    "broken",
    [
        {"member_id": 7},
        {"cluster_id": None},
        {"incarnation": "9"},
        {"members": "nobody"},
        {"members": ((9, b"x", 1),)},
        {"registers": None},
        {"shard_id": 7},
    ],
)
def test_a_file_that_makes_no_sense_is_refused_by_name(tmp_path: Path, broken: dict[str, Plain]) -> None:
    with StateDirectory(tmp_path) as directory:
        directory.save(state(**broken))
    for _ in range(2):  # refused again, and the lock was given back
        with pytest.raises(StateError, match=STATE_FILE):
            Memory(tmp_path)


def test_registers_that_make_no_sense_are_refused_by_name(tmp_path: Path) -> None:
    with StateDirectory(tmp_path) as directory:
        directory.save(state())
    for _ in range(2):
        with pytest.raises(StateError, match=STATE_FILE):
            Service(GossipConfig(), SelfMeta("127.0.0.1", 7000), tmp_path, Random(1))


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    with StateDirectory(tmp_path) as directory:
        directory.save(state())
    path = tmp_path / STATE_FILE
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(bytes(damaged))
    with pytest.raises(StateError, match=STATE_FILE):
        Memory(tmp_path)


async def test_writing_is_tried_until_it_works(
    tmp_path: Path, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk refuses twice. Whoever waits for the write says nothing meanwhile."""
    memory = Memory(tmp_path)
    write, failures = StateDirectory.save, [1, 2]

    def reluctant(self: StateDirectory, whole: dict[str, Plain]) -> None:
        if failures:
            failures.pop()
            raise StateError("cannot write: no space left")
        write(self, whole)

    monkeypatch.setattr(StateDirectory, "save", reluctant)
    await memory.save_surely(lambda: PAST)
    assert failures == []
    memory.close()
