"""What OBJECT IDLETIME sees: which commands count as use, and that a client can leave no trace."""

from __future__ import annotations

from itertools import chain

import pytest

from node.commands import (
    bits,
    hashes,
    hyperloglog,
    keys,
    lists,
    sets,
    sorted_sets,
    streams,
    strings,
    transactions,
)
from node.engine.engine import Engine
from node.engine.room import install_compiled
from node.engine.session import Session

START_MS = 1_700_000_000_000
FAMILIES = (strings, bits, hyperloglog, lists, hashes, sets, sorted_sets, streams, keys, transactions)


def idle_s(session: Session) -> int:
    reply = session.feed(b"OBJECT IDLETIME k\r\n")
    assert reply.startswith(b":"), reply
    return int(reply[1:])


def make() -> tuple[Engine, Session]:
    engine = Engine(hash_key=b"0123456789abcdef", clock_ms=START_MS)
    install_compiled(engine.registry)
    for spec in chain(*(each.COMMANDS for each in FAMILIES)):
        engine.add_command(spec)
    session = Session(engine)
    assert session.feed(b"SET k 1\r\n") == b"+OK\r\n"
    engine.set_clock_ms(START_MS + 100_000)
    return engine, session


def test_idle_time_is_in_seconds() -> None:
    engine, session = make()
    assert 98 <= idle_s(session) <= 101  # counted in 1,024 ms
    engine.set_clock_ms(START_MS + 10_000_000)
    assert 9_998 <= idle_s(session) <= 10_001


@pytest.mark.parametrize(
    "command", [b"GET k", b"TOUCH k", b"MGET k", b"STRLEN k", b"GETRANGE k 0 1", b"INCR k", b"APPEND k x"]
)
def test_use(command: bytes) -> None:
    _, session = make()
    session.feed(command + b"\r\n")
    assert idle_s(session) <= 1


@pytest.mark.parametrize("command", [b"TTL k", b"TYPE k", b"EXISTS k", b"OBJECT ENCODING k", b"SCAN 0"])
def test_a_look_is_no_use(command: bytes) -> None:
    _, session = make()
    session.feed(command + b"\r\n")
    assert idle_s(session) >= 98


def test_a_client_that_asked_leaves_no_trace_except_by_touch() -> None:
    _, session = make()
    session.no_touch = True
    session.feed(b"GET k\r\nMGET k\r\nCOPY k l\r\n")
    assert idle_s(session) >= 98
    session.feed(b"TOUCH k\r\n")
    assert idle_s(session) <= 1


@pytest.mark.parametrize(
    ("made", "read"),
    [
        ("SET k 1", "GETBIT k 1"),
        ("SET k 1", "BITCOUNT k"),
        ("SET k 1", "BITPOS k 1"),
        ("SET k 1", "BITFIELD k GET u8 0"),
        ("SET k 1", "BITFIELD_RO k GET u8 0"),
        ("SET k 1", "BITOP OR l k k"),
        ("PFADD k a", "PFCOUNT k n"),
        ("PFADD k a", "PFMERGE l k"),
        ("RPUSH k 1 2", "SORT k"),
        ("RPUSH k 1 2", "SORT_RO k BY w_* GET k"),
        ("SET k 1", "SORT names BY nosort GET *"),
    ],
)
def test_no_read_of_such_a_client_leaves_a_trace(made: str, read: str) -> None:
    engine, session = make()
    for command in ("RPUSH names k", "DEL k", made):
        session.feed(command.encode() + b"\r\n")
    engine.set_clock_ms(START_MS + 200_000)
    session.no_touch = True
    assert not session.feed(read.encode() + b"\r\n").startswith(b"-")
    assert idle_s(session) >= 98
    session.no_touch = False
    session.feed(read.encode() + b"\r\n")
    assert idle_s(session) <= 1


UNCHANGING = [
    ("SET k 1", "SETNX k 2"),
    ("SET k 1", "SET k 2 NX"),
    ("SET k 1", "PERSIST k"),
    ("SET k 1", "EXPIRE k 100 XX"),
    ("SADD k a b", "SADD k a"),
    ("SADD k a b", "SREM k c"),
    ("HSET k a 1", "HSETNX k a 2"),
    ("HSET k a 1", "HDEL k b"),
    ("ZADD k 1 a", "ZADD k NX 2 a"),
    ("ZADD k 1 a", "ZADD k GT 0 a"),
    ("RPUSH k a", "LREM k 0 b"),
    ("RPUSH k a", "LINSERT k BEFORE b c"),
    ("PFADD k a", "PFADD k a"),
    ("SET k 1", "GETEX k"),
]


@pytest.mark.parametrize("in_transaction", [False, True])
@pytest.mark.parametrize(("made", "write"), UNCHANGING)
def test_a_write_that_changes_nothing_is_a_use(made: str, write: str, in_transaction: bool) -> None:
    engine, session = make()
    for command in ("DEL k", made):
        session.feed(command.encode() + b"\r\n")
    engine.set_clock_ms(START_MS + 200_000)
    session.no_touch = True
    session.feed(write.encode() + b"\r\n")
    assert idle_s(session) >= 98
    session.no_touch = False
    assert session.feed(b"EXPIRE k x\r\n").startswith(b"-ERR")
    assert idle_s(session) >= 98
    session.feed(
        b"MULTI\r\n" + write.encode() + b"\r\nEXEC\r\n" if in_transaction else write.encode() + b"\r\n"
    )
    assert idle_s(session) <= 1


@pytest.mark.parametrize(("made", "write"), [*UNCHANGING, ("XADD k 1-1 a b", "XDEL k 9-9")])
def test_a_write_that_changes_nothing_is_one_use(made: str, write: str) -> None:
    engine, session = make()
    engine.evictor.set_policy("allkeys-lfu")
    engine.evictor.set_frequency(0, 0)  # every use counts
    for command in ("DEL k", made):
        session.feed(command.encode() + b"\r\n")
    before = int(session.feed(b"OBJECT FREQ k\r\n")[1:])
    session.feed(write.encode() + b"\r\n")
    assert int(session.feed(b"OBJECT FREQ k\r\n")[1:]) == before + 1
