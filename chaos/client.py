"""A small asynchronous cluster client that knows what it does not know.

Ordinary clients retry until a write succeeds and tell the caller so. A checker needs the opposite: every
attempt answered with exactly one of *acknowledged*, *not applied*, *unknown*, and the last two never blurred:

    the server answered OK                                        acknowledged
    nothing was sent, or the server refused before it executed    not applied
    it was sent and no answer came                                unknown

A `Connection` belongs to one task. A request cut short by a timeout or a cancellation leaves an answer on its
way that nobody waits for, so the connection is closed then: replies never shift.
"""

import enum
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import trio

from chaos.resp import ErrorReply, ProtocolError, Reply, ReplyParser, encode_command
from chaos.topology import (
    Address,
    BadView,
    SlotMap,
    moved_target,
    parse_slots,
)
from gossip.slots import slot_of

RECEIVE_BYTES: Final = 64 * 1024
REDIRECTS_MAX: Final = 5
# Errors that a server gives before it executes anything. An error that is not listed counts as unknown.
REFUSALS: Final = frozenset(
    {
        "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "CROSSSLOT", "LOADING", "READONLY", "MASTERDOWN",
        "NOREPLICAS", "OOM", "MISCONF", "NOAUTH", "NOPERM", "WRONGTYPE", "BUSY",
    }
)  # fmt: skip


class NotConnected(Exception):
    """No connection could be made; nothing was sent."""


class ConnectionLost(Exception):
    """The connection broke or fell silent after a request was sent; whether it was executed is unknown."""


