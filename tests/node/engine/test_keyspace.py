"""The keyspace against the model, and the promises that a model of dictionaries can't express."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from node.engine.audit import audit
from node.engine.effects import Effects
from node.engine.keyspace import Keyspace
from node.engine.snapshot import CallbackSink, Snapshot, SnapshotBusy
from tests.node.engine.keyspace_model import NO_EXPIRY, Model
from tests.oracle import Ours
from tests.protocol import request

HASH_KEY = b"0123456789abcdef"
START_MS = 1_000_000
DATABASES = 3

# Few names, so that they meet; some share a slot (hash tags), some are long, one is empty.
names = st.one_of(
    st.integers(0, 40).map(lambda number: b"{t}%d" % number),
    st.integers(0, 20).map(lambda number: b"name:%d" % number),
    st.sampled_from([b"", b"\0", b"n" * 300, b"{t}" + b"n" * 1200, b"n" * 70_000]),
)
values = st.one_of(
    st.binary(max_size=40),
    st.integers(-(2**63), 2**63 - 1).map(lambda number: b"%d" % number),
    st.sampled_from([b"", b"007", b"-0", b"9223372036854775808", b"v" * 1_100, b"v" * 1_140, b"v" * 5_000]),
)
database_numbers = st.integers(0, DATABASES - 1)
expiries = st.one_of(st.just(NO_EXPIRY), st.integers(0, 2_000).map(lambda later: START_MS + later))


class KeyspaceMachine(RuleBasedStateMachine):
    """Any sequence of changes, with snapshots running and the background work done in any portion."""

    cluster = False

    def __init__(self) -> None:
        super().__init__()
        self.real = Keyspace(cluster=self.cluster, databases=DATABASES, hash_key=HASH_KEY, clock_ms=START_MS)
        self.model = Model(DATABASES, START_MS)
        self.aside: list[dict[bytes, tuple[bytes, int]]] | None = None
        self.snapshots: list[tuple[Snapshot, Counter[tuple[int, bytes, bytes, int]], Counter]] = []

    @rule(database=database_numbers, name=names, value=values, expire_ms=expiries)
    def set(self, database: int, name: bytes, value: bytes, expire_ms: int) -> None:
        self.real.set(database, name, value, expire_ms)
        self.model.set(database, name, value, expire_ms)

    @rule(database=database_numbers, first=st.integers(0, 2_000), count=st.integers(1, 300))
    def set_many(self, database: int, first: int, count: int) -> None:
        for number in range(first, first + count):
            self.real.set(database, b"{t}%d" % number, b"many")
            self.model.set(database, b"{t}%d" % number, b"many", NO_EXPIRY)

    @rule(database=database_numbers, keep_every=st.integers(2, 9))
    def delete_many(self, database: int, keep_every: int) -> None:
        for index, name in enumerate(sorted(self.model.databases[database])):
            if index % keep_every:
                assert self.real.delete(database, name) == self.model.delete(database, name)

    @rule(database=database_numbers, name=names)
    def delete(self, database: int, name: bytes) -> None:
        assert self.real.delete(database, name) == self.model.delete(database, name)

    @rule(database=database_numbers, name=names)
    def get(self, database: int, name: bytes) -> None:
        assert self.real.get(database, name) == self.model.get(database, name)

    @rule(database=database_numbers, name=names, when_ms=expiries)
    def expire_at(self, database: int, name: bytes, when_ms: int) -> None:
        assert self.real.expire_at(database, name, when_ms) == self.model.expire_at(database, name, when_ms)

    @rule(database=database_numbers, name=names, len_bytes=st.integers(0, 4_000))
    def resize(self, database: int, name: bytes, len_bytes: int) -> None:
        self.real.resize(database, name, len_bytes)
        self.model.resize(database, name, len_bytes)

    @rule(database=database_numbers, name=names, new_name=names)
    def rename(self, database: int, name: bytes, new_name: bytes) -> None:
        assert self.real.rename(database, name, new_name) == self.model.rename(database, name, new_name)

    @rule(left=database_numbers, right=database_numbers)
    def swap(self, left: int, right: int) -> None:
        self.real.swap(left, right)
        databases = self.model.databases
        databases[left], databases[right] = databases[right], databases[left]

    @rule(database=st.integers(-1, DATABASES - 1))
    def clear(self, database: int) -> None:
        self.real.clear(database)
        for number in range(DATABASES) if database == -1 else [database]:
            self.model.databases[number].clear()

    @precondition(lambda self: self.aside is None)
    @rule()
    def set_aside(self) -> None:
        self.real.set_aside()
        self.aside = self.model.databases
        self.model.databases = [{} for _ in range(DATABASES)]

    @rule()
    def take_back(self) -> None:
        self.real.take_back()
        self.model.databases = self.aside or [{} for _ in range(DATABASES)]
        self.aside = None

    @rule()
    def drop_aside(self) -> None:
        self.real.drop_aside()
        self.aside = None

    @rule(passed_ms=st.integers(0, 700))
    def pass_time(self, passed_ms: int) -> None:
        self.model.now_ms += passed_ms
        self.real.set_clock_ms(self.model.now_ms)

    @rule(budget=st.integers(1, 500))
    def work_in_background(self, budget: int) -> None:
        self.real.expire_some(budget)
        self.real.free_some(budget)
        self.real.sweep_some(budget)

    @precondition(lambda self: len(self.snapshots) < 3)
    @rule(
        databases=st.sampled_from([None, [0], [1, 2]]),
        tagged_only=st.booleans(),
    )
    def begin_snapshot(self, databases: list[int] | None, tagged_only: bool) -> None:
        # What has expired may or may not be there still: settle it, so that the model knows.
        while self.real.expire_some(1_000):
            pass
        self.model.forget_expired()
        slots = [self.real.slot_of(b"{t}1")] if tagged_only else None
        got: Counter[tuple[int, bytes, bytes, int]] = Counter()

        def take(database: int, slot: int, name: bytes, value: bytes, expire_ms: int) -> None:
            assert slot == self.real.slot_of(name)
            got[database, name, value, expire_ms] += 1

        try:
            snapshot = Snapshot(self.real, CallbackSink(take), databases=databases, slots=slots)
        except SnapshotBusy:
            assert not self.real.snapshot_ready()
            return
        wanted = Counter(
            kept
            for kept in self.model.everything()
            if (databases is None or kept[0] in databases)
            and (slots is None or self.real.slot_of(kept[1]) in slots)
        )
        self.snapshots.append((snapshot, wanted, got))

    @precondition(lambda self: self.snapshots)
    @rule(which=st.integers(0, 2), budget=st.integers(1, 400))
    def step_snapshot(self, which: int, budget: int) -> None:
        snapshot, wanted, got = self.snapshots[which % len(self.snapshots)]
        if not snapshot.step(budget):
            assert got == wanted
            self.snapshots.remove((snapshot, wanted, got))

    @precondition(lambda self: self.snapshots)
    @rule(which=st.integers(0, 2))
    def abandon_snapshot(self, which: int) -> None:
        self.snapshots.pop(which % len(self.snapshots))[0].close()

    @invariant()
    def count_is_right(self) -> None:
        # Expired entries may still be counted; live ones must be.
        for database in range(DATABASES):
            live = len(self.model.live(database))
            assert live <= self.real.size(database) <= len(self.model.databases[database])

    def teardown(self) -> None:
        for snapshot, wanted, got in self.snapshots:
            while snapshot.step(100):
                pass
            assert got == wanted
        self.real.drop_aside()
        while self.real.expire_some(1_000):
            pass
        self.model.forget_expired()
        for database in range(DATABASES):
            live = self.model.live(database)
            assert self.real.size(database) == len(live)
            assert self.real.expiring(database) == sum(kept[1] != NO_EXPIRY for kept in live.values())
            assert scan_all(self.real, database) == set(live)
            for name, (value, expire_ms) in live.items():
                assert self.real.get(database, name) == value
                assert self.real.expiry_ms(database, name) == expire_ms
            for name in live:
                assert self.real.delete(database, name)
        while self.real.free_some(1_000):
            pass
        assert self.real.memory()["used_bytes"] == 0


class ClusterKeyspaceMachine(KeyspaceMachine):
    cluster = True


def scan_all(keyspace: Keyspace, database: int, count: int = 10) -> set[bytes]:
    seen: set[bytes] = set()
    cursor = 0
    while True:
        cursor, found = keyspace.scan(database, cursor, count)
        seen.update(found)
        if cursor == 0:
            return seen


CALM = settings(
    max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestKeyspace = pytest.mark.slow(KeyspaceMachine.TestCase)
TestKeyspace.settings = CALM
TestClusterKeyspace = pytest.mark.slow(ClusterKeyspaceMachine.TestCase)
TestClusterKeyspace.settings = CALM


def make(**options: object) -> Keyspace:
    return Keyspace(hash_key=HASH_KEY, clock_ms=START_MS, **options)  # type: ignore[arg-type]


# --- walking while tables change ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_scan_sees_all_that_stays_however_tables_grow_and_shrink(seed: int) -> None:
    chance = random.Random(seed)
    keyspace = make(cluster=True)
    # One slot holds nearly everything, so its table passes through every size up to a directory.
    staying = {b"{s}stay%d" % number for number in range(chance.randrange(1, 2_000))}
    for name in staying:
        keyspace.set(0, name, b"")
    seen: list[bytes] = []
    cursor = 0
    passing = 0
    while True:
        cursor, found = keyspace.scan(0, cursor, chance.choice([1, 10, 100]))
        seen += found
        if cursor == 0:
            break
        if chance.random() < 0.3:
            passing = 0 if passing else chance.randrange(9_000)
            for number in range(9_000):
                if number < passing:
                    keyspace.set(0, b"{s}pass%d" % number, b"")
                else:
                    keyspace.delete(0, b"{s}pass%d" % number)
    assert staying <= set(seen)


def test_scan_of_a_quiet_keyspace_sees_each_name_once() -> None:
    keyspace = make()
    names_there = {b"name%d" % number for number in range(3_000)}
    for name in names_there:
        keyspace.set(0, name, b"")
    seen: Counter[bytes] = Counter()
    cursor = 0
    while True:
        cursor, found = keyspace.scan(0, cursor, 7)
        seen.update(found)
        if cursor == 0:
            break
    assert seen == Counter(names_there)


def test_scan_of_few_names_ends_at_once() -> None:
    keyspace = make()
    for number in range(10):
        keyspace.set(0, b"%d" % number, b"")
    cursor, found = keyspace.scan(0, 0, 10)
    assert cursor == 0
    assert len(found) == 10


@pytest.mark.parametrize("cursor", [2**64 - 1, 16384 << 32, (16383 << 32) | 0xFFFFFFFF, 12345])
def test_a_made_up_cursor_is_harmless(cursor: int) -> None:
    keyspace = make()
    for number in range(100):
        keyspace.set(0, b"%d" % number, b"")
    next_cursor, found = keyspace.scan(0, cursor)
    assert 0 <= next_cursor < 2**53
    assert len(found) <= 100


def test_keys_in_slot() -> None:
    keyspace = make(cluster=True)
    slot = keyspace.slot_of(b"{a}")
    for number in range(50):
        keyspace.set(0, b"{a}%d" % number, b"x" * 100)
        keyspace.set(0, b"{b}%d" % number, b"")
    assert set(keyspace.keys_in_slot(0, slot, 1_000)) == {b"{a}%d" % number for number in range(50)}
    assert len(keyspace.keys_in_slot(0, slot, 7)) == 7
    assert keyspace.keys_in_slot(0, slot, 0) == []
    assert keyspace.slot_size(0, slot) == 50
    assert 50 * 110 < keyspace.slot_bytes(0, slot) < 50 * 140
    with pytest.raises(IndexError, match="slot 16384"):
        keyspace.keys_in_slot(0, 16384, 1)


def test_random_key_is_fair() -> None:
    keyspace = make(cluster=True)
    for number in range(20):
        keyspace.set(0, b"{a}%d" % number if number < 15 else b"%d" % number, b"")
    drawn = Counter(keyspace.random_key(0) for _ in range(20_000))
    assert len(drawn) == 20
    assert all(800 < count < 1_200 for count in drawn.values())  # 1,000 expected, sigma 31
    assert keyspace.random_key(1) is None


# --- time ---------------------------------------------------------------------------------------------------


def test_an_entry_lives_through_the_millisecond_of_its_expiry() -> None:
    keyspace = make()
    keyspace.set(0, b"name", b"value", START_MS + 5)
    keyspace.set_clock_ms(START_MS + 5)
    assert keyspace.get(0, b"name") == b"value"
    keyspace.set_clock_ms(START_MS + 6)
    assert keyspace.get(0, b"name") is None
    assert keyspace.size(0) == 0
    assert keyspace.expired == 1


def test_expired_entries_are_announced_lazily_and_actively() -> None:
    effects = Effects()
    effects.activate()
    keyspace = make(effects=effects)
    keyspace.set(2, b"lazy", b"", START_MS + 1)
    keyspace.set_clock_ms(START_MS + 2)
    assert keyspace.get(2, b"lazy") is None
    keyspace.set(2, b"active", b"", START_MS + 3)
    keyspace.set_clock_ms(START_MS + 4)
    assert not keyspace.expire_some(100)
    assert keyspace.size(2) == 0
    words = [word for word in effects.read(0, 1_000).split(b"\r\n") if word[:1] not in (b"*", b"$")]
    assert words == [b"SELECT", b"2", b"DEL", b"lazy", b"DEL", b"active", b""]


def test_a_follower_hides_and_keeps() -> None:
    keyspace = make()
    keyspace.set(0, b"name", b"value", START_MS + 1)
    keyspace.set_clock_ms(START_MS + 2)
    keyspace.follower = True
    assert keyspace.get(0, b"name") is None
    assert not keyspace.expire_some(100)
    assert keyspace.size(0) == 1
    assert keyspace.scan(0, 0) == (0, [])
    keyspace.applying = True  # the primary's stream may still speak of it
    assert keyspace.get(0, b"name") == b"value"
    assert keyspace.delete(0, b"name")


def test_active_expiry_is_bounded_and_finds_everything() -> None:
    keyspace = make()
    for number in range(5_000):
        keyspace.set(0, b"due%d" % number, b"", START_MS + number % 50)
        keyspace.set(0, b"stays%d" % number, b"", START_MS + 1_000_000)
        keyspace.set(0, b"forever%d" % number, b"")
    keyspace.set_clock_ms(START_MS + 60)
    calls = 1
    before = keyspace.size(0)
    while keyspace.expire_some(200):
        # A call stops within one table of its budget.
        assert before - keyspace.size(0) <= 300
        before = keyspace.size(0)
        calls += 1
    assert keyspace.size(0) == 10_000
    assert keyspace.expiring(0) == 5_000
    assert calls > 10
    # With nothing due, nothing is looked at again.
    assert not keyspace.expire_some(1)


# --- counting -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value_bytes", "expire_ms", "limit_bytes"),
    [(16, -1, 64), (64, -1, 112), (64, START_MS * 2, 120), (0, -1, 48), (1_024, -1, 1_090)],
    ids=["16", "64", "64 with expiry", "integer", "1024"],
)
@pytest.mark.slow
def test_bytes_per_entry(value_bytes: int, expire_ms: int, limit_bytes: int) -> None:
    """16-byte keys; the mean over a growth of the tables by half, everything included."""
    keyspace = make()
    slopes = []
    before = 0
    for count in range(20_000):
        keyspace.set(0, b"fill:%011d" % count, b"")
    before = keyspace.memory()["used_bytes"]
    for count in range(100_000):
        value = b"x" * value_bytes if value_bytes else b"%d" % (count + 1_000_000)
        keyspace.set(0, b"key:%012d" % count, value, expire_ms)
        if count >= 50_000:
            slopes.append((keyspace.memory()["used_bytes"] - before) / (count + 1))
    assert sum(slopes) / len(slopes) <= limit_bytes


def test_what_is_freed_goes_back() -> None:
    keyspace = make()
    for number in range(50_000):
        keyspace.set(0, b"%d" % number, b"x" * (number % 500))
    assert keyspace.memory()["held_bytes"] > 10_000_000
    for number in range(50_000):
        keyspace.delete(0, b"%d" % number)
    keyspace.trim()
    assert keyspace.memory() == {"used_bytes": 0, "held_bytes": 0, "loose_bytes": 0, "arenas": 0}


@pytest.mark.slow
def test_pages_between_the_buckets_of_a_growing_set_go_back() -> None:
    """Its segments grow at about the same time, and leave holes between the grown: 41.6 if kept."""
    ours = Ours(hash_key=bytes(range(16)))
    keyspace = ours.engine.keyspace
    names = [b"%016x" % (number * 0x9E3779B97F4A7C15 & (1 << 64) - 1) for number in range(100_000)]
    held = []
    for count in range(2_000, len(names) + 1, 2_000):
        ours.session.feed(request([b"SADD", b"set", *names[count - 2_000 : count]]))
        if count > 40_000:
            keyspace.trim()
            held.append(keyspace.memory()["held_bytes"] / count)
    assert sum(held) / len(held) < 40.4
    ours.session.feed(request([b"DEL", b"set"]))
    while keyspace.free_some(1_000):
        pass
    keyspace.trim()
    assert keyspace.memory()["held_bytes"] == 0


def test_clearing_is_done_in_steps() -> None:
    keyspace = make()
    for number in range(20_000):
        keyspace.set(1, b"%d" % number, b"value")
    keyspace.clear(1)
    assert keyspace.size(1) == 0
    assert keyspace.get(1, b"7") is None
    keyspace.set(1, b"7", b"new")
    steps = 1
    while keyspace.free_some(1_000):
        steps += 1
    assert steps >= 20
    assert keyspace.get(1, b"7") == b"new"
    assert keyspace.memory()["used_bytes"] < 200


def test_a_small_database_is_freed_as_it_is_cleared() -> None:
    keyspace = make()
    for number in range(64):
        keyspace.set(number % 2, b"%d" % number, b"value", START_MS + 10 if number % 3 else -1)
    keyspace.clear(-1)
    assert keyspace.memory()["used_bytes"] == 0
    assert audit(keyspace) == []


def test_databases_that_are_cleared_in_a_circle_do_not_pile_up() -> None:
    keyspace = make()
    used_bytes = []
    for _ in range(200):
        for number in range(200):
            keyspace.set(0, b"%d" % number, b"value")
        used_bytes.append(keyspace.memory()["used_bytes"])
        keyspace.clear(0)
    assert 5 * used_bytes[0] < max(used_bytes) < 20 * used_bytes[0]
    assert audit(keyspace) == []
    while keyspace.free_some(1_000):
        pass
    assert keyspace.memory()["used_bytes"] == 0


def aside() -> Ours:
    """An engine with data of several kinds set aside, and other data in their place."""
    ours = Ours()
    keyspace = ours.engine.keyspace
    for number in range(3_000):
        keyspace.set(number % 2, b"old%d" % number, b"v", 10**14 + number if number % 3 else -1)
    ours.call(b"RPUSH", b"list", *(b"item%d" % number for number in range(1_000)))
    ours.call(b"HSET", b"hash", *(b"%d" % number for number in range(2_000)))
    keyspace.set_aside()
    assert [keyspace.size(number) for number in range(2)] == [0, 0]
    assert keyspace.get(0, b"old0") is None
    for number in range(500):
        keyspace.set(0, b"new%d" % number, b"w")
    assert audit(keyspace) == []
    return ours


def test_what_was_set_aside_comes_back_and_what_came_in_its_place_goes() -> None:
    ours = aside()
    keyspace = ours.engine.keyspace
    keyspace.take_back()
    assert [keyspace.size(number) for number in range(2)] == [1_502, 1_500]
    assert keyspace.get(0, b"new1") is None
    assert (keyspace.get(0, b"old2"), keyspace.expiry_ms(0, b"old2")) == (b"v", 10**14 + 2)
    assert ours.call(b"LLEN", b"list") == b":1000\r\n"
    while keyspace.free_some(1_000):
        pass
    assert audit(keyspace) == []
    keyspace.set_clock_ms(10**15)
    while keyspace.expire_some(1_000):
        pass
    assert [keyspace.expiring(number) for number in range(2)] == [0, 0]
    assert audit(keyspace) == []


def test_what_was_set_aside_is_freed_once_it_is_dropped() -> None:
    keyspace = aside().engine.keyspace
    with pytest.raises(RuntimeError, match="set aside already"):
        keyspace.set_aside()
    keyspace.drop_aside()
    steps = 1
    while keyspace.free_some(100):
        steps += 1
    assert steps >= 20
    assert keyspace.size(0) == 500
    assert audit(keyspace) == []
    keyspace.take_back()  # nothing is: only what is there goes
    while keyspace.free_some(100):
        pass
    assert keyspace.memory()["used_bytes"] == 0


def test_a_keyspace_may_end_with_data_aside() -> None:
    aside()  # the sanitizers count what is left


def test_the_small_queue_is_counted_across_setting_aside() -> None:
    """S3-FIFO: what was counted comes back with its entries, and evictions go on as before."""
    ours = Ours()
    keyspace = ours.engine.keyspace
    ours.engine.evictor.set_policy("allkeys-s3fifo")
    for number in range(1_000):
        keyspace.set(0, b"old%d" % number, b"v" * 50)
    keyspace.set_aside()
    for number in range(10):
        keyspace.set(0, b"new%d" % number, b"w")
    keyspace.take_back()
    for number in range(1_000):
        assert keyspace.delete(0, b"old%d" % number)
    assert audit(keyspace) == []


def test_hits_and_misses() -> None:
    keyspace = make()
    keyspace.set(0, b"name", b"")
    keyspace.get(0, b"name")
    keyspace.get(0, b"other")
    keyspace.get(0, b"other")
    assert (keyspace.hits, keyspace.misses) == (1, 2)
    keyspace.reset_statistics()
    assert (keyspace.hits, keyspace.misses) == (0, 0)


@pytest.mark.parametrize("database", [-1, 16, 2**31 - 1])
def test_a_database_that_is_not_there_is_refused(database: int) -> None:
    keyspace = make()
    for call in (keyspace.get, keyspace.delete, keyspace.exists, keyspace.type, keyspace.expiry_ms):
        with pytest.raises(IndexError, match="there are 16"):
            call(database, b"name")
    with pytest.raises(IndexError, match="there are 16"):
        keyspace.swap(0, database)


def test_what_a_keyspace_is_made_of_is_checked() -> None:
    with pytest.raises(ValueError, match="must be 16"):
        Keyspace(hash_key=b"short")
    with pytest.raises(ValueError, match="databases is 0"):
        Keyspace(databases=0)


@pytest.mark.parametrize("budget", [1, 7, 100, 1_000, 5_000])
def test_freeing_says_more_until_nothing_is_left(budget: int) -> None:
    ours = Ours()
    keyspace = ours.engine.keyspace
    for number in range(3):
        ours.call(b"SADD", b"large%d" % number, *(b"member:%d" % each for each in range(2_000)))
        keyspace.set(0, b"small%d" % number, b"v")
    keyspace.clear(-1)
    while keyspace.free_some(budget):
        pass
    assert keyspace.memory()["used_bytes"] == 0
