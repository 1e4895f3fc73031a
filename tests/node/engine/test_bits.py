"""Commands on bits against a model that keeps values as text of 0 and 1, and what replicas are told."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.commands import bits, connection, keys, strings
from node.engine.engine import Engine
from node.engine.reply import Failure, Reply
from node.engine.room import install_compiled
from node.engine.session import Session
from tests.protocol import parse_reply, request

NOW_MS = 1_700_000_000_123
NAMES = [b"a", b"b", b"a long name, so that values start elsewhere in their entries"]


def make() -> tuple[Engine, Session]:
    engine = Engine(hash_key=b"0123456789abcdef", clock_ms=NOW_MS)
    install_compiled(engine.registry)
    select = [spec for spec in connection.COMMANDS if spec.name == "select"]  # what the stream begins with
    for spec in (*strings.COMMANDS, *bits.COMMANDS, *keys.COMMANDS, *select):
        engine.add_command(spec)
    engine.effects.activate()
    return engine, Session(engine)


def call(session: Session, *words: bytes) -> Reply:
    return parse_reply(session.feed(request(words)))[0]


def stream(engine: Engine, offset: int = 0) -> bytes:
    data = engine.effects.read(offset, 1 << 20)
    assert data is not None
    return data


class Model:
    """Slow and plain: a value is a text of 0 and 1, a number is Python's."""

    def __init__(self) -> None:
        self.values: dict[bytes, str] = {}

    def bytes_of(self, key: bytes) -> bytes | None:
        text = self.values.get(key)
        return None if text is None else bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))

    def set(self, key: bytes, value: bytes) -> None:
        self.values[key] = "".join(f"{byte:08b}" for byte in value)

    def _room(self, key: bytes, end: int) -> None:
        text = self.values.get(key, "")
        self.values[key] = text + "0" * max(0, (end + 7) // 8 * 8 - len(text))

    def _read(self, key: bytes, at: int, width: int) -> str:
        return self.values.get(key, "")[at : at + width].ljust(width, "0")

    def _write(self, key: bytes, at: int, new: str) -> None:
        text = self.values[key]
        self.values[key] = text[:at] + new + text[at + len(new) :]

    def setbit(self, key: bytes, at: int, bit: int) -> int:
        self._room(key, at + 1)
        old = self._read(key, at, 1)
        self._write(key, at, str(bit))
        return int(old)

    def getbit(self, key: bytes, at: int) -> int:
        return int(self._read(key, at, 1))

    def _range(self, key: bytes, first: int, last: int, in_bits: bool) -> tuple[int, int]:
        """The range as text positions, its end exclusive; empty: start is not before end."""
        total = len(self.values[key]) // (1 if in_bits else 8)
        first = max(0, first + total if first < 0 else first)
        last = min(total - 1, max(0, last + total if last < 0 else last))
        scale = 1 if in_bits else 8
        return first * scale, (last + 1) * scale

    def bitcount(self, key: bytes, first: int, last: int, in_bits: bool) -> int:
        if key not in self.values or (first < 0 and last < 0 and first > last):
            return 0
        start, end = self._range(key, first, last, in_bits)
        return self.values[key][start:end].count("1")

    def bitpos(self, key: bytes, bit: int, first: int, last: int | None, in_bits: bool) -> int:
        if key not in self.values:
            return -1 if bit else 0
        start, end = self._range(key, first, -1 if last is None else last, in_bits)
        if start >= end:
            return -1
        found = self.values[key].find(str(bit), start, end)
        return end if found < 0 and bit == 0 and last is None else found

    def bitop(self, how: bytes, target: bytes, operands: list[bytes]) -> int:
        texts = [self.values.get(key, "") for key in operands]
        longest = max(map(len, texts))
        columns = zip(*(text.ljust(longest, "0") for text in texts), strict=True)
        combine = {
            b"AND": lambda column: "01"["0" not in column],
            b"OR": lambda column: "01"["1" in column],
            b"XOR": lambda column: "01"[column.count("1") % 2],
            b"NOT": lambda column: "10"[int(column[0])],
        }[how]
        result = "".join(map(combine, columns))
        self.values.pop(target, None)
        if longest:
            self.values[target] = result
        return longest // 8

    def bitfield(self, key: bytes, steps: list[tuple[str, str, int, bool, int, int]]) -> list[int | None]:
        ends = [at + width for verb, _, width, _, at, _ in steps if verb != "GET"]
        if ends:
            self._room(key, max(ends))
        return [self._step(key, *step) for step in steps]

    def _step(
        self, key: bytes, verb: str, overflow: str, width: int, signed: bool, at: int, operand: int
    ) -> int | None:
        old = int(self._read(key, at, width), 2)
        if signed and old >> (width - 1):
            old -= 1 << width
        if verb == "GET":
            return old
        low, high = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else (0, (1 << width) - 1)
        new = operand if verb == "SET" else old + operand
        if verb == "SET" and not signed and new < 0:
            new += 1 << 64  # SET takes it for the unsigned number with the same bits
        if not low <= new <= high:
            if overflow == "FAIL":
                return None
            if overflow == "WRAP":
                new = (new - low) % (1 << width) + low
            elif new > high or (
                verb == "SET" and high - new >= 1 << 63
            ):  # so far below is too much for Redis
                new = high
            else:
                new = low
        self._write(key, at, f"{new % (1 << width):0{width}b}")
        return new if verb == "INCRBY" else old


names = st.sampled_from(NAMES)
contents = st.one_of(
    st.binary(max_size=40),
    st.integers(-(10**18), 10**18).map(lambda number: b"%d" % number),
    st.tuples(st.integers(0, 150), st.sampled_from([b"\x00", b"\xff"])).map(lambda pair: pair[0] * pair[1]),
)
positions = st.integers(0, 300)
ends = st.one_of(st.integers(-350, 350), st.sampled_from([-(1 << 63), (1 << 63) - 1]))
numbers = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(0, 63).flatmap(lambda power: st.sampled_from([1 << power, -(1 << power), (1 << power) - 1])),
).map(lambda number: max(-(1 << 63), min((1 << 63) - 1, number)))


