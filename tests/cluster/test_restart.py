"""All processes stopped and started again: the same members, the same shards, the same slots."""

import pytest

from chaos.topology import Address
from tests.cluster.local import LocalCluster, grapevine, up

pytestmark = pytest.mark.slow


def portrait(cluster: LocalCluster) -> dict[tuple[int, int], frozenset[tuple[str, Address]]]:
    """By slots (first, count): who serves or copies them. Who of a shard leads it is decided anew when all of
    them come back empty."""
    view = cluster.whole()
    return {
        (primary.first_slot, primary.slot_count): frozenset(
            (line.id, line.address) for line in [primary, *view.replicas_of(primary.id)]
        )
        for primary in view.primaries()
    }


def test_an_ordered_restart_keeps_the_topology(own_cluster: LocalCluster) -> None:
    before = portrait(own_cluster)
    own_cluster.close()
    assert grapevine("down", "--dir", str(own_cluster.directory)).returncode == 0
    again = up(own_cluster)
    assert again.returncode == 0, again.stdout + again.stderr + own_cluster.logs()
    assert portrait(own_cluster) == before
    with own_cluster.client() as client:
        assert client.set("k", "v")
        assert client.get("k") == b"v"


def test_a_damaged_state_file_is_refused_by_name(own_cluster: LocalCluster) -> None:
    own_cluster.close()
    assert grapevine("down", "--dir", str(own_cluster.directory)).returncode == 0
    file = own_cluster.directory / f"node-{own_cluster.port}" / "grapevine-state.msgpack"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x10
    file.write_bytes(data)
    again = up(own_cluster)
    assert again.returncode != 0
    assert "grapevine-state.msgpack" in again.stdout + again.stderr
    file.unlink()  # let the fixture end an ordinary cluster: nothing runs now
