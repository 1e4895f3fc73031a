"""The pump: client sockets under an epoll descriptor of its own, inside a trio process.

There is one place where the process sleeps: the pump's poller. An epoll descriptor can be watched like any
file, and trio has one, too: the pump watches it beside the clients, so a trio task whose socket or thread is ready
ends the sleep as a client does, and so does trio's next deadline (node/driving.py). One turn is

    poller.pyx       wait for somebody who has something to say
    connections.pyx  take new clients in
    inflow.pyx       recv and execute, socket by socket
    outflow.pyx      feed the replicas, then send the replies

Replicas are fed before replies leave. An acknowledged write is thus in the kernel's hands, on its way
to every replica whose link has room, before its client can know of it: a process that is killed at any
point loses nothing that it acknowledged to such a link.

The last three are a chain of classes, each with what it knows of, and this one is its end: they share the lists of sessions with
something to execute or to send. Objects of their own, the rejected alternative, would have to call one another back for
every session that ends.

Rejected, and measured first: trio sleeps and watches the pump's descriptor, while the pump waits up to 1 ms for the
next request of a busy client. A sleep that short has to program the processor's timer and to take that back at each
request (some 4 us in a virtual machine): a client that waits for each answer cost 1.5 times what it costs Redis.
"""

import os

from cpython.object cimport PyObject
from libc.errno cimport EINTR, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t

from node.engine.effects cimport NOBODY_READS
from node.engine.engine cimport Engine
from node.engine.poller cimport (
    EPOLLERR,
    EPOLLHUP,
    EPOLLIN,
    EPOLLOUT,
    OTHERS_TAG,
    ROUSED_TAG,
    TIMER_TAG,
    Poller,
    epoll_event,
)
from node.engine.session cimport Session
from node.engine.steady cimport SteadyClock
from node.engine.ticks cimport CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_REALTIME, clock_us, processor_ticks

cdef enum:
    EVENTS_PER_TURN = 128
    TURN_US = 1000
    TICKS_MEASURED_US = 10000  # the clock's microseconds then tell the pace of ticks to 0.1 %
    TICKS_APART_MAX = 50000  # some 15 us: longer between two readings, and the process stood still


def boottime_ms():
    """CLOCK_BOOTTIME in ms: the monotonic clock of the pump, which counts suspend. Leases use it."""
    return clock_us(CLOCK_BOOTTIME) // 1000


