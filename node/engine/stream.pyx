"""A stream's entries, packed in nodes in the order of their ids.

    Stream                Directory              StreamNode
    +--------------+      +---------------+      +-----------+-----------+-----+------+-----+-------+-------+
    | last_id  ... |      | live entries, | ---> | first id  | last id   | end | room | ... | total | bits  |
    | nodes        | ---> | node          |      +-----------+-----------+-----+------+-----+-------+-------+
    | groups       |      | ...           |      | names of the first entry's fields: count, then packed      |
    +--------------+      +---------------+      +------------------------------------------------------------+
                                                 | entry | entry | ...                                 | free |
                                                 +------------------------------------------------------------+

    entry:  D S 0 0 0 0 F F   the id, less what is known   values, or (count, field, value, field, value ...)

    D   deleted; it stays until its node goes
    S   its fields are those of the node's first entry: only values follow
    F   its id, told from that of the entry before it:
        0   the next sequence number of the same millisecond; nothing is stored
        1   the first of a later millisecond: a varint of how much later
        2   the same millisecond: a varint of what the sequence number is higher by
        3   a varint of how much later, a varint of the sequence number

Values and names are packed as in a run (run.pyx), counts and differences are varints of seven bits a byte, low bits
first. An entry with two small numbers takes 6 bytes; Redis's listpack needs 16 of frame alone.

Nodes are found by a binary search over their first ids, an entry in its node by going through it from its front:
a hundred entries at most, unless somebody raises the limits. For the way backwards a node is gone through once and
what was met is kept.

A node ends exactly where Redis would end its listpack, because that shows: XTRIM with ~ removes whole nodes, and XINFO
counts them. So every node adds up what Redis's listpack would take.

Rejected: the nodes in a tree (entries come at the end, and a directory of 100 million entries is 8 MB that are
searched in 20 steps); offsets for the way backwards (2 bytes an entry for ever).

Source of what a listpack takes: https://github.com/antirez/listpack, and t_stream.c of Redis for the elements.
"""

from libc.stdint cimport INT64_MAX
from libc.stdlib cimport malloc
from libc.string cimport memcpy, memset

from node.engine.alloc cimport heap_block_bytes, heap_give, heap_take
from node.engine.chunks cimport back_bytes
from node.engine.directory cimport (
    directory_free,
    directory_insert,
    directory_remove,
    word_count,
    word_of,
)
from node.engine.entry cimport TYPE_STREAM
from node.engine.groups cimport group_audit, group_copy, group_free_some, stream_group_at
from node.engine.run cimport Item, item_bytes, item_equal, item_of, item_of_int64, item_write, run_next, run_skip
from node.engine.stream_id cimport id_compare, id_of

cdef enum:
    SAME_FIELDS = 0x40
    FORM = 3
    NEXT = 0
    LATER = 1
    HIGHER = 2
    ANY = 3

cdef enum:
    NODE_ROOM_MIN = 128
    LISTPACK_FRAME_BYTES = 7
    LISTPACK_BYTES_MAX = 1 << 30
    NODE_COST = 4  # giving one back takes as long as giving back so many small blocks


# --- varints ---------------------------------------------------------------------------------------------

cdef inline uint32_t _varint_bytes(uint64_t value) noexcept nogil:
    cdef uint32_t count = 1
    while value >= 128:
        value >>= 7
        count += 1
    return count


cdef inline uint8_t *_write_varint(uint8_t *at, uint64_t value) noexcept nogil:
    while value >= 128:
        at[0] = <uint8_t> (value | 128)
        value >>= 7
        at += 1
    at[0] = <uint8_t> value
    return at + 1


cdef inline const uint8_t *_read_varint(const uint8_t *at, uint64_t *value) noexcept nogil:
    cdef int shift = 0
    value[0] = 0
    while at[0] & 128:
        value[0] |= <uint64_t> (at[0] & 127) << shift
        shift += 7
        at += 1
    value[0] |= <uint64_t> at[0] << shift
    return at + 1


# --- what a listpack would take ----------------------------------------------------------------------------

