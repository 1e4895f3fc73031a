"""The audit agrees with a keyspace through every size and state of its tables."""

from __future__ import annotations

import random

import pytest

from node.engine.audit import audit
from node.engine.keyspace import Keyspace
from tests.oracle import Ours

START_MS = 1_000_000


@pytest.mark.parametrize("cluster", [False, True])
def test_figures_agree_while_a_table_grows_and_shrinks(cluster: bool) -> None:
    chance = random.Random(1)
    keyspace = Keyspace(cluster=cluster, databases=2, hash_key=b"k" * 16, clock_ms=START_MS)
    for top in (1, 2, 8, 60, 700, 5_000, 300, 3, 0):
        for number in range(5_000):
            name = b"{one slot}%d" % number
            if number < top:
                expire_ms = START_MS + chance.randrange(10_000) if number % 3 == 0 else -1
                keyspace.set(number % 2, name, b"v" * (number % 60), expire_ms)
            else:
                keyspace.delete(number % 2, name)
        assert audit(keyspace) == []
    assert keyspace.memory()["used_bytes"] == 0


def test_figures_agree_while_entries_expire_and_a_cleared_database_waits() -> None:
    keyspace = Keyspace(databases=2, hash_key=b"k" * 16, clock_ms=START_MS)
    for number in range(2_000):
        keyspace.set(number % 2, b"%d" % number, b"v", START_MS + number)
    keyspace.set_clock_ms(START_MS + 700)
    keyspace.expire_some(100)
    assert audit(keyspace) == []
    keyspace.clear(0)
    assert audit(keyspace) == []
    while keyspace.free_some(100):
        pass
    while keyspace.expire_some(100):
        pass
    assert audit(keyspace) == []
    assert keyspace.size(1) == 650


def test_debug_audit_says_ok() -> None:
    ours = Ours()
    ours.call(b"SET", b"k", b"v")
    assert ours.call(b"DEBUG", b"AUDIT") == b"+OK\r\n"
