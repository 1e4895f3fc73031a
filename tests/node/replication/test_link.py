"""The replica's link: the whole table, then conversations with a primary played line by line."""

import random
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.replication.actions import (
    Action,
    Cause,
    Dial,
    HangUp,
    Load,
    Myself,
    Position,
    Report,
    Send,
    Stream,
    Target,
)
from node.replication.link import LINE_BYTES_MAX, TABLE, Event, Link, State, command_bytes
from node.replication.settings import Settings

ID, ID2 = "a" * 40, "b" * 40
MARK = b"m" * 40
PLAIN = Target("10.0.0.1", 7000)
SHARD = Target("10.0.0.1", 7000, epoch=5, member_id="f" * 40, shard_id="5" * 40)
ME = Myself(7001, "e" * 40)
SETTINGS = Settings()
GREETED = b"+PONG\r\n+OK\r\n+OK\r\n-ERR Unrecognized REPLCONF option: grapevine\r\n"
GREETED_SHARD = b"+PONG\r\n+OK\r\n+OK\r\n+GRAPEVINE %s %s 5\r\n" % (b"f" * 40, b"5" * 40)


def new_link(*, position: Position | None = None) -> Link:
    link = Link(SETTINGS, random.Random(1))
    link.stands_at(position)
    return link


def greeted(target: Target = PLAIN, position: Position | None = None) -> tuple[Link, list[Action]]:
    link = new_link(position=position)
    assert link.follow(target, ME, 0) == [Dial("10.0.0.1", 7000)]
    link.connected(10)
    return link, link.received(GREETED if target.epoch < 0 else GREETED_SHARD, 20)


def at(state: State) -> Link:
    link = new_link(position=Position(ID, 100))
    if state is State.IDLE:
        return link
    link.follow(PLAIN, ME, 0)
    if state is State.DIALING:
        return link
    if state is State.RESTING:
        link.broken(Cause.REFUSED, "refused the connection", 0)
        return link
    link.connected(0)
    if state is State.GREETING:
        return link
    link.received(GREETED, 0)
    if state is State.ASKING:
        return link
    if state is State.ONLINE:
        link.received(b"+CONTINUE\r\n", 0)
        return link
    link.received(b"+FULLRESYNC %s 7\r\n" % ID2.encode(), 0)
    if state is State.LOADING:
        link.received(b"$EOF:%s\r\n" % MARK, 0)
    return link


def test_the_table_is_complete() -> None:
    assert set(TABLE) == set(product(State, Event))


EXPECTED: dict[Event, dict[State, State]] = {
    Event.FOLLOW: dict.fromkeys(State, State.DIALING),
    Event.STOP: dict.fromkeys(State, State.IDLE),
    Event.CONNECTED: {State.DIALING: State.GREETING},
    Event.LINE: {  # a line that no primary says there
        State.GREETING: State.RESTING,
        State.ASKING: State.RESTING,
        State.PREPARING: State.RESTING,
    },
    Event.HEARD: {},
    Event.LOADED: {State.LOADING: State.ONLINE},
    Event.SPOILED: {State.LOADING: State.RESTING, State.ONLINE: State.RESTING},
    Event.BROKEN: {
        State.DIALING: State.RESTING,
        State.GREETING: State.RESTING,
        State.ASKING: State.RESTING,
        State.PREPARING: State.RESTING,
        State.LOADING: State.RESTING,
        State.ONLINE: State.DIALING,
    },
    Event.TICK: {
        State.RESTING: State.DIALING,
        State.DIALING: State.RESTING,
        State.GREETING: State.RESTING,
        State.ASKING: State.RESTING,
        State.PREPARING: State.RESTING,
        State.LOADING: State.RESTING,
        State.ONLINE: State.DIALING,
    },
}


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_where_every_event_leads(state: State, event: Event) -> None:
    link = at(state)
    assert link.state is state
    late_ms = SETTINGS.timeout_ms
    match event:
        case Event.FOLLOW:
            link.follow(SHARD, ME, 5)
        case Event.STOP:
            link.stop(5)
        case Event.CONNECTED:
            link.connected(5)
        case Event.LINE:
            link.received(b"noise\r\n", 5)
        case Event.HEARD:
            link.heard(5)
        case Event.LOADED:
            link.loaded(5)
        case Event.SPOILED:
            link.spoiled("bad", 5)
        case Event.BROKEN:
            link.broken(Cause.RESET, "closed the connection", 5)
        case Event.TICK:
            link.tick(late_ms)
    assert link.state is EXPECTED[event].get(state, state)
    assert (link.target is None) == (link.state is State.IDLE)
    assert (link.deadline_ms is None) == (link.state is State.IDLE)
    if state is State.LOADING and link.state in (State.RESTING, State.IDLE, State.DIALING):
        assert not link.complete
        assert link.position is None


