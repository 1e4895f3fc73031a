"""Large strings, and who owns them.

A string of VALUE_BYTES_MIN and more is a block of its own, to which its entry points (ENCODING_LARGE):

    entry: header, key, pointer ---->  +------+--------+--------+-----+------+------+- - - -
                                       | pins | stored | mapped | len | room | next | bytes
    a reply: pointer, from, length ->  +------+--------+--------+-----+------+------+- - - -

so that a reply need not copy it: it takes a *pin*, and the pump writes to the socket from where the bytes lie. A pinned
value never changes. Whoever would change it in place (APPEND, SETRANGE, SETBIT) makes a copy for its entry first and
leaves the old one to the pins. A large argument is received into such a block, too, and SET makes it the entry's.

One owner: the entry, while it is `stored`, otherwise the pins; the last of them frees it. A count of pins rather than
handing the block over to one reply: twenty clients may be reading the same value, and its entry is still there. The
count is in the block, where the pin's pointer leads anyway.

Both kinds of owner are counted: a stored block is its table's (Table.used_bytes), a loose one is in `loose_bytes`, and
all of them are in the heap's used_bytes.

Blocks of MAPPED_BYTES_MIN and more are mappings of their own. mremap makes them longer without copying, and they are
given back piece by piece: to unmap 100 MB at once takes the kernel several milliseconds.

Rejected: pinning the entry itself, header, key and value in one block. EXPIRE and RENAME would copy the value, and a
value could not be received in place, because what comes after it in a SET (EX) says how long the header is.
"""

from libc.string cimport memcpy
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap

from node.engine.alloc cimport heap_block_bytes, heap_give, heap_resize, heap_take

cdef extern from "sys/mman.h" nogil:
    void *mremap(void *old, size_t old_bytes, size_t new_bytes, int flags, ...)
    enum:
        MREMAP_MAYMOVE

cdef extern from *:
    const bint GRAPEVINE_PLAIN_MALLOC  # the sanitizer build: all blocks are malloc's, which it watches

cdef enum:
    PAGE_BYTES = 4096


cdef inline size_t _mapping_bytes(size_t room_bytes) noexcept nogil:
    return (sizeof(Value) + room_bytes + PAGE_BYTES - 1) & ~(<size_t> PAGE_BYTES - 1)


cdef size_t value_held_bytes(const Value *value) noexcept nogil:
    if value.mapped:
        return sizeof(Value) + value.room_bytes
    return heap_block_bytes(value, sizeof(Value) + value.room_bytes)


cdef inline void _count(Values *values, size_t more_bytes, size_t less_bytes) noexcept nogil:
    values.heap.used_bytes += more_bytes - less_bytes
    values.heap.held_bytes += more_bytes - less_bytes


cdef Value *value_new(Values *values, size_t room_bytes, size_t final_bytes) noexcept nogil:
    cdef Value *value
    cdef size_t block_bytes = _mapping_bytes(room_bytes)
    cdef bint mapped = final_bytes >= MAPPED_BYTES_MIN and not GRAPEVINE_PLAIN_MALLOC
    if mapped:
        value = <Value *> mmap(NULL, block_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if <void *> value == MAP_FAILED:
            return NULL
        _count(values, block_bytes, 0)
        room_bytes = block_bytes - sizeof(Value)
    else:
        value = <Value *> heap_take(values.heap, sizeof(Value) + room_bytes)
        if value == NULL:
            return NULL
    value.pins = 1
    value.stored = False
    value.mapped = mapped
    value.len_bytes = 0
    value.room_bytes = room_bytes
    value.next_condemned = NULL
    values.loose_bytes += value_held_bytes(value)
    return value


cdef Value *value_copy(Values *values, Value *value, size_t room_bytes) noexcept nogil:
    cdef Value *copied = value_new(values, room_bytes, room_bytes)
    if copied == NULL:
        return NULL
    copied.len_bytes = value.len_bytes if value.len_bytes < room_bytes else room_bytes
    memcpy(value_bytes(copied), value_bytes(value), copied.len_bytes)
    return copied


cdef Value *value_resize(Values *values, Value *value, size_t room_bytes, size_t final_bytes) noexcept nogil:
    cdef size_t before_bytes = value_held_bytes(value)
    cdef size_t block_bytes = _mapping_bytes(room_bytes)
    cdef Value *moved
    if value.mapped:
        if block_bytes == before_bytes:
            return value
        moved = <Value *> mremap(value, before_bytes, block_bytes, MREMAP_MAYMOVE)
        if <void *> moved == MAP_FAILED:
            return NULL
        _count(values, block_bytes, before_bytes)
        moved.room_bytes = block_bytes - sizeof(Value)
    elif final_bytes >= MAPPED_BYTES_MIN and not GRAPEVINE_PLAIN_MALLOC:
        moved = value_copy(values, value, room_bytes)
        if moved == NULL:
            return NULL
        moved.pins = value.pins
        if value.stored:
            value_store(values, moved)
        else:
            values.loose_bytes -= before_bytes
        heap_give(values.heap, value, sizeof(Value) + value.room_bytes)
        return moved
    else:
        moved = <Value *> heap_resize(values.heap, value, sizeof(Value) + value.room_bytes, sizeof(Value) + room_bytes, 0)
        if moved == NULL:
            return NULL
        moved.room_bytes = room_bytes
    if not moved.stored:
        values.loose_bytes += value_held_bytes(moved) - before_bytes
    return moved


cdef void _free(Values *values, Value *value) noexcept nogil:
    if value.mapped:
        value.next_condemned = values.condemned
        values.condemned = value
        values.condemned_bytes += value_held_bytes(value)
    else:
        heap_give(values.heap, value, sizeof(Value) + value.room_bytes)


cdef void value_pin(Value *value) noexcept nogil:
    value.pins += 1


cdef void value_unpin(Values *values, Value *value) noexcept nogil:
    value.pins -= 1
    if value.pins == 0 and not value.stored:
        values.loose_bytes -= value_held_bytes(value)
        _free(values, value)


cdef void value_store(Values *values, Value *value) noexcept nogil:
    value.stored = True
    values.loose_bytes -= value_held_bytes(value)


cdef void value_leave(Values *values, Value *value) noexcept nogil:
    value.stored = False
    if value.pins == 0:
        _free(values, value)
    else:
        values.loose_bytes += value_held_bytes(value)


cdef bint values_free_some(Values *values, size_t budget_bytes) noexcept nogil:
    cdef Value *value
    cdef size_t block_bytes, piece_bytes
    while values.condemned != NULL:
        if budget_bytes < PAGE_BYTES:
            return True
        value = values.condemned
        block_bytes = value_held_bytes(value)
        piece_bytes = budget_bytes & ~(<size_t> PAGE_BYTES - 1)
        if piece_bytes >= block_bytes:
            piece_bytes = block_bytes
            values.condemned = value.next_condemned
        else:  # from the end: the header goes last
            value.room_bytes -= piece_bytes
        munmap(<uint8_t *> value + (block_bytes - piece_bytes), piece_bytes)
        _count(values, 0, piece_bytes)
        values.condemned_bytes -= piece_bytes
        budget_bytes -= piece_bytes
    return False
