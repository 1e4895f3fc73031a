"""The in-sync set as its primary keeps it: the table, what is committed, who is left out and who never is."""

from __future__ import annotations

import itertools
import random

import pytest

from node.in_sync import IN, LATE, OUTSIDE, OVERDUE, READY, TABLE, Copy, InSync

P, Q, R, S = ("p" * 40, "q" * 40, "r" * 40, "s" * 40)
STANDINGS = [OUTSIDE, READY, IN, LATE, OVERDUE]
EVENTS = ["keeps_up", "lags", "time_up", "decided_in", "decided_out"]
NOBODY: frozenset[str] = frozenset()


def keeper(*in_sync: str, copies_min: int = 2, quorum: bool = True, bound_ms: int = 500) -> InSync:
    """P at the beginning of a reign at time 0."""
    made = InSync(P, quorum=quorum, copies_min=copies_min, bound_ms=bound_ms)
    made.note_decided((P, *in_sync), 0)
    return made


def look(
    made: InSync, now_ms: int, offset: int, *, dead: frozenset[str] = NOBODY, **acknowledged: int
) -> None:
    """`acknowledged`: by the first letter of the member's id."""
    copies = {name * 40: Copy(ack, name * 40 not in dead) for name, ack in acknowledged.items()}
    made.commit({name: copy.ack_offset for name, copy in copies.items()}, offset)
    made.look(copies, offset, now_ms, dead=dead)


def test_table_covers_the_product() -> None:
    assert set(TABLE) == set(itertools.product(STANDINGS, EVENTS))
    assert set(TABLE.values()) == set(STANDINGS)


@pytest.mark.parametrize(("standing", "event"), list(itertools.product(STANDINGS, EVENTS)))
def test_what_every_change_of_standing_respects(standing: str, event: str) -> None:
    after = TABLE[standing, event]
    if event == "decided_out":
        assert after in (OUTSIDE, READY), "who is decided out is waited for no more"
    if event == "decided_in":
        assert after in (IN, LATE, OVERDUE), "who is decided in is judged as a member"
    if event == "time_up":
        assert after in (OUTSIDE, OVERDUE)
    if standing in (OUTSIDE, READY) and not event.startswith("decided"):
        assert after in (OUTSIDE, READY), "nobody is a member without a decision"
    if standing in (IN, LATE, OVERDUE) and not event.startswith("decided"):
        assert after in (IN, LATE, OVERDUE), "nobody ceases to be one without a decision"


def test_committed_is_what_every_member_has() -> None:
    made = keeper(Q, R)
    assert made.commit({Q: 100, R: 70}, 120) == 70
    assert made.commit({Q: 120}, 120) == 70, "a member that is not attached acknowledges nothing"
    assert made.commit({Q: 120, R: 110}, 120) == 110
    assert made.commit({Q: 90, R: 90}, 120) == 110, "it never falls"
    assert made.commit({Q: 120, R: 130}, 120) == 120, "nor exceeds what there is"


def test_alone_everything_is_committed_and_nothing_may_be_written() -> None:
    made = keeper()
    assert made.commit({}, 50) == 50
    assert "1 of 2 copies" in made.short
    made.copies_min = 1
    assert made.short == ""


def test_while_a_proposal_is_out_both_sets_count() -> None:
    made = keeper(Q)
    look(made, 10, 100, q=100, r=100)
    assert made.standing(R) == READY
    assert made.wanted == (P, Q, R)
    made.note_proposed(made.wanted)
    assert not made.settled
    assert made.commit({Q: 200, R: 150}, 200) == 150
    made.note_decided((P, Q, R), 20)
    assert made.settled
    assert made.standing(R) == IN
    assert made.commit({Q: 200, R: 160}, 200) == 160
    made.note_proposed((P, Q))
    assert made.commit({Q: 200, R: 170}, 200) == 170, "left out only when that is decided"
    made.note_decided((P, Q), 30)
    assert made.commit({Q: 200, R: 170}, 200) == 200


