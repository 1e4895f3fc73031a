"""Which slot is whose, as the engine is told: owners, our own share, and slots on the move.

    decided topology, our shard --> owners' addresses, ranges, own slots --> Engine
    CLUSTER SETSLOT -------------> migrating (ASK), importing (ASKING) ----> Engine
    SETSLOT NODE, votes under way > leaving (TRYAGAIN) ---------------------> Engine

The engine's array of slots is written anew when anything of this changed, and left alone otherwise: the
topology changes with every member that is suspected, its slots hardly ever.

Keys of slots that were our shard's and are decided to be another's are dropped, in slices: kept, they would
come to life again if their slot ever came back. Keys of slots that were never ours are on their way to us
(SETSLOT IMPORTING, MIGRATE), and their source has them no more: they stay, also with a replica of ours that
was elected meanwhile and does not know that they were awaited, and when the move is called off (STABLE).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gossip.topology import SLOT_COUNT, Range, ShardView, Topology
from node.cluster_replies import shard_id_of
from node.engine.engine import Engine

KEYS_PER_SLICE: Final = 200  # dropped between two turns of everybody else


class Routes:
    """A core. The engine is touched here and nowhere else as far as slots are concerned.

    Attributes:
        migrating: our slots on their way, to another member's shard (CLUSTER SETSLOT MIGRATING).
        importing: slots on their way to us, by the member they come from.
        leaving: our slots that are being given to another shard: it may be decided, and we do not know yet.
            They are empty and stay so: what was written now would be dropped with the decision.
    """

    def __init__(self, engine: Engine) -> None:
        self.migrating: dict[int, str] = {}
        self.importing: dict[int, str] = {}
        self.leaving: set[int] = set()
        self._engine = engine
        self._told: object = None
        self._marked: set[int] = set()  # slots that the engine was told are on the move
        self._ranges: tuple[Range, ...] = ()  # as told last,
        self._mine = ""  # and our shard then
        self._lost: set[int] = set()  # slots that were its own, until their keys are gone
        self._foreign: list[int] = []  # those whose keys are being dropped

    def moving(self) -> Iterator[str]:
        """As CLUSTER NODES writes it."""
        for slot in sorted(self.migrating):
            yield f"[{slot}->-{self.migrating[slot]}]"
        for slot in sorted(self.importing):
            yield f"[{slot}-<-{self.importing[slot]}]"

    def tell(self, topology: Topology, mine: ShardView, *, leads: bool) -> bool:
        """Tells the engine who owns which slot and what we are, when that is news. True when it was.

        Args:
            mine: our shard as we know it: newer than in `topology` when it was decided just now.
            leads: we are its primary.
        """
        shards = dict(topology.shards)
        if mine.id and (mine.id not in shards or mine.epoch >= shards[mine.id].epoch):
            shards[mine.id] = mine  # decided for us before gossip came round
        endpoints: list[bytes] = []
        index_of: dict[str, int] = {}
        for shard_id in sorted(shards):
            primary = topology.members.get(shards[shard_id].primary)
            if primary is not None:
                index_of[shard_id] = len(endpoints)
                endpoints.append(f"{primary.host}:{primary.port}".encode())
        ranges = topology.ranges()
        own = index_of.get(mine.id, -1)
        moves = (
            tuple(sorted(self.migrating.items())),
            tuple(sorted(self.importing)),
            tuple(sorted(self.leaving)),
        )
        wanted = (ranges, endpoints, tuple(index_of), own, leads, moves)
        if wanted == self._told:
            return False
        self._told = wanted
        self._note_lost(topology, mine.id)
        engine = self._engine
        engine.set_self_owner(-1, False)
        for slot in self._marked:
            engine.set_migrating(slot, -1)
            engine.set_importing(slot, False)
        engine.set_slot_range(0, SLOT_COUNT - 1, -1)
        engine.set_owners(endpoints)
        for first, last, shard_id in ranges:
            engine.set_slot_range(first, last, index_of.get(shard_id, -1))
        self._settle_moves(topology, mine.id, index_of)
        engine.set_self_owner(own, leads)
        return True

    def _settle_moves(self, topology: Topology, mine: str, index_of: dict[str, int]) -> None:
        """Slots on the move; those that arrived or left us are on the move no more."""
        for slot in [slot for slot in self.migrating if topology.slot_owner(slot) != mine]:
            del self.migrating[slot]
        for slot in [slot for slot in self.importing if topology.slot_owner(slot) == mine]:
            del self.importing[slot]
        self.leaving.intersection_update([slot for slot in self.leaving if topology.slot_owner(slot) == mine])
        for slot, member_id in self.migrating.items():
            self._engine.set_migrating(slot, index_of.get(shard_id_of(topology, member_id), -1))
        for slot in self.importing:
            self._engine.set_importing(slot, True)
        for slot in self.leaving:
            self._engine.set_leaving(slot)
        self._marked = {*self.migrating, *self.importing, *self.leaving}

    # -- keys that are not ours any more

    def _note_lost(self, topology: Topology, mine: str) -> None:
        """By a replica, too: its primary may not come to an end with dropping them."""
        if mine != self._mine:
            self._mine, self._ranges = mine, ()
            self._lost.clear()  # whatever we have is going to be replaced
        ranges = topology.ranges()
        if ranges is self._ranges:
            return
        for first, last, shard_id in self._ranges:
            if shard_id == mine:
                self._lost.update(range(first, last + 1))
        for first, last in topology.ranges_of(mine):
            self._lost.difference_update(range(first, last + 1))
        self._ranges = ranges

    def tidy(self) -> None:
        """Slots whose keys are gone were lost long ago: what comes into them from now on is new."""
        if self._lost:
            keyspace = self._engine.keyspace
            self._lost = {slot for slot in self._lost if keyspace.slot_size(0, slot)}

    def drops(self, slot: int) -> bool:
        """Whether keys of a slot that was ours are still to be dropped."""
        return slot in self._foreign and self._engine.keyspace.slot_size(0, slot) > 0

    def find_foreign(self, topology: Topology, mine: str) -> bool:
        """For a primary: whether it holds keys of slots that it lost to others; `drop_some` drops them."""
        keyspace = self._engine.keyspace
        if self._foreign or keyspace.size(0) == 0:
            return False
        self._foreign = [
            slot
            for slot in sorted(self._lost)
            if _is_foreign(topology, slot, mine)
            and keyspace.slot_size(0, slot)
            and slot not in self.importing
        ]
        return bool(self._foreign)

    def keep_foreign(self) -> None:
        """Nobody has the time to drop them, or the office; the next change of the map begins again."""
        self._foreign = []

    def drop_some(self, topology: Topology, mine: str) -> int:
        """Drops a slice of them; returns how many keys. 0: there are no more."""
        keyspace, effects = self._engine.keyspace, self._engine.effects
        while self._foreign:
            slot = self._foreign[-1]
            names = keyspace.keys_in_slot(0, slot, KEYS_PER_SLICE)
            if not names or not _is_foreign(topology, slot, mine):
                self._foreign.pop()
                continue
            for name in names:
                keyspace.delete(0, name)
                self._engine.touch_key(0, name)
                if effects.active:
                    effects.append(0, [b"DEL", name])
            return len(names)
        return 0


def _is_foreign(topology: Topology, slot: int, mine: str) -> bool:
    return topology.slot_owner(slot) not in ("", mine)
