"""RESP: the words of the protocol, written into buffers and read out of them.

A request is an array of bulk strings, or an inline line:

    *2 CRLF $3 CRLF GET CRLF $1 CRLF k CRLF
    GET k CRLF

The parser never copies: arguments are spans of the input. It remembers how far it got, so a command
that arrives in a thousand pieces is looked at once, and it allocates for arguments that have arrived,
never for numbers that a stranger announced.

A large argument need not be in the input. Whoever receives may put it into a block of its own that can become the value
of a key (value.pyx):

    input     *3 CRLF $3 CRLF SET CRLF $1 CRLF k CRLF $104857600 CRLF | CRLF *1 CRLF ...
                                                                      ^
    arrived                                          argument 2: that value

As the input is parsed, possibly again after a pause, such an argument takes its place by its index. Only the command at
the front of the input can have any: the next one is not received before this one has run.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memmove

from node.engine.buf cimport Buf, buf_append, buf_free, buf_grow
from node.engine.scores cimport DOUBLE_TEXT_BYTES, double_to_bytes
from node.engine.span cimport Span, int64_to_bytes, span_of, span_to_int64
from node.engine.value cimport value_bytes, value_unpin


cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    /* Most of what is written is short, and calling memcpy for it costs more than copying. Reads no byte beyond. */
    static inline void copy_short(uint8_t *to, const uint8_t *from, size_t len_bytes) {
        if (len_bytes > 32) {
            memcpy(to, from, len_bytes);
        } else if (len_bytes >= 16) {
            memcpy(to, from, 16);
            memcpy(to + len_bytes - 16, from + len_bytes - 16, 16);
        } else if (len_bytes >= 8) {
            memcpy(to, from, 8);
            memcpy(to + len_bytes - 8, from + len_bytes - 8, 8);
        } else if (len_bytes >= 4) {
            memcpy(to, from, 4);
            memcpy(to + len_bytes - 4, from + len_bytes - 4, 4);
        } else if (len_bytes > 0) {
            to[0] = from[0];
            to[len_bytes >> 1] = from[len_bytes >> 1];
            to[len_bytes - 1] = from[len_bytes - 1];
        }
    }
    """
    void copy_short(uint8_t *to, const uint8_t *data, size_t len_bytes) noexcept nogil


# ------------------------------------------------------------------------------------------------ writing

cdef int resp_prefixed(Buf *out, uint8_t prefix, int64_t value) except -1:
    cdef uint8_t *at
    cdef Py_ssize_t length
    if out.cap_bytes - out.used_bytes < 32:
        buf_grow(out, 32)
    at = out.data + out.used_bytes
    at[0] = prefix
    if 0 <= value <= 9:
        at[1] = 48 + <uint8_t> value
        length = 1
    else:
        length = int64_to_bytes(value, at + 1)
    at[length + 1] = 13
    at[length + 2] = 10
    out.used_bytes += length + 3
    return 0


