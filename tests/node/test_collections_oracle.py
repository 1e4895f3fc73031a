"""Random sequences of every family of collections give a real server's replies, byte by byte."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.node.collections_oracle import (
    Drawn,
    Pair,
    Record,
    Rolled,
    Script,
    difference,
    families,
    main,
    paired,
    script,
    smaller,
)

pytestmark = [pytest.mark.oracle, pytest.mark.slow]

FAMILIES = families()


@pytest.fixture(scope="module")
def pair(redis_server: object) -> Iterator[Pair]:
    """A server of their own: it has its clock held."""
    with paired() as both:
        yield both


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_short_sequences(pair: Pair, name: str, data: st.DataObject) -> None:
    """Few, but what fails becomes small by itself."""
    wanted = script(FAMILIES[name], Drawn(data), 1, 12)
    assert not difference(pair, FAMILIES[name], wanted)


@pytest.mark.parametrize("name", FAMILIES)
def test_sequences_of_fifty(pair: Pair, name: str) -> None:
    """The beginning of what `python -m tests.node.collections_oracle` does for hours."""
    for seed in range(100):
        wanted = script(FAMILIES[name], Rolled(seed), 50, 50)
        if difference(pair, FAMILIES[name], wanted):
            pytest.fail(f"seed {seed}: " + smaller(pair, FAMILIES[name], wanted))


def test_the_long_run_says_and_notes_what_it_did(
    capsys: pytest.CaptureFixture[str], redis_server: object, tmp_path: Path
) -> None:
    first, path = next(iter(FAMILIES)), tmp_path / "oracle.json"
    for _ in range(2):
        assert main([first, "--sequences", "3", "--length", "5", "--record", str(path)]) == 0
        assert capsys.readouterr().out.startswith(f"{first}: 3 sequences, ")
    (run,) = Record(path).runs
    assert (run.family, run.first_seed, run.sequences, run.length) == (first, 0, 6, 5)


@pytest.mark.parametrize(
    "line",
    [
        "WATCH k|FLUSHALL|MULTI|PING|EXEC",  # what was not there is not changed by its absence
        "SET k v|WATCH k|FLUSHDB|MULTI|PING|EXEC",
        "WATCH k|SWAPDB 0 1|MULTI|PING|EXEC",
        "SET k v|WATCH k|SWAPDB 0 0|MULTI|PING|EXEC",
        "SET k v|WATCH k|SWAPDB 0 1|MULTI|PING|EXEC",
        "SELECT 1|SET k v|SELECT 0|WATCH k|SWAPDB 1 0|MULTI|PING|EXEC",
        "SET k v|SELECT 1|WATCH k|SELECT 0|FLUSHDB|MULTI|PING|EXEC",
        "SET k v PX 50|WATCH k|1000|MULTI|PING|EXEC",  # its time came, and nobody touched it
        "SET k v PX 50|WATCH k|1000|GET k|MULTI|PING|EXEC",
        "SET k v PX 50|1000|WATCH k|MULTI|PING|EXEC",
    ],
)
def test_what_breaks_a_watch(pair: Pair, line: str) -> None:
    steps = [int(each) if each.isdigit() else each.encode().split() for each in line.split("|")]
    assert not difference(pair, FAMILIES["transactions"], Script(2, {}, steps))
