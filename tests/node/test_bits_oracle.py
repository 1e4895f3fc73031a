"""Commands on bits give a real server's replies, byte by byte, in both protocols."""

import shlex

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.node.strategies import KEYS, bit_commands, joined, several, words
from tests.oracle import Ours, Wire, compare, fresh

pytestmark = pytest.mark.oracle

random_sequences = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ALL_KEYS = (b"a", b"b", b"c", b"", b"\x00\xff\r\n", b"{t}x", b"{t}y")
EVERYTHING = [[word, key] for word in (b"GET", b"TTL") for key in ALL_KEYS]


@pytest.mark.slow
@random_sequences
@given(commands=st.lists(bit_commands, min_size=1, max_size=25), resp=st.sampled_from([2, 3]))
def test_random_sequences(ours: Ours, theirs: Wire, commands: list[list[bytes]], resp: int) -> None:
    fresh(ours, theirs, resp)
    compare(ours, theirs, [*commands, *EVERYTHING])


# The middle of a value where several loops meet: words, vectors, blocks and what is left of each.
SIZES = st.one_of(st.integers(0, 200), st.sampled_from([8191, 8192, 8193, 16384, 16385, 20000]))


@pytest.mark.slow
@random_sequences
@given(
    values=st.lists(st.tuples(SIZES, st.binary(min_size=1, max_size=7)), min_size=1, max_size=4),
    operation=st.sampled_from([b"AND", b"OR", b"XOR"]),
    order=st.lists(st.integers(0, 4), min_size=1, max_size=6),
    target=st.integers(0, 5),
)
def test_combining_values_of_any_size(
    ours: Ours, theirs: Wire, values: list[tuple[int, bytes]], operation: bytes, order: list[int], target: int
) -> None:
    fresh(ours, theirs, 2)
    into = b"k%d" % target
    commands = [[b"SET", b"k%d" % at, (word * size)[:size]] for at, (size, word) in enumerate(values)]
    commands.append([b"BITOP", operation, into, *(b"k%d" % at for at in order)])
    commands += [[b"GET", into], [b"BITCOUNT", into], [b"BITOP", b"NOT", b"n", into], [b"GET", b"n"]]
    commands += [[b"BITOP", b"NOT", into, into], [b"GET", into]]
    compare(ours, theirs, commands)


