"""Stream commands reply as a real server: what chance seldom finds, and waiting; how streams are kept."""

import shlex

import pytest

from node.engine.audit import audit
from tests.node.blocking_scenes import play
from tests.oracle import NodeServer, Ours, RedisServer, Wire, compare, fresh


@pytest.mark.oracle
@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize(
    "line",
    [
        "XADD s 1-1 a 1 b 2|XADD s 1-2 a 1 b 2|XADD s 1-* a 1 b 2|XADD s 1-1 a 1|XADD s 0-0 a 1|"
        "XADD s 5 a b|XADD s 5-* c d|XADD s * a|XADD s|XADD s 6-1 a|XADD s x a b|XADD s 6-x a b|"
        "XADD s -1 a b|XADD s + a b|XADD s - a b|XLEN s|XRANGE s - +|XREVRANGE s + -|XRANGE s 1 5|"
        "XRANGE s (1-1 +|XRANGE s - (5-0|XRANGE s - + COUNT 2|XREVRANGE s + - COUNT 2|"
        "XRANGE s - + COUNT 0|XRANGE s - + COUNT -1|XRANGE s - + COUNT x|XRANGE s - + FOO|"
        "XRANGE s - + COUNT|XRANGE s x +|XRANGE s (- +|XRANGE s - (+|"
        "XRANGE s (18446744073709551615-18446744073709551615 +|XRANGE s - (0-0|XDEL s 1-2 9-9|"
        "XDEL s x|XLEN s|XRANGE s - +|XREVRANGE s + -|XRANGE n - +|XLEN n|XDEL n 1-1",
        "XADD s NOMKSTREAM 1-1 a b|XADD s MAXLEN 2 1-1 a b|XADD s MAXLEN 2 1-2 a b|"
        "XADD s MAXLEN 2 1-3 a b|XADD s MAXLEN = 2 1-4 a b|XADD s MAXLEN ~ 2 1-5 a b|"
        "XADD s MINID 1-4 1-6 a b|XADD s MAXLEN 2 LIMIT 1 1-9 a b|XADD s LIMIT 5 1-9 a b|"
        "XADD s MAXLEN ~ 1 LIMIT 0 1-9 a b|XADD s MAXLEN -1 2-1 a b|XADD s MAXLEN x 2-1 a b|"
        "XADD s MAXLEN 1 MINID 1 2-1 a b|XADD s MINID x 2-1 a b|XADD s MAXLEN ~ 2 LIMIT -1 2-1 a b|"
        "XRANGE s - +|XTRIM s MAXLEN 1|XTRIM s MAXLEN ~ 0|XTRIM s MINID 0|XTRIM s FOO 1|XTRIM s|"
        "XTRIM s MAXLEN|XTRIM s LIMIT 1|XTRIM s MAXLEN 0|XLEN s|XADD s * a b 3|EXISTS s",
        "XADD s 5-5 a 1|XSETID s 4-4|XSETID s 9-9|XSETID s 9-9 ENTRIESADDED 0|"
        "XSETID s 9-9 ENTRIESADDED 7 MAXDELETEDID 3-3|XSETID s 9-9 MAXDELETEDID 10-0|XSETID s x|"
        "XSETID n 1-1|XSETID s 1-1 FOO|XSETID s 1-1 ENTRIESADDED -1|XSETID s 1-1 ENTRIESADDED x|"
        "XADD s 9-9 a b|XADD s 9-10 a b|SET t 1|XADD t 1-1 a b|XLEN t|XRANGE t - +|XDEL t 1-1|"
        "XTRIM t MAXLEN 0|XSETID t 1-1",
        "XADD s 18446744073709551615-18446744073709551615 a b|XADD s * a b|XADD s 1-1 a b|"
        "XADD t 18446744073709551615-5 a b|XADD t 18446744073709551615-* c d|XADD t * c d|"
        "XRANGE t - +|XADD s 01-02 a b|XADD u 01-02 a b|XADD u ' 3-3' a b|XADD u 5- a b|"
        "XADD u +6-1 a b|XRANGE u - +",
        "XADD s 1-1 a 1|XADD s 2-1 a 2|XADD s 3-1 b 3|XGROUP CREATE s g 0|XGROUP CREATE s g 0|"
        "XGROUP CREATE n g 0|XGROUP CREATE n g $ MKSTREAM|XGROUP CREATE s h $ ENTRIESREAD 2|"
        "XGROUP CREATE s h2 x|XGROUP CREATE s h3 0 FOO|XGROUP CREATE s h3 0 ENTRIESREAD -2|"
        "XGROUP CREATE s h3 - |XREADGROUP GROUP g c COUNT 1 STREAMS s >|"
        "XREADGROUP GROUP g c STREAMS s >|XREADGROUP GROUP g d STREAMS s >|"
        "XREADGROUP GROUP g c STREAMS s 0|XREADGROUP GROUP g c COUNT 1 STREAMS s 1-1|XPENDING s g|"
        "XPENDING s nope|XPENDING n g|XPENDING s g - + 10 d|XPENDING s g - + 10 zz|XACK s g 1-1 9-9|"
        "XACK s g x|XACK s nope 1-1|XACK nn g 1-1|XPENDING s g|XINFO GROUPS s|XINFO GROUPS n|"
        "XINFO STREAM s|XINFO GROUPS zz|XINFO CONSUMERS s zz|XGROUP DELCONSUMER s g c|"
        "XGROUP DELCONSUMER s g c|XGROUP CREATECONSUMER s g k|XGROUP CREATECONSUMER s g k|"
        "XGROUP CREATECONSUMER s zz k|XGROUP SETID s g 1-1|XGROUP SETID s g $|XGROUP SETID s zz 0|"
        "XGROUP SETID s g + ENTRIESREAD 3|XGROUP SETID s g x|XGROUP DESTROY s g|XGROUP DESTROY s g|"
        "XGROUP DESTROY zz g|XPENDING s g|XGROUP FOO s g|XGROUP|XINFO|XINFO FOO s",
        "XADD s 1-1 a 1|XADD s 2-1 a 2|XREAD STREAMS s 0|XREAD COUNT 1 STREAMS s n 0 0|"
        "XREAD STREAMS s 2-1|XREAD STREAMS s $|XREAD STREAMS s|XREAD STREAMS s n 0|XREAD STREAMS s x|"
        "XREAD STREAMS s >|XREAD COUNT x STREAMS s 0|XREAD COUNT -1 STREAMS s 0|"
        "XREAD FOO STREAMS s 0|XREAD BLOCK x STREAMS s 0|XREAD BLOCK -1 STREAMS s 0|"
        "XREAD BLOCK 1 STREAMS s 0|XREAD GROUP g c STREAMS s 0|XREAD NOACK STREAMS s 0|"
        "XREADGROUP GROUP g c STREAMS s >|XGROUP CREATE s g 0|XREADGROUP GROUP g c STREAMS s $|"
        "XREADGROUP COUNT 1 BLOCK 1 STREAMS s >|XREADGROUP GROUP g c NOACK STREAMS s >|XPENDING s g|"
        "SET t 1|XREAD STREAMS t 0|XREADGROUP GROUP g c STREAMS t >|XGROUP CREATE t g 0|XACK t g 1|"
        "XPENDING t g|XCLAIM t g c 0 1-1|XAUTOCLAIM t g c 0 0|XINFO STREAM t",
        "XADD s 1-1 a 1|XADD s 2-1 a 2|XADD s 3-1 a 2|XGROUP CREATE s g 0|"
        "XREADGROUP GROUP g c STREAMS s >|XCLAIM s g d 0 1-1 2-1|XCLAIM s g d 0 1-1 JUSTID|"
        "XCLAIM s g d 100000 1-1|XCLAIM s g e 0 3-1 RETRYCOUNT 7|XCLAIM s g e 0 9-9 FORCE|"
        "XACK s g 1-1|XCLAIM s g e 0 1-1|XCLAIM s g e 0 1-1 FORCE JUSTID|XCLAIM s g e 0 1-1 FOO|"
        "XCLAIM s g e x 1-1|XCLAIM s g e 0 1-1 IDLE x|XCLAIM s g e 0 1-1 TIME x|"
        "XCLAIM s g e 0 1-1 RETRYCOUNT x|XCLAIM s g e 0 1-1 LASTID x|XCLAIM s g e 0 1-1 LASTID 9-9|"
        "XINFO GROUPS s|XDEL s 2-1|XCLAIM s g c 0 2-1|XPENDING s g|XAUTOCLAIM s g z 0 0|"
        "XAUTOCLAIM s g z 0 - COUNT 1|XAUTOCLAIM s g z 0 (1-1 JUSTID|XAUTOCLAIM s g z x 0|"
        "XAUTOCLAIM s g z 0 x|XAUTOCLAIM s g z 0 0 COUNT 0|XAUTOCLAIM s g z 0 0 COUNT x|"
        "XAUTOCLAIM s g z 0 0 FOO|XAUTOCLAIM s nope z 0 0|XDEL s 3-1|XAUTOCLAIM s g z 0 0|"
        "XCLAIM s nope c 0 1-1|XCLAIM n g c 0 1-1|XPENDING s g - + 10|XPENDING s g IDLE 0 - + 10|"
        "XPENDING s g IDLE 100000 - + 10|XPENDING s g IDLE x - + 10|XPENDING s g IDLE 0 - +|"
        "XPENDING s g - +|XPENDING s g - + x|XPENDING s g x + 1|XPENDING s g - + -1|"
        "XPENDING s g (1-1 + 10",
    ],
)
def test_table(ours: Ours, theirs: Wire, line: str, resp: int) -> None:
    fresh(ours, theirs, resp)
    compare(ours, theirs, [list(map(str.encode, shlex.split(command))) for command in line.split("|")])


