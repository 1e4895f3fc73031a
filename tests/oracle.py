"""A real redis-server beside ours: the same bytes go to both, the same bytes must come back.

    with RedisServer() as server, server.connect() as theirs:
        ours = Ours()
        compare(ours, theirs, [[b"SET", b"k", b"v"], [b"GET", b"k"]])

`Ours` is the real engine, command table and session without sockets (`Session.feed`); `Wire` speaks to any
server over TCP, so a node process can stand on either side.

Where we differ on purpose, `compare` knows (LOOSE below); everything else is compared byte by byte.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from chaos.ports import free_port
from node.commands import all_commands
from node.commands.table import CommandSpec
from node.config import Config
from node.context import InfoSection
from node.engine.engine import Engine
from node.engine.pump import Pump, boottime_ms
from node.engine.reply import Push, Reply, SetReply
from node.engine.room import install_compiled
from node.engine.session import Session
from node.info import Meter
from node.observer import Observer
from node.serving import limit_collections
from tests.held_clock import HeldClock
from tests.protocol import Incomplete, Words, parse_reply, reply_end, request, split_replies
from tests.waiting import wait_until

START_DEADLINE_S = 30.0  # a busy machine; a quick one needs a tenth of a second
END_DEADLINE_S = 30.0
COMMANDS_AT_ONCE = 10_000  # neither side's socket buffers fill while the other still writes
REPLY_DEADLINE_S = 30.0


# -------------------------------------------------------------------------------------------- servers


class Server:
    """A server process of our own: free port, directory of its own, ended by its process id."""

    name = "server"

    def __init__(self, *options: str, clock: HeldClock | None = None) -> None:
        self._options = options
        self._clock = clock
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    def command(self, directory: Path) -> list[str]:
        raise NotImplementedError

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def wait_ended(self, deadline_s: float = END_DEADLINE_S) -> int:
        """The exit status once it ended by itself."""
        assert self._process is not None
        return self._process.wait(deadline_s)

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="grapevine-oracle-")
        self.port = free_port()
        directory = Path(self._directory.name)
        log = directory / "stderr"
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                [*self.command(directory), *self._options],
                stdout=subprocess.DEVNULL,
                stderr=stream,
                env={**os.environ, **(self._clock.environment() if self._clock is not None else {})},
            )

        def answers() -> bool:
            assert self._process.poll() is None, f"{self.name} ended at once: {log.read_text()}"
            with suppress(OSError), self.connect() as wire:
                return wire.call(b"PING") == b"+PONG\r\n"
            return False

        what = f"{self.name} on port {self.port}"
        try:
            wait_until(answers, what, within_s=START_DEADLINE_S, describe=log.read_text)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._directory is not None
        self._process.terminate()
        self._process.wait(END_DEADLINE_S)
        self._directory.cleanup()

    @contextmanager
    def connect(self) -> Iterator[Wire]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=REPLY_DEADLINE_S) as connection:
            yield Wire(connection)


class RedisServer(Server):
    """A real redis-server."""

    name = "redis-server"

    @staticmethod
    def is_installed() -> bool:
        return shutil.which("redis-server") is not None

    def command(self, directory: Path) -> list[str]:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--dir", str(directory), "--enable-debug-command", "yes"]
        if self._clock is not None:
            # Its allocator's thread sleeps until a time of day, which by a held clock has always come.
            command += ["--jemalloc-bg-thread", "no"]
        return command


class NodeServer(Server):
    """A stand-alone node of ours."""

    name = "the node"

    def command(self, directory: Path) -> list[str]:
        command = [sys.executable, "-m", "node", "--port", str(self.port), "--dir", str(directory)]
        return [*command, "--set", "enable-debug-command=yes"]


class Wire:
    """A connection to some server."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def call(self, *words: bytes) -> bytes:
        """Sends one command; the raw bytes of its reply."""
        return self.pipeline([words])[0]

    def pipeline(self, commands: Sequence[Words]) -> list[bytes]:
        """Sends commands, a part at a time; the raw bytes of as many replies."""
        replies: list[bytes] = []
        for at in range(0, len(commands), COMMANDS_AT_ONCE):
            part = commands[at : at + COMMANDS_AT_ONCE]
            self._socket.sendall(b"".join(map(request, part)))
            replies += self._replies(len(part))
        return replies

    def _receive_some(self) -> bytes:
        more = self._socket.recv(1 << 18)
        if not more:
            raise ConnectionError(f"closed in the middle of a reply, after {self._received!r}")
        return more

    def _replies(self, count: int) -> list[bytes]:
        replies: list[bytes] = []
        at = 0
        while len(replies) < count:
            try:
                end = reply_end(self._received, at)
            except Incomplete:
                self._received = self._received[at:]
                at = 0
                self._received += self._receive_some()
                continue
            replies.append(self._received[at:end])
            at = end
        self._received = self._received[at:]
        return replies

    def send(self, data: bytes) -> None:
        """Sends raw bytes and waits for nothing."""
        self._socket.sendall(data)

    def confirm(self, count: int, expected: bytes) -> bytes:
        """The raw bytes of the next `count` replies; much quicker where they are the expected ones.

        As long as what came is how `expected` begins, nobody has to look at it more closely.
        """
        received = self._received
        while len(received) < len(expected) and expected.startswith(received):
            self._received = received = received + self._receive_some()
        if received == expected:
            self._received = b""
            return received
        return b"".join(self._replies(count))

    def receive(self) -> bytes:
        """The raw bytes of the next reply."""
        return self._replies(1)[0]

    def ended(self, wait_s: float = REPLY_DEADLINE_S) -> bool:
        """Whether the server closes the connection, without another word, within this time."""
        self._socket.settimeout(wait_s)
        try:
            more = self._socket.recv(1 << 16)
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True
        finally:
            self._socket.settimeout(REPLY_DEADLINE_S)
        assert not more, f"the server said {more!r}"
        return True

    def converse(self, data: bytes) -> bytes:
        """Sends raw bytes and says nothing more; everything the server answers until it closes."""
        try:
            self._socket.sendall(data)
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it closed already: what it said before is still to be read
        out = self._received
        while True:
            try:
                more = self._socket.recv(1 << 16)
            except ConnectionResetError:
                return out
            if not more:
                return out
            out += more


