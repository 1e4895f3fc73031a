"""Random sequences of every family, alone: everything still adds up, and a replica has the same.

The sequences are those of the comparison with a real server (tests/node/families), so that they run under the
sanitizers too.
"""

from __future__ import annotations

import pytest

from node.engine.audit import audit
from node.engine.digest import digest
from tests.held_clock import HeldClock
from tests.node.collections_oracle import Family, Rolled, Step, families, script
from tests.oracle import Ours

FAMILIES = families()
SEQUENCES = 40


def _opened(settings: dict[bytes, bytes], clock: HeldClock) -> Ours:
    node = Ours(hash_key=b"0123456789abcdef", clock=clock)
    for name, value in settings.items():
        assert node.call(b"CONFIG", b"SET", name, value) == b"+OK\r\n"
    return node


def _play(node: Ours, clock: HeldClock, steps: list[Step]) -> None:
    """Runs commands, and lets time pass where the sequence says so."""
    for step in steps:
        if isinstance(step, int):
            clock.advance(step)
        # Two seldom do the same by mistake: one that blocks would only block this session.
        elif step[0].upper() not in (b"MULTI", b"EXEC"):
            node.call(*step)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("settings", [0, 1])
def test_all_adds_up_and_a_replica_has_the_same(name: str, settings: int) -> None:
    with HeldClock() as clock:
        _compare(FAMILIES[name], settings, clock)


def _compare(family: Family, settings: int, clock: HeldClock) -> None:
    parameters = dict(family.settings[settings % len(family.settings)])
    node, replica = _opened(parameters, clock), _opened(parameters, clock)
    replica.engine.keyspace.follower = True
    link = replica.connect()
    node.engine.effects.activate()
    offset = node.engine.effects.offset
    link.start_applying(offset)
    for seed in range(SEQUENCES):
        steps = script(family, Rolled(seed), 40, 40).steps
        _play(node, clock, steps)
        assert audit(node.engine.keyspace) == [], (seed, steps)
        stream = node.engine.effects.read(offset, 1 << 26)
        assert stream is not None
        offset += len(stream)
        for side in (node, replica):
            assert side.call(b"PING") == b"+PONG\r\n"  # which tells it the time
        assert link.feed(stream) == b""
        assert digest(replica.engine.keyspace) == digest(node.engine.keyspace), (seed, steps)
        assert audit(replica.engine.keyspace) == [], (seed, steps)
    for side in (node, replica):
        side.session.feed(b"FLUSHALL\r\n")
        while side.engine.keyspace.free_some(1000):
            pass
        assert audit(side.engine.keyspace) == []
        assert side.engine.keyspace.memory()["used_bytes"] == 0