cdef inline uint32_t _packed_bytes(const Item *item) noexcept nogil:
    cdef Py_ssize_t len_bytes = item_bytes(item)
    return <uint32_t> len_bytes + back_bytes(len_bytes)


cdef inline uint32_t _packed_number(int64_t number) noexcept nogil:
    cdef Item item = item_of_int64(number)
    return _packed_bytes(&item)


cdef uint64_t _listpack_bytes(const Stream *s, uint32_t index) noexcept nogil:
    cdef StreamNode *node = stream_node(s, index)
    cdef uint32_t live = word_count(directory_at(&s.nodes, index)[0])
    return LISTPACK_FRAME_BYTES + _packed_number(live) + _packed_number(node.total - live) + node.listpack_bytes


# --- nodes -----------------------------------------------------------------------------------------------

cdef inline uint8_t *_bytes_of(StreamNode *node) noexcept nogil:
    return <uint8_t *> node + sizeof(StreamNode)


cdef StreamNode *_node_new(Heap *heap, Stream *s, uint32_t room) noexcept nogil:
    cdef StreamNode *node = <StreamNode *> heap_take(heap, sizeof(StreamNode) + room)
    if node != NULL:
        memset(node, 0, sizeof(StreamNode))
        node.room = room
        node.bits = s.head.polarity
        stream_account(s, <int64_t> heap_block_bytes(node, sizeof(StreamNode) + room))
    return node


cdef void _node_free(Heap *heap, Stream *s, StreamNode *node) noexcept nogil:
    cdef size_t len_bytes = sizeof(StreamNode) + node.room
    cdef uint8_t owed = (node.bits ^ s.head.polarity) & s.head.reading
    cdef Delivery *delivery = s.head.deliveries
    stream_account(s, -<int64_t> heap_block_bytes(node, len_bytes))
    if owed == 0:
        heap_give(heap, node, len_bytes)
        return
    node.owed = owed
    while delivery != NULL:
        if owed & delivery.bit:
            delivery.early_bytes += len_bytes
            if delivery.early_bytes > delivery.early_limit_bytes:
                delivery.failed = True
        delivery = delivery.next


# The same node in a block of another size; NULL: no memory.
cdef StreamNode *_node_resize(Heap *heap, Stream *s, uint32_t index, uint32_t room) noexcept nogil:
    cdef uint64_t *word = directory_at(&s.nodes, index)
    cdef StreamNode *old = stream_node(s, index)
    cdef StreamNode *fresh = _node_new(heap, s, room)
    if fresh == NULL:
        return NULL
    memcpy(fresh, old, sizeof(StreamNode) + old.end)
    fresh.room = room
    fresh.bits = s.head.polarity
    word[0] = word_of(fresh, word_count(word[0]))
    _node_free(heap, s, old)
    return fresh


cdef StreamNode *stream_own(Heap *heap, Stream *s, uint32_t index) noexcept nogil:
    cdef StreamNode *old = stream_node(s, index)
    cdef StreamNode *fresh
    cdef Delivery *delivery
    if (old.bits ^ s.head.polarity) & s.head.reading == 0:
        return old
    fresh = _node_resize(heap, s, index, old.room)
    if fresh != NULL:
        return fresh
    delivery = s.head.deliveries
    while delivery != NULL:
        if (old.bits ^ s.head.polarity) & delivery.bit:
            delivery.failed = True
            delivery.blind = True
        delivery = delivery.next
    old.bits = s.head.polarity
    return old


cdef void stream_node_remove(Heap *heap, Stream *s, uint32_t index) noexcept nogil:
    _node_free(heap, s, stream_node(s, index))
    directory_remove(&s.nodes, index, 1)


# --- making and freeing ----------------------------------------------------------------------------------

cdef Stream *stream_new(Heap *heap) noexcept nogil:
    cdef Stream *s = <Stream *> heap_take(heap, sizeof(Stream))
    if s != NULL:
        memset(s, 0, sizeof(Stream))
        s.head.type = TYPE_STREAM
        s.head.used_bytes = heap_block_bytes(s, sizeof(Stream))
    return s


