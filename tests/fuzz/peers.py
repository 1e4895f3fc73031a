"""What peers send, and what clients call a sketch: bytes that somebody else made."""

from __future__ import annotations

import random
import re
import zlib

import msgpack  # type: ignore[import-untyped]

from gossip import messages
from gossip.errors import PeerError
from node.engine.audit import audit
from node.engine.reply import StreamRefused
from tests.fuzz.blocks import cut, fed
from tests.fuzz.grammar import Grammar, decode, encode
from tests.fuzz.mutation import mutate
from tests.fuzz.target import HASH_KEY, NOW_MS, Alone, Maker, Target, must, value_commands
from tests.protocol import parse_reply, split_replies


class Replica(Target):
    """What a primary sends, damaged: applied or refused, never answered, and the data stays whole."""

    name = "replica"
    # A primary refuses to make half a gigabyte of a few bytes; a replica trusts it. Not with our memory.
    _FAR = re.compile(rb"(?i)set(range|bit)|bitfield(_ro)?")
    _LONG = re.compile(rb"\d{7}")

    def __init__(self) -> None:
        self.renew()
        self._grammar = Grammar(self._ours.rows())
        self.words = (*self._grammar.words, b"SELECT", b"MULTI", b"EXEC", b"PEXPIREAT")

    def renew(self) -> None:
        self._ours = Alone("databases=4", hash_key=HASH_KEY)
        self._ours.engine.keyspace.follower = True
        self._runs = 0

    def generate(self, chance: random.Random) -> bytes:
        commands = [word for _ in range(1 + chance.randrange(3)) for word in value_commands(chance, b"k")]
        commands += self._grammar.conversation(chance)
        if chance.random() < 0.3:
            commands = [[b"MULTI"], *commands, [b"EXEC"]]
        return encode([[b"SELECT", b"%d" % chance.randrange(5)], *commands])

    def mutate(self, chance: random.Random, data: bytes, other: bytes) -> bytes:
        commands = decode(data)
        if commands is None or chance.random() < 0.3:
            return mutate(chance, data, other, self.words)
        return encode(self._grammar.mutate(chance, commands, decode(other) or []))

    def run(self, data: bytes) -> None:
        ours = self._ours
        self._runs += 1
        if self._LONG.search(data):
            data = self._FAR.sub(lambda found: b"x" * len(found[0]), data)
        ours.engine.set_clock_ms(NOW_MS + self._runs, self._runs)
        ours.engine.set_limits(bulk_len_max=1 << 20)
        link = ours.connect()
        link.start_applying(0)
        for piece in cut(data, zlib.crc32(data)):
            with fed(piece) as block:
                must(link.feed(block) == b"", "a replica answered its primary")
        must(link.applied_offset <= len(data), f"{link.applied_offset} bytes applied of {len(data)}")
        must(all(isinstance(error, StreamRefused) for error in ours.errors), ours.errors)
        ours.errors.clear()
        if self._runs % 16 == 0:
            wrong = audit(ours.engine.keyspace)
            must(not wrong, wrong)
            ours.engine.keyspace.clear(-1)


class Sketch(Target):
    """HyperLogLog bytes that somebody SET: counted, merged and added to, or refused; never out of bounds."""

    name = "sketch"
    words = (
        *(b"HYLL\x00\x00\x00\x00", b"HYLL\x01\x00\x00\x00", b"\x00\x00\x00\x00\x00\x00\x00\x80", b"\x7f\xff"),
        *(b"\x40\x00", b"\x3f", b"\x00", b"\x80", b"\xff", b"\x7f\xff\x7f\xff\x7f\xff\x7f\xff", b"\x84" * 8),
    )
    _COMMANDS = encode(
        [
            *([b"PFCOUNT", b"k"], [b"PFADD", b"k", b"a"], [b"PFCOUNT", b"k", b"m"], [b"PFMERGE", b"m", b"k"]),
            *([b"PFDEBUG", b"DECODE", b"k"], [b"PFDEBUG", b"TODENSE", b"k"], [b"PFADD", b"k", b"b"]),
            *([b"PFMERGE", b"k", b"m"], [b"PFCOUNT", b"k"], [b"STRLEN", b"m"]),
        ]
    )

    def __init__(self) -> None:
        self._maker = Maker()
        self.renew()

    def renew(self) -> None:
        self._ours = Alone(hash_key=HASH_KEY)
        self._session = self._ours.connect()
        self._runs = 0

    def generate(self, chance: random.Random) -> bytes:
        count = chance.choice((0, 1, 3, 40, 300))
        self._maker.make([[b"PFADD", b"k", *(chance.randbytes(4) for _ in range(count))]])
        reply, _ = parse_reply(self._maker.session.feed(encode([[b"GET", b"k"]])))
        assert isinstance(reply, bytes)
        return reply

    def run(self, data: bytes) -> None:
        self._runs += 1
        self._ours.engine.set_clock_ms(NOW_MS + self._runs, self._runs)
        with fed(encode([[b"DEL", b"m"], [b"SET", b"k", data]]) + self._COMMANDS) as block:
            split_replies(self._session.feed(block))
        must(not self._ours.errors, [repr(error) for error in self._ours.errors])
        if self._runs % 32 == 0:
            wrong = audit(self._ours.engine.keyspace)
            must(not wrong, wrong)


