"""The slow log, the latency monitor and commands' timings: as cores, through a pump, beside a real server."""

import re
import socket
from collections.abc import Iterator

import pytest

from node.engine.pump import Pump
from node.engine.reply import Verbatim
from node.info import render
from node.observer import SAMPLES_KEPT, LatencyMonitor, Series, SlowLog, histogram_us, percentile_us, redacted
from tests.oracle import Ours, Wire, decoded
from tests.protocol import parse_reply, request


class Clocked:
    """A client of `Ours` over a socket and a running pump: there, commands are timed."""

    def __init__(self, ours: Ours) -> None:
        self.ours = ours
        ours.engine.set_slow_us(ours.engine.slow_us)
        self._client, server = socket.socketpair()
        self._client.setblocking(False)
        server.setblocking(False)
        self.session = ours.connect()
        ours.pump.adopt(server.detach(), self.session)
        while not ours.engine.ticks_per_us:  # the pump needs 10 ms to learn the counter's pace
            ours.pump.run(1000, 0)

    def call(self, *words: bytes) -> object:
        return self.pipeline([words])[0]

    def pipeline(self, commands: list[tuple[bytes, ...]]) -> list[object]:
        self._client.send(b"".join(map(request, commands)))
        self.ours.pump.run(1_000_000, 0)
        data = self._client.recv(1 << 20)
        replies: list[object] = []
        at = 0
        while at < len(data):
            reply, at = parse_reply(data, at)
            replies.append(reply)
        assert len(replies) == len(commands)
        return replies

    def close(self) -> None:
        self.ours.pump.close_all()
        self._client.close()


@pytest.fixture
def clocked(ours: Ours) -> Iterator[Clocked]:
    client = Clocked(ours)
    yield client
    client.close()


# ------------------------------------------------------------------------------------------------- cores


def test_the_slow_log_keeps_the_newest() -> None:
    log = SlowLog()
    log.add(1, 10**9, [b"GET"], b"a:1", b"")
    assert len(log) == 0  # off
    log.threshold_us, log.length_max = 100, 2
    for duration_us in (99, 100, 101, 102):
        log.add(1, duration_us, [b"GET", b"k"], b"a:1", b"me")
    assert [(call.id, call.duration_us) for call in log.newest(-1)] == [(2, 102), (1, 101)]
    assert [call.id for call in log.newest(1)] == [2]
    assert log.newest(0) == []
    assert len(log.newest((1 << 63) - 1)) == 2
    log.reset()
    log.add(2, 100, [b"GET", b"k"], b"a:1", b"me")
    assert [call.id for call in log.newest(-1)] == [3]
    log.length_max = 0
    log.add(2, 100, [b"GET", b"k"], b"a:1", b"me")
    assert len(log) == 0


def test_a_series_keeps_the_worst_of_each_second() -> None:
    series = Series()
    for unix_s, duration_ms in ((1, 5), (1, 9), (1, 7), (2, 3)):
        series.add(unix_s, duration_ms)
    assert list(series.samples) == [(1, 9), (2, 3)]
    for unix_s in range(3, 3 + SAMPLES_KEPT):
        series.add(unix_s, 1)
    assert len(series.samples) == SAMPLES_KEPT
    assert series.worst_ms == 9


def test_the_monitor_takes_what_reaches_its_threshold() -> None:
    monitor = LatencyMonitor()
    monitor.add("command", 1, 1000)
    assert monitor.events == {}
    monitor.threshold_ms = 10
    monitor.add("command", 1, 9)
    assert monitor.events == {}
    monitor.add("command", 1, 10)
    monitor.add("fast-command", 1, 11)
    assert monitor.reset(["nothing", "command"]) == 1
    assert list(monitor.events) == ["fast-command"]
    assert monitor.reset() == 1
    assert monitor.reset() == 0


def test_cycles_are_events_of_their_own(ours: Ours) -> None:
    ours.call(b"CONFIG", b"SET", b"latency-monitor-threshold", b"2")
    for event in ("expire-cycle", "eviction-cycle"):
        ours.observer.hear_cycle(event, 1_999)
        ours.observer.hear_cycle(event, 2_000)
    latest = ours.value(b"LATENCY", b"LATEST")
    assert isinstance(latest, list)
    assert [(row[0], row[2], row[3]) for row in latest] == [
        (b"expire-cycle", 2, 2),
        (b"eviction-cycle", 2, 2),
    ]
    doctor = ours.value(b"LATENCY", b"DOCTOR")
    assert isinstance(doctor, bytes)
    assert b"active expiry" in doctor
    assert b"Making room" in doctor


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("GET k", "GET k"),
        ("AUTH secret", "AUTH (redacted)"),
        ("auth me secret", "auth (redacted) (redacted)"),
        ("HELLO 3", "HELLO 3"),
        ("HELLO 3 AUTH me secret SETNAME x", "HELLO 3 AUTH (redacted) (redacted) SETNAME x"),
        ("HELLO 3 SETNAME x auth me", "HELLO 3 SETNAME x auth (redacted)"),
    ],
)
def test_passwords_stay_out_of_the_slow_log(words: str, kept: str) -> None:
    assert redacted(words.encode().split()) == kept.encode().split()