cdef bint stream_free_some(Heap *heap, Stream *s, int64_t *budget) noexcept nogil:
    while s.nodes.count > 0:
        if budget[0] <= 0:
            return True
        budget[0] -= NODE_COST
        s.nodes.count -= 1
        _node_free(heap, s, stream_node(s, s.nodes.count))
    while s.groups.count > 0:
        if group_free_some(heap, s, stream_group_at(s, s.groups.count - 1), budget):
            return True
        s.groups.count -= 1
    directory_free(heap, &s.nodes, &s.head.used_bytes)
    directory_free(heap, &s.groups, &s.head.used_bytes)
    heap_give(heap, s, sizeof(Stream))
    return False


cdef Stream *stream_copy(Heap *heap, const Stream *s) noexcept nogil:
    cdef Stream *copied = stream_new(heap)
    cdef StreamNode *node
    cdef StreamNode *fresh
    cdef uint32_t index
    cdef int64_t budget = INT64_MAX
    cdef bint done = copied != NULL
    if not done:
        return NULL
    for index in range(s.nodes.count):
        node = stream_node(s, index)
        fresh = _node_new(heap, copied, node.end)
        if fresh == NULL:
            done = False
            break
        memcpy(fresh, node, sizeof(StreamNode) + node.end)
        fresh.room = node.end
        fresh.bits = copied.head.polarity
        if not directory_insert(
            heap, &copied.nodes, &copied.head.used_bytes, index,
            word_of(fresh, word_count(directory_at(&s.nodes, index)[0])),
        ):
            _node_free(heap, copied, fresh)
            done = False
            break
    for index in range(s.groups.count):
        done = done and group_copy(heap, copied, stream_group_at(s, index))
    if not done:
        stream_free_some(heap, copied, &budget)
        return NULL
    copied.length = s.length
    copied.last_id = s.last_id
    copied.first_id = s.first_id
    copied.deleted_id = s.deleted_id
    copied.added = s.added
    return copied


cdef int64_t stream_audit(const Stream *s) noexcept nogil:
    cdef int64_t total = heap_block_bytes(s, sizeof(Stream)), length = 0, held
    cdef uint32_t index, live
    cdef int met
    cdef StreamNode *node
    cdef StreamWalk walk
    cdef StreamId before = id_of(0, 0)
    cdef uint64_t node_bytes = 0
    if s.nodes.room > 0:
        total += heap_block_bytes(s.nodes.word, s.nodes.room * sizeof(uint64_t))
    if s.groups.room > 0:
        total += heap_block_bytes(s.groups.word, s.groups.room * sizeof(uint64_t))
    for index in range(s.nodes.count):
        node = stream_node(s, index)
        node_bytes += heap_block_bytes(node, sizeof(StreamNode) + node.room)
        if node.end > node.room or node.owed != 0:
            return -1
        stream_walk_node(s, index, &walk)
        live = 0
        held = 0
        while True:
            met = stream_walk_any(&walk)
            if met == 0:
                break
            if walk.at > walk.end or id_compare(walk.id, before) <= 0:
                return -1
            before = walk.id
            live += met == 1
            held += 1
        if live != word_count(directory_at(&s.nodes, index)[0]) or held != node.total or id_compare(before, node.last) != 0:
            return -1
        length += live
    for index in range(s.groups.count):
        held = group_audit(s, stream_group_at(s, index))
        if held < 0:
            return -1
        total += held
    if length != s.length or id_compare(stream_edge(s, True), s.first_id) != 0 or node_bytes != s.node_bytes:
        return -1
    return total + <int64_t> node_bytes


# --- snapshots -------------------------------------------------------------------------------------------

cdef uint64_t *stream_words(const Stream *s) noexcept nogil:
    cdef uint64_t *words = <uint64_t *> malloc(s.nodes.count * sizeof(uint64_t) + 1)
    if words != NULL and s.nodes.count > 0:
        memcpy(words, directory_at(&s.nodes, 0), s.nodes.count * sizeof(uint64_t))
    return words


