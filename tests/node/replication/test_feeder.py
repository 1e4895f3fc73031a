"""How a snapshot leaves beside clients. What replicas get is in test_nodes.py, the pace in test_pace.py."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from node.engine import basics
from node.engine.engine import Engine
from node.engine.pump import Pump
from node.engine.session import Session
from node.replication.feeder import ROOM_POLL_MS, Feeder
from node.replication.history import Full, History
from node.replication.settings import Settings
from node.replication.source import Stage
from tests.node.engine.test_pump import make

SETTINGS = Settings(step_us=100, step_share=0.25, pending_bytes=200_000)
LOOK_US = 20  # from one look at the clock to the next: a slice


class Syncing:
    """A primary with a replica that takes a snapshot; a byte of which costs 1 ns, in a time of its own."""

    def __init__(self) -> None:
        self.engine = Engine(hash_key=bytes(16), clock_ms=1)
        basics.install(self.engine.registry)
        self.engine.add_command(make("ping", -1, None))
        for number in range(4_000):
            self.engine.keyspace.set(0, b"%d" % number, b"v" * 1_000)
        self.pump = Pump(self.engine)
        ours, self.theirs = socket.socketpair()
        ours.setblocking(False)
        self.session = Session(self.engine, address="127.0.0.1:1")
        self.pump.adopt(ours.detach(), self.session)
        self.client = Session(self.engine)
        self.now_ms = 1_000
        self.wakes = 0
        self._work_us = self.worked_us = 0
        self.feeder = Feeder(
            self.engine,
            self.pump,
            lambda: SETTINGS,
            lambda: History("h" * 40),
            lambda: self.now_ms,
            self._wake,
            lambda: "m" * 40,
            self._work,
            lambda: 0,
        )
        self.feeder.greet(self.session).capabilities = frozenset({"eof"})
        self.feeder.ask_full(self.session, Full("a test"))
        assert self.feeder.advance() == 0

    def _wake(self) -> None:
        self.wakes += 1

    def _work(self) -> int:
        self._work_us += LOOK_US
        return self._work_us

    def step(self, *, busy: bool) -> tuple[int | None, int]:
        """Lets the feeder go on; when it wants to be called again, and how many bytes it wrote."""
        if busy:
            self.client.feed(b"*1\r\n$4\r\nPING\r\n")
        before, began_us = self.session.output_pending_bytes, self._work_us
        rest_ms = self.feeder.advance()
        self.worked_us += max(0, self._work_us - began_us - LOOK_US)  # the first look is the beginning
        return rest_ms, self.session.output_pending_bytes - before

    def drain(self) -> None:
        """The replica takes what was written."""
        while self.session.output_pending_bytes:
            self.pump.run(1_000, 0)
            self.theirs.recv(1 << 20)


@pytest.fixture
def syncing() -> Iterator[Syncing]:
    found = Syncing()
    yield found
    found.feeder.close()
    found.pump.close_all()
    found.theirs.close()


def test_beside_busy_clients_it_rests(syncing: Syncing) -> None:
    steps, began_ms = 0, syncing.now_ms
    while True:
        rest_ms, written = syncing.step(busy=True)
        if rest_ms is None:
            break  # all of it was written
        syncing.now_ms += rest_ms
        if written:
            steps += 1
            syncing.drain()
    assert steps > 10
    passed_us = (syncing.now_ms - began_ms) * 1_000
    assert steps * SETTINGS.step_us <= syncing.worked_us <= steps * (SETTINGS.step_us + 2 * LOOK_US)
    # A ms's share, and what two steps may take.
    assert abs(syncing.worked_us - passed_us * SETTINGS.step_share) <= 500


def test_with_nobody_busy_it_goes_on_at_once(syncing: Syncing) -> None:
    syncing.now_ms += 100
    for _ in range(8):
        assert syncing.step(busy=False)[0] == 0
        syncing.drain()


def test_a_replica_without_room_gets_no_more_until_it_has_some(syncing: Syncing) -> None:
    syncing.now_ms += 100
    while True:
        rest_ms, written = syncing.step(busy=False)
        if not written:
            break
    assert rest_ms == ROOM_POLL_MS
    assert 200_000 <= syncing.session.output_pending_bytes < 500_000
    assert syncing.wakes == 1  # when it asked
    syncing.drain()
    assert syncing.wakes == 2  # now there is room
    rest_ms, written = syncing.step(busy=False)
    assert rest_ms == 0
    assert written > 0
    syncing.drain()
    assert syncing.wakes == 2  # nobody waited for that


def test_a_replica_that_takes_bytes_is_not_silent_however_slow_it_is(syncing: Syncing) -> None:
    replica = syncing.feeder.source.replicas[syncing.session.id]
    began_ms = syncing.now_ms
    while replica.stage is Stage.SENDING:
        while syncing.step(busy=False)[1]:
            pass
        syncing.now_ms += 1_000
        syncing.pump.run(1_000, 0)
        syncing.theirs.recv(32 << 10)
        syncing.feeder.tick(syncing.now_ms)
        assert syncing.session.fd >= 0, syncing.session.close_reason
    assert syncing.now_ms - began_ms > SETTINGS.timeout_ms
    syncing.drain()
    for _ in range(100):  # a real server sends such lines while it loads what it got
        syncing.now_ms += 1_000
        syncing.theirs.send(b"\n")
        syncing.pump.run(1_000, 0)
        syncing.feeder.tick(syncing.now_ms)
        assert syncing.session.fd >= 0, syncing.session.close_reason
    syncing.now_ms += SETTINGS.timeout_ms + 1
    syncing.feeder.tick(syncing.now_ms)
    assert "silent" in syncing.session.close_reason


def test_who_waits_for_the_next_snapshot_is_not_left_in_silence(syncing: Syncing) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with theirs:
        waiting = Session(syncing.engine, address="127.0.0.1:2")
        syncing.pump.adopt(ours.detach(), waiting)
        syncing.feeder.greet(waiting).capabilities = frozenset({"eof"})
        syncing.feeder.ask_full(waiting, Full("a test"))
        for _ in range(3):
            syncing.now_ms += SETTINGS.ping_period_ms
            syncing.feeder.tick(syncing.now_ms)
            syncing.pump.run(1_000, 0)
        assert theirs.recv(100) == b"\n" * 3
