"""The detector core, event by event: what goes in, which actions come out."""

from random import Random

import pytest

from gossip.actions import (
    CheckPort,
    ExchangeWith,
    FetchFrom,
    IncarnationRaised,
    MemberChanged,
    RegisterHeard,
    Send,
)
from gossip.config import GossipConfig
from gossip.denial import SelfEffect
from gossip.detector import Action, Detector
from gossip.members import Status
from gossip.messages import (
    Ack,
    Alive,
    Claim,
    Dead,
    Envelope,
    Left,
    Message,
    Meta,
    Nack,
    News,
    Ping,
    ProbeFor,
    Record,
    Refused,
    RegisterNews,
    Suspect,
    Vitals,
)
from gossip.probes import RELAYS_MAX

ME, A, B, C, D = (digit * 40 for digit in "0abcd")
CONFIG = GossipConfig()
START_MS = 10_000


def meta(member: str, shard_id: str = "") -> Meta:
    number = int(member[0], 16) + 1
    return Meta(f"10.0.0.{number}", 7000, 17000, "node", "", shard_id, 1, "test")


def detector(*others: str, voters: tuple[str, ...] = ()) -> Detector:
    core = Detector(ME, meta(ME), 3, CONFIG, Random(1), START_MS)
    core.set_decided(voters, 0, 0, lambda _member: False)
    core.merge(tuple(Record("alive", other, 1, meta(other), -1) for other in others), ME, START_MS)
    quiet(core)
    return core


def quiet(core: Detector) -> None:
    """Forget what piled up: actions and news."""
    core.actions()
    while core.news.take(10_000, 1):
        pass


def hear(
    core: Detector,
    sender: str,
    message: Message,
    *news: Claim,
    now_ms: int = START_MS,
    vitals: Vitals | None = None,
) -> list[Action]:
    envelope = Envelope(sender, vitals or Vitals(1, -1, 0, 0), message, news)
    core.receive(envelope, meta(sender).bus_address, now_ms)
    return core.actions()


def sent(actions: list[Action], kind: type[Message]) -> list[Send]:  # type: ignore[valid-type]
    sends = [action for action in actions if isinstance(action, Send)]
    return [send for send in sends if isinstance(send.envelope.message, kind)]


def run(core: Detector, until_ms: int, answering: tuple[str, ...] = ()) -> list[Action]:
    """Tick whenever due; pings to members in `answering` are answered 1 ms later."""
    actions: list[Action] = []
    while (now_ms := core.next_due_ms()) <= until_ms:
        core.tick(now_ms)
        new = core.actions()
        actions.extend(new)
        for ping in sent(new, Ping):
            message = ping.envelope.message
            assert isinstance(message, Ping)
            if message.target in answering:
                actions.extend(hear(core, message.target, Ack(message.sequence), now_ms=now_ms + 1))
    return actions


# -- being probed -------------------------------------------------------------------------------------------


def test_a_ping_to_us_is_answered() -> None:
    (answer,) = hear(detector(A), A, Ping(7, ME))
    assert isinstance(answer, Send)
    assert answer.address == meta(A).bus_address
    assert answer.envelope.message == Ack(7)


def test_a_ping_to_whoever_had_this_address_before_is_not() -> None:
    assert hear(detector(A), A, Ping(7, B)) == []


def test_a_stranger_is_answered_and_asked_for_its_state_once() -> None:
    core = detector(A)
    first = hear(core, B, Ping(7, ME))
    assert sent(first, Ack)
    assert ExchangeWith(meta(B).bus_address) in first
    again = hear(core, B, Ping(8, ME), now_ms=START_MS + 10)
    assert sent(again, Ack)
    assert not [action for action in again if isinstance(action, ExchangeWith)]


def test_we_probe_for_others_and_pass_the_answer_on() -> None:
    core = detector(A, B)
    (ping,) = sent(hear(core, A, ProbeFor(70, B, *meta(B).bus_address)), Ping)
    assert ping.address == meta(B).bus_address
    assert isinstance(ping.envelope.message, Ping)
    answers = hear(core, B, Ack(ping.envelope.message.sequence), now_ms=START_MS + 2)
    (passed,) = sent(answers, Ack)
    assert passed.address == meta(A).bus_address
    assert passed.envelope.message == Ack(70)


