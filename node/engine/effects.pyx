"""The ring of effects: the last `capacity_bytes` of the stream that replicas follow.

The stream is an endless run of bytes and `offset` is its length. The ring keeps its end, in blocks of 64 KiB:

    stream   0 ........... start ================= offset        (offset - start <= capacity_bytes)
    blocks        | n         | n + 1     | n + 2     |          byte number i lives in block i // 65536
    directory     block n at n % its size, a power of two

Nothing here ever waits for a reader. A reader (the feed of a replica, a full sync that will continue here)
has an offset of its own. While what it needs would be overwritten the ring grows, up to
`capacity_max_bytes`; beyond that `holds` says no and that reader has to start again with a full sync. So
what all slow replicas together cost their primary is bounded, whatever they do. The rejected
alternative, a buffer per replica as Redis 6 had it, costs the stream once for each of them.

So growing takes a block more, when bytes have come for it, and moves nothing: no write pays for the size of the ring.
(In one piece of memory it had to be moved, 64 MiB in 15 ms, in the middle of a full sync.) Blocks that nobody needs
any more go back a few at a time, with the writes and by `release_some`. Narrowing is left to whoever looks after
the replicas.

Whoever can't tell the stream what happened ends its history (`end_history`). Then all who follow take a full sync.

An effect may be larger than the ring. Then its blocks follow each other through the same memory and `start` ends up in
the middle of it; nobody can ask for an offset before `start`, and those at its end are served.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, strlen

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from node.engine.span cimport Span, int64_to_bytes, span_of

DEFAULT_CAPACITY_BYTES = 1 << 20  # Redis's repl-backlog-size
SMALLEST_CAPACITY_BYTES = 16  # sense begins at Redis's 16 KiB; tests want rings that wrap at once

cdef uint64_t OFFSET_MAX = <uint64_t> 0x7FFFFFFFFFFFFFFF  # offsets travel as signed 64-bit integers
NOBODY_READS = <uint64_t> 0xFFFFFFFFFFFFFFFF

cdef enum:
    BLOCK_BYTES = 65536
    FIRST_DIRECTORY = 32  # blocks: room for the ring of 1 MiB
    DROPS_PER_WRITE = 2  # more than a write of a block's size adds
    DROPS_TOGETHER = 64

cdef class Effects:
    def __cinit__(self, capacity_bytes=DEFAULT_CAPACITY_BYTES):
        self.active = False
        self.offset = 0
        self.start = 0
        self.database = -1
        self._block = NULL
        self._spare = NULL
        self._owed = 0
        self.capacity_bytes = _checked_capacity(capacity_bytes)
        self.capacity_max_bytes = self.capacity_bytes
        self.feeds_from = NOBODY_READS
        self.syncs_from = NOBODY_READS

    def __dealloc__(self):
        self._forget()
        free(self._block)
        free(self._spare)

    # --- writing -------------------------------------------------------------------------------------
    cdef int begin(self, int database, int argc) except -1:
        cdef uint8_t digits[24]
        cdef Py_ssize_t digits_bytes
        if not self.active:
            return 0
        if argc < 1 or database < 0:
            raise ValueError(f"an effect needs a database and arguments, got {database} and {argc}")
        if self._owed != 0:
            self.end_history()
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
        cdef uint64_t piece_bytes
        cdef uint64_t oldest = self.feeds_from if self.feeds_from < self.syncs_from else self.syncs_from
        if not self.active:
            raise ValueError("the ring of effects is not active")
        if len_bytes > OFFSET_MAX - self.offset:
            raise OverflowError(f"the replication offset {self.offset} cannot grow by {len_bytes} bytes")
        if len_bytes == 0:
            return 0
        if self.start <= oldest <= self.offset and self.offset + len_bytes - oldest > self.capacity_bytes:
            self.capacity_bytes = self.offset + len_bytes - oldest
            if self.capacity_bytes > self.capacity_max_bytes:  # and who needs it is lost
                self.capacity_bytes = self.capacity_max_bytes
        while len_bytes > 0:
            position = self.offset % BLOCK_BYTES
            if self.offset // BLOCK_BYTES == self._end_block:
                try:
                    self._open_block()
                except MemoryError:  # a part of something may stand there: whoever reads on takes a full sync
                    self.end_history()
                    raise
            piece_bytes = BLOCK_BYTES - position
            if piece_bytes > len_bytes:
                piece_bytes = len_bytes
            memcpy(self._block[(self._end_block - 1) & (self._directory - 1)] + position, data, piece_bytes)
            data += piece_bytes
            self.offset += piece_bytes
            len_bytes -= piece_bytes
            if self.offset - self.start > self.capacity_bytes:
                self.start = self.offset - self.capacity_bytes
        return 0

    # A block for the byte at `offset`.
    cdef int _open_block(self) except -1:
        cdef uint8_t *block
        cdef uint8_t **wider
        cdef uint64_t number
        self._drop(DROPS_PER_WRITE)
        if self._end_block - self._first_block == self._directory:
            wider = <uint8_t **> calloc(2 * self._directory, sizeof(uint8_t *))
            if wider is not NULL:
                for number in range(self._first_block, self._end_block):
                    wider[number & (2 * self._directory - 1)] = self._block[number & (self._directory - 1)]
                free(self._block)
                self._block = wider
                self._directory *= 2
        block = self._spare
        self._spare = NULL
        if block is NULL and self._end_block - self._first_block < self._directory:
            block = <uint8_t *> malloc(BLOCK_BYTES)
        if block is NULL:  # without memory the oldest block becomes the newest, and who needs it is lost
            if self._end_block - self._first_block < 2:
                raise MemoryError("no memory for the stream that replicas follow")
            block = self._block[self._first_block & (self._directory - 1)]
            self._first_block += 1
            if self.start < self._first_block * BLOCK_BYTES:
                self.start = self._first_block * BLOCK_BYTES
        self._block[self._end_block & (self._directory - 1)] = block
        self._end_block += 1
        return 0

    # Gives back up to so many blocks that lie before `start`; True when there are more.
    cdef bint _drop(self, int blocks) noexcept:
        cdef uint8_t *block
        while self._first_block < self._end_block and (self._first_block + 1) * BLOCK_BYTES <= self.start:
            if blocks == 0:
                return True
            blocks -= 1
            block = self._block[self._first_block & (self._directory - 1)]
            self._first_block += 1
            if self._spare is NULL:
                self._spare = block
            else:
                free(block)
        return False

    # Gives all blocks back.
    cdef int _forget(self) noexcept:
        cdef uint64_t number
        for number in range(self._first_block, self._end_block):
            free(self._block[number & (self._directory - 1)])
        self._first_block = self._end_block
        return 0

    # Nothing before this offset is held any more.
    cdef int _begin_at(self, uint64_t offset) noexcept:
        self._forget()
        self.offset = offset
        self.start = offset
        self._first_block = offset // BLOCK_BYTES
        self._end_block = self._first_block
        return 0

    # What is in the ring can't be continued by anybody: an effect was begun and not finished, or a command that
    # failed had changed something already. So the history ends here, one byte further than any reader can have
    # come: feeds and partial resyncs find their offset gone and take a full sync.
    cdef int end_history(self) noexcept:
        if not self.active:
            return 0
        if self.offset < OFFSET_MAX:
            self.offset += 1
        self.start = self.offset
        self.database = -1
        self._owed = 0
        if self.offset // BLOCK_BYTES > self._end_block:  # no block may be left out
            self._begin_at(self.offset)
        return 0

    # --- reading -------------------------------------------------------------------------------------
    cdef bint holds(self, uint64_t offset) noexcept nogil:
        return self.active and self.start <= offset and offset <= self.offset

    cdef Span peek(self, uint64_t offset) noexcept:
        cdef uint64_t position
        cdef uint64_t run_bytes
        if not self.holds(offset):
            return span_of(NULL, 0)
        if offset == self.offset:
            return span_of(NULL, 0)
        position = offset % BLOCK_BYTES
        run_bytes = BLOCK_BYTES - position
        if run_bytes > self.offset - offset:
            run_bytes = self.offset - offset
        return span_of(
            self._block[(offset // BLOCK_BYTES) & (self._directory - 1)] + position, <Py_ssize_t> run_bytes
        )

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
        if self._block is NULL:
            self._block = <uint8_t **> calloc(FIRST_DIRECTORY, sizeof(uint8_t *))
            if self._block is NULL:
                raise MemoryError("no memory for a replication backlog")
            self._directory = FIRST_DIRECTORY
        self._begin_at(self.offset)
        self.database = -1
        self._owed = 0
        self.active = True

    def deactivate(self):
        self.active = False
        self._begin_at(self.offset)
        self.database = -1
        self._owed = 0

    def resize(self, capacity_bytes):
        self.capacity_bytes = _checked_capacity(capacity_bytes)
        if self.offset - self.start > self.capacity_bytes:
            self.start = self.offset - self.capacity_bytes
        if self.capacity_max_bytes < self.capacity_bytes:
            self.capacity_max_bytes = self.capacity_bytes

    def release_some(self):
        return self._drop(DROPS_TOGETHER)

    @property
    def held_bytes(self):
        return (self._end_block - self._first_block + (self._spare is not NULL)) * BLOCK_BYTES

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
        self._begin_at(offset)
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
