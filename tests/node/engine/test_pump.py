"""The pump over real sockets: partial writes, limits, half commands, feeds, closing in every state."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import trio

from node.commands.table import CommandSpec, command
from node.engine import basics
from node.engine.engine import Engine
from node.engine.pump import Pump, boottime_ms
from node.engine.reply import BLOCKED, NO_REPLY, NOTED, OK, Reply
from node.engine.session import Session
from tests.waiting import until


def make(
    name: str, arity: int, handler: Callable[..., Reply] | None, flags: str = "loading stale", **more: Any
) -> CommandSpec:
    return command(name, arity, flags, group="test", summary="-", since="1.0.0", handler=handler, **more)


def encode(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


class Served:
    """A pump behind a listening socket, driven by a trio task."""

    def __init__(self, pump: Pump, port: int) -> None:
        self.pump = pump
        self.engine = pump.engine
        self.port = port
        self.streams: list[trio.SocketStream] = []

    async def connect(self) -> trio.SocketStream:
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        self.streams.append(stream)
        return stream


@pytest.fixture
def engine() -> Engine:
    engine = Engine(hash_key=b"k" * 16, clock_ms=1_000)
    basics.install(engine.registry)
    for name, arity in (("ping", -1), ("echo", 2)):
        engine.add_command(make(name, arity, None))
    engine.add_command(make("blob", 2, lambda _session, args: b"b" * int(args[1])))
    return engine


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        opened.listen(200)
        opened.setblocking(False)
        yield opened


@pytest.fixture
async def served(engine: Engine, listener: socket.socket) -> AsyncIterator[Served]:
    pump = Pump(engine)
    pump.listen(listener.fileno())

    async def drive() -> None:
        while True:
            await trio.lowlevel.wait_readable(pump.fileno())
            while pump.run(2_000, 0):
                await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drive)
        server = Served(pump, listener.getsockname()[1])
        yield server
        for stream in server.streams:
            await stream.aclose()
        nursery.cancel_scope.cancel()
    pump.close_all()


async def receive_exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    with trio.fail_after(10):
        while len(data) < count:
            piece = await stream.receive_some(count - len(data))
            if not piece:
                raise EOFError(f"ended after {len(data)} of {count} bytes")
            data += piece
    return data


async def receive_all(stream: trio.SocketStream) -> bytes:
    data = b""
    with trio.fail_after(10), contextlib.suppress(trio.BrokenResourceError):
        while piece := await stream.receive_some(65536):
            data += piece
    return data


async def test_a_request_is_answered(served: Served) -> None:
    stream = await served.connect()
    await stream.send_all(encode(b"PING"))
    assert await receive_exactly(stream, 7) == b"+PONG\r\n"


async def test_half_a_command_waits_and_others_go_on(served: Served) -> None:
    slow, quick = await served.connect(), await served.connect()
    await slow.send_all(b"*2\r\n$4\r\nECHO\r\n$5\r\nhe")
    await quick.send_all(encode(b"PING"))
    assert await receive_exactly(quick, 7) == b"+PONG\r\n"
    await slow.send_all(b"llo\r\n")
    assert await receive_exactly(slow, 11) == b"$5\r\nhello\r\n"


async def test_a_client_that_leaves_in_the_middle_is_forgotten(served: Served) -> None:
    stream = await served.connect()
    await stream.send_all(b"*2\r\n$4\r\nECHO\r\n$500\r\nhe")
    await until(lambda: len(served.pump.sessions) == 1)
    await stream.aclose()
    await until(lambda: not served.pump.sessions)


@pytest.mark.slow
async def test_a_client_that_closes_its_side_gets_its_replies(served: Served) -> None:
    read_bytes = 64 * 1024  # what the pump reads at once
    ping = encode(b"PING")
    most = ping * (read_bytes // len(ping))
    half = (ping + ping)[: read_bytes - len(most) or len(ping) - 1]
    for said, answers in (
        (ping, b"+PONG\r\n"),
        (
            most + half,
            b"+PONG\r\n" * (read_bytes // len(ping)),
        ),  # the buffer is full, and its end half a command
        (
            encode(b"BLOB", b"8000000") * 3 + ping,
            (b"$8000000\r\n" + b"b" * 8_000_000 + b"\r\n") * 3 + b"+PONG\r\n",
        ),
    ):
        stream = await served.connect()
        await stream.send_all(said)
        await stream.send_eof()
        assert await receive_all(stream) == answers
    await until(lambda: not served.pump.sessions)


async def test_replies_larger_than_any_socket_buffer_arrive_whole(served: Served) -> None:
    stream = await served.connect()
    size = 20_000_000
    await stream.send_all(encode(b"BLOB", b"%d" % size) + encode(b"PING"))
    head = b"$%d\r\n" % size
    data = await receive_exactly(stream, len(head) + size + 2 + 7)
    assert data == head + b"b" * size + b"\r\n+PONG\r\n"


async def test_a_client_that_sends_everything_before_it_reads_comes_through(served: Served) -> None:
    stream = await served.connect()
    count, word = 3_000, b"w" * 10_000
    with trio.fail_after(20):
        await stream.send_all(encode(b"ECHO", word) * count)  # 30 MB of replies wait by now
        reply = b"$10000\r\n" + word + b"\r\n"
        assert await receive_exactly(stream, len(reply) * count) == reply * count


async def test_a_request_of_many_megabytes(served: Served) -> None:
    stream = await served.connect()
    word = bytes(range(256)) * 40_000
    await stream.send_all(encode(b"ECHO", word))
    reply = b"$%d\r\n" % len(word) + word + b"\r\n"
    assert await receive_exactly(stream, len(reply)) == reply


async def test_a_protocol_error_is_told_and_the_connection_ends(served: Served) -> None:
    stream = await served.connect()
    await stream.send_all(b"*1\r\n$-5\r\n")
    assert await receive_all(stream) == b"-ERR Protocol error: invalid bulk length\r\n"
    await until(lambda: not served.pump.sessions)


async def test_too_many_clients_are_told_so(served: Served) -> None:
    served.pump.max_clients = 1
    first = await served.connect()
    await first.send_all(encode(b"PING"))
    await receive_exactly(first, 7)
    second = await served.connect()
    assert await receive_all(second) == b"-ERR max number of clients reached\r\n"
    assert served.engine.statistics()["rejected_connections"] == 1


@contextlib.contextmanager
def descriptors_below(limit: int) -> Iterator[None]:
    """This process gets no new ones from there on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def ask(pump: Pump, client: socket.socket) -> bytes:
    """PING's answer; the pump runs in this thread."""
    client.setblocking(False)
    client.sendall(encode(b"PING"))
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        pump.run(1_000, 0)
        with contextlib.suppress(BlockingIOError):
            return client.recv(100)
    raise TimeoutError("no answer")


