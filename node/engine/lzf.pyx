"""LZF: runs of plain bytes and copies of what came before.

    000LLLLL  then L+1 bytes                   plain bytes
    LLLooooo  oooooooo                         copy L+2 bytes from o+1 bytes back, L in 1..6
    111ooooo  LLLLLLLL  oooooooo               copy L+9 bytes from o+1 bytes back

A copy may reach into itself (o+1 < length): it then repeats a pattern, so it goes byte by byte.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t
from libc.string cimport memcpy


cdef bint lzf_unpack(
    const uint8_t *packed, Py_ssize_t packed_bytes, uint8_t *plain, Py_ssize_t plain_bytes
) noexcept nogil:
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t written = 0
    cdef Py_ssize_t length
    cdef Py_ssize_t back
    cdef uint8_t control
    while at < packed_bytes:
        control = packed[at]
        at += 1
        if control < 32:
            length = control + 1
            if length > packed_bytes - at or length > plain_bytes - written:
                return False
            memcpy(plain + written, packed + at, <size_t> length)
            at += length
            written += length
            continue
        length = control >> 5
        if length == 7:
            if at >= packed_bytes:
                return False
            length += packed[at]
            at += 1
        length += 2
        if at >= packed_bytes:
            return False
        back = ((<Py_ssize_t> (control & 31)) << 8) + packed[at] + 1
        at += 1
        if back > written or length > plain_bytes - written:
            return False
        if back >= length:
            memcpy(plain + written, plain + written - back, <size_t> length)
            written += length
        else:
            while length > 0:
                plain[written] = plain[written - back]
                written += 1
                length -= 1
    return written == plain_bytes


def unpack(packed not None, Py_ssize_t plain_bytes):
    cdef Py_buffer view
    cdef bytes plain
    cdef bint good
    PyObject_GetBuffer(packed, &view, PyBUF_SIMPLE)
    try:
        if plain_bytes < 0 or plain_bytes > view.len * LZF_GROWTH_MAX:
            raise ValueError(f"{view.len} bytes of LZF cannot become {plain_bytes}")
        plain = PyBytes_FromStringAndSize(NULL, plain_bytes)
        good = lzf_unpack(
            <const uint8_t *> view.buf, view.len, <uint8_t *> PyBytes_AS_STRING(plain), plain_bytes
        )
        if not good:
            raise ValueError(f"{view.len} bytes are not the LZF form of {plain_bytes} bytes")
        return plain
    finally:
        PyBuffer_Release(&view)
