"""Hashes beside a real server: what random sequences seldom meet, and what they cannot compare."""

import shlex

import pytest

from tests.oracle import Ours, Wire, compare, decoded, fresh

pytestmark = pytest.mark.oracle


def lines(text: str) -> list[list[bytes]]:
    return [list(map(str.encode, shlex.split(command))) for command in text.split("|")]


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize(
    "line",
    [
        "HSET h a 1|HSET h a 2 b 3|HSET h a|HSET h a 1 b|HSET h|HSET|HMSET h a 1|HMSET h a|HMSET h a 1 b",
        "HSET h b 1 a 2 c 3 a 4|HGETALL h|HSET h b long-value-instead|HGETALL h|HDEL h a|HGETALL h|"
        "HKEYS h|HVALS h",
        "HSET h '' '' a ''|HGET h ''|HGET h b|HSTRLEN h ''|HSTRLEN h a|HSTRLEN n a|HEXISTS h ''|HEXISTS h x",
        "HSETNX h a 1|HSETNX h a 2|HGET h a|HSETNX h a|HMGET h a b a|HMGET n a b|HMGET h",
        "HINCRBY h n 5|HINCRBY h n -7|HGET h n|HINCRBY h n 1.5|HINCRBY h n x|HSET h t text|HINCRBY h t 1",
        "HSET h n 9223372036854775807|HINCRBY h n 1|HINCRBY h n 0|HINCRBY h n -1|"
        "HINCRBY h n 9223372036854775808",
        "HSET h n -9223372036854775808|HINCRBY h n -1|HINCRBY h n -9223372036854775808|HSET h n ' 1'|"
        "HINCRBY h n 1",
        "HINCRBYFLOAT h f 10.5|HINCRBYFLOAT h f 0.1|HINCRBYFLOAT h f -5|HINCRBYFLOAT h f 5.0e3|HGETALL h",
        "HSET h f abc|HINCRBYFLOAT h f 1|HINCRBYFLOAT h g x|HINCRBYFLOAT h g nan|HSET h f 3.0|"
        "HINCRBYFLOAT h f 0",
        "HSET h f 1e4932|HINCRBYFLOAT h f 1e4932|HSET h f 1.|HINCRBYFLOAT h f 1|HSET h f ''|"
        "HINCRBYFLOAT h f 1",
        "HRANDFIELD n|HRANDFIELD n 5|HRANDFIELD n -5 WITHVALUES|HSET h a 1|HRANDFIELD h|HRANDFIELD h -3",
        "HSET h a 1|HRANDFIELD h 3|HRANDFIELD h -3 WITHVALUES|HRANDFIELD h 3 withvalues|HRANDFIELD h 0|"
        "HRANDFIELD h x",
        "HSET h a 1|HRANDFIELD h 1 WITHVALUES x|HRANDFIELD h 1 x|HRANDFIELD h -9223372036854775808",
        "HSET h a 1|HRANDFIELD h 4611686018427387904 WITHVALUES|HRANDFIELD h -4611686018427387904 WITHVALUES",
        "HSCAN n 0|HSCAN n x|HSCAN n 0 FOO|HSET h a 1 b 2|HSCAN h 0|HSCAN h 0 MATCH a|HSCAN h 0 COUNT 0|"
        "HSCAN h 0 COUNT",
        "HSET h a 1|HSCAN h 0 COUNT x|HSCAN h 5|HSCAN h 0 MATCH|HSCAN h 0 NOVALUES|HSCAN h 0 TYPE hash|"
        "HSCAN h",
        "SET s x|HSET s a 1|HGET s a|HMGET s a|HGETALL s|HDEL s a|HLEN s|HINCRBY s a 1|"
        "HINCRBYFLOAT s a 1|HSCAN s 0",
        "SET s x|HSETNX s a 1|HEXISTS s a|HSTRLEN s a|HKEYS s|HVALS s|HRANDFIELD s|HRANDFIELD s 1|"
        "HMSET s a 1",
        "HSET h a 1 b 2|EXPIRE h 100|HSET h c 3|TTL h|HDEL h a b|TTL h|HDEL h c|EXISTS h|HLEN h|HGETALL h",
        "HSET h a 1|TYPE h|OBJECT REFCOUNT h|RENAME h g|HGETALL g|COPY g h|HSET h a 2|HGETALL g|DEL g|"
        "HGETALL h",
        "HDEL h|HGET h|HLEN|HKEYS h a|HINCRBY h a|HINCRBYFLOAT h a|HSTRLEN h|HEXISTS h|HGETALL h x|HVALS",
    ],
)  # fmt: skip
def test_table(ours: Ours, theirs: Wire, line: str, resp: int) -> None:
    fresh(ours, theirs, resp)
    # Small hashes keep the order in which fields came, so this goes byte by byte.
    commands = lines(line)
    mine, its = ours.pipeline(commands), theirs.pipeline(commands)
    for words, own, other in zip(commands, mine, its, strict=True):
        if words[0] in (b"HRANDFIELD", b"OBJECT"):
            compare(ours, theirs, [words])
        else:
            assert own == other, words


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("field_count", [127, 128, 129, 511, 512, 513])
@pytest.mark.parametrize("value", [b"v", b"v" * 64, b"v" * 65, b"v" * 5000])
def test_what_a_hash_is_kept_in(ours: Ours, theirs: Wire, field_count: int, value: bytes, resp: int) -> None:
    fresh(ours, theirs, resp)
    fields = [b"field:%d" % number for number in range(field_count)]
    commands = [[b"HSET", b"h", field, b"v"] for field in fields]
    commands += [[b"HSET", b"all", *(word for field in fields for word in (field, b"v"))]]
    commands += [[b"HSET", b"h", fields[0], value], [b"HSETNX", b"all", value, b"v"]]
    compare(ours, theirs, [*commands, [b"HGETALL", b"h"], [b"HLEN", b"all"], [b"HVALS", b"all"]])
    for key in (b"h", b"all"):
        asked = [b"OBJECT", b"ENCODING", key]
        assert ours.call(*asked) == theirs.call(*asked), key


