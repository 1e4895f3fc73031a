# Two hashes: a keyed one that places keys in tables, and Redis Cluster's CRC16 that places them in slots.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from node.engine.span cimport Span

cdef enum:
    SLOT_COUNT = 16384

# 16 secret bytes, given by whoever starts the process: keys cannot be chosen to collide.
cdef struct HashKey:
    uint64_t first
    uint64_t second

# `key_bytes` holds exactly 16 bytes.
cdef HashKey hash_key_of(const uint8_t *key_bytes) noexcept nogil
cdef uint64_t hash_span(const HashKey *key, Span span) noexcept nogil
cdef uint32_t crc16(const uint8_t *at, Py_ssize_t len_bytes) noexcept nogil
# The slot of a key, hash tags honoured: only what stands between the first '{' and the next '}' counts,
# unless that is nothing.
cdef uint32_t slot_of_span(Span name) noexcept nogil
