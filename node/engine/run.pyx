"""Packed elements one behind the other: the form of small hashes, sets, sorted sets and lists.

    0xxxxxxx                       an integer from 0 to 127
    10LLLLLL bytes                 a text of up to 63 bytes
    110xxxxx x                     an integer from -4,096 to 4,095
    1110LLLL L bytes               a text of up to 4,095 bytes
    F0 LLLL bytes                  a text; its length is a u32, little endian
    F1 xx  F2 xxx  F3 xxxx  F4 xxxxxxxx      integers of 16, 24, 32, 64 bits, little endian
    F5 xxxxxxxx                    a double (scores that are no integers)

A text that is an integer in canonical decimal is stored as that integer and reads back the same, so equal texts
always have equal elements. A run has neither a header nor back lengths: it stands inline in its key's entry, whose
length field bounds it, and small collections are read from the front anyway. The heads are those of Redis's
listpack, which carries 7 bytes of frame and one byte more for each element: a session of five fields is 10 %
smaller here.

Source of the heads: the listpack specification, https://github.com/antirez/listpack
"""

from libc.stdint cimport uint64_t
from libc.string cimport memcmp

from node.engine.span cimport span_bytes, span_equal, span_to_int64


cdef Item item_of(Span text) noexcept nogil:
    cdef Item item
    item.real = 0
    item.integer = 0
    item.text = text
    item.kind = RUN_INTEGER if text.len_bytes <= 20 and span_to_int64(text, &item.integer) else RUN_TEXT
    return item


cdef Item item_of_int64(int64_t value) noexcept nogil:
    cdef Item item
    item.real = 0
    item.text = span_of(NULL, 0)
    item.kind = RUN_INTEGER
    item.integer = value
    return item


cdef Item item_of_double(double value) noexcept nogil:
    cdef Item item
    cdef uint64_t bits
    item.text = span_of(NULL, 0)
    item.real = value
    item.integer = 0
    item.kind = RUN_DOUBLE
    memcpy(&bits, &value, 8)
    if value > -9e15 and value < 9e15 and bits != <uint64_t> 1 << 63:
        item.integer = <int64_t> value
        if <double> item.integer == value:
            item.kind = RUN_INTEGER
    return item


cdef inline int _integer_width(int64_t value) noexcept nogil:
    if value >= -32768 and value <= 32767:
        return 2
    if value >= -8388608 and value <= 8388607:
        return 3
    if value >= -2147483648LL and value <= 2147483647LL:
        return 4
    return 8


cdef Py_ssize_t item_bytes(const Item *item) noexcept nogil:
    if item.kind == RUN_INTEGER:
        if item.integer >= 0 and item.integer <= 127:
            return 1
        if item.integer >= -4096 and item.integer <= 4095:
            return 2
        return 1 + _integer_width(item.integer)
    if item.kind == RUN_DOUBLE:
        return 9
    return item.text.len_bytes + (1 if item.text.len_bytes <= 63 else 2 if item.text.len_bytes <= 4095 else 5)


cdef uint8_t *item_write(uint8_t *at, const Item *item) noexcept nogil:
    cdef uint32_t len_bytes
    cdef int width
    if item.kind == RUN_INTEGER:
        if item.integer >= 0 and item.integer <= 127:
            at[0] = <uint8_t> item.integer
            return at + 1
        if item.integer >= -4096 and item.integer <= 4095:
            at[0] = <uint8_t> (0xC0 | ((item.integer >> 8) & 0x1F))
            at[1] = <uint8_t> item.integer
            return at + 2
        width = _integer_width(item.integer)
        at[0] = <uint8_t> (0xF4 if width == 8 else 0xEF + width)
        memcpy(at + 1, &item.integer, width)
        return at + 1 + width
    if item.kind == RUN_DOUBLE:
        at[0] = 0xF5
        memcpy(at + 1, &item.real, 8)
        return at + 9
    len_bytes = <uint32_t> item.text.len_bytes
    if len_bytes <= 63:
        at[0] = <uint8_t> (0x80 | len_bytes)
        at += 1
    elif len_bytes <= 4095:
        at[0] = <uint8_t> (0xE0 | (len_bytes >> 8))
        at[1] = <uint8_t> len_bytes
        at += 2
    else:
        at[0] = 0xF0
        memcpy(at + 1, &len_bytes, 4)
        at += 5
    if len_bytes > 0:
        memcpy(at, item.text.at, len_bytes)
    return at + len_bytes


