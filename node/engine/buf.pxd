# A growable run of bytes with one owner: the struct's holder, who must call buf_free.
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy

from node.engine.span cimport Span


cdef struct Buf:
    uint8_t *data  # owned by this Buf; NULL while cap_bytes is 0
    Py_ssize_t used_bytes
    Py_ssize_t cap_bytes


# Makes room for extra_bytes more by at least doubling. Raises MemoryError; the old content stays.
cdef int buf_grow(Buf *buf, Py_ssize_t extra_bytes) except -1
cdef void buf_free(Buf *buf) noexcept nogil
# Forgets the first count_bytes; the rest moves to the front.
cdef void buf_drop_front(Buf *buf, Py_ssize_t count_bytes) noexcept nogil


cdef inline int buf_reserve(Buf *buf, Py_ssize_t extra_bytes) except -1:
    if buf.cap_bytes - buf.used_bytes < extra_bytes:
        buf_grow(buf, extra_bytes)
    return 0


cdef inline int buf_append(Buf *buf, const void *data, Py_ssize_t len_bytes) except -1:
    if buf.cap_bytes - buf.used_bytes < len_bytes:
        buf_grow(buf, len_bytes)
    if len_bytes > 0:
        memcpy(buf.data + buf.used_bytes, data, <size_t> len_bytes)
        buf.used_bytes += len_bytes
    return 0


cdef inline int buf_append_span(Buf *buf, Span span) except -1:
    return buf_append(buf, span.at, span.len_bytes)
