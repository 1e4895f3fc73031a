"""The chunked list: large lists, packed in blocks of up to 8 KB.

    List                Directory                              ListChunk
    +-----------+       +- - -+-------+-------+-------+- - -+     +-------+-----+------+-------+
    | count     |       |free | count | count | count |free |     | first | end | room | bits  |  16 bytes
    | directory | ----> |     | chunk | chunk | chunk |     | --> +-------+-----+------+-------+
    +-----------+       +- - -+-------+-------+-------+- - -+     | free                       |
                                                                  +-----------+------+---------+
                                                                  | element   | back | element |
                                                                  +------+----+------+---------+
                                                                  | back | free                |
                                                                  +------+---------------------+

An element has the bytes of a run's (run.pyx), and behind it its own length, seven bits a byte and readable from the
right, so that a list is walked backwards as easily as forwards:

    0LLLLLLL              up to 127 bytes
    0LLLLLLL 1LLLLLLL     up to 16,383, and so on: the last byte holds the low bits, a set bit says one more to the left

A chunk has free bytes at both ends: pushing and popping at either end moves nothing. A word of the directory tells
how many elements a chunk has, so that an index is found by adding up a row of numbers, 8 bytes for 450 elements
of 16 bytes. Those cost 18.1 bytes each: one of head, one of back length, 0.05 for chunk and directory.

The first chunk of a list grows by doubling; later ones are made whole. A chunk that becomes empty is given back,
chunks that together fill one badly are joined (list_join; a command calls it once it has removed what it wanted).

Rejected: a linked list of chunks, as Redis has (16 bytes and a cache miss for each step of an index lookup);
a tree of chunks (an insertion in the middle of 100 million elements moves 900 KB of words at worst, which takes less
than finding the place did).

Source of the back length: the listpack specification, https://github.com/antirez/listpack
"""

from libc.stdint cimport INT64_MAX, int32_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy, memmove, memset

from node.engine.alloc cimport heap_block_bytes, heap_give, heap_take
from node.engine.directory cimport directory_free, directory_insert, directory_remove, word_count, word_of
from node.engine.entry cimport TYPE_LIST
from node.engine.run cimport item_bytes, item_write, run_skip

cdef enum:
    FIRST_ROOM = 496  # a block of 512 bytes
    JOIN_BYTES_MAX = 6126  # three quarters of a chunk: what is joined has room for some more
    CHUNK_COST = 4  # giving one back takes as long as giving back so many small blocks


# --- frames ----------------------------------------------------------------------------------------------

cdef inline uint8_t *_write_back(uint8_t *at, Py_ssize_t len_bytes) noexcept nogil:
    cdef uint8_t *end = at + back_bytes(len_bytes)
    at = end - 1
    while len_bytes >= 128:
        at[0] = <uint8_t> (len_bytes & 127 | 128)
        len_bytes >>= 7
        at -= 1
    at[0] = <uint8_t> len_bytes
    return end


# The bytes of the whole frame that ends at `end`.
cdef inline uint32_t _read_back(const uint8_t *end) noexcept nogil:
    cdef uint64_t len_bytes = 0
    cdef int shift = 0
    cdef uint32_t count = 1
    while end[-<Py_ssize_t> count] & 128:
        len_bytes |= <uint64_t> (end[-<Py_ssize_t> count] & 127) << shift
        shift += 7
        count += 1
    return <uint32_t> (len_bytes | <uint64_t> end[-<Py_ssize_t> count] << shift) + count


cdef inline uint32_t _frame_bytes(const uint8_t *at) noexcept nogil:
    cdef Py_ssize_t len_bytes = run_skip(at) - at
    return <uint32_t> len_bytes + back_bytes(len_bytes)


# --- chunks ----------------------------------------------------------------------------------------------

cdef inline void _block_give(Heap *heap, ListChunk *chunk) noexcept nogil:
    heap_give(heap, chunk, <size_t> chunk.room + CHUNK_HEAD_BYTES)


cdef inline size_t _block_bytes(const ListChunk *chunk) noexcept nogil:
    return heap_block_bytes(chunk, <size_t> chunk.room + CHUNK_HEAD_BYTES)


