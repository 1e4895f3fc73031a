"""Elections: the table, the single decisions, and whole shards under lost messages and lying gossip."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.register import Refused
from gossip.topology import MemberView, ShardView, Topology
from gossip.votes import Plain, VoterSet
from node.election import (
    ACCOUNTS_MAX,
    TABLE,
    Detach,
    Election,
    ElectionPolicy,
    Event,
    Follow,
    Hold,
    Lead,
    Propose,
    StopStream,
)
from node.succession import cession, promotion, renewal

P, Q, R, X = ("p" * 40, "q" * 40, "r" * 40, "x" * 40)
STATES = ["alone", "following", "waiting", "standing", "leading", "returning", "ceding"]
EVENTS = ["no_shard", "chosen", "primary_up", "primary_down", "refused", "timer", "won", "failed"]
POLICY = ElectionPolicy(turn_ms=200, retry_floor_ms=100, retry_cap_ms=1000, return_wait_ms=2000)


def member(member_id: str, **more: object) -> MemberView:
    facts: dict[str, object] = {"shard_id": "s", "offset": 100} | more
    return MemberView(member_id, "127.0.0.1", 7000, 17000, **facts)  # type: ignore[arg-type]


def topology(shard: ShardView | None, *members: MemberView) -> Topology:
    return Topology.build(
        version=1,
        cluster_id="k",
        members={view.id: view for view in members},
        shards={} if shard is None else {shard.id: shard},
        ranges=(),
        voter_set=VoterSet(1, (P,)),
    )


SHARD = ShardView("s", P, (P, Q, R), 1)
UP = topology(SHARD, member(P), member(Q), member(R))
DOWN = topology(SHARD, member(P, status="dead"), member(Q), member(R))


def replica(member_id: str = Q, *, offset: int = 100, policy: ElectionPolicy = POLICY) -> Election:
    """A replica in sync with P at epoch 1."""
    election = Election(member_id, random.Random(1), policy)
    assert election.observe(UP, 0) == [Follow("s", P, 1)]
    election.synced(1)
    election.offset = offset
    return election


def primary() -> Election:
    election = Election(P, random.Random(1), POLICY)
    election.found("s")
    assert election.observe(UP, 0) == [Lead("s", 1)]
    return election


def in_state(state: str) -> Election:
    """An election brought into a state by the events that lead there."""
    if state == "alone":
        return Election(Q, random.Random(1), POLICY)
    if state == "leading":
        return primary()
    if state in ("returning", "ceding"):
        election = Election(P, random.Random(1), POLICY)
        heirs = member(Q, status="dead") if state == "returning" else member(Q)
        election.observe(topology(SHARD, member(P), heirs, member(R, status="dead")), 0)
    else:
        election = replica()
        if state in ("waiting", "standing"):
            election.observe(DOWN, 10)
        if state == "standing":
            election.tick(10)
    assert election.state == state
    return election


def test_table_covers_the_product() -> None:
    assert set(TABLE) == set(itertools.product(STATES, EVENTS))
    assert all(callable(getattr(Election, f"_{handler}")) for handler in TABLE.values())


@pytest.mark.parametrize(("state", "event"), list(itertools.product(STATES, EVENTS)))
def test_every_event_in_every_state(state: str, event: str) -> None:
    """Whatever comes: a known state, and nobody leads a shard that the register gave to another."""
    election = in_state(state)
    me = election.member_id
    newer = replace(SHARD, primary=me, epoch=2, in_sync=(me,))
    others = replace(SHARD, primary=X, epoch=2, in_sync=(X,))
    happened = {
        "no_shard": lambda: election.observe(topology(None, member(me)), 50),
        "chosen": lambda: election.observe(topology(newer, member(me)), 50),
        "primary_up": lambda: election.observe(topology(others, member(me), member(X)), 50),
        "primary_down": lambda: election.observe(topology(others, member(me), member(X, status="dead")), 50),
        "refused": lambda: election.link_refused(50),
        "timer": lambda: election.tick(10_000),
        "won": lambda: election.won(newer, 50),
        "failed": lambda: election.failed("no majority", 50),
    }[event]()
    assert election.state in STATES
    if event in ("primary_up", "primary_down"):
        assert not election.leads
        assert election.state != "standing"
        if state != "alone" or event == "primary_up":
            assert Follow("s", X, 2) in happened
    if event == "no_shard":
        assert election.state == "alone"
        assert (Detach() in happened) == (state != "alone")
    if Lead("s", 2) in happened:
        assert event in ("chosen", "won")
        assert election.leads
        assert election.data_epoch == 2
    for action in happened:
        if isinstance(action, Propose) and not isinstance(happened[0], Hold) and state not in ("returning",):
            assert StopStream() in happened[: happened.index(action)], "asked while still taking the stream"


def test_best_replica_stands_at_once_and_the_next_waits_its_turn() -> None:
    best, second = replica(Q, offset=100), replica(R, offset=90)
    seen = topology(SHARD, member(P, status="dead"), member(Q, offset=100), member(R, offset=90))
    assert best.observe(seen, 10) == second.observe(seen, 10) == []
    assert [type(action) for action in best.tick(10)] == [StopStream, Propose]
    assert second.tick(10) == []
    assert second.tick(209) == []
    assert [type(action) for action in second.tick(210)] == [StopStream, Propose]
    account = second.accounts[-1]
    assert (account.rank, account.attempts, account.old_primary) == (1, 1, P)
    assert account.rivals == ((Q, 100, True),)


def test_in_sync_goes_before_a_higher_offset_outside() -> None:
    shard = replace(SHARD, in_sync=(P, R))
    seen = topology(shard, member(P, status="dead"), member(Q, offset=500), member(R, offset=90))
    outside, inside = replica(Q, offset=500), replica(R, offset=90)
    outside.observe(seen, 10)
    inside.observe(seen, 10)
    assert outside.wake_ms == 210
    assert inside.wake_ms == 10


def test_better_candidate_that_dies_is_not_waited_for() -> None:
    second = replica(R, offset=90)
    second.observe(topology(SHARD, member(P, status="dead"), member(Q), member(R, offset=90)), 10)
    assert second.wake_ms == 210
    second.observe(topology(SHARD, member(P, status="dead"), member(Q, status="dead"), member(R)), 30)
    assert second.wake_ms == 30


def test_siblings_with_outdated_data_are_not_waited_for() -> None:
    election = replica(R, offset=90)
    election.observe(topology(SHARD, member(P, status="dead"), member(Q, offset=-1), member(R)), 10)
    assert election.wake_ms == 10


@pytest.mark.parametrize(
    ("data_epoch", "reason"),
    [(0, "no complete copy"), (2, "epoch 2, the shard is at 3"), (4, "epoch 4, the shard is at 3")],
)
def test_never_stands_with_other_data_than_the_decided_epochs(data_epoch: int, reason: str) -> None:
    election = replica()
    shard = replace(SHARD, epoch=3)
    election.observe(topology(shard, member(P), member(Q)), 5)
    election.data_epoch = data_epoch
    assert election.observe(topology(shard, member(P, status="dead"), member(Q)), 10) == []
    assert election.state == "following"
    assert reason in election.why_not
    assert election.tick(100_000) == []


def test_the_copy_of_another_shard_is_no_copy_though_the_epochs_are_equal() -> None:
    election = replica()
    other = ShardView("t", X, (X,), SHARD.epoch)  # founded at the same moment as ours
    alive, dead = member(X, shard_id="t"), member(X, shard_id="t", status="dead")
    mine = member(Q, shard_id="t")
    assert election.observe(topology(other, alive, mine), 10) == [Follow("t", X, 1)]
    assert election.announced_offset == -1
    assert election.observe(topology(other, dead, mine), 20) == []
    assert election.link_refused(30) == []
    assert election.why_not == "this replica holds no complete copy"
    election.synced(1)
    election.observe(topology(other, dead, mine), 40)
    assert election.state == "waiting"


def test_who_left_a_shard_and_is_elected_there_after_all_comes_without_its_data() -> None:
    """It stood, was told to go elsewhere, and then its votes came."""
    chosen = ShardView("s", Q, (Q, R), 2, quorum=True)
    left = replica()
    assert left.observe(topology(SHARD, member(P), member(Q, shard_id=""), member(R)), 10) == [Detach()]
    moved = replica()
    other = ShardView("t", X, (X,), 3)
    moved.observe(topology(other, member(X, shard_id="t"), member(Q, shard_id="t")), 10)
    moved.synced(3)
    for election in (left, moved):
        actions = election.observe(topology(chosen, member(Q, shard_id="t"), member(R, offset=-1)), 20)
        assert actions == [Hold("s")]
        actions = election.observe(topology(chosen, member(Q), member(R)), 30)
        assert isinstance(actions[-1], Propose)
        assert election.state == "ceding"


def test_full_sync_in_progress_makes_unelectable_until_complete() -> None:
    election = replica()
    election.sync_started()
    election.observe(DOWN, 10)
    assert election.state == "following"
    election.synced(1)
    election.observe(DOWN, 20)
    assert election.state == "waiting"


def test_full_sync_that_begins_while_waiting_ends_the_candidacy() -> None:
    election = replica()
    election.observe(DOWN, 10)
    election.sync_started()
    assert election.tick(10) == []
    assert election.state == "following"
    assert "no complete copy" in election.accounts[-1].outcome


def test_quorum_mode_keeps_outsiders_from_standing() -> None:
    shard = replace(SHARD, in_sync=(P, R), quorum=True)
    seen = topology(shard, member(P, status="dead"), member(Q), member(R, status="dead"))
    election = replica(Q)
    election.observe(seen, 10)
    assert election.state == "following"
    assert "in-sync" in election.why_not


def test_hearsay_is_called_off_when_the_primary_shows_up() -> None:
    election = replica(R, offset=90)
    election.observe(DOWN, 10)
    assert election.state == "waiting"
    election.observe(UP, 20)
    assert election.state == "following"
    assert "called off" in election.accounts[-1].outcome


def test_refused_connection_needs_no_gossip() -> None:
    election = replica()
    assert election.link_refused(10) == []
    election.observe(UP, 11)  # gossip still believes in it
    actions = election.tick(11)
    assert [type(action) for action in actions] == [StopStream, Propose]
    assert "refused" in election.accounts[-1].reason
    # The voters disagree: back to the stream, and not again at once.
    assert election.failed("lease runs", 20) == [Follow("s", P, 1)]
    assert election.state == "following"
    election.link_refused(21)
    assert election.wake_ms is not None
    assert election.wake_ms > 50


def test_attempts_slow_down_but_never_end_while_the_primary_is_dead() -> None:
    election = replica()
    election.observe(DOWN, 0)
    now_ms, pauses = 0, []
    for _ in range(12):
        assert election.wake_ms is not None
        pauses.append(election.wake_ms - now_ms)
        now_ms = election.wake_ms
        assert [type(action) for action in election.tick(now_ms)] == [StopStream, Propose]
        election.failed("no majority", now_ms)
    assert pauses[0] == 0
    assert pauses[-1] >= POLICY.retry_cap_ms / 2
    assert max(pauses) <= POLICY.retry_cap_ms + 1
    assert election.accounts[-1].attempts == 12


def test_late_decision_of_a_given_up_proposal_is_honoured() -> None:
    election = in_state("standing")
    election.failed("no majority, unknown whether applied", 20)
    won = replace(SHARD, primary=Q, epoch=2, in_sync=(Q,))
    assert election.won(won, 30) == [Lead("s", 2)]


def test_old_decision_is_history() -> None:
    election = replica()
    election.observe(topology(replace(SHARD, primary=R, epoch=5), member(Q), member(R)), 10)
    assert election.won(replace(SHARD, primary=Q, epoch=4), 20) == []
    assert not election.leads


def test_lagging_gossip_does_not_unseat_a_fresh_winner() -> None:
    election = in_state("standing")
    election.won(replace(SHARD, primary=Q, epoch=2, in_sync=(Q,)), 30)
    assert election.observe(DOWN, 31) == []
    assert election.observe(UP, 32) == []
    assert election.leads


def test_deposed_primary_follows_and_its_data_counts_no_more() -> None:
    election = primary()
    assert election.data_epoch == 1
    shard = replace(SHARD, primary=Q, epoch=2, in_sync=(Q,))
    assert election.observe(topology(shard, member(P), member(Q)), 10) == [Follow("s", Q, 2)]
    election.observe(topology(shard, member(P), member(Q, status="dead")), 20)
    assert election.state == "following"
    assert "no complete copy" in election.why_not


def test_follow_is_asked_once() -> None:
    election = replica()
    assert election.observe(UP, 10) == []
    shard = replace(SHARD, in_sync=(P, Q))  # the in-sync set is no news for the stream
    assert election.observe(topology(shard, member(P), member(Q)), 20) == []
    shard = replace(SHARD, epoch=2)
    assert election.observe(topology(shard, member(P), member(Q)), 30) == [Follow("s", P, 2)]


# -- the primary that came back empty ------------------------------------------------------------------------


def test_empty_primary_cedes_to_the_replica_with_most_data() -> None:
    election = Election(P, random.Random(1), POLICY)
    seen = topology(SHARD, member(P), member(Q, offset=90), member(R, offset=100))
    hold, proposal = election.observe(seen, 0)
    assert hold == Hold("s")
    assert isinstance(proposal, Propose)
    decided = ShardView.from_data("s", proposal.change(SHARD.to_data()))
    assert decided == ShardView("s", R, (R,), 2)
    assert election.won(decided, 10) == [Follow("s", R, 2)]
    assert not election.leads


def test_empty_primary_waits_for_replicas_it_has_not_heard_of() -> None:
    election = Election(P, random.Random(1), POLICY)
    nobody = topology(SHARD, member(P), member(Q, status="dead"), member(R, offset=-1))
    assert election.observe(nobody, 0) == [Hold("s")]
    assert election.tick(1999) == []
    (proposal,) = election.tick(2000)
    assert isinstance(proposal, Propose)
    decided = ShardView.from_data("s", proposal.change(SHARD.to_data()))
    assert decided == ShardView("s", P, (P,), 2), "a new epoch, so that old copies can never win"
    assert election.won(decided, 2010) == [Lead("s", 2)]


def test_empty_primary_that_never_had_replicas_leads_at_once() -> None:
    election = Election(P, random.Random(1), POLICY)
    alone = topology(replace(SHARD, in_sync=(P,)), member(P), member(Q))
    hold, proposal = election.observe(alone, 0)
    assert hold == Hold("s")
    assert isinstance(proposal, Propose)


def test_empty_primary_tries_again_when_the_voters_do_not_answer() -> None:
    election = in_state("ceding")
    assert election.failed("no majority", 10) == []
    assert election.state == "returning"
    assert election.wake_ms is not None
    (proposal,) = election.tick(election.wake_ms)
    assert isinstance(proposal, Propose)


def test_empty_primary_goes_by_what_it_hears_while_it_waits() -> None:
    """Offsets alone make no new picture; the next look must see them all the same."""
    shard = replace(SHARD, in_sync=(P, Q), quorum=True)
    election = Election(P, random.Random(1), POLICY)
    assert election.observe(topology(shard, member(P), member(Q, offset=-1)), 0) == [Hold("s")]
    for now_ms in (2_000, 9_000):
        assert election.tick(now_ms) == []
    election.refresh(topology(shard, member(P), member(Q, epoch_seen=1)))
    assert election.wake_ms is not None
    (proposal,) = election.tick(election.wake_ms)
    assert isinstance(proposal, Propose)
    assert election.state == "ceding"


def test_own_cession_heard_twice_does_not_void_the_copy_made_since() -> None:
    election = in_state("ceding")
    shard = replace(SHARD, primary=Q, epoch=2, in_sync=(Q,))
    election.observe(topology(shard, member(P), member(Q)), 10)  # gossip was faster than the answer
    election.synced(2)
    assert election.won(shard, 20) == []
    assert election.data_epoch == 2
    assert election.observe(topology(replace(shard, primary=P, epoch=3), member(P), member(Q)), 30) == [
        Lead("s", 3)
    ]


def test_replica_elected_meanwhile_is_followed() -> None:
    election = in_state("ceding")
    shard = replace(SHARD, primary=R, epoch=2, in_sync=(R,))
    assert election.observe(topology(shard, member(P), member(R)), 10) == [Follow("s", R, 2)]


# -- the proposed changes ------------------------------------------------------------------------------------


def test_changes_recognise_their_own_effect() -> None:
    for change in (promotion(Q, SHARD), cession(P, Q, SHARD)):
        once = change(SHARD.to_data())
        assert ShardView.from_data("s", once).epoch == 2
        assert change(once) == once


def test_an_empty_primary_leads_under_no_epoch_that_a_former_life_of_it_led() -> None:
    """It led anew and died before its disk knew: in the simulator it led once more under the same epoch,
    with nothing, and its replicas could not tell."""
    seen = replace(SHARD, in_sync=(P,))
    once = renewal(P, seen)(seen.to_data())
    assert ShardView.from_data("s", once).epoch == 2
    assert ShardView.from_data("s", renewal(P, seen)(once)).epoch == 3


def test_what_is_decided_while_an_empty_primary_proposes_counts_for_its_next_attempt() -> None:
    """Its former life had taken a replica in, and nobody had heard of that yet: in the simulator it was
    refused for ever, since it never asked that one."""
    election = in_state("ceding")
    newer = replace(SHARD, in_sync=(P, R))
    there = topology(newer, member(P, offset=-1), member(R, offset=70))
    assert election.observe(there, 10) == []
    assert election.failed("copies in sync that were not asked", 20) == []
    (proposal,) = election.tick(10_000)
    assert isinstance(proposal, Propose)
    ceded = ShardView.from_data("s", proposal.change(newer.to_data()))
    assert (ceded.primary, ceded.epoch) == (R, 2)


def test_an_empty_primary_does_not_lead_past_copies_that_it_had_forgotten() -> None:
    """Its disk was older than the in-sync set: in the simulator it voided the replica's copy."""
    seen = replace(SHARD, in_sync=(P,))
    with pytest.raises(Refused, match="copies in sync that were not asked: qqqqqqqq, rrrrrrrr"):
        renewal(P, seen)(SHARD.to_data())


