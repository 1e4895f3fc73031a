"""Replies of one client that must not leave yet: where they lie in its output, and what each waits for.

    out   sent | may leave | held: offset 90 | +PONG | held: offset 120 | ...
                           ^ sendable_bytes

A connection's replies leave in order, so the first held one keeps back all that follow. Each is marked on its own
all the same: it leaves with its own offset, and only replies about keys turn into errors when the wait ends
without an acknowledgement.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t

from node.engine.buf cimport buf_append, buf_drop_front, buf_free
from node.engine.replies cimport GATHERED
from node.engine.span cimport Span, span_bytes

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX

# The offset of a held reply that is not known yet.
HELD_LATE = <uint64_t> 0xFFFFFFFFFFFFFFFF


cdef class HeldReplies(Replies):
    def __dealloc__(self):
        buf_free(&self.holds)

    cdef int hold(self, Py_ssize_t mark, uint64_t offset, bint wrote) except -1:
        cdef Hold hold
        hold.begin_bytes = mark
        hold.end_bytes = self.out.used_bytes
        hold.offset = offset
        hold.wrote = wrote
        return buf_append(&self.holds, &hold, sizeof(Hold))

    cdef Py_ssize_t sendable_bytes(self) except -1:
        """Up to which byte of `out` replies may leave. Asked at the end of a turn."""
        cdef Hold *hold
        while self.hold_at < self.holds.used_bytes:
            hold = <Hold *> (self.holds.data + self.hold_at)
            if hold.offset == HELD_LATE:
                hold.offset = self.engine.gate.written
            if hold.offset > self.engine.gate.committed:
                if self.queued_at <= self.engine.gate.committed:  # not at all, or that is over
                    self.queued_at = hold.offset
                    self.engine.gate.wait(hold.offset, self)
                return hold.begin_bytes
            self.hold_at += sizeof(Hold)
        if self.hold_at:
            self.hold_at = 0
            self.holds.used_bytes = 0
            self.queued_at = 0
        return self.out.used_bytes

    cdef int shift_output(self, Py_ssize_t count_bytes) except -1:
        """Forgets the first bytes of `out`, which were sent; what is left moves to the front."""
        cdef Py_ssize_t at = 0
        cdef Hold *hold
        buf_drop_front(&self.out, count_bytes)
        self.out_sent -= count_bytes
        self.move_pins(self.pin_at, PY_SSIZE_T_MAX, -count_bytes)
        if self.hold_at:
            buf_drop_front(&self.holds, self.hold_at)
            self.hold_at = 0
        while at < self.holds.used_bytes:
            hold = <Hold *> (self.holds.data + at)
            hold.begin_bytes -= count_bytes
            hold.end_bytes -= count_bytes
            at += sizeof(Hold)
        return 0

    def take_output(self):
        """Returns and forgets the replies that may be sent; held ones stay."""
        cdef Span spans[GATHERED]
        cdef Py_ssize_t limit = self.sendable_bytes()
        cdef int count = 1
        taken = []
        while count > 0:
            count = self.gather(limit, PY_SSIZE_T_MAX, spans, GATHERED)
            for index in range(count):
                taken.append(span_bytes(spans[index]))
                self.advance(spans[index].len_bytes)
        self.shift_output(limit)
        return b"".join(taken)

    def end_held(self, bytes wrote_text not None, bytes read_text not None):
        """Puts an error in the place of each held reply; returns how many. Other replies stay as they are."""
        cdef Py_ssize_t at = self.out_sent
        cdef Py_ssize_t pin_at = self.pin_at
        cdef Py_ssize_t mark
        cdef Py_ssize_t rest_bytes = 0
        cdef Hold *hold
        cdef bytes rest
        self.sendable_bytes()  # what may leave is no longer held
        mark = self.hold_at
        pieces = []
        ended = 0
        while mark < self.holds.used_bytes:
            hold = <Hold *> (self.holds.data + mark)
            text = b"-%b\r\n" % (wrote_text if hold.wrote else read_text)
            pieces += [bytes(self.out.data[at:hold.begin_bytes]), text]
            pin_at = self.move_pins(pin_at, hold.begin_bytes, rest_bytes - at)
            self.remove_pins(pin_at, hold.end_bytes)
            rest_bytes += hold.begin_bytes - at + len(text)
            at = hold.end_bytes
            self.engine.count_error(text[1:].split(b" ", 1)[0])
            mark += sizeof(Hold)
            ended += 1
        pieces.append(bytes(self.out.data[at:self.out.used_bytes]))
        self.move_pins(pin_at, PY_SSIZE_T_MAX, rest_bytes - at)
        rest = b"".join(pieces)
        buf_free(&self.holds)
        self.hold_at = 0
        self.queued_at = 0
        self.out.used_bytes = 0
        self.out_sent = 0
        buf_append(&self.out, PyBytes_AS_STRING(rest), PyBytes_GET_SIZE(rest))
        return ended

    @property
    def held_count(self):
        """Replies that wait for the copies that count."""
        return (self.holds.used_bytes - self.hold_at) // <Py_ssize_t> sizeof(Hold)
