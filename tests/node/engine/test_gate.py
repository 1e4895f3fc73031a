"""Held replies: what waits, for which offset, in which order it leaves, and how it ends without."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from gossip.topology import ShardView
from node.durability import Durability
from node.engine.engine import Engine
from node.engine.session import Session
from node.replication.link import command_bytes as encode
from tests.node.replication.parts import Client, PartsNode, clients, running
from tests.waiting import until

WROTE, READ = b"UNKNOWN it may stay", b"TRYAGAIN not confirmed"


@pytest.fixture
def engine() -> Engine:
    node = PartsNode(())
    node.listener.close()
    node.engine.effects.activate()
    node.engine.gate.close(node.engine.effects.offset)
    return node.engine


def test_an_open_gate_holds_nothing() -> None:
    node = PartsNode(())
    node.listener.close()
    node.engine.effects.activate()
    session = Session(node.engine)
    assert session.feed(encode(b"SET", b"k", b"v")) == b"+OK\r\n"
    assert not node.engine.gate.closed
    assert node.engine.gate.settled


def test_a_write_waits_and_what_follows_queues_behind_it(engine: Engine) -> None:
    session = Session(engine)
    assert session.feed(encode(b"PING")) == b"+PONG\r\n"
    assert session.feed(encode(b"GET", b"k")) == b"$-1\r\n", "nothing is uncommitted yet"
    assert session.feed(encode(b"SET", b"k", b"v") + encode(b"PING")) == b""
    assert engine.keyspace.get(0, b"k") == b"v", "executed all the same"
    assert session.held_count == 1
    assert not engine.gate.settled
    assert not engine.gate.commit(engine.effects.offset - 1)
    assert session.take_output() == b""
    assert engine.gate.commit(engine.effects.offset)
    assert engine.gate.take_released() == [session]
    assert session.take_output() == b"+OK\r\n+PONG\r\n"
    assert session.held_count == 0


def test_each_reply_leaves_with_its_own_offset(engine: Engine) -> None:
    session = Session(engine)
    ends = []
    for number in range(3):
        assert session.feed(encode(b"SET", b"k%d" % number, b"v")) == b""
        ends.append(engine.effects.offset)
    for end in ends:
        engine.gate.commit(end)
        assert session.take_output() == b"+OK\r\n"


def test_a_read_shows_nothing_uncommitted_to_anybody(engine: Engine) -> None:
    writer, reader, other = Session(engine), Session(engine), Session(engine)
    writer.feed(encode(b"SET", b"k", b"v"))
    offset = engine.effects.offset
    assert reader.feed(encode(b"GET", b"k")) == b""
    assert reader.feed(encode(b"EXISTS", b"other")) == b"", (
        "held for any key: a list of changed keys costs more"
    )
    assert other.feed(encode(b"PING") + encode(b"ECHO", b"x")) == b"+PONG\r\n$1\r\nx\r\n"
    engine.effects.append_raw(encode(b"PING"))  # of the primary's own accord, after the write
    engine.gate.commit(offset)
    assert reader.take_output() == b"$1\r\nv\r\n:0\r\n"
    assert reader.feed(encode(b"GET", b"k")) == b"$1\r\nv\r\n", "a ping is nothing to wait for"


def test_a_transaction_waits_as_a_whole(engine: Engine) -> None:
    session = Session(engine)
    queued = session.feed(encode(b"MULTI") + encode(b"SET", b"k", b"v") + encode(b"GET", b"k"))
    assert queued == b"+OK\r\n+QUEUED\r\n+QUEUED\r\n"
    assert session.feed(encode(b"EXEC")) == b""
    engine.gate.commit(engine.effects.offset - 1)
    assert session.take_output() == b""
    engine.gate.commit(engine.effects.offset)
    assert session.take_output() == b"*2\r\n+OK\r\n$1\r\nv\r\n"


def test_replies_that_nobody_wants_are_not_held(engine: Engine) -> None:
    session = Session(engine)
    assert session.feed(encode(b"CLIENT", b"REPLY", b"OFF") + encode(b"SET", b"k", b"v")) == b""
    assert session.held_count == 0


def test_an_end_without_acknowledgement_says_what_is_known(engine: Engine) -> None:
    session, reader = Session(engine), Session(engine)
    session.feed(encode(b"SET", b"k", b"v"))
    engine.gate.commit(engine.effects.offset)
    commands = [(b"SET", b"k", b"w"), (b"PING",), (b"GET", b"k"), (b"MULTI",), (b"EXEC",)]
    assert session.feed(b"".join(encode(*words) for words in commands)) == b"+OK\r\n", "of the first SET"
    reader.feed(encode(b"GET", b"k"))
    assert engine.gate.end_held([session, reader], WROTE, READ) == 4
    assert set(engine.gate.take_released()) == {session, reader}
    assert session.take_output() == (
        b"-" + WROTE + b"\r\n+PONG\r\n-" + READ + b"\r\n+OK\r\n-" + WROTE + b"\r\n"
    )
    assert reader.take_output() == b"-" + READ + b"\r\n"
    assert engine.errors_by_code[b"UNKNOWN"] == 2
    engine.gate.commit(engine.effects.offset)
    assert session.feed(encode(b"GET", b"k")) == b"$1\r\nw\r\n"


def test_a_new_reign_trusts_nothing_it_finds(engine: Engine) -> None:
    session = Session(engine)
    session.feed(encode(b"SET", b"k", b"v"))
    engine.gate.commit(engine.effects.offset)
    assert engine.gate.take_released() == [session]
    assert session.take_output() == b"+OK\r\n"
    engine.gate.close(engine.effects.offset)
    assert session.feed(encode(b"GET", b"k")) == b""
    engine.gate.commit(engine.effects.offset)
    assert engine.gate.take_released() == [session]
    assert session.take_output() == b"$1\r\nv\r\n"


def test_opening_lets_everything_go(engine: Engine) -> None:
    session = Session(engine)
    session.feed(encode(b"SET", b"k", b"v"))
    engine.gate.open()
    assert engine.gate.take_released() == [session]
    assert session.take_output() == b"+OK\r\n"


def test_commits_never_fall(engine: Engine) -> None:
    engine.gate.commit(100)
    assert not engine.gate.commit(50)
    assert engine.gate.committed == 100


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_held_and_released_replies_never_shift(engine: Engine, seed: int) -> None:
    """Random commands of several clients, random commits: each client reads what an open gate would give."""
    dice = random.Random(seed)
    sessions = [Session(engine) for _ in range(4)]
    seen, expected, held = [b""] * 4, [b""] * 4, 0
    for number in range(400):
        who = dice.randrange(4)
        echo = b"%d" % number
        words = dice.choice([(b"SET", b"k", echo), (b"PING", echo), (b"GET", b"k"), (b"GET", b"none")])
        value = engine.keyspace.get(0, b"k")
        bulk = b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)
        expected[who] += {
            b"SET": b"+OK\r\n", b"PING": b"$%d\r\n%s\r\n" % (len(echo), echo),
            b"GET": bulk if words[1] == b"k" else b"$-1\r\n",
        }[words[0]]  # fmt: skip
        seen[who] += sessions[who].feed(encode(*words))
        if dice.random() < 0.3:
            engine.gate.commit(dice.randrange(engine.gate.committed, engine.effects.offset + 1))
            for session in engine.gate.take_released():
                seen[sessions.index(session)] += session.take_output()
        held += any(each.held_count for each in sessions)
    assert held > 50
    engine.gate.commit(engine.effects.offset)
    for index, session in enumerate(sessions):
        seen[index] += session.take_output()
    assert seen == expected


# -- through the pump ----------------------------------------------------------------------------------------


async def committed(node: PartsNode) -> None:
    node.engine.gate.commit(node.engine.effects.offset)
    node.pump.interrupt()


async def test_the_pump_sends_what_was_released_and_counts_what_is_held() -> None:
    async with running(1) as (node,), clients(node, node) as (writer, reader):
        node.engine.effects.activate()
        node.engine.gate.close(node.engine.effects.offset)
        await writer.send(b"SET", b"k", b"v")
        await writer.send(b"PING")
        await until(lambda: node.engine.gate.waiting_count > 0)
        with trio.move_on_after(0.05) as early:
            await writer.reply()
        assert early.cancelled_caught
        await committed(node)
        assert await writer.reply() == b"OK"
        assert await writer.reply() == b"PONG"
        node.pump.output_hard_limit_bytes = 1 << 20
        await writer.send(b"SET", b"big", b"x" * (600 << 10))
        await reader.send(b"GET", b"big")
        await reader.send(b"GET", b"big")
        with pytest.raises(trio.BrokenResourceError):
            await reader.reply()


async def test_a_held_pipeline_of_any_length_comes_through() -> None:
    async with running(1) as (node,), clients(node) as (client,):
        node.engine.effects.activate()
        node.engine.gate.close(node.engine.effects.offset)
        count, value = 3000, b"v" * 3000  # 9 MB of replies: more than execution runs ahead of sending

        async def send(client: Client) -> None:
            await client.stream.send_all(encode(b"SET", b"k", value) + encode(b"GET", b"k") * count)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, client)
            await until(lambda: node.engine.effects.offset > 0)
            await committed(node)
            assert await client.reply() == b"OK"
            for _ in range(count):
                assert await client.reply() == value


async def test_a_client_that_leaves_while_it_is_held_is_forgotten() -> None:
    async with running(1) as (node,), clients(node) as (other,):
        node.engine.effects.activate()
        node.engine.gate.close(node.engine.effects.offset)
        async with clients(node) as (client,):
            await client.send(b"SET", b"k", b"v")
            await until(lambda: node.engine.gate.waiting_count > 0)
            client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        await until(lambda: len(node.pump.sessions) == 1)
        assert node.engine.gate.end_held(node.pump.sessions.values(), WROTE, READ) == 0
        await committed(node)
        assert await other(b"GET", b"k") == b"v"


@asynccontextmanager
async def leading() -> AsyncIterator[tuple[PartsNode, Durability]]:
    """The primary of a shard that works by quorum, with a copy that has acknowledged nothing."""
    shard = ShardView("s", primary="p", in_sync=("p", "r"), epoch=1, quorum=True)
    async with running(1, "write-durability=quorum") as (node,):
        durability = Durability(
            node.engine, node.pump, node.replication, node.config, "p", trio_ms, changed=lambda: None
        )
        durability.lead(shard, deposed="")
        yield node, durability


def trio_ms() -> int:
    return int(trio.current_time() * 1000)


async def test_a_client_that_is_woken_as_the_primary_steps_down_is_not_told_of_success() -> None:
    async with leading() as (node, durability), clients(node) as (waiting,):
        await waiting.send(b"BLPOP", b"k", b"0")
        await until(lambda: node.engine.waiters.waiting_for(0, b"k"))
        # No turn of the pump lies between: keys that came with a slot, the beat, another primary.
        pushed = Session(node.engine)
        assert pushed.feed(encode(b"RPUSH", b"k", b"v")) == b""
        durability.step_down("another primary")
        reply = await waiting.reply()
        assert isinstance(reply, RuntimeError)
        assert str(reply).startswith("UNKNOWN applied here"), reply


async def test_a_reply_behind_one_that_may_leave_ends_with_the_primary_too() -> None:
    async with leading() as (node, durability), clients(node) as (client,):
        gate = node.engine.gate
        await client.send(b"SET", b"k", b"v")
        await until(lambda: gate.waiting_count == 1)
        first = node.engine.effects.offset
        await client.send(b"SET", b"k", b"w")
        await until(lambda: node.engine.effects.offset > first)
        assert gate.commit(first)
        durability.step_down("another primary")
        assert await client.reply() == b"OK"
        reply = await client.reply()
        assert isinstance(reply, RuntimeError)
        assert str(reply).startswith("UNKNOWN applied here"), reply


async def test_a_client_that_closes_its_side_is_told_when_its_write_is_committed() -> None:
    async with running(1) as (node,), clients(node) as (client,):
        node.engine.effects.activate()
        node.engine.gate.close(node.engine.effects.offset)
        await client.send(b"SET", b"k", b"v")
        await client.stream.send_eof()
        await until(lambda: node.engine.gate.waiting_count > 0)
        with trio.move_on_after(0.05) as early:
            await client.reply()
        assert early.cancelled_caught
        await committed(node)
        assert await client.reply() == b"OK"
        await until(lambda: not node.pump.sessions)


async def test_a_replica_that_was_told_to_acknowledges_every_batch() -> None:
    async with running(2) as (primary, replica), clients(primary) as (client,):
        await replica.follow(primary)
        primary.replication.feeder.ask_always(True)
        for number in range(20):
            assert await client(b"SET", b"k", b"%d" % number) == b"OK"
            (attached,) = primary.replication.feeder.source.attached()
            await until(lambda attached=attached: attached.ack_offset >= primary.replication.offset)  # type: ignore[misc]
        primary.replication.feeder.ask_always(False)
        session = replica.replication.follower.session
        assert session is not None
        await until(lambda: not session.acks_promptly)
