# Redis's snapshot format, version 5 and up: read as a stream, written as a stream.
from libc.stdint cimport int64_t, uint8_t, uint64_t

from node.engine.buf cimport Buf
from node.engine.entry cimport Entry
from node.engine.keyspace cimport Keyspace
from node.engine.rdb_values cimport ValueReader
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
    EXPECT_VALUE
    EXPECT_CHECKSUM
    EXPECT_NOTHING


cdef class Decoder(ValueReader):
    cdef readonly bint keep_expired
    cdef readonly int version
    cdef readonly int database
    cdef readonly int64_t key_count  # entries loaded
    cdef readonly int64_t expired_count  # entries left out because their time was over
    cdef readonly dict aux
    cdef Expecting _expecting
    cdef Buf _buf  # a piece that has begun to arrive
    cdef Buf _key
    cdef int64_t _expire_ms
    cdef uint64_t _crc

    cdef bytes _feed(self, const uint8_t *start, Py_ssize_t data_bytes)
    cdef bint _step(self) except -1
    cdef bint _magic(self) except -1
    cdef bint _opcode(self) except -1
    cdef int _store(self) except -1
    cdef int _accept(self) except -1


# Writes entries into a buffer that the caller empties. Entries that a write came upon arrive between two
# steps, so the buffer has a limit of its own: a reader that stands still must not cost the data set twice.
cdef class _EncodingSink(SnapshotSink):
    cdef Buf out  # owned; encoded and not taken yet
    cdef Buf aside  # owned; entries that were met while a large value is being written: they follow it
    cdef bint large_open
    cdef int large_type
    cdef int64_t large_earliest_ms
    cdef Py_ssize_t limit_bytes
    cdef Py_ssize_t want_bytes  # the step under way ends when so many wait
    cdef int _database  # of the last SELECTDB
    cdef Keyspace _keyspace

    cdef int _begin_entry(self, Buf *out, int database, Entry *entry, int kind) except -1
    cdef int _select(self, Buf *out, int database) except -1


cdef class SnapshotWriter:
    cdef readonly uint64_t written_bytes  # taken so far
    cdef _EncodingSink _sink
    cdef Snapshot _snapshot
    cdef uint64_t _crc
    cdef Py_ssize_t _summed_bytes  # of out, already in _crc
