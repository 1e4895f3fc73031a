"""What leaves: replies to clients, and the effects stream to replicas.

A session borrows an output buffer while it has something to say, so ten thousand idle connections cost their Session
objects and nothing more. Large values are not copied into it: they are sent from where they lie.

Back-pressure: a client that does not read has at most OUTPUT_PAUSE_BYTES and one reply waiting; then its commands wait until
it has read some, and client-output-buffer-limit ends it if it does not. Room in one client's output is what lets its own commands
go on, so this is also where they are put back into the queue of those with something to execute.
"""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint64_t
from libc.string cimport memset

from node.engine.buf cimport Buf, buf_append, buf_free
from node.engine.effects cimport NOBODY_READS
from node.engine.engine cimport Engine
from node.engine.poller cimport EPOLLIN, EPOLLOUT
from node.engine.replies cimport GATHERED
from node.engine.session cimport OUTPUT_PAUSE_BYTES, Session
from node.engine.span cimport Span


cdef extern from "sys/socket.h" nogil:
    ssize_t send(int fd, const void *data, size_t len_bytes, int flags)
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    ssize_t sendmsg(int fd, const msghdr *message, int flags)
    enum:
        MSG_DONTWAIT
        MSG_NOSIGNAL

cdef enum:
    SPARE_BYTES_MAX = 64 * 1024
    SEND_BYTES_MAX = 1024 * 1024  # by all sessions in one turn, as far as their shares are larger than
    SEND_BYTES_MIN = 64 * 1024  # by one session in one turn


cdef inline Py_ssize_t _unread_bytes(Session session) noexcept:
    """Of replies that the client has not been sent yet."""
    return session.out.used_bytes - session.out_sent + session.pinned_bytes


