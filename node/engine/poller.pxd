# Who has something to say: an epoll set, the descriptors that are always in it, and the one sleep of the process.
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from "sys/epoll.h" nogil:
    ctypedef union epoll_data_t:
        void *ptr
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP

# What an event's data.u64 is: the address of a session, which is even, or one of these.
cdef enum:
    ROUSED_TAG = 1
    LISTENER_TAG = 3  # and the descriptor's number from the third bit on
    TIMER_TAG = 5
    OTHERS_TAG = 9

# What was done for those whom the last look reported: a guess at when they come again.
cdef struct Served:
    int sessions
    uint64_t ticks
    int64_t commands
    int64_t answer_bytes


cpdef double look_us(int sessions, double took_us, int64_t commands, int64_t answer_bytes) noexcept nogil


cdef class Poller:
    cdef int fd  # of the epoll set
    cdef int64_t timer_ms  # the deadline that the timer is set to, CLOCK_BOOTTIME; 0: it is off
    cdef uint64_t sleeps  # calls that could put the process to sleep
    cdef uint64_t looks  # times it looked for a moment before it slept
    cdef uint64_t finds  # and saw somebody: then it did not sleep
    cdef uint64_t looked_ticks  # how long it looked, all together, without what others got of the processor meanwhile
    cdef int look_us_max  # 0: it never looks before it sleeps
    cdef int _event_fd
    cdef int _timer_fd
    cdef int _spare_fd  # of no use but to be closed; -1: there was none left to set aside
    cdef double _ticks_per_us  # 0 until the counter's pace is known: no look
    cdef int _credit  # more than 0: looking before sleeping was worth it lately

    cdef int add(self, int fd, uint64_t tag) except -1
    cdef int change(self, int fd, uint32_t events, uint64_t tag) except -1
    cdef int remove(self, int fd) noexcept
    cdef int rouse(self) noexcept
    cdef int drain(self, uint64_t tag) noexcept
    cdef int keep_spare(self) noexcept
    cdef int give_up_spare(self) noexcept
    cdef int set_timer(self, int64_t deadline_ms) except -1
    cdef int set_pace(self, double ticks_per_us) noexcept
    # Both: how many events were written, at most `room`; -1: see errno.
    cdef int look(self, epoll_event *into, int room) noexcept nogil
    cdef int sleep(self, epoll_event *into, int room, int timeout_ms, const Served *served) noexcept nogil