def test_we_say_so_when_it_stays_silent() -> None:
    core = detector(A, B)
    hear(core, A, ProbeFor(70, B, *meta(B).bus_address))
    actions = run(core, START_MS + CONFIG.probe_timeout_ms, answering=(A, B))
    assert [send.envelope.message for send in sent(actions, Nack)] == [Nack(70)]


def test_we_do_not_probe_for_others_without_end() -> None:
    core = detector(A, B)
    probe = ProbeFor(70, B, *meta(B).bus_address)
    pings = [len(sent(hear(core, A, probe), Ping)) for _ in range(RELAYS_MAX + 5)]
    assert pings == [1] * RELAYS_MAX + [0] * 5
    run(core, START_MS + CONFIG.probe_timeout_ms, answering=(A, B))
    assert sent(hear(core, A, probe, now_ms=START_MS + CONFIG.probe_timeout_ms), Ping)


# -- probing ------------------------------------------------------------------------------------------------


def test_everybody_is_probed_within_two_rounds() -> None:
    core = detector(A, B, C, D)
    actions = run(core, START_MS + 8 * CONFIG.probe_interval_ms, answering=(A, B, C, D))
    pings = [send.envelope.message for send in sent(actions, Ping)]
    targets = [ping.target for ping in pings if isinstance(ping, Ping)]
    assert {A, B, C, D} <= set(targets)
    assert len(targets) <= 9
    assert core.awareness.score == 0


def test_a_silent_member_is_probed_indirectly_then_accused() -> None:
    core = detector(A, B, C, D)
    actions = run(core, START_MS + 2_000, answering=(A, B, C))
    helpers = sent(actions, ProbeFor)
    asked = [send.envelope.message for send in helpers]
    assert {message.target for message in asked if isinstance(message, ProbeFor)} == {D}
    assert len(helpers) >= 3
    assert MemberChanged(D, Status.ALIVE, Status.SUSPECT) in actions
    assert core.failure_reports(D) == (ME,)


def test_everybody_is_asked_twice_before_an_accusation() -> None:
    """Times from the first ping; helpers that stay silent count against our own health once, not twice."""
    core = detector(A, B, C, D)
    seen: list[tuple[int, str]] = []
    began_ms, now_ms = None, START_MS
    while began_ms is None or now_ms < began_ms + 260:
        now_ms = core.next_due_ms()
        core.tick(now_ms)
        for send in core.actions():
            if isinstance(send, MemberChanged):
                seen.append((now_ms - (began_ms or 0), send.after.value))
                continue
            message = send.envelope.message if isinstance(send, Send) else None
            if isinstance(message, Ping) and message.target != D:
                hear(core, message.target, Ack(message.sequence), now_ms=now_ms + 1)
            elif isinstance(message, Ping | ProbeFor):
                began_ms = now_ms if began_ms is None else began_ms
                seen.append((now_ms - began_ms, type(message).__name__))
    whole_round = ["ProbeFor"] * 3 + ["Ping"]
    assert [what for at_ms, what in seen if at_ms == 0] == ["Ping"]
    assert [what for at_ms, what in seen if at_ms == 100] == whole_round
    assert [what for at_ms, what in seen if at_ms == 175] == whole_round
    assert (250, "suspect") in seen
    assert core.awareness.score == 3


def test_a_member_that_answered_us_anyway_is_not_probed() -> None:
    core = detector(A)
    pings = 0
    for now_ms in range(START_MS, START_MS + 2_000, 10):
        core.answered(A, now_ms)
        if core.next_due_ms() <= now_ms:
            core.tick(now_ms)
        pings += len(sent(core.actions(), Ping))
    assert pings == 0


