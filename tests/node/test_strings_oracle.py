"""String commands give a real server's replies, byte by byte, in both protocols."""

import shlex

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.node.strategies import KEYS, joined, several, string_commands, words
from tests.oracle import Ours, Wire, compare, fresh

pytestmark = pytest.mark.oracle

random_sequences = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
EVERYTHING = [
    *([b"GET", key] for key in (b"a", b"b", b"c", b"", b"\x00\xff\r\n", b"{t}x", b"{t}y")),
    *([b"TTL", key] for key in (b"a", b"b", b"c", b"", b"\x00\xff\r\n", b"{t}x", b"{t}y")),
    [b"DBSIZE"],
]


@pytest.mark.slow
@random_sequences
@given(commands=st.lists(string_commands, min_size=1, max_size=25), resp=st.sampled_from([2, 3]))
def test_random_sequences(ours: Ours, theirs: Wire, commands: list[list[bytes]], resp: int) -> None:
    fresh(ours, theirs, resp)
    compare(ours, theirs, [*commands, *EVERYTHING])


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize(
    "line",
    [
        "SET k v|GET k|SET k v2 XX GET|SET k v3 NX GET|SET n v NX GET|GET n",
        "SET k v EX 0|SET k v PX -5|SETEX k 0 v|PSETEX k 0 v|GETEX k EX 0|GET k",
        "SET k v EX 9223372036854775807|SETEX k 9223372036854775807 v|GETEX k PX 9223372036854775807",
        "SET k v NX XX|SET k v EX 10 PX 10|SET k v EX|SET k v KEEPTTL EX 10|SET k v FOO|SET k v EX x",
        "SET k v EX 100|SET k w|TTL k|SET k v EX 100|SET k w KEEPTTL|TTL k|SET k v EXAT 1|GET k",
        "SET k 10|INCR k|INCRBY k 5|DECR k|DECRBY k 20|GET k|APPEND k 0|INCR k",
        "SET k 9223372036854775807|INCR k|INCRBY k 1|"
        "SET k -9223372036854775808|DECR k|DECRBY k 1|DECRBY k -1",
        "DECRBY k -9223372036854775808|SET k 0|DECRBY k -9223372036854775808",
        "SET k abc|INCR k|INCRBYFLOAT k 1|INCRBY k x|SET k ' 1'|INCR k|SET k 1.5|INCR k|INCRBYFLOAT k .5",
        "INCRBYFLOAT k 3.0e3|INCRBYFLOAT k -200|INCRBYFLOAT k 0.1|"
        "INCRBYFLOAT k 1e-10|INCRBYFLOAT k inf|INCRBYFLOAT k nan",
        "SET k 0.1|INCRBYFLOAT k 0.2|SET k 1e17|INCRBYFLOAT k 1|SET k 3.0|INCRBYFLOAT k 1.000000000000000005",
        "SET k hello|GETRANGE k 0 -1|GETRANGE k -3 -1|"
        "GETRANGE k 3 1|GETRANGE k -100 100|GETRANGE k 5 10|SUBSTR k 1 2",
        "SETRANGE k 3 abc|GET k|SETRANGE k 0 ''|SETRANGE n 0 ''|"
        "EXISTS n|SETRANGE n 5 ''|SETRANGE k -1 x|STRLEN k",
        "SETRANGE k 536870912 x|SETRANGE k 536870911 xx|SETRANGE k 9223372036854775807 xx",
        "SET a ohmytext|SET b mynewtext|LCS a b|LCS a b LEN|LCS a b IDX|LCS a b IDX MINMATCHLEN 4",
        "SET a ohmytext|SET b mynewtext|"
        "LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN|LCS a b LEN IDX|LCS a nothing IDX",
        "LCS a b|LCS a b LEN|LCS a b FOO|"
        "LCS a b MINMATCHLEN|LCS a b MINMATCHLEN x|LCS a b IDX MINMATCHLEN -5",
        "MSET a 1 b|MSET a 1 b 2|MGET a b c a|MSETNX b 1 c 1|"
        "MSETNX c 1 d 1|MGET a b c d|MSETNX x 1 x 2|GET x",
        "GETDEL k|SET k v|GETDEL k|GET k|GETSET k 1|GETSET k 2|GET k",
        "SET k v|GETEX k|GETEX k EX 100|TTL k|GETEX k PERSIST|"
        "TTL k|GETEX k EX 1 PERSIST|GETEX n EX 100|GETEX k EXAT 1|GET k",
        "GET|SET|SET k|GET a b|STRLEN|APPEND k|MSET|MGET|SETEX k 1|LCS a|INCRBY k|GETRANGE k 0",
        "SETNX k v|SETNX k w|GET k|SETNX k|STRLEN k|STRLEN n|APPEND n abc|APPEND n def|GET n",
    ],
)  # fmt: skip
def test_table(ours: Ours, theirs: Wire, line: str, resp: int) -> None:
    fresh(ours, theirs, resp)
    compare(ours, theirs, [list(map(str.encode, shlex.split(command))) for command in line.split("|")])


@pytest.mark.parametrize("size", [44, 45, 1000, 16383, 16384, 70_000, 1 << 20])
def test_values_of_any_size(ours: Ours, theirs: Wire, size: int) -> None:
    value = bytes(index % 251 for index in range(size))
    compare(
        ours,
        theirs,
        [
            [b"SET", b"k", value],
            [b"GET", b"k"],
            [b"APPEND", b"k", value],
            [b"SETRANGE", b"k", b"%d" % (size // 2), b"middle"],
            [b"GETRANGE", b"k", b"%d" % (size // 2 - 5), b"%d" % (size // 2 + 10)],
            [b"GET", b"k"],
            [b"STRLEN", b"k"],
            [b"SET", value[:60_000], value],
            [b"GET", value[:60_000]],
        ],
    )


@pytest.mark.slow
@random_sequences
@given(
    texts=st.tuples(st.text("abcde", max_size=40), st.text("abcde", max_size=40)),
    command=joined(
        words(b"LCS", st.just(b"a"), st.just(b"b")), several(st.sampled_from([b"IDX", b"LEN"]), most=1)
    ),
    key=KEYS,
)
def test_longest_common_subsequence(
    ours: Ours, theirs: Wire, texts: tuple[str, str], command: list[bytes], key: bytes
) -> None:
    fresh(ours, theirs, 3)
    compare(
        ours, theirs, [[b"MSET", b"a", texts[0].encode(), b"b", texts[1].encode()], command, [b"GET", key]]
    )
