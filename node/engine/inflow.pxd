# What arrives: requests, and large values that go straight to where they will stay.
from libc.stdint cimport int64_t, uint8_t

from node.engine.outflow cimport Outflow
from node.engine.session cimport Session


cdef class Inflow(Outflow):
    cdef public int64_t query_buffer_limit_bytes
    cdef public int commands_per_turn
    cdef uint8_t *_readbuf  # owned

    cdef int _run_ready(self, int64_t deadline_us) except -1
    cdef int _starve(self, Session session, object error) except -1
    cdef int _readable(self, Session session) except -1
    cdef bint _leaves(self, Session session) except -1
    cdef ssize_t _receive_argument(self, Session session, Py_ssize_t *asked_bytes) except? -2
