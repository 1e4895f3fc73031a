"""Large collections are delivered bit by bit, as they were when the snapshot began, whatever happens then."""

from __future__ import annotations

import random

import pytest

from node.engine.audit import audit
from node.engine.digest import digest
from node.engine.keyspace import Keyspace
from node.engine.rdb import Decoder, SnapshotError, SnapshotWriter
from tests.oracle import Ours

KEYS = (b"h1", b"h2", b"s1", b"s2", b"z1", b"l1", b"small", b"moved")
LIMIT_BYTES = 64 << 20


class Running:
    """A snapshot on its way, and what it must come to."""

    def __init__(self, keyspace: Keyspace) -> None:
        self.wanted = digest(keyspace)
        self.writer = SnapshotWriter(keyspace, {}, limit_bytes=LIMIT_BYTES)
        self.data = b""

    def step(self, want_bytes: int) -> bool:
        more = self.writer.step(want_bytes)
        self.data += self.writer.take()
        return more

    def loaded(self) -> Keyspace:
        fresh = Keyspace(hash_key=b"another process.", clock_ms=1_000)
        decoder = Decoder(fresh, keep_expired=True)
        decoder.feed(self.data)
        assert decoder.done
        return fresh


def _change(roll: random.Random) -> list[bytes]:
    key = roll.choice(KEYS)
    name = b"%d" % roll.randrange(1500)
    match roll.randrange(22):
        case 0 | 1 | 2 | 3 | 4 | 5:
            return [b"HSET", key, name, b"v%d" % roll.randrange(1 << roll.randrange(1, 30))]
        case 6 | 7:
            return [b"HDEL", key, name]
        case 8 | 9 | 10:
            return [b"SADD", key, name, b"x" * roll.randrange(90)]
        case 11 | 12:
            return [b"SREM", key, name]
        case 13:
            return [b"HINCRBY", key, name, b"1"]
        case 14:
            return [b"SPOP", key]
        case 15:
            return [b"ZADD", b"z1", b"%d" % roll.randrange(100), name]
        case 16:
            return roll.choice(
                [[b"ZREM", b"z1", name], [b"ZPOPMIN", b"z1"], [b"ZINCRBY", b"z1", b"0.5", name]]
            )
        case 17:
            return roll.choice([[b"RPUSH", b"l1", name], [b"LPOP", b"l1"], [b"LREM", b"l1", b"1", name]])
        case 18:
            item = name * roll.choice((1, 1, 1, 3000))
            return roll.choice(
                [
                    [b"LSET", b"l1", b"%d" % roll.randrange(-3, 900), item],
                    [b"LINSERT", b"l1", b"BEFORE", name, item],
                    [b"LPUSH", b"l1", item],
                    [b"RPOP", b"l1", b"%d" % roll.randrange(3)],
                    [b"LTRIM", b"l1", b"%d" % roll.randrange(40), b"-1"],
                    [b"LTRIM", b"l1", b"0", b"700"],
                ]
            )
        case 19:
            return [b"SET", b"text%d" % roll.randrange(50), name]
    if roll.randrange(6):
        return [b"HSET", key, name, b"again"]
    other = roll.choice(KEYS)
    return roll.choice(
        [
            [b"DEL", key],
            [b"RENAME", key, other],
            [b"COPY", key, other, b"REPLACE"],
            [b"PEXPIRE", key, b"100000"],
            [b"PERSIST", key],
            [b"FLUSHDB"],
            [b"SWAPDB", b"0", b"1"],
        ]
    )


