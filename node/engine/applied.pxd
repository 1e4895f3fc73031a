# What a replica's link brings: the stream of our primary.
from libc.stdint cimport uint64_t, uint8_t

from node.engine.buf cimport Buf
from node.engine.call cimport Call
from node.engine.registry cimport Command


cdef class Applied:
    cdef readonly uint64_t offset  # in the stream: everything before it has been applied
    cdef readonly str failure  # why the stream can't go on: a full copy must mend it; empty: it can
    cdef list held  # commands of a transaction whose EXEC has not come yet; None outside
    cdef Buf held_raw  # owned; its bytes
    cdef set _told
    cdef bint promptly  # our primary wants to hear of every batch (REPLCONF GETACK ALWAYS)
    cdef uint64_t acknowledged  # what it heard last

    cdef bint holds(self, Call call) noexcept
    cdef int hold(self, Call call, const uint8_t *raw, Py_ssize_t len_bytes) except -1
    cdef int pass_on(self, Call call, const uint8_t *raw, Py_ssize_t len_bytes) except -1
    cdef int call(self, Call call, Command command) except -1
    cdef int broke(self, Call call, object error) except -1
    cdef int refused(self, Call call, str name, bytes text) except -1
