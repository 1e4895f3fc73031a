"""chaos/workloads/writers.py: tags fall where they should; limits are refused by name."""

import random

import pytest

from chaos.topology import Address
from chaos.workloads.writers import Load, SlotGroup, tags_for
from gossip.slots import slot_of


def test_tags_fall_into_their_group_and_into_different_slots() -> None:
    edges = [range(5_461), range(5_461, 10_923), range(10_923, 16_384)]
    groups = [
        SlotGroup(index, Address("h", 1 + index), frozenset(slots)) for index, slots in enumerate(edges)
    ]
    tags = tags_for(groups, random.Random(3), wanted=20)
    assert [len(each) for each in tags] == [20, 20, 20]
    for group, group_tags in zip(groups, tags, strict=True):
        slots = [slot_of(b"chaos:{%b}:x" % tag) for tag in group_tags]
        assert set(slots) <= group.slots
        assert len(set(slots)) == 20
    assert tags_for(groups, random.Random(3), wanted=20) == tags


def test_a_group_with_few_slots_gets_as_many_tags() -> None:
    groups = [
        SlotGroup(0, Address("h", 1), frozenset({4, 9})),
        SlotGroup(1, Address("h", 2), frozenset(range(10, 16_384))),
    ]
    assert [len(each) for each in tags_for(groups, random.Random(1), wanted=5)] == [2, 5]


@pytest.mark.parametrize(
    "limit", [{"rate": 0.5}, {"rate": 6_000}, {"writers": 0}, {"writers": 65}, {"value_bytes": 47}]
)
def test_load_limits(limit: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(limit))):
        Load(**limit)  # type: ignore[arg-type]
