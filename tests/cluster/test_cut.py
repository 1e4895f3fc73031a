"""A primary that reaches its replica but no majority of the voters: real processes, a real network.

Each process has a network namespace of its own; a bridge joins them:

    gv<pid>-0 (the tests, 10.77.0.254)
        br0 --- eth0 of gv<pid>-1 (10.77.0.1: primary) -2 (replica) -3 -4 -5 (empty members that vote)

A cut between two is silent, as a broken switch's: each is told that the other has a hardware address that
nobody has.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import pytest
import redis

from tests.cluster.local import process
from tests.waiting import wait_until

PORT: Final = 7000
HUB: Final = 0
PRIMARY, REPLICA, *VOTERS = range(1, 6)
NOBODYS_ADDRESS: Final = "02:00:00:00:00:fe"
TAKEOVER_LIMIT_S: Final = 4.0
CLONE_NEWNET: Final = 0x40000000


def name(number: int) -> str:
    return f"gv{os.getpid()}-{number}"


def host(number: int) -> str:
    return f"10.77.0.{number or 254}"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=10)


@contextmanager
def inside(number: int) -> Iterator[None]:
    """What this thread opens and starts meanwhile lives in that namespace.

    Raises:
        OSError: we may not.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(descriptor: int) -> None:
        if libc.setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    ours = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    theirs = os.open(f"/run/netns/{name(number)}", os.O_RDONLY)
    try:
        enter(theirs)
        try:
            yield
        finally:
            enter(ours)
    finally:
        os.close(theirs)
        os.close(ours)


@pytest.fixture
def network() -> Iterator[None]:
    """The namespaces and the bridge; gone afterwards, whatever happened."""
    with ExitStack() as stack:
        try:
            for number in range(6):
                ip("netns", "add", name(number))
                stack.callback(ip, "netns", "del", name(number))
                ip("-n", name(number), "link", "set", "lo", "up")
            hub = ("-n", name(HUB))
            ip(*hub, "link", "add", "br0", "type", "bridge")
            ip(*hub, "addr", "add", f"{host(HUB)}/24", "dev", "br0")
            ip(*hub, "link", "set", "br0", "up")
            for number in (PRIMARY, REPLICA, *VOTERS):
                there, port = ("-n", name(number)), f"v{number}"
                peer = ("peer", "name", "eth0", "netns", name(number))
                ip(*hub, "link", "add", port, "type", "veth", *peer)
                ip(*hub, "link", "set", port, "master", "br0", "up")
                ip(*there, "addr", "add", f"{host(number)}/24", "dev", "eth0")
                ip(*there, "link", "set", "eth0", "up")
            with inside(HUB):
                pass
        except (FileNotFoundError, OSError, subprocess.CalledProcessError) as error:
            detail = getattr(error, "stderr", "") or str(error)
            pytest.skip(f"network namespaces cannot be made here (root and iproute2 are needed): {detail}")
        yield


def cut(one: int, other: int, *, heal: bool = False) -> None:
    """Nothing passes between the two any more, in either direction; or again."""
    for here, there in ((one, other), (other, one)):
        if heal:
            ip("-n", name(here), "neigh", "del", host(there), "dev", "eth0")
        else:
            entry = (host(there), "lladdr", NOBODYS_ADDRESS, "nud", "permanent", "dev", "eth0")
            ip("-n", name(here), "neigh", "replace", *entry)


def connect(stack: ExitStack, number: int) -> redis.Connection:
    connection = redis.Connection(host=host(number), port=PORT, socket_timeout=2, decode_responses=True)
    stack.callback(connection.disconnect)
    return connection


def holds(connection: redis.Connection, *words: str | int, wanted: str) -> bool:
    """Whether the answer to a command contains that; an error, or none, does not."""
    try:
        connection.send_command(*words)
        return wanted in str(connection.read_response())
    except (redis.ConnectionError, redis.TimeoutError):
        connection.disconnect()
    except redis.ResponseError:
        pass
    return False


@pytest.mark.slow
def test_a_primary_that_reaches_its_replica_but_no_voters_is_replaced(tmp_path: Path, network: None) -> None:
    with ExitStack() as stack:
        join = ("--join", f"{host(PRIMARY)}:{PORT}")
        for number in (PRIMARY, REPLICA, *VOTERS):
            home = tmp_path / str(number)
            home.mkdir()
            words = ["node", "--cluster", "--bind", host(number), "--port", str(PORT), "--dir", str(home)]
            words += [] if number == PRIMARY else join
            words += ["--replica-of", join[1]] if number == REPLICA else []
            with inside(number):
                stack.enter_context(process(*words, log=tmp_path / f"{number}.log"))
        stack.enter_context(inside(HUB))
        old, new = connect(stack, PRIMARY), connect(stack, REPLICA)
        wait_until(lambda: holds(old, "PING", wanted="PONG"), "the primary answers")
        for each in (old, new):
            wait_until(partial(holds, each, "CLUSTER", "INFO", wanted="cluster_voters:5"), "five voters")
        assert holds(old, "CLUSTER", "ADDSLOTSRANGE", 0, 16383, wanted="OK")
        wait_until(lambda: holds(old, "SET", "key", "before", wanted="OK"), "the primary serves")
        wait_until(lambda: holds(new, "INFO", "replication", wanted="master_link_status:up"), "the link")

        for voter in VOTERS:
            cut(PRIMARY, voter)
        began_s = time.monotonic()
        last_old_s = began_s
        while not holds(new, "SET", "key", "after", wanted="OK"):
            if holds(old, "SET", "key", "meanwhile", wanted="OK"):
                last_old_s = time.monotonic()
            took_s = time.monotonic() - began_s
            assert took_s < TAKEOVER_LIMIT_S, [log.read_text()[-2000:] for log in tmp_path.glob("*.log")]
        print(f"stopped after {last_old_s - began_s:.2f} s, served again after {took_s:.2f} s")
        assert not holds(old, "SET", "key", "too late", wanted="OK"), "two primaries acknowledge"
        assert not holds(old, "GET", "key", wanted="meanwhile"), "a stale read"

        for voter in VOTERS:
            cut(PRIMARY, voter, heal=True)
        wait_until(lambda: holds(old, "INFO", "replication", wanted="master_link_status:up"), "it follows")
        assert holds(old, "READONLY", wanted="OK")
        wait_until(lambda: holds(old, "GET", "key", wanted="after"), "it has what its successor wrote")
