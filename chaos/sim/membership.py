"""A network of detector cores under virtual time: one event heap, one seeded source of dice per component.

Cores are driven exactly as the shell drives them: messages first, then the clock; `tick` at `next_due_ms` or
as soon after it as the member is awake. Datagrams take a random time, get lost, and pass cuts in one
direction only. State exchanges over TCP happen as one event at both ends and fail when either direction is
cut.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random

from gossip.actions import CheckPort, ExchangeWith, MemberChanged, Send
from gossip.config import GossipConfig
from gossip.detector import Detector
from gossip.members import Member, Status
from gossip.messages import Address, Codec, Envelope, Meta

CLUSTER = "c" * 40


def member_id(number: int) -> str:
    return f"{number:040x}"


def meta_of(number: int, shard_id: str = "") -> Meta:
    return Meta(f"10.0.{number // 250}.{number % 250 + 1}", 7000, 17000, "node", "", shard_id, 1, "test")


@dataclass
class Station:
    """One member with its machine. `frozen_until_ms`: it stands still; mail waits."""

    number: int
    core: Detector
    alive: bool = True
    frozen_until_ms: int = 0
    mail: list[tuple[Envelope, Address]] = field(default_factory=list)
    packets: int = 0
    bytes: int = 0


@dataclass
class Sight:
    """Somebody's view of a member changed."""

    at_ms: int
    observer: int
    member: int
    before: Status
    after: Status


