# Numbers with a fraction as clients write and read them.
from libc.stdint cimport uint8_t

from node.engine.span cimport Span

cdef enum:
    DOUBLE_TEXT_BYTES = 32  # the longest text of a double has 26 characters

# The shortest text that reads back as the same double, as Redis 7.2 writes it. `out` has DOUBLE_TEXT_BYTES.
cdef Py_ssize_t double_to_bytes(double value, uint8_t *out) except -1
# With 17 digits, whether they are needed or not.
cdef Py_ssize_t double_to_long_bytes(double value, uint8_t *out) noexcept nogil
# In plain decimals with up to 17 places and no trailing zeros. `out` has HUMAN_TEXT_BYTES.
cdef enum:
    HUMAN_TEXT_BYTES = 512
cdef Py_ssize_t double_to_human_bytes(double value, uint8_t *out) noexcept nogil
# A number from the first byte to the last, neither NaN nor out of range; False: it is none.
cdef bint span_to_double(Span text, double *value) except -1
# One end of a range of scores: a number, `open` with a `(` before it. Laxer than span_to_double, as Redis is.
cdef bint span_to_bound(Span text, double *value, bint *open) except -1
