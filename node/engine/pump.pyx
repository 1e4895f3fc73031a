"""The pump: client sockets under an epoll descriptor of its own, inside a trio process.

There is one place where the process sleeps: the pump's epoll_wait. An epoll descriptor can be watched like any
file, and trio has one, too: the pump watches it beside the clients, so a trio task whose socket or thread is ready
ends the sleep as a client does, and so does trio's next deadline (node/driving.py). One turn is

    epoll_wait -> recv and execute, socket by socket -> feed the replicas -> send the replies

Replicas are fed before replies leave. An acknowledged write is thus in the kernel's hands, on its way
to every replica whose link has room, before its client can know of it: a process that is killed at any
point loses nothing that it acknowledged to such a link.

A session borrows an output buffer while it has something to say and an input buffer while it holds half
a command, so ten thousand idle connections cost their Session objects and nothing more.

Rejected, and measured first: trio sleeps and watches the pump's descriptor, while the pump waits up to 1 ms for the
next request of a busy client. A sleep that short has to program the processor's timer and to take that back at each
request (some 4 us in a virtual machine): a client that waits for each answer cost 1.5 times what it costs Redis.

The rejected alternative to level-triggered epoll, edge-triggered, wants a second recv that says EAGAIN
after each read: one more system call for each request of a client that waits for its answer.
"""

import os
import socket

from cpython.object cimport PyObject
from libc.errno cimport EAGAIN, EINTR, EMFILE, ENFILE, errno
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from node.engine.buf cimport Buf, buf_append, buf_free, buf_reserve
from node.engine.effects cimport NOBODY_READS
from node.engine.engine cimport Engine
from node.engine.replies cimport GATHERED
from node.engine.resp cimport parser_wanted_bytes
from node.engine.session cimport OUTPUT_PAUSE_BYTES, Session
from node.engine.span cimport Span
from node.engine.steady cimport SteadyClock


cdef extern from "sys/epoll.h" nogil:
    ctypedef union epoll_data_t:
        void *ptr
        uint64_t u64
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags)
    int epoll_ctl(int epoll_fd, int operation, int fd, epoll_event *event)
    int epoll_wait(int epoll_fd, epoll_event *events, int max_events, int timeout_ms)
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP
        EPOLL_CTL_ADD
        EPOLL_CTL_MOD
        EPOLL_CTL_DEL
        EPOLL_CLOEXEC

cdef extern from "sys/eventfd.h" nogil:
    int eventfd(unsigned int initial, int flags)
    enum:
        EFD_NONBLOCK
        EFD_CLOEXEC

cdef extern from "time.h" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec *into)
    enum:
        CLOCK_MONOTONIC
        CLOCK_REALTIME
        CLOCK_BOOTTIME

cdef extern from "sys/timerfd.h" nogil:
    struct itimerspec:
        timespec it_interval
        timespec it_value
    int timerfd_create(int clock, int flags)
    int timerfd_settime(int fd, int flags, const itimerspec *new_value, itimerspec *old_value)
    enum:
        TFD_NONBLOCK
        TFD_CLOEXEC
        TFD_TIMER_ABSTIME

cdef extern from "sys/socket.h" nogil:
    ssize_t recv(int fd, void *into, size_t len_bytes, int flags)
    ssize_t send(int fd, const void *data, size_t len_bytes, int flags)
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    ssize_t recvmsg(int fd, msghdr *message, int flags)
    ssize_t sendmsg(int fd, const msghdr *message, int flags)
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
    ssize_t read(int fd, void *into, size_t len_bytes)
    ssize_t write(int fd, const void *data, size_t len_bytes)

