"""Nodes that are told to do what would lose something: refused by name, and nothing is lost."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from chaos.ports import free_port, free_ports
from tests.cluster.local import grapevine, process, raw
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def words(port: int, directory: Path, *more: str) -> list[str]:
    return ["node", "--port", str(port), "--dir", str(directory), "--cluster", *more]


def answers(port: int) -> bool:
    try:
        return raw(port, "PING") == ["+PONG"]
    except OSError:
        return False


def info(port: int) -> dict[str, str]:
    """CLUSTER INFO."""
    done = subprocess.run(
        ["redis-cli", "-p", str(port), "CLUSTER", "INFO"],
        capture_output=True,
        text=True,
        timeout=5,
        check=True,
    )
    return dict(line.split(":", 1) for line in done.stdout.split() if ":" in line)


def founded(port: int, log: Path, key: str) -> str:
    """The node owns all slots and holds a key; its cluster's id."""
    wait_until(lambda: answers(port), describe=log.read_text)
    assert raw(port, "CLUSTER ADDSLOTSRANGE 0 16383") == ["+OK"]
    wait_until(lambda: info(port)["cluster_state"] == "ok", describe=log.read_text)
    assert raw(port, f"SET {key} mine") == ["+OK"]
    return info(port)["cluster_id"]


def test_two_clusters_that_own_slots_do_not_meet(tmp_path: Path) -> None:
    first, second = free_ports(2)
    log = tmp_path / "log"
    with (
        process(*words(first, tmp_path / "one"), log=log),
        process(*words(second, tmp_path / "two"), log=log),
    ):
        ours, theirs = founded(first, log, "k1"), founded(second, log, "k2")
        (refused,) = raw(first, f"CLUSTER MEET 127.0.0.1 {second}")
        assert refused.startswith(f"-ERR not applied: meeting 127.0.0.1:{second} failed: ")
        assert ours in refused
        assert theirs in refused
        assert "two clusters are never merged" in refused
        for port, cluster, key in ((first, ours, "k1"), (second, theirs, "k2")):
            seen = info(port)
            assert (seen["cluster_id"], seen["cluster_known_nodes"]) == (cluster, "1")
            assert raw(port, f"GET {key}") == ["mine"]


def test_a_node_with_another_clusters_state_does_not_join(tmp_path: Path) -> None:
    """Its directory says that it owns slots elsewhere: it stays there and says why, naming both clusters."""
    first, second = free_ports(2)
    log, told = tmp_path / "log", tmp_path / "told"
    with process(*words(first, tmp_path / "one"), log=log):
        ours = founded(first, log, "k1")
    with process(*words(second, tmp_path / "two"), log=log):
        theirs = founded(second, log, "k2")
        with process(*words(first, tmp_path / "one", "--join", f"127.0.0.1:{second}"), log=told):
            wait_until(lambda: "two clusters are never merged" in told.read_text(), describe=told.read_text)
            assert ours in told.read_text()
            assert theirs in told.read_text()
            wait_until(lambda: info(first)["cluster_state"] == "ok", describe=told.read_text)
            assert (info(first)["cluster_id"], info(second)["cluster_id"]) == (ours, theirs)
            assert info(second)["cluster_known_nodes"] == "1"
            assert raw(second, "GET k2") == ["mine"]


def test_a_voter_with_an_old_copy_of_its_state_file_stops(tmp_path: Path) -> None:
    """It promised and accepted since: the other one remembers, and both of them are named."""
    first, second = free_ports(2)
    log = tmp_path / "log"
    state, copy = tmp_path / "one" / "grapevine-state.msgpack", tmp_path / "copy"
    with process(*words(second, tmp_path / "two", "--join", f"127.0.0.1:{first}"), log=log):
        with process(*words(first, tmp_path / "one"), log=log):
            wait_until(
                lambda: answers(first) and info(first)["cluster_known_nodes"] == "2", describe=log.read_text
            )
            (member_id,) = raw(second, "CLUSTER MYID")
            shutil.copy(state, copy)
            founded(first, log, "k1")
            wait_until(lambda: info(second)["cluster_slots_assigned"] == "16384", describe=log.read_text)
        shutil.copy(copy, state)
        stopped = grapevine(*words(first, tmp_path / "one"), timeout_s=30)
        assert stopped.returncode == 1
        assert f"{state} is an old copy: it had serial" in stopped.stderr
        assert f"member {member_id} has heard of serial" in stopped.stderr
        assert info(second)["cluster_slots_assigned"] == "16384"


def test_a_directory_in_use_is_refused_by_name(tmp_path: Path) -> None:
    first = free_port()
    log = tmp_path / "log"
    with process(*words(first, tmp_path / "one"), log=log):
        founded(first, log, "k1")
        refused = grapevine(*words(first + 1, tmp_path / "one"), timeout_s=30)
        assert refused.returncode == 1
        assert str(tmp_path / "one") in refused.stderr
        assert raw(first, "GET k1") == ["mine"]


def test_a_node_killed_while_it_joins_joins_when_it_returns(tmp_path: Path) -> None:
    first, second = free_ports(2)
    log = tmp_path / "log"
    with process(*words(first, tmp_path / "one"), log=log):
        founded(first, log, "k1")
        join = words(second, tmp_path / "two", "--join", f"127.0.0.1:{first}")
        for _ in range(3):  # at whatever point the joining then is
            with process(*join, log=log) as child:
                wait_until((tmp_path / "two" / "grapevine-state.msgpack").exists, describe=log.read_text)
                child.kill()
        with process(*join, log=log):
            wait_until(
                lambda: answers(second) and info(second)["cluster_known_nodes"] == "2", describe=log.read_text
            )
            wait_until(lambda: info(first)["cluster_known_nodes"] == "2", describe=log.read_text)
            assert raw(first, "GET k1") == ["mine"]
            assert info(second)["cluster_slots_assigned"] == "16384"


def test_a_disk_that_was_put_back_lowers_no_epoch(tmp_path: Path) -> None:
    """An old copy of a voter's directory: what was decided since stands while a majority remembers it."""
    ports = free_ports(3)
    log = tmp_path / "log"
    directories = [tmp_path / str(port) for port in ports]
    join = ["--join", f"127.0.0.1:{ports[0]}"]
    with process(*words(ports[0], directories[0]), log=log):
        founded(ports[0], log, "k1")
        with process(*words(ports[1], directories[1], *join), log=log):
            with process(*words(ports[2], directories[2], *join), log=log):
                wait_until(
                    lambda: all(answers(port) and info(port)["cluster_voters"] == "3" for port in ports),
                    describe=log.read_text,
                )
            shutil.copytree(directories[2], tmp_path / "old")
            for _ in range(3):
                (bumped,) = raw(ports[0], "CLUSTER BUMPEPOCH")
                assert bumped.startswith("+BUMPED "), bumped
            epoch = bumped.removeprefix("+BUMPED ")
            shutil.rmtree(directories[2])
            shutil.copytree(tmp_path / "old", directories[2])
            with process(*words(ports[2], directories[2], *join), log=log):
                wait_until(
                    lambda: answers(ports[2]) and info(ports[2])["cluster_current_epoch"] == epoch,
                    describe=log.read_text,
                )
                assert [info(port)["cluster_current_epoch"] for port in ports] == [epoch] * 3
                (bumped,) = raw(ports[0], "CLUSTER BUMPEPOCH")
                assert bumped == f"+BUMPED {int(epoch) + 1}"
