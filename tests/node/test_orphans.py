"""Replica migration: who moves where, and that nobody else does."""

from __future__ import annotations

import itertools

import pytest

from gossip.topology import MemberView, ShardView, Topology
from gossip.votes import VoterSet
from node.orphans import WAIT_MS, Migration, destination


def topology(shards: dict[str, list[str]], *, dead: str = "", slots: str = "xyz") -> Topology:
    """Shards by name: their members by single letters, the primary first. `slots`: shards that own some."""
    members = {
        letter: MemberView(
            letter, "h", 1, 2, shard_id=shard, status="dead" if letter in dead else "alive", offset=1
        )
        for shard, letters in shards.items()
        for letter in letters
    }
    owners = [shard for shard in sorted(shards) if shard in slots]
    size = 16384 // max(1, len(owners))
    return Topology.build(
        version=1,
        cluster_id="k",
        members=members,
        shards={shard: ShardView(shard, letters[0], (letters[0],), 1) for shard, letters in shards.items()},
        ranges=tuple((size * n, size * (n + 1) - 1, shard) for n, shard in enumerate(owners)),
        voter_set=VoterSet(1, ("a",)),
    )


@pytest.mark.parametrize(
    ("shards", "dead", "barrier", "moves"),
    [
        # x has lost its replica; y has two: the one with the lowest id goes
        ({"x": ["a", "b"], "y": ["c", "d", "e"]}, "b", 1, {"d": "a"}),
        ({"x": ["a"], "y": ["c", "d", "e"]}, "", 1, {"d": "a"}),
        ({"x": ["a", "b"], "y": ["c", "d", "e"]}, "", 1, {}),  # nobody is orphaned
        ({"x": ["a", "b"], "y": ["c", "d"]}, "b", 1, {}),  # nobody can spare one
        ({"x": ["a", "b"], "y": ["c", "d"]}, "b", 0, {"d": "a"}),
        ({"x": ["a", "b"], "y": ["c", "d", "e"]}, "b", 2, {}),
        ({"x": ["a", "b"], "y": ["c", "d", "e"]}, "bd", 1, {}),  # one of the two is dead: none to spare
        ({"x": ["a", "b"], "y": ["c", "d", "e"]}, "ab", 1, {}),  # its primary is dead: a matter of election
        ({"x": ["a", "b"], "y": ["c", "d", "e"]}, "bc", 1, {}),  # ours is: first things first
        ({"x": ["a"], "y": ["c", "d", "e"], "z": ["f", "g", "h", "i"]}, "", 1, {"g": "a"}),  # most gives
        ({"x": ["a"], "y": ["b"], "z": ["f", "g", "h", "i"]}, "", 1, {"g": "a"}),  # one at a time
    ],
)
def test_who_moves(shards: dict[str, list[str]], dead: str, barrier: int, moves: dict[str, str]) -> None:
    seen = topology(shards, dead=dead)
    everybody = list(itertools.chain.from_iterable(shards.values()))
    found = {letter: destination(seen, letter, barrier) for letter in everybody if letter not in dead}
    assert {letter: primary for letter, primary in found.items() if primary} == moves


def test_a_primary_without_slots_needs_no_replica() -> None:
    shards = {"x": ["a"], "y": ["c", "d", "e"]}
    assert destination(topology(shards, slots="y"), "d", 1) == ""


def test_a_replica_that_restarts_is_waited_for() -> None:
    orphaned = topology({"x": ["a", "b"], "y": ["c", "d", "e"]}, dead="b")
    whole = topology({"x": ["a", "b"], "y": ["c", "d", "e"]})
    migration = Migration()
    assert migration.look(orphaned, "d", 1, 0) == ""
    assert migration.look(orphaned, "d", 1, WAIT_MS - 1) == ""
    assert migration.look(whole, "d", 1, WAIT_MS - 1) == ""
    assert migration.look(orphaned, "d", 1, WAIT_MS) == "", "the wait begins anew"
    assert migration.look(orphaned, "d", 1, 2 * WAIT_MS) == "a"
    assert migration.look(orphaned, "d", 1, 2 * WAIT_MS + 1) == "", "it is under way"
    assert migration.look(orphaned, "d", 1, 3 * WAIT_MS) == "a", "it came to nothing"
