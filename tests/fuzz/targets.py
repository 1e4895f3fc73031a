"""What is fuzzed, and what must hold after every input."""

from __future__ import annotations

import random
import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence

from node.commands import replication
from node.commands.table import CommandSpec, command
from node.engine import basics
from node.engine.audit import audit
from node.engine.crc64 import crc64
from node.engine.digest import digest
from node.engine.engine import Engine
from node.engine.keyspace import Keyspace
from node.engine.lzf import unpack
from node.engine.rdb import Decoder, SnapshotError, SnapshotWriter
from node.engine.session import Session
from node.engine.snapshot import CallbackSink, Snapshot, SnapshotBusy
from tests.fuzz.blocks import cut, exact_block
from tests.fuzz.grammar import Grammar, decode, encode
from tests.fuzz.mutation import mutate, number_word
from tests.node.engine.keyspace_model import NO_EXPIRY, Model
from tests.oracle import Ours, parse_reply, split_replies

NOW_MS = 1_700_000_000_000
HASH_KEY = b"0123456789abcdef"  # the same in every run: a finding must come back


class Finding(AssertionError):
    """An input after which something does not hold."""


def must(holds: bool, what: object) -> None:
    if not holds:
        raise Finding(str(what))


class Target(ABC):
    """One door of the room. `run` raises for a finding; a crash speaks for itself."""

    name: str
    words: Sequence[bytes]
    lifetime_inputs = 1000  # then everything is made anew, so that a finding needs few inputs before it

    def renew(self) -> None:
        """Forgets all earlier inputs."""
        return

    @abstractmethod
    def generate(self, chance: random.Random) -> bytes: ...

    def mutate(self, chance: random.Random, data: bytes, other: bytes) -> bytes:
        return mutate(chance, data, other, self.words)

    @abstractmethod
    def run(self, data: bytes) -> None: ...


def _replies_of(session: Session, pieces: Sequence[bytes]) -> bytes:
    out = b""
    for piece in pieces:
        with exact_block(piece) as block:
            out += session.feed(block)
    return out


class Codec(Target):
    """Requests and inline lines, whole and in pieces: the same replies, whatever the cut."""

    name = "codec"
    words = (
        *(b"*", b"$", b"\r\n", b"\n", b"*1\r\n", b"*2\r\n$4\r\nargs\r\n", b"$-1\r\n", b"*0\r\n", b"*-1\r\n"),
        *(
            b"$0\r\n\r\n",
            b"args ",
            b'"',
            b"'",
            b"\\x4",
            b"\\x41",
            b"\\",
            b"\\n",
            b"\x00",
            b" ",
            b"\t",
            b"\x0b",
        ),
        *(b"*1048576\r\n", b"$536870912\r\n", b"PING\r\n", b"$4\r\nping\r\n", b"9223372036854775807"),
    )

    def __init__(self) -> None:
        self._errors: list[BaseException] = []
        self._engine = Engine(hash_key=HASH_KEY, clock_ms=NOW_MS)
        self._engine.on_python_error = self._errors.append
        basics.install(self._engine.registry)
        for name, arity, handler in (
            ("ping", -1, None),
            ("echo", 2, None),
            ("args", -1, lambda _s, args: args),
        ):
            self._engine.add_command(
                command(
                    name,
                    arity,
                    "loading stale fast",
                    group="fuzz",
                    summary="-",
                    since="1.0.0",
                    handler=handler,
                )
            )

    def generate(self, chance: random.Random) -> bytes:
        out = b""
        for _ in range(1 + chance.randrange(6)):
            words = [chance.choice((b"args", b"ping", b"ECHO", b"x"))]
            words += [chance.randbytes(chance.randrange(20)) for _ in range(chance.randrange(4))]
            if chance.random() < 0.6:
                out += encode([words])
            else:
                quote = chance.choice((b"", b'"', b"'"))
                out += b" ".join(quote + word + quote for word in words) + chance.choice((b"\n", b"\r\n"))
        return out

    def run(self, data: bytes) -> None:
        whole = _replies_of(Session(self._engine), [data])
        split_replies(whole)
        parts = _replies_of(Session(self._engine), cut(data, zlib.crc32(data) | 4))
        must(parts == whole, f"in pieces: {parts[:200]!r}, whole: {whole[:200]!r}")
        must(not self._errors, self._errors)


