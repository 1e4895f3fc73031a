"""How fast long work goes on: steps of a certain time, and a share of the time beside busy clients."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.pace import BUSY_MS, Pace


def drive(pace: Pace, run_ms: int, slice_us: float, *, busy: bool, pressure: float = 0.0) -> list[float]:
    """Steps for so long, clients asking all the time or never; returns how long each took."""
    now_us, taken_us, commands = 0.0, [], 0
    while now_us < run_ms * 1_000:
        commands += busy
        rest_ms = pace.rest_ms(int(now_us) // 1_000, commands, pressure)
        if rest_ms > 0:
            now_us = (now_us // 1_000 + rest_ms) * 1_000
            continue
        took_us = slice_us
        while took_us < pace.limit_us:
            took_us += slice_us
        pace.spent(int(took_us))
        taken_us.append(took_us)
        now_us += took_us + 100  # everybody else's turn
    return taken_us


@pytest.mark.parametrize("slice_us", [1.0, 8.0, 40.0, 700.0])
def test_a_step_takes_as_long_as_it_should_and_a_slice_more_at_worst(slice_us: float) -> None:
    for took_us in drive(Pace(125, 0.2, 0, 0), 1_000, slice_us, busy=True):
        assert 125 <= took_us < 125 + slice_us or took_us == slice_us


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("slice_us", [2.0, 40.0, 400.0])
def test_busy_clients_leave_it_its_share_and_no_more(share: float, slice_us: float) -> None:
    taken_us = drive(Pace(125, share, 0, 0), 2_000, slice_us, busy=True)
    assert 0.9 * share <= sum(taken_us) / 2_000_000 <= 1.05 * share


@pytest.mark.parametrize(("pressure", "share"), [(0.0, 0.2), (0.125, 0.4), (0.25, 0.6)])
def test_what_is_written_meanwhile_makes_it_hurry(pressure: float, share: float) -> None:
    taken_us = drive(Pace(125, 0.2, 0, 0), 2_000, 10.0, busy=True, pressure=pressure)
    assert 0.85 * share <= sum(taken_us) / 2_000_000 <= 1.05 * share


def test_a_ring_that_will_be_half_full_lets_it_take_all() -> None:
    taken_us = drive(Pace(125, 0.2, 0, 0), 2_000, 10.0, busy=True, pressure=0.5)
    assert sum(taken_us) + 100 * len(taken_us) >= 2_000_000 - 1_000
    assert taken_us[-1] == 1_000


def test_alone_it_never_rests() -> None:
    taken_us = drive(Pace(125, 0.2, 0, 0), 2_000, 10.0, busy=False)
    assert sum(taken_us) + 100 * len(taken_us) >= 2_000_000 - BUSY_MS * 1_000


def test_who_was_idle_for_a_moment_is_not_forgotten() -> None:
    pace = Pace(125, 0.2, 0, 0)
    pace.spent(10_000)  # one large value
    assert pace.rest_ms(1, 1, 0.0) > 0
    assert pace.rest_ms(BUSY_MS, 1, 0.0) > 0  # a command was seen at 1
    assert pace.rest_ms(1 + BUSY_MS, 1, 0.0) == 0


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 2), st.integers(0, 1 << 20)),
        max_size=50,
    )
)
def test_credit_is_never_saved_up(steps: list[tuple[int, int, int]]) -> None:
    """Whatever happened: after two steps as long as they should be, busy clients get a rest."""
    pace, now_ms, commands = Pace(125, 0.2, 0, 0), 0, 0
    for passed_ms, asked, took_us in steps:
        now_ms, commands = now_ms + passed_ms, commands + asked
        assert 0 <= pace.rest_ms(now_ms, commands, 0.0) <= 1 << 20
        pace.spent(took_us)
    now_ms += 10_000
    taken = 0
    while pace.rest_ms(now_ms, commands + 1 + taken, 0.0) == 0:
        pace.spent(125)
        taken += 1
    assert taken <= 2
