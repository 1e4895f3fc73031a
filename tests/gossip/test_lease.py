"""Leases: tables for both sides, and the promise itself under random delays, losses and pauses."""

from collections.abc import Iterable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.lease import GIVEN_BACK_MAX, Asked, LeaseHolder, LeaseVoter, silence_ms
from gossip.topology import ShardView
from gossip.votes import VoterSet

LEASE_MS, MARGIN_MS = 1_000, 10
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
    assert voter.ask(asker, epoch, known, 1_000, LEASE_MS, (1, 1_000)) == (LEASE_MS if granted else 0)
    assert voter.holder("s", 1_000) == (asker if granted else "")


def test_a_grant_blocks_others_until_it_ends() -> None:
    voter = LeaseVoter(LEASE_MS, 0)
    assert voter.ask("p", 1, shard("p", 1), 1_000, LEASE_MS, (1, 1_000))
    assert voter.wait_ms("s", "q", 1_300) == 700
    assert voter.wait_ms("s", "p", 1_300) == 0
    assert voter.wait_ms("s", "q", 2_000) == 0
    assert voter.holder("s", 1_999) == "p"
    assert voter.holder("s", 2_000) == ""


@pytest.mark.parametrize(("wanted_ms", "granted_ms"), [(400, 400), (5_000, LEASE_MS), (0, 0), (-1, 0)])
def test_a_voter_is_bound_for_what_was_wanted_but_no_longer_than_it_says_itself(
    wanted_ms: int, granted_ms: int
) -> None:
    voter = LeaseVoter(LEASE_MS, 0)
    assert voter.ask("p", 1, shard("p", 1), 1_000, wanted_ms, (1, 1_000)) == granted_ms
    assert voter.wait_ms("s", "q", 1_000) == granted_ms


def test_a_shorter_wish_does_not_take_back_what_was_granted() -> None:
    voter = LeaseVoter(LEASE_MS, 0)
    assert voter.ask("p", 1, shard("p", 1), 1_000, LEASE_MS, (1, 1_000)) == LEASE_MS
    assert voter.ask("p", 1, shard("p", 1), 1_100, 300, (1, 1_100)) == 300
    assert voter.wait_ms("s", "q", 1_100) == 900


def test_a_restarted_voter_may_have_forgotten() -> None:
    voter = LeaseVoter(LEASE_MS, 1_800)
    assert voter.wait_ms("s", "q", 1_000) == 800
    assert voter.wait_ms("s", "q", 1_800) == 0


def test_a_release_ends_a_grant_but_not_a_newer_one() -> None:
    voter = LeaseVoter(LEASE_MS, 0)
    voter.ask("p", 2, shard("p", 2), 1_000, LEASE_MS, (1, 1_000))
    voter.release("s", "p", 1, (1, 1_000), 1_100)
    voter.release("s", "q", 2, (1, 1_000), 1_100)
    assert voter.holder("s", 1_100) == "p"
    voter.release("s", "p", 2, (1, 1_000), 1_100)
    assert voter.wait_ms("s", "q", 1_100) == 0


def test_a_release_that_comes_late_or_twice_leaves_what_was_granted_since() -> None:
    voter = LeaseVoter(LEASE_MS, 0)
    voter.ask("p", 1, shard("p", 1), 1_000, LEASE_MS, (1, 900))
    voter.release("s", "p", 1, (1, 900), 1_050)
    assert voter.wait_ms("s", "q", 1_050) == 0
    assert voter.ask("p", 1, shard("p", 1), 1_100, LEASE_MS, (1, 1_000)) == LEASE_MS
    for now_ms in (1_101, 1_200):
        voter.release("s", "p", 1, (1, 900), now_ms)
        assert voter.wait_ms("s", "q", now_ms) == 2_100 - now_ms
    voter.release("s", "p", 1, (1, 1_000), 1_300)
    assert voter.wait_ms("s", "q", 1_300) == 0


