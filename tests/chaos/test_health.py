"""chaos/health.py: each thing that keeps a cluster from being whole is named."""

from dataclasses import replace

import pytest

from chaos.health import NodeFacts, View, troubles
from chaos.topology import Address, NodeLine

A, B, C, D = (Address("127.0.0.1", port) for port in (7000, 7001, 7002, 7003))
OWNERS = ((0, 8191, A), (8192, 16383, B))


def line(
    id: str, address: Address, primary_id: str = "", slots: int = 0, first: int = -1, flags: str = ""
) -> NodeLine:
    return NodeLine(id, address, frozenset(flags.split(",")), primary_id, "connected", slots, first)


LINES = (
    line("a", A, slots=8192, first=0),
    line("b", B, slots=8192, first=8192),
    line("c", C, "a"),
    line("d", D, "b"),
)


def facts(address: Address, role: str, offset: int = 100) -> NodeFacts:
    return NodeFacts(address, 1, role, offset, True, False, OWNERS, LINES)


def whole() -> dict[Address, NodeFacts]:
    return {A: facts(A, "master"), B: facts(B, "master"), C: facts(C, "slave"), D: facts(D, "slave")}


BEFORE = {A: 90, B: 100}


def test_whole() -> None:
    view = View(whole(), {})
    assert troubles(view, BEFORE) == []
    assert [each.id for each in view.primaries()] == ["a", "b"]
    assert [each.id for each in view.replicas_of("a")] == ["c"]


@pytest.mark.parametrize(
    ("address", "change", "text"),
    [
        (A, {"owners": ((0, 16383, A),)}, "2 different slot maps"),
        (C, {"loading": True}, "7002 is still loading"),
        (C, {"link_up": False}, "7002 has no link"),
        (A, {"lines": (*LINES[:3], line("d", D))}, "7000 has not heard that 127.0.0.1:7003 is now a replica"),
        (D, {"offset": 60}, "7003 is 40 bytes behind 127.0.0.1:7001"),
        (
            B,
            {"lines": (*LINES[:3], line("d", D, "b", flags="slave,fail?"))},
            "counts 127.0.0.1:7003 as failed",
        ),
    ],
)
def test_each_trouble(address: Address, change: dict[str, object], text: str) -> None:
    members = whole()
    members[address] = replace(members[address], **change)  # type: ignore[arg-type]
    found = troubles(View(members, {}), BEFORE)
    assert len(found) == 1
    assert text in found[0]


def test_unserved_slots() -> None:
    members = {address: replace(each, owners=((0, 99, A),)) for address, each in whole().items()}
    found = troubles(View(members, {}), BEFORE)
    assert len(found) == 4
    assert all("no owner for 16284 slots" in each for each in found)


def test_silence_is_trouble() -> None:
    members = whole()
    del members[D]
    assert troubles(View(members, {D: "127.0.0.1:7003: Connection refused"}), BEFORE) == [
        "no answer from 127.0.0.1:7003: Connection refused"
    ]


def test_a_replica_is_not_judged_by_a_primary_that_was_not_seen_before() -> None:
    found = troubles(View(whole(), {}), {A: 90})
    assert found == ["127.0.0.1:7001 has not been seen before; its replicas cannot be judged yet"]


def test_nobody_answers() -> None:
    view = View({}, {A: "silent"})
    assert view.primaries() == []
    assert troubles(view, {}) == ["no answer from silent"]
