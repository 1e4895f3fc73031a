"""The picture: what the cores hold, as the rest of the program reads it."""

from random import Random

import pytest

from gossip.config import GossipConfig
from gossip.detector import Detector
from gossip.messages import Meta, Record
from gossip.topology import Topology
from gossip.views import Views, check_content
from gossip.votes import MessageError, Plain, Value, VoterSet

ME, A = "0" * 40, "a" * 40
VOTERS = VoterSet(3, (ME, A))


def meta(kind: str = "node", shard_id: str = "s") -> Meta:
    return Meta("10.0.0.1", 7000, 17000, kind, "zone", shard_id, 99, "1.0")


def detector() -> Detector:
    core = Detector(ME, meta(), 2, GossipConfig(), Random(1), 0)
    core.merge((Record("dead", A, 5, meta("router", ""), 77),), ME, 0)
    return core


def test_members_ourselves_first() -> None:
    topology = Views().build(detector(), {}, VOTERS, "c" * 40, None, 4)
    assert list(topology.members) == [ME, A]
    mine, other = topology.members[ME], topology.members[A]
    assert (mine.status, mine.kind, mine.shard_id) == ("alive", "node", "s")
    assert (mine.incarnation, mine.bus_port, mine.started_ms) == (2, 17000, 99)
    assert (other.status, other.kind, other.offset) == ("dead", "router", 77)
    assert (other.zone, other.version) == ("zone", "1.0")
    assert (topology.version, topology.cluster_id, topology.voters) == (4, "c" * 40, (ME, A))


def test_who_leaves_says_so_in_its_own_picture() -> None:
    core = detector()
    core.leave(10)
    assert Views().build(core, {}, VOTERS, "c" * 40, None, 1).members[ME].status == "left"


def test_registers_become_shards_and_ranges() -> None:
    decided = {
        "slots": Value(7, ((0, 99, "s"), (200, 299, "t"))),
        "shard/s": Value(2, {"primary": ME, "in_sync": (ME, A), "epoch": 4}),
        "voters": VOTERS.as_value(),
    }
    topology = Views().build(detector(), decided, VOTERS, "c" * 40, None, 1)
    assert list(Views().shards(decided)) == list(topology.shards) == ["s"]
    assert (topology.slot_owner(99), topology.slot_owner(100), topology.slot_owner(200)) == ("s", "", "t")
    assert (topology.epoch, topology.slots_version) == (4, 7)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("slots", ((9, 3, "s"),)),
        ("slots", 7),
        ("shard/s", {"primary": None, "in_sync": (), "epoch": 1}),
        ("voters", ("a", "b")),
        ("voters", {"voters": ("a", "a"), "joining": ()}),
        ("anything", {}),
    ],
)
def test_content_that_no_picture_can_be_built_from_is_refused(name: str, data: Plain) -> None:
    with pytest.raises(MessageError):
        check_content(name, Value(1, data))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("slots", ((0, 16_383, "s"),)),
        ("shard/s", {"primary": "", "in_sync": (), "epoch": 0}),
        ("voters", {"voters": ("a",), "joining": ()}),
    ],
)
def test_sound_content_passes(name: str, data: Plain) -> None:
    check_content(name, Value(1, data))


def test_a_picture_takes_over_only_what_is_the_same() -> None:
    core, views = detector(), Views()
    decided = {
        "slots": Value(1, ((0, 99, "s"),)),
        "shard/s": Value(1, {"primary": ME, "in_sync": (ME,), "epoch": 1}),
    }

    def pictures() -> tuple[Topology, Topology]:
        return views.build(core, decided, VOTERS, "c" * 40, None, 1), Views().build(
            core, decided, VOTERS, "c" * 40, None, 1
        )

    kept, _ = pictures()
    listed = core.members.get(A)
    assert listed is not None
    for change in ("offset", "epoch_seen", "incarnation"):
        setattr(listed, change, getattr(listed, change) + 1)
        one, other = pictures()
        assert one == other != kept
        kept = one
    core.merge((Record("alive", A, 9, meta("node", "t"), 100),), ME, 5)
    decided["slots"] = Value(2, ((0, 99, "t"),))
    decided["shard/s"] = Value(2, {"primary": A, "in_sync": (A,), "epoch": 2})
    decided["shard/t"] = Value(1, None)
    one, other = pictures()
    assert one == other != kept
    assert (one.members[A].shard_id, one.slot_owner(5), one.shards["s"].primary) == ("t", "t", A)
    assert list(one.shards) == ["s", "t"]
    del decided["shard/s"]
    assert list(views.shards(decided)) == ["t"]
