# Redis's packed forms of small collections, as they stand in its snapshots: listpack, ziplist, intset. Reading only.
from libc.stdint cimport int64_t, uint8_t

from node.engine.run cimport Item
from node.engine.span cimport Span

cdef enum:
    PACKED_LISTPACK = 0
    PACKED_ZIPLIST = 1
    PACKED_INTSET = 2

cdef struct Packed:
    int form
    const uint8_t *at
    const uint8_t *end  # behind the last element
    int width  # of an intset's numbers

# 0: these bytes are no such thing.
cdef bint packed_open(Packed *packed, int form, Span blob) noexcept nogil
# 1: an element; 0: that was all; -1: damage.
cdef int packed_next(Packed *packed, Item *item) noexcept nogil