@st.composite
def steps(draw: st.DrawFn) -> tuple[str, str, int, bool, int, int]:
    signed = draw(st.booleans())
    return (
        draw(st.sampled_from(["GET", "SET", "INCRBY"])),
        draw(st.sampled_from(["WRAP", "SAT", "FAIL"])),
        draw(st.integers(1, 64 if signed else 63)),
        signed,
        draw(positions),
        draw(numbers),
    )


commands = st.one_of(
    st.tuples(st.just("set"), names, contents),
    st.tuples(st.just("set"), names, contents),
    st.tuples(st.just("setbit"), names, positions, st.integers(0, 1)),
    st.tuples(st.just("getbit"), names, positions),
    st.tuples(st.just("bitcount"), names, ends, ends, st.booleans()),
    st.tuples(st.just("bitpos"), names, st.integers(0, 1), ends, st.none(), st.just(False)),
    st.tuples(st.just("bitpos"), names, st.integers(0, 1), ends, ends, st.booleans()),
    st.tuples(
        st.just("bitop"),
        st.sampled_from([b"AND", b"OR", b"XOR"]),
        names,
        st.lists(names, min_size=1, max_size=5),
    ),
    st.tuples(st.just("bitop"), st.just(b"NOT"), names, st.lists(names, min_size=1, max_size=1)),
    st.tuples(st.just("bitfield"), names, st.lists(steps(), max_size=5)),
)


def as_words(name: str, arguments: tuple[object, ...]) -> list[bytes]:
    """The command that means the same to the engine as the call means to the model."""
    flat: list[object] = [name.upper()]
    if name == "bitfield":
        key, operations = arguments
        flat.append(key)
        for verb, overflow, width, signed, at, operand in operations:  # type: ignore[attr-defined]
            flat += ["OVERFLOW", overflow, verb, f"{'i' if signed else 'u'}{width}", at]
            flat += [] if verb == "GET" else [operand]
    elif name == "bitop":
        how, target, operands = arguments
        flat += [how, target, *operands]  # type: ignore[misc]
    elif name in ("bitcount", "bitpos"):
        *first, last, in_bits = arguments
        flat += first
        flat += [] if last is None else [last, "BIT" if in_bits else "BYTE"]
    else:
        flat += arguments
    return [word if isinstance(word, bytes) else str(word).encode() for word in flat]


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(sequence=st.lists(commands, min_size=1, max_size=20))
def test_model(sequence: list[tuple[str, object]]) -> None:
    engine, session = make()
    model = Model()
    for name, *arguments in sequence:
        wanted = getattr(model, name)(*arguments)
        words = as_words(name, tuple(arguments))
        reply = call(session, *words)
        if name != "set":
            assert reply == wanted, words
    follower, link = make()
    link.feed(stream(engine))
    for key in NAMES:
        assert call(session, b"GET", key) == model.bytes_of(key)
        assert call(link, b"GET", key) == model.bytes_of(key)
    assert follower.keyspace.size(0) == len(model.values)