cdef void stream_release(Heap *heap, Stream *s, const Delivery *delivery, StreamNode *node) noexcept nogil:
    if node.owed == 0:
        node.bits = (node.bits & ~(delivery.bit | delivery.mends)) | (
            s.head.polarity & (delivery.bit | delivery.mends)
        )
        return
    node.owed &= <uint8_t> ~delivery.bit
    if node.owed == 0:
        heap_give(heap, node, sizeof(StreamNode) + node.room)


# --- reading ---------------------------------------------------------------------------------------------

cdef int64_t stream_node_for(const Stream *s, StreamId id) noexcept nogil:
    cdef uint32_t low = 0, high = s.nodes.count, middle
    while low < high:
        middle = low + (high - low) // 2
        if id_compare(stream_node(s, middle).first, id) <= 0:
            low = middle + 1
        else:
            high = middle
    return <int64_t> low - 1


cdef void stream_walk_node(const Stream *s, uint32_t node, StreamWalk *walk) noexcept nogil:
    walk.stream = s
    walk.node = node
    node_walk(stream_node(s, node), walk)


cdef void node_walk(const StreamNode *node, StreamWalk *walk) noexcept nogil:
    cdef StreamNode *opened = <StreamNode *> node
    cdef uint64_t field_count
    cdef uint32_t index
    walk.fields = _read_varint(_bytes_of(opened), &field_count)
    walk.field_count = <uint32_t> field_count
    walk.at = walk.fields
    walk.end = _bytes_of(opened) + opened.end
    for index in range(walk.field_count):
        walk.at = run_skip(walk.at)
    walk.id = opened.first
    walk.id.seq -= 1  # the first entry is the one after that


cdef int stream_walk_any(StreamWalk *walk) noexcept nogil:
    cdef uint8_t head
    cdef uint64_t later, higher, field_count
    cdef uint32_t index
    cdef const uint8_t *at = walk.at
    if at == walk.end:
        return 0
    head = at[0]
    walk.entry.head = <uint8_t *> at
    at += 1
    if head & FORM == NEXT:
        walk.id.seq += 1
    elif head & FORM == HIGHER:
        at = _read_varint(at, &higher)
        walk.id.seq += higher
    else:
        at = _read_varint(at, &later)
        walk.id.ms += later
        walk.id.seq = 0
        if head & FORM == ANY:
            at = _read_varint(at, &walk.id.seq)
    walk.entry.id = walk.id
    walk.entry.end = walk.end
    if head & SAME_FIELDS:
        field_count = walk.field_count
        walk.entry.fields = walk.fields
        walk.entry.content = at
    else:
        at = _read_varint(at, &field_count)
        walk.entry.fields = NULL
        walk.entry.content = at
        for index in range(<uint32_t> field_count):
            at = run_skip(at)
    for index in range(<uint32_t> field_count):
        at = run_skip(at)
    walk.entry.field_count = <uint32_t> field_count
    walk.at = at
    return 2 if head & ENTRY_DELETED else 1


cdef void stream_walk_from(const Stream *s, StreamId least, StreamWalk *walk) noexcept nogil:
    cdef int64_t node = stream_node_for(s, least)
    walk.stream = s
    walk.least = least
    walk.node = 0
    walk.at = NULL
    walk.end = NULL
    if s.nodes.count > 0:
        stream_walk_node(s, 0 if node < 0 else <uint32_t> node, walk)


cdef bint stream_walk_next(StreamWalk *walk) noexcept nogil:
    cdef int met
    while True:
        met = stream_walk_any(walk) if walk.at != walk.end else 0
        if met == 0:
            if walk.at == NULL or walk.node + 1 >= walk.stream.nodes.count:
                return False
            stream_walk_node(walk.stream, walk.node + 1, walk)
        elif met == 1 and id_compare(walk.id, walk.least) >= 0:
            return True


