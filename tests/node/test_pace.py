"""How fast long work goes on: steps of a certain time, and a share of the time beside busy clients."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.pace import BUSY_MS, SNAPSHOT_BYTES, Pace


def drive(
    pace: Pace, run_ms: int, bytes_per_us: float, *, busy: bool, pressure: float = 0.0
) -> tuple[int, list[int]]:
    """Steps for so long, clients asking all the time or never; returns the steps' time and their sizes."""
    now_us, worked_us, sizes, commands = 0, 0, [], 0
    while now_us < run_ms * 1_000:
        commands += busy
        rest_ms = pace.rest_ms(now_us // 1_000, commands, pressure)
        if rest_ms > 0:
            now_us = (now_us // 1_000 + rest_ms) * 1_000
            continue
        size = pace.want
        took_us = int(size / bytes_per_us)
        pace.spent(size, took_us)
        sizes.append(size)
        worked_us += took_us
        now_us += took_us + 100  # everybody else's turn
    return worked_us, sizes


@pytest.mark.parametrize("bytes_per_us", [60.0, 200.0, 1_000.0])
def test_a_step_takes_as_long_as_it_should_whatever_the_entries_are_like(bytes_per_us: float) -> None:
    pace = Pace(SNAPSHOT_BYTES, 125, 0.2, 0, 0)
    _, sizes = drive(pace, 1_000, bytes_per_us, busy=True)
    assert sizes[0] == SNAPSHOT_BYTES.first
    for size in sizes[20:]:
        assert 0.9 * 125 <= size / bytes_per_us <= 1.1 * 125


@pytest.mark.parametrize(("bytes_per_us", "size"), [(1.0, SNAPSHOT_BYTES.least), (1e6, SNAPSHOT_BYTES.most)])
def test_a_step_is_neither_tiny_nor_huge(bytes_per_us: float, size: int) -> None:
    pace = Pace(SNAPSHOT_BYTES, 125, 0.2, 0, 0)
    for _ in range(50):
        pace.spent(pace.want, int(pace.want / bytes_per_us))
    assert pace.want == size


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("bytes_per_us", [20.0, 200.0, 1_000.0])
def test_busy_clients_leave_it_its_share_and_no_more(share: float, bytes_per_us: float) -> None:
    worked_us, _ = drive(Pace(SNAPSHOT_BYTES, 125, share, 0, 0), 2_000, bytes_per_us, busy=True)
    assert 0.9 * share <= worked_us / 2_000_000 <= 1.05 * share


@pytest.mark.parametrize(("pressure", "share"), [(0.0, 0.2), (0.125, 0.4), (0.25, 0.6)])
def test_what_is_written_meanwhile_makes_it_hurry(pressure: float, share: float) -> None:
    pace = Pace(SNAPSHOT_BYTES, 125, 0.2, 0, 0)
    worked_us, _ = drive(pace, 2_000, 200.0, busy=True, pressure=pressure)
    assert 0.85 * share <= worked_us / 2_000_000 <= 1.05 * share


def test_a_ring_that_will_be_half_full_lets_it_take_all() -> None:
    worked_us, sizes = drive(Pace(SNAPSHOT_BYTES, 125, 0.2, 0, 0), 2_000, 200.0, busy=True, pressure=0.5)
    assert worked_us + 100 * len(sizes) >= 2_000_000 - 1_000
    assert 0.9 * 1_000 <= sizes[-1] / 200.0 <= 1.1 * 1_000


def test_alone_it_never_rests() -> None:
    worked_us, sizes = drive(Pace(SNAPSHOT_BYTES, 125, 0.2, 0, 0), 2_000, 200.0, busy=False)
    assert worked_us + 100 * len(sizes) >= 2_000_000 - BUSY_MS * 1_000


def test_who_was_idle_for_a_moment_is_not_forgotten() -> None:
    pace = Pace(SNAPSHOT_BYTES, 125, 0.2, 0, 0)
    pace.spent(1_000, 10_000)  # one large value
    assert pace.rest_ms(1, 1, 0.0) > 0
    assert pace.rest_ms(BUSY_MS, 1, 0.0) > 0  # a command was seen at 1
    assert pace.rest_ms(1 + BUSY_MS, 1, 0.0) == 0


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 2), st.integers(0, 1 << 30), st.integers(0, 1 << 20)),
        max_size=50,
    )
)
def test_credit_is_never_saved_up(steps: list[tuple[int, int, int, int]]) -> None:
    """Whatever happened: after two steps of the size that was asked for, busy clients get a rest."""
    pace, now_ms, commands = Pace(SNAPSHOT_BYTES, 125, 0.2, 0, 0), 0, 0
    for passed_ms, asked, step_bytes, took_us in steps:
        now_ms, commands = now_ms + passed_ms, commands + asked
        assert 0 <= pace.rest_ms(now_ms, commands, 0.0) <= 1 << 20
        pace.spent(step_bytes, took_us)
        assert SNAPSHOT_BYTES.least <= pace.want <= SNAPSHOT_BYTES.most
    now_ms += 10_000
    taken = 0
    while pace.rest_ms(now_ms, commands + 1 + taken, 0.0) == 0:
        pace.spent(pace.want, 125)
        taken += 1
    assert taken <= 2
