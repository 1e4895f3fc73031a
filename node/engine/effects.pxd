# The stream of effects: what replicas (and later the log on disk) are told. A ring of bytes with a
# 64-bit offset; commands in RESP, exactly as a Redis replica expects them.
from libc.stdint cimport int64_t, uint8_t, uint64_t

from node.engine.span cimport Span

cdef uint64_t NOBODY_READS


cdef class Effects:
    cdef readonly bint active  # off: nothing is written (no replica was ever attached)
    cdef readonly uint64_t offset  # bytes ever written: the master_repl_offset of INFO
    cdef readonly int database  # of the last SELECT in the stream; -1 when the next effect must select
    cdef uint8_t **_block  # owned, as are the blocks; block n at n & (_directory - 1)
    cdef uint64_t _directory  # room in it: a power of two; 0 before the first activation
    cdef uint64_t _first_block  # the numbers of the blocks that are there: _first_block to _end_block - 1
    cdef uint64_t _end_block
    cdef uint8_t *_spare  # the block that was dropped last, for the next one
    cdef readonly uint64_t capacity_bytes
    cdef readonly uint64_t start  # offset of the first byte still in the ring
    # The oldest bytes still needed; NOBODY_READS: none. While the ring can grow they are not overwritten.
    cdef uint64_t feeds_from  # by feeds of the pump, kept by it
    cdef uint64_t syncs_from  # by full syncs in progress
    cdef readonly uint64_t capacity_max_bytes  # how far it may grow for their sake
    cdef int _owed  # arguments the effect in progress still lacks

    # One effect = begin, then exactly argc arguments. All of it is nothing while not active.
    cdef int begin(self, int database, int argc) except -1
    cdef int arg(self, Span value) except -1
    cdef int arg_int64(self, int64_t value) except -1
    cdef int arg_word(self, const char *word) except -1  # NUL-terminated ASCII
    # Bytes that are a stream already (a replica passing on its primary's); must be active.
    cdef int _raw(self, const uint8_t *data, uint64_t len_bytes) except -1
    # 1 when the stream can be continued from `offset`: start <= offset <= self.offset.
    cdef bint holds(self, uint64_t offset) noexcept nogil
    # Nobody can go on from here: there has been a change that the stream does not tell of.
    cdef int end_history(self) noexcept
    # Copies up to len_bytes from `offset` into `into`; returns bytes copied, -1 if offset is no longer held.
    cdef Py_ssize_t read_into(self, uint64_t offset, uint8_t *into, Py_ssize_t len_bytes) noexcept
    # The longest contiguous run at `offset`, borrowed until the next write. Empty at the end of the
    # stream and where the ring does not reach: ask holds() to tell these apart.
    cdef Span peek(self, uint64_t offset) noexcept
    cdef int _argument(self, const uint8_t *data, Py_ssize_t len_bytes) except -1
    cdef int _open_block(self) except -1
    cdef bint _drop(self, int blocks) noexcept
    cdef int _forget(self) noexcept
    cdef int _begin_at(self, uint64_t offset) noexcept
    cdef int _header(self, uint8_t mark, int64_t count) except -1