@pytest.mark.parametrize(
    ("before", "command", "effects"),
    [
        ("", "SETBIT k 3 1", "SETBIT k 3 1"),
        ("", "SETBIT k 3 0", "SETBIT k 3 0"),  # the key is made
        ("SETBIT k 3 1", "SETBIT k 3 1", ""),
        ("SETBIT k 3 1", "SETBIT k 2 0", ""),
        ("SETBIT k 3 1", "SETBIT k 8 0", "SETBIT k 8 0"),  # it grows
        ("SETBIT k 3 1", "GETBIT k 3", ""),
        ("SETBIT k 3 1", "BITOP NOT d k", "BITOP NOT d k"),
        ("SETBIT k 3 1", "BITOP AND d k n", "BITOP AND d k n"),
        ("SETBIT k 3 1", "BITOP OR k n", "BITOP OR k n"),  # nothing left: k goes
        ("", "BITOP OR k n", ""),
        ("SETBIT k 3 1", "BITOP OR k k", "BITOP OR k k"),
        ("", "BITFIELD k GET u8 0", ""),
        ("", "BITFIELD k SET u8 0 7 GET u8 0", "BITFIELD k SET u8 0 7 GET u8 0"),
        ("SETBIT k 15 1", "BITFIELD k SET u8 0 0", ""),
        ("SETBIT k 15 1", "BITFIELD k OVERFLOW FAIL INCRBY u8 0 256", ""),
        # All fail and yet the value is longer now: replicas must hear of it.
        ("", "BITFIELD k OVERFLOW FAIL INCRBY u8 0 256", "BITFIELD k OVERFLOW FAIL INCRBY u8 0 256"),
        ("", "BITFIELD k SET u8 0 1 SET u8 0 x", ""),
        ("", "SETBIT k 4294967296 1", ""),
    ],
)  # fmt: skip
def test_effects(before: str, command: str, effects: str) -> None:
    engine, session = make()
    call(session, b"SETNX", b"z", b"z")  # so that the SELECT is out of the way
    if before:
        call(session, *map(str.encode, shlex.split(before)))
    offset = engine.effects.offset
    call(session, *map(str.encode, shlex.split(command)))
    assert stream(engine, offset) == (request(effects.encode().split()) if effects else b"")


def test_a_stream_may_reach_beyond_our_limit() -> None:
    """A primary with a higher proto-max-bulk-len was right to allow it."""
    engine, session = make()
    engine.set_limits(bulk_len_max=1 << 20)
    refused = Failure(b"ERR bit offset is not an integer or out of range")
    assert call(session, b"SETBIT", b"k", b"%d" % (8 << 20), b"1") == refused
    assert call(session, b"SETBIT", b"k", b"%d" % ((8 << 20) - 1), b"1") == 0
    session.start_applying(0)
    session.feed(request([b"SETBIT", b"k", b"%d" % (8 << 20), b"1"]))
    assert call(Session(engine), b"STRLEN", b"k") == (1 << 20) + 1


def test_an_offset_in_fields_cannot_overflow() -> None:
    _, session = make()
    refused = Failure(b"ERR bit offset is not an integer or out of range")
    for index in (1 << 60, (1 << 63) // 8, (1 << 63) - 1, 1 << 63):
        assert call(session, b"BITFIELD", b"k", b"SET", b"u8", b"#%d" % index, b"1") == refused
    assert call(session, b"EXISTS", b"k") == 0


def test_results_take_their_bytes_and_give_them_back() -> None:
    """Every way a result is stored: new, over a number, over an expiry, in place, longer, shorter, gone."""
    engine, session = make()
    empty = engine.keyspace.memory()["used_bytes"]
    call(session, b"SET", b"long", b"x" * 100_000)
    call(session, b"SET", b"short", b"77")
    for line in (
        "BITOP AND d long", "BITOP AND d long short", "BITOP NOT d short", "SET d 5", "BITOP OR d short",
        "SET d x EX 100", "BITOP OR d d long", "BITOP OR short short long", "SET d x EX 100",
        "BITOP XOR d long", "BITOP AND d n", "BITOP OR d long", "BITOP OR long n", "DEL short d",
    ):  # fmt: skip
        assert not isinstance(call(session, *map(str.encode, shlex.split(line))), Failure)
        assert call(session, b"TTL", b"d") in (-1, -2) or "EX" in line
    assert engine.keyspace.size(0) == 0
    assert engine.keyspace.memory()["used_bytes"] == empty
