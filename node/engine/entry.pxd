# One key and its value in one allocation. The layout is drawn in entry.pyx.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from node.engine.span cimport Span, int64_to_bytes, span_of
from node.engine.value cimport Value, value_bytes, value_span

cdef enum:
    TYPE_STRING = 0
    TYPE_LIST = 1
    TYPE_SET = 2
    TYPE_ZSET = 3
    TYPE_HASH = 4
    TYPE_STREAM = 6

cdef enum:
    ENCODING_RAW = 0  # bytes inline: a string, or the run of a small collection
    ENCODING_INT = 1  # an int64 inline; in a sorted set's member the bits of its score
    ENCODING_OBJECT = 2  # a pointer to a structure (large collections)
    ENCODING_NONE = 3  # no value at all: a set's member
    ENCODING_FIELD = 4  # bytes inline, their length in the place of the recency: a hash's field
    ENCODING_LARGE = 5  # a pointer to a block of their own (value.pyx): a key's string of VALUE_BYTES_MIN and more

# Bytes of the value word, by encoding: one nibble each.
cdef enum:
    WORD_BYTES = 0x800884
    FIELD_BYTES_MAX = 0xFFFFFF  # a longer value is ENCODING_RAW

cdef enum:
    ENTRY_HAS_EXPIRY = 1
    ENTRY_LONG_KEY = 2  # key_len is 0xFFFF, the length is a u32 of its own
    ENTRY_EDITED = 4  # a string changed in place: OBJECT ENCODING says raw, however short
    ENTRY_SORTED = 8  # a set's run that holds integers only, in ascending order

cdef enum:
    ENTRY_HEADER_BYTES = 8
    SHORT_KEY_BYTES_MAX = 65534

# Of a key or a string: their lengths are u32.
cdef inline bint fits_entry(Py_ssize_t len_bytes) noexcept nogil:
    return len_bytes >= 0 and <uint64_t> len_bytes <= 0xFFFFFFFFULL

cdef struct Entry:
    uint8_t kind  # low 4 bits TYPE_*, high 4 bits ENCODING_*
    uint8_t flags  # ENTRY_*
    uint8_t epoch  # snapshot epoch
    uint8_t recency[3]  # little endian; of the last access, in 1,024 ms
    uint16_t key_len


cdef inline int entry_type(const Entry *entry) noexcept nogil:
    return entry.kind & 15


cdef inline int entry_encoding(const Entry *entry) noexcept nogil:
    return entry.kind >> 4


cdef inline size_t word_bytes(int encoding) noexcept nogil:
    return (WORD_BYTES >> (4 * encoding)) & 15


cdef inline bint is_inline(int encoding) noexcept nogil:
    return encoding == ENCODING_RAW or encoding == ENCODING_FIELD


# Where the value word starts.
cdef inline size_t entry_word_offset(const Entry *entry) noexcept nogil:
    return ENTRY_HEADER_BYTES + (8 if entry.flags & ENTRY_HAS_EXPIRY else 0)


cdef inline size_t _key_offset(const Entry *entry) noexcept nogil:
    return (
        entry_word_offset(entry)
        + word_bytes(entry_encoding(entry))
        + (4 if entry.flags & ENTRY_LONG_KEY else 0)
    )


cdef inline Span entry_key(const Entry *entry) noexcept nogil:
    cdef size_t offset = _key_offset(entry)
    cdef uint32_t long_len
    if entry.flags & ENTRY_LONG_KEY:
        memcpy(&long_len, <const uint8_t *> entry + offset - 4, 4)
        return span_of(<const uint8_t *> entry + offset, long_len)
    return span_of(<const uint8_t *> entry + offset, entry.key_len)


# EXPIRY_NONE (-1) when it has none.
cdef inline int64_t entry_expiry_ms(const Entry *entry) noexcept nogil:
    if entry.flags & ENTRY_HAS_EXPIRY:
        return (<const int64_t *> (<const uint8_t *> entry + ENTRY_HEADER_BYTES))[0]
    return -1


cdef inline int64_t entry_int64(const Entry *entry) noexcept nogil:  # ENCODING_INT only
    return (<const int64_t *> (<const uint8_t *> entry + entry_word_offset(entry)))[0]


