# Makes room: which entries go when memory is at its limit.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from node.engine.entry cimport Entry
from node.engine.keyspace cimport Keyspace

cdef enum:
    EVICT_NOTHING = 0
    EVICT_LRU = 1
    EVICT_LFU = 2
    EVICT_S3FIFO = 3
    EVICT_RANDOM = 4
    EVICT_TTL = 5

cdef enum:
    SAMPLES_MAX = 64


cdef class Evictor:
    cdef readonly int64_t limit_bytes  # maxmemory; 0: none
    cdef readonly str policy_name
    cdef public object on_evicted  # callable(database, key), called while `watched` is not empty
    cdef public dict watched  # the engine's: (database, key) -> sessions
    cdef Keyspace keyspace
    cdef int policy
    cdef bint volatile_only
    cdef int heat_kind  # what the policy reads
    cdef int samples
    # What one sampling found.
    cdef Entry *found[SAMPLES_MAX]
    cdef uint32_t found_slot[SAMPLES_MAX]
    cdef int found_count
    cdef int found_database

    # 1: memory is under the limit now, or got nearer to it by the work of one call; 0: nothing can go.
    cdef bint make_room(self) except -1
    cdef bint evict_one(self) except -1
    cdef int _sample(self, int database) except -1
    cdef int64_t _eligible(self, int number) noexcept
    cdef int _take_sample(self) except -1
    cdef int _coldest(self) noexcept
    cdef bint _small_turn(self) noexcept
    cdef int _first_in_queue(self) noexcept
    cdef int _drop(self, int index) except -1