def test_a_proposal_without_an_outcome_counts_until_a_later_one_has_one() -> None:
    made = keeper(Q)
    made.note_proposed((P, Q, R))
    made.note_proposed((P, Q))
    assert made.required == {Q, R}
    made.note_decided((P, Q), 10)
    assert made.required == {Q}


def test_who_lacks_something_committed_is_not_taken_in() -> None:
    made = keeper(Q)
    look(made, 10, 100, q=100, r=40)
    assert made.standing(R) == OUTSIDE
    look(made, 20, 100, q=100, r=100)
    assert made.standing(R) == READY
    made.commit({Q: 150}, 150)
    look(made, 30, 150, q=150, r=120)
    assert made.wanted == (P, Q), "it fell behind before it was proposed"


@pytest.mark.parametrize(
    ("looks", "standing"),
    [
        # (now, our offset, q's acknowledgement or None when it is not attached)
        ([(0, 100, 100), (100, 200, 100), (200, 200, 200)], IN),
        ([(0, 100, 100), (100, 200, 100), (599, 200, 100)], LATE),
        ([(0, 100, 100), (100, 200, 100), (600, 200, 100)], OVERDUE),
        # behind at every look, and yet never for long behind the same byte
        ([(n * 400, 100 + n * 100, n * 100) for n in range(10)], LATE),
        ([(0, 100, 100), (100, 100, None), (599, 100, None)], OVERDUE),
        ([(0, 100, 100), (100, 100, None), (499, 100, None)], LATE),
        ([(0, 100, 100), (100, 100, None), (900, 100, None), (1000, 100, 100)], IN),
        # frozen with nothing to acknowledge: nothing was asked of it
        ([(0, 100, 100), (5000, 100, 100), (5001, 110, 100)], LATE),
    ],
)
def test_time_runs_for_what_is_lacking(looks: list[tuple[int, int, int | None]], standing: str) -> None:
    made = keeper(Q, R)
    for now_ms, offset, ack in looks:
        look(made, now_ms, offset, r=offset, **({} if ack is None else {"q": ack}))
    assert made.standing(Q) == standing
    assert made.wanted == ((P, R) if standing == OVERDUE else (P, Q, R))


def test_dead_by_gossip_is_left_out_at_once() -> None:
    made = keeper(Q, R)
    look(made, 10, 100, q=100, r=100)
    look(made, 20, 100, r=100, dead=frozenset({Q}))
    assert made.standing(Q) == OVERDUE
    assert made.wanted == (P, R)


def test_nobody_is_left_out_below_the_quorum() -> None:
    made = keeper(Q)
    look(made, 10, 100, q=100)
    assert made.short == ""
    look(made, 2000, 200, dead=frozenset({Q}))
    assert made.wanted == (P, Q), "it has every acknowledged write and must stay electable"
    assert "qqqqqqqq did not acknowledge within 500 ms" in made.short
    look(made, 2100, 200, q=200)
    assert made.short == ""


def test_a_dead_member_is_replaced_by_one_that_is_ready() -> None:
    made = keeper(Q)
    look(made, 10, 100, q=100, r=100)
    look(made, 20, 100, r=100, dead=frozenset({Q}))
    assert made.wanted == (P, R)
    assert made.short == "", "a vote will mend it"


def deposing(*in_sync: str, began_offset: int = 100) -> InSync:
    """The keeper of Q, who took the place of P without its help."""
    made = InSync(Q, quorum=True, copies_min=2, bound_ms=500, deposed=P, began_offset=began_offset)
    made.note_decided((Q, P, *in_sync), 0)
    return made


def test_the_deposed_primary_stays_while_nobody_else_is_there() -> None:
    made = deposing()
    look(made, 0, 100)
    assert made.standing(P) == OVERDUE
    assert made.wanted == (Q, P), "it has everything that was acknowledged, and may have to lead again"
    assert "pppppppp did not acknowledge" in made.short, "refused at once, not held for half a second"
    look(made, 9000, 130, dead=frozenset({P}))
    assert made.wanted == (Q, P)
    look(made, 9100, 130, p=130)
    assert (made.standing(P), made.short) == (IN, "")