@pytest.mark.oracle
@pytest.mark.parametrize("others", [(), (b"d",), (b"d", b"e")])
def test_what_a_consumer_had_pending_goes_with_it(
    ours: Ours, theirs: Wire, others: tuple[bytes, ...]
) -> None:
    """Most of what its group has, so that it goes as a whole and the others' entries change their index."""
    fresh(ours, theirs, 2)
    group = [b"s", b"g"]
    claims = [
        [b"XCLAIM", *group, other, b"0", *(b"%d-1" % (7 * each + at) for each in range(1, 99))]
        for at, other in enumerate(others)
    ]
    compare(
        ours,
        theirs,
        [
            *([b"XADD", b"s", b"%d-1" % each, b"f", b"x"] for each in range(1, 2_000)),
            [b"XGROUP", b"CREATE", *group, b"0"],
            [b"XREADGROUP", b"GROUP", b"g", b"c", b"STREAMS", b"s", b">"],
            *claims,
            [b"XGROUP", b"DELCONSUMER", *group, b"c"],
            [b"XPENDING", *group],
            [b"XACK", *group, b"14-1", b"15-1", b"16-1", b"1900-1"],
            [b"XAUTOCLAIM", *group, b"f", b"0", b"0", b"COUNT", b"50", b"JUSTID"],
            [b"XGROUP", b"SETID", *group, b"1990"],
            [b"XREADGROUP", b"GROUP", b"g", b"c", b"STREAMS", b"s", b">"],
            [b"XPENDING", *group],
            [b"XGROUP", b"DELCONSUMER", *group, b"nobody"],
        ],
    )
    assert audit(ours.engine.keyspace) == []
    while ours.engine.keyspace.free_some(100):
        pass
    assert audit(ours.engine.keyspace) == []


