"""Eviction: memory stays under its limit, and what goes is what the policy says."""

from __future__ import annotations

import random

import pytest

from node.commands import all_commands
from node.engine.audit import audit
from node.engine.engine import Engine
from node.engine.evictor import POLICIES, Evictor
from node.engine.keyspace import Keyspace
from node.engine.rdb import SnapshotWriter
from node.engine.room import install_compiled
from node.engine.session import Session
from node.parameters import EVICTION_POLICIES

OOM = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"


def make(policy: str, limit_bytes: int = 0, *, databases: int = 16) -> tuple[Engine, Session]:
    engine = Engine(hash_key=b"k" * 16, clock_ms=1_000_000, databases=databases)
    install_compiled(engine.registry)
    for spec in all_commands():
        engine.add_command(spec)
    engine.evictor.set_policy(policy)
    engine.evictor.set_limit(limit_bytes)
    return engine, Session(engine)


def used(engine: Engine) -> int:
    return engine.keyspace.memory()["used_bytes"]


def test_the_parameter_offers_what_the_evictor_knows() -> None:
    assert tuple(POLICIES) == EVICTION_POLICIES


def test_noeviction_refuses_what_could_need_memory_and_serves_the_rest() -> None:
    engine, session = make("noeviction", 200_000)
    replies = [session.feed(b"SET key:%d %b\r\n" % (number, b"v" * 100)) for number in range(3_000)]
    assert replies[-1] == OOM
    assert session.feed(b"GET key:0\r\n") == b"$100\r\n" + b"v" * 100 + b"\r\n"
    assert session.feed(b"DEL key:0\r\n") == b":1\r\n"
    assert engine.keyspace.evicted == 0
    engine.evictor.set_limit(0)
    assert session.feed(b"SET key:0 v\r\n") == b"+OK\r\n"


@pytest.mark.parametrize("policy", [name for name in EVICTION_POLICIES if name.startswith("allkeys")])
def test_memory_stays_under_the_limit(policy: str) -> None:
    limit = 1_000_000
    engine, session = make(policy, limit)
    for number in range(30_000):
        assert session.feed(b"SET key:%d %b\r\n" % (number, b"v" * (1 + number % 300))) == b"+OK\r\n"
        assert used(engine) <= limit + 70_000  # one entry, and the arena or table that grew for it
    assert engine.keyspace.evicted > 20_000
    assert engine.keyspace.size(0) > 1_000


@pytest.mark.parametrize("policy", [name for name in EVICTION_POLICIES if name.startswith("volatile")])
def test_volatile_policies_leave_keys_without_expiry_alone(policy: str) -> None:
    engine, session = make(policy, 600_000)
    for number in range(500):
        session.feed(b"SET keep:%d %b\r\n" % (number, b"v" * 100))
    for number in range(20_000):
        assert session.feed(b"SET go:%d %b EX 1000\r\n" % (number, b"v" * 100)) == b"+OK\r\n"
    assert (
        session.feed(b"EXISTS %b\r\n" % b" ".join(b"keep:%d" % number for number in range(500)))
        == b":500\r\n"
    )
    assert engine.keyspace.evicted > 10_000


def test_volatile_policies_with_nothing_volatile_refuse() -> None:
    _engine, session = make("volatile-lru", 100_000)
    replies = {session.feed(b"SET key:%d %b\r\n" % (number, b"v" * 100)) for number in range(3_000)}
    assert replies == {b"+OK\r\n", OOM}


def test_one_volatile_key_among_many_is_found() -> None:
    engine, session = make("volatile-random", 0)
    for number in range(20_000):
        session.feed(b"SET keep:%d v\r\n" % number)
    session.feed(b"SET go v EX 1000\r\n")
    engine.evictor.set_limit(used(engine) - 1)
    session.feed(b"GET nothing\r\n")
    assert session.feed(b"EXISTS go\r\n") == b":0\r\n"
    assert engine.keyspace.evicted == 1


def test_the_few_volatile_keys_among_very_many_of_one_slot_are_all_found() -> None:
    keyspace = Keyspace(cluster=True, databases=1, hash_key=b"a" * 16, clock_ms=1_000_000)
    for number in range(400_000):
        keyspace.set(0, b"{t}keep:%d" % number, b"v")
    for number in range(5):
        keyspace.set(0, b"{t}go:%d" % number, b"v", 2_000_000)
    evictor = Evictor(keyspace)
    evictor.set_policy("volatile-lru")
    evictor.set_limit(1)
    while evictor.evict_some():
        pass
    assert keyspace.evicted == 5
    assert keyspace.expiring(0) == 0
    assert keyspace.size(0) == 400_000


