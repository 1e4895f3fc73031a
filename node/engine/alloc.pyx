"""Size classes in 8-byte steps, carved from arenas of 64 KiB.

A cache holds tens of millions of entries of 30 to 200 bytes. malloc adds 8 bytes to each and rounds to
16: 12 bytes a key on average, more than our whole table costs. So blocks up to 8,184 bytes come from
arenas that hold blocks of one size:

    chunk: 4 MiB from mmap          arena: 64 KiB, aligned to 64 KiB
    +-------+-------+-- - --+       +-----------+---------+---------+- - -+---------+------+
    | arena | arena | x 64  |       | Arena, 64 | block   | block   |     | block   | rest |
    +-------+-------+-- - --+       +-----------+---------+---------+- - -+---------+------+

The arena of a block is found by masking its address, so a block has no header. Free blocks are chained
through their own first four bytes. An arena whose last block comes back is free at once, for any size.
Its pages go back to the system in the background (heap_trim, called by Keyspace.free_some), a few arenas at
a time: 8 us each, and when a million entries expire together thousands of arenas become free within
milliseconds. 16 free arenas keep their pages, so that one entry set and deleted over and over costs no
system call. A chunk without a used arena is unmapped.

Above 1,152 bytes a size is what an arena holds 8, 9 ... 56 of: at most 20 bytes are lost with a block of 1,200, 270 with one of
4,000 (2 % in the mean up to there), 900 with one of 8,000. Chunks of lists (8,184 bytes, chunks.pyx) fill an arena. Nodes of streams and chunks could be malloc's,
but what a list of ten million items gives back then becomes one free piece of 200 MB at the end of malloc's memory as soon as the last
block behind it goes, and malloc returns that to the system in one step, 7 ms for 140 MB.

The buckets of tables are runs of lines and have arenas of another kind, see lines.pyx.

Overhead: 64 bytes an arena (0.1 %), plus the tail that does not fit a block (0.9 % for 1,152-byte blocks,
less for smaller), plus what is free in partly used arenas. Blocks above 8,184 bytes are malloc's, counted with
what malloc really set aside (malloc_usable_size and its 8-byte header).

Rejected: jemalloc or mimalloc as a dependency (classes of 16 bytes and more, no exact count per slot);
a bump log with compaction as in memcached's extstore (entries are overwritten in place too often).
"""

from libc.stdint cimport uintptr_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy
from posix.mman cimport MADV_DONTNEED, MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, madvise, mmap, munmap

cdef extern from "malloc.h" nogil:
    size_t malloc_usable_size(void *block)
    int mallopt(int parameter, int value)
    const int M_TRIM_THRESHOLD
    const int M_TOP_PAD
    const int M_MMAP_THRESHOLD

cdef extern from *:
    # 1 in the sanitizer build (setup.py): every small block comes from malloc, which the sanitizer watches.
    const bint GRAPEVINE_PLAIN_MALLOC
    int __builtin_ctzll(unsigned long long word) nogil

cdef enum:
    ROOM_BYTES = ARENA_BYTES - ARENA_HEADER_BYTES
    MALLOC_HEADER_BYTES = 8
    KEPT_BYTES_MAX = 33554432  # free memory at the end of malloc's own that stays ours
    RETURNED_BYTES = 2097152  # of it, when there is more
    MAPPED_BYTES_MIN = 16777216  # larger blocks are mapped, and unmapped when they are given back


cdef Heap *heap_new() except NULL:
    cdef Heap *heap = <Heap *> calloc(1, sizeof(Heap))
    if heap == NULL:
        raise MemoryError("no memory for a heap")
    return heap


cdef void heap_delete(Heap *heap) noexcept:
    cdef Chunk *chunk
    while heap.roomy != NULL or heap.dirty != NULL:
        chunk = heap.roomy if heap.roomy != NULL else heap.dirty
        _chunk_unlink(chunk)
        munmap(chunk.base, CHUNK_ARENAS * ARENA_BYTES)
        free(chunk)
    free(heap)