@pytest.mark.slow
@random_sequences
@given(
    byte=st.sampled_from([b"\x00", b"\xff"]),
    size=SIZES,
    flips=st.lists(st.integers(0, 20_000 * 8 - 1), max_size=3),
    ranges=st.lists(
        joined(
            words(st.integers(-170_000, 170_000).map(lambda number: b"%d" % number)),
            several(st.integers(-170_000, 170_000).map(lambda number: b"%d" % number), most=1),
        ),
        max_size=6,
    ),
)
def test_counting_and_searching_values_of_any_size(
    ours: Ours, theirs: Wire, byte: bytes, size: int, flips: list[int], ranges: list[list[bytes]]
) -> None:
    fresh(ours, theirs, 2)
    commands = [[b"SET", b"k", byte * size]]
    digit = b"0" if byte == b"\xff" else b"1"
    commands += [[b"SETBIT", b"k", b"%d" % (at % (size * 8)), digit] for at in flips if size]
    for bounds in ([], *ranges):
        commands += [[b"BITPOS", b"k", bit, *bounds] for bit in (b"0", b"1")]
        commands.append([b"BITCOUNT", b"k", *bounds])
        if len(bounds) == 2:
            commands += [[b"BITPOS", b"k", bit, *bounds, b"BIT"] for bit in (b"0", b"1")]
            commands.append([b"BITCOUNT", b"k", *bounds, b"BIT"])
    compare(ours, theirs, commands)


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize(
    "line",
    [
        "SETBIT k 7 1|GETBIT k 7|GETBIT k 6|GETBIT k 8|GETBIT n 0|GET k|SETBIT k 7 0|GET k|STRLEN k",
        "SETBIT k 0 0|EXISTS k|STRLEN k|SETBIT k 100 0|STRLEN k|SETBIT k 3 0|STRLEN k",
        "SETBIT k x 1|SETBIT k -1 1|SETBIT k 0 2|SETBIT k 0 -1|SETBIT k 0 x|SETBIT k x x|SETBIT k #0 1",
        "SETBIT k 4294967296 1|SETBIT k 9223372036854775807 1|GETBIT k 4294967296|GETBIT k 4294967295|"
        "EXISTS k",
        "SET k 12345|GETBIT k 2|GETBIT k 40|BITCOUNT k|BITPOS k 1|BITPOS k 0 4|"
        "BITFIELD k GET u8 32 GET u8 36",
        "SET k 12345|SETBIT k 7 0|OBJECT ENCODING k|GET k|INCR k|SETBIT k 7 0|GET k",
        "SET k 1 EX 100000|SETBIT k 1 1|TTL k|BITFIELD k SET u8 0 65|TTL k|GET k|BITOP NOT k k|TTL k|GET k",
        "SET k ''|BITCOUNT k|BITCOUNT k 0 -1|BITCOUNT k 0 -1 BIT|BITPOS k 0|BITPOS k 1|BITPOS k 0 0|"
        "BITPOS k 0 0 -1",
        "BITCOUNT n|BITCOUNT n x y|BITCOUNT n 1|BITPOS n 1|BITPOS n 0|BITPOS n 2|BITPOS n x|"
        "BITPOS n 0 x|BITPOS n 0 1 2 z",
        "SET k foobar|BITCOUNT k|BITCOUNT k 0 0|BITCOUNT k 1 1|BITCOUNT k 1 1 BYTE|BITCOUNT k 5 30 BIT|"
        "BITCOUNT k -3 -1",
        "SET k foobar|BITCOUNT k 1|BITCOUNT k 1 2 BITS|BITCOUNT k x 2 BITS|BITCOUNT k 1 y|"
        "BITCOUNT k 1 2 BIT 4",
        "SET k foobar|BITCOUNT k -1 -3 NOPE|BITCOUNT k -1 -3|"
        "BITCOUNT k 9223372036854775807 -9223372036854775808",
        "SET k foobar|BITCOUNT k -9223372036854775808 9223372036854775807 BIT|"
        "BITCOUNT k -9223372036854775808 -1",
        "SETRANGE k 40 x|BITPOS k 1|BITPOS k 0|BITPOS k 1 39|BITPOS k 1 41|BITPOS k 1 0 -2|"
        "BITPOS k 1 321 321 BIT",
        "SET k foobar|BITPOS k 1 0 -1 BITS|BITPOS k 1 x -1 BITS|BITPOS k 1 0 x BITS|BITPOS k 1 0 x BIT|"
        "BITPOS k 1 0 1 BIT 2",
        "BITFIELD k SET u8 0 255 SET u8 8 255|BITPOS k 0|BITPOS k 0 0|BITPOS k 0 0 -1|BITPOS k 0 1|"
        "BITPOS k 0 2|BITPOS k 0 3 5 BIT",
        "BITOP AND d a b|EXISTS d|SET d x|BITOP AND d a b|EXISTS d|BITOP OR d a|BITOP NOT d a|"
        "BITOP NAND d a",
        "SET a foof|SET b foobar|BITOP AND d a b|GET d|BITOP OR d a b|GET d|BITOP XOR d a b|GET d|"
        "BITOP NOT d a|GET d",
        "SET a 12|SET b 34567|BITOP AND a a b|GET a|BITOP OR b b n b|GET b|OBJECT ENCODING b|"
        "BITOP XOR b b b|GET b|BITOP XOR b b a b a|GET b",
        "BITOP NOT d a b|BITOP NOT d|BITOP FOO d|BITOP FOO d a b|BITOP and|SET a 77|BITOP AND d a|"
        "GET d|INCR d|BITOP OR d n",
        "SET d x EX 100000|SET a yy|BITOP AND d a|TTL d|SET d x EX 100000|BITOP AND d d a|TTL d|GET d|"
        "BITOP OR d n n|EXISTS d",
        "BITFIELD k|BITFIELD_RO k|BITFIELD n GET u8 0|EXISTS n|BITFIELD k INCRBY i5 100 1 GET u4 0|"
        "STRLEN k",
        "BITFIELD k SET u8 0 -1|GET k|BITFIELD k OVERFLOW SAT SET u8 0 -1|"
        "BITFIELD k OVERFLOW FAIL SET u8 0 -1 GET u8 0",
        "BITFIELD k INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1|"
        "BITFIELD k INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1|"
        "BITFIELD k INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1|"
        "BITFIELD k INCRBY u2 100 1 OVERFLOW SAT INCRBY u2 102 1",
        "BITFIELD k OVERFLOW FAIL INCRBY u2 102 9|EXISTS k|STRLEN k|"
        "BITFIELD k OVERFLOW FAIL INCRBY u2 900 9 SET u2 0 1|STRLEN k",
        "BITFIELD k SET i64 3 9223372036854775807 INCRBY i64 3 1 GET i64 3|"
        "BITFIELD k SET i64 3 -9223372036854775808 INCRBY i64 3 -1",
        "BITFIELD k SET i64 3 9223372036854775807 OVERFLOW SAT"
        " INCRBY i64 3 9223372036854775807 INCRBY i64 3 -9223372036854775808",
        "BITFIELD k SET u63 1 9223372036854775807 INCRBY u63 1 1 GET u63 1 OVERFLOW SAT"
        " INCRBY u63 1 -1 INCRBY u63 1 9223372036854775807",
        "BITFIELD k SET i8 0 128 GET i8 0 SET i8 0 -129 GET i8 0 OVERFLOW SAT"
        " SET i8 0 128 GET i8 0 SET i8 0 -129 GET i8 0",
        "BITFIELD k OVERFLOW SAT SET i8 0 -9223372036854775680 GET i8 0"
        " SET i8 0 -9223372036854775681 GET i8 0"
        " SET i63 8 -9223372036854775808 GET i63 8 OVERFLOW FAIL SET i8 0 -9223372036854775808",
        "BITFIELD k GET u64 0|BITFIELD k GET i65 0|BITFIELD k GET u0 0|BITFIELD k GET U8 0|"
        "BITFIELD k GET u8|BITFIELD k GET",
        "BITFIELD k GET u8 -1|BITFIELD k GET u8 #-1|BITFIELD k GET u8 #|BITFIELD k GET u8 ##1|"
        "BITFIELD k GET u8 4294967296",
        "BITFIELD k GET u8 #536870911 GET u8 #536870912|BITFIELD k GET u8 #536870911|"
        "BITFIELD k GET u8 4294967295",
        "BITFIELD k SET u8 0 x|BITFIELD k SET u99 x x|BITFIELD k SET u8 x x|BITFIELD k SET u8 0|"
        "BITFIELD k OVERFLOW|BITFIELD k OVERFLOW FOO",
        "BITFIELD k SET u8 0 1 OVERFLOW FOO|EXISTS k|BITFIELD k SET u8 0 1 NOPE|EXISTS k|"
        "BITFIELD k SET u8 0 1 GET u8 x|EXISTS k",
        "BITFIELD_RO k SET u8 0 1|BITFIELD_RO k SET u8 0 x|BITFIELD_RO k OVERFLOW SAT GET u8 0|"
        "BITFIELD_RO k INCRBY u8 0 1 GET u8 x",
        "BITFIELD k SET i5 #3 -7 GET i5 #3 GET u5 #3 GET u8 15 GET i64 0|GET k|"
        "BITFIELD_RO k GET i5 15 GET i64 20 GET u63 500",
        "SETBIT|SETBIT k 1|GETBIT k|BITCOUNT|BITPOS k|BITOP AND d|BITFIELD|BITFIELD_RO|SETBIT k 1 1 1|"
        "GETBIT k 1 1",
        "MULTI|SETBIT k 1 1|BITFIELD k GET u8 0|BITOP NOT d k|EXEC|GET d",
    ],
)  # fmt: skip
def test_table(ours: Ours, theirs: Wire, line: str, resp: int) -> None:
    fresh(ours, theirs, resp)
    compare(ours, theirs, [list(map(str.encode, shlex.split(command))) for command in line.split("|")])


