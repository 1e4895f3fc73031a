"""An array of words with free places at both ends.

    +- - - -+------+------+------+- - - -+
    | free  | word | word | word | free  |       word: count << 48 | address of a block
    +- - - -+------+------+------+- - - -+
            first

The chunks of a list and the nodes of a stream stand in one. A word is 8 bytes for about 8 KB of elements; an
insertion moves the shorter side.
"""

from libc.string cimport memcpy, memmove

from node.engine.alloc cimport heap_block_bytes, heap_give, heap_take

cdef enum:
    DIRECTORY_ROOM_MIN = 4


cdef bint directory_insert(Heap *heap, Directory *directory, uint64_t *used_bytes, uint32_t index, uint64_t word) noexcept nogil:
    cdef uint32_t behind = directory.count - index
    cdef uint32_t room, first
    cdef uint64_t *words
    cdef uint64_t *place
    if index <= behind and directory.first > 0:
        directory.first -= 1
        if index > 0:
            place = directory.word + directory.first
            memmove(place, place + 1, index * sizeof(uint64_t))
    elif directory.first + directory.count < directory.room:
        if behind > 0:
            place = directory_at(directory, index)
            memmove(place + 1, place, behind * sizeof(uint64_t))
    else:
        # Full at this end. With a third free the words move to the middle, otherwise into a larger array; either
        # way there is room at both ends in proportion to what was moved.
        room = directory.room
        if directory.count + 1 > room - room // 3:
            room = max(<uint32_t> DIRECTORY_ROOM_MIN, room + room // 2)
        first = (room - directory.count) // 2
        if room == directory.room:
            memmove(directory.word + first, directory.word + directory.first, directory.count * sizeof(uint64_t))
        else:
            words = <uint64_t *> heap_take(heap, room * sizeof(uint64_t))
            if words == NULL:
                return False
            used_bytes[0] += heap_block_bytes(words, room * sizeof(uint64_t))
            if directory.room > 0:
                memcpy(words + first, directory.word + directory.first, directory.count * sizeof(uint64_t))
                used_bytes[0] -= heap_block_bytes(directory.word, directory.room * sizeof(uint64_t))
                heap_give(heap, directory.word, directory.room * sizeof(uint64_t))
            directory.word = words
            directory.room = room
        directory.first = first
        return directory_insert(heap, directory, used_bytes, index, word)
    directory.count += 1
    directory_at(directory, index)[0] = word
    return True


cdef void directory_remove(Directory *directory, uint32_t index, uint32_t count) noexcept nogil:
    cdef uint64_t *place = directory_at(directory, index)
    cdef uint32_t behind = directory.count - index - count
    if index < behind:
        if index > 0:
            memmove(directory.word + directory.first + count, directory.word + directory.first, index * sizeof(uint64_t))
        directory.first += count
    elif behind > 0:
        memmove(place, place + count, behind * sizeof(uint64_t))
    directory.count -= count


cdef void directory_free(Heap *heap, Directory *directory, uint64_t *used_bytes) noexcept nogil:
    if directory.room > 0:
        used_bytes[0] -= heap_block_bytes(directory.word, directory.room * sizeof(uint64_t))
        heap_give(heap, directory.word, directory.room * sizeof(uint64_t))
    directory.word = NULL
    directory.first = 0
    directory.count = 0
    directory.room = 0
