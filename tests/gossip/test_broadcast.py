"""News leaves a bounded number of times, fresh before old, one piece per subject, within a bounded queue."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.broadcast import Broadcast


def test_fresh_news_overtakes_what_was_sent() -> None:
    queue: Broadcast[str] = Broadcast(10)
    queue.add("a", "old", 10)
    assert queue.take(10, 3) == ["old"]
    queue.add("b", "new", 10)
    assert queue.take(10, 3) == ["new"]
    assert queue.take(20, 3) == ["new", "old"]


def test_a_newer_piece_replaces_the_older_one_about_the_same_subject() -> None:
    queue: Broadcast[str] = Broadcast(10)
    queue.add("a", "suspect", 10)
    queue.add("a", "alive", 10)
    assert queue.take(100, 3) == ["alive"]


def test_what_does_not_fit_waits_and_lets_smaller_pieces_pass() -> None:
    queue: Broadcast[str] = Broadcast(10)
    queue.add("small", "small", 10)
    queue.add("big", "big", 100)
    assert queue.take(50, 3) == ["small"]
    assert queue.take(100, 3) == ["big"]


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 20))
def test_each_piece_leaves_exactly_limit_times(limit: int, pieces: int) -> None:
    queue: Broadcast[int] = Broadcast(100)
    for piece in range(pieces):
        queue.add(piece, piece, 10)
    sent: list[int] = []
    while len(queue):
        sent.extend(queue.take(25, limit))
    assert all(sent.count(piece) == limit for piece in range(pieces))


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), max_size=200))
def test_the_queue_is_bounded_and_keeps_the_newest(subjects: list[int]) -> None:
    queue: Broadcast[int] = Broadcast(5)
    for order, subject in enumerate(subjects):
        queue.add(subject, order, 1)
        assert len(queue) <= 5
        assert queue.take(1, 100) == [order]


def test_dropped_subjects_are_not_sent() -> None:
    queue: Broadcast[str] = Broadcast(10)
    queue.add("a", "x", 1)
    queue.drop("a")
    queue.drop("never there")
    assert queue.take(100, 3) == []
