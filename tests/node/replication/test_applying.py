"""The stream of a primary in a session, without sockets: what is applied, counted and passed on, and when."""

from __future__ import annotations

import pytest

from node.commands.table import command
from node.engine.engine import Engine
from node.engine.reply import Reply
from node.engine.session import Session
from node.replication.link import command_bytes
from tests.node.replication.parts import PartsNode


@pytest.fixture
def engine() -> Engine:
    node = PartsNode(())
    node.listener.close()
    node.engine.effects.activate()
    node.engine.effects.reset(1000)
    node.engine.keyspace.follower = True
    return node.engine


def applying(engine: Engine) -> Session:
    session = Session(engine)
    session.start_applying(1000)
    return session


SET_A = command_bytes(b"SET", b"a", b"1")
SET_B = command_bytes(b"SET", b"b", b"2")
MULTI, EXEC = command_bytes(b"MULTI"), command_bytes(b"EXEC")


def test_the_stream_is_applied_in_silence_counted_and_passed_on(engine: Engine) -> None:
    session = applying(engine)
    stream = (
        command_bytes(b"SELECT", b"3") + SET_A + command_bytes(b"PING") + command_bytes(b"GET", b"nothing")
    )
    for at in range(len(stream)):
        assert session.feed(stream[at : at + 1]) == b""
    assert session.applied_offset == engine.effects.offset == 1000 + len(stream)
    assert engine.effects.read(1000, 1 << 20) == stream
    assert engine.keyspace.get(3, b"a") == b"1"


@pytest.mark.parametrize("piece_bytes", [1, 7, 1000])
def test_a_transaction_is_applied_when_all_of_it_is_there(engine: Engine, piece_bytes: int) -> None:
    session = applying(engine)
    stream = MULTI + SET_A + SET_B + EXEC
    for at in range(0, len(stream) - 1, piece_bytes):
        session.feed(stream[at : min(at + piece_bytes, len(stream) - 1)])
        assert engine.keyspace.size(0) == 0
        assert session.applied_offset == engine.effects.offset == 1000
    assert session.feed(stream[-1:] + SET_A) == b""
    assert engine.keyspace.size(0) == 2
    assert session.applied_offset == engine.effects.offset == 1000 + len(stream + SET_A)
    assert engine.effects.read(1000, 1 << 20) == stream + SET_A


def test_a_break_inside_a_transaction_goes_on_before_it(engine: Engine) -> None:
    session = applying(engine)
    session.feed(SET_A + MULTI + SET_B)
    assert session.applied_offset == 1000 + len(SET_A)
    again = Session(engine)
    again.start_applying(session.applied_offset)
    again.feed(MULTI + SET_B + EXEC)
    assert engine.keyspace.get(0, b"b") == b"2"
    assert engine.effects.read(1000, 1 << 20) == SET_A + MULTI + SET_B + EXEC


def test_errors_are_told_to_us_and_not_to_the_primary(engine: Engine) -> None:
    told: list[BaseException] = []
    engine.on_python_error = told.append
    session = applying(engine)
    wrong = command_bytes(b"NOSUCH", b"a") + command_bytes(b"GET") + command_bytes(b"INCR", b"a")
    assert session.feed(command_bytes(b"SET", b"a", b"x") + wrong + MULTI + wrong + EXEC + SET_B) == b""
    assert engine.keyspace.get(0, b"b") == b"2"
    assert [str(error).split("brought '")[1].split("'")[0] for error in told] == ["nosuch", "get", "incr"]


@pytest.mark.parametrize("within", [False, True])
def test_what_raises_ends_the_link_unacknowledged(engine: Engine, within: bool) -> None:
    def breaks(session: Session, args: list[bytes]) -> Reply:
        session.engine.keyspace.set(0, args[1], b"half")
        raise MemoryError("not enough")

    told: list[BaseException] = []
    engine.on_python_error = told.append
    engine.add_command(
        command("breaks", 2, "write", group="test", summary="-", since="1.0.0", handler=breaks)
    )
    session = applying(engine)
    session.acks_promptly = True
    assert session.feed(SET_A).startswith(b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n")
    broken = command_bytes(b"BREAKS", b"k")
    assert session.feed((MULTI + broken + SET_B + EXEC if within else broken) + SET_B) == b""
    session.acknowledge()
    assert session.take_output() == b""
    assert session.closing
    assert engine.keyspace.get(0, b"b") is None
    assert [str(error) for error in told] == ["not enough"]
    assert session.applied_failure == (
        "the primary's stream broke 'breaks', so this replica needs a new full copy: not enough"
    )


def test_what_looks_expired_here_is_still_there_for_the_primary(engine: Engine) -> None:
    session = applying(engine)
    engine.set_clock_ms(1_000_000)
    session.feed(command_bytes(b"SET", b"a", b"1", b"PXAT", b"999999"))
    reader = Session(engine)
    assert reader.feed(command_bytes(b"GET", b"a")) == b"$-1\r\n"
    session.feed(command_bytes(b"APPEND", b"a", b"2") + command_bytes(b"PERSIST", b"a"))
    assert reader.feed(command_bytes(b"GET", b"a")) == b"$2\r\n12\r\n"
