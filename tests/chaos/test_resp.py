"""chaos/resp.py: every reply form, in any split; whatever is not RESP2 is an error."""

import pytest

from chaos.resp import (
    ARRAY_ITEMS_MAX,
    BULK_BYTES_MAX,
    DEPTH_MAX,
    LINE_BYTES_MAX,
    ErrorReply,
    ProtocolError,
    ReplyParser,
    encode_command,
)

REPLIES = [
    (b"+OK\r\n", b"OK"),
    (b"-ERR no such thing\r\n", ErrorReply("ERR no such thing")),
    (b":-42\r\n", -42),
    (b"$5\r\na\r\nbc\r\n", b"a\r\nbc"),
    (b"$0\r\n\r\n", b""),
    (b"$-1\r\n", None),
    (b"*-1\r\n", None),
    (b"*0\r\n", []),
    (b"*3\r\n:1\r\n$1\r\nx\r\n*1\r\n-MOVED 1 a:2\r\n", [1, b"x", [ErrorReply("MOVED 1 a:2")]]),
]


@pytest.mark.parametrize(("wire", "value"), REPLIES)
def test_whole(wire: bytes, value: object) -> None:
    assert ReplyParser().feed(wire) == [value]


def test_every_reply_in_one_stream_byte_by_byte() -> None:
    parser = ReplyParser()
    replies = []
    for byte in b"".join(wire for wire, _ in REPLIES):
        replies += parser.feed(bytes([byte]))
    assert replies == [value for _, value in REPLIES]


def test_a_reply_is_not_given_before_its_last_byte() -> None:
    parser = ReplyParser()
    assert parser.feed(b"$3\r\nabc\r") == []
    assert parser.feed(b"\n+next\r") == [b"abc"]
    assert parser.feed(b"\n") == [b"next"]


@pytest.mark.parametrize(
    "wire",
    [
        b"hello\r\n",
        b"%1\r\n+a\r\n+b\r\n",
        b":12a\r\n",
        b":\r\n",
        b"$-2\r\n",
        b"*-2\r\n",
        b"$abc\r\n",
        b"$%d\r\n" % (BULK_BYTES_MAX + 1),
        b"*%d\r\n" % (ARRAY_ITEMS_MAX + 1),
        b"$3\r\nabcd\r\n",
        b"*1\r\n" * (DEPTH_MAX + 2),
        b"+" + b"x" * LINE_BYTES_MAX,
        b":" + b"1" * 30 + b"\r\n",
    ],
)
def test_refused(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        ReplyParser().feed(wire)


def test_encode() -> None:
    assert encode_command("SET", b"k\r\n", 12) == b"*3\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$2\r\n12\r\n"


def test_error_code() -> None:
    assert ErrorReply("MOVED 7 h:1").code == "MOVED"
    assert ErrorReply("LOADING").code == "LOADING"
