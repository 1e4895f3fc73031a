"""What arrives: requests, read and executed socket by socket.

All sessions share one read buffer: most requests are executed where they arrived. A session has an input buffer of its own
only while it holds half a command, and memory for an argument is taken as its bytes arrive. A large argument is received into the
block that becomes its key's value.
"""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from node.engine.buf cimport buf_append, buf_free, buf_reserve
from node.engine.resp cimport parser_wanted_bytes
from node.engine.session cimport Session
from node.engine.ticks cimport CLOCK_BOOTTIME, clock_us


cdef extern from "sys/socket.h" nogil:
    ssize_t recv(int fd, void *into, size_t len_bytes, int flags)
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    ssize_t recvmsg(int fd, msghdr *message, int flags)
    enum:
        MSG_DONTWAIT

cdef enum:
    READ_BYTES = 64 * 1024
    READ_BYTES_MAX = 1024 * 1024  # of one session in one turn


cdef class Inflow(Outflow):
    def __cinit__(self):
        self.query_buffer_limit_bytes = 1 << 30
        self.commands_per_turn = 1000
        self._readbuf = <uint8_t *> malloc(READ_BYTES)
        if self._readbuf == NULL:
            raise MemoryError("no memory for the read buffer")

    def __dealloc__(self):
        free(self._readbuf)

    cdef int _run_ready(self, int64_t deadline_us) except -1:
        """Those with something to execute that no socket announces. Returns how many there were; whom the deadline
        left over comes first in the next turn."""
        cdef list ready = self._ready
        cdef Session session
        cdef int index
        self._ready = []
        for index, session in enumerate(ready):
            session.in_ready = False
            if session.fd >= 0:
                try:
                    session.run_buffered(self.commands_per_turn)
                    self._after(session)
                except MemoryError as error:
                    self._starve(session, error)
            if clock_us(CLOCK_BOOTTIME) >= deadline_us:
                self._ready = ready[index + 1:] + self._ready
                break
        return <int> len(ready)

    cdef int _starve(self, Session session, object error) except -1:
        """There is no memory for what this client sends: it goes, with all that it sent, and nobody else does."""
        buf_free(&session.inbuf)  # first of all: what follows wants memory, too
        session.in_at = 0
        session.drop_arguments()
        self.engine.counters.unexpected_errors += 1
        if self.engine.on_python_error is not None:
            self.engine.on_python_error(error)
        self.close(session, "no memory for what the client sends")
        return 0

    cdef int _readable(self, Session session) except -1:
        """Reads a socket and executes what it said."""
        cdef ssize_t got
        cdef Py_ssize_t asked
        cdef Py_ssize_t consumed
        cdef Py_ssize_t room
        cdef Py_ssize_t have
        cdef Py_ssize_t left = READ_BYTES_MAX
        if session.apply_stream and session.in_ready:
            return 0  # the stream waits where it is: its primary's ring has a limit, and what lies here has none
        self._lend(session)
        while True:
            have = session.inbuf.used_bytes - session.in_at
            if session.parser.arriving != NULL:
                got = self._receive_argument(session, &asked)
                if got <= 0:
                    break
                if session.parser.arriving == NULL and not session.in_ready:
                    session.run_buffered(self.commands_per_turn)
            elif have == 0:
                asked = READ_BYTES
                got = recv(session.fd, self._readbuf, READ_BYTES, MSG_DONTWAIT)
                if got <= 0:
                    break
                consumed = session.process(self._readbuf, got, self.commands_per_turn)
                if consumed < got and session.fd >= 0:
                    session.keep(self._readbuf + consumed, got - consumed)
            else:
                # Room for what the running argument still wants, but never more than doubling what came:
                # the announced length is a stranger's word.
                room = parser_wanted_bytes(&session.parser, have)
                if room > have:
                    room = have
                if room < READ_BYTES // 4:
                    room = READ_BYTES // 4
                buf_reserve(&session.inbuf, room)
                asked = session.inbuf.cap_bytes - session.inbuf.used_bytes
                got = recv(
                    session.fd, session.inbuf.data + session.inbuf.used_bytes, <size_t> asked, MSG_DONTWAIT
                )
                if got <= 0:
                    break
                session.inbuf.used_bytes += got
                if not session.in_ready:
                    session.run_buffered(self.commands_per_turn)
            session.input_bytes += got
            session.active_ms = self.engine.monotonic_ms
            self.engine.counters.net_input_bytes += got
            left -= got
            # A large argument is read on while there is more of it: a round through epoll for each part cost
            # as much as the part. Beyond READ_BYTES_MAX others come first.
            if got < asked or left <= 0 or session.fd < 0 or session.in_ready or session.closing or session.blocked:
                break
            have = session.inbuf.used_bytes - session.in_at
            if session.parser.arriving == NULL and (have == 0 or parser_wanted_bytes(&session.parser, have) <= 0):
                break
        if got <= 0 and (got == 0 or (errno != EAGAIN and errno != EINTR)):
            if got == 0 and self._leaves(session):
                return self._after(session)
            self.close(session, "closed by the client" if got == 0 else "connection reset")
            return 0
        if session.fd < 0:
            return 0
        if session.waiting_bytes() > self.query_buffer_limit_bytes and not session.apply_stream:
            self.engine.counters.query_limit_disconnections += 1
            self.close(session, "the query buffer limit was reached")
            return 0
        return self._after(session)

    cdef bint _leaves(self, Session session) except -1:
        """A client closed its side: what it said still counts, and it gets its replies before we close ours. False when
        there are none to get. That it listens nobody knows before something is sent; a client that waits is given up."""
        if session.is_replica or session.apply_stream:
            return False
        if session.out.used_bytes == session.out_sent and not session.in_ready and not session.more:
            return False
        self._leaving.add(session)
        self._want(session, session.interest)
        return True

    cdef ssize_t _receive_argument(self, Session session, Py_ssize_t *asked_bytes) except? -2:
        """Goes on receiving a large argument where it will stay; with its end also what follows it."""
        cdef iovec pieces[2]
        cdef msghdr message
        cdef uint8_t *at
        cdef Py_ssize_t room
        cdef bint to_its_end
        cdef ssize_t got
        session.argument_room(&at, &room, &to_its_end)
        room = min(room, READ_BYTES_MAX)
        pieces[0].iov_base = at
        pieces[0].iov_len = <size_t> room
        pieces[1].iov_base = self._readbuf
        pieces[1].iov_len = READ_BYTES
        memset(&message, 0, sizeof(msghdr))
        message.msg_iov = pieces
        message.msg_iovlen = 2 if to_its_end and room < READ_BYTES_MAX else 1
        asked_bytes[0] = room + (READ_BYTES if message.msg_iovlen == 2 else 0)
        got = recvmsg(session.fd, &message, MSG_DONTWAIT)
        if got > 0:
            session.argument_received(min(<Py_ssize_t> got, room))
            if got > room:
                buf_append(&session.inbuf, self._readbuf, got - room)
        return got