cdef inline size_t _class_bytes(size_t len_bytes) noexcept nogil:
    # 16 at least: what is handed out must be able to hold the chain and more than one header
    if len_bytes <= SMALL_BYTES_MAX:
        return 16 if len_bytes <= 16 else (len_bytes + 7) & ~(<size_t> 7)
    return (ROOM_BYTES // (ROOM_BYTES // ((len_bytes + 7) & ~(<size_t> 7)))) & ~(<size_t> 7)


# --- chunks ------------------------------------------------------------------------------------------

cdef Chunk *_chunk_new(Heap *heap) noexcept nogil:
    cdef size_t want_bytes = CHUNK_ARENAS * ARENA_BYTES
    cdef uint8_t *mapped = <uint8_t *> mmap(
        NULL, want_bytes + ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0
    )
    cdef uint8_t *base
    cdef Chunk *chunk
    cdef size_t before
    if <void *> mapped == MAP_FAILED:
        return NULL
    chunk = <Chunk *> malloc(sizeof(Chunk))
    if chunk == NULL:
        munmap(mapped, want_bytes + ARENA_BYTES)
        return NULL
    base = <uint8_t *> ((<uintptr_t> mapped + ARENA_BYTES - 1) & ~(<uintptr_t> ARENA_BYTES - 1))
    before = base - mapped
    if before > 0:
        munmap(mapped, before)
    if before < ARENA_BYTES:
        munmap(base + want_bytes, ARENA_BYTES - before)
    chunk.base = base
    chunk.free_mask = ~(<uint64_t> 0)
    chunk.dirty_mask = 0
    chunk.listed = NULL
    _chunk_relist(heap, chunk)
    return chunk


# Puts a chunk into the list it belongs to now.
cdef inline void _chunk_relist(Heap *heap, Chunk *chunk) noexcept nogil:
    cdef Chunk **wanted = NULL
    if chunk.dirty_mask != 0:
        wanted = &heap.dirty
    elif chunk.free_mask != 0:
        wanted = &heap.roomy
    if chunk.listed == wanted:
        return
    _chunk_unlink(chunk)
    if wanted != NULL:
        chunk.listed = wanted
        chunk.previous = NULL
        chunk.next = wanted[0]
        if wanted[0] != NULL:
            wanted[0].previous = chunk
        wanted[0] = chunk


cdef inline void _chunk_unlink(Chunk *chunk) noexcept nogil:
    if chunk.listed == NULL:
        return
    if chunk.previous != NULL:
        chunk.previous.next = chunk.next
    else:
        chunk.listed[0] = chunk.next
    if chunk.next != NULL:
        chunk.next.previous = chunk.previous
    chunk.listed = NULL


# --- arenas ------------------------------------------------------------------------------------------

cdef inline size_t _size_class(uint32_t block_bytes) noexcept nogil:
    return block_bytes >> 3 if block_bytes <= SMALL_BYTES_MAX else SMALL_CLASSES + ROOM_BYTES // block_bytes - PER_ARENA_MIN


cdef inline void _arena_link(Heap *heap, Arena *arena) noexcept nogil:
    # Behind the first one: allocation stays with the arena it is filling, so others can run empty.
    cdef size_t size_class = _size_class(arena.block_bytes)
    cdef Arena *first = heap.partial[size_class]
    arena.listed = 1
    if first == NULL:
        arena.next = NULL
        arena.previous = NULL
        heap.partial[size_class] = arena
        return
    arena.previous = first
    arena.next = first.next
    if first.next != NULL:
        first.next.previous = arena
    first.next = arena


cdef inline void _arena_unlink(Heap *heap, Arena *arena) noexcept nogil:
    arena.listed = 0
    if arena.previous != NULL:
        arena.previous.next = arena.next
    else:
        heap.partial[_size_class(arena.block_bytes)] = arena.next
    if arena.next != NULL:
        arena.next.previous = arena.previous


cdef Arena *arena_map(Heap *heap) noexcept nogil:
    cdef Chunk *chunk = heap.dirty if heap.dirty != NULL else heap.roomy
    cdef Arena *arena
    cdef uint64_t bit
    cdef int index
    if chunk == NULL:
        chunk = _chunk_new(heap)
        if chunk == NULL:
            return NULL
    index = __builtin_ctzll(chunk.dirty_mask if chunk.dirty_mask != 0 else chunk.free_mask)
    bit = (<uint64_t> 1) << index
    if chunk.dirty_mask & bit:
        chunk.dirty_mask &= ~bit
        heap.dirty_count -= 1
    else:
        heap.held_bytes += ARENA_BYTES
    chunk.free_mask &= ~bit
    _chunk_relist(heap, chunk)
    arena = <Arena *> (chunk.base + <size_t> index * ARENA_BYTES)
    arena.chunk = chunk
    arena.index = <uint32_t> index
    arena.listed = 0
    heap.arena_count += 1
    return arena


cdef Arena *_arena_new(Heap *heap, uint32_t block_bytes) noexcept nogil:
    cdef Arena *arena = arena_map(heap)
    if arena == NULL:
        return NULL
    arena.block_bytes = block_bytes
    arena.used_count = 0
    arena.free_offset = 0
    arena.fresh_offset = ARENA_HEADER_BYTES
    _arena_link(heap, arena)
    return arena


cdef void arena_release(Heap *heap, Arena *arena) noexcept nogil:
    cdef Chunk *chunk = arena.chunk
    cdef uint64_t bit = (<uint64_t> 1) << arena.index
    chunk.free_mask |= bit
    chunk.dirty_mask |= bit
    heap.arena_count -= 1
    heap.dirty_count += 1
    _chunk_relist(heap, chunk)


cdef bint heap_trim(Heap *heap, uint64_t keep_count, uint64_t budget_arenas) noexcept nogil:
    cdef Chunk *chunk
    cdef int index
    while heap.dirty_count > keep_count:
        if budget_arenas == 0:
            return True
        budget_arenas -= 1
        chunk = heap.dirty
        index = __builtin_ctzll(chunk.dirty_mask)
        madvise(chunk.base + <size_t> index * ARENA_BYTES, ARENA_BYTES, MADV_DONTNEED)
        chunk.dirty_mask &= chunk.dirty_mask - 1
        heap.dirty_count -= 1
        heap.held_bytes -= ARENA_BYTES
        _chunk_relist(heap, chunk)
        # One chunk with room stays, so that the next arena needs no mmap.
        if ~chunk.free_mask == 0 and chunk.dirty_mask == 0 and (chunk.next != NULL or chunk.previous != NULL):
            _chunk_unlink(chunk)
            munmap(chunk.base, CHUNK_ARENAS * ARENA_BYTES)
            free(chunk)
    return False


# --- blocks ------------------------------------------------------------------------------------------

cdef void *heap_take(Heap *heap, size_t len_bytes) noexcept nogil:
    cdef uint8_t *block
    cdef size_t taken
    if len_bytes > BLOCK_BYTES_MAX:
        block = <uint8_t *> malloc(len_bytes)
        if block == NULL:
            return NULL
        taken = malloc_usable_size(block) + MALLOC_HEADER_BYTES
        heap.used_bytes += taken
        heap.held_bytes += taken
        return block
    return _take(heap, _class_bytes(len_bytes))


cdef inline void *_take(Heap *heap, size_t block_bytes) noexcept nogil:
    cdef Arena *arena
    cdef uint8_t *block
    if GRAPEVINE_PLAIN_MALLOC:
        heap.used_bytes += block_bytes
        heap.held_bytes += block_bytes
        return malloc(block_bytes)
    arena = heap.partial[_size_class(<uint32_t> block_bytes)]
    if arena == NULL:
        arena = _arena_new(heap, <uint32_t> block_bytes)
        if arena == NULL:
            return NULL
    if arena.free_offset != 0:
        block = <uint8_t *> arena + arena.free_offset
        arena.free_offset = (<uint32_t *> block)[0]
    else:
        block = <uint8_t *> arena + arena.fresh_offset
        arena.fresh_offset += <uint32_t> block_bytes
    arena.used_count += 1
    heap.used_bytes += block_bytes
    if arena.free_offset == 0 and arena.fresh_offset + block_bytes > ARENA_BYTES:
        _arena_unlink(heap, arena)
    return block


cdef void heap_give(Heap *heap, void *block, size_t len_bytes) noexcept nogil:
    cdef size_t taken
    if len_bytes > BLOCK_BYTES_MAX:
        taken = malloc_usable_size(block) + MALLOC_HEADER_BYTES
        heap.used_bytes -= taken
        heap.held_bytes -= taken
        free(block)
        return
    _give(heap, block, _class_bytes(len_bytes))


cdef inline void _give(Heap *heap, void *block, size_t block_bytes) noexcept nogil:
    cdef Arena *arena
    if GRAPEVINE_PLAIN_MALLOC:
        heap.used_bytes -= block_bytes
        heap.held_bytes -= block_bytes
        free(block)
        return
    arena = block_arena(block)
    (<uint32_t *> block)[0] = arena.free_offset
    arena.free_offset = <uint32_t> (<uint8_t *> block - <uint8_t *> arena)
    arena.used_count -= 1
    heap.used_bytes -= arena.block_bytes
    if arena.used_count == 0:
        if arena.listed:
            _arena_unlink(heap, arena)
        arena_release(heap, arena)
    elif not arena.listed:
        _arena_link(heap, arena)


cdef void *heap_resize(Heap *heap, void *block, size_t old_bytes, size_t new_bytes, size_t spare_bytes) noexcept nogil:
    cdef void *moved
    cdef size_t taken
    if old_bytes > BLOCK_BYTES_MAX and new_bytes > BLOCK_BYTES_MAX:
        taken = malloc_usable_size(block)
        # Shrinking to less than half gives the rest back; anything else that fits stays.
        if new_bytes <= taken and new_bytes >= taken // 2:
            return block
        moved = realloc(block, new_bytes + spare_bytes)
        if moved == NULL:
            return NULL
        heap.used_bytes -= taken
        heap.held_bytes -= taken
        taken = malloc_usable_size(moved)
        heap.used_bytes += taken
        heap.held_bytes += taken
        return moved
    if old_bytes <= BLOCK_BYTES_MAX and new_bytes <= BLOCK_BYTES_MAX and _class_bytes(old_bytes) == _class_bytes(new_bytes):
        return block
    moved = heap_take(heap, new_bytes + (spare_bytes if new_bytes > BLOCK_BYTES_MAX else 0))
    if moved == NULL:
        return NULL
    memcpy(moved, block, old_bytes if old_bytes < new_bytes else new_bytes)
    heap_give(heap, block, old_bytes)
    return moved


cdef size_t heap_block_bytes(const void *block, size_t len_bytes) noexcept nogil:
    if len_bytes > BLOCK_BYTES_MAX:
        return malloc_usable_size(<void *> block) + MALLOC_HEADER_BYTES
    return _class_bytes(len_bytes)


cdef size_t heap_block_room(const void *block, size_t len_bytes) noexcept nogil:
    if len_bytes > BLOCK_BYTES_MAX:
        return malloc_usable_size(<void *> block)
    return _class_bytes(len_bytes)


def keep_pages():
    """Lets malloc keep pages that it would return to the system after each large reply.

    A buffer of 64 KB for a reply is taken and given back thousands of times a second. By default malloc then
    moves the end of its memory up and down, and every page is a fault and is zeroed again: 24,600 replies of 64 KB
    a second, with this 44,000. Concerns the whole process; called by whoever starts it.

    When more than that is free at the end, malloc returns all of it in one step, and 32 MB take 2 to 4 ms. It leaves
    M_TOP_PAD of it, so with this it returns 2 MB at a time while a large structure is freed block by block.
    """
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES_MAX)
    mallopt(M_TOP_PAD, KEPT_BYTES_MAX - RETURNED_BYTES)
    mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES_MIN)
