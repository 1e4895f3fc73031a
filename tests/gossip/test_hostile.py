"""A member against peers that speak the protocol and mean harm, or are simply broken.

The messages are well-formed and of our cluster, so nothing drops them at the door; their content is random. A
member trusts its cluster, so it may come to believe strange things about members, voters and shards. It must
not fall over, and it must go on answering those who behave.
"""

import socket
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from gossip.messages import (
    Ack,
    Alive,
    Claim,
    Codec,
    Dead,
    Envelope,
    Exchange,
    Fetch,
    LeaseGrant,
    LeaseRelease,
    LeaseRequest,
    Left,
    Meet,
    MeetAnswer,
    Message,
    Meta,
    Nack,
    News,
    Ping,
    ProbeFor,
    Record,
    Refused,
    RegisterNews,
    RegisterRound,
    Suspect,
    Vitals,
)
from tests.gossip.test_service import status, village
from tests.waiting import until

pytestmark = pytest.mark.slow

HOSTS = ("127.0.0.1", "10.255.255.1", "::1", "example.invalid", "", "x" * 255)
NAMES = ("slots", "voters", "shard/s", "shard/", "", "*", "other")


class Vandal:
    """Makes messages that are right in form only."""

    def __init__(self, seed: int, ids: list[str]) -> None:
        self.rng = Random(seed)
        self.ids = [*ids, *(f"{self.rng.getrandbits(160):040x}" for _ in range(5))]

    def id(self) -> str:
        return self.rng.choice(self.ids)

    def number(self) -> int:
        return self.rng.choice([-1, 0, 1, 2, 3, 1_000, 2**31, 2**63 - 1, self.rng.getrandbits(40)])

    def plain(self, depth: int = 3) -> Any:
        kind = self.rng.randrange(9 if depth else 6)
        if kind >= 7:
            return {
                self.rng.choice(("primary", "in_sync", "epoch", "voters", "joining", "x")): self.plain(
                    depth - 1
                )
            }
        if kind == 6:
            return tuple(self.plain(depth - 1) for _ in range(self.rng.randrange(4)))
        return (None, True, self.number(), self.id(), b"bytes", 1.5)[kind]

    def meta(self) -> Meta:
        kind = self.rng.choice(["node", "router"])
        port = self.rng.choice([0, 1, 65_535])
        return Meta(
            self.rng.choice(HOSTS), port, port, kind, "", self.rng.choice(["", "s"]), self.number(), "?"
        )

    def record(self) -> Record:
        known = self.rng.choice(["alive", "suspect", "dead", "left"])
        return Record(known, self.id(), self.number(), self.meta(), self.number())

    def news(self) -> RegisterNews:
        return RegisterNews(self.rng.choice(NAMES), self.number(), self.plain())

    def claim(self, spare: str) -> Claim:
        """Members that behave are spared: what is tested is survival, not slander."""
        member = spare
        while member == spare or member in self.ids[:2]:
            member = self.id()
        choice = self.rng.randrange(60)
        if choice == 0:
            return Alive(member, self.number(), self.meta())
        if choice == 1:
            return Suspect(member, self.number(), self.id())
        if choice == 2:
            return Dead(member, self.number(), self.id())
        if choice == 3:
            return Left(member, self.number())
        return self.news()

    def round(self) -> Any:
        kind = self.rng.choice(
            ["prepare", "accept", "promise", "accepted", "conflict", "stale", "declined", "list"]
        )
        voter_set = (self.rng.randrange(3), (self.id(),), ())
        ballot = (self.rng.randrange(1_000), self.id())
        rest: Any = {
            "prepare": (voter_set,),
            "accept": ((1, self.plain()), voter_set),
            "promise": (None, None),
            "accepted": (),
            "conflict": (ballot,),
            "stale": (voter_set,),
            "declined": ("because",),
            "list": (voter_set,),
        }[kind]
        return (kind, self.rng.choice(NAMES), ballot, *rest)

    def message(self) -> Message:
        number, member = self.number(), self.id()
        makers: list[Any] = [
            lambda: Ping(number, member),
            lambda: Ack(number),
            lambda: ProbeFor(number, member, self.rng.choice(HOSTS), self.rng.choice([0, 1, 65_535])),
            lambda: Nack(number),
            News,
            lambda: Refused(self.ids[-1], number),
            lambda: LeaseRequest(self.rng.choice(["s", "", "t"]), number, number, number),
            lambda: LeaseGrant("s", number, number, number),
            lambda: LeaseRelease("t", number, number),
            lambda: RegisterRound(self.plain()),
            lambda: RegisterRound(self.round()),
        ]
        return self.rng.choice(makers)()  # type: ignore[no-any-return]

    def frame(self) -> Message:
        makers: list[Any] = [
            lambda: Exchange(tuple(self.record() for _ in range(5)), (self.news(),), self.rng.random() < 0.8),
            lambda: Fetch(tuple(self.rng.choice(NAMES) for _ in range(2))),
            lambda: Meet(self.record(), self.rng.random() < 0.5, True),
            lambda: MeetAnswer("adopt-mine", "?", self.record()),
            self.message,
        ]
        return self.rng.choice(makers)()  # type: ignore[no-any-return]

    def envelope(self, message: Message, spare: str) -> Envelope:
        vitals = Vitals(self.number(), self.number(), 0, self.number(), self.number(), self.number())
        sender = self.rng.choice(self.ids[2:])
        return Envelope(
            sender, vitals, message, tuple(self.claim(spare) for _ in range(self.rng.randrange(4)))
        )


@pytest.mark.parametrize("seed", range(5))
async def test_datagrams_of_a_vandal(tmp_path: Path, seed: int) -> None:
    async with village(tmp_path) as here:
        ours = await here.started(2)
        vandal = Vandal(seed, [service.id for service in ours])
        codec = Codec(ours[0].cluster_id)
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(1_000):
                data = codec.encode(vandal.envelope(vandal.message(), ours[0].id))
                await sender.sendto(data, ("127.0.0.1", ours[0].bus_port))
        await until(lambda: ours[0].statistics().datagrams_in >= 500)
        await until(lambda: status(ours[1], ours[0]) == "alive")
        assert ours[0].topology.members[ours[0].id].status == "alive"
        assert not here.ended["m0"].is_set()


@pytest.mark.parametrize("seed", range(5))
async def test_frames_of_a_vandal(tmp_path: Path, seed: int) -> None:
    async with village(tmp_path) as here:
        ours = await here.started(2)
        vandal = Vandal(seed, [service.id for service in ours])
        own, foreign = Codec(ours[0].cluster_id), Codec("f" * 40)
        for attempt in range(60):
            stream = await trio.open_tcp_stream("127.0.0.1", ours[0].bus_port)
            frame = vandal.frame()
            codec = foreign if isinstance(frame, Meet) else own
            data = codec.encode(vandal.envelope(frame, ours[0].id))
            cut = len(data) if attempt % 3 else vandal.rng.randrange(len(data))
            await stream.send_all(len(data).to_bytes(4, "big") + data[:cut])
            if attempt % 2:
                with trio.move_on_after(0.05):
                    await stream.receive_some(1_000)
            await trio.aclose_forcefully(stream)
        await until(lambda: status(ours[1], ours[0]) == "alive")
        assert ours[0].topology.members[ours[0].id].status == "alive"
        assert not here.ended["m0"].is_set()