SCENES = {
    "who reads sees the new entry": "a> XREAD BLOCK 0 STREAMS s $\nb: XADD s 1-1 a 1\na<",
    "all who read see it": """
        a> XREAD BLOCK 0 STREAMS s 0
        b> XREAD BLOCK 0 COUNT 1 STREAMS t s 0 0
        c: XADD s 1-1 a 1
        a<
        b<""",
    "only what came later": """
        b: XADD s 1-1 a 1
        a> XREAD BLOCK 0 STREAMS s $
        b: XADD s 2-1 a 1
        a<""",
    "of a group one gets it": """
        c: XGROUP CREATE s g $ MKSTREAM
        a> XREADGROUP GROUP g a BLOCK 0 STREAMS s >
        b> XREADGROUP GROUP g b BLOCK 0 STREAMS s >
        c: XADD s 1-1 a 1
        a<
        c: XADD s 1-2 a 1
        b<
        c: XPENDING s g""",
    "without acknowledgement": """
        c: XGROUP CREATE s g $ MKSTREAM
        a> XREADGROUP GROUP g a BLOCK 0 NOACK STREAMS s >
        c: XADD s 1-1 a 1
        a<
        c: XPENDING s g
        c: XINFO GROUPS s""",
    "time is over": """
        a> XREAD BLOCK 50 STREAMS s 0
        a<
        c: XGROUP CREATE s g $ MKSTREAM
        a> XREADGROUP GROUP g a BLOCK 50 STREAMS s >
        a<""",
    "another type is of no use": """
        a> XREAD BLOCK 0 STREAMS s 0
        b: RPUSH s 1
        b: DEL s
        b: XADD s 1-1 a 1
        a<""",
}


