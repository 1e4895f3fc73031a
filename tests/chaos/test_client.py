"""chaos/client.py: each way a request can end, against servers that misbehave in exactly one way."""

from collections.abc import Awaitable, Callable

import pytest
import trio

from chaos.client import ClusterClient, Connection, ConnectionLost, NotConnected, Outcome
from chaos.topology import Address, SlotRange

Behaviour = Callable[[trio.SocketStream], Awaitable[None]]


async def serve(nursery: trio.Nursery, behaviour: Behaviour) -> Address:
    """A server on a free port that treats every connection with `behaviour`, then closes it."""
    listeners = await nursery.start(trio.serve_tcp, behaviour, 0)
    return Address("127.0.0.1", listeners[0].socket.getsockname()[1])


def answers(*replies: bytes) -> Behaviour:
    """Reads something, sends the next reply, and so on; then stays silent until the client leaves."""

    async def behave(stream: trio.SocketStream) -> None:
        for reply in replies:
            if not await stream.receive_some(65_536):
                return
            await stream.send_all(reply)
        while await stream.receive_some(65_536):
            pass

    return behave


async def closes_after_reading(stream: trio.SocketStream) -> None:
    await stream.receive_some(65_536)


async def refused_address() -> Address:
    """An address that nobody listens on: bound and closed again."""
    with trio.socket.socket() as closed:
        await closed.bind(("127.0.0.1", 0))
        port: int = closed.getsockname()[1]
    return Address("127.0.0.1", port)


async def write_to(address: Address) -> tuple[Outcome, str]:
    """One write, to a client that believes `address` owns everything."""
    async with ClusterClient([address], op_timeout_ms=60) as client:
        client.slots.learn([SlotRange(0, 16383, address, ())])
        answer = await client.write("SET", "k", "v", key=b"k")
        return answer.outcome, answer.detail


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (b"+OK\r\n", Outcome.ACKNOWLEDGED),
        (b"-CLUSTERDOWN Hash slot not served\r\n", Outcome.NOT_APPLIED),
        (b"-READONLY You can't write against a read only replica.\r\n", Outcome.NOT_APPLIED),
        (b"-LOADING dataset\r\n", Outcome.NOT_APPLIED),
        (b"-MOVED nonsense\r\n", Outcome.NOT_APPLIED),
        (b"-ERR something nobody expected\r\n", Outcome.UNKNOWN),
        (b"+OK\r\n+OK\r\n", Outcome.UNKNOWN),  # more replies than requests: the stream cannot be trusted
        (b"?\r\n", Outcome.UNKNOWN),
    ],
)
async def test_outcome_of_a_reply(reply: bytes, outcome: Outcome) -> None:
    async with trio.open_nursery() as nursery:
        assert (await write_to(await serve(nursery, answers(reply))))[0] is outcome
        nursery.cancel_scope.cancel()


async def test_refused_connection_is_not_applied() -> None:
    address = await refused_address()
    assert await write_to(address) == (Outcome.NOT_APPLIED, f"{address}: Connection refused")


async def test_silence_and_a_closed_connection_are_unknown() -> None:
    async with trio.open_nursery() as nursery:
        silent = await serve(nursery, answers())
        assert await write_to(silent) == (Outcome.UNKNOWN, f"{silent} did not answer within 60 ms")
        closing = await serve(nursery, closes_after_reading)
        outcome, detail = await write_to(closing)
        assert outcome is Outcome.UNKNOWN
        assert str(closing) in detail
        nursery.cancel_scope.cancel()


async def test_follows_moved_and_remembers_it() -> None:
    async with trio.open_nursery() as nursery:
        owner = await serve(nursery, answers(b"+OK\r\n", b"+OK\r\n"))
        other = await serve(nursery, answers(b"-MOVED 12539 %b\r\n" % str(owner).encode()))
        async with ClusterClient([other]) as client:
            client.slots.learn([SlotRange(0, 16383, other, ())])
            assert (await client.write("SET", "k", "v", key=b"k")).outcome is Outcome.ACKNOWLEDGED
            assert client.slots.owner(7629) == owner or client.slots.owner(12539) == owner
            # `other` has no second answer: this one must go straight to the owner
            client.slots.learn([SlotRange(0, 16383, owner, ())])
            assert (await client.write("SET", "k", "v", key=b"k")).outcome is Outcome.ACKNOWLEDGED
        nursery.cancel_scope.cancel()


async def test_follows_ask_once_and_sends_asking() -> None:
    seen = bytearray()

    async def target(stream: trio.SocketStream) -> None:
        while data := await stream.receive_some(65_536):
            seen.extend(data)
            if seen.endswith(b"$1\r\nv\r\n"):
                await stream.send_all(b"+OK\r\n+OK\r\n")

    async with trio.open_nursery() as nursery:
        importing = await serve(nursery, target)
        owner = await serve(nursery, answers(b"-ASK 7629 %b\r\n" % str(importing).encode()))
        async with ClusterClient([owner]) as client:
            client.slots.learn([SlotRange(0, 16383, owner, ())])
            assert (await client.write("SET", "k", "v", key=b"k")).outcome is Outcome.ACKNOWLEDGED
            assert set(client.slots.known) == {owner}
        assert seen.startswith(b"*1\r\n$6\r\nASKING\r\n")
        nursery.cancel_scope.cancel()


async def test_two_nodes_that_send_in_circles_end_as_not_applied() -> None:
    async with trio.open_nursery() as nursery:
        place = trio.Event()
        addresses: list[Address] = []

        def points_at(index: int) -> Behaviour:
            async def behave(stream: trio.SocketStream) -> None:
                await place.wait()
                while await stream.receive_some(65_536):
                    await stream.send_all(b"-MOVED 7629 %b\r\n" % str(addresses[index]).encode())

            return behave

        addresses += [await serve(nursery, points_at(1)), await serve(nursery, points_at(0))]
        place.set()
        outcome, detail = await write_to(addresses[0])
        assert outcome is Outcome.NOT_APPLIED
        assert "still redirected" in detail
        nursery.cancel_scope.cancel()


async def test_a_request_cut_short_closes_its_connection() -> None:
    async with trio.open_nursery() as nursery:
        address = await serve(nursery, answers())
        connection = await Connection.open(address, 500)
        with trio.move_on_after(0.01):
            await connection.request("GET", "a", timeout_ms=5_000)
        assert not connection.usable
        with pytest.raises(ConnectionLost):
            await connection.request("GET", "b", timeout_ms=50)
        nursery.cancel_scope.cancel()


async def test_open_names_who_refused() -> None:
    address = await refused_address()
    with pytest.raises(NotConnected, match=f"{address.port}: Connection refused"):
        await Connection.open(address, 500)


async def test_read_all_gives_up_with_the_reason() -> None:
    async with trio.open_nursery() as nursery:
        address = await serve(nursery, answers(*[b"-LOADING not yet\r\n"] * 50))
        async with ClusterClient([address], op_timeout_ms=20) as client:
            client.slots.learn([SlotRange(0, 16383, address, ())])
            with pytest.raises(TimeoutError, match=r"1 of 1 keys could not be read .*LOADING not yet"):
                await client.read_all([b"k"], limit_ms=50)
        nursery.cancel_scope.cancel()
