"""What a command written in Python may answer: plain values, and a few small classes for the rest.

The session turns a reply into bytes; handlers never see the protocol version. The whole table:

| Python                     | RESP3              | RESP2                          |
|----------------------------|--------------------|--------------------------------|
| `None`                     | `_`                | `$-1`                          |
| `NULL_ARRAY`               | `_`                | `*-1`                          |
| `bool`                     | `#t` `#f`          | `:1` `:0`                      |
| `int` (64 bit)             | `:n`               | `:n`                           |
| `float`                    | `,x`               | bulk string of the same digits |
| `bytes`                    | bulk string        | bulk string                    |
| `Status(b"OK")`            | `+OK`              | `+OK`                          |
| `Failure(b"ERR ...")`      | `-ERR ...`         | `-ERR ...`                     |
| `Verbatim(b"txt", b"...")` | `=len` `txt:...`   | bulk string without the format |
| `list`, `tuple`            | `*n`               | `*n`                           |
| `set`, `frozenset`         | `~n`               | `*n`                           |
| `SetReply([...])`          | `~n`               | `*n`                           |
| `dict`                     | `%n`               | `*2n`, keys and values in turn |
| `Push((...))`              | `>n`               | `*n`                           |
| `NO_REPLY`                 | nothing            | nothing                        |
| `NOTED`                    | nothing            | nothing                        |
| `BLOCKED`                  | nothing until `session.unblock(reply)` | the same   |

`NOTED` also says that nothing was done but waking tasks: the pump need not ask for new deadlines.

`bool` comes before `int` on purpose: True is an int to Python and must not become `:1` in RESP3.

Plain Python with no compiled import, so that tests, the simulator and the router can use the same
values without the compiled room. The classes are written out rather than dataclasses: a handler makes
one for each reply, and a slotted `__init__` costs a third of a frozen dataclass's.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence, Set
from typing import Final, Literal, TypeAlias


def _one_line(text: bytes) -> bytes:
    if b"\r" in text or b"\n" in text:
        return text.replace(b"\r", b" ").replace(b"\n", b" ")
    return text


class Status:
    """A simple string, as `+OK`. Line breaks become blanks: they would end the reply early."""

    __slots__ = ("text",)

    def __init__(self, text: bytes) -> None:
        self.text = _one_line(text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Status) and self.text == other.text

    def __hash__(self) -> int:
        return hash((Status, self.text))

    def __repr__(self) -> str:
        return f"Status({self.text!r})"


class Failure:
    """An error reply. The first word is the code that clients look at: `ERR`, `WRONGTYPE`, `MOVED`...

    Line breaks become blanks: error texts quote what strangers sent.
    """

    __slots__ = ("text",)

    def __init__(self, text: bytes) -> None:
        self.text = _one_line(text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Failure) and self.text == other.text

    def __hash__(self) -> int:
        return hash((Failure, self.text))

    def __repr__(self) -> str:
        return f"Failure({self.text!r})"


class Verbatim:
    """A text meant for eyes. `format` is three bytes, `txt` or `mkd`."""

    __slots__ = ("data", "format")

    def __init__(self, format: bytes, data: bytes) -> None:
        if len(format) != 3:
            raise ValueError(f"a verbatim format is three bytes, not {format!r}")
        self.format = format
        self.data = data

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Verbatim) and (self.format, self.data) == (other.format, other.data)

    def __hash__(self) -> int:
        return hash((Verbatim, self.format, self.data))

    def __repr__(self) -> str:
        return f"Verbatim({self.format!r}, {self.data!r})"


class SetReply:
    """A set whose items keep an order of ours, or cannot be hashed. The caller sees to uniqueness.

    A Python set of byte strings has another order in every process; answers that people read or tests
    compare are better off with this.
    """

    __slots__ = ("items",)

    def __init__(self, items: Sequence[Reply]) -> None:
        self.items = items

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SetReply) and list(self.items) == list(other.items)

    __hash__ = None  # type: ignore[assignment]  # items may hold lists

    def __repr__(self) -> str:
        return f"SetReply({self.items!r})"


class Push:
    """A message the client did not ask for (invalidation, pub/sub). Not the reply to a command."""

    __slots__ = ("items",)

    def __init__(self, items: Sequence[Reply]) -> None:
        self.items = items

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Push) and list(self.items) == list(other.items)

    __hash__ = None  # type: ignore[assignment]  # items may hold lists

    def __repr__(self) -> str:
        return f"Push({self.items!r})"


class Special(enum.Enum):
    """Replies that carry no value of their own; compared by identity."""

    NULL_ARRAY = "null array"
    NO_REPLY = "no reply"
    NOTED = "no reply, and no new deadline"
    BLOCKED = "blocked"

    def __repr__(self) -> str:
        return self.name


NULL_ARRAY: Final = Special.NULL_ARRAY
NO_REPLY: Final = Special.NO_REPLY
NOTED: Final = Special.NOTED
BLOCKED: Final = Special.BLOCKED

OK: Final = Status(b"OK")

Reply: TypeAlias = (
    bool
    | int
    | float
    | bytes
    | Status
    | Failure
    | Verbatim
    | SetReply
    | Push
    | Literal[Special.NULL_ARRAY, Special.NO_REPLY, Special.NOTED, Special.BLOCKED]
    | Sequence["Reply"]
    | Set["Reply"]
    | Mapping[bytes, "Reply"]
    | None
)


class StreamRefused(RuntimeError):
    """A replica could not apply what its primary's stream brought: from now on the two differ.

    Told to whoever hears of broken commands (`Engine.on_python_error`), never to a client.
    """


class CommandError(Exception):
    """Raised by a handler: the client's fault, answered as a `Failure` with this text.

    Anything else that escapes a handler is a bug of ours. Text may be `str` because most are literals.
    """

    def __init__(self, text: str | bytes) -> None:
        super().__init__(text)
        self.text = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text

    @property
    def failure(self) -> Failure:
        """The reply this error becomes."""
        return Failure(self.text)
