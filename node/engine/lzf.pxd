# LZF, the compression of strings in RDB files. Reading only: what we write is not compressed.
from libc.stdint cimport uint8_t

# What one compressed byte can become at most: three bytes make a copy of 264.
cdef enum:
    LZF_GROWTH_MAX = 88

# Unpacks exactly packed_bytes into exactly plain_bytes. Returns 1, or 0 when the input is no such thing.
cdef bint lzf_unpack(
    const uint8_t *packed, Py_ssize_t packed_bytes, uint8_t *plain, Py_ssize_t plain_bytes
) noexcept nogil