def test_without_a_free_descriptor_a_client_is_turned_away(engine: Engine, listener: socket.socket) -> None:
    pump = Pump(engine)
    pump.listen(listener.fileno())
    with (
        socket.create_connection(listener.getsockname()) as client,
        contextlib.ExitStack() as taken,
        descriptors_below(client.fileno() + 8),
    ):
        with contextlib.suppress(OSError):
            while True:
                taken.callback(os.close, os.dup(client.fileno()))
        pump.run(1_000, 0)
        assert engine.statistics()["rejected_connections"] == 1
        assert client.recv(100) == b""
    with socket.create_connection(listener.getsockname()) as client:
        assert ask(pump, client) == b"+PONG\r\n"
    pump.close_all()


def test_who_cannot_even_be_turned_away_waits_until_there_is_a_descriptor(
    engine: Engine, listener: socket.socket
) -> None:
    pump = Pump(engine)
    pump.listen(listener.fileno())
    with socket.create_connection(listener.getsockname()) as client:
        with descriptors_below(3):  # what is given up is taken by somebody else at once
            pump.run(1_000, 0)
            pump.tick()
            pump.run(1_000, 0)
            assert not pump.run(1_000, 0), "nobody who waits in vain keeps the pump from its sleep"
        pump.tick()
        assert ask(pump, client) == b"+PONG\r\n"
        pump.unlisten(listener.fileno())
        pump.listen(listener.fileno())
        with socket.create_connection(listener.getsockname()) as other:
            assert ask(pump, other) == b"+PONG\r\n"
    pump.close_all()


