"""The session: bytes in, replies out, in any split; errors end where they should; transactions."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.commands.table import CommandSpec, command
from node.commands.transactions import COMMANDS as TRANSACTIONS
from node.engine import basics
from node.engine.engine import Engine
from node.engine.reply import (
    BLOCKED,
    NULL_ARRAY,
    CommandError,
    Failure,
    Push,
    Reply,
    Status,
    Verbatim,
)
from node.engine.session import Session
from tests.oracle import Ours

OPEN = "loading stale fast"


def make(
    name: str, arity: int, handler: Callable[..., Reply] | None, flags: str = OPEN, **more: Any
) -> CommandSpec:
    return command(name, arity, flags, group="test", summary="-", since="1.0.0", handler=handler, **more)


@pytest.fixture
def engine() -> Engine:
    engine = Engine(hash_key=b"k" * 16, clock_ms=1_000)
    basics.install(engine.registry)
    for spec in TRANSACTIONS:
        engine.add_command(spec)
    for name, arity in (("ping", -1), ("echo", 2), ("select", 2)):
        engine.add_command(make(name, arity, None))
    engine.add_command(make("args", -1, lambda _session, args: args))
    return engine


def encode(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


# ------------------------------------------------------------------------------------------------ parsing


@given(
    words=st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=5), min_size=1, max_size=6),
    cuts=st.lists(st.integers(0, 10_000), max_size=8),
)
def test_replies_do_not_depend_on_how_the_bytes_are_split(words: list[list[bytes]], cuts: list[int]) -> None:
    engine = Engine(hash_key=b"k" * 16, clock_ms=1_000)
    engine.add_command(make("args", -1, lambda _session, args: args))
    stream = b"".join(encode(b"args", *line) for line in words)
    expected = b"".join(encode(b"args", *line) for line in words)
    whole = Session(engine).feed(stream)
    assert whole == expected
    places = sorted({cut % (len(stream) + 1) for cut in cuts} | {0, len(stream)})
    session = Session(engine)
    assert b"".join(session.feed(stream[a:b]) for a, b in pairwise(places)) == expected
    single = Session(engine)
    assert b"".join(single.feed(stream[i : i + 1]) for i in range(len(stream))) == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"args a b\r\n", [b"args", b"a", b"b"]),
        (b"args a b\n", [b"args", b"a", b"b"]),
        (b"  args   a\t\r\n", [b"args", b"a"]),
        (b'args "a b" c\r\n', [b"args", b"a b", b"c"]),
        (b"args \"\\x41\\n\\\"\\\\\" 'it\\'s'\r\n", [b"args", b'A\n"\\', b"it's"]),
        (b'args ""\r\n', [b"args", b""]),
    ],
)
def test_inline_commands(engine: Engine, line: bytes, words: list[bytes]) -> None:
    assert Session(engine).feed(line) == encode(*words)


@pytest.mark.parametrize("empty", [b"\r\n", b"\n", b"*0\r\n", b"*-1\r\n", b"   \r\n"])
def test_empty_requests_are_skipped(engine: Engine, empty: bytes) -> None:
    assert Session(engine).feed(empty + encode(b"PING")) == b"+PONG\r\n"


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (b"*abc\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*2147483648\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*99999999999999999999\r\n", b"-ERR Protocol error: invalid multibulk length\r\n"),
        (b"*1\r\n:4\r\n", b"-ERR Protocol error: expected '$', got ':'\r\n"),
        (b"*1\r\n$-1\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$x\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        (b"*1\r\n$536870913\r\n", b"-ERR Protocol error: invalid bulk length\r\n"),
        (b'args "open\r\n', b"-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b'args "a"b\r\n', b"-ERR Protocol error: unbalanced quotes in request\r\n"),
        (b"x" * 70_000, b"-ERR Protocol error: too big inline request\r\n"),
        (b"*" + b"1" * 70_000, b"-ERR Protocol error: too big mbulk count string\r\n"),
        (b"*1\r\n$" + b"1" * 70_000, b"-ERR Protocol error: too big bulk count string\r\n"),
    ],
)
def test_a_broken_stream_is_answered_once_and_closed(engine: Engine, stream: bytes, error: bytes) -> None:
    session = Session(engine)
    assert session.feed(encode(b"PING") + stream) == b"+PONG\r\n" + error
    assert session.closing
    assert session.feed(encode(b"PING")) == b""


def test_announced_lengths_allocate_nothing(engine: Engine) -> None:
    session = Session(engine)
    assert session.feed(b"*1000000\r\n$536870912\r\nabc") == b""
    assert session.query_capacity_bytes < 4096


@given(st.binary(max_size=200))
def test_noise_never_escapes(noise: bytes) -> None:
    engine = Engine(hash_key=b"k" * 16, clock_ms=1_000)
    engine.add_command(make("ping", -1, lambda _session, _args: Status(b"PONG")))
    session = Session(engine)
    reply = session.feed(noise)
    assert reply == b"" or reply[:1] in b"+-"
    assert Session(engine).feed(b"PING\r\n") == b"+PONG\r\n"


# ------------------------------------------------------------------------------------------------ replies


@pytest.mark.parametrize(
    ("value", "resp2", "resp3"),
    [
        (None, b"$-1\r\n", b"_\r\n"),
        (NULL_ARRAY, b"*-1\r\n", b"_\r\n"),
        (True, b":1\r\n", b"#t\r\n"),
        (-7, b":-7\r\n", b":-7\r\n"),
        (-(2**63), b":-9223372036854775808\r\n", b":-9223372036854775808\r\n"),
        (1.5, b"$3\r\n1.5\r\n", b",1.5\r\n"),
        (float("-inf"), b"$4\r\n-inf\r\n", b",-inf\r\n"),
        (b"ab", b"$2\r\nab\r\n", b"$2\r\nab\r\n"),
        (Status(b"OK"), b"+OK\r\n", b"+OK\r\n"),
        (Failure(b"ERR no"), b"-ERR no\r\n", b"-ERR no\r\n"),
        (Verbatim(b"txt", b"hi"), b"$2\r\nhi\r\n", b"=6\r\ntxt:hi\r\n"),
        ([1, [b"a"]], b"*2\r\n:1\r\n*1\r\n$1\r\na\r\n", b"*2\r\n:1\r\n*1\r\n$1\r\na\r\n"),
        ({b"k": 1}, b"*2\r\n$1\r\nk\r\n:1\r\n", b"%1\r\n$1\r\nk\r\n:1\r\n"),
        ({b"b", b"a"}, b"*2\r\n$1\r\na\r\n$1\r\nb\r\n", b"~2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        (Push([b"m"]), b"*1\r\n$1\r\nm\r\n", b">1\r\n$1\r\nm\r\n"),
    ],
)
def test_python_replies_become_bytes(engine: Engine, value: Reply, resp2: bytes, resp3: bytes) -> None:
    engine.add_command(make("value", 1, lambda _session, _args: value))
    session = Session(engine)
    assert session.feed(b"value\r\n") == resp2
    session.set_protocol(3)
    assert session.feed(b"value\r\n") == resp3


def test_a_broken_handler_is_reported_and_answered(engine: Engine) -> None:
    seen: list[BaseException] = []
    engine.on_python_error = seen.append

    def broken(_session: Session, _args: list[bytes]) -> Reply:
        raise KeyError("lost")

    engine.add_command(make("broken", 1, broken))
    session = Session(engine)
    assert (
        session.feed(b"broken\r\nping\r\n")
        == b"-ERR internal error in 'broken': the log has the details\r\n+PONG\r\n"
    )
    assert isinstance(seen[0], KeyError)


def test_refusals_of_a_handler_are_replies(engine: Engine) -> None:
    def refusing(_session: Session, _args: list[bytes]) -> Reply:
        raise CommandError("ERR not today")

    engine.add_command(make("refusing", 1, refusing))
    assert Session(engine).feed(b"refusing\r\n") == b"-ERR not today\r\n"


# ------------------------------------------------------------------------------------------------ dispatch


def test_unknown_commands_and_wrong_arity_as_redis_says_it(engine: Engine) -> None:
    session = Session(engine)
    assert session.feed(encode(b"nope", b"a", b"b")) == (
        b"-ERR unknown command 'nope', with args beginning with: 'a' 'b' \r\n"
    )
    assert session.feed(encode(b"echo")) == b"-ERR wrong number of arguments for 'echo' command\r\n"


def test_names_match_in_any_case(engine: Engine) -> None:
    assert Session(engine).feed(b"PiNg\r\n") == b"+PONG\r\n"


def test_subcommands(engine: Engine) -> None:
    child = make("tool|help", 2, lambda _session, args: args[1])
    engine.add_command(make("tool", -2, None, subcommands=(child,)))
    session = Session(engine)
    assert session.feed(b"tool HELP\r\n") == b"$4\r\nHELP\r\n"
    assert session.feed(b"tool what\r\n") == b"-ERR unknown subcommand 'what'. Try TOOL HELP.\r\n"
    assert session.feed(b"tool\r\n") == b"-ERR wrong number of arguments for 'tool' command\r\n"
    assert session.feed(b"tool help me\r\n") == b"-ERR wrong number of arguments for 'tool|help' command\r\n"


def test_a_blocked_client_waits_and_others_do_not(engine: Engine) -> None:
    engine.add_command(make("wait", 1, lambda _session, _args: BLOCKED))
    waiting, other = Session(engine), Session(engine)
    assert waiting.feed(b"wait\r\nping\r\n") == b""
    assert other.feed(b"ping\r\n") == b"+PONG\r\n"
    waiting.unblock(7)
    assert waiting.feed(b"") == b":7\r\n+PONG\r\n"


def test_client_pause_keeps_the_command_for_later(engine: Engine) -> None:
    session = Session(engine)
    engine.set_clock_ms(1_000, 50)
    engine.pause(60, True)
    assert session.feed(b"ping\r\n") == b""
    assert session.stalled
    engine.set_clock_ms(1_010, 60)
    session.resume()
    assert session.feed(b"") == b"+PONG\r\n"


def test_role_is_answered_while_clients_wait_for_an_office(engine: Engine) -> None:
    engine.add_command(make("role", 1, lambda _session, _args: Status(b"master")))
    engine.set_clock_ms(1_000, 50)
    engine.pause(60, True)
    assert Session(engine).feed(b"role\r\n") == b"", "CLIENT PAUSE holds everything"
    engine.lease_until_ms = 60
    session = Session(engine)
    assert session.feed(b"role\r\nping\r\n") == b"+master\r\n"
    assert session.stalled


def test_reply_off_and_skip(engine: Engine) -> None:
    def mode(session: Session, args: list[bytes]) -> Reply:
        session.set_reply_mode(args[1].decode())
        return Status(b"OK")

    engine.add_command(make("mode", 2, mode))
    session = Session(engine)
    assert session.feed(b"mode skip\r\nping\r\nping\r\n") == b"+PONG\r\n"
    assert session.feed(b"mode off\r\nping\r\nnope\r\n") == b""
    assert session.feed(b"mode on\r\n") == b"+OK\r\n"


def test_long_pipelines_stop_for_unread_replies_and_lose_nothing(engine: Engine) -> None:
    session = Session(engine)
    word = b"x" * 100_000
    count = 200
    assert session.feed(encode(b"echo", word) * count) == (b"$100000\r\n%b\r\n" % word) * count


# ------------------------------------------------------------------------------------------- transactions


def test_exec_runs_what_was_queued(engine: Engine) -> None:
    session = Session(engine)
    assert session.feed(b"multi\r\nping\r\necho a\r\nexec\r\n") == (
        b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+PONG\r\n$1\r\na\r\n"
    )
    assert not session.in_transaction


def test_an_error_while_queueing_discards_the_transaction(engine: Engine) -> None:
    session = Session(engine)
    replies = session.feed(b"multi\r\nnope\r\nexec\r\n")
    assert replies.endswith(b"-EXECABORT Transaction discarded because of previous errors.\r\n")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"exec\r\n", b"-ERR EXEC without MULTI\r\n"),
        (b"discard\r\n", b"-ERR DISCARD without MULTI\r\n"),
        (b"multi\r\nmulti\r\n", b"+OK\r\n-ERR MULTI calls can not be nested\r\n"),
        (b"multi\r\nwatch a\r\n", b"+OK\r\n-ERR WATCH inside MULTI is not allowed\r\n"),
    ],
)
def test_misplaced_transaction_commands(engine: Engine, line: bytes, error: bytes) -> None:
    assert Session(engine).feed(line) == error


def test_a_watched_key_that_changed_voids_exec(engine: Engine) -> None:
    def touch(session: Session, args: list[bytes]) -> Reply:
        session.engine.keyspace.set(0, args[1], b"v")
        session.mark_changed()
        return Status(b"OK")

    from node.commands.table import KeySpec

    engine.add_command(make("touch1", 2, touch, "write", keys=(KeySpec("RW"),)))
    watcher, writer = Session(engine), Session(engine)
    watcher.feed(b"watch k\r\n")
    writer.feed(b"touch1 other\r\n")
    assert watcher.feed(b"multi\r\nping\r\nexec\r\n").endswith(b"*1\r\n+PONG\r\n")
    watcher.feed(b"watch k\r\n")
    writer.feed(b"touch1 k\r\n")
    assert watcher.feed(b"multi\r\nping\r\nexec\r\n").endswith(b"*-1\r\n")
    assert engine.watched == {}


def test_a_watched_key_that_ran_out_voids_exec_though_the_clock_goes_back(engine: Engine) -> None:
    engine.keyspace.set(0, b"k", b"v", 2_000)
    engine.keyspace.follower = True  # it stays until the primary says that it goes
    session = Session(engine)
    assert session.feed(b"watch k\r\nmulti\r\nping\r\n") == b"+OK\r\n+OK\r\n+QUEUED\r\n"
    engine.set_clock_ms(2_001)
    assert session.feed(b"echo a\r\n") == b"+QUEUED\r\n", "and not kept: EXEC will not run it"
    engine.set_clock_ms(2_000)
    assert session.feed(b"echo b\r\nexec\r\n") == b"+QUEUED\r\n*-1\r\n"


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"GET foo", b"$-1\r\n"),
        (b"GET", b"-ERR wrong"),
        (b"MGET foo {foo}b", b"-TRYAGAIN"),
        (b"MULTI|GET foo|SET foo 1|EXEC", b"*2\r\n$-1\r\n+OK\r\n"),
        (b"MULTI|GET foo|DISCARD", b"+OK\r\n"),
        (b"MULTI|GET|GET foo|EXEC", b"-EXECABORT"),
    ],
)
def test_asking_holds_for_one_command_or_a_whole_transaction(line: bytes, reply: bytes) -> None:
    """The replies of a real server that imports the slot."""
    ours = Ours("cluster-enabled=yes")
    ours.engine.set_owners([b"here:1", b"there:2"])
    ours.engine.set_slot_range(0, 16383, 1)
    ours.engine.set_self_owner(0, True)
    ours.engine.set_importing(ours.engine.keyspace.slot_of(b"foo"), True)
    session = ours.connect()
    session.asking = True
    replies = [session.feed(encode(*words.split())) for words in line.split(b"|")]
    assert replies[-1].startswith(reply)
    assert session.feed(encode(b"GET", b"foo")).startswith(b"-MOVED")


def test_exec_is_sent_on_rather_than_refused() -> None:
    """A primary that lost its office between MULTI and EXEC: where to go matters more than why not here."""
    ours = Ours("cluster-enabled=yes")
    ours.engine.set_owners([b"here:1", b"there:2"])
    ours.engine.set_slot_range(0, 16383, 0)
    ours.engine.set_self_owner(0, True)
    session = ours.connect()
    session.feed(encode(b"MULTI") + encode(b"SET", b"foo", b"1"))
    ours.engine.set_slot_range(0, 16383, 1)
    ours.engine.write_refusal = b"CLUSTERDOWN no lease"
    assert session.feed(encode(b"EXEC")) == b"-MOVED 12182 there:2\r\n"
    assert not session.in_transaction
    ours.engine.set_slot_range(0, 16383, 0)
    session.feed(encode(b"MULTI"))
    ours.engine.write_refusal = None
    session.feed(encode(b"SET", b"foo", b"1"))
    ours.engine.write_refusal = b"CLUSTERDOWN no lease"
    assert session.feed(encode(b"EXEC")).startswith(b"-EXECABORT")
    assert session.feed(encode(b"GET", b"foo")) == b"$-1\r\n"


def test_effects_of_a_transaction_are_wrapped(engine: Engine) -> None:
    def touch(session: Session, _args: list[bytes]) -> Reply:
        session.mark_changed()
        return Status(b"OK")

    engine.add_command(make("touch1", 2, touch, "write"))
    engine.effects.activate()
    session = Session(engine)
    session.feed(b"multi\r\nping\r\ntouch1 a\r\ntouch1 b\r\nexec\r\ntouch1 c\r\nmulti\r\nping\r\nexec\r\n")
    stream = engine.effects.read(0, 10_000)
    assert stream == encode(b"SELECT", b"0") + encode(b"MULTI") + encode(b"touch1", b"a") + encode(
        b"touch1", b"b"
    ) + encode(b"EXEC") + encode(b"touch1", b"c")


@pytest.mark.parametrize("changes", [True, False])
def test_a_command_that_raises_after_a_change_ends_the_history(engine: Engine, changes: bool) -> None:
    def breaks(session: Session, args: list[bytes]) -> Reply:
        if changes:
            session.engine.keyspace.set(0, args[1], b"half")
        raise MemoryError("not enough")

    told: list[BaseException] = []
    engine.on_python_error = told.append
    engine.add_command(make("breaks", 2, breaks, "write"))
    engine.effects.activate()
    engine.effects.append(0, [b"before"])
    reached = engine.effects.offset
    watching, session = Session(engine), Session(engine)
    watching.feed(b"watch k\r\n")
    lines = b"breaks k\r\n" * 3 + b"multi\r\nbreaks k\r\nping\r\nexec\r\n"
    oom = b"-OOM out of memory while running 'breaks'\r\n"
    assert session.feed(lines) == oom * 3 + b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n" + oom + b"+PONG\r\n"
    assert engine.effects.can_continue_from(reached) is not changes
    assert watching.watch_broken is changes
    assert [getattr(error, "__notes__", []) for error in told] == [
        ["it had changed something before: replicas take a new full copy"] if changes else []
    ] * 4
    engine.effects.append(0, [b"after"])
    assert engine.effects.can_continue_from(engine.effects.offset)


def test_histories_that_end_one_after_the_other_leave_no_block_out(engine: Engine) -> None:
    def breaks(session: Session, _args: list[bytes]) -> Reply:
        session.engine.keyspace.set(0, b"k", b"half")
        raise MemoryError("not enough")

    engine.add_command(make("breaks", 1, breaks, "write"))
    engine.effects.activate()
    Session(engine).feed(b"breaks\r\n" * 140_000)
    assert (engine.effects.start, engine.effects.offset) == (140_000, 140_000)
    engine.effects.append(0, [b"x"])
    assert engine.effects.read(140_000, 100) == encode(b"SELECT", b"0") + encode(b"x")


# ---------------------------------------------------------------------------------------- applying a stream


def test_an_applied_stream_is_silent_counted_and_passed_on(engine: Engine) -> None:
    def touch(session: Session, _args: list[bytes]) -> Reply:
        session.mark_changed()
        return Status(b"OK")

    engine.add_command(make("touch1", 2, touch, "write"))
    engine.effects.activate()
    engine.effects.reset(500)
    engine.effects.activate()
    link = Session(engine)
    link.start_applying(500)
    stream = encode(b"SELECT", b"3") + encode(b"touch1", b"a") + b"\r\n" + encode(b"PING")
    half = len(stream) // 2
    assert link.feed(stream[:half]) == b""
    assert link.feed(stream[half:]) == b""
    assert link.applied_offset == engine.effects.offset == 500 + len(stream)
    assert engine.effects.read(500, 10_000) == stream
