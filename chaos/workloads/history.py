"""The record of a run: every write that was attempted, when, and what became of it.

Each write has a key of its own. Overwriting a key would hide losses: a write whose fate is unknown may be
executed later than one that was acknowledged, so an old value found afterwards proves nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from chaos.client import Outcome


@dataclass(frozen=True, slots=True)
class Write:
    """One attempt. Times are milliseconds of the run's clock, from the first byte sent to the answer."""

    key: bytes
    value: bytes
    group: int  # index of the slot group (the slots of one shard when the run began)
    began_ms: float
    ended_ms: float
    outcome: Outcome
    detail: str = ""


class HistoryFull(Exception):
    """The bound on recorded writes is reached; the run cannot go on without forgetting."""


class History:
    """Writes in the order of their answers. Holds at most `writes_max`."""

    def __init__(self, writes_max: int = 2_000_000) -> None:
        self._writes: list[Write] = []
        self._writes_max = writes_max

    def __len__(self) -> int:
        return len(self._writes)

    def add(self, write: Write) -> None:
        """Raises: HistoryFull."""
        if len(self._writes) >= self._writes_max:
            raise HistoryFull(f"{self._writes_max} writes are recorded; use fewer rounds or a lower --rate")
        self._writes.append(write)

    def since(self, index: int) -> Iterator[Write]:
        """The writes recorded after the first `index`."""
        for position in range(index, len(self._writes)):
            yield self._writes[position]