def test_the_deposed_primary_goes_once_another_copy_showed_itself() -> None:
    made = deposing(R)
    look(made, 0, 100)
    assert (made.standing(P), made.standing(R)) == (OVERDUE, LATE)
    assert made.wanted == (Q, P, R), "R may be dead as well: nobody heard of it in this reign"
    assert made.short == "", "R has its time: writes wait for it"
    look(made, 20, 100, r=100)
    assert made.wanted == (Q, R), "at once, not after the bound"
    assert made.commit({R: 100}, 100) == 0, "until that is decided it counts"
    made.note_decided((Q, R), 30)
    assert made.commit({R: 100}, 100) == 100


def test_neither_of_two_that_are_silent_is_left_out() -> None:
    made = deposing(R)
    look(made, 0, 100)
    look(made, 600, 100, dead=frozenset({P, R}))
    assert made.wanted == (Q, P, R)
    assert made.short


def test_a_deposed_primary_that_follows_keeps_up_like_others() -> None:
    made = deposing()
    look(made, 5, 100, p=100)
    assert (made.standing(P), made.wanted, made.short) == (IN, (Q, P), "")
    look(made, 10, 120)
    assert (made.standing(P), made.short) == (LATE, ""), "a link that broke has its time"


def test_who_lacks_what_earlier_reigns_acknowledged_is_not_taken_in() -> None:
    made = deposing(began_offset=100)
    look(made, 5, 110, r=60)
    assert made.standing(R) == OUTSIDE, "nothing is committed in this reign, but up to 100 in earlier ones"
    look(made, 10, 110, r=100)
    assert made.wanted == (Q, R)


def test_async_goes_by_attachment_only() -> None:
    made = keeper(Q, quorum=False, bound_ms=1000)
    look(made, 10, 100, q=0)
    assert made.standing(Q) == IN
    look(made, 20, 100, q=0, r=0)
    assert made.wanted == (P, Q, R)
    look(made, 900, 100)
    assert made.wanted == (P, Q)
    look(made, 1020, 100)
    assert made.wanted == (P,)
    assert made.short == ""


@pytest.mark.parametrize("seed", range(20))
def test_what_is_committed_is_in_every_set_that_may_be_decided(seed: int) -> None:
    """Random acknowledgements, proposals with and without an outcome: whoever could be elected has it all."""
    dice = random.Random(seed)
    made = keeper(Q, R)
    register = {P, Q, R}  # what is decided, whether or not the primary heard of it
    possible: list[set[str]] = []  # proposals without an outcome so far
    has = {Q: 0, R: 0, S: 0}
    offset = 0
    for step in range(400):
        offset += dice.randrange(0, 5)
        for name, ack in has.items():
            if dice.random() < 0.4:
                has[name] = dice.randrange(ack, offset + 1)
        attached = {name: ack for name, ack in has.items() if dice.random() < 0.8}
        made.commit(attached, offset)
        made.look({name: Copy(ack) for name, ack in attached.items()}, offset, step * 60, dead=NOBODY)
        if set(made.wanted) != set(made.decided) or not made.settled:
            made.note_proposed(made.wanted)
            draw = dice.random()
            if draw < 0.4:
                register, possible = set(made.wanted), []
                made.note_decided(made.wanted, step * 60)
            elif draw < 0.8:
                possible.append(set(made.wanted))
        if possible and dice.random() < 0.2:
            register = possible.pop(dice.randrange(len(possible)))
        for candidates in [register, *possible]:
            for name in candidates - {P}:
                assert has[name] >= made.committed, f"{name[0]} could be elected and lacks {made.committed}"
        assert len(made.wanted) >= 2
    assert made.committed > 0
