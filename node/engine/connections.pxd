# Client sockets and their sessions: how they come, and how they end.
from libc.stdint cimport int64_t, uint32_t

from node.engine.engine cimport Engine
from node.engine.poller cimport Poller
from node.engine.session cimport Session


cdef class Connections:
    cdef readonly Engine engine
    cdef Poller poller
    cdef readonly dict sessions  # id -> Session
    cdef public object on_close  # callable(session)
    cdef public int max_clients
    cdef public int keepalive_s  # 0: leave the kernel's default off
    cdef dict _listeners  # fd -> whether it is watched now; the caller keeps the sockets open
    cdef bint _running  # a turn is under way: whoever wakes a session need not rouse the poller
    cdef list _ready  # sessions with something to execute
    cdef list _feeds  # sessions of replicas
    cdef set _leaving  # sessions of clients that have said all they had to say and get the rest of their replies
    cdef list _graveyard  # closed in this turn: epoll may still name them

    cdef int _want(self, Session session, uint32_t events) except -1
    cdef int _accept(self, int listener) except -1
    cdef int _begin(self, int fd) except -1
    cdef int _shed_one(self, int listener) except -1
    cdef int _rest(self, int listener) except -1
    cdef int _listen_again(self) except -1
