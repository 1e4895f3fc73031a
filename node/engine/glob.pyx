"""Redis's patterns over bytes: `*`, `?`, `[a-z]`, `[^x]`, backslash.

A star is tried at every place only until the next star: once the part between two stars has matched
somewhere, matching it further right can't help, so only the last star is ever taken back. That bounds the
work by the product of the lengths; taking every star back, as recursion does, is exponential in the
number of stars, and patterns come from strangers.

Where Redis's own matcher has quirks we have them too: an empty text matches only an empty pattern (even
`*` does not match it), a range may be written backwards, a class without its bracket ends with
the pattern, and a backslash at the very end stands for itself.
"""

from libc.stdint cimport uint8_t

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from node.engine.span cimport span_of


cdef inline uint8_t _lower(uint8_t byte, bint ignore_case) noexcept nogil:
    return byte + 32 if ignore_case and byte >= 65 and byte <= 90 else byte


# Matches one byte against the piece of pattern at at[0] (no star), which is moved behind the piece.
cdef bint _match_byte(Span pattern, Py_ssize_t *at, uint8_t raw, bint ignore_case) noexcept nogil:
    cdef Py_ssize_t index = at[0]
    cdef uint8_t byte = _lower(raw, ignore_case)
    cdef uint8_t kind = pattern.at[index]
    cdef uint8_t first, last
    cdef bint negated = False, matched = False
    index += 1
    if kind == 63:  # ?
        at[0] = index
        return True
    if kind == 92 and index < pattern.len_bytes:  # backslash
        at[0] = index + 1
        return _lower(pattern.at[index], ignore_case) == byte
    if kind != 91:  # [
        at[0] = index
        return _lower(kind, ignore_case) == byte
    if index < pattern.len_bytes and pattern.at[index] == 94:  # ^
        negated = True
        index += 1
    while index < pattern.len_bytes:
        if pattern.at[index] == 92 and index + 1 < pattern.len_bytes:
            if _lower(pattern.at[index + 1], ignore_case) == byte:
                matched = True
            index += 2
        elif pattern.at[index] == 93:  # ]
            index += 1
            break
        elif index + 2 < pattern.len_bytes and pattern.at[index + 1] == 45:  # a-z
            first = _lower(pattern.at[index], ignore_case)
            last = _lower(pattern.at[index + 2], ignore_case)
            if (first <= byte and byte <= last) or (last <= byte and byte <= first):
                matched = True
            index += 3
        else:
            if _lower(pattern.at[index], ignore_case) == byte:
                matched = True
            index += 1
    at[0] = index
    return matched != negated


cdef bint glob_matches(Span pattern, Span text, bint ignore_case) noexcept nogil:
    cdef Py_ssize_t pattern_at = 0, text_at = 0
    cdef Py_ssize_t star_at = -1  # behind the last star
    cdef Py_ssize_t star_text_at = 0  # where its part was last tried
    cdef bint matched
    if text.len_bytes == 0:
        return pattern.len_bytes == 0
    while text_at < text.len_bytes:
        if pattern_at < pattern.len_bytes and pattern.at[pattern_at] == 42:
            while pattern_at < pattern.len_bytes and pattern.at[pattern_at] == 42:
                pattern_at += 1
            if pattern_at == pattern.len_bytes:
                return True
            star_at = pattern_at
            star_text_at = text_at
            continue
        matched = False
        if pattern_at < pattern.len_bytes:
            matched = _match_byte(pattern, &pattern_at, text.at[text_at], ignore_case)
        if matched:
            text_at += 1
            continue
        if star_at < 0:
            return False
        star_text_at += 1
        text_at = star_text_at
        pattern_at = star_at
    while pattern_at < pattern.len_bytes and pattern.at[pattern_at] == 42:
        pattern_at += 1
    return pattern_at == pattern.len_bytes


def matches(bytes pattern, bytes text, *, bint ignore_case=False):
    """Whether all of `text` matches the pattern."""
    return glob_matches(
        span_of(PyBytes_AS_STRING(pattern), PyBytes_GET_SIZE(pattern)),
        span_of(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)),
        ignore_case,
    )