@pytest.mark.parametrize("cut_off", [Event.FOLLOW, Event.STOP, Event.SPOILED, Event.BROKEN, Event.TICK])
def test_old_data_that_is_kept_is_ours_until_the_new_is_whole(cut_off: Event) -> None:
    ours = Position(ID, 100)
    link = at(State.PREPARING)
    link.stands_at(ours)
    link.keeps_old = True
    (load,) = link.received(b"$88\r\n", 0)
    assert isinstance(load, Load)
    assert load.keep
    assert (link.state, link.complete, link.position) == (State.LOADING, True, ours)
    match cut_off:
        case Event.FOLLOW:
            link.follow(SHARD, ME, 5)
        case Event.STOP:
            link.stop(5)
        case Event.SPOILED:
            link.spoiled("bad", 5)
        case Event.BROKEN:
            link.broken(Cause.RESET, "closed the connection", 5)
        case _:
            link.tick(SETTINGS.timeout_ms)
    assert link.state is not State.LOADING
    assert (link.complete, link.position) == (True, ours)


@pytest.mark.parametrize("trouble", ["not whole", "nowhere", "not wanted"])
def test_old_data_is_not_kept_when_it_is_worth_nothing(trouble: str) -> None:
    link = at(State.PREPARING)
    link.stands_at(None if trouble == "nowhere" else Position(ID, 100))
    link.complete = trouble != "not whole"
    link.keeps_old = trouble != "not wanted"
    (load,) = link.received(b"$88\r\n", 0)
    assert isinstance(load, Load)
    assert not load.keep
    assert not link.complete
    link.broken(Cause.RESET, "closed the connection", 5)
    assert (link.complete, link.position) == (False, None)


def test_the_greeting_is_one_piece_and_names_us() -> None:
    link = new_link()
    link.follow(Target("h", 1, user="u", password="secret"), Myself(7001, announced_host="1.2.3.4"), 0)
    (sent,) = link.connected(1)
    assert sent == Send(
        command_bytes(b"AUTH", b"u", b"secret")
        + command_bytes(b"PING")
        + command_bytes(b"REPLCONF", b"listening-port", b"7001")
        + command_bytes(b"REPLCONF", b"ip-address", b"1.2.3.4")
        + command_bytes(b"REPLCONF", b"capa", b"eof", b"capa", b"psync2")
        + command_bytes(b"REPLCONF", b"grapevine", b"-", b"-", b"-1")
    )
    assert link.received(b"+OK\r\n+PONG\r\n+OK\r\n+OK\r\n+OK\r\n-ERR no\r\n", 2) == [
        Send(command_bytes(b"PSYNC", b"?", b"-1"))
    ]


def test_a_known_position_is_asked_for_with_its_next_byte() -> None:
    _link, actions = greeted(position=Position(ID, 100))
    assert actions == [Send(command_bytes(b"PSYNC", ID.encode(), b"101"))]


def test_a_full_sync_then_the_stream() -> None:
    link, _ = greeted()
    assert link.received(b"\n\n", 30) == []
    assert link.received(b"+FULLRESYNC %s 4711\r\n\n" % ID.encode(), 40) == []
    assert link.complete  # nothing was touched yet
    load = link.received(b"$EOF:" + MARK + b"\r\nREDIS", 50)
    assert load == [Load(Position(ID, 4711), -1, MARK, b"REDIS", keep=False)]
    assert not link.complete
    assert link.loaded(60, b"rest") == [Stream(Position(ID, 4711), b"rest", renamed=True, acknowledge=True)]
    assert (link.complete, link.position, link.state) == (True, Position(ID, 4711), State.ONLINE)


def test_a_snapshot_of_known_length() -> None:
    link, _ = greeted()
    actions = link.received(b"+FULLRESYNC %s 0\r\n$88\r\nREDIS" % ID.encode(), 40)
    assert actions == [Load(Position(ID, 0), 88, b"", b"REDIS", keep=False)]


