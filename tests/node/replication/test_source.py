"""The primary's view of its replicas: the whole table, and the lives a replica can lead."""

from itertools import product

import pytest

from node.replication.source import IMPOSSIBLE, TABLE, Action, Event, Source, Stage


def at(stage: Stage) -> Source:
    source = Source()
    source.greet(7, "10.0.0.7", 0).stage = stage
    return source


def test_the_table_covers_every_pair_once() -> None:
    pairs = set(product(Stage, Event))
    assert set(TABLE) | IMPOSSIBLE == pairs
    assert not set(TABLE) & IMPOSSIBLE


@pytest.mark.parametrize(("stage", "event"), sorted(TABLE, key=str))
def test_every_pair_does_what_the_table_says(stage: Stage, event: Event) -> None:
    source = at(stage)
    becomes, action = TABLE[stage, event]
    assert source.happened(7, event) is action
    assert [replica.stage for replica in source.replicas.values()] == ([] if becomes is None else [becomes])


@pytest.mark.parametrize(("stage", "event"), sorted(IMPOSSIBLE, key=str))
def test_impossible_pairs_are_our_own_bug(stage: Stage, event: Event) -> None:
    with pytest.raises(LookupError, match=f"stage {stage.name} cannot see {event.name}"):
        at(stage).happened(7, event)


def test_stages_that_hold_bytes_of_the_ring_are_dropped_when_it_moves_on() -> None:
    for stage in (Stage.SENDING, Stage.SETTLING, Stage.ONLINE):
        assert TABLE[stage, Event.OVERRUN] == (None, Action.DROP)


def test_a_full_sync_from_question_to_stream() -> None:
    source = Source()
    replica = source.greet(7, "10.0.0.7", 0)
    assert list(source.attached()) == []
    assert source.happened(7, Event.ASKS_FULL) is Action.QUEUE
    assert source.waiting() == [replica]
    assert replica.stage.label == "wait_bgsave"
    source.happened(7, Event.BEGINS)
    assert (source.waiting(), source.syncing()) == ([], [replica])
    assert source.acknowledged(7, 90, 100) is Action.NOTHING  # nothing it could have by now
    assert replica.ack_offset == 0
    source.happened(7, Event.SENT)
    assert replica.stage.label == "send_bulk"
    assert source.acknowledged(7, 500, 200) is Action.STREAM
    assert (replica.stage, replica.ack_offset, source.syncing()) == (Stage.ONLINE, 500, [])


def test_acknowledgements_never_fall_and_feed_wait() -> None:
    source = at(Stage.ONLINE)
    source.acknowledged(7, 500, 1000)
    source.acknowledged(7, 400, 2500)
    assert [source.count_at(offset) for offset in (499, 500, 501)] == [1, 1, 0]
    assert source.replicas[7].lag_s(5600) == 3
    source.replicas[7].stage = Stage.SETTLING
    assert source.count_at(500) == 0


def test_silence_counts_from_the_last_sign_of_life() -> None:
    source = at(Stage.ONLINE)
    source.greet(8, "10.0.0.8", 0)  # has asked for nothing: not ours to time
    source.moved(7, 5, 1000)
    source.moved(7, 5, 30_000)  # no more than before
    assert source.silent(61_000, 60_000) == []
    assert source.silent(61_001, 60_000) == [7]
    source.replicas[7].plain_sync = True  # reads the stream and is not obliged to speak
    assert source.silent(61_001, 60_000) == []