cdef ListChunk *_chunk_new(Heap *heap, List *l, uint32_t room) noexcept nogil:
    cdef ListChunk *chunk = <ListChunk *> heap_take(heap, <size_t> room + CHUNK_HEAD_BYTES)
    if chunk == NULL:
        return NULL
    chunk.first = 0
    chunk.end = 0
    chunk.room = room
    chunk.bits = l.head.polarity
    chunk.owed = 0
    chunk.left = 0
    l.head.used_bytes += _block_bytes(chunk)
    return chunk


cdef void _chunk_free(Heap *heap, List *l, ListChunk *chunk) noexcept nogil:
    cdef size_t len_bytes = _block_bytes(chunk)
    cdef uint8_t owed = (chunk.bits ^ l.head.polarity) & l.head.reading
    cdef Delivery *delivery = l.head.deliveries
    l.head.used_bytes -= len_bytes
    if owed == 0:
        _block_give(heap, chunk)
        return
    chunk.owed = owed
    chunk.left = 1
    while delivery != NULL:
        if owed & delivery.bit:
            delivery.early_bytes += len_bytes
            if delivery.early_bytes > delivery.early_limit_bytes:
                delivery.failed = True
        delivery = delivery.next


# The chunk, to be changed: a copy of it when a delivery is owed the old one. Without memory for that the delivery
# fails and not the write.
cdef ListChunk *_own(Heap *heap, List *l, uint32_t index) noexcept nogil:
    cdef ListChunk *old = list_chunk(l, index)
    cdef ListChunk *fresh
    cdef Delivery *delivery
    cdef uint64_t *word
    if (old.bits ^ l.head.polarity) & l.head.reading == 0:
        return old
    fresh = _chunk_new(heap, l, old.room)
    if fresh == NULL:
        delivery = l.head.deliveries
        while delivery != NULL:
            if (old.bits ^ l.head.polarity) & delivery.bit:
                delivery.failed = True
                delivery.blind = True
            delivery = delivery.next
        old.bits = l.head.polarity
        return old
    fresh.first = old.first
    fresh.end = old.end
    memcpy(chunk_bytes(fresh) + old.first, chunk_bytes(old) + old.first, old.end - old.first)
    word = directory_at(&l.directory, index)
    word[0] = word_of(fresh, word_count(word[0]))
    _chunk_free(heap, l, old)
    return fresh


# The chunk's elements in a block of another size, `gap` bytes behind its beginning.
cdef ListChunk *_chunk_resize(Heap *heap, List *l, uint32_t index, uint32_t room, uint32_t gap) noexcept nogil:
    cdef ListChunk *old = list_chunk(l, index)
    cdef ListChunk *fresh = _chunk_new(heap, l, room)
    cdef uint64_t *word = directory_at(&l.directory, index)
    if fresh == NULL:
        return NULL
    fresh.first = gap
    fresh.end = gap + old.end - old.first
    memcpy(chunk_bytes(fresh) + gap, chunk_bytes(old) + old.first, old.end - old.first)
    word[0] = word_of(fresh, word_count(word[0]))
    _chunk_free(heap, l, old)
    return fresh


# What was large because of one element becomes small when that is gone. Whether it succeeds is not important.
cdef void _shrink(Heap *heap, List *l, uint32_t index) noexcept nogil:
    cdef ListChunk *old = list_chunk(l, index)
    cdef uint32_t used = old.end - old.first
    if old.room > CHUNK_ROOM_MAX and used <= old.room // 2:
        _chunk_resize(heap, l, index, used, 0)


# A fresh chunk in the directory, for an element whose frame takes `need` bytes.
cdef ListChunk *_chunk_add(Heap *heap, List *l, uint32_t index, uint32_t need) noexcept nogil:
    cdef uint32_t room = CHUNK_ROOM_MAX if l.directory.count > 0 else FIRST_ROOM
    cdef ListChunk *chunk
    if need > CHUNK_ROOM_MAX // 8 or need > room:  # large elements seldom come to exactly a chunk: it grows with them
        room = need
    chunk = _chunk_new(heap, l, room)
    if chunk != NULL and not directory_insert(heap, &l.directory, &l.head.used_bytes, index, word_of(chunk, 0)):
        _chunk_free(heap, l, chunk)
        return NULL
    return chunk


