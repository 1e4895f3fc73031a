"""Reading arguments in Python handlers, with Redis's strictness and error texts."""

from __future__ import annotations

import re
from typing import Final

from node.engine.reply import CommandError

_INT64: Final = re.compile(rb"(?:0|-?[1-9][0-9]{0,18})\Z")
_LOW, _HIGH = -(1 << 63), (1 << 63) - 1

NOT_AN_INTEGER: Final = "ERR value is not an integer or out of range"
SYNTAX_ERROR: Final = "ERR syntax error"


def integer(
    word: bytes, error: str = NOT_AN_INTEGER, *, low: int = _LOW, high: int = _HIGH, range_error: str = ""
) -> int:
    """A decimal of 64 bits: no plus sign, no leading zeros, no blanks.

    Raises:
        CommandError: `error`; or `range_error` (`error` if empty) when it is below low or above high.
    """
    if _INT64.match(word) is None:
        raise CommandError(error)
    value = int(word)
    if not _LOW <= value <= _HIGH:
        raise CommandError(error)
    if not low <= value <= high:
        raise CommandError(range_error or error)
    return value


def wrong_subcommand(container: str, word: bytes) -> CommandError:
    """What a subcommand answers whose words cannot be what it takes."""
    return CommandError(
        f"ERR unknown subcommand or wrong number of arguments for '{shown(word)}'. Try {container} HELP."
    )


def on_or_off(word: bytes) -> bool:
    """ON or OFF in any case.

    Raises:
        CommandError: a syntax error.
    """
    match word.lower():
        case b"on":
            return True
        case b"off":
            return False
    raise CommandError(SYNTAX_ERROR)


def printable(word: bytes) -> bool:
    """Whether a name may be shown in one line of CLIENT LIST: `!` to `~`, no blanks."""
    return all(0x21 <= byte <= 0x7E for byte in word)


def shown(word: bytes) -> str:
    """A client's word inside one of our error texts; bytes survive the way out again."""
    return word.decode("utf-8", "surrogateescape")
