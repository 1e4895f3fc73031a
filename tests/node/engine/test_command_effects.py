"""What replicas are told: effects and not causes, nothing when nothing changed; applied, the same data."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.commands import connection, keys, strings
from node.engine.engine import Engine
from node.engine.room import install_compiled
from node.engine.session import Session

NOW_MS = 1_700_000_000_123


def make() -> tuple[Engine, Session]:
    engine = Engine(hash_key=b"0123456789abcdef", clock_ms=NOW_MS)
    install_compiled(engine.registry)
    select = [spec for spec in connection.COMMANDS if spec.name == "select"]  # what the stream begins with
    for spec in (*strings.COMMANDS, *keys.COMMANDS, *select):
        engine.add_command(spec)
    engine.effects.activate()
    return engine, Session(engine)


def request(words: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def told(engine: Engine, offset: int) -> list[list[bytes]]:
    """The commands in the stream from `offset` on, without the first SELECT."""
    data = engine.effects.read(offset, 1 << 20)
    assert data is not None
    commands = []
    while data:
        header, _, data = data.partition(b"\r\n")
        words = []
        for _ in range(int(header[1:])):
            size, _, data = data.partition(b"\r\n")
            words.append(data[: int(size[1:])])
            data = data[int(size[1:]) + 2 :]
        commands.append(words)
    return commands


@pytest.mark.parametrize(
    ("before", "command", "effects"),
    [
        ("", "SET k v", ["SET k v"]),
        ("", "SET k v EX 10", [f"SET k v PXAT {NOW_MS + 10_000}"]),
        ("", "SET k v PX 10", [f"SET k v PXAT {NOW_MS + 10}"]),
        ("", "SET k v EXAT 1800000000", ["SET k v PXAT 1800000000000"]),
        ("", "SET k v GET", ["SET k v"]),
        ("SET k o EX 10", "SET k v KEEPTTL XX", ["SET k v KEEPTTL"]),
        ("", "SET k v NX", ["SET k v"]),
        ("SET k o", "SET k v NX", []),
        ("SET k o", "SET k v NX GET", []),
        ("", "SET k v XX", []),
        ("", "SET k v EX 0", []),
        ("", "SETEX k 10 v", [f"SET k v PXAT {NOW_MS + 10_000}"]),
        ("", "PSETEX k 10 v", [f"SET k v PXAT {NOW_MS + 10}"]),
        ("", "SETNX k v", ["SETNX k v"]),
        ("SET k o", "SETNX k v", []),
        ("SET k o", "GETSET k v", ["SET k v"]),
        ("SET k o", "GETDEL k", ["DEL k"]),
        ("", "GETDEL k", []),
        ("SET k o", "GETEX k", []),
        ("SET k o", "GETEX k EX 10", [f"PEXPIREAT k {NOW_MS + 10_000}"]),
        ("SET k o", "GETEX k PXAT 1", ["DEL k"]),
        ("SET k o", "GETEX k PERSIST", []),
        ("SET k o EX 10", "GETEX k PERSIST", ["PERSIST k"]),
        ("", "MSET a 1 b 2", ["MSET a 1 b 2"]),
        ("SET a 1", "MSETNX a 1 b 2", []),
        ("", "APPEND k v", ["APPEND k v"]),
        ("", "SETRANGE k 0 ''", []),
        ("", "SETRANGE k 2 x", ["SETRANGE k 2 x"]),
        ("", "INCR k", ["INCR k"]),
        ("SET k x", "INCR k", []),
        ("", "INCRBYFLOAT k 0.1", ["SET k 0.1 KEEPTTL"]),
        ("SET k v", "GET k", []),
        ("SET k v", "DEL k n", ["DEL k n"]),
        ("", "DEL n", []),
        ("SET k v", "UNLINK k", ["UNLINK k"]),
        ("SET k v", "EXPIRE k 10", [f"PEXPIREAT k {NOW_MS + 10_000}"]),
        ("SET k v", "PEXPIRE k 10 NX", [f"PEXPIREAT k {NOW_MS + 10}"]),
        ("SET k v", "EXPIREAT k 1800000000", ["PEXPIREAT k 1800000000000"]),
        ("SET k v", "PEXPIREAT k 1800000000001", ["PEXPIREAT k 1800000000001"]),
        ("SET k v", "EXPIRE k 10 XX", []),
        ("SET k v", "EXPIRE k -1", ["DEL k"]),
        ("SET k v", "EXPIREAT k 1", ["DEL k"]),
        ("", "EXPIRE k 10", []),
        ("SET k v EX 10", "PERSIST k", ["PERSIST k"]),
        ("SET k v", "PERSIST k", []),
        ("SET k v", "TOUCH k", []),
        ("SET k v", "RENAME k l", ["RENAME k l"]),
        ("SET k v", "RENAME k k", []),
        ("SET k v|SET l w", "RENAMENX k l", []),
        ("SET k v", "COPY k l", ["COPY k l"]),
        ("SET k v|SET l w", "COPY k l", []),
        ("SET k v", "MOVE k 1", ["MOVE k 1"]),
        ("", "FLUSHDB", ["FLUSHDB"]),
        ("", "FLUSHALL ASYNC", ["FLUSHALL ASYNC"]),
        ("", "SWAPDB 0 1", ["SWAPDB 0 1"]),
        # Gone since 1970: what looks at it deletes it and says so.
        ("SET k v PXAT 1", "GET k", ["DEL k"]),
        ("SET k v PXAT 1", "SETNX k w", ["DEL k", "SETNX k w"]),
        ("SET k v PXAT 1", "RENAME k l", ["DEL k"]),
    ],
)  # fmt: skip
def test_effects(before: str, command: str, effects: list[str]) -> None:
    engine, session = make()
    session.feed(request([b"DEL", b"nothing"]))
    session.feed(request([b"SETNX", b"z", b"z"]))  # so that the SELECT is out of the way
    for line in filter(None, before.split("|")):
        assert session.feed(request([word.encode() for word in shlex.split(line)])) == b"+OK\r\n"
    offset = engine.effects.offset
    session.feed(request([word.encode() for word in shlex.split(command)]))
    assert told(engine, offset) == [[word.encode() for word in shlex.split(line)] for line in effects]


_names = st.sampled_from([b"a", b"b", b"c"])
_values = st.sampled_from([b"1", b"x", b"", b"-7", b"3.5", b"y" * 60])
_ms = st.sampled_from([b"-5", b"0", b"1", b"20", b"100000"])
_commands = st.one_of(
    st.tuples(st.just(b"SET"), _names, _values),
    st.tuples(st.just(b"SET"), _names, _values, st.just(b"PX"), _ms),
    st.tuples(st.just(b"SET"), _names, _values, st.sampled_from([b"NX", b"XX", b"GET", b"KEEPTTL"])),
    st.tuples(st.sampled_from([b"INCR", b"DECR", b"GETDEL", b"PERSIST", b"DEL", b"GET"]), _names),
    st.tuples(st.sampled_from([b"APPEND", b"GETSET", b"INCRBYFLOAT", b"SETNX"]), _names, _values),
    st.tuples(st.just(b"SETRANGE"), _names, st.sampled_from([b"0", b"3", b"30"]), _values),
    st.tuples(st.sampled_from([b"RENAME", b"RENAMENX", b"COPY"]), _names, _names),
    st.tuples(st.just(b"COPY"), _names, _names, st.just(b"DB"), st.just(b"1"), st.just(b"REPLACE")),
    st.tuples(st.just(b"MOVE"), _names, st.just(b"1")),
    st.tuples(st.just(b"PEXPIRE"), _names, _ms),
    st.tuples(st.just(b"PEXPIRE"), _names, _ms, st.sampled_from([b"NX", b"XX", b"GT", b"LT"])),
    st.tuples(st.just(b"GETEX"), _names, st.just(b"PX"), _ms),
    st.tuples(st.just(b"SWAPDB"), st.just(b"0"), st.just(b"1")),
    st.tuples(st.just(b"FLUSHDB")),
    st.tuples(st.just(b"wait"), st.integers(0, 50)),
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(_commands, max_size=30))
def test_applying_the_effects_gives_the_same_data(commands: list[tuple[bytes, ...]]) -> None:
    """A follower with another clock ends up with the same entries, expiries included."""
    source, session = make()
    for command in commands:
        if command[0] == b"wait":
            source.set_clock_ms(source.now_ms + int(command[1]))
        else:
            session.feed(request(list(command)))
    while source.keyspace.expire_some(1_000):
        pass
    target, link = make()
    target.set_clock_ms(NOW_MS + 3_600_000)
    target.keyspace.follower = True
    link.start_applying(0)
    link.feed(source.effects.read(0, 1 << 20) or b"")
    target.set_clock_ms(source.now_ms)
    for database in (0, 1):
        ours, theirs = source.keyspace, target.keyspace
        names = {name for name in (b"a", b"b", b"c") if ours.exists(database, name)}
        assert ours.size(database) == theirs.size(database) == len(names)
        for name in names:
            assert ours.get(database, name) == theirs.get(database, name)
            assert ours.expiry_ms(database, name) == theirs.expiry_ms(database, name)