class Ours:
    """A stand-alone node without sockets: the real engine, table and parameters, and one session."""

    def __init__(self, *settings: str, hash_key: bytes = b"", clock: HeldClock | None = None) -> None:
        self._clock = clock
        self.config = Config.load(None, ["enable-debug-command=yes", *settings])
        self.engine = Engine(
            cluster=self.config.flag("cluster-enabled"),
            databases=self.config.integer("databases"),
            hash_key=hash_key or secrets.token_bytes(16),
            clock_ms=self.clock_us() // 1000,
        )
        self.engine.on_python_error = self._keep_error
        self.errors: list[BaseException] = []
        self.engine.bind_context(self)
        install_compiled(self.engine.registry)
        for spec in self.rows():
            self.engine.add_command(spec)
        self.pump = Pump(self.engine)
        self.started_ms = boottime_ms()
        self.engine.set_clock_ms(self.clock_us() // 1000, self.started_ms)
        self.meter = Meter(self.engine, self.started_ms)
        self.observer = Observer(self.engine, self.clock_us)
        self.observer.follow(self.config)
        limit_collections(self.engine, self.config)
        self.run_id = secrets.token_hex(20)
        self.is_replica = False
        self.cluster = None
        self.active_expiry = True
        self.info_sections: Mapping[str, InfoSection] = {}
        self.stopped: bool | None = None  # or the `now` of the stop
        self.session = self.connect()

    def rows(self) -> list[CommandSpec]:
        """The command table."""
        return list(all_commands())

    def connect(self) -> Session:
        """Another client."""
        return Session(self.engine, address="127.0.0.1:1", local_address="127.0.0.1:2")

    def clock_us(self) -> int:
        return time.time_ns() // 1000 if self._clock is None else self._clock.now_us

    def stop(self, *, now: bool = False) -> None:
        self.stopped = now

    def call(self, *words: bytes) -> bytes:
        return self.pipeline([words])[0]

    def value(self, *words: bytes) -> Reply:
        """The parsed reply to one command."""
        return parse_reply(self.call(*words))[0]

    def pipeline(self, commands: Sequence[Words]) -> list[bytes]:
        replies = split_replies(self.feed(b"".join(map(request, commands))))
        assert len(replies) == len(commands), (commands, replies)
        return replies

    def converse(self, data: bytes) -> bytes:
        """As Wire.converse, in a session of its own."""
        self._tell_time()
        out = self.connect().feed(data)
        self._raise_errors()
        return out

    def feed(self, data: bytes) -> bytes:
        self._tell_time()
        out = self.session.feed(data)
        self._raise_errors()
        return out

    def _tell_time(self) -> None:
        now_ms = self.clock_us() // 1000
        self.engine.set_clock_ms(now_ms, boottime_ms() if self._clock is None else now_ms)

    def _keep_error(self, error: BaseException) -> None:
        self.errors.append(error)

    def _raise_errors(self) -> None:
        if self.errors:
            raise AssertionError("a command broke") from self.errors.pop()


# ----------------------------------------------------------------------------------------- comparing


def decoded(raw: bytes) -> Reply:
    return parse_reply(raw)[0]


def _unordered(reply: Reply) -> object:
    """A reply in which no order counts, at any depth."""
    if isinstance(reply, SetReply | Push):
        reply = reply.items
    if isinstance(reply, Mapping):
        reply = [[key, value] for key, value in reply.items()]
    if isinstance(reply, list | tuple):
        if all(isinstance(item, bytes) for item in reply):
            return sorted(reply)  # type: ignore[type-var]
        return sorted((_unordered(item) for item in reply), key=repr)
    return reply


def _same_in_any_order(ours: bytes, theirs: bytes) -> bool:
    return _unordered(decoded(ours)) == _unordered(decoded(theirs))


def _close(tolerance: int) -> Callable[[bytes, bytes], bool]:
    """Integers that depend on the moment: times left, times to expire at."""

    def same(ours: bytes, theirs: bytes) -> bool:
        mine, its = decoded(ours), decoded(theirs)
        if isinstance(mine, int) and isinstance(its, int) and mine > 0 and its > 0:
            return abs(mine - its) <= tolerance
        return ours == theirs

    return same


def _both_or_neither(ours: bytes, theirs: bytes) -> bool:
    """Some key of the database: any will do, but errors and null must agree."""
    if ours[:1] == b"-" or theirs[:1] == b"-" or ours[:3] in (b"$-1", b"_\r\n"):
        return ours == theirs
    return theirs[:1] == ours[:1]


def _same_pairs(ours: bytes, theirs: bytes) -> bool:
    """Fields with their values, whatever the order: flat, as pairs or as a map."""

    def pairs(raw: bytes) -> object:
        reply = decoded(raw)
        if isinstance(reply, list) and all(isinstance(item, bytes) for item in reply):
            return sorted(zip(reply[::2], reply[1::2], strict=True))
        return _unordered(reply)

    return ours[:1] == theirs[:1] and pairs(ours) == pairs(theirs)


def _as_many(ours: bytes, theirs: bytes) -> bool:
    """Members picked at random: errors and nulls must agree, and how many there are."""
    if ours[:1] in b"-_" or theirs[:1] in b"-_":
        return ours == theirs
    mine, its = decoded(ours), decoded(theirs)
    if isinstance(mine, list) and isinstance(its, list):
        return len(mine) == len(its)
    return (mine is None) == (its is None) and ours[:1] == theirs[:1]


def _scanned(ours: bytes, theirs: bytes) -> bool:
    """What a walk found, if both are done with all of it."""
    mine, its = decoded(ours), decoded(theirs)
    if not isinstance(mine, list) or not isinstance(its, list):
        return False
    if mine[0] != b"0" or its[0] != b"0":
        return True
    return _unordered(mine[1]) == _unordered(its[1])


def _equal_numbers(mine: object, its: object) -> bool:
    """The same but for the text of doubles: 7.2 and we write the shortest, 7.0 all 17 digits."""
    if isinstance(mine, list) and isinstance(its, list):
        return len(mine) == len(its) and all(map(_equal_numbers, mine, its))
    if mine == its:
        return True
    if not isinstance(mine, bytes) or not isinstance(its, bytes):
        return False
    try:
        value = float(its)
    except ValueError:
        return False
    return its == b"%.17g" % value and float(mine) == value and len(mine) < len(b"%.17g" % value) + 24


def _same_numbers(ours: bytes, theirs: bytes) -> bool:
    return ours[:1] == theirs[:1] and _equal_numbers(decoded(ours), decoded(theirs))


def _scanned_numbers(ours: bytes, theirs: bytes) -> bool:
    """As _scanned, of members and their scores."""
    mine, its = decoded(ours), decoded(theirs)
    if not isinstance(mine, list) or not isinstance(its, list):
        return False
    if mine[0] != b"0" or its[0] != b"0":
        return True
    pairs = [sorted(zip(found[::2], found[1::2], strict=True)) for found in (mine[1], its[1])]  # type: ignore[index]
    return _equal_numbers([list(pair) for pair in pairs[0]], [list(pair) for pair in pairs[1]])


def _places(ours: bytes, theirs: bytes) -> bool:
    """What was found in order of distance. Members equally far away come in any order: with what is told of
    them the same in every row, only names may have changed places.
    """
    mine, its = decoded(ours), decoded(theirs)
    if not isinstance(mine, list) or not isinstance(its, list) or _unordered(mine) != _unordered(its):
        return False
    return all(
        isinstance(left, list) and isinstance(right, list) and left[1:] == right[1:]
        for left, right in zip(mine, its, strict=True)
    )


def _ranked(ours: bytes, theirs: bytes) -> bool:
    """7.0 knows no WITHSCORE."""
    return ours[:1] == theirs[:1] == b"-"


_MOMENTS = frozenset({b"idle", b"seen-time", b"radix-tree-nodes"})  # values that are each server's own
_ONLY_IN_7_2 = frozenset({b"inactive", b"active-time"})


def _without_moments(reply: Reply) -> object:
    """A reply about a stream's groups without times, and without what Redis 7.2 added to it."""
    if isinstance(reply, Mapping):
        reply = [word for pair in reply.items() for word in pair]
    if not isinstance(reply, list | tuple):
        return reply
    if len(reply) in (3, 4) and isinstance(reply[-1], int) and isinstance(reply[-2], int):
        return [*reply[:-2], "some time", reply[-1]]  # what is pending: id, consumer, time, count
    kept: list[object] = []
    words = iter(reply)
    for word in words:
        if isinstance(word, bytes) and word in _ONLY_IN_7_2:
            next(words)
        elif isinstance(word, bytes) and word in _MOMENTS:
            kept += [word, type(next(words))]
        else:
            kept.append(_without_moments(word))
    return kept


def _same_but_for_moments(ours: bytes, theirs: bytes) -> bool:
    return ours == theirs or _without_moments(decoded(ours)) == _without_moments(decoded(theirs))


# Legitimate differences, by command. The order of KEYS, of CONFIG's map and of the flags in COMMAND is
# nobody's promise; times pass between the two servers; OBJECT's and MEMORY's figures describe how each
# keeps its data.
LOOSE: Mapping[bytes, Callable[[bytes, bytes], bool]] = {
    b"keys": _same_in_any_order,
    b"scan": _scanned,
    b"xpending": _same_but_for_moments,
    b"xinfo": _same_but_for_moments,
    b"config": _same_in_any_order,
    b"command": _same_in_any_order,
    b"object": _both_or_neither,
    b"memory": _both_or_neither,
    b"slowlog": _both_or_neither,
    b"latency": _both_or_neither,
    b"randomkey": _both_or_neither,
    b"ttl": _close(1),
    b"pttl": _close(2000),
    b"expiretime": _close(2),
    b"pexpiretime": _close(2000),
    b"time": _both_or_neither,
    b"info": _both_or_neither,
    b"lolwut": _both_or_neither,
    # Large hashes and sets have no order, and chance none that two servers share.
    b"hgetall": _same_pairs,
    b"hkeys": _same_in_any_order,
    b"hvals": _same_in_any_order,
    b"hrandfield": _as_many,
    b"hscan": _scanned,
    b"smembers": _same_in_any_order,
    b"sinter": _same_in_any_order,
    b"sunion": _same_in_any_order,
    b"sdiff": _same_in_any_order,
    b"spop": _as_many,
    b"srandmember": _as_many,
    b"sscan": _scanned,
    **dict.fromkeys(
        (
            *(
                b"zadd",
                b"zincrby",
                b"zscore",
                b"zmscore",
                b"zpopmin",
                b"zpopmax",
                b"zmpop",
                b"zrange",
                b"zrevrange",
            ),
            *(b"zrangebyscore", b"zrevrangebyscore", b"zunion", b"zinter", b"zdiff"),
        ),
        _same_numbers,
    ),
    b"zrank": _ranked,
    b"zrevrank": _ranked,
    b"zrandmember": _as_many,
    b"zscan": _scanned_numbers,
    b"geosearch": _places,
}


# HELLO, alone or inside EXEC, tells version and connection.
_HELLO = re.compile(rb"(\$7\r\nversion\r\n)\$\d+\r\n[^\r]*|(\$2\r\nid\r\n):\d+")


def _masked(raw: bytes) -> bytes:
    if b"$7\r\nversion\r\n" not in raw:
        return raw
    return _HELLO.sub(rb"\1\2(masked)", raw)


def same(words: Words, ours: bytes, theirs: bytes) -> bool:
    """Whether two raw replies to a command are as equal as they must be."""
    if ours == theirs:
        return True
    ours, theirs = _masked(ours), _masked(theirs)
    if ours == theirs:
        return True
    if (
        ours[:1] == theirs[:1] == b"-"
        and any(b"\x00" in word for word in words)
        # Redis quotes what was sent as C does: only up to a zero byte.
        and ours.partition(b"'")[0] == theirs.partition(b"'")[0]
    ):
        return True
    loose = LOOSE.get(words[0].lower()) if words else None
    return loose is not None and loose(ours, theirs)


def compare(ours: Ours | Wire, theirs: Wire, commands: Sequence[Words]) -> None:
    """Runs commands on both sides, in one pipeline each, and compares every reply."""
    mine = ours.pipeline(commands)
    its = theirs.pipeline(commands)
    for number, (words, own, other) in enumerate(zip(commands, mine, its, strict=True)):
        if not same(words, own, other):
            history = "\n".join(f"  {b' '.join(before)!r}" for before in commands[:number])
            raise AssertionError(
                f"{b' '.join(words)!r}\n   ours: {own[:500]!r}\n  redis: {other[:500]!r}\nafter\n{history}"
            )


def fresh(ours: Ours | Wire, theirs: Wire, resp: int) -> None:
    """Empties both servers and puts both connections into the same state."""
    for side in (ours, theirs):
        side.pipeline([[b"RESET"], [b"FLUSHALL"]])
        side.call(b"HELLO", b"%d" % resp)
