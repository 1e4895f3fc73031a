"""One value in Redis's snapshot format, as rdb.pyx draws it.

Collections are written element by element, in the forms that every Redis can read (its types 1, 2, 4 and 5), not in
the packed ones: a reader makes whatever form it likes of them, as we do. Two exceptions. A hash whose fields expire is type 24, which Redis
knows since 7.4: there is no older way to say it. A stream is type 19, of 7.0, because the older one does not say how far a
group has read; of 7.2's type it lacks when a consumer was last active (rdb_stream.pyx).

    24    earliest expiry in ms (8)  count  [expiry - earliest + 1, or 0 for none]  field  value ...

Source: https://rdb.fnordig.de/file_format.html, and files written by redis-server.
"""

from libc.stdint cimport int8_t, int16_t, int32_t
from libc.string cimport memcpy

from node.engine.buf cimport buf_append
from node.engine.contents cimport Contents, Element, contents_count, contents_next, contents_open
from node.engine.entry cimport (
    ENCODING_INT,
    ENCODING_OBJECT,
    TYPE_HASH,
    TYPE_LIST,
    TYPE_SET,
    TYPE_STREAM,
    TYPE_STRING,
    TYPE_ZSET,
    entry_encoding,
    entry_expiry_ms,
    entry_int64,
    entry_key,
    entry_object,
    entry_run,
    entry_string,
    entry_type,
)
from node.engine.members cimport Members
from node.engine.rdb_stream cimport write_stream
from node.engine.span cimport int64_to_bytes, span_of, span_to_int64
from node.engine.stream cimport Stream

cdef enum:
    KIND_STRING = 0
    KIND_LIST = 1
    KIND_SET = 2
    KIND_HASH = 4
    KIND_ZSET = 5
    KIND_STREAM = 19
    KIND_EXPIRING_HASH = 24

# A longer text is not an integer of 32 bits.
cdef enum:
    SHORT_TEXT_BYTES = 11


cdef int write_length(Buf *out, uint64_t value) except -1:
    cdef uint8_t form[9]
    cdef int index
    if value < 1 << 6:
        form[0] = <uint8_t> value
        return buf_append(out, form, 1)
    if value < 1 << 14:
        form[0] = 0x40 | <uint8_t> (value >> 8)
        form[1] = <uint8_t> value
        return buf_append(out, form, 2)
    if value <= 0xFFFFFFFFULL:
        form[0] = 0x80
        for index in range(4):
            form[1 + index] = <uint8_t> (value >> (24 - 8 * index))
        return buf_append(out, form, 5)
    form[0] = 0x81
    for index in range(8):
        form[1 + index] = <uint8_t> (value >> (56 - 8 * index))
    return buf_append(out, form, 9)


cdef int _plain(Buf *out, Span text) except -1:
    write_length(out, <uint64_t> text.len_bytes)
    return buf_append(out, text.at, text.len_bytes)


cdef int write_int64(Buf *out, int64_t value) except -1:
    cdef uint8_t form[5]
    cdef uint8_t digits[24]
    cdef int8_t small
    cdef int16_t medium
    cdef int32_t large
    if -128 <= value <= 127:
        small = <int8_t> value
        form[0] = 0xC0
        memcpy(&form[1], &small, 1)
        return buf_append(out, form, 2)
    if -32768 <= value <= 32767:
        medium = <int16_t> value
        form[0] = 0xC1
        memcpy(&form[1], &medium, 2)
        return buf_append(out, form, 3)
    if -2147483648 <= value <= 2147483647:
        large = <int32_t> value
        form[0] = 0xC2
        memcpy(&form[1], &large, 4)
        return buf_append(out, form, 5)
    return _plain(out, span_of(digits, int64_to_bytes(value, digits)))


cdef int write_text(Buf *out, Span text) except -1:
    cdef int64_t number
    if text.len_bytes <= SHORT_TEXT_BYTES and span_to_int64(text, &number):
        return write_int64(out, number)
    return _plain(out, text)


# No field of the hash expires before; -1 when none does.
cdef int64_t _earliest_ms(const Entry *entry) noexcept:
    cdef Members *members
    if entry_type(entry) != TYPE_HASH or entry_encoding(entry) != ENCODING_OBJECT:
        return -1
    members = <Members *> entry_object(entry)
    return members.table.root.next_expiry_ms if members.expiry_count > 0 else -1


cdef int value_kind(const Entry *entry) except -1:
    cdef int type = entry_type(entry)
    if type == TYPE_STRING:
        return KIND_STRING
    if type == TYPE_LIST:
        return KIND_LIST
    if type == TYPE_SET:
        return KIND_SET
    if type == TYPE_ZSET:
        return KIND_ZSET
    if type == TYPE_STREAM:
        return KIND_STREAM
    if type == TYPE_HASH:
        return large_kind(type, _earliest_ms(entry))
    raise TypeError(f"an entry of type {type} cannot be written to a snapshot")


# As a distance from the earliest one, so that most take few bytes; 0: none.
cdef int _write_expiry(Buf *out, int64_t expiry_ms, int64_t earliest_ms) except -1:
    return write_length(out, 0 if expiry_ms == -1 else <uint64_t> max(expiry_ms - earliest_ms, <int64_t> 0) + 1)


cdef int large_kind(int type, int64_t earliest_ms) except -1:
    if type == TYPE_LIST:
        return KIND_LIST
    if type == TYPE_SET:
        return KIND_SET
    if type == TYPE_ZSET:
        return KIND_ZSET
    if type == TYPE_STREAM:
        return KIND_STREAM
    return KIND_HASH if earliest_ms == -1 else KIND_EXPIRING_HASH


cdef int write_large_head(Buf *out, int type, int64_t count, int64_t earliest_ms) except -1:
    if earliest_ms != -1:
        buf_append(out, &earliest_ms, 8)
    return write_length(out, <uint64_t> count)


cdef int write_member(Buf *out, int type, const Entry *member, int64_t earliest_ms) except -1:
    cdef int64_t bits
    if earliest_ms != -1:
        _write_expiry(out, entry_expiry_ms(member), earliest_ms)
    write_text(out, entry_key(member))
    if type == TYPE_HASH:
        return write_text(out, entry_run(member))
    if type == TYPE_ZSET:
        bits = entry_int64(member)
        return buf_append(out, &bits, 8)
    return 0


cdef int write_value(Buf *out, const Entry *entry) except -1:
    cdef Contents contents
    cdef Element element
    cdef uint8_t scratch[24]
    cdef int type = entry_type(entry)
    cdef int64_t earliest_ms
    if type == TYPE_STRING:
        if entry_encoding(entry) == ENCODING_INT:
            return write_int64(out, entry_int64(entry))
        return _plain(out, entry_string(entry, scratch))
    if type == TYPE_STREAM:
        return write_stream(out, <const Stream *> entry_object(entry))
    earliest_ms = _earliest_ms(entry)
    write_large_head(out, type, contents_count(entry), earliest_ms)
    contents_open(&contents, entry)
    while contents_next(&contents, &element):
        if earliest_ms != -1:
            _write_expiry(out, element.expiry_ms, earliest_ms)
        write_text(out, element.name)
        if type == TYPE_HASH:
            write_text(out, element.value)
        elif type == TYPE_ZSET:
            buf_append(out, &element.score, 8)
    return 0
