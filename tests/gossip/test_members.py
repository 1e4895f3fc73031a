"""The state table: the whole product, and what it promises about orders of arrival and bounds."""

from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.members import LISTED, PRESENT, TABLE, Effect, Event, Members, Status
from gossip.messages import Alive, Dead, Left, MemberClaim, Meta, Suspect
from gossip.suspicion import LocalError, Suspicion

ME, M, A, B = "0" * 40, "1" * 40, "a" * 40, "b" * 40


def meta(port: int = 7000) -> Meta:
    return Meta("10.0.0.1", port, port + 10_000, "node", "", "", 1, "test")


def members(**bounds: int) -> Members:
    limits = {"members_max": 100, "tombstones_max": 100, "forget_ms": 60_000, "dead_keep_ms": 3_600_000}
    limits.update(bounds)
    return Members(ME, lambda now_ms: Suspicion(now_ms, 600, 2_400, 2), **limits)


def never(_member: str) -> bool:
    return False


def in_state(status: Status, now_ms: int = 1_000) -> Members:
    """A list in which M has this status at incarnation 5."""
    table = members()
    if status is Status.UNKNOWN:
        return table
    table.claim(Alive(M, 5, meta()), now_ms)
    if status is Status.SUSPECT:
        table.claim(Suspect(M, 5, A), now_ms)
    elif status is Status.DEAD:
        table.claim(Dead(M, 5, A), now_ms)
    elif status is Status.LEFT:
        table.claim(Left(M, 5), now_ms)
    elif status is Status.BURIED:
        table.claim(Left(M, 5), now_ms)
        table.tick(now_ms + 3_600_000, never)
    elif status is Status.BANNED:
        table.forget(M, now_ms)
    assert table.status_of(M) is status
    return table


def test_the_table_covers_the_whole_product() -> None:
    assert set(TABLE) == set(Status)
    assert all(set(row) == set(Event) for row in TABLE.values())


def test_effects_fit_their_states() -> None:
    """Only the listed can be suspected, only presence is lost to death, and
    a tombstone is dropped where one is.
    """
    for status, event in product(Status, Event):
        outcome = TABLE[status][event]
        if outcome.becomes is Status.SUSPECT:
            assert status in PRESENT
        if Effect.ACCUSE in outcome.effects:
            assert (status, outcome.becomes) == (Status.ALIVE, Status.SUSPECT)
        if Effect.RELEASE in outcome.effects:
            assert status in (Status.BURIED, Status.BANNED)
        if outcome.becomes in LISTED and status not in LISTED:
            assert Effect.LEARN in outcome.effects
        if event is Event.STALE:
            assert (outcome.becomes, outcome.effects) == (status, ())
        if status is Status.SUSPECT and outcome.becomes is not Status.SUSPECT:
            assert Effect.CLEAR in outcome.effects


def apply(table: Members, event: Event) -> None:
    """Bring `event` about for M, which is at incarnation 5 (or unknown)."""
    now_ms = 2_000_000
    if event is Event.STALE:
        table.claim(Dead(M, 4, A), now_ms)
    elif event is Event.ALIVE:
        table.claim(Alive(M, 6, meta()), now_ms)
    elif event is Event.SUSPECTED:
        table.claim(Suspect(M, 5, B), now_ms)
    elif event is Event.DECLARED_DEAD:
        table.claim(Dead(M, 5, B), now_ms)
    elif event is Event.EXCHANGED_DEAD:
        table.exchanged("dead", Alive(M, 5, meta()), B, now_ms)
    elif event is Event.DECLARED_LEFT:
        table.claim(Left(M, 5), now_ms)
    elif event is Event.REFUSED:
        table.refused(M, 5, now_ms)
    elif event is Event.FORGET:
        table.forget(M, now_ms)
    elif event is Event.TIMER:
        table.tick(50_000, never)  # after any suspicion, before bans end and the dead are reaped
    elif event is Event.REAP:
        table.tick(3_700_000, never)
    else:
        table.tick(10_000_000, never)


@pytest.mark.parametrize("event", [event for event in Event if event not in (Event.REAP, Event.EXPIRE)])
@pytest.mark.parametrize("status", list(Status))
def test_every_pair_does_what_the_table_says(status: Status, event: Event) -> None:
    table = in_state(status)
    expected = TABLE[status][event].becomes
    apply(table, event)
    assert table.status_of(M) is expected
    listed = table.get(M)
    assert (listed is not None) == (expected in LISTED)
    if listed is not None:
        assert (listed.suspicion is not None) == (expected is Status.SUSPECT)
    assert table.present == (expected in PRESENT)


@pytest.mark.parametrize(("status", "after"), [(Status.DEAD, Status.BURIED), (Status.LEFT, Status.BURIED)])
def test_the_long_dead_are_buried_unless_they_matter(status: Status, after: Status) -> None:
    table = in_state(status)
    table.tick(3_700_000, lambda member: member == M)
    assert table.status_of(M) is status
    table.tick(3_800_000, never)
    assert table.status_of(M) is after
    assert table.get(M) is None


