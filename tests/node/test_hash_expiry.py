"""The expiry of hash fields against a slow model that was written from the documentation.

The real server that the other tests compare with is older than these commands.

Sources: https://redis.io/docs/latest/commands/hexpire/ and the pages of the other commands.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.engine.audit import audit
from node.engine.digest import digest
from node.engine.lapse import expire_fields
from node.engine.reply import Failure, Reply
from tests.node.collections_oracle import Chooser, Drawn, Rolled
from tests.oracle import Ours
from tests.protocol import parse_reply

BEGAN_MS = 1_700_000_000_000
MOMENT_MAX_MS = (1 << 46) - 1
KEYS = (b"h", b"h", b"g")
FIELDS = (b"a", b"b", b"c", b"d", b"7", b"")
WRONG_TYPE = Failure(b"WRONGTYPE Operation against a key holding the wrong kind of value")


class Clocked(Ours):
    """A node whose clock goes when it is told to."""

    now_ms = BEGAN_MS

    def clock_us(self) -> int:
        return self.now_ms * 1000

    def advance(self, by_ms: int) -> None:
        self.now_ms += by_ms
        self.call(b"PING")


class Model:
    """Fields as a dictionary: name -> (value, the moment it expires or None)."""

    def __init__(self) -> None:
        self.now_ms = BEGAN_MS
        self.hashes: dict[bytes, dict[bytes, tuple[bytes, int | None]]] = {}

    def live(self, key: bytes) -> dict[bytes, tuple[bytes, int | None]]:
        """The hash under a key, what has expired taken out; kept when it is written into."""
        found = {
            field: (value, when)
            for field, (value, when) in self.hashes.get(key, {}).items()
            if when is None or when >= self.now_ms
        }
        self.hashes[key] = found
        return found

    # ------------------------------------------------------------------------- what is there without expiry

    def hset(self, key: bytes, *pairs: bytes) -> Reply:
        fields = self.live(key)
        new = {field for field in pairs[::2] if field not in fields}
        fields.update((field, (value, None)) for field, value in zip(pairs[::2], pairs[1::2], strict=True))
        return len(new)

    def hsetnx(self, key: bytes, field: bytes, value: bytes) -> Reply:
        return 0 if field in self.live(key) else self.hset(key, field, value)

    def hincrby(self, key: bytes, field: bytes, by: bytes) -> Reply:
        value, when = self.live(key).get(field, (b"0", None))
        try:
            total = int(value) + int(by)
        except ValueError:
            return Failure(b"ERR hash value is not an integer")
        self.live(key)[field] = (b"%d" % total, when)
        return total

    def hget(self, key: bytes, field: bytes) -> Reply:
        return self.live(key).get(field, (None, None))[0]

    def hexists(self, key: bytes, field: bytes) -> Reply:
        return int(field in self.live(key))

    def hlen(self, key: bytes) -> Reply:
        return len(self.live(key))

    def hgetall(self, key: bytes) -> Reply:
        return {field: value for field, (value, _) in self.live(key).items()}

    def hdel(self, key: bytes, *fields: bytes) -> Reply:
        return sum(self.live(key).pop(field, None) is not None for field in fields)

    def rename(self, key: bytes, new_key: bytes) -> Reply:
        self.hashes[new_key] = self.live(key)
        if new_key != key:
            self.hashes[key] = {}
        return None

    def copy(self, key: bytes, new_key: bytes, _replace: bytes) -> Reply:
        self.hashes[new_key] = dict(self.live(key))
        return None

    # ------------------------------------------------------------------------------------- setting an expiry

    def moment(self, unit: bytes, value: bytes) -> int:
        when = int(value) * (1000 if unit in (b"EX", b"EXAT") else 1)
        return when + (self.now_ms if unit in (b"EX", b"PX") else 0)

    def expire(self, unit: bytes, key: bytes, value: bytes, *words: bytes) -> Reply:
        condition = b"" if words[0] == b"FIELDS" else words[0]
        when = self.moment(unit, value)
        return [self.expire_field(key, field, when, condition) for field in words[3 if condition else 2 :]]

    def expire_field(self, key: bytes, field: bytes, when: int, condition: bytes) -> int:
        fields = self.live(key)
        if field not in fields:
            return -2
        value, old = fields[field]
        met = {
            b"": True,
            b"NX": old is None,
            b"XX": old is not None,
            b"GT": old is not None and when > old,  # no expiry counts as one that never comes
            b"LT": old is None or when < old,
        }[condition]
        if not met:
            return 0
        if when <= self.now_ms:
            del fields[field]
            return 2
        fields[field] = (value, when)
        return 1

    def hpersist(self, key: bytes, _fields: bytes, _count: bytes, *fields: bytes) -> Reply:
        found = self.live(key)
        replies = [-2 if field not in found else -1 if found[field][1] is None else 1 for field in fields]
        found.update({field: (found[field][0], None) for field in fields if field in found})
        # Named twice, it has none any more when it is looked at again.
        return [-1 if reply == 1 and fields[at] in fields[:at] else reply for at, reply in enumerate(replies)]

    def ttl(
        self, shown: Callable[[int], int], key: bytes, _fields: bytes, _count: bytes, *fields: bytes
    ) -> Reply:
        found = self.live(key)
        return [
            -2 if field not in found else -1 if (when := found[field][1]) is None else shown(when)
            for field in fields
        ]

    # --------------------------------------------------------------------------------- with a value at once

    def hgetdel(self, key: bytes, _fields: bytes, _count: bytes, *fields: bytes) -> Reply:
        return [self.live(key).pop(field, (None,))[0] for field in fields]

    def hgetex(self, key: bytes, *words: bytes) -> Reply:
        at = words.index(b"FIELDS")
        replies: list[Reply] = []
        for field in words[at + 2 :]:
            replies.append(self.hget(key, field))
            if field in self.live(key) and at == 2:
                self.expire_field(key, field, self.moment(words[0], words[1]), b"")
            elif field in self.live(key) and at == 1:
                self.live(key)[field] = (self.live(key)[field][0], None)
        return replies

    def hsetex(self, key: bytes, *words: bytes) -> Reply:
        at = words.index(b"FIELDS")
        options = words[:at]
        pairs = dict(zip(words[at + 2 :: 2], words[at + 3 :: 2], strict=True))
        found = self.live(key)
        if b"FNX" in options and found.keys() & pairs.keys():
            return 0
        if b"FXX" in options and not found.keys() >= pairs.keys():
            return 0
        when = None
        for unit in (b"EX", b"PX", b"EXAT", b"PXAT"):
            if unit in options:
                when = self.moment(unit, options[options.index(unit) + 1])
        for field, value in pairs.items():
            kept = found.get(field, (b"", None))[1] if b"KEEPTTL" in options else when
            found[field] = (value, kept)
            if when is not None and when <= self.now_ms:
                del found[field]
        return 1

    def answer(self, command: list[bytes]) -> Reply:
        name, words = command[0].decode().lower(), command[1:]
        if name in ("hexpire", "hpexpire", "hexpireat", "hpexpireat"):
            unit = {"hexpire": b"EX", "hpexpire": b"PX", "hexpireat": b"EXAT", "hpexpireat": b"PXAT"}[name]
            return self.expire(unit, *words)
        if name in ("httl", "hpttl", "hexpiretime", "hpexpiretime"):
            return self.ttl(
                {
                    "httl": lambda when: (when - self.now_ms + 999) // 1000,
                    "hpttl": lambda when: when - self.now_ms,
                    "hexpiretime": lambda when: (when + 999) // 1000,
                    "hpexpiretime": lambda when: when,
                }[name],
                *words,
            )
        reply: Reply = getattr(self, name)(*words)
        return reply


# ------------------------------------------------------------------------------------------- generating


def _time(chooser: Chooser, unit: bytes, now_ms: int) -> bytes:
    span_ms = chooser.pick((1500, 1, 10, 999, 1000, 5000, 100_000, 0))
    if unit == b"EX":
        return b"%d" % (span_ms // 1000)
    if unit == b"PX":
        return b"%d" % span_ms
    moment = now_ms + span_ms - chooser.pick((0, 0, 2000))
    return b"%d" % (moment if unit == b"PXAT" else moment // 1000)


def _fields(chooser: Chooser) -> list[bytes]:
    fields = [chooser.pick(FIELDS) for _ in range(chooser.number(1, 3))]
    return [b"FIELDS", b"%d" % len(fields), *fields]


def _command(chooser: Chooser, now_ms: int) -> list[bytes]:
    key, field, value = (
        chooser.pick(KEYS),
        chooser.pick(FIELDS),
        chooser.pick((b"1", b"22", b"x" * 70, b"text")),
    )
    unit = chooser.pick((b"PX", b"EX", b"PXAT", b"EXAT"))
    time = _time(chooser, unit, now_ms)
    match chooser.number(0, 17):
        case 0 | 1 | 2:
            name = {b"PX": b"HPEXPIRE", b"EX": b"HEXPIRE", b"PXAT": b"HPEXPIREAT", b"EXAT": b"HEXPIREAT"}[
                unit
            ]
            condition = chooser.pick(([], [], [b"NX"], [b"XX"], [b"GT"], [b"LT"]))
            return [name, key, time, *condition, *_fields(chooser)]
        case 3:
            name = chooser.pick((b"HPTTL", b"HTTL", b"HEXPIRETIME", b"HPEXPIRETIME"))
            return [name, key, *_fields(chooser)]
        case 4:
            return [b"HPERSIST", key, *_fields(chooser)]
        case 5:
            return [b"HGETDEL", key, *_fields(chooser)]
        case 6:
            options = chooser.pick(([], [unit, time], [b"PERSIST"]))
            return [b"HGETEX", key, *options, *_fields(chooser)]
        case 7 | 8:
            condition = chooser.pick(([], [], [b"FNX"], [b"FXX"]))
            options = chooser.pick(([unit, time], [unit, time], [], [b"KEEPTTL"]))
            pairs = [word for _ in range(chooser.number(1, 3)) for word in (chooser.pick(FIELDS), value)]
            return [b"HSETEX", key, *condition, *options, b"FIELDS", b"%d" % (len(pairs) // 2), *pairs]
        case 9 | 10:
            return [b"HSET", key, field, value, chooser.pick(FIELDS), b"5"]
        case 11:
            return [b"HSETNX", key, field, value]
        case 12:
            return [b"HINCRBY", key, field, b"3"]
        case 13:
            return [b"HDEL", key, field, chooser.pick(FIELDS)]
        case 14:
            return [chooser.pick((b"HGET", b"HEXISTS")), key, field]
        case 15:
            return [chooser.pick((b"HGETALL", b"HLEN")), key]
        case 16:
            return chooser.pick(
                ([b"RENAME", b"h", b"g"], [b"COPY", b"h", b"g", b"REPLACE"], [b"RENAME", b"g", b"h"])
            )
    return [b"HLEN", key]


def _as_map(reply: Reply) -> Reply:
    assert isinstance(reply, list)
    return dict(zip(reply[::2], reply[1::2], strict=True))  # type: ignore[arg-type]


def run(chooser: Chooser, length: int) -> None:
    """A random sequence on a node, on the model, and in the end on a replica of the node."""
    node, model = Clocked(), Model()
    node.engine.effects.activate()
    began = node.engine.effects.offset
    history: list[object] = []
    for _ in range(length):
        match chooser.number(0, 9):
            case 0:
                by_ms = chooser.pick((1, 2, 500, 1000, 3000))
                history.append(by_ms)
                model.now_ms += by_ms
                node.advance(by_ms)
            case 1:
                history.append("expire")
                expire_fields(node.engine.keyspace, chooser.pick((1, 100)))
        command = _command(chooser, model.now_ms)
        if command[0] in (b"RENAME", b"COPY") and not model.live(command[1]):
            continue  # whether a key without a live field is there depends on the background
        history.append(command)
        wanted = model.answer(command)
        got = node.value(*command)
        if command[0] == b"HGETALL":
            got = _as_map(got)
        assert got == wanted or command[0] in (b"RENAME", b"COPY"), (got, wanted, history)
    while expire_fields(node.engine.keyspace, 1000):
        pass
    for key in set(KEYS):
        assert _as_map(node.value(b"HGETALL", key)) == model.hgetall(key), history
        assert node.value(b"EXISTS", key) == int(bool(model.live(key))), history
    assert audit(node.engine.keyspace) == [], history
    stream = node.engine.effects.read(began, 1 << 24)
    assert stream is not None
    replica = Clocked()
    replica.engine.keyspace.follower = True
    replica.now_ms = BEGAN_MS + 10**9  # its clock is far ahead; still it only does as it is told
    link = replica.connect()
    link.start_applying(0)
    replica.call(b"PING")
    assert link.feed(stream) == b""
    replica.now_ms = node.now_ms
    replica.call(b"PING")
    assert digest(replica.engine.keyspace) == digest(node.engine.keyspace), history
    assert audit(replica.engine.keyspace) == []


@pytest.mark.slow
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_short_sequences_do_what_the_model_does(data: st.DataObject) -> None:
    run(Drawn(data), 12)


@pytest.mark.slow
def test_long_sequences_do_what_the_model_does() -> None:
    for seed in range(200):
        run(Rolled(seed), 60)


# ---------------------------------------------------------------------------------------------- by hand


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("HEXPIRE n 10 FIELDS 1 a", [-2]),
        ("HEXPIRE n 10 FIELDS 2 a b", [-2, -2]),
        ("HEXPIRE h x FIELDS 1 a", Failure(b"ERR value is not an integer or out of range")),
        ("HEXPIRE h -1 FIELDS 1 a", Failure(b"ERR invalid expire time, must be >= 0")),
        ("HEXPIRE h 70368744178 FIELDS 1 a", "hexpire"),
        ("HPEXPIREAT h 70368744177664 FIELDS 1 a", "hpexpireat"),
        ("HPEXPIREAT h 70368744177663 FIELDS 1 a", [1]),
        ("HPEXPIRE h 70368744177663 FIELDS 1 a", "hpexpire"),
        ("HEXPIRE h 9223372036854775807 FIELDS 1 a", "hexpire"),
        ("HEXPIRE h 10 FIELD 1 a", "missing"),
        ("HEXPIRE h 10 NX XX FIELDS 1 a", "missing"),
        ("HEXPIRE h 10 ZZ FIELDS 1 a", "missing"),
        ("HEXPIRE h 10 FIELDS 0 a", Failure(b"ERR Parameter `numFields` should be greater than 0")),
        ("HEXPIRE h 10 FIELDS x a", Failure(b"ERR Parameter `numFields` should be greater than 0")),
        ("HEXPIRE h 10 FIELDS 2 a", "count"),
        ("HEXPIRE h 10 FIELDS 1 a b", "count"),
        ("HEXPIRE h 10 FIELDS 9223372036854775807 a b", "count"),
        ("HEXPIRE h 10 FIELDS 1", Failure(b"ERR wrong number of arguments for 'hexpire' command")),
        ("HTTL h FIELDS 3 a t z", [-1, 100, -2]),
        ("HTTL n FIELDS 1 a", [-2]),
        ("HTTL h FIELDZ 1 a", "missing"),
        ("HTTL h FIELDS 0 a", Failure(b"ERR Number of fields must be a positive integer")),
        ("HPERSIST h FIELDS 3 a t z", [-1, 1, -2]),
        ("HPERSIST h FIELDS 2 a", "count"),
        ("HPERSIST s FIELDS 1 a", WRONG_TYPE),
        ("HEXPIRE s 1 FIELDS 1 a", WRONG_TYPE),
        ("HTTL s FIELDS 1 a", WRONG_TYPE),
        ("HGETEX s FIELDS 1 a", WRONG_TYPE),
        ("HSETEX s FIELDS 1 a 1", WRONG_TYPE),
        ("HGETDEL s FIELDS 1 a", WRONG_TYPE),
        ("HGETEX h FIELDS 2 a z", [b"1", None]),
        ("HGETEX n EX 10 FIELDS 1 a", [None]),
        ("HGETEX h EX 0 FIELDS 1 a", [b"1"]),
        ("HGETEX h EX -1 FIELDS 1 a", Failure(b"ERR invalid expire time, must be >= 0")),
        ("HGETEX h EX 10 PERSIST FIELDS 1 a", "getex"),
        ("HGETEX h EX 10 PX 10 FIELDS 1 a", "getex"),
        ("HGETEX h PERSIST EX 10 FIELDS 1 a", "getex"),
        ("HGETEX h FIELDS 0 a", Failure(b"ERR Number of fields must be a positive integer")),
        ("HGETEX h NX FIELDS 1 a", "missing"),
        ("HSETEX h FIELDS 1 a 2", 1),
        ("HSETEX h FNX FIELDS 1 a 2", 0),
        ("HSETEX h FXX FIELDS 2 a 2 z 3", 0),
        ("HSETEX h FNX FXX FIELDS 1 a 2", Failure(b"ERR Only one of FXX or FNX arguments can be specified")),
        ("HSETEX h EX 10 KEEPTTL FIELDS 1 a 2", "setex"),
        ("HSETEX h KEEPTTL PX 10 FIELDS 1 a 2", "setex"),
        ("HSETEX h EX 10 FIELDS 1 a", "count"),
        ("HSETEX h EX 10 FIELDS 2 a 1 b", "count"),
        ("HSETEX h EX x FIELDS 1 a 1", Failure(b"ERR value is not an integer or out of range")),
        ("HSETEX h EXAT 1 FIELDS 1 a 1", 1),
        ("HSETEX n EXAT 1 FIELDS 1 a 1", 1),
        ("HGETDEL h FIELDS 3 a z a", [b"1", None, None]),
        ("HGETDEL n FIELDS 1 a", [None]),
        ("HGETDEL h FIELDS x a", Failure(b"ERR Number of fields must be a positive integer")),
        ("HGETDEL h a", Failure(b"ERR wrong number of arguments for 'hgetdel' command")),
    ],
)  # fmt: skip
def test_table(line: str, reply: Reply) -> None:
    texts = {
        "missing": b"ERR Mandatory argument FIELDS is missing or not at the right position",
        "count": b"ERR The `numfields` parameter must match the number of arguments",
        "getex": b"ERR Only one of EX, PX, EXAT, PXAT or PERSIST arguments can be specified",
        "hexpire": b"ERR invalid expire time in 'hexpire' command",
        "hpexpire": b"ERR invalid expire time in 'hpexpire' command",
        "hpexpireat": b"ERR invalid expire time in 'hpexpireat' command",
        "setex": b"ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
    }
    node = Clocked()
    node.pipeline(
        [[b"HSET", b"h", b"a", b"1", b"t", b"2"], [b"HEXPIRE", b"h", b"100", b"FIELDS", b"1", b"t"]]
    )
    node.call(b"SET", b"s", b"text")
    before = digest(node.engine.keyspace)
    got = node.value(*map(str.encode, shlex.split(line)))
    assert got == (Failure(texts[reply]) if isinstance(reply, str) else reply)
    if isinstance(got, Failure):
        assert digest(node.engine.keyspace) == before


def test_a_hash_with_an_expiry_is_a_table_and_stays_one() -> None:
    node = Clocked()
    node.call(b"HSET", b"h", b"a", b"1", b"b", b"2")
    assert node.value(b"HEXPIRE", b"h", b"100", b"FIELDS", b"1", b"none") == [-2]
    assert node.value(b"OBJECT", b"ENCODING", b"h") == b"listpack"
    node.call(b"HEXPIRE", b"h", b"100", b"FIELDS", b"1", b"a")
    assert node.value(b"OBJECT", b"ENCODING", b"h") == b"hashtable"
    node.call(b"HPERSIST", b"h", b"FIELDS", b"1", b"a")
    assert node.value(b"OBJECT", b"ENCODING", b"h") == b"hashtable"


def test_writing_a_field_takes_its_expiry_and_adding_to_it_does_not() -> None:
    node = Clocked()
    node.call(b"HSETEX", b"h", b"PX", b"5000", b"FIELDS", b"3", b"a", b"1", b"b", b"1", b"c", b"1")
    node.call(b"HSET", b"h", b"a", b"2")
    node.call(b"HINCRBY", b"h", b"b", b"2")
    node.call(b"HINCRBYFLOAT", b"h", b"c", b"2")
    assert node.value(b"HPTTL", b"h", b"FIELDS", b"3", b"a", b"b", b"c") == [-1, 5000, 5000]


@pytest.mark.parametrize("field_count", [10, 5000])
def test_fields_that_expire_together_go_in_bounded_steps(field_count: int) -> None:
    node = Clocked()
    node.engine.effects.activate()
    began = node.engine.effects.offset
    pairs = [word for number in range(field_count) for word in (b"f%d" % number, b"v")]
    node.call(b"HSETEX", b"h", b"PX", b"1000", b"FIELDS", b"%d" % field_count, *pairs)
    node.call(b"HSET", b"h", b"stays", b"v")
    node.advance(1001)
    # Invisible at once, to every command.
    assert node.value(b"HLEN", b"h") == 1
    assert node.value(b"HKEYS", b"h") == [b"stays"]
    assert node.value(b"HRANDFIELD", b"h") == b"stays"
    assert node.value(b"HRANDFIELD", b"h", b"10") == [b"stays"]
    assert node.value(b"HRANDFIELD", b"h", b"-2") == [b"stays", b"stays"]
    assert node.value(b"HGET", b"h", b"f1") is None
    steps = 1
    while expire_fields(node.engine.keyspace, 100):
        steps += 1
    assert steps >= field_count // 200
    assert node.engine.keyspace.expired_fields == field_count
    stream = node.engine.effects.read(began, 1 << 24)
    assert stream is not None
    commands, at = [], 0
    while at < len(stream):
        command, at = parse_reply(stream, at)
        assert isinstance(command, list)
        commands.append(command)
    gone = [field for command in commands if command[0] == b"HDEL" for field in command[2:]]
    assert sorted(map(bytes, gone)) == sorted(pairs[::2])  # type: ignore[arg-type]
    assert not expire_fields(node.engine.keyspace, 100)
    assert audit(node.engine.keyspace) == []


def test_a_hash_goes_with_its_last_field() -> None:
    node = Clocked()
    node.call(b"HSETEX", b"h", b"PX", b"10", b"FIELDS", b"1", b"a", b"1")
    node.advance(11)
    assert not expire_fields(node.engine.keyspace, 100)
    assert node.value(b"EXISTS", b"h") == 0
    assert audit(node.engine.keyspace) == []


@pytest.mark.parametrize(
    "away", ["DEL h", "RENAME h g", "SWAPDB 0 1", "FLUSHALL", "SET h x", "MOVE h 1", "COPY h g"]
)
def test_expiries_follow_a_hash_wherever_it_goes(away: str) -> None:
    node = Clocked()
    node.call(b"HSETEX", b"h", b"PX", b"10", b"FIELDS", b"1", b"a", b"1")
    node.call(b"HSET", b"h", b"b", b"2")
    node.call(*map(str.encode, away.split()))
    node.advance(11)
    while expire_fields(node.engine.keyspace, 100):
        pass
    hashes = [
        node.value(b"HKEYS", key)
        for database in (b"0", b"1")
        if node.call(b"SELECT", database)
        for key in (b"h", b"g")
        if node.value(b"TYPE", key) == b"hash"
    ]
    assert all(names == [b"b"] for names in hashes)
    assert audit(node.engine.keyspace) == []
    while node.engine.keyspace.free_some(1000):
        pass


def test_a_follower_hides_what_has_expired_and_keeps_it() -> None:
    node = Clocked()
    node.call(b"HSETEX", b"h", b"PX", b"10", b"FIELDS", b"1", b"a", b"1")
    node.engine.keyspace.follower = True
    node.advance(11)
    assert not expire_fields(node.engine.keyspace, 100)
    assert node.value(b"HGET", b"h", b"a") is None
    assert node.value(b"HLEN", b"h") == 0
    assert node.value(b"EXISTS", b"h") == 1
