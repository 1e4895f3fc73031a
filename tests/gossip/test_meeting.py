"""Who adopts whose cluster id: the whole product, and that both sides choose alike."""

from itertools import product

import pytest

from gossip.meeting import ADOPT_MINE, ADOPTING_YOURS, BUSY, REFUSED, SAME, Standing, judge_meeting

LOW, HIGH = "1" * 40, "2" * 40
SHAPES = list(product([True, False], [True, False], [True, False]))


@pytest.mark.parametrize("asker", SHAPES)
@pytest.mark.parametrize("answerer", SHAPES)
def test_the_whole_product(asker: tuple[bool, bool, bool], answerer: tuple[bool, bool, bool]) -> None:
    ours, theirs = Standing(LOW, *asker), Standing(HIGH, *answerer)
    verdict, text = judge_meeting(ours, theirs)
    if theirs.moving:
        assert verdict == BUSY
    elif ours.free or theirs.free:
        adopts = theirs if verdict == ADOPTING_YOURS else ours
        assert verdict in (ADOPT_MINE, ADOPTING_YOURS)
        assert adopts.alone
        assert not adopts.owns_slots
    else:
        assert verdict == REFUSED
        assert LOW in text
        assert HIGH in text
    assert (text == "") == (verdict != REFUSED)


@pytest.mark.parametrize("shape", SHAPES)
def test_one_cluster_just_talks(shape: tuple[bool, bool, bool]) -> None:
    assert judge_meeting(Standing(LOW, True, False), Standing(LOW, *shape)) == (SAME, "")


def test_two_that_meet_each_other_keep_the_same_id() -> None:
    low, high = Standing(LOW, True, False), Standing(HIGH, True, False)
    assert judge_meeting(low, high)[0] == ADOPTING_YOURS
    assert judge_meeting(high, low)[0] == ADOPT_MINE
