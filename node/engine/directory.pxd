# An array of words with free places at both ends: addresses of blocks, and a count for each.
from libc.stdint cimport uint32_t, uint64_t

from node.engine.alloc cimport Heap

# All zero: an empty one.
cdef struct Directory:
    uint64_t *word  # owned; NULL while room is 0
    uint32_t first  # where the first word stands
    uint32_t count
    uint32_t room


cdef inline void *word_block(uint64_t word) noexcept nogil:
    return <void *> (word & 0x0000FFFFFFFFFFFFULL)


cdef inline uint32_t word_count(uint64_t word) noexcept nogil:
    return <uint32_t> (word >> 48)


cdef inline uint64_t word_of(void *block, uint32_t count) noexcept nogil:
    return <uint64_t> block | <uint64_t> count << 48


cdef inline uint64_t *directory_at(const Directory *directory, uint32_t index) noexcept nogil:
    return directory.word + directory.first + index


# Changes `used_bytes` by what the array takes more or less. 0: no memory, nothing changed.
cdef bint directory_insert(Heap *heap, Directory *directory, uint64_t *used_bytes, uint32_t index, uint64_t word) noexcept nogil
cdef void directory_remove(Directory *directory, uint32_t index, uint32_t count) noexcept nogil
cdef void directory_free(Heap *heap, Directory *directory, uint64_t *used_bytes) noexcept nogil
