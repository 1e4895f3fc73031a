"""gossip/probes.py: rounds, second chances, and probes for others. test_detector.py covers what follows."""

from random import Random

from gossip.awareness import Awareness
from gossip.config import GossipConfig
from gossip.members import Members
from gossip.messages import Ack, Address, Alive, Message, Meta, Nack, Ping, ProbeFor
from gossip.probes import Probes
from gossip.suspicion import Suspicion

CONFIG = GossipConfig()
OTHERS = tuple(digit * 40 for digit in "abcdef")


def meta(member: str) -> Meta:
    return Meta(f"10.0.0.{int(member[0], 16)}", 7000, 17000, "node", "", "", 1, "test")


class House:
    """`sent` is what was said, and to whom, since it was last looked at."""

    def __init__(self, *others: str) -> None:
        self.members = Members(
            "0" * 40,
            lambda now_ms: Suspicion(now_ms, 1_000, 4_000, 3),
            members_max=100,
            tombstones_max=100,
            forget_ms=1_000,
            dead_keep_ms=1_000,
        )
        for other in others:
            self.members.claim(Alive(other, 1, meta(other)), 0)
        self.awareness = Awareness(CONFIG.awareness_max)
        self._said: list[tuple[Address, Message]] = []
        self.probes = Probes(self.members, self.awareness, CONFIG, Random(7), self._say)

    def _say(self, address: Address, message: Message, _to: str | None) -> None:
        self._said.append((address, message))

    def sent(self) -> list[tuple[Address, Message]]:
        said, self._said = self._said, []
        return said

    def probe(self, member: str, now_ms: int = 0, *, urgent: bool = False) -> int:
        """Begin; the sequence of the ping."""
        listed = self.members.get(member)
        assert listed is not None
        self.probes.start(listed, now_ms, urgent=urgent)
        _address, ping = self._said[0]
        assert isinstance(ping, Ping)
        return ping.sequence


def test_each_round_asks_everybody_once() -> None:
    house = House(*OTHERS)
    for _ in range(3):
        asked: list[str] = []
        for _ in OTHERS:
            house.probes.next_in_turn(10_000)
            (said,) = house.sent()
            assert isinstance(said[1], Ping)
            asked.append(said[1].target)
            house.probes.acknowledged(said[1].sequence)
        assert sorted(asked) == sorted(OTHERS)


def test_who_answered_within_the_interval_is_not_asked() -> None:
    house = House(OTHERS[0])
    listed = house.members.get(OTHERS[0])
    assert listed is not None
    listed.answered_ms = 9_900
    house.probes.next_in_turn(10_000)
    assert house.sent() == []


def test_who_comes_has_its_turn_in_this_round() -> None:
    house = House(*OTHERS[:3])
    house.probes.next_in_turn(10_000)
    house.members.claim(Alive(OTHERS[3], 1, meta(OTHERS[3])), 10_000)
    house.probes.arrived(OTHERS[3])
    for _ in range(3):
        house.probes.next_in_turn(10_000)
    targets = [message.target for _, message in house.sent() if isinstance(message, Ping)]
    assert sorted(targets) == sorted(OTHERS[:4])


def test_silence_is_asked_around_twice_and_then_fails() -> None:
    house = House(*OTHERS)
    house.probe(OTHERS[0])
    house.sent()
    asked = 0
    now_ms = 0
    failed: list[str] = []
    while not failed:
        now_ms = house.probes.next_due_ms(now_ms + 10_000)
        failed = [member.id for member in house.probes.tick(now_ms)]
        asked += sum(isinstance(message, ProbeFor) for _, message in house.sent())
    assert failed == [OTHERS[0]]
    assert asked == 2 * CONFIG.indirect_probes
    assert now_ms == CONFIG.probe_patience_ms
    assert house.awareness.score > 0  # no helper said a word: it may be us


def test_with_nacks_it_is_not_our_ears() -> None:
    house = House(*OTHERS)
    sequence = house.probe(OTHERS[0], urgent=True)
    for _ in range(CONFIG.indirect_probes):
        house.probes.nacked(sequence)
    due_ms = CONFIG.probe_patience_ms
    house.probes.tick(due_ms // 4)
    assert [member.id for member in house.probes.tick(due_ms)] == [OTHERS[0]]
    assert house.awareness.score == 0


def test_an_answer_ends_it_and_repetitions_say_nothing() -> None:
    house = House(*OTHERS)
    sequence = house.probe(OTHERS[0])
    assert house.probes.acknowledged(sequence) == OTHERS[0]
    assert house.probes.acknowledged(sequence) is None
    assert house.probes.next_due_ms(99_999) == 99_999


def test_standing_still_proves_nothing() -> None:
    house = House(*OTHERS)
    house.probe(OTHERS[0])
    before_ms = house.probes.next_due_ms(99_999)
    house.probes.stand_still(500)
    assert house.probes.next_due_ms(99_999) == before_ms + 500


def test_a_relay_passes_the_answer_on_or_says_that_there_is_none() -> None:
    house = House(*OTHERS)
    asker, source = OTHERS[1], meta(OTHERS[1]).bus_address
    for answers in (True, False):
        target = meta(OTHERS[0])
        house.probes.relay(ProbeFor(70, OTHERS[0], target.host, target.bus_port), source, 0)
        ((address, ping),) = house.sent()
        assert address == target.bus_address
        assert isinstance(ping, Ping)
        if answers:
            assert house.probes.acknowledged(ping.sequence) is None  # no probe of ours
        else:
            assert house.probes.tick(CONFIG.probe_timeout_ms) == []
        assert house.sent() == [(source, Ack(70) if answers else Nack(70))], asker
