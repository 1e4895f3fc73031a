"""Numbers with a fraction, in and out.

Out, they are the shortest decimals that read back as the same double: 0.1 and not 0.10000000000000001. Whole
numbers up to 2**62 have no exponent, others as Redis 7.2 lays out the digits of its fpconv.

In, they are what strtod takes: blanks in front, hexadecimal, "inf" and "nan" too, which the callers of Redis's
functions refuse more or less strictly. We keep to each one's strictness.
"""

from libc cimport errno
from libc.math cimport HUGE_VAL, isinf, isnan, signbit
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free, malloc, strtod
from libc.string cimport memcpy, memset

from node.engine.span cimport Span, int64_to_bytes

cdef extern from "Python.h":
    char *PyOS_double_to_string(double value, char format_code, int precision, int flags, int *type) except NULL
    void PyMem_Free(void *block)

cdef extern from "stdio.h" nogil:
    int snprintf(char *into, size_t room, const char *format, ...)

cdef enum:
    COPY_BYTES = 128  # longer numbers are copied to the heap


# --- out -------------------------------------------------------------------------------------------------

cdef inline Py_ssize_t _write_word(const char *word, uint8_t *out) noexcept nogil:
    cdef Py_ssize_t at = 0
    while word[at] != 0:
        out[at] = <uint8_t> word[at]
        at += 1
    return at


cdef inline Py_ssize_t _write_special(double value, uint8_t *out) noexcept nogil:
    if isnan(value):
        return _write_word("nan", out)
    return _write_word("inf" if value > 0 else "-inf", out)


# Splits Python's repr of a finite number that is not 0 into digits without zeros at either end and the power of
# ten of the last of them; returns how many digits.
cdef int _digits(const char *text, uint8_t *digits, int *power) noexcept nogil:
    cdef int count = 0, places = 0, exponent = 0
    cdef bint behind_point = False, negative = False
    while text[0] != 0 and text[0] != 101:  # e
        if text[0] == 46:
            behind_point = True
        elif text[0] != 45:
            if count > 0 or text[0] != 48:
                digits[count] = <uint8_t> text[0]
                count += 1
            places += behind_point
        text += 1
    if text[0] == 101:
        text += 1
        negative = text[0] == 45
        text += 1
        while text[0] != 0:
            exponent = exponent * 10 + text[0] - 48
            text += 1
    power[0] = (-exponent if negative else exponent) - places
    while count > 1 and digits[count - 1] == 48:
        count -= 1
        power[0] += 1
    return count


cdef Py_ssize_t double_to_bytes(double value, uint8_t *out) except -1:
    cdef uint8_t digits[32]
    cdef char *text
    cdef int count, power = 0, exponent, magnitude
    cdef Py_ssize_t at = 0
    if isnan(value) or isinf(value):
        return _write_special(value, out)
    if value >= -4611686018427387904.0 and value <= 4611686018427387904.0 and <double> <int64_t> value == value:
        if value == 0 and signbit(value):
            return _write_word("-0", out)
        return int64_to_bytes(<int64_t> value, out)
    text = PyOS_double_to_string(value, c'r', 0, 0, NULL)
    count = _digits(text, digits, &power)
    PyMem_Free(text)
    if value < 0:
        out[0] = 45
        at = 1
    exponent = power + count - 1  # of the first digit
    magnitude = -exponent if exponent < 0 else exponent
    if power >= 0 and magnitude < count + 7:
        memcpy(out + at, digits, count)
        memset(out + at + count, 48, power)
        return at + count + power
    if power < 0 and (power > -7 or magnitude < 4):
        if exponent < 0:
            out[at] = 48
            out[at + 1] = 46
            memset(out + at + 2, 48, magnitude - 1)
            memcpy(out + at + 1 + magnitude, digits, count)
            return at + 1 + magnitude + count
        memcpy(out + at, digits, exponent + 1)
        out[at + exponent + 1] = 46
        memcpy(out + at + exponent + 2, digits + exponent + 1, count - exponent - 1)
        return at + count + 1
    out[at] = digits[0]
    at += 1
    if count > 1:
        out[at] = 46
        memcpy(out + at + 1, digits + 1, count - 1)
        at += count
    out[at] = 101
    out[at + 1] = 45 if exponent < 0 else 43
    return at + 2 + int64_to_bytes(magnitude, out + at + 2)


