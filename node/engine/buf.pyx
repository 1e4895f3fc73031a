from libc.stdint cimport uint8_t
from libc.stdlib cimport free, realloc
from libc.string cimport memmove

cdef extern from *:
    const bint GRAPEVINE_PLAIN_MALLOC  # the sanitizer build

cdef Py_ssize_t EXACT_BYTES_MAX = 1 << 16  # in that build, up to here a buffer ends where its content ends
cdef Py_ssize_t SMALLEST_BYTES = 512
cdef Py_ssize_t LARGEST_BYTES = 1 << 46  # far beyond any machine; keeps the doubling from overflowing


cdef int buf_grow(Buf *buf, Py_ssize_t extra_bytes) except -1:
    cdef Py_ssize_t wanted
    cdef Py_ssize_t cap
    cdef uint8_t *moved
    if extra_bytes < 0 or extra_bytes > LARGEST_BYTES - buf.used_bytes:
        raise MemoryError("buffer size out of range")
    wanted = buf.used_bytes + extra_bytes
    cap = buf.cap_bytes * 2 if buf.cap_bytes > 0 else SMALLEST_BYTES
    if cap < wanted or (GRAPEVINE_PLAIN_MALLOC and wanted <= EXACT_BYTES_MAX):
        cap = wanted
    moved = <uint8_t *> realloc(buf.data, <size_t> cap)
    if moved == NULL:
        raise MemoryError("no memory for a buffer of %d bytes" % cap)
    buf.data = moved
    buf.cap_bytes = cap
    return 0


cdef void buf_free(Buf *buf) noexcept nogil:
    free(buf.data)
    buf.data = NULL
    buf.used_bytes = 0
    buf.cap_bytes = 0


cdef void buf_drop_front(Buf *buf, Py_ssize_t count_bytes) noexcept nogil:
    if count_bytes <= 0:
        return
    if count_bytes >= buf.used_bytes:
        buf.used_bytes = 0
        return
    memmove(buf.data, buf.data + count_bytes, <size_t> (buf.used_bytes - count_bytes))
    buf.used_bytes -= count_bytes