class Bus(Target):
    """Messages of the cluster bus: refused as the peer's fault, or heard, and the same when said again."""

    name = "bus"
    _CLUSTER, _SENDER = "ab" * 20, "cd" * 20
    words = (
        *(
            b"\x93",
            b"\x9a",
            b"\x90",
            b"\xc0",
            b"\xc2",
            b"\xc3",
            b"\xc4\x14",
            b"\xcf" + b"\xff" * 8,
            b"\xd9\xff",
        ),
        *(
            b"\xd3\x80" + b"\x00" * 7,
            b"\xdc\xff\xff",
            b"\xdd\xff\xff\xff\xff",
            b"\xc6\xff\xff\xff\xff",
            b"\x81\xc0\xc0",
        ),
        *(
            b"\xcb\x7f\xf8" + b"\x00" * 6,
            b"\xa0",
            b"\xff",
            b"\x00",
            b"\x01",
            b"\xcd\xff\xff",
            b"\x95\x00",
            b"\x94\x01",
        ),
    )

    def __init__(self) -> None:
        self._codec = messages.Codec(self._CLUSTER)

    def generate(self, chance: random.Random) -> bytes:
        number = chance.randrange(16)
        known = messages.WIRE.get(number)
        body = [_plain(chance, 0) for _ in range(len(known[1]) if known else 2)]
        header = [1, number, bytes.fromhex(self._CLUSTER), bytes.fromhex(self._SENDER)]
        header += [chance.choice((0, 1, 7, 2**31, 2**62)) for _ in range(6)]
        news = [
            [chance.randrange(6), *(_plain(chance, 1) for _ in range(chance.randrange(2, 4)))]
            for _ in range(chance.randrange(4))
        ]
        return bytes(msgpack.packb([header, body, news]))

    def run(self, data: bytes) -> None:
        for frame in (False, True):
            try:
                heard = self._codec.decode(data, 1 << 16, frame=frame)
            except PeerError:
                continue
            again = self._codec.decode(self._codec.encode(heard, frame=frame), 1 << 20, frame=frame)
            same = (again.sender, again.vitals, again.message, again.news)
            must(
                same == (heard.sender, heard.vitals, heard.message, heard.news),
                "said again it is another message",
            )


def _plain(chance: random.Random, depth: int) -> object:
    """A value as fields of messages are: an id, a number, a text, a flag, a record, some of them."""
    match chance.randrange(9 if depth < 3 else 5):
        case 0 | 1:
            return chance.choice((0, 1, 7, -1, 65_535, 2**31, 2**62, 2**63 - 1))
        case 2:
            return bytes.fromhex("cd" * 20)
        case 3:
            return chance.choice(("", "127.0.0.1", "::1", "node", "a" * 255, "slots", "b" * 2000))
        case 4:
            return chance.choice((True, False, None, 1.5, b"", b"x" * 19))
        case 5:
            meta = ["127.0.0.1", 7000, 17000, chance.choice(("node", "router")), "", "cd" * 20, 5, "1"]
            return [
                bytes.fromhex("cd" * 20),
                chance.randrange(9),
                chance.randrange(5),
                meta,
                chance.randrange(9),
            ]
    return [_plain(chance, depth + 1) for _ in range(chance.randrange(5))]