def test_a_suspicion_that_nobody_denies_ends_in_a_verdict() -> None:
    core = detector(A, B, C, D)
    hear(core, A, News(), Suspect(D, 1, A))
    actions = run(core, START_MS + 3_000, answering=(A, B, C))
    assert MemberChanged(D, Status.SUSPECT, Status.DEAD) in actions
    spread = [claim for send in sent(actions, News) for claim in send.envelope.news]
    assert Dead(D, 1, ME) in spread


def test_time_we_stood_still_is_not_held_against_others() -> None:
    core = detector(A, B, C, D)
    run(core, START_MS + 1_000, answering=(A, B, C, D))
    hear(core, A, News(), Suspect(D, 1, A), now_ms=START_MS + 1_000)
    hear(core, B, News(), Suspect(D, 1, B), now_ms=START_MS + 1_000)
    hear(core, C, News(), Suspect(D, 1, C), now_ms=START_MS + 1_000)
    core.tick(START_MS + 4_000)
    assert core.members.status_of(D) is Status.SUSPECT
    assert core.awareness.score > 0


def test_who_shares_the_shard_or_votes_checks_an_accusation_at_once() -> None:
    core = detector(A, D, voters=(ME,))
    (ping,) = sent(hear(core, A, News(), Suspect(D, 1, A)), Ping)
    assert ping.address == meta(D).bus_address
    assert ping.envelope.news[0] == Suspect(D, 1, A)  # the accused hears it first of all


def test_the_dead_are_tried_again() -> None:
    core = detector(A, D)
    hear(core, A, News(), Dead(D, 1, A))
    actions = run(core, START_MS + CONFIG.reconnect_interval_ms + 100, answering=(A,))
    tries = [send for send in sent(actions, Ping) if send.address == meta(D).bus_address]
    assert tries
    assert isinstance(tries[0].envelope.news[0], Suspect)


# -- ourselves ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "effect"),
    [
        (Suspect(ME, 3, A), SelfEffect.REFUTE),
        (Suspect(ME, 9, A), SelfEffect.REFUTE),
        (Dead(ME, 3, A), SelfEffect.REFUTE),
        (Left(ME, 3), SelfEffect.REFUTE),
        (Suspect(ME, 2, A), SelfEffect.NOTHING),
        (Alive(ME, 3, meta(ME)), SelfEffect.NOTHING),
        (Alive(ME, 2, meta(B)), SelfEffect.NOTHING),
        (Alive(ME, 3, meta(B)), SelfEffect.RAISE),
        (Alive(ME, 8, meta(ME)), SelfEffect.RAISE),
    ],
)
@pytest.mark.parametrize("leaving", [False, True])
def test_claims_about_ourselves(claim: Claim, effect: SelfEffect, leaving: bool) -> None:
    core = detector(A)
    if leaving:
        core.leave(START_MS)
        quiet(core)
        effect = SelfEffect.NOTHING
    actions = hear(core, A, News(), claim)
    raised = [action for action in actions if isinstance(action, IncarnationRaised)]
    if effect is SelfEffect.NOTHING:
        assert raised == []
        assert core.incarnation == 3
    else:
        assert not isinstance(claim, RegisterNews)
        assert core.incarnation == max(3, claim.incarnation) + 1
        assert raised == [IncarnationRaised(core.incarnation)]
        assert core.news.take(1_000, 1) == [Alive(ME, core.incarnation, meta(ME))]
    assert core.awareness.score == (1 if effect is SelfEffect.REFUTE else 0)


def test_a_stale_accuser_hears_our_denial_with_the_answer() -> None:
    core = detector(A)
    (answer,) = hear(core, A, Ping(1, ME), Suspect(ME, 2, B))
    assert isinstance(answer, Send)
    assert answer.envelope.news == (Alive(ME, 3, meta(ME)),)


def test_a_claim_that_passed_us_by_is_asked_for() -> None:
    """Its vitals show a higher incarnation than we know: ping it with an
    accusation so old that it must answer.
    """
    core = detector(A)
    (ping,) = sent(hear(core, A, News(), vitals=Vitals(5, -1, 0, 0)), Ping)
    assert ping.envelope.news == (Suspect(A, 1, ME),)
    hear(core, A, Ack(1), Alive(A, 5, meta(A)), vitals=Vitals(5, -1, 0, 0))
    listed = core.members.get(A)
    assert listed is not None
    assert (listed.incarnation, listed.behind) == (5, False)


