from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint64_t


cdef bint span_to_int64(Span span, int64_t *value) noexcept nogil:
    cdef const uint8_t *at = span.at
    cdef Py_ssize_t left = span.len_bytes
    cdef bint negative = False
    cdef uint64_t total = 0
    cdef uint64_t limit = 9223372036854775807
    cdef uint64_t digit
    if left <= 0 or left > 20:
        return False
    if left == 1 and at[0] == 48:
        value[0] = 0
        return True
    if at[0] == 45:
        negative = True
        limit = 9223372036854775808ULL
        at += 1
        left -= 1
        if left == 0:
            return False
    if at[0] < 49 or at[0] > 57:
        return False
    while left > 0:
        if at[0] < 48 or at[0] > 57:
            return False
        digit = at[0] - 48
        if total > (limit - digit) // 10:
            return False
        total = total * 10 + digit
        at += 1
        left -= 1
    if negative:
        value[0] = <int64_t> (<uint64_t> 0 - total)
    else:
        value[0] = <int64_t> total
    return True


cdef Py_ssize_t int64_to_bytes(int64_t value, uint8_t *out) noexcept nogil:
    cdef uint8_t digits[24]
    cdef Py_ssize_t count = 0
    cdef Py_ssize_t written = 0
    cdef uint64_t left
    if value < 0:
        out[0] = 45
        written = 1
        left = <uint64_t> 0 - <uint64_t> value
    else:
        left = <uint64_t> value
    while True:
        digits[count] = 48 + <uint8_t> (left % 10)
        count += 1
        left = left // 10
        if left == 0:
            break
    while count > 0:
        count -= 1
        out[written] = digits[count]
        written += 1
    return written


cdef bytes span_bytes(Span span):
    return PyBytes_FromStringAndSize(<const char *> span.at, span.len_bytes)
