# A span is a borrowed run of bytes: the one door through which raw pointers pass.
#
# It never owns memory. Whoever hands one out says how long it stays valid: argument spans of a
# Session live until the command returns; spans of an Entry until the next call that may change or
# move that entry. Every reader here checks both ends: lengths come from strangers.
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcmp


cdef struct Span:
    const uint8_t *at  # borrowed; may be NULL only when len_bytes is 0
    Py_ssize_t len_bytes  # never negative


cdef inline Span span_of(const void *at, Py_ssize_t len_bytes) noexcept nogil:
    cdef Span span
    span.at = <const uint8_t *> at
    span.len_bytes = len_bytes if len_bytes > 0 else 0
    return span


cdef inline bint span_equal(Span left, Span right) noexcept nogil:
    return left.len_bytes == right.len_bytes and (
        left.len_bytes == 0 or memcmp(left.at, right.at, <size_t> left.len_bytes) == 0
    )


# Compares with an upper-case ASCII word, ignoring the case of the span.
cdef inline bint span_is(Span span, const char *upper_word) noexcept nogil:
    cdef Py_ssize_t index
    cdef uint8_t byte
    for index in range(span.len_bytes):
        byte = span.at[index]
        if byte >= 97 and byte <= 122:
            byte = byte - 32
        if upper_word[index] == 0 or byte != <uint8_t> upper_word[index]:
            return False
    return upper_word[span.len_bytes] == 0


# Cuts [from_byte, from_byte + want_bytes) out of source. Returns 0 and leaves `out` alone when that
# does not lie wholly inside source, 1 otherwise.
cdef inline bint span_slice(Span source, Py_ssize_t from_byte, Py_ssize_t want_bytes, Span *out) noexcept nogil:
    if from_byte < 0 or want_bytes < 0 or from_byte > source.len_bytes:
        return False
    if want_bytes > source.len_bytes - from_byte:
        return False
    out.at = source.at + from_byte
    out.len_bytes = want_bytes
    return True


# Strict decimal as Redis's string2ll: optional '-', no '+', no leading zeros, no blanks, int64 range.
cdef bint span_to_int64(Span span, int64_t *value) noexcept nogil

# Writes value in decimal into out (at least 21 bytes) and returns the length written.
cdef Py_ssize_t int64_to_bytes(int64_t value, uint8_t *out) noexcept nogil

cdef bytes span_bytes(Span span)