cdef extern from *:
    """
    #include <stdint.h>
    #if defined(__x86_64__) && defined(__GNUC__)
    #include <x86intrin.h>
    /* Some 20 cycles, no system call: a third of what the vDSO's clock costs. */
    static uint64_t processor_ticks(void) { return __rdtsc(); }
    static void processor_pause(void) { _mm_pause(); }
    #else
    #include <time.h>
    static void processor_pause(void) {}
    static uint64_t processor_ticks(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
    }
    #endif
    """
    uint64_t processor_ticks() noexcept nogil
    void processor_pause() noexcept nogil

# What epoll tells of a descriptor: the address of its session, which is even, or one of these.
cdef enum:
    EVENT_TAG = 1
    LISTENER_TAG = 3  # and the descriptor's number from the third bit on
    TIMER_TAG = 5
    OTHERS_TAG = 9

cdef enum:
    EVENTS_PER_TURN = 128
    TURN_US = 1000
    READ_BYTES = 64 * 1024
    READ_BYTES_MAX = 1024 * 1024  # of one session in one turn
    ACCEPTS_PER_TURN = 64
    SPARE_BYTES_MAX = 64 * 1024
    SEND_BYTES_MAX = 1024 * 1024  # by all sessions in one turn, as far as their shares are larger than
    SEND_BYTES_MIN = 64 * 1024  # by one session in one turn
    TICKS_MEASURED_US = 10000  # the clock's microseconds then tell the pace of ticks to 0.1 %
    SPIN_US = 6  # more brings more requests and costs more processor time: measured with 3, 6 and 12
    SHORT_SLEEP_US = 13  # 10 - 12 between the requests of 50 clients, nearly all of it rousing; 15 with one client
    SPIN_CREDIT_MAX = 8
    SPIN_PAUSES = 20  # some 0.5 us between two looks: each takes a lock that the clients' sends want, too
    TICKS_APART_MAX = 50000  # some 15 us: longer between two readings, and the process stood still


cdef inline int64_t _clock_us(int clock) noexcept nogil:
    cdef timespec now
    clock_gettime(clock, &now)
    return <int64_t> now.tv_sec * 1000000 + now.tv_nsec // 1000


def boottime_ms():
    """CLOCK_BOOTTIME in ms: the monotonic clock of the pump, which counts suspend. Leases use it."""
    return _clock_us(CLOCK_BOOTTIME) // 1000