@pytest.mark.parametrize(
    "line",
    [
        "WATCH k|SETBIT k 0 0|MULTI|PING|EXEC",  # the key is made
        "SETBIT k 9 1|WATCH k|SETBIT k 9 1|SETBIT k 8 0|MULTI|PING|EXEC",  # nothing changes
        "SETBIT k 9 1|WATCH k|SETBIT k 9 0|MULTI|PING|EXEC",
        "SETBIT k 9 1|WATCH k|BITFIELD k SET u2 8 1 GET u8 0|MULTI|PING|EXEC",
        "SETBIT k 9 1|WATCH k|BITFIELD k OVERFLOW FAIL SET u2 8 9|MULTI|PING|EXEC",
        "SETBIT k 9 1|WATCH k|BITFIELD k SET u2 8 2|MULTI|PING|EXEC",
        "SET a x|WATCH a|BITOP AND d a|MULTI|PING|EXEC",  # an operand is only read
        "SET a x|WATCH d|BITOP AND d a|MULTI|PING|EXEC",
        "WATCH d|BITOP AND d a|MULTI|PING|EXEC",  # nothing there, nothing made
        "SET d x|WATCH d|BITOP AND d a|MULTI|PING|EXEC",
    ],
)  # fmt: skip
def test_what_counts_as_a_change(ours: Ours, theirs: Wire, line: str) -> None:
    fresh(ours, theirs, 2)
    compare(ours, theirs, [list(map(str.encode, shlex.split(command))) for command in line.split("|")])


