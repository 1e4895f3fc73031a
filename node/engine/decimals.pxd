# Decimal numbers as INCRBYFLOAT and HINCRBYFLOAT read and write them: in long double.
from node.engine.span cimport Span

cdef enum:
    DECIMAL_BYTES_MAX = 5120  # the longest long double in plain decimals has 4,952 characters

cdef extern from *:
    int __builtin_isnan(long double value) nogil
    int __builtin_isinf(long double value) nogil


cdef inline bint is_finite(long double value) noexcept nogil:
    return not __builtin_isnan(value) and not __builtin_isinf(value)


# What strtold accepts from the first byte to the last, without a leading blank and not out of range.
cdef bint parse_decimal(Span text, long double *value) noexcept nogil
# Plain decimals with up to 17 places, no trailing zeros, no minus zero. `into` has DECIMAL_BYTES_MAX.
cdef Py_ssize_t write_decimal(long double value, char *into) noexcept nogil