cdef bint stream_find(const Stream *s, StreamId id, StreamEntry *entry) noexcept nogil:
    cdef int64_t node = stream_node_for(s, id)
    cdef StreamWalk walk
    cdef int met
    if node < 0 or id_compare(stream_node(s, <uint32_t> node).last, id) < 0:
        return False
    stream_walk_node(s, <uint32_t> node, &walk)
    while True:
        met = stream_walk_any(&walk)
        if met == 0:
            return False
        if id_compare(walk.id, id) >= 0:
            entry[0] = walk.entry
            return met == 1 and id_compare(walk.id, id) == 0


cdef int64_t stream_elements(const Stream *s) noexcept nogil:
    cdef int64_t count = s.length
    cdef uint32_t index
    for index in range(s.groups.count):
        count += <int64_t> stream_group_at(s, index).pending.count + stream_group_at(s, index).consumers.count
    return count


cdef StreamId stream_edge(const Stream *s, bint front) noexcept nogil:
    cdef uint32_t index
    cdef uint64_t word
    cdef StreamWalk walk
    cdef StreamId found = id_of(0, 0)
    cdef int met
    if s.length == 0:
        return found
    index = 0 if front else s.nodes.count - 1
    while word_count(directory_at(&s.nodes, index)[0]) == 0:
        index += 1 if front else -1
    word = directory_at(&s.nodes, index)[0]
    if word_count(word) == stream_node(s, index).total:  # nothing of it was deleted
        return stream_node(s, index).first if front else stream_node(s, index).last
    stream_walk_node(s, index, &walk)
    while True:
        met = stream_walk_any(&walk)
        if met == 0:
            return found
        if met == 1:
            found = walk.id
            if front:
                return found


# --- changing --------------------------------------------------------------------------------------------

cdef bint _same_fields(StreamNode *node, const Span *pairs, uint32_t count) noexcept nogil:
    cdef uint64_t field_count
    cdef const uint8_t *at = _read_varint(_bytes_of(node), &field_count)
    cdef const uint8_t *end = _bytes_of(node) + node.end
    cdef uint32_t index
    cdef Item name
    cdef Item met
    if field_count != count:
        return False
    for index in range(count):
        name = item_of(pairs[2 * index])
        at = run_next(at, end, &met)
        if not item_equal(&name, &met):
            return False
    return True


# Opens a node for a first entry with these fields; 0: no memory.
cdef bint _open_node(Heap *heap, Stream *s, StreamId id, const Span *pairs, uint32_t count, uint32_t entry_bytes) noexcept nogil:
    cdef uint32_t index, need = _varint_bytes(count)
    cdef uint32_t packed = _packed_number(count) + _packed_number(0)
    cdef StreamNode *node
    cdef uint8_t *at
    cdef Item item
    for index in range(count):
        item = item_of(pairs[2 * index])
        need += <uint32_t> item_bytes(&item)
        packed += _packed_bytes(&item)
    # The one that was open is finished: what it does not need goes back.
    if s.nodes.count > 0:
        node = stream_node(s, s.nodes.count - 1)
        if heap_block_bytes(node, sizeof(StreamNode) + node.end) < heap_block_bytes(node, sizeof(StreamNode) + node.room):
            _node_resize(heap, s, s.nodes.count - 1, node.end)
    node = _node_new(heap, s, max(need + entry_bytes, <uint32_t> NODE_ROOM_MIN))
    if node == NULL:
        return False
    at = _write_varint(_bytes_of(node), count)
    for index in range(count):
        item = item_of(pairs[2 * index])
        at = item_write(at, &item)
    node.first = id
    node.last = id_of(id.ms, id.seq - 1)
    node.end = need
    node.listpack_bytes = packed
    if not directory_insert(heap, &s.nodes, &s.head.used_bytes, s.nodes.count, word_of(node, 0)):
        _node_free(heap, s, node)
        return False
    return True