async def test_the_query_buffer_has_a_limit(served: Served) -> None:
    served.pump.query_buffer_limit_bytes = 100_000
    stream = await served.connect()
    with contextlib.suppress(trio.BrokenResourceError):
        await stream.send_all(b"*2\r\n$4\r\nECHO\r\n$50000000\r\n" + b"x" * 5_000_000)
    await until(lambda: not served.pump.sessions)
    assert served.engine.statistics()["query_limit_disconnections"] == 1


async def test_the_output_buffer_has_a_limit(served: Served) -> None:
    served.pump.output_hard_limit_bytes = 1_000_000
    stream = await served.connect()
    await stream.send_all(encode(b"BLOB", b"50000000"))
    await until(lambda: served.engine.statistics()["output_limit_disconnections"] == 1)
    assert not served.pump.sessions


async def test_idle_clients_are_closed(served: Served) -> None:
    stream = await served.connect()
    await stream.send_all(encode(b"PING"))
    await receive_exactly(stream, 7)
    served.pump.idle_timeout_s = 0.01

    def ended() -> bool:
        served.pump.tick()
        return not served.pump.sessions

    await until(ended)
    assert await receive_all(stream) == b""


async def test_the_soft_limit_begins_anew_for_who_has_read_everything(served: Served) -> None:
    served.pump.output_soft_limit_bytes = 1_000
    served.pump.output_soft_limit_s = 3600  # nobody is closed: the session tells since when it is over it
    stream = await served.connect()
    size = 8_000_000  # more than the sockets hold
    read_ms = 0
    for _ in range(2):
        await until(lambda read_ms=read_ms: boottime_ms() > read_ms)
        await stream.send_all(encode(b"BLOB", b"%d" % size))
        await until(lambda: any(session.output_over_since_s for session in served.pump.sessions.values()))
        (session,) = served.pump.sessions.values()
        assert read_ms < session.output_over_since_s * 1000 <= boottime_ms()
        reply = await receive_exactly(stream, len(b"$%d\r\n" % size) + size + 2)
        assert reply.endswith(b"b\r\n")
        await until(lambda session=session: session.output_over_since_s == 0)
        read_ms = boottime_ms()


async def test_who_stays_over_the_soft_limit_is_closed(served: Served) -> None:
    served.pump.output_soft_limit_bytes = 1_000
    served.pump.output_soft_limit_s = 0.01
    stream = await served.connect()
    while not served.engine.statistics()["output_limit_disconnections"]:  # seen after requests
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(encode(b"BLOB", b"8000000"))
        await trio.lowlevel.checkpoint()
    assert not served.pump.sessions


async def test_who_sends_or_takes_bytes_is_not_idle(served: Served) -> None:
    add_take(served.engine)
    stream = await served.connect()
    await stream.send_all(encode(b"PING")[:-3])
    await until(lambda: len(served.pump.sessions) == 1)
    (session,) = served.pump.sessions.values()
    await until(lambda: session.input_bytes == 11)
    began_ms = session.active_ms
    await until(lambda: boottime_ms() > began_ms + 1)
    await stream.send_all(b"G")
    await until(lambda: session.input_bytes == 12)
    assert session.active_ms > began_ms, "half a command"
    await stream.send_all(b"\r\n" + encode(b"TAKE", b"k", b"0.02"))
    await until(lambda: served.engine.waiters.count == 1)
    deadline_ms = served.engine.waiters.next_deadline_ms
    assert await receive_exactly(stream, 12) == b"+PONG\r\n*-1\r\n"
    assert session.active_ms >= deadline_ms, "the answer, after a wait that was longer than timeout"


async def test_who_is_held_back_is_not_idle(served: Served) -> None:
    stream = await served.connect()
    served.engine.pause(1 << 60, True)
    await stream.send_all(encode(b"PING"))
    await until(lambda: any(session.stalled for session in served.pump.sessions.values()))
    began_ms = boottime_ms()
    served.pump.idle_timeout_s = 0.001
    await until(lambda: boottime_ms() > began_ms + 5)
    served.pump.tick()
    assert len(served.pump.sessions) == 1
    served.pump.idle_timeout_s = 0
    served.engine.unpause()
    served.pump.tick()
    assert await receive_exactly(stream, 7) == b"+PONG\r\n"