cdef inline uint32_t _raw_len(const Entry *entry) noexcept nogil:
    if entry_encoding(entry) == ENCODING_FIELD:
        return entry.recency[0] | (<uint32_t> entry.recency[1] << 8) | (<uint32_t> entry.recency[2] << 16)
    return (<const uint32_t *> (<const uint8_t *> entry + entry_word_offset(entry)))[0]


cdef inline void *entry_object(const Entry *entry) noexcept nogil:  # ENCODING_OBJECT only
    return (<void **> (<const uint8_t *> entry + entry_word_offset(entry)))[0]


cdef inline Value *entry_value(const Entry *entry) noexcept nogil:  # ENCODING_LARGE only
    return (<Value **> (<const uint8_t *> entry + entry_word_offset(entry)))[0]


cdef inline uint8_t *entry_mutable_bytes(Entry *entry) noexcept nogil:  # inline encodings and ENCODING_LARGE
    cdef Span key
    if entry_encoding(entry) == ENCODING_LARGE:
        return value_bytes(entry_value(entry))
    key = entry_key(entry)
    return <uint8_t *> key.at + key.len_bytes


# The bytes of an inline encoding.
cdef inline Span entry_run(const Entry *entry) noexcept nogil:
    cdef Span key = entry_key(entry)
    return span_of(key.at + key.len_bytes, _raw_len(entry))


# The string's bytes; an integer is written into scratch (24 bytes), whose lifetime then counts.
cdef inline Span entry_string(const Entry *entry, uint8_t *scratch) noexcept nogil:
    cdef Span key
    if entry_encoding(entry) == ENCODING_INT:
        return span_of(scratch, int64_to_bytes(entry_int64(entry), scratch))
    if entry_encoding(entry) == ENCODING_LARGE:
        return value_span(entry_value(entry))
    key = entry_key(entry)
    return span_of(key.at + key.len_bytes, _raw_len(entry))


cdef inline uint32_t entry_recency(const Entry *entry) noexcept nogil:
    return entry.recency[0] | (<uint32_t> entry.recency[1] << 8) | (<uint32_t> entry.recency[2] << 16)


cdef inline void entry_set_recency(Entry *entry, uint32_t recency) noexcept nogil:
    entry.recency[0] = <uint8_t> recency
    entry.recency[1] = <uint8_t> (recency >> 8)
    entry.recency[2] = <uint8_t> (recency >> 16)


# Bytes that an entry of this shape needs (before the allocator rounds them).
cdef inline size_t entry_need(int encoding, bint has_expiry, Py_ssize_t key_len_bytes, Py_ssize_t raw_len_bytes) noexcept nogil:
    return (
        ENTRY_HEADER_BYTES
        + (8 if has_expiry else 0)
        + word_bytes(encoding)
        + (<size_t> raw_len_bytes if is_inline(encoding) else 0)
        + (4 if key_len_bytes > SHORT_KEY_BYTES_MAX else 0)
        + <size_t> key_len_bytes
    )


# Bytes that this entry needs.
cdef inline size_t entry_bytes(const Entry *entry) noexcept nogil:
    cdef Span key = entry_key(entry)
    return (
        <size_t> (key.at - <const uint8_t *> entry)
        + <size_t> key.len_bytes
        + (_raw_len(entry) if is_inline(entry_encoding(entry)) else 0)
    )


# Writes header, expiry, lengths and key into fresh memory of entry_need bytes; the value word of an
# integer or object and the bytes of a raw string are left to the caller. expiry_ms -1: none.
cdef void entry_write(Entry *entry, int type, int encoding, Span key, int64_t expiry_ms, Py_ssize_t raw_len_bytes) noexcept nogil
cdef void entry_set_int64(Entry *entry, int64_t value) noexcept nogil
cdef void entry_set_object(Entry *entry, void *value) noexcept nogil
cdef void entry_set_raw_len(Entry *entry, Py_ssize_t len_bytes) noexcept nogil
cdef void entry_set_expiry_ms(Entry *entry, int64_t when_ms) noexcept nogil  # which it must have
