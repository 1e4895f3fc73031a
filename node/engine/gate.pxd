# Which replies may leave: the door between execution and the clients in quorum mode.
from libc.stdint cimport uint64_t

cdef uint64_t EVERYTHING


cdef class Gate:
    cdef readonly uint64_t committed  # every copy that counts has the stream up to here; EVERYTHING: gate open
    # Offset after the last effect that a client caused. What the primary does of its own accord (pings, expiry)
    # is nothing a reply could show and be wrong about, so it is nothing a reply waits for.
    cdef readonly uint64_t written
    cdef list _waiting  # heap of (offset of a session's first held reply, session id, session)
    cdef list _released  # sessions of which something may leave now

    cdef int wait(self, uint64_t offset, object session) except -1
