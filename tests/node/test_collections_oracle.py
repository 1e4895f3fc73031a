"""Random sequences of every family of collections give a real server's replies, byte by byte."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.node.collections_oracle import (
    Drawn,
    Rolled,
    difference,
    families,
    main,
    parameters,
    script,
    smaller,
)
from tests.oracle import Ours, Wire

pytestmark = [pytest.mark.oracle, pytest.mark.slow]

FAMILIES = families()


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_short_sequences(ours: Ours, theirs: Wire, name: str, data: st.DataObject) -> None:
    """Few, but what fails becomes small by itself."""
    wanted = script(FAMILIES[name], Drawn(data), 1, 12)
    assert not difference(ours, theirs, parameters(theirs), FAMILIES[name], wanted)


@pytest.mark.parametrize("name", FAMILIES)
def test_sequences_of_fifty(ours: Ours, theirs: Wire, name: str) -> None:
    """The beginning of what `python -m tests.node.collections_oracle` does for hours."""
    known = parameters(theirs)
    for seed in range(150):
        wanted = script(FAMILIES[name], Rolled(seed), 50, 50)
        if difference(ours, theirs, known, FAMILIES[name], wanted):
            pytest.fail(f"seed {seed}: " + smaller(ours, theirs, known, FAMILIES[name], wanted))


def test_the_long_run_says_what_it_did(capsys: pytest.CaptureFixture[str], redis_server: object) -> None:
    first = next(iter(FAMILIES))
    assert main([first, "--sequences", "3", "--length", "5"]) == 0
    assert capsys.readouterr().out.startswith(f"{first}: 3 sequences, ")
