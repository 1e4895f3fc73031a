"""Commands on the connection, transactions and parameters give a real server's replies."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.engine.reply import Failure
from tests.node.strategies import connection_commands
from tests.oracle import Ours, Wire, compare, decoded, fresh
from tests.protocol import parse_reply, request, split_replies

pytestmark = pytest.mark.oracle

# Newer than the Redis that we compare with, in words that a random sequence can form.
NEWER = {(b"client", b"setinfo"), (b"client", b"no-touch")}
# Answered by a real server and not by us yet: a wrong arity shows it to a random sequence.
LATER = {(b"client", b"tracking"), (b"client", b"caching")}
# Our answers here are sentences of our own.
OWN_WORDS = {b"help"}


# Answers about all commands and all clients: a real server has others.
ABOUT_ALL = {
    (b"command",),
    *((b"command", word) for word in (b"info", b"docs", b"list", b"count")),
    *((b"client", word) for word in (b"list", b"info", b"id")),
}


def is_comparable(command: list[bytes]) -> bool:
    head = tuple(word.lower() for word in command[:2])
    if len(command) == len(head) and head in ABOUT_ALL:
        return False
    if head[0] == b"shutdown" and head not in {(b"shutdown", b"abort"), (b"shutdown", b"x")}:
        return False  # it would
    if head[0] == b"hello" and b"setname" in map(bytes.lower, command) and len(command) != 4:
        return False  # Redis 7.0 takes a name before it has looked at the rest; we and 7.2 do not
    return head not in NEWER | LATER and not (len(head) == 2 and head[1] in OWN_WORDS)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    commands=st.lists(connection_commands.filter(is_comparable), min_size=1, max_size=25),
    resp=st.sampled_from([2, 3]),
)
def test_random_sequences(ours: Ours, theirs: Wire, commands: list[list[bytes]], resp: int) -> None:
    fresh(ours, theirs, resp)
    compare(ours, theirs, commands)


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize(
    "line",
    [
        "PING|PING hello|PING a b|ECHO|ECHO a|ECHO a b|SELECT 1|SELECT 16|SELECT x|SELECT",
        "CLIENT SETNAME me|CLIENT GETNAME|CLIENT SETNAME|CLIENT GETNAME x|CLIENT|CLIENT NOTHING|CLIENT ID x",
        "AUTH a|AUTH default a|AUTH other a|AUTH a b c|AUTH",
        "CLIENT KILL 1.2.3.4:5|CLIENT KILL ID 0|CLIENT KILL ID 99999999|CLIENT KILL TYPE x|CLIENT KILL ID",
        "CLIENT KILL ID 99999999 SKIPME maybe|"
        "CLIENT KILL ADDR 1.2.3.4:5 LADDR 1.2.3.4:5|CLIENT KILL USER x ID 1",
        "CLIENT LIST ID 99999999|CLIENT LIST ID x|CLIENT LIST TYPE x|CLIENT LIST TYPE pubsub|CLIENT LIST x",
        "CLIENT UNBLOCK 99999999|CLIENT UNBLOCK x|CLIENT UNBLOCK 9 x|CLIENT UNBLOCK 9 TIMEOUT x",
        "CLIENT PAUSE x|CLIENT PAUSE -1|CLIENT PAUSE 1 x|CLIENT PAUSE 1 WRITE x|CLIENT UNPAUSE x",
        "CLIENT PAUSE 9223372036854775807|CLIENT UNPAUSE",
        "CLIENT TRACKINGINFO|CLIENT GETREDIR|CLIENT REPLY x|"
        "CLIENT REPLY|CLIENT NO-EVICT x|CLIENT NO-EVICT on",
        "CONFIG|CONFIG NOTHING|CONFIG GET|"
        "CONFIG GET nothing|CONFIG GET save appendonly|CONFIG SET|CONFIG SET a",
        "CONFIG SET a b|CONFIG SET a b c|"
        "CONFIG SET timeout x|CONFIG SET timeout -1|CONFIG SET timeout 0 timeout 1",
        "CONFIG SET databases 4|CONFIG SET maxmemory 1x|CONFIG SET maxmemory 100mb|CONFIG GET MAXMEMORY",
        "CONFIG SET maxmemory ''|CONFIG GET maxmemory|CONFIG SET proto-max-bulk-len ''",
        "CONFIG SET proto-max-bulk-len 99999999999999999999|CONFIG SET repl-backlog-size kb",
        "CONFIG SET client-output-buffer-limit ' '|CONFIG SET client-output-buffer-limit ''|"
        "CONFIG SET client-output-buffer-limit 'slave  1 0 0'",
        "CONFIG SET maxmemory ' '|CONFIG SET maxmemory b|CONFIG SET timeout ''|"
        "CONFIG SET latency-tracking-info-percentiles ' '|CONFIG SET latency-tracking-info-percentiles ''",
        "CONFIG SET maxmemory 0 maxclients 0|CONFIG SET hz 10|"
        "CONFIG SET HZ 999999|CONFIG GET hz|CONFIG SET hz 10",
        "CONFIG SET client-output-buffer-limit x|CONFIG SET client-output-buffer-limit 'x 1 2 3'",
        "CONFIG SET client-output-buffer-limit 'slave 1mb 2mb x'|CONFIG RESETSTAT x|CONFIG REWRITE",
        "COMMAND COUNT x|COMMAND INFO nothing|COMMAND INFO get|"
        "COMMAND NOTHING|COMMAND LIST x|COMMAND DOCS nothing",
        "COMMAND INFO mget rename object|COMMAND INFO config",
        "COMMAND LIST FILTERBY|COMMAND LIST FILTERBY x y|COMMAND LIST FILTERBY MODULE x",
        "COMMAND LIST FILTERBY PATTERN getset|COMMAND LIST FILTERBY PATTERN config?r*",
        "COMMAND LIST FILTERBY ACLCAT nothing",
        "COMMAND GETKEYS get a|COMMAND GETKEYS mset a 1 b 2|COMMAND GETKEYS ping a|COMMAND GETKEYS nothing a",
        "COMMAND GETKEYS get a b|COMMAND GETKEYS object freq k|COMMAND GETKEYS|COMMAND GETKEYS get",
        "COMMAND GETKEYSANDFLAGS set a b|"
        "COMMAND GETKEYSANDFLAGS set a b get|COMMAND GETKEYSANDFLAGS rename a b",
        "COMMAND GETKEYSANDFLAGS bitfield k GET i8 0|"
        "COMMAND GETKEYSANDFLAGS bitfield k OVERFLOW SAT GET u8 0|"
        "COMMAND GETKEYSANDFLAGS bitfield k GET i8 0 INCRBY u8 0 1|COMMAND GETKEYSANDFLAGS bitfield k GET i8|"
        "COMMAND GETKEYSANDFLAGS bitfield k|COMMAND GETKEYSANDFLAGS bitfield k OVERFLOW",
        "COMMAND GETKEYS zunionstore d 3 a b|COMMAND GETKEYS zinterstore d 0 a|"
        "COMMAND GETKEYS zdiffstore d x a|COMMAND GETKEYSANDFLAGS zunionstore d 9 a|"
        "COMMAND GETKEYS zunionstore d 1 a",
        "COMMAND GETKEYSANDFLAGS lcs a b|"
        "COMMAND GETKEYSANDFLAGS del a b c|COMMAND GETKEYSANDFLAGS memory usage k",
        "TIME x|INFO nothing|INFO nothing nobody|SHUTDOWN ABORT|"
        "SHUTDOWN x|SHUTDOWN SAVE NOSAVE|DEBUG|DEBUG x",
        "DEBUG PROTOCOL string|DEBUG PROTOCOL integer|"
        "DEBUG PROTOCOL double|DEBUG PROTOCOL null|DEBUG ERROR 'X y'",
        "DEBUG PROTOCOL array|DEBUG PROTOCOL set|"
        "DEBUG PROTOCOL verbatim|DEBUG PROTOCOL true|DEBUG PROTOCOL false",
        "MULTI|MULTI|SET k v|GET k|EXEC|EXEC|DISCARD|MULTI|DISCARD|GET k",
        "MULTI|SET k|SET k v|EXEC|MULTI|NOTHING|EXEC|MULTI|INCR k|INCR k|EXEC|GET k",
        "MULTI|WATCH k|EXEC|WATCH k|SET k v|MULTI|GET k|EXEC|WATCH k|UNWATCH|SET k v|MULTI|GET k|EXEC",
        "SET k v|MULTI|INCR k|GET k|CLIENT ID x|EXEC|MULTI|RESET|"
        "EXEC|MULTI|SHUTDOWN|EXEC|MULTI|PING|EXEC x|EXEC",
        "ZADD a 1 x|WATCH a|ZUNIONSTORE d 1 a|MULTI|PING|EXEC|WATCH d|ZUNIONSTORE d 1 a|MULTI|PING|EXEC|"
        "WATCH a|ZDIFFSTORE d 2 a n|MULTI|PING|EXEC|WATCH a|ZINTERSTORE a 2 a a|MULTI|PING|EXEC",
        "RPUSH l 2 1|WATCH l|SORT l STORE o|MULTI|PING|EXEC|WATCH o|SORT l STORE o|MULTI|PING|EXEC|"
        "GEOADD g 1 1 a|WATCH g|GEORADIUS g 1 1 1 km STORE p|MULTI|PING|EXEC|"
        "WATCH p|GEORADIUS g 1 1 1 km STOREDIST p|MULTI|PING|EXEC",
        "XADD s 1-1 a b|XGROUP CREATE s g 0|WATCH s|XREADGROUP GROUP g c STREAMS s >|MULTI|PING|EXEC",
        "WATCH|WATCH k|MULTI|SELECT 1|SET k v|SELECT 0|GET k|EXEC|SELECT 1|GET k|RESET|GET k",
        "MEMORY|MEMORY USAGE nothing|MEMORY USAGE k SAMPLES x|MEMORY USAGE k SAMPLES -1|MEMORY USAGE k x 1",
        "nothing|NOTHING a b c|'no thing' 'a b'|'' ''|OBJECT|OBJECT x y|CONFIG x y",
    ],
)  # fmt: skip
def test_table(ours: Ours, theirs: Wire, line: str, resp: int) -> None:
    import shlex

    fresh(ours, theirs, resp)
    compare(ours, theirs, [list(map(str.encode, shlex.split(command))) for command in line.split("|")])


def test_hello_describes_the_server_and_sets_the_protocol(ours: Ours, theirs: Wire) -> None:
    for words in (
        [b"HELLO"],
        [b"HELLO", b"3", b"SETNAME", b"me"],
        [b"HELLO", b"2", b"AUTH", b"default", b"x"],
    ):
        mine, its = decoded(ours.call(*words)), decoded(theirs.call(*words))
        if isinstance(mine, list):
            assert isinstance(its, list)
            mine, its = (dict(zip(side[::2], side[1::2], strict=True)) for side in (mine, its))
        assert isinstance(mine, dict)
        assert isinstance(its, dict)
        assert list(mine) == list(its)
        for field in (b"server", b"proto", b"mode", b"role", b"modules"):
            assert mine[field] == its[field]
        assert mine[b"version"] == b"7.2.4"
    assert ours.value(b"CLIENT", b"GETNAME") == b"me"


@pytest.mark.parametrize(
    "data",
    [
        [b"CLIENT REPLY OFF", b"PING", b"NOTHING", b"CLIENT REPLY ON", b"PING"],
        [b"CLIENT REPLY SKIP", b"PING", b"ECHO a", b"CLIENT REPLY SKIP", b"NOTHING", b"ECHO b"],
        [b"CLIENT REPLY OFF", b"CLIENT REPLY SKIP", b"PING", b"PING", b"CLIENT REPLY ON", b"ECHO a"],
        [b"CLIENT REPLY SKIP", b"CLIENT REPLY SKIP", b"PING", b"ECHO a"],
        [b"CLIENT REPLY SKIP", b"CLIENT REPLY ON", b"PING"],
        [b"CLIENT REPLY SKIP", b"MULTI", b"SET k v", b"EXEC"],
        [b"CLIENT REPLY OFF", b"MULTI", b"SET k v", b"EXEC", b"CLIENT REPLY ON", b"GET k"],
        [b"MULTI", b"CLIENT PAUSE 100000 WRITE", b"SET k v", b"GET k", b"EXEC", b"CLIENT UNPAUSE", b"GET k"],
        [b"CLIENT REPLY OFF", b"RESET", b"PING"],
        [b"PING", b"QUIT", b"PING"],
        [b"QUIT x", b"PING"],
        [b"MULTI", b"QUIT", b"EXEC"],
    ],
)
def test_silenced_and_ended_conversations(ours: Ours, theirs: Wire, data: list[bytes]) -> None:
    sent = b"".join(request(line.split()) for line in data)
    assert ours.converse(sent) == theirs.converse(sent)


def test_watched_keys_of_another_client(ours: Ours) -> None:
    other = ours.connect()
    for change, survives in (
        (b"SET k 2", False), (b"DEL k", False), (b"GET k", True), (b"SET other 1", True),
        (b"FLUSHALL", False), (b"EXPIRE k 100", False), (b"RENAME k k2", False), (b"SWAPDB 0 1", False),
    ):  # fmt: skip
        ours.pipeline([[b"FLUSHALL"], [b"SET", b"k", b"1"], [b"WATCH", b"k"]])
        other.feed(change + b"\r\n")
        ours.pipeline([[b"MULTI"], [b"PING"]])
        assert (ours.call(b"EXEC") == b"*1\r\n+PONG\r\n") is survives, change


def test_client_list_and_kill_speak_of_sessions(ours: Ours) -> None:
    fields = dict(
        field.split(b"=", 1)
        for field in ours.value(b"CLIENT", b"INFO").rstrip().split(b" ")  # type: ignore[union-attr]
    )
    assert fields[b"id"] == b"%d" % ours.session.id
    assert fields[b"addr"] == b"127.0.0.1:1"
    assert fields[b"cmd"] == b"client|info"
    assert fields[b"flags"] == b"N"
    ours.call(b"CLIENT", b"NO-EVICT", b"ON")
    ours.call(b"CLIENT", b"NO-TOUCH", b"ON")
    ours.call(b"CLIENT", b"SETINFO", b"LIB-NAME", b"lib")
    ours.call(b"CLIENT", b"SETINFO", b"lib-ver", b"1.2")
    line = ours.value(b"CLIENT", b"INFO")
    assert isinstance(line, bytes)
    assert b" flags=eT " in line
    assert line.endswith(b"lib-name=lib lib-ver=1.2\n")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            [b"SETINFO", b"LIB-NAME", b"a b"],
            b"ERR lib-name cannot contain spaces, newlines or special characters.",
        ),
        ([b"SETINFO", b"lib-x", b"a"], b"ERR Unrecognized option 'lib-x'"),
        ([b"NO-TOUCH", b"x"], b"ERR syntax error"),
        ([b"SETINFO", b"LIB-NAME"], b"ERR wrong number of arguments for 'client|setinfo' command"),
    ],
)
def test_commands_newer_than_the_real_server(ours: Ours, words: list[bytes], text: bytes) -> None:
    assert ours.value(b"CLIENT", *words) == Failure(text)


def test_replies_parse_in_both_protocols(ours: Ours) -> None:
    for protocol in (b"2", b"3"):
        ours.call(b"HELLO", protocol)
        for words in (
            [b"COMMAND"],
            [b"COMMAND", b"DOCS"],
            [b"INFO", b"everything"],
            [b"CONFIG", b"GET", b"*"],
        ):
            raw = ours.call(*words)
            assert split_replies(raw) == [raw]
            assert parse_reply(raw)[0]


@pytest.mark.parametrize(
    "data",
    [
        request([b"QUIT"]) + b"*x\r\n",
        request([b"PING"]) + b"*x\r\n",
        b"PING\r\nPING 'x\r\n",
    ],
)
def test_an_end_is_answered_once(ours: Ours, theirs: Wire, data: bytes) -> None:
    assert ours.converse(data) == theirs.converse(data)


def test_noise_behind_a_waiting_command_is_met_when_it_has_waited(ours: Ours) -> None:
    client = ours.connect()
    assert client.feed(request([b"BLPOP", b"k", b"0"]) + b"*x\r\n") == b""
    assert not client.closing
    ours.call(b"RPUSH", b"k", b"v")
    served = request([b"k", b"v"]) + b"-ERR Protocol error: invalid multibulk length\r\n"
    assert client.feed(b"") + client.take_output() == served
    assert client.closing
