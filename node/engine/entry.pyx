"""What an entry looks like in memory.

    byte  0      1       2       3 4 5     6 7
         +------+-------+-------+---------+---------+
      0  | kind | flags | epoch | recency | key_len |
         +------+-------+-------+---------+---------+
      8  | expiry, int64 ms                         |   only with ENTRY_HAS_EXPIRY
         +---------------------+--------------------+
         | raw: u32 length     |  or  integer: int64, object or large string: pointer (8 bytes), or nothing
         +---------------------+
         | u32 key length      |   only with ENTRY_LONG_KEY
         +---------------------+- - - -
         | key
         +- - - -
         | value                   inline ones only: strings below 16 KiB, runs of small collections, hash fields
         +- - - -

Members of large collections are entries too (members.pyx). They need no recency, so a hash's field keeps the
length of its value there; a set's member has no value, a sorted set's the eight bytes of its score.

The word comes before the key so that integers, expiries and pointers stay aligned. Total with the
allocator's rounding to 8, without the table (which adds 10.3 bytes at 89 % load and 13.4 after growing):

    16-byte key, 16-byte value     8 + 4 + 16 + 16 = 44      48
    16-byte key, 64-byte value     8 + 4 + 16 + 64 = 92      96
    the same with an expiry        + 8                      104
    16-byte key, integer           8 + 8 + 16                32
    16-byte key, 1,024-byte value  8 + 4 + 16 + 1024       1056

Large strings have a block of their own (value.pyx), where 40 bytes more do not matter and being shared does.

Rejected: every value in an allocation of its own (two blocks, a pointer, a cache miss: +24 bytes);
varint lengths (2 bytes less, but every access decodes); a stored hash (8 bytes; the table keeps the 24
bits of it that it needs, see table.pyx).
"""


cdef void entry_write(Entry *entry, int type, int encoding, Span key, int64_t expiry_ms, Py_ssize_t raw_len_bytes) noexcept nogil:
    cdef uint8_t *at = <uint8_t *> entry + ENTRY_HEADER_BYTES
    cdef uint32_t long_len
    entry.kind = <uint8_t> (type | encoding << 4)
    entry.flags = 0
    entry.epoch = 0
    entry_set_recency(entry, 0)
    if expiry_ms != -1:
        entry.flags |= ENTRY_HAS_EXPIRY
        (<int64_t *> at)[0] = expiry_ms
        at += 8
    if encoding == ENCODING_RAW:
        (<uint32_t *> at)[0] = <uint32_t> raw_len_bytes
    elif encoding == ENCODING_FIELD:
        entry_set_recency(entry, <uint32_t> raw_len_bytes)
    at += word_bytes(encoding)
    if key.len_bytes > SHORT_KEY_BYTES_MAX:
        entry.flags |= ENTRY_LONG_KEY
        entry.key_len = 0xFFFF
        long_len = <uint32_t> key.len_bytes
        memcpy(at, &long_len, 4)
        at += 4
    else:
        entry.key_len = <uint16_t> key.len_bytes
    if key.len_bytes > 0:
        memcpy(at, key.at, <size_t> key.len_bytes)


cdef void entry_set_int64(Entry *entry, int64_t value) noexcept nogil:
    (<int64_t *> (<uint8_t *> entry + entry_word_offset(entry)))[0] = value


cdef void entry_set_object(Entry *entry, void *value) noexcept nogil:
    (<void **> (<uint8_t *> entry + entry_word_offset(entry)))[0] = value


cdef void entry_set_raw_len(Entry *entry, Py_ssize_t len_bytes) noexcept nogil:
    if entry_encoding(entry) == ENCODING_FIELD:
        entry_set_recency(entry, <uint32_t> len_bytes)
    else:
        (<uint32_t *> (<uint8_t *> entry + entry_word_offset(entry)))[0] = <uint32_t> len_bytes


cdef void entry_set_expiry_ms(Entry *entry, int64_t when_ms) noexcept nogil:
    (<int64_t *> (<uint8_t *> entry + ENTRY_HEADER_BYTES))[0] = when_ms
