"""Who has something to say: an epoll set, and the one place where the process sleeps.

Beside the sockets, the set holds two descriptors of its own: one that makes it readable at once (`rouse`), and a timer that does so
when the first of the waiting clients has waited long enough. The set's descriptor can itself be watched, as
any file can.

Level-triggered. Edge-triggered, the rejected alternative, wants a second recv that says EAGAIN after each read:
one more system call for each request of a client that waits for its answer.
"""

import os

from libc.errno cimport errno
from libc.stdint cimport int64_t, uint32_t, uint64_t

from node.engine.ticks cimport CLOCK_BOOTTIME, processor_ticks, timespec


cdef extern from "sys/epoll.h" nogil:
    int epoll_create1(int flags)
    int epoll_ctl(int epoll_fd, int operation, int fd, epoll_event *event)
    int epoll_wait(int epoll_fd, epoll_event *events, int max_events, int timeout_ms)
    enum:
        EPOLL_CTL_ADD
        EPOLL_CTL_MOD
        EPOLL_CTL_DEL
        EPOLL_CLOEXEC

cdef extern from "sys/eventfd.h" nogil:
    int eventfd(unsigned int initial, int flags)
    enum:
        EFD_NONBLOCK
        EFD_CLOEXEC

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

cdef extern from "unistd.h" nogil:
    int close(int fd)
    ssize_t read(int fd, void *into, size_t len_bytes)
    ssize_t write(int fd, const void *data, size_t len_bytes)

cdef extern from "sched.h" nogil:
    int sched_yield()

cdef enum:
    SPIN_US = 6  # more brings more requests and costs more processor time: measured with 3, 6 and 12
    SPIN_US_MAX = 48  # unless look-before-sleep-us says something else
    SPIN_BYTES = 110  # and a microsecond more for so much of an answer: the client has to take it apart first
    SPIN_BYTES_MAX = 16 * 1024  # rousing costs little beside what a client does with more
    SPIN_FACTOR = 2  # or so much more for each microsecond that a request takes beyond SPIN_US
    SPIN_WORK_US_MAX = 21  # rousing costs little beside such a request
    PIPELINED = 4  # requests that come together; who sends them waits for all the answers
    SPIN_PIPELINED_US = 30
    SHORT_SLEEP_US = 13  # 10 - 12 between the requests of 50 clients, nearly all of it rousing
    CREDIT_MAX = 4


cpdef double look_us(int sessions, double took_us, int64_t commands, int64_t answer_bytes) noexcept nogil:
    """How long to look for the next request before a sleep, by what the last ones were (docs/turns.md).

    Args:
        sessions: how many were served since the last look.
        took_us: what serving all of them took.
        commands, answer_bytes: of all of them.
    """
    cdef double us = SPIN_US
    cdef double work_us
    sessions = max(sessions, 1)
    if commands >= PIPELINED * <int64_t> sessions:
        return SPIN_PIPELINED_US
    answer_bytes //= sessions
    if 0 < answer_bytes <= SPIN_BYTES_MAX:
        us += answer_bytes // SPIN_BYTES
    work_us = took_us / sessions
    if SPIN_US < work_us <= SPIN_WORK_US_MAX:
        us = max(us, SPIN_US + SPIN_FACTOR * (work_us - SPIN_US))
    return us


