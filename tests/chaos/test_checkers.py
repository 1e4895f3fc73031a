"""chaos/checkers/: tables, and planted losses that must be found."""

import random

import pytest

from chaos.checkers.gaps import longest_gap, tally
from chaos.checkers.losses import NotRead, ghosts, missing_writes
from chaos.client import Outcome
from chaos.workloads.history import History, HistoryFull, Write

OK, NO, UNKNOWN = Outcome.ACKNOWLEDGED, Outcome.NOT_APPLIED, Outcome.UNKNOWN


def write(number: int, ended_ms: float, outcome: Outcome = OK, group: int = 0) -> Write:
    return Write(b"k%d" % number, b"v%d" % number, group, ended_ms - 1, ended_ms, outcome)


@pytest.mark.parametrize(
    ("ends", "window", "gap"),
    [
        ([], (0, 100), (0, 100)),  # nothing at all: as long as the window
        ([50], (0, 100), (0, 50)),  # the edges count; the first of equal gaps
        ([10, 90], (0, 100), (10, 90)),
        ([10, 20, 30], (0, 100), (30, 100)),
        ([-5, 40, 105], (0, 100), (40, 100)),  # outside the window is not seen
        ([90, 10, 50], (0, 100), (10, 50)),  # any order
        ([], (7, 7), (7, 7)),
    ],
)
def test_longest_gap(ends: list[float], window: tuple[float, float], gap: tuple[float, float]) -> None:
    found = longest_gap([write(index, end) for index, end in enumerate(ends)], 0, *window)
    assert (found.began_ms, found.ended_ms) == gap
    assert found.length_ms == gap[1] - gap[0]


def test_only_acknowledged_writes_of_the_group_end_a_gap() -> None:
    writes = [write(0, 10), write(1, 40, NO), write(2, 50, UNKNOWN), write(3, 60, OK, group=1), write(4, 90)]
    assert longest_gap(writes, 0, 0, 100).length_ms == 80
    assert longest_gap(writes, 1, 0, 100).length_ms == 60


def test_a_window_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(ValueError, match="before it begins"):
        longest_gap([], 0, 10, 9)


def test_tally_has_every_outcome() -> None:
    assert tally([]) == {OK: 0, NO: 0, UNKNOWN: 0}
    assert tally([write(0, 1), write(1, 1), write(2, 1, NO)]) == {OK: 2, NO: 1, UNKNOWN: 0}


def test_nothing_missing() -> None:
    writes = [write(0, 1), write(1, 1, NO), write(2, 1, UNKNOWN)]
    assert missing_writes(writes, {b"k0": b"v0"}) == []


def test_planted_losses_are_found_and_nothing_else() -> None:
    rng = random.Random(20)
    writes = [write(number, number, rng.choice([OK, OK, OK, NO, UNKNOWN])) for number in range(2_000)]
    acknowledged = [each for each in writes if each.outcome is OK]
    found: dict[bytes, bytes | None] = {each.key: each.value for each in acknowledged}
    planted = rng.sample(acknowledged, 25)
    for index, each in enumerate(planted):
        found[each.key] = None if index % 2 else b"something else"
    losses = missing_writes(writes, found)
    assert {loss.write.key for loss in losses} == {each.key for each in planted}
    assert {loss.found for loss in losses} == {None, b"something else"}


def test_an_acknowledged_write_that_was_not_read_stops_the_check() -> None:
    with pytest.raises(NotRead, match="k1"):
        missing_writes([write(0, 1), write(1, 1)], {b"k0": b"v0"})


def test_a_refused_write_that_is_there_is_a_ghost() -> None:
    refused, absent, unknown = write(0, 1, NO), write(1, 1, NO), write(2, 1, UNKNOWN)
    assert ghosts([refused, absent, unknown], {b"k0": b"v0", b"k1": None, b"k2": b"v2"}) == [refused]


def test_history_is_bounded() -> None:
    history = History(writes_max=2)
    history.add(write(0, 1))
    history.add(write(1, 2))
    with pytest.raises(HistoryFull):
        history.add(write(2, 3))
    assert [each.key for each in history.since(1)] == [b"k1"]
    assert len(history) == 2
