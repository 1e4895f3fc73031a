"""Leases: tables for both sides, and the promise itself under random delays, losses and pauses."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.lease import LeaseHolder, LeaseVoter
from gossip.topology import ShardView
from gossip.votes import VoterSet

LEASE_MS, MARGIN_MS = 800, 10
FIVE = VoterSet(1, ("a", "b", "c", "d", "e"))


def shard(primary: str, epoch: int) -> ShardView:
    return ShardView("s", primary, (primary,), epoch)


# -- the voter ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asker", "epoch", "known", "granted"),
    [
        ("p", 1, shard("p", 1), True),
        ("q", 1, shard("p", 1), False),
        ("p", 1, shard("q", 2), False),
        ("p", 2, shard("q", 1), True),  # it knows a decision that we have not heard of
        ("p", 2, shard("q", 2), False),
        ("p", 1, ShardView("s"), True),  # as above
    ],
)
def test_who_gets_a_grant(asker: str, epoch: int, known: ShardView, granted: bool) -> None:
    voter = LeaseVoter(LEASE_MS, 0)
    assert voter.ask(asker, epoch, known, 1_000) is granted
    assert voter.holder("s", 1_000) == (asker if granted else "")


def test_a_grant_blocks_others_until_it_ends() -> None:
    voter = LeaseVoter(LEASE_MS, 0)
    assert voter.ask("p", 1, shard("p", 1), 1_000)
    assert voter.wait_ms("s", "q", 1_300) == 500
    assert voter.wait_ms("s", "p", 1_300) == 0
    assert voter.wait_ms("s", "q", 1_800) == 0
    assert voter.holder("s", 1_799) == "p"
    assert voter.holder("s", 1_800) == ""


def test_a_restarted_voter_may_have_forgotten() -> None:
    voter = LeaseVoter(LEASE_MS, 1_800)
    assert voter.wait_ms("s", "q", 1_000) == 800
    assert voter.wait_ms("s", "q", 1_800) == 0


def test_a_release_ends_a_grant_but_not_a_newer_one() -> None:
    voter = LeaseVoter(LEASE_MS, 0)
    voter.ask("p", 2, shard("p", 2), 1_000)
    voter.release("s", "p", 1)
    voter.release("s", "q", 2)
    assert voter.holder("s", 1_100) == "p"
    voter.release("s", "p", 2)
    assert voter.wait_ms("s", "q", 1_100) == 0


def test_a_primary_that_falls_silent_is_named_once() -> None:
    voter = LeaseVoter(LEASE_MS, 0)
    assert voter.next_silence_ms() is None
    voter.ask("p", 1, shard("p", 1), 1_000)
    voter.ask("q", 1, ShardView("t", "q", ("q",), 1), 1_100)
    voter.ask("p", 1, shard("p", 1), 1_266)
    assert voter.next_silence_ms() == 1_500
    assert voter.silences(1_499) == []
    assert voter.silences(1_600) == ["q"]
    assert voter.next_silence_ms() == 1_666
    assert voter.silences(1_666) == ["p"]
    assert voter.next_silence_ms() is None
    voter.ask("p", 1, shard("p", 1), 2_000)
    voter.release("s", "p", 1)
    assert voter.next_silence_ms() is None


# -- the holder ---------------------------------------------------------------------------------------------


def holder() -> LeaseHolder:
    lease = LeaseHolder(LEASE_MS, MARGIN_MS)
    lease.serve("s", 1, FIVE, 1_000)
    return lease


def test_a_majority_makes_it_valid_from_the_send_time() -> None:
    lease = holder()
    assert lease.renewals(1_000) == FIVE.voters
    assert lease.renewals(1_100) == ()
    lease.granted("a", "s", 1, 1_000, 1_050)
    lease.granted("b", "s", 1, 1_000, 1_050)
    assert lease.valid_until_ms == 0
    lease.granted("c", "s", 1, 1_000, 1_400)
    assert lease.valid_until_ms == 1_000 + LEASE_MS - MARGIN_MS


def test_answers_to_other_questions_do_not_count() -> None:
    lease = holder()
    for voter, shard_id, epoch, sent_ms in (
        ("x", "s", 1, 1_000),
        ("a", "t", 1, 1_000),
        ("a", "s", 2, 1_000),
        ("a", "s", 1, 2_000),
        ("a", "s", 1, 100),
    ):
        lease.granted(voter, shard_id, epoch, sent_ms, 1_500)
    assert lease.majority_granted_ms() == 0
    for voter in ("a", "a", "a"):
        lease.granted(voter, "s", 1, 1_000, 1_100)
    assert lease.valid_until_ms == 0


def test_a_new_epoch_or_shard_starts_from_nothing() -> None:
    lease = holder()
    for voter in "abc":
        lease.granted(voter, "s", 1, 1_000, 1_100)
    assert lease.valid_until_ms > 0
    lease.serve("s", 2, FIVE, 1_200)
    assert lease.valid_until_ms == 0
    assert lease.renewals(1_200) == FIVE.voters
    lease.serve("", 0, FIVE, 1_300)
    assert lease.next_due_ms() is None
    assert lease.renewals(9_999) == ()


def test_a_joint_voter_set_needs_both_majorities() -> None:
    lease = LeaseHolder(LEASE_MS, MARGIN_MS)
    lease.serve("s", 1, VoterSet(2, ("a",), ("b", "c", "d")), 1_000)
    lease.granted("a", "s", 1, 1_000, 1_010)
    assert lease.valid_until_ms == 0
    lease.granted("b", "s", 1, 1_000, 1_010)
    assert lease.valid_until_ms == 0
    lease.granted("c", "s", 1, 1_000, 1_010)
    assert lease.valid_until_ms > 0


def test_while_all_is_well_one_more_than_a_quorum_is_asked() -> None:
    lease = holder()
    lease.renewals(1_000)
    for voter in "bcde":
        lease.granted(voter, "s", 1, 1_000, 1_010)
    asked = lease.renewals(1_300)
    assert asked == ("b", "c", "d", "e")
    lease.granted("b", "s", 1, 1_300, 1_310)
    assert lease.renewals(1_600) == FIVE.voters  # the last renewal did not complete: ask everybody


# -- both together ------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_two_primaries_never_serve_at_once(seed: int) -> None:
    """Five voters, an old primary, a successor. Any delays, losses, pauses and voter restarts.

    The successor is accepted by a voter only when that voter's leases allow it, and is primary once a
    majority has accepted. From then on the old primary must not believe in its lease.
    """
    rng = Random(seed)
    names = FIVE.voters
    voters = {name: LeaseVoter(LEASE_MS, 0) for name in names}
    accepted: dict[str, ShardView] = {name: shard("old", 1) for name in names}
    old = LeaseHolder(LEASE_MS, MARGIN_MS)
    old.serve("s", 1, FIVE, 1_000)
    mail: list[tuple[int, str, int, bool]] = []  # when, voter, sent_ms, is an answer
    loss, delay_ms = rng.choice([0.0, 0.2, 0.6]), rng.choice([2, 50, 700])
    challenge_ms = 1_000 + rng.randrange(3_000)
    paused_until_ms = 0
    decided_ms = None
    for now_ms in range(1_000, 7_000, rng.choice([1, 7])):
        if rng.random() < 0.002:
            paused_until_ms = now_ms + rng.randrange(2_000)
        if now_ms >= paused_until_ms:
            for name in old.renewals(now_ms):
                if rng.random() >= loss:
                    mail.append((now_ms + rng.randrange(delay_ms), name, now_ms, False))
        for item in [item for item in mail if item[0] <= now_ms]:
            _at, name, sent_ms, is_answer = item
            if is_answer and now_ms < paused_until_ms:
                continue
            mail.remove(item)
            if is_answer:
                old.granted(name, "s", 1, sent_ms, now_ms)
            elif voters[name].ask("old", 1, accepted[name], now_ms) and rng.random() >= loss:
                mail.append((now_ms + rng.randrange(delay_ms), name, sent_ms, True))
        if rng.random() < 0.001:
            name = rng.choice(names)
            voters[name] = LeaseVoter(LEASE_MS, now_ms + LEASE_MS)
        if now_ms >= challenge_ms and rng.random() < 0.1:
            name = rng.choice(names)
            if voters[name].wait_ms("s", "new", now_ms) == 0:
                accepted[name] = shard("new", 2)
        converted = [name for name in names if accepted[name].primary == "new"]
        if decided_ms is None and FIVE.has_quorum(converted):
            decided_ms = now_ms
        if decided_ms is not None:
            assert old.valid_until_ms <= now_ms, (seed, now_ms, decided_ms)
