"""Sets beside a real server: what random sequences seldom meet, and what they cannot compare."""

import shlex

import pytest

from tests.oracle import Ours, Wire, compare, fresh

pytestmark = pytest.mark.oracle


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize(
    "line",
    [
        "SADD s a b a|SADD s a|SCARD s|SMEMBERS s|SADD s|SADD|SREM s a x|SREM s b|EXISTS s|SREM s b|"
        "SREM s|SCARD s x",
        "SADD s 3 1 2|SMEMBERS s|SISMEMBER s 2|SISMEMBER s 02|SISMEMBER s x|SMISMEMBER s 1 x 3|"
        "SMISMEMBER n 1|SMISMEMBER s",
        "SADD s '' '\\x00'|SISMEMBER s ''|SREM s ''|SISMEMBER s ''|SADD s -0 0 00|SCARD s|SMEMBERS n|SCARD n",
        "SADD s 9223372036854775807 -9223372036854775808 9223372036854775808|SMEMBERS s|"
        "SREM s 9223372036854775807",
        "SADD s a|SPOP s|EXISTS s|SPOP s|SPOP s 5|SADD s a b c|SPOP s 0|SPOP s 10|EXISTS s|SPOP s -1|"
        "SPOP s x|SPOP s 1 2",
        "SADD s a|SRANDMEMBER s|SRANDMEMBER s 5|SRANDMEMBER s -3|SRANDMEMBER s 0|SRANDMEMBER n|"
        "SRANDMEMBER n 3",
        "SADD s a|SRANDMEMBER s x|SRANDMEMBER s 1 2|SRANDMEMBER s -9223372036854775808|"
        "SRANDMEMBER n -9223372036854775808",
        "SADD s a b|SADD t c|SMOVE s t a|SMOVE s t a|SMOVE s n b|EXISTS s|SMEMBERS t|SMEMBERS n|"
        "SMOVE t t a|SMOVE t t x",
        "SADD s a b|SADD t a|SMOVE s t a|SMEMBERS s|SMEMBERS t|SMOVE n t a|SMOVE s t|SET x 1|"
        "SMOVE s x b|SMOVE x s b",
        "SET x 1|SMOVE n x b|SADD s a|SMOVE s x zz|SINTER x|SINTER s x|SINTER n x|SINTER x n|SUNION n x|"
        "SDIFF n x|SDIFF x",
        "SADD a 1 2 3|SADD b 2 3 4|SADD c 3 x|SINTER a b c|SUNION a b c|SDIFF a b c|SDIFF b|SINTER a n|"
        "SDIFF n a|SUNION n n",
        "SADD a 1 2 3|SADD b 2 3|SINTERSTORE d a b|SMEMBERS d|SINTERSTORE d a n|EXISTS d|"
        "SINTERSTORE d n|SET d x|SDIFFSTORE d a b",
        "SADD a 1 2|SUNIONSTORE a a b|SMEMBERS a|SDIFFSTORE a a a|EXISTS a|SADD a 1|SINTERSTORE a a a|"
        "SMEMBERS a|SUNIONSTORE a n",
        "SADD a 1|EXPIRE a 100|SADD a 2|TTL a|SUNIONSTORE a a|TTL a|SET s x|SINTERSTORE s a|TYPE s|"
        "SINTERSTORE|SINTERSTORE s",
        "SET x 1|SADD a 1|SINTERSTORE d a x|SUNIONSTORE x x|GET x|SDIFFSTORE x a|TYPE x",
        "SADD a 1 2 3|SADD b 2 3 4|SINTERCARD 2 a b|SINTERCARD 2 a b LIMIT 1|SINTERCARD 2 a b LIMIT 0|"
        "SINTERCARD 2 a b LIMIT 9",
        "SINTERCARD 0 a|SINTERCARD x a|SINTERCARD 3 a b|SINTERCARD -1 a|SINTERCARD 1 a LIMIT|"
        "SINTERCARD 1 a LIMIT -1|SINTERCARD 1",
        "SINTERCARD 1 a LIMIT x|SINTERCARD 1 a FOO 1|SINTERCARD 1 a LIMIT 1 LIMIT 2|SINTERCARD 1 n b|"
        "SET x 1|SINTERCARD 2 n x",
        "SSCAN n 0|SSCAN n x|SADD s a 1|SSCAN s 0|SSCAN s 0 MATCH a|SSCAN s 0 COUNT 0|"
        "SSCAN s 0 TYPE set|SSCAN s 0 MATCH|SSCAN s",
        "SET x 1|SADD x a|SREM x a|SISMEMBER x a|SMISMEMBER x a|SMEMBERS x|SCARD x|SPOP x|SPOP x 1|"
        "SRANDMEMBER x|SSCAN x 0",
        "SADD s a|OBJECT REFCOUNT s|TYPE s|RENAME s t|SMEMBERS t|COPY t s|SREM s a|EXISTS s|SMEMBERS t|"
        "MOVE t 1|EXISTS t",
        "COMMAND GETKEYS SINTERCARD 2 a b LIMIT 1|COMMAND GETKEYS SINTERSTORE d a b|"
        "COMMAND GETKEYS SMOVE a b m",
        "COMMAND GETKEYSANDFLAGS SINTERCARD 2 a b LIMIT 1|COMMAND GETKEYSANDFLAGS SINTERSTORE d a b|"
        "COMMAND GETKEYS SINTERCARD 9 a b",
    ],
)  # fmt: skip
def test_table(ours: Ours, theirs: Wire, line: str, resp: int) -> None:
    fresh(ours, theirs, resp)
    compare(ours, theirs, [list(map(str.encode, shlex.split(command))) for command in line.split("|")])


