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
    TYPE_STRING,
    TYPE_ZSET,
    Entry,
    entry_expiry_ms,
    entry_key,
    entry_string,
    entry_type,
)
from node.engine.keyspace cimport Keyspace
from node.engine.span cimport Span
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
        contents = _contents_digest(entry)
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