def test_a_farewell_reaches_the_voters_first_and_is_final() -> None:
    core = detector(A, B, C, voters=(C,))
    core.leave(START_MS)
    farewells = [action for action in core.actions() if isinstance(action, Send)]
    assert farewells[0].address == meta(C).bus_address
    assert len(farewells) == 3
    assert all(Left(ME, 3) in send.envelope.news for send in farewells)
    assert core.records()[0].status == "left"


# -- the fast path ------------------------------------------------------------------------------------------


def test_a_report_probes_and_checks_the_port_once() -> None:
    core = detector(A, D)
    core.report_broken(D, START_MS)
    actions = core.actions()
    assert sent(actions, Ping)
    assert CheckPort(D, 1, meta(D).bus_address) in actions
    core.report_broken(D, START_MS + 10)
    assert core.actions() == []
    core.report_broken("f" * 40, START_MS)
    assert core.actions() == []


def test_a_refused_port_is_told_to_the_voters_and_a_majority_is_a_death() -> None:
    core = detector(A, B, D, voters=(ME, A, B))
    core.checked(D, 1, True, START_MS)
    told = sent(core.actions(), Refused)
    assert {send.address for send in told} == {meta(A).bus_address, meta(B).bus_address}
    assert core.members.status_of(D) is Status.SUSPECT
    assert core.has_refused_evidence(D)
    actions = hear(core, A, Refused(D, 1))
    assert MemberChanged(D, Status.SUSPECT, Status.DEAD) in actions
    assert core.has_refused_evidence(D)


def test_hearsay_makes_us_look_for_ourselves_and_nothing_more() -> None:
    core = detector(A, B, D, voters=(ME, A, B))
    actions = hear(core, A, Refused(D, 1)) + hear(core, B, Refused(D, 1))
    checks = [action for action in actions if isinstance(action, CheckPort)]
    assert checks == [CheckPort(D, 1, meta(D).bus_address)]
    assert core.members.status_of(D) is Status.ALIVE
    core.checked(D, 1, True, START_MS + 1)
    assert MemberChanged(D, Status.SUSPECT, Status.DEAD) in core.actions()


def test_an_answering_port_or_a_new_incarnation_ends_the_case() -> None:
    core = detector(A, B, D, voters=(ME, A, B))
    core.checked(D, 1, True, START_MS)
    hear(core, A, News(), Alive(D, 2, meta(D)))
    assert not core.has_refused_evidence(D)
    core.checked(D, 2, True, START_MS)
    core.checked(D, 2, False, START_MS)
    assert not core.has_refused_evidence(D)
    core.checked(D, 1, True, START_MS)
    assert not core.has_refused_evidence(D)


def test_any_word_of_the_accused_voids_the_evidence() -> None:
    """A new life may ask for a lease before its incarnation is known; what we found was the former one's."""
    core = detector(A, B, D, voters=(ME, A, B))
    core.checked(D, 1, True, START_MS)
    assert core.has_refused_evidence(D)
    hear(core, D, News(), now_ms=START_MS + 5, vitals=Vitals(2, -1, 0, 0))
    assert not core.has_refused_evidence(D)


def test_who_speaks_while_we_try_its_port_is_tried_again() -> None:
    core = detector(A, B, D, voters=(ME, A, B))
    core.report_broken(D, START_MS + 1)
    hear(core, D, News(), now_ms=START_MS + 2)
    core.checked(D, 1, True, START_MS + 3)
    assert not core.has_refused_evidence(D)
    assert CheckPort(D, 1, meta(D).bus_address) in core.actions()
    core.checked(D, 1, True, START_MS + 4)
    assert core.has_refused_evidence(D)


