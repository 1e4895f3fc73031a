"""Clusters of cores under virtual time. Every run can be repeated from its seed, which pytest shows."""

from functools import partial
from math import ceil, log2
from statistics import median

import pytest

from chaos.sim.membership import CLUSTER, Network, member_id, meta_of
from gossip.config import GossipConfig
from gossip.lease import silence_ms
from gossip.members import Status
from gossip.messages import Codec

pytestmark = pytest.mark.slow

CONFIG = GossipConfig()


def settled(size: int, seed: int, *, loss: float = 0.0, voters: int = 5) -> Network:
    net = Network(size, seed, voters=voters)
    net.loss = loss
    net.introduce_everybody()
    net.run(2_000)
    return net


@pytest.mark.parametrize("seed", range(10))
def test_a_frozen_primary_of_seven_is_dead_within_the_target(seed: int) -> None:
    """Frozen for good: the voters miss its next lease request. A failover must be possible at 1.5 s."""
    net = settled(7, seed)
    began_ms = net.now_ms
    net.freeze(3, 60_000)
    net.run(silence_ms(CONFIG.lease_ms))
    for voter in (0, 1, 2, 4):
        net.stations[voter].core.report_silent(member_id(3), net.now_ms)
        net.act(voter)
    assert net.run(5_000, lambda: net.everybody_sees(3, Status.DEAD))
    assert net.now_ms - began_ms <= 1_300
    assert {sight.member for sight in net.deaths()} == {3}


def test_a_frozen_member_of_seven_is_dead_soon() -> None:
    """Without anybody missing it in particular: only the ordinary probes tell."""
    waits_ms: list[int] = []
    for seed in range(30):
        net = settled(7, seed)
        began_ms = net.now_ms
        net.freeze(3, 60_000)
        assert net.run(5_000, partial(net.everybody_sees, 3, Status.DEAD))
        waits_ms.append(net.now_ms - began_ms)
    assert median(waits_ms) <= 1_200
    assert max(waits_ms) <= 2_600


@pytest.mark.parametrize("seed", range(10))
def test_a_killed_member_is_dead_within_300_ms(seed: int) -> None:
    """One member notices (its connection broke); the voters check and the rest hear of it."""
    net = settled(7, seed)
    began_ms = net.now_ms
    net.kill(6)
    net.stations[0].core.report_broken(member_id(6), net.now_ms)
    net.act(0)
    assert net.run(2_000, lambda: net.everybody_sees(6, Status.DEAD))
    assert net.now_ms - began_ms <= 300


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [50, 100])
def test_detection_with_a_tenth_of_the_packets_lost(size: int, seed: int) -> None:
    net = settled(size, seed, loss=0.1)
    began_ms = net.now_ms
    net.freeze(3, 60_000)
    assert net.run(10_000, lambda: net.everybody_sees(3, Status.DEAD))
    assert net.now_ms - began_ms <= 4_000
    assert {sight.member for sight in net.deaths()} == {3}


@pytest.mark.parametrize("seed", range(4))
def test_pauses_of_half_a_second_kill_nobody(seed: int) -> None:
    """For a minute, every 300 ms another member stands still for 500 ms;
    some packets get lost; latency jumps.
    """
    net = settled(9, seed, loss=0.02)
    rested_ms = [0] * 9
    for _ in range(200):
        member = net.rng.randrange(9)
        if rested_ms[member] <= net.now_ms:  # two pauses back to back would be one of a second
            net.freeze(member, 500)
            rested_ms[member] = net.now_ms + 1_500
        net.latency_ms = net.rng.choice([(1, 3), (1, 40)])
        net.run(300)
    assert net.deaths() == []


@pytest.mark.parametrize("seed", range(3))
def test_a_member_that_stands_still_often_harms_nobody(seed: int) -> None:
    """Starved of its processor it hears nobody in time. Local health must keep it from accusing the
    others.
    """
    net = settled(20, seed)
    for _ in range(40):
        net.freeze(0, 400)
        net.run(500)
    assert net.deaths() == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [10, 50, 100])
def test_news_is_everywhere_within_the_logarithm(size: int, seed: int) -> None:
    """A change of meta: at most a few rounds more each time the cluster doubles."""
    net = settled(size, seed, loss=0.1)
    speaker = net.stations[0].core
    began_ms = net.now_ms
    speaker.update_self(meta_of(0, "shard"), net.now_ms)
    net.act(0)

    def known() -> bool:
        cores = [station.core for number, station in net.stations.items() if number]
        others = [core.members.get(member_id(0)) for core in cores]
        return all(listed is not None and listed.meta.shard_id == "shard" for listed in others)

    assert net.run(10_000, known)
    assert net.now_ms - began_ms <= CONFIG.gossip_interval_ms * (ceil(log2(size)) + 4)


