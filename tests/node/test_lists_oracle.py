"""Replies of list commands are a real server's: what chance seldom finds, and how lists are kept."""

import shlex

import pytest

from node.engine.audit import audit
from tests.oracle import Ours, Wire, compare, decoded, fresh


@pytest.mark.oracle
@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize(
    "line",
    [
        "LPUSH a 1 2 3|RPUSH a x y|LRANGE a 0 -1|LLEN a|LINDEX a 0|LINDEX a -1|LINDEX a 9|LINDEX a x|"
        "LPOP a|RPOP a|LPOP a 0|LPOP a 2|RPOP a 9|LPOP a|LPOP a 3|EXISTS a",
        "LPUSH a|LPUSHX a 1|RPUSHX a 1 2|LPOP a x|LPOP a -1|LPOP a 1 2|RPOP a 1 2|"
        "LPOP a 99999999999999999999|LLEN a b",
        "SET s 1|LPUSH s 1|LRANGE s 0 1|LLEN s|LINDEX s 0|LPOP s|LPOP s 1|LSET s 0 1|LTRIM s 0 1|LREM s 0 a|"
        "LPOS s a|LINSERT s BEFORE a b|RPOPLPUSH s a|LMOVE a s LEFT LEFT|LMPOP 1 s LEFT|LPUSHX s 1",
        "RPUSH a a b c a b c a|LREM a 1 a|LREM a -1 a|LRANGE a 0 -1|LREM a 0 b|LRANGE a 0 -1|LREM a x a|"
        "LREM a -9223372036854775808 c|LREM a 9223372036854775807 a|LRANGE a 0 -1|LREM a 0 zz|EXISTS a",
        "RPUSH a a b c|LSET a 0 x|LSET a -1 longer-than-before|LSET a 3 x|LSET a -4 x|LSET a x x|LSET b 0 x|"
        "LRANGE a 0 -1",
        "RPUSH a a b c|LINSERT a BEFORE b 1|LINSERT a after b 2|LINSERT a after zz 2|LINSERT a foo b 2|"
        "LINSERT n before b 2|LINSERT n foo b 2|LRANGE a 0 -1",
        "RPUSH a 1 2 3 4 5|LTRIM a 1 -2|LRANGE a 0 -1|LTRIM a 5 9|EXISTS a|LTRIM a 0 1|LTRIM a x 1",
        "RPUSH a a b c a b c a 1 2|LPOS a a|LPOS a a RANK 2|LPOS a a RANK -1|LPOS a a RANK -9|"
        "LPOS a a COUNT 0|LPOS a a COUNT 2 RANK -1|LPOS a a MAXLEN 1 RANK 2|LPOS a a MAXLEN 4 RANK 2|"
        "LPOS a z COUNT 1|LPOS a z|LPOS n a COUNT 1|LPOS n a",
        "RPUSH a a|LPOS a a RANK 0|LPOS a a RANK x|LPOS a a COUNT -1|LPOS a a COUNT x|LPOS a a MAXLEN -1|"
        "LPOS a a RANK|LPOS a a FOO 1|LPOS a a RANK -9223372036854775808|LPOS a a RANK -9223372036854775807|"
        "LPOS a a RANK 9223372036854775807",
        "RPUSH a 1 2 3|LMOVE a b LEFT RIGHT|LMOVE a a LEFT RIGHT|LMOVE a a LEFT LEFT|LRANGE a 0 -1|"
        "LRANGE b 0 -1|RPOPLPUSH a b|RPOPLPUSH a a|RPOPLPUSH n b|LMOVE a b FOO LEFT|LMOVE a b LEFT FOO|"
        "RPOPLPUSH a b|EXISTS a|LRANGE b 0 -1",
        "RPUSH a 1 2 3|LMPOP 1 a LEFT|LMPOP 2 n a RIGHT COUNT 5|LMPOP 2 n a LEFT|LMPOP 0 a LEFT|"
        "LMPOP x a LEFT|LMPOP 2 a LEFT|LMPOP 1 a LEFT COUNT|LMPOP 1 a LEFT COUNT 0|LMPOP 1 a LEFT COUNT x|"
        "LMPOP 1 a LEFT COUNT 1 COUNT 2|LMPOP 1 a FOO|LMPOP 1 a|LMPOP -1 a LEFT",
    ],
)  # fmt: skip
def test_table(ours: Ours, theirs: Wire, line: str, resp: int) -> None:
    fresh(ours, theirs, resp)
    compare(ours, theirs, [list(map(str.encode, shlex.split(command))) for command in line.split("|")])


