"""A short run of every target, always the same inputs; and proof that the nets hold fish."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest

from tests.fuzz.blocks import cut, exact_block
from tests.fuzz.campaign import CHUNK_INPUTS, SHARES, Chunk, Record, campaign, most_behind
from tests.fuzz.campaign import Finding as Found
from tests.fuzz.fuzzer import Fuzzer, Journal, replay
from tests.fuzz.grammar import decode, encode
from tests.fuzz.guide import Guide
from tests.fuzz.target import Finding, Target
from tests.fuzz.targets import TARGETS, Lzf

INPUTS = {
    "bus": 3000,
    "codec": 3000,
    "commands": 1500,
    "lzf": 5000,
    "rdb": 2000,
    "replica": 1000,
    "restore": 600,
    "sketch": 500,
    "state": 60,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TARGETS))
def test_nothing_is_found(name: str, tmp_path: Path) -> None:
    fuzzer = Fuzzer(TARGETS[name](), 1, journal=tmp_path / "journal")
    assert fuzzer.parents, "the corpus is missing"
    fuzzer.run(seconds=600, inputs=INPUTS[name])
    assert fuzzer.count >= INPUTS[name]


def test_pieces_add_up() -> None:
    for seed in range(200):
        data = bytes(range(seed))
        assert b"".join(cut(data, seed)) == data


def test_a_block_shows_its_bytes() -> None:
    with exact_block(b"abc\0") as block:
        assert bytes(block) == b"abc\0"
        assert len(block) == 4


def test_commands_survive_encoding() -> None:
    commands = [[b"SET", b"", b"\r\n*1"], [], [b"x"]]
    assert decode(encode(commands)) == commands
    assert decode(b"PING\r\n") is None


class Tripwire(Target):
    """Finds every input with two equal bytes in a row, once it has seen three inputs."""

    name = "tripwire"
    words = (b"aa",)
    seen = 0

    def generate(self, chance: random.Random) -> bytes:
        return chance.randbytes(4)

    def run(self, data: bytes) -> None:
        self.seen += 1
        if self.seen > 3 and any(left == right for left, right in pairwise(data)):
            raise Finding("two in a row")


def test_a_finding_ends_the_run_and_its_journal_repeats_it(tmp_path: Path) -> None:
    fuzzer = Fuzzer(Tripwire(), 1, journal=tmp_path / "journal")
    with pytest.raises(Finding):
        fuzzer.run(seconds=60)
    with pytest.raises(Finding):
        replay(Tripwire(), tmp_path / "journal")


def test_a_new_journal_forgets(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", 10)
    journal.note(b"ab")
    journal.note(b"c")
    assert replay(Lzf(), tmp_path / "journal") == 2
    journal.clear()
    assert replay(Lzf(), tmp_path / "journal") == 0


def test_the_target_that_is_furthest_behind_is_next() -> None:
    shares = {"a": 0.75, "b": 0.25}
    assert most_behind({}, shares) == "a"
    assert most_behind({"a": 10}, shares) == "b"
    assert most_behind({"a": 10, "b": 4}, shares) == "a"


def test_shares_cover_every_target() -> None:
    assert set(SHARES) == set(CHUNK_INPUTS) == set(TARGETS)
    assert sum(SHARES.values()) == pytest.approx(1)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = Record(tmp_path / "fuzz.json")
    record.chunks.append(Chunk("lzf", 3, 100, 0.5, "release", 0, "abc", "2026-01-01T00:00:00Z"))
    record.findings.append(Found("rdb", 9, "sanitize", "abc", "2026-01-01T00:00:00Z", "text", "journal"))
    record.write()
    again = Record(tmp_path / "fuzz.json")
    assert (again.chunks, again.findings) == (record.chunks, record.findings)
    assert again.inputs("release") == {"lzf": 100}
    assert again.inputs("sanitize") == {}
    assert [again.next_seed(name) for name in ("lzf", "rdb", "codec")] == [4, 10, 1]


@pytest.mark.slow
def test_a_campaign_goes_on_where_its_record_ends(tmp_path: Path) -> None:
    build = "sanitize" if Guide().informed else "release"
    path = tmp_path / "fuzz.json"
    for wanted in (40, 60, 60):
        done = campaign(
            Record(path), inputs=wanted, seconds=600, found=tmp_path / "found", journals=tmp_path / "journals"
        )
        assert done == 0
        assert Record(path).inputs(build).total() >= wanted
    assert len(Record(path).chunks) == 2
    assert not list((tmp_path / "journals").iterdir())


def test_a_replica_keeps_what_pfcount_computed() -> None:
    target = TARGETS["commands"]()
    for _ in range(8):  # every eighth input is compared with the replica
        target.run(encode([[b"PFADD", b"a", b"x"], [b"PFCOUNT", b"a"]]))
