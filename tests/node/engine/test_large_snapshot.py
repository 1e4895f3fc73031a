"""Large collections are delivered bit by bit, as they were when the snapshot began, whatever happens then."""

from __future__ import annotations

import random

import pytest

from node.engine.audit import audit
from node.engine.digest import digest
from node.engine.keyspace import Keyspace
from node.engine.rdb import Decoder, SnapshotError, SnapshotWriter
from tests.oracle import Ours

KEYS = (b"h1", b"h2", b"s1", b"s2", b"z1", b"l1", b"x1", b"small", b"moved")
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


def _change_stream(roll: random.Random) -> list[bytes]:
    """Of x1. Its ids are 1-0 ... 1-599, 2-0 ... as `_fill` gives them, then what XADD makes."""
    id = b"%d-%d" % (roll.randrange(1, 4), roll.randrange(600))
    group, consumer = roll.choice((b"g", b"h")), roll.choice((b"ann", b"bob"))
    match roll.randrange(16):
        case 0 | 1 | 2:
            return [b"XADD", b"x1", b"*", b"f", b"v%d" % roll.randrange(1 << roll.randrange(1, 30))]
        case 3:
            return [
                b"XADD",
                b"x1",
                b"MAXLEN",
                b"%d" % roll.randrange(600, 1800),
                b"*",
                id,
                b"x" * roll.randrange(900),
            ]
        case 4 | 5 | 6:
            return [b"XDEL", b"x1", id]
        case 7:
            return roll.choice(
                [
                    [b"XTRIM", b"x1", b"MAXLEN", b"~", b"1500"],
                    [b"XTRIM", b"x1", b"MINID", b"1-%d" % roll.randrange(600)],
                    [b"XSETID", b"x1", b"9999999999999-1"],
                ]
            )
        case 8 | 9 | 10:
            return [b"XREADGROUP", b"GROUP", group, consumer, b"COUNT", b"20", b"STREAMS", b"x1", b">"]
        case 11 | 12:
            return [b"XACK", b"x1", group, id]
        case 13:
            return [b"XCLAIM", b"x1", group, consumer, b"0", id, b"JUSTID"]
        case 14:
            return [b"XGROUP", b"CREATE", b"x1", group, b"1-100"]
    return roll.choice(
        [[b"XGROUP", b"DELCONSUMER", b"x1", group, consumer], [b"XGROUP", b"DESTROY", b"x1", group]]
    )


def _change(roll: random.Random) -> list[bytes]:
    if roll.randrange(5) == 0:
        return _change_stream(roll)
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
    ours.pipeline(
        [
            [
                b"XADD",
                b"x1",
                b"%d-%d" % divmod(600 + number, 600),
                b"f",
                b"v" * (number % 90),
                b"g%d" % (number % 3),
                b"1",
            ]
            for number in range(1800)
        ]
    )
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


def test_fields_that_are_given_another_expiry_are_delivered_with_the_one_they_had() -> None:
    ours = Ours()
    fields = [b"%d" % number for number in range(1000)]
    ours.pipeline(
        [[b"HSET", key, *(word for field in fields for word in (field, b"v"))] for key in (b"h", b"i")]
    )
    ours.pipeline([[b"HPEXPIREAT", b"h", b"9000000000000", b"FIELDS", b"900", *fields[:900]]])
    keyspace = ours.engine.keyspace
    running = Running(keyspace)
    ours.pipeline(
        [
            [b"HPEXPIREAT", b"h", b"8000000000000", b"FIELDS", b"300", *fields[:300]],
            [b"HPERSIST", b"h", b"FIELDS", b"300", *fields[300:600]],
            [b"HPEXPIREAT", b"h", b"8000000000000", b"FIELDS", b"100", *fields[900:]],
            [b"HPEXPIREAT", b"i", b"8000000000000", b"FIELDS", b"300", *fields[:300]],
        ]
    )
    while running.step(1000):
        pass
    assert digest(running.loaded()) == running.wanted
    assert audit(keyspace) == []


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


