"""Runs of cache lines out of arenas, packed side by side.

Tables grow together: half of all slots may be at 15 buckets while the others have moved on to 20. With an arena
for each size, as entries have, the arenas of the size that is being left would run empty at random, block by
block, and stay whole until the last block has gone; that cost 5 bytes an entry. Here an arena of
1,024 lines holds runs of any length, and what one table leaves is room for another:

    64 KiB   +--------------+-----+----------+- - -+--------+---------------+
             | LineArena, 3 | run | run      |     | run    | free          |
             +--------------+-----+----------+- - -+--------+---------------+

A bit map says which lines are in use. A run is taken from the smallest hole of an arena that has
one; arenas are listed by the logarithm of their longest hole, so one that fits is found in a few steps.
An arena without a run goes back whole.

A large set's segments are of two lengths (table.pyx), three or two to an arena. They all grow at about the same time,
and the runs they leave lie between new ones: holes that would cost 2 bytes a member. So when a run of a page or more is
given back, the pages that lie wholly in its hole go back to the system at once, some 3 us with what the faults cost
later; the segment that caused it has just moved 2,000 entries.
"""

from libc.stdint cimport uintptr_t
from libc.stdlib cimport free
from libc.string cimport memset
from posix.mman cimport MADV_DONTNEED, madvise
from posix.stdlib cimport posix_memalign

from node.engine.alloc cimport ARENA_BYTES, LINE_BINS, arena_map, arena_release

cdef extern from "malloc.h" nogil:
    size_t malloc_usable_size(void *block)

cdef extern from *:
    const bint GRAPEVINE_PLAIN_MALLOC  # see alloc.pyx
    int __builtin_ctzll(unsigned long long word) nogil
    int __builtin_clz(unsigned int word) nogil
    int __builtin_popcount(unsigned int word) nogil

cdef enum:
    MALLOC_HEADER_BYTES = 8
    TRIES_MAX = 4  # arenas looked into in one list, before the next list
    PAGE_BYTES = 4096  # where pages are larger, the kernel refuses what is less, and it stays ours


cdef inline uint32_t _bin(uint32_t longest_count) noexcept nogil:
    return 31 - __builtin_clz(longest_count)


cdef inline void _link(Heap *heap, LineArena *lines) noexcept nogil:
    cdef Arena *arena = &lines.arena
    cdef uint32_t which
    arena.listed = 0
    if lines.longest_count == 0:
        return
    which = _bin(lines.longest_count)
    arena.listed = which + 1
    arena.previous = NULL
    arena.next = heap.line_bins[which]
    if arena.next != NULL:
        arena.next.previous = arena
    heap.line_bins[which] = arena


cdef inline void _unlink(Heap *heap, LineArena *lines) noexcept nogil:
    cdef Arena *arena = &lines.arena
    if arena.listed == 0:
        return
    if arena.previous != NULL:
        arena.previous.next = arena.next
    else:
        heap.line_bins[arena.listed - 1] = arena.next
    if arena.next != NULL:
        arena.next.previous = arena.previous
    arena.listed = 0


cdef inline void _set_longest(Heap *heap, LineArena *lines, uint32_t longest_count) noexcept nogil:
    lines.longest_count = longest_count
    if longest_count == 0 or lines.arena.listed != _bin(longest_count) + 1:
        _unlink(heap, lines)
        _link(heap, lines)


# The first line from `at` on that is used (or free); ARENA_LINES when there is none.
cdef inline uint32_t _next(const uint64_t *used, uint32_t at, bint want_used) noexcept nogil:
    cdef uint64_t word
    while at < ARENA_LINES:
        word = used[at >> 6] if want_used else ~used[at >> 6]
        word >>= at & 63
        if word != 0:
            return at + <uint32_t> __builtin_ctzll(word)
        at = (at | 63) + 1
    return ARENA_LINES


cdef inline void _mark(uint64_t *used, uint32_t at, uint32_t count, bint as_used) noexcept nogil:
    cdef uint32_t here
    cdef uint64_t mask
    while count > 0:
        here = min(count, 64 - (at & 63))
        mask = (~(<uint64_t> 0) >> (64 - here)) << (at & 63)
        if as_used:
            used[at >> 6] |= mask
        else:
            used[at >> 6] &= ~mask
        at += here
        count -= here


# Bits [first, end) of 16.
cdef inline uint32_t _pages(uint32_t first, uint32_t end) noexcept nogil:
    return ((<uint32_t> 1 << end) - 1) & ~((<uint32_t> 1 << first) - 1)