# -------------------------------------------------------------------------------------------- through a pump


def test_without_a_tick_source_nothing_is_timed(ours: Ours) -> None:
    ours.call(b"CONFIG", b"SET", b"slowlog-log-slower-than", b"0")
    ours.call(b"SET", b"k", b"v")
    assert ours.value(b"SLOWLOG", b"LEN") == 0
    assert ours.value(b"LATENCY", b"HISTOGRAM") == []
    assert ours.engine.ticks_per_us == 0


def test_slow_calls_are_kept_with_who_sent_them(clocked: Clocked) -> None:
    clocked.call(b"CLIENT", b"SETNAME", b"me")
    clocked.call(b"CONFIG", b"SET", b"slowlog-log-slower-than", b"0")
    clocked.call(b"SLOWLOG", b"RESET")
    clocked.call(b"MSET", *[b"%d" % number for number in range(40)])
    clocked.call(b"SET", b"k", b"x" * 200)
    clocked.call(b"CONFIG", b"SET", b"slowlog-log-slower-than", b"-1")
    assert clocked.call(b"SLOWLOG", b"LEN") == 3  # CONFIG SET had taken effect when it ended
    entries = clocked.call(b"SLOWLOG", b"GET", b"-1")
    assert isinstance(entries, list)
    set_call, mset, reset = entries
    assert reset[3] == [b"SLOWLOG", b"RESET"]
    assert set_call[0] == mset[0] + 1
    assert set_call[2] >= 0
    assert set_call[3:] == [[b"SET", b"k", b"x" * 128 + b"... (72 more bytes)"], b"127.0.0.1:1", b"me"]
    assert abs(set_call[1] - clocked.ours.clock_us() // 1_000_000) <= 5
    assert len(mset[3]) == 32
    assert mset[3][30:] == [b"29", b"... (10 more arguments)"]
    assert len(clocked.call(b"SLOWLOG", b"GET", b"1")) == 1  # type: ignore[arg-type]


def test_only_what_reaches_the_threshold_is_kept(clocked: Clocked) -> None:
    clocked.call(b"CONFIG", b"SET", b"slowlog-log-slower-than", b"20000", b"latency-monitor-threshold", b"10")
    clocked.call(b"SLOWLOG", b"RESET")
    clocked.pipeline([(b"DEBUG", b"SLEEP", b"0.03"), (b"PING",), (b"DEBUG", b"SLEEP", b"0.012")])
    entries = clocked.call(b"SLOWLOG", b"GET")
    assert isinstance(entries, list)
    slow = [entry for entry in entries if entry[3][0] == b"DEBUG"]
    assert slow[-1][3] == [b"DEBUG", b"SLEEP", b"0.03"]
    assert slow[-1][2] >= 29_000
    events = clocked.call(b"LATENCY", b"LATEST")
    assert isinstance(events, list)
    unix_s, last_ms, worst_ms = next(event[1:] for event in events if event[0] == b"command")
    assert last_ms >= 12
    assert worst_ms >= 29
    history = clocked.call(b"LATENCY", b"HISTORY", b"command")
    assert isinstance(history, list)
    assert history[-1] == [unix_s, last_ms]
    assert clocked.call(b"LATENCY", b"HISTORY", b"nothing") == []
    drawn = clocked.call(b"LATENCY", b"GRAPH", b"command")
    assert isinstance(drawn, bytes)
    assert b"worst ever %d ms" % worst_ms in drawn
    assert b"#" in drawn
    advice = clocked.call(b"LATENCY", b"DOCTOR")
    assert isinstance(advice, bytes)
    assert b"SLOWLOG GET" in advice
    assert clocked.call(b"LATENCY", b"RESET", b"command", b"nothing") == 1


def test_a_transaction_is_as_slow_as_its_commands_and_only_they_are_kept(clocked: Clocked) -> None:
    clocked.call(b"CONFIG", b"SET", b"slowlog-log-slower-than", b"5000")
    clocked.call(b"CONFIG", b"RESETSTAT")
    clocked.pipeline([(b"MULTI",), (b"DEBUG", b"SLEEP", b"0.01"), (b"SET", b"k", b"v"), (b"EXEC",)])
    entries = clocked.call(b"SLOWLOG", b"GET")
    assert isinstance(entries, list)
    assert b"DEBUG" in [entry[3][0] for entry in entries]
    assert b"EXEC" not in [entry[3][0] for entry in entries]
    ticks = {name: clocked.ours.engine.registry.get(name) for name in ("exec", "debug", "set")}
    assert all(ticks.values())
    spent = {name: command.ticks for name, command in ticks.items() if command is not None}
    assert spent["exec"] >= spent["debug"] + spent["set"] > spent["debug"] > 0


def test_every_call_is_counted_by_duration(clocked: Clocked) -> None:
    clocked.pipeline([(b"SET", b"k", b"v")] * 500)
    found = clocked.call(b"LATENCY", b"HISTOGRAM", b"set", b"nothing", b"get", b"config")
    assert isinstance(found, list)
    assert found[0] == b"set"
    assert len(found) == 2
    assert found[1][:3] == [b"calls", 500, b"histogram_usec"]
    bounds, counts = found[1][3][::2], found[1][3][1::2]
    assert bounds == sorted(set(bounds))
    assert counts == sorted(set(counts))
    assert counts[-1] == 500
    clocked.call(b"CONFIG", b"SET", b"latency-tracking-info-percentiles", b"50 99.90 100")
    text = render(clocked.ours, ["everything"])
    shown = re.search(r"latency_percentiles_usec_set:p50=([0-9.]+),p99\.9=([0-9.]+),p100=([0-9.]+)\r", text)
    assert shown is not None
    middle, high, highest = map(float, shown.groups())
    assert 0 < middle <= high <= highest
    used = re.search(r"cmdstat_set:calls=500,usec=(\d+),usec_per_call=([0-9.]+),", text)
    assert used is not None
    assert float(used[2]) == pytest.approx(int(used[1]) / 500, abs=0.01)
    assert float(used[2]) <= highest
    clocked.call(b"CONFIG", b"SET", b"latency-tracking", b"no")
    clocked.call(b"SET", b"k", b"v")
    command = clocked.ours.engine.registry.get("set")
    assert command is not None
    assert sum(calls for _, calls in command.latencies()) == 500
    assert "latency_percentiles" not in render(clocked.ours, ["everything"])
    clocked.call(b"CONFIG", b"RESETSTAT")
    assert command.latencies() == []


def test_durations_are_known_to_within_an_eighth(clocked: Clocked) -> None:
    clocked.call(b"DEBUG", b"SLEEP", b"0.02")
    command = clocked.ours.engine.registry.get("debug")
    assert command is not None
    pace = clocked.ours.engine.ticks_per_us
    true_us = command.ticks / pace
    assert true_us >= 20_000 * 0.98
    assert true_us <= percentile_us(command, 50, pace) <= true_us * 1.126
    ((bound_us, calls),) = histogram_us(command, pace)
    assert calls == 1
    assert true_us * 0.97 <= bound_us <= true_us * 2.3
    assert percentile_us(command, 0, pace) == percentile_us(command, 100, pace)


def test_brief_commands_of_a_pipeline_share_their_time_and_the_log_says_so(clocked: Clocked) -> None:
    clocked.call(b"CONFIG", b"RESETSTAT")
    clocked.pipeline([(b"SET", b"k", b"v"), (b"GET", b"k"), (b"GET", b"k")])
    found = {name: clocked.ours.engine.registry.get(name) for name in ("set", "get")}
    ticks = {name: command.ticks for name, command in found.items() if command is not None}
    assert ticks["get"] == 2 * ticks["set"] > 0
    heard: list[list[bytes]] = []
    clocked.ours.engine.on_slow = lambda _session, _command, _us, words: heard.append(words)
    clocked.call(b"CONFIG", b"SET", b"slowlog-log-slower-than", b"0")
    heard.clear()
    clocked.pipeline([(b"SET", b"k", b"v"), (b"GET", b"k")])
    assert heard == [[b"SET", b"k", b"v"], [b"GET", b"k"]]  # each for itself where single ones matter


def test_a_broken_observer_breaks_no_command(clocked: Clocked) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    clocked.ours.engine.on_slow = broken
    clocked.ours.engine.set_slow_us(0)
    assert clocked.call(b"ECHO", b"x") == b"x"
    assert [str(error) for error in clocked.ours.errors] == ["broken"]
    clocked.ours.errors.clear()


def test_a_pump_that_never_ran_times_nothing(ours: Ours) -> None:
    Pump(ours.engine)
    assert ours.engine.ticks_per_us == 0


# -------------------------------------------------------------------------------------- beside a real server


@pytest.mark.oracle
@pytest.mark.parametrize(
    "line",
    [
        "SLOWLOG GET x", "SLOWLOG GET -2", "SLOWLOG GET 1 2", "SLOWLOG RESET 1", "SLOWLOG", "SLOWLOG NO",
        "SLOWLOG LEN", "SLOWLOG GET 0", "SLOWLOG RESET",
        "LATENCY LATEST", "LATENCY HISTORY", "LATENCY HISTORY nothing", "LATENCY GRAPH nothing",
        "LATENCY RESET", "LATENCY RESET a b", "LATENCY HISTOGRAM nothing", "LATENCY NO",
        "MEMORY PURGE", "MEMORY STATS x",
        "CONFIG SET slowlog-max-len -1", "CONFIG SET slowlog-log-slower-than -2",
        "CONFIG SET latency-monitor-threshold -1", "CONFIG SET latency-tracking maybe",
        "CONFIG SET latency-tracking-info-percentiles 101", "CONFIG SET latency-tracking-info-percentiles x",
        "CONFIG GET slowlog*", "CONFIG GET latency*",
    ],
)  # fmt: skip
def test_same_answers_as_a_real_server(ours: Ours, theirs: Wire, line: str) -> None:
    words = line.encode().split()
    if words[:2] == [b"CONFIG", b"GET"]:
        mine, its = decoded(ours.call(*words)), decoded(theirs.call(*words))
        assert isinstance(mine, list)
        assert isinstance(its, list)
        assert dict(zip(mine[::2], mine[1::2], strict=True)) == dict(zip(its[::2], its[1::2], strict=True))
    else:
        assert ours.call(*words) == theirs.call(*words)


@pytest.mark.oracle
def test_memory_stats_has_the_real_servers_names(ours: Ours, theirs: Wire) -> None:
    ours.pipeline([[b"SET", b"%d" % number, b"x" * 100] for number in range(100)])
    mine = ours.value(b"MEMORY", b"STATS")
    its = decoded(theirs.call(b"MEMORY", b"STATS"))
    assert isinstance(mine, list)
    assert isinstance(its, list)
    assert set(mine[::2]) <= set(its[::2])
    found = dict(zip(mine[::2], mine[1::2], strict=True))
    assert found[b"keys.count"] == 100
    assert found[b"keys.bytes-per-key"] * 100 <= found[b"dataset.bytes"] <= found[b"peak.allocated"]


def test_memory_doctor_and_malloc_stats_speak_to_people(ours: Ours) -> None:
    ours.call(b"HELLO", b"3")
    empty = ours.value(b"MEMORY", b"DOCTOR")
    assert isinstance(empty, Verbatim)
    assert b"too little to judge" in empty.data
    ours.call(b"SET", b"k", b"x" * (10 << 20))
    healthy = ours.value(b"MEMORY", b"DOCTOR")
    assert healthy == Verbatim(b"txt", b"Nothing looks wrong.\n")
    ours.call(b"CONFIG", b"SET", b"maxmemory", b"%d" % (11 << 20))
    full = ours.value(b"MEMORY", b"DOCTOR")
    assert isinstance(full, Verbatim)
    assert b"maxmemory-policy" in full.data
    figures = ours.value(b"MEMORY", b"MALLOC-STATS")
    assert isinstance(figures, Verbatim)
    assert b"arenas: " in figures.data


def test_evictions_of_a_command_are_timed_while_someone_watches(clocked: Clocked) -> None:
    heard: list[tuple[str, int]] = []
    engine = clocked.ours.engine
    engine.on_cycle = lambda event, duration_us: heard.append((event, duration_us))
    engine.evictor.set_policy("allkeys-random")
    for number in range(40):
        clocked.call(b"SET", b"k%d" % number, b"v" * 1000)
    engine.evictor.set_limit(20_000)
    clocked.call(b"GET", b"k1")
    assert engine.keyspace.memory()["used_bytes"] <= 20_000
    assert heard == []
    engine.set_cycle_us(0)
    engine.evictor.set_limit(10_000)
    clocked.call(b"GET", b"k1")
    assert [event for event, _ in heard] == ["eviction-cycle"]
    assert 0 <= heard[0][1] < 10_000_000
