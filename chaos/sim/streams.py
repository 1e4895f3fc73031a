"""Connections under virtual time: bytes in order, with delay, until somebody closes or breaks them.

What a lost packet costs a real connection is time, so loss is delay here, and a cut holds everything back
until it is mended. Only an end that goes away, or a fault, breaks a connection; the other end hears of it
when the network lets it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Final

from chaos.sim.events import Events
from chaos.sim.network import Network

RETRANSMIT_MS: Final = 200
FULL_BYTES: Final = 256 << 10  # in flight: the kernel takes no more
OUTSIDE: Final = -1  # where clients are: nothing cuts them off


def _deaf(_data: bytes) -> None:
    pass


def _quiet() -> None:
    pass


def _unmoved(_reset: bool) -> None:
    pass


def _at_once(then: Callable[[], None]) -> None:
    then()


class End:
    """One end of a connection.

    Attributes:
        hear: gets bytes as they arrive. gone: called once, when the other end closed (False) or the
            connection was reset (True).
        room: called when what we sent has arrived and there is room for more.
        later: how its owner is woken: runs what it is given at once, when the owner goes on, or never.
    """

    def __init__(self, streams: Streams, number: int) -> None:
        self._streams = streams
        self.number = number
        self.open = True
        self.hear: Callable[[bytes], None] = _deaf
        self.gone: Callable[[bool], None] = _unmoved
        self.room: Callable[[], None] = _quiet
        self.later: Callable[[Callable[[], None]], None] = _at_once
        self.peer: End = self
        self._flying: deque[tuple[int, bytes | None]] = deque()  # on the way to us; None: the end of it
        self._reset = False
        self._due_ms = 0
        self.note: object = None
        """What the other end wants known beside the bytes, for the checkers."""
        self.flying_bytes = 0
        """Sent by us and not arrived yet."""

    def send(self, data: bytes) -> None:
        """To the other end. Nothing happens when the connection is over."""
        if self.open and data:
            self._streams.fly(self, self.peer, data)

    def close(self, *, reset: bool = False) -> None:
        """Nothing more is heard here; the other end hears what was sent, or with `reset` only the break."""
        if not self.open:
            return
        self.open = False
        self.hear, self.gone, self.room = _deaf, _unmoved, _quiet
        peer = self.peer
        if peer.open:
            if reset:
                peer._flying.clear()
                peer._reset = True
            self._streams.fly(self, peer, None)


class Streams:
    """All connections of the world."""

    def __init__(self, events: Events, network: Network) -> None:
        self._events, self._network = events, network
        self._dice: Random = events.dice("streams")

    def pair(self, one: int, other: int) -> tuple[End, End]:
        """A connection between two machines, already made."""
        here, there = End(self, one), End(self, other)
        here.peer, there.peer = there, here
        return here, there

    def delay_ms(self) -> int:
        """For one way."""
        low_ms, high_ms = self._network.weather.delay_ms
        return low_ms + int(self._dice.random() * (high_ms - low_ms + 1))

    def fly(self, source: End, target: End, data: bytes | None) -> None:
        """Puts `data` on its way, behind what is on it already."""
        weather = self._network.weather
        low_ms, high_ms = weather.delay_ms
        due_ms = self._events.now_ms + low_ms + int(self._dice.random() * (high_ms - low_ms + 1))
        if weather.loss and self._dice.random() < weather.loss:
            due_ms += RETRANSMIT_MS
        target._due_ms = due_ms = max(due_ms, target._due_ms)
        flying = target._flying
        flying.append((due_ms, data))
        if data is not None:
            source.flying_bytes += len(data)
        if len(flying) == 1:
            self._events.at(due_ms, partial(self._land, source, target))

    def _land(self, source: End, target: End) -> None:
        """What is due arrives, unless the way is cut; then somebody tries again later."""
        flying = target._flying
        if not flying or not target.open:
            flying.clear()
            return
        now_ms = self._events.now_ms
        if not self._network.passes(source.number, target.number):
            self._events.at(now_ms + RETRANSMIT_MS, partial(self._land, source, target))
            return
        data, ended = b"", False
        while flying and flying[0][0] <= now_ms:
            piece = flying.popleft()[1]
            if piece is None:
                ended = True
                flying.clear()
                break
            data = data + piece if data else piece
        if flying:
            self._events.at(flying[0][0], partial(self._land, source, target))
        if not data and not ended:
            return
        was_full = source.flying_bytes >= FULL_BYTES
        source.flying_bytes -= len(data)
        target.later(partial(_tell, target, data, ended))
        if was_full and source.open:
            source.later(lambda: source.room())  # noqa: PLW0108 (it may be another by then)


def _tell(target: End, data: bytes, ended: bool) -> None:
    if data and target.open and not target._reset:
        target.hear(data)
    if ended and target.open:
        target.open = False
        gone, target.gone, target.hear = target.gone, _unmoved, _deaf
        gone(target._reset)
