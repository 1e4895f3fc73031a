"""Which promises were broken: acknowledged writes that are not there afterwards."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chaos.client import Outcome
from chaos.workloads.history import Write


class NotRead(Exception):
    """An acknowledged write was not looked up, so nothing can be said about it."""


@dataclass(frozen=True, slots=True)
class Loss:
    """An acknowledged write and what was found in its place (None: nothing)."""

    write: Write
    found: bytes | None


def missing_writes(writes: Iterable[Write], found: Mapping[bytes, bytes | None]) -> list[Loss]:
    """The acknowledged writes whose key does not hold their value, in the order they were recorded.

    Writes with another outcome are never losses: not applied promises nothing, and unknown may be either.

    Raises:
        NotRead: `found` says nothing about an acknowledged key; a check with holes must not pass.
    """
    losses = []
    for each in writes:
        if each.outcome is not Outcome.ACKNOWLEDGED:
            continue
        if each.key not in found:
            raise NotRead(f"{each.key!r} was acknowledged and never read back")
        if found[each.key] != each.value:
            losses.append(Loss(each, found[each.key]))
    return losses


def ghosts(writes: Iterable[Write], found: Mapping[bytes, bytes | None]) -> list[Write]:
    """Writes that the server refused as not applied and that are there nevertheless: a false refusal."""
    return [
        each for each in writes if each.outcome is Outcome.NOT_APPLIED and found.get(each.key) is not None
    ]
