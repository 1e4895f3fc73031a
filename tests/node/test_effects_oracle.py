"""What replicas are told: whoever applies the stream holds the same data, a node of ours or a real server."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.engine.digest import digest
from tests.node.strategies import KEYS, Command, key_commands, string_commands, words
from tests.oracle import Ours, Wire, decoded
from tests.protocol import parse_reply

ALL_KEYS = (b"a", b"b", b"c", b"", b"\x00\xff\r\n", b"{t}x", b"{t}y")
DATABASES = 16

writers = st.one_of(
    string_commands,
    key_commands,
    key_commands,
    st.sampled_from([[b"MULTI"], [b"EXEC"], [b"EXEC"], [b"DISCARD"]]),
    words(b"WATCH", KEYS),
)
streams = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def recorded(commands: list[Command]) -> tuple[Ours, bytes]:
    """A node that ran these commands, and the stream that its replicas would read."""
    node = Ours()
    node.engine.effects.activate()
    began = node.engine.effects.offset
    node.pipeline(commands)
    stream = node.engine.effects.read(began, 1 << 24)
    assert stream is not None
    return node, stream


def requests(stream: bytes) -> list[list[bytes]]:
    """The commands of a stream; a request is an array of bulks, which parses as a reply does."""
    found = []
    at = 0
    while at < len(stream):
        command, at = parse_reply(stream, at)
        assert isinstance(command, list)
        found.append(command)
    return found


@pytest.mark.slow
@streams
@given(commands=st.lists(writers, min_size=1, max_size=30), piece=st.sampled_from([1, 5, 64, 1 << 20]))
def test_a_node_that_applies_the_stream_holds_the_same(commands: list[Command], piece: int) -> None:
    primary, stream = recorded(commands)
    replica = Ours()
    replica.engine.effects.activate()
    replica.engine.keyspace.follower = True
    link = replica.connect()
    link.start_applying(0)
    for at in range(0, len(stream), piece):
        assert link.feed(stream[at : at + piece]) == b""
    assert not replica.errors
    assert link.applied_offset == len(stream)
    assert digest(replica.engine.keyspace) == digest(primary.engine.keyspace)
    assert [replica.engine.keyspace.size(number) for number in range(DATABASES)] == [
        primary.engine.keyspace.size(number) for number in range(DATABASES)
    ]


@pytest.mark.slow
@pytest.mark.oracle
@streams
@given(commands=st.lists(writers, min_size=1, max_size=30))
def test_a_real_server_that_runs_the_stream_holds_the_same(theirs: Wire, commands: list[Command]) -> None:
    primary, stream = recorded(commands)
    theirs.pipeline([[b"RESET"], [b"FLUSHALL"]])
    told = requests(stream)
    for words_, reply in zip(told, theirs.pipeline(told), strict=True):
        assert not reply.startswith(b"-"), (words_, reply)
    primary.session.feed(b"*1\r\n$5\r\nRESET\r\n")
    for number in range(DATABASES):
        look = [[b"SELECT", b"%d" % number], [b"DBSIZE"]]
        look += [[name, key] for key in ALL_KEYS for name in (b"GET", b"PEXPIRETIME")]
        mine, its = primary.pipeline(look), theirs.pipeline(look)
        assert list(map(decoded, mine)) == list(map(decoded, its)), number


def test_nothing_is_told_about_commands_that_changed_nothing() -> None:
    _, stream = recorded(
        [
            [b"GET", b"n"], [b"DEL", b"n"], [b"EXPIRE", b"n", b"100"], [b"SET", b"n", b"v", b"XX"],
            [b"INCR"], [b"PERSIST", b"n"], [b"RENAME", b"n", b"m"], [b"GETDEL", b"n"], [b"MULTI"],
            [b"GET", b"n"], [b"EXEC"], [b"SETRANGE", b"n", b"5", b""], [b"COPY", b"n", b"m"],
        ]
    )  # fmt: skip
    assert requests(stream) == []
