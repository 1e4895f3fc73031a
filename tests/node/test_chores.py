"""What a node does beside its clients: bounded steps, rests while they are busy, none while memory grows."""

from __future__ import annotations

import pytest

from bench.client import command
from node.chores import SHARE, SLICE_ELEMENTS, SLICES_MAX, STEP_US, Chores
from node.commands import all_commands
from node.engine.audit import audit
from node.engine.engine import Engine
from node.engine.rdb import SnapshotWriter
from node.engine.room import install_compiled
from node.engine.session import Session

STEP_ELEMENTS_MAX = SLICE_ELEMENTS * SLICES_MAX


class Beside:
    """An engine with a client; a step and a slice of freeing take as long as we say."""

    def __init__(self, *, step_us: int = 0, slice_us: int = 0) -> None:
        self.engine = Engine(hash_key=b"\x17" * 16, clock_ms=1_700_000_000_000)
        install_compiled(self.engine.registry)
        for spec in all_commands():
            self.engine.add_command(spec)
        self.session = Session(self.engine)
        self.work_us, self.step_us = 0, step_us
        self.clock_us, self.slice_us, self.seen_bytes = 0, slice_us, 0
        self.heard: list[str] = []
        self.chores = Chores(
            self.engine,
            now_ms=0,
            work_us=self._work_us,
            clock_us=self._clock_us,
            hear=lambda event, _: self.heard.append(event),
        )

    def _work_us(self) -> int:
        self.work_us += self.step_us
        return self.work_us

    def _clock_us(self) -> int:
        if self.used_bytes < self.seen_bytes:  # something was freed
            self.clock_us += self.slice_us
        self.seen_bytes = self.used_bytes
        return self.clock_us

    def ask(self, *words: bytes) -> bytes:
        return self.session.feed(command(*words))

    def fill(self, name: bytes, count: int) -> None:
        for first in range(0, count, 1_000):
            self.ask(b"SADD", name, *(b"%d" % (first + each + 10**9) for each in range(1_000)))

    @property
    def used_bytes(self) -> int:
        return self.engine.keyspace.memory()["used_bytes"]


@pytest.mark.parametrize(
    "loss", [(b"DEL", b"big"), (b"SET", b"big", b"x"), (b"RENAME", b"other", b"big"), (b"FLUSHALL",)]
)
def test_what_went_is_freed_in_steps_of_so_many_elements(loss: tuple[bytes, ...]) -> None:
    beside = Beside()
    empty_bytes = beside.used_bytes
    beside.fill(b"big", 20_000)
    beside.ask(b"SET", b"other", b"x")
    member_bytes = (beside.used_bytes - empty_bytes) / 20_000
    assert not beside.ask(*loss).startswith(b"-")
    steps, before = 0, beside.used_bytes
    while beside.chores.step():
        assert before - beside.used_bytes <= 1.5 * member_bytes * STEP_ELEMENTS_MAX + 65_536
        steps, before = steps + 1, beside.used_bytes
    assert steps >= 20_000 // STEP_ELEMENTS_MAX
    assert beside.used_bytes < empty_bytes + 20_000
    assert not beside.chores.more


@pytest.mark.parametrize(
    ("slice_us", "slices"), [(1, SLICES_MAX), (30, 7), (STEP_US - 1, 2), (STEP_US, 1), (16_000, 1)]
)
def test_a_step_ends_with_the_slice_that_uses_up_its_time(slice_us: int, slices: int) -> None:
    """However slow memory is: a step takes no longer than its time and a slice of a hundred elements."""
    beside = Beside(slice_us=slice_us)
    empty_bytes = beside.used_bytes
    beside.fill(b"big", 20_000)
    member_bytes = (beside.used_bytes - empty_bytes) / 20_000
    beside.ask(b"DEL", b"big")
    for _ in range(3):
        before_bytes, before_us = beside.used_bytes, beside.clock_us
        assert beside.chores.step()
        assert beside.clock_us - before_us == slices * slice_us
        freed = (before_bytes - beside.used_bytes) / member_bytes
        assert 0.5 * slices <= freed / SLICE_ELEMENTS <= 2 * slices


MEMBERS = 20_000
GONE = [
    b"SINTERSTORE big few few",
    b"SUNIONSTORE big few few",
    b"SDIFFSTORE big few none",
    b"ZUNIONSTORE big 1 zfew",
    b"ZINTERSTORE big 1 zfew",
    b"ZDIFFSTORE big 1 zfew",
    b"ZRANGESTORE big zfew 0 -1",
    b"GEOSEARCHSTORE big places FROMLONLAT 1 1 BYRADIUS 1 m",
    b"SORT few STORE big BY nosort",
    b"COPY few big REPLACE",
    b"RESTORE big 0 PAYLOAD REPLACE",
    b"SET big x",
    b"SETEX big 10 x",
    b"MSET big x",
    b"BITOP NOT big other",
    b"UNLINK big",
    b"MULTI|DEL big|EXEC",
    b"EXPIRE big -1",
    b"PEXPIREAT big 1|EXISTS big",
    b"SWAPDB 0 1|SELECT 1|DEL big",
    b"FLUSHDB",
    b"LTRIM list 1 0",
    b"XTRIM stream MAXLEN 0",
    b"XGROUP DESTROY stream g",
    b"XGROUP DELCONSUMER stream g c",
]


