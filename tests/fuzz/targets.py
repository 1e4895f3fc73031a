"""What is fuzzed, and what must hold after every input."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence

from node.commands.table import command
from node.engine import basics
from node.engine.audit import audit
from node.engine.crc64 import crc64
from node.engine.digest import digest
from node.engine.engine import Engine
from node.engine.keyspace import Keyspace
from node.engine.lzf import unpack
from node.engine.rdb import Decoder, SnapshotError, SnapshotWriter
from node.engine.session import Session
from tests.fuzz.blocks import cut, fed
from tests.fuzz.grammar import Grammar, decode, encode
from tests.fuzz.mutation import mutate
from tests.fuzz.peers import Bus, Replica, Sketch
from tests.fuzz.state import State
from tests.fuzz.target import HASH_KEY, NOW_MS, Alone, Maker, Target, must, value_commands
from tests.protocol import parse_reply, split_replies


def _replies_of(session: Session, pieces: Sequence[bytes]) -> bytes:
    out = b""
    for piece in pieces:
        with fed(piece) as block:
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
        parts = _replies_of(Session(self._engine), cut(data, zlib.crc32(data) | 1))
        must(parts == whole, f"in pieces: {parts[:200]!r}, whole: {whole[:200]!r}")
        must(not self._errors, self._errors)


class Commands(Target):
    """The whole command table on one keyspace, with time passing, eviction and work in the background."""

    name = "commands"

    def __init__(self) -> None:
        self.renew()
        self._grammar = Grammar(self._ours.rows())
        self.words = self._grammar.words

    def renew(self) -> None:
        self._ours = Alone("enable-debug-command=no", "databases=4", hash_key=HASH_KEY)
        self._ours.engine.effects.activate()
        self._replica = Alone("databases=4", hash_key=HASH_KEY[::-1])
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
            with fed(piece) as block:
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
            with fed(stream) as block:
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
        self._maker = Maker()
        self.renew()

    def renew(self) -> None:
        self._keyspace = Keyspace(hash_key=HASH_KEY, clock_ms=NOW_MS)
        self._second = Keyspace(hash_key=HASH_KEY[::-1], clock_ms=NOW_MS)
        self._runs = 0

    def generate(self, chance: random.Random) -> bytes:
        commands: list[list[bytes]] = []
        for _ in range(chance.randrange(5)):
            key = chance.randbytes(1 + chance.randrange(6))
            commands += [[b"SELECT", b"%d" % chance.choice((0, 0, 0, 1, 15))], *value_commands(chance, key)]
            if chance.random() < 0.3:
                commands.append([b"PEXPIREAT", key, b"%d" % (NOW_MS + chance.choice((5, 5_000)))])
        return _written(self._maker.make([*commands, [b"SELECT", b"0"]]))

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
                with fed(piece) as block:
                    decoder.feed(block)
        except SnapshotError as refused:
            must("snapshot" in str(refused).lower(), refused)
        must(decoder.offset <= len(data), f"{decoder.offset} bytes decoded of {len(data)}")
        if self._runs % 32 == 0:
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
            (b"XPENDING", b"k", b"g", b"-", b"+", b"9"),
            (b"XINFO", b"CONSUMERS", b"k", b"g"),
            (b"PFCOUNT", b"k"),
        ),
    )
    _READING = encode(_READS)
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
            (b"XREADGROUP", b"GROUP", b"g", b"c", b"COUNT", b"2", b"STREAMS", b"k", b">"),
            (b"XAUTOCLAIM", b"k", b"g", b"d", b"0", b"-", b"JUSTID"),
            (b"XGROUP", b"DESTROY", b"k", b"g"),
            (b"XDEL", b"k", b"1-1", b"2-0"),
            (b"PFADD", b"k", b"x"),
            (b"HINCRBY", b"k", b"m1", b"1"),
        ),
    )

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self._ours = Alone(hash_key=HASH_KEY)
        self._second = Alone(hash_key=HASH_KEY[::-1])
        self._session = self._ours.connect()
        self._other = self._second.connect()
        self._maker = Maker()  # apart, so that a journal alone repeats a finding
        self._runs = 0

    def generate(self, chance: random.Random) -> bytes:
        self._maker.make(value_commands(chance, b"k"))
        return self._dumped(self._maker.session) or chance.randbytes(20)

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
        with fed(restore) as block:
            answer = self._session.feed(block)
        must(answer in (b"+OK\r\n",) or answer.startswith(b"-ERR "), answer)
        if answer == b"+OK\r\n":
            split_replies(self._session.feed(self._READING))
            self._again()
            seed = zlib.crc32(data)
            chosen = [self._CHANGES[(seed >> shift) % len(self._CHANGES)] for shift in (0, 7, 14)]
            split_replies(self._session.feed(encode(chosen) + self._READING))
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
        with fed(encode([[b"RESTORE", b"k", b"0", payload, b"REPLACE"]])) as block:
            answer = self._other.feed(block)
        must(answer == b"+OK\r\n", answer)
        same = digest(self._second.engine.keyspace) == digest(self._ours.engine.keyspace)
        must(same, "DUMP and RESTORE changed the value")


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
                with fed(packed) as block:
                    must(len(unpack(block, plain_bytes)) == plain_bytes, "a wrong length")
            except ValueError as refused:
                must("LZF" in str(refused), refused)


TARGETS: dict[str, type[Target]] = {
    target.name: target for target in (Codec, Commands, Rdb, Restore, Replica, Sketch, Bus, Lzf, State)
}
