"""Beats: where timers go that can wait."""

import pytest

from gossip.beat import next_beat_ms, on_beat


@pytest.mark.parametrize(("now_ms", "beat_ms"), [(0, 400), (1, 400), (399, 400), (400, 800), (401, 800)])
def test_the_next_beat_is_always_ahead(now_ms: int, beat_ms: int) -> None:
    assert next_beat_ms(now_ms, 400) == beat_ms


@pytest.mark.parametrize(
    ("due_ms", "beat_ms"),
    [(800, 800), (790, 800), (815, 800), (780, 800), (779, 400), (601, 400), (1_199, 1_200), (1_000, 800)],
)
def test_a_timer_goes_to_the_nearest_beat_that_is_not_much_later(due_ms: int, beat_ms: int) -> None:
    assert on_beat(due_ms, 400, 20) == beat_ms


@pytest.mark.parametrize("due_ms", [0, 1, 17, 400, 12_345])
def test_without_beats_nothing_moves(due_ms: int) -> None:
    assert on_beat(due_ms, 1, 0) == due_ms


def test_a_timer_set_anew_from_each_wake_up_stays_on_its_beat() -> None:
    due_ms = 5_123
    for early_ms in (0, 20, -15, 7, -1):
        due_ms = on_beat(due_ms - early_ms + 400, 400, 20)
        assert due_ms % 400 == 0
