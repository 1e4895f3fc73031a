from libc cimport errno
from libc.math cimport HUGE_VAL
from libc.string cimport memcpy

cdef extern from "stdlib.h" nogil:
    long double strtold(const char *text, char **end)

cdef extern from "stdio.h" nogil:
    int snprintf(char *into, size_t room, const char *format, ...)


cdef bint parse_decimal(Span text, long double *value) noexcept nogil:
    cdef char copy[DECIMAL_BYTES_MAX]
    cdef char *end
    if text.len_bytes == 0 or text.len_bytes >= DECIMAL_BYTES_MAX:
        return False
    memcpy(copy, text.at, <size_t> text.len_bytes)
    copy[text.len_bytes] = 0
    if copy[0] == 32 or (copy[0] >= 9 and copy[0] <= 13):
        return False
    errno.errno = 0  # through the module: a bare name would be a local variable
    value[0] = strtold(copy, &end)
    if end != copy + text.len_bytes or __builtin_isnan(value[0]):
        return False
    if errno.errno == errno.ERANGE and (value[0] == HUGE_VAL or value[0] == -HUGE_VAL or value[0] == 0):
        return False
    return True


cdef Py_ssize_t write_decimal(long double value, char *into) noexcept nogil:
    cdef Py_ssize_t len_bytes = snprintf(into, DECIMAL_BYTES_MAX, "%.17Lf", value)
    # 17 places are always printed, so there is a point to stop at.
    while into[len_bytes - 1] == 48:
        len_bytes -= 1
    if into[len_bytes - 1] == 46:
        len_bytes -= 1
    if len_bytes == 2 and into[0] == 45 and into[1] == 48:
        into[0] = 48
        len_bytes = 1
    return len_bytes