@pytest.mark.parametrize("line", GONE, ids=lambda line: line.decode())
def test_no_command_frees_a_large_collection_itself(line: bytes) -> None:
    beside = Beside()
    beside.ask(b"SADD", b"few", b"1", b"2")
    beside.ask(b"ZADD", b"zfew", b"1", b"a", b"2", b"b")
    beside.ask(b"SET", b"other", b"x")
    empty_bytes = beside.used_bytes
    if b" list " in line:
        for first in range(0, MEMBERS, 1_000):
            beside.ask(b"RPUSH", b"list", *(b"%d" % (first + each + 10**15) for each in range(1_000)))
    elif b" stream " in line:
        for each in range(MEMBERS):
            beside.ask(b"XADD", b"stream", b"%d-1" % (each + 1), b"f", b"%d" % each)
        if b"GROUP" in line:
            beside.ask(b"XGROUP", b"CREATE", b"stream", b"g", b"0")
            empty_bytes = beside.used_bytes
            beside.ask(b"XREADGROUP", b"GROUP", b"g", b"c", b"STREAMS", b"stream", b">")
            beside.ask(b"XCLAIM", b"stream", b"g", b"d", b"0", *(b"%d-1" % each for each in range(1, 99)))
    else:
        beside.fill(b"big", MEMBERS)
    full_bytes = beside.used_bytes
    payload = beside.ask(b"DUMP", b"few").split(b"\r\n", 1)[1][:-2]
    for words in line.split(b"|"):
        reply = beside.ask(*(payload if word == b"PAYLOAD" else word for word in words.split()))
        assert not reply.startswith(b"-"), reply
    # All of it is still there but what is freed in passing, and it is not counted any more.
    held_bytes = full_bytes - empty_bytes
    assert beside.used_bytes - empty_bytes > 0.9 * held_bytes
    while beside.chores.step():
        pass
    assert beside.used_bytes - empty_bytes < 0.1 * held_bytes
    assert audit(beside.engine.keyspace) == []


def test_what_a_snapshot_still_reads_keeps_nobody_busy() -> None:
    beside = Beside()
    beside.fill(b"big", 5_000)
    snapshot = SnapshotWriter(beside.engine.keyspace, {}, limit_bytes=1 << 20)
    snapshot.step(1)
    beside.ask(b"DEL", b"big")
    assert [beside.chores.step() for _ in range(3)] == [False] * 3
    full_bytes = beside.used_bytes
    snapshot.close()
    while beside.chores.step():
        pass
    assert beside.used_bytes < full_bytes / 2


def test_what_expires_is_found_and_freed_in_one_go() -> None:
    beside = Beside()
    empty_bytes = beside.used_bytes
    beside.fill(b"big", 5_000)
    beside.ask(b"PEXPIRE", b"big", b"1")
    beside.engine.set_clock_ms(beside.engine.now_ms + 10)
    assert beside.chores.step()
    while beside.chores.step():
        pass
    assert beside.used_bytes < empty_bytes + 5_000
    assert set(beside.heard) == {"eviction-cycle", "expire-cycle"}


@pytest.mark.parametrize("big", [b"big:%d" % number for number in range(5)])  # met sooner or later
def test_what_expires_late_in_a_step_is_still_to_be_freed(big: bytes) -> None:
    """In the slices before, freeing had nothing to do."""
    beside = Beside()
    beside.fill(big, 3 * STEP_ELEMENTS_MAX)
    beside.ask(b"PEXPIRE", big, b"1")
    for number in range(100):
        beside.ask(b"SET", b"small:%d" % number, b"x", b"PX", b"1")
    beside.engine.set_clock_ms(beside.engine.now_ms + 10)
    while beside.engine.keyspace.size(0):
        assert beside.chores.step(), "more members than a step frees"


def steps_in(beside: Beside, first_ms: int, run_ms: int) -> int:
    """How many steps come about in so long, while a client asks something every ms."""
    done = 0
    for now_ms in range(first_ms, first_ms + run_ms):
        beside.ask(b"PING")
        if beside.chores.rest_ms(now_ms) == 0:
            beside.chores.step()
            done += 1
    return done


def test_busy_clients_get_three_quarters_of_the_time() -> None:
    beside = Beside(step_us=1_000)
    assert 0.95 * SHARE <= steps_in(beside, 0, 1_000) / 1_000 <= 1.05 * SHARE


def test_nobody_is_there_so_it_never_rests() -> None:
    beside = Beside(step_us=STEP_US)
    for now_ms in range(100, 200):
        assert beside.chores.rest_ms(now_ms) == 0
        beside.chores.step()


def test_it_hurries_while_memory_grows_although_some_is_to_be_freed() -> None:
    beside = Beside(step_us=1_000)
    for beat in range(6):
        beside.fill(b"gone:%d" % beat, 20_000)
        beside.ask(b"DEL", b"gone:%d" % beat)
        assert beside.chores.step()
        beside.chores.look()
    assert steps_in(beside, 0, 20) >= 18  # the steps above are still owed
    while beside.chores.step():
        pass
    for _ in range(6):
        beside.chores.look()
    assert steps_in(beside, 20, 100) <= 1.2 * SHARE * 100
