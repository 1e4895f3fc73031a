"""The network between machines: what happens to a datagram, and who can talk to whom over a connection.

Cuts have a direction. A connection needs both directions; it is either there or not, because what a real one
does while packets are lost (it waits) looks to its ends like delay.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from chaos.sim.events import Events

LATE_FACTOR: Final = 20
"""A datagram that is reordered takes up to so many times the longest ordinary delay."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How the network treats datagrams.

    Attributes:
        delay_ms: shortest and longest ordinary delay.
        loss, duplicate, late: probabilities per datagram; a late one is overtaken by many others.
    """

    delay_ms: tuple[int, int] = (1, 3)
    loss: float = 0.0
    duplicate: float = 0.0
    late: float = 0.0


class Network:
    """Machines are numbers."""

    def __init__(self, events: Events, weather: Weather) -> None:
        self.weather = weather
        self._events = events
        self._dice = events.dice("network")
        self._cuts: dict[tuple[int, int], None] = {}

    def datagram(self, source: int, target: int, deliver: Callable[[], None]) -> None:
        """Perhaps, once or twice, and some time later: `deliver`."""
        if self._cuts and (source, target) in self._cuts:
            return
        weather, dice = self.weather, self._dice
        copies = 2 if weather.duplicate and dice.random() < weather.duplicate else 1
        for _ in range(copies):
            if weather.loss and dice.random() < weather.loss:
                continue
            low_ms, high_ms = weather.delay_ms
            delay_ms = low_ms + int(dice.random() * (high_ms - low_ms + 1))
            if weather.late and dice.random() < weather.late:
                delay_ms += dice.randint(0, LATE_FACTOR * weather.delay_ms[1])
            self._events.at(self._events.now_ms + delay_ms, deliver)

    def round_trip_ms(self) -> int:
        """A drawn time for question and answer over a connection."""
        return self._dice.randint(*self.weather.delay_ms) + self._dice.randint(*self.weather.delay_ms)

    def passes(self, source: int, target: int) -> bool:
        """Whether packets pass in this direction."""
        return not self._cuts or (source, target) not in self._cuts

    def connected(self, one: int, other: int) -> bool:
        """Whether packets pass in both directions."""
        return (one, other) not in self._cuts and (other, one) not in self._cuts

    def cut(self, source: int, target: int) -> None:
        """Nothing from `source` reaches `target` any more."""
        self._cuts[source, target] = None

    def mend(self, source: int, target: int) -> None:
        self._cuts.pop((source, target), None)

    def part(self, left: Iterable[int], right: Iterable[int], *, mend: bool = False) -> None:
        """Cut, or mend, both directions between two groups."""
        others = tuple(right)
        for one in left:
            for other in others:
                if one != other:
                    (self.mend if mend else self.cut)(one, other)
                    (self.mend if mend else self.cut)(other, one)

    def heal(self) -> None:
        """No more cuts, loss or other trouble; delays stay as they are."""
        self._cuts.clear()
        self.weather = Weather(self.weather.delay_ms)
