"""Redis's packed forms of small collections, as they stand in snapshots and DUMP payloads. Strangers' bytes.

    listpack   u32 bytes, u16 elements | element, back length | ... | FF        heads as in run.pyx, F5 apart
    ziplist    u32 bytes, u32 tail, u16 entries | length before, head, data | ... | FF
    intset     u32 width (2, 4 or 8), u32 count | numbers, ascending

What is counted in a head is not believed: an element counts once all of its bytes were seen inside the blob.

Source: https://github.com/antirez/listpack, https://rdb.fnordig.de/file_format.html
"""

from libc.stdint cimport int8_t, int16_t, int32_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from node.engine.run cimport RUN_INTEGER, RUN_TEXT, run_next
from node.engine.span cimport span_of


cdef bint packed_open(Packed *packed, int form, Span blob) noexcept nogil:
    cdef uint32_t first, second
    packed.form = form
    packed.width = 0
    if form == PACKED_INTSET:
        if blob.len_bytes < 8:
            return False
        memcpy(&first, blob.at, 4)
        memcpy(&second, blob.at + 4, 4)
        if first != 2 and first != 4 and first != 8:
            return False
        if <uint64_t> first * second != <uint64_t> (blob.len_bytes - 8):
            return False
        packed.width = <int> first
        packed.at = blob.at + 8
        packed.end = blob.at + blob.len_bytes
        return True
    if blob.len_bytes < (7 if form == PACKED_LISTPACK else 11):
        return False
    memcpy(&first, blob.at, 4)
    if <uint64_t> first != <uint64_t> blob.len_bytes or blob.at[blob.len_bytes - 1] != 0xFF:
        return False
    packed.at = blob.at + (6 if form == PACKED_LISTPACK else 10)
    packed.end = blob.at + blob.len_bytes - 1
    return True


cdef int _listpack_next(Packed *packed, Item *item) noexcept nogil:
    cdef const uint8_t *after
    cdef uint64_t element_bytes, back = 0
    cdef int shift = 0
    if packed.at[0] >= 0xF5:
        return -1
    after = run_next(packed.at, packed.end, item)
    if after == NULL:
        return -1
    # The back length: seven bits a byte, the highest first; all but the first byte have their top bit set.
    element_bytes = <uint64_t> (after - packed.at)
    shift = 0 if element_bytes <= 127 else 7 if element_bytes < 16383 else 14 if element_bytes < 2097151 else 21
    if element_bytes >= 268435455:
        shift = 28
    while True:
        if after == packed.end:
            return -1
        back = (back << 7) | (after[0] & 0x7F)
        after += 1
        if shift == 0:
            break
        shift -= 7
    if back != element_bytes:
        return -1
    packed.at = after
    return 1


cdef int _ziplist_next(Packed *packed, Item *item) noexcept nogil:
    cdef const uint8_t *at = packed.at
    cdef Py_ssize_t room = packed.end - at
    cdef Py_ssize_t skip = 5 if at[0] == 0xFE else 1
    cdef uint64_t len_bytes = 0
    cdef int64_t number = 0
    cdef int16_t medium
    cdef int32_t large
    cdef int width
    cdef uint8_t head
    if at[0] == 0xFF or room <= skip:
        return -1
    at += skip
    room -= skip
    head = at[0]
    if head < 0xC0:
        if head < 0x40:
            len_bytes = head & 0x3F
            skip = 1
        elif head < 0x80:
            if room < 2:
                return -1
            len_bytes = (<uint64_t> (head & 0x3F) << 8) | at[1]
            skip = 2
        else:
            if room < 5:
                return -1
            len_bytes = (<uint64_t> at[1] << 24) | (<uint64_t> at[2] << 16) | (<uint64_t> at[3] << 8) | at[4]
            skip = 5
        if <uint64_t> (room - skip) < len_bytes:
            return -1
        item.kind = RUN_TEXT
        item.text = span_of(at + skip, <Py_ssize_t> len_bytes)
        packed.at = at + skip + len_bytes
        return 1
    item.kind = RUN_INTEGER
    if head >= 0xF1 and head <= 0xFD:
        item.integer = (head & 0x0F) - 1
        packed.at = at + 1
        return 1
    width = 2 if head == 0xC0 else 4 if head == 0xD0 else 8 if head == 0xE0 else 3 if head == 0xF0 else 1 if head == 0xFE else 0
    if width == 0 or room < 1 + width:
        return -1
    if width == 1:
        item.integer = <int8_t> at[1]
    elif width == 2:
        memcpy(&medium, at + 1, 2)
        item.integer = medium
    elif width == 3:
        large = <int32_t> ((<uint32_t> at[1] << 8) | (<uint32_t> at[2] << 16) | (<uint32_t> at[3] << 24))
        item.integer = large >> 8
    elif width == 4:
        memcpy(&large, at + 1, 4)
        item.integer = large
    else:
        memcpy(&number, at + 1, 8)
        item.integer = number
    packed.at = at + 1 + width
    return 1


cdef int packed_next(Packed *packed, Item *item) noexcept nogil:
    cdef int16_t medium
    cdef int32_t large
    item.real = 0
    item.integer = 0
    item.text = span_of(NULL, 0)
    if packed.at == packed.end:
        return 0
    if packed.form == PACKED_LISTPACK:
        return _listpack_next(packed, item)
    if packed.form == PACKED_ZIPLIST:
        return _ziplist_next(packed, item)
    item.kind = RUN_INTEGER
    if packed.width == 2:
        memcpy(&medium, packed.at, 2)
        item.integer = medium
    elif packed.width == 4:
        memcpy(&large, packed.at, 4)
        item.integer = large
    else:
        memcpy(&item.integer, packed.at, 8)
    packed.at += packed.width
    return 1