class Network:
    """The world. Times in ms since its beginning."""

    def __init__(self, size: int, seed: int, config: GossipConfig | None = None, voters: int = 0) -> None:
        self.config = config or GossipConfig()
        self.rng = Random(f"{seed} network")
        self.seed = seed
        self.now_ms = 1_000
        self.loss = 0.0
        self.latency_ms = (1, 3)
        self.measure = False
        self.cuts: dict[tuple[int, int], None] = {}
        self.sights: list[Sight] = []
        self.stations: dict[int, Station] = {}
        self._by_address: dict[Address, int] = {}
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._wakes: dict[int, int] = {}
        self._codec = Codec(CLUSTER)
        self.voters = tuple(member_id(number) for number in range(voters))
        for number in range(size):
            self.add(number)

    def add(self, number: int, incarnation: int = 1) -> Station:
        """A member that knows nobody yet."""
        rng = Random(f"{self.seed} member {number} {incarnation}")
        core = Detector(member_id(number), meta_of(number), incarnation, self.config, rng, self.now_ms)
        core.set_decided(self.voters, 0, 0, lambda _member: False)
        station = self.stations[number] = Station(number, core)
        self._by_address[core.meta.bus_address] = number
        self._schedule_wake(number)
        return station

    def introduce_everybody(self) -> None:
        """As after a long quiet time: everybody knows everybody, nothing is news.

        Writes into the tables: to tell each of 5,000 members of each other one takes minutes.
        """
        records = [station.core.records()[0] for station in self.stations.values()]
        for station in self.stations.values():
            members = station.core.members
            for record in records:
                if record.member != members.me:
                    listed = Member(record.member, Status.ALIVE, record.incarnation, record.meta, self.now_ms)
                    members._listed[record.member] = listed
            members._present = len(members)

    def join(self, number: int, through: int) -> None:
        self._exchange(number, through)
        self.stations[number].core.announce(self.now_ms)
        self.act(number)

    # -- faults

    def kill(self, number: int) -> None:
        self.stations[number].alive = False

    def freeze(self, number: int, duration_ms: int) -> None:
        self.stations[number].frozen_until_ms = self.now_ms + duration_ms
        self._at(self.now_ms + duration_ms, lambda: self._wake(number))

    def thaw(self, number: int) -> None:
        """Before its time; what it missed waits in its mail."""
        self.stations[number].frozen_until_ms = 0
        self._wake(number)

    def cut(self, source: int, target: int) -> None:
        self.cuts[source, target] = None

    def partition(self, left: list[int], right: list[int]) -> None:
        for one in left:
            for other in right:
                self.cut(one, other)
                self.cut(other, one)

    def heal(self) -> None:
        self.cuts.clear()

    # -- time

    def run(self, duration_ms: int, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass. True as soon as `until` holds, False when it never did."""
        end_ms = self.now_ms + duration_ms
        while self._events and self._events[0][0] <= end_ms:
            at_ms, _order, event = heapq.heappop(self._events)
            self.now_ms = max(self.now_ms, at_ms)
            event()
            if until is not None and until():
                return True
        self.now_ms = end_ms
        return until is not None and until()

    def _at(self, at_ms: int, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at_ms, next(self._order), event))

    def _schedule_wake(self, number: int) -> None:
        due_ms = max(self.stations[number].core.next_due_ms(), self.now_ms)
        if self._wakes.get(number, due_ms + 1) > due_ms:
            self._wakes[number] = due_ms
            self._at(due_ms, lambda: self._timer(number, due_ms))

    def _timer(self, number: int, due_ms: int) -> None:
        if self._wakes.get(number) == due_ms:
            del self._wakes[number]
            self._wake(number)

    def _wake(self, number: int) -> None:
        """The driving task of the shell goes round once."""
        station = self.stations[number]
        if not station.alive or station.frozen_until_ms > self.now_ms:
            return
        mail, station.mail = station.mail, []
        for envelope, source in mail:
            station.core.receive(envelope, source, self.now_ms)
        if station.core.next_due_ms() <= self.now_ms:
            station.core.tick(self.now_ms)
        self.act(number)

    def act(self, number: int) -> None:
        station = self.stations[number]
        for action in station.core.actions():
            if isinstance(action, Send):
                self._send(station, action)
            elif isinstance(action, MemberChanged):
                member = int(action.member, 16)
                self.sights.append(Sight(self.now_ms, number, member, action.before, action.after))
            elif isinstance(action, ExchangeWith):
                other = self._by_address[action.address]
                self._at(self.now_ms + 4, partial(self._exchange, number, other))
            elif isinstance(action, CheckPort):
                self._at(self.now_ms + 1, partial(self._check, number, action))
        self._schedule_wake(number)

    def _send(self, station: Station, action: Send) -> None:
        target = self._by_address.get(action.address)
        station.packets += 1
        if self.measure:
            encoded = self._codec.encode(action.envelope)
            assert len(encoded) <= self.config.datagram_bytes_max
            station.bytes += len(encoded)
        if target is None or (station.number, target) in self.cuts or self.rng.random() < self.loss:
            return
        source = station.core.meta.bus_address
        arrival_ms = self.now_ms + self.rng.randint(*self.latency_ms)
        self._at(arrival_ms, lambda: self._deliver(target, action.envelope, source))

    def _deliver(self, target: int, envelope: Envelope, source: Address) -> None:
        station = self.stations[target]
        if station.alive:
            station.mail.append((envelope, source))
            self._wake(target)

    def _reachable(self, one: int, other: int) -> bool:
        stations = (self.stations[one], self.stations[other])
        awake = all(station.alive and station.frozen_until_ms <= self.now_ms for station in stations)
        return awake and (one, other) not in self.cuts and (other, one) not in self.cuts

    def _exchange(self, one: int, other: int) -> None:
        if not self._reachable(one, other):
            return
        first, second = self.stations[one].core, self.stations[other].core
        of_first, of_second = first.records(), second.records()
        second.merge(of_first, first.me, self.now_ms)
        first.merge(of_second, second.me, self.now_ms)
        self.act(one)
        self.act(other)

    def _check(self, number: int, check: CheckPort) -> None:
        target = self._by_address[check.address]
        station = self.stations[number]
        if not station.alive or (number, target) in self.cuts or (target, number) in self.cuts:
            return
        refused = not self.stations[target].alive
        station.core.checked(check.member, check.incarnation, refused, self.now_ms)
        self.act(number)

    # -- looking

    def status(self, observer: int, member: int) -> Status:
        return self.stations[observer].core.members.status_of(member_id(member))

    def everybody_sees(self, member: int, status: Status, among: list[int] | None = None) -> bool:
        observers = list(self.stations) if among is None else among
        return all(
            self.status(observer, member) is status
            for observer in observers
            if observer != member and self.stations[observer].alive
        )

    def all_alive(self) -> bool:
        return all(
            self.everybody_sees(number, Status.ALIVE)
            for number, station in self.stations.items()
            if station.alive
        )

    def deaths(self) -> list[Sight]:
        return [sight for sight in self.sights if sight.after is Status.DEAD]