cdef inline void _count_items(List *l, uint32_t index, int32_t more) noexcept nogil:
    cdef uint64_t *word = directory_at(&l.directory, index)
    word[0] += <uint64_t> <int64_t> more << 48
    l.count += more


# Bytes of the whole frame.
cdef inline uint32_t _need(const Item *item) noexcept nogil:
    cdef Py_ssize_t len_bytes = item_bytes(item)
    return <uint32_t> len_bytes + back_bytes(len_bytes)


# Makes `need` bytes of room at one end of a chunk; NULL when it can't have them.
cdef ListChunk *_make_room(Heap *heap, List *l, uint32_t index, uint32_t need, bint front) noexcept nogil:
    cdef ListChunk *chunk = list_chunk(l, index)
    cdef uint32_t used = chunk.end - chunk.first
    cdef uint32_t room, free_bytes, first
    if used > CHUNK_ROOM_MAX or need > CHUNK_ROOM_MAX - used:
        return NULL
    chunk = _own(heap, l, index)
    if (chunk.first if front else chunk.room - chunk.end) >= need:
        return chunk
    free_bytes = chunk.room - used
    if free_bytes >= need and free_bytes >= chunk.room // 4:
        # Half of the free bytes at each end, or what is needed now: moved seldom, whichever end is next.
        first = max(free_bytes // 2, need) if front else min(free_bytes // 2, free_bytes - need)
        memmove(chunk_bytes(chunk) + first, chunk_bytes(chunk) + chunk.first, used)
        chunk.first = first
        chunk.end = first + used
        return chunk
    if chunk.room >= CHUNK_ROOM_MAX:
        return NULL
    room = min(max(chunk.room * 2 + CHUNK_HEAD_BYTES, used + need), <uint32_t> CHUNK_ROOM_MAX)
    return _chunk_resize(heap, l, index, room, room - used if front else 0)


# --- snapshots -------------------------------------------------------------------------------------------

cdef uint64_t *list_words(const List *l) noexcept nogil:
    cdef uint64_t *words = <uint64_t *> malloc(l.directory.count * sizeof(uint64_t))
    if words != NULL:
        memcpy(words, directory_at(&l.directory, 0), l.directory.count * sizeof(uint64_t))
    return words


cdef void list_release(Heap *heap, List *l, const Delivery *delivery, ListChunk *chunk) noexcept nogil:
    if not chunk.left:
        chunk.bits = (chunk.bits & ~(delivery.bit | delivery.mends)) | (
            l.head.polarity & (delivery.bit | delivery.mends)
        )
        return
    chunk.owed &= <uint8_t> ~delivery.bit
    if chunk.owed == 0:
        _block_give(heap, chunk)


# --- making and freeing ----------------------------------------------------------------------------------

cdef List *list_new(Heap *heap) noexcept nogil:
    cdef List *l = <List *> heap_take(heap, sizeof(List))
    if l == NULL:
        return NULL
    memset(l, 0, sizeof(List))
    l.head.used_bytes = heap_block_bytes(l, sizeof(List))
    l.head.type = TYPE_LIST
    return l


cdef bint list_free_some(Heap *heap, List *l, int64_t *budget) noexcept nogil:
    while l.directory.count > 0:
        if budget[0] <= 0:
            return True
        budget[0] -= CHUNK_COST
        l.directory.count -= 1
        _chunk_free(heap, l, list_chunk(l, l.directory.count))
    directory_free(heap, &l.directory, &l.head.used_bytes)
    heap_give(heap, l, sizeof(List))
    return False


cdef List *list_copy(Heap *heap, const List *l) noexcept nogil:
    cdef List *copied = list_new(heap)
    cdef ListChunk *chunk
    cdef ListChunk *fresh
    cdef uint32_t index, used, count
    cdef int64_t budget = INT64_MAX
    if copied == NULL:
        return NULL
    for index in range(l.directory.count):
        chunk = list_chunk(l, index)
        count = word_count(directory_at(&l.directory, index)[0])
        used = chunk.end - chunk.first
        fresh = _chunk_new(heap, copied, used)
        if fresh != NULL:
            memcpy(chunk_bytes(fresh), chunk_bytes(chunk) + chunk.first, used)
            fresh.end = used
            if directory_insert(heap, &copied.directory, &copied.head.used_bytes, index, word_of(fresh, count)):
                continue
            _chunk_free(heap, copied, fresh)
        list_free_some(heap, copied, &budget)
        return NULL
    copied.count = l.count
    copied.item_bytes = l.item_bytes
    copied.is_quicklist = l.is_quicklist
    return copied


cdef int64_t list_audit(const List *l) noexcept nogil:
    cdef int64_t total = heap_block_bytes(l, sizeof(List))
    cdef int64_t count = 0
    cdef uint64_t items_bytes = 0
    cdef uint32_t index, chunk_count, at, frame
    cdef ListChunk *chunk
    cdef const uint8_t *begin
    cdef const uint8_t *after
    cdef Item item
    if l.directory.room > 0:
        total += heap_block_bytes(l.directory.word, l.directory.room * sizeof(uint64_t))
    for index in range(l.directory.count):
        chunk = list_chunk(l, index)
        total += _block_bytes(chunk)
        if chunk.first >= chunk.end or chunk.end > chunk.room:
            return -1
        at = chunk.first
        chunk_count = 0
        while at < chunk.end:
            begin = chunk_bytes(chunk) + at
            after = run_next(begin, chunk_bytes(chunk) + chunk.end, &item)
            if after == NULL:
                return -1
            frame = <uint32_t> (after - begin) + back_bytes(after - begin)
            if at + frame > chunk.end or _read_back(begin + frame) != frame:
                return -1
            at += frame
            chunk_count += 1
        if chunk_count != word_count(directory_at(&l.directory, index)[0]):
            return -1
        count += chunk_count
        items_bytes += chunk.end - chunk.first
    return -1 if count != l.count or items_bytes != l.item_bytes else total


# --- reading ---------------------------------------------------------------------------------------------

cdef bint list_end(const List *l, bint front, ListCursor *cursor) noexcept nogil:
    cdef ListChunk *chunk
    if l.count == 0:
        return False
    cursor.chunk = 0 if front else l.directory.count - 1
    chunk = list_chunk(l, cursor.chunk)
    cursor.at = chunk.first if front else chunk.end - _read_back(chunk_bytes(chunk) + chunk.end)
    return True


cdef bint list_seek(const List *l, int64_t index, ListCursor *cursor) noexcept nogil:
    cdef int64_t left, here
    cdef uint32_t at
    cdef ListChunk *chunk
    cdef const uint8_t *place
    if index < 0 or index >= l.count:
        return False
    if index <= l.count // 2:
        left = index
        at = 0
        while True:
            here = word_count(directory_at(&l.directory, at)[0])
            if left < here:
                break
            left -= here
            at += 1
    else:
        left = l.count - index  # elements from it on
        at = l.directory.count - 1
        while True:
            here = word_count(directory_at(&l.directory, at)[0])
            if left <= here:
                break
            left -= here
            at -= 1
        left = here - left
    chunk = list_chunk(l, at)
    cursor.chunk = at
    if left <= here // 2:
        place = chunk_bytes(chunk) + chunk.first
        while left > 0:
            place += _frame_bytes(place)
            left -= 1
    else:
        place = chunk_bytes(chunk) + chunk.end
        left = here - left
        while left > 0:
            place -= _read_back(place)
            left -= 1
    cursor.at = <uint32_t> (place - chunk_bytes(chunk))
    return True


cdef bint list_next(const List *l, ListCursor *cursor) noexcept nogil:
    cdef ListChunk *chunk = list_chunk(l, cursor.chunk)
    cursor.at += _frame_bytes(chunk_bytes(chunk) + cursor.at)
    if cursor.at < chunk.end:
        return True
    cursor.chunk += 1
    if cursor.chunk == l.directory.count:
        return False
    cursor.at = list_chunk(l, cursor.chunk).first
    return True


cdef bint list_previous(const List *l, ListCursor *cursor) noexcept nogil:
    cdef ListChunk *chunk = list_chunk(l, cursor.chunk)
    if cursor.at == chunk.first:
        if cursor.chunk == 0:
            return False
        cursor.chunk -= 1
        chunk = list_chunk(l, cursor.chunk)
        cursor.at = chunk.end
    cursor.at -= _read_back(chunk_bytes(chunk) + cursor.at)
    return True


# --- changing --------------------------------------------------------------------------------------------

cdef bint list_push(Heap *heap, List *l, const Item *item, bint front) noexcept nogil:
    cdef uint32_t need = _need(item)
    cdef uint32_t index = 0 if front or l.directory.count == 0 else l.directory.count - 1
    cdef ListChunk *chunk = NULL
    cdef uint8_t *at
    if l.directory.count > 0:
        chunk = _make_room(heap, l, index, need, front)
    if chunk == NULL:
        index = 0 if front else l.directory.count
        chunk = _chunk_add(heap, l, index, need)
        if chunk == NULL:
            return False
        if front:
            chunk.first = chunk.room
            chunk.end = chunk.room
    if front:
        chunk.first -= need
        at = chunk_bytes(chunk) + chunk.first
    else:
        at = chunk_bytes(chunk) + chunk.end
        chunk.end += need
    _write_back(item_write(at, item), item_bytes(item))
    l.item_bytes += need
    _count_items(l, index, 1)
    return True


# Puts what stands behind `at` into a chunk of its own, behind this one. Neither part is empty.
cdef bint _split(Heap *heap, List *l, uint32_t index, uint32_t at) noexcept nogil:
    cdef ListChunk *chunk = _own(heap, l, index)
    cdef uint32_t moved = chunk.end - at
    cdef uint32_t count = 0
    cdef uint8_t *place = chunk_bytes(chunk) + at
    cdef ListChunk *fresh = _chunk_new(heap, l, max(moved, min(moved + moved // 2, <uint32_t> CHUNK_ROOM_MAX)))
    cdef uint64_t *word
    if fresh == NULL:
        return False
    while place < chunk_bytes(chunk) + chunk.end:
        place += _frame_bytes(place)
        count += 1
    if not directory_insert(heap, &l.directory, &l.head.used_bytes, index + 1, word_of(fresh, count)):
        _chunk_free(heap, l, fresh)
        return False
    memcpy(chunk_bytes(fresh), chunk_bytes(chunk) + at, moved)
    fresh.end = moved
    chunk.end = at
    word = directory_at(&l.directory, index)
    word[0] = word_of(chunk, word_count(word[0]) - count)
    return True


cdef bint list_insert(Heap *heap, List *l, ListCursor *cursor, const Item *item, bint behind) noexcept nogil:
    cdef uint32_t need = _need(item)
    cdef uint32_t index = cursor.chunk
    cdef ListChunk *chunk = list_chunk(l, index)
    cdef uint32_t at = cursor.at
    cdef uint32_t offset, before
    cdef uint8_t *bytes_at
    cdef bint front
    if behind:
        at += _frame_bytes(chunk_bytes(chunk) + at)
    offset = at - chunk.first  # survives the chunk's being moved about
    front = offset < chunk.end - at
    chunk = _make_room(heap, l, index, need, front)
    if chunk == NULL:
        chunk = list_chunk(l, index)
        if offset > 0 and at < chunk.end:
            if not _split(heap, l, index, at):
                return False
            chunk = list_chunk(l, index)
        if offset > 0:  # it goes to the end of this chunk, or into one behind it
            front = False
            chunk = _make_room(heap, l, index, need, False)
            if chunk == NULL:
                index += 1
                if index < l.directory.count:
                    front = True
                    offset = 0
                    chunk = _make_room(heap, l, index, need, True)
        elif index > 0:  # before the first element: the end of the chunk before this one will do
            chunk = _make_room(heap, l, index - 1, need, False)
            if chunk != NULL:
                index -= 1
                front = False
                offset = chunk.end - chunk.first
        else:
            chunk = NULL
        if chunk == NULL:
            chunk = _chunk_add(heap, l, index, need)
            if chunk == NULL:
                return False
            offset = 0
            front = False
    before = chunk.first
    bytes_at = chunk_bytes(chunk)
    if front:
        chunk.first -= need
        memmove(bytes_at + chunk.first, bytes_at + before, offset)
    else:
        memmove(bytes_at + before + offset + need, bytes_at + before + offset, chunk.end - before - offset)
        chunk.end += need
    cursor.chunk = index
    cursor.at = chunk.first + offset
    _write_back(item_write(bytes_at + cursor.at, item), item_bytes(item))
    l.item_bytes += need
    _count_items(l, index, 1)
    return True


cdef bint list_replace(Heap *heap, List *l, ListCursor *cursor, const Item *item) noexcept nogil:
    cdef ListChunk *chunk = _own(heap, l, cursor.chunk)
    cdef uint8_t *at = chunk_bytes(chunk) + cursor.at
    cdef ListCursor old
    if _need(item) == _frame_bytes(at):
        _write_back(item_write(at, item), item_bytes(item))
        return True
    if not list_insert(heap, l, cursor, item, False):
        return False
    old = cursor[0]
    list_next(l, &old)
    # Its removal may give its chunk back, but never the one with the new element, and that is not behind it.
    if old.chunk == cursor.chunk:
        list_remove(heap, l, &old)
        _find_again(l, cursor, &old)
    else:
        list_remove(heap, l, &old)
    return True


# After the element behind `cursor`'s was removed from the same chunk: the one before `next_one` is the cursor's.
cdef inline void _find_again(const List *l, ListCursor *cursor, const ListCursor *next_one) noexcept nogil:
    cdef ListCursor found = next_one[0]
    if found.chunk == l.directory.count:
        list_end(l, False, cursor)
        return
    list_previous(l, &found)
    cursor[0] = found


cdef bint list_remove(Heap *heap, List *l, ListCursor *cursor) noexcept nogil:
    cdef ListChunk *chunk = _own(heap, l, cursor.chunk)
    cdef uint8_t *bytes_at = chunk_bytes(chunk)
    cdef uint32_t frame = _frame_bytes(bytes_at + cursor.at)
    cdef uint32_t before = cursor.at - chunk.first
    cdef uint32_t behind = chunk.end - cursor.at - frame
    l.item_bytes -= frame
    _count_items(l, cursor.chunk, -1)
    if before + behind == 0:
        _chunk_free(heap, l, chunk)
        directory_remove(&l.directory, cursor.chunk, 1)
    elif before < behind:
        memmove(bytes_at + chunk.first + frame, bytes_at + chunk.first, before)
        chunk.first += frame
        _shrink(heap, l, cursor.chunk)
        cursor.at = list_chunk(l, cursor.chunk).first + before
        return True
    else:
        memmove(bytes_at + cursor.at, bytes_at + cursor.at + frame, behind)
        chunk.end -= frame
        _shrink(heap, l, cursor.chunk)
        if behind > 0:
            cursor.at = list_chunk(l, cursor.chunk).first + before
            return True
        cursor.chunk += 1
    if cursor.chunk == l.directory.count:
        return False
    cursor.at = list_chunk(l, cursor.chunk).first
    return True


cdef void list_drop(Heap *heap, List *l, int64_t count, bint front) noexcept nogil:
    cdef ListChunk *chunk
    cdef uint32_t index, here, emptied = 0
    cdef uint8_t *place
    if count <= 0:
        return
    while count > 0 and emptied < l.directory.count:
        index = emptied if front else l.directory.count - 1 - emptied
        here = word_count(directory_at(&l.directory, index)[0])
        chunk = list_chunk(l, index)
        if here > count:
            break
        count -= here
        l.count -= here
        l.item_bytes -= chunk.end - chunk.first
        _chunk_free(heap, l, chunk)
        emptied += 1
    if emptied > 0:
        directory_remove(&l.directory, 0 if front else l.directory.count - emptied, emptied)
    if count <= 0 or l.directory.count == 0:
        return
    index = 0 if front else l.directory.count - 1
    chunk = _own(heap, l, index)
    _count_items(l, index, <int32_t> -count)
    l.item_bytes -= chunk.end - chunk.first
    if front:
        place = chunk_bytes(chunk) + chunk.first
        while count > 0:
            place += _frame_bytes(place)
            count -= 1
        chunk.first = <uint32_t> (place - chunk_bytes(chunk))
    else:
        place = chunk_bytes(chunk) + chunk.end
        while count > 0:
            place -= _read_back(place)
            count -= 1
        chunk.end = <uint32_t> (place - chunk_bytes(chunk))
    l.item_bytes += chunk.end - chunk.first
    _shrink(heap, l, index)


cdef bint list_adopt(Heap *heap, List *into, List *l, uint32_t index, uint32_t count) noexcept nogil:
    cdef uint32_t at
    cdef uint64_t word
    cdef ListChunk *chunk
    cdef uint64_t block_bytes
    into.directory.word = <uint64_t *> heap_take(heap, count * sizeof(uint64_t))
    if into.directory.word == NULL:
        return False
    into.head.used_bytes += heap_block_bytes(into.directory.word, count * sizeof(uint64_t))
    into.directory.room = count
    into.directory.count = count
    for at in range(count):
        word = directory_at(&l.directory, index + at)[0]
        into.directory.word[at] = word
        chunk = <ListChunk *> word_block(word)
        chunk.bits = into.head.polarity
        block_bytes = _block_bytes(chunk)
        into.head.used_bytes += block_bytes
        l.head.used_bytes -= block_bytes
        into.count += word_count(word)
        into.item_bytes += chunk.end - chunk.first
    l.count -= into.count
    l.item_bytes -= into.item_bytes
    directory_remove(&l.directory, index, count)
    return True


cdef bint list_join(Heap *heap, List *l, uint32_t index) noexcept nogil:
    cdef ListChunk *left
    cdef ListChunk *right
    cdef uint32_t left_bytes, right_bytes, gap
    cdef uint64_t *word
    cdef bint into_left
    if index == 0 or index >= l.directory.count:
        return False
    left = list_chunk(l, index - 1)
    right = list_chunk(l, index)
    left_bytes = left.end - left.first
    right_bytes = right.end - right.first
    # Large elements first: sums stay far below 4 GiB.
    if left_bytes > JOIN_BYTES_MAX or right_bytes > JOIN_BYTES_MAX - left_bytes:
        return False
    into_left = left.room >= left_bytes + right_bytes
    if not into_left and right.room < left_bytes + right_bytes:
        return False  # neither has the room: they are small blocks, little is lost
    if into_left:
        left = _own(heap, l, index - 1)
    else:
        right = _own(heap, l, index)
    word = directory_at(&l.directory, index - 1)
    if into_left:
        if left.room - left.end < right_bytes:
            gap = (left.room - left_bytes - right_bytes) // 2
            memmove(chunk_bytes(left) + gap, chunk_bytes(left) + left.first, left_bytes)
            left.first = gap
            left.end = gap + left_bytes
        memcpy(chunk_bytes(left) + left.end, chunk_bytes(right) + right.first, right_bytes)
        left.end += right_bytes
        word[0] = word_of(left, word_count(word[0]) + word_count(word[1]))
        _chunk_free(heap, l, right)
    else:
        if right.first < left_bytes:
            gap = left_bytes + (right.room - left_bytes - right_bytes) // 2
            memmove(chunk_bytes(right) + gap, chunk_bytes(right) + right.first, right_bytes)
            right.first = gap
            right.end = gap + right_bytes
        right.first -= left_bytes
        memcpy(chunk_bytes(right) + right.first, chunk_bytes(left) + left.first, left_bytes)
        word[0] = word_of(right, word_count(word[0]) + word_count(word[1]))
        _chunk_free(heap, l, left)
    directory_remove(&l.directory, index, 1)
    return True
