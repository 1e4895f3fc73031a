"""Redis's snapshot format (RDB): what a full sync carries and what a dump file holds.

    "REDIS" version(4 digits)
    FA name value                    facts about the writer ("aux fields"), any number
    FE database                      the entries that follow belong there
    FB keys expiries                 how many to expect: a hint, ignored here
    [FC ms(8) | FD s(4)] [F8 idle | F9 frequency]  type key value     one entry, any number
    FF crc64(8)                      the end; a checksum of 0 means "not computed"

Lengths and small strings:

    00LLLLLL                         6 bits          10000000 n(4, big-endian)
    01LLLLLL llllllll               14 bits          10000001 n(8, big-endian)
    11000000 b  11000001 bb  11000010 bbbb           the string is this integer, in decimal
    11000011 packed-length plain-length bytes        the string, packed with LZF

The decoder takes bytes in any split. It consumes whole pieces (an opcode, a key, a value); only the one
piece that has not fully arrived is kept, and it grows with the bytes that came, never with the length
that a damaged or hostile file announces. So memory is bounded by twice the largest value in the file.

We write version 9, that of Redis 5 and 6: almost everything we write exists there (rdb_write.pyx names what does
not), and Redis refuses a file with a version above its own, so a higher number would only make us harder to leave.

Source: https://rdb.fnordig.de/file_format.html, and files written by redis-server 7.0.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from node.engine.buf cimport Buf, buf_append, buf_drop_front, buf_free
from node.engine.crc64 cimport crc64_update
from node.engine.entry cimport Entry, entry_expiry_ms, entry_key, entry_type
from node.engine.keyspace cimport EXPIRY_NONE, Key, Keyspace
from node.engine.rdb_stream cimport write_stream_node
from node.engine.rdb_values cimport PIECE_NONE, ValueReader
from node.engine.rdb_write cimport (
    large_kind,
    value_kind,
    write_large_head,
    write_length,
    write_member,
    write_text,
    write_value,
)
from node.engine.snapshot cimport Snapshot, SnapshotSink
from node.engine.span cimport Span, span_bytes, span_of
from node.engine.stream cimport StreamNode

from node.engine.rdb_values import SnapshotError

cdef enum:
    OPCODE_FUNCTION = 0xF5
    OPCODE_OLD_FUNCTION = 0xF6
    OPCODE_MODULE_AUX = 0xF7
    OPCODE_IDLE = 0xF8
    OPCODE_FREQUENCY = 0xF9
    OPCODE_AUX = 0xFA
    OPCODE_RESIZE = 0xFB
    OPCODE_EXPIRE_MS = 0xFC
    OPCODE_EXPIRE_S = 0xFD
    OPCODE_DATABASE = 0xFE
    OPCODE_END = 0xFF

cdef Py_ssize_t KEPT_BUFFER_BYTES = 1 << 20  # a larger one is given back after the piece it was for

cdef enum:
    ENTRIES_PER_LOOK = 32  # between two looks at how much there is

VERSION_WRITTEN = 9
VERSIONS_READ = range(5, 13)


cdef class Decoder(ValueReader):
    def __cinit__(self, Keyspace keyspace not None, *, bint keep_expired):
        self.keep_expired = keep_expired
        self.aux = {}
        self._expecting = EXPECT_MAGIC
        self._expire_ms = EXPIRY_NONE

    def __dealloc__(self):
        buf_free(&self._buf)
        buf_free(&self._key)

    @property
    def done(self):
        return self._expecting == EXPECT_NOTHING

    def feed(self, data not None):
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            return self._feed(<const uint8_t *> view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    cdef bytes _feed(self, const uint8_t *start, Py_ssize_t data_bytes):
        cdef bint buffered = self._buf.used_bytes > 0
        cdef Py_ssize_t rest_bytes
        if self._broken is not None:
            raise SnapshotError(self._broken)
        if self._expecting == EXPECT_NOTHING:
            return PyBytes_FromStringAndSize(<const char *> start, data_bytes)
        if buffered:
            buf_append(&self._buf, start, data_bytes)
            self._at = self._buf.data
            self._end = self._at + self._buf.used_bytes
        else:
            self._at = start
            self._end = start + data_bytes
        try:
            while self._expecting != EXPECT_NOTHING:
                self._cursor = self._at
                if not self._step():
                    break
                self._accept()
        except SnapshotError as error:
            self._broken = str(error)
            self._builder.drop()  # nothing will follow: what was being built is in nobody's way
            raise
        rest_bytes = self._end - self._at
        if self._expecting == EXPECT_NOTHING:
            rest = PyBytes_FromStringAndSize(<const char *> self._at, rest_bytes)
            buf_free(&self._buf)
            return rest
        if not buffered:
            buf_append(&self._buf, self._at, rest_bytes)
        elif rest_bytes > 0:
            buf_drop_front(&self._buf, self._buf.used_bytes - rest_bytes)
        elif self._buf.cap_bytes > KEPT_BUFFER_BYTES:
            buf_free(&self._buf)
        else:
            self._buf.used_bytes = 0
        return b""

    # The piece between _at and _cursor is complete and taken.
    cdef int _accept(self) except -1:
        cdef Py_ssize_t piece_bytes = self._cursor - self._at
        self._crc = crc64_update(self._crc, self._at, piece_bytes)
        self.offset += <uint64_t> piece_bytes
        self._at = self._cursor
        return 0

    cdef object _damage(self, str what):
        if self._expecting == EXPECT_VALUE:
            what = f"key {span_bytes(span_of(self._key.data, self._key.used_bytes))!r} in database {self.database}: {what}"
        return ValueReader._damage(self, what)

    # --- pieces. Each returns 0 when not all of its bytes are there; nothing is taken then. ------------------
    cdef bint _step(self) except -1:
        cdef const uint8_t *at
        cdef uint64_t number
        cdef uint32_t seconds
        cdef uint64_t milliseconds
        cdef uint64_t checksum
        cdef Span value
        if self._expecting == EXPECT_KEY:
            if not self._string(&value):
                return False
            self._key.used_bytes = 0
            buf_append(&self._key, value.at, value.len_bytes)
            self._expecting = EXPECT_VALUE
            self.begin_value(self._kind)
            return True
        if self._expecting == EXPECT_VALUE:
            if not self.value_piece():
                return False
            if self._piece == PIECE_NONE:
                self._store()
                self._expire_ms = EXPIRY_NONE
                self._expecting = EXPECT_OPCODE
            return True
        if self._expecting == EXPECT_OPCODE:
            return self._opcode()
        if self._expecting == EXPECT_EXPIRE_MS:
            if not self._fixed(8, &at):
                return False
            memcpy(&milliseconds, at, 8)
            if milliseconds > <uint64_t> 0x7FFFFFFFFFFFFFFF:
                raise self._damage(f"an expiry of {milliseconds} ms is out of range")
            self._expire_ms = <int64_t> milliseconds
            self._expecting = EXPECT_OPCODE
            return True
        if self._expecting == EXPECT_EXPIRE_S:
            if not self._fixed(4, &at):
                return False
            memcpy(&seconds, at, 4)
            self._expire_ms = <int64_t> seconds * 1000
            self._expecting = EXPECT_OPCODE
            return True
        if self._expecting == EXPECT_IDLE:
            if not self._plain_length(&number):
                return False
            self._expecting = EXPECT_OPCODE
            return True
        if self._expecting == EXPECT_FREQUENCY:
            if not self._fixed(1, &at):
                return False
            self._expecting = EXPECT_OPCODE
            return True
        if self._expecting == EXPECT_AUX_NAME:
            if not self._string(&value):
                return False
            self._key.used_bytes = 0
            buf_append(&self._key, value.at, value.len_bytes)
            self._expecting = EXPECT_AUX_VALUE
            return True
        if self._expecting == EXPECT_AUX_VALUE:
            if not self._string(&value):
                return False
            if len(self.aux) < 64 and value.len_bytes <= 1024 and self._key.used_bytes <= 1024:
                self.aux[span_bytes(span_of(self._key.data, self._key.used_bytes))] = span_bytes(value)
            self._expecting = EXPECT_OPCODE
            return True
        if self._expecting == EXPECT_DATABASE:
            if not self._plain_length(&number):
                return False
            if number >= <uint64_t> self.keyspace.database_count:
                raise self._damage(
                    f"database {number} does not exist here: there are {self.keyspace.database_count} "
                    "(parameter databases; cluster mode has one)"
                )
            self.database = <int> number
            self._expecting = EXPECT_OPCODE
            return True
        if self._expecting == EXPECT_RESIZE_KEYS:
            if not self._plain_length(&number):
                return False
            self._expecting = EXPECT_RESIZE_EXPIRIES
            return True
        if self._expecting == EXPECT_RESIZE_EXPIRIES:
            if not self._plain_length(&number):
                return False
            self._expecting = EXPECT_OPCODE
            return True
        if self._expecting == EXPECT_CHECKSUM:
            if not self._fixed(8, &at):
                return False
            memcpy(&checksum, at, 8)
            if checksum != 0 and checksum != self._crc:
                raise self._damage(f"the checksum is {checksum:016x}, the bytes add up to {self._crc:016x}")
            self._expecting = EXPECT_NOTHING
            return True
        return self._magic()

    cdef bint _magic(self) except -1:
        cdef const uint8_t *at
        cdef int index
        if not self._fixed(9, &at):
            if memcmp(self._at, b"REDIS", <size_t> min(5, self._end - self._at)) != 0:
                raise self._damage("this is no RDB snapshot: it does not begin with REDIS")
            return False
        if memcmp(at, b"REDIS", 5) != 0:
            raise self._damage("this is no RDB snapshot: it does not begin with REDIS")
        for index in range(5, 9):
            if at[index] < 48 or at[index] > 57:
                raise self._damage("the version of the RDB snapshot is not a number")
            self.version = self.version * 10 + at[index] - 48
        if self.version not in VERSIONS_READ:
            raise self._damage(
                f"RDB version {self.version} cannot be read, only {VERSIONS_READ[0]} to {VERSIONS_READ[-1]}"
            )
        self._expecting = EXPECT_OPCODE
        return True

    cdef bint _opcode(self) except -1:
        cdef const uint8_t *at
        cdef uint8_t opcode
        if not self._fixed(1, &at):
            return False
        opcode = at[0]
        if opcode == OPCODE_EXPIRE_MS:
            self._expecting = EXPECT_EXPIRE_MS
        elif opcode == OPCODE_EXPIRE_S:
            self._expecting = EXPECT_EXPIRE_S
        elif opcode == OPCODE_IDLE:
            self._expecting = EXPECT_IDLE
        elif opcode == OPCODE_FREQUENCY:
            self._expecting = EXPECT_FREQUENCY
        elif opcode == OPCODE_AUX:
            self._expecting = EXPECT_AUX_NAME
        elif opcode == OPCODE_DATABASE:
            self._expecting = EXPECT_DATABASE
        elif opcode == OPCODE_RESIZE:
            self._expecting = EXPECT_RESIZE_KEYS
        elif opcode == OPCODE_END:
            self._expecting = EXPECT_CHECKSUM
        elif opcode in (OPCODE_FUNCTION, OPCODE_OLD_FUNCTION):
            raise self._damage("the snapshot holds functions (FUNCTION LOAD), which this version cannot load")
        elif opcode == OPCODE_MODULE_AUX:
            raise self._damage("the snapshot holds data of a module, which cannot be loaded")
        elif opcode >= 0xF0:
            raise self._damage(f"opcode {opcode:#x} is unknown")
        else:
            self._kind = opcode
            self._expecting = EXPECT_KEY
        return True

    cdef int _store(self) except -1:
        cdef Key key
        if self._expire_ms != EXPIRY_NONE and not self.keep_expired and self._expire_ms < self.keyspace.now_ms:
            self.expired_count += 1
            return 0
        key = self.keyspace.locate(span_of(self._key.data, self._key.used_bytes))
        self.key_count += self.put_value(self.database, &key, self._expire_ms)
        return 0


cdef class _EncodingSink(SnapshotSink):
    def __cinit__(self, Keyspace keyspace not None, Py_ssize_t limit_bytes):
        self._keyspace = keyspace
        self.limit_bytes = limit_bytes
        self._database = -1

    def __dealloc__(self):
        buf_free(&self.out)
        buf_free(&self.aside)

    cdef int _begin_entry(self, Buf *out, int database, Entry *entry, int kind) except -1:
        cdef Span key = entry_key(entry)
        cdef int64_t expire_ms = entry_expiry_ms(entry)
        cdef uint8_t head[9]
        cdef Py_ssize_t waiting_bytes = self.out.used_bytes + self.aside.used_bytes
        if waiting_bytes > self.limit_bytes:
            raise SnapshotError(
                f"{waiting_bytes} bytes of the snapshot wait for its reader, the limit is {self.limit_bytes}"
            )
        if database != self._database:
            self._select(out, database)
        if expire_ms != EXPIRY_NONE:
            head[0] = OPCODE_EXPIRE_MS
            memcpy(&head[1], &expire_ms, 8)
            buf_append(out, head, 9)
        head[0] = <uint8_t> kind
        buf_append(out, head, 1)
        write_length(out, <uint64_t> key.len_bytes)
        return buf_append(out, key.at, key.len_bytes)

    cdef int entry(self, int database, uint32_t slot, Entry *entry) except -1:
        cdef Buf *out = &self.aside if self.large_open else &self.out
        self._begin_entry(out, database, entry, value_kind(entry))
        return write_value(out, entry)

    cdef int begin_large(self, int database, uint32_t slot, Entry *entry, int64_t count, int64_t earliest_ms) except -1:
        self.large_type = entry_type(entry)
        self.large_earliest_ms = earliest_ms
        self._begin_entry(&self.out, database, entry, large_kind(self.large_type, earliest_ms))
        self.large_open = True
        return write_large_head(&self.out, self.large_type, count, earliest_ms)

    cdef int member(self, Entry *member) except -1:
        return write_member(&self.out, self.large_type, member, self.large_earliest_ms)

    cdef int item(self, Span text) except -1:
        return write_text(&self.out, text)

    cdef int node(self, const StreamNode *node, uint32_t live) except -1:
        return write_stream_node(&self.out, node, live)

    cdef int rest(self, const Buf *rest) except -1:
        return buf_append(&self.out, rest.data, rest.used_bytes)

    cdef int end_large(self) except -1:
        self.large_open = False
        buf_append(&self.out, self.aside.data, self.aside.used_bytes)
        buf_free(&self.aside)
        return 0

    cdef bint full(self) noexcept:
        return self.out.used_bytes >= self.want_bytes

    cdef size_t early_limit_bytes(self) noexcept:
        return <size_t> self.limit_bytes

    cdef int _select(self, Buf *out, int database) except -1:
        cdef uint8_t opcode = OPCODE_DATABASE
        cdef bint first = database > self._database
        buf_append(out, &opcode, 1)
        write_length(out, <uint64_t> database)
        self._database = database
        if first:  # coming back to it for an entry that a write came upon, the hint would be wrong
            opcode = OPCODE_RESIZE
            buf_append(out, &opcode, 1)
            write_length(out, <uint64_t> self._keyspace.size(database))
            write_length(out, <uint64_t> self._keyspace.expiring(database))
        return 0


cdef class SnapshotWriter:
    def __init__(self, Keyspace keyspace not None, aux, *, Py_ssize_t limit_bytes):
        cdef bytes text
        self._sink = _EncodingSink(keyspace, limit_bytes)
        text = b"REDIS%04d" % VERSION_WRITTEN
        buf_append(&self._sink.out, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
        for name, value in aux.items():
            buf_append(&self._sink.out, b"\xfa", 1)
            for text in (name, value):
                write_length(&self._sink.out, <uint64_t> PyBytes_GET_SIZE(text))
                buf_append(&self._sink.out, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
        self._snapshot = Snapshot(keyspace, self._sink)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        self._snapshot.close()

    @property
    def entry_count(self):
        return self._snapshot.delivered

    def step(self, Py_ssize_t want_bytes):
        cdef uint8_t end = OPCODE_END
        cdef bint more = True
        self._sink.want_bytes = want_bytes
        while more and not self._sink.full():
            more = self._snapshot.step(ENTRIES_PER_LOOK)
        if not more:
            buf_append(&self._sink.out, &end, 1)
            self._sum()
            buf_append(&self._sink.out, &self._crc, 8)
            self._summed_bytes += 8
        return more

    def _sum(self):
        cdef Buf *out = &self._sink.out
        self._crc = crc64_update(self._crc, out.data + self._summed_bytes, out.used_bytes - self._summed_bytes)
        self._summed_bytes = out.used_bytes

    def take(self):
        cdef Buf *out = &self._sink.out
        if self._summed_bytes < out.used_bytes:
            self._sum()
        taken = PyBytes_FromStringAndSize(<const char *> out.data, out.used_bytes)
        self.written_bytes += <uint64_t> out.used_bytes
        self._summed_bytes = 0
        if out.cap_bytes > KEPT_BUFFER_BYTES:
            buf_free(out)
        else:
            out.used_bytes = 0
        return taken
