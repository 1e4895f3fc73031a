"""Snapshots: round trips in any split, damage at every byte, and both ways with a real redis-server."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from chaos.ports import free_port
from node.engine.crc64 import crc64
from node.engine.keyspace import Keyspace
from node.engine.rdb import Decoder, SnapshotError, SnapshotWriter
from tests.waiting import wait_until

LIMIT = 64 << 20
NOW_MS = 1_700_000_000_000
Contents = dict[tuple[int, bytes], tuple[bytes, int]]


def keyspace_with(contents: Contents) -> Keyspace:
    keyspace = Keyspace(clock_ms=NOW_MS)
    for (database, key), (value, expire_ms) in contents.items():
        keyspace.set(database, key, value, expire_ms)
    return keyspace


def contents_of(keyspace: Keyspace) -> Contents:
    found: Contents = {}
    for database in range(keyspace.database_count):
        cursor = 0
        while True:
            cursor, keys = keyspace.scan(database, cursor, 1000)
            for key in keys:
                value = keyspace.get(database, key)
                assert value is not None
                found[database, key] = (value, keyspace.expiry_ms(database, key))
            if cursor == 0:
                break
    return found


def encoded(keyspace: Keyspace, step_bytes: int = 1 << 16) -> bytes:
    pieces = []
    with SnapshotWriter(keyspace, {b"redis-ver": b"7.2.4"}, limit_bytes=LIMIT) as writer:
        while writer.step(step_bytes):
            pieces.append(writer.take())
        pieces.append(writer.take())
        assert writer.written_bytes == sum(map(len, pieces))
    return b"".join(pieces)


def test_a_step_ends_with_the_entry_that_makes_it_long_enough() -> None:
    keyspace = Keyspace(clock_ms=NOW_MS)
    for number in range(100):
        keyspace.set(0, b"%d" % number, b"v" * 100_000)
    taken = 0
    with SnapshotWriter(keyspace, {}, limit_bytes=LIMIT) as writer:
        more = True
        while more:
            more = writer.step(150_000)
            piece = writer.take()
            assert len(piece) <= 150_000 + 100_100
            taken += len(piece)
    assert 100 * 100_000 <= taken <= 100 * 100_100


def decoded(data: bytes, piece_bytes: int = 1 << 20, *, keep_expired: bool = False) -> Keyspace:
    keyspace = Keyspace(clock_ms=NOW_MS)
    decoder = Decoder(keyspace, keep_expired=keep_expired)
    for at in range(0, len(data), piece_bytes):
        assert decoder.feed(data[at : at + piece_bytes]) == b""
    assert decoder.done
    assert decoder.offset == len(data)
    return keyspace


def finished(body: bytes, version: bytes = b"0011") -> bytes:
    data = b"REDIS" + version + body + b"\xff"
    return data + crc64(data).to_bytes(8, "little")


VALUES = st.one_of(
    st.binary(max_size=80),
    st.integers(-(1 << 63), (1 << 63) - 1).map(lambda number: b"%d" % number),
    st.sampled_from(
        [b"-129", b"-128", b"127", b"128", b"-32769", b"32767", b"2147483648", b"007", b"+1", b"-0"]
    ),
    st.integers(60, 70000).map(lambda size: b"x" * size),
)
CONTENTS = st.dictionaries(
    st.tuples(st.integers(0, 15), st.binary(max_size=20)),
    st.tuples(VALUES, st.one_of(st.just(-1), st.integers(NOW_MS + 1, NOW_MS + (1 << 40)))),
    max_size=30,
)


@given(contents=CONTENTS, step_bytes=st.integers(1, 200), piece_bytes=st.integers(1, 300))
def test_what_was_written_is_read_back_in_any_split(
    contents: Contents, step_bytes: int, piece_bytes: int
) -> None:
    data = encoded(keyspace_with(contents), step_bytes)
    assert contents_of(decoded(data, piece_bytes)) == contents


def test_a_snapshot_is_the_moment_it_began() -> None:
    contents: Contents = {(0, b"key:%d" % number): (b"old", -1) for number in range(2000)}
    keyspace = keyspace_with(contents)
    pieces = []
    with SnapshotWriter(keyspace, {}, limit_bytes=LIMIT) as writer:
        for number in range(2000):
            more = writer.step(1) if number % 10 == 0 else True
            if number % 3 == 0:
                keyspace.set(0, b"key:%d" % (1999 - number), b"new")
            else:
                keyspace.delete(0, b"key:%d" % number)
            keyspace.set(1, b"fresh:%d" % number, b"new")
            pieces.append(writer.take())
            assert more
        while writer.step(1 << 16):
            pieces.append(writer.take())
        pieces.append(writer.take())
    assert contents_of(decoded(b"".join(pieces))) == contents


def test_a_reader_that_stands_still_ends_the_snapshot_not_the_writes() -> None:
    keyspace = keyspace_with({(0, b"%d" % number): (bytes(1000), -1) for number in range(1000)})
    with SnapshotWriter(keyspace, {}, limit_bytes=50_000) as writer:
        for number in range(1000):
            keyspace.set(0, b"%d" % number, b"new")
        assert len(writer.take()) < 60_000
        with pytest.raises(SnapshotError, match="limit is 50000"):
            writer.step(1 << 20)
    assert keyspace.get(0, b"999") == b"new"


def test_what_follows_the_end_is_given_back() -> None:
    data = encoded(keyspace_with({(0, b"a"): (b"1", -1)}))
    decoder = Decoder(Keyspace(clock_ms=NOW_MS), keep_expired=False)
    assert decoder.feed(data[:-3]) == b""
    assert not decoder.done
    assert decoder.feed(data[-3:] + b"*1\r\n") == b"*1\r\n"
    assert decoder.done
    assert decoder.feed(b"more") == b"more"
    assert decoder.aux == {b"redis-ver": b"7.2.4"}


def test_the_time_of_an_entry_decides_whether_it_is_loaded() -> None:
    data = encoded(keyspace_with({(0, b"past"): (b"1", NOW_MS - 1), (0, b"future"): (b"2", NOW_MS + 1)}))
    keyspace = Keyspace(clock_ms=NOW_MS)
    decoder = Decoder(keyspace, keep_expired=False)
    decoder.feed(data)
    assert (decoder.key_count, decoder.expired_count) == (1, 1)
    assert contents_of(keyspace) == {(0, b"future"): (b"2", NOW_MS + 1)}
    assert decoded(data, keep_expired=True).size(0) == 2


def test_old_seconds_and_eviction_notes_are_read() -> None:
    entry = (
        b"\xfd"
        + (NOW_MS // 1000 + 9).to_bytes(4, "little")
        + b"\xf9\x07"
        + b"\xf8\x40\x10"
        + b"\x00\x01k\x01v"
    )
    keyspace = decoded(finished(b"\xfe\x00\xfb\x01\x01" + entry), 1)
    assert contents_of(keyspace) == {(0, b"k"): (b"v", (NOW_MS // 1000 + 9) * 1000)}


def test_a_checksum_of_zero_is_not_checked() -> None:
    assert contents_of(decoded(b"REDIS0009\x00\x01k\x01v\xff" + bytes(8))) == {(0, b"k"): (b"v", -1)}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"RE*IS0011", "does not begin with REDIS .at byte 0"),
        (b"X", "does not begin with REDIS"),
        (b"REDIS00x1", "not a number"),
        (b"REDIS0004", "RDB version 4 cannot be read, only 5 to 12"),
        (b"REDIS0099", "RDB version 99 cannot be read"),
        (finished(b"\x00\x01k\x01v")[:-1] + b"\x00", "the checksum is [0-9a-f]{16}, the bytes add up to"),
        (finished(b"\xfe\x10"), "database 16 does not exist here: there are 16"),
        (finished(b"\xfe\xc0\x01"), "a packed string stands where a number belongs"),
        (finished(b"\xfc" + b"\xff" * 8), "expiry of 18446744073709551615 ms"),
        (
            finished(b"\x06\x06mylist\x01"),
            "key b'mylist' in database 0: a module value .type 6. is",
        ),
        (finished(b"\x63\x01k"), "value of unknown type .type 99."),
        (finished(b"\xf5\x04code"), "functions"),
        (finished(b"\xf7"), "module"),
        (finished(b"\xf3"), "opcode 0xf3 is unknown .at byte 9"),
        (finished(b"\x00\x81" + b"\xff" * 8), "a string of 18446744073709551615 bytes is longer"),
        (finished(b"\x00\x80\x7f\xff\xff\xff"), "a string of 2147483647 bytes is longer"),
        (finished(b"\x00\x82"), "0x82 does not begin a length"),
        (finished(b"\x00\xc4"), "0xc4 does not begin a string"),
        (finished(b"\x00\x01k\xc3\x02\x7fab"), "0x7f|2 bytes of LZF cannot become 1|packed"),
        (finished(b"\x00\x01k\xc3\x03\x41\x09abc"), "3 bytes of LZF cannot become 265"),
        (finished(b"\x00\x01k\xc3\x03\x04\x20\x00\x00"), "a packed string of 4 bytes is damaged"),
    ],
)
@pytest.mark.parametrize("piece_bytes", [1, 1000])
def test_damage_is_named_with_its_place(data: bytes, message: str, piece_bytes: int) -> None:
    decoder = Decoder(Keyspace(clock_ms=NOW_MS), keep_expired=False)

    def feed_all() -> None:
        for at in range(0, len(data), piece_bytes):
            decoder.feed(data[at : at + piece_bytes])

    with pytest.raises(SnapshotError, match=message):
        feed_all()
    assert not decoder.done
    with pytest.raises(SnapshotError, match=message):
        decoder.feed(b"")


def test_every_flipped_bit_and_every_cut_is_noticed() -> None:
    contents: Contents = {(3, b"number"): (b"12345", -1), (0, b"k"): (b"some text", NOW_MS + 5)}
    data = encoded(keyspace_with(contents))
    for at in range(len(data)):
        decoder = Decoder(Keyspace(clock_ms=NOW_MS), keep_expired=True)
        decoder.feed(data[:at])
        assert not decoder.done
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            decoder = Decoder(Keyspace(clock_ms=NOW_MS), keep_expired=True)
            try:
                decoder.feed(bytes(damaged))
            except SnapshotError:
                continue
            assert not decoder.done  # a longer length waits for bytes that will not come


@given(noise=st.binary(max_size=200), piece_bytes=st.integers(1, 50))
def test_noise_is_refused_or_waits_for_more(noise: bytes, piece_bytes: int) -> None:
    decoder = Decoder(Keyspace(clock_ms=NOW_MS), keep_expired=True)
    try:
        for at in range(0, len(noise), piece_bytes):
            decoder.feed(b"REDIS0011"[9 if at else 0 :] + noise[at : at + piece_bytes])
    except SnapshotError as error:
        assert "at byte" in str(error)  # noqa: PT017  # both outcomes are fine


def test_an_announced_length_allocates_nothing() -> None:
    import resource

    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(200):
        decoder = Decoder(Keyspace(clock_ms=NOW_MS), keep_expired=True)
        decoder.feed(b"REDIS0011\x00\x01k\x80\x1f\xff\xff\xffabc")  # says half a gigabyte, sends three bytes
        decoder = Decoder(Keyspace(clock_ms=NOW_MS), keep_expired=True)
        decoder.feed(b"REDIS0011\x00\x01k\xc3\x80\x01\x00\x00\x00\x80\x1f\xff\xff\xffabc")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 100_000


# --- the real thing -----------------------------------------------------------------------------------------
needs_redis = pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")


@contextmanager
def redis_server(directory: Path, *options: str) -> Iterator[redis.Redis]:
    port = free_port()
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--dir", str(directory), "--save", "", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    client = redis.Redis(port=port, socket_timeout=10)
    try:

        def answers() -> bool:
            assert process.poll() is None, process.communicate()[0].decode()
            with suppress(redis.ConnectionError, redis.BusyLoadingError):
                return bool(client.ping())
            return False

        wait_until(answers, "redis-server answers")
        yield client
    finally:
        client.close()
        process.terminate()
        process.communicate(timeout=10)


@pytest.mark.oracle
@pytest.mark.slow
@needs_redis
def test_a_real_server_loads_what_we_write(tmp_path: Path) -> None:
    expire_ms = int(time.time() * 1000) + 3_600_000
    contents: Contents = {
        **{(0, b"key:%d" % number): (b"value %d" % number, -1) for number in range(1000)},
        **{
            (9, b"%d" % number): (b"%d" % number, expire_ms)
            for number in (0, -128, 40000, -(1 << 31), 1 << 40)
        },
        (2, b""): (b"", -1),
        (2, bytes(range(256))): (bytes(range(256)) * 300, -1),
        (2, b"k" * 70_000): (b"long key", expire_ms),
    }
    (tmp_path / "dump.rdb").write_bytes(encoded(keyspace_with(contents)))
    with redis_server(tmp_path) as client:
        assert client.info("keyspace")["db0"]["keys"] == 1000
        for (database, key), (value, expires_ms) in contents.items():
            client.execute_command("SELECT", database)
            assert client.get(key) == value
            assert client.execute_command("PEXPIRETIME", key) == expires_ms


@pytest.mark.oracle
@pytest.mark.slow
@needs_redis
def test_we_load_what_a_real_server_writes(tmp_path: Path) -> None:
    with redis_server(tmp_path) as client:
        contents: Contents = {}
        values = [
            b"12",
            b"-300",
            b"70000",
            b"-3000000000",
            b"text",
            b"",
            b"again and again " * 500,
            bytes(30_000),
        ]
        for database in (0, 5):
            client.execute_command("SELECT", database)
            for number, value in enumerate(values):
                key = b"key:%d" % number
                expire_ms = NOW_MS * 2 + number if number % 2 else -1
                client.set(key, value)
                if expire_ms > 0:
                    client.pexpireat(key, expire_ms)
                contents[database, key] = (value, expire_ms)
        client.save()
        data = (tmp_path / "dump.rdb").read_bytes()
        assert len(data) < 5_000  # packed with LZF
        for piece_bytes in (1, 100, 1 << 20):
            assert contents_of(decoded(data, piece_bytes)) == contents
