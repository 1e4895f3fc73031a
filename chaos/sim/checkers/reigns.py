"""Who takes office has what its predecessor had, up to a point: a prefix, and nothing else.

For every reign the writes that its primary executed are written down, with the offset after each. A successor
says which history it continues and from which offset: its keys must be exactly what those writes make of
them up to there. A replica that applied something twice, left something out, kept a tail that others do not
have or began with an old copy is found in the moment it is elected. What lies behind that offset and was
acknowledged is *lost*: with `write-durability async` that is counted, with `quorum` it must not be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from chaos.sim.checkers import Violation

State = dict[bytes, bytes]

COPIES_MIN: Final = 2
"""`write-quorum`."""


@dataclass(slots=True)
class Written:
    """One write as its primary executed it. `value` None: the key is gone."""

    offset: int
    key: bytes
    value: bytes | None
    acknowledged: bool = False


@dataclass(slots=True)
class Reign:
    """One primary's time in office.

    Attributes:
        history: replication id of its stream.
        initial: the keys it began with.
        inherited: the writes that made them. began: the offset up to which they go.
        copies: how far the data of each life certainly went when it was last looked at.
    """

    shard: str
    epoch: int
    life: str
    history: str
    initial: Mapping[bytes, bytes]
    writes: list[Written] = field(default_factory=list)
    inherited: list[Written] = field(default_factory=list)
    copies: dict[str, int] = field(default_factory=dict)
    began: int = 0

    def state_at(self, offset: int) -> State:
        """What its data is when its stream has come to `offset`.

        That may be before it began: a replica takes a new primary's history for its own as soon as that lets
        it go on, and may be elected before it has what it lacked.
        """
        earlier = offset < self.began
        state: State = {} if earlier else dict(self.initial)
        for write in self.inherited if earlier else self.writes:
            if write.offset > offset:
                break
            if write.value is None:
                state.pop(write.key, None)
            else:
                state[write.key] = write.value
        return state


class Reigns:
    """Told of every office taken and every write executed.

    Args:
        durability: what was promised: `async` or `quorum`.

    Attributes:
        lost: acknowledged writes that a successor does not have.
        bereft: shards that lost some with all who had them.
    """

    def __init__(self, durability: str) -> None:
        self.lost = 0
        self.bereft: set[str] = set()
        self._durability = durability
        self._present: dict[str, Reign] = {}  # by shard: that of the highest epoch
        self._of: dict[tuple[str, str], Reign] = {}  # by shard and life: its latest
        self._by_history: dict[str, list[Reign]] = {}

    def begins(
        self,
        reign: Reign,
        *,
        continued: str,
        offset: int,
        witness: str,
        alive: frozenset[str],
        counted_on: frozenset[str],
    ) -> None:
        """Somebody takes office.

        Args:
            reign: with the keys it begins with.
            continued: the history its data comes from; one that no primary wrote when it has none.
            offset: up to where.
            witness: who, beside it, has a copy in sync and could have been asked; '' for nobody.
            alive: lives that have not ended.
            counted_on: lives of those in the in-sync set until now. Who is empty and finds all of them empty
                may lead: a copy outside of the set has no claim, since nobody knows what it lacks.
        Raises:
            Violation: its data is not what that history says.
        """
        before = self._present.get(reign.shard)
        # Who stood still may learn of its election when a later one has been held: it leads for a moment,
        # without a lease, and nobody continues that or loses by it.
        belated = before is not None and reign.epoch < before.epoch
        if not belated:
            self._present[reign.shard] = reign
        self._of[reign.shard, reign.life] = reign
        self._by_history.setdefault(reign.history, []).append(reign)
        expected: State = {}
        source = self._source(continued, reign)
        if source is not None:
            expected = source.state_at(offset)
            reign.inherited = [each for each in source.inherited + source.writes if each.offset <= offset]
            reign.began = offset
            reign.copies = {life: min(offset, held) for life, held in source.copies.items()}
            reign.copies[reign.life] = offset
            if not belated:
                self._count_lost(before, source, offset, alive)
        elif before is not None:
            if reign.epoch <= before.epoch:
                raise Violation(
                    f"prefix: {reign.life} serves shard {reign.shard} with nothing, in epoch {reign.epoch},"
                    f" as if it had not been {before.life}'s with {len(before.writes)} writes"
                )
            if witness:
                raise Violation(
                    f"prefix: {reign.life} takes office in shard {reign.shard} epoch {reign.epoch} with"
                    f" nothing, though {witness} has a copy"
                )
            self._count_lost(before, None, 0, alive & counted_on)
        if dict(reign.initial) != expected:
            raise Violation(
                f"prefix: {reign.life} takes office in shard {reign.shard} epoch {reign.epoch} at offset"
                f" {offset}: {_difference(reign.initial, expected)}"
            )

    def executes(self, shard: str, life: str, write: Written) -> None:
        """A primary of it executed a write."""
        self._of[shard, life].writes.append(write)

    def knows(self, history: str) -> bool:
        """Whether a primary wrote under this id."""
        return history in self._by_history

    def acknowledges(self, shard: str, write: Written, life: str, holders: tuple[str, ...]) -> None:
        """Its client is told that a write was done.

        Args:
            holders: lives that have it at this moment, or had it when they ended.
        Raises:
            Violation: fewer than its primary promised.
        """
        write.acknowledged = True
        reign, present = self._of[shard, life], self._present[shard]
        if present is not reign and any(each is write for each in present.inherited):
            # The reply was ready, stood still with its primary, and leaves after several successors: their
            # histories' ids do not go back so far, but they have it.
            holders = (*holders, present.life)
        copies = reign.copies
        for holder in holders:
            copies[holder] = write.offset
        if self._durability == "quorum" and len(holders) < COPIES_MIN:
            raise Violation(
                f"acknowledged: {life} acknowledged a write to key {write.key.decode()} at offset"
                f" {write.offset} that only {', '.join(holders) or 'nobody'} had"
            )

    def present(self, shard: str) -> Reign | None:
        return self._present.get(shard)

    def check_copy(
        self, life: str, shard: str, history: str, offset: int, keys: Mapping[bytes, bytes]
    ) -> None:
        """A replica that says it stands at `offset` of `history` holds these keys.

        Raises:
            Violation: they are others.
        """
        reign = self._present.get(shard)
        if reign is None or reign.history != history:
            return
        expected = reign.state_at(offset)
        if dict(keys) != expected:
            raise Violation(
                f"prefix: replica {life} of shard {shard} at offset {offset} of {reign.life}:"
                f" {_difference(keys, expected)}"
            )

    def _source(self, history: str, reign: Reign) -> Reign | None:
        """Who wrote it: usually one; its primary again, when it was decided anew."""
        found = [each for each in self._by_history.get(history, ()) if each is not reign]
        return found[-1] if found else None

    def _count_lost(
        self, before: Reign | None, source: Reign | None, offset: int, alive: frozenset[str]
    ) -> None:
        """What all who had it lost, nobody can keep; with `quorum` everything else must be there."""
        if before is None:
            return
        written = before.inherited + before.writes
        lost = [each for each in written if each.acknowledged and (source is None or each.offset > offset)]
        self.lost += len(lost)
        if self._durability != "quorum":
            return
        if lost:
            self.bereft.add(before.shard)
        for write in lost:
            keepers = [life for life, held in before.copies.items() if held >= write.offset and life in alive]
            if keepers:
                raise Violation(
                    f"acknowledged: {len(lost)} writes to shard {before.shard} that were acknowledged up to"
                    f" epoch {before.epoch} of {before.life} are forgotten, one of them to key"
                    f" {write.key.decode()} at offset {write.offset}, which {', '.join(keepers)} had"
                )


def _difference(found: Mapping[bytes, bytes], expected: Mapping[bytes, bytes]) -> str:
    for key in sorted({*found, *expected}):
        has, wanted = found.get(key), expected.get(key)
        if has != wanted:
            return f"key {key.decode()} is {_shown(has)} and should be {_shown(wanted)}"
    return "the same"


def _shown(value: bytes | None) -> str:
    return "missing" if value is None else value.decode("latin-1")
