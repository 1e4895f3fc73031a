"""chaos/sim/scenario.py: what a file may say, and that seeds draw."""

from random import Random

import pytest

from chaos.sim.run import options_of
from chaos.sim.scenario import KINDS, BadScenario, draw_from, names

LEAST: dict[str, object] = {"safety_ms": 1000, "liveness_ms": 1000}
FAULT = {"kind": "kill", "every_ms": [1, 2], "for_ms": [1, 2]}


def test_every_file_can_be_drawn() -> None:
    rows = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 21, 22, 23, 37, 38, 40]
    assert {name[:6] for name in names()} >= {f"row-{row:02}" for row in rows}
    kinds = {fault.kind for name in names() for fault in options_of(name, 1).faults}
    assert kinds == set(KINDS)


def test_seeds_draw_and_the_options_say_what() -> None:
    one, two = options_of("storm", 1), options_of("storm", 2)
    assert one == options_of("storm", 1)
    assert one.weather.loss != two.weather.loss
    assert f"loss={one.weather.loss:.3f}" in str(one)
    assert "kill(primary every 3000-8000 ms" in str(one)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"safty_ms": 1}, "safty_ms = 1: no such key"),
        ({"safety_ms": 0}, "safety_ms = 0: must be a number above 0"),
        ({"safety_ms": [2, 1]}, "least, most"),
        ({"cluster": {"nodes": 2, "shards": 3}}, "3 shards and 5 voters do not fit 2 nodes"),
        ({"cluster": 1}, "must be a table"),
        ({"network": {"loss": 1.5}}, r"network.loss = 1.5: must be 0.0 to 1.0"),
        ({"network": {"delay_ms": [1]}}, "network.delay_ms"),
        ({"durability": ["fsync"]}, "durability = .'fsync'.: must be a list of async, quorum"),
        ({"fault": {}}, "must be tables"),
        ({"fault": [FAULT | {"kind": "shout"}]}, "fault.kind = 'shout': must be one of kill"),
        ({"fault": [FAULT | {"often": 1}]}, "fault.often = 1: no such key"),
        ({"fault": [{"kind": "kill", "for_ms": [1, 2]}]}, "fault.every_ms = None"),
        ({"about": 1}, "about = 1: must be text"),
    ],
)
def test_refused(more: dict[str, object], text: str) -> None:
    with pytest.raises(BadScenario, match=text):
        draw_from("x", LEAST | more, Random(1))


def test_unknown_scenario_names_those_there_are() -> None:
    with pytest.raises(BadScenario, match="storm"):
        options_of("earthquake", 1)
