"""Replies of one client that must not leave yet: where they lie in its output, and what each waits for.

    out   sent | may leave | held: offset 90 | +PONG | held: offset 120 | ...
                           ^ sendable_bytes

A connection's replies leave in order, so the first held one keeps back all that follow. Each is marked on its own
all the same: it leaves with its own offset, and only replies about keys turn into errors when the wait ends
without an acknowledgement.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t

from node.engine.buf cimport buf_append, buf_drop_front, buf_free

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
        cdef bytes taken
        cdef Py_ssize_t limit = self.sendable_bytes()
        if limit == self.out_sent:
            taken = b""
        else:
            taken = PyBytes_FromStringAndSize(<const char *> self.out.data + self.out_sent, limit - self.out_sent)
        self.out_sent = limit
        self.shift_output(limit)
        return taken

    def end_held(self, bytes wrote_text not None, bytes read_text not None):
        """Puts an error in the place of each held reply; returns how many. Other replies stay as they are."""
        cdef Py_ssize_t at = self.sendable_bytes()
        cdef Py_ssize_t mark = self.hold_at
        cdef Hold *hold
        cdef bytes rest
        pieces = [bytes(self.out.data[self.out_sent:at])]
        ended = 0
        while mark < self.holds.used_bytes:
            hold = <Hold *> (self.holds.data + mark)
            text = wrote_text if hold.wrote else read_text
            pieces += [bytes(self.out.data[at:hold.begin_bytes]), b"-%b\r\n" % text]
            at = hold.end_bytes
            self.engine.count_error(text.split(b" ", 1)[0])
            mark += sizeof(Hold)
            ended += 1
        pieces.append(bytes(self.out.data[at:self.out.used_bytes]))
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
