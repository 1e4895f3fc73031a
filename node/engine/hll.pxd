# A HyperLogLog sketch in Redis's own bytes. Drawn in hll.pyx.
from libc.stdint cimport int64_t, uint8_t, uint64_t

from node.engine.span cimport Span

cdef enum:
    HLL_HEADER_BYTES = 16
    HLL_REGISTERS = 16384
    HLL_REGISTER_MAX = 63
    HLL_DENSE_BYTES = 12304  # HLL_HEADER_BYTES + HLL_REGISTERS * 6 / 8
    HLL_RANKS = 64  # values a register can have

# What a change of a sketch came to.
cdef enum:
    HLL_SAME = 0
    HLL_CHANGED = 1
    HLL_DAMAGED = 2
    HLL_TOO_SPARSE = 3  # it must become dense first

# Room for a sketch that is being changed: sparse ones grow by up to 3 bytes a change.
cdef struct Sketch:
    uint8_t bytes[12312]
    Py_ssize_t len_bytes

cdef bint hll_looks_right(Span value) noexcept nogil  # magic, encoding and length
cdef bint hll_is_dense(Span value) noexcept nogil
cdef void hll_new(Sketch *sketch) noexcept nogil
cdef bint hll_load(Sketch *sketch, Span value) noexcept nogil  # 0: longer than any sketch
# The register that this element counts in, and the value it asks for.
cdef int hll_pattern(Span element, int *register_index) noexcept nogil
cdef int hll_raise(Sketch *sketch, int register_index, int value, int64_t sparse_bytes_max) noexcept nogil
cdef bint hll_make_dense(Sketch *sketch) noexcept nogil  # 0: damaged, nothing changed
# Raises each of 16,384 registers to what the sketch has there. 0: damaged.
cdef bint hll_merge(uint8_t *registers, Span value) noexcept nogil
cdef uint64_t hll_estimate(const uint8_t *registers) noexcept nogil
# The cardinality that was written last, if nothing changed since; otherwise 0 and *valid is 0.
cdef uint64_t hll_cached(Span value, bint *valid) noexcept nogil
cdef void hll_cache(uint8_t *bytes, uint64_t cardinality) noexcept nogil
cdef void hll_forget(uint8_t *bytes) noexcept nogil
