"""Work on behalf of clients that wait: a command whose answer needs other members; and how such work waits.

A handler cannot await. It hands a coroutine function to `start`, which answers BLOCKED; the client's session
stands still until the errand has ended and its reply is given to `unblock`. Everybody else is served
meanwhile. Errands run under one nursery, at most `limit` at a time; more are refused, since each holds a
client and perhaps a round of votes.

What an errand waits for beside decisions (a pause, a deadline, an answer over a connection) it asks `Errands`
for, so that the same errands run under virtual time in the simulator.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import trio

from gossip.register import NoMajority, Refused
from node.engine.reply import BLOCKED, CommandError, Failure, Reply

if TYPE_CHECKING:
    from node.engine.session import Session

log = logging.getLogger("grapevine.errands")

Errand: TypeAlias = Callable[[], Awaitable[Reply]]

ERRANDS_MAX: Final = 64
URGENT_MAX: Final = 16  # more of those at a time would be a bug of ours

ANSWER_BYTES_MAX: Final = 64 << 10


async def pause(pause_ms: int) -> None:
    """Lets time pass."""
    await trio.sleep(pause_ms / 1000)


class Line(Protocol):
    """A connection to another node's client port, as ordinary as any client's."""

    async def ask(self, request: bytes, last: bytes) -> bytes:
        """The answers to `request`, of which the last one is `last`.

        Raises:
            OSError: the connection broke, or something else is answered.
        """

    async def close(self) -> None: ...


class _SocketLine:
    """A real one."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream

    async def ask(self, request: bytes, last: bytes) -> bytes:
        answer = b""
        try:
            await self._stream.send_all(request)
            while not answer.endswith(last):
                data = await self._stream.receive_some(ANSWER_BYTES_MAX)
                if not data or len(answer) > ANSWER_BYTES_MAX:
                    raise OSError("it answers something else")
                answer += data
        except trio.BrokenResourceError as error:
            raise OSError("the connection broke") from error
        return answer

    async def close(self) -> None:
        await self._stream.aclose()


_Order: TypeAlias = "tuple[Session, Errand] | tuple[None, Callable[[], Awaitable[None]]]"


class Errands:
    """Start `run` with `nursery.start`; `start` may be called from then on."""

    def __init__(self, limit: int = ERRANDS_MAX) -> None:
        self._limit = limit
        self._running = 0
        self._send, self._receive = trio.open_memory_channel[_Order](limit + URGENT_MAX)

    @property
    def running(self) -> int:
        return self._running

    def start(self, session: Session, errand: Errand) -> Reply:
        """Lets the client wait for `errand`; return what this returns.

        Raises:
            CommandError: inside MULTI, or when too many run already; nothing was started.
        """
        if not session.may_block:
            raise CommandError("ERR a command that changes the cluster cannot run inside a transaction")
        if self._running >= self._limit:
            raise CommandError(
                f"ERR not applied: {self._limit} changes of the cluster are under way on this node; try again"
            )
        self._running += 1
        self._send.send_nowait((session, errand))
        return BLOCKED

    def start_own(self, errand: Callable[[], Awaitable[None]], *, urgent: bool = False) -> bool:
        """Work of our own, for no client, under the same nursery; False when there is no room just now.

        Args:
            urgent: there always is. For what cannot be left out, and of which there is never much.
        """
        if self._running >= self._limit and not urgent:
            return False
        self._running += 1
        self._send.send_nowait((None, errand))
        return True

    async def pause(self, pause_ms: int) -> None:
        """Time passes."""
        await pause(pause_ms)

    async def within(self, limit_ms: int, work: Awaitable[None]) -> bool:
        """Does `work`; False when it is given up because it takes longer than `limit_ms`."""
        with trio.move_on_after(limit_ms / 1000) as scope:
            await work
        return not scope.cancelled_caught

    async def dial(self, host: str, port: int) -> Line:
        """Raises OSError: nobody there."""
        return _SocketLine(await trio.open_tcp_stream(host, port))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Does errands until cancelled; those under way end with it and their clients are not answered."""
        async with trio.open_nursery() as nursery:
            task_status.started()
            async for order in self._receive:
                if order[0] is None:
                    nursery.start_soon(self._do_own, order[1])
                else:
                    nursery.start_soon(self._do, *order)

    async def _do_own(self, errand: Callable[[], Awaitable[None]]) -> None:
        try:
            await errand()
        finally:
            self._running -= 1

    async def _do(self, session: Session, errand: Errand) -> None:
        try:
            reply = await errand()
        except CommandError as error:
            reply = error.failure
        except Refused as refusal:
            reply = Failure(f"ERR {refusal}".encode())
        except NoMajority as error:
            log.warning("%s", error)
            reply = Failure(f"CLUSTERDOWN {error}".encode())
        finally:
            self._running -= 1
        session.unblock(reply)
