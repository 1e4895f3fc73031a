"""News waiting to be passed on, each piece a bounded number of times.

Every packet that leaves carries as much news as fits; the least transmitted goes first, so fresh news
overtakes old. A piece about a subject replaces the older piece about the same subject (a newer claim makes
the older one harmful noise). After `limit` transmissions it is dropped: with lambda * log10(n + 1) of them,
everybody has heard it with overwhelming probability, and the state exchange catches the rest.

A heap was rejected: the queue is short (news comes in bursts of a few) and is walked in one sort per packet;
an idle cluster has an empty queue and pays nothing.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(slots=True)
class _Entry(Generic[Item]):
    item: Item
    size_bytes: int
    sent: int
    order: int


class Broadcast(Generic[Item]):
    """The queue. One entry per subject; at most `entries_max` entries."""

    def __init__(self, entries_max: int) -> None:
        self._entries_max = entries_max
        self._entries: dict[Hashable, _Entry[Item]] = {}
        self._order = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, subject: Hashable, item: Item, size_bytes: int) -> None:
        """Queue `item`, which replaces any older piece about `subject`."""
        self._order += 1
        self._entries.pop(subject, None)
        if len(self._entries) >= self._entries_max:
            del self._entries[max(self._entries, key=self._staleness)]
        self._entries[subject] = _Entry(item, size_bytes, 0, self._order)

    def drop(self, subject: Hashable) -> None:
        """Stop passing on what we had about `subject`, if anything."""
        self._entries.pop(subject, None)

    def take(self, room_bytes: int, limit: int) -> list[Item]:
        """The pieces for one packet: least transmitted first, newest first among equals, as many as fit.

        A piece that does not fit is passed over for this packet, not dropped; smaller ones behind it may fit.
        Cost: one sort of the queue.
        """
        if not self._entries:
            return []
        taken: list[Item] = []
        spent: list[Hashable] = []
        for subject in sorted(self._entries, key=self._staleness):
            entry = self._entries[subject]
            if entry.size_bytes > room_bytes:
                continue
            room_bytes -= entry.size_bytes
            entry.sent += 1
            taken.append(entry.item)
            if entry.sent >= limit:
                spent.append(subject)
        for subject in spent:
            del self._entries[subject]
        return taken

    def _staleness(self, subject: Hashable) -> tuple[int, int]:
        entry = self._entries[subject]
        return (entry.sent, -entry.order)
