"""chaos/sim/checkers: histories that are fine, and histories that are not."""

import pytest

from chaos.sim.checkers import Violation
from chaos.sim.checkers.epochs import EpochsRise
from chaos.sim.checkers.lapses import Lapses
from chaos.sim.checkers.owners import one_owner
from chaos.sim.checkers.reigns import Reign, Reigns, State, Written
from chaos.sim.checkers.serving import OneServing


def test_one_primary_after_the_other_may_serve() -> None:
    serving = OneServing()
    for epoch, member, now_ms in [(1, "a", 1), (1, "a", 2), (2, "b", 3), (5, "a", 3)]:
        serving.acknowledges("s", epoch, member, now_ms)
    serving.acknowledges("t", 1, "c", 9)  # another shard has epochs of its own
    assert serving.acknowledged == 5


@pytest.mark.parametrize(
    ("history", "text"),
    [
        ([(1, "a"), (1, "b")], "shard s epoch 1: b acknowledged a write at 2 ms and a at 1 ms"),
        ([(2, "b"), (1, "a")], "a acknowledged a write at 2 ms under epoch 1, though b did under epoch 2"),
        ([(2, "b"), (1, "b")], "under epoch 1"),  # the same node under its own old office
    ],
)
def test_two_primaries_are_noticed(history: list[tuple[int, str]], text: str) -> None:
    serving = OneServing()
    (epoch, member), last = history
    serving.acknowledges("s", epoch, member, 1)
    with pytest.raises(Violation, match=text):
        serving.acknowledges("s", *last, 2)


def test_epochs_may_stand_or_rise_and_a_new_life_may_know_less() -> None:
    epochs = EpochsRise()
    for life, version, epoch, primary in [
        ("n1/1", 1, 1, "n1"),
        ("n1/1", 2, 1, "n1"),  # the in-sync set changed
        ("n1/1", 4, 3, "n2"),
        ("n1/2", 2, 1, "n1"),
        ("n2/1", 3, 2, "n1"),
    ]:
        epochs.knows(life, "s", version, epoch, primary, frozenset({primary}))
    assert epochs.counted_on("s", 3) == {"n1"}
    assert epochs.counted_on("s", 4) == {"n2"}
    assert epochs.counted_on("s", 1) == set()


def test_a_set_that_was_decided_twice_is_noticed() -> None:
    epochs = EpochsRise()
    epochs.knows("n1/1", "s", 3, 2, "n2", frozenset({"n2", "n1"}))
    with pytest.raises(
        Violation, match=r"decided twice: epoch 2 primary n2 with n1, n2, and .* with n2, n3 at n3/1"
    ):
        epochs.knows("n3/1", "s", 3, 2, "n2", frozenset({"n2", "n3"}))


@pytest.mark.parametrize(
    ("second", "text"),
    [
        (("n1/1", 2, 1, "n1"), "knew shard s at epoch 2 .version 3. and now holds epoch 1"),
        (("n1/1", 2, 2, "n2"), "version 2"),
        (
            ("n2/1", 3, 2, "n4"),
            "decided twice: epoch 2 primary n2 with n1, and epoch 2 primary n4 with n1 at n2/1",
        ),
        (("n2/1", 4, 1, "n2"), "fell from epoch 2 .version 3. to 1 .version 4."),
    ],
)
def test_falling_epochs_are_noticed(second: tuple[str, int, int, str], text: str) -> None:
    epochs = EpochsRise()
    epochs.knows("n1/1", "s", 3, 2, "n2", frozenset({"n1"}))
    life, version, epoch, primary = second
    with pytest.raises(Violation, match=text):
        epochs.knows(life, "s", version, epoch, primary, frozenset({"n1"}))


def test_all_agree() -> None:
    one_owner({"n1": {0: "a", 9: "b"}, "n2": {0: "a", 9: "b"}}, [0, 9])


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"n1": {0: "a"}, "n2": {0: "b"}},
        {"n1": {0: "a"}, "n2": {}},
        {"n1": {0: ""}},
    ],
)
def test_disagreement_and_orphans_are_noticed(answers: dict[str, dict[int, str]]) -> None:
    with pytest.raises(Violation, match="slot 0"):
        one_owner(answers, [0])


def lapses(durability: str) -> Lapses:
    """One key, set to `v` from 1,000 to 1,010 ms for 500 ms under office 1."""
    told = Lapses(durability)
    told.wrote(b"k", b"v", 1_000, 1_010, 500, 1)
    return told


@pytest.mark.parametrize("durability", ["async", "quorum"])
def test_a_value_may_be_there_for_its_time_and_is_gone_after_it(durability: str) -> None:
    told = lapses(durability)
    for value, at_ms in [(b"v", 1_020), (b"v", 1_500), (None, 1_500), (None, 9_999)]:
        told.read(b"k", value, at_ms, at_ms + 3, 1)
    assert told.reads == 4
    told.unknown(b"k")
    told.read(b"k", b"another", 1_020, 1_021, 1)
    assert told.reads == 4