cdef class Pump:
    def __cinit__(self, Engine engine not None, *, int max_clients=10000):
        self._epoll_fd = -1
        self._event_fd = -1
        self._timer_fd = -1
        self.engine = engine
        self.sessions = {}
        self.max_clients = max_clients
        self.query_buffer_limit_bytes = 1 << 30
        self.commands_per_turn = 1000
        self.keepalive_s = 300
        self._listeners = {}
        self._accepting = True
        self._ready = []
        self._unsent = []
        self._feeds = []
        self._graveyard = []
        self._steady = SteadyClock()
        self._share_bytes = SEND_BYTES_MIN
        self._readbuf = <uint8_t *> malloc(READ_BYTES)
        if self._readbuf == NULL:
            raise MemoryError("no memory for the read buffer")
        self._epoll_fd = epoll_create1(EPOLL_CLOEXEC)
        if self._epoll_fd < 0:
            raise OSError(errno, "epoll_create1: " + os.strerror(errno))
        self._event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        if self._event_fd < 0:
            raise OSError(errno, "eventfd: " + os.strerror(errno))
        self._timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC)
        if self._timer_fd < 0:
            raise OSError(errno, "timerfd_create: " + os.strerror(errno))
        self._watch(self._event_fd, EVENT_TAG)
        self._watch(self._timer_fd, TIMER_TAG)
        self._measure_ticks()
        self._tell_time()

    def __dealloc__(self):
        cdef int index
        free(self._readbuf)
        for index in range(self._spare_count):
            buf_free(&self._spare[index])
        if self._event_fd >= 0:
            close(self._event_fd)
        if self._timer_fd >= 0:
            close(self._timer_fd)
        if self._epoll_fd >= 0:
            close(self._epoll_fd)

    def _watch(self, int fd, uint64_t tag):
        cdef epoll_event event
        event.events = EPOLLIN
        event.data.u64 = tag
        if epoll_ctl(self._epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0:
            raise OSError(errno, "epoll_ctl: " + os.strerror(errno))

    def fileno(self):
        """The epoll descriptor: readable when there is work."""
        return self._epoll_fd

    # ------------------------------------------------------------------------------------------ sockets

    def listen(self, int fd):
        """Accepts clients from a listening, non-blocking socket. The caller keeps it open until `unlisten`."""
        self._watch(fd, (<uint64_t> fd << 2) | LISTENER_TAG)
        self._listeners[fd] = True

    def unlisten(self, int fd):
        """Accepts nobody from there any more."""
        cdef epoll_event event
        if self._listeners.pop(fd, None) is not None:
            epoll_ctl(self._epoll_fd, EPOLL_CTL_DEL, fd, &event)

    def adopt(self, int fd, Session session not None, bytes received=b""):
        """Takes over a connected, non-blocking socket and closes it in the end.

        Args:
            fd: owned by the pump from here on, whatever happens.
            session: the conversation to have over it.
            received: bytes that were read from the socket already and belong to the session.
        """
        cdef epoll_event event
        cdef bytes data = received
        if session.fd >= 0:
            close(fd)
            raise ValueError("the session has a socket already")
        event.events = EPOLLIN
        event.data.ptr = <void *> <PyObject *> session
        if epoll_ctl(self._epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0:
            number = errno
            close(fd)
            raise OSError(number, "epoll_ctl: " + os.strerror(number))
        session.fd = fd
        session.interest = EPOLLIN
        session.waker = self._wake
        self.sessions[session.id] = session
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
        cdef uint64_t one = 1
        if session.fd < 0:
            return
        if session.is_feed and session not in self._feeds:
            self._feeds.append(session)
        if not session.in_ready:
            session.in_ready = True
            self._ready.append(session)
        if not self._running:
            write(self._event_fd, &one, 8)

    def interrupt(self):
        """Makes the descriptor readable, so that the next `run` happens soon. While it runs there is no need: before
        a turn ends it looks at replicas and released replies anyway."""
        cdef uint64_t one = 1
        if not self._running:
            write(self._event_fd, &one, 8)

    # ------------------------------------------------------------------------------------------- running

    def _tell_time(self):
        cdef int64_t monotonic_ms = _clock_us(CLOCK_BOOTTIME) // 1000
        self.engine.set_clock_ms(
            self._steady.now_ms(_clock_us(CLOCK_REALTIME) // 1000, monotonic_ms), monotonic_ms
        )

    cdef int _measure_ticks(self) except -1:
        """Tells the engine how to time commands, once the counter's pace is known.

        The base of the measure stays the pump's beginning, so it gets better as time goes by.
        """
        cdef uint64_t before = processor_ticks()
        cdef int64_t now_us = _clock_us(CLOCK_MONOTONIC)
        cdef uint64_t ticks = processor_ticks()
        cdef int64_t passed_us = now_us - self._first_ticks_us
        cdef double ticks_per_us
        if ticks < before or ticks - before > TICKS_APART_MAX:
            return 0  # interrupted in between: the next time will do
        if self._first_ticks_us == 0 or before <= self._first_ticks:
            self._first_ticks = before
            self._first_ticks_us = now_us
        elif passed_us >= TICKS_MEASURED_US:
            ticks_per_us = (before - self._first_ticks) / <double> passed_us
            self.engine.set_tick_source(processor_ticks, ticks_per_us)
            self._spin_ticks = <uint64_t> (SPIN_US * ticks_per_us)
            self._short_sleep_ticks = <uint64_t> (SHORT_SLEEP_US * ticks_per_us)
        return 0

    def take_turns(self):
        """What happened between two looks at the clients, whoever did it, since this was asked last.

        Returns:
            How many turns there were, how long they took together and how long the longest took, in us of the clock (not
            of the processor: a process that has to wait for it makes its clients wait, too).
        """
        cdef double per_us = self.engine.ticks_per_us
        if self.engine.tick_source == NULL:  # the first moments: nobody knows how long a tick is
            return 0, 0, 0
        turns = self._turns, int(self._turns_ticks / per_us), int(self._longest_ticks / per_us)
        self._turns = 0
        self._turns_ticks = 0
        self._longest_ticks = 0
        return turns

    def watch_others(self, int fd):
        """Names the descriptor (readable: somebody else of this process has something to do) that ends a sleep.

        It must not watch ours in turn, directly or not: the kernel refuses circles.
        """
        self._watch(fd, OTHERS_TAG)

    def leave_soon(self):
        """Somebody else of this process has something to do now: `run` returns after the turn it is in."""
        self._others_due = True

    def run(self, int64_t budget_us, int64_t sleep_us):
        """Works until the budget is spent or somebody else has something to do, and sleeps when there is no work.

        Args:
            budget_us: after so long the caller gets its turn, whatever waits. What `watch_others` and `leave_soon`
                announce is noticed earlier: after the turn, which takes TURN_US and what one command takes.
            sleep_us: how long the caller has nothing to do, from now on; 0: we do not sleep. Rounded up to whole ms. When
                that time has passed the caller gets its turn, too, however busy the clients are.

        Returns:
            False when there was nothing left to do at the end.
        """
        cdef Engine engine = self.engine
        cdef int64_t begun_us = _clock_us(CLOCK_BOOTTIME)
        cdef int64_t now_us = begun_us
        cdef int64_t wait_us
        cdef int64_t python_calls = engine.python_calls
        cdef int handled
        cdef int timeout_ms
        self._running = True
        self._others_due = False
        if engine.tick_source == NULL:
            self._measure_ticks()
        try:
            while True:
                timeout_ms = 0
                if not self._ready and sleep_us > 0:
                    wait_us = begun_us + sleep_us - now_us
                    timeout_ms = <int> ((wait_us + 999) // 1000) if wait_us > 0 else 0
                handled = self._turn(timeout_ms)
                if handled == 0 and not self._ready:
                    return False
                # What ran in Python may have set a deadline that the caller's sleep_us did not know.
                if self._others_due or engine.python_calls != python_calls:
                    return True
                now_us = _clock_us(CLOCK_BOOTTIME)
                if now_us - begun_us >= budget_us or 0 < sleep_us <= now_us - begun_us:
                    return True
        finally:
            self._running = False

    cdef int _turn(self, int timeout_ms) except -1:
        cdef epoll_event events[EVENTS_PER_TURN]
        cdef int count
        cdef int index
        cdef int handled
        cdef uint64_t tag
        cdef uint64_t drained
        cdef bint lease_ran
        cdef int64_t now_us
        cdef int64_t deadline_us
        cdef Engine engine = self.engine
        cdef Session session
        cdef uint64_t ticks = processor_ticks()
        if self._looked_ticks != 0:
            ticks -= self._looked_ticks
            self._turns += 1
            self._turns_ticks += ticks
            if ticks > self._longest_ticks:
                self._longest_ticks = ticks
        if timeout_ms > 0:
            with nogil:
                count = self._sleep(events, timeout_ms)
        else:
            count = epoll_wait(self._epoll_fd, events, EVENTS_PER_TURN, 0)
        self._looked_ticks = processor_ticks()
        if count < 0:
            if errno == EINTR:
                return 0
            raise OSError(errno, "epoll_wait: " + os.strerror(errno))
        if count == 0 and not self._ready:
            return 0
        now_us = _clock_us(CLOCK_BOOTTIME)
        engine.keyspace.set_clock_ms(self._steady.now_ms(_clock_us(CLOCK_REALTIME) // 1000, now_us // 1000))
        deadline_us = now_us + TURN_US
        engine.monotonic_ms = now_us // 1000
        lease_ran = engine.lease_until_ms != 0 and engine.monotonic_ms < engine.lease_until_ms
        handled = count
        if engine.waiters.count:
            if engine.waiters.due:  # keys that others than clients have changed
                engine.serve_waiters()
            if 0 < engine.waiters.next_deadline_ms <= engine.monotonic_ms:
                engine.expire_waiters()
        if self._ready:
            ready = self._ready
            self._ready = []
            handled += <int> len(ready)
            for index, session in enumerate(ready):
                session.in_ready = False
                if session.fd >= 0:
                    session.run_buffered(self.commands_per_turn)
                    self._after(session)
                if _clock_us(CLOCK_BOOTTIME) >= deadline_us:
                    self._ready = ready[index + 1:] + self._ready
                    break
        for index in range(count):
            # What is left over when time is up comes again: epoll is level-triggered, and what it
            # reported goes to the end of its queue, so that nobody is always the one left over.
            if index > 0 and _clock_us(CLOCK_BOOTTIME) >= deadline_us:
                break
            tag = events[index].data.u64
            if tag & 1:
                if tag == EVENT_TAG:
                    read(self._event_fd, &drained, 8)
                elif tag == TIMER_TAG:
                    read(self._timer_fd, &drained, 8)
                elif tag == OTHERS_TAG:
                    self._others_due = True
                else:
                    self._accept(<int> (tag >> 2))
                continue
            session = <Session> <PyObject *> events[index].data.ptr
            if session.fd >= 0:
                self._event(session, events[index].events)
        if self._feeds:
            self._send_feeds()
        elif engine.effects.feeds_from != NOBODY_READS:
            engine.effects.feeds_from = NOBODY_READS
        if engine.gate._released:
            for session in engine.gate.take_released():
                session.queued_at = 0
                if session.fd >= 0 and not session.in_unsent:
                    session.in_unsent = True
                    self._unsent.append(session)
        if lease_ran and _clock_us(CLOCK_BOOTTIME) // 1000 >= engine.lease_until_ms:
            self._drop_replies()
        if self._unsent:
            unsent = self._unsent
            self._unsent = []
            self._share_bytes = max(SEND_BYTES_MAX // len(unsent), SEND_BYTES_MIN)
            for session in unsent:
                session.in_unsent = False
                if session.fd >= 0:
                    self._send(session)
        if engine.waiters.next_deadline_ms != self._timer_ms:
            self._set_timer()
        if self._graveyard:
            self._graveyard.clear()
        return handled

    cdef int _sleep(self, void *into, int timeout_ms) noexcept nogil:
        """epoll_wait, and before it, as long as that finds something, SPIN_US of looking.

        A sleep costs its waker, too: the client's send has to rouse this core, some 10 us of the client's time in
        a virtual machine. The faster we answer the more often we would fall asleep between two requests of 50
        busy clients, and the slower they would ask. Looking begins after sleeps that were hardly longer than what
        rousing takes, and ends when it has been in vain: a client that comes alone, and an idle server, see none.
        """
        cdef epoll_event *events = <epoll_event *> into
        cdef uint64_t begun = processor_ticks()
        cdef int count
        cdef int pauses
        if self._spin_credit > 0:
            while processor_ticks() - begun < self._spin_ticks:
                for pauses in range(SPIN_PAUSES):
                    processor_pause()
                count = epoll_wait(self._epoll_fd, events, EVENTS_PER_TURN, 0)
                if count != 0:
                    if self._spin_credit < SPIN_CREDIT_MAX:
                        self._spin_credit += 1
                    return count
            self._spin_credit -= 2 if self._spin_credit > 1 else 1
            return epoll_wait(self._epoll_fd, events, EVENTS_PER_TURN, timeout_ms)
        count = epoll_wait(self._epoll_fd, events, EVENTS_PER_TURN, timeout_ms)
        if processor_ticks() - begun < self._short_sleep_ticks:
            self._spin_credit = 1
        return count

    def _set_timer(self):
        """The descriptor becomes readable when the first of the waiting clients has waited long enough."""
        cdef itimerspec when
        self._timer_ms = self.engine.waiters.next_deadline_ms  # 0 turns it off
        when.it_interval.tv_sec = 0
        when.it_interval.tv_nsec = 0
        when.it_value.tv_sec = self._timer_ms // 1000
        when.it_value.tv_nsec = self._timer_ms % 1000 * 1000000
        if timerfd_settime(self._timer_fd, TFD_TIMER_ABSTIME, &when, NULL) < 0:
            raise OSError(errno, "timerfd_settime: " + os.strerror(errno))

    def _drop_replies(self):
        # The process stood still between execution and here for longer than the lease: another
        # primary may exist by now, so what these replies say may no longer be true. Their clients
        # see a closed connection, which says "unknown", the only honest answer.
        for session in self._unsent:
            if not session.is_feed and not session.apply_stream:
                self.close(session, "the lease ended before the reply could leave")

    def _accept(self, int listener):
        cdef int fd
        cdef int one = 1
        cdef int value
        cdef Session session
        for _ in range(ACCEPTS_PER_TURN):
            fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd < 0:
                if errno in (EMFILE, ENFILE):
                    self._shed_one(listener)
                return
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
            address, local_address = _addresses(fd)
            session = Session(self.engine, address=address, local_address=local_address)
            self.adopt(fd, session)

    def _shed_one(self, int listener):
        """No descriptor is left: the waiting client must not make epoll spin. It is accepted on the
        event descriptor's number, closed, and the event descriptor is made anew."""
        cdef int fd
        close(self._event_fd)
        self._event_fd = -1
        fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
        if fd >= 0:
            self.engine.counters.rejected_connections += 1
            close(fd)
        self._event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        if self._event_fd < 0:
            raise OSError(errno, "eventfd: " + os.strerror(errno))
        self._watch(self._event_fd, EVENT_TAG)

    cdef int _event(self, Session session, uint32_t events) except -1:
        if events & EPOLLIN:
            self._readable(session)
        elif events & (EPOLLERR | EPOLLHUP):
            self.close(session, "connection reset")
        if events & EPOLLOUT and session.fd >= 0:
            self._after(session)
            if not session.in_unsent:
                session.in_unsent = True
                self._unsent.append(session)
        return 0

    cdef int _readable(self, Session session) except -1:
        cdef ssize_t got
        cdef Py_ssize_t asked
        cdef Py_ssize_t consumed
        cdef Py_ssize_t room
        cdef Py_ssize_t have
        cdef Py_ssize_t left = READ_BYTES_MAX
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
            if got == 0 and session.in_ready:
                session.run_buffered(1 << 30)  # it sent all it had to say and left: that still counts
                self._send(session)
            self.close(session, "closed by the client" if got == 0 else "connection reset")
            return 0
        if session.fd < 0:
            return 0
        if session.waiting_bytes() > self.query_buffer_limit_bytes:
            self.engine.counters.query_limit_disconnections += 1
            self.close(session, "the query buffer limit was reached")
            return 0
        return self._after(session)

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

    cdef int _after(self, Session session) except -1:
        """After execution: is there something to send, or more to execute?"""
        if session.fd < 0:
            return 0
        if session.out.used_bytes > session.out_sent or session.closing or session.on_drained is not None:
            if not session.in_unsent:
                session.in_unsent = True
                self._unsent.append(session)
        elif session.out.data != NULL:
            self._take_back(session)
        if session.more and not session.in_ready:
            if session.out.used_bytes - session.out_sent + session.pinned_bytes <= OUTPUT_PAUSE_BYTES:
                session.in_ready = True
                self._ready.append(session)
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
            self.engine.counters.net_output_bytes += sent
            left -= sent
            budget -= sent
            if budget <= 0:
                break
        if left > 0:
            if self._over_limit(session, session.out.used_bytes - session.out_sent + session.pinned_bytes):
                return 0
            self._want(session, EPOLLIN | EPOLLOUT)
            if session.out_sent > (1 << 20) and session.out_sent * 2 > session.out.used_bytes:
                self._compact(session)
            return 0
        if limit < session.out.used_bytes:  # the rest is held, and comes back through the gate
            if self._over_limit(session, session.out.used_bytes - session.out_sent + session.pinned_bytes):
                return 0
            self._want(session, EPOLLIN)
            if session.out_sent > SPARE_BYTES_MAX and session.out_sent * 2 > session.out.used_bytes:
                session.shift_output(session.out_sent)
            self._go_on(session)
            return 0
        session.out.used_bytes = 0
        session.out_sent = 0
        self._take_back(session)
        if session.closing:
            self.close(session)
            return 0
        if not (session.is_feed and session.interest & EPOLLOUT):
            self._want(session, EPOLLIN)
        if session.on_drained is not None:
            session.on_drained(session)
        return self._go_on(session)

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
            if session.out.used_bytes - session.out_sent + session.pinned_bytes <= OUTPUT_PAUSE_BYTES:
                session.in_ready = True
                self._ready.append(session)
        return 0

    def _compact(self, Session session):
        rest_bytes = session.out.used_bytes - session.out_sent
        session.shift_output(session.out_sent)
        if rest_bytes < session.out.cap_bytes // 4:  # the room of what was sent is given back
            rest = bytes(session.out.data[:rest_bytes])
            buf_free(&session.out)
            buf_append(&session.out, <const char *> rest, len(rest))

    def _over_limit(self, Session session, Py_ssize_t left_bytes):
        """client-output-buffer-limit: closes a client that lets its replies pile up."""
        now_s = self.engine.monotonic_ms / 1000
        over = self.output_hard_limit_bytes and left_bytes > self.output_hard_limit_bytes
        if self.output_soft_limit_bytes and left_bytes > self.output_soft_limit_bytes:
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

    cdef int _want(self, Session session, uint32_t events) except -1:
        cdef epoll_event event
        if session.interest == events:
            return 0
        event.events = events
        event.data.ptr = <void *> <PyObject *> session
        if epoll_ctl(self._epoll_fd, EPOLL_CTL_MOD, session.fd, &event) < 0:
            raise OSError(errno, "epoll_ctl: " + os.strerror(errno))
        session.interest = events
        return 0

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

    # --------------------------------------------------------------------------------------- housekeeping

    def resume_stalled(self):
        """A pause is over: clients that it held back go on at once, and not with the next `tick`."""
        cdef Session session
        for session in list(self.sessions.values()):
            if session.stalled:
                session.resume()

    def tick(self):
        """A few times a second: tells the time, ends idle clients, looks at clients held by a pause."""
        cdef Session session
        self._tell_time()
        self._measure_ticks()
        if self.engine.waiters.count:
            self.engine.review_waiters()
            if self.engine.waiters.due:
                self.engine.serve_waiters()
        paused = self.engine.paused
        idle_ms = <int64_t> (self.idle_timeout_s * 1000)
        for session in list(self.sessions.values()):
            if session.stalled and not paused:
                session.resume()
            if (
                idle_ms > 0
                and self.engine.monotonic_ms - session.active_ms > idle_ms
                and not session.blocked
                and not session.is_replica
                and not session.apply_stream
            ):
                self.close(session, "idle for longer than the parameter timeout allows")
            elif session.out.used_bytes > session.out_sent:
                self._over_limit(session, session.out.used_bytes - session.out_sent + session.pinned_bytes)
        if not self._running:
            self._graveyard.clear()


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
