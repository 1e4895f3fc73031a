"""Processes with gossip keys: they change under load and nobody is suspected; strangers stay outside."""

import os
import re
import secrets
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import redis

from chaos.ports import BUS_OFFSET
from tests.cluster.local import LocalCluster, raw, running_cluster
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

CLIENTS = 2


@contextmanager
def load(cluster: LocalCluster) -> Iterator[list[int]]:
    """Writers to every shard; what they had acknowledged is there afterwards, and no write failed."""
    stop, failures, counts = threading.Event(), [], [0] * CLIENTS

    def write(number: int) -> None:
        with cluster.client() as client:
            while not stop.is_set():
                try:
                    client.set(f"key:{number}:{counts[number] % 500}", counts[number])
                except redis.RedisError as error:
                    failures.append(error)
                    return
                counts[number] += 1

    threads = [threading.Thread(target=write, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert failures == []
    assert min(counts) > 0


def dropped(port: int) -> dict[str, int]:
    """What a process dropped, by reason, from INFO."""
    client = redis.Redis(port=port, socket_timeout=5)
    try:
        line = client.info("cluster")["grapevine_gossip_dropped"]
    finally:
        client.close()
    fields = line if isinstance(line, dict) else dict(part.split("=") for part in line.split(",") if part)
    return {reason: int(count) for reason, count in fields.items()}


def told_of_keys(cluster: LocalCluster, times: int) -> bool:
    logs = [path.read_text() for path in cluster.directory.glob("*/node.log")]
    return len(logs) == 7 and all(len(re.findall("gossip keys: ", text)) >= times for text in logs)


def test_keys_change_under_load_without_a_suspicion(tmp_path: Path) -> None:
    file, old, new = tmp_path / "gossip.keys", secrets.token_hex(32), secrets.token_hex(32)
    file.write_text(f"{old}\n")
    file.chmod(0o600)
    settings = (f"gossip-key-file={file}",)
    with running_cluster(tmp_path / "cluster", settings=settings, zones=("a", "b", "c")) as cluster:
        ports = [*cluster.ports, cluster.router_port]
        cluster.whole()
        marks = {path: path.stat().st_size for path in cluster.directory.glob("*/node.log")}
        before = {port: dropped(port) for port in ports}  # a member that just started misses some greetings
        with load(cluster):
            for step, lines in enumerate([(old, new), (new, old), (new,)], 1):
                file.write_text("".join(f"{line}\n" for line in lines))
                for port in ports:  # one after the other: neighbours have different keyrings for a while
                    if port % 2:
                        os.kill(cluster.pid(port), signal.SIGHUP)
                    else:
                        assert raw(port, f"CONFIG SET gossip-key-file {file}") == ["+OK"]
                wait_until(partial(told_of_keys, cluster, step), "all have the keys", describe=cluster.logs)
        for path, size in marks.items():
            since = path.read_text()[size:]
            assert not re.search("-> (suspect|dead)", since), since
        assert {port: dropped(port) for port in ports} == before
        cluster.whole()

        before_counts = dropped(cluster.port)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"\x93\x9a plain", ("127.0.0.1", cluster.port + BUS_OFFSET))
            stranger.sendto(b"\xc1\x01" + bytes(60), ("127.0.0.1", cluster.port + BUS_OFFSET))
        wait_until(
            lambda: all(
                dropped(cluster.port).get(why, 0) > before_counts.get(why, 0) for why in ("plain", "key")
            ),
            "both are counted",
        )
        file.write_text("not a key\n")
        assert raw(cluster.port, f"CONFIG SET gossip-key-file {file}")[0].startswith("-ERR")
        cluster.whole()