def test_requests_that_overtook_each_other_are_given_back_by_the_newest() -> None:
    voter = LeaseVoter(LEASE_MS, 0)
    for sent_ms in (1_400, 1_000):
        voter.ask("p", 1, shard("p", 1), 1_500, LEASE_MS, (1, sent_ms))
    voter.release("s", "p", 1, (1, 1_000), 1_600)
    assert voter.holder("s", 1_600) == "p"
    voter.release("s", "p", 1, (1, 1_400), 1_600)
    assert voter.holder("s", 1_600) == ""


def test_a_request_that_its_release_overtook_gets_nothing_for_a_lease() -> None:
    voter = LeaseVoter(LEASE_MS, 0)
    voter.release("s", "p", 1, (1, 1_000), 1_050)
    assert voter.ask("p", 1, shard("p", 1), 1_060, LEASE_MS, (1, 1_000)) == 0
    assert voter.ask("q", 2, shard("q", 2), 1_060, LEASE_MS, (1, 10)) == LEASE_MS
    assert voter.ask("p", 3, shard("p", 3), 1_060, LEASE_MS, (1, 1_001)) == LEASE_MS
    voter.release("s", "p", 3, (1, 1_001), 1_100)
    assert voter.ask("p", 3, shard("p", 3), 1_200, LEASE_MS, (1, 1_000)) == 0
    assert (
        voter.ask("p", 3, shard("p", 3), 2_100, LEASE_MS, (1, 1_000)) == LEASE_MS
    )  # as if it was asked late


def test_another_life_may_count_time_anew() -> None:
    """Its machine started again: what it asks now is newer than what it asked before, whatever its clock."""
    voter = LeaseVoter(LEASE_MS, 0)
    voter.ask("p", 1, shard("p", 1), 1_000, LEASE_MS, (4, 900_000))
    voter.release("s", "p", 1, (4, 900_000), 1_010)
    assert voter.ask("p", 1, shard("p", 1), 1_100, LEASE_MS, (5, 20)) == LEASE_MS
    voter.release("s", "p", 1, (4, 900_000), 1_200)
    assert voter.holder("s", 1_200) == "p"
    voter.release("s", "p", 1, (5, 20), 1_300)
    assert voter.holder("s", 1_300) == ""


def test_a_voter_remembers_so_many_that_gave_back_and_no_more() -> None:
    voter = LeaseVoter(LEASE_MS, 0)
    for number in range(GIVEN_BACK_MAX + 1):
        voter.release("s", f"p{number}", 1, (1, 1_000), 1_000)
    asked = [voter.ask(f"p{at}", 2, ShardView("s"), 1_001, 1, (1, 1_000)) for at in (1, GIVEN_BACK_MAX, 0)]
    assert asked == [0, 0, 1]  # the oldest is forgotten


def test_a_primary_that_falls_silent_is_named_once() -> None:
    voter = LeaseVoter(LEASE_MS, 0)
    assert voter.next_silence_ms() is None
    voter.ask("p", 1, shard("p", 1), 1_000, LEASE_MS, (1, 1_000))
    voter.ask("q", 1, ShardView("t", "q", ("q",), 1), 1_100, LEASE_MS, (1, 1_100))
    voter.ask("p", 1, shard("p", 1), 1_400, LEASE_MS, (1, 1_400))
    assert silence_ms(LEASE_MS) == 440
    assert voter.next_silence_ms() == 1_540
    assert voter.silences(1_539) == []
    assert voter.silences(1_540) == ["q"]
    assert voter.next_silence_ms() == 1_840
    assert voter.silences(1_840) == ["p"]
    assert voter.next_silence_ms() is None
    voter.ask("p", 1, shard("p", 1), 2_000, LEASE_MS, (1, 2_000))
    voter.release("s", "p", 1, (1, 2_000), 2_100)
    assert voter.next_silence_ms() is None


# -- the holder ---------------------------------------------------------------------------------------------


def holder(me: str = "p", voters: VoterSet = FIVE, beat_ms: int = 1) -> LeaseHolder:
    lease = LeaseHolder(me, LEASE_MS, MARGIN_MS, beat_ms)
    lease.serve("s", 1, voters, 1_000)
    return lease


