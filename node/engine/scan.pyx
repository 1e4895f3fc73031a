"""SCAN and its like, but for the walk itself.

A cursor is a place in the order of the hash (table.pyx), so it says nothing about the table's size and stays good
while the table grows and shrinks.
"""

from libc.stdint cimport INT64_MAX

from node.engine.glob cimport glob_matches
from node.engine.span cimport span_is, span_of

cdef extern from "stdio.h" nogil:
    int snprintf(char *into, size_t room, const char *format, ...)

cdef enum:
    COUNT_USUAL = 10
    STEPS_PER_COUNT = 10  # as Redis: so many places without an element end a call, too


# As strtoul reads it up to a zero byte: a sign may stand first (minus wraps), nothing at all is 0.
cdef bint _parse_cursor(Span text, uint64_t *cursor) noexcept nogil:
    cdef Py_ssize_t index = 0
    cdef uint64_t total = 0, digit
    cdef bint negative = False
    if text.len_bytes == 0 or text.at[0] == 0:
        cursor[0] = 0
        return True
    if text.at[0] == 43 or text.at[0] == 45:
        negative = text.at[0] == 45
        index = 1
        if text.len_bytes == 1 or text.at[1] == 0:
            return False
    while index < text.len_bytes and text.at[index] != 0:
        if text.at[index] < 48 or text.at[index] > 57:
            return False
        digit = text.at[index] - 48
        if total > (0xFFFFFFFFFFFFFFFFULL - digit) // 10:
            return False
        total = total * 10 + digit
        index += 1
    cursor[0] = (<uint64_t> 0) - total if negative else total
    return True


cdef bint scan_cursor(Session s, int index, Scan *scan) except -1:
    if _parse_cursor(s.argv[index], &scan.cursor):
        return True
    s.reply_error("ERR invalid cursor")
    return False


cdef bint scan_options(Session s, int index, bint typed, Scan *scan) except -1:
    scan.count = COUNT_USUAL
    scan.pattern = span_of(NULL, 0)
    scan.any_name = True
    scan.type = span_of(NULL, 0)
    scan.any_type = True
    while index < s.argc:
        if index + 1 == s.argc:
            s.reply_syntax_error()
            return False
        if span_is(s.argv[index], "COUNT"):
            if not s.int64_at(index + 1, &scan.count):
                return False
            if scan.count < 1:
                s.reply_syntax_error()
                return False
        elif span_is(s.argv[index], "MATCH"):
            scan.pattern = s.argv[index + 1]
            scan.any_name = scan.pattern.len_bytes == 1 and scan.pattern.at[0] == 42
        elif typed and span_is(s.argv[index], "TYPE"):
            scan.type = s.argv[index + 1]
            scan.any_type = False
        else:
            s.reply_syntax_error()
            return False
        index += 2
    scan.steps_left = scan.count * STEPS_PER_COUNT if scan.count < INT64_MAX // STEPS_PER_COUNT else INT64_MAX
    return True


cdef bint scan_wants(const Scan *scan, Span name) noexcept nogil:
    return scan.any_name or glob_matches(scan.pattern, name, False)


cdef bint scan_done(Scan *scan, int64_t seen) noexcept nogil:
    scan.count -= seen
    scan.steps_left -= 1
    return scan.cursor == 0 or scan.count <= 0 or scan.steps_left == 0


cdef int scan_reply(Session s, const Scan *scan, int64_t word_count) except -1:
    cdef char digits[24]
    s.reply_array(2)
    s.reply_bulk(span_of(digits, snprintf(digits, sizeof(digits), "%llu", <unsigned long long> scan.cursor)))
    return s.reply_array(word_count)
