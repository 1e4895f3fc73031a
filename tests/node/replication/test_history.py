"""Which PSYNC may be continued."""

import pytest

from node.replication.history import Continue, Full, History, Ring, is_replication_id

OLD, NEW, OTHER = "a" * 40, "b" * 40, "c" * 40
FORKED = History(OLD).forked(NEW, 1000)
LEFT = "we left that history at 1000"
RING = Ring(400, 2000)


@pytest.mark.parametrize(
    ("asked_id", "asked_offset", "ring", "answer"),
    [
        (NEW, 1500, RING, Continue(1500)),
        (NEW, 400, RING, Continue(400)),
        (NEW, 2000, RING, Continue(2000)),
        (OLD, 1000, RING, Continue(1000)),
        (OLD, 400, RING, Continue(400)),
        (
            OLD,
            1001,
            RING,
            Full(f"it went on with history {OLD} up to offset 1001; we left that history at 1000"),
        ),
        (NEW, 399, RING, Full("the backlog begins at offset 400, it needs 399")),
        (NEW, 2001, RING, Full("it claims offset 2001, the stream ends at 2000")),
        (OTHER, 1500, RING, Full(f"its history {OTHER} is unknown here (ours is {NEW})")),
        ("?", -1, RING, Full("it has no data of ours yet")),
        (NEW, -1, RING, Full("it has no data of ours yet")),
        ("", 500, RING, Full(f"its history  is unknown here (ours is {NEW})")),
        (NEW, 1500, None, Full("there is no replication backlog")),
    ],
)
def test_what_is_answered_to_psync(
    asked_id: str, asked_offset: int, ring: Ring | None, answer: Continue | Full
) -> None:
    assert FORKED.decide(asked_id, asked_offset, ring) == answer


def test_without_a_fork_only_our_own_id_counts() -> None:
    assert isinstance(History(NEW).decide(OLD, 500, RING), Full)
    assert isinstance(FORKED.without_past().decide(OLD, 500, RING), Full)


def test_a_primary_that_renames_its_history_forks_ours() -> None:
    assert History(OLD).renamed(NEW, 1000) == FORKED
    assert FORKED.renamed(NEW, 3000) is FORKED


@pytest.mark.parametrize("text", ["", "?", "a" * 39, "a" * 41, "a" * 39 + "\n", "é" * 40])
def test_ids_have_forty_letters_and_digits(text: str) -> None:
    assert not is_replication_id(text)
    with pytest.raises(ValueError, match="replication id"):
        History(text)