def grant(lease: LeaseHolder, voters: Iterable[str], sent_ms: int, at_ms: int | None = None) -> None:
    for voter in voters:
        lease.granted(voter, "s", 1, sent_ms, LEASE_MS, sent_ms + 5 if at_ms is None else at_ms)


def test_a_majority_makes_it_valid_from_the_send_time() -> None:
    lease = holder("a")
    assert lease.renewals(1_000) == FIVE.voters
    assert lease.renewals(1_050) == ()
    grant(lease, "ab", 1_000)
    assert lease.valid_until_ms == 0
    grant(lease, "c", 1_000, 1_400)
    assert lease.valid_until_ms == 1_000 + LEASE_MS - MARGIN_MS


def test_the_shortest_promise_of_a_majority_counts() -> None:
    """Members may be configured differently."""
    lease = holder("a")
    lease.renewals(1_000)
    for voter, granted_ms in (("a", LEASE_MS), ("b", 500), ("c", 700)):
        lease.granted(voter, "s", 1, 1_000, granted_ms, 1_005)
    assert lease.valid_until_ms == 1_000 + 500 - MARGIN_MS
    assert lease.next_due_ms() == 1_000 + 200
    lease.granted("d", "s", 1, 1_000, 1 << 40, 1_005)  # no longer than we asked for
    assert lease.valid_until_ms == 1_000 + 700 - MARGIN_MS
    lease.granted("e", "s", 1, 1_000, 1 << 40, 1_005)
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
        lease.granted(voter, shard_id, epoch, sent_ms, LEASE_MS, 1_500)
    assert lease.majority_granted_ms() == 0
    grant(lease, "aaa", 1_000)
    assert lease.valid_until_ms == 0


def test_a_new_epoch_or_shard_starts_from_nothing() -> None:
    lease = holder("a")
    grant(lease, "abc", 1_000)
    assert lease.valid_until_ms > 0
    lease.serve("s", 2, FIVE, 1_200)
    assert lease.valid_until_ms == 0
    assert lease.renewals(1_200) == FIVE.voters
    lease.serve("", 0, FIVE, 1_300)
    assert lease.next_due_ms() is None
    assert lease.renewals(9_999) == ()


def test_what_was_given_back_counts_no_more() -> None:
    """Not even grants that arrive when we have asked again, in the same epoch: who gave them may have
    forgotten them."""
    lease = holder("a")
    lease.renewals(1_000)
    grant(lease, "ab", 1_000)
    assert lease.give_back(1_100) == 1_000
    assert (lease.shard_id, lease.valid_until_ms) == ("", 0)
    lease.serve("s", 1, FIVE, 1_100)
    grant(lease, "abcde", 1_000, 1_105)
    assert lease.valid_until_ms == 0
    assert lease.renewals(1_110) == FIVE.voters
    grant(lease, "abcde", 1_000, 1_112)
    assert lease.valid_until_ms == 0
    grant(lease, "abc", 1_110)
    assert lease.valid_until_ms == 1_110 + LEASE_MS - MARGIN_MS


def test_no_two_requests_leave_in_one_ms_with_a_release_between_them() -> None:
    lease = holder("a")
    assert lease.renewals(1_000)
    assert lease.give_back(1_000) == 1_000
    lease.serve("s", 1, FIVE, 1_000)
    assert lease.next_due_ms() == 1_001
    assert lease.renewals(1_000, slack_ms=20) == ()
    assert lease.renewals(1_001) == FIVE.voters


def test_who_gets_no_majority_for_long_is_silent_for_long_enough_that_grants_run_out() -> None:
    """Two voters grant, two have accepted another primary and one is gone: somebody has to give way."""
    lease = LeaseHolder("p", LEASE_MS, MARGIN_MS, 1)
    lease.serve("s", 1, FIVE, 1_000)
    asked: list[int] = []
    for now_ms in range(1_000, 11_000):
        if lease.renewals(now_ms):
            asked.append(now_ms)
            for voter in "ab":
                lease.granted(voter, "s", 1, now_ms, LEASE_MS, now_ms)
    pauses = [after - before for before, after in pairwise(asked)]
    assert lease.valid_until_ms == 0
    assert pauses.count(2 * LEASE_MS) == 2
    assert max(pauses) == 2 * LEASE_MS


