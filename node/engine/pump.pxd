# The pump: owns client sockets under an epoll descriptor of its own, and gives everybody their turn.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from node.engine.inflow cimport Inflow
from node.engine.poller cimport Served
from node.engine.session cimport Session
from node.engine.steady cimport SteadyClock


cdef class Pump(Inflow):
    cdef public double idle_timeout_s  # 0: never
    cdef bint _others_due
    cdef SteadyClock _steady  # what expiry is told

    cdef uint64_t _first_ticks  # what the tick counter is compared with the clock from
    cdef int64_t _first_ticks_us

    cdef uint64_t _looked_ticks  # when the last look at the poller returned; 0: there was none
    cdef Served _served  # what was done for those of the last look, as far as it is known
    cdef int64_t _commands  # the engine's counters at that look
    cdef int64_t _answer_bytes
    cdef int64_t _turns  # since take_turns was called last
    cdef uint64_t _turns_ticks
    cdef uint64_t _longest_ticks

    cdef int _measure_ticks(self) except -1
    cdef int _turn(self, int timeout_ms) except -1
    cdef int _event(self, Session session, uint32_t events) except -1
