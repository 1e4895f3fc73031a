"""Voting: what a voter allows and when, and that nothing leaves before the disk has it."""

from random import Random

import pytest
import trio

from gossip.config import GossipConfig
from gossip.errors import PeerError
from gossip.messages import LeaseRequest
from gossip.register import Refused
from gossip.votes import Accept, Ballot, Message, Plain, Prepare, Value, VoterSet
from gossip.voting import Ties, Voting

ME, P, Q = "0" * 40, "a" * 40, "b" * 40


class House:
    """The member around the voting: notes what happens, in order, on a clock of its own."""

    def __init__(self, forgot_until_ms: int = 0) -> None:
        self.now_ms = 10_000
        self.events: list[object] = []
        self.gone: set[str] = set()
        self.disk = trio.Event()
        self.disk.set()
        ties = Ties(
            now_ms=lambda: self.now_ms,
            save=self.save,
            tell=lambda member, message: self.events.append((member, message)),
            learned=lambda name, value: self.events.append(("learned", name, value.version)),
            settled=lambda: None,
            is_gone=self.gone.__contains__,
        )
        self.voting = Voting(ME, GossipConfig(), Random(1), ties, forgot_until_ms)

    async def save(self) -> None:
        self.events.append("save")
        await self.disk.wait()
        self.events.append("saved")


def shard(primary: str, epoch: int) -> dict[str, Plain]:
    return {"primary": primary, "in_sync": (primary,), "epoch": epoch}


def led_by(house: House, primary: str) -> None:
    house.voting.learn("shard/s", Value(1, shard(primary, 1)))


def may(house: House, primary: str, epoch: int = 2) -> bool | str:
    return house.voting.may_change("shard/s", None, shard(primary, epoch))


async def test_a_lease_that_runs_blocks_a_new_primary() -> None:
    house = House()
    led_by(house, P)
    assert house.voting.answer(LeaseRequest("s", 1, house.now_ms, 800), P, house.now_ms).granted_ms == 800
    assert may(house, P) is True
    verdict = may(house, Q)
    assert isinstance(verdict, str)
    assert P in verdict
    assert "800 ms" in verdict
    house.now_ms += 800
    assert may(house, Q) is True


async def test_our_own_evidence_that_it_is_gone_frees_the_way() -> None:
    house = House()
    led_by(house, P)
    house.voting.answer(LeaseRequest("s", 1, house.now_ms, 800), P, house.now_ms)
    house.gone.add(Q)
    assert may(house, Q) is not True
    house.gone.add(P)
    assert may(house, Q) is True


async def test_a_restarted_voter_waits_a_lease_before_it_allows_a_change() -> None:
    house = House(forgot_until_ms=10_800)
    assert may(house, Q) is True  # a shard without a primary had none to lease to
    led_by(house, P)
    assert may(house, Q) is not True
    house.now_ms = 10_800
    assert may(house, Q) is True


async def test_a_lease_given_back_does_not_block() -> None:
    house = House()
    led_by(house, ME)
    house.voting.held.serve("s", 1, house.voting.voter_set, house.now_ms)
    request, others = house.voting.renewals(house.now_ms, 0) or pytest.fail("no renewal was due")
    assert (request.shard_id, others) == ("s", ())
    assert house.voting.held.valid_until_ms > house.now_ms
    assert may(house, Q) is not True
    assert house.voting.release(house.now_ms) is not None
    assert house.voting.held.valid_until_ms == 0
    assert may(house, Q) is True
    assert house.voting.release(house.now_ms) is None


@pytest.mark.parametrize(
    ("register", "new"),
    [
        ("shard/s", {"primary": 7, "in_sync": (), "epoch": 1}),
        ("slots", ((5, 1, "s"),)),
        ("slots", "all"),
        ("other", {}),
    ],
)
async def test_what_nobody_could_read_is_declined(register: str, new: Plain) -> None:
    assert isinstance(House().voting.may_change(register, None, new), str)


async def test_nothing_leaves_before_the_disk_has_it() -> None:
    house = House()
    house.disk = trio.Event()
    voters = VoterSet(1, (ME,))
    ballot = Ballot(5, P)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(house.voting.run)
            house.voting.hear(P, Prepare("shard/s", ballot, voters).to_wire())
            value = Value(1, shard(P, 1))
            house.voting.hear(P, Accept("shard/s", ballot, voters, value).to_wire())
            await trio.testing.wait_all_tasks_blocked()
            assert house.events == ["save"]
            house.disk.set()
            await trio.testing.wait_all_tasks_blocked()
            told = [event[1] for event in house.events[2:] if isinstance(event, tuple)]
            assert house.events[:2] == ["save", "saved"]  # both answers waited for one write
            assert [message.KIND for message in told if isinstance(message, Message)] == [
                "promise",
                "accepted",
            ]
            nursery.cancel_scope.cancel()


async def test_garbage_is_the_peers_fault() -> None:
    with pytest.raises(PeerError, match="malformed"):
        House().voting.hear(P, ("promise", 7))


async def test_a_proposal_of_a_lonely_voter_is_decided_and_cancelled_ones_are_forgotten() -> None:
    house = House()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.voting.run)
        value = await house.voting.propose("shard/s", lambda old: shard(P, 1), None)
        assert value == Value(1, shard(P, 1))
        with pytest.raises(Refused, match="no"):
            await house.voting.propose("shard/s", _decline, None)
        house.disk = trio.Event()
        with trio.move_on_after(0.01):
            await house.voting.propose("shard/s", lambda old: shard(Q, 2), None)
        assert house.voting.registers.proposal_count == 0
        nursery.cancel_scope.cancel()


def _decline(old: Plain) -> Plain:
    raise Refused("no")
