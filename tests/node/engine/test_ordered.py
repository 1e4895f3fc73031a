"""The ordered index against a sorted list."""

from __future__ import annotations

import bisect
import random
from itertools import islice

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from node.engine.number_index import NumberIndex

# Close together, so that numbers meet again and ranges hold several.
numbers = st.integers(0, 3000)
MANY = 200


class AgainstASortedList(RuleBasedStateMachine):
    """Few steps of Hypothesis, each of which may insert or remove many: trees of three levels come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.index = NumberIndex()
        self.model: list[int] = []

    def _insert(self, number: int) -> None:
        at = bisect.bisect_left(self.model, number)
        new = at == len(self.model) or self.model[at] != number
        if new:
            self.model.insert(at, number)
        assert self.index.insert(number) is new

    @rule(number=numbers)
    def insert(self, number: int) -> None:
        self._insert(number)

    @rule(seed=st.integers(0, 1 << 32), span=st.sampled_from([500, 20_000]))
    def insert_many(self, seed: int, span: int) -> None:
        source = random.Random(seed)
        for _ in range(MANY):
            self._insert(source.randrange(span))

    @rule(start=numbers, step=st.sampled_from([-7, -1, 1, 7]))
    def insert_in_order(self, start: int, step: int) -> None:
        for number in range(max(0, start), max(0, start + MANY * step), step):
            self._insert(number)

    @rule(count=st.integers(1, MANY))
    def append(self, count: int) -> None:
        last = self.model[-1] if self.model else 0
        for number in range(last + 1, last + 1 + count):
            self.index.append(number)
            self.model.append(number)

    @rule(number=numbers)
    def remove(self, number: int) -> None:
        assert self.index.remove(number) is (number in self.model)
        if number in self.model:
            self.model.remove(number)

    @rule(seed=st.integers(0, 1 << 32), share=st.floats(0.1, 1.0))
    def remove_many(self, seed: int, share: float) -> None:
        source = random.Random(seed)
        for number in source.sample(self.model, int(len(self.model) * share)):
            assert self.index.remove(number)
            self.model.remove(number)

    @rule(count=st.integers(1, MANY), back=st.booleans())
    def pop(self, count: int, back: bool) -> None:
        for number in self.model[-count:] if back else self.model[:count]:
            assert self.index.remove(number)
        self.model = self.model[:-count] if back else self.model[count:]

    @rule(share=st.floats(0, 1), count=st.integers(0, 500), room=st.sampled_from([1, 5, 1000]))
    def cut(self, share: float, count: int, room: int) -> None:
        rank = int(share * len(self.model))
        left = count
        while left > 0:
            gone = self.index.cut(rank, min(room, left))
            if not gone:
                break
            assert gone == self.model[rank : rank + len(gone)]
            del self.model[rank : rank + len(gone)]
            left -= len(gone)
        assert left == 0 or rank == len(self.model)

    @rule(share=st.floats(0, 1, exclude_max=True))
    def replace(self, share: float) -> None:
        rank = int(share * len(self.model))
        if rank + 1 < len(self.model) and self.model[rank] + 1 < self.model[rank + 1]:
            self.index.replace(rank, self.model[rank] + 1)
            self.model[rank] += 1

    @rule(number=numbers, shift=st.sampled_from([0, 3]), after=st.booleans())
    def look(self, number: int, shift: int, after: bool) -> None:
        kept = [each >> shift for each in self.model]
        find = bisect.bisect_right if after else bisect.bisect_left
        rank = find(kept, number >> shift)
        assert self.index.rank(number, after=after, shift=shift) == rank
        assert self.index.walk_from(number, after=after, shift=shift) == self.model[rank:]
        assert self.index.at(rank) == (self.model[rank] if rank < len(self.model) else None)
        assert self.index.walk_back(rank) == (self.model[rank::-1] if rank < len(self.model) else [])

    @rule(budget=st.integers(1, 300))
    def free_some(self, budget: int) -> None:
        while self.index.free_some(budget):
            pass
        assert self.index.audit() == 0
        self.model = []

    @invariant()
    def agrees(self) -> None:
        self.index.audit()
        assert len(self.index) == len(self.model)
        assert self.index.walk_from(0) == self.model


AgainstASortedList.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestAgainstASortedList = pytest.mark.slow(AgainstASortedList.TestCase)


def filled(count: int) -> NumberIndex:
    index = NumberIndex()
    for number in range(count):
        index.append(number)
    return index


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "most_bytes"), [("random", 11.0), ("ascending", 9.0), ("descending", 10.5), ("halves", 11.5)]
)
def test_bytes_per_word(order: str, most_bytes: float) -> None:
    count = 100_000
    wanted = list(range(count))
    if order == "random":
        random.Random(5).shuffle(wanted)
    elif order == "descending":
        wanted.reverse()
    elif order == "halves":  # each at the border of two that are there
        wanted = [number for step in (8, 4, 2, 1) for number in range(step - 1, count, step)]
    index = NumberIndex()
    for number in wanted:
        index.insert(number)
    assert index.audit() / len(index) < most_bytes


@pytest.mark.slow
def test_what_thins_out_is_given_back() -> None:
    index = filled(50_000)
    for number in range(50_000):
        if number % 10:
            index.remove(number)
    assert index.walk_from(0) == list(range(0, 50_000, 10))
    assert index.audit() / len(index) < 16


@pytest.mark.parametrize("count", range(1, 130, 3))
def test_a_small_index_is_small(count: int) -> None:
    index = filled(count)
    assert index.audit() <= max(32, 16 * count + 16) + (1300 if count > 63 else 0)
    for number in islice(range(count), count - 1):
        assert index.remove(number)
    assert index.audit() <= 80
    assert index.remove(count - 1)
    assert index.audit() == 0


def test_freeing_takes_steps_of_bounded_size() -> None:
    index = filled(10_000)
    steps = 0
    held = index.audit()
    while index.free_some(100):
        steps += 1
    assert 10_000 / 164 <= steps <= 10_000 / 100
    assert held > 0
    assert index.audit() == 0
    assert index.insert(1)


def test_an_empty_index_answers() -> None:
    index = NumberIndex()
    assert (len(index), index.rank(5), index.at(0)) == (0, 0, None)
    assert index.walk_from(0) == index.walk_back(0) == []
    assert not index.remove(1)
    assert index.cut(0, 10) == []
    assert not index.free_some(1)
