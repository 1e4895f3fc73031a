"""One sleep for clients and trio: nobody misses what it waits for, and nobody is kept waiting."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
import trio
import trio.lowlevel

from node.driving import drive_pump, epoll_of_trio
from node.engine import basics
from node.engine.engine import Engine
from node.engine.pump import Pump
from node.engine.reply import BLOCKED, OK, Reply
from node.engine.session import Session
from tests.node.engine.test_pump import encode, make, receive_exactly

PING = encode(b"PING")
PONG = b"+PONG\r\n"


class Driven:
    def __init__(self, pump: Pump, port: int) -> None:
        self.pump = pump
        self.engine = pump.engine
        self.port = port


@pytest.fixture
async def driven() -> AsyncIterator[Driven]:
    engine = Engine(hash_key=b"k" * 16, clock_ms=1_000)
    basics.install(engine.registry)
    engine.add_command(make("ping", -1, None))
    pump = Pump(engine)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        listener.setblocking(False)
        async with trio.open_nursery() as nursery:
            await nursery.start(drive_pump, pump)
            pump.listen(listener.fileno())
            yield Driven(pump, listener.getsockname()[1])
            pump.close_all()
            nursery.cancel_scope.cancel()


async def connect(driven: Driven) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", driven.port)


async def ask(stream: trio.SocketStream) -> None:
    await stream.send_all(PING)
    assert await receive_exactly(stream, len(PONG)) == PONG


async def test_clients_and_tasks_of_one_process_serve_each_other(driven: Driven) -> None:
    async with await connect(driven) as stream:
        for _ in range(50):
            await ask(stream)


async def test_a_deadline_ends_the_sleep(driven: Driven) -> None:
    begun = trio.current_time()
    await trio.sleep(0.03)  # what is tested is that time passes
    assert 0.03 <= trio.current_time() - begun < 5
    with trio.move_on_after(0.01) as scope:
        await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_thread_ends_the_sleep(driven: Driven) -> None:
    with trio.fail_after(10):
        assert await trio.to_thread.run_sync(lambda: trio.from_thread.run_sync(lambda: 7)) == 7


async def test_what_a_handler_wakes_runs_at_once(driven: Driven) -> None:
    # Nothing but the handler says so: no socket, no deadline.
    woken = trio.Event()

    def wake(_session: Session, _args: list[bytes]) -> Reply:
        woken.set()
        return OK

    driven.engine.add_command(make("wake", 1, wake))
    client = socket.create_connection(("127.0.0.1", driven.port))
    with client, trio.fail_after(10):
        client.sendall(encode(b"WAKE"))
        await woken.wait()


async def test_a_deadline_that_a_handler_sets_counts(driven: Driven) -> None:
    scope = trio.CancelScope()

    def hurry(_session: Session, _args: list[bytes]) -> Reply:
        scope.deadline = trio.current_time() + 0.02
        return BLOCKED

    driven.engine.add_command(make("hurry", 1, hurry))
    client = socket.create_connection(("127.0.0.1", driven.port))
    with client, trio.fail_after(30):
        client.sendall(encode(b"HURRY"))
        with scope:
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_task_that_never_waits_does_not_stop_clients(driven: Driven) -> None:
    async def busy() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    async with await connect(driven) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(busy)
        for _ in range(20):
            await ask(stream)
        nursery.cancel_scope.cancel()


async def test_the_descriptor_of_trio() -> None:
    left, right = trio.socket.socketpair()
    with left, right:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(left.recv, 1)
            await trio.testing.wait_all_tasks_blocked()
            fd = await epoll_of_trio()
            with open(f"/proc/self/fdinfo/{fd}") as info:  # noqa: ASYNC230 (the kernel's own)
                assert any(line.split()[1] == str(left.fileno()) for line in info if line.startswith("tfd:"))
            await right.send(b"x")
