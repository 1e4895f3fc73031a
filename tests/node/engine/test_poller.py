"""What the pump does when it has nothing to do: look around for a moment, sleep, or both (docs/turns.md).

Every run here is one turn: a descriptor of `watch_others` that is always readable ends it, and the pump
counts how it got through. Nothing is said about time but that a sleeping process uses no processor.
"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from node.commands.table import command
from node.engine import basics
from node.engine.engine import Engine
from node.engine.poller import look_us
from node.engine.pump import Pump
from node.engine.session import Session

LONG_US = 60_000_000
PING = b"*1\r\n$4\r\nPING\r\n"
SHORTEST_LOOK_US, LONGEST_LOOK_US = 6, 48
VAIN_LOOKS_MAX = 4


@dataclass
class Rig:
    """A pump with one client, whose end of the connection the test holds."""

    pump: Pump
    client: socket.socket
    others: socket.socket
    said: socket.socket
    looked_us: int = 0  # in the last idle turn

    def turn(self) -> tuple[int, int, int]:
        """One turn with something to find at once. Returns (sleeps, looks, looks that found somebody)."""
        self.said.send(b"x")
        assert self.pump.run(LONG_US, LONG_US)
        self.others.recv(1)
        return self.pump.take_sleeps()[:3]

    def idle(self, sleep_us: int = 1000) -> tuple[int, int, int]:
        """One turn in which nobody says anything until the caller's time is up."""
        assert not self.pump.run(LONG_US, sleep_us)
        *counted, self.looked_us = self.pump.take_sleeps()
        sleeps, looks, finds = counted
        return sleeps, looks, finds

    def turns_until(self, condition: Callable[[tuple[int, int, int]], bool]) -> tuple[int, int, int]:
        """Turns until the counts are such.

        Another process may take the processor from us at any moment, and then a sleep was no short one and a
        look is over before it began: what should follow does so in one of the next turns.
        """
        give_up_s = time.monotonic() + 10
        while not condition(counted := self.turn()):
            assert time.monotonic() < give_up_s, counted
        return counted

    def earn_credit(self) -> None:
        """Turns in which looking found somebody, many more than the credit has room for."""
        found = 0
        while found < 100:
            found += self.turns_until(lambda counted: counted[2] > 0)[2]


def answer(_session: Session, words: tuple[bytes, ...]) -> bytes:
    """A command with an answer of so many bytes."""
    return b"a" * int(words[1])


@pytest.fixture
def rig() -> Iterator[Rig]:
    engine = Engine(hash_key=b"k" * 16, clock_ms=1_000)
    basics.install(engine.registry)
    engine.add_command(
        command("ping", -1, "loading stale", group="test", summary="-", since="1.0.0", handler=None)
    )
    engine.add_command(
        command("answer", 2, "loading stale", group="test", summary="-", since="1.0.0", handler=answer)
    )
    pump = Pump(engine)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    pump.adopt(ours.detach(), Session(engine))
    others, said = socket.socketpair()
    with theirs, others, said:
        rig = Rig(pump, theirs, others, said)
        while pump.take_turns() == (0, 0, 0):  # the first 10 ms tell how long a tick is: no looks until then
            assert rig.idle()[1] == 0
        pump.watch_others(others.fileno())
        yield rig
        pump.close_all()


def test_after_a_short_sleep_it_looks_before_the_next_one_and_does_not_sleep(rig: Rig) -> None:
    assert rig.turn() == (1, 0, 0)  # nothing is known of the clients yet: it may sleep at once
    assert rig.turns_until(lambda counted: counted[2] > 0) == (0, 1, 1)


def test_who_is_seen_by_a_look_is_served(rig: Rig) -> None:
    rig.earn_credit()
    rig.client.send(PING)
    sleeps, looks, found = rig.turn()
    assert rig.client.recv(100) == b"+PONG\r\n"
    assert (looks, sleeps + found) == (1, 1)


def test_a_look_in_vain_is_followed_by_a_sleep(rig: Rig) -> None:
    rig.turns_until(lambda counted: counted[2] > 0)
    assert rig.idle() == (1, 1, 0)


