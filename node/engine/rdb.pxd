# Redis's snapshot format, version 5 and up: read as a stream, written as a stream.
from libc.stdint cimport int64_t, uint8_t, uint64_t

from node.engine.buf cimport Buf
from node.engine.entry cimport Entry
from node.engine.keyspace cimport Keyspace
from node.engine.snapshot cimport Snapshot, SnapshotSink
from node.engine.span cimport Span


# Where the decoder is: which piece of the file comes next.
cdef enum Expecting:
    EXPECT_MAGIC
    EXPECT_OPCODE
    EXPECT_AUX_NAME
    EXPECT_AUX_VALUE
    EXPECT_DATABASE
    EXPECT_RESIZE_KEYS
    EXPECT_RESIZE_EXPIRIES
    EXPECT_EXPIRE_S
    EXPECT_EXPIRE_MS
    EXPECT_IDLE
    EXPECT_FREQUENCY
    EXPECT_KEY
    EXPECT_STRING_VALUE
    EXPECT_CHECKSUM
    EXPECT_NOTHING


cdef class Decoder:
    cdef Keyspace keyspace
    cdef readonly bint keep_expired
    cdef readonly int version
    cdef readonly int database
    cdef readonly uint64_t offset  # bytes of the file decoded so far
    cdef readonly int64_t key_count  # entries loaded
    cdef readonly int64_t expired_count  # entries left out because their time was over
    cdef readonly dict aux
    cdef Expecting _expecting
    cdef Buf _buf  # a piece that has begun to arrive
    cdef Buf _key
    cdef Buf _text  # a string that was packed, or is an integer in the file
    cdef int _kind  # of the entry at hand
    cdef int64_t _expire_ms
    cdef uint64_t _crc
    cdef str _broken  # the first error: nothing more can be read after it
    cdef const uint8_t *_at  # borrowed while feed() runs
    cdef const uint8_t *_end

    cdef const uint8_t *_cursor  # how far the piece being read reaches
    cdef bytes _feed(self, const uint8_t *start, Py_ssize_t data_bytes)
    cdef bint _step(self) except -1
    cdef bint _magic(self) except -1
    cdef bint _opcode(self) except -1
    cdef int _store(self, Span value) except -1
    cdef int _accept(self) except -1
    cdef object _damage(self, str what)
    cdef bint _fixed(self, Py_ssize_t want_bytes, const uint8_t **at) noexcept
    cdef bint _length(self, uint64_t *value, bint *special) except -1
    cdef bint _plain_length(self, uint64_t *value) except -1
    cdef bint _string(self, Span *value) except -1
    cdef bint _packed(self, int form, Span *value) except -1


# Writes entries into a buffer that the caller empties. Entries that a write came upon arrive between two
# steps, so the buffer has a limit of its own: a reader that stands still must not cost the data set twice.
cdef class _EncodingSink(SnapshotSink):
    cdef Buf out  # owned; encoded and not taken yet
    cdef Py_ssize_t limit_bytes
    cdef int _database  # of the last SELECTDB
    cdef Keyspace _keyspace

    cdef int _length(self, uint64_t value) except -1
    cdef int _text(self, const uint8_t *data, Py_ssize_t len_bytes) except -1
    cdef int _select(self, int database) except -1


cdef class SnapshotWriter:
    cdef readonly uint64_t written_bytes  # taken so far
    cdef _EncodingSink _sink
    cdef Snapshot _snapshot
    cdef uint64_t _crc
    cdef Py_ssize_t _summed_bytes  # of out, already in _crc