async def test_a_blocked_client_is_answered_from_outside(served: Served) -> None:
    waiting: list[Session] = []

    def wait(session: Session, _args: list[bytes]) -> Reply:
        waiting.append(session)
        return BLOCKED

    served.engine.add_command(make("wait", 1, wait))
    stream = await served.connect()
    await stream.send_all(encode(b"WAIT") + encode(b"PING"))
    await until(lambda: bool(waiting))
    waiting[0].unblock(3)
    assert await receive_exactly(stream, 11) == b":3\r\n+PONG\r\n"


async def test_a_blocked_client_that_leaves_is_told_of(served: Served) -> None:
    gone: list[Session] = []

    def wait(session: Session, _args: list[bytes]) -> Reply:
        session.on_resume = gone.append
        return BLOCKED

    served.engine.add_command(make("wait", 1, wait))
    stream = await served.connect()
    await stream.send_all(encode(b"WAIT"))
    await until(lambda: served.engine.statistics()["commands"] == 1)
    await stream.aclose()
    await until(lambda: len(gone) == 1)


def add_take(engine: Engine) -> None:
    """TAKE key timeout: waits for somebody to write a key (and nobody can)."""

    def take(session: Session, args: list[bytes]) -> Reply:
        return session.block_on([args[1]], session.wait_ms(args[2]), 0)

    engine.add_command(make("take", 3, take))


async def test_timeouts_come_without_anybody_asking(served: Served) -> None:
    # The only thing that drives this pump is its own descriptor.
    add_take(served.engine)
    patient, hasty, brief = [await served.connect() for _ in range(3)]
    await patient.send_all(encode(b"TAKE", b"k", b"0.06"))
    await until(lambda: served.engine.waiters.count == 1)
    await hasty.send_all(encode(b"TAKE", b"k", b"0.02"))
    await brief.send_all(encode(b"TAKE", b"k", b"0.001"))
    begun = trio.current_time()
    assert await receive_exactly(brief, 5) == b"*-1\r\n"
    assert await receive_exactly(hasty, 5) == b"*-1\r\n"
    assert served.engine.waiters.count == 1
    assert await receive_exactly(patient, 5) == b"*-1\r\n"
    assert trio.current_time() - begun > 0.03
    assert served.engine.waiters.next_deadline_ms == 0


async def test_a_timeout_comes_after_one_that_nobody_waited_for_any_more(served: Served) -> None:
    add_take(served.engine)
    leaves, stays = [await served.connect() for _ in range(2)]
    await leaves.send_all(encode(b"TAKE", b"k", b"0.05"))
    await until(lambda: served.engine.waiters.count == 1)
    deadline_ms = served.engine.waiters.next_deadline_ms
    await leaves.aclose()
    await until(lambda: served.engine.waiters.count == 0)
    await until(lambda: served.engine.monotonic_now_ms >= deadline_ms)  # the turn that the timer began
    await stays.send_all(encode(b"TAKE", b"k", b"0.01"))
    assert await receive_exactly(stays, 5) == b"*-1\r\n"


async def test_who_leaves_while_it_waits_for_a_key_is_forgotten(served: Served) -> None:
    add_take(served.engine)
    leaves, killed = [await served.connect() for _ in range(2)]
    for stream in (leaves, killed):
        await stream.send_all(encode(b"TAKE", b"k", b"0"))
    await until(lambda: served.engine.waiters.count == 2)
    await leaves.aclose()
    await until(lambda: served.engine.waiters.count == 1)
    (session,) = served.pump.sessions.values()
    served.pump.close(session, "killed")
    assert served.engine.waiters.count == 0
    assert await receive_all(killed) == b""


@pytest.fixture
def saturated(engine: Engine) -> Iterator[tuple[Pump, socket.socket]]:
    """A pump, not driven, and a client whose pipeline does not end."""
    pump = Pump(engine)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    pump.adopt(ours.detach(), Session(engine))
    with theirs:
        while True:
            try:
                theirs.send(encode(b"PING") * 10_000)
            except BlockingIOError:
                break
        yield pump, theirs
        pump.close_all()


LONG_US = 60_000_000