def test_a_voter_looks_for_evidence_when_it_hears_of_a_death() -> None:
    core = detector(A, D, voters=(ME, A))
    actions = hear(core, A, News(), Dead(D, 1, A))
    assert CheckPort(D, 1, meta(D).bus_address) in actions
    core.checked(D, 1, True, START_MS + 1)
    assert core.has_refused_evidence(D)


def test_the_network_may_report_too() -> None:
    core = detector(A, D)
    core.datagram_refused(meta(D).bus_address, START_MS)
    assert [action for action in core.actions() if isinstance(action, CheckPort)]
    core.datagram_refused(("10.9.9.9", 1), START_MS)
    assert core.actions() == []


# -- registers and vitals -----------------------------------------------------------------------------------


def test_registers_travel_as_news_and_big_ones_by_name() -> None:
    core = detector(A)
    core.spread_register(RegisterNews("shard/x", 4, ("small",)), START_MS)
    assert core.news.take(1_000, 1) == [RegisterNews("shard/x", 4, ("small",))]
    core.spread_register(RegisterNews("slots", 9, ("x" * 2_000,)), START_MS)
    assert core.news.take(1_000, 1) == [RegisterNews("slots", 9, None)]
    assert hear(core, A, News(), RegisterNews("slots", 10, None))[0] == RegisterHeard(
        RegisterNews("slots", 10, None)
    )


def test_who_knows_more_is_asked_for_it_once_in_a_while() -> None:
    core = detector(A)
    core.set_decided((), 10, 0, lambda _member: False)
    ahead, even = Vitals(1, 5, 2, 11), Vitals(1, 6, 2, 10)
    assert hear(core, A, News(), vitals=ahead) == [FetchFrom(meta(A).bus_address, 11)]
    assert hear(core, A, News(), vitals=ahead, now_ms=START_MS + 1) == []
    assert hear(core, A, News(), vitals=even, now_ms=START_MS + 999) == []


def test_vitals_are_noted_but_not_those_of_an_earlier_life() -> None:
    core = detector(A)
    hear(core, A, News(), vitals=Vitals(1, 77, 4, 0))
    listed = core.members.get(A)
    assert listed is not None
    assert (listed.offset, listed.epoch_seen) == (77, 4)
    revision = core.vitals_revision
    hear(core, A, News(), vitals=Vitals(0, 5, 9, 0))
    assert (listed.offset, core.vitals_revision) == (77, revision)


def test_evidence_of_a_majority_is_passed_on_and_ages() -> None:
    core = detector(A, B)
    assert core.envelope(News()).vitals.majority_age_ms == -1
    hear(core, A, News(), vitals=Vitals(1, -1, 0, 0, 300))
    assert core.majority_ms == START_MS - 300
    hear(core, B, News(), vitals=Vitals(1, -1, 0, 0, 900), now_ms=START_MS + 100)
    assert core.envelope(News()).vitals.majority_age_ms == 400
    hear(core, B, News(), vitals=Vitals(1, -1, 0, 0, 0, 12), now_ms=START_MS + 100)
    assert core.majority_ms == START_MS - 300  # passed on too often to be believed
    core.majority_there(START_MS + 100)
    assert core.envelope(News()).vitals.majority_age_ms == 0


def test_the_banned_are_not_talked_to() -> None:
    core = detector(A, B)
    assert core.forget(B, START_MS)
    assert not core.forget(B, START_MS)
    quiet(core)
    assert hear(core, B, Ping(1, ME)) == []


def test_every_datagram_fits_whatever_the_news() -> None:
    core = detector(A, B, C, D)
    for number in range(300):
        claim = Alive(f"{number + 4096:040x}", 1, meta(A))
        hear(core, A, News(), claim)
    from gossip.messages import Codec

    codec = Codec("c" * 40)
    actions = run(core, START_MS + 2_000, answering=(A, B, C, D))
    sizes = [len(codec.encode(action.envelope)) for action in actions if isinstance(action, Send)]
    assert max(sizes) <= CONFIG.datagram_bytes_max
    assert max(sizes) > CONFIG.datagram_bytes_max - 300
