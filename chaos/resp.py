"""RESP2 as a client needs it: commands out, replies in, no I/O.

Replies become plain Python values: simple and bulk strings are bytes, integers int, arrays lists, null None.
An error reply is a value too (`ErrorReply`), because in a pipeline it belongs to one command and not to the
connection. Anything that is not RESP2 raises `ProtocolError`, after which the connection is of no more use.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

# A cluster of 500 shards answers CLUSTER NODES with about 400 KB; nothing that we ask for comes near this.
BULK_BYTES_MAX: Final = 64 * 1024 * 1024
LINE_BYTES_MAX: Final = 64 * 1024
DEPTH_MAX: Final = 16
ARRAY_ITEMS_MAX: Final = 1_000_000


class ProtocolError(Exception):
    """The peer sent bytes that are not a RESP2 reply."""


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """An error as the server worded it: `MOVED 42 127.0.0.1:7001`."""

    text: str

    @property
    def code(self) -> str:
        """The first word, by which clients tell errors apart."""
        return self.text.partition(" ")[0]


Reply: TypeAlias = "bytes | int | ErrorReply | list[Reply] | None"


def encode_command(*words: bytes | str | int) -> bytes:
    """One command as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class _Incomplete(Exception):
    """More bytes are needed; the parser starts the reply again when they are here."""


class ReplyParser:
    """Bytes in any pieces in, whole replies out.

    An incomplete reply is parsed from its beginning again when more bytes arrive. That is quadratic for a
    huge reply in tiny pieces, which a server that we trust with our time will not send.
    """

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Reply]:
        """The replies completed by `data`, in order.

        Raises:
            ProtocolError: the peer broke RESP2; close the connection.
        """
        self._pending += data
        replies: list[Reply] = []
        consumed = 0
        while consumed < len(self._pending):
            try:
                reply, consumed = self._value(consumed, 0)
            except _Incomplete:
                break
            replies.append(reply)
        del self._pending[:consumed]
        return replies

    def _line(self, at: int) -> tuple[bytes, int]:
        end = self._pending.find(b"\r\n", at, at + LINE_BYTES_MAX)
        if end < 0:
            if len(self._pending) - at >= LINE_BYTES_MAX:
                raise ProtocolError(f"a reply line is longer than {LINE_BYTES_MAX} bytes")
            raise _Incomplete
        return bytes(self._pending[at:end]), end + 2

    def _length(self, line: bytes, most: int) -> int:
        """A length between -1 and `most`."""
        length = _integer(line)
        if not -1 <= length <= most:
            raise ProtocolError(f"a reply announces a length of {length}; at most {most} is accepted")
        return length

    def _value(self, at: int, depth: int) -> tuple[Reply, int]:
        if depth > DEPTH_MAX:
            raise ProtocolError(f"a reply nests deeper than {DEPTH_MAX} levels")
        line, at = self._line(at)
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest, at
        if kind == b"-":
            return ErrorReply(rest.decode("utf-8", "replace")), at
        if kind == b":":
            return _integer(rest), at
        if kind == b"$":
            length = self._length(rest, BULK_BYTES_MAX)
            if length < 0:
                return None, at
            if len(self._pending) < at + length + 2:
                raise _Incomplete
            if self._pending[at + length : at + length + 2] != b"\r\n":
                raise ProtocolError("a bulk reply is not followed by CR LF")
            return bytes(self._pending[at : at + length]), at + length + 2
        if kind == b"*":
            count = self._length(rest, ARRAY_ITEMS_MAX)
            if count < 0:
                return None, at
            items: list[Reply] = []
            for _ in range(count):
                item, at = self._value(at, depth + 1)
                items.append(item)
            return items, at
        raise ProtocolError(f"a reply begins with {line[:16]!r}, which is not RESP2")


def _integer(text: bytes) -> int:
    digits = text[1:] if text[:1] == b"-" else text
    if not digits.isdigit() or len(digits) > 20:
        raise ProtocolError(f"{text[:32]!r} is not an integer")
    return int(text)