def _numbers(low: int, high: int) -> list[bytes]:
    return [b"%d" % number for number in range(low, high)]


# As Redis 7.2 documents and does it; 7.0, which we compare with, has no listpack sets.
@pytest.mark.parametrize(
    ("steps", "encoding"),
    [
        ([_numbers(0, 512)], b"intset"),
        ([_numbers(0, 513)], b"hashtable"),
        ([_numbers(0, 512), [b"512"]], b"hashtable"),
        ([[b"a"]], b"listpack"),
        ([[b"a", *_numbers(0, 127)]], b"listpack"),
        ([[b"a", *_numbers(0, 128)]], b"hashtable"),
        ([[b"a", *_numbers(0, 127)], [b"b"]], b"hashtable"),
        ([_numbers(0, 127), [b"a"]], b"listpack"),
        ([_numbers(0, 128), [b"a"]], b"hashtable"),
        ([_numbers(0, 10), [b"x" * 64]], b"listpack"),
        ([_numbers(0, 10), [b"x" * 65]], b"hashtable"),
        ([[b"x" * 65]], b"hashtable"),
        ([[b"01"]], b"listpack"),
        ([[b"9223372036854775807", b"-9223372036854775808"]], b"intset"),
        ([[b"9223372036854775808"]], b"listpack"),
    ],
)
def test_what_a_set_is_kept_in(ours: Ours, steps: list[list[bytes]], encoding: bytes) -> None:
    wanted = {member for step in steps for member in step}
    for step in steps:
        assert ours.value(b"SADD", b"s", *step) == len(set(step))
    assert ours.value(b"OBJECT", b"ENCODING", b"s") == encoding
    members = ours.value(b"SMEMBERS", b"s")
    assert isinstance(members, list)
    assert len(members) == len(wanted)
    assert set(members) == wanted
    if encoding == b"intset":
        assert members == sorted(members, key=int)
    # A set put together by a command is kept like one that grew.
    assert ours.value(b"SUNIONSTORE", b"t", b"s", b"n") == len(wanted)
    assert ours.value(b"OBJECT", b"ENCODING", b"t") == encoding
    for member in wanted:
        assert ours.value(b"SISMEMBER", b"t", member) == 1
    # Once large it stays large.
    assert ours.value(b"SREM", b"s", b"no member", *members[1:]) == len(wanted) - 1
    assert ours.value(b"OBJECT", b"ENCODING", b"s") == encoding
    assert ours.value(b"SMEMBERS", b"s") == members[:1]


