"""Commands on keys and expiry give a real server's replies, byte by byte, in both protocols."""

import shlex

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.node.strategies import key_commands, string_commands
from tests.oracle import Ours, Wire, compare, fresh

pytestmark = pytest.mark.oracle

_KEYS = (b"a", b"b", b"c", b"", b"\x00\xff\r\n", b"{t}x", b"{t}y")
EVERYTHING = [
    *([b"GET", key] for key in _KEYS),
    *([b"PTTL", key] for key in _KEYS),
    *([b"PEXPIRETIME", key] for key in _KEYS),
    [b"KEYS", b"*"],
    *([b"SELECT", b"%d" % number] for number in (1, 2, 15)),
    [b"DBSIZE"],
]


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    commands=st.lists(st.one_of(key_commands, key_commands, string_commands), min_size=1, max_size=30),
    resp=st.sampled_from([2, 3]),
)
def test_random_sequences(ours: Ours, theirs: Wire, commands: list[list[bytes]], resp: int) -> None:
    fresh(ours, theirs, resp)
    compare(ours, theirs, [*commands, *EVERYTHING])


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize(
    "line",
    [
        "SET k v|DEL k n|DEL k|UNLINK k|MSET a 1 b 2|EXISTS a b a n|"
        "UNLINK a b n|DBSIZE|TOUCH a b|DEL|EXISTS|TOUCH",
        "TYPE k|SET k v|TYPE k|TYPE|"
        "TYPE k k|OBJECT ENCODING n|OBJECT REFCOUNT n|OBJECT IDLETIME n|OBJECT FREQ n",
        "TTL k|PTTL k|EXPIRETIME k|PEXPIRETIME k|SET k v|TTL k|PTTL k|EXPIRETIME k|PEXPIRETIME k|PERSIST k",
        "SET k v|EXPIRE k 100|TTL k|PERSIST k|TTL k|PERSIST k|PERSIST n|EXPIRE n 100|EXPIRE k 0|EXISTS k",
        "SET k v|EXPIRE k 100 NX|EXPIRE k 200 NX|TTL k|"
        "EXPIRE k 200 XX|TTL k|EXPIRE k 100 GT|EXPIRE k 300 GT|TTL k",
        "SET k v|EXPIRE k 100 XX|EXPIRE k 100 GT|TTL k|"
        "EXPIRE k 100 LT|TTL k|EXPIRE k 50 LT|EXPIRE k 90 LT|TTL k",
        "SET k v|EXPIRE k 100 NX XX|EXPIRE k 100 GT LT|"
        "EXPIRE k 100 NX GT|EXPIRE k 100 XX GT|EXPIRE k 100 FOO",
        "SET k v|EXPIRE k x|EXPIRE k 1.5|EXPIRE k 9223372036854775807|PEXPIRE k 9223372036854775807|TTL k",
        "SET k v|EXPIREAT k 4102444800|EXPIRETIME k|PEXPIREAT k 4102444800123|PEXPIRETIME k|EXPIRETIME k",
        "SET k v|EXPIREAT k 9223372036854775807|EXPIREAT k -9223372036854775808|EXPIREAT k 1|EXISTS k",
        "SET k v|PEXPIREAT k 1|GET k|SET k v|"
        "EXPIRE k -1|DBSIZE|SET k v|PEXPIRE k -9223372036854775808|DBSIZE",
        "SET a 1|RENAME a b|GET b|RENAME a b|RENAME b b|"
        "GET b|SET a 2 EX 100|RENAME a b|TTL b|GET b|RENAMENX b a",
        "SET a 1|SET b 2|RENAMENX a b|RENAMENX a a|RENAMENX n b|RENAME n n|RENAMENX n n|GET a|GET b",
        "SET a 1 EX 100|COPY a b|TTL b|COPY a b|COPY a b REPLACE|"
        "COPY a a|COPY n b|COPY a c DB 1|SELECT 1|GET c|TTL c",
        "SET a 1|COPY a a DB 1|COPY a a DB 1|COPY a a DB 1 REPLACE|"
        "COPY a b DB 16|COPY a b DB x|COPY a b DB|COPY a b X",
        "SET a 1 EX 100|MOVE a 1|MOVE a 1|SET a 2|MOVE a 1|SELECT 1|"
        "GET a|TTL a|MOVE a 1|MOVE a 16|MOVE a x|MOVE n 2",
        "SET a 1|SWAPDB 0 1|GET a|SELECT 1|GET a|"
        "SWAPDB 1 1|SWAPDB 0 16|SWAPDB x 1|SWAPDB 0 x|SWAPDB 0|DBSIZE",
        "SELECT 3|SET a 1|SELECT 0|SET a 2|FLUSHDB|DBSIZE|"
        "SELECT 3|DBSIZE|FLUSHALL ASYNC|DBSIZE|FLUSHDB X|FLUSHALL SYNC X",
        "MSET a 1 aa 2 b 3 'a*' 4|KEYS a*|KEYS a?|KEYS [ab]|KEYS 'a\\*'|"
        "KEYS *|KEYS nothing|KEYS ''|KEYS|KEYS a b",
        "RANDOMKEY|SET a 1|RANDOMKEY|DBSIZE x|"
        "RANDOMKEY x|OBJECT ENCODING a|OBJECT FREQ a|OBJECT REFCOUNT a x",
        "SCAN x|SCAN 0 COUNT 0|SCAN 0 COUNT x|SCAN 0 MATCH|"
        "SCAN 0 X 1|SCAN 0 COUNT -1|SCAN|SCAN -1|SCAN 0 TYPE",
        "SCAN 0|SCAN 0 COUNT 10 MATCH x|SCAN 0 TYPE string|SCAN 0 TYPE nothing|SCAN 18446744073709551616",
        "SET a 1|SCAN 0|SCAN 0 MATCH b|"
        "SCAN 0 MATCH a COUNT 1000|SCAN 0 TYPE string|SCAN 0 TYPE hash|SCAN 0 MATCH [a-b]",
    ],
)  # fmt: skip
def test_table(ours: Ours, theirs: Wire, line: str, resp: int) -> None:
    fresh(ours, theirs, resp)
    compare(ours, theirs, [list(map(str.encode, shlex.split(command))) for command in line.split("|")])


