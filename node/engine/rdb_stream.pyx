"""A stream in Redis's snapshot format, type 19 (Redis 7.0); type 15 is the same without what stands in brackets.

    nodes  (master id(16)  listpack) ...
    length  last id  [first id  highest deleted id  entries ever added]
    groups  (name  last id  [entries read]
             pending  (id(16)  delivered at, ms(8)  times) ...
             consumers  (name  seen at, ms(8)  pending  id(16) ...) ...) ...

A node's listpack says first which fields its first entry had, and then of each entry how its id differs from the master
id and, where its fields are those, only the values:

    live  deleted  fields  name ... 0  |  flags  ms  seq  value ... elements  |  flags  ms  seq  count  name  value ... elements

Deleted entries are not written: they only wait for their node to go.

Source: https://rdb.fnordig.de/file_format.html, files written by redis-server 7.0, and t_stream.c for the listpack.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

from node.engine.buf cimport buf_append, buf_free, buf_reserve
from node.engine.directory cimport directory_at, word_count
from node.engine.groups cimport (
    StreamConsumer,
    StreamGroup,
    StreamPending,
    consumer_name,
    cursor_pending,
    group_consumer_at,
    group_name,
    pending_seek,
    stream_group_at,
)
from node.engine.ordered cimport OrderedCursor, ordered_next
from node.engine.packed cimport PACKED_LISTPACK, Packed, packed_next, packed_open
from node.engine.rdb_write cimport write_length, write_text
from node.engine.run cimport RUN_INTEGER, Item, item_bytes, item_of_int64, item_text, item_write, run_next
from node.engine.span cimport span_of
from node.engine.stream cimport (
    StreamNode,
    StreamWalk,
    node_walk,
    stream_append,
    stream_node,
    stream_walk_any,
)
from node.engine.stream_id cimport id_compare, id_of

cdef enum:
    FLAG_DELETED = 1
    FLAG_SAME_FIELDS = 2
    FIELDS_MAX = 1 << 26  # of an entry: each takes two bytes of a listpack, which has a gigabyte at most


# --- writing ---------------------------------------------------------------------------------------------

cdef int write_raw_id(Buf *out, StreamId id) except -1:
    cdef uint8_t raw[16]
    cdef int index
    for index in range(8):
        raw[index] = <uint8_t> (id.ms >> (56 - 8 * index))
        raw[8 + index] = <uint8_t> (id.seq >> (56 - 8 * index))
    return buf_append(out, raw, 16)


cdef int _element(Buf *pack, const Item *item) except -1:
    cdef Py_ssize_t len_bytes = item_bytes(item)
    cdef Py_ssize_t left = len_bytes
    cdef int width = 1 if len_bytes <= 127 else 2 if len_bytes < 16383 else 3 if len_bytes < 2097151 else 4
    cdef int index
    if len_bytes >= 268435455:
        width = 5
    buf_reserve(pack, len_bytes + 5)
    item_write(pack.data + pack.used_bytes, item)
    pack.used_bytes += len_bytes
    # Seven bits a byte, the highest first; all but the first byte have their top bit set.
    for index in range(width - 1, -1, -1):
        pack.data[pack.used_bytes + index] = <uint8_t> ((left & 127) | (128 if index > 0 else 0))
        left >>= 7
    pack.used_bytes += width
    return 0


cdef int _number(Buf *pack, int64_t value) except -1:
    cdef Item item = item_of_int64(value)
    return _element(pack, &item)


cdef int _node(Buf *pack, const StreamNode *node, uint32_t live) except -1:
    cdef StreamWalk walk
    cdef Item item
    cdef const uint8_t *at
    cdef uint32_t left, elements
    cdef uint32_t count = 0
    cdef uint16_t counted
    cdef uint32_t total
    cdef int met
    pack.used_bytes = 0
    buf_append(pack, b"\0\0\0\0\0\0", 6)
    node_walk(node, &walk)
    _number(pack, live)
    _number(pack, 0)
    _number(pack, walk.field_count)
    elements = 4 + walk.field_count
    at = walk.fields
    for left in range(walk.field_count):
        at = run_next(at, walk.end, &item)
        _element(pack, &item)
    _number(pack, 0)
    while True:
        met = stream_walk_any(&walk)
        if met == 0:
            break
        if met != 1:
            continue
        at = walk.entry.content
        count = walk.entry.field_count
        _number(pack, FLAG_SAME_FIELDS if walk.entry.fields != NULL else 0)
        _number(pack, <int64_t> (walk.entry.id.ms - node.first.ms))
        _number(pack, <int64_t> (walk.entry.id.seq - node.first.seq))
        if walk.entry.fields == NULL:
            _number(pack, count)
            count *= 2
        for left in range(count):
            at = run_next(at, walk.entry.end, &item)
            _element(pack, &item)
        _number(pack, count + (3 if walk.entry.fields != NULL else 4))
        elements += count + (4 if walk.entry.fields != NULL else 5)
    buf_append(pack, b"\xff", 1)
    total = <uint32_t> pack.used_bytes
    counted = <uint16_t> min(elements, <uint32_t> 65535)
    memcpy(pack.data, &total, 4)
    memcpy(pack.data + 4, &counted, 2)
    return 0


cdef int _id(Buf *out, StreamId id) except -1:
    write_length(out, id.ms)
    return write_length(out, id.seq)


cdef int write_stream(Buf *out, const Stream *s) except -1:
    cdef uint32_t index, live
    cdef uint64_t nodes = 0
    for index in range(s.nodes.count):
        nodes += word_count(directory_at(&s.nodes, index)[0]) > 0
    write_length(out, nodes)
    for index in range(s.nodes.count):
        live = word_count(directory_at(&s.nodes, index)[0])
        if live > 0:
            write_stream_node(out, stream_node(s, index), live)
    write_stream_ids(out, s.length, s.last_id, s.first_id, s.deleted_id, s.added)
    return _groups(out, s)


cdef int write_stream_node(Buf *out, const StreamNode *node, uint32_t live) except -1:
    cdef Buf pack
    memset(&pack, 0, sizeof(Buf))
    write_length(out, 16)
    write_raw_id(out, node.first)
    try:
        _node(&pack, node, live)
        write_length(out, <uint64_t> pack.used_bytes)
        buf_append(out, pack.data, pack.used_bytes)
    finally:
        buf_free(&pack)
    return 0


cdef int write_stream_ids(
    Buf *out, int64_t length, StreamId last, StreamId first, StreamId deleted, uint64_t added
) except -1:
    write_length(out, <uint64_t> length)
    _id(out, last)
    _id(out, first)
    _id(out, deleted)
    return write_length(out, added)


cdef int write_group_head(Buf *out, Span name, StreamId last, int64_t entries_read) except -1:
    write_text(out, name)
    _id(out, last)
    return write_length(out, <uint64_t> entries_read)


cdef int write_pending(Buf *out, const StreamPending *pending) except -1:
    write_raw_id(out, pending.id)
    buf_append(out, &pending.delivered_ms, 8)
    return write_length(out, <uint64_t> pending.count)


cdef int write_consumer_head(Buf *out, Span name, int64_t seen_ms) except -1:
    write_text(out, name)
    return buf_append(out, &seen_ms, 8)


cdef int _groups(Buf *out, const Stream *s) except -1:
    cdef StreamGroup *group
    cdef StreamConsumer *consumer
    cdef OrderedCursor cursor
    cdef uint32_t index, which
    cdef bint more
    write_length(out, s.groups.count)
    for index in range(s.groups.count):
        group = stream_group_at(s, index)
        write_group_head(out, group_name(group), group.last_id, group.entries_read)
        write_length(out, group.pending.count)
        more = pending_seek(&group.pending, id_of(0, 0), &cursor)
        while more:
            write_pending(out, cursor_pending(&cursor))
            more = ordered_next(&cursor)
        write_length(out, group.consumers.count)
        for which in range(group.consumers.count):
            consumer = group_consumer_at(group, which)
            write_consumer_head(out, consumer_name(consumer), consumer.seen_ms)
            write_length(out, consumer.pending.count)
            more = pending_seek(&consumer.pending, id_of(0, 0), &cursor)
            while more:
                write_raw_id(out, cursor_pending(&cursor).id)
                more = ordered_next(&cursor)
    return 0


# --- reading ---------------------------------------------------------------------------------------------

cdef StreamId read_raw_id(const void *at) noexcept nogil:
    cdef const uint8_t *raw = <const uint8_t *> at
    cdef StreamId id = id_of(0, 0)
    cdef int index
    for index in range(8):
        id.ms = (id.ms << 8) | raw[index]
        id.seq = (id.seq << 8) | raw[8 + index]
    return id


cdef bint _read_number(Packed *packed, int64_t *value) noexcept nogil:
    cdef Item item
    if packed_next(packed, &item) != 1 or item.kind != RUN_INTEGER:
        return False
    value[0] = item.integer
    return True


# A text among `pairs`, whose digits stay in `digits` (24 bytes for each).
cdef bint _read_text(Packed *packed, Span *into, uint8_t *digits) noexcept nogil:
    cdef Item item
    if packed_next(packed, &item) != 1:
        return False
    into[0] = item_text(&item, digits)
    return True


cdef bint read_stream_node(
    Heap *heap, Stream *s, StreamId master, Span blob, int64_t node_bytes, int64_t node_entries
) except -1:
    cdef Packed packed
    cdef Buf names  # Spans, then room for the digits of those that are integers
    cdef Buf pairs
    cdef int64_t live, deleted, field_count, count, flags, ms, seq, elements, index
    cdef Span *name
    cdef Span *pair
    cdef uint8_t *digits
    cdef StreamId id
    if not packed_open(&packed, PACKED_LISTPACK, blob):
        return False
    if not (
        _read_number(&packed, &live) and _read_number(&packed, &deleted) and _read_number(&packed, &field_count)
    ) or field_count < 0 or field_count > min(<int64_t> FIELDS_MAX, <int64_t> blob.len_bytes):
        return False
    memset(&names, 0, sizeof(Buf))
    memset(&pairs, 0, sizeof(Buf))
    try:
        buf_reserve(&names, field_count * (<Py_ssize_t> sizeof(Span) + 24) + 1)
        name = <Span *> names.data
        for index in range(field_count):
            if not _read_text(&packed, &name[index], names.data + field_count * sizeof(Span) + 24 * index):
                return False
        if not _read_number(&packed, &elements) or elements != 0:
            return False
        while packed.at != packed.end:
            if not (_read_number(&packed, &flags) and _read_number(&packed, &ms) and _read_number(&packed, &seq)):
                return False
            count = field_count
            if not flags & FLAG_SAME_FIELDS and not _read_number(&packed, &count):
                return False
            if count < 0 or count > min(<int64_t> FIELDS_MAX, <int64_t> blob.len_bytes):
                return False
            pairs.used_bytes = 0
            buf_reserve(&pairs, 2 * count * (<Py_ssize_t> sizeof(Span) + 24) + 1)
            pair = <Span *> pairs.data
            digits = pairs.data + 2 * count * sizeof(Span)
            for index in range(count):
                if flags & FLAG_SAME_FIELDS:
                    pair[2 * index] = name[index]
                elif not _read_text(&packed, &pair[2 * index], digits + 48 * index):
                    return False
                if not _read_text(&packed, &pair[2 * index + 1], digits + 48 * index + 24):
                    return False
            if not _read_number(&packed, &elements):
                return False
            if elements != (count + 3 if flags & FLAG_SAME_FIELDS else 2 * count + 4):
                return False
            if flags & FLAG_DELETED:
                deleted -= 1
                continue
            live -= 1
            id = id_of(master.ms + <uint64_t> ms, master.seq + <uint64_t> seq)
            if count == 0 or id_compare(id, s.last_id) <= 0:
                return False
            if not stream_append(heap, s, id, pair, <uint32_t> count, node_bytes, node_entries):
                raise MemoryError("no memory for an entry of a stream")
    finally:
        buf_free(&names)
        buf_free(&pairs)
    return live == 0 and deleted == 0
