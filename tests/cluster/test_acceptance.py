"""The promise as a user would check it: 100,000 keys, each primary killed once, every key still there."""

import random

import pytest
from redis.cluster import RedisCluster

from chaos.faults.processes import kill, prove
from chaos.topology import Address
from tests.cluster.local import LocalCluster

pytestmark = pytest.mark.slow

KEYS = 100_000
BATCH = 1_000


def fill(client: RedisCluster, rng: random.Random) -> dict[str, bytes]:
    written = {f"accept:{index}": rng.randbytes(rng.randrange(8, 64)) for index in range(KEYS)}
    names = list(written)
    for start in range(0, KEYS, BATCH):
        pipeline = client.pipeline()
        for name in names[start : start + BATCH]:
            pipeline.set(name, written[name])
        assert all(pipeline.execute())
    return written


def differences(client: RedisCluster, written: dict[str, bytes]) -> list[str]:
    wrong = []
    names = list(written)
    for start in range(0, len(names), BATCH):
        pipeline = client.pipeline()
        part = names[start : start + BATCH]
        for name in part:
            pipeline.get(name)
        replies = pipeline.execute()
        wrong += [name for name, reply in zip(part, replies, strict=True) if reply != written[name]]
    return wrong


def test_a_hundred_thousand_keys_survive_every_primary(own_cluster: LocalCluster) -> None:
    with own_cluster.client() as client:
        written = fill(client, random.Random(42))
        assert differences(client, written) == []
    victims = own_cluster.primaries()
    assert len(victims) == 3
    for victim in victims:
        owners = own_cluster.primaries()
        assert victim in owners
        kill(prove(Address("127.0.0.1", victim.port), own_cluster.pid(victim.port)))
        own_cluster.close()
        view = own_cluster.whole()
        assert victim not in [line.address for line in view.primaries()], own_cluster.logs()
        with own_cluster.client() as client:
            assert differences(client, written) == []
    counts = [own_cluster.node(address.port).dbsize() for address in own_cluster.primaries()]
    assert sum(counts) == KEYS