cdef Py_ssize_t double_to_long_bytes(double value, uint8_t *out) noexcept nogil:
    if isnan(value) or isinf(value):
        return _write_special(value, out)
    return snprintf(<char *> out, DOUBLE_TEXT_BYTES, "%.17g", value)


cdef Py_ssize_t double_to_human_bytes(double value, uint8_t *out) noexcept nogil:
    cdef Py_ssize_t len_bytes
    if isnan(value) or isinf(value):
        return _write_special(value, out)
    len_bytes = snprintf(<char *> out, HUMAN_TEXT_BYTES, "%.17Lf", <long double> value)
    # 17 places are always printed, so there is a point to stop at.
    while out[len_bytes - 1] == 48:
        len_bytes -= 1
    if out[len_bytes - 1] == 46:
        len_bytes -= 1
    if len_bytes == 2 and out[0] == 45 and out[1] == 48:
        out[0] = 48
        len_bytes = 1
    return len_bytes


# --- in --------------------------------------------------------------------------------------------------

# What strtod makes of a text: `end_bytes` is where it stopped, `over` that it was too large or too small.
cdef int _read(Span text, double *value, Py_ssize_t *end_bytes, bint *over) except -1:
    cdef char local[COPY_BYTES]
    cdef char *copy = local
    cdef char *end
    if text.len_bytes >= COPY_BYTES:
        copy = <char *> malloc(<size_t> text.len_bytes + 1)
        if copy == NULL:
            raise MemoryError(f"no memory to read a number of {text.len_bytes} bytes")
    if text.len_bytes > 0:
        memcpy(copy, text.at, <size_t> text.len_bytes)
    copy[text.len_bytes] = 0
    errno.errno = 0
    value[0] = strtod(copy, &end)
    over[0] = errno.errno == errno.ERANGE and (value[0] == HUGE_VAL or value[0] == -HUGE_VAL or value[0] == 0)
    end_bytes[0] = end - copy
    if copy != local:
        free(copy)
    return 0


# Most numbers are short and whole.
cdef inline bint _read_short(Span text, double *value) noexcept nogil:
    cdef Py_ssize_t at = 0
    cdef int64_t total = 0
    cdef bint negative
    if text.len_bytes == 0 or text.len_bytes > 15:
        return False
    negative = text.at[0] == 45
    if negative:
        at = 1
        if text.len_bytes == 1:
            return False
    while at < text.len_bytes:
        if text.at[at] < 48 or text.at[at] > 57:
            return False
        total = total * 10 + text.at[at] - 48
        at += 1
    if negative and total == 0:
        return False
    value[0] = <double> (-total if negative else total)
    return True


cdef inline bint _is_blank(uint8_t byte) noexcept nogil:
    return byte == 32 or (byte >= 9 and byte <= 13)


cdef bint span_to_double(Span text, double *value) except -1:
    cdef Py_ssize_t end_bytes = 0
    cdef bint over = False
    if _read_short(text, value):
        return True
    if text.len_bytes == 0 or _is_blank(text.at[0]):
        return False
    _read(text, value, &end_bytes, &over)
    return end_bytes == text.len_bytes and not over and not isnan(value[0])


cdef bint span_to_bound(Span text, double *value, bint *open) except -1:
    cdef Py_ssize_t end_bytes = 0
    cdef bint over = False
    open[0] = False
    if _read_short(text, value):
        return True
    if text.len_bytes > 0 and text.at[0] == 40:
        open[0] = True
        text.at += 1
        text.len_bytes -= 1
    _read(text, value, &end_bytes, &over)
    # Up to a zero byte, and nothing at all is 0.
    return (end_bytes == text.len_bytes or text.at[end_bytes] == 0) and not isnan(value[0])