@pytest.mark.parametrize("kind", ["intset", "listpack", "hashtable"])
def test_what_is_popped_was_a_member_and_is_gone(ours: Ours, kind: str) -> None:
    size = {"intset": 300, "listpack": 100, "hashtable": 3000}[kind]
    left = {b"%d" % number if kind == "intset" else b"m%d" % number for number in range(size)}
    ours.call(b"SADD", b"s", *left)
    while left:
        reply = ours.value(b"SPOP", b"s", b"7") if len(left) % 2 else ours.value(b"SPOP", b"s")
        popped = reply if isinstance(reply, list) else [reply]
        assert left >= set(popped)
        assert len(set(popped)) == len(popped) > 0
        left -= set(popped)
        assert ours.value(b"SCARD", b"s") == len(left)
    assert ours.value(b"EXISTS", b"s") == 0


@pytest.mark.parametrize("size", [5, 100, 5000])
def test_random_members_are_different_ones_of_the_set(ours: Ours, size: int) -> None:
    wanted = {b"member:%d" % number for number in range(size)}
    ours.call(b"SADD", b"s", *wanted)
    for count in (1, 2, size // 3, size // 2, size - 1, size, size + 10):
        members = ours.value(b"SRANDMEMBER", b"s", b"%d" % count)
        assert isinstance(members, list)
        assert len(members) == len(set(members)) == min(count, size)
        assert wanted >= set(members)
    picked = ours.value(b"SRANDMEMBER", b"s", b"%d" % (-3 * size))
    assert isinstance(picked, list)
    assert len(picked) == 3 * size
    assert wanted >= set(picked)
    assert ours.call(b"SRANDMEMBER", b"s", b"-9223372036854775807").startswith(b"-ERR value is out of range")


@pytest.mark.parametrize("size", [6, 100])
def test_every_member_is_picked_about_equally_often(ours: Ours, size: int) -> None:
    """20,000 picks of 6 or 100: seven standard deviations, so that chance fails it once in 10**10 runs."""
    ours.call(b"CONFIG", b"SET", b"set-max-listpack-entries", b"50")
    ours.call(b"SADD", b"s", *(b"m%d" % number for number in range(size)))
    counts = dict.fromkeys((b"m%d" % number for number in range(size)), 0)
    for _ in range(20_000 // 4):
        picked = ours.value(b"SRANDMEMBER", b"s", b"4")
        assert isinstance(picked, list)
        for member in picked:
            counts[member] += 1
    mean = 20_000 / size
    assert all(abs(count - mean) < 7 * mean**0.5 for count in counts.values()), counts


@pytest.mark.parametrize("count", [None, 1, 10, 64, 65, 200, 299, 300, 1000])
@pytest.mark.parametrize("prefix", [b"", b"m"])
def test_replicas_are_told_what_was_popped(ours: Ours, count: int | None, prefix: bytes) -> None:
    ours.call(b"SADD", b"s", *(prefix + b"%d" % number for number in range(300)))
    ours.engine.effects.activate()
    began = ours.engine.effects.offset
    ours.call(*([b"SPOP", b"s"] if count is None else [b"SPOP", b"s", b"%d" % count]))
    stream = ours.engine.effects.read(began, 1 << 20)
    assert stream is not None
    assert b"SPOP" not in stream
    assert (b"DEL" in stream) == (count is not None and count >= 300)
    replica = Ours()
    replica.call(b"SADD", b"s", *(prefix + b"%d" % number for number in range(300)))
    replica.engine.keyspace.follower = True
    link = replica.connect()
    link.start_applying(0)
    assert link.feed(stream) == b""
    mine, its = ours.value(b"SMEMBERS", b"s"), replica.value(b"SMEMBERS", b"s")
    assert isinstance(mine, list)
    assert isinstance(its, list)
    assert sorted(mine) == sorted(its)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_walk_meets_every_member_that_stays(ours: Ours, step: int) -> None:
    ours.call(b"SADD", b"s", *(b"%d" % number for number in range(5000)))
    seen: set[bytes] = set()
    cursor, turn = b"0", 0
    while True:
        reply = ours.value(b"SSCAN", b"s", cursor, b"COUNT", b"%d" % step)
        assert isinstance(reply, list)
        cursor, members = reply
        seen.update(members)
        numbers = range(turn * 10, turn * 10 + 10)
        ours.call(b"SREM", b"s", *(b"%d" % (2 * number + 1) for number in numbers if number < 2500))
        ours.call(b"SADD", b"s", *(b"new%d" % number for number in numbers))
        turn += 1
        if cursor == b"0":
            break
    assert seen >= {b"%d" % number for number in range(0, 5000, 2)}