def test_a_partial_resync_under_a_new_name() -> None:
    link, _ = greeted(position=Position(ID, 100))
    actions = link.received(b"+CONTINUE %s\r\n*1\r\n" % ID2.encode(), 30)
    assert actions == [Stream(Position(ID2, 100), b"*1\r\n", renamed=True, acknowledge=False)]
    link.applied(250)
    link.applied(200)
    assert link.position == Position(ID2, 250)


def test_after_a_break_it_dials_at_once_and_asks_for_the_rest() -> None:
    link, _ = greeted(position=Position(ID, 100))
    link.received(b"+CONTINUE\r\n", 30)
    link.applied(130)
    hang_up, report, dial = link.broken(Cause.RESET, "closed the connection", 40)
    assert (hang_up, dial) == (HangUp(), Dial("10.0.0.1", 7000))
    assert report == Report(Cause.RESET, "primary 10.0.0.1:7000 closed the connection")
    link.connected(41)
    assert link.received(GREETED, 42) == [Send(command_bytes(b"PSYNC", ID.encode(), b"131"))]


@given(cuts=st.lists(st.integers(0, 120), max_size=6))
def test_lines_may_arrive_in_any_split(cuts: list[int]) -> None:
    data = GREETED + b"+FULLRESYNC %s 12\r\n$EOF:%s\r\nREDIS" % (ID.encode(), MARK)
    link = new_link()
    link.follow(PLAIN, ME, 0)
    link.connected(0)
    actions: list[Action] = []
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    loading = b""
    for start, end in pairwise(edges):
        if link.state is State.LOADING:
            loading += data[start:end]
        else:
            actions += link.received(data[start:end], 1)
    psync, load = actions
    assert psync == Send(command_bytes(b"PSYNC", b"?", b"-1"))
    assert isinstance(load, Load)
    assert (load.position, load.mark, load.leftover + loading) == (Position(ID, 12), MARK, b"REDIS")


@pytest.mark.parametrize(
    ("answers", "cause", "text"),
    [
        (b"-NOAUTH Authentication required.\r\n", Cause.DENIED, "answered PING with: NOAUTH"),
        (b"-LOADING Redis is loading\r\n", Cause.NOT_READY, "is not ready: LOADING"),
        (b"HTTP/1.1 400 Bad Request\r\n", Cause.PROTOCOL, "answered PING with 'HTTP/1.1 400"),
        (b"+PONG\r\n+OK\r\n-NOPERM no\r\n", Cause.DENIED, "answered REPLCONF with: NOPERM"),
        (GREETED + b"-NOLEASE no majority\r\n", Cause.LEASELESS, "answered PSYNC with: NOLEASE no majority"),
        (GREETED + b"-NOMASTERLINK Can't SYNC\r\n", Cause.NOT_READY, "answered PSYNC with: NOMASTERLINK"),
        (GREETED + b"-ERR unknown command 'PSYNC'\r\n", Cause.DENIED, "answered PSYNC with: ERR unknown"),
        (GREETED + b"+WHAT\r\n", Cause.PROTOCOL, "answered PSYNC with '+WHAT'"),
        (GREETED + b"+CONTINUE\r\n", Cause.PROTOCOL, "answered PSYNC with '+CONTINUE'"),
        (GREETED + b"+FULLRESYNC short 1\r\n", Cause.PROTOCOL, "'+FULLRESYNC short 1'"),
        (GREETED + b"+FULLRESYNC " + b"a" * 40 + b" -1\r\n", Cause.PROTOCOL, "+FULLRESYNC"),
        (GREETED + b"+FULLRESYNC " + b"a" * 40 + b" 9223372036854775808\r\n", Cause.PROTOCOL, "+FULLRESYNC"),
        (GREETED + b"+FULLRESYNC " + b"a" * 40 + b" 1\r\n$-5\r\n", Cause.PROTOCOL, "began its snapshot with"),
        (GREETED + b"+FULLRESYNC " + b"a" * 40 + b" 1\r\n-ERR disk\r\n", Cause.NOT_READY, "ERR disk"),
        (b"x" * (LINE_BYTES_MAX + 1), Cause.PROTOCOL, f"a line of more than {LINE_BYTES_MAX} bytes"),
    ],
)
def test_refusals_name_what_was_said(answers: bytes, cause: Cause, text: str) -> None:
    link = new_link()
    link.follow(PLAIN, ME, 0)
    link.connected(0)
    report = link.received(answers, 1)[-1]
    assert isinstance(report, Report)
    assert report.cause is cause
    assert text in report.text
    assert report.text.startswith("primary 10.0.0.1:7000 ")
    assert link.state is State.RESTING
    assert link.refused == report
    assert link.complete


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"+GRAPEVINE %s %s 4" % (b"f" * 40, b"5" * 40), Cause.OUTDATED),
        (b"-STALE epoch 6 announced, we are at 5", Cause.OUTDATED),
        (b"+GRAPEVINE %s %s 5" % (b"0" * 40, b"5" * 40), Cause.DENIED),
        (b"+GRAPEVINE %s %s 5" % (b"f" * 40, b"6" * 40), Cause.DENIED),
        (b"+GRAPEVINE x", Cause.PROTOCOL),
        (b"+OK", Cause.PROTOCOL),
        (b"-ERR Unrecognized REPLCONF option: grapevine", Cause.DENIED),
    ],
)
def test_in_a_shard_the_primary_must_be_the_right_one(answer: bytes, cause: Cause) -> None:
    link = new_link()
    link.follow(SHARD, ME, 0)
    link.connected(0)
    report = link.received(b"+PONG\r\n+OK\r\n+OK\r\n" + answer + b"\r\n", 1)[-1]
    assert isinstance(report, Report)
    assert report.cause is cause


