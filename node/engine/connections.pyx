"""Client sockets and their sessions: how they come, and how they end.

A session's socket is the pump's from `adopt` to `close`, whoever accepted it. Sessions stay in a list of the dead until
the turn is over in which they ended: epoll may have named them by address already.
"""

import socket

from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from libc.stdint cimport uint32_t, uint64_t

from node.engine.buf cimport buf_append, buf_free
from node.engine.engine cimport Engine
from node.engine.poller cimport EPOLLIN, LISTENER_TAG, Poller
from node.engine.session cimport Session


cdef extern from "sys/socket.h" nogil:
    ssize_t send(int fd, const void *data, size_t len_bytes, int flags)
    int accept4(int fd, void *address, void *address_len, int flags)
    int setsockopt(int fd, int level, int option, const void *value, unsigned int value_len)
    enum:
        SOCK_NONBLOCK
        SOCK_CLOEXEC
        MSG_DONTWAIT
        MSG_NOSIGNAL
        SOL_SOCKET
        SO_KEEPALIVE

cdef extern from "netinet/in.h" nogil:
    enum:
        IPPROTO_TCP

cdef extern from "netinet/tcp.h" nogil:
    enum:
        TCP_NODELAY
        TCP_KEEPIDLE
        TCP_KEEPINTVL
        TCP_KEEPCNT

cdef extern from "unistd.h" nogil:
    int close(int fd)

cdef enum:
    ACCEPTS_PER_TURN = 64


cdef inline uint64_t _tag_of(Session session) noexcept:
    return <uint64_t> <void *> <PyObject *> session


