"""The chunked list is a list: whatever is done to it, a Python list says what must be there."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from node.engine.chunked import ChunkedList

# Short and long texts, integers of every width, and what only looks like one. The long ones fill chunks.
VALUES = st.one_of(
    st.sampled_from(
        [b"", b"a", b"0", b"-1", b"127", b"128", b"-4097", b"32768", b"1" * 18, b"01", b"-0", b"1" * 20]
    ),
    st.binary(max_size=70),
    st.tuples(st.binary(min_size=1, max_size=3), st.integers(60, 5000)).map(lambda pair: pair[0] * pair[1]),
)


def check(made: ChunkedList, model: list[bytes]) -> None:
    again, kept, given_out, chunks = made.audit()
    assert again == kept == given_out
    assert len(made) == len(model)
    assert chunks <= len(model)


class Lists(RuleBasedStateMachine):
    """Positions are fractions, so that they mean something whatever the length is."""

    @initialize(count=st.integers(0, 1500), size=st.integers(1, 300))
    def fill(self, count: int, size: int) -> None:
        self.model = [b"%0*d" % (size, number) for number in range(count)]
        self.made = ChunkedList()
        for value in self.model:
            self.made.push(value, False)

    def place(self, fraction: float) -> int:
        return min(int(fraction * len(self.model)), len(self.model) - 1)

    @rule(values=st.lists(VALUES, min_size=1, max_size=30), front=st.booleans())
    def push(self, values: list[bytes], front: bool) -> None:
        for value in values:
            self.made.push(value, front)
        self.model = values[::-1] + self.model if front else self.model + values

    @precondition(lambda self: self.model)
    @rule(fraction=st.floats(0, 1), values=st.lists(VALUES, min_size=1, max_size=20), behind=st.booleans())
    def insert(self, fraction: float, values: list[bytes], behind: bool) -> None:
        at = self.place(fraction)
        for value in values:
            assert self.made.insert(at, value, behind) == value
            self.model.insert(at + behind, value)

    @precondition(lambda self: self.model)
    @rule(fraction=st.floats(0, 1), value=VALUES)
    def replace(self, fraction: float, value: bytes) -> None:
        at = self.place(fraction)
        assert self.made.replace(at, value) == value
        self.model[at] = value

    @precondition(lambda self: self.model)
    @rule(fraction=st.floats(0, 1), count=st.integers(1, 300))
    def remove(self, fraction: float, count: int) -> None:
        at = self.place(fraction)
        for _ in range(min(count, len(self.model) - at)):
            del self.model[at]
            assert self.made.remove(at) == (self.model[at] if at < len(self.model) else None)

    @rule(count=st.one_of(st.integers(0, 10), st.integers(0, 2000)), front=st.booleans())
    def drop(self, count: int, front: bool) -> None:
        self.made.drop(count, front)
        kept = max(len(self.model) - count, 0)
        self.model = self.model[len(self.model) - kept :] if front else self.model[:kept]

    @rule()
    def join(self) -> None:
        self.made.join()

    @rule()
    def copy(self) -> None:
        copied = self.made.copy()
        check(copied, self.model)
        assert copied.walk(True) == self.model
        self.made = copied

    @rule(budget=st.integers(1, 3))
    def free(self, budget: int) -> None:
        if len(self.model) > 3000:
            while self.made.free_step(budget):
                pass
            self.model = []

    @precondition(lambda self: self.model)
    @rule(fraction=st.floats(0, 1))
    def get(self, fraction: float) -> None:
        at = self.place(fraction)
        assert self.made.get(at) == self.model[at]

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "model"):
            return
        check(self.made, self.model)
        assert self.made.walk(True) == self.model
        assert self.made.walk(False) == self.model[::-1]


Lists.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
test_any_sequence = pytest.mark.slow(Lists.TestCase)


def test_a_queue_stays_small() -> None:
    made = ChunkedList()
    for number in range(100):
        made.push(b"%016d" % number, False)
    for number in range(100, 5000):
        made.push(b"%016d" % number, False)
        made.drop(1, True)
    assert made.walk(True) == [b"%016d" % number for number in range(4900, 5000)]
    assert made.audit()[3] <= 2


@pytest.mark.parametrize("front", [True, False])
def test_elements_of_16_bytes_cost_18_and_a_quarter(front: bool) -> None:
    made = ChunkedList()
    for number in range(50_000):
        made.push(b"%016x" % number, front)
    assert made.audit()[1] / 50_000 < 18.25


def test_a_chunk_made_large_by_one_element_shrinks() -> None:
    for front in (True, False):
        made = ChunkedList()
        made.push(b"small", front)
        made.push(b"x" * 4_000, front)
        made.replace(1 - front, b"x" * 1_000_000)
        made.push(b"small", front)
        made.remove(1)
        assert made.walk(True) == [b"small", b"small"]
        assert made.audit()[1] < 20_000


def test_inserting_at_one_place_fills_chunks() -> None:
    made = ChunkedList()
    for number in range(2_000):
        made.push(b"%016d" % number, False)
    for number in range(20_000):
        made.insert(1_000, b"%016d" % number, False)
    again, kept, _, chunks = made.audit()
    assert again == kept
    assert chunks < 22_000 * 18 / 8168 * 2


def test_nothing_is_behind_the_last() -> None:
    made = ChunkedList()
    for act in (lambda: made.get(0), lambda: made.remove(0), lambda: made.insert(0, b"", False)):
        with pytest.raises(IndexError):
            act()
    assert made.walk(True) == made.walk(False) == []


@pytest.mark.parametrize(("first", "count"), [(0, 1), (0, 3), (2, 2), (1, 4)])
def test_keeping_some_chunks_keeps_what_is_in_them(first: int, count: int) -> None:
    made = ChunkedList()
    values = [b"%016d" % number for number in range(2_200)]
    for value in values:
        made.push(value, False)
    assert made.audit()[3] == 5
    made.keep(first, count)
    left = made.walk(True)
    at = values.index(left[0])
    assert values[at : at + len(left)] == left
    assert (at == 0) == (first == 0)
    assert (at + len(left) == len(values)) == (first + count == 5)
    check(made, left)
    with pytest.raises(IndexError):
        made.keep(count, 1)
