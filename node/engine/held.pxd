# Replies of one client that must not leave yet.
from libc.stdint cimport uint64_t

from node.engine.buf cimport Buf
from node.engine.replies cimport Replies

cdef uint64_t HELD_LATE

# A reply that must not leave before the copies that count have the stream up to `offset` (gate.pyx).
cdef struct Hold:
    Py_ssize_t begin_bytes  # where it lies in `out`
    Py_ssize_t end_bytes
    uint64_t offset  # HELD_LATE: all that is written when the turn ends
    bint wrote


cdef class HeldReplies(Replies):
    cdef Buf holds  # owned; Holds in `out`, in order; from hold_at on they still wait
    cdef Py_ssize_t hold_at
    cdef uint64_t queued_at  # the offset for which the engine's gate has us in its queue; 0: it has not

    # Keeps back what was written from `mark` on until the stream is committed up to `offset`.
    cdef int hold(self, Py_ssize_t mark, uint64_t offset, bint wrote) except -1
    cdef Py_ssize_t sendable_bytes(self) except -1
    cdef int shift_output(self, Py_ssize_t count_bytes) except -1
