"""Names whose hashes meet in the first bucket of a table: what chance brings once in a billion lookups."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from node.engine.audit import audit
from node.engine.hashing import keyed_hash
from node.engine.keyspace import Keyspace

HASH_KEY: Final = bytes(16)
# The window is 0, as a free word's is, and the bits of the tag are 0 or 1. Found by trying fifty million.
LOW: Final = tuple(
    b"{t}%d" % number for number in (15688856, 22432113, 22611378, 23383108, 29938434, 49514608)
)
TAG_SHIFT: Final = 16
NO_EXPIRY: Final = -1


def _window(name: bytes) -> int:
    return keyed_hash(HASH_KEY, name) >> 48


def _tag_bits(name: bytes) -> int:
    return keyed_hash(HASH_KEY, name) >> TAG_SHIFT & 0xFF


def _near() -> list[bytes]:
    """Names of the first sixteenth of the order whose tags are among the lowest four."""
    names = (b"{t}%d" % number for number in range(60_000))
    return [name for name in names if _window(name) < 1 << 12 and _tag_bits(name) < 4]


NEAR: Final = _near()


def _keyspace() -> Keyspace:
    return Keyspace(cluster=True, databases=1, hash_key=HASH_KEY, clock_ms=1)


def test_these_names_are_what_they_are_said_to_be() -> None:
    assert all(_window(name) == 0 and _tag_bits(name) <= 1 for name in LOW)
    assert len(NEAR) > 30


@pytest.mark.parametrize("others", range(8))
def test_a_free_place_is_not_taken_for_an_entry(others: int) -> None:
    for kept in LOW:
        keyspace = _keyspace()
        for number in range(others):
            keyspace.set(0, b"{t}other:%d" % number, b"v", NO_EXPIRY)
        keyspace.set(0, kept, b"kept", NO_EXPIRY)
        for name in LOW:
            assert keyspace.get(0, name) == (b"kept" if name == kept else None)


class BucketMachine(RuleBasedStateMachine):
    """Entries that crowd in a few buckets, with as few tags as there can be, against a dictionary."""

    names = st.one_of(st.sampled_from(LOW), st.sampled_from(NEAR), st.integers(0, 30).map(b"{t}%d".__mod__))

    def __init__(self) -> None:
        super().__init__()
        self.real = _keyspace()
        self.model: dict[bytes, bytes] = {}

    @rule(name=names, value=st.binary(max_size=20))
    def set(self, name: bytes, value: bytes) -> None:
        self.real.set(0, name, value, NO_EXPIRY)
        self.model[name] = value

    @rule(name=names)
    def delete(self, name: bytes) -> None:
        assert self.real.delete(0, name) == (self.model.pop(name, None) is not None)

    @rule(name=names)
    def get(self, name: bytes) -> None:
        assert self.real.get(0, name) == self.model.get(name)

    @invariant()
    def holds(self) -> None:
        assert audit(self.real) == []


TestBuckets = BucketMachine.TestCase
TestBuckets.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
