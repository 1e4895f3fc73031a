"""Clients that wait for lists are served as a real server serves them: who, in which order, with what."""

import pytest

from tests.node.blocking_scenes import play
from tests.oracle import NodeServer, Ours, RedisServer, Wire, compare, fresh

pytestmark = pytest.mark.oracle

SCENES = {
    "one element, one client": "a> BLPOP k 0\nb: RPUSH k 1\na<\nb: EXISTS k",
    "who came first is served first": """
        a> BLPOP k 0
        b> BRPOP k 0
        c> BLPOP k 0
        d: RPUSH k 1 2 3 4
        a<
        b<
        c<
        d: LRANGE k 0 -1""",
    "after the whole command": "a> BRPOP k 0\nb: LPUSH k 1 2 3\na<\nb: LRANGE k 0 -1",
    "after the whole transaction": """
        a> BLPOP k 0
        b: MULTI
        b: RPUSH k 1
        b: DEL k
        b: RPUSH k 2
        b: EXEC
        a<
        b: EXISTS k""",
    "nothing is left after the transaction": """
        a> BLPOP k 0
        b: MULTI
        b: RPUSH k 1
        b: LPOP k
        b: EXEC
        b: RPUSH k 2
        a<""",
    "the key that was written first": """
        a> BLPOP x y z 0
        b: MULTI
        b: RPUSH z 3
        b: RPUSH x 1
        b: EXEC
        a<
        b: LRANGE x 0 -1
        b: LRANGE z 0 -1""",
    "another type does not serve": "a> BLPOP k 0\nb: SADD k 1\nb: DEL k\nb: RPUSH k 1\na<",
    "by LINSERT, LMOVE, RENAME and COPY": """
        a> BLPOP k 0
        b: RPUSH l 1 2 3 4
        b: LMOVE l k LEFT LEFT
        a<
        a> BLPOP k 0
        b: RENAME l k
        a<
        a> BLPOP m 0
        b: COPY k m
        a<
        b: LRANGE m 0 -1""",
    "chain": """
        a> BLMOVE x y LEFT RIGHT 0
        b> BRPOPLPUSH y z 0
        c> BLPOP z 0
        d: RPUSH x 1
        a<
        b<
        c<
        d: DBSIZE""",
    "onto itself": "a> BRPOPLPUSH k k 0\nb: RPUSH k 1 2 3\na<\nb: LRANGE k 0 -1",
    "the destination is of another type": """
        a> BLMOVE x y LEFT LEFT 0
        b: SET y 1
        b: RPUSH x 1
        a<
        b: LRANGE x 0 -1""",
    "many at once": """
        a> BLMPOP 0 2 x y LEFT COUNT 3
        b: RPUSH y 1 2 3 4
        a<
        a> BLMPOP 0 1 x RIGHT COUNT 10
        b: RPUSH x 1 2 3 4
        a<
        b: LRANGE y 0 -1""",
    "time is over": """
        a> BLPOP k 0.05
        a<
        a> BLMOVE x y LEFT LEFT 0.05
        a<
        a> BRPOPLPUSH x y 0.05
        a<
        a> BLMPOP 0.05 1 x LEFT
        a<
        b: RPUSH k 1
        b: LRANGE k 0 -1""",
    "while others watch": """
        a: WATCH k
        c> BLMOVE l k LEFT LEFT 0
        d: RPUSH l 1
        c<
        a: MULTI
        a: PING
        a: EXEC
        a: RPUSH m 1
        a: WATCH m
        b: WATCH n
        c> BLPOP x y m2 n 0
        d: RPUSH y 1 2
        c<
        a: MULTI
        a: PING
        a: EXEC
        b: MULTI
        b: PING
        b: EXEC
        a: WATCH y
        b: WATCH z
        c> BRPOPLPUSH z y 0
        e> BRPOP z n 0
        d: LPUSH z 1 2
        c<
        e<
        a: MULTI
        a: PING
        a: EXEC
        b: MULTI
        b: PING
        b: EXEC""",
    "by sorting": "a> BLPOP k 0\nb: RPUSH l 3 1 2\nb: RESTORE k 0 bad\nb: RPUSHX k 1\nb: RPUSH k 5\na<",
}


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("name", SCENES)
def test_scene(redis_server: RedisServer, node_server: NodeServer, name: str, resp: int) -> None:
    assert play(node_server, SCENES[name], resp) == play(redis_server, SCENES[name], resp)


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize(
    "line",
    [
        "RPUSH a 1 2 3|BLPOP n a 0|BRPOP a 0.1|BLPOP a x|BLPOP a -1|BLPOP a nan|"
        "SET s 1|BLPOP s 0|BLPOP s a 0|BLPOP a s 0|EXISTS a",
        "RPUSH a 1 2 3|BLMOVE a b LEFT RIGHT 0|BLMOVE a b FOO RIGHT 0|BLMOVE a b LEFT RIGHT x|"
        "BRPOPLPUSH a b 0|BRPOPLPUSH a b -1|SET s 1|BRPOPLPUSH a s 0|BRPOPLPUSH s a 0|"
        "BLMOVE a s LEFT LEFT 0|LRANGE b 0 -1",
        "RPUSH a 1 2 3|BLMPOP 0 2 n a LEFT|BLMPOP 0 1 a RIGHT COUNT 9|BLMPOP x 1 a LEFT|BLMPOP 0 0 a LEFT|"
        "BLMPOP -1 1 a LEFT|BLMPOP 0 1 a FOO|BLMPOP 0 1 a LEFT COUNT 0",
        "MULTI|BLPOP a 0|BRPOP a 0|BLMOVE a b LEFT LEFT 0|BRPOPLPUSH a b 0|BLMPOP 0 1 a LEFT|EXEC",
    ],
)  # fmt: skip
def test_without_waiting(ours: Ours, theirs: Wire, line: str, resp: int) -> None:
    fresh(ours, theirs, resp)
    compare(ours, theirs, [command.encode().split() for command in line.split("|")])
