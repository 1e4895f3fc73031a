# What is in a hash, list, set or sorted set, one after the other, whichever form it has.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from node.engine.entry cimport Entry
from node.engine.lists cimport ListWalk
from node.engine.run cimport Item
from node.engine.span cimport Span
from node.engine.table cimport GATHER_MAX

# One of them. The spans borrow from the collection; integers of runs are in the two scratches.
cdef struct Element:
    Span name  # a hash's field, a member, an item
    Span value  # of a hash
    double score  # of a sorted set
    int64_t expiry_ms  # of a hash's field; -1: none
    uint8_t name_scratch[24]
    uint8_t value_scratch[24]

# Valid until the collection changes.
cdef struct Contents:
    int type
    bint packed
    const uint8_t *at  # of a run
    const uint8_t *end
    ListWalk walk  # of a list, in either form
    void *object  # otherwise
    uint64_t cursor
    bint exhausted
    uint32_t found_count
    uint32_t found_at
    Entry *found[GATHER_MAX]

cdef int64_t contents_count(const Entry *entry) noexcept nogil
cdef void contents_open(Contents *contents, const Entry *entry) noexcept nogil
# The next one, in the order of a list, in no order otherwise. 0: there are no more.
cdef bint contents_next(Contents *contents, Element *element) noexcept nogil
cdef double item_score(const Item *item) noexcept nogil
