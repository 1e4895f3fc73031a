"""node/engine/steady.pyx: jumps of the wall clock are worked off, everything else is followed."""

import pytest

from node.engine.steady import SteadyClock

HOUR_MS = 3_600_000
BEGAN_MS = 1_700_000_000_000


def test_a_clock_that_is_kept_right_is_followed() -> None:
    clock = SteadyClock()
    wall_ms = BEGAN_MS
    for step in range(1_000):
        wall_ms += 100 + (step % 7) * 30 - 90  # unsteady, and sometimes a little back
        assert clock.now_ms(wall_ms, step * 100) == wall_ms


@pytest.mark.parametrize("by_ms", [2 * HOUR_MS, -2 * HOUR_MS, 1_001, -1_002])
@pytest.mark.parametrize("turn_ms", [1, 7, 1_600])
def test_a_jump_is_worked_off_in_sixteen_times_its_length(by_ms: int, turn_ms: int) -> None:
    clock = SteadyClock()
    clock.now_ms(BEGAN_MS, 0)
    turns = 16_000 // turn_ms
    told_ms = BEGAN_MS
    for turn in range(1, turns + 1):
        passed_ms = turn * turn_ms
        before_ms, told_ms = told_ms, clock.now_ms(BEGAN_MS + by_ms + passed_ms, passed_ms)
        assert told_ms >= before_ms - (abs(by_ms) < HOUR_MS) * 1_000  # a small step back is followed
    worked_off_ms = told_ms - BEGAN_MS - turns * turn_ms
    if abs(by_ms) > 2 * HOUR_MS - 1:
        assert worked_off_ms == (turns * turn_ms // 16) * (1 if by_ms > 0 else -1)
    else:
        assert worked_off_ms == by_ms  # near enough to be followed


def test_sleep_is_no_jump() -> None:
    """Both clocks count while the machine sleeps."""
    clock = SteadyClock()
    clock.now_ms(BEGAN_MS, 5)
    assert clock.now_ms(BEGAN_MS + 9 * HOUR_MS, 5 + 9 * HOUR_MS) == BEGAN_MS + 9 * HOUR_MS
