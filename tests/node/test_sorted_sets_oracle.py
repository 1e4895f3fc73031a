"""What random sequences of sorted set commands (families/sorted_sets.py) do not reach.

Chosen cases beside a real server, waiting, chance, and what 7.2 has beyond the 7.0 that we compare with.
"""

from __future__ import annotations

import shlex
import time
from collections import Counter

import pytest

from node.engine.audit import audit
from node.engine.session import Session
from tests.oracle import Ours, RedisServer, Wire, compare, fresh
from tests.protocol import request

Words = list[bytes]


def words(line: str) -> Words:
    return [word.encode("latin-1") for word in shlex.split(line)]


@pytest.mark.oracle
@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize(
    "line",
    [
        # Scores differ: the answer is that of a walk through the packed members from one end.
        "ZADD k 1 m 2 b 3 x 4 a 5 z|ZRANGEBYLEX k [b [y|ZREVRANGEBYLEX k [y [b|ZLEXCOUNT k [b [y|"
        "ZLEXCOUNT k - +|"
        "ZREVRANGEBYLEX k + (b|ZRANGEBYLEX k (m +|ZREVRANGEBYLEX k [w -|ZREMRANGEBYLEX k [b [x|ZRANGE k 0 -1",
        "ZADD k 0 a 0 b|ZRANGEBYLEX k + -|ZRANGEBYLEX k - -|ZRANGEBYLEX k + +|ZRANGEBYLEX k [a (a|"
        "ZRANGEBYLEX k (a [b",
        "ZADD k nan a|ZADD k inf a|ZINCRBY k -inf a|ZADD k INCR -inf a|ZADD k INCR 1 a 2 b|"
        "ZADD k 1 a x b|ZCARD k",
        "ZADD k NX XX 1 a|ZADD k GT LT 1 a|ZADD k NX GT 1 a|ZADD k NX|ZADD k 1|ZADD k XX INCR 1 a|"
        "ZADD k XX 1 a",
        "ZADD k 1 a|ZADD k GT 0 a|ZADD k GT CH 2 a|ZADD k LT CH 3 a|ZADD k GT INCR -1 a|"
        "ZADD k GT INCR 5 a|ZSCORE k a",
        "ZADD k 1 a 1 a 2 a|ZADD k CH 3 a 4 a 4 a|ZSCORE k a|ZADD k XX CH 5 a 5 b|ZCARD k",
        "ZADD k -0 a 0 b|ZRANGE k 0 -1 WITHSCORES|ZADD k 0 a|ZSCORE k a|ZADD k 1 a|ZADD k -0 a|ZSCORE k a",
        "ZADD k 9007199254740993 a 1e17 b 4611686018427387904 c 1e300 d 5e-324 e|ZRANGE k 0 -1 WITHSCORES",
        "SADD s a b|ZADD k 5 a|ZUNION 2 s k WITHSCORES|ZINTER 2 s k WEIGHTS 2 3 WITHSCORES|ZDIFF 2 s k|"
        "ZINTERCARD 2 s k",
        "ZADD k inf a|ZADD l -inf a|ZUNION 2 k l WITHSCORES|ZINTER 2 k l AGGREGATE MAX WITHSCORES|"
        "ZUNION 1 k WEIGHTS 0 WITHSCORES",
        "ZUNION 0 k|ZUNIONSTORE d 0 k|ZUNION 3 k l|ZUNION x k|ZINTERCARD 1 k LIMIT -1|"
        "ZDIFF 1 k WEIGHTS 1|ZUNION 1 k WEIGHTS x",
        "ZADD k 1 a 2 b|ZRANGESTORE k k 0 0|ZRANGE k 0 -1|ZRANGESTORE k none 0 -1|EXISTS k",
        "ZADD k 1 a 2 b 3 c|ZUNIONSTORE k 2 k k|ZRANGE k 0 -1 WITHSCORES|ZDIFFSTORE k 2 k k|EXISTS k",
        "ZADD k 1 a 2 b 3 c|ZMPOP 2 none k MIN COUNT 2|ZMPOP 1 k MAX|ZMPOP 1 k MAX|ZMPOP 0 k MIN|"
        "ZMPOP 1 k MIN COUNT 0",
        "ZADD k 1 a 2 b 3 c|BZPOPMIN none k 0|BZPOPMAX k 0|BZMPOP 0 2 none k MIN COUNT 5|BZPOPMIN k x|"
        "BZPOPMIN k -1|"
        "BZMPOP x 1 k MIN|BZMPOP 0 1 k|BZMPOP 0 0 k MIN|MULTI|BZPOPMIN k 0|BZMPOP 0 1 k MAX|EXEC",
        "SET t x|ZADD t 1 a|ZRANGE t 0 -1|ZUNION 1 t|BZPOPMIN none t 0|ZMPOP 2 none t MIN|"
        "ZRANGESTORE t t 0 1|ZSCAN t 0",
        "ZADD k 1 a|PEXPIRE k 100000|ZADD k 2 b|PERSIST k|PEXPIRE k 100000|ZREM k a b|ZADD k 1 a|TTL k",
        # Scores that are no places.
        "ZADD k -1 a -4503599627370496.5 b 1e300 c inf d -inf e -1e19 f 9.3e18 g 4503599627370497 h|"
        "ZADD k 1.5 i 1.9e19 j 18446744073709549568 l 18446744073709551616 m -9223372036854775808 n -0.5 o|"
        "ZADD k 1e-300 p|"
        "GEOPOS k a b c d e f g h i j l m n o p|GEOHASH k a b c d e f g h i j l m n o p|"
        "GEODIST k a c|GEODIST k b d|GEODIST k e f|GEODIST k g h|GEODIST k i j|GEODIST k l n",
    ],
)
def test_table(ours: Ours, theirs: Wire, line: str, resp: int) -> None:
    fresh(ours, theirs, resp)
    compare(ours, theirs, [words(command) for command in line.split("|")])


