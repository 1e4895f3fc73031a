"""A primary whose replicas are gone gets one of a shard that can spare it."""

import os
import signal
import time
from pathlib import Path

import pytest
import redis

from tests.cluster.local import running_cluster
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

MOVE_LIMIT_S = 30.0  # five seconds of patience, a full sync, and a busy machine


def test_an_orphaned_primary_gets_a_replica(tmp_path: Path) -> None:
    with running_cluster(tmp_path, shards=2, replicas=2, restart=False) as cluster:
        view = cluster.whole()
        orphan, giver = view.primaries()
        before = {line.id for line in view.replicas_of(giver.id)}
        assert len(before) == 2
        client = cluster.node(orphan.address.port)
        killed = {line.id for line in view.replicas_of(orphan.id)}
        for line in view.replicas_of(orphan.id):
            os.kill(cluster.pid(line.address.port), signal.SIGKILL)

        def replicas_of(primary_id: str) -> set[str]:
            text = client.execute_command("CLUSTER", "NODES", NEVER_DECODE=[]).decode()
            rows = (line.split() for line in text.splitlines())
            return {row[0] for row in rows if row[3] == primary_id and "fail" not in row[2].split(",")}

        deadline = time.monotonic() + MOVE_LIMIT_S
        moved = wait_until(
            lambda: replicas_of(orphan.id) - killed,
            "a replica for the orphan",
            within_s=MOVE_LIMIT_S,
            describe=cluster.logs,
        )
        assert moved == {min(before)}
        assert replicas_of(giver.id) == before - moved
        patience_ms = int((deadline - time.monotonic()) * 1000)
        with redis.Redis("127.0.0.1", orphan.address.port, socket_timeout=MOVE_LIMIT_S + 5) as waiting:
            assert waiting.execute_command("WAIT", 1, patience_ms) == 1, cluster.logs()
