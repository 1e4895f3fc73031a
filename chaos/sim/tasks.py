"""Coroutines without trio: those of the node that only wait for a decision.

A coroutine runs until it awaits a `Pending`, and goes on when that is settled. Who settles it decides when:
in the simulator always an event of the member's own life, so that a coroutine ends with its process.
"""

from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

from chaos.sim.streams import End
from node.errands import Errands, Line

T = TypeVar("T")


class Pending(Generic[T]):
    """Something that will be known later. One coroutine may await it."""

    def __init__(self) -> None:
        self._value: T | None = None
        self._error: Exception | None = None
        self.settled = False
        self._go_on: Callable[[], None] | None = None

    def settle(self, value: T) -> None:
        self._value = value
        self._end()

    def fail(self, error: Exception) -> None:
        self._error = error
        self._end()

    def _end(self) -> None:
        self.settled = True
        if self._go_on is not None:
            self._go_on()

    def __await__(self) -> Generator[Callable[[Callable[[], None]], None], None, T]:
        if not self.settled:
            yield self._then
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]  # settled without an error: it is a T

    def _then(self, go_on: Callable[[], None]) -> None:
        self._go_on = go_on


def run_task(coroutine: Coroutine[Any, Any, None]) -> Callable[[], None]:
    """Begins it now; the rest follows from what it awaits. Returns what ends it early."""
    over = False

    def go_on() -> None:
        nonlocal over
        if over:
            return
        try:
            wait = coroutine.send(None)
        except StopIteration:
            over = True
            return
        wait(go_on)

    def give_up() -> None:
        nonlocal over
        over = True
        coroutine.close()

    go_on()
    return give_up


class SimulatedLine:
    """A connection of an errand under virtual time; implements node.errands.Line."""

    def __init__(self, end: End, soon: Callable[[Callable[[], None]], None]) -> None:
        self._end, self._soon = end, soon
        self._received = b""
        self._last = b""
        self._answer: Pending[bytes] | None = None
        end.hear = self._hear
        end.gone = self._gone

    async def ask(self, request: bytes, last: bytes) -> bytes:
        if not self._end.open:
            raise OSError("the connection broke")
        self._received, self._last = b"", last
        self._answer = Pending()
        self._end.send(request)
        return await self._answer

    async def close(self) -> None:
        self._answer = None
        self._end.close()

    def _hear(self, data: bytes) -> None:
        self._received += data
        if self._answer is not None and self._received.endswith(self._last):
            answer, self._answer, received = self._answer, None, self._received
            self._soon(lambda: answer.settle(received))

    def _gone(self, _reset: bool) -> None:
        if self._answer is not None:
            answer, self._answer = self._answer, None
            self._soon(lambda: answer.fail(OSError("the connection broke")))


class SimulatedErrands(Errands):
    """The node's own errands, each begun by `later`; clients have none here.

    Args:
        later: runs what it is given after so many ms, unless the process has ended by then.
        dial: makes a connection, as `Process.dial`.
    """

    def __init__(
        self,
        later: Callable[[int, Callable[[], None]], None],
        dial: Callable[[str, int, Callable[[End | None], None]], None],
    ) -> None:
        super().__init__()
        self._later, self._dial = later, dial

    def start_own(self, errand: Callable[[], Awaitable[None]], *, urgent: bool = False) -> bool:
        del urgent
        self._later(0, lambda: self._begin(errand()))
        return True

    def _begin(self, work: Awaitable[None]) -> None:
        async def do() -> None:
            await work

        run_task(do())

    async def pause(self, pause_ms: int) -> None:
        over: Pending[None] = Pending()
        self._later(pause_ms, lambda: over.settle(None))
        await over

    async def within(self, limit_ms: int, work: Awaitable[None]) -> bool:
        done: Pending[bool] = Pending()

        async def do() -> None:
            await work
            if not done.settled:
                done.settle(True)

        give_up = run_task(do())

        def late() -> None:
            if not done.settled:
                give_up()
                done.settle(False)

        self._later(limit_ms, late)
        return await done

    async def dial(self, host: str, port: int) -> Line:
        answer: Pending[End | None] = Pending()
        self._dial(host, port, lambda end: self._soon(lambda: answer.settle(end)))
        end = await answer
        if end is None:
            raise OSError("refused")
        return SimulatedLine(end, self._soon)

    def _soon(self, do: Callable[[], None]) -> None:
        self._later(0, do)