def test_a_primary_that_lost_its_data_does_not_wipe_ours() -> None:
    link, _ = greeted(SHARD)
    link.received(b"+FULLRESYNC %s 7\r\n$EOF:%s\r\n" % (ID.encode(), MARK), 1)
    link.loaded(2)
    link.applied(99)
    link.broken(Cause.RESET, "closed the connection", 3)
    link.connected(4)
    link.received(GREETED_SHARD, 5)
    _hang_up, report = link.received(b"+FULLRESYNC %s 0\r\n$EOF:%s\r\n" % (ID2.encode(), MARK), 6)
    assert isinstance(report, Report)
    assert report.cause is Cause.HISTORY_LOST
    assert (link.complete, link.position) == (True, Position(ID, 99))
    # a newer epoch decided by the voters is another matter
    link.follow(Target("10.0.0.1", 7000, epoch=6, member_id="f" * 40, shard_id="5" * 40), ME, 7)
    link.connected(8)
    link.received(GREETED_SHARD.replace(b" 5\r\n", b" 6\r\n"), 9)
    actions = link.received(b"+FULLRESYNC %s 0\r\n$EOF:%s\r\n" % (ID2.encode(), MARK), 10)
    assert actions == [Load(Position(ID2, 0), -1, MARK, b"", keep=False)]


def test_an_aborted_full_sync_leaves_nothing_electable() -> None:
    link, _ = greeted(position=Position(ID, 100))
    link.received(b"+FULLRESYNC %s 7\r\n$EOF:%s\r\n" % (ID2.encode(), MARK), 1)
    link.broken(Cause.RESET, "closed the connection", 2)
    assert (link.complete, link.position) == (False, None)
    link.stop(3)
    assert not link.complete
    assert link.loaded(4) == []  # reported late by a load that was told to stop
    assert not link.complete


def test_rests_grow_to_their_limit_and_are_spread() -> None:
    link = new_link()
    link.follow(PLAIN, ME, 0)
    now_ms, rests = 0, []
    for _ in range(12):
        link.broken(Cause.REFUSED, "refused the connection", now_ms)
        assert link.deadline_ms is not None
        rests.append(link.deadline_ms - now_ms)
        assert link.tick(link.deadline_ms - 1) == []
        now_ms = link.deadline_ms
        assert link.tick(now_ms) == [Dial("10.0.0.1", 7000)]
    for tried, rest in enumerate(rests):
        longest_ms = min(1_000, 100 << tried)
        assert longest_ms / 2 <= rest <= longest_ms
    assert len(set(rests[-6:])) > 1


def test_silence_ends_the_link_and_any_byte_delays_it() -> None:
    link, _ = greeted(position=Position(ID, 100))
    link.received(b"+CONTINUE\r\n", 0)
    link.heard(50_000)
    assert link.tick(60_000) == []
    report = link.tick(110_000)[1]
    assert isinstance(report, Report)
    assert report.cause is Cause.SILENT
    assert "said nothing for 60000 ms" in report.text
