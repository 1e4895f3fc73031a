"""Replication between processes: load during a full sync, a killed primary, a primary that stands still."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis

from chaos.ports import free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]


class Process:
    """One node in a process of its own."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory / name
        self.directory.mkdir()
        self.port = free_port()
        self.client = redis.Redis(port=self.port, socket_timeout=20)
        self.start()

    def start(self, *more: str) -> None:
        command = [sys.executable, "-m", "node", "--port", str(self.port), "--dir", str(self.directory)]
        command += ["--set", "enable-debug-command=yes", *more]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=os.environ)
        wait_until(self.answers)

    def answers(self) -> bool:
        assert self.process.poll() is None, (self.directory / "log").read_text()
        with suppress(redis.ConnectionError, redis.TimeoutError):
            return bool(self.client.ping())
        return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def info(self, field: str) -> object:
        return self.client.info("replication").get(field)

    def digest(self) -> object:
        return self.client.execute_command("DEBUG", "DIGEST")

    def end(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)


@contextmanager
def processes(directory: Path, *names: str) -> Iterator[list[Process]]:
    started: list[Process] = []
    try:
        for name in names:
            started.append(Process(directory, name))
        yield started
    finally:
        for process in started:
            process.end()


def follow(replica: Process, primary: Process) -> None:
    replica.client.replicaof("127.0.0.1", str(primary.port))
    wait_until(lambda: replica.info("master_link_status") == "up")


def assert_equal(primary: Process, replica: Process) -> None:
    """Equal data at an equal offset; nobody writes meanwhile."""
    wait_until(lambda: replica.info("slave_repl_offset") == primary.info("master_repl_offset"))
    assert replica.digest() == primary.digest()
    assert replica.client.dbsize() == primary.client.dbsize()


class Writers:
    """Threads that write one key after the other and remember what was acknowledged."""

    def __init__(self, port: int, count: int) -> None:
        self.acknowledged: list[dict[str, str]] = [{} for _ in range(count)]
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(port, number), daemon=True) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def _write(self, port: int, number: int) -> None:
        mine = self.acknowledged[number]
        with redis.Redis(port=port, socket_timeout=20) as client, suppress(redis.ConnectionError):
            count = 0
            while not self._stop.is_set():
                key, value = f"writer:{number}:{count % 5000}", f"{count}"
                client.set(key, value)
                mine[key] = value
                count += 1

    def stop(self) -> dict[str, str]:
        """Everything acknowledged, key -> last value."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()
        return {key: value for mine in self.acknowledged for key, value in mine.items()}


def fill(process: Process, count: int, size: int) -> None:
    pipeline = process.client.pipeline(transaction=False)
    for number in range(count):
        pipeline.set(f"key:{number}", f"{number}:" + "x" * size)
        if number % 1000 == 999:
            pipeline.execute()
    pipeline.execute()


def test_a_full_sync_under_load(tmp_path: Path) -> None:
    with processes(tmp_path, "primary", "replica") as (primary, replica):
        fill(primary, 100_000, 200)
        writers = Writers(primary.port, 3)
        follow(replica, primary)
        written = writers.stop()
        assert len(written) > 100
        assert_equal(primary, replica)
        log = (primary.directory / "log").read_text()
        assert log.count("asks for a full sync") == 1


def test_a_killed_primary_takes_no_acknowledged_write_with_it(tmp_path: Path) -> None:
    with processes(tmp_path, "primary", "replica") as (primary, replica):
        follow(replica, primary)
        wait_until(lambda: primary.client.wait(1, 1000) == 1)
        writers = Writers(primary.port, 3)
        wait_until(lambda: sum(map(len, writers.acknowledged)) > 3000)
        primary.kill()
        acknowledged = writers.stop()
        wait_until(lambda: "refused: primary" in str(replica.info("grapevine_link_trouble")), within_s=5)
        replica.client.replicaof("NO", "ONE")
        lost = {key for key, value in acknowledged.items() if int(replica.client.get(key) or -1) < int(value)}
        assert lost == set()


def test_a_primary_that_stands_still_loses_nothing_but_time(tmp_path: Path) -> None:
    with processes(tmp_path, "primary", "replica") as (primary, replica):
        follow(replica, primary)
        writers = Writers(primary.port, 2)
        wait_until(lambda: sum(map(len, writers.acknowledged)) > 500)
        primary.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: int(str(replica.info("master_last_io_seconds_ago"))) >= 1)
        primary.process.send_signal(signal.SIGCONT)
        before = sum(map(len, writers.acknowledged))
        wait_until(lambda: sum(map(len, writers.acknowledged)) > before)
        writers.stop()
        assert_equal(primary, replica)


def test_a_replica_that_was_killed_comes_back(tmp_path: Path) -> None:
    with processes(tmp_path, "primary", "replica") as (primary, replica):
        follow(replica, primary)
        fill(primary, 5000, 100)
        replica.kill()
        fill(primary, 6000, 50)
        replica.start("--replica-of", f"127.0.0.1:{primary.port}")
        wait_until(lambda: replica.info("master_link_status") == "up")
        assert_equal(primary, replica)


def test_a_stop_in_order_leaves_the_replica_with_everything(tmp_path: Path) -> None:
    with processes(tmp_path, "primary", "replica") as (primary, replica):
        follow(replica, primary)
        fill(primary, 20_000, 500)
        digest = primary.digest()
        primary.process.terminate()
        assert primary.process.wait(10) == 0
        assert replica.digest() == digest
