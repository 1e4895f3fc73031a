"""Conversations over TCP: meeting, joining, exchanging state, fetching registers. Part of the trio shell.

    asker                                     answerer
      | -- Meet ------------------------------> |   judge_meeting decides
      | <- MeetAnswer(adopt-mine) ------------- |   from here on it must keep its cluster id: it is a host
      | -- Fetch -----------------------------> |
      | <- Exchange* -------------------------- |   everything it knows
      |  moves into that cluster, saves         |
      | -- Exchange* -------------------------> |   now as a member
      | <- Exchange* -------------------------- |

With `adopting-yours` the answerer opens a connection of its own and plays the asker's part from Fetch on;
with `same` both just exchange. Every conversation is short, under one deadline, and a connection that had
any trouble is closed. What a peer does wrong ends here as a counted drop.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Final, TypeAlias

import trio

from gossip import meeting
from gossip.config import GossipConfig
from gossip.errors import PeerError
from gossip.exchange import CHUNKS_MAX, as_value
from gossip.messages import (
    Address,
    Codec,
    Envelope,
    Exchange,
    Fetch,
    Meet,
    MeetAnswer,
    Message,
    Record,
    RegisterNews,
    RegisterRound,
)
from gossip.transport import FrameReader, family_of, is_refused, resolve, send_frame
from gossip.views import check_content
from gossip.votes import VOTERS, MessageError, Value, VoterSet

CHECKS_MAX: Final = 16
EXCHANGES_MAX: Final = 8
ERRANDS_WAITING_MAX: Final = 32
MEETING_PAUSE_MS: Final = 250
JOIN_PAUSE_MS: Final = 250
JOIN_PAUSE_MAX_MS: Final = 2_000

Errand: TypeAlias = Callable[[Address], Awaitable[None]]
Half: TypeAlias = tuple[tuple[Record, ...], tuple[RegisterNews, ...]]

_log = logging.getLogger("grapevine.gossip")


class TryAgain(Exception):
    """A meeting came at a bad moment: one side is in the middle of another one. Nothing happened."""


class MeetRefused(Exception):
    """The two clusters must not be merged. The text names both and says what to do."""


@dataclass(frozen=True, slots=True)
class Ties:
    """What conversations need of the member that holds them.

    Attributes:
        codec: of our cluster; its id changes when we move.
        speak: wraps a message in our name and vitals.
        half: our half of an exchange. take: takes the other's, told by the member of that id.
        standing: of our cluster, going by the lists alone.
        know: whether a member is listed. wait_changed: returns after the lists changed.
        move: takes another cluster's id, members, voters and registers for ours; returns when it is saved.
        hear: any other message that may come by TCP. drop: counts and logs what a peer did wrong.
    """

    codec: Codec
    speak: Callable[[Message], Envelope]
    half: Callable[[], list[Exchange]]
    take: Callable[[str, tuple[Record, ...], tuple[RegisterNews, ...]], None]
    standing: Callable[[], meeting.Standing]
    know: Callable[[str], bool]
    wait_changed: Callable[[], Awaitable[None]]
    move: Callable[[str, tuple[Record, ...], VoterSet, dict[str, Value]], Awaitable[None]]
    hear: Callable[[Envelope, Address], None]
    drop: Callable[[str, Address, str], None]


class Conversations:
    """Both ends of every TCP connection on the bus.

    Args:
        nursery: parent of the errands; they end with it.
    """

    def __init__(self, config: GossipConfig, ties: Ties, rng: Random, nursery: trio.Nursery) -> None:
        self._config = config
        self._ties = ties
        self._rng = rng
        self._nursery = nursery
        self._checks = trio.CapacityLimiter(CHECKS_MAX)
        self._exchanges = trio.CapacityLimiter(EXCHANGES_MAX)
        self._connections = trio.CapacityLimiter(config.connections_max)
        self._hosting = 0
        """Conversations in which somebody takes our cluster id: until they end we must not give it up."""
        self._moving = False
        """We are taking another cluster's id."""
        self._promised = False
        """We said that we shall: from the answer on, nobody else may be told the same."""

    # -- errands: nobody waits for them -----------------------------------------------------------------

    def exchange_soon(self, address: Address) -> None:
        """Exchange full state with the member there."""
        self._nursery.start_soon(self.errand, self._exchange, address)

    def fetch_soon(self, address: Address) -> None:
        """Fetch the registers that the member there knows."""
        self._nursery.start_soon(self.errand, self._fetch, address)

    def deliver_soon(self, data: bytes, address: Address) -> None:
        """Bring an encoded message that is too big for a datagram."""
        self._nursery.start_soon(self.errand, partial(self._deliver, data), address)

    def check_soon(self, address: Address, tell: Callable[[bool], None]) -> None:
        """Try to connect and tell whether that was refused; nothing is told when there is no answer."""
        self._nursery.start_soon(self._check, address, tell)

    async def errand(self, do: Errand, address: Address) -> None:
        """Run one. Its troubles end here: they are the peer's, and the next occasion will come."""
        if self._exchanges.statistics().tasks_waiting >= ERRANDS_WAITING_MAX:
            return
        async with self._exchanges:
            try:
                with trio.fail_after(self._config.frame_timeout_ms / 1000):
                    await do(address)
            except PeerError as error:
                self._ties.drop(error.reason, address, str(error))
            except (OSError, TryAgain, trio.TooSlowError, trio.BrokenResourceError) as error:
                _log.debug("errand to %s:%s failed: %r", *address, error)

    async def _check(self, address: Address, tell: Callable[[bool], None]) -> None:
        async with self._checks:
            refused = await is_refused(address, self._config.connect_timeout_ms)
        if refused is not None:
            tell(refused)

    async def _exchange(self, address: Address) -> None:
        async with await self._connect(address) as stream:
            await self._swap(stream, self._reader(stream))

    async def _fetch(self, address: Address) -> None:
        async with await self._connect(address) as stream:
            await self._say(stream, Fetch(()))
            teller, (_records, registers) = await self._listen_half(self._reader(stream), self._ties.codec)
        self._ties.take(teller, (), registers)

    async def _deliver(self, data: bytes, address: Address) -> None:
        async with await self._connect(address) as stream:
            await send_frame(stream, data)

    # -- asking -----------------------------------------------------------------------------------------

    async def meet(self, address: Address) -> str:
        """Make our cluster and that of the member at `address` one; returns
        that member's id. See Service.meet.
        """
        with trio.fail_after(self._config.frame_timeout_ms / 1000):
            while True:
                try:
                    return await self._meet(address)
                except TryAgain as reason:
                    _log.debug("meeting %s:%d: %s", *address, reason)
                    await trio.sleep(MEETING_PAUSE_MS / 1000 * self._rng.random())

    async def join(self, seeds: list[Address], has_company: Callable[[], bool]) -> str | None:
        """Meet the members at `seeds` (their bus ports) in turn, until some member of our cluster speaks to
        us.

        Returns None then, or why we were refused; that is not tried again, since it takes a person to
        resolve.
        """
        pause_ms = JOIN_PAUSE_MS
        while seeds and not has_company():
            for host, bus_port in seeds:
                try:
                    await self.meet((await resolve(host), bus_port))
                except MeetRefused as error:
                    _log.error("cannot join through %s, bus port %d: %s", host, bus_port, error)
                    return str(error)
                except (OSError, trio.TooSlowError, trio.BrokenResourceError, PeerError) as error:
                    _log.debug("cannot join through %s, bus port %d yet: %r", host, bus_port, error)
                if has_company():
                    return None
            await trio.sleep(pause_ms / 1000 * (0.5 + self._rng.random()))
            pause_ms = min(JOIN_PAUSE_MAX_MS, pause_ms * 2)
        return None

    def _standing(self) -> meeting.Standing:
        standing = self._ties.standing()
        return replace(
            standing, alone=standing.alone and not self._hosting, moving=self._moving or self._promised
        )

    async def _meet(self, address: Address) -> str:
        ours = self._standing()
        async with await self._connect(address) as stream:
            reader = self._reader(stream)
            mine = self._ties.half()[0].records[0]
            await self._say(stream, Meet(mine, ours.alone, ours.owns_slots))
            envelope = await self._listen(reader, self._ties.codec)
            answer, other = envelope.message, envelope.sender
            if not isinstance(answer, MeetAnswer):
                raise PeerError("type", f"a meeting was answered with {type(answer).__name__}")
            if other == mine.member:
                return other
            if answer.verdict == meeting.REFUSED:
                raise MeetRefused(answer.text)
            if answer.verdict == meeting.BUSY:
                raise TryAgain(f"{address[0]}:{address[1]} is joining another cluster right now")
            if answer.verdict == meeting.ADOPT_MINE:
                await self._adopt(stream, reader, envelope.cluster)
            elif answer.verdict == meeting.SAME:
                await self._swap(stream, reader)
        if answer.verdict == meeting.ADOPTING_YOURS:
            self._hosting += 1  # it takes the cluster id that we have now
            try:
                # It takes some tens of ms. It may also have failed there, of which nobody tells us.
                with trio.fail_after(self._config.connect_timeout_ms / 1000):
                    while not self._ties.know(other):
                        await self._ties.wait_changed()
            except trio.TooSlowError:
                raise TryAgain(
                    f"{address[0]}:{address[1]} wanted to join our cluster and did not come"
                ) from None
            finally:
                self._hosting -= 1
        return other

    async def _adopt(self, stream: trio.SocketStream, reader: FrameReader, cluster_id: str) -> None:
        """Become a member of `cluster_id`, told by the member at the other end. All or nothing."""
        if self._moving or not self._standing().free:
            raise TryAgain(f"cannot move to cluster {cluster_id} now: busy with another meeting")
        self._moving = True
        try:
            await self._say(stream, Fetch(()), cluster_id)
            _teller, (records, registers) = await self._listen_half(reader, self._ties.codec.of(cluster_id))
            decided = {news.name: as_value(news) for news in registers}
            for name, value in decided.items():
                check_content(name, value)
            voters = decided.pop(VOTERS, None)
            if voters is None or not records:
                raise PeerError("malformed", f"cluster {cluster_id} was offered without voters or members")
            if not self._standing().free:
                raise TryAgain(f"cannot move to cluster {cluster_id} now: no longer empty and alone")
            await self._ties.move(cluster_id, records, VoterSet.from_value(voters), decided)
        except MessageError as error:
            raise PeerError("malformed", str(error)) from None
        finally:
            self._moving = False
        await self._swap(stream, reader)  # now as a member: so that the other end knows us at once

    async def _adopt_from(self, cluster_id: str, address: Address) -> None:
        async with await self._connect(address) as stream:
            await self._adopt(stream, self._reader(stream), cluster_id)

    # -- answering --------------------------------------------------------------------------------------

    async def converse(self, stream: trio.SocketStream) -> None:
        """One connection of somebody else: requests one after the other, until it closes, errs or dawdles."""
        source: Address = ("?", 0)
        try:
            async with stream:
                name = stream.socket.getpeername()
                source = (name[0], name[1])
                if self._connections.available_tokens < 1:
                    raise PeerError("size", f"more than {self._config.connections_max} connections")
                async with self._connections:
                    reader = self._reader(stream)
                    while True:
                        with trio.fail_after(self._config.frame_timeout_ms / 1000):
                            frame = await reader.next()
                            if frame is None:
                                return
                            await self._answer(stream, reader, frame, source, may_meet=True)
        except PeerError as error:
            self._ties.drop(error.reason, source, str(error))
        except (OSError, trio.TooSlowError, trio.BrokenResourceError) as error:
            _log.debug("connection from %s:%s ended: %r", *source, error)

    async def _answer(
        self, stream: trio.SocketStream, reader: FrameReader, frame: bytes, source: Address, *, may_meet: bool
    ) -> None:
        envelope = self._ties.codec.decode(frame, self._config.frame_bytes_max, frame=True)
        message = envelope.message
        if isinstance(message, Meet) and may_meet:
            await self._answer_meet(stream, reader, envelope, message, source)
        elif isinstance(message, Fetch):
            await self._say_half(stream)
        elif isinstance(message, Exchange):
            records, registers = message.records, message.registers
            if not message.last:
                _teller, more = await self._listen_half(reader, self._ties.codec)
                records, registers = records + more[0], registers + more[1]
            self._ties.take(envelope.sender, records, registers)
            await self._say_half(stream)
        elif isinstance(message, RegisterRound):
            self._ties.hear(envelope, source)
        else:
            raise PeerError("type", f"{type(message).__name__} does not belong on a connection")

    async def _answer_meet(
        self, stream: trio.SocketStream, reader: FrameReader, envelope: Envelope, asked: Meet, source: Address
    ) -> None:
        asker = meeting.Standing(envelope.cluster, asked.alone, asked.owns_slots)
        verdict, text = meeting.judge_meeting(asker, self._standing())
        answer = MeetAnswer(verdict, text, self._ties.half()[0].records[0])
        if verdict == meeting.ADOPT_MINE:
            self._hosting += 1
            try:
                await self._say(stream, answer)
                for _ in range(2):  # it fetches what we know, moves, and then exchanges as a member
                    frame = await reader.next()
                    if frame is None:
                        return
                    await self._answer(stream, reader, frame, source, may_meet=False)
            finally:
                self._hosting -= 1
            return
        if verdict != meeting.ADOPTING_YOURS:
            await self._say(stream, answer)
            return
        self._promised = True
        try:
            await self._say(stream, answer)
        except BaseException:
            self._promised = False  # it never heard
            raise
        self._nursery.start_soon(self._keep_promise, envelope.cluster, asked.claim.meta.bus_address)

    async def _keep_promise(self, cluster_id: str, address: Address) -> None:
        try:
            await self.errand(partial(self._adopt_from, cluster_id), address)
        finally:
            self._promised = False

    # -- talking ----------------------------------------------------------------------------------------

    def _reader(self, stream: trio.SocketStream) -> FrameReader:
        return FrameReader(stream, self._config.frame_bytes_max)

    async def _connect(self, address: Address) -> trio.SocketStream:
        try:
            family_of(address[0])
        except ValueError:  # a peer claims to live there; names are not looked up for it
            raise PeerError("malformed", f"{address[0]!r} is not an IP address") from None
        with trio.fail_after(self._config.connect_timeout_ms / 1000):
            return await trio.open_tcp_stream(*address)

    async def _say(self, stream: trio.SocketStream, message: Message, cluster_id: str | None = None) -> None:
        codec = self._ties.codec if cluster_id is None else self._ties.codec.of(cluster_id)
        await send_frame(stream, codec.encode(self._ties.speak(message), frame=True))

    async def _say_half(self, stream: trio.SocketStream) -> None:
        for chunk in self._ties.half():
            await self._say(stream, chunk)

    async def _listen(self, reader: FrameReader, codec: Codec) -> Envelope:
        frame = await reader.next()
        if frame is None:
            raise PeerError("malformed", "connection closed instead of an answer")
        return codec.decode(frame, self._config.frame_bytes_max, frame=True)

    async def _listen_half(self, reader: FrameReader, codec: Codec) -> tuple[str, Half]:
        records: list[Record] = []
        registers: list[RegisterNews] = []
        for _ in range(CHUNKS_MAX):
            envelope = await self._listen(reader, codec)
            if not isinstance(envelope.message, Exchange):
                raise PeerError("type", f"an exchange went on with {type(envelope.message).__name__}")
            records.extend(envelope.message.records)
            registers.extend(envelope.message.registers)
            if envelope.message.last:
                return envelope.sender, (tuple(records), tuple(registers))
        raise PeerError("size", f"an exchange of more than {CHUNKS_MAX} frames")

    async def _swap(self, stream: trio.SocketStream, reader: FrameReader) -> None:
        await self._say_half(stream)
        teller, (records, registers) = await self._listen_half(reader, self._ties.codec)
        self._ties.take(teller, records, registers)