class _Alone(Ours):
    """A node without the commands that speak to other processes, of which there are none here."""

    def rows(self) -> list[CommandSpec]:
        return [spec for spec in super().rows() if spec not in replication.COMMANDS]


class Commands(Target):
    """The whole command table on one keyspace, with time passing, eviction and work in the background."""

    name = "commands"

    def __init__(self) -> None:
        self.renew()
        self._grammar = Grammar(self._ours.rows())
        self.words = self._grammar.words

    def renew(self) -> None:
        self._ours = _Alone("enable-debug-command=no", "databases=4", hash_key=HASH_KEY)
        self._ours.engine.effects.activate()
        self._replica = _Alone("databases=4", hash_key=HASH_KEY[::-1])
        self._replica.engine.keyspace.follower = True
        self._link = self._replica.connect()
        self._link.start_applying(self._ours.engine.effects.offset)
        self._runs = 0

    def generate(self, chance: random.Random) -> bytes:
        return encode(self._grammar.conversation(chance))

    def mutate(self, chance: random.Random, data: bytes, other: bytes) -> bytes:
        commands = decode(data)
        if commands is None or chance.random() < 0.1:
            return mutate(chance, data, other, self.words)
        return encode(self._grammar.mutate(chance, commands, decode(other) or []))

    def run(self, data: bytes) -> None:
        ours = self._ours
        engine, keyspace = ours.engine, ours.engine.keyspace
        seed = zlib.crc32(data)
        self._runs += 1
        engine.unpause()
        engine.set_limits(bulk_len_max=1 << 20)  # what a command may make of a few bytes, CONFIG SET or not
        session = ours.connect()
        session.set_protocol(2 + seed % 2)
        for number, piece in enumerate(cut(data, seed >> 2)):
            engine.set_clock_ms(NOW_MS + self._runs * 100 + number, self._runs * 100 + number)
            with exact_block(piece) as block:
                split_replies(session.feed(block))
        session.discard_transaction() if session.in_transaction else session.unwatch()
        must(not ours.errors, [repr(error) for error in ours.errors])
        keyspace.expire_some(seed % 50)
        keyspace.free_some(seed % 50)
        engine.evictor.evict_some()
        if self._runs % 8 == 0:
            wrong = audit(keyspace)
            must(not wrong, wrong)
            self._follow(engine)
        if self._runs % 64 == 0:
            keyspace.clear(-1)
            self._replica.engine.keyspace.clear(-1)

    def _follow(self, engine: Engine) -> None:
        """A replica applies what the commands left in the effects, and holds the same data then."""
        replica, effects = self._replica.engine, engine.effects
        replica.set_clock_ms(engine.now_ms, engine.monotonic_now_ms)
        while self._link.applied_offset < effects.offset:
            before = self._link.applied_offset
            stream = effects.read(before, 1 << 20)
            with exact_block(stream) as block:
                must(self._link.feed(block) == b"", "a replica answered its primary")
            must(self._link.applied_offset > before, "a replica stands still")
        must(not self._replica.errors, [repr(error) for error in self._replica.errors])
        must(digest(replica.keyspace) == digest(engine.keyspace), "a replica holds other data")
        wrong = audit(replica.keyspace)
        must(not wrong, wrong)