cdef bint item_equal(const Item *left, const Item *right) noexcept nogil:
    if left.kind != right.kind:
        return False
    if left.kind == RUN_INTEGER:
        return left.integer == right.integer
    if left.kind == RUN_DOUBLE:
        return left.real == right.real
    return span_equal(left.text, right.text)


cdef Py_ssize_t run_count(Span run) noexcept nogil:
    cdef const uint8_t *at = run.at
    cdef const uint8_t *end = run.at + run.len_bytes
    cdef Py_ssize_t count = 0
    cdef Item item
    while at != end:
        at = run_next(at, end, &item)
        if at == NULL:
            return -1
        count += 1
    return count


cdef const uint8_t *run_find(Span run, const Item *wanted, Py_ssize_t from_index, Py_ssize_t step, Py_ssize_t *index) noexcept nogil:
    # The element is written once as it would stand there, and compared byte by byte: equal texts have equal bytes.
    cdef uint8_t head[RUN_HEAD_BYTES_MAX]
    cdef Item bare = wanted[0]
    cdef Py_ssize_t head_bytes, text_bytes = 0, at_index = 0, skipped
    cdef const uint8_t *at = run.at
    cdef const uint8_t *end = run.at + run.len_bytes
    if wanted.kind == RUN_TEXT:
        text_bytes = wanted.text.len_bytes
        head_bytes = item_bytes(wanted) - text_bytes
        if head_bytes == 1:
            head[0] = <uint8_t> (0x80 | text_bytes)
        elif head_bytes == 2:
            head[0] = <uint8_t> (0xE0 | (text_bytes >> 8))
            head[1] = <uint8_t> text_bytes
        else:
            head[0] = 0xF0
            for skipped in range(4):
                head[1 + skipped] = <uint8_t> (text_bytes >> (8 * skipped))
    else:
        head_bytes = item_write(head, &bare) - head
    for skipped in range(from_index):
        if at == end:
            return NULL
        at = run_skip(at)
        at_index += 1
    while at < end:
        if (
            at[0] == head[0]
            and end - at >= head_bytes + text_bytes
            and memcmp(at, head, head_bytes) == 0
            and (text_bytes == 0 or memcmp(at + head_bytes, wanted.text.at, text_bytes) == 0)
        ):
            index[0] = at_index
            return at
        for skipped in range(step):
            if at >= end:
                return NULL
            at = run_skip(at)
        at_index += step
    return NULL


cdef const uint8_t *run_at(Span run, Py_ssize_t index) noexcept nogil:
    cdef const uint8_t *at = run.at
    cdef const uint8_t *end = run.at + run.len_bytes
    while index > 0 and at < end:
        at = run_skip(at)
        index -= 1
    return at if at < end else NULL


def pack(elements):
    """The run of these elements: bytes are texts, floats are doubles. For tests and tools."""
    cdef bytes room
    cdef Item item
    parts = []
    for element in elements:
        if isinstance(element, float):
            item = item_of_double(element)
        else:
            item = item_of(span_of(<const char *> element, len(element)))
        room = bytes(item_bytes(&item))
        item_write(<uint8_t *> <char *> room, &item)
        parts.append(room)
    return b"".join(parts)


def unpack(bytes run):
    """The elements of a run; ValueError when the bytes are none."""
    cdef const uint8_t *at = <const uint8_t *> <const char *> run
    cdef const uint8_t *end = at + len(run)
    cdef uint8_t scratch[24]
    cdef Item item
    elements = []
    while at != end:
        at = run_next(at, end, &item)
        if at == NULL:
            raise ValueError("these bytes are no run of packed elements")
        elements.append(item.real if item.kind == RUN_DOUBLE else span_bytes(item_text(&item, scratch)))
    return elements


def find(bytes run, bytes wanted, Py_ssize_t from_index=0, Py_ssize_t step=1):
    """The index of the first element equal to `wanted` at from_index, from_index + step ...; -1: there is none."""
    cdef Item item = item_of(span_of(<const char *> wanted, len(wanted)))
    cdef Py_ssize_t index = -1
    if run_find(span_of(<const char *> run, len(run)), &item, from_index, step, &index) == NULL:
        return -1
    return index
