"""INFO: sections as Redis names them, figures that are true, and rates."""

import pytest

from node.engine.reply import Verbatim
from node.info import Meter, human, render
from tests.oracle import Ours

SECTIONS = ["Server", "Clients", "Memory", "Persistence", "Stats", "Replication", "CPU", "Modules"]
SECTIONS += ["Errorstats", "Cluster", "Keyspace"]
EVERYTHING = [*SECTIONS[:8], "Commandstats", "Errorstats", "Latencystats", "Cluster", "Keyspace"]


def fields(text: str) -> dict[str, str]:
    return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


def titles(text: str) -> list[str]:
    return [line[2:] for line in text.split("\r\n") if line.startswith("# ")]


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        ([], SECTIONS),
        (["default"], SECTIONS),
        (["everything"], EVERYTHING),
        (["ALL"], EVERYTHING),
        (["memory"], ["Memory"]),
        (["stats", "Server", "stats", "nothing"], ["Server", "Stats"]),
        (["nothing"], []),
    ],
)
def test_sections(ours: Ours, wanted: list[str], shown: list[str]) -> None:
    text = render(ours, wanted)
    assert titles(text) == shown
    assert text == "" or text.endswith("\r\n")
    for line in text.split("\r\n"):
        assert line == "" or line.startswith("# ") or ":" in line, line


def test_figures_are_true(ours: Ours) -> None:
    ours.pipeline(
        [[b"SET", b"k", b"v" * 1000], [b"SET", b"e", b"v", b"EX", b"100"], [b"GET", b"k"], [b"GET", b"n"]]
    )
    ours.call(b"SELECT", b"3")
    ours.pipeline([[b"SET", b"k", b"v"], [b"INCR", b"k"], [b"NOSUCH"]])
    found = fields(render(ours, ["everything"]))
    assert found["db0"] == "keys=2,expires=1,avg_ttl=0"
    assert found["db3"] == "keys=1,expires=0,avg_ttl=0"
    assert "db1" not in found
    assert int(found["used_memory"]) > 1000
    assert int(found["used_memory_rss"]) > int(found["used_memory"])
    assert (found["keyspace_hits"], found["keyspace_misses"]) == ("1", "1")
    assert found["total_commands_processed"] == "7"
    assert found["cmdstat_set"] == "calls=3,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=0"
    assert found["cmdstat_incr"] == "calls=1,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=1"
    assert found["errorstat_ERR"] == "count=2"
    assert (found["redis_version"], found["role"], found["cluster_enabled"]) == ("7.2.4", "master", "0")
    ours.call(b"CONFIG", b"RESETSTAT")
    found = fields(render(ours, ["everything"]))
    assert (found["keyspace_hits"], found["total_error_replies"]) == ("0", "0")
    assert "cmdstat_set" not in found


def test_the_reply_is_a_text_for_people(ours: Ours) -> None:
    ours.call(b"HELLO", b"3")
    reply = ours.value(b"INFO", b"keyspace")
    assert reply == Verbatim(b"txt", b"# Keyspace\r\n")


def test_rates_are_means_of_the_last_samples(ours: Ours) -> None:
    meter = Meter(ours.engine, 0)
    assert meter.rates() == (0.0, 0.0, 0.0)
    for tenth in range(1, 40):
        ours.pipeline([[b"PING"]] * 20)
        meter.sample(tenth * 100)
    assert meter.rates()[0] == pytest.approx(200)
    ours.call(b"CONFIG", b"RESETSTAT")
    meter.sample(4000)
    assert meter.rates() == (0.0, 0.0, 0.0)


def test_the_peak_is_remembered(ours: Ours) -> None:
    ours.call(b"SET", b"k", b"x" * (1 << 20))
    ours.meter.sample(1)
    ours.call(b"DEL", b"k")
    found = fields(render(ours, ["memory"]))
    assert int(found["used_memory_peak"]) > 1 << 20 > int(found["used_memory"])


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (1023, "1023B"),
        (1024, "1.00K"),
        (1688207, "1.61M"),
        (25276518400, "23.54G"),
        (1 << 60, "1024.00P"),
    ],
)
def test_bytes_for_people(size: int, text: str) -> None:
    assert human(size) == text
