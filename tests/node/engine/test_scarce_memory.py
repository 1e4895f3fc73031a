"""When the system gives no more memory: what can't have any stays as it is."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest

from node.engine.keyspace import Keyspace

# A process of its own, for the limit is its for good. Entries are written in turn, so that no arena
# runs empty. Every run of lines but one of 208 is taken when the directory of {t} comes to 1,019 entries,
# which want 208 lines. One of its segments came to be nearly empty when there was none; the other one is
# still too full to be made shorter.
SHRINKING: Final = """
import resource
from node.engine.audit import audit
from node.engine.hashing import key_slot, keyed_hash
from node.engine.keyspace import Keyspace

HASH_KEY = bytes(16)
keyspace = Keyspace(cluster=True, databases=1, hash_key=HASH_KEY, clock_ms=1)
shrinking = [b"{t}%d" % number for number in range(4_000)]
left = [name for name in shrinking if keyed_hash(HASH_KEY, name) >> 63 == 0]
right = [name for name in shrinking if keyed_hash(HASH_KEY, name) >> 63 == 1]
large = [(b"{large}%d" % number, bytes(7_900)) for number in range(2_000)]
tags = list({key_slot(b"%d" % number): b"{%d}" % number for number in range(30_000)}.values())
donors, first = tags[:4_000], tags[4_000:8_000]
second = [tag + b"x" for tag in first]
for together in zip(shrinking, donors, first):
    for name in together:
        keyspace.set(0, name, b"v")
with open("/proc/self/statm") as statm:
    mapped = int(statm.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + (2 << 20), resource.getrlimit(resource.RLIMIT_AS)[1]))
try:
    for name, value in large:
        keyspace.set(0, name, value)
    raise SystemExit("memory never ended")
except MemoryError:
    pass
taken = 0
try:
    for donor, name in zip(donors, second):
        keyspace.delete(0, donor)
        keyspace.set(0, name, b"v")
        taken += 1
    raise SystemExit("lines never ended")
except MemoryError:
    pass
for name in right[4:] + second[taken - 208 : taken] + left:
    assert keyspace.delete(0, name)
assert keyspace.slot_size(0, key_slot(b"t")) == 4
assert all(keyspace.get(0, name) == b"v" for name in first + right[:4])
assert audit(keyspace) == []
"""


SESSION: Final = """
import resource
from node.commands import all_commands
from node.engine.audit import audit
from node.engine.engine import Engine
from node.engine.room import install_compiled
from node.engine.session import Session

engine = Engine(hash_key=bytes(16), clock_ms=1)
install_compiled(engine.registry)
for spec in all_commands():
    engine.add_command(spec)
session = Session(engine)
large = [(b"large:%d" % number, bytes(7_900)) for number in range(2_000)]


def asked(*lines):
    return [session.feed(line + b"\\r\\n") for line in lines]


def leave(more_bytes):
    with open("/proc/self/statm") as statm:
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (mapped + more_bytes, hard))


def use_up():
    leave(2 << 20)
    try:
        for name, value in large:
            engine.keyspace.set(0, name, value)
        raise SystemExit("memory never ended")
    except MemoryError:
        pass


"""

# There is a block for the beginning of each key, and none for what its first element needs.
ADDING: Final = (
    SESSION
    + """
asked(b"SET a x", b"SET length:7 x", b"XADD stream 1-1 f v")
use_up()
element = b"m" * 300
for line in (
    b"ZADD z 1 " + element[:60], b"GEOADD z 1 1 " + element[:60], b"ZADD z 1 " + element, b"SET t " + element,
    b"SADD s " + element, b"HSET h f " + element, b"RPUSH l " + element, b"XADD x 1-1 f " + element,
):
    assert asked(line)[0].startswith(b"-OOM"), line
    assert asked(b"EXISTS " + line.split()[1]) == [b":0\\r\\n"], line
assert audit(engine.keyspace) == []
"""
)

# Each of these would make a run shorter, and there is no block of that size.
TAKING_OUT: Final = (
    SESSION
    + """
element = b"v" * 60
asked(
    b"HSET h " + b" ".join(b"%d %b" % (number, element) for number in range(12)),
    b"SADD s " + b" ".join(b"%d:%b" % (number, element) for number in range(11)),
    b"ZADD z " + b" ".join(b"0.5 %d:%b" % (number, element) for number in range(9)),
    b"RPUSH l " + b" ".join(b"%d:%b" % (number, element) for number in range(7)),
)
use_up()
looks = (b"HGETALL h", b"SMEMBERS s", b"ZRANGE z 0 -1 WITHSCORES", b"LRANGE l 0 -1")
before = asked(*looks)
for line in (
    b"HDEL h 3", b"HSET h 3 short", b"SREM s 3:" + element, b"ZREM z 3:" + element, b"ZADD z 1 3:" + element,
    b"ZADD z 0 7:" + element, b"ZPOPMIN z", b"LREM l 1 3:" + element, b"LSET l 3 short", b"LPOP l", b"RPOP l",
):
    assert asked(line)[0].startswith(b"-OOM"), line
    assert asked(*looks) == before, line
    assert audit(engine.keyspace) == [], line
