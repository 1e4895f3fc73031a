"""One number for everything in a keyspace: equal data, equal digest, on any process and in any order.

Each entry becomes 64 bits (a CRC over its length-framed parts, then mixed so that entries cannot cancel
each other out bit by bit), and these are added up modulo 2^64. The elements of a hash, set or sorted set are added up
likewise, those of a list and a stream follow each other in one CRC. So neither the order of a table nor the form
that a collection is kept in makes a difference, only what a client could read. The hash tables' own hash would not
do: its key is another one in every process. Not for strangers: whoever chooses the data can make digests collide.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from node.engine.contents cimport Contents, Element, contents_next, contents_open
from node.engine.crc64 cimport crc64_update
from node.engine.entry cimport (
    TYPE_HASH,
    TYPE_LIST,
    TYPE_STREAM,
    TYPE_STRING,
    TYPE_ZSET,
    Entry,
    entry_expiry_ms,
    entry_key,
    entry_object,
    entry_string,
    entry_type,
)
from node.engine.groups cimport StreamGroup, consumer_name, cursor_pending, group_name, pending_consumer, pending_seek, stream_group_at
from node.engine.keyspace cimport Keyspace
from node.engine.ordered cimport OrderedCursor, ordered_next
from node.engine.run cimport Item, item_text, run_next
from node.engine.span cimport Span
from node.engine.stream cimport Stream, StreamEntry, StreamWalk, stream_walk_from, stream_walk_next
from node.engine.stream_id cimport StreamId, id_of
from node.engine.table cimport GATHER_MAX


cdef uint64_t _mixed(uint64_t sum) noexcept:
    sum = (sum ^ (sum >> 30)) * <uint64_t> 0xBF58476D1CE4E5B9
    sum = (sum ^ (sum >> 27)) * <uint64_t> 0x94D049BB133111EB
    return sum ^ (sum >> 31)


cdef uint64_t _text(uint64_t crc, Span text) noexcept:
    cdef int64_t length = text.len_bytes
    crc = crc64_update(crc, <const uint8_t *> &length, 8)
    return crc64_update(crc, text.at, text.len_bytes)


cdef uint64_t _contents_digest(const Entry *entry) noexcept:
    cdef Contents contents
    cdef Element element
    cdef uint64_t total = 0
    cdef uint64_t crc
    cdef double score
    contents_open(&contents, entry)
    while contents_next(&contents, &element):
        crc = _text(0, element.name)
        if entry_type(entry) == TYPE_LIST:
            total = _mixed(total + crc)
            continue
        if entry_type(entry) == TYPE_HASH:
            crc = _text(crc, element.value)
            crc = crc64_update(crc, <const uint8_t *> &element.expiry_ms, 8)
        elif entry_type(entry) == TYPE_ZSET:
            score = element.score + 0.0  # -0 equals 0
            crc = crc64_update(crc, <const uint8_t *> &score, 8)
        total += _mixed(crc)
    return total


# Entries in their order; groups, what they and their consumers have pending, but not when that was delivered.
cdef uint64_t _stream_digest(const Stream *stream) noexcept:
    cdef StreamWalk walk
    cdef StreamGroup *group
    cdef OrderedCursor cursor
    cdef uint64_t crc = 0
    cdef uint32_t index
    cdef bint more
    stream_walk_from(stream, id_of(0, 0), &walk)
    while stream_walk_next(&walk):
        crc = crc64_update(crc, <const uint8_t *> &walk.entry.id, sizeof(StreamId))
        crc = _fields_digest(crc, &walk.entry)
    crc = crc64_update(crc, <const uint8_t *> &stream.last_id, sizeof(StreamId))
    crc = crc64_update(crc, <const uint8_t *> &stream.deleted_id, sizeof(StreamId))
    crc = crc64_update(crc, <const uint8_t *> &stream.added, 8)
    for index in range(stream.groups.count):
        group = stream_group_at(stream, index)
        crc = _text(crc, group_name(group))
        crc = crc64_update(crc, <const uint8_t *> &group.last_id, sizeof(StreamId))
        crc = crc64_update(crc, <const uint8_t *> &group.entries_read, 8)
        more = pending_seek(&group.pending, id_of(0, 0), &cursor)
        while more:
            crc = crc64_update(crc, <const uint8_t *> &cursor_pending(&cursor).id, sizeof(StreamId))
            crc = crc64_update(crc, <const uint8_t *> &cursor_pending(&cursor).count, 8)
            crc = _text(crc, consumer_name(pending_consumer(cursor_pending(&cursor))))
            more = ordered_next(&cursor)
    return crc


cdef uint64_t _fields_digest(uint64_t crc, const StreamEntry *entry) noexcept:
    cdef const uint8_t *names = entry.fields
    cdef const uint8_t *at = entry.content
    cdef uint8_t scratch[24]
    cdef Item item
    cdef uint32_t left
    for left in range(entry.field_count):
        if names != NULL:
            names = run_next(names, entry.end, &item)
        else:
            at = run_next(at, entry.end, &item)
        crc = _text(crc, item_text(&item, scratch))
        at = run_next(at, entry.end, &item)
        crc = _text(crc, item_text(&item, scratch))
    return crc


cdef uint64_t _entry_digest(int database, const Entry *entry) noexcept:
    cdef uint8_t scratch[24]
    cdef int64_t frame[2]
    cdef uint64_t crc, contents
    frame[0] = (<int64_t> database << 8) | entry_type(entry)
    frame[1] = entry_expiry_ms(entry)
    crc = crc64_update(0, <const uint8_t *> frame, sizeof(frame))
    crc = _text(crc, entry_key(entry))
    if entry_type(entry) == TYPE_STRING:
        crc = _text(crc, entry_string(entry, scratch))
    else:
        contents = (
            _stream_digest(<const Stream *> entry_object(entry))
            if entry_type(entry) == TYPE_STREAM
            else _contents_digest(entry)
        )
        crc = crc64_update(crc, <const uint8_t *> &contents, 8)
    return _mixed(crc)


def digest(Keyspace keyspace not None):
    cdef Entry *found[GATHER_MAX]
    cdef uint64_t cursor
    cdef uint64_t total = 0
    cdef uint32_t count
    cdef uint32_t index
    cdef int database
    for database in range(keyspace.database_count):
        cursor = 0
        while True:
            count = keyspace.walk(database, &cursor, found)
            for index in range(count):
                if not keyspace.is_expired(found[index]):
                    total += _entry_digest(database, found[index])
            if cursor == 0:
                break
    return total