class Rdb(Target):
    """Snapshots in pieces: loaded or refused by name; what was loaded is written and read again the same."""

    name = "rdb"
    words = (
        *(
            b"REDIS0009",
            b"\xfa",
            b"\xfb",
            b"\xfc",
            b"\xfd",
            b"\xfe",
            b"\xff",
            b"\xf8",
            b"\xf9",
            b"\xf7",
            b"\xf5",
        ),
        *(
            b"\x00\x01a\x01b",
            b"\x00\x01a\xc0\x7f",
            b"\x00\x01a\xc1\xff\x7f",
            b"\x00\x01a\xc2\xff\xff\xff\x7f",
        ),
        *(
            b"\x80\x00\x00\x00\x01",
            b"\x81\x00\x00\x00\x00\x00\x00\x00\x01",
            b"\x81" + b"\xff" * 8,
            b"\x40\x01",
        ),
        *(b"\xc3\x04\x09\x00a\xe0\x00\x00", b"\xfe\x0f", b"\xfe\x10", b"\xfd\x00\x00\x00\x00"),
        *(b"\xfc" + b"\xff" * 7 + b"\x7f", b"\xfc" + b"\x00" * 8),
    )

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self._keyspace = Keyspace(hash_key=HASH_KEY, clock_ms=NOW_MS)
        self._second = Keyspace(hash_key=HASH_KEY[::-1], clock_ms=NOW_MS)
        self._runs = 0

    def generate(self, chance: random.Random) -> bytes:
        keyspace = Keyspace(hash_key=HASH_KEY, clock_ms=NOW_MS)
        for _ in range(chance.randrange(8)):
            value = chance.choice((chance.randbytes(chance.randrange(80)), number_word(chance)))
            expire_ms = chance.choice((NO_EXPIRY, NOW_MS - 5, NOW_MS + 5_000))
            keyspace.set(chance.randrange(16), chance.randbytes(chance.randrange(6)), value, expire_ms)
        return _written(keyspace)

    def mutate(self, chance: random.Random, data: bytes, other: bytes) -> bytes:
        out = mutate(chance, data, other, self.words)
        if chance.random() < 0.7:
            out = out[:-9] + b"\xff"
            out += crc64(out).to_bytes(8, "little")
        return out

    def run(self, data: bytes) -> None:
        keyspace = self._keyspace
        seed = zlib.crc32(data)
        self._runs += 1
        decoder = Decoder(keyspace, keep_expired=bool(seed & 1))
        try:
            for piece in cut(data, seed >> 1):
                with exact_block(piece) as block:
                    decoder.feed(block)
        except SnapshotError as refused:
            must("snapshot" in str(refused).lower(), refused)
        must(decoder.offset <= len(data), f"{decoder.offset} bytes decoded of {len(data)}")
        if self._runs % 8 == 0:
            del decoder  # and what it was building, where the data ended in the middle of a collection
            wrong = audit(keyspace)
            must(not wrong, wrong)
            again = Decoder(self._second, keep_expired=True)
            again.feed(_written(keyspace))
            must(again.done and digest(self._second) == digest(keyspace), "a round trip changed the data")
            for each in (keyspace, self._second):
                each.clear(-1)
                while each.free_some(1_000):
                    pass
                must(each.memory()["used_bytes"] == 0, each.memory())


def _written(keyspace: Keyspace) -> bytes:
    with SnapshotWriter(keyspace, {b"fuzz": b"1"}, limit_bytes=1 << 26) as writer:
        while writer.step(1 << 16):
            pass
        return writer.take()