def test_promotion_is_refused_once_somebody_else_was_decided() -> None:
    taken = replace(SHARD, primary=R, epoch=2).to_data()
    with pytest.raises(Refused, match="epoch 2 with primary rrrr"):
        promotion(Q, SHARD)(taken)
    forced = ShardView.from_data("s", promotion(Q, SHARD, force=True)(taken))
    assert forced == ShardView("s", Q, (Q,), 3)


def test_cession_needs_the_heir_in_sync() -> None:
    with pytest.raises(Refused, match="in-sync"):
        cession(P, X, SHARD)(SHARD.to_data())


def test_accounts_are_bounded() -> None:
    election = replica(R, offset=90)
    for number in range(ACCOUNTS_MAX + 10):
        election.observe(DOWN, 10 * number)
        election.observe(UP, 10 * number + 5)
    assert len(election.accounts) == ACCOUNTS_MAX


def test_an_account_tells_the_whole_story() -> None:
    election = replica(R, offset=90)
    election.heard_ms = 5
    election.note_accusers([X], 8)
    election.observe(topology(SHARD, member(P, status="dead", offset=120), member(Q), member(R)), 10)
    election.tick(210)
    election.failed("no majority: q said nothing", 230)
    assert election.wake_ms is not None
    again_ms = election.wake_ms
    election.tick(again_ms)
    election.won(replace(SHARD, primary=R, epoch=2, in_sync=(R,)), again_ms + 20)
    (account,) = election.take_ended()
    assert election.take_ended() == []
    account.served_ms = again_ms + 25
    told = dict(account.fields())
    assert told["outcome"] == "won"
    assert (told["old-primary"], told["old-epoch"], told["new-epoch"]) == (P, 1, 2)
    assert told["accusers"] == f"{X}@-2ms"
    assert told["rivals"] == f"{Q}@100"
    assert (told["rank"], told["attempts"], told["suspected-for-ms"], told["waited-ms"]) == (1, 2, 2, 200)
    assert told["answers"] == "no majority: q said nothing"
    assert told["voted-ms"] == again_ms + 20 - 210
    assert (told["served-after-ms"], told["took-ms"]) == (5, again_ms + 15)
    assert told["lost"] == f"what it wrote in the {again_ms - 5} ms before we stood; 30 bytes are known of"
    account.discarded_bytes = 44
    assert "44 bytes of the stream, dropped when the old primary came back" in dict(account.fields())["lost"]  # type: ignore[operator]


