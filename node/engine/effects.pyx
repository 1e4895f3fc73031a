"""The ring of effects: the last `capacity_bytes` of the stream that replicas follow.

The stream is an endless run of bytes and `offset` is its length. The ring keeps its end:

    stream   0 ........... start ================= offset        (offset - start <= capacity_bytes)
    ring     byte number n of the stream lives at n % capacity_bytes

Nothing here ever waits for a reader. A reader (the feed of a replica, a full sync that will continue here)
has an offset of its own. While what it needs would be overwritten the ring grows, up to
`capacity_max_bytes`; beyond that `holds` says no and that reader has to start again with a full sync. So
what all slow replicas together cost their primary is bounded, whatever they do. The rejected
alternative, a buffer per replica as Redis 6 had it, costs the stream once for each of them.

Growing moves what is there into a larger ring, four times as large, so that a burst pays for few moves; at
the largest (64 MiB into 256) one takes about 15 ms. Narrowing is left to whoever looks after the replicas.

An effect may be larger than the ring. Its bytes then simply overwrite each other and `start` ends up
in the middle of it; nobody can ask for an offset before `start`, and those at its end are served.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, strlen

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from node.engine.span cimport Span, int64_to_bytes, span_of

DEFAULT_CAPACITY_BYTES = 1 << 20  # Redis's repl-backlog-size
SMALLEST_CAPACITY_BYTES = 16  # sense begins at Redis's 16 KiB; tests want rings that wrap at once

cdef uint64_t OFFSET_MAX = <uint64_t> 0x7FFFFFFFFFFFFFFF  # offsets travel as signed 64-bit integers
NOBODY_READS = <uint64_t> 0xFFFFFFFFFFFFFFFF


cdef class Effects:
    def __cinit__(self, capacity_bytes=DEFAULT_CAPACITY_BYTES):
        self.active = False
        self.offset = 0
        self.start = 0
        self.database = -1
        self._ring = NULL
        self._owed = 0
        self.capacity_bytes = _checked_capacity(capacity_bytes)
        self.capacity_max_bytes = self.capacity_bytes
        self.feeds_from = NOBODY_READS
        self.syncs_from = NOBODY_READS

    def __dealloc__(self):
        free(self._ring)

    # --- writing -------------------------------------------------------------------------------------
    cdef int begin(self, int database, int argc) except -1:
        cdef uint8_t digits[24]
        cdef Py_ssize_t digits_bytes
        if not self.active:
            return 0
        if argc < 1 or database < 0:
            raise ValueError(f"an effect needs a database and arguments, got {database} and {argc}")
        if self._owed != 0:
            self._abandon()
        if database != self.database:
            digits_bytes = int64_to_bytes(database, digits)
            self._header(b"*", 2)
            self._argument(<const uint8_t *> b"SELECT", 6)
            self._argument(digits, digits_bytes)
            self.database = database
        self._header(b"*", argc)
        self._owed = argc
        return 0

    cdef int arg(self, Span value) except -1:
        if not self.active:
            return 0
        if self._owed == 0:
            raise ValueError("an argument beyond those that begin() announced")
        self._argument(value.at, value.len_bytes)
        self._owed -= 1
        return 0

    cdef int arg_int64(self, int64_t value) except -1:
        cdef uint8_t digits[24]
        cdef Py_ssize_t digits_bytes
        if not self.active:
            return 0
        digits_bytes = int64_to_bytes(value, digits)
        return self.arg(span_of(digits, digits_bytes))

    cdef int arg_word(self, const char *word) except -1:
        if not self.active:
            return 0
        return self.arg(span_of(word, <Py_ssize_t> strlen(word)))

    cdef int _argument(self, const uint8_t *data, Py_ssize_t len_bytes) except -1:
        self._header(b"$", len_bytes)
        self._raw(data, <uint64_t> len_bytes)
        return self._raw(<const uint8_t *> b"\r\n", 2)

    cdef int _header(self, uint8_t mark, int64_t count) except -1:
        cdef uint8_t line[32]
        cdef Py_ssize_t length
        line[0] = mark
        length = 1 + int64_to_bytes(count, &line[1])
        line[length] = 13
        line[length + 1] = 10
        return self._raw(line, <uint64_t> length + 2)

    cdef int _raw(self, const uint8_t *data, uint64_t len_bytes) except -1:
        cdef uint64_t position
        cdef uint64_t first_bytes
        cdef uint64_t skipped_bytes
        cdef uint64_t oldest = self.feeds_from if self.feeds_from < self.syncs_from else self.syncs_from
        if self._ring is NULL:
            raise ValueError("the ring of effects is not active")
        if len_bytes > OFFSET_MAX - self.offset:
            raise OverflowError(f"the replication offset {self.offset} cannot grow by {len_bytes} bytes")
        if len_bytes == 0:
            return 0
        if oldest <= self.offset and self.offset + len_bytes - oldest > self.capacity_bytes:
            self._grow(oldest, self.offset + len_bytes)
        if len_bytes > self.capacity_bytes:  # only the end of it can stay
            skipped_bytes = len_bytes - self.capacity_bytes
            data += skipped_bytes
            self.offset += skipped_bytes
            len_bytes = self.capacity_bytes
        position = self.offset % self.capacity_bytes
        first_bytes = self.capacity_bytes - position
        if first_bytes > len_bytes:
            first_bytes = len_bytes
        memcpy(self._ring + position, data, first_bytes)
        if len_bytes > first_bytes:
            memcpy(self._ring, data + first_bytes, len_bytes - first_bytes)
        self.offset += len_bytes
        if self.offset - self.start > self.capacity_bytes:
            self.start = self.offset - self.capacity_bytes
        return 0

    cdef int _grow(self, uint64_t oldest, uint64_t end) noexcept:
        cdef uint64_t wanted = self.capacity_bytes
        if oldest < self.start:  # lost already
            return 0
        while wanted < end - oldest and wanted < self.capacity_max_bytes:
            wanted = wanted * GROWTH_FACTOR if wanted <= self.capacity_max_bytes // GROWTH_FACTOR else (
                self.capacity_max_bytes
            )
        if wanted > self.capacity_bytes:
            self._move(wanted)  # without memory it stays, and the slow reader is lost
        return 0

    # Into a ring of another size, with as much of the end of the stream as it can hold.
    cdef bint _move(self, uint64_t capacity_bytes) noexcept:
        cdef uint64_t keep_bytes = self.offset - self.start
        cdef uint64_t at
        cdef uint64_t position
        cdef uint64_t piece_bytes
        cdef Span run
        cdef uint8_t *ring = <uint8_t *> malloc(capacity_bytes)
        if ring is NULL:
            return False
        if keep_bytes > capacity_bytes:
            keep_bytes = capacity_bytes
        at = self.offset - keep_bytes
        self.start = at
        while at < self.offset:
            run = self.peek(at)
            position = at % capacity_bytes
            piece_bytes = capacity_bytes - position
            if piece_bytes > <uint64_t> run.len_bytes:
                piece_bytes = <uint64_t> run.len_bytes
            memcpy(ring + position, run.at, piece_bytes)
            at += piece_bytes
        free(self._ring)
        self._ring = ring
        self.capacity_bytes = capacity_bytes
        return True

    # An effect was begun and not finished: its command failed half-way. What is in the ring can't be
    # continued by anybody, so the history ends here, one byte further than any reader can have come:
    # feeds and partial resyncs find their offset gone and take a full sync.
    def _abandon(self):
        if self.offset < OFFSET_MAX:
            self.offset += 1
        self.start = self.offset
        self.database = -1
        self._owed = 0

    # --- reading -------------------------------------------------------------------------------------
    cdef bint holds(self, uint64_t offset) noexcept nogil:
        return self._ring is not NULL and self.start <= offset and offset <= self.offset

    cdef Span peek(self, uint64_t offset) noexcept:
        cdef uint64_t position
        cdef uint64_t run_bytes
        if not self.holds(offset):
            return span_of(NULL, 0)
        position = offset % self.capacity_bytes
        run_bytes = self.capacity_bytes - position
        if run_bytes > self.offset - offset:
            run_bytes = self.offset - offset
        return span_of(self._ring + position, <Py_ssize_t> run_bytes)

    cdef Py_ssize_t read_into(self, uint64_t offset, uint8_t *into, Py_ssize_t len_bytes) noexcept:
        cdef Py_ssize_t copied_bytes = 0
        cdef Py_ssize_t piece_bytes
        cdef Span run
        if not self.holds(offset):
            return -1
        while copied_bytes < len_bytes:
            run = self.peek(offset + <uint64_t> copied_bytes)
            if run.len_bytes == 0:
                break
            piece_bytes = run.len_bytes
            if piece_bytes > len_bytes - copied_bytes:
                piece_bytes = len_bytes - copied_bytes
            memcpy(into + copied_bytes, run.at, <size_t> piece_bytes)
            copied_bytes += piece_bytes
        return copied_bytes

    # --- the door for Python ---------------------------------------------------------------------------
    def activate(self):
        if self.active:
            return
        self._ring = <uint8_t *> malloc(self.capacity_bytes)
        if self._ring is NULL:
            raise MemoryError(f"no memory for a replication backlog of {self.capacity_bytes} bytes")
        self.start = self.offset
        self.database = -1
        self._owed = 0
        self.active = True

    def deactivate(self):
        self.active = False
        free(self._ring)
        self._ring = NULL
        self.start = self.offset
        self.database = -1
        self._owed = 0

    def resize(self, capacity_bytes):
        cdef uint64_t wanted = _checked_capacity(capacity_bytes)
        if wanted != self.capacity_bytes:
            if self._ring is not NULL and not self._move(wanted):
                raise MemoryError(f"no memory for a replication backlog of {wanted} bytes")
            self.capacity_bytes = wanted
        if self.capacity_max_bytes < wanted:
            self.capacity_max_bytes = wanted

    def limit_growth(self, capacity_max_bytes):
        cdef uint64_t limit = _checked_capacity(capacity_max_bytes)
        self.capacity_max_bytes = limit if limit > self.capacity_bytes else self.capacity_bytes

    def hold_for_syncs(self, offset):
        self.syncs_from = NOBODY_READS if offset is None else <uint64_t> offset

    def hold_for_feeds(self, offset):
        self.feeds_from = NOBODY_READS if offset is None else <uint64_t> offset

    @property
    def oldest_needed(self):
        cdef uint64_t oldest = self.feeds_from if self.feeds_from < self.syncs_from else self.syncs_from
        return self.offset if oldest > self.offset else oldest

    def append(self, int database, list args):
        cdef bytes value
        if not self.active:
            return
        for item in args:
            if not isinstance(item, bytes):
                raise TypeError(f"an effect's arguments are bytes, not {type(item).__name__}")
        self.begin(database, <int> len(args))
        for item in args:
            value = item
            self.arg(span_of(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)))

    def append_raw(self, bytes data not None):
        self._raw(<const uint8_t *> PyBytes_AS_STRING(data), <uint64_t> PyBytes_GET_SIZE(data))

    def select_again(self):
        self.database = -1

    def reset(self, offset):
        if not 0 <= offset <= OFFSET_MAX:
            raise OverflowError(f"a replication offset lies between 0 and {OFFSET_MAX}, not {offset}")
        self.offset = offset
        self.start = offset
        self.database = -1
        self._owed = 0

    def can_continue_from(self, offset):
        return 0 <= offset <= OFFSET_MAX and bool(self.holds(offset))

    def read(self, offset, Py_ssize_t max_bytes):
        cdef Py_ssize_t want_bytes
        cdef bytes out
        if max_bytes < 0:
            raise ValueError(f"cannot read {max_bytes} bytes")
        if not self.can_continue_from(offset):
            return None
        want_bytes = <Py_ssize_t> (self.offset - <uint64_t> offset)
        if want_bytes > max_bytes:
            want_bytes = max_bytes
        out = PyBytes_FromStringAndSize(NULL, want_bytes)
        self.read_into(offset, <uint8_t *> PyBytes_AS_STRING(out), want_bytes)
        return out


def _checked_capacity(capacity_bytes):
    if not SMALLEST_CAPACITY_BYTES <= capacity_bytes <= OFFSET_MAX:
        raise ValueError(f"a replication backlog holds at least {SMALLEST_CAPACITY_BYTES} bytes, not {capacity_bytes}")
    return capacity_bytes