def test_a_joint_voter_set_needs_both_majorities() -> None:
    lease = holder("a", VoterSet(2, ("a",), ("b", "c", "d")))
    grant(lease, "ab", 1_000)
    assert lease.valid_until_ms == 0
    grant(lease, "c", 1_000)
    assert lease.valid_until_ms > 0


def test_while_all_is_well_just_a_majority_is_asked_and_the_same_one() -> None:
    lease = holder("d")
    assert lease.renewals(1_000) == ("d", "e", "a", "b", "c")  # not every primary begins with the same
    grant(lease, "eacd", 1_000)
    assert lease.renewals(1_399) == ()
    assert lease.renewals(1_400) == ("d", "e", "a")
    grant(lease, "dea", 1_400)
    assert lease.renewals(1_800) == ("d", "e", "a")


def test_a_member_without_a_vote_begins_somewhere() -> None:
    firsts = {holder(me).renewals(1_000)[0] for me in "vwxyz"}
    assert firsts == set(FIVE.voters)


def test_six_attempts_fit_into_a_lease_and_then_they_become_rarer() -> None:
    lease = holder("a")
    lease.renewals(1_000)
    grant(lease, "abc", 1_000)
    asked: list[tuple[int, int]] = []
    for now_ms in range(1_001, 4_000):
        voters = lease.renewals(now_ms)
        if voters:
            asked.append((now_ms, len(voters)))
    within = [(at_ms, count) for at_ms, count in asked if at_ms < lease.valid_until_ms]
    assert within == [(1_400, 3), (1_500, 5), (1_600, 5), (1_700, 5), (1_800, 5), (1_900, 5)]
    assert [at_ms for at_ms, _ in asked[10:]] == [2_400, 2_650, 2_900, 3_150, 3_400, 3_650, 3_900]
    grant(lease, "abc", 3_900)
    assert lease.next_due_ms() == 4_300


def test_the_voter_that_did_not_answer_is_left_out_next_time() -> None:
    lease = holder("a")
    lease.renewals(1_000)
    grant(lease, "abcde", 1_000)
    assert lease.renewals(1_400) == ("a", "b", "c")
    grant(lease, "ac", 1_400)
    assert lease.renewals(1_500) == FIVE.voters
    grant(lease, "acde", 1_500)
    assert lease.renewals(1_900) == ("a", "c", "d")


def test_renewals_keep_to_the_beat() -> None:
    """Whether the wake-up came a little early or late; the first one moves forward to it."""
    lease = holder("a", beat_ms=400)
    now_ms = 1_123
    times: list[int] = []
    for early_ms in (0, 15, -6, 3, 0):
        assert lease.renewals(now_ms, slack_ms=20)
        grant(lease, "abc", now_ms)
        due_ms = lease.next_due_ms()
        assert due_ms is not None
        times.append(due_ms)
        now_ms = due_ms - early_ms
    assert times == [1_200, 1_600, 2_000, 2_400, 2_800]


# -- both together ------------------------------------------------------------------------------------------


class _Forgetful(LeaseVoter):
    """Planted: a release ends whatever its sender was granted."""

    def release(self, shard_id: str, primary: str, epoch: int, asked: Asked, now_ms: int) -> None:
        super().release(shard_id, primary, epoch, (asked[0], 1 << 40), now_ms)
        self._given_back.clear()


class _Greedy(LeaseHolder):
    """Planted: what was granted before the lease was given back counts after it."""

    def give_back(self, now_ms: int) -> int:
        sent_ms = super().give_back(now_ms)
        self._given_back_ms = -1
        return sent_ms