def test_an_account_of_a_quorum_loses_nothing_acknowledged() -> None:
    shard = replace(SHARD, quorum=True)
    election = replica()
    election.observe(topology(shard, member(P, status="dead"), member(Q), member(R, offset=90)), 10)
    election.tick(10)
    election.won(replace(shard, primary=Q, epoch=2, in_sync=(Q, R)), 20)
    (account,) = election.take_ended()
    assert account.lost.startswith("nothing acknowledged (quorum)")


def test_offices_that_were_given_have_accounts_too() -> None:
    heir = replica()
    assert heir.observe(topology(replace(SHARD, primary=Q, epoch=2), member(P), member(Q)), 50) == [
        Lead("s", 2)
    ]
    forced = replica()
    assert forced.won(replace(SHARD, primary=Q, epoch=2), 50) == [Lead("s", 2)]
    assert [each.take_ended()[0].reason for each in (heir, forced)] == [
        "its predecessor handed over",
        "a person asked for it (CLUSTER FAILOVER FORCE)",
    ]


# -- quorum: the in-sync set decides ----------------------------------------------------------------------


def test_with_quorum_a_member_of_the_set_stands_with_data_of_an_older_epoch() -> None:
    shard = replace(SHARD, epoch=3, primary=P, in_sync=(P, Q), quorum=True)
    election = replica()
    election.observe(topology(shard, member(P), member(Q)), 5)
    assert election.announced_offset == 100
    election.observe(topology(shard, member(P, status="dead"), member(Q)), 10)
    assert election.state == "waiting", "nothing was acknowledged in epoch 2 and 3 without it"


