"""Is the history of one key linearizable: could all of it have happened one after the other, each operation
at some moment between its call and its reply?

Two ways to tell. `register_trouble` is for a register that is only written and read, and where no value is
written twice: then all operations with one value form a *zone*, and a few comparisons of zones decide, in
n log n (Gibbons and Korach, "Testing shared memories", 1997). `search_trouble` is for anything that has a
sequential model: it tries orders, depth first, and never twice the same set of operations with the same state
(Wing and Gong 1993; the memory is Lowe's, "Testing for linearizability", 2017). It may take exponential time,
so it is bounded, and not to have finished counts as a failure: silence must not pass for success.

Times are moments: any numbers that rise, no two of one history equal.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

PENDING: Final = 1 << 62
"""The end of an operation that nobody heard of again: it may happen at any time, or never."""
BEFORE: Final = -1
STEPS_MAX: Final = 200_000

State: TypeAlias = bytes | None


@dataclass(slots=True)
class Operation:
    """Attributes:
    kind: 'write', 'read' or 'increment'.
    value: that was written or read, None for a missing key; of an increment: its result, None unknown.
    began, ended: moments.
    asked: it was sent to somebody.
    """

    kind: str
    value: State
    began: int
    ended: int
    asked: bool = False

    def __str__(self) -> str:
        until = "?" if self.ended == PENDING else str(self.ended)
        return (
            f"{self.kind} {'nothing' if self.value is None else self.value.decode()} [{self.began}, {until}]"
        )


@dataclass(slots=True)
class _Zone:
    value: State
    first_end: int
    last_begin: int
    written: int


def register_trouble(operations: Iterable[Operation], initial: State) -> str:
    """'' when the history is linearizable, else what is wrong.

    Args:
        operations: reads that ended, and writes; every value is written once at most.
        initial: what was there before.
    Raises:
        ValueError: a value was written twice, or an operation is neither read nor write.
    """
    zones = {initial: _Zone(initial, BEFORE, BEFORE, BEFORE)}
    reads: list[Operation] = []
    for operation in operations:
        if operation.kind == "read":
            reads.append(operation)
        elif operation.kind != "write":
            raise ValueError(f"a register knows no {operation.kind}")
        elif operation.value in zones:
            raise ValueError(f"{operation.value!r} was written twice")
        else:
            began, ended = operation.began, operation.ended
            zones[operation.value] = _Zone(operation.value, ended, began, began)
    for read in reads:
        zone = zones.get(read.value)
        if zone is None:
            return f"{read} found what nobody wrote"
        if read.ended < zone.written:
            return f"{read} found what was written later, from {zone.written} on"
        zone.first_end = min(zone.first_end, read.ended)
        zone.last_begin = max(zone.last_begin, read.began)
    forward = sorted(
        (zone for zone in zones.values() if zone.first_end < zone.last_begin), key=lambda zone: zone.first_end
    )
    for one, other in pairwise(forward):
        if other.first_end < one.last_begin:
            return (
                f"{_named(one)} was there from {one.first_end} until {one.last_begin}, and {_named(other)}"
                f" from {other.first_end} until {other.last_begin}"
            )
    starts = [zone.first_end for zone in forward]
    for zone in zones.values():
        if zone.first_end < zone.last_begin:
            continue
        place = bisect_right(starts, zone.last_begin) - 1
        if place >= 0 and zone.first_end < forward[place].last_begin:
            around = forward[place]
            return (
                f"{_named(zone)} must have been there at some time from {zone.last_begin} until "
                f"{zone.first_end}, but {_named(around)} was there from {around.first_end} until "
                f"{around.last_begin}"
            )
    return ""


def _named(zone: _Zone) -> str:
    return "no value" if zone.value is None else f"value {zone.value.decode()}"


Step: TypeAlias = Callable[[State, Operation], "tuple[bool, State]"]


def counter_step(state: State, operation: Operation) -> tuple[bool, State]:
    """The model of a key under SET, GET and INCR: whether the operation may happen now, and what is then."""
    if operation.kind == "read":
        return operation.value == state, state
    if operation.kind == "write":
        return True, operation.value
    result = b"%d" % (int(state or b"0") + 1)
    return operation.value is None or operation.value == result, result


def search_trouble(
    operations: Iterable[Operation], initial: State, step: Step, steps_max: int = STEPS_MAX
) -> str:
    """'' when some order of the operations fits the model, else what is wrong.

    Args:
        step: the sequential model.
        steps_max: how many times it may be asked; more, and the history counts as not linearizable.
    """
    history = sorted(operations, key=lambda operation: operation.began)
    must = sum(1 << index for index, operation in enumerate(history) if operation.ended != PENDING)
    seen: set[tuple[int, State]] = {(0, initial)}
    stack: list[tuple[int, int, State]] = [(0, 0, initial)]  # first index not done, all done, state
    steps, furthest, stuck_at = 0, -1, ""
    while stack:
        first, done, state = stack.pop()
        if done & must == must:
            return ""
        while done >> first & 1:
            first += 1
        if first > furthest:
            furthest, stuck_at = first, str(history[first])
        soonest = PENDING
        alike: set[tuple[str, State]] = (
            set()
        )  # of pending operations that differ in nothing the first goes first
        for index in range(first, len(history)):
            operation = history[index]
            if operation.began > soonest:
                break  # something that is not done yet ended before it began, and so for all that follow
            if done >> index & 1:
                continue
            soonest = min(soonest, operation.ended)
            if operation.ended == PENDING:
                if (operation.kind, operation.value) in alike:
                    continue
                alike.add((operation.kind, operation.value))
            steps += 1
            if steps > steps_max:
                return f"no order found in {steps_max} steps, which counts as none; furthest: {stuck_at}"
            fits, after = step(state, operation)
            reached = (done | 1 << index, after)
            if fits and reached not in seen:
                seen.add(reached)
                stack.append((first, *reached))
    return f"no order of {len(history)} operations fits; none gets beyond {stuck_at}"