cdef class Poller:
    def __cinit__(self):
        self.fd = -1
        self._event_fd = -1
        self._timer_fd = -1
        self._spare_fd = -1
        self.look_us_max = SPIN_US_MAX
        self.fd = epoll_create1(EPOLL_CLOEXEC)
        if self.fd < 0:
            raise OSError(errno, "epoll_create1: " + os.strerror(errno))
        self._event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        if self._event_fd < 0:
            raise OSError(errno, "eventfd: " + os.strerror(errno))
        self.add(self._event_fd, ROUSED_TAG)
        self._timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC)
        if self._timer_fd < 0:
            raise OSError(errno, "timerfd_create: " + os.strerror(errno))
        self.add(self._timer_fd, TIMER_TAG)
        self.keep_spare()

    def __dealloc__(self):
        self.give_up_spare()
        if self._event_fd >= 0:
            close(self._event_fd)
        if self._timer_fd >= 0:
            close(self._timer_fd)
        if self.fd >= 0:
            close(self.fd)

    # ------------------------------------------------------------------------------------------- the set

    cdef int add(self, int fd, uint64_t tag) except -1:
        """Watches a descriptor for something to read; `tag` is what events then carry."""
        cdef epoll_event event
        event.events = EPOLLIN
        event.data.u64 = tag
        if epoll_ctl(self.fd, EPOLL_CTL_ADD, fd, &event) < 0:
            raise OSError(errno, "epoll_ctl: " + os.strerror(errno))
        return 0

    cdef int change(self, int fd, uint32_t events, uint64_t tag) except -1:
        """What it is watched for from now on: EPOLLIN, EPOLLOUT."""
        cdef epoll_event event
        event.events = events
        event.data.u64 = tag
        if epoll_ctl(self.fd, EPOLL_CTL_MOD, fd, &event) < 0:
            raise OSError(errno, "epoll_ctl: " + os.strerror(errno))
        return 0

    cdef int remove(self, int fd) noexcept:
        """Watches it no more. A descriptor that is closed needs none of this."""
        cdef epoll_event event
        return epoll_ctl(self.fd, EPOLL_CTL_DEL, fd, &event)

    cdef int rouse(self) noexcept:
        """Makes the set readable until ROUSED_TAG is drained."""
        cdef uint64_t one = 1
        write(self._event_fd, &one, 8)
        return 0

    cdef int drain(self, uint64_t tag) noexcept:
        """After an event with ROUSED_TAG or TIMER_TAG: it is noted, and does not come again."""
        cdef uint64_t ignored
        read(self._event_fd if tag == ROUSED_TAG else self._timer_fd, &ignored, 8)
        return 0

    cdef int keep_spare(self) noexcept:
        """Sets a descriptor aside for the moment in which the process has no other left. There may be none for that either."""
        if self._spare_fd < 0:
            self._spare_fd = eventfd(0, EFD_CLOEXEC)
        return 0

    cdef int give_up_spare(self) noexcept:
        """Its number is free, for whoever comes first."""
        if self._spare_fd >= 0:
            close(self._spare_fd)
            self._spare_fd = -1
        return 0

    cdef int set_timer(self, int64_t deadline_ms) except -1:
        """The set becomes readable then; 0: it does not."""
        cdef itimerspec when
        self.timer_ms = deadline_ms
        when.it_interval.tv_sec = 0
        when.it_interval.tv_nsec = 0
        when.it_value.tv_sec = deadline_ms // 1000
        when.it_value.tv_nsec = deadline_ms % 1000 * 1000000
        if timerfd_settime(self._timer_fd, TFD_TIMER_ABSTIME, &when, NULL) < 0:
            raise OSError(errno, "timerfd_settime: " + os.strerror(errno))
        return 0

    # ------------------------------------------------------------------------------------------ sleeping

    cdef int set_pace(self, double ticks_per_us) noexcept:
        """How fast processor_ticks counts. Before it is known every wait is a plain sleep."""
        self._ticks_per_us = ticks_per_us
        return 0

    cdef int look(self, epoll_event *into, int room) noexcept nogil:
        """Who has something to say now."""
        return epoll_wait(self.fd, into, room, 0)

    cdef int sleep(self, epoll_event *into, int room, int timeout_ms, const Served *served) noexcept nogil:
        """Waits until somebody has something to say, and before it, as long as that finds something, looks for a moment.

        A sleep costs its waker, too: the client's send has to rouse this core, some 5 us of the client's time in
        a virtual machine. The faster we answer the more often we would fall asleep between two requests of 50
        busy clients, and the slower they would ask. Looking begins after sleeps that were hardly longer than what
        rousing takes, and ends when it is in vain as often as not: an idle server sees none.

        Who gets a large answer, or many in one, comes later with the next request, so a moment is longer then:
        without it those clients, which are busy all the time, would ask some 5 % less often. Requests that take long
        make it longer, too, though less than twice as long as one of them. With its system calls each request
        of a single client takes long in this sense: it is answered a third sooner, for a fifth more processor time.
        Before each look whoever else waits for this processor gets it: a replica on the same machine would have to wait
        for milliseconds otherwise. With nobody there that takes half a microsecond, and a rest from the lock that looking
        shares with the clients' sends is wanted anyway.

        Never to sleep while clients are busy, the rejected alternative, brings 4 % more for 10 - 25 % more processor time.
        """
        cdef uint64_t begun = processor_ticks()
        cdef double moment_us = 0
        cdef uint64_t look_ticks
        cdef int count
        if self._ticks_per_us > 0:
            moment_us = look_us(
                served.sessions, <double> served.ticks / self._ticks_per_us, served.commands, served.answer_bytes
            )
            moment_us = min(moment_us, <double> self.look_us_max)
        if self._credit > 0 and moment_us > 0:
            look_ticks = <uint64_t> (moment_us * self._ticks_per_us)
            self.looks += 1
            while processor_ticks() - begun < look_ticks:
                sched_yield()
                count = epoll_wait(self.fd, into, room, 0)
                if count != 0:
                    self.looked_ticks += min(processor_ticks() - begun, look_ticks)
                    self.finds += 1
                    if self._credit < CREDIT_MAX:
                        self._credit += 1
                    return count
            self.looked_ticks += look_ticks
            self._credit -= 1
            self.sleeps += 1
            return epoll_wait(self.fd, into, room, timeout_ms)
        self.sleeps += 1
        count = epoll_wait(self.fd, into, room, timeout_ms)
        if processor_ticks() - begun < (SHORT_SLEEP_US - SPIN_US + moment_us) * self._ticks_per_us:
            self._credit = 1
        return count