def test_with_quorum_a_successor_keeps_the_others_in_the_set() -> None:
    shard = replace(SHARD, quorum=True)
    data = shard.to_data()
    promoted = ShardView.from_data("s", promotion(Q, shard)(data))
    assert promoted == ShardView("s", Q, (Q, P, R), 2, quorum=True), "P may have stood still only"
    assert ShardView.from_data("s", cession(P, Q, shard)(data)).in_sync == (Q, R)
    assert ShardView.from_data("s", cession(P, Q, shard, with_data=True)(data)).in_sync == (Q, P, R)
    assert ShardView.from_data("s", renewal(P, shard)(data)) == ShardView("s", P, (P,), 2, quorum=True)


def test_with_quorum_a_deposed_primary_keeps_the_claim_of_its_data() -> None:
    """It stood still, its successor died with its memory, and nothing was acknowledged in between."""
    election = primary()
    election.offset = 100
    deposed = replace(SHARD, primary=Q, epoch=2, in_sync=(Q, P), quorum=True)
    there = topology(deposed, member(P), member(Q))
    assert election.observe(there, 50) == [Follow("s", Q, 2)]
    assert election.announced_offset == 100
    gone = topology(deposed, member(P), member(Q, status="dead"))
    election.observe(gone, 60)
    _stop, proposal = election.tick(60)
    assert isinstance(proposal, Propose)
    again = ShardView.from_data("s", proposal.change(deposed.to_data()))
    assert again == ShardView("s", P, (P, Q), 3, quorum=True)


