# One key and its value in one allocation. (Contract: accessors; the layout is drawn in entry.pyx.)
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from node.engine.span cimport Span

cdef enum:
    TYPE_STRING = 0
    TYPE_LIST = 1
    TYPE_SET = 2
    TYPE_ZSET = 3
    TYPE_HASH = 4
    TYPE_STREAM = 6

cdef enum:
    ENCODING_RAW = 0  # bytes inline
    ENCODING_INT = 1  # an int64 inline
    ENCODING_OBJECT = 2  # a pointer to a structure (collections)

cdef struct Entry:
    uint8_t kind  # low 4 bits TYPE_*, high 4 bits ENCODING_*
    uint8_t flags
    uint8_t epoch  # snapshot epoch
    uint8_t recency[3]
    uint16_t key_len

cdef int entry_type(const Entry *entry) noexcept nogil
cdef int entry_encoding(const Entry *entry) noexcept nogil
cdef Span entry_key(const Entry *entry) noexcept nogil
cdef int64_t entry_expiry_ms(const Entry *entry) noexcept nogil  # EXPIRY_NONE (-1) when it has none
cdef int64_t entry_int64(const Entry *entry) noexcept nogil  # ENCODING_INT only
# The string's bytes; an integer is written into scratch (24 bytes), whose lifetime then counts.
cdef Span entry_string(const Entry *entry, uint8_t *scratch) noexcept nogil
cdef uint8_t *entry_mutable_bytes(Entry *entry) noexcept nogil  # ENCODING_RAW only
