"""Datagrams and frames: sizes, cuts, refusals, and what the kernel reports about closed ports."""

import socket

import pytest
import trio
from trio.testing import memory_stream_pair

from chaos.ports import free_port
from gossip.errors import PeerError
from gossip.transport import Datagrams, FrameReader, family_of, is_refused, resolve, send_frame

LOCAL = "127.0.0.1"


@pytest.fixture
def pair() -> tuple[Datagrams, Datagrams]:
    return Datagrams(LOCAL, 0), Datagrams(LOCAL, 0)


async def test_datagrams_arrive_and_too_long_ones_show(pair: tuple[Datagrams, Datagrams]) -> None:
    one, other = pair
    assert list(other.receive(100, 10)) == []
    assert one.send(b"x" * 100, (LOCAL, other.port))
    assert one.send(b"y" * 300, (LOCAL, other.port))
    with trio.fail_after(2):
        await other.wait_readable()
    heard = list(other.receive(100, 10))
    assert [len(data) for data, _source in heard] == [100, 101]
    assert heard[0][1] == (LOCAL, one.port)
    one.close()
    other.close()


async def test_one_turn_reads_a_bounded_number(pair: tuple[Datagrams, Datagrams]) -> None:
    one, other = pair
    for _ in range(5):
        one.send(b"x", (LOCAL, other.port))
    assert len(list(other.receive(100, 3))) == 3
    assert len(list(other.receive(100, 3))) == 2
    one.close()
    other.close()


async def test_a_closed_port_is_reported_with_its_address(pair: tuple[Datagrams, Datagrams]) -> None:
    one, other = pair
    gone = other.port
    other.close()
    assert one.send(b"x", (LOCAL, gone))
    with trio.fail_after(2):
        await one.wait_readable()
    assert list(one.receive(100, 10)) == []
    assert one.unreachable == [(LOCAL, gone)]
    third = Datagrams(LOCAL, 0)
    one.send(b"x", (LOCAL, gone))
    assert one.send(
        b"after an error report", (LOCAL, third.port)
    )  # the report about another is not in the way
    assert [data for data, _source in third.receive(100, 10)] == [b"after an error report"]
    one.close()
    third.close()


@pytest.mark.parametrize("host", ["example.invalid", "", "::1", "999.0.0.1", "1.2.3.4\n"])
async def test_what_is_no_address_of_ours_is_not_sent_to(
    host: str, pair: tuple[Datagrams, Datagrams]
) -> None:
    assert not pair[0].send(b"x", (host, 7000))
    pair[0].close()
    pair[1].close()


async def test_names_are_resolved_and_addresses_kept() -> None:
    assert await resolve("10.1.2.3") == "10.1.2.3"
    assert family_of(await resolve("localhost")) in (socket.AF_INET, socket.AF_INET6)


async def test_frames_come_back_however_they_were_cut() -> None:
    sender, receiver = memory_stream_pair()
    frames = [b"", b"a", b"x" * 70_000]
    wire = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
    async with trio.open_nursery() as nursery:

        async def dribble() -> None:
            for at in range(0, len(wire), 777):
                await sender.send_all(wire[at : at + 777])
            await sender.aclose()

        nursery.start_soon(dribble)
        reader = FrameReader(receiver, 100_000)
        assert [await reader.next() for _ in frames] == frames
        assert await reader.next() is None


async def test_send_frame_is_what_the_reader_reads() -> None:
    sender, receiver = memory_stream_pair()
    await send_frame(sender, b"hello")
    assert await FrameReader(receiver, 10).next() == b"hello"


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (b"\x00\x00\x00\x0b", "size"),
        (b"\xff\xff\xff\xff", "size"),
        (b"\x00\x00", "malformed"),
        (b"\x00\x00\x00\x05", "malformed"),
        (b"\x00\x00\x00\x05abc", "malformed"),
    ],
)
async def test_broken_frames_are_the_peers_fault(wire: bytes, reason: str) -> None:
    sender, receiver = memory_stream_pair()
    await sender.send_all(wire)
    await sender.aclose()
    with pytest.raises(PeerError) as error:
        await FrameReader(receiver, 10).next()
    assert error.value.reason == reason


async def test_refused_accepted_and_silent_are_told_apart() -> None:
    port = free_port()
    assert await is_refused((LOCAL, port), 500) is True
    with socket.socket() as listener:
        listener.bind((LOCAL, port))
        listener.listen()
        assert await is_refused((LOCAL, port), 500) is False


async def test_no_answer_is_no_finding() -> None:
    with socket.socket() as listener, socket.socket() as first:
        listener.bind((LOCAL, 0))
        listener.listen(0)  # one connection fills the queue; the next is left without an answer
        first.connect(listener.getsockname())
        assert await is_refused(listener.getsockname(), 100) is None
