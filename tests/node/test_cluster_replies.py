"""What clients are told of a cluster in trouble: pure functions of a topology."""

from __future__ import annotations

from typing import Any

from gossip.topology import MemberView, ShardView, Topology
from gossip.votes import VoterSet
from node.cluster_replies import (
    info_fields,
    leads,
    nodes_text,
    shard_id_of,
    shards_reply,
    shown_members,
    slots_reply,
)

P, Q, R, ROUTER, LONER = ("p" * 40, "q" * 40, "r" * 40, "f" * 40, "e" * 40)


def member(member_id: str, port: int, **more: object) -> MemberView:
    facts: dict[str, object] = {"shard_id": "s", "offset": 7} | more
    return MemberView(member_id, "10.0.0.1", port, port + 10000, **facts)  # type: ignore[arg-type]


def topology(**changes: object) -> Topology:
    tables: dict[str, Any] = {
        "version": 1,
        "cluster_id": "k",
        "members": {
            P: member(P, 7000),
            Q: member(Q, 7001),
            R: member(R, 7002, offset=-1),
            LONER: member(LONER, 7003, shard_id=""),
            ROUTER: member(ROUTER, 6379, kind="router", shard_id=""),
        },
        "shards": {"s": ShardView("s", P, (P, Q), 4)},
        "ranges": ((0, 99, "s"), (200, 200, "s")),
        "voter_set": VoterSet(1, (P, Q, ROUTER)),
    }
    return Topology.build(**(tables | changes))


def with_status(status: str) -> Topology:
    sound = topology()
    return topology(members={**sound.members, P: member(P, 7000, status=status)})


def rows(told: bytes) -> dict[str, list[str]]:
    return {line.split(" ")[0]: line.split(" ")[1:] for line in told.decode().splitlines()}


def test_nodes_text() -> None:
    assert rows(nodes_text(topology(), P, {Q: 123}, moving=["[5->-x]"])) == {
        P: [
            "10.0.0.1:7000@17000",
            "myself,master",
            "-",
            "0",
            "0",
            "4",
            "connected",
            "0-99",
            "200",
            "[5->-x]",
        ],
        Q: ["10.0.0.1:7001@17001", "slave", P, "0", "123", "4", "connected"],
        R: ["10.0.0.1:7002@17002", "slave", P, "0", "0", "4", "connected"],
        LONER: ["10.0.0.1:7003@17003", "master", "-", "0", "0", "0", "connected"],
    }


def test_a_router_shows_itself_and_nobody_else_shows_it() -> None:
    assert ROUTER not in rows(nodes_text(topology(), P, {}))
    told = rows(nodes_text(topology(), ROUTER, {}))
    assert list(told) == [ROUTER, LONER, P, Q, R]
    assert told[ROUTER][1] == "myself,master,nofailover"


def test_trouble_shows_in_flags_and_health() -> None:
    for status, flags, link, health in [
        ("suspect", "master,fail?", "connected", b"online"),
        ("dead", "master,fail", "disconnected", b"fail"),
        ("left", "master,fail", "disconnected", b"fail"),
    ]:
        seen = with_status(status)
        told = rows(nodes_text(seen, Q, {}))
        assert (told[P][1], told[P][6]) == (flags, link)
        shard = next(each for each in shards_reply(seen, Q) if each[b"slots"])  # type: ignore[union-attr]
        assert [each[b"health"] for each in shard[b"nodes"]] == [health, b"online", b"loading"]


def test_slots_name_readable_replicas_only() -> None:
    expected = [[b"10.0.0.1", 7000, P.encode(), []], [b"10.0.0.1", 7001, Q.encode(), []]]
    assert slots_reply(topology()) == [[0, 99, *expected], [200, 200, *expected]]
    # The decided primary is named also while it is dead: nobody else may take its writes.
    assert slots_reply(with_status("dead")) == slots_reply(topology())


def test_a_primary_without_an_address_is_left_out() -> None:
    shards = {"s": ShardView("s", "a" * 40, (), 4)}
    assert slots_reply(topology(shards=shards)) == []


def test_members_that_left_are_shown_only_while_they_own_something() -> None:
    sound = topology()
    members = {**sound.members, Q: member(Q, 7001, status="left")}
    assert Q not in [view.id for view in shown_members(topology(members=members), P)]
    assert P in [view.id for view in shown_members(with_status("left"), Q)]


def test_a_member_without_a_shard_is_a_shard_of_its_own() -> None:
    seen = topology()
    assert shard_id_of(seen, LONER) == LONER
    assert shard_id_of(seen, "nobody") == "nobody"
    assert leads(seen, seen.members[LONER])
    assert not leads(seen, seen.members[Q])
    lone = shards_reply(seen, P)[-1]  # type: ignore[index]
    assert lone[b"slots"] == []
    assert [each[b"role"] for each in lone[b"nodes"]] == [b"master"]


def test_info_counts_slots_by_the_state_of_their_primary() -> None:
    def told(seen: Topology) -> dict[str, object]:
        return dict(info_fields(seen, Q, ok=True, messages_sent=1, messages_received=2))

    sound = told(topology())
    assert sound["cluster_slots_assigned"] == sound["cluster_slots_ok"] == 101
    assert (sound["cluster_known_nodes"], sound["cluster_size"]) == (4, 1)
    assert (sound["cluster_current_epoch"], sound["cluster_my_epoch"]) == (4, 4)
    assert told(with_status("suspect"))["cluster_slots_pfail"] == 101
    assert told(with_status("dead"))["cluster_slots_fail"] == 101
    assert told(with_status("dead"))["cluster_slots_ok"] == 0