@pytest.mark.slow
def test_the_last_bit_of_half_a_gigabyte(ours: Ours, theirs: Wire) -> None:
    fresh(ours, theirs, 3)
    compare(
        ours,
        theirs,
        [
            [b"SETBIT", b"k", b"4294967295", b"1"],
            [b"STRLEN", b"k"],
            [b"SETBIT", b"k", b"4294967296", b"1"],
            [b"GETBIT", b"k", b"4294967295"],
            [b"GETBIT", b"k", b"4294967294"],
            [b"BITPOS", b"k", b"1"],
            [b"BITPOS", b"k", b"0", b"-1"],
            [b"BITPOS", b"k", b"1", b"4294967295", b"-1", b"BIT"],
            [b"BITPOS", b"k", b"1", b"0", b"4294967294", b"BIT"],
            [b"BITCOUNT", b"k"],
            [b"BITCOUNT", b"k", b"-9223372036854775808", b"9223372036854775807", b"BIT"],
            # A field may begin at the last bit and end behind half a gigabyte.
            [b"BITFIELD", b"k", b"SET", b"u63", b"4294967295", b"9223372036854775807"],
            [b"STRLEN", b"k"],
            [b"BITFIELD", b"k", b"GET", b"u63", b"4294967295", b"GET", b"i64", b"4294967290"],
            [b"BITFIELD", b"k", b"GET", b"u8", b"4294967296"],
            [b"DEL", b"k"],
        ],
    )


@pytest.mark.parametrize("key", [b"short", b"x" * 70_000])
@given(data=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_long_names(ours: Ours, theirs: Wire, key: bytes, data: st.DataObject) -> None:
    fresh(ours, theirs, 2)
    commands = data.draw(st.lists(bit_commands, min_size=1, max_size=8))
    commands = [[key if word in (b"a", b"b") else word for word in command] for command in commands]
    compare(ours, theirs, [*commands, [b"GET", key], [b"STRLEN", data.draw(KEYS)]])
