# The pump: owns client sockets under an epoll descriptor of its own.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from node.engine.buf cimport Buf
from node.engine.engine cimport Engine
from node.engine.session cimport Session
from node.engine.steady cimport SteadyClock


cdef enum:
    SPARE_BUFFERS = 64


cdef class Pump:
    cdef readonly Engine engine
    cdef readonly dict sessions  # id -> Session
    cdef public object on_close  # callable(session)
    cdef public int max_clients
    cdef public double idle_timeout_s  # 0: never
    cdef public int64_t query_buffer_limit_bytes
    cdef public int64_t output_hard_limit_bytes  # 0: none
    cdef public int64_t output_soft_limit_bytes
    cdef public double output_soft_limit_s
    cdef public int keepalive_s  # 0: leave the kernel's default off
    cdef public int commands_per_turn
    cdef bint _others_due
    cdef SteadyClock _steady  # what expiry is told

    cdef uint64_t _first_ticks  # what the tick counter is compared with the clock from
    cdef int64_t _first_ticks_us
    cdef uint64_t _spin_ticks  # 0 until the counter's pace is known: no spin
    cdef uint64_t _short_sleep_ticks
    cdef int _spin_credit  # more than 0: looking before sleeping was worth it lately

    cdef uint64_t _looked_ticks  # when the last epoll_wait returned; 0: there was none
    cdef int64_t _turns  # since take_turns was called last
    cdef uint64_t _turns_ticks
    cdef uint64_t _longest_ticks

    cdef int _epoll_fd
    cdef int _event_fd
    cdef int _timer_fd
    cdef int64_t _timer_ms  # the deadline it is set to; 0: it is off
    cdef dict _listeners  # fd -> True; the caller keeps the sockets open
    cdef bint _accepting
    cdef bint _running
    cdef bint _closed
    cdef uint8_t *_readbuf  # owned
    cdef Buf _spare[SPARE_BUFFERS]  # emptied output buffers, handed to the next session that answers
    cdef int _spare_count
    cdef list _ready  # sessions with something to execute
    cdef list _unsent  # sessions with replies of this turn
    cdef Py_ssize_t _share_bytes  # of what may be sent in one turn, for each session
    cdef list _feeds
    cdef list _graveyard  # closed in this turn: epoll may still name them

    cdef int _measure_ticks(self) except -1
    cdef int _sleep(self, void *into, int timeout_ms) noexcept nogil
    cdef int _turn(self, int timeout_ms) except -1
    cdef int _event(self, Session session, uint32_t events) except -1
    cdef int _readable(self, Session session) except -1
    cdef ssize_t _receive_argument(self, Session session, Py_ssize_t *asked_bytes) except? -2
    cdef int _after(self, Session session) except -1
    cdef int _send(self, Session session) except -1
    cdef ssize_t _send_pieces(self, Session session, Py_ssize_t limit_bytes, Py_ssize_t budget_bytes) noexcept
    cdef int _go_on(self, Session session) except -1
    cdef int _send_feeds(self) except -1
    cdef int _send_feed(self, Session session) except -1
    cdef int _want(self, Session session, uint32_t events) except -1
    cdef int _lend(self, Session session) noexcept
    cdef int _take_back(self, Session session) noexcept