@pytest.mark.parametrize("limit", [b"0", b"3", b"1000"])
def test_the_limits_are_parameters_and_have_older_names(ours: Ours, theirs: Wire, limit: bytes) -> None:
    fresh(ours, theirs, 3)
    settings = [
        [b"CONFIG", b"SET", b"hash-max-ziplist-entries", limit, b"hash-max-ziplist-value", b"5"],
        [b"CONFIG", b"GET", b"hash-max-listpack*"],
    ]
    compare(ours, theirs, settings)
    commands = [[b"HSET", b"a", b"%d" % number, b"12345"] for number in range(4)]
    commands += [[b"HSET", b"b", b"field", b"123456"], [b"HINCRBY", b"c", b"sixsix", b"1"]]
    compare(ours, theirs, commands)
    for key in (b"a", b"b", b"c"):
        assert ours.call(b"OBJECT", b"ENCODING", key) == theirs.call(b"OBJECT", b"ENCODING", key)
    theirs.call(b"CONFIG", b"SET", b"hash-max-listpack-entries", b"512", b"hash-max-listpack-value", b"64")


@pytest.mark.parametrize("field_count", [5, 40, 5000])
def test_random_fields_are_different_ones_of_the_hash(ours: Ours, field_count: int) -> None:
    ours.call(b"CONFIG", b"SET", b"hash-max-listpack-entries", b"32")
    wanted = {b"field:%d" % number: b"%d" % number for number in range(field_count)}
    ours.call(b"HSET", b"h", *(word for pair in wanted.items() for word in pair))
    for count in (1, 2, field_count // 3, field_count // 2, field_count - 1, field_count, field_count + 10):
        names = ours.value(b"HRANDFIELD", b"h", b"%d" % count)
        assert isinstance(names, list)
        assert len(names) == len(set(names)) == min(count, field_count)
        assert wanted.keys() >= set(names)
    flat = ours.value(b"HRANDFIELD", b"h", b"%d" % (-3 * field_count), b"WITHVALUES")
    assert isinstance(flat, list)
    assert len(flat) == 6 * field_count
    assert wanted.items() >= set(zip(flat[::2], flat[1::2], strict=True))
    assert len(set(flat)) > field_count  # of 3 n picks about 95 % of all
    assert {ours.value(b"HRANDFIELD", b"h") for _ in range(200)} <= wanted.keys()


def test_no_count_makes_a_reply_without_end(ours: Ours) -> None:
    ours.call(b"HSET", b"h", b"a", b"1")
    assert ours.call(b"HRANDFIELD", b"h", b"-9223372036854775807").startswith(b"-ERR value is out of range")


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_walk_meets_every_field_that_stays(ours: Ours, step: int) -> None:
    ours.pipeline([[b"HSET", b"h", b"%d" % number, b"v%d" % number] for number in range(5000)])
    seen: dict[bytes, bytes] = {}
    cursor, turn = b"0", 0
    while True:
        cursor_and_flat = ours.value(b"HSCAN", b"h", cursor, b"COUNT", b"%d" % step)
        assert isinstance(cursor_and_flat, list)
        cursor, flat = cursor_and_flat
        seen.update(zip(flat[::2], flat[1::2], strict=True))
        # Every other field goes, others come: the table shrinks and grows under the walk.
        numbers = range(turn * 10, turn * 10 + 10)
        ours.call(b"HDEL", b"h", *(b"%d" % (2 * number + 1) for number in numbers if number < 2500))
        ours.call(b"HSET", b"h", *(word for number in numbers for word in (b"new%d" % number, b"x")))
        turn += 1
        if cursor == b"0":
            break
    for number in range(0, 5000, 2):
        assert seen[b"%d" % number] == b"v%d" % number


def test_what_replicas_are_told_of_sums_is_the_result(ours: Ours) -> None:
    ours.engine.effects.activate()
    began = ours.engine.effects.offset
    ours.pipeline([[b"HINCRBYFLOAT", b"h", b"f", b"0.1"], [b"HINCRBYFLOAT", b"h", b"f", b"0.2"]])
    stream = ours.engine.effects.read(began, 1 << 16)
    assert stream is not None
    assert b"HINCRBYFLOAT" not in stream
    assert stream.endswith(b"$4\r\nHSET\r\n$1\r\nh\r\n$1\r\nf\r\n$3\r\n0.3\r\n")
    assert decoded(ours.call(b"HGET", b"h", b"f")) == b"0.3"