def _fill(ours: Ours, roll: random.Random) -> None:
    for key, count in ((b"h1", 900), (b"h2", 1400), (b"small", 5)):
        ours.pipeline([[b"HSET", key, b"%d" % number, b"%d" % roll.random()] for number in range(count)])
    ours.pipeline([[b"ZADD", b"z1", b"%d" % (number % 7), b"%d" % number] for number in range(1000)])
    ours.pipeline([[b"RPUSH", b"l1", b"%d" % number, b"x" * (number % 40)] for number in range(1000)])
    for key in (b"s1", b"s2"):
        ours.pipeline([[b"SADD", key, b"%d" % number, b"m%d" % number] for number in range(700)])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_every_snapshot_is_the_moment_it_began(seed: int) -> None:
    roll = random.Random(seed)
    ours = Ours()
    keyspace = ours.engine.keyspace
    _fill(ours, roll)
    running: list[Running] = []
    finished = 0
    given_up = 0
    for turn in range(8000):
        if turn % 800 == 799:
            _fill(ours, roll)
        ours.pipeline([_change(roll)])
        chance = roll.random()
        if chance < 0.008 and len(running) < 4 and keyspace.snapshot_ready():
            running.append(Running(keyspace))
        elif chance < 0.012 and running:
            running.pop(roll.randrange(len(running))).writer.close()
            given_up += 1
        elif chance < 0.05:
            keyspace.free_some(100)
        elif running and chance < 0.25:
            one = roll.choice(running)
            if not one.step(roll.choice((1, 300, 3000))):
                running.remove(one)
                assert digest(one.loaded()) == one.wanted
                finished += 1
    while running:
        one = running.pop()
        while one.step(20_000):
            pass
        assert digest(one.loaded()) == one.wanted
        finished += 1
    while keyspace.free_some(10_000):
        pass
    assert audit(keyspace) == []
    assert finished > 5
    assert given_up > 0


def test_a_write_to_a_large_collection_keeps_one_member_not_all() -> None:
    ours = Ours()
    ours.pipeline(
        [
            [b"SADD", b"s", *(b"%d" % number for number in range(start, start + 1000))]
            for start in range(0, 50_000, 1000)
        ]
    )
    keyspace = ours.engine.keyspace
    running = Running(keyspace)
    ours.pipeline([[b"SREM", b"s", b"7"], [b"SADD", b"s", b"new"]])
    assert running.writer.entry_count == 0
    while running.step(1000):
        assert len(running.data) < 1_000_000
    assert running.writer.entry_count == 1
    assert digest(running.loaded()) == running.wanted


def test_a_snapshot_nobody_reads_gives_up_before_it_costs_much() -> None:
    ours = Ours()
    ours.pipeline(
        [
            [b"SADD", b"s", *(b"%d" % number for number in range(start, start + 1000))]
            for start in range(0, 20_000, 1000)
        ]
    )
    keyspace = ours.engine.keyspace
    with SnapshotWriter(keyspace, {}, limit_bytes=10_000) as writer:
        ours.pipeline([[b"SREM", b"s", *(b"%d" % number for number in range(5000))]])
        with pytest.raises(SnapshotError, match="changed faster than the snapshot is read"):
            writer.step(1_000)
    assert audit(keyspace) == []


def test_a_collection_deleted_while_it_is_delivered_is_freed_afterwards() -> None:
    ours = Ours()
    ours.pipeline([[b"SADD", b"s", *(b"%d" % number for number in range(5000))]])
    keyspace = ours.engine.keyspace
    running = Running(keyspace)
    running.step(100)
    ours.pipeline([[b"DEL", b"s"]])
    used_bytes = keyspace.memory()["used_bytes"]
    keyspace.free_some(100_000)
    assert keyspace.memory()["used_bytes"] == used_bytes
    while running.step(10_000):
        pass
    assert digest(running.loaded()) == running.wanted
    while keyspace.free_some(10_000):
        pass
    assert keyspace.memory()["used_bytes"] < used_bytes / 50
    assert audit(keyspace) == []


def test_a_write_to_a_large_list_copies_one_chunk_not_all() -> None:
    ours = Ours()
    ours.pipeline([[b"RPUSH", b"l", *(b"item:%012d" % number for number in range(1000))] for _ in range(50)])
    keyspace = ours.engine.keyspace
    before = keyspace.memory()["used_bytes"]
    running = Running(keyspace)
    ours.pipeline(
        [[b"RPOP", b"l"], [b"RPUSH", b"l", b"new"], [b"LPUSH", b"l", b"new"], [b"LSET", b"l", b"25000", b"x"]]
    )
    assert running.writer.entry_count == 0
    assert keyspace.memory()["used_bytes"] < before + 8 * 9000
    while running.step(1000):
        pass
    assert digest(running.loaded()) == running.wanted
    assert audit(keyspace) == []