# ------------------------------------------------------------------------------------------- waiting


def _served(
    theirs: Wire, redis_server: RedisServer, waiting: Words, commands: list[Words], resp: int
) -> bytes:
    """What a real server answers a client that waits when another says this."""
    with redis_server.connect() as other:
        other.call(b"HELLO", b"%d" % resp)
        other.send(request(waiting))
        deadline = time.monotonic() + 10
        while b"blocked_clients:1" not in theirs.call(b"INFO", b"clients"):
            assert time.monotonic() < deadline
        theirs.pipeline(commands)
        return other.receive()


@pytest.mark.oracle
@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize(
    ("waiting", "line"),
    [
        ("BZPOPMIN a b 0", "ZADD b 2.5 x 3 y"),
        ("BZPOPMAX a b 0", "ZADD a 2 x 3 y"),
        ("BZPOPMIN a b 0", "MULTI|ZADD b 1 x|ZADD a 1 y|EXEC"),
        ("BZPOPMIN a 0", "SADD s m|ZUNIONSTORE a 1 s"),
        ("BZPOPMIN a 0", "LPUSH a x|DEL a|ZADD b 7 m|RENAME b a"),
        ("BZMPOP 0 2 a b MIN COUNT 2", "ZADD b 2.5 x 3 y 4 z"),
        ("BZMPOP 0 1 a MAX", "GEOADD a 13.361389 38.115556 palermo"),
        ("BZPOPMIN a 0.01", ""),
    ],
)
def test_who_waits_gets_what_a_real_server_gives(
    ours: Ours, theirs: Wire, redis_server: RedisServer, waiting: str, line: str, resp: int
) -> None:
    fresh(ours, theirs, resp)
    commands = [words(command) for command in line.split("|") if command]
    if not line:
        compare(ours, theirs, [[b"MULTI"], words(waiting), [b"EXEC"]])
        return
    client: Session = ours.connect()
    client.feed(request([b"HELLO", b"%d" % resp]))
    assert client.feed(request(words(waiting))) == b""
    ours.pipeline(commands)
    answer = client.take_output()
    assert answer == _served(theirs, redis_server, words(waiting), commands, resp)
    compare(ours, theirs, [words("ZRANGE a 0 -1 WITHSCORES"), words("ZRANGE b 0 -1 WITHSCORES")])


# -------------------------------------------------------------------------------- chance, and 7.2


def _fill(ours: Ours, count: int) -> None:
    ours.call(b"ZADD", b"k", *(word for number in range(count) for word in (b"%d" % number, b"m%d" % number)))


