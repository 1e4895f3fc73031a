"""router/routes.py: what is decided becomes the table, whatever gossip believes about the members."""

import pytest

from gossip.topology import MemberView, Range, ShardView, Topology
from gossip.votes import VoterSet
from router.routes import Routes, routes_of


def member(id: str, port: int, shard: str = "", host: str = "10.0.0.1", **more: object) -> MemberView:
    return MemberView(id, host, port, port + 10_000, shard_id=shard, **more)  # type: ignore[arg-type]


def topology(members: list[MemberView], shards: list[ShardView], ranges: tuple[Range, ...]) -> Topology:
    return Topology.build(
        version=1,
        cluster_id="c",
        members={each.id: each for each in members},
        shards={each.id: each for each in shards},
        ranges=ranges,
        voter_set=VoterSet(1, ("a",)),
    )


A, B = member("a", 7000, "s1"), member("b", 7001, "s2")
SHARDS = [ShardView("s1", "a", ("a",), 1), ShardView("s2", "b", ("b",), 1)]
RANGES = ((0, 9, "s2"), (10, 99, "s1"), (200, 300, "s2"))


def test_every_range_points_at_its_primary() -> None:
    routes = routes_of(topology([A, B], SHARDS, RANGES))
    assert routes == Routes((b"10.0.0.1:7000", b"10.0.0.1:7001"), ((0, 9, 1), (10, 99, 0), (200, 300, 1)))


@pytest.mark.parametrize("status", ["alive", "suspect", "dead", "left"])
def test_what_gossip_believes_changes_nothing(status: str) -> None:
    routes = routes_of(topology([A, member("b", 7001, "s2", status=status)], SHARDS, RANGES))
    assert routes.endpoints == (b"10.0.0.1:7000", b"10.0.0.1:7001")


def test_the_register_names_the_primary_not_the_member() -> None:
    replica = member("r", 7005, "s1")
    moved = [ShardView("s1", "r", ("r", "a"), 2), SHARDS[1]]
    assert routes_of(topology([A, B, replica], moved, RANGES)).endpoints[0] == b"10.0.0.1:7005"


def test_a_shard_whose_primary_nobody_knows_has_no_route() -> None:
    unknown = [ShardView("s1", "", (), 0), SHARDS[1]]
    routes = routes_of(topology([A, B], unknown, RANGES))
    assert routes == Routes((b"10.0.0.1:7001",), ((0, 9, 0), (200, 300, 0)))
    gone = routes_of(topology([B], SHARDS, RANGES))
    assert gone == routes


def test_nothing_assigned() -> None:
    assert routes_of(topology([A, B], SHARDS, ())) == Routes((), ())


def test_ipv6_is_written_as_redis_does() -> None:
    six = member("a", 7000, "s1", host="::1")
    assert routes_of(topology([six], SHARDS, RANGES)).endpoints == (b"::1:7000",)
