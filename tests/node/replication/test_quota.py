"""min-replicas-to-write by table, and as a client of a node without replicas sees it."""

import pytest

from node.replication.quota import REFUSAL, refusal
from node.replication.source import Replica, Stage

NOW_MS = 100_000


def replica(stage: Stage, heard_s_ago: int) -> Replica:
    return Replica(1, "127.0.0.1", NOW_MS - heard_s_ago * 1000, stage)


FRESH, OLD = replica(Stage.ONLINE, 1), replica(Stage.ONLINE, 11)
SYNCING = replica(next(stage for stage in Stage if stage is not Stage.ONLINE), 0)


@pytest.mark.parametrize(
    ("replicas", "wanted", "lag_max_s", "refused"),
    [
        ([], 0, 10, False),
        ([], 1, 10, True),
        ([], 1, 0, False),
        ([FRESH], 1, 10, False),
        ([FRESH], 2, 10, True),
        ([FRESH, FRESH], 2, 10, False),
        ([OLD], 1, 10, True),
        ([OLD], 1, 11, False),
        ([SYNCING], 1, 10, True),
        ([SYNCING, OLD, FRESH], 1, 10, False),
    ],
)
def test_table(replicas: list[Replica], wanted: int, lag_max_s: int, refused: bool) -> None:
    assert refusal(replicas, wanted, lag_max_s, NOW_MS) == (REFUSAL if refused else None)