@pytest.mark.parametrize(
    ("durability", "office", "value", "at_ms", "text"),
    [
        ("async", 1, b"v", 2_000, "v, set at 1000 ms for 500 ms, was still there at 2000 ms"),
        ("async", 2, b"v", 9_000, "was still there at 9000 ms"),
        ("async", 1, None, 1_100, "was gone at 1101 ms"),
        ("async", 1, b"u", 1_100, "was u again at 1101 ms"),
        ("quorum", 2, b"u", 1_100, "was u again at 1101 ms"),
    ],
)
def test_values_that_outlive_their_time_or_go_too_early_are_noticed(
    durability: str, office: int, value: bytes | None, at_ms: int, text: str
) -> None:
    with pytest.raises(Violation, match=text):
        lapses(durability).read(b"k", value, at_ms, at_ms + 1, office)


def test_an_async_failover_may_forget() -> None:
    told = lapses("async")
    told.read(b"k", None, 1_100, 1_101, 2)
    assert told.reads == 1


class Offices:
    """`Reigns`, with three members that live on."""

    def __init__(self) -> None:
        self.reigns = Reigns("quorum")
        self.alive = frozenset({"a/1", "b/1", "c/1"})
        self.counted_on = self.alive

    def begins(self, epoch: int, life: str, history: str, continued: str, offset: int, keys: State) -> None:
        self.reigns.begins(
            Reign("s", epoch, life, history, keys),
            continued=continued,
            offset=offset,
            witness="",
            alive=self.alive,
            counted_on=self.counted_on,
        )


@pytest.mark.parametrize("counted_on", [frozenset({"a/1", "b/1"}), frozenset({"b/1"})])
def test_what_nobody_who_counts_has_any_more_may_be_lost(counted_on: frozenset[str]) -> None:
    """a had it and lives. While it is in the set, an empty b may not lead; once it was left out, it may."""
    offices = Offices()
    offices.begins(1, "a/1", "h1", "none", 0, {})
    write = Written(10, b"k", b"1")
    offices.reigns.executes("s", "a/1", write)
    offices.reigns.acknowledges("s", write, "a/1", ("a/1", "b/0"))
    offices.counted_on = counted_on
    if "a/1" in counted_on:
        with pytest.raises(
            Violation, match=r"1 writes .* are forgotten, one of them to key k at offset 10, which a/1 had"
        ):
            offices.begins(2, "b/1", "h2", "none", 0, {})
    else:
        offices.begins(2, "b/1", "h2", "none", 0, {})
        assert offices.reigns.lost == 1


def test_a_reply_may_leave_late_when_its_write_outlived_two_successors() -> None:
    offices = Offices()
    offices.begins(1, "a/1", "h1", "none", 0, {})
    kept, lost = Written(10, b"k", b"1"), Written(20, b"k", b"2")
    offices.reigns.executes("s", "a/1", kept)
    offices.reigns.executes("s", "a/1", lost)
    offices.begins(2, "b/1", "h2", "h1", 10, {b"k": b"1"})
    offices.begins(3, "c/1", "h3", "h2", 10, {b"k": b"1"})
    offices.reigns.acknowledges("s", kept, "a/1", ("a/1",))
    with pytest.raises(Violation, match="offset 20 that only a/1 had"):
        offices.reigns.acknowledges("s", lost, "a/1", ("a/1",))


def test_a_belated_office_takes_nobody_s_place() -> None:
    """It was elected in epoch 2, stood still, and learns of that when epoch 3 has long begun."""
    offices = Offices()
    reigns, begins = offices.reigns, offices.begins

    begins(1, "a/1", "h1", "none", 0, {})
    reigns.executes("s", "a/1", Written(10, b"k", b"1"))
    begins(3, "a/1", "h3", "h1", 10, {b"k": b"1"})
    begins(2, "b/1", "h2", "h1", 10, {b"k": b"1"})
    reigns.executes("s", "a/1", Written(20, b"k", b"2"))
    present = reigns.present("s")
    assert present is not None
    assert (present.epoch, present.life) == (3, "a/1")
    begins(4, "c/1", "h4", "h3", 20, {b"k": b"2"})
    with pytest.raises(Violation, match="key k is 2 and should be 1"):
        begins(5, "a/1", "h5", "h2", 10, {b"k": b"2"})


def test_a_replica_may_lead_from_before_its_primary_s_reign() -> None:
    """b went on from offset 20; c followed it from offset 10, and was elected before it got the rest."""
    offices = Offices()
    offices.begins(1, "a/1", "h1", "none", 0, {})
    for offset, value in ((10, b"1"), (20, b"2")):
        offices.reigns.executes("s", "a/1", Written(offset, b"k", value))
    offices.begins(2, "b/1", "h2", "h1", 20, {b"k": b"2"})
    offices.begins(3, "c/1", "h3", "h2", 10, {b"k": b"1"})
    with pytest.raises(Violation, match="key k is 2 and should be 1"):
        offices.begins(4, "a/1", "h4", "h3", 10, {b"k": b"2"})
