from libc.stdint cimport int64_t


cdef class SteadyClock:
    cdef int64_t _told_ms
    cdef int64_t _monotonic_ms  # when that was told
    cdef int64_t _owed_ms  # time passed that has not bought a correction yet

    cpdef int64_t now_ms(self, int64_t wall_ms, int64_t monotonic_ms) except -1
