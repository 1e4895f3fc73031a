# The id of an entry of a stream: milliseconds, and a number within them.
from libc.stdint cimport uint64_t

cdef struct StreamId:
    uint64_t ms
    uint64_t seq

cdef inline int id_compare(StreamId left, StreamId right) noexcept nogil:
    if left.ms != right.ms:
        return 1 if left.ms > right.ms else -1
    return (left.seq > right.seq) - (left.seq < right.seq)


cdef inline bint id_is_zero(StreamId id) noexcept nogil:
    return id.ms == 0 and id.seq == 0


cdef inline StreamId id_of(uint64_t ms, uint64_t seq) noexcept nogil:
    cdef StreamId id
    id.ms = ms
    id.seq = seq
    return id


cdef inline bint id_increment(StreamId *id) noexcept nogil:  # 0: it was the highest, and is 0-0 now
    id.seq += 1
    if id.seq == 0:
        id.ms += 1
        return id.ms != 0
    return True


cdef inline bint id_decrement(StreamId *id) noexcept nogil:  # 0: it was 0-0, and is the highest now
    id.seq -= 1
    if id.seq == <uint64_t> -1:
        id.ms -= 1
        return id.ms != <uint64_t> -1
    return True