def test_a_deposed_primary_that_was_voted_out_has_no_claim() -> None:
    election = primary()
    for shard in (
        replace(SHARD, primary=Q, epoch=2, in_sync=(Q, R), quorum=True),  # more may be acknowledged
        replace(SHARD, primary=Q, epoch=2, in_sync=(Q, P)),  # async: its successor acknowledged by itself
    ):
        election = primary()
        election.observe(topology(shard, member(P), member(Q, status="dead"), member(R)), 50)
        assert (election.state, election.announced_offset) == ("following", -1)


def test_a_deposed_primary_that_came_back_empty_has_no_claim() -> None:
    election = in_state("returning")
    shard = replace(SHARD, primary=Q, epoch=2, in_sync=(Q, P), quorum=True)
    election.observe(topology(shard, member(P), member(Q, status="dead")), 50)
    assert (election.state, election.announced_offset) == ("following", -1)


def test_an_empty_successor_gives_the_office_back() -> None:
    """It was elected, died with its memory, and its predecessor is there but was not heard of at first."""
    shard = replace(SHARD, primary=Q, epoch=2, in_sync=(Q, P), quorum=True)
    election = Election(Q, random.Random(1), POLICY)
    unheard = topology(shard, member(Q), member(P, offset=-1))
    assert election.observe(unheard, 0) == [Hold("s")]
    for _ in range(5):
        assert election.wake_ms is not None
        assert election.tick(election.wake_ms) == [], "alive by hearsay, and nothing heard of its data"
    heard = topology(shard, member(Q), member(P, offset=100, epoch_seen=1))
    (proposal,) = election.observe(heard, 20_000)
    assert isinstance(proposal, Propose)
    assert ShardView.from_data("s", proposal.change(shard.to_data())).primary == P
    election = Election(Q, random.Random(1), POLICY)
    empty = topology(shard, member(Q), member(P, offset=-1, epoch_seen=2))
    assert election.observe(empty, 0) == [Hold("s")]
    assert election.wake_ms is not None
    (renewed,) = election.tick(election.wake_ms)
    assert isinstance(renewed, Propose), "both lost their memory: nobody has anything"


