# What all commands on streams share: ids as clients write them, replies of entries, the key's stream.
from libc.stdint cimport int64_t, uint64_t

from node.engine.entry cimport Entry
from node.engine.keyspace cimport Key
from node.engine.session cimport Session
from node.engine.span cimport Span
from node.engine.stream cimport Stream, StreamEntry
from node.engine.stream_id cimport StreamId

cdef enum:
    ID_BYTES_MAX = 48  # of its text

cdef enum:
    STRICT = 1  # neither - nor +

# --- reading arguments: 0 when it is none, and the error is written ---------------------------------------------
# missing_seq stands in for a sequence number that is not given; automatic: "5-*" is allowed, and what it was.
cdef bint read_id(Span word, uint64_t missing_seq, bint strict, StreamId *id, bint *automatic) noexcept
cdef bint id_at(Session s, int index, uint64_t missing_seq, bint strict, StreamId *id) except -1
# The ends of a range: "(" excludes.
cdef bint range_at(Session s, int from_index, int to_index, StreamId *least, StreamId *most) except -1
cdef bint range_start_at(Session s, int index, StreamId *least) except -1
# An integer with an error of its own.
cdef bint number_at(Session s, int index, const char *complaint, int64_t *value) except -1

# --- replying ------------------------------------------------------------------------------------------------
cdef Span id_text(StreamId id, char *into) noexcept  # into ID_BYTES_MAX
cdef int reply_id(Session s, StreamId id) except -1
cdef int reply_entry(Session s, const StreamEntry *entry) except -1  # [id, [field, value ...]]
# Entries from least to most, `count` at most (0: all), as elements without their array. Returns how many.
cdef int64_t reply_range(Session s, const Stream *stream, StreamId least, StreamId most, int64_t count, bint backwards) except -1
# An array (or map, '%') whose number of elements is known only at its end: out.used_bytes before its first element is the mark.
cdef int close_array(Session s, Py_ssize_t mark, int64_t count, char prefix) except -1

# --- the key ---------------------------------------------------------------------------------------------------
cdef bint is_stream(Session s, Entry *entry) except -1  # or missing; otherwise the error is written
cdef Stream *stream_of(Entry *entry) noexcept  # NULL for NULL
cdef Entry *read_key(Session s, Key *key) except? NULL
