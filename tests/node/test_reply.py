"""Reply values: equality, hashing, and texts that cannot break the protocol."""

import pytest

from node.engine.reply import (
    BLOCKED,
    NO_REPLY,
    NULL_ARRAY,
    CommandError,
    Failure,
    Push,
    SetReply,
    Status,
    Verbatim,
)


@pytest.mark.parametrize("kind", [Status, Failure])
def test_one_line_texts_stay_one_line(kind: type[Status] | type[Failure]) -> None:
    assert kind(b"ERR a\r\nb\nc").text == b"ERR a  b c"
    assert kind(b"ERR plain").text == b"ERR plain"


def test_equal_by_content_and_kind() -> None:
    assert Status(b"OK") == Status(b"OK")
    assert Status(b"OK") != Failure(b"OK")
    assert len({Status(b"OK"), Status(b"OK"), Failure(b"OK")}) == 2
    assert Verbatim(b"txt", b"a") == Verbatim(b"txt", b"a")
    assert Verbatim(b"txt", b"a") != Verbatim(b"mkd", b"a")
    assert Push([b"x", [1]]) == Push((b"x", [1]))
    assert SetReply([b"x", [1]]) == SetReply((b"x", [1]))
    assert SetReply([b"x"]) != Push([b"x"])


def test_verbatim_format_has_three_bytes() -> None:
    with pytest.raises(ValueError, match="three bytes"):
        Verbatim(b"text", b"")


def test_special_replies_are_distinct() -> None:
    assert len({NULL_ARRAY, NO_REPLY, BLOCKED}) == 3


def test_command_error_keeps_bytes_and_becomes_a_failure() -> None:
    assert CommandError("ERR no such key").failure == Failure(b"ERR no such key")
    assert CommandError(b"ERR \xff\n").failure == Failure(b"ERR \xff ")