class Restore(Target):
    """RESTORE of damaged payloads: refused, or a value that can be read, dumped and restored again.

    An input is a payload as DUMP makes it; a mutated one mostly has a right checksum.
    """

    name = "restore"
    words = (
        *(bytes((kind,)) for kind in range(22)),
        *(b"\x80", b"\xc0", b"\xe0", b"\xf0\x01\x00\x00\x00", b"\xf1\x00\x01", b"\xf2\x00\x00\x01", b"\xff"),
        *(b"\xf3\x00\x00\x00\x01", b"\xf4" + b"\xff" * 8, b"\x02\x00\x00\x00", b"\x81a\x02", b"\x00\x01"),
        *(b"\xc3\x04\x09\x00a\xe0\x00\x00", b"\x81" + b"\xff" * 8, b"\x80\x00\x00\x00\x01", b"\xfd", b"\xfe"),
    )
    _READS = (
        *((b"GET", b"k"), (b"HGETALL", b"k"), (b"SMEMBERS", b"k"), (b"LRANGE", b"k", b"0", b"-1")),
        *((b"ZRANGE", b"k", b"0", b"-1", b"WITHSCORES"), (b"ZRANGEBYSCORE", b"k", b"-inf", b"+inf")),
        *(
            (b"XRANGE", b"k", b"-", b"+"),
            (b"XINFO", b"STREAM", b"k", b"FULL"),
            (b"OBJECT", b"ENCODING", b"k"),
        ),
        *(
            (b"SRANDMEMBER", b"k", b"-3"),
            (b"HRANDFIELD", b"k", b"-3"),
            (b"LINDEX", b"k", b"1"),
            (b"TYPE", b"k"),
        ),
    )
    _CHANGES = (
        *(
            (b"APPEND", b"k", b"x"),
            (b"HSET", b"k", b"f", b"v"),
            (b"HDEL", b"k", b"f", b"m1"),
            (b"SADD", b"k", b"70000"),
        ),
        *(
            (b"SREM", b"k", b"m1", b"1"),
            (b"RPUSH", b"k", b"x" * 70),
            (b"LPOP", b"k", b"3"),
            (b"LINSERT", b"k", b"BEFORE", b"m1", b"y"),
        ),
        *(
            (b"ZADD", b"k", b"1.5", b"m2"),
            (b"ZREM", b"k", b"m1"),
            (b"ZPOPMIN", b"k"),
            (b"XADD", b"k", b"*", b"a", b"b"),
        ),
        *(
            (b"XTRIM", b"k", b"MAXLEN", b"2"),
            (b"SPOP", b"k"),
            (b"LTRIM", b"k", b"1", b"-2"),
            (b"HINCRBY", b"k", b"m1", b"1"),
        ),
    )

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self._ours = _Alone(hash_key=HASH_KEY)
        self._second = _Alone(hash_key=HASH_KEY[::-1])
        self._session = self._ours.connect()
        self._other = self._second.connect()
        self._maker = _Alone(hash_key=HASH_KEY).connect()  # apart, so that a journal alone repeats a finding
        self._runs = 0

    def generate(self, chance: random.Random) -> bytes:
        count = chance.choice((1, 2, 5, 30, 200))
        items = [_item(chance) for _ in range(count)]
        numbers = [number_word(chance) for _ in range(count)]
        words: list[bytes] = chance.choice(
            [
                [b"SET", b"k", chance.choice(items)],
                [
                    b"HSET",
                    b"k",
                    *(word for pair in zip(items, reversed(items), strict=True) for word in pair),
                ],
                [b"SADD", b"k", *items],
                [b"SADD", b"k", *(b"%d" % chance.randrange(-(2**40), 2**40) for _ in range(count))],
                [b"RPUSH", b"k", *items],
                [b"ZADD", b"k", *(word for pair in zip(numbers, items, strict=True) for word in pair)],
                [
                    b"XADD",
                    b"k",
                    b"%d-%d" % (1 + chance.randrange(1 << 40), chance.randrange(9)),
                    *items,
                    *items,
                ],
            ]
        )
        self._maker.feed(encode([[b"FLUSHALL", b"SYNC"], words]))
        return self._dumped(self._maker) or chance.randbytes(20)

    @staticmethod
    def _dumped(session: Session) -> bytes | None:
        reply, _ = parse_reply(session.feed(encode([[b"DUMP", b"k"]])))
        assert reply is None or isinstance(reply, bytes), reply
        return reply

    def mutate(self, chance: random.Random, data: bytes, other: bytes) -> bytes:
        out = mutate(chance, data[:-10], other[:-10], self.words)
        if chance.random() < 0.9:
            out += data[-10:-8]
            out += crc64(out).to_bytes(8, "little")
        return out

    def run(self, data: bytes) -> None:
        self._runs += 1
        clock_ms = NOW_MS + self._runs
        for ours in (self._ours, self._second):
            ours.engine.set_clock_ms(clock_ms, self._runs)
        restore = encode([[b"RESTORE", b"k", b"0", data, b"REPLACE"]])
        with exact_block(restore) as block:
            answer = self._session.feed(block)
        must(answer in (b"+OK\r\n",) or answer.startswith(b"-ERR "), answer)
        if answer == b"+OK\r\n":
            split_replies(self._session.feed(encode(self._READS)))
            self._again()
            seed = zlib.crc32(data)
            chosen = [self._CHANGES[(seed >> shift) % len(self._CHANGES)] for shift in (0, 7, 14)]
            split_replies(self._session.feed(encode([*chosen, *self._READS])))
            self._again()
        must(not self._ours.errors, [repr(error) for error in self._ours.errors])
        keyspace = self._ours.engine.keyspace
        wrong = audit(keyspace)
        must(not wrong, wrong)
        if self._runs % 32 == 0:
            for each in (keyspace, self._second.engine.keyspace):
                each.clear(-1)
                while each.free_some(1_000):
                    pass
                must(each.memory()["used_bytes"] == 0, each.memory())

    def _again(self) -> None:
        """What is there now survives DUMP and RESTORE."""
        payload = self._dumped(self._session)
        if payload is None:
            return
        with exact_block(encode([[b"RESTORE", b"k", b"0", payload, b"REPLACE"]])) as block:
            answer = self._other.feed(block)
        must(answer == b"+OK\r\n", answer)
        same = digest(self._second.engine.keyspace) == digest(self._ours.engine.keyspace)
        must(same, "DUMP and RESTORE changed the value")