def test_others_get_their_turn_after_the_one_that_is_under_way(
    saturated: tuple[Pump, socket.socket],
) -> None:
    # Counted in commands: on a busy machine time says nothing about us.
    pump, _ = saturated
    pump.commands_per_turn = 50
    said, hears = socket.socketpair()
    with said, hears:
        pump.watch_others(hears.fileno())
        said.send(b"x")
        assert pump.run(LONG_US, 0)
        assert 0 < pump.engine.statistics()["commands"] <= 50
        assert pump.run(LONG_US, LONG_US)  # nor does it sleep then
        assert pump.engine.statistics()["commands"] <= 100


def test_the_callers_deadline_counts_however_busy_clients_are(saturated: tuple[Pump, socket.socket]) -> None:
    pump, _ = saturated
    pump.commands_per_turn = 50
    assert pump.run(LONG_US, 1)  # a turn takes longer than 1 us
    assert 0 < pump.engine.statistics()["commands"] <= 50


@pytest.mark.parametrize(("answer", "left_early"), [(NO_REPLY, True), (NOTED, False)])
def test_a_handler_in_python_ends_the_run_unless_it_says_that_it_set_no_deadline(
    saturated: tuple[Pump, socket.socket], answer: Reply, left_early: bool
) -> None:
    pump, _theirs = (
        saturated  # nobody reads its replies: what it sent is executed, and then there is nothing to do
    )
    pump.engine.add_command(make("note", 1, lambda _session, _args: answer))
    other, mine = socket.socketpair()
    other.setblocking(False)
    pump.adopt(other.detach(), Session(pump.engine))
    with mine:
        mine.send(encode(b"NOTE"))
        assert pump.run(LONG_US, 0) is left_early


def test_the_longest_turn_is_known(engine: Engine) -> None:
    pump = Pump(engine)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    pump.adopt(ours.detach(), Session(engine))

    def dwell(_session: Session, _args: list[bytes]) -> Reply:
        until_s = time.monotonic() + 0.02
        while time.monotonic() < until_s:
            pass
        return OK

    engine.add_command(make("dwell", 1, dwell))
    with theirs:
        for _ in range(3):  # the first 10 ms tell how long a tick is
            theirs.send(encode(b"DWELL"))
            pump.run(LONG_US, 0)
            pump.run(LONG_US, 0)
        turns, total_us, longest_us = pump.take_turns()
        assert turns > 3
        assert total_us >= longest_us >= 19_000
        assert pump.take_turns() == (0, 0, 0)
    pump.close_all()


def test_others_that_a_command_wakes_get_their_turn_after_it(saturated: tuple[Pump, socket.socket]) -> None:
    pump, _theirs = saturated
    calls: list[int] = []

    def wake(session: Session, _args: list[bytes]) -> Reply:
        pump.leave_soon()
        calls.append(session.engine.statistics()["commands"])
        return OK

    pump.engine.add_command(make("wake", 1, wake))
    pump.commands_per_turn = 50
    other, mine = socket.socketpair()
    other.setblocking(False)
    pump.adopt(other.detach(), Session(pump.engine))
    with mine:
        mine.send(encode(b"WAKE"))
        assert pump.run(LONG_US, 0)
        assert pump.engine.statistics()["commands"] - calls[0] <= 50


async def test_who_never_reads_costs_a_bounded_amount(served: Served) -> None:
    """Replies pile up to 4 MiB and one reply; then nothing of it runs and its input waits, up to a limit."""
    served.pump.query_buffer_limit_bytes = 1 << 20
    deaf, other = await served.connect(), await served.connect()
    async with trio.open_nursery() as nursery:

        async def flood() -> None:
            with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                while True:
                    await deaf.send_all(encode(b"BLOB", b"1000000") * 1000)

        nursery.start_soon(flood)
        await until(lambda: served.engine.statistics()["query_limit_disconnections"] == 1)
        nursery.cancel_scope.cancel()
    assert served.engine.statistics()["commands"] < 200  # 4 MiB, and what its socket took
    await other.send_all(encode(b"PING"))
    assert await receive_exactly(other, 7) == b"+PONG\r\n"
    await until(lambda: len(served.pump.sessions) == 1)
    (left,) = served.pump.sessions.values()
    assert left.output_capacity_bytes + left.query_capacity_bytes < 1 << 17