cdef class Pump(Inflow):
    def __cinit__(self):
        self._steady = SteadyClock()
        self._measure_ticks()
        self._tell_time()

    # ------------------------------------------------------------------------------------------- running

    def _tell_time(self):
        cdef int64_t monotonic_ms = clock_us(CLOCK_BOOTTIME) // 1000
        self.engine.set_clock_ms(
            self._steady.now_ms(clock_us(CLOCK_REALTIME) // 1000, monotonic_ms), monotonic_ms
        )

    cdef int _measure_ticks(self) except -1:
        """Tells the engine how to time commands, once the counter's pace is known.

        The base of the measure stays the pump's beginning, so it gets better as time goes by.
        """
        cdef uint64_t before = processor_ticks()
        cdef int64_t now_us = clock_us(CLOCK_MONOTONIC)
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
            self.poller.set_pace(ticks_per_us)
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

    @property
    def look_us_max(self):
        """How long the process looks at most, in us, before it sleeps (docs/turns.md). 0: it sleeps at once."""
        return self.poller.look_us_max

    @look_us_max.setter
    def look_us_max(self, int us):
        self.poller.look_us_max = us

    def take_sleeps(self):
        """How the time without work was spent since this was asked last.

        Returns:
            How often the process went to sleep (or could have: somebody may have had something to say just then), how often it
            looked around for a moment before that, how often it saw somebody, so that there was no sleep, and for how many
            microseconds it looked, all together.
        """
        cdef Poller poller = self.poller
        cdef int64_t looked_us = 0
        if self.engine.ticks_per_us > 0:
            looked_us = <int64_t> (<double> poller.looked_ticks / self.engine.ticks_per_us)
        sleeps = poller.sleeps, poller.looks, poller.finds, looked_us
        poller.sleeps = 0
        poller.looks = 0
        poller.finds = 0
        poller.looked_ticks = 0
        return sleeps

    def watch_others(self, int fd):
        """Names the descriptor (readable: somebody else of this process has something to do) that ends a sleep.

        It must not watch ours in turn, directly or not: the kernel refuses circles.
        """
        self.poller.add(fd, OTHERS_TAG)

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
        cdef int64_t begun_us = clock_us(CLOCK_BOOTTIME)
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
                now_us = clock_us(CLOCK_BOOTTIME)
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
        cdef bint lease_ran
        cdef int64_t now_us
        cdef int64_t deadline_us
        cdef Engine engine = self.engine
        cdef Poller poller = self.poller
        cdef Session session
        cdef uint64_t ticks = processor_ticks()
        if self._looked_ticks == 0:
            ticks = 0
        else:
            ticks -= self._looked_ticks
            self._turns += 1
            self._turns_ticks += ticks
            if ticks > self._longest_ticks:
                self._longest_ticks = ticks
        if timeout_ms > 0:
            self._served.ticks = ticks
            self._served.commands = engine.counters.commands - self._commands
            self._served.answer_bytes = engine.counters.net_output_bytes - self._answer_bytes
            with nogil:
                count = poller.sleep(events, EVENTS_PER_TURN, timeout_ms, &self._served)
        else:
            count = poller.look(events, EVENTS_PER_TURN)
        self._looked_ticks = processor_ticks()
        self._served.sessions = 0
        self._commands = engine.counters.commands
        self._answer_bytes = engine.counters.net_output_bytes
        if count < 0:
            if errno == EINTR:
                return 0
            raise OSError(errno, "epoll_wait: " + os.strerror(errno))
        if count == 0 and not self._ready:
            return 0
        now_us = clock_us(CLOCK_BOOTTIME)
        engine.keyspace.set_clock_ms(self._steady.now_ms(clock_us(CLOCK_REALTIME) // 1000, now_us // 1000))
        deadline_us = now_us + TURN_US
        engine.monotonic_ms = now_us // 1000
        lease_ran = engine.lease_until_ms != 0 and engine.monotonic_ms < engine.lease_until_ms
        handled = count
        if engine.waiters.count and engine.waiters.due:  # keys that others than clients have changed
            engine.serve_waiters()
        # Also when nobody waits any more: a deadline that is over must not be taken for the one the timer is set to.
        if 0 < engine.waiters.next_deadline_ms <= engine.monotonic_ms:
            engine.expire_waiters()
        if self._ready:
            handled += self._run_ready(deadline_us)
        for index in range(count):
            # What is left over when time is up comes again: epoll is level-triggered, and what it
            # reported goes to the end of its queue, so that nobody is always the one left over.
            if index > 0 and clock_us(CLOCK_BOOTTIME) >= deadline_us:
                break
            tag = events[index].data.u64
            if tag & 1:
                if tag == ROUSED_TAG or tag == TIMER_TAG:
                    poller.drain(tag)
                elif tag == OTHERS_TAG:
                    self._others_due = True
                else:
                    self._accept(<int> (tag >> 2))
                continue
            session = <Session> <PyObject *> events[index].data.ptr
            self._served.sessions += 1
            if session.fd >= 0:
                try:
                    self._event(session, events[index].events)
                except MemoryError as error:
                    self._starve(session, error)
        if self._feeds:
            self._send_feeds()
        elif engine.effects.feeds_from != NOBODY_READS:
            engine.effects.feeds_from = NOBODY_READS
        if engine.gate._released:
            for session in engine.gate.take_released():
                session.queued_at = 0
                if session.fd >= 0:
                    self._queue_replies(session)
        if lease_ran and clock_us(CLOCK_BOOTTIME) // 1000 >= engine.lease_until_ms:
            self._drop_replies()
        if self._unsent:
            self._send_replies()
        if engine.waiters.next_deadline_ms != poller.timer_ms:
            poller.set_timer(engine.waiters.next_deadline_ms)
        if self._graveyard:
            self._graveyard.clear()
        return handled

    cdef int _event(self, Session session, uint32_t events) except -1:
        if events & EPOLLIN:
            self._readable(session)
        elif events & (EPOLLERR | EPOLLHUP):
            self.close(session, "connection reset")
        if events & EPOLLOUT and session.fd >= 0:
            self._after(session)
            self._queue_replies(session)
        return 0

    # --------------------------------------------------------------------------------------- housekeeping

    def resume_stalled(self):
        """A pause is over: clients that it held back go on at once, and not with the next `tick`."""
        cdef Session session
        for session in list(self.sessions.values()):
            if session.stalled:
                session.resume()

    def tick(self):
        """A few times a second: tells the time, ends idle clients, looks at clients held by a pause, and at
        listeners that could accept nobody."""
        cdef Session session
        self._tell_time()
        self._measure_ticks()
        self._listen_again()
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
                and not session.stalled
                and not session.in_ready  # it was woken just now: its answer is on the way
                and not session.is_replica
                and not session.apply_stream
            ):
                self.close(session, "idle for longer than the parameter timeout allows")
            elif session.out.used_bytes > session.out_sent:
                self._limit_output(session)
        if not self._running:
            self._graveyard.clear()
