"""Refused connections: only a majority of voters that tried, ourselves among them, is a death."""

from gossip.refusal import CASES_MAX, WITNESSES_MAX, Refusals

VOTERS = ("me", "b", "c", "d", "e")


def test_hearsay_is_not_enough() -> None:
    refusals = Refusals("me")
    for voter in ("b", "c", "d", "e"):
        refusals.heard("x", 1, voter)
    assert not refusals.majority("x", 1, VOTERS)
    refusals.found("x", 1, 0)
    assert refusals.majority("x", 1, VOTERS)


def test_our_own_check_needs_the_others() -> None:
    refusals = Refusals("me")
    refusals.found("x", 1, 0)
    assert refusals.evidence("x", 1)
    refusals.heard("x", 1, "b")
    refusals.heard("x", 1, "stranger")
    assert not refusals.majority("x", 1, VOTERS)
    refusals.heard("x", 1, "c")
    assert refusals.majority("x", 1, VOTERS)
    assert not refusals.majority("x", 1, ())


def test_evidence_belongs_to_one_incarnation() -> None:
    refusals = Refusals("me")
    refusals.found("x", 1, 0)
    refusals.heard("x", 1, "b")
    refusals.heard("x", 1, "c")
    assert not refusals.evidence("x", 2)
    refusals.heard("x", 2, "b")
    assert not refusals.evidence("x", 1)
    assert not refusals.majority("x", 2, VOTERS)


def test_the_voters_are_told_again_until_it_is_settled() -> None:
    refusals = Refusals("me")
    assert refusals.next_due_ms(100) is None
    refusals.heard("y", 1, "b")
    refusals.found("x", 3, 1_000)
    assert refusals.next_due_ms(100) == 1_100
    assert refusals.due(1_099, 100) == []
    assert refusals.due(1_100, 100) == [("x", 3)]
    refusals.told("x", 1_100)
    assert refusals.due(1_150, 100) == []
    refusals.settled("x")
    assert refusals.due(9_999, 100) == []
    assert refusals.evidence("x", 3)
    refusals.contradicted("x")
    assert not refusals.evidence("x", 3)


def test_memory_is_bounded() -> None:
    refusals = Refusals("me")
    for number in range(2 * CASES_MAX):
        refusals.heard(f"x{number}", 1, "b")
    assert len(refusals) == CASES_MAX
    for number in range(2 * WITNESSES_MAX):
        refusals.heard("y", 1, f"w{number}")
    refusals.found("y", 1, 0)
    assert refusals.evidence("y", 1)