cdef bint _wants_node(const Stream *s, uint64_t text_bytes, int64_t node_bytes, int64_t node_entries) noexcept nogil:
    cdef StreamNode *node
    if s.nodes.count == 0:
        return True
    node = stream_node(s, s.nodes.count - 1)
    if node_bytes <= 0 or node_bytes > LISTPACK_BYTES_MAX:
        node_bytes = LISTPACK_BYTES_MAX
    return (
        _listpack_bytes(s, s.nodes.count - 1) + text_bytes >= <uint64_t> node_bytes
        or (node_entries > 0 and node.total >= node_entries)
        or node.total >= NODE_ENTRIES_MAX
    )


cdef bint stream_append(
    Heap *heap, Stream *s, StreamId id, const Span *pairs, uint32_t count, int64_t node_bytes, int64_t node_entries
) noexcept nogil:
    cdef uint32_t index, need = 1, packed, last
    cdef uint64_t text_bytes = 0
    cdef bint same, opened
    cdef StreamNode *node
    cdef uint64_t *word
    cdef uint8_t *at
    cdef uint8_t form
    cdef Item item
    for index in range(2 * count):
        text_bytes += <uint64_t> pairs[index].len_bytes
    opened = _wants_node(s, text_bytes, node_bytes, node_entries)
    same = opened or _same_fields(stream_node(s, s.nodes.count - 1), pairs, count)
    for index in range(2 * count):
        if not same or index % 2 == 1:
            item = item_of(pairs[index])
            need += <uint32_t> item_bytes(&item)
    if not same:
        need += _varint_bytes(count)
    need += 20  # the longest id; what is not used is given back with the rest
    if opened and not _open_node(heap, s, id, pairs, count, need):
        return False
    last = s.nodes.count - 1
    node = stream_node(s, last)
    if node.room - node.end < need:
        node = _node_resize(heap, s, last, max(node.end + need, node.room + node.room // 2))
        if node == NULL:
            return False
    else:
        node = stream_own(heap, s, last)
    at = _bytes_of(node) + node.end
    form = (NEXT if id.seq == node.last.seq + 1 else HIGHER) if id.ms == node.last.ms else (LATER if id.seq == 0 else ANY)
    if node.total == 0:
        form = NEXT
    at[0] = form | (SAME_FIELDS if same else 0)
    at += 1
    if form == HIGHER:
        at = _write_varint(at, id.seq - node.last.seq)
    elif form != NEXT:
        at = _write_varint(at, id.ms - node.last.ms)
        if form == ANY:
            at = _write_varint(at, id.seq)
    # As the listpack would have it: flags, the id's differences from the first one, the values, the number of elements.
    packed = _packed_number(0) + _packed_number(<int64_t> (id.ms - node.first.ms)) + _packed_number(<int64_t> (id.seq - node.first.seq))
    if same:
        packed += _packed_number(<int64_t> count + 3)
    else:
        packed += _packed_number(count) + _packed_number(2 * <int64_t> count + 4)
        at = _write_varint(at, count)
    for index in range(2 * count):
        if not same or index % 2 == 1:
            item = item_of(pairs[index])
            at = item_write(at, &item)
            packed += _packed_bytes(&item)
    node.end = <uint32_t> (at - _bytes_of(node))
    node.last = id
    node.total += 1
    node.listpack_bytes += packed
    word = directory_at(&s.nodes, last)
    word[0] = word_of(node, word_count(word[0]) + 1)
    s.length += 1
    s.added += 1
    s.last_id = id
    if s.length == 1:
        s.first_id = id
    return True


cdef bint stream_delete(Heap *heap, Stream *s, StreamId id) noexcept nogil:
    cdef StreamEntry entry
    cdef StreamNode *was
    cdef uint32_t node
    cdef uint64_t *word
    if not stream_find(s, id, &entry):
        return False
    node = <uint32_t> stream_node_for(s, id)
    word = directory_at(&s.nodes, node)
    was = stream_node(s, node)
    s.length -= 1
    if word_count(word[0]) == 1:
        stream_node_remove(heap, s, node)
        return True
    entry.head = <uint8_t *> stream_own(heap, s, node) + (entry.head - <uint8_t *> was)
    entry.head[0] |= ENTRY_DELETED
    word[0] = word_of(stream_node(s, node), word_count(word[0]) - 1)
    return True