def test_bans_end() -> None:
    table = in_state(Status.BANNED)
    table.claim(Alive(M, 9, meta()), 30_000)
    assert table.status_of(M) is Status.BANNED
    table.tick(61_000, never)
    assert table.status_of(M) is Status.UNKNOWN
    table.claim(Alive(M, 9, meta()), 62_000)
    assert table.status_of(M) is Status.ALIVE


def test_the_buried_rise_with_a_higher_incarnation_only() -> None:
    table = in_state(Status.BURIED)
    assert table.claim(Alive(M, 5, meta()), 4_000_000) is None
    assert table.status_of(M) is Status.BURIED
    table.claim(Alive(M, 6, meta()), 4_000_000)
    assert table.status_of(M) is Status.ALIVE
    assert table.tombstones == 0


def test_a_member_told_dead_by_an_exchange_may_speak_first() -> None:
    table = in_state(Status.ALIVE)
    (change,) = table.exchanged("dead", Alive(M, 5, meta()), A, 2_000)
    assert change.after is Status.SUSPECT
    assert change.spread == Suspect(M, 5, A)


def test_an_unknown_dead_member_is_learned_quietly() -> None:
    table = members()
    (change,) = table.exchanged("dead", Alive(M, 5, meta()), A, 2_000)
    assert (change.after, change.spread) == (Status.DEAD, None)


def test_accusations_shorten_the_wait_and_only_new_ones_travel() -> None:
    table = in_state(Status.SUSPECT, 1_000)
    assert table.next_due_ms() == 1_000 + 2_400
    change = table.claim(Suspect(M, 5, B), 1_100)
    assert change is not None
    assert change.spread == Suspect(M, 5, B)
    assert not change.visible
    assert table.claim(Suspect(M, 5, B), 1_100) is None
    table.claim(Suspect(M, 5, "c" * 40), 1_200)
    assert table.next_due_ms() == 1_000 + 600
    (verdict,) = table.tick(1_600, never)
    assert verdict.spread == Dead(M, 5, ME)


def test_an_accusation_of_a_later_incarnation_begins_anew() -> None:
    table = in_state(Status.SUSPECT, 1_000)
    table.claim(Suspect(M, 7, B), 2_000)
    listed = table.get(M)
    assert listed is not None
    assert listed.incarnation == 7
    assert listed.suspicion is not None
    assert list(listed.suspicion.accusers) == [B]
    assert table.claim(Alive(M, 6, meta()), 2_100) is None


def test_meta_changes_are_visible() -> None:
    table = in_state(Status.ALIVE)
    change = table.claim(Alive(M, 6, meta(8000)), 2_000)
    assert change is not None
    assert change.visible
    again = table.claim(Alive(M, 7, meta(8000)), 2_000)
    assert again is not None
    assert not again.visible


def test_claims_about_ourselves_are_not_its_business() -> None:
    with pytest.raises(LocalError, match="belongs to the detector"):
        members().claim(Alive(ME, 1, meta()), 0)


def test_lists_are_bounded() -> None:
    table = members(members_max=10, tombstones_max=5)
    ids = [f"{number:040x}" for number in range(1, 31)]
    for member in ids:
        table.claim(Alive(member, 1, meta()), 1_000)
    assert len(table) == table.present == 10
    for member in ids:
        table.forget(member, 2_000)
    assert len(table) == table.present == 0
    assert table.tombstones == 5


def claims() -> st.SearchStrategy[MemberClaim]:
    incarnation = st.integers(0, 3)
    return st.one_of(
        st.builds(Alive, st.just(M), incarnation, st.builds(meta, st.just(7000))),
        st.builds(Suspect, st.just(M), incarnation, st.sampled_from([A, B])),
        st.builds(Dead, st.just(M), incarnation, st.sampled_from([A, B])),
    )


@settings(deadline=None, max_examples=60)
@given(st.lists(claims(), max_size=5))
def test_any_order_ends_alike_once_the_owner_has_spoken(heard: list[MemberClaim]) -> None:
    """Whatever was said before, in whatever order: the owner's word with the highest incarnation settles
    it.
    """
    for order in permutations(heard):
        table = members()
        table.claim(Alive(M, 0, meta()), 1_000)
        for claim in order:
            table.claim(claim, 1_000)
        table.claim(Alive(M, 4, meta()), 1_000)
        assert table.status_of(M) is Status.ALIVE
        assert table.next_due_ms() is None


@settings(deadline=None)
@given(st.lists(claims(), max_size=30))
def test_incarnations_never_fall_and_counts_agree(heard: list[MemberClaim]) -> None:
    table = members()
    table.claim(Alive(M, 0, meta()), 1_000)
    known = 0
    for claim in heard:
        table.claim(claim, 1_000)
        listed = table.get(M)
        assert listed is not None
        assert listed.incarnation >= known
        known = listed.incarnation
        assert table.present == (listed.status in PRESENT)