def two_at_once(
    seed: int, voter: type[LeaseVoter] = LeaseVoter, holder: type[LeaseHolder] = LeaseHolder
) -> str:
    """Five voters, an old primary, a successor. Any delays, losses, copies, pauses and voter restarts. The
    old primary gives its lease back now and then, and asks for it again in the same epoch.

    The successor is accepted by a voter only when that voter's leases allow it, and is primary once a
    majority has accepted. From then on the old primary must not believe in its lease: '' if it never does.
    """
    rng = Random(seed)
    names = FIVE.voters
    leases_ms = {name: rng.choice([LEASE_MS, LEASE_MS, 600, 2_000]) for name in names}
    voters = {name: voter(leases_ms[name], 0) for name in names}
    accepted: dict[str, ShardView] = {name: shard("old", 1) for name in names}
    old = holder(rng.choice("abcdex"), rng.choice([LEASE_MS, 700, 3_000]), MARGIN_MS)
    old.serve("s", 1, FIVE, 1_000)
    mail: list[tuple[int, str, str, int, int]] = []  # when, what, voter, sent_ms, granted_ms
    loss, copy, delay_ms = rng.choice([0.0, 0.2, 0.6]), rng.choice([0.0, 0.3]), rng.choice([2, 50, 700])
    generous = rng.choice([0.0, 0.002, 0.01])
    challenge_ms = 1_000 + rng.randrange(3_000)
    paused_until_ms = 0
    decided_ms = None

    def send(what: str, name: str, sent_ms: int, granted_ms: int = 0) -> None:
        for _ in range(2 if rng.random() < copy else 1):
            if rng.random() >= loss:
                mail.append((now_ms + rng.randrange(delay_ms), what, name, sent_ms, granted_ms))

    for now_ms in range(1_000, 7_000, rng.choice([1, 7])):
        if rng.random() < 0.002:
            paused_until_ms = now_ms + rng.randrange(2_000)
        if now_ms >= paused_until_ms:
            if not old.shard_id:
                old.serve("s", 1, FIVE, now_ms)
            for name in old.renewals(now_ms):
                send("ask", name, now_ms)
            if rng.random() < generous:
                sent_ms = old.give_back(now_ms)
                for name in names:
                    send("release", name, sent_ms)
        for item in [item for item in mail if item[0] <= now_ms]:
            _at, what, name, sent_ms, granted_ms = item
            if what == "grant" and now_ms < paused_until_ms:
                continue
            mail.remove(item)
            if what == "grant":
                old.granted(name, "s", 1, sent_ms, granted_ms, now_ms)
            elif what == "release":
                voters[name].release("s", "old", 1, (1, sent_ms), now_ms)
            elif granted_ms := voters[name].ask("old", 1, accepted[name], now_ms, old.lease_ms, (1, sent_ms)):
                send("grant", name, sent_ms, granted_ms)
        if rng.random() < 0.001:
            name = rng.choice(names)
            voters[name] = voter(leases_ms[name], now_ms + leases_ms[name])
        if now_ms >= challenge_ms and rng.random() < 0.1:
            name = rng.choice(names)
            if voters[name].wait_ms("s", "new", now_ms) == 0:
                accepted[name] = shard("new", 2)
        converted = [name for name in names if accepted[name].primary == "new"]
        if decided_ms is None and FIVE.has_quorum(converted):
            decided_ms = now_ms
        if decided_ms is not None and old.valid_until_ms > now_ms:
            return f"seed {seed}: at {now_ms} the old primary serves; the new one was decided at {decided_ms}"
    return ""


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_two_primaries_never_serve_at_once(seed: int) -> None:
    assert two_at_once(seed) == ""


@pytest.mark.slow
@pytest.mark.parametrize(("voter", "holder"), [(_Forgetful, LeaseHolder), (LeaseVoter, _Greedy)])
def test_planted_bug_is_found(voter: type[LeaseVoter], holder: type[LeaseHolder]) -> None:
    assert any(two_at_once(seed, voter, holder) for seed in range(50))
