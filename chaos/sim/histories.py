"""What clients saw, and whether their mode of durability allows it.

`quorum`: the history of each key is linearizable, whatever failed over.
`async`: a failover may lose the last moments. So each primary's time in office is looked at by itself: what
was answered under it is linearizable, beginning with the value that it began with (that this is a prefix of
what its predecessor had is for checkers/reigns.py); and nothing is answered under an office once somebody
was answered under a later one.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

from chaos.checkers.linearizable import PENDING, Operation, counter_step, register_trouble, search_trouble
from chaos.sim.checkers import Violation


@dataclass(frozen=True, slots=True)
class Key:
    """A key that clients use.

    Attributes:
        kind: 'register': SET with values that are never repeated, and GET; 'counter': INCR and GET;
            'lapsing': SET with a time to live, and GET, all by one client.
    """

    name: bytes
    slot: int
    shard: str
    kind: str


@dataclass(frozen=True, slots=True)
class Office:
    """Under whom something was answered."""

    epoch: int
    life: str


@dataclass(frozen=True, slots=True)
class Seen:
    """One operation and under whom it was answered; nobody when it never was. `life`: of whom it was
    asked."""

    operation: Operation
    office: Office | None
    life: str


class Histories:
    """Of all keys. `count`: operations that ended well."""

    def __init__(self) -> None:
        self.count = 0
        self._seen: dict[Key, list[Seen]] = {}
        self._began_with: dict[tuple[str, Office], Mapping[bytes, bytes]] = {}

    def add(self, key: Key, operation: Operation, office: Office | None, life: str) -> None:
        """An operation is over, or given up (`office` None: unknown). `life`: of the process it was asked
        of."""
        self.count += office is not None
        self._seen.setdefault(key, []).append(Seen(operation, office, life))

    def begins(self, shard: str, office: Office, keys: Mapping[bytes, bytes]) -> None:
        """An office was taken, with these keys."""
        self._began_with[shard, office] = keys

    def check(self, durability: str, bereft: Container[str]) -> None:
        """Raises Violation.

        Args:
            bereft: shards that lost writes with everybody who had them; nothing better than `async` holds
            there.
        """
        for key, seen in self._seen.items():
            if durability == "quorum" and key.shard not in bereft:
                self._judge(key, [each.operation for each in seen], None, "")
            else:
                self._check_offices(key, seen)

    def _check_offices(self, key: Key, seen: list[Seen]) -> None:
        offices = sorted({each.office for each in seen if each.office is not None}, key=lambda o: o.epoch)
        unknown = [each for each in seen if each.office is None]
        soonest = PENDING
        for office in reversed(offices):
            answered = [each.operation for each in seen if each.office == office]
            late = max(operation.began for operation in answered)
            if late > soonest:
                raise Violation(
                    f"linearizable: key {key.name.decode()}: {office.life} answered under epoch"
                    f" {office.epoch} what was asked at moment {late}, after a later office had answered"
                    f" at {soonest}"
                )
            soonest = min(soonest, *(operation.ended for operation in answered))
            initial = self._began_with[key.shard, office].get(key.name)
            maybe = [
                each.operation
                for each in unknown
                if each.life == office.life
                and (each.operation.kind != "write" or each.operation.value != initial)
            ]
            self._judge(key, answered + maybe, initial, f" under {office.life}, epoch {office.epoch}")

    def _judge(self, key: Key, operations: list[Operation], initial: bytes | None, where: str) -> None:
        if key.kind == "register":
            trouble = register_trouble(operations, initial)
        else:
            trouble = search_trouble(operations, initial, counter_step)
        if trouble:
            raise Violation(f"linearizable: key {key.name.decode()}{where}: {trouble}")
