"""Suspicion: a timer with confirmations, not a verdict.

The first accusation starts a long wait (`ceiling_ms`), since a lone accuser is more often slow than right.
Every further independent accuser shortens it; with `wanted` of them the wait is down to `floor_ms`. The
curve is
logarithmic: the first confirmation tells most, the third little.

    wait = ceiling - (ceiling - floor) * log(confirmed + 1) / log(wanted + 1)

    floor 600 ms, ceiling 2,400 ms, wanted 3:   confirmed 0: 2400   1: 1500   2: 973   3: 600
"""

from dataclasses import dataclass, field
from math import log


class LocalError(Exception):
    """Our own code broke a rule of this room. Peers cannot cause this."""


def remaining_ms(confirmed: int, wanted: int, elapsed_ms: int, floor_ms: int, ceiling_ms: int) -> int:
    """Time until a suspicion becomes a verdict, in ms. May be negative: fire now.

    Args:
        confirmed: distinct accusers beyond the first, at least 0; more than `wanted` count as `wanted`.
        wanted: accusers that drive the wait to its floor; 0 means floor at once.
        elapsed_ms: since the first accusation, at least 0.
        floor_ms: shortest wait.
        ceiling_ms: longest wait, at least floor_ms.
    Raises:
        LocalError: our caller broke a range. Peers cannot cause this.
    Source: Lifeguard (arXiv 1707.00788). We count in ms, not seconds.
    """
    if confirmed < 0 or wanted < 0 or elapsed_ms < 0 or floor_ms < 0 or ceiling_ms < floor_ms:
        raise LocalError(
            f"suspicion out of range: confirmed {confirmed}, wanted {wanted}, elapsed {elapsed_ms} ms, "
            f"floor {floor_ms} ms, ceiling {ceiling_ms} ms"
        )
    if wanted == 0 or confirmed >= wanted:
        return floor_ms - elapsed_ms
    share = log(confirmed + 1) / log(wanted + 1)
    return int(ceiling_ms - (ceiling_ms - floor_ms) * share) - elapsed_ms


@dataclass(slots=True)
class Suspicion:
    """One running suspicion of one incarnation of one member.

    Attributes:
        accusers: who accused, in order of arrival (a dict: order matters when it is replayed); never the
            accused.
        started_ms: when the first accusation arrived; `stand_still` moves it.
    """

    started_ms: int
    floor_ms: int
    ceiling_ms: int
    wanted: int
    accusers: dict[str, None] = field(default_factory=dict)

    def confirm(self, accuser: str) -> bool:
        """Count `accuser`. True when it is new and still shortens the wait: worth passing on.

        Bounded: accusers beyond the first and `wanted` are not remembered, they change nothing.
        """
        if accuser in self.accusers or len(self.accusers) > self.wanted:
            return False
        self.accusers[accuser] = None
        return True

    def due_ms(self) -> int:
        """When the suspicion becomes a verdict, on the clock of `started_ms`."""
        confirmed = max(0, len(self.accusers) - 1)
        return self.started_ms + remaining_ms(confirmed, self.wanted, 0, self.floor_ms, self.ceiling_ms)

    def stand_still(self, pause_ms: int) -> None:
        """We, the accusers' audience, stood still for `pause_ms`: a refutation
        may wait unread. Grant it that time.
        """
        self.started_ms += pause_ms
