"""What OBJECT IDLETIME sees: which commands count as use, and that a client can leave no trace."""

from __future__ import annotations

from itertools import chain

import pytest

from node.commands import bits, hyperloglog, keys, lists, strings
from node.engine.engine import Engine
from node.engine.room import install_compiled
from node.engine.session import Session

START_MS = 1_700_000_000_000


def idle_s(session: Session) -> int:
    reply = session.feed(b"OBJECT IDLETIME k\r\n")
    assert reply.startswith(b":"), reply
    return int(reply[1:])


def make() -> tuple[Engine, Session]:
    engine = Engine(hash_key=b"0123456789abcdef", clock_ms=START_MS)
    install_compiled(engine.registry)
    for spec in chain(*(each.COMMANDS for each in (strings, bits, hyperloglog, lists, keys))):
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
