# From MULTI to EXEC, and the keys that WATCH names.
from libc.stdint cimport uint32_t

from node.engine.call cimport Call
from node.engine.engine cimport Engine
from node.engine.registry cimport Command


cdef enum:
    NO_SLOT = -1  # nothing with a key was queued
    SEVERAL_SLOTS = -2


# Whether a command within a transaction is one for EXEC to run.
cdef bint is_queued(Command command) except -1


cdef class Transaction:
    cdef list queued  # commands as lists of bytes
    cdef bint broken  # a command could not be queued: EXEC will refuse
    cdef int slot  # of the keys of what is queued; NO_SLOT, SEVERAL_SLOTS
    cdef uint32_t some_flags  # that at least one of what is queued has
    cdef uint32_t every_flag  # that all of it has

    cdef int queue(self, list words, uint32_t flags) except -1
    cdef uint32_t exec_flags(self, uint32_t flags) noexcept
    cdef int note_slot(self, int slot) except -1
    cdef int run(self, Call call) except -1


cdef class Watch:
    cdef Engine engine
    cdef dict places  # (database, key) -> whether it is there
    cdef public bint broken  # one of them has changed

    cdef int add(self, int database, bytes key) except -1
    cdef int forget(self) except -1