def _stream(count: int) -> Ours:
    ours = Ours()
    ours.pipeline(
        [[b"XADD", b"x", b"1-%d" % (1 + number), b"f", b"value:%06d" % number] for number in range(count)]
    )
    return ours


def test_a_stream_comes_node_by_node_and_a_write_copies_one() -> None:
    ours = _stream(50_000)
    ours.pipeline(
        [
            [b"XGROUP", b"CREATE", b"x", b"g", b"0"],
            [b"XREADGROUP", b"GROUP", b"g", b"c", b"COUNT", b"10", b"STREAMS", b"x", b">"],
        ]
    )
    keyspace = ours.engine.keyspace
    before = keyspace.memory()["used_bytes"]
    running = Running(keyspace)
    ours.pipeline(
        [
            [b"XADD", b"x", b"2-1", b"f", b"new"],
            [b"XDEL", b"x", b"1-25000"],
            [b"XACK", b"x", b"g", b"1-3"],
            [b"XGROUP", b"CREATE", b"x", b"later", b"$"],
        ]
    )
    assert running.writer.entry_count == 0
    assert keyspace.memory()["used_bytes"] < before + 4 * 5000
    while running.step(1000):
        assert len(running.data) < 3_000_000
    assert running.writer.entry_count == 1
    assert digest(running.loaded()) == running.wanted
    assert audit(keyspace) == []


def test_nodes_that_are_trimmed_away_are_kept_until_they_are_delivered() -> None:
    ours = _stream(20_000)
    keyspace = ours.engine.keyspace
    one, other = Running(keyspace), Running(keyspace)
    one.step(1000)
    ours.pipeline([[b"XTRIM", b"x", b"MAXLEN", b"50"]])
    while one.step(10_000):
        pass
    assert digest(one.loaded()) == one.wanted
    other.step(5_000)
    other.writer.close()
    assert audit(keyspace) == []
    # Bits that the one that was closed has left behind are mended by the next.
    again = Running(keyspace)
    while again.step(10_000):
        pass
    assert digest(again.loaded()) == again.wanted


@pytest.mark.parametrize("left", [0, 1, 50, 9_990, 19_000])
def test_what_a_stream_sheds_is_freed_in_the_background(left: int) -> None:
    ours = _stream(20_000)
    keyspace = ours.engine.keyspace
    full = keyspace.memory()["used_bytes"]
    assert ours.pipeline([[b"XTRIM", b"x", b"MAXLEN", b"%d" % left], [b"XLEN", b"x"]]) == [
        b":%d\r\n" % (20_000 - left),
        b":%d\r\n" % left,
    ]
    more = keyspace.free_some(100)
    assert more == (left < 10_000)
    while keyspace.free_some(100):
        pass
    assert audit(keyspace) == []
    assert keyspace.memory()["used_bytes"] < full * (left + 2_000) / 20_000
    ours.pipeline([[b"XTRIM", b"x", b"MINID", b"1-20000"]])
    assert ours.pipeline([[b"XLEN", b"x"]]) == [b":%d\r\n" % min(left, 1)]
    while keyspace.free_some(100):
        pass
    assert audit(keyspace) == []


@pytest.mark.parametrize("step", [1, 100])
def test_a_table_of_many_segments_goes_one_by_one(step: int) -> None:
    ours = Ours()
    keyspace = ours.engine.keyspace
    empty = keyspace.memory()["used_bytes"]
    ours.pipeline(
        [
            [b"SADD", b"s", *(b"m%d" % number for number in range(start, start + 1000))]
            for start in range(0, 20_000, 1000)
        ]
    )
    full = keyspace.memory()["used_bytes"]
    ours.pipeline([[b"DEL", b"s"]])
    before = full
    while keyspace.free_some(step):
        used = keyspace.memory()["used_bytes"]
        assert before - used < 80_000
        before = used
    assert keyspace.memory()["used_bytes"] == empty
