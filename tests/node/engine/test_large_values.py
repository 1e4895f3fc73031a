"""Large values: replies that share them with their keys, and arguments that become them.

Real sockets and a real pump, turned by hand, so that every interleaving is ours and time plays no part.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.engine.audit import audit
from node.engine.session import Session
from tests.oracle import Ours
from tests.protocol import request

LARGE = 16 * 1024  # from here on values are shared
SOCKET_BYTES = 8192  # hardly anything fits: replies wait in the node
PENDING_MAX = 3 << 20  # beyond 4 MiB the next command waits, and the model would have to


@dataclass
class Client:
    """One end of a socket pair whose other end the pump serves."""

    ours: Ours
    end: socket.socket
    session: Session
    expected: bytearray = field(default_factory=bytearray)
    read: bytearray = field(default_factory=bytearray)

    def send(self, *words: bytes) -> None:
        """Sends a command and lets the pump run it, whatever that needs; replies stay where they are."""
        data = memoryview(request(words))
        all_bytes = self.session.input_bytes + len(data)
        while self.session.input_bytes < all_bytes or self.session.query_buffered_bytes:
            with contextlib.suppress(BlockingIOError):
                data = data[self.end.send(data) :] if data else data
            self.ours.pump.run(0, 0)

    def receive(self, most: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self.read += self.end.recv(most)
        self.ours.pump.run(0, 0)

    def receive_all(self) -> bytes:
        while self.session.output_pending_bytes or len(self.read) < len(self.expected):
            self.receive(1 << 20)
        return bytes(self.read)


def connect(ours: Ours) -> Client:
    served, end = socket.socketpair()
    for one in (served, end):
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
    session = ours.connect()
    ours.pump.adopt(served.detach(), session)
    return Client(ours, end, session)


@pytest.fixture
def ours() -> Iterator[Ours]:
    made = Ours()
    yield made
    made.pump.close_all()


def settle(ours: Ours) -> None:
    while ours.engine.keyspace.free_some(1_000_000):
        pass


def bulk(value: bytes | None) -> bytes:
    return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


def text_of(length: int, seed: int) -> bytes:
    return (bytes((seed * 31 + index * 7) & 0xFF for index in range(251)) * (length // 251 + 1))[:length]


KEYS = st.sampled_from([b"a", b"b", b"c"])
PLACES = st.integers(-50_000, 50_000)
SIZES = st.sampled_from([0, 5, LARGE - 1, LARGE, LARGE + 1, 40_000, 200_000])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["set", "append", "getset"]), KEYS, SIZES),
        st.tuples(st.just("setrange"), KEYS, st.sampled_from([0, 3, LARGE - 2, 30_000])),
        st.tuples(st.sampled_from(["setbit", "del", "getdel", "expire", "persist", "lapse", "evict"]), KEYS),
        st.tuples(st.sampled_from(["rename", "copy"]), KEYS, KEYS),
        st.tuples(st.sampled_from(["flush", "move"])),
        st.tuples(st.sampled_from(["get", "mget", "transaction"]), st.integers(0, 2), KEYS, KEYS),
        st.tuples(st.just("getrange"), st.integers(0, 2), KEYS, PLACES, PLACES),
        st.tuples(st.just("read"), st.integers(0, 2), st.sampled_from([1, 100, 10_000, 1 << 20])),
        st.tuples(st.just("leave"), st.integers(0, 2)),
    ),
    max_size=40,
)  # fmt: skip


class Play:
    """One interleaving, and what each reader must see."""

    def __init__(self) -> None:
        self.ours = Ours()
        self.keyspace = self.ours.engine.keyspace
        self.writer = connect(self.ours)
        self.readers = [connect(self.ours) for _ in range(3)]
        self.values: dict[bytes, bytes] = {}
        self.seed = 0

    def write(self, *words: bytes) -> None:
        self.writer.send(*words)
        while self.writer.session.output_pending_bytes:
            self.writer.receive(1 << 20)

    def step(self, what: str, *given: object) -> None:
        getattr(self, "_" + what)(*given)
        assert audit(self.keyspace) == []

    def _set(self, key: bytes, size: int) -> None:
        self.seed += 1
        self.values[key] = text_of(size, self.seed)
        self.write(b"SET", key, self.values[key])

    def _getset(self, key: bytes, size: int) -> None:
        reader = self.readers[0]
        if reader.session.output_pending_bytes > PENDING_MAX:
            return
        self.seed += 1
        value = text_of(size, self.seed)
        reader.expected += bulk(self.values.get(key))
        reader.send(b"GETSET", key, value)
        self.values[key] = value

    def _append(self, key: bytes, size: int) -> None:
        self.seed += 1
        more = text_of(size, self.seed)
        self.values[key] = self.values.get(key, b"") + more
        self.write(b"APPEND", key, more)

    def _setrange(self, key: bytes, offset: int) -> None:
        old = self.values.get(key, b"").ljust(offset + 5, b"\0")
        self.values[key] = old[:offset] + b"patch" + old[offset + 5 :]
        self.write(b"SETRANGE", key, b"%d" % offset, b"patch")

    def _setbit(self, key: bytes) -> None:
        old = bytearray(self.values.get(key, b"").ljust(LARGE, b"\0"))
        old[LARGE - 1] |= 1
        self.values[key] = bytes(old)
        self.write(b"SETBIT", key, b"%d" % (LARGE * 8 - 1), b"1")

    def _del(self, key: bytes) -> None:
        self.values.pop(key, None)
        self.write(b"DEL", key)

    def _getdel(self, key: bytes) -> None:
        reader = self.readers[1]
        if reader.session.output_pending_bytes > PENDING_MAX:
            return
        reader.expected += bulk(self.values.pop(key, None))
        reader.send(b"GETDEL", key)

    def _expire(self, key: bytes) -> None:
        self.write(b"EXPIRE", key, b"100000")

    def _persist(self, key: bytes) -> None:
        self.write(b"PERSIST", key)

    def _lapse(self, key: bytes) -> None:
        self.keyspace.expire_at(0, key, 1)
        while self.keyspace.expire_some(1000):
            pass
        self.values.pop(key, None)
        assert not self.keyspace.exists(0, key)

    def _evict(self, _key: bytes) -> None:
        evictor = self.ours.engine.evictor
        evictor.set_policy("allkeys-random")
        evictor.set_limit(max(1, self.keyspace.memory()["used_bytes"] // 2))
        while evictor.evict_some():
            pass
        evictor.set_limit(0)
        self.values = {key: value for key, value in self.values.items() if self.keyspace.exists(0, key)}

    def _rename(self, key: bytes, other: bytes) -> None:
        if key in self.values:
            self.values[other] = self.values.pop(key)
        self.write(b"RENAME", key, other)

    def _copy(self, key: bytes, other: bytes) -> None:
        if key in self.values:
            self.values[other] = self.values[key]
        self.write(b"COPY", key, other, b"REPLACE")

    def _flush(self) -> None:
        self.values.clear()
        self.write(b"FLUSHALL")

    def _move(self) -> None:
        """There and back again: what is in the other database is forgotten."""
        self.write(b"SWAPDB", b"0", b"1")
        self.write(b"SWAPDB", b"0", b"1")

    def _get(self, who: int, key: bytes, _other: bytes) -> None:
        self._ask(who, [bulk(self.values.get(key))], b"GET", key)

    def _mget(self, who: int, key: bytes, other: bytes) -> None:
        both = [bulk(self.values.get(each)) for each in (key, other)]
        self._ask(who, [b"*2\r\n", *both], b"MGET", key, other)

    def _transaction(self, who: int, key: bytes, other: bytes) -> None:
        both = [bulk(self.values.get(each)) for each in (key, other)]
        self._ask(who, [b"+OK\r\n"], b"MULTI")
        self._ask(who, [b"+QUEUED\r\n"], b"GET", key, always=True)
        self._ask(who, [b"+QUEUED\r\n"], b"GET", other, always=True)
        self._ask(who, [b"*2\r\n", *both], b"EXEC", always=True)

    def _getrange(self, who: int, key: bytes, first: int, last: int) -> None:
        value = self.values.get(key, b"")
        begin = max(0, first + len(value) if first < 0 else first)
        end = max(0, last + len(value) if last < 0 else last) + 1
        part = b"" if first < 0 and last < 0 and first > last else value[begin:end]
        self._ask(who, [bulk(part)], b"GETRANGE", key, b"%d" % first, b"%d" % last)

    def _ask(self, who: int, replies: list[bytes], *words: bytes, always: bool = False) -> None:
        reader = self.readers[who]
        if always and not reader.session.in_transaction:
            return
        if not always and reader.session.output_pending_bytes > PENDING_MAX:
            return
        reader.expected += b"".join(replies)
        reader.send(*words)

    def _read(self, who: int, most: int) -> None:
        reader = self.readers[who]
        reader.receive(most)
        assert reader.expected.startswith(reader.read)

    def _leave(self, who: int) -> None:
        reader = self.readers[who]
        reader.end.close()
        while reader.session.id in self.ours.pump.sessions:
            self.ours.pump.run(0, 0)
        self.readers[who] = connect(self.ours)

    def end(self) -> None:
        for reader in self.readers:
            assert reader.receive_all() == reader.expected
        for key in (b"a", b"b", b"c"):
            assert self.keyspace.get(0, key) == self.values.get(key)
        assert self.keyspace.memory()["loose_bytes"] == 0
        assert audit(self.keyspace) == []
        self.write(b"FLUSHALL")
        settle(self.ours)
        assert self.keyspace.memory()["used_bytes"] == 0

    def close(self) -> None:
        for client in [self.writer, *self.readers]:
            client.end.close()
        self.ours.pump.close_all()


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_readers_see_each_value_as_it_was_and_all_memory_comes_back(steps: list[tuple[str, ...]]) -> None:
    play = Play()
    try:
        for what, *given_here in steps:
            play.step(what, *given_here)
        play.end()
    finally:
        play.close()


def test_twenty_readers_of_one_value_share_it(ours: Ours) -> None:
    value = text_of(3_000_000, 1)
    ours.call(b"SET", b"k", value)
    alone = ours.engine.keyspace.memory()["used_bytes"]
    clients = [connect(ours) for _ in range(20)]
    for client in clients:
        client.expected += bulk(value)
        client.send(b"GET", b"k")
    assert ours.engine.keyspace.memory()["used_bytes"] == alone
    assert sum(client.session.output_capacity_bytes for client in clients) < 1 << 20
    assert all(client.session.output_pending_bytes > 2_900_000 for client in clients)
    ours.call(b"DEL", b"k")
    settle(ours)
    memory = ours.engine.keyspace.memory()
    assert memory["loose_bytes"] == memory["used_bytes"] > 3_000_000
    for client in clients[1:]:
        assert client.receive_all() == client.expected
    clients[0].end.close()  # in the middle of it
    while clients[0].session.id in ours.pump.sessions:
        ours.pump.run(0, 0)
    assert ours.engine.keyspace.memory()["used_bytes"] == 0
    for client in clients[1:]:
        client.end.close()


def test_a_very_large_value_is_given_back_in_steps(ours: Ours) -> None:
    keyspace = ours.engine.keyspace
    ours.call(b"SET", b"k", bytes(20 << 20))
    ours.call(b"APPEND", b"k", b"x")
    assert audit(keyspace) == []
    ours.call(b"DEL", b"k")
    assert audit(keyspace) == []
    while keyspace.free_some(0):
        assert audit(keyspace) == []
    assert keyspace.memory()["used_bytes"] == 0


def test_pinned_bytes_count_as_unread_output(ours: Ours) -> None:
    ours.pump.output_hard_limit_bytes = 1_000_000
    ours.call(b"SET", b"k", text_of(1_500_000, 1))
    client = connect(ours)
    client.send(b"GET", b"k")
    ours.pump.run(0, 0)
    assert client.session.id not in ours.pump.sessions
    assert ours.engine.statistics()["output_limit_disconnections"] == 1
    assert ours.engine.keyspace.memory()["loose_bytes"] == 0
    client.end.close()


def test_muted_replies_and_errors_leave_no_pin(ours: Ours) -> None:
    value = text_of(100_000, 1)
    ours.call(b"SET", b"k", value)
    ours.feed(request([b"CLIENT", b"REPLY", b"SKIP"]))
    assert ours.feed(request([b"GET", b"k"])) == b""
    assert ours.session.pinned_bytes == 0
    assert ours.call(b"GET", b"k") == bulk(value)
    ours.call(b"DEL", b"k")
    assert ours.engine.keyspace.memory()["used_bytes"] == 0


def test_held_replies_keep_their_pins_and_errors_take_their_place(ours: Ours) -> None:
    old, new = text_of(50_000, 1), text_of(60_000, 2)
    engine = ours.engine
    engine.effects.activate()
    ours.call(b"SET", b"k", old)
    free = ours.connect()
    engine.gate.close(engine.effects.offset)
    engine.gate.commit(engine.effects.offset)
    assert ours.feed(request([b"GET", b"k"])) == bulk(old)
    for words in ([b"GETSET", b"k", new], [b"PING"], [b"GET", b"k"], [b"PING"]):
        assert ours.feed(request(words)) == b""
    assert ours.session.output_pending_bytes > 110_000
    assert audit(engine.keyspace) == []
    engine.gate.commit(engine.effects.offset)
    assert ours.session.take_output() == bulk(old) + b"+PONG\r\n" + bulk(new) + b"+PONG\r\n"
    assert engine.keyspace.memory()["loose_bytes"] == 0
    for words in ([b"SET", b"other", b"v"], [b"PING"], [b"GETSET", b"k", old], [b"PING"], [b"GET", b"k"]):
        assert ours.feed(request(words)) == b""
    assert engine.gate.end_held([ours.session], b"ERR wrote", b"ERR read") == 3
    engine.gate.open()
    assert engine.keyspace.memory()["loose_bytes"] == 0
    assert ours.session.take_output() == b"-ERR wrote\r\n+PONG\r\n-ERR wrote\r\n+PONG\r\n-ERR read\r\n"
    assert free.feed(request([b"GET", b"k"])) == bulk(old)
    assert audit(engine.keyspace) == []


def test_a_session_that_is_forgotten_gives_its_pins_back(ours: Ours) -> None:
    ours.call(b"SET", b"k", text_of(50_000, 1))
    engine = ours.engine
    session = ours.connect()
    engine.gate.close(engine.effects.offset + 1)
    session.feed(request([b"GET", b"k"]))
    engine.gate.open()
    assert session.pinned_bytes == 50_000
    ours.call(b"DEL", b"k")
    assert engine.keyspace.memory()["loose_bytes"] > 50_000
    engine.gate.take_released()
    del session
    assert engine.keyspace.memory()["used_bytes"] == 0


def test_one_turn_sends_a_bounded_amount_however_many_wait(ours: Ours) -> None:
    ours.call(b"SET", b"k", text_of(8_000_000, 1))
    clients = [connect(ours) for _ in range(30)]
    for client in clients:
        client.session.set_protocol(3)
        client.end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        client.send(b"GET", b"k")
    for _ in range(50):
        for client in clients:
            client.receive(100_000)
        before = sum(client.session.output_bytes for client in clients)
        ours.pump.run(0, 0)
        assert sum(client.session.output_bytes for client in clients) - before <= 30 * 65_536
    for client in clients:
        client.end.close()


# ------------------------------------------------------------------------------------------- arguments

WRITES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["SET", "APPEND", "GETSET", "SETNX"]), KEYS, SIZES),
        st.tuples(st.sampled_from(["MSET", "SETEX", "SETRANGE", "BREAK", "PAUSE", "MULTI"]), KEYS, SIZES),
    ),
    min_size=1,
    max_size=8,
)


def words_of(what: str, key: bytes, value: bytes) -> list[list[bytes]]:
    match what:
        case "MSET":
            return [[b"MSET", key, value, b"d", value[::-1], b"e", b"small"]]
        case "SETEX":
            return [[b"SETEX", key, b"1000", value]]
        case "SETRANGE":
            return [[b"SETRANGE", key, b"10", value]]
        case "BREAK":
            return [
                [b"SET", key, value, b"WHAT"],
                [b"LPUSH", key],
                [b"SET", value],
                [b"HSET", b"h", key, value],
            ]
        case "PAUSE":
            return [[b"CLIENT", b"PAUSE", b"1000000", b"WRITE"], [b"GET", key], [b"SET", key, value]]
        case "MULTI":
            return [[b"MULTI"], [b"SET", key, value], [b"APPEND", key, value], [b"EXEC"]]
        case _:
            return [[what.encode(), key, value]]


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(WRITES, st.lists(st.sampled_from([1, 30, 4_000, 16_390, 65_536, 1 << 20]), min_size=1, max_size=12))
def test_large_arguments_arrive_whole_however_they_are_cut(
    writes: list[tuple[str, bytes, int]], cuts: list[int]
) -> None:
    """One node is fed in pieces through a socket, the other command by command and complete."""
    pieces, whole = Ours(hash_key=b"k" * 16), Ours(hash_key=b"k" * 16)
    client, sent = connect(pieces), 0
    try:
        for seed, (what, key, size) in enumerate(writes):
            commands = words_of(what, key, text_of(size, seed))
            data = memoryview(b"".join(map(request, commands)))
            for words in commands:
                client.expected += whole.feed(request(words))
            at = 0
            for turn in range(10_000):
                if at == len(data) and not (
                    client.session.query_buffered_bytes and not client.session.stalled
                ):
                    break
                with contextlib.suppress(BlockingIOError):
                    at += client.end.send(data[at : at + (cuts[turn] if turn < len(cuts) else 65_536)])
                client.receive(1 << 20)
                assert pieces.engine.keyspace.memory()["loose_bytes"] <= 2 * (sent + at) + 4096
            sent += at
            assert audit(pieces.engine.keyspace) == []
            for node in (pieces, whole):
                node.engine.unpause()
            whole.session.resume()
            client.expected += whole.feed(b"")
            pieces.pump.resume_stalled()
            while client.session.query_buffered_bytes:
                client.receive(1 << 20)
        assert client.receive_all() == client.expected
        for name in (b"a", b"b", b"c", b"d", b"e"):
            assert pieces.engine.keyspace.get(0, name) == whole.engine.keyspace.get(0, name)
        assert pieces.engine.keyspace.memory()["loose_bytes"] == 0
        assert audit(pieces.engine.keyspace) == []
    finally:
        client.end.close()
        pieces.pump.close_all()


def test_an_argument_becomes_the_value_without_another_block(ours: Ours) -> None:
    client = connect(ours)
    keyspace = ours.engine.keyspace
    value = text_of(1_000_000, 1)
    data, at, most = request([b"SET", b"k", value]), 0, 0
    while client.session.command_count == 0:
        with contextlib.suppress(BlockingIOError):
            at += client.end.send(data[at:])
        ours.pump.run(0, 0)
        most = max(most, keyspace.memory()["used_bytes"])
    assert most < 1_010_000
    assert keyspace.get(0, b"k") == value
    assert client.session.query_capacity_bytes <= 512
    client.end.close()


@pytest.mark.parametrize("announced", [20_000, 1_000_000, 500_000_000])
def test_an_announced_length_costs_nothing_until_it_comes(ours: Ours, announced: int) -> None:
    keyspace = ours.engine.keyspace
    client = connect(ours)
    client.end.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n" % announced)
    client.receive(1)
    assert keyspace.memory()["used_bytes"] == 0
    client.end.sendall(b"x" * 5_000)
    client.receive(1)
    assert 5_000 < keyspace.memory()["used_bytes"] <= 12_288
    assert audit(keyspace) == []
    client.end.close()
    while client.session.id in ours.pump.sessions:
        ours.pump.run(0, 0)
    settle(ours)
    assert keyspace.memory()["used_bytes"] == 0


def test_arriving_arguments_count_for_the_query_buffer_limit(ours: Ours) -> None:
    ours.pump.query_buffer_limit_bytes = 200_000
    client = connect(ours)
    data = request([b"MSET", b"a", b"x" * 150_000, b"b", b"x" * 150_000])
    while client.session.id in ours.pump.sessions:
        with contextlib.suppress(BlockingIOError):
            data = data[client.end.send(data) :]
        ours.pump.run(0, 0)
    assert ours.engine.statistics()["query_limit_disconnections"] == 1
    assert ours.engine.keyspace.memory()["used_bytes"] == 0
    client.end.close()
