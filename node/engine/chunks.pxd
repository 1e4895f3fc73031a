# The chunked list. Drawn in chunks.pyx.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from node.engine.alloc cimport Heap
from node.engine.directory cimport Directory, directory_at, word_block
from node.engine.object cimport Delivery, Object
from node.engine.run cimport Item, run_next

cdef enum:
    CHUNK_BYTES_MAX = 8184  # of a chunk's block, unless one element needs more
    CHUNK_HEAD_BYTES = 16
    CHUNK_ROOM_MAX = 8168  # with its head the largest block of the heap's arenas: eight fill one

cdef struct ListChunk:
    uint32_t first  # where its first element begins, from the end of this header on
    uint32_t end  # where its last one ends
    uint32_t room  # bytes behind this header
    uint8_t bits  # of the deliveries that are not owed it, see delivery.pyx
    uint8_t owed  # once it has left the list: the deliveries that still are
    uint8_t left  # 1 then
    uint8_t spare

cdef struct List:
    Object head
    int64_t count
    uint64_t item_bytes  # of all elements, frames included
    Directory directory
    bint is_quicklist  # what OBJECT ENCODING says: grown beyond list-max-listpack-size, not shrunk to half of it since

# An element's place. Valid until the list changes, but for what the changing call says about it.
cdef struct ListCursor:
    uint32_t chunk  # counted from the directory's first word
    uint32_t at  # offset in the chunk's bytes


# Bytes of the length behind an element of len_bytes.
cdef inline uint32_t back_bytes(Py_ssize_t len_bytes) noexcept nogil:
    if len_bytes < 1 << 7:
        return 1
    if len_bytes < 1 << 14:
        return 2
    if len_bytes < 1 << 21:
        return 3
    return 4 if len_bytes < 1 << 28 else 5


cdef inline ListChunk *list_chunk(const List *l, uint32_t index) noexcept nogil:
    return <ListChunk *> word_block(directory_at(&l.directory, index)[0])


cdef inline uint8_t *chunk_bytes(ListChunk *chunk) noexcept nogil:
    return <uint8_t *> chunk + CHUNK_HEAD_BYTES


# --- snapshots. A chunk that a delivery is owed is not changed: the list goes on with a copy, and the old one belongs to the
# deliveries until the last of them has released it. -----------------------------------------------------------
cdef uint64_t *list_words(const List *l) noexcept nogil  # the directory's words in a block of malloc's; NULL: no memory
cdef void list_release(Heap *heap, List *l, const Delivery *delivery, ListChunk *chunk) noexcept nogil

# --- making and freeing ------------------------------------------------------------------------------
cdef List *list_new(Heap *heap) noexcept nogil  # NULL: no memory
# Frees as many chunks as the budget allows and takes them off it; at the end the list itself. 1: there is more.
cdef bint list_free_some(Heap *heap, List *l, int64_t *budget) noexcept nogil
cdef List *list_copy(Heap *heap, const List *l) noexcept nogil  # NULL: no memory
# Counts everything again. Bytes that the list really holds; -1 when a figure or a frame is wrong.
cdef int64_t list_audit(const List *l) noexcept nogil

# --- reading -----------------------------------------------------------------------------------------
# The first or last element; 0 when there is none.
cdef bint list_end(const List *l, bint front, ListCursor *cursor) noexcept nogil
# The element at an index from 0 on; 0 when it is not there.
cdef bint list_seek(const List *l, int64_t index, ListCursor *cursor) noexcept nogil
cdef bint list_next(const List *l, ListCursor *cursor) noexcept nogil
cdef bint list_previous(const List *l, ListCursor *cursor) noexcept nogil


# Reads the element; its text borrows from the list.
cdef inline void list_item(const List *l, const ListCursor *cursor, Item *item) noexcept nogil:
    cdef ListChunk *chunk = list_chunk(l, cursor.chunk)
    run_next(chunk_bytes(chunk) + cursor.at, chunk_bytes(chunk) + chunk.end, item)


# --- changing. 0: no memory, nothing changed. An element's text must be shorter than 4 GiB - 64. -----------------
cdef bint list_push(Heap *heap, List *l, const Item *item, bint front) noexcept nogil
# Before the element at the cursor, or behind it. The cursor is the new element's afterwards.
cdef bint list_insert(Heap *heap, List *l, ListCursor *cursor, const Item *item, bint behind) noexcept nogil
# The cursor stays on the element.
cdef bint list_replace(Heap *heap, List *l, ListCursor *cursor, const Item *item) noexcept nogil
# The cursor goes to the next element; 0 when there is none.
cdef bint list_remove(Heap *heap, List *l, ListCursor *cursor) noexcept nogil
# Forgets `count` elements (at most what it has) from one end.
cdef void list_drop(Heap *heap, List *l, int64_t count, bint front) noexcept nogil
# Joins a chunk with the one before it when both fill one badly; 1 when it did: later indexes are one less.
cdef bint list_join(Heap *heap, List *l, uint32_t index) noexcept nogil
# Moves `count` chunks to an empty list of the same heap. As slow as there are chunks to move.
cdef bint list_adopt(Heap *heap, List *into, List *l, uint32_t index, uint32_t count) noexcept nogil
