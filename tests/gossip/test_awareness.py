"""Local health saturates at both ends and stretches what we wait for."""

from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.awareness import Awareness


@settings(deadline=None)
@given(st.lists(st.integers(0, 4)))
def test_the_score_stays_in_range(events: list[int]) -> None:
    awareness = Awareness(8)
    for event in events:
        awareness.better() if event == 0 else awareness.worse(event)
        assert 0 <= awareness.score <= 8


def test_a_healthy_member_waits_as_configured_and_a_sick_one_longer() -> None:
    awareness = Awareness(8)
    assert awareness.stretch_ms(100) == 100
    awareness.worse(2)
    assert awareness.stretch_ms(100) == 300
    awareness.better()
    assert awareness.stretch_ms(100) == 200
