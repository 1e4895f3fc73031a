"""`grapevine up`, `status` and `down` with real nodes: what a person at the terminal can rely on."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chaos.ports import free_ports
from deploy.processes import ProcessKey, is_alive, send_signal
from deploy.record import Record, read_record
from deploy.spawn import child_environment, grapevine_argv
from tests.cluster.local import LocalCluster, grapevine, running_cluster
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    with running_cluster(tmp_path_factory.mktemp("up"), shards=2) as started:
        yield started


def known(directory: Path) -> Record:
    record = read_record(directory)
    assert record is not None
    return record


def keys(directory: Path) -> dict[str, ProcessKey]:
    return {each.name: each.key for each in known(directory).started}


def status(port: int) -> dict[str, Any]:
    done = grapevine("status", "--port", str(port), "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def healthy(port: int, members: int) -> bool:
    told = status(port)
    return bool(told["healthy"]) and len(told["members"]) == members


def test_every_member_is_shown_with_its_process(cluster: LocalCluster) -> None:
    told = status(cluster.port)
    assert told["healthy"], told
    roles = {member["node"]: member["role"] for member in told["members"]}
    first = cluster.port
    assert roles == {
        f"node-{first}": "primary", f"node-{first + 1}": "primary",
        f"node-{first + 2}": "replica", f"node-{first + 3}": "replica",
        f"router-{cluster.router_port}": "router",
    }  # fmt: skip
    assert [member["slots"] for member in told["members"] if member["slots"]] == ["0-8191", "8192-16383"]
    assert {member["node"]: member["pid"] for member in told["members"]} == {
        name: key.pid for name, key in keys(cluster.directory).items()
    }


def test_the_table_is_the_same_from_the_router(cluster: LocalCluster) -> None:
    done = grapevine("status", "--port", str(cluster.router_port))
    assert done.returncode == 0, done.stderr
    for port in cluster.ports:
        assert f"127.0.0.1:{port}" in done.stdout
    assert f"router-{cluster.router_port}" in done.stdout


def test_a_second_start_is_refused(cluster: LocalCluster, tmp_path: Path) -> None:
    again = grapevine("up", "--dir", str(cluster.directory))
    assert again.returncode == 1
    assert f"a cluster is already running in {cluster.directory}" in again.stderr
    assert len(again.stderr.splitlines()) == 1
    elsewhere = grapevine("up", "--dir", str(tmp_path), "--port", str(cluster.port + 3), "--no-router")
    assert elsewhere.returncode == 1
    assert f"a Grapevine cluster is already running on port {cluster.port + 3}" in elsewhere.stderr
    assert f"grapevine down --dir {cluster.directory}" in elsewhere.stderr
    assert not (tmp_path / "cluster.json").exists()


def test_a_process_that_dies_is_started_again(cluster: LocalCluster) -> None:
    name = f"node-{cluster.port + 2}"
    before = keys(cluster.directory)[name]
    assert send_signal(before, signal.SIGKILL)
    wait_until(lambda: keys(cluster.directory)[name] != before, "new process in the record")
    wait_until(lambda: healthy(cluster.port, 5), "healthy cluster", describe=lambda: status(cluster.port))
    assert is_alive(keys(cluster.directory)[name])
    assert f"{name} was killed by SIGKILL" in (cluster.directory / "launcher.log").read_text()


def test_without_its_launcher_a_cluster_can_be_stopped(tmp_path: Path) -> None:
    with running_cluster(tmp_path, shards=1) as started:
        launcher = known(tmp_path).launcher
        assert launcher is not None
        send_signal(launcher, signal.SIGKILL)
        wait_until(lambda: not is_alive(launcher), "end of the launcher")
        assert status(started.port)["healthy"]  # nobody needs the launcher to be served
        refused = grapevine("up", "--dir", str(tmp_path))
        assert refused.returncode == 1
        assert "has died, but 3 of its processes still run" in refused.stderr
        processes = keys(tmp_path)
        stopped = grapevine("down", "--dir", str(tmp_path))
        assert stopped.returncode == 0, stopped.stderr
        assert not any(is_alive(key) for key in processes.values())


def foreground(directory: Path, port: int, *words: str) -> subprocess.Popen[str]:
    """`grapevine up` as in a terminal: a process group of its own, whose members Ctrl-C would reach."""
    return subprocess.Popen(
        grapevine_argv(["up", "--dir", str(directory), "--port", str(port), "--no-router", *words]),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=child_environment(), process_group=0,
    )  # fmt: skip


def test_ctrl_c_stops_everything_in_order(tmp_path: Path) -> None:
    launcher = foreground(tmp_path, free_ports(2).start, "--shards", "1")
    assert launcher.stdout is not None
    with launcher:
        seen = ""
        for line in launcher.stdout:
            seen += line
            if "Ctrl-C" in line:
                break
        assert "redis-cli -c -p" in seen, seen
        processes = keys(tmp_path)
        assert len(processes) == 2
        os.killpg(launcher.pid, signal.SIGINT)
        rest = launcher.stdout.read()
        assert launcher.wait(30) == 0, seen + rest
    assert "killed" not in rest
    assert "stopped in" in rest
    assert not any(is_alive(key) for key in processes.values())
    assert known(tmp_path).launcher is None
    primary, replica = sorted(processes)
    ended = {name: (tmp_path / name / "node.log").stat().st_mtime_ns for name in processes}
    assert ended[replica] <= ended[primary], "the primary said its last word before its replica"


def test_stopped_before_it_was_ready_nothing_stays(tmp_path: Path) -> None:
    launcher = foreground(tmp_path, free_ports(6).start)
    with launcher:
        wait_until(
            lambda: read_record(tmp_path) is not None and len(keys(tmp_path)) == 6, "record of six nodes"
        )
        processes = keys(tmp_path)
        os.killpg(launcher.pid, signal.SIGINT)
        assert launcher.wait(30) == 0
    assert not any(is_alive(key) for key in processes.values())


def test_after_down_the_shape_is_remembered(tmp_path: Path) -> None:
    with running_cluster(tmp_path, shards=1, replicas=0):
        pass
    again = grapevine("down", "--dir", str(tmp_path))
    assert again.returncode == 0
    assert "nothing of the cluster" in again.stdout
    other = grapevine("up", "--dir", str(tmp_path), "--shards", "2", "--detach")
    assert other.returncode == 1
    assert f"--shards 2: the cluster in {tmp_path} has --shards 1" in other.stderr
