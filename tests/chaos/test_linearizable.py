"""chaos/checkers/linearizable.py: histories that are fine, histories that are not, and two ways to tell."""

import random

import pytest

from chaos.checkers.linearizable import (
    PENDING,
    Operation,
    State,
    counter_step,
    register_trouble,
    search_trouble,
)


def write(value: bytes, began: int, ended: int = PENDING) -> Operation:
    return Operation("write", value, began, ended)


def read(value: State, began: int, ended: int) -> Operation:
    return Operation("read", value, began, ended)


def increment(value: State, began: int, ended: int = PENDING) -> Operation:
    return Operation("increment", value, began, ended)


FINE: list[list[Operation]] = [
    [],
    [read(b"0", 1, 2)],
    [write(b"a", 1, 2), read(b"a", 3, 4)],
    [write(b"a", 1, 10), read(b"0", 2, 3), read(b"a", 4, 5)],  # it took effect between the reads
    [write(b"a", 1), read(b"0", 2, 3), read(b"a", 4, 5)],  # never answered, and done all the same
    [write(b"a", 1), read(b"0", 2, 3)],  # ... or not
    [write(b"a", 1, 5), write(b"b", 2, 6), read(b"a", 7, 8)],  # the later one was overwritten
]
WRONG: list[tuple[list[Operation], str]] = [
    ([read(b"x", 1, 2)], "nobody wrote"),
    ([read(b"a", 1, 2), write(b"a", 3, 4)], "was written later"),
    ([write(b"a", 1, 2), read(b"0", 3, 4)], "value"),  # stale
    ([write(b"a", 1, 2), write(b"b", 3, 4), read(b"a", 5, 6)], "value b"),  # lost update
    ([write(b"a", 1, 10), read(b"a", 2, 3), read(b"0", 4, 5)], "value"),  # forgotten again
    ([write(b"a", 1), read(b"a", 2, 3), write(b"b", 4, 5), read(b"a", 6, 7)], "value"),
]


@pytest.mark.parametrize("history", FINE)
def test_fine(history: list[Operation]) -> None:
    assert register_trouble(history, b"0") == ""
    assert search_trouble(history, b"0", counter_step) == ""


@pytest.mark.parametrize(("history", "text"), WRONG)
def test_wrong(history: list[Operation], text: str) -> None:
    assert text in register_trouble(history, b"0")
    assert "no order" in search_trouble(history, b"0", counter_step)


def test_a_register_says_what_it_cannot_judge() -> None:
    with pytest.raises(ValueError, match="twice"):
        register_trouble([write(b"a", 1, 2), write(b"a", 3, 4)], None)
    with pytest.raises(ValueError, match="knows no increment"):
        register_trouble([increment(b"1", 1, 2)], None)


def test_counters() -> None:
    assert search_trouble([increment(b"1", 1, 4), increment(b"2", 2, 3)], None, counter_step) == ""
    twice = [increment(b"1", 1, 2), increment(b"1", 3, 4)]
    assert "gets beyond increment 1 [3, 4]" in search_trouble(twice, None, counter_step)
    lost = [increment(None, number) for number in range(30)]  # many that nobody heard of are no trouble
    assert search_trouble([*lost, read(b"17", 100, 101)], None, counter_step) == ""


def test_too_long_counts_as_failure() -> None:
    many = [write(b"%d" % number, number, 1000 + number) for number in range(14)]
    assert "which counts as none" in search_trouble([*many, read(b"x", 2000, 2001)], None, counter_step, 5000)


def test_both_ways_agree() -> None:
    """On short histories of three clients, where about as many are fine as are not."""
    dice = random.Random(1)
    fine = 0
    for _ in range(400):
        history: list[Operation] = []
        moment, value, written = 0, b"0", 0
        for _ in range(7):
            began = moment + dice.randint(1, 3)
            ended = began + dice.randint(1, 12)
            moment = began
            if dice.random() < 0.5:
                written += 1
                value = b"%d" % written
                history.append(write(value, 100 * began + len(history), 100 * ended + len(history)))
            else:
                seen = value if dice.random() < 0.4 else b"%d" % dice.randint(0, written)
                history.append(read(seen, 100 * began + len(history), 100 * ended + len(history)))
        by_zones = register_trouble(history, b"0")
        assert (by_zones == "") == (search_trouble(history, b"0", counter_step) == ""), by_zones
        fine += by_zones == ""
    assert 100 < fine < 300
