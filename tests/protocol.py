"""RESP as a client sees it: requests to bytes, bytes to replies."""

from __future__ import annotations

from collections.abc import Sequence

from node.engine.reply import NULL_ARRAY, Failure, Push, Reply, SetReply, Status, Verbatim

Words = Sequence[bytes]


def request(words: Words) -> bytes:
    """A command as clients send it."""
    return b"*%d\r\n" % len(words) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in words])


class Incomplete(Exception):
    """More bytes are needed to finish a reply."""


def parse_reply(data: bytes, at: int = 0) -> tuple[Reply, int]:
    """One reply from `at` on, and where the next begins. Values as in node.engine.reply.

    Raises:
        Incomplete: the reply is not all there.
        ValueError: it is no RESP.
    """
    end = data.find(b"\r\n", at)
    if end < 0:
        raise Incomplete
    kind, line, after = data[at : at + 1], data[at + 1 : end], end + 2
    match kind:
        case b"+":
            return Status(line), after
        case b"-":
            return Failure(line), after
        case b":":
            return int(line), after
        case b",":
            return float(line), after
        case b"#":
            return line == b"t", after
        case b"_":
            return None, after
        case b"$" | b"=":
            if line == b"-1":
                return None, after
            size = int(line)
            if len(data) < after + size + 2:
                raise Incomplete
            if data[after + size : after + size + 2] != b"\r\n":
                raise ValueError(f"a bulk of {size} bytes does not end where it says")
            body = data[after : after + size]
            return (Verbatim(body[:3], body[4:]) if kind == b"=" else body), after + size + 2
        case b"*" | b"~" | b">":
            if line == b"-1":
                return NULL_ARRAY, after
            items: list[Reply] = []
            for _ in range(int(line)):
                if data[after : after + 1] == b"$":  # most items are: no call for each
                    end = data.find(b"\r\n", after)
                    last = end + 2 + int(data[after + 1 : end] or b"0") if end > 0 else len(data)
                    if last > end + 2 and data[last : last + 2] == b"\r\n":
                        items.append(data[end + 2 : last])
                        after = last + 2
                        continue
                item, after = parse_reply(data, after)
                items.append(item)
            return {b"*": items, b"~": SetReply(items), b">": Push(items)}[kind], after
        case b"%":
            pairs: dict[bytes, Reply] = {}
            for _ in range(int(line)):
                key, after = parse_reply(data, after)
                assert isinstance(key, bytes), key
                pairs[key], after = parse_reply(data, after)
            return pairs, after
    raise ValueError(f"no reply starts with {kind!r} (at byte {at} of {data[at : at + 40]!r})")


_LINES, _BULKS, _ARRAYS, _MAPS = b"+-:,#_(", b"$=", b"*~>", b"%"


def reply_end(data: bytes, at: int = 0) -> int:
    """Where the reply at `at` ends; its values are not made.

    Raises:
        Incomplete: the reply is not all there.
        ValueError: it is no RESP.
    """
    left = 1
    while left:
        end = data.find(b"\r\n", at)
        if end < 0:
            raise Incomplete
        kind = data[at]
        left -= 1
        if kind in _LINES:
            at = end + 2
        elif kind in _BULKS:
            size = int(data[at + 1 : end])
            at = end + 2 if size < 0 else end + 4 + size
            if at > len(data):
                raise Incomplete
            if data[at - 2 : at] != b"\r\n":
                raise ValueError(f"a bulk of {size} bytes does not end where it says")
        elif kind in _ARRAYS or kind in _MAPS:
            items = max(int(data[at + 1 : end]), 0)
            left += 2 * items if kind in _MAPS else items
            at = end + 2
        else:
            raise ValueError(f"no reply starts with {kind:#x} (at byte {at} of {data[at : at + 40]!r})")
    return at


def split_replies(data: bytes) -> list[bytes]:
    """The raw bytes of each reply. Raises Incomplete if the last one is not whole."""
    out = []
    at = 0
    while at < len(data):
        end = reply_end(data, at)
        out.append(data[at:end])
        at = end
    return out