cdef class Outflow(Connections):
    def __cinit__(self):
        self._unsent = []
        self._share_bytes = SEND_BYTES_MIN

    def __dealloc__(self):
        cdef int index
        for index in range(self._spare_count):
            buf_free(&self._spare[index])

    # ------------------------------------------------------------------------------------- output buffers

    cdef int _lend(self, Session session) noexcept:
        if session.out.data == NULL and self._spare_count > 0:
            self._spare_count -= 1
            session.out = self._spare[self._spare_count]
        return 0

    cdef int _take_back(self, Session session) noexcept:
        if session.out.data == NULL:
            return 0
        if self._spare_count < SPARE_BUFFERS and session.out.cap_bytes <= SPARE_BYTES_MAX:
            session.out.used_bytes = 0
            self._spare[self._spare_count] = session.out
            self._spare_count += 1
            session.out.data = NULL
            session.out.cap_bytes = 0
            session.out.used_bytes = 0
        else:
            buf_free(&session.out)
        session.out_sent = 0
        return 0

    # -------------------------------------------------------------------------------------------- replies

    cdef int _after(self, Session session) except -1:
        """After execution: is there something to send, or more to execute?"""
        if session.fd < 0:
            return 0
        if (
            session.out.used_bytes > session.out_sent
            or session.closing
            or session.on_drained is not None
            or (self._leaving and session in self._leaving)
        ):
            self._queue_replies(session)
        elif session.out.data != NULL:
            self._take_back(session)
        if session.more and not session.in_ready and _unread_bytes(session) <= OUTPUT_PAUSE_BYTES:
            session.in_ready = True
            self._ready.append(session)
        return 0

    cdef int _queue_replies(self, Session session) except -1:
        """This session has something to get at the end of the turn."""
        if not session.in_unsent:
            session.in_unsent = True
            self._unsent.append(session)
        return 0

    cdef int _send_replies(self) except -1:
        """To everybody who has some, in equal shares."""
        cdef Session session
        cdef list unsent = self._unsent
        self._unsent = []
        self._share_bytes = max(SEND_BYTES_MAX // len(unsent), SEND_BYTES_MIN)
        for session in unsent:
            session.in_unsent = False
            if session.fd >= 0:
                self._send(session)
        return 0

    cdef int _send(self, Session session) except -1:
        cdef ssize_t sent
        cdef Py_ssize_t limit = session.sendable_bytes()
        cdef Py_ssize_t left = limit - session.out_sent
        cdef Py_ssize_t budget = self._share_bytes
        if session.pinned_bytes > 0:
            left += session.pinned_before(limit)
        while left > 0:
            if session.pinned_bytes > 0:
                sent = self._send_pieces(session, limit, budget)
            else:
                sent = send(
                    session.fd,
                    session.out.data + session.out_sent,
                    <size_t> (left if left < budget else budget),
                    MSG_DONTWAIT | MSG_NOSIGNAL,
                )
            if sent < 0:
                if errno == EINTR:
                    continue
                if errno == EAGAIN:
                    break
                self.close(session, "connection reset")
                return 0
            if session.pinned_bytes > 0:
                session.advance(sent)
            else:
                session.out_sent += sent
            session.output_bytes += sent
            session.active_ms = self.engine.monotonic_ms
            self.engine.counters.net_output_bytes += sent
            left -= sent
            budget -= sent
            if budget <= 0:
                break
        if left > 0:
            if self._limit_output(session):
                return 0
            self._want(session, EPOLLIN | EPOLLOUT)
            if session.out_sent > (1 << 20) and session.out_sent * 2 > session.out.used_bytes:
                self._compact(session)
            return 0
        if limit < session.out.used_bytes:  # the rest is held, and comes back through the gate
            if self._limit_output(session):
                return 0
            self._want(session, EPOLLIN)
            if session.out_sent > SPARE_BYTES_MAX and session.out_sent * 2 > session.out.used_bytes:
                session.shift_output(session.out_sent)
            self._go_on(session)
            return 0
        session.out.used_bytes = 0
        session.out_sent = 0
        session.output_over_since_s = 0
        self._take_back(session)
        if session.closing:
            self.close(session)
            return 0
        if not (session.is_feed and session.interest & EPOLLOUT):
            self._want(session, EPOLLIN)
        if session.on_drained is not None:
            session.on_drained(session)
        self._go_on(session)
        if self._leaving and session in self._leaving and not session.in_ready:
            self.close(session, "closed by the client")
        return 0

    cdef ssize_t _send_pieces(self, Session session, Py_ssize_t limit_bytes, Py_ssize_t budget_bytes) noexcept:
        """Replies with large values in them: from where each lies, with one system call."""
        cdef Span spans[GATHERED]
        cdef iovec pieces[GATHERED]
        cdef msghdr message
        cdef int count = session.gather(limit_bytes, budget_bytes, spans, GATHERED)
        cdef int index
        for index in range(count):
            pieces[index].iov_base = <void *> spans[index].at
            pieces[index].iov_len = <size_t> spans[index].len_bytes
        memset(&message, 0, sizeof(msghdr))
        message.msg_iov = pieces
        message.msg_iovlen = <size_t> count
        return sendmsg(session.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)

    cdef int _go_on(self, Session session) except -1:
        """Room was made in the output: execution that stopped for the lack of it goes on."""
        if session.in_at < session.inbuf.used_bytes and not session.in_ready and session.more:
            if _unread_bytes(session) <= OUTPUT_PAUSE_BYTES:
                session.in_ready = True
                self._ready.append(session)
        return 0

    cdef int _compact(self, Session session) except -1:
        """What was sent makes room."""
        cdef Py_ssize_t rest_bytes = session.out.used_bytes - session.out_sent
        cdef Buf rest
        session.shift_output(session.out_sent)
        if rest_bytes < session.out.cap_bytes // 4:  # the room of what was sent is given back
            rest.data = NULL
            rest.used_bytes = 0
            rest.cap_bytes = 0
            try:
                buf_append(&rest, session.out.data, rest_bytes)
            except MemoryError:  # not now, then
                return 0
            buf_free(&session.out)
            session.out = rest
        return 0

    cdef bint _limit_output(self, Session session) except -1:
        """client-output-buffer-limit: closes a client that lets its replies pile up. Returns whether it did."""
        cdef Py_ssize_t left_bytes = _unread_bytes(session)
        cdef double now_s = self.engine.monotonic_ms / 1000.0
        cdef bint over = 0 < self.output_hard_limit_bytes < left_bytes
        if 0 < self.output_soft_limit_bytes < left_bytes:
            if session.output_over_since_s == 0:
                session.output_over_since_s = now_s
            elif now_s - session.output_over_since_s > self.output_soft_limit_s:
                over = True
        else:
            session.output_over_since_s = 0
        if over and not session.is_replica:
            self.engine.counters.output_limit_disconnections += 1
            self.close(session, "the output buffer limit was reached")
            return True
        return False

    cdef int _drop_replies(self) except -1:
        """Ends the clients whose replies wait.

        The process stood still between execution and here for longer than the lease: another primary may exist by
        now, so what these replies say may no longer be true. Their clients see a closed connection, which says "unknown",
        the only honest answer.
        """
        cdef Session session
        for session in self._unsent:
            if not session.is_feed and not session.apply_stream:
                self.close(session, "the lease ended before the reply could leave")
        return 0

    # ----------------------------------------------------------------------------------------- replicas

    cdef int _send_feeds(self) except -1:
        cdef Session session
        cdef uint64_t oldest = NOBODY_READS
        for session in list(self._feeds):
            if session.fd >= 0:
                self._send_feed(session)
            if session.fd >= 0 and session.feed_offset < oldest:
                oldest = session.feed_offset
        self.engine.effects.feeds_from = oldest
        return 0

    cdef int _send_feed(self, Session session) except -1:
        """Hands a replica what the ring has beyond its offset, as far as its socket takes it."""
        cdef Engine engine = self.engine
        cdef Span piece
        cdef ssize_t sent
        if session.out.used_bytes > session.out_sent:  # the handshake's last words go first
            self._send(session)
            if session.fd < 0 or session.out.used_bytes > session.out_sent:
                return 0
        if session.feed_offset == engine.effects.offset:
            return 0
        if not engine.effects.holds(session.feed_offset):
            self.close(
                session,
                f"the replica fell behind the backlog (wants {session.feed_offset}, "
                f"oldest is {engine.effects.start}): raise repl-backlog-size",
            )
            return 0
        while session.feed_offset < engine.effects.offset:
            piece = engine.effects.peek(session.feed_offset)
            sent = send(session.fd, piece.at, <size_t> piece.len_bytes, MSG_DONTWAIT | MSG_NOSIGNAL)
            if sent < 0:
                if errno == EINTR:
                    continue
                if errno == EAGAIN:
                    self._want(session, EPOLLIN | EPOLLOUT)
                    return 0
                self.close(session, "connection reset")
                return 0
            session.feed_offset += <uint64_t> sent
            session.output_bytes += sent
            engine.counters.net_repl_output_bytes += sent
        if session.interest & EPOLLOUT:
            self._want(session, EPOLLIN)
        return 0