@pytest.mark.oracle
@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("name", SCENES)
def test_scene(redis_server: RedisServer, node_server: NodeServer, name: str, resp: int) -> None:
    assert play(node_server, SCENES[name], resp) == play(redis_server, SCENES[name], resp)


def test_who_waits_for_a_group_hears_of_its_end(node_server: NodeServer) -> None:
    said = play(
        node_server,
        """
        c: XGROUP CREATE s g $ MKSTREAM
        a> XREADGROUP GROUP g a BLOCK 0 STREAMS s >
        c: DEL s
        a<""",
        2,
    )
    assert said[-1][1].startswith(b"-NOGROUP No such key 's' or consumer group 'g'")


def test_entries_of_two_small_fields_take_little() -> None:
    ours = Ours()
    before = ours.engine.keyspace.memory()["used_bytes"]
    for number in range(0, 100_000, 1000):
        ours.pipeline(
            [
                [
                    b"XADD",
                    b"s",
                    b"%d-0" % (1 << 40 | at),
                    b"sensor",
                    b"%d" % (at % 100),
                    b"value",
                    b"%d" % (at % 4000),
                ]
                for at in range(number, number + 1000)
            ]
        )
    assert (ours.engine.keyspace.memory()["used_bytes"] - before) / 100_000 < 18.4


def test_every_change_is_counted_right() -> None:
    ours = Ours()
    for words in (
        *([b"XADD", b"s", b"%d-1" % at, b"a", b"x" * (at % 90), b"b", b"%d" % at] for at in range(1, 700)),
        [b"XGROUP", b"CREATE", b"s", b"g", b"0"],
        [b"XGROUP", b"CREATE", b"s", b"other", b"0"],
        [b"XREADGROUP", b"GROUP", b"g", b"c", b"STREAMS", b"s", b">"],
        [b"XREADGROUP", b"GROUP", b"other", b"c", b"COUNT", b"200", b"STREAMS", b"s", b">"],
        [b"XCLAIM", b"s", b"g", b"d", b"0", *(b"%d-1" % at for at in range(1, 300))],
        [b"XACK", b"s", b"g", *(b"%d-1" % at for at in range(100, 400))],
        [b"XDEL", b"s", *(b"%d-1" % at for at in range(50, 350, 3))],
        [b"XTRIM", b"s", b"MAXLEN", b"300"],
        [b"XAUTOCLAIM", b"s", b"g", b"e", b"0", b"0", b"COUNT", b"500"],
        [b"COPY", b"s", b"copy"],
        [b"XGROUP", b"DELCONSUMER", b"s", b"g", b"d"],
        [b"XGROUP", b"DESTROY", b"s", b"other"],
        [b"XTRIM", b"s", b"MINID", b"650"],
        [b"RENAME", b"s", b"moved"],
        [b"DEL", b"moved", b"copy"],
    ):
        assert not ours.call(*words).startswith(b"-"), words
        if words[0] != b"XADD" or words[2].endswith(b"00-1"):
            while ours.engine.keyspace.free_some(7):
                pass
            assert audit(ours.engine.keyspace) == [], words[:3]
    assert ours.value(b"DBSIZE") == 0