class Outcome(enum.Enum):
    ACKNOWLEDGED = "acknowledged"
    NOT_APPLIED = "not applied"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one write came to, and why (an error text, or what happened to the connection)."""

    outcome: Outcome
    detail: str = ""


class Connection:
    """One connection to one node; requests one after another or in a pipeline."""

    def __init__(self, stream: trio.SocketStream, address: Address) -> None:
        self.address = address
        self._stream = stream
        self._parser = ReplyParser()
        self.usable = True

    @classmethod
    async def open(cls, address: Address, timeout_ms: float) -> Self:
        """Connects.

        Raises:
            NotConnected: refused, unreachable, or no answer within `timeout_ms`.
        """
        try:
            with trio.fail_after(timeout_ms / 1000):
                stream = await trio.open_tcp_stream(address.host, address.port)
        except trio.TooSlowError:
            raise NotConnected(f"{address} does not accept a connection within {timeout_ms:.0f} ms") from None
        except OSError as error:
            raise NotConnected(f"{address}: {_reason(error)}") from None
        return cls(stream, address)

    async def request(self, *words: bytes | str | int, timeout_ms: float) -> Reply:
        """Sends one command and waits for its reply. An error reply is returned, not raised.

        Raises:
            ConnectionLost: closed, reset or silent for `timeout_ms`; the connection is closed.
        """
        return (await self.pipeline([encode_command(*words)], timeout_ms=timeout_ms))[0]

    async def pipeline(self, commands: Sequence[bytes], *, timeout_ms: float) -> list[Reply]:
        """Sends encoded commands in one piece and waits for as many replies.

        Raises:
            ConnectionLost: closed, reset or silent for `timeout_ms`; the connection is closed.
        """
        whole = False
        try:
            with trio.fail_after(timeout_ms / 1000):
                await self._stream.send_all(b"".join(commands))
                replies: list[Reply] = []
                while len(replies) < len(commands):
                    data = await self._stream.receive_some(RECEIVE_BYTES)
                    if not data:
                        raise ConnectionLost(f"{self.address} closed the connection")
                    replies += self._parser.feed(data)
            whole = len(replies) == len(commands)
        except trio.TooSlowError:
            raise ConnectionLost(f"{self.address} did not answer within {timeout_ms:.0f} ms") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            cause = error.__cause__
            reason = _reason(cause) if isinstance(cause, OSError) else "the connection broke"
            raise ConnectionLost(f"{self.address}: {reason}") from None
        except ProtocolError as error:
            raise ConnectionLost(f"{self.address}: {error}") from None
        finally:
            if not whole:  # also when we were cancelled: answers may still be on their way
                self.abandon()
        if not whole:
            raise ConnectionLost(f"{self.address} sent more replies than were asked for")
        return replies

    def abandon(self) -> None:
        """Closes at once, without waiting for anything."""
        self.usable = False
        self._stream.socket.close()


def _reason(error: OSError) -> str:
    """trio wraps refused connections once per address tried; the innermost reason is the useful one."""
    inner = error.__cause__
    if isinstance(inner, BaseExceptionGroup):
        inner = inner.exceptions[0]
    if isinstance(inner, OSError):
        error = inner
    return os.strerror(error.errno) if error.errno else str(error)


class ClusterClient:
    """Follows a cluster from any of its members. One task uses it at a time.

    Args:
        seeds: addresses to begin with, and to come back to when nobody else answers.
        op_timeout_ms: for one request, from its first byte to its reply.
        refresh_interval_ms: the map is not asked for more often than this, however much fails.
    """

    def __init__(
        self, seeds: Iterable[Address], *, op_timeout_ms: float = 250.0, refresh_interval_ms: float = 25.0
    ) -> None:
        self.seeds = tuple(seeds)
        self.op_timeout_ms = op_timeout_ms
        self.slots = SlotMap()
        self._refresh_interval_ms = refresh_interval_ms
        self._next_refresh_at = 0.0
        self._turn = 0
        self._connections: dict[Address, Connection] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for connection in self._connections.values():
            connection.abandon()
        self._connections.clear()

    async def connection(self, address: Address) -> Connection:
        """The open connection to `address`, or a new one.

        Raises:
            NotConnected: see Connection.open.
        """
        known = self._connections.get(address)
        if known is not None and known.usable:
            return known
        fresh = await Connection.open(address, self.op_timeout_ms)
        self._connections[address] = fresh
        return fresh

    async def refresh(self) -> bool:
        """Asks one member after another for the slots until one answers. False: nobody did."""
        await trio.sleep_until(self._next_refresh_at)
        self._next_refresh_at = trio.current_time() + self._refresh_interval_ms / 1000
        candidates = list(dict.fromkeys([*self.slots.known, *self.seeds]))
        self._turn += 1  # a different first choice each time: a frozen member must not cost every refresh
        for index in range(len(candidates)):
            address = candidates[(index + self._turn) % len(candidates)]
            try:
                connection = await self.connection(address)
                reply = await connection.request("CLUSTER", "SLOTS", timeout_ms=self.op_timeout_ms)
                ranges = parse_slots(reply, address)
            except (NotConnected, ConnectionLost, BadView):
                continue
            if ranges:
                self.slots.learn(ranges)
                return True
        return False

    async def write(self, *words: bytes | str | int, key: bytes) -> Answer:
        """Sends one write to the owner of `key`, following redirections, and says what became of it.

        It is sent again only after an answer that proves it was not executed. After a failure the map is
        refreshed, so that the next write has a better chance; this one is not repeated.
        """
        command = encode_command(*words)
        slot = slot_of(key)
        if self.slots.owner(slot) is None:
            await self.refresh()
        address, asking = self.slots.owner(slot), False
        for _ in range(REDIRECTS_MAX):
            if address is None:
                await self.refresh()
                return Answer(Outcome.NOT_APPLIED, f"nobody is known to serve slot {slot}")
            try:
                connection = await self.connection(address)
                commands = [encode_command("ASKING"), command] if asking else [command]
                reply = (await connection.pipeline(commands, timeout_ms=self.op_timeout_ms))[-1]
            except NotConnected as error:
                await self.refresh()
                return Answer(Outcome.NOT_APPLIED, str(error))
            except ConnectionLost as error:
                await self.refresh()
                return Answer(Outcome.UNKNOWN, str(error))
            if not isinstance(reply, ErrorReply):
                return Answer(Outcome.ACKNOWLEDGED)
            if reply.code not in ("MOVED", "ASK"):
                await self.refresh()
                refused = reply.code in REFUSALS
                return Answer(Outcome.NOT_APPLIED if refused else Outcome.UNKNOWN, f"{address}: {reply.text}")
            try:
                slot, address = moved_target(reply.text, address)
            except BadView as error:
                return Answer(Outcome.NOT_APPLIED, str(error))
            asking = reply.code == "ASK"
            if not asking:
                self.slots.moved(slot, address)
        await self.refresh()
        return Answer(Outcome.NOT_APPLIED, f"slot {slot}: still redirected after {REDIRECTS_MAX} attempts")

    async def read_all(
        self, keys: Sequence[bytes], *, batch: int = 200, limit_ms: float = 30_000.0
    ) -> dict[bytes, bytes | None]:
        """GET of every key, in pipelines per owner; what cannot be read is asked again until `limit_ms`.

        Reading changes nothing, so unlike a write it may be repeated.

        Raises:
            TimeoutError: some keys could not be read at all; the last reason is in the text.
        """
        found: dict[bytes, bytes | None] = {}
        deadline = trio.current_time() + limit_ms / 1000
        missing = list(keys)
        reason = "never asked"
        while missing:
            groups: dict[Address | None, list[bytes]] = {}
            for key in missing:
                groups.setdefault(self.slots.owner(slot_of(key)), []).append(key)
            missing = []
            for address, group in groups.items():
                for start in range(0, len(group), batch):
                    part = group[start : start + batch]
                    unread, why = await self._read_part(address, part, found)
                    missing += unread
                    reason = why or reason
            if missing:
                if trio.current_time() >= deadline:
                    raise TimeoutError(
                        f"{len(missing)} of {len(keys)} keys could not be read within "
                        f"{limit_ms / 1000:.0f} s: {reason}"
                    )
                await self.refresh()
        return found

    async def _read_part(
        self, address: Address | None, part: list[bytes], found: dict[bytes, bytes | None]
    ) -> tuple[list[bytes], str]:
        """One pipeline of GETs; answers go to `found`. Returns the keys left unread, and why."""
        if address is None:
            return part, "no owner is known"
        try:
            connection = await self.connection(address)
            # a pipeline takes longer than one operation: each waits for those before it
            replies = await connection.pipeline(
                [encode_command("GET", key) for key in part], timeout_ms=self.op_timeout_ms * 8
            )
        except (NotConnected, ConnectionLost) as error:
            return part, str(error)
        unread, why = [], ""
        for key, reply in zip(part, replies, strict=True):
            if reply is None or isinstance(reply, bytes):
                found[key] = reply
            else:
                unread.append(key)
                why = reply.text if isinstance(reply, ErrorReply) else f"{address} answers GET with {reply!r}"
        return unread, why
