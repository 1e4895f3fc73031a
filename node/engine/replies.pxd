# Writes one client's replies, in the version of the protocol that it speaks.
from libc.stdint cimport int64_t, uint8_t

from node.engine.buf cimport Buf
from node.engine.engine cimport Engine
from node.engine.entry cimport Entry
from node.engine.registry cimport Command
from node.engine.span cimport Span


cdef enum:
    REPLIES_ON = 0
    REPLIES_OFF = 1
    REPLIES_SKIP_NEXT = 2  # CLIENT REPLY SKIP itself is running
    REPLIES_SKIP = 3  # the command that runs now is not answered


cdef class Replies:
    cdef readonly Engine engine
    cdef Command command  # that runs now, or ran last: errors count as its failures
    cdef Buf out  # owned; bytes that were written and not yet sent, from out_sent on
    cdef Py_ssize_t out_sent
    cdef readonly int resp  # 2 or 3
    cdef int reply_mode

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
    cdef int reply_wrong_type(self) except -1
    cdef int reply_syntax_error(self) except -1
    cdef int reply_not_integer(self) except -1  # "ERR value is not an integer or out of range"
