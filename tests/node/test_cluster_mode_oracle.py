"""Cluster mode: the same refusals and replies as a real server that owns every slot, or only some."""

import shlex
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaos.ports import free_port
from gossip.slots import slot_of
from tests.node.strategies import Command, key_commands, string_commands
from tests.oracle import Ours, RedisServer, Wire, compare, fresh
from tests.waiting import wait_until

pytestmark = pytest.mark.oracle

LAST_SLOT = 16383
# Slots from here on have no owner in the second pair of servers: those of `b` and `{t}x`, not of `a`.
MISSING_FROM = 3301


def _clusters(last: int, coverage: str) -> Iterator[tuple[RedisServer, Ours]]:
    if not RedisServer.is_installed():
        pytest.skip("redis-server is not on PATH: install it to compare our replies with a real server's")
    options = ["--cluster-enabled", "yes", "--cluster-require-full-coverage", coverage]
    options += ["--cluster-port", str(free_port())]  # its default, port + 10000, need not be a port
    with RedisServer(*options) as server:
        with server.connect() as wire:
            assert wire.call(b"CLUSTER", b"ADDSLOTSRANGE", b"0", b"%d" % last) == b"+OK\r\n"
            wait_until(
                lambda: b"cluster_state:ok" in wire.call(b"CLUSTER", b"INFO"), "redis-server's cluster is up"
            )
        ours = Ours("cluster-enabled=yes")
        ours.engine.set_owners([b"127.0.0.1:%d" % server.port])
        ours.engine.set_slot_range(0, last, 0)
        ours.engine.set_self_owner(0, True)
        ours.engine.set_serving(True)
        yield server, ours


@pytest.fixture(scope="module")
def whole() -> Iterator[tuple[RedisServer, Ours]]:
    yield from _clusters(LAST_SLOT, "yes")


@pytest.fixture(scope="module")
def partial() -> Iterator[tuple[RedisServer, Ours]]:
    yield from _clusters(MISSING_FROM - 1, "no")


multi: st.SearchStrategy[Command] = st.sampled_from([[b"MULTI"], [b"EXEC"], [b"EXEC"], [b"DISCARD"]])
# A real server has databases beyond the first even here, where nobody can reach them.
_key_commands = key_commands.filter(lambda command: b"16" not in command and b"-1" not in command)
sequences = st.lists(
    st.one_of(string_commands, _key_commands, string_commands, multi), min_size=1, max_size=30
)
random_sequences = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.slow
@random_sequences
@given(commands=sequences, resp=st.sampled_from([2, 3]))
def test_random_sequences_where_every_slot_is_ours(
    whole: tuple[RedisServer, Ours], commands: list[Command], resp: int
) -> None:
    server, ours = whole
    with server.connect() as theirs:
        fresh(ours, theirs, resp)
        compare(ours, theirs, commands)


@pytest.mark.slow
@random_sequences
@given(commands=sequences, resp=st.sampled_from([2, 3]))
def test_random_sequences_where_some_slots_are_nobodys(
    partial: tuple[RedisServer, Ours], commands: list[Command], resp: int
) -> None:
    server, ours = partial
    with server.connect() as theirs:
        fresh(ours, theirs, resp)
        compare(ours, theirs, commands)


def test_the_slots_are_where_this_file_thinks() -> None:
    assert slot_of(b"b") < MISSING_FROM <= slot_of(b"a")


@pytest.mark.parametrize(
    "line",
    [
        "SET a 1|SET b 2|MGET a b|MGET a a|MSET a 1 b 2|DEL a b|EXISTS {x}a {x}b|RENAME a b|COPY {x}a b",
        "SELECT 1|SELECT 0|SELECT x|SELECT 16|SWAPDB 0 1|MOVE a 1|COPY a a DB 1|FLUSHALL|DBSIZE",
        "MULTI|SET a 1|SET b 2|EXEC|MULTI|SET {x}a 1|SET {x}b 2|EXEC|MULTI|MSET a 1 b 2|EXEC|GET a",
        "WATCH a b|WATCH {x}a {x}b|MULTI|GET {x}a|EXEC|LCS a b|OBJECT ENCODING a|MEMORY USAGE a",
        "GET a|GET b|SET b 1|KEYS *|SCAN 0|RANDOMKEY|PING|ECHO a|MGET|DEL",
    ],
)
def test_table(whole: tuple[RedisServer, Ours], partial: tuple[RedisServer, Ours], line: str) -> None:
    commands = [list(map(str.encode, shlex.split(command))) for command in line.split("|")]
    for server, ours in (whole, partial):
        with server.connect() as theirs:
            assert isinstance(theirs, Wire)
            fresh(ours, theirs, 3)
            compare(ours, theirs, commands)
