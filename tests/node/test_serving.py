"""What parameters act on: the pump, at the start and when CONFIG SET changes them."""

from __future__ import annotations

import pytest

from node.config import Config
from node.engine.engine import Engine
from node.engine.pump import Pump
from node.serving import follow_config


@pytest.mark.parametrize(
    ("parameter", "attribute", "normal", "other"),
    [
        ("look-before-sleep-us", "look_us_max", 48, 0),
        ("timeout", "idle_timeout_s", 0, 7),
        ("tcp-keepalive", "keepalive_s", 300, 60),
        ("client-query-buffer-limit", "query_buffer_limit_bytes", 1 << 30, 2 << 20),
    ],
)
def test_the_pump_follows_its_parameters(parameter: str, attribute: str, normal: int, other: int) -> None:
    config = Config()
    engine = Engine(hash_key=b"k" * 16, clock_ms=1_000)
    pump = Pump(engine)
    setattr(pump, attribute, 1)
    follow_config(config, engine, pump)
    assert getattr(pump, attribute) == normal
    config.set_many([(parameter, str(other))])
    assert getattr(pump, attribute) == other
    pump.close_all()
