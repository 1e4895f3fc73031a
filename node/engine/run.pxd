# A run: packed elements one behind the other, the form of small collections. The layout is drawn in run.pyx.
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

from node.engine.span cimport Span, int64_to_bytes, span_of

cdef enum:
    RUN_HEAD_BYTES_MAX = 9  # the longest head, and the longest element without text

cdef enum:
    RUN_TEXT = 0
    RUN_INTEGER = 1
    RUN_DOUBLE = 2

# One element, read. `text` borrows from the run.
cdef struct Item:
    int kind  # RUN_*
    Span text  # RUN_TEXT
    int64_t integer  # RUN_INTEGER
    double real  # RUN_DOUBLE


# Reads the element at `at` and returns where the next one begins; NULL when the bytes up to `end` hold no whole
# element (a run of our own making never does that: there it means damage). at == end is the caller's to see.
cdef inline const uint8_t *run_next(const uint8_t *at, const uint8_t *end, Item *item) noexcept nogil:
    cdef uint8_t head = at[0]
    cdef uint32_t len_bytes
    cdef int64_t wide
    cdef int width
    if head < 0x80:
        item.kind = RUN_INTEGER
        item.integer = head
        return at + 1
    if head < 0xC0:
        len_bytes = head & 0x3F
        at += 1
    elif head < 0xE0:
        if end - at < 2:
            return NULL
        item.kind = RUN_INTEGER
        item.integer = ((head & 0x1F) << 8) | at[1]
        if item.integer >= 4096:
            item.integer -= 8192
        return at + 2
    elif head < 0xF0:
        if end - at < 2:
            return NULL
        len_bytes = (<uint32_t> (head & 0x0F) << 8) | at[1]
        at += 2
    elif head == 0xF0:
        if end - at < 5:
            return NULL
        memcpy(&len_bytes, at + 1, 4)
        at += 5
    elif head <= 0xF4:
        width = 8 if head == 0xF4 else head - 0xEF
        if end - at < 1 + width:
            return NULL
        wide = 0
        memcpy(&wide, at + 1, width)
        item.kind = RUN_INTEGER
        # Little endian: the sign bit is that of the last byte read.
        item.integer = <int64_t> (<unsigned long long> wide << (64 - 8 * width)) >> (64 - 8 * width)
        return at + 1 + width
    elif head == 0xF5:
        if end - at < 9:
            return NULL
        item.kind = RUN_DOUBLE
        memcpy(&item.real, at + 1, 8)
        return at + 9
    else:
        return NULL
    if end - at < <Py_ssize_t> len_bytes:
        return NULL
    item.kind = RUN_TEXT
    item.text = span_of(at, len_bytes)
    return at + len_bytes


# Where the next element begins, without reading this one. Only for runs of our own making.
cdef inline const uint8_t *run_skip(const uint8_t *at) noexcept nogil:
    cdef uint8_t head = at[0]
    cdef uint32_t len_bytes
    if head < 0x80:
        return at + 1
    if head < 0xC0:
        return at + 1 + (head & 0x3F)
    if head < 0xE0:
        return at + 2
    if head < 0xF0:
        return at + 2 + ((<uint32_t> (head & 0x0F) << 8) | at[1])
    if head == 0xF0:
        memcpy(&len_bytes, at + 1, 4)
        return at + 5 + len_bytes
    return at + (9 if head >= 0xF4 else head - 0xEE)


# The element as text: numbers are written into scratch (24 bytes for integers; doubles only where scores are, and
# those have a writer of their own), whose lifetime then counts.
cdef inline Span item_text(const Item *item, uint8_t *scratch) noexcept nogil:
    if item.kind == RUN_TEXT:
        return item.text
    return span_of(scratch, int64_to_bytes(item.integer, scratch))


# How an element for this text looks: an integer when it is one in canonical decimal. An Item borrows from `text`.
cdef Item item_of(Span text) noexcept nogil
cdef Item item_of_int64(int64_t value) noexcept nogil
cdef Item item_of_double(double value) noexcept nogil  # stored as an integer when that is exact (-0.0 is not)
# Bytes that it needs, and the writing of so many; returns where the next element goes.
cdef Py_ssize_t item_bytes(const Item *item) noexcept nogil
cdef uint8_t *item_write(uint8_t *at, const Item *item) noexcept nogil
cdef bint item_equal(const Item *left, const Item *right) noexcept nogil  # both as item_of makes them

# The number of elements; -1 when it is damaged.
cdef Py_ssize_t run_count(Span run) noexcept nogil
# The first element equal to `wanted` at from_index, from_index + step ...: where it begins, NULL when there is none;
# index[0] says which it is.
cdef const uint8_t *run_find(Span run, const Item *wanted, Py_ssize_t from_index, Py_ssize_t step, Py_ssize_t *index) noexcept nogil
cdef const uint8_t *run_at(Span run, Py_ssize_t index) noexcept nogil  # NULL behind the last