@pytest.mark.parametrize("count", [20, 1000])
def test_random_members_are_members_and_differ(ours: Ours, count: int) -> None:
    _fill(ours, count)
    scores = {b"m%d" % number: b"%d" % number for number in range(count)}
    for wanted in (1, 3, count // 2, count // 2 + 1, count - 1, count, count + 5):
        flat = ours.value(b"ZRANDMEMBER", b"k", b"%d" % wanted, b"WITHSCORES")
        assert isinstance(flat, list)
        pairs = dict(zip(flat[::2], flat[1::2], strict=True))
        assert len(pairs) == min(wanted, count)
        assert pairs.items() <= scores.items()
    again = ours.value(b"ZRANDMEMBER", b"k", b"-%d" % (2 * count))
    assert isinstance(again, list)
    assert len(again) == 2 * count
    assert set(again) <= scores.keys()
    for words_ in ("ZRANDMEMBER k -9223372036854775807", "ZRANDMEMBER k -4611686018427387903 WITHSCORES"):
        assert ours.call(*words(words_)).startswith(b"-ERR value is out of range, so large a reply")
        assert ours.call(*words(words_.replace(" k ", " none "))) == b"*0\r\n"


@pytest.mark.slow
def test_every_member_is_picked_as_often(ours: Ours) -> None:
    _fill(ours, 200)
    seen: Counter[object] = Counter()
    for command in ([b"ZRANDMEMBER", b"k", b"-4000"], *([[b"ZRANDMEMBER", b"k", b"100"]] * 40)):
        picked = ours.value(*command)
        assert isinstance(picked, list)
        seen.update(picked)
    # 40 times each; with a deviation of 5.3 none is ever 8 of them away.
    assert len(seen) == 200
    assert all(0 < times < 85 for times in seen.values())


def test_rank_with_score(ours: Ours) -> None:
    ours.call(b"ZADD", b"k", b"0.1", b"a", b"2", b"b")
    assert ours.call(b"ZRANK", b"k", b"a", b"WITHSCORE") == b"*2\r\n:0\r\n$3\r\n0.1\r\n"
    assert ours.call(b"ZREVRANK", b"k", b"a", b"withscore") == b"*2\r\n:1\r\n$3\r\n0.1\r\n"
    assert ours.call(b"ZRANK", b"k", b"c", b"WITHSCORE") == b"*-1\r\n"
    assert ours.call(b"ZRANK", b"k", b"a", b"x") == b"-ERR syntax error\r\n"
    assert ours.call(b"ZRANK", b"k", b"a", b"WITHSCORE", b"x") == (
        b"-ERR wrong number of arguments for 'zrank' command\r\n"
    )
    ours.call(b"HELLO", b"3")
    assert ours.call(b"ZRANK", b"k", b"a", b"WITHSCORE") == b"*2\r\n:0\r\n,0.1\r\n"
    assert ours.call(b"ZRANK", b"k", b"c", b"WITHSCORE") == b"_\r\n"


@pytest.mark.parametrize(
    ("score", "text"),
    [
        (b"0.1", b"0.1"), (b"3", b"3"), (b"-0", b"-0"), (b"1e17", b"100000000000000000"), (b"1e21", b"1e+21"),
        (b"123456789012345678901", b"123456789012345680000"), (b"0.000001", b"0.000001"), (b"1e-7", b"1e-7"),
        (b"1.5e-7", b"1.5e-7"), (b"1e300", b"1e+300"), (b"-2.5", b"-2.5"), (b"5e-324", b"5e-324"),
        (b"1.7976931348623157e308", b"1.7976931348623157e+308"), (b"0x10", b"16"), (b"inf", b"inf"),
        (b"12345.678", b"12345.678"), (b"0.3333333333333333", b"0.3333333333333333"),
    ],
)  # fmt: skip
def test_scores_are_written_short(ours: Ours, score: bytes, text: bytes) -> None:
    ours.call(b"ZADD", b"k", score, b"m")
    assert ours.value(b"ZSCORE", b"k", b"m") == text
    assert ours.value(b"ZSCAN", b"k", b"0") == [b"0", [b"m", text]]


def test_scanning_sees_every_member_though_the_set_changes(ours: Ours) -> None:
    _fill(ours, 3000)
    seen: set[bytes] = set()
    cursor = b"0"
    while True:
        reply = ours.value(b"ZSCAN", b"k", cursor, b"COUNT", b"50")
        assert isinstance(reply, list)
        cursor, found = reply
        seen.update(found[::2])
        gone = found[::2][:20]
        ours.call(b"ZREM", b"k", *gone, b"none")
        if cursor == b"0":
            break
    assert seen == {b"m%d" % number for number in range(3000)}
    assert audit(ours.engine.keyspace) == []


@pytest.mark.oracle
@pytest.mark.parametrize(
    "line",
    [
        "ZREMRANGEBYRANK k 0 -11",
        "ZREMRANGEBYRANK k 10 -1",
        "ZREMRANGEBYRANK k 5 -8",
        "ZREMRANGEBYSCORE k 20 2980",
        "ZPOPMIN k 2500",
        "ZPOPMAX k 2999",
    ],
)
def test_the_few_that_stay_move_out(ours: Ours, line: str) -> None:
    _fill(ours, 3000)
    keyspace = ours.engine.keyspace
    used = keyspace.memory()["used_bytes"]
    with RedisServer() as server, server.connect() as theirs:
        for start in range(0, 3000, 500):
            pairs = [word for n in range(start, start + 500) for word in (b"%d" % n, b"m%d" % n)]
            theirs.call(b"ZADD", b"k", *pairs)
        asked = [
            words(each) for each in ("EXPIRE k 1000", line, "ZRANGE k 0 -1 WITHSCORES", "TTL k", "ZCARD k")
        ]
        assert ours.pipeline(asked) == theirs.pipeline(asked)
        assert keyspace.memory()["used_bytes"] > used * 3 // 4
        asked = [
            words(each) for each in ("ZADD k 1.5 new", "ZRANK k new", "ZSCORE k m2990", "ZINCRBY k 1 new")
        ]
        assert ours.pipeline(asked) == theirs.pipeline(asked)
    assert audit(keyspace) == []
    while keyspace.free_some(500):
        pass
    assert audit(keyspace) == []
    assert keyspace.memory()["used_bytes"] < used // 2


def test_a_large_one_goes_in_the_background(ours: Ours) -> None:
    _fill(ours, 20_000)
    keyspace = ours.engine.keyspace
    held = keyspace.memory()["used_bytes"]
    ours.call(b"ZREMRANGEBYRANK", b"k", b"0", b"-1")
    assert ours.call(b"EXISTS", b"k") == b":0\r\n"
    steps = 0
    while keyspace.free_some(500):
        steps += 1
        assert audit(keyspace) == []
    assert steps >= 40
    assert keyspace.memory()["used_bytes"] < held // 20