def test_volatile_ttl_takes_the_soonest() -> None:
    engine, session = make("volatile-ttl", 0)
    for number in range(2_000):
        session.feed(b"SET key:%d %b PX %d\r\n" % (number, b"v" * 50, 1_000_000 + number * 1_000))
    engine.evictor.set_limit(used(engine) * 3 // 4)
    while engine.evictor.evict_some():
        pass
    left = [number for number in range(2_000) if session.feed(b"EXISTS key:%d\r\n" % number) == b":1\r\n"]
    assert len(left) < 1_600
    assert sum(number >= 1_000 for number in left) > 950


def test_lru_keeps_what_was_used_lately() -> None:
    engine, session = make("allkeys-lru", 1 << 30)
    for number in range(4_000):
        session.feed(b"SET key:%d %b\r\n" % (number, b"v" * 50))
    engine.set_clock_ms(1_000_000 + 60_000)
    for number in range(0, 4_000, 2):
        session.feed(b"GET key:%d\r\n" % number)
    engine.evictor.set_limit(used(engine) * 2 // 3)
    while engine.evictor.evict_some():
        pass
    assert engine.keyspace.size(0) < 3_000
    lost_used = sum(session.feed(b"EXISTS key:%d\r\n" % number) == b":0\r\n" for number in range(0, 4_000, 2))
    assert lost_used < 150  # by chance a sample of ten shows used keys only


def test_idle_time_is_told_under_lru_with_and_without_new_keys() -> None:
    engine, session = make("allkeys-lru", 1 << 30)
    session.feed(b"SET key v\r\n")
    for second in range(1, 2_001):
        engine.set_clock_ms(1_000_000 + second * 1_024)
        if second % 2:
            for number in range(3):
                session.feed(b"SET other:%d:%d v\r\n" % (second, number))
        if second in (1, 10, 100, 600, 2_000):
            idle = int(session.feed(b"OBJECT IDLETIME key\r\n")[1:])
            assert abs(idle - second * 1.024) <= 2 + second / 50
    session.feed(b"GET key\r\n")
    assert session.feed(b"OBJECT IDLETIME key\r\n") == b":0\r\n"


def test_lfu_keeps_what_is_used_often() -> None:
    engine, session = make("allkeys-lfu", 0)
    for number in range(4_000):
        session.feed(b"SET key:%d %b\r\n" % (number, b"v" * 50))
    for number in range(0, 4_000, 2):
        for _ in range(20):
            session.feed(b"GET key:%d\r\n" % number)
    assert int(session.feed(b"OBJECT FREQ key:0\r\n")[1:]) > 5
    assert session.feed(b"OBJECT IDLETIME key:0\r\n").startswith(b"-ERR An LFU maxmemory policy is selected")
    engine.evictor.set_limit(used(engine) * 2 // 3)
    while engine.evictor.evict_some():
        pass
    lost_used = sum(session.feed(b"EXISTS key:%d\r\n" % number) == b":0\r\n" for number in range(0, 4_000, 2))
    assert lost_used < 150  # by chance a sample of ten shows used keys only


def test_without_a_limit_idle_time_is_told_whatever_the_policy() -> None:
    engine, session = make("allkeys-s3fifo", 0)
    session.feed(b"SET key v\r\n")
    engine.set_clock_ms(1_000_000 + 10 * 1_024)
    assert session.feed(b"OBJECT IDLETIME key\r\n") == b":10\r\n"
    engine.evictor.set_limit(1 << 30)
    assert session.feed(b"OBJECT IDLETIME key\r\n").startswith(
        b"-ERR An S3-FIFO maxmemory policy is selected"
    )


def test_a_limit_set_on_a_full_server_evicts_at_once() -> None:
    engine, session = make("allkeys-s3fifo", 0)
    for number in range(20_000):
        session.feed(b"SET key:%d %b\r\n" % (number, b"v" * 50))
    engine.evictor.set_limit(used(engine) // 2)
    calls = 0
    while engine.evictor.evict_some():
        calls += 1
    assert calls < 1_000
    assert used(engine) <= engine.evictor.limit_bytes


def test_lfu_counters_decay() -> None:
    engine, session = make("allkeys-lfu", 0)
    session.feed(b"SET key v\r\n")
    for _ in range(50):
        session.feed(b"GET key\r\n")
    warm = int(session.feed(b"OBJECT FREQ key\r\n")[1:])
    engine.set_clock_ms(1_000_000 + 3 * 60_000)
    assert int(session.feed(b"OBJECT FREQ key\r\n")[1:]) == warm - 3


def test_s3fifo_lets_a_scan_pass() -> None:
    engine, session = make("allkeys-s3fifo", 1 << 30)
    for number in range(2_000):
        session.feed(b"SET hot:%d %b\r\n" % (number, b"v" * 50))
    engine.evictor.set_limit(used(engine) * 5 // 4)
    dice = random.Random(5)
    for _ in range(30_000):  # the working set proves itself
        number = dice.randrange(2_000)
        if session.feed(b"GET hot:%d\r\n" % number) == b"$-1\r\n":
            session.feed(b"SET hot:%d %b\r\n" % (number, b"v" * 50))
    for number in range(20_000):  # ten times the cache, each key once
        session.feed(b"SET scan:%d %b\r\n" % (number, b"v" * 50))
        session.feed(b"GET hot:%d\r\n" % dice.randrange(2_000))
    kept = sum(session.feed(b"EXISTS hot:%d\r\n" % number) == b":1\r\n" for number in range(2_000))
    assert kept > 1_700


def test_promotions_of_what_another_policy_marked_take_nothing_from_an_empty_small_queue() -> None:
    engine, session = make("noeviction", 0)
    engine.set_clock_ms(0x600000 << 10)  # the time of an access, which reads as three uses in the small queue
    for number in range(1_000):
        session.feed(b"SET key:%d %b\r\n" % (number, b"v" * 50))
    engine.evictor.set_policy("allkeys-s3fifo")
    engine.evictor.set_limit(used(engine) - 1_000)
    while engine.evictor.evict_some():
        pass
    assert audit(engine.keyspace) == []


def test_evicted_keys_are_told_to_replicas_and_watchers() -> None:
    engine, session = make("allkeys-random", 0)
    engine.effects.activate()
    session.feed(b"SET key v\r\n")
    watcher = Session(engine)
    watcher.feed(b"WATCH key\r\n")
    engine.evictor.set_limit(1)
    start = engine.effects.offset
    session.feed(b"GET nothing\r\n")
    assert engine.effects.read(start, 1000) == b"*2\r\n$3\r\nDEL\r\n$3\r\nkey\r\n"
    assert watcher.feed(b"MULTI\r\nPING\r\nEXEC\r\n").endswith(b"*-1\r\n")


def test_a_replica_never_evicts_by_itself() -> None:
    engine, session = make("allkeys-lru", 0)
    session.feed(b"SET key v\r\n")
    engine.keyspace.follower = True
    engine.evictor.set_limit(1)
    session.feed(b"GET key\r\n")
    assert not engine.evictor.evict_some()  # nor in its housekeeping
    assert engine.keyspace.evicted == 0
    engine.keyspace.follower = False
    engine.evictor.evict_some()
    assert engine.keyspace.evicted == 1


@pytest.mark.parametrize("policy", ["allkeys-lru", "noeviction"])
def test_a_flushed_database_that_a_snapshot_reads_is_no_licence_to_grow(policy: str) -> None:
    limit = 2_000_000
    engine, session = make(policy, limit)
    for number in range(7_000):
        assert session.feed(b"SET old:%d %b\r\n" % (number, b"v" * 100)) == b"+OK\r\n"
    with SnapshotWriter(engine.keyspace, {}, limit_bytes=1 << 20) as writer:
        writer.step(1_000)
        session.feed(b"FLUSHALL\r\n")
        flushed = used(engine)
        # What only the snapshot reads is not counted: there is as much room as in an empty cache.
        for number in range(7_000):
            assert session.feed(b"SET new:%d %b\r\n" % (number, b"v" * 100)) == b"+OK\r\n"
        assert engine.keyspace.evicted == 0
        for number in range(7_000, 30_000):
            session.feed(b"SET new:%d %b\r\n" % (number, b"v" * 100))
        assert used(engine) <= flushed + limit + 70_000
        assert not engine.evictor.evict_some()
    assert session.feed(b"SET new:30000 v\r\n") == b"+OK\r\n"
    while engine.evictor.evict_some():
        pass
    assert used(engine) <= limit + 1_000  # noeviction notices what was one too many


def test_a_flushed_database_makes_room_before_anything_is_evicted() -> None:
    engine, session = make("allkeys-lru", 0)
    for number in range(5_000):
        session.feed(b"SET key:%d %b\r\n" % (number, b"v" * 50))
    engine.evictor.set_limit(used(engine))
    session.feed(b"FLUSHALL ASYNC\r\n")
    for number in range(5_000):
        assert session.feed(b"SET new:%d %b\r\n" % (number, b"v" * 40)) == b"+OK\r\n"
    assert engine.keyspace.evicted == 0


@pytest.mark.parametrize("policy", EVICTION_POLICIES)
def test_changing_the_policy_while_full_is_harmless(policy: str) -> None:
    engine, session = make("allkeys-lru", 300_000)
    dice = random.Random(1)
    for step in range(12_000):
        if step == 4_000:
            engine.evictor.set_policy(policy)
        if step == 8_000:
            engine.evictor.set_policy("allkeys-s3fifo")
        expiry = b" EX 100" if dice.random() < 0.5 else b""
        reply = session.feed(b"SET key:%d %b%b\r\n" % (dice.randrange(10_000), b"v" * 60, expiry))
        assert reply in (b"+OK\r\n", OOM)
    assert used(engine) <= 300_000 + 70_000
