"""CRC-64/Jones: polynomial 0xad93d23594c935a9, reflected, starts at 0, nothing added at the end.

Eight bytes a step ("slicing by eight"): table[n] advances a byte that n more bytes follow, so the eight
table look-ups of a step do not wait for each other. The plain one-table loop would cost as much as all
the rest of writing a snapshot.

Source: check value e9c6d914c4b8d9ca for "123456789" (https://reveng.sourceforge.io/crc-catalogue/all.htm,
CRC-64/REDIS). Slicing: Kounavis and Berry, "A Systematic Approach to Building High Performance
Software-based CRC Generators" (2005).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

cdef uint64_t REFLECTED_POLYNOMIAL = 0x95AC9329AC4BC9B5ULL
cdef uint64_t tables[8][256]


cdef void _fill_tables() noexcept:
    cdef int index
    cdef int bit
    cdef uint64_t crc
    for index in range(256):
        crc = <uint64_t> index
        for bit in range(8):
            if crc & 1:
                crc = (crc >> 1) ^ REFLECTED_POLYNOMIAL
            else:
                crc = crc >> 1
        tables[0][index] = crc
    for index in range(256):
        for bit in range(1, 8):
            crc = tables[bit - 1][index]
            tables[bit][index] = tables[0][crc & 0xFF] ^ (crc >> 8)


_fill_tables()


cdef uint64_t crc64_update(uint64_t crc, const uint8_t *data, Py_ssize_t len_bytes) noexcept nogil:
    cdef uint64_t word
    while len_bytes >= 8:
        memcpy(&word, data, 8)  # little-endian machines only, as the rest of the room
        word ^= crc
        crc = (
            tables[7][word & 0xFF]
            ^ tables[6][(word >> 8) & 0xFF]
            ^ tables[5][(word >> 16) & 0xFF]
            ^ tables[4][(word >> 24) & 0xFF]
            ^ tables[3][(word >> 32) & 0xFF]
            ^ tables[2][(word >> 40) & 0xFF]
            ^ tables[1][(word >> 48) & 0xFF]
            ^ tables[0][word >> 56]
        )
        data += 8
        len_bytes -= 8
    while len_bytes > 0:
        crc = tables[0][(crc ^ data[0]) & 0xFF] ^ (crc >> 8)
        data += 1
        len_bytes -= 1
    return crc


def crc64(bytes data not None, uint64_t crc=0):
    return crc64_update(crc, <const uint8_t *> PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