cdef int resp_bulk(Buf *out, Span value) except -1:
    cdef uint8_t *at
    cdef Py_ssize_t length
    if out.cap_bytes - out.used_bytes < value.len_bytes + 32:
        buf_grow(out, value.len_bytes + 32)
    at = out.data + out.used_bytes
    at[0] = 36
    if value.len_bytes <= 9:
        at[1] = 48 + <uint8_t> value.len_bytes
        length = 2
    elif value.len_bytes <= 99:
        at[1] = 48 + <uint8_t> (value.len_bytes // 10)
        at[2] = 48 + <uint8_t> (value.len_bytes % 10)
        length = 3
    else:
        length = 1 + int64_to_bytes(value.len_bytes, at + 1)
    at[length] = 13
    at[length + 1] = 10
    copy_short(at + length + 2, value.at, <size_t> value.len_bytes)
    at += length + 2 + value.len_bytes
    at[0] = 13
    at[1] = 10
    out.used_bytes += length + 4 + value.len_bytes
    return 0


cdef int resp_line(Buf *out, uint8_t prefix, Span text) except -1:
    cdef Py_ssize_t index
    cdef uint8_t *at
    if out.cap_bytes - out.used_bytes < text.len_bytes + 3:
        buf_grow(out, text.len_bytes + 3)
    at = out.data + out.used_bytes
    at[0] = prefix
    for index in range(text.len_bytes):
        at[index + 1] = 32 if text.at[index] == 13 or text.at[index] == 10 else text.at[index]
    at[text.len_bytes + 1] = 13
    at[text.len_bytes + 2] = 10
    out.used_bytes += text.len_bytes + 3
    return 0


cdef int resp_double(Buf *out, int resp, double value) except -1:
    """RESP3 `,`; in RESP2 the same text as a bulk string."""
    cdef uint8_t text[DOUBLE_TEXT_BYTES]
    cdef Span words = span_of(text, double_to_bytes(value, text))
    return resp_line(out, 44, words) if resp >= 3 else resp_bulk(out, words)


# ------------------------------------------------------------------------------------------------ reading

cdef void parser_reset(Parser *parser) noexcept:
    parser.argc = 0
    parser.expected = -1
    parser.bulk_len = -1
    parser.at_bytes = 0
    parser.argv_bytes = 0
    parser.unquoted.used_bytes = 0


cdef void parser_restart(Parser *parser) noexcept:
    parser.argv_base = 0
    parser.arrived_next = (<Arrived *> parser.arrived.data).index if parser.arrived.used_bytes > 0 else -1
    parser_reset(parser)


cdef void parser_rebase(Parser *parser) noexcept:
    if parser.argv_base > 0 and parser.argc > 0:
        memmove(parser.argv, parser.argv + parser.argv_base, <size_t> parser.argc * sizeof(Span))
    parser.argv_base = 0


cdef void parser_free(Parser *parser) noexcept:
    free(parser.argv)
    parser.argv = NULL
    parser.argv_cap = 0
    buf_free(&parser.unquoted)
    buf_free(&parser.arrived)


cdef int parser_arrived(Parser *parser) except -1:
    cdef Arrived item
    item.index = parser.argc
    item.value = parser.arriving
    buf_append(&parser.arrived, &item, sizeof(Arrived))
    parser.arriving = NULL
    parser.arrived_next = item.index
    return 0


cdef void parser_drop_arrived(Parser *parser, Values *values) noexcept:
    cdef Arrived *item = <Arrived *> parser.arrived.data
    cdef Arrived *end = <Arrived *> (parser.arrived.data + parser.arrived.used_bytes)
    while item != end:
        value_unpin(values, item.value)
        item += 1
    buf_free(&parser.arrived)
    parser.arrived_next = -1
    if parser.arriving != NULL:
        value_unpin(values, parser.arriving)
        parser.arriving = NULL


# The argument at arrived_next is complete but for its CRLF in the input.
cdef int _place_arrived(Parser *parser) except -1:
    cdef Arrived *item = <Arrived *> parser.arrived.data
    cdef Arrived *end = <Arrived *> (parser.arrived.data + parser.arrived.used_bytes)
    while item.index != parser.argc:
        item += 1
    _push(parser, parser.at_bytes, <Py_ssize_t> item.value.len_bytes)
    item += 1
    parser.arrived_next = item.index if item != end else -1
    return 0


cdef inline int _push(Parser *parser, Py_ssize_t offset, Py_ssize_t len_bytes) except -1:
    cdef Py_ssize_t cap
    cdef Span *moved
    cdef Py_ssize_t place = parser.argv_base + parser.argc
    if place == parser.argv_cap:
        cap = 16 if parser.argv_cap == 0 else parser.argv_cap * 2
        moved = <Span *> realloc(parser.argv, <size_t> cap * sizeof(Span))
        if moved == NULL:
            raise MemoryError("no memory for the arguments of a command")
        parser.argv = moved
        parser.argv_cap = cap
    parser.argv[place].at = <const uint8_t *> offset
    parser.argv[place].len_bytes = len_bytes
    parser.argc += 1
    parser.argv_bytes += len_bytes
    return 0


cdef inline void _bind(Parser *parser, const uint8_t *base) noexcept:
    cdef Py_ssize_t index
    for index in range(parser.argv_base, parser.argv_base + parser.argc):
        parser.argv[index].at = base + <Py_ssize_t> parser.argv[index].at
    if parser.argv_base == 0 and parser.arrived.used_bytes > 0:
        _bind_arrived(parser)


cdef void _bind_arrived(Parser *parser) noexcept:
    cdef Arrived *item = <Arrived *> parser.arrived.data
    cdef Arrived *end = <Arrived *> (parser.arrived.data + parser.arrived.used_bytes)
    while item != end:
        parser.argv[item.index].at = value_bytes(item.value)
        item += 1


cdef int _broken(Parser *parser, const char *error) noexcept:
    parser.error = error
    return PARSE_BROKEN


# Reads the decimal between start and the CRLF. Returns the offset after CRLF; 0 when the line is not
# complete; -1 when it is no number. Short numbers, the whole world in practice, take the fast lane.
cdef inline Py_ssize_t _number_line(Span input, Py_ssize_t start, int64_t *value) noexcept:
    cdef const uint8_t *at = input.at
    cdef Py_ssize_t index = start
    cdef Py_ssize_t end = input.len_bytes
    cdef int64_t total = 0
    cdef const uint8_t *cr
    cdef Py_ssize_t stop = start + 9 if start + 9 < end else end
    while index < stop and 48 <= at[index] <= 57:
        total = total * 10 + (at[index] - 48)
        index += 1
    if index > start and index + 1 < end and at[index] == 13 and (at[start] != 48 or index == start + 1):
        value[0] = total
        return index + 2
    cr = <const uint8_t *> memchr(at + start, 13, <size_t> (end - start)) if end > start else NULL
    if cr == NULL or cr + 1 >= at + end:
        return 0
    if not span_to_int64(span_of(at + start, cr - at - start), value):
        return -1
    return cr - at + 2


# Arguments of up to 99 bytes that are all there, one behind the other: nearly all there are, so nothing is looked up
# or written down between two of them. Stops before the first that is not like that, and leaves it to parser_step.
cdef inline void _short_arguments(Parser *parser, Span input, const ParserLimits *limits) noexcept:
    cdef const uint8_t *at = input.at + parser.at_bytes
    cdef const uint8_t *end = input.at + input.len_bytes
    cdef const uint8_t *text
    cdef Py_ssize_t room = parser.argv_cap - parser.argv_base
    cdef Py_ssize_t count = parser.argc
    cdef Py_ssize_t most = parser.expected if parser.expected < room else room
    cdef Py_ssize_t total = 0
    cdef Span *into = parser.argv + parser.argv_base + count
    cdef uint32_t len_bytes, digit
    while count < most and end - at >= 5 and at[0] == 36:
        len_bytes = <uint32_t> at[1] - 48
        if len_bytes > 9:
            break
        if at[2] == 13:
            text = at + 4
        else:
            digit = <uint32_t> at[2] - 48
            if digit > 9 or len_bytes == 0 or at[3] != 13:
                break
            len_bytes = len_bytes * 10 + digit
            text = at + 5
        if <Py_ssize_t> len_bytes > limits.bulk_len_max or end - text < <Py_ssize_t> len_bytes + 2:
            break
        into.at = <const uint8_t *> (text - input.at)
        into.len_bytes = len_bytes
        into += 1
        count += 1
        total += len_bytes
        at = text + len_bytes + 2
    parser.argc = count
    parser.argv_bytes += total
    parser.at_bytes = at - input.at


cdef int parser_step(Parser *parser, Span input, const ParserLimits *limits) except -1:
    cdef const uint8_t *at = input.at
    cdef Py_ssize_t end = input.len_bytes
    cdef Py_ssize_t next_at
    cdef int64_t number = 0
    cdef const uint8_t *cr
    if parser.expected < 0:
        if end == 0:
            return PARSE_MORE
        if at[0] != 42:
            return _inline(parser, input, limits)
        next_at = _number_line(input, 1, &number)
        if next_at == 0:
            if end > limits.inline_max_bytes:
                return _broken(parser, "Protocol error: too big mbulk count string")
            return PARSE_MORE
        if next_at < 0 or number > limits.argc_max:
            return _broken(parser, "Protocol error: invalid multibulk length")
        parser.at_bytes = next_at
        if number <= 0:
            return PARSE_EMPTY
        parser.expected = <Py_ssize_t> number
    if parser.bulk_len < 0 and parser.arrived_next < 0:
        _short_arguments(parser, input, limits)
    while parser.argc < parser.expected:
        if parser.bulk_len < 0:
            if parser.at_bytes >= end:
                return PARSE_MORE
            if at[parser.at_bytes] != 36:
                # Redis waits for the whole line before it complains; so do we.
                cr = <const uint8_t *> memchr(at + parser.at_bytes, 13, <size_t> (end - parser.at_bytes))
                if cr == NULL or cr + 1 >= at + end:
                    if end - parser.at_bytes > limits.inline_max_bytes:
                        return _broken(parser, "Protocol error: too big bulk count string")
                    return PARSE_MORE
                parser.error_byte = at[parser.at_bytes]
                return _broken(parser, "Protocol error: expected '$', got '%c'")
            next_at = _number_line(input, parser.at_bytes + 1, &number)
            if next_at == 0:
                if end - parser.at_bytes > limits.inline_max_bytes:
                    return _broken(parser, "Protocol error: too big bulk count string")
                return PARSE_MORE
            if next_at < 0 or number < 0 or number > limits.bulk_len_max:
                return _broken(parser, "Protocol error: invalid bulk length")
            parser.at_bytes = next_at
            parser.bulk_len = <Py_ssize_t> number
        if parser.argc == parser.arrived_next:
            if end - parser.at_bytes < 2:
                return PARSE_MORE
            _place_arrived(parser)
            parser.at_bytes += 2
            parser.bulk_len = -1
            continue
        if end - parser.at_bytes < parser.bulk_len + 2:
            return PARSE_MORE
        _push(parser, parser.at_bytes, parser.bulk_len)
        parser.at_bytes += parser.bulk_len + 2  # the CRLF is skipped unseen, as Redis does
        parser.bulk_len = -1
    _bind(parser, at)
    return PARSE_DONE


cdef Py_ssize_t parser_wanted_bytes(const Parser *parser, Py_ssize_t have_bytes) noexcept:
    if parser.bulk_len < 0:
        return 0
    return parser.at_bytes + parser.bulk_len + 2 - have_bytes


# ------------------------------------------------------------------------------------------------- inline

cdef inline bint _blank(uint8_t byte) noexcept:
    return byte == 32 or (9 <= byte <= 13) or byte == 0


# What ends a word: fewer bytes than part two words. A vertical tab inside one belongs to it, as in Redis.
cdef inline bint _ends_word(uint8_t byte) noexcept:
    return byte == 32 or byte == 9 or byte == 10 or byte == 13 or byte == 0


cdef inline int _hex(uint8_t byte) noexcept:
    if 48 <= byte <= 57:
        return byte - 48
    if 97 <= byte <= 102:
        return byte - 87
    if 65 <= byte <= 70:
        return byte - 55
    return -1


cdef int _inline(Parser *parser, Span input, const ParserLimits *limits) except -1:
    """A line typed by hand: words parted by blanks, "double" quotes with escapes, 'single' without."""
    cdef const uint8_t *at = input.at
    cdef const uint8_t *feed = <const uint8_t *> memchr(at, 10, <size_t> input.len_bytes)
    cdef Py_ssize_t end
    cdef Py_ssize_t index = 0
    cdef Py_ssize_t start
    cdef uint8_t byte
    cdef int high
    cdef int low
    if feed == NULL:
        if input.len_bytes > limits.inline_max_bytes:
            return _broken(parser, "Protocol error: too big inline request")
        return PARSE_MORE
    end = feed - at
    parser.at_bytes = end + 1
    if end > 0 and at[end - 1] == 13:
        end -= 1
    parser.unquoted.used_bytes = 0
    while True:
        while index < end and _blank(at[index]):
            index += 1
        if index >= end:
            break
        start = parser.unquoted.used_bytes
        while index < end and not _ends_word(at[index]):
            byte = at[index]
            if byte == 34:
                index += 1
                while True:
                    if index >= end:
                        return _broken(parser, "Protocol error: unbalanced quotes in request")
                    byte = at[index]
                    if byte == 34:
                        index += 1
                        if index < end and not _blank(at[index]):
                            return _broken(parser, "Protocol error: unbalanced quotes in request")
                        break
                    if byte == 92 and index + 1 < end:
                        index += 1
                        byte = at[index]
                        if byte == 120 and index + 2 < end:
                            high = _hex(at[index + 1])
                            low = _hex(at[index + 2])
                            if high >= 0 and low >= 0:
                                byte = <uint8_t> (high * 16 + low)
                                index += 2
                        elif byte == 110:
                            byte = 10
                        elif byte == 114:
                            byte = 13
                        elif byte == 116:
                            byte = 9
                        elif byte == 98:
                            byte = 8
                        elif byte == 97:
                            byte = 7
                    buf_append(&parser.unquoted, &byte, 1)
                    index += 1
                break
            if byte == 39:
                index += 1
                while True:
                    if index >= end:
                        return _broken(parser, "Protocol error: unbalanced quotes in request")
                    byte = at[index]
                    if byte == 92 and index + 1 < end and at[index + 1] == 39:
                        byte = 39
                        index += 1
                    elif byte == 39:
                        index += 1
                        if index < end and not _blank(at[index]):
                            return _broken(parser, "Protocol error: unbalanced quotes in request")
                        break
                    buf_append(&parser.unquoted, &byte, 1)
                    index += 1
                break
            buf_append(&parser.unquoted, &byte, 1)
            index += 1
        _push(parser, start, parser.unquoted.used_bytes - start)
    if parser.argc == 0:
        return PARSE_EMPTY
    _bind(parser, parser.unquoted.data)
    return PARSE_DONE
