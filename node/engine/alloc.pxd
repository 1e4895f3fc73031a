# Memory for entries and buckets. Small blocks come out of arenas and carry no header of their own; the
# caller always says how large the block is that it gives back.
from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t

cdef enum:
    ARENA_BYTES = 65536
    ARENA_HEADER_BYTES = 64
    SMALL_BYTES_MAX = 1152  # a 1 KB value with a 32-byte key and an expiry still fits
    BLOCK_BYTES_MAX = 8184  # in arenas; larger ones are malloc's
    PER_ARENA_MIN = 8  # blocks of BLOCK_BYTES_MAX
    SMALL_CLASSES = 145  # SMALL_BYTES_MAX / 8 + 1; class 0 and 1 (8 bytes) are not used
    CLASS_COUNT = 194  # and one for each number of larger blocks in an arena, 8 to 56
    CHUNK_ARENAS = 64
    DIRTY_ARENAS_KEPT = 16
    LINE_BINS = 10

cdef struct Chunk:
    uint8_t *base  # 64 arenas, aligned to ARENA_BYTES; mapped by this chunk, unmapped with it
    uint64_t free_mask  # bit i: arena i is not in use
    uint64_t dirty_mask  # bit i: arena i is free but its pages are still ours
    Chunk **listed  # the heap's list it is in: dirty, else roomy, or NULL when it is full
    Chunk *next
    Chunk *previous

cdef struct Arena:
    Arena *next  # in Heap.partial[class] while it has room
    Arena *previous
    Chunk *chunk
    uint32_t block_bytes
    uint32_t used_count
    uint32_t free_offset  # of the first block that was given back; 0: none
    uint32_t fresh_offset  # blocks from here on were never handed out
    uint32_t index  # within its chunk
    uint32_t listed  # not 0 while it is in a list of the heap

cdef struct Heap:
    uint64_t used_bytes  # in blocks handed out, rounding and malloc's headers included
    uint64_t held_bytes  # what that costs the process: whole arenas plus large blocks
    uint64_t arena_count  # in use
    uint64_t dirty_count  # free, pages not returned yet
    Chunk *dirty  # chunks with free arenas that still have their pages
    Chunk *roomy  # other chunks with free arenas
    Arena *partial[CLASS_COUNT]  # by their size in 8-byte steps, then by how many fit into an arena
    Arena *line_bins[LINE_BINS]  # arenas of lines (lines.pyx) by the logarithm of their longest hole


# Where the arena of a small block begins. Of another block it is an address to no use.
cdef inline Arena *block_arena(const void *block) noexcept nogil:
    return <Arena *> (<uintptr_t> block & ~(<uintptr_t> ARENA_BYTES - 1))


cdef Heap *heap_new() except NULL
cdef void heap_delete(Heap *heap) noexcept  # every block must have been given back
# NULL when there is no memory. Blocks are aligned to 8.
cdef void *heap_take(Heap *heap, size_t len_bytes) noexcept nogil
cdef void heap_give(Heap *heap, void *block, size_t len_bytes) noexcept nogil
# As realloc: keeps the first min(old, new) bytes, NULL (and the old block intact) when there is no memory.
# `spare_bytes` more may be taken when the block is a large one.
cdef void *heap_resize(Heap *heap, void *block, size_t old_bytes, size_t new_bytes, size_t spare_bytes) noexcept nogil
# What a block of len_bytes really takes, and how many bytes of it may be used.
cdef size_t heap_block_bytes(const void *block, size_t len_bytes) noexcept nogil
cdef size_t heap_block_room(const void *block, size_t len_bytes) noexcept nogil
# An arena that is nobody's yet (chunk and index are set), and the way back.
cdef Arena *arena_map(Heap *heap) noexcept nogil
cdef void arena_release(Heap *heap, Arena *arena) noexcept nogil
# Returns the pages of free arenas to the system until only keep_count arenas have theirs. True: the budget
# was spent before that.
cdef bint heap_trim(Heap *heap, uint64_t keep_count, uint64_t budget_arenas) noexcept nogil