def test_who_stood_knows_whom_it_deposed() -> None:
    election = in_state("standing")
    election.won(replace(SHARD, primary=Q, epoch=2, in_sync=(Q,)), 50)
    assert election.deposed == P
    heir = replica()
    heir.observe(topology(replace(SHARD, primary=Q, epoch=2, in_sync=(Q, P)), member(P), member(Q)), 50)
    assert (heir.state, heir.deposed) == ("leading", ""), "P handed over and is about to follow"


def test_with_quorum_only_takeover_elects_an_outsider() -> None:
    shard = replace(SHARD, in_sync=(P, R), quorum=True)
    for force in (False, True):
        with pytest.raises(Refused, match="not in the in-sync set"):
            promotion(Q, shard, force=force)(shard.to_data())
    taken = ShardView.from_data("s", promotion(Q, shard, takeover=True)(shard.to_data()))
    assert taken == ShardView("s", Q, (Q,), 2, quorum=True)


def test_with_quorum_an_empty_primary_waits_for_who_may_have_the_data() -> None:
    shard = replace(SHARD, quorum=True)
    election = Election(P, random.Random(1), POLICY)
    missing = topology(shard, member(P), member(Q, status="dead"), member(R, offset=-1))
    assert election.observe(missing, 0) == [Hold("s")]
    for _ in range(5):
        assert election.wake_ms is not None
        assert election.tick(election.wake_ms) == [], "Q may have what was acknowledged"
    assert Q in election.why_not
    back = topology(shard, member(P), member(Q), member(R, offset=-1))
    (proposal,) = election.observe(back, 20_000)
    assert isinstance(proposal, Propose)
    assert ShardView.from_data("s", proposal.change(shard.to_data())).primary == Q


