"""Changes of the slot map and of a shard's register: each does one thing, and only once."""

from __future__ import annotations

import pytest

from gossip.register import Change, Refused
from gossip.topology import ShardView
from gossip.votes import Plain
from node.slot_changes import (
    assignment,
    founding,
    in_sync_set,
    new_epoch,
    nomination,
    release,
    transfer,
    vacating,
)

P, Q = "p" * 40, "q" * 40
MAP: Plain = ((0, 9, "a"), (20, 29, "b"))
SHARD = ShardView("a", P, (P, Q), 3)


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        (assignment([10, 11], "a"), MAP, ((0, 11, "a"), (20, 29, "b"))),
        (assignment([3], "a"), None, ((3, 3, "a"),)),
        (release([0, 5, 9], "a"), MAP, ((1, 4, "a"), (6, 8, "a"), (20, 29, "b"))),
        (transfer(9, "a", "b"), MAP, ((0, 8, "a"), (9, 9, "b"), (20, 29, "b"))),
        (transfer(15, "", "b"), MAP, ((0, 9, "a"), (15, 15, "b"), (20, 29, "b"))),
    ],
)
def test_slot_map(change: Change, before: Plain, after: Plain) -> None:
    assert change(before) == after
    assert change(after) == after, "it must recognise its own effect"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (assignment([19, 20], "a"), "Slot 20 is already busy"),
        (release([20], "a"), "Slot 20 is owned by shard b"),
        (transfer(20, "a", "c"), "Slot 20 is owned by shard b by now, not by a"),
        (transfer(15, "a", "c"), "Slot 15 is owned by shard none by now"),
    ],
)
def test_slot_map_refusals(change: Change, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        change(MAP)


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        (founding(P, "a", 7), None, ShardView("a", P, (P,), 7)),
        (vacating(P, "a"), SHARD, ShardView("a", "", (), 4)),
        (in_sync_set(P, SHARD, (P,)), SHARD, ShardView("a", P, (P,), 3)),
        (nomination(Q, SHARD), SHARD, ShardView("a", P, (P, Q), 3, Q)),
        (nomination("", SHARD), ShardView("a", P, (P, Q), 3, Q), SHARD),
        (new_epoch(P, SHARD), SHARD, ShardView("a", P, (P, Q), 4)),
        (new_epoch(P, SHARD, floor=9), SHARD, ShardView("a", P, (P, Q), 10)),
    ],
)
def test_shard(change: Change, before: ShardView | None, after: ShardView) -> None:
    decided = change(None if before is None else before.to_data())
    assert ShardView.from_data("a", decided) == after
    assert change(decided) == decided, "it must recognise its own effect"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (founding(Q, "a", 7), "exists already, with primary pppp"),
        (in_sync_set(Q, SHARD, (Q,)), "not the primary"),
        (in_sync_set(P, ShardView("a", P, (P,), 2), (P,)), "not the primary of shard a at epoch 2 any more"),
        (nomination(Q, ShardView("a", P, (P,), 2)), "at epoch 3 by now"),
        (new_epoch(Q, SHARD), "not the primary"),
    ],
)
def test_shard_refusals(change: Change, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        change(SHARD.to_data())


def test_vacating_leaves_a_successor_alone() -> None:
    assert vacating(Q, "a")(SHARD.to_data()) == SHARD.to_data()


def test_an_in_sync_set_keeps_the_nomination() -> None:
    nominated = ShardView("a", P, (P, Q), 3, Q)
    decided = ShardView.from_data("a", in_sync_set(P, SHARD, (P,))(nominated.to_data()))
    assert decided.heir == Q