def test_encodings_are_named_as_redis_7_2_names_them() -> None:
    ours = Ours()

    def name() -> object:
        return ours.value(b"OBJECT", b"ENCODING", b"k")

    ours.call(b"RPUSH", b"k", *[b"x" * 100] * 79)
    assert name() == b"listpack"  # 7 + 79 * 103 = 8,144 bytes there
    ours.call(b"RPUSH", b"k", b"x" * 41)
    assert name() == b"listpack"
    ours.call(b"RPUSH", b"k", b"x" * 41)
    assert name() == b"quicklist"
    ours.call(b"LTRIM", b"k", b"0", b"39")
    assert name() == b"quicklist"  # 4,127 bytes are more than half
    ours.call(b"RPOP", b"k")
    assert name() == b"listpack"
    ours.call(b"CONFIG", b"SET", b"list-max-listpack-size", b"4")
    ours.pipeline([[b"DEL", b"k"], [b"RPUSH", b"k", b"1", b"2", b"3"]])
    assert name() == b"listpack"
    ours.call(b"LINSERT", b"k", b"BEFORE", b"2", b"4")
    assert name() == b"listpack"
    ours.call(b"LPUSH", b"k", b"5")
    assert name() == b"quicklist"
    ours.call(b"LPOP", b"k", b"2")
    assert name() == b"quicklist"
    ours.call(b"LPOP", b"k")
    assert name() == b"listpack"


def test_small_lists_take_one_block() -> None:
    ours = Ours()
    before = ours.engine.keyspace.memory()["used_bytes"]
    for number in range(10_000):
        ours.call(b"RPUSH", b"key:%012d" % number, *(b"%016x" % (number * 10 + at) for at in range(10)))
    # 8 + 4 + 16 + 10 * 17 = 198 bytes, and the table.
    assert (ours.engine.keyspace.memory()["used_bytes"] - before) / 10_000 < 230


def test_a_large_list_is_trimmed_in_the_background() -> None:
    ours = Ours()
    ours.call(b"RPUSH", b"k", *(b"%016d" % number for number in range(100_000)))
    ours.call(b"EXPIRE", b"k", b"1000")
    used = ours.engine.keyspace.memory()["used_bytes"]
    assert ours.call(b"LTRIM", b"k", b"50000", b"50999") == b"+OK\r\n"
    assert ours.engine.keyspace.memory()["used_bytes"] > used * 0.9
    assert ours.value(b"LRANGE", b"k", b"0", b"-1") == [b"%016d" % number for number in range(50_000, 51_000)]
    assert ours.value(b"TTL", b"k") == 1000
    while ours.engine.keyspace.free_some(10):
        pass
    assert audit(ours.engine.keyspace) == []
    assert ours.engine.keyspace.memory()["used_bytes"] < 40_000


@pytest.mark.parametrize("form", ["run", "chunks"])
def test_every_change_of_either_form_is_counted_right(form: str) -> None:
    ours = Ours()
    values = [b"%d" % number for number in range(20 if form == "run" else 2_000)]
    for words in (
        [b"RPUSH", b"k", *values],
        [b"LSET", b"k", b"5", b"x" * 300],
        [b"LINSERT", b"k", b"AFTER", b"7", b"y" * 9_000],
        [b"LREM", b"k", b"0", b"y" * 9_000],
        [b"RPOPLPUSH", b"k", b"other"],
        [b"LTRIM", b"k", b"3", b"10"],
        [b"LSET", b"k", b"2", b"5"],
        [b"LREM", b"k", b"-1", b"9"],
        [b"LPOP", b"k", b"3"],
        [b"RENAME", b"k", b"kk"],
        [b"COPY", b"kk", b"k"],
        [b"RPOP", b"k", b"100"],
        [b"DEL", b"kk", b"other"],
    ):
        assert not ours.call(*words).startswith(b"-")
        while ours.engine.keyspace.free_some(1000):
            pass
        assert audit(ours.engine.keyspace) == [], words[0]
    assert ours.value(b"DBSIZE") == 0


@pytest.mark.parametrize("count", [1, 30, 3_000])
def test_a_list_travels_as_redis_writes_it(ours: Ours, count: int) -> None:
    values = [b"%d" % number if number % 3 else b"text %d" % number * 3 for number in range(count)]
    ours.call(b"RPUSH", b"k", *values)
    dumped = ours.value(b"DUMP", b"k")
    assert isinstance(dumped, bytes)
    assert ours.call(b"RESTORE", b"copy", b"0", dumped) == b"+OK\r\n"
    assert ours.value(b"LRANGE", b"copy", b"0", b"-1") == values


@pytest.mark.oracle
@pytest.mark.parametrize("count", [1, 30, 3_000])
def test_dumps_go_both_ways(ours: Ours, theirs: Wire, count: int) -> None:
    values = [b"%d" % number if number % 3 else b"text %d" % number * 3 for number in range(count)]
    sides = (ours, theirs)
    for maker, taker in (sides, sides[::-1]):
        maker.pipeline([[b"FLUSHALL"], [b"RPUSH", b"k", *values]])
        taker.call(b"FLUSHALL")
        dumped = decoded(maker.call(b"DUMP", b"k"))
        assert isinstance(dumped, bytes)
        assert taker.call(b"RESTORE", b"k", b"0", dumped) == b"+OK\r\n"
        assert decoded(taker.call(b"LRANGE", b"k", b"0", b"-1")) == values