cdef class Connections:
    def __cinit__(self, Engine engine not None, *, int max_clients=10000):
        self.engine = engine
        self.poller = Poller()
        self.sessions = {}
        self.max_clients = max_clients
        self.keepalive_s = 300
        self._listeners = {}
        self._ready = []
        self._feeds = []
        self._leaving = set()
        self._graveyard = []

    def fileno(self):
        """The epoll descriptor: readable when there is work."""
        return self.poller.fd

    def listen(self, int fd):
        """Accepts clients from a listening, non-blocking socket. The caller keeps it open until `unlisten`."""
        self.poller.add(fd, (<uint64_t> fd << 2) | LISTENER_TAG)
        self._listeners[fd] = True

    def unlisten(self, int fd):
        """Accepts nobody from there any more."""
        if self._listeners.pop(fd, None) is not None:
            self.poller.remove(fd)

    def adopt(self, int fd, Session session not None, bytes received=b""):
        """Takes over a connected, non-blocking socket and closes it in the end.

        Args:
            fd: owned by the pump from here on, whatever happens.
            session: the conversation to have over it.
            received: bytes that were read from the socket already and belong to the session.
        """
        cdef bytes data = received
        if session.fd >= 0:
            close(fd)
            raise ValueError("the session has a socket already")
        try:
            self.sessions[session.id] = session
            self.poller.add(fd, _tag_of(session))
        except (OSError, MemoryError):
            self.sessions.pop(session.id, None)
            close(fd)
            raise
        session.fd = fd
        session.interest = EPOLLIN
        session.waker = self._wake
        if data:
            buf_append(&session.inbuf, <const char *> data, len(data))
        if data or session.out.used_bytes > session.out_sent or session.is_feed:
            self._wake(session)

    def close(self, Session session not None, str reason=""):
        """Ends a connection now; what was not sent is lost. Harmless when it ended before."""
        if session.fd < 0 or self.sessions.get(session.id) is not session:
            return
        if reason and not session.close_reason:
            session.close_reason = reason
        del self.sessions[session.id]
        close(session.fd)  # epoll forgets it
        session.fd = -1
        session.closing = True
        session.waker = None
        session.unwatch()
        session.stop_waiting()
        if session.is_feed and session in self._feeds:
            self._feeds.remove(session)
        self._leaving.discard(session)
        self._graveyard.append(session)
        buf_free(&session.inbuf)
        session.in_at = 0
        session.drop_arguments()
        buf_free(&session.out)
        session.out_sent = 0
        session.drop_pins()
        buf_free(&session.holds)
        session.hold_at = 0
        self.engine.python_calls += 1
        resume = session.on_resume
        session.on_resume = None
        session.on_drained = None
        if resume is not None:
            resume(session)
        if self.on_close is not None:
            self.on_close(session)

    def close_all(self, str reason="the server is stopping"):
        for session in list(self.sessions.values()):
            self.close(session, reason)
        self._graveyard.clear()

    @property
    def feeds(self):
        """The sessions of replicas that follow the effects stream."""
        return list(self._feeds)

    def _wake(self, Session session):
        """A session has something to execute or send that no socket event announces."""
        if session.fd < 0:
            return
        if session.is_feed and session not in self._feeds:
            self._feeds.append(session)
        if not session.in_ready:
            session.in_ready = True
            self._ready.append(session)
        if not self._running:
            self.poller.rouse()

    def interrupt(self):
        """Makes the descriptor readable, so that the next `run` happens soon. While it runs there is no need: before
        a turn ends it looks at replicas and released replies anyway."""
        if not self._running:
            self.poller.rouse()

    cdef int _want(self, Session session, uint32_t events) except -1:
        """What the session's socket is watched for."""
        if self._leaving and session in self._leaving:
            events &= ~<uint32_t> EPOLLIN  # the end of its input would be there to read for ever
        if session.interest != events:
            self.poller.change(session.fd, events, _tag_of(session))
            session.interest = events
        return 0

    cdef int _accept(self, int listener) except -1:
        """Some of those who wait at a listening socket; the rest comes in the next turn."""
        cdef int fd
        cdef int one = 1
        cdef int value
        for _ in range(ACCEPTS_PER_TURN):
            fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd < 0:
                if errno in (EMFILE, ENFILE):
                    self._shed_one(listener)
                elif errno in (ENOMEM, ENOBUFS):
                    self._rest(listener)
                return 0
            if len(self.sessions) >= self.max_clients:
                self.engine.counters.rejected_connections += 1
                refusal = b"-ERR max number of clients reached\r\n"
                send(fd, <const char *> refusal, len(refusal), MSG_DONTWAIT | MSG_NOSIGNAL)
                close(fd)
                continue
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(int))
            if self.keepalive_s > 0:
                setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(int))
                value = self.keepalive_s
                setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &value, sizeof(int))
                value = max(1, self.keepalive_s // 3)
                setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &value, sizeof(int))
                value = 3
                setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &value, sizeof(int))
            self.engine.counters.connections += 1
            try:
                self._begin(fd)
            except (OSError, MemoryError):  # none of the kernel's memory is left for epoll, or none of ours
                self.engine.counters.rejected_connections += 1
                return 0
        return 0

    cdef int _begin(self, int fd) except -1:
        """A conversation with a client that was accepted; its socket is closed when there can be none."""
        cdef Session session
        try:
            address, local_address = _addresses(fd)
            session = Session(self.engine, address=address, local_address=local_address)
        except (OSError, MemoryError):
            close(fd)
            raise
        self.adopt(fd, session)
        return 0

    cdef int _shed_one(self, int listener) except -1:
        """No descriptor is left: the waiting client must not make epoll spin. It is accepted on the spare one's number
        and closed; and waits, unseen, if somebody else takes that number (a thread, another process of the system)."""
        cdef int fd
        self.poller.give_up_spare()
        fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd >= 0:
            self.engine.counters.rejected_connections += 1
            close(fd)
        elif errno != EAGAIN:
            self._rest(listener)
        self.poller.keep_spare()
        return 0

    cdef int _rest(self, int listener) except -1:
        """Nobody can be accepted now, and epoll would name the listener again and again: not before the next `tick`."""
        self.poller.remove(listener)
        self._listeners[listener] = False
        return 0

    cdef int _listen_again(self) except -1:
        """A `tick`: what was missing may be there again."""
        for fd, watched in self._listeners.items():
            if not watched:
                try:
                    self.listen(fd)
                except OSError:  # it is still missing
                    continue
        self.poller.keep_spare()
        return 0


cdef _addresses(int fd):
    """("host:port", "host:port") of the two ends, as Redis writes them."""
    peer = socket.socket(fileno=fd)
    try:
        return _address_text(peer.getpeername, peer.family), _address_text(peer.getsockname, peer.family)
    finally:
        peer.detach()


def _address_text(name_of, family):
    try:
        name = name_of()
    except OSError:  # it left between connect and here
        return "?:0"
    if family == socket.AF_UNIX:
        return "unixsocket:0"
    if family == socket.AF_INET6:
        return f"[{name[0]}]:{name[1]}"
    return f"{name[0]}:{name[1]}"
