"""The configuration refuses what cannot work, with field, value and bound."""

from dataclasses import fields

import pytest

from gossip.config import ConfigError, GossipConfig


def test_every_field_is_documented() -> None:
    text = GossipConfig.__doc__ or ""
    assert [field.name for field in fields(GossipConfig) if field.name not in text] == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"probe_timeout_ms": 201}, "probe_timeout_ms 201"),
        ({"suspicion_rounds": 1.0}, "suspicion floor 400 ms"),
        ({"suspicion_stretch": 0.5}, "suspicion_stretch 0.5"),
        ({"lease_ms": 400}, "lease_ms 400"),
        ({"lease_ms": 900, "lease_margin_ms": 400}, "too short for three renewals"),
        ({"datagram_bytes_max": 100}, "datagram_bytes_max 100"),
        ({"frame_bytes_max": 1000}, "frame_bytes_max 1000"),
        ({"voters_wanted": 4}, "voters_wanted 4"),
        ({"voters_wanted": 9}, "voters_wanted 9"),
        ({"round_timeout_ms": 1_000}, "round_timeout_ms 1000"),
        ({"probe_interval_ms": -1}, "probe_interval_ms = -1"),
        ({"gossip_fanout": 0}, "gossip_fanout = 0"),
        ({"lease_ms": True}, "lease_ms = True"),
    ],
)
def test_refused(changes: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        GossipConfig(**changes)  # type: ignore[arg-type]
    assert says in str(refusal.value)


def test_the_floor_and_the_retransmissions_grow_with_the_logarithm() -> None:
    config = GossipConfig()
    assert config.suspicion_floor_ms(3) == config.suspicion_floor_ms(10) == 600
    assert config.suspicion_floor_ms(1000) == 1800
    assert [config.retransmit_limit(count) for count in (1, 9, 99, 999)] == [2, 6, 12, 18]