"""
)

PUMP: Final = (
    SESSION
    + """
import socket
from node.engine.pump import Pump

told = []
engine.on_python_error = told.append
pump = Pump(engine)


def connect():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    pump.adopt(ours.detach(), Session(engine))
    return theirs


"""
)

# A value that is received where it will stay, and a command of which every part is short.
SENDING: Final = (
    PUMP
    + """
other = connect()
zeros = bytes(1 << 20)
words = (b"$1000\\r\\n" + bytes(1000) + b"\\r\\n") * 1000
leave(48 << 20)
for head, rest in (
    (b"*3\\r\\n$3\\r\\nSET\\r\\n$1\\r\\nk\\r\\n$400000000\\r\\n", zeros),
    (b"*400000\\r\\n", words),
):
    client = connect()
    piece = head
    sent = 0
    try:
        while sent < 400_000_000:
            try:
                size = client.send(piece)
                sent += size
                piece = piece[size:] or rest
            except BlockingIOError:
                pump.run(1000, 0)
        raise SystemExit("memory never ended")
    except (BrokenPipeError, ConnectionResetError):
        pass
    assert len(pump.sessions) == 1
    assert isinstance(told.pop(), MemoryError) and told == []
    other.sendall(b"SET k v\\r\\nGET k\\r\\n")
    while pump.run(1000, 0):
        pass
    assert other.recv(100) == b"+OK\\r\\n$1\\r\\nv\\r\\n"
    assert engine.keyspace.memory()["loose_bytes"] == 0
    assert audit(engine.keyspace) == []
"""
)

# What is left of a long reply would be moved to a smaller buffer.
READING: Final = (
    PUMP
    + """
client = connect()
client.sendall(b"SET k " + bytes(b"v" * 10_000) + b"\\r\\n")
while pump.run(1000, 0):
    pass
assert client.recv(100) == b"+OK\\r\\n"
client.sendall(b"*6001\\r\\n$4\\r\\nMGET\\r\\n" + b"$1\\r\\nk\\r\\n" * 6_000)
while pump.run(1000, 0):
    pass
leave(2 << 20)
left = len(b"*6000\\r\\n") + 6_000 * len(b"$10000\\r\\n" + b"v" * 10_000 + b"\\r\\n")
while left:
    try:
        piece = client.recv(65536)
        assert piece
        left -= len(piece)
    except BlockingIOError:
        pump.run(1000, 0)
assert told == []
"""
)

# There is a block for the beginning of a set, and for some of its members, but not for all of them.
HALF_WAY: Final = (
    SESSION
    + """
engine.effects.activate()
asked(b"SADD s 1", b"SET t x")
use_up()
reached = engine.effects.offset
element = b"m" * 300
assert asked(b"APPEND t " + element)[0].startswith(b"-OOM")
assert engine.effects.can_continue_from(reached)  # that changed nothing
many = b" ".join(b"%d" % number for number in range(30)) + b" " + element
replies = asked(b"MULTI", b"SADD s " + many, b"SET u " + element, b"PING", b"EXEC")
oom = b"-OOM out of memory while running '%b'\\r\\n"
assert replies[-1] == b"*3\\r\\n" + oom % b"sadd" + oom % b"set" + b"+PONG\\r\\n", replies
assert asked(b"SCARD s") != [b":1\\r\\n"]
assert not engine.effects.can_continue_from(reached)
assert audit(engine.keyspace) == []
"""
)


def _run(script: str) -> None:
    keyspace = Keyspace(clock_ms=1)
    keyspace.set(0, b"name", b"v")
    if keyspace.memory()["arenas"] == 0:
        pytest.skip("the sanitizers' build has no arenas that could be full")
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_table_that_cannot_give_up_its_directory_keeps_it() -> None:
    _run(SHRINKING)


@pytest.mark.slow
def test_no_collection_without_elements_is_left_when_the_first_finds_no_memory() -> None:
    _run(ADDING)


@pytest.mark.slow
def test_what_cannot_be_made_shorter_for_lack_of_memory_stays_whole() -> None:
    _run(TAKING_OUT)


@pytest.mark.slow
def test_a_client_that_sends_more_than_there_is_memory_for_goes_alone() -> None:
    _run(SENDING)


@pytest.mark.slow
def test_a_client_reads_its_long_reply_where_there_is_no_memory_to_move_it() -> None:
    _run(READING)


@pytest.mark.slow
def test_what_was_done_before_memory_ended_makes_replicas_take_a_full_copy() -> None:
    _run(HALF_WAY)