@pytest.mark.parametrize(
    ("sessions", "took_us", "commands", "answer_bytes", "expected_us"),
    [
        (1, 5, 1, 7, 6),
        (10, 50, 10, 70, 6),
        (0, 0, 0, 0, 6),  # nobody was served
        # A request that took a while, and one beside which a sleep costs little.
        (1, 8, 1, 7, 10),
        (1, 21, 1, 7, 36),
        (1, 22, 1, 7, 6),
        (10, 80, 10, 70, 10),
        # A large answer, and one that is so large that a sleep costs little beside it.
        (1, 5, 1, 3_000, 33),
        (1, 20, 1, 3_000, 34),  # the longer of the two
        (1, 5, 1, 16_384, 154),
        (1, 5, 1, 16_385, 6),
        (5, 25, 5, 15_000, 33),
        # Requests that came together.
        (1, 5, 4, 28, 30),
        (5, 25, 19, 133, 6),
        (5, 25, 20, 140, 30),
        (1, 300, 16, 100_000, 30),
        # Somebody set the counters to 0 meanwhile.
        (1, 5, -1_000, -7_000, 6),
    ],
)
def test_how_long_a_look_is_depends_on_the_last_requests(
    sessions: int, took_us: float, commands: int, answer_bytes: int, expected_us: float
) -> None:
    assert look_us(sessions, took_us, commands, answer_bytes) == expected_us


def how_long_it_looks_us(rig: Rig, request: bytes, answer_bytes: int) -> int:
    """After such a request: the shortest of 20 looks in vain. Some requests may have taken longer."""
    looked_us: list[int] = []
    while len(looked_us) < 20:
        rig.earn_credit()
        rig.client.send(request)
        rig.turn()
        assert len(rig.client.recv(answer_bytes, socket.MSG_WAITALL)) == answer_bytes
        if rig.idle() == (1, 1, 0):
            looked_us.append(rig.looked_us)
    return min(looked_us)


@pytest.mark.parametrize(
    ("asked", "answer_bytes", "least_us"),
    [
        (PING, 7, SHORTEST_LOOK_US - 1),
        (b"*2\r\n$6\r\nANSWER\r\n$4\r\n3000\r\n", 3009, 32),
        (PING * 16, 112, 29),
    ],
)
def test_the_pump_tells_what_the_last_requests_were(
    rig: Rig, asked: bytes, answer_bytes: int, least_us: int
) -> None:
    assert least_us <= how_long_it_looks_us(rig, asked, answer_bytes) <= LONGEST_LOOK_US


def test_a_look_has_a_limit(rig: Rig) -> None:
    assert rig.pump.look_us_max == LONGEST_LOOK_US
    rig.pump.look_us_max = 12
    assert 11 <= how_long_it_looks_us(rig, PING * 16, 112) <= 16
    rig.pump.look_us_max = 0
    for _ in range(20):
        assert rig.turn() == (1, 0, 0)


def test_what_looking_found_is_forgotten_after_a_few_looks_in_vain(rig: Rig) -> None:
    rig.earn_credit()
    looks = 0
    for _ in range(50):
        slept, looked, found = rig.idle()
        assert (slept, found) == (1, 0)
        looks += looked
    assert 0 < looks <= VAIN_LOOKS_MAX
    assert rig.turn() == (
        1,
        0,
        0,
    )  # and the next client is no reason to look: that sleep is the measure again


def test_long_sleeps_are_no_reason_to_look(rig: Rig) -> None:
    for _ in range(20):
        assert rig.idle() == (1, 0, 0)


def test_an_idle_pump_uses_no_processor(rig: Rig) -> None:
    rig.earn_credit()
    before = resource.getrusage(resource.RUSAGE_THREAD)
    begun_s = time.monotonic()
    slept, looked, _ = rig.idle(200_000)
    after = resource.getrusage(resource.RUSAGE_THREAD)
    assert time.monotonic() - begun_s >= 0.19
    assert (slept, looked) == (1, 1)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.02
    assert after.ru_nvcsw - before.ru_nvcsw <= 2  # it slept once, and not between looks


def test_who_waits_for_the_processor_gets_it_before_a_look(rig: Rig) -> None:
    """A process that is always busy shares a processor with the pump."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        looks = given = 0
        give_up_s = time.monotonic() + 20
        while looks < 20:
            assert time.monotonic() < give_up_s, "no looks beside another process"
            rig.earn_credit()
            before = resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw
            looks += rig.idle()[1]
            given += resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw - before
        assert given >= 10
    finally:
        other.kill()
        other.wait()
        os.sched_setaffinity(0, mine)
