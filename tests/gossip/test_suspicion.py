"""The timeout of a suspicion, from a table and by its laws."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.suspicion import LocalError, Suspicion, remaining_ms


@pytest.mark.parametrize(
    ("confirmed", "wanted", "elapsed_ms", "remaining"),
    [
        (0, 3, 0, 2600),
        (1, 3, 0, 1625),
        (2, 3, 0, 1054),
        (3, 3, 0, 650),
        (9, 3, 0, 650),
        (0, 3, 600, 2000),
        (3, 3, 650, 0),
        (3, 3, 700, -50),
        (0, 0, 0, 650),
        (0, 1, 0, 2600),
        (1, 1, 0, 650),
    ],
)
def test_table(confirmed: int, wanted: int, elapsed_ms: int, remaining: int) -> None:
    assert remaining_ms(confirmed, wanted, elapsed_ms, 650, 2600) == remaining


@pytest.mark.parametrize("broken", [(-1, 3, 0, 1, 2), (0, -1, 0, 1, 2), (0, 3, -1, 1, 2), (0, 3, 0, 3, 2)])
def test_broken_ranges_are_our_own_fault(broken: tuple[int, int, int, int, int]) -> None:
    with pytest.raises(LocalError, match="out of range"):
        remaining_ms(*broken)


@settings(deadline=None)
@given(
    wanted=st.integers(0, 10),
    floor_ms=st.integers(1, 10_000),
    stretch=st.integers(0, 60_000),
    elapsed_ms=st.integers(0, 100_000),
)
def test_each_accuser_shortens_it_and_never_below_the_floor(
    wanted: int, floor_ms: int, stretch: int, elapsed_ms: int
) -> None:
    ceiling_ms = floor_ms + stretch
    waits = [remaining_ms(count, wanted, elapsed_ms, floor_ms, ceiling_ms) for count in range(wanted + 2)]
    assert waits == sorted(waits, reverse=True)
    assert waits[-1] == floor_ms - elapsed_ms
    assert all(floor_ms <= wait + elapsed_ms <= ceiling_ms for wait in waits)


def test_an_accuser_counts_once_and_surplus_ones_are_not_remembered() -> None:
    suspicion = Suspicion(1_000, 650, 2_600, 2)
    assert suspicion.confirm("a")
    assert suspicion.due_ms() == 3_600
    assert not suspicion.confirm("a")
    assert suspicion.confirm("b")
    assert suspicion.confirm("c")
    assert not suspicion.confirm("d")
    assert suspicion.due_ms() == 1_650
    assert list(suspicion.accusers) == ["a", "b", "c"]


def test_time_we_stood_still_is_given_back() -> None:
    suspicion = Suspicion(1_000, 650, 2_600, 0)
    suspicion.confirm("a")
    suspicion.stand_still(500)
    assert suspicion.due_ms() == 2_150
