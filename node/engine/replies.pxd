# Writes one client's replies, in the version of the protocol that it speaks.
from libc.stdint cimport int64_t, uint8_t

from node.engine.buf cimport Buf
from node.engine.engine cimport Engine
from node.engine.entry cimport Entry
from node.engine.registry cimport Command
from node.engine.span cimport Span
from node.engine.value cimport Value


cdef enum:
    REPLIES_ON = 0
    REPLIES_OFF = 1
    REPLIES_SKIP_NEXT = 2  # CLIENT REPLY SKIP itself is running
    REPLIES_SKIP = 3  # the command that runs now is not answered

cdef enum:
    GATHERED = 16  # pieces that are sent together


# A part of a large value within the replies: the client gets it between out[at_bytes - 1] and out[at_bytes].
cdef struct Pin:
    Py_ssize_t at_bytes
    Value *value  # pinned
    const uint8_t *from_byte  # in it
    Py_ssize_t len_bytes


cdef class Replies:
    cdef readonly Engine engine
    cdef Command command  # that runs now, or ran last: errors count as its failures
    cdef Buf out  # owned; bytes that were written and not yet sent, from out_sent on
    cdef Py_ssize_t out_sent
    cdef Buf pins  # owned; Pins in `out`, in order, from pin_at on; each lies within one reply
    cdef Py_ssize_t pin_at
    cdef Py_ssize_t pin_sent  # bytes of the first of them
    cdef readonly Py_ssize_t pinned_bytes  # of all of them, what was not sent
    cdef readonly int resp  # 2 or 3
    cdef int reply_mode

    cdef int rewind(self, Py_ssize_t mark) except -1  # forgets what was written from there on
    cdef int drop_pins(self) noexcept  # forgets all of them, with what was sent
    # Pins from pins[index_bytes] on that lie before out[until_bytes]: moves them, and returns the index after them, or
    # takes them out.
    cdef Py_ssize_t move_pins(self, Py_ssize_t index_bytes, Py_ssize_t until_bytes, Py_ssize_t by_bytes) noexcept
    cdef int remove_pins(self, Py_ssize_t index_bytes, Py_ssize_t until_bytes) noexcept
    cdef Py_ssize_t pinned_before(self, Py_ssize_t at_bytes) noexcept
    # What comes next, as up to max_count spans, at most budget_bytes and from before out[limit_bytes]. Returns their number.
    cdef int gather(self, Py_ssize_t limit_bytes, Py_ssize_t budget_bytes, Span *into, int max_count) noexcept
    cdef int advance(self, Py_ssize_t sent_bytes) noexcept  # so much of it was sent
    cdef int mute(self, Py_ssize_t mark) except -1  # drops a reply that begins there, if CLIENT REPLY says so

    # Each command writes exactly one reply (an array counts as one with its elements).
    cdef int reply_ok(self) except -1
    cdef int reply_simple(self, const char *text) except -1
    cdef int reply_error(self, const char *text) except -1  # "ERR ..." without '-' and CRLF
    cdef int reply_error_bytes(self, bytes text) except -1
    cdef int reply_int64(self, int64_t value) except -1
    cdef int reply_bulk(self, Span value) except -1
    cdef int reply_null(self) except -1  # $-1 or _
    cdef int reply_null_array(self) except -1  # *-1 or _
    cdef int reply_array(self, int64_t count) except -1
    cdef int reply_map(self, int64_t pair_count) except -1  # %n, or *2n in RESP2
    cdef int reply_set(self, int64_t count) except -1
    cdef int reply_double(self, double value) except -1
    cdef int reply_bool(self, bint value) except -1
    cdef int reply_value(self, object value) except -1  # any Python reply, see reply.py's table
    cdef int reply_entry_string(self, Entry *entry) except -1  # a string entry as a bulk
    cdef int reply_entry_part(self, Entry *entry, Span part) except -1  # some of its bytes
    cdef int reply_pinned(self, Value *value, Span part) except -1
    cdef int reply_wrong_type(self) except -1
    cdef int reply_syntax_error(self) except -1
    cdef int reply_not_integer(self) except -1  # "ERR value is not an integer or out of range"
