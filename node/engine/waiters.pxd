# Who waits for which key: sessions in blocking commands. The interface is told at the top of waiters.pyx.
from libc.stdint cimport int64_t


cdef enum:
    PAIRS_MAX = 1048576  # (session, key) in all; each is some 200 bytes that a client can make us keep


cdef class Wait:
    cdef readonly object session
    cdef readonly int64_t deadline_ms  # on the engine's monotonic clock; 0: never
    cdef readonly int database
    cdef readonly int type  # TYPE_*: what a key must hold to be worth another try
    cdef readonly bint also_when_gone  # a key that is deleted, or holds something else, is worth one too
    cdef readonly list words  # the command to run again
    cdef readonly object on_timeout  # its reply when nothing comes in time
    cdef list _links
    cdef bint _over


cdef class Link:
    """One session at one key."""

    cdef Wait wait  # None once it has left the queue
    cdef Queue queue
    cdef Link before
    cdef Link after


cdef class Queue:
    """Those who wait for one key: who came first is served first."""

    cdef tuple place  # (database, key)
    cdef bint touched  # stands in Waiters._touched
    cdef int64_t gone_count  # of those who want to know of a key's end
    cdef Link first
    cdef Link last


cdef class Waiters:
    cdef readonly int64_t count  # sessions
    cdef readonly int64_t pair_count  # (session, key) pairs
    cdef readonly int64_t next_deadline_ms  # 0: nobody's; may name one that is over, never one too late
    cdef bint due  # somebody should be served
    cdef dict _queues  # (database, key) -> Queue
    cdef list _touched  # queues whose keys have changed, the earliest first
    cdef list _deadlines  # heap of (deadline_ms, number, Wait)
    cdef int64_t _number

    cdef Wait add(self, Wait wait, list keys)
    cdef int remove(self, Wait wait) except -1
    cdef int touch(self, int database, bytes key) except -1
    cdef int touch_all(self, int database) except -1
    cdef list take_touched(self)
    cdef list take_expired(self, int64_t now_ms)
    cdef list all_waits(self)