# Pages that a run begins to use are ours again.
cdef inline void _note_touched(Heap *heap, LineArena *lines, uint32_t at, uint32_t count) noexcept nogil:
    cdef uint32_t touched
    if lines.returned != 0:
        touched = lines.returned & _pages(at // PAGE_LINES, (at + count - 1) // PAGE_LINES + 1)
        lines.returned &= ~touched
        heap.held_bytes += <uint64_t> __builtin_popcount(touched) * PAGE_BYTES


# Returns the pages within the hole [first, end).
cdef inline void _return_pages(Heap *heap, LineArena *lines, uint32_t first, uint32_t end) noexcept nogil:
    cdef uint32_t from_page = (first + PAGE_LINES - 1) // PAGE_LINES
    cdef uint32_t end_page = end // PAGE_LINES
    cdef uint32_t fresh
    while from_page < end_page and (lines.returned >> from_page) & 1:
        from_page += 1
    while from_page < end_page and (lines.returned >> (end_page - 1)) & 1:
        end_page -= 1
    if from_page >= end_page:
        return
    if madvise(<char *> lines + from_page * PAGE_BYTES, (end_page - from_page) * PAGE_BYTES, MADV_DONTNEED) != 0:
        return
    fresh = _pages(from_page, end_page) & ~lines.returned
    lines.returned |= fresh
    heap.held_bytes -= <uint64_t> __builtin_popcount(fresh) * PAGE_BYTES


# Takes the smallest hole of at least want lines. 0: there is none; longest_count is exact then.
cdef uint32_t _take(Heap *heap, LineArena *lines, uint32_t want) noexcept nogil:
    cdef uint32_t at = HEADER_LINES
    cdef uint32_t end, count
    cdef uint32_t best_at = 0, best_count = ARENA_LINES + 1
    cdef uint32_t longest = 0, second = 0
    while True:
        at = _next(lines.used, at, False)
        if at == ARENA_LINES:
            break
        end = _next(lines.used, at, True)
        count = end - at
        if count >= want and count < best_count:
            best_at = at
            best_count = count
        if count > longest:
            second = longest
            longest = count
        elif count > second:
            second = count
        at = end
    if best_at != 0:
        _mark(lines.used, best_at, want, True)
        _note_touched(heap, lines, best_at, want)
        lines.free_count -= want
        if best_count == longest:
            longest = max(second, best_count - want)
    _set_longest(heap, lines, longest)
    return best_at


cdef void *heap_take_lines(Heap *heap, size_t line_count) noexcept nogil:
    cdef void *block = NULL
    cdef LineArena *lines
    cdef LineArena *following
    cdef uint32_t want = <uint32_t> line_count
    cdef uint32_t which, at
    cdef int tries
    cdef size_t taken
    if line_count > RUN_LINES_MAX or GRAPEVINE_PLAIN_MALLOC:
        if posix_memalign(&block, LINE_BYTES, line_count * LINE_BYTES) != 0:
            return NULL
        taken = heap_lines_bytes(block, line_count)
        heap.used_bytes += taken
        heap.held_bytes += taken
        return block
    for which in range(_bin(want), LINE_BINS):
        lines = <LineArena *> heap.line_bins[which]
        tries = TRIES_MAX
        while lines != NULL and tries > 0:
            following = <LineArena *> lines.arena.next
            if lines.longest_count >= want:
                at = _take(heap, lines, want)
                if at != 0:
                    heap.used_bytes += line_count * LINE_BYTES
                    return <char *> lines + at * LINE_BYTES
            tries -= 1
            lines = following
    lines = <LineArena *> arena_map(heap)
    if lines == NULL:
        return NULL
    memset(lines.used, 0, sizeof(lines.used))
    _mark(lines.used, 0, HEADER_LINES, True)
    lines.free_count = ARENA_LINES - HEADER_LINES
    lines.returned = 0
    lines.longest_count = lines.free_count
    _link(heap, lines)
    at = _take(heap, lines, want)
    heap.used_bytes += line_count * LINE_BYTES
    return <char *> lines + at * LINE_BYTES


cdef void heap_give_lines(Heap *heap, void *block, size_t line_count) noexcept nogil:
    cdef LineArena *lines
    cdef uint32_t at, first, end
    cdef size_t taken
    if line_count > RUN_LINES_MAX or GRAPEVINE_PLAIN_MALLOC:
        taken = heap_lines_bytes(block, line_count)
        heap.used_bytes -= taken
        heap.held_bytes -= taken
        free(block)
        return
    lines = <LineArena *> (<uintptr_t> block & ~(<uintptr_t> ARENA_BYTES - 1))
    at = <uint32_t> ((<char *> block - <char *> lines) // LINE_BYTES)
    heap.used_bytes -= line_count * LINE_BYTES
    _mark(lines.used, at, <uint32_t> line_count, False)
    lines.free_count += <uint32_t> line_count
    if lines.free_count == ARENA_LINES - HEADER_LINES:
        _unlink(heap, lines)
        heap.held_bytes += <uint64_t> __builtin_popcount(lines.returned) * PAGE_BYTES  # counted whole until it is trimmed
        arena_release(heap, &lines.arena)
        return
    # The hole it leaves, joined with what is free on either side.
    end = _next(lines.used, at, True)
    first = at
    while not (lines.used[(first - 1) >> 6] >> ((first - 1) & 63)) & 1:
        first -= 1
    if end - first > lines.longest_count:
        _set_longest(heap, lines, end - first)
    if line_count >= PAGE_LINES:
        _return_pages(heap, lines, first, end)


cdef size_t heap_lines_bytes(const void *block, size_t line_count) noexcept nogil:
    if line_count > RUN_LINES_MAX:
        return malloc_usable_size(<void *> block) + MALLOC_HEADER_BYTES
    return line_count * LINE_BYTES
