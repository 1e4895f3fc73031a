# Runs of whole cache lines, for the buckets of tables.
from libc.stdint cimport uint32_t, uint64_t

from node.engine.alloc cimport Arena, Heap

cdef enum:
    LINE_BYTES = 64
    ARENA_LINES = 1024
    HEADER_LINES = 3
    RUN_LINES_MAX = 1021  # a whole arena; longer runs come from malloc
    PAGE_LINES = 64

# What begins an arena of lines. Its first part is what every arena begins with.
cdef struct LineArena:
    Arena arena
    uint32_t free_count  # lines
    uint32_t longest_count  # no free run is longer; may be too high, never too low
    uint32_t returned  # bit i: the system has page i, and gives a page of zeroes to whoever writes there
    uint64_t used[16]  # bit i: line i is in use; the header's own are

# Aligned to a line. NULL when there is no memory.
cdef void *heap_take_lines(Heap *heap, size_t line_count) noexcept nogil
cdef void heap_give_lines(Heap *heap, void *lines, size_t line_count) noexcept nogil
# What they really take.
cdef size_t heap_lines_bytes(const void *lines, size_t line_count) noexcept nogil
