"""What a stream's groups have pending comes to a snapshot bit by bit, as it was when that began."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator

import pytest

from node.engine.audit import audit
from node.engine.keyspace import Keyspace
from node.engine.rdb import Decoder, SnapshotError, SnapshotWriter
from tests.held_clock import HeldClock
from tests.oracle import Ours

LIMIT_BYTES = 64 << 20
CONSUMERS = (b"ann", b"bob", b"eve", b"tom")
GROUPS = (b"g", b"h", b"i")


@pytest.fixture(scope="module")
def clock() -> Iterator[HeldClock]:
    """When a consumer was seen last is noted even if it gets nothing: that alone is no change of the data."""
    with HeldClock() as held:
        yield held


def state(ours: Ours) -> list[bytes]:
    """The whole stream as its readers see it: entries, groups, consumers, what is pending and since when."""
    commands = [[b"XRANGE", b"x", b"-", b"+"], [b"XINFO", b"GROUPS", b"x"]]
    for group in GROUPS:
        commands.append([b"XPENDING", b"x", group, b"-", b"+", b"1000000"])
        commands.append([b"XINFO", b"CONSUMERS", b"x", group])
    # When a consumer got something last is not in a snapshot of this version.
    return [re.sub(rb"\$8\r\ninactive\r\n:-?\d+\r\n", b"", reply) for reply in ours.pipeline(commands)]


def loaded(data: bytes, clock: HeldClock) -> Ours:
    fresh = Ours(clock=clock)
    decoder = Decoder(fresh.engine.keyspace, keep_expired=True)
    decoder.feed(data)
    assert decoder.done
    assert audit(fresh.engine.keyspace) == []
    return fresh


class Running:
    """A snapshot on its way."""

    def __init__(self, ours: Ours, clock: HeldClock) -> None:
        self._clock = clock
        self.wanted = state(ours)
        self.writer = SnapshotWriter(ours.engine.keyspace, {}, limit_bytes=LIMIT_BYTES)
        self.data = b""
        self.longest_piece_bytes = 0

    def step(self, want_bytes: int) -> bool:
        more = self.writer.step(want_bytes)
        piece = self.writer.take()
        self.longest_piece_bytes = max(self.longest_piece_bytes, len(piece))
        self.data += piece
        return more

    def finish(self, want_bytes: int = 5_000) -> None:
        while self.step(want_bytes):
            pass
        self.compare()

    def compare(self) -> None:
        assert state(loaded(self.data, self._clock)) == self.wanted


def freed(keyspace: Keyspace) -> None:
    while keyspace.free_some(1_000):
        pass
    assert audit(keyspace) == []


def stream(clock: HeldClock, entries: int) -> Ours:
    ours = Ours("stream-node-max-entries=20", clock=clock)
    ours.pipeline(
        [[b"XADD", b"x", b"1-%d" % (1 + number), b"f", b"%d" % number] for number in range(entries)]
    )
    return ours


def reads(group: bytes, shares: Iterable[tuple[bytes, int]]) -> list[list[bytes]]:
    return [
        [b"XREADGROUP", b"GROUP", group, consumer, b"COUNT", b"%d" % count, b"STREAMS", b"x", b">"]
        for consumer, count in shares
    ]


def shared(clock: HeldClock, entries: int, *shares: tuple[bytes, int]) -> Ours:
    """One group, and so much pending for each of its consumers."""
    ours = stream(clock, entries)
    ours.pipeline([[b"XGROUP", b"CREATE", b"x", b"g", b"0"], *reads(b"g", shares)])
    return ours


def test_a_pending_list_comes_in_pieces(clock: HeldClock) -> None:
    ours = shared(clock, 20_000, (b"ann", 15_000), (b"bob", 5_000))
    running = Running(ours, clock)
    ours.pipeline([[b"XACK", b"x", b"g", b"1-3"]])  # the delivery begins
    assert len(running.data) == 0
    running.finish()
    assert running.longest_piece_bytes < 40_000
    assert len(running.data) > 20_000 * 41
    freed(ours.engine.keyspace)


def test_a_stream_that_has_nothing_but_pending_entries_comes_in_pieces(clock: HeldClock) -> None:
    ours = shared(clock, 20_000, (b"ann", 20_000))
    ours.pipeline([[b"XTRIM", b"x", b"MAXLEN", b"0"]])
    running = Running(ours, clock)
    running.finish()
    assert running.longest_piece_bytes < 40_000


@pytest.mark.parametrize(
    "change",
    [
        [b"XACK", b"x", b"g", b"1-1", b"1-1300", b"1-3000"],
        [b"XCLAIM", b"x", b"g", b"bob", b"0", b"1-1", b"1-1300", b"RETRYCOUNT", b"7", b"TIME", b"5"],
        [b"XAUTOCLAIM", b"x", b"g", b"new", b"0", b"1-1200", b"COUNT", b"1000"],
        [b"XREADGROUP", b"GROUP", b"g", b"ann", b"STREAMS", b"x", b"0"],
        [b"XGROUP", b"DELCONSUMER", b"x", b"g", b"ann"],  # has most
        [b"XGROUP", b"DELCONSUMER", b"x", b"g", b"bob"],
        [b"XGROUP", b"DESTROY", b"x", b"g"],
        [b"XGROUP", b"SETID", b"x", b"g", b"1-5"],
        [b"XTRIM", b"x", b"MAXLEN", b"10"],
        [b"XADD", b"x", b"MAXLEN", b"0", b"2-1", b"f", b"v"],
        [b"DEL", b"x"],
        [b"RENAME", b"x", b"y"],
        [b"FLUSHALL"],
    ],
)
@pytest.mark.parametrize("already_bytes", [0, 20_000, 60_000, 120_000, 150_000])
def test_what_changes_was_as_it_was(clock: HeldClock, change: list[bytes], already_bytes: int) -> None:
    """The change comes before the delivery of the stream, among its nodes, its pending entries, its ids."""
    ours = shared(clock, 3_000, (b"ann", 2_000), (b"bob", 1_000))
    keyspace = ours.engine.keyspace
    early, late = Running(ours, clock), Running(ours, clock)
    while len(early.data) < already_bytes:
        assert early.step(1_000)
    (reply,) = ours.pipeline([change])
    assert not reply.startswith(b"-"), reply
    early.finish()
    late.finish()
    freed(keyspace)


def test_what_left_is_freed_once_nobody_needs_it(clock: HeldClock) -> None:
    ours = shared(clock, 20_000, (b"ann", 14_000), (b"bob", 6_000))
    keyspace = ours.engine.keyspace
    empty_bytes = stream(clock, 0).engine.keyspace.memory()["used_bytes"]
    one, other = Running(ours, clock), Running(ours, clock)
    one.step(900_000)
    ours.pipeline([[b"XGROUP", b"DELCONSUMER", b"x", b"g", b"ann"], [b"XGROUP", b"DESTROY", b"x", b"g"]])
    ours.pipeline([[b"XTRIM", b"x", b"MAXLEN", b"0"]])
    held_bytes = keyspace.memory()["used_bytes"]
    assert held_bytes > empty_bytes + 20_000 * 40
    keyspace.free_some(100_000)
    one.finish()
    keyspace.free_some(100_000)
    assert keyspace.memory()["used_bytes"] > held_bytes * 0.9  # the other one still needs it
    other.step(100_000)
    other.writer.close()
    freed(keyspace)
    assert keyspace.memory()["used_bytes"] < empty_bytes + 20_000  # the room of directories


def test_bits_that_one_left_behind_are_mended(clock: HeldClock) -> None:
    ours = shared(clock, 5_000, (b"ann", 4_000), (b"bob", 1_000))
    for already_bytes in (1_000, 60_000, 100_000, 150_000) * 3:  # more than there are bits
        given_up = Running(ours, clock)
        ours.pipeline([[b"XACK", b"x", b"g", b"1-7"]])
        while len(given_up.data) < already_bytes:
            assert given_up.step(1_000)
        given_up.writer.close()
        Running(ours, clock).finish()
    freed(ours.engine.keyspace)


def test_nodes_that_are_trimmed_again_and_again_do_not_pile_up(clock: HeldClock) -> None:
    ours = stream(clock, 20_000)
    with SnapshotWriter(ours.engine.keyspace, {}, limit_bytes=300_000) as writer:
        for round in range(1, 8):
            ours.pipeline(
                [
                    [b"XADD", b"x", b"%d-%d" % (1 + round, 1 + number), b"f", b"v" * 60]
                    for number in range(8_000)
                ]
            )
            ours.pipeline([[b"XTRIM", b"x", b"MAXLEN", b"100"]])
        with pytest.raises(SnapshotError, match="changed faster than the snapshot is read"):
            writer.step(1_000)
    freed(ours.engine.keyspace)


def _change(roll: random.Random, last: int) -> list[bytes]:
    group, consumer = roll.choice(GROUPS), roll.choice(CONSUMERS)
    id = b"1-%d" % roll.randrange(1, last)
    match roll.randrange(20):
        case 0 | 1 | 2:
            return [b"XACK", b"x", group, *(b"1-%d" % roll.randrange(1, last) for _ in range(300))]
        case 3 | 4 | 5:
            return reads(group, [(consumer, roll.choice((10, 300, 3_000)))])[0]
        case 6 | 7:
            return [b"XCLAIM", b"x", group, consumer, b"0", id, b"RETRYCOUNT", b"%d" % roll.randrange(99)]
        case 8 | 9:
            return [b"XAUTOCLAIM", b"x", group, consumer, b"0", id, b"COUNT", b"%d" % roll.choice((5, 900))]
        case 10 | 11:
            return [
                b"XREADGROUP", b"GROUP", group, consumer, b"COUNT", b"200", b"STREAMS", b"x", id,
            ]  # fmt: skip
        case 12 | 13:
            return [b"XGROUP", b"CREATE", b"x", group, b"0"]
        case 14:
            return [b"XGROUP", b"DESTROY", b"x", group]
        case 15 | 16:
            return [b"XGROUP", b"DELCONSUMER", b"x", group, consumer]
        case 17:
            return [b"XGROUP", b"CREATECONSUMER", b"x", group, consumer]
        case 18:
            return [b"XDEL", b"x", id]
    return [b"XTRIM", b"x", b"MINID", b"1-%d" % roll.randrange(1, last // 4)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_every_delivery_is_the_moment_it_began(clock: HeldClock, seed: int) -> None:
    """Several at once, some given up, while consumers come and go and groups with them."""
    roll = random.Random(seed)
    ours = Ours("stream-node-max-entries=10", clock=clock)
    keyspace = ours.engine.keyspace
    running: list[Running] = []
    last, finished = 1, 0
    for turn in range(1_200):
        if turn % 300 == 0:
            ours.pipeline([[b"XADD", b"x", b"1-%d" % (last + more), b"f", b"v"] for more in range(4_000)])
            last += 4_000
        ours.pipeline([_change(roll, last)])
        chance = roll.random()
        if chance < 0.02 and len(running) < 5 and keyspace.snapshot_ready():
            running.append(Running(ours, clock))
        elif chance < 0.024 and running:
            running.pop(roll.randrange(len(running))).writer.close()
        elif chance < 0.1:
            keyspace.free_some(roll.choice((10, 2_000)))
        elif running and chance < 0.4:
            one = roll.choice(running)
            if not one.step(roll.choice((1, 3_000, 30_000))):
                running.remove(one)
                one.compare()
                finished += 1
    for one in running:
        one.finish()
        finished += 1
    freed(keyspace)
    assert finished > 4
