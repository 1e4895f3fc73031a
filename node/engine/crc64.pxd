# CRC-64/Jones, reflected: what Redis puts at the end of an RDB file and of a DUMP payload.
from libc.stdint cimport uint8_t, uint64_t

cdef uint64_t crc64_update(uint64_t crc, const uint8_t *data, Py_ssize_t len_bytes) noexcept nogil
