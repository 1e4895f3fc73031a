"""Finding members that have expired without looking at those that have not.

Every segment of a table has a lower bound on the expiries in it, and so has the table (table.pyx). A segment whose
bound has not come is passed over; in one whose bound has come only entries that have an expiry are read, for the
table's words say which have one. A segment holds some 3,000 entries, so a step is bounded whatever the size.
"""

from libc.stdint cimport uint64_t

from node.engine.entry cimport entry_expiry_ms
from node.engine.table cimport BUCKET_WAYS, Segment, table_segment_at, word_entry, word_has_expiry


# What has expired in one segment: how many, and the first `room` of them. next_ms: the earliest expiry of the others, 0
# when there is none.
cdef int64_t _in_segment(Segment *segment, int64_t now_ms, Entry **into, uint32_t room, int64_t *next_ms) noexcept nogil:
    cdef bint single = segment.bucket_count == 0
    cdef uint32_t index
    cdef int way
    cdef uint64_t word
    cdef int64_t when, found = 0
    next_ms[0] = 0
    for index in range(1 if single else segment.bucket_count):
        for way in range(1 if single else BUCKET_WAYS):
            word = <uint64_t> segment.line if single else segment.line[index].word[way]
            if not word_has_expiry(word):  # a free word is 0
                continue
            when = entry_expiry_ms(word_entry(word))
            if when < now_ms:
                if found < room:
                    into[found] = word_entry(word)
                found += 1
            elif next_ms[0] == 0 or when < next_ms[0]:
                next_ms[0] = when
    return found


cdef int64_t due_count(Members *members, int64_t now_ms) noexcept nogil:
    cdef uint32_t position = 0, following
    cdef int64_t next_ms, found = 0
    cdef Segment *segment
    if not due_any(members, now_ms):
        return 0
    while True:
        segment = table_segment_at(&members.table, position, &following)
        if segment.next_expiry_ms != 0 and segment.next_expiry_ms < now_ms:
            found += _in_segment(segment, now_ms, NULL, 0, &next_ms)
        position = following
        if position == 0:
            return found


cdef uint32_t due_gather(Members *members, int64_t now_ms, Entry **into, uint32_t room) noexcept nogil:
    cdef uint32_t position = 0, following, count = 0
    cdef int64_t next_ms, found, bound_ms = 0
    cdef Segment *segment
    if not due_any(members, now_ms):
        return 0
    while True:
        segment = table_segment_at(&members.table, position, &following)
        if segment.next_expiry_ms != 0 and segment.next_expiry_ms < now_ms:
            found = _in_segment(segment, now_ms, into + count, room - count, &next_ms)
            if found > room - count:
                return room
            count += <uint32_t> found
            segment.next_expiry_ms = next_ms
        if segment.next_expiry_ms != 0 and (bound_ms == 0 or segment.next_expiry_ms < bound_ms):
            bound_ms = segment.next_expiry_ms
        position = following
        if position == 0:
            # Of a table without a directory this is its only segment.
            members.table.root.next_expiry_ms = bound_ms
            return count
