# Strings as runs of bits: what commands on bits and on fields of them share.
from libc.stdint cimport int64_t

from node.engine.entry cimport Entry
from node.engine.keyspace cimport Key
from node.engine.session cimport Session
from node.engine.span cimport Span, span_of, span_slice

# 1 for a string or a missing key; otherwise the error is written.
cdef bint is_string(Session s, Entry *entry) except -1

# A position in bits; with a width also as #n, the n-th field of that width. On failure the error is written.
cdef bint bit_offset(Session s, Span word, int width, int64_t *offset) except -1

# The string of a key, made long enough for last_bit and ours to write to. `grew`: it was missing or shorter.
cdef Entry *writable_bits(Session s, Key *key, Entry *entry, int64_t last_bit, bint *grew) except NULL


# So many bytes of a value, or as many as there are from there on; empty behind its end.
cdef inline Span part_of(Span value, Py_ssize_t from_byte, Py_ssize_t want_bytes) noexcept nogil:
    cdef Span part = span_of(NULL, 0)
    if from_byte < value.len_bytes:
        span_slice(value, from_byte, min(want_bytes, value.len_bytes - from_byte), &part)
    return part
