"""Waiting for keys: who is served, in which order, when; and every way in which waiting ends.

The command of these tests is a small queue of one: TAKE key... timeout takes a whole string, as BLPOP an
item.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.commands.table import KeySpec
from node.engine.reply import CommandError, Failure, Reply
from node.engine.session import Session
from node.engine.waiters import TYPE_LIST
from tests.node.engine.test_session import encode, make
from tests.oracle import Ours

TYPE_STRING = 0


def take(session: Session, args: list[bytes]) -> Reply:
    wait_ms = session.wait_ms(args[-1])
    keyspace = session.engine.keyspace
    for key in [session.ready_key] if session.ready_key is not None else args[1:-1]:
        value = keyspace.get(session.database, key)
        if value is not None:
            keyspace.delete(session.database, key)
            session.propagate([b"DEL", key])
            return [key, value]
    return session.block_on(args[1:-1], wait_ms, TYPE_STRING)


def take_or_gone(session: Session, args: list[bytes]) -> Reply:
    """As XREADGROUP: it wants to know when the key goes."""
    if session.engine.keyspace.get(session.database, args[1]) is None:
        raise CommandError("ERR gone")
    return session.block_on([args[1]], 0, TYPE_LIST, also_when_gone=True)


class Node(Ours):
    """The real engine and commands, and TAKE."""

    def __init__(self, *settings: str) -> None:
        super().__init__(*settings)
        self.engine.add_command(make("take", -3, take, "write blocking", keys=(KeySpec("RW", last=-2),)))
        self.engine.add_command(make("gone", 2, take_or_gone, "write blocking", keys=(KeySpec("RW"),)))
        self.at_ms = 1_000_000
        self.engine.set_clock_ms(self.clock_us() // 1000, self.at_ms)

    def _tell_time(self) -> None:
        self.engine.set_clock_ms(self.clock_us() // 1000, self.at_ms)

    def pass_time(self, ms: int) -> None:
        self.at_ms += ms
        self._tell_time()


@pytest.fixture
def node() -> Node:
    return Node()


def waiting(node: Node, *words: bytes) -> Session:
    """A client in the middle of TAKE."""
    client = node.connect()
    assert client.feed(encode(b"take", *words)) == b""
    assert client.blocked
    return client


def taken(key: bytes, value: bytes) -> bytes:
    return encode(key, value)


def test_what_is_there_is_taken_at_once(node: Node) -> None:
    assert node.call(b"SET", b"k", b"v") == b"+OK\r\n"
    assert node.connect().feed(encode(b"take", b"k", b"0")) == taken(b"k", b"v")
    assert node.engine.waiters.count == 0


def test_first_come_first_served(node: Node) -> None:
    clients = [waiting(node, b"k", b"0") for _ in range(3)]
    assert node.engine.waiters.waiting_for(0, b"k") == [client.id for client in clients]
    for index, client in enumerate(clients):
        assert node.call(b"SET", b"k", b"%d" % index) == b"+OK\r\n"
        assert client.take_output() == taken(b"k", b"%d" % index)
        assert not client.blocked
        assert node.call(b"EXISTS", b"k") == b":0\r\n"
    assert (node.engine.waiters.count, node.engine.waiters.pair_count) == (0, 0)


def test_who_is_served_goes_on_with_what_it_sent_meanwhile(node: Node) -> None:
    client = waiting(node, b"k", b"0")
    assert client.feed(b"PING\r\n") == b""
    node.call(b"SET", b"k", b"v")
    assert client.feed(b"") == taken(b"k", b"v") + b"+PONG\r\n"


def test_served_before_the_next_command_of_the_same_pipeline(node: Node) -> None:
    client = waiting(node, b"k", b"0")
    assert node.pipeline([[b"SET", b"k", b"v"], [b"GET", b"k"]]) == [b"+OK\r\n", b"$-1\r\n"]
    assert client.take_output() == taken(b"k", b"v")


def test_served_after_the_transaction_by_order_of_change(node: Node) -> None:
    client = waiting(node, b"a", b"b", b"0")
    replies = node.pipeline(
        [[b"MULTI"], [b"SET", b"b", b"1"], [b"SET", b"a", b"2"], [b"GET", b"b"], [b"EXEC"], [b"GET", b"b"]]
    )
    assert replies[-2:] == [b"*3\r\n+OK\r\n+OK\r\n$1\r\n1\r\n", b"$-1\r\n"]
    assert client.take_output() == taken(b"b", b"1")
    assert node.call(b"GET", b"a") == b"$1\r\n2\r\n"


def test_what_a_transaction_takes_back_serves_nobody(node: Node) -> None:
    client = waiting(node, b"k", b"0")
    node.pipeline([[b"MULTI"], [b"SET", b"k", b"1"], [b"DEL", b"k"], [b"EXEC"]])
    assert client.take_output() == b""
    assert client.blocked
    node.call(b"SET", b"k", b"2")
    assert client.take_output() == taken(b"k", b"2")


def test_in_a_transaction_nobody_waits(node: Node) -> None:
    replies = node.pipeline([[b"MULTI"], [b"take", b"k", b"0"], [b"EXEC"]])
    assert replies[-1] == b"*1\r\n*-1\r\n"
    assert node.engine.waiters.count == 0


def test_another_database_is_another_key(node: Node) -> None:
    client = waiting(node, b"k", b"0")
    node.pipeline([[b"SELECT", b"1"], [b"SET", b"k", b"other"]])
    assert client.blocked
    assert node.call(b"MOVE", b"k", b"0") == b":1\r\n"
    assert client.take_output() == taken(b"k", b"other")


def test_every_way_to_write_a_key_serves(node: Node) -> None:
    for commands in (
        [[b"APPEND", b"k", b"v"]],
        [[b"SET", b"x", b"v"], [b"RENAME", b"x", b"k"]],
        [[b"SET", b"x", b"v"], [b"COPY", b"x", b"k"]],
        [[b"MSET", b"y", b"1", b"k", b"v"]],
        [[b"SELECT", b"1"], [b"SET", b"k", b"v"], [b"SWAPDB", b"0", b"1"], [b"SELECT", b"0"]],
    ):
        client = waiting(node, b"k", b"0")
        node.pipeline(commands)
        assert client.take_output() == taken(b"k", b"v"), commands


def test_the_effect_is_the_command_that_does_not_wait(node: Node) -> None:
    node.engine.effects.activate()
    begun = node.engine.effects.offset
    waiting(node, b"k", b"0")
    node.call(b"SET", b"k", b"v")
    assert node.engine.effects.read(begun, 1 << 16) == (
        encode(b"SELECT", b"0") + encode(b"SET", b"k", b"v") + encode(b"DEL", b"k")
    )


def test_a_call_counts_once(node: Node) -> None:
    waiting(node, b"k", b"0")
    node.call(b"SET", b"k", b"v")
    command = node.engine.registry.get("take")
    assert command is not None
    assert command.calls == 1


def test_a_timeout_is_answered_and_not_before(node: Node) -> None:
    client = waiting(node, b"k", b"0.05")
    assert node.engine.waiters.next_deadline_ms == node.at_ms + 50
    node.pass_time(49)
    node.engine.expire_waiters()
    assert client.blocked
    node.pass_time(1)
    node.engine.expire_waiters()
    assert client.take_output() == b"*-1\r\n"
    assert (node.engine.waiters.count, node.engine.waiters.next_deadline_ms) == (0, 0)


def test_a_try_in_vain_keeps_place_and_deadline(node: Node) -> None:
    clients = [waiting(node, b"k", b"0.05"), waiting(node, b"k", b"0.05")]
    node.pass_time(30)
    node.pipeline([[b"MULTI"], [b"SET", b"k", b"1"], [b"DEL", b"k"], [b"EXEC"]])
    assert node.engine.waiters.waiting_for(0, b"k") == [client.id for client in clients]
    node.pass_time(20)
    node.engine.expire_waiters()
    assert [client.take_output() for client in clients] == [b"*-1\r\n"] * 2


@pytest.mark.parametrize(
    ("word", "error"),
    [
        (b"x", b"timeout is not a float or out of range"),
        (b" 1", b"timeout is not a float or out of range"),
        (b"nan", b"timeout is not a float or out of range"),
        (b"-0.5", b"timeout is negative"),
        (b"-inf", b"timeout is negative"),
        (b"inf", b"timeout is out of range"),
        (b"9223372036854775807", b"timeout is out of range"),
        (b"9223372036854775", b"timeout is out of range"),
    ],
)
def test_timeouts_that_make_no_sense(node: Node, word: bytes, error: bytes) -> None:
    assert node.call(b"take", b"k", word) == b"-ERR " + error + b"\r\n"


@pytest.mark.parametrize(("word", "ms"), [(b"0", 0), (b"0.0001", 1), (b"1e3", 1_000_000), (b"-0.0", 0)])
def test_timeouts_in_ms(node: Node, word: bytes, ms: int) -> None:
    assert node.session.wait_ms(word) == ms


def test_a_timeout_that_was_in_range_stays_so(node: Node) -> None:
    latest_ms = 2**63 - 1 - node.clock_us() // 1000
    timeout_s = b"%d.%03d" % divmod(latest_ms - 1_000, 1000)
    client = node.connect()
    assert client.feed(encode(b"BLPOP", b"k", timeout_s)) == b""
    stream = node.connect()
    assert stream.feed(encode(b"XREAD", b"BLOCK", b"%d" % (latest_ms - 1_000), b"STREAMS", b"x", b"$")) == b""
    node.engine.set_clock_ms(node.clock_us() // 1000 + 10_000, node.at_ms)
    assert node.engine.keyspace.now_ms > node.clock_us() // 1000
    pusher = Session(node.engine)
    assert pusher.feed(encode(b"RPUSH", b"k", b"v")) == b":1\r\n"
    assert client.take_output() == encode(b"k", b"v")
    pusher.feed(encode(b"XADD", b"x", b"1-1", b"f", b"v"))
    assert stream.take_output().startswith(b"*1\r\n*2\r\n$1\r\nx\r\n")


def test_other_types_serve_nobody_but_who_asks_for_it(node: Node) -> None:
    node.call(b"SET", b"k", b"v")
    client = node.connect()
    assert client.feed(encode(b"gone", b"k")) == b""
    node.call(b"APPEND", b"k", b"w")
    assert client.take_output() == b""
    node.call(b"DEL", b"k")
    assert client.take_output() == b"-ERR gone\r\n"


def test_who_leaves_is_forgotten(node: Node) -> None:
    first, second = waiting(node, b"k", b"x", b"0.05"), waiting(node, b"k", b"0")
    first.stop_waiting()
    assert node.engine.waiters.waiting_for(0, b"k") == [second.id]
    assert node.engine.waiters.waiting_for(0, b"x") == []
    node.call(b"SET", b"k", b"v")
    assert second.take_output() == taken(b"k", b"v")
    node.pass_time(60)
    node.engine.expire_waiters()
    assert first.take_output() == b""


def test_unblocked_from_outside(node: Node) -> None:
    client = waiting(node, b"k", b"0")
    client.unblock(Failure(b"UNBLOCKED client unblocked via CLIENT UNBLOCK"))
    assert client.take_output() == b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"
    assert node.engine.waiters.count == 0
    client.unblock(Failure(b"ERR twice"))
    assert client.take_output() == b""


def test_no_answer_for_who_wants_none(node: Node) -> None:
    client = node.connect()
    assert client.feed(encode(b"CLIENT", b"REPLY", b"OFF") + encode(b"take", b"k", b"0")) == b""
    node.call(b"SET", b"k", b"v")
    assert client.take_output() == b""
    assert client.feed(encode(b"CLIENT", b"REPLY", b"ON")) == b"+OK\r\n"


def test_a_replica_lets_writers_go(node: Node) -> None:
    client = waiting(node, b"k", b"0")
    node.engine.read_only = True
    node.engine.review_waiters()
    assert client.take_output() == (
        b"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n"
    )


def test_a_replica_serves_no_writer_from_what_its_primary_sends(node: Node) -> None:
    client = waiting(node, b"k", b"0")
    node.engine.effects.activate()
    node.engine.keyspace.follower = True
    offset = node.engine.effects.offset
    link = Session(node.engine)
    link.start_applying(offset)
    written = encode(b"SET", b"k", b"v")
    link.feed(written)
    assert client.take_output().startswith(b"-UNBLOCKED force unblock")
    assert node.engine.keyspace.get(0, b"k") == b"v"
    assert node.engine.effects.read(offset, 1000) == written, "the primary's stream, and nothing of ours"


def test_a_full_sync_serves_no_writer(node: Node) -> None:
    client = waiting(node, b"k", b"0")
    node.engine.keyspace.follower = True
    node.engine.keyspace.set(0, b"k", b"v", -1)  # as the snapshot has it
    node.engine.touch_database(-1)
    assert node.call(b"GET", b"k") == b"$1\r\nv\r\n"
    assert client.take_output().startswith(b"-UNBLOCKED force unblock")


def test_nobody_is_served_when_the_lease_has_ended() -> None:
    node = Node("cluster-enabled=yes")
    engine = node.engine
    engine.set_owners([b"10.0.0.1:7000"])
    engine.set_slot_range(0, 16383, 0)
    engine.set_self_owner(0, True)
    engine.lease_until_ms = node.at_ms + 10
    client = waiting(node, b"k", b"0")
    engine.keyspace.set(0, b"k", b"v", -1)
    engine.touch_key(0, b"k")
    node.pass_time(10)
    node.call(b"PING")
    assert client.take_output().startswith(b"-CLUSTERDOWN The primary's lease has ended")
    assert engine.keyspace.get(0, b"k") == b"v"


def test_a_slot_that_moves_takes_its_waiters_along() -> None:
    node = Node("cluster-enabled=yes")
    engine = node.engine
    engine.set_owners([b"10.0.0.1:7000", b"10.0.0.2:7000"])
    engine.set_slot_range(0, 16383, 0)
    engine.set_self_owner(0, True)
    clients = [waiting(node, key, b"0") for key in (b"a", b"b")]
    engine.review_waiters()
    assert all(client.blocked for client in clients)
    slot = engine.keyspace.slot_of(b"a")
    engine.set_slot_range(slot, slot, 1)
    engine.review_waiters()
    assert clients[0].take_output() == b"-MOVED %d 10.0.0.2:7000\r\n" % slot
    assert clients[1].blocked
    engine.lease_until_ms = node.at_ms + 10
    engine.review_waiters()
    assert clients[1].blocked
    node.pass_time(10)
    engine.review_waiters()
    assert clients[1].take_output().startswith(b"-CLUSTERDOWN The primary's lease has ended")
    assert engine.waiters.count == 0


def test_a_handler_that_breaks_when_it_runs_again_is_told_and_waits_no_more(node: Node) -> None:
    def fragile(session: Session, args: list[bytes]) -> Reply:
        if session.ready_key is not None:
            raise RuntimeError("a bug")
        return session.block_on([args[1]], 0, TYPE_STRING)

    node.engine.add_command(make("fragile", 2, fragile, "write blocking", keys=(KeySpec("RW"),)))
    client = node.connect()
    assert client.feed(encode(b"fragile", b"k")) == b""
    node.session.feed(encode(b"SET", b"k", b"v"))
    assert client.take_output().startswith(b"-ERR internal error in 'fragile'")
    assert [str(error) for error in node.errors] == ["a bug"]
    assert node.engine.waiters.count == 0


def test_one_that_is_served_may_make_another_ready(node: Node) -> None:
    def hand_on(session: Session, args: list[bytes]) -> Reply:
        keyspace = session.engine.keyspace
        value = keyspace.get(0, args[1])
        if value is None:
            return session.block_on([args[1]], 0, TYPE_STRING)
        keyspace.delete(0, args[1])
        keyspace.set(0, args[2], value)
        session.mark_changed()
        return value

    node.engine.add_command(make("handon", 3, hand_on, "write blocking", keys=(KeySpec("RW", last=2),)))
    first, second = node.connect(), node.connect()
    assert first.feed(encode(b"handon", b"a", b"b")) == b""
    assert second.feed(encode(b"handon", b"b", b"c")) == b""
    node.call(b"SET", b"a", b"v")
    assert (first.take_output(), second.take_output()) == (b"$1\r\nv\r\n", b"$1\r\nv\r\n")
    assert node.call(b"GET", b"c") == b"$1\r\nv\r\n"


@given(
    moves=st.lists(
        st.tuples(st.sampled_from(["wait", "write", "leave", "time"]), st.integers(0, 3), st.integers(0, 3)),
        max_size=60,
    )
)
def test_as_a_plain_model_says(moves: list[tuple[str, int, int]]) -> None:
    """Against lists: who waits for what, with what deadline, and gets which value."""
    node = Node()
    queue: list[tuple[Session, list[bytes], int]] = []
    for step, (move, one, two) in enumerate(moves):
        key, other = b"k%d" % one, b"k%d" % two
        if move == "wait":
            wait_ms = (one + two) * 10
            client = waiting(node, key, other, b"%.2f" % (wait_ms / 1000))
            queue.append((client, [key, other], node.at_ms + wait_ms if wait_ms else 0))
        elif move == "write":
            value = b"%d" % step
            node.call(b"SET", key, value)
            found = next((item for item in queue if key in item[1]), None)
            if found is None:
                node.call(b"DEL", key)
            else:
                assert found[0].take_output() == taken(key, value)
                queue.remove(found)
        elif move == "leave" and queue:
            queue.pop(one % len(queue))[0].stop_waiting()
        elif move == "time":
            node.pass_time(one * 7)
            node.engine.expire_waiters()
            for item in [item for item in queue if 0 < item[2] <= node.at_ms]:
                assert item[0].take_output() == b"*-1\r\n"
                queue.remove(item)
        assert node.engine.waiters.count == len(queue)
        assert node.engine.waiters.pair_count == sum(len(set(keys)) for _, keys, _ in queue)
        assert all(client.blocked for client, _, _ in queue)


def test_there_is_a_limit(node: Node) -> None:
    keys = [b"%d" % index for index in range(1 << 18)]
    clients = [waiting(node, *keys, b"0") for _ in range(4)]
    assert node.call(b"take", b"k", b"0").startswith(
        b"-ERR clients of this node wait for 1048576 keys already"
    )
    clients[0].stop_waiting()
    waiting(node, b"k", b"0")


def test_ends_of_waits_without_number_leave_no_deadlines_behind(node: Node) -> None:
    client = node.connect()
    for _ in range(5_000):
        assert client.feed(encode(b"take", b"k", b"1000")) == b""
        node.session.feed(encode(b"SET", b"k", b"v"))
        client.take_output()
    assert node.engine.waiters.count == 0
    assert node.engine.waiters.deadline_count <= 1025
