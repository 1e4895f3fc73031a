"""Glob patterns as Redis reads them: `*`, `?`, `[a-z]`, `[^a]`, backslash.

For the short lists that Python handlers filter (parameters, command names, client addresses). Keys are
matched in the compiled room. A failed match goes back to the latest `*` only, so the cost is at most
length of pattern x length of text: the recursive form is exponential in the number of stars, and
patterns come from strangers.
"""

from __future__ import annotations


def matches(pattern: bytes, text: bytes, *, ignore_case: bool = False) -> bool:
    """Whether the whole text fits the pattern."""
    if ignore_case:
        pattern, text = pattern.lower(), text.lower()
    at = here = 0
    star, retry = -1, 0
    while here < len(text):
        if at < len(pattern) and pattern[at] == 0x2A:  # *
            star, retry = at, here
            at += 1
            continue
        after = _step(pattern, at, text[here])
        if after >= 0:
            at, here = after, here + 1
        elif star >= 0:
            retry += 1
            at, here = star + 1, retry
        else:
            return False
    while at < len(pattern) and pattern[at] == 0x2A:
        at += 1
    return at == len(pattern)


def is_glob(pattern: bytes) -> bool:
    """Whether the text has any character that is special in a pattern."""
    return any(byte in b"*?[" for byte in pattern)


def _step(pattern: bytes, at: int, byte: int) -> int:
    """Matches one pattern item against one byte: the position after the item, or -1."""
    if at >= len(pattern):
        return -1
    special = pattern[at]
    if special == 0x3F:  # ?
        return at + 1
    if special == 0x5B:  # [
        return _step_class(pattern, at + 1, byte)
    if special == 0x5C and at + 1 < len(pattern):  # backslash
        at += 1
    return at + 1 if pattern[at] == byte else -1


def _step_class(pattern: bytes, at: int, byte: int) -> int:
    # An unclosed class ends with the pattern, as in Redis.
    negated = at < len(pattern) and pattern[at] == 0x5E
    if negated:
        at += 1
    found = False
    while at < len(pattern) and pattern[at] != 0x5D:
        if pattern[at] == 0x5C and at + 1 < len(pattern):
            at += 1
            found |= pattern[at] == byte
            at += 1
        elif at + 2 < len(pattern) and pattern[at + 1] == 0x2D:
            low, high = sorted((pattern[at], pattern[at + 2]))
            found |= low <= byte <= high
            at += 3
        else:
            found |= pattern[at] == byte
            at += 1
    if found == negated:
        return -1
    return min(at + 1, len(pattern))
