# One client's conversation, without I/O: bytes in, replies out. (Contract for command authors.)
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from node.engine.buf cimport Buf
from node.engine.engine cimport Engine
from node.engine.entry cimport Entry
from node.engine.keyspace cimport Key, Keyspace
from node.engine.span cimport Span

# A compiled command. It reads s.argv, changes s.keyspace and writes exactly one reply. User errors are
# replies, not exceptions; an exception means a bug or no memory, and ends the connection.
ctypedef int (*command_fn)(Session s) except -1


cdef class Session:
    cdef readonly Engine engine
    cdef Keyspace keyspace  # engine.keyspace, one hop less
    cdef public int database
    cdef int argc
    cdef Span *argv  # argv[0] is the command's name; valid until the command returns
    cdef Buf out
    cdef readonly int resp  # 2 or 3

    # --- replies ---------------------------------------------------------------------------------------
    cdef int reply_ok(self) except -1
    cdef int reply_simple(self, const char *text) except -1
    cdef int reply_error(self, const char *text) except -1  # b"ERR ..." without '-' and CRLF
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

    # --- arguments -------------------------------------------------------------------------------------
    cdef Key key_at(self, int index) noexcept  # keyspace.locate(argv[index])
    # Parses argv[index]; on failure writes "value is not an integer..." and returns 0.
    cdef bint int64_at(self, int index, int64_t *value) except -1

    # --- effects. A command that changed something calls changed(); the command's own words are then
    # propagated, unless it wrote other effects itself through self.effect(...) + effect_arg*. -----------
    cdef int changed(self, int64_t count) except -1
    cdef int effect(self, int argc) except -1
    cdef int effect_arg(self, Span value) except -1
    cdef int effect_arg_int64(self, int64_t value) except -1
    cdef int effect_arg_word(self, const char *word) except -1
