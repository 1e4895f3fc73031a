"""One number for everything in a keyspace: equal data, equal digest, on any process and in any order.

Each entry becomes 64 bits (a CRC over its length-framed parts, then mixed so that entries cannot cancel
each other out bit by bit), and these are added up modulo 2^64. The hash tables' own hash would not do:
its key is another one in every process. Not for strangers: whoever chooses the data can make digests
collide.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from node.engine.crc64 cimport crc64_update
from node.engine.entry cimport TYPE_STRING, Entry, entry_expiry_ms, entry_key, entry_string, entry_type
from node.engine.keyspace cimport Keyspace
from node.engine.span cimport Span
from node.engine.table cimport GATHER_MAX


cdef uint64_t _entry_digest(int database, const Entry *entry) noexcept:
    cdef uint8_t scratch[24]
    cdef int64_t frame[4]
    cdef Span key = entry_key(entry)
    cdef Span value = entry_string(entry, scratch)
    cdef uint64_t mixed
    frame[0] = (<int64_t> database << 8) | entry_type(entry)
    frame[1] = entry_expiry_ms(entry)
    frame[2] = key.len_bytes
    frame[3] = value.len_bytes
    mixed = crc64_update(0, <const uint8_t *> frame, sizeof(frame))
    mixed = crc64_update(mixed, key.at, key.len_bytes)
    mixed = crc64_update(mixed, value.at, value.len_bytes)
    mixed = (mixed ^ (mixed >> 30)) * <uint64_t> 0xBF58476D1CE4E5B9
    mixed = (mixed ^ (mixed >> 27)) * <uint64_t> 0x94D049BB133111EB
    return mixed ^ (mixed >> 31)


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
                if entry_type(found[index]) != TYPE_STRING:
                    raise TypeError(f"the digest knows no values of type {entry_type(found[index])} yet")
                if not keyspace.is_expired(found[index]):
                    total += _entry_digest(database, found[index])
            if cursor == 0:
                break
    return total
