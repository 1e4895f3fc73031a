"""Voting: what a voter allows, and when."""

from random import Random

import pytest

from gossip.config import GossipConfig
from gossip.errors import PeerError
from gossip.messages import LeaseRelease, LeaseRequest
from gossip.register import Send
from gossip.votes import VOTERS, Accept, Ballot, Declined, Plain, Value, VoterSet
from gossip.voting import Voting

ME, P, Q = "0" * 40, "a" * 40, "b" * 40


class House:
    """The member around the voting, on a clock of its own."""

    def __init__(self, forgot_until_ms: int = 0) -> None:
        self.now_ms = 10_000
        self.gone: set[str] = set()
        self.voting = Voting(
            ME,
            GossipConfig(),
            Random(1),
            forgot_until_ms,
            now_ms=lambda: self.now_ms,
            is_gone=self.gone.__contains__,
        )


def shard(primary: str, epoch: int) -> dict[str, Plain]:
    return {"primary": primary, "in_sync": (primary,), "epoch": epoch}


def led_by(house: House, primary: str) -> None:
    house.voting.learn("shard/s", Value(1, shard(primary, 1)))


def may(house: House, primary: str, epoch: int = 2) -> bool | str:
    return house.voting.may_change("shard/s", None, shard(primary, epoch))


def test_a_lease_that_runs_blocks_a_new_primary() -> None:
    house = House()
    led_by(house, P)
    assert house.voting.answer(LeaseRequest("s", 1, house.now_ms, 800), P, 1, house.now_ms).granted_ms == 800
    assert may(house, P) is True
    verdict = may(house, Q)
    assert isinstance(verdict, str)
    assert P in verdict
    assert "800 ms" in verdict
    house.now_ms += 800
    assert may(house, Q) is True


def test_our_own_evidence_that_it_is_gone_frees_the_way() -> None:
    house = House()
    led_by(house, P)
    house.voting.answer(LeaseRequest("s", 1, house.now_ms, 800), P, 1, house.now_ms)
    house.gone.add(Q)
    assert may(house, Q) is not True
    house.gone.add(P)
    assert may(house, Q) is True


def test_a_restarted_voter_waits_a_lease_before_it_allows_a_change() -> None:
    house = House(forgot_until_ms=10_800)
    assert may(house, Q) is True  # a shard without a primary had none to lease to
    led_by(house, P)
    assert may(house, Q) is not True
    house.now_ms = 10_800
    assert may(house, Q) is True


@pytest.mark.parametrize("known", [P, ""])
def test_a_lease_under_an_epoch_that_we_have_not_heard_of_blocks_whom_we_take_for_the_primary(
    known: str,
) -> None:
    house = House()
    if known:
        led_by(house, known)
    granted = house.voting.answer(LeaseRequest("s", 2, house.now_ms, 800), Q, 1, house.now_ms)
    assert granted.granted_ms == 800  # it was decided without us, and says so before anybody else does
    assert may(house, P, 3) is not True
    assert may(house, Q, 3) is True
    house.now_ms += 800
    assert may(house, P, 3) is True


def test_a_lease_under_an_older_epoch_does_not_hinder_the_primary_that_we_accepted() -> None:
    house = House()
    house.voting.answer(LeaseRequest("s", 1, house.now_ms, 800), Q, 1, house.now_ms)
    house.voting.learn("shard/s", Value(2, shard(P, 2)))
    assert may(house, P, 2) is True


def joined(house: House, voters: tuple[str, ...]) -> None:
    """The voter set changes by way of both joined."""
    current = house.voting.voter_set
    both = VoterSet(current.version + 1, current.voters, voters)
    for following in (both, VoterSet(current.version + 2, voters)):
        house.voting.learn(VOTERS, following.as_value())
        assert may(house, P) is True


def test_new_voters_wait_a_lease_for_what_those_before_them_granted() -> None:
    house = House()
    led_by(house, P)
    assert may(house, Q) is True
    joined(house, (ME, P, Q))
    verdict = may(house, Q)
    assert isinstance(verdict, str)
    assert "1000 ms" in verdict
    joined(house, (ME, P))
    house.now_ms += 1000
    assert may(house, Q) is True  # counted from when we learned of it, not from when we are first asked


def test_the_first_request_that_counts_new_voters_finds_them_waiting() -> None:
    house = House()
    led_by(house, P)
    house.voting.learn(VOTERS, VoterSet(2, (ME,), (ME, P, Q)).as_value())
    house.voting.hear(
        Q, Accept("shard/s", Ballot(9, Q), VoterSet(3, (ME, P, Q)), Value(2, shard(Q, 2))).to_wire()
    )
    (answer,) = [action.message for action in house.voting.actions() if isinstance(action, Send)]
    assert isinstance(answer, Declined)


def test_new_voters_wait_no_longer_for_a_primary_that_asked_them_and_gave_its_lease_back() -> None:
    house = House()
    led_by(house, P)
    joined(house, (ME, P, Q))
    house.voting.answer(LeaseRequest("s", 1, house.now_ms, 1000), P, 1, house.now_ms)
    assert may(house, Q) is not True
    house.voting.granted.release("s", P, 1, (1, house.now_ms), house.now_ms)
    assert may(house, Q) is True


def test_a_lease_given_back_does_not_block() -> None:
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


def test_a_release_of_a_version_that_does_not_say_what_it_gives_back_is_not_relied_on() -> None:
    """It may be an old one; the grant runs out by itself."""
    house = House()
    led_by(house, P)
    house.voting.answer(LeaseRequest("s", 1, house.now_ms, 1000), P, 1, house.now_ms)
    house.voting.hear_release(LeaseRelease("s", 1), P, 1, house.now_ms)
    assert may(house, Q) is not True
    house.voting.hear_release(LeaseRelease("s", 1, house.now_ms), P, 1, house.now_ms)
    assert may(house, Q) is True


@pytest.mark.parametrize(
    ("register", "new"),
    [
        ("shard/s", {"primary": 7, "in_sync": (), "epoch": 1}),
        ("slots", ((5, 1, "s"),)),
        ("slots", "all"),
        ("other", {}),
    ],
)
def test_what_nobody_could_read_is_declined(register: str, new: Plain) -> None:
    assert isinstance(House().voting.may_change(register, None, new), str)


def test_garbage_is_the_peers_fault() -> None:
    with pytest.raises(PeerError, match="malformed"):
        House().voting.hear(P, ("promise", 7))
