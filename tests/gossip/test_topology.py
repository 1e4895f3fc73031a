"""The snapshot that routes: slots to shards in constant time, and nothing shared that could change."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.topology import (
    SLOT_COUNT,
    MemberView,
    ShardView,
    Topology,
    owners_from_ranges,
    ranges_from_data,
    ranges_from_owners,
    shard_register,
)
from gossip.votes import MessageError, VoterSet

A, B, C = "a" * 40, "b" * 40, "c" * 40


def member(member_id: str, shard_id: str = "", **more: object) -> MemberView:
    return MemberView(member_id, "127.0.0.1", 7000, 17000, shard_id=shard_id, **more)  # type: ignore[arg-type]


def build(**changes: object) -> Topology:
    tables: dict[str, object] = {
        "version": 1,
        "cluster_id": "k",
        "members": {A: member(A, "s1"), B: member(B, "s1", status="dead"), C: member(C, "s2")},
        "shards": {"s1": ShardView("s1", A, (A, B), 4), "s2": ShardView("s2", C, (C,), 2)},
        "ranges": ((0, 8191, "s1"), (8192, 16383, "s2")),
        "voter_set": VoterSet(3, (A, B), (B, C)),
    }
    return Topology.build(**(tables | changes))  # type: ignore[arg-type]


def test_owners_and_members() -> None:
    topology = build()
    assert [topology.slot_owner(slot) for slot in (0, 8191, 8192, 16383)] == ["s1", "s1", "s2", "s2"]
    assert topology.epoch == 4
    assert topology.voters == (A, B, C)
    assert topology.primary_of("s1") == topology.members[A]
    assert topology.primary_of("nowhere") is None
    assert [replica.id for replica in topology.replicas_of("s1")] == [B]
    assert topology.replicas_of("") == ()
    assert topology.ranges_of("s2") == ((8192, 16383),)
    assert topology.slots_assigned() == SLOT_COUNT
    led = topology.shard_led_by(C)
    assert led is not None
    assert led.id == "s2"
    assert topology.shard_led_by(B) is None


def test_leads_by_decision_even_when_gossip_says_another_shard() -> None:
    led = build(members={A: member(A, "elsewhere")}).shard_led_by(A)
    assert led is not None
    assert led.id == "s1"


def test_slot_table_is_shared_only_while_ranges_are_equal() -> None:
    first = build()
    second = build(version=2, ranges=((0, 8191, "s1"), (8192, 16383, "s2")), predecessor=first)
    assert second._slots is first._slots
    third = build(version=3, ranges=((0, 16383, "s1"),), predecessor=second)
    assert third.slot_owner(16383) == "s1"
    assert first.slot_owner(16383) == "s2"


def test_snapshot_does_not_follow_its_sources() -> None:
    members = {A: member(A)}
    topology = build(members=members)
    members[B] = member(B)
    assert set(topology.members) == {A}
    with pytest.raises(TypeError):
        topology.members[B] = member(B)  # type: ignore[index]


@given(st.lists(st.tuples(st.integers(0, SLOT_COUNT - 1), st.sampled_from(["", "x", "y"])), max_size=40))
def test_ranges_and_owners_are_inverse(paints: list[tuple[int, str]]) -> None:
    owners = [""] * SLOT_COUNT
    for slot, shard_id in paints:
        owners[slot : slot + 97] = [shard_id] * len(owners[slot : slot + 97])
    ranges = ranges_from_owners(owners)
    assert owners_from_ranges(ranges) == owners
    assert ranges_from_data(ranges) == ranges  # sorted, disjoint, in bounds
    for before, after in itertools.pairwise(ranges):
        assert before[1] + 1 < after[0] or before[2] != after[2], "ranges could be shorter"


@pytest.mark.parametrize(
    "data",
    [
        5,
        ((0, 1),),
        ((0, "1", "s"),),
        ((0, 5, "s"), (5, 6, "t")),
        ((3, 2, "s"),),
        ((0, SLOT_COUNT, "s"),),
        ((-1, 2, "s"),),
        ((0, 1, ""),),
        ((4, 5, "s"), (0, 1, "s")),
    ],
)
def test_malformed_slot_maps_are_refused(data: object) -> None:
    with pytest.raises(MessageError, match="slots"):
        ranges_from_data(data)  # type: ignore[arg-type]


def test_no_slot_map_yet_is_empty() -> None:
    assert ranges_from_data(None) == ()


def test_shard_round_trip() -> None:
    shard = ShardView("s1", A, (A, B), 9)
    assert ShardView.from_data("s1", shard.to_data()) == shard
    assert ShardView.from_data("s1", None) == ShardView("s1")
    nominated = ShardView("s1", A, (A, B), 9, B)
    assert ShardView.from_data("s1", nominated.to_data()) == nominated
    assert shard_register("s1") == "shard/s1"


@pytest.mark.parametrize(
    "data",
    [
        "text",
        {"primary": A},
        {"primary": A, "in_sync": (A,), "epoch": True},
        {"primary": 5, "in_sync": (), "epoch": 1},
        {"primary": A, "in_sync": A, "epoch": 1},
        {"primary": A, "in_sync": (1,), "epoch": 1},
        {"primary": A, "in_sync": (A,), "epoch": 1, "heir": 7},
    ],
)
def test_malformed_shards_are_refused(data: object) -> None:
    with pytest.raises(MessageError, match="shard/s1"):
        ShardView.from_data("s1", data)  # type: ignore[arg-type]