async def test_the_parts_of_a_large_value_need_no_turn_each(saturated: tuple[Pump, socket.socket]) -> None:
    pump, _ = saturated
    client, other = socket.socketpair()
    other.setblocking(False)
    client.setblocking(False)
    pump.adopt(other.detach(), session := Session(pump.engine))
    with client:
        whole = encode(b"ECHO", b"x" * 10_000_000)
        at, turns = 0, 0
        while session.command_count == 0:
            with contextlib.suppress(BlockingIOError):
                while at < len(whole):
                    at += client.send(memoryview(whole)[at : at + 50_000])
            taken = session.input_bytes
            pump.run(0, 0)
            assert session.input_bytes - taken <= 3 << 20  # others come between
            turns += 1
        assert turns < 400
        assert session.query_capacity_bytes < 1 << 17


async def test_one_greedy_pipeline_does_not_hold_up_another_client(served: Served) -> None:
    served.pump.commands_per_turn = 50
    greedy, modest = await served.connect(), await served.connect()
    count = 20_000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(greedy.send_all, encode(b"PING") * count)
        await until(lambda: served.engine.statistics()["commands"] > 50)
        await modest.send_all(encode(b"PING"))
        assert await receive_exactly(modest, 7) == b"+PONG\r\n"
        between = served.engine.statistics()["commands"]
        assert await receive_exactly(greedy, 7 * count) == b"+PONG\r\n" * count
    assert between <= count + 1


def add_feed_commands(engine: Engine) -> None:
    """TOUCH1 key: a write that changes nothing. FOLLOW: its client is a replica from here on."""

    def touch(session: Session, _args: list[bytes]) -> Reply:
        session.mark_changed()
        return 1

    def follow(session: Session, _args: list[bytes]) -> Reply:
        session.start_feed(engine.effects.offset)
        return b"go"

    engine.add_command(make("touch1", 2, touch, "write"))
    engine.add_command(make("follow", 1, follow))


async def test_a_feed_gets_the_stream_before_the_writer_gets_its_reply(served: Served) -> None:
    add_feed_commands(served.engine)
    served.engine.effects.activate()
    replica, writer = await served.connect(), await served.connect()
    await replica.send_all(encode(b"FOLLOW"))
    assert await receive_exactly(replica, 8) == b"$2\r\ngo\r\n"
    await writer.send_all(encode(b"TOUCH1", b"k"))
    expected = encode(b"SELECT", b"0") + encode(b"TOUCH1", b"k")
    assert await receive_exactly(replica, len(expected)) == expected
    assert await receive_exactly(writer, 4) == b":1\r\n"
    assert [feed.feed_offset for feed in served.pump.feeds] == [served.engine.effects.offset]


async def test_a_feed_that_falls_behind_the_ring_is_closed(served: Served) -> None:
    add_feed_commands(served.engine)
    served.engine.effects.resize(1 << 16)
    served.engine.effects.activate()
    reasons: list[str] = []
    served.pump.on_close = lambda session: reasons.append(session.close_reason)
    replica, writer = await served.connect(), await served.connect()
    await replica.send_all(encode(b"FOLLOW"))
    await receive_exactly(replica, 8)
    big = encode(b"TOUCH1", b"v" * 1_000_000)
    for _ in range(20):  # far more than the sockets hold; the replica does not read
        await writer.send_all(big)
        await receive_exactly(writer, 4)
    await until(lambda: bool(reasons))
    assert "fell behind the backlog" in reasons[0]


async def test_an_expired_lease_drops_replies(served: Served) -> None:
    def stall(session: Session, _args: list[bytes]) -> Reply:
        # As if the process had been frozen here: the lease is over when the reply should leave.
        served.engine.lease_until_ms = served.engine.monotonic_now_ms
        return 1

    served.engine.add_command(make("stall", 1, stall))
    served.pump.tick()
    served.engine.lease_until_ms = served.engine.monotonic_now_ms + 100_000
    stream = await served.connect()
    await stream.send_all(encode(b"STALL"))
    assert await receive_all(stream) == b""


async def test_close_all_ends_everything(served: Served) -> None:
    streams = [await served.connect() for _ in range(5)]
    await until(lambda: len(served.pump.sessions) == 5)
    served.pump.close_all()
    for stream in streams:
        assert await receive_all(stream) == b""
    assert served.pump.sessions == {}