def scan_all(ours: Ours, *options: bytes) -> list[bytes]:
    cursor, found = b"0", []
    for _ in range(100_000):
        reply = ours.value(b"SCAN", cursor, *options)
        assert isinstance(reply, list)
        cursor, keys = reply
        found += keys
        if cursor == b"0":
            return found
    raise AssertionError("SCAN did not come back to 0")


@pytest.mark.slow
@pytest.mark.parametrize("count", [b"1", b"7", b"1000"])
def test_scan_finds_every_key_that_stays(ours: Ours, count: bytes) -> None:
    staying = {b"key:%d" % number for number in range(3000)}
    ours.pipeline([[b"SET", key, b"v"] for key in sorted(staying)])
    cursor, found, step = b"0", set(), 0
    while True:
        reply = ours.value(b"SCAN", cursor, b"COUNT", count)
        assert isinstance(reply, list)
        cursor, keys = reply
        found |= set(keys)
        if cursor == b"0":
            break
        # Others come and go meanwhile, so that tables grow and shrink under the cursor.
        step += 1
        ours.pipeline(
            [[b"SET", b"new:%d:%d" % (step, number), b"v"] for number in range(5)]
            + [[b"DEL", b"new:%d:%d" % (step - 3, number)] for number in range(5)]
        )
    assert staying <= found


def test_scan_filters(ours: Ours) -> None:
    ours.pipeline(
        [[b"SET", b"%s:%d" % (kind, number), b"v"] for kind in (b"a", b"b") for number in range(50)]
    )
    assert sorted(scan_all(ours, b"MATCH", b"a:*")) == sorted(b"a:%d" % number for number in range(50))
    assert sorted(scan_all(ours, b"MATCH", b"?:1", b"COUNT", b"3")) == [b"a:1", b"b:1"]
    assert scan_all(ours, b"TYPE", b"hash") == []
    assert len(scan_all(ours, b"TYPE", b"STRING")) == 100


def test_a_key_is_gone_when_its_time_comes(ours: Ours) -> None:
    ours.call(b"SET", b"k", b"v")
    ours.call(b"PEXPIREAT", b"k", b"%d" % (ours.engine.now_ms + 10_000))
    assert ours.value(b"TTL", b"k") == 10
    ours.engine.set_clock_ms(ours.engine.now_ms + 10_001)
    assert ours.session.feed(b"GET k\r\nEXISTS k\r\nTTL k\r\nDBSIZE\r\n") == b"$-1\r\n:0\r\n:-2\r\n:0\r\n"
