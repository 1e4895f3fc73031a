# What leaves: replies to clients, and the effects stream to replicas.
from libc.stdint cimport int64_t

from node.engine.buf cimport Buf
from node.engine.connections cimport Connections
from node.engine.session cimport Session


cdef enum:
    SPARE_BUFFERS = 64


cdef class Outflow(Connections):
    cdef public int64_t output_hard_limit_bytes  # 0: none
    cdef public int64_t output_soft_limit_bytes
    cdef public double output_soft_limit_s
    cdef list _unsent  # sessions with replies of this turn
    cdef Py_ssize_t _share_bytes  # of what may be sent in one turn, for each session
    cdef Buf _spare[SPARE_BUFFERS]  # emptied output buffers, handed to the next session that answers
    cdef int _spare_count

    cdef int _lend(self, Session session) noexcept
    cdef int _take_back(self, Session session) noexcept
    cdef int _after(self, Session session) except -1
    cdef int _queue_replies(self, Session session) except -1
    cdef int _send_replies(self) except -1
    cdef int _drop_replies(self) except -1
    cdef int _send(self, Session session) except -1
    cdef ssize_t _send_pieces(self, Session session, Py_ssize_t limit_bytes, Py_ssize_t budget_bytes) noexcept
    cdef int _go_on(self, Session session) except -1
    cdef bint _limit_output(self, Session session) except -1
    cdef int _compact(self, Session session) except -1
    cdef int _send_feeds(self) except -1
    cdef int _send_feed(self, Session session) except -1
