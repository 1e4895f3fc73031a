"""Coroutines without trio: those of the node that only wait for a decision.

A coroutine runs until it awaits a `Pending`, and goes on when that is settled. Who settles it decides when:
in the simulator always an event of the member's own life, so that a coroutine ends with its process.
"""

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from node.errands import Errands

T = TypeVar("T")


class Pending(Generic[T]):
    """Something that will be known later. One coroutine may await it."""

    def __init__(self) -> None:
        self._value: T | None = None
        self._error: Exception | None = None
        self._settled = False
        self._go_on: Callable[[], None] | None = None

    def settle(self, value: T) -> None:
        self._value = value
        self._end()

    def fail(self, error: Exception) -> None:
        self._error = error
        self._end()

    def _end(self) -> None:
        self._settled = True
        if self._go_on is not None:
            self._go_on()

    def __await__(self) -> Generator[Callable[[Callable[[], None]], None], None, T]:
        if not self._settled:
            yield self._then
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # settled without an error: it is a T

    def _then(self, go_on: Callable[[], None]) -> None:
        self._go_on = go_on


def run_task(coroutine: Coroutine[Any, Any, None]) -> None:
    """Begins it now; the rest follows from what it awaits."""

    def go_on() -> None:
        try:
            wait = coroutine.send(None)
        except StopIteration:
            return
        wait(go_on)

    go_on()


class SimulatedErrands(Errands):
    """The node's own errands, each begun by `later`; clients have none here.

    Args:
        later: runs what it is given soon, unless the process has ended by then.
    """

    def __init__(self, later: Callable[[Callable[[], None]], None]) -> None:
        super().__init__()
        self._later = later

    def start_own(self, errand: Callable[[], Awaitable[None]], *, urgent: bool = False) -> bool:
        del urgent

        async def do() -> None:
            await errand()

        self._later(lambda: run_task(do()))
        return True
