"""What OBJECT IDLETIME sees: which commands count as use, and that a client can leave no trace."""

from __future__ import annotations

import pytest

from node.commands import keys, strings
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
    for spec in (*strings.COMMANDS, *keys.COMMANDS):
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
