"""DUMP and RESTORE: a value goes to a real server and comes from it unchanged; damage is refused."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.engine.audit import audit
from node.engine.digest import digest
from node.engine.reply import Failure, Status
from tests.node.engine.test_crc64 import slow_crc64
from tests.oracle import Ours, Wire, compare, decoded, fresh

pytestmark = pytest.mark.oracle

SMALL = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(lambda number: b"%d" % number),
    st.integers(-5, 200).map(lambda number: b"%d" % number),
    st.binary(max_size=80),
)
KINDS = ("string", "hash", "list", "set", "stream", "zset")


def build(kind: str, elements: list[bytes]) -> list[list[bytes]]:
    """Commands that make key `k` of this type."""
    if kind == "string":
        return [[b"SET", b"k", elements[0]]]
    if kind == "hash":
        return [[b"HSET", b"k", element, bytes(reversed(element))] for element in elements]
    if kind == "set":
        return [[b"SADD", b"k", element] for element in elements]
    if kind == "list":
        return [[b"RPUSH", b"k", element] for element in elements]
    if kind == "zset":
        return [
            [
                b"ZADD",
                b"k",
                (b"%d", b"-%d.5", b"%de300", b"-inf")[number % 4].replace(b"%d", b"%d" % number),
                element,
            ]
            for number, element in enumerate(elements)
        ]
    if kind == "stream":
        return _stream(elements)
    raise ValueError(kind)


def _stream(elements: list[bytes]) -> list[list[bytes]]:
    """Entries of several shapes, some deleted; two groups, with and without something pending."""
    commands = [
        [
            b"XADD",
            b"k",
            b"%d-%d" % (1 + number // 3, 1 + number % 3),
            b"f",
            element,
            *([b"g", b"7"] * (number % 4 // 3)),
        ]
        for number, element in enumerate(elements)
    ]
    commands += [
        [b"XGROUP", b"CREATE", b"k", b"g1", b"0"],
        [b"XGROUP", b"CREATE", b"k", b"12", b"$", b"ENTRIESREAD", b"3"],
        [b"XREADGROUP", b"GROUP", b"g1", b"c1", b"COUNT", b"3", b"STREAMS", b"k", b">"],
        [b"XREADGROUP", b"GROUP", b"g1", b"5", b"COUNT", b"2", b"STREAMS", b"k", b">"],
        [b"XGROUP", b"CREATECONSUMER", b"k", b"g1", b"idle"],
        [b"XACK", b"k", b"g1", b"1-2"],
    ]
    return [*commands, *([b"XDEL", b"k", b"%d-1" % ms] for ms in range(2, 1 + len(elements) // 3, 3))]


def ask(ours: Ours, *words: bytes) -> object:
    (reply,) = ours.pipeline([list(words)])
    return decoded(reply)


def dumped(theirs: Wire, kind: str, elements: list[bytes]) -> bytes:
    theirs.pipeline([[b"DEL", b"k"], *build(kind, elements)])
    payload = decoded(theirs.pipeline([[b"DUMP", b"k"]])[0])
    assert isinstance(payload, bytes)
    return payload


@pytest.mark.slow
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(KINDS),
    elements=st.one_of(
        st.lists(SMALL, min_size=1, max_size=30),
        st.lists(
            st.integers(0, 2000).map(lambda number: b"%d" % number), min_size=1, max_size=700, unique=True
        ),
    ),
)
def test_there_and_back(ours: Ours, theirs: Wire, kind: str, elements: list[bytes]) -> None:
    fresh(ours, theirs, 2)
    payload = dumped(theirs, kind, elements)
    assert ask(ours, b"RESTORE", b"k", b"0", payload) == Status(b"OK")
    assert audit(ours.engine.keyspace) == []
    before = digest(ours.engine.keyspace)
    back = ask(ours, b"DUMP", b"k")
    assert isinstance(back, bytes)
    assert decoded(theirs.pipeline([[b"RESTORE", b"k2", b"0", back]])[0]) == Status(b"OK")
    again = decoded(theirs.pipeline([[b"DUMP", b"k2"]])[0])
    assert isinstance(again, bytes)
    assert ask(ours, b"RESTORE", b"k", b"0", again, b"REPLACE") == Status(b"OK")
    assert digest(ours.engine.keyspace) == before


def test_refusals(ours: Ours, theirs: Wire) -> None:
    fresh(ours, theirs, 2)
    good = dumped(theirs, "string", [b"value"])
    fresh(ours, theirs, 2)
    flipped = good[:-1] + bytes([good[-1] ^ 1])
    compare(
        ours,
        theirs,
        [
            [b"RESTORE", b"k", b"0", good],
            [b"GET", b"k"],
            [b"RESTORE", b"k", b"0", good],
            [b"RESTORE", b"k", b"0", flipped, b"REPLACE"],
            [b"RESTORE", b"k", b"-1", good, b"REPLACE"],
            [b"RESTORE", b"k", b"x", good, b"REPLACE"],
            [b"RESTORE", b"k", b"0", good, b"REPLACE", b"IDLETIME", b"-1"],
            [b"RESTORE", b"k", b"0", good, b"REPLACE", b"IDLETIME", b"10", b"FREQ", b"3"],
            [b"RESTORE", b"k", b"0", good, b"REPLACE", b"FREQ", b"256"],
            [b"RESTORE", b"k", b"0", good, b"REPLACE", b"FREQ", b"255"],
            [b"RESTORE", b"k", b"0", good, b"REPLACE", b"NOSUCH"],
            [b"RESTORE", b"k", b"1", good, b"REPLACE", b"ABSTTL"],
            [b"EXISTS", b"k"],
            [b"RESTORE", b"k", b"100000", good],
            [b"GET", b"k"],
            [b"RESTORE", b"k", b"0", b"", b"REPLACE"],
            [b"RESTORE", b"k", b"0", b"short", b"REPLACE"],
            [b"RESTORE", b"k"],
            [b"DUMP", b"missing"],
            [b"DUMP"],
        ],
    )


@pytest.mark.parametrize("read", [-1, -2, -5, -(2**63), 2**63 - 1])
def test_a_count_of_read_entries_that_cannot_be_is_unknown(ours: Ours, theirs: Wire, read: int) -> None:
    # Redis takes it over, and its own replicas refuse what XREADGROUP makes of it.
    fresh(ours, theirs, 2)
    theirs.pipeline([[b"XADD", b"k", b"1-1", b"f", b"v"], [b"XADD", b"k", b"2-1", b"f", b"v"]])
    theirs.pipeline([[b"XGROUP", b"CREATE", b"k", b"g", b"0", b"ENTRIESREAD", b"5"]])
    (reply,) = theirs.pipeline([[b"DUMP", b"k"]])
    body = decoded(reply)
    assert isinstance(body, bytes)
    body = body[:-8]
    assert body[-10:-2] == b"\x01\x01g\0\0\x05\0\0"
    body = body[:-5] + b"\x81" + struct.pack(">q", read) + body[-4:]
    payload = body + struct.pack("<Q", slow_crc64(body))
    for server in (ours, theirs):
        restored = server.pipeline([[b"RESTORE", b"k", b"0", payload, b"REPLACE"]])[0]
        assert decoded(restored) == Status(b"OK")
    effects = ours.engine.effects
    effects.activate()
    before = effects.offset
    for _ in range(2):
        ask(ours, b"XREADGROUP", b"GROUP", b"g", b"c", b"COUNT", b"1", b"STREAMS", b"k", b">")
    told = effects.read(before, 1 << 20)
    assert told is not None
    counts = [int(part.split(b"\r\n")[2]) for part in told.split(b"ENTRIESREAD")[1:]]
    assert counts == [1, 2]


def test_a_restored_idle_time_is_told(ours: Ours) -> None:
    ours.pipeline([[b"CONFIG", b"SET", b"maxmemory-policy", b"noeviction"], [b"SET", b"k", b"v"]])
    payload = ask(ours, b"DUMP", b"k")
    assert isinstance(payload, bytes)
    ask(ours, b"RESTORE", b"k", b"0", payload, b"REPLACE", b"IDLETIME", b"1000")
    idle = ask(ours, b"OBJECT", b"IDLETIME", b"k")
    assert isinstance(idle, int)
    assert 1000 <= idle <= 1010


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(KINDS),
    elements=st.lists(SMALL, min_size=1, max_size=20),
    seed=st.integers(0, 1 << 30),
)
def test_damage_behind_a_right_checksum(
    ours: Ours, theirs: Wire, kind: str, elements: list[bytes], seed: int
) -> None:
    fresh(ours, theirs, 2)
    body = dumped(theirs, kind, elements)[:-8]
    roll = random.Random(seed)
    for _ in range(20):
        damaged = bytearray(body)
        for _ in range(roll.randrange(1, 4)):
            damaged[roll.randrange(len(damaged))] = roll.randrange(256)
        if roll.random() < 0.3:
            del damaged[roll.randrange(1, len(damaged)) : -2]
        payload = bytes(damaged) + struct.pack("<Q", slow_crc64(bytes(damaged)))
        reply = ask(ours, b"RESTORE", b"k", b"0", payload, b"REPLACE")
        assert reply == Status(b"OK") or isinstance(reply, Failure), reply
        if isinstance(reply, Failure):
            assert b"Bad data format" in reply.text or b"version or checksum" in reply.text
        assert audit(ours.engine.keyspace) == []