@pytest.mark.parametrize("seed", range(2))
def test_everybody_knows_of_the_majority_and_a_minority_does_not(seed: int) -> None:
    """One member hears the voters (a primary with a lease); the others have it from each other."""
    net = settled(60, seed)

    def oldest_ms(among: range) -> int:
        return max(net.now_ms - net.stations[number].core.majority_ms for number in among)

    for _ in range(50):
        net.stations[0].core.majority_there(net.now_ms)
        net.run(100)
    assert oldest_ms(range(60)) < 2_600
    net.partition(list(range(40)), list(range(40, 60)))
    for _ in range(30):
        net.stations[0].core.majority_there(net.now_ms)
        net.run(100)
    assert oldest_ms(range(40)) < 2_600
    minority = [net.stations[number].core for number in range(40, 60)]
    assert min(net.now_ms - core.majority_ms for core in minority) >= 2_900  # 12 hops of up to 3 ms


def test_the_load_of_a_member_does_not_grow_with_the_cluster() -> None:
    """Packets and bytes per member and second in a quiet cluster."""
    rates: dict[int, float] = {}
    for size in (10, 100):
        net = settled(size, 1)
        net.measure = True
        before = [(station.packets, station.bytes) for station in net.stations.values()]
        net.run(10_000)
        sent = [
            station.bytes - earlier[1] for station, earlier in zip(net.stations.values(), before, strict=True)
        ]
        rates[size] = median(sent) / 10
    assert rates[100] <= 1.2 * rates[10]
    assert rates[100] <= 2_000


@pytest.mark.parametrize("seed", range(3))
def test_a_cluster_grows_together_by_joining_one_member(seed: int) -> None:
    net = Network(30, seed)
    net.loss = 0.05
    for number in range(1, 30):
        net.join(number, 0)
    assert net.run(20_000, net.all_alive)


@pytest.mark.parametrize("seed", range(4))
def test_a_partition_heals(seed: int) -> None:
    """Both sides declare the other dead; after the cut is gone they find together by trying the dead."""
    net = settled(12, seed)
    left, right = list(range(5)), list(range(5, 12))
    net.partition(left, right)
    assert net.run(
        20_000,
        lambda: (
            all(net.everybody_sees(one, Status.DEAD, right) for one in left)
            and all(net.everybody_sees(one, Status.DEAD, left) for one in right)
        ),
    )
    net.heal()
    assert net.run(60_000, net.all_alive)


@pytest.mark.parametrize("seed", range(4))
def test_one_cut_link_in_one_direction_kills_nobody(seed: int) -> None:
    """Others still reach it: the indirect probe tells."""
    net = settled(10, seed)
    net.cut(2, 7)
    net.run(30_000)
    assert net.deaths() == []


@pytest.mark.parametrize("seed", range(4))
def test_a_member_nobody_hears_is_dead_and_comes_back(seed: int) -> None:
    """One-way: it hears everybody, its own packets get lost."""
    net = settled(10, seed)
    for other in range(10):
        if other != 4:
            net.cut(4, other)
    assert net.run(10_000, lambda: net.everybody_sees(4, Status.DEAD))
    assert {sight.member for sight in net.deaths() if sight.observer != 4} == {4}
    net.heal()
    assert net.run(20_000, net.all_alive)


@pytest.mark.parametrize("seed", range(3))
def test_a_restarted_member_refutes_its_death(seed: int) -> None:
    net = settled(8, seed)
    net.kill(5)
    assert net.run(10_000, lambda: net.everybody_sees(5, Status.DEAD))
    net.add(5, incarnation=2)
    net.join(5, 0)
    assert net.run(5_000, net.all_alive)


def test_the_same_seed_gives_the_same_run() -> None:
    """Replay: the final draws of the world and of each member agree, and so does everything that was seen."""

    def run() -> tuple[list[object], list[float]]:
        net = settled(20, 42, loss=0.1)
        net.freeze(3, 5_000)
        net.run(8_000)
        draws = [net.rng.random(), *(station.core._rng.random() for station in net.stations.values())]
        return list(net.sights), draws

    assert run() == run()


def test_messages_of_a_run_pass_through_bytes_unchanged() -> None:
    """The simulation hands envelopes over as objects; this shows that nothing hides there."""
    net = settled(10, 3)
    codec = Codec(CLUSTER)
    net.freeze(2, 3_000)
    checked = 0
    deliver = net._deliver

    def through_bytes(target: int, envelope: object, source: object) -> None:
        nonlocal checked
        heard = codec.decode(codec.encode(envelope), 1_400)  # type: ignore[arg-type]
        assert (heard.sender, heard.vitals, heard.message, heard.news) == (
            envelope.sender, envelope.vitals, envelope.message, envelope.news,  # type: ignore[attr-defined]
        )  # fmt: skip
        checked += 1
        deliver(target, heard, source)  # type: ignore[arg-type]

    net._deliver = through_bytes  # type: ignore[method-assign]
    net.run(5_000)
    assert checked > 100
    assert net.deaths()