def _item(chance: random.Random) -> bytes:
    kind = chance.randrange(5)
    if kind == 0:
        return number_word(chance)
    if kind == 1:
        return b"m%d" % chance.randrange(4)
    return chance.randbytes(chance.choice((0, 3, 12, 63, 64, 70)))


class Lzf(Target):
    """Packed strings, with the length they claim in front (2 bytes)."""

    name = "lzf"
    words = (b"\x00a", b"\x1f", b"\x20\x00", b"\xe0\x00\x00", b"\xe0\xff\x00", b"\x3f\xff", b"\xff\xff\xff")

    def generate(self, chance: random.Random) -> bytes:
        return chance.randbytes(2) + b"".join(chance.choices(self.words, k=chance.randrange(8)))

    def run(self, data: bytes) -> None:
        packed = data[2:]
        for plain_bytes in (int.from_bytes(data[:2], "little"), len(packed), 2):
            try:
                with exact_block(packed) as block:
                    must(len(unpack(block, plain_bytes)) == plain_bytes, "a wrong length")
            except ValueError as refused:
                must("LZF" in str(refused), refused)


class State(Target):
    """Any sequence of changes of a keyspace beside the slow model, with snapshots and background work.

    An input is a program: a byte says what to do, the next ones with what.
    """

    name = "state"
    words = tuple(bytes((code,)) for code in range(16))
    _DATABASES = 3
    _NAMES = (
        *(b"{t}%d" % number for number in range(24)),
        b"",
        b"\0",
        b"n" * 300,
        b"n" * 1_200,
        b"n" * 70_000,
    )
    _VALUES = (
        b"",
        b"1",
        b"-5",
        b"007",
        b"9223372036854775808",
        b"v" * 30,
        b"v" * 1_100,
        b"v" * 1_152,
        b"v" * 5_000,
    )

    def generate(self, chance: random.Random) -> bytes:
        return bytes([chance.randrange(2)]) + chance.randbytes(4 * chance.randrange(1, 120))

    def run(self, data: bytes) -> None:
        cluster = bool(data and data[0] & 1)
        real = Keyspace(cluster=cluster, databases=self._DATABASES, hash_key=HASH_KEY, clock_ms=NOW_MS)
        model = Model(self._DATABASES, NOW_MS)
        snapshots: list[tuple[Snapshot, Counter[object], Counter[object]]] = []
        for at in range(1, len(data) - 3, 4):
            self._step(real, model, snapshots, data[at], data[at + 1], data[at + 2], data[at + 3])
        for snapshot, wanted, got in snapshots:
            while snapshot.step(100):
                pass
            must(got == wanted, "a snapshot delivered something else")
        wrong = audit(real)
        must(not wrong, wrong)
        while real.expire_some(1_000):
            pass
        model.forget_expired()
        for database in range(self._DATABASES):
            live = model.live(database)
            must(real.size(database) == len(live), "the number of entries")
            must(real.expiring(database) == sum(kept[1] != NO_EXPIRY for kept in live.values()), "expiries")
            for name, (value, expire_ms) in live.items():
                must(real.get(database, name) == value and real.expiry_ms(database, name) == expire_ms, name)
        wrong = audit(real)
        must(not wrong, wrong)
        real.clear(-1)
        while real.free_some(1_000):
            pass
        must(real.memory()["used_bytes"] == 0, real.memory())

    def _step(
        self,
        real: Keyspace,
        model: Model,
        snapshots: list[tuple[Snapshot, Counter[object], Counter[object]]],
        code: int,
        first: int,
        second: int,
        third: int,
    ) -> None:
        database = first % self._DATABASES
        name = self._NAMES[second % len(self._NAMES)]
        expire_ms = NO_EXPIRY if third % 3 else NOW_MS + third * 8
        match code % 16:
            case 0 | 1:
                value = self._VALUES[third % len(self._VALUES)]
                real.set(database, name, value, expire_ms)
                model.set(database, name, value, expire_ms)
            case 2:
                must(real.delete(database, name) == model.delete(database, name), "delete")
            case 3:
                must(real.get(database, name) == model.get(database, name), "get")
            case 4:
                must(
                    real.expire_at(database, name, expire_ms) == model.expire_at(database, name, expire_ms),
                    "expire_at",
                )
            case 5:
                real.resize(database, name, third * 10)
                model.resize(database, name, third * 10)
            case 6:
                other = self._NAMES[third % len(self._NAMES)]
                must(real.rename(database, name, other) == model.rename(database, name, other), "rename")
            case 7:
                for number in range(third * 4, third * 4 + second):
                    real.set(database, b"{t}m%d" % number, b"many", expire_ms)
                    model.set(database, b"{t}m%d" % number, b"many", expire_ms)
            case 8:
                for number in range(third * 4, third * 4 + second):
                    gone = b"{t}m%d" % number
                    must(real.delete(database, gone) == model.delete(database, gone), "delete many")
            case 9:
                model.now_ms += third * 4
                real.set_clock_ms(model.now_ms)
            case 10:
                real.expire_some(third)
                real.free_some(second)
                real.sweep_some(third)
            case 11 if second < 40:
                real.clear(database)
                model.databases[database].clear()
            case 12:
                other_database = third % self._DATABASES
                real.swap(database, other_database)
                databases = model.databases
                databases[database], databases[other_database] = (
                    databases[other_database],
                    databases[database],
                )
            case 13 if len(snapshots) < 3:
                self._begin_snapshot(real, model, snapshots, None if third % 2 else [database])
            case 14 if snapshots:
                snapshot, wanted, got = snapshots[second % len(snapshots)]
                if not snapshot.step(1 + third):
                    must(got == wanted, "a snapshot delivered something else")
                    snapshots.remove((snapshot, wanted, got))
            case 15 if snapshots and third < 60:
                snapshots.pop(second % len(snapshots))[0].close()
            case _:
                must((real.random_key(database) is None) <= (not model.live(database)), "random_key")

    @staticmethod
    def _begin_snapshot(
        real: Keyspace,
        model: Model,
        snapshots: list[tuple[Snapshot, Counter[object], Counter[object]]],
        databases: list[int] | None,
    ) -> None:
        while real.expire_some(1_000):  # what has expired may be there or not: settle it for the model
            pass
        model.forget_expired()
        got: Counter[object] = Counter()

        def take(database: int, _slot: int, name: bytes, value: bytes, expire_ms: int) -> None:
            got[database, name, value, expire_ms] += 1

        try:
            snapshot = Snapshot(real, CallbackSink(take), databases=databases)
        except SnapshotBusy:
            must(not real.snapshot_ready(), "busy and ready")
            return
        wanted: Counter[object] = Counter(
            kept for kept in model.everything() if databases is None or kept[0] in databases
        )
        snapshots.append((snapshot, wanted, got))


TARGETS: dict[str, type[Target]] = {
    target.name: target for target in (Codec, Commands, Rdb, Restore, Lzf, State)
}
