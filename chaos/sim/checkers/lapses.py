"""Keys with a time to live: there until it is over, gone when it is, whatever clocks are set to.

Each such key has one writer, who is also its reader and does one thing at a time, so what a read must show
follows from the last write. In the world's time, which no clock of a machine shows exactly:

    SET asked .... answered          T later            T later
    |  the value is there ...........|  maybe  ..........| it is gone
    began                       began + T - slack   ended + T + slack

A deadline is kept by the clock of whoever leads, so after a failover it may come earlier or later by as much
as two clocks have come apart. With `async` a failover may forget the write, so a value that is missing says
something only under the office that acknowledged it; that a value does not outlive its time holds under every
office.
"""

from dataclasses import dataclass
from typing import Final

from chaos.sim.checkers import Violation

SLACK_MS: Final = 150
"""Clocks that are a little too fast or too slow, and what is followed of small steps."""
PACE: Final = 16
"""A jump of the wall clock is worked off in so many times its length (node/engine/steady.pyx)."""


@dataclass(frozen=True, slots=True)
class _Write:
    value: bytes
    began_ms: int
    ended_ms: int
    lasts_ms: int
    office: object


class Lapses:
    """Told of every operation on such a key, in the order in which its one client did them."""

    def __init__(self, durability: str) -> None:
        self.reads = 0
        self._quorum = durability == "quorum"
        self._last: dict[bytes, _Write | None] = {}

    def unknown(self, key: bytes) -> None:
        """A write ended without an answer: until the next one nothing is known of the key."""
        self._last[key] = None

    def wrote(
        self, key: bytes, value: bytes, began_ms: int, ended_ms: int, lasts_ms: int, office: object
    ) -> None:
        """A write was acknowledged under `office`. Times are the world's."""
        self._last[key] = _Write(value, began_ms, ended_ms, lasts_ms, office)

    def read(self, key: bytes, value: bytes | None, began_ms: int, ended_ms: int, office: object) -> None:
        """A read was answered under `office`.

        Raises:
            Violation: a value that should be gone, one that was overwritten, or none although there is time.
        """
        write = self._last.get(key)
        if write is None:
            return
        self.reads += 1
        # One clock may work off a jump meanwhile; two that began alike may work off opposite ones.
        apart_ms = ended_ms - write.began_ms if office == write.office else 2 * ended_ms
        slack_ms = SLACK_MS + apart_ms // (PACE - 1)
        told = f"lapses: key {key.decode()}: {write.value.decode()}, set at {write.began_ms} ms for"
        told += f" {write.lasts_ms} ms,"
        if value == write.value:
            if began_ms > write.ended_ms + write.lasts_ms + slack_ms:
                raise Violation(f"{told} was still there at {began_ms} ms")
        elif self._quorum or office == write.office:
            if value is not None:
                raise Violation(f"{told} was {value.decode()} again at {ended_ms} ms")
            if ended_ms < write.began_ms + write.lasts_ms - slack_ms:
                raise Violation(f"{told} was gone at {ended_ms} ms")