# -- whole shards --------------------------------------------------------------------------------------------


@dataclass
class Node:
    election: Election
    up: bool = True
    writes: int = 0  # how much of the shard's history it holds
    term: int = 0
    pending: list[tuple[int, Propose]] = field(default_factory=list)


class ShardWorld:
    """Replicas, a register that decides atomically but late or never, and gossip that is late for all."""

    def __init__(self, seed: int, size: int) -> None:
        self.random = random.Random(seed)
        self.now_ms = 0
        self.names = [letter * 40 for letter in "abcdef"[:size]]
        self.value: Plain = ShardView("s", self.names[0], tuple(self.names), 1).to_data()
        self.winners: dict[int, str] = {1: self.names[0]}
        self.nodes = {
            name: Node(Election(name, random.Random(self.random.random()), POLICY)) for name in self.names
        }
        self.nodes[self.names[0]].election.found("s")
        self.believed: dict[str, tuple[ShardView, set[str]]] = {
            name: (ShardView.from_data("s", self.value), set(self.names)) for name in self.names
        }
        self.loss = 0.0

    def view(self, name: str) -> Topology:
        shard, alive = self.believed[name]
        return topology(
            shard,
            *(
                member(
                    other,
                    status="alive" if other in alive or other == name else "dead",
                    offset=self.nodes[other].election.announced_offset,
                )
                for other in self.names
            ),
        )

    def act(self, name: str, actions: list[object]) -> None:
        node = self.nodes[name]
        for action in actions:
            if isinstance(action, Propose):
                node.pending.append((self.now_ms + self.random.randint(1, 400), action))
            elif isinstance(action, Lead):
                known = self.winners.setdefault(action.epoch, name)
                assert known == name, f"epoch {action.epoch} led by {known[0]} and {name[0]}"

    def step(self) -> None:
        self.now_ms += self.random.randint(1, 60)
        for name in self.names:
            node = self.nodes[name]
            if not node.up:
                continue
            election = node.election
            if self.random.random() < 0.5:  # gossip arrives, as it is now
                self.believed[name] = (
                    ShardView.from_data("s", self.value),
                    {
                        other
                        for other in self.names
                        if self.nodes[other].up and self.random.random() >= self.loss
                    },
                )
                self.act(name, election.observe(self.view(name), self.now_ms))
            self.act(name, election.tick(self.now_ms))
            for due in [item for item in node.pending if item[0] <= self.now_ms]:
                node.pending.remove(due)
                self.settle(name, due[1])
            shard, _ = self.believed[name]
            source = self.nodes.get(shard.primary)
            if election.state == "following" and source is not None and source.up and source.election.leads:
                if election.data_epoch != shard.epoch and source.election.shard.epoch == shard.epoch:
                    election.synced(shard.epoch)
                election.offset = source.election.offset
            elif election.state == "following" and source is not None and not source.up:
                self.act(name, election.link_refused(self.now_ms))
            if election.leads:
                election.offset += 1

    def settle(self, name: str, proposal: Propose) -> None:
        election = self.nodes[name].election
        draw = self.random.random()
        if draw < self.loss:
            self.act(name, election.failed("no majority", self.now_ms))
            if draw > self.loss / 2:
                return
        try:
            self.value = proposal.change(self.value)
        except Refused as refusal:
            self.act(name, election.failed(str(refusal), self.now_ms))
            return
        if draw >= self.loss:
            self.act(name, election.won(ShardView.from_data("s", self.value), self.now_ms))

    def stop(self, name: str) -> None:
        self.nodes[name].up = False

    def restart(self, name: str) -> None:
        """With its place in the register, without its data."""
        self.nodes[name] = Node(Election(name, random.Random(self.random.random()), POLICY))


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.sampled_from([2, 3, 4, 6]))
def test_one_winner_per_epoch_and_always_one_in_the_end(seed: int, size: int) -> None:
    world = ShardWorld(seed, size)
    for _ in range(15):
        world.step()
    world.loss = 0.3
    for _ in range(60):
        world.step()
        name = world.random.choice(world.names)
        draw = world.random.random()
        if draw < 0.06 and sum(node.up for node in world.nodes.values()) > 1:
            world.stop(name)
        elif draw < 0.2 and not world.nodes[name].up:
            world.restart(name)
    world.loss = 0.0
    for name in world.names:
        if not world.nodes[name].up:
            world.restart(name)
    for _ in range(600):
        world.step()
        leaders = [name for name in world.names if world.nodes[name].election.leads]
        shard = ShardView.from_data("s", world.value)
        if leaders == [shard.primary] and all(
            node.election.leads or node.election.data_epoch == shard.epoch for node in world.nodes.values()
        ):
            break
    else:
        states = {name[0]: node.election.state for name, node in world.nodes.items()}
        pytest.fail(f"no single leader with everyone in step: {shard} {states}")


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.sampled_from([2, 3, 4]))
def test_data_survives_an_empty_restart_while_a_replica_has_it(seed: int, size: int) -> None:
    """The primary comes back empty, at once or after having been noticed: what was replicated remains."""
    world = ShardWorld(seed, size)
    for _ in range(30):
        world.step()
    old = ShardView.from_data("s", world.value).primary
    replicated = min(world.nodes[name].election.offset for name in world.names)
    assert replicated > 0
    world.stop(old)
    for _ in range(world.random.randint(0, 30)):
        world.step()
    world.restart(old)
    for _ in range(300):
        world.step()
    shard = ShardView.from_data("s", world.value)
    leader = world.nodes[shard.primary].election
    assert leader.leads
    assert shard.primary != old
    assert leader.offset >= replicated


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_an_emptied_replica_is_never_elected(seed: int) -> None:
    """A replica loses its data, then the primary dies before it is copied again: the other must lead."""
    world = ShardWorld(seed, 3)
    for _ in range(30):
        world.step()
    primary = ShardView.from_data("s", world.value).primary
    emptied, whole = (name for name in world.names if name != primary)
    replicated = world.nodes[whole].election.offset
    world.restart(emptied)
    world.stop(primary)
    world.loss = 0.4  # gossip may well tell the emptied one that nobody else is left
    for _ in range(200):
        world.step()
        leader = world.nodes[ShardView.from_data("s", world.value).primary].election
        assert leader.leads <= (leader.offset >= replicated), f"{leader.member_id[0]} leads without the data"
    world.loss = 0.0
    for _ in range(100):
        world.step()
    leader = world.nodes[ShardView.from_data("s", world.value).primary].election
    assert leader.leads
    assert leader.offset >= replicated


# -- planted bugs: the worlds above have to notice -----------------------------------------------------------


class StandsWithAnything(Election):
    """A replica that stands with whatever data it has."""

    def _reason_not_to_stand(self) -> str:
        return ""


class ServesEmptiness(Election):
    """A primary that comes back empty and carries on as if nothing had happened."""

    def _take_office(self, event: Event) -> None:
        self._lead(event.shard)


SURVIVAL = test_data_survives_an_empty_restart_while_a_replica_has_it
EMPTIED = test_an_emptied_replica_is_never_elected


@pytest.mark.parametrize(
    ("kind", "scenario", "more"),
    [(StandsWithAnything, EMPTIED, {}), (ServesEmptiness, SURVIVAL, {"size": 3})],
)
def test_planted_bug_is_found(
    kind: type[Election], scenario: Any, more: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.Election", kind)
    for seed in range(300):
        try:
            scenario.hypothesis.inner_test(seed=seed, **more)
        except AssertionError:
            return
    pytest.fail(f"{kind.__name__} was not found within 300 seeds")
