# The head of a large collection's structure: what the keyspace knows of it without knowing its type (large.pyx).
from libc.stdint cimport int64_t, uint8_t, uint64_t

# A snapshot's hold on one large collection, from the moment it is reached (or a write reaches the collection) until all of
# it is delivered. What it is owed is told by one bit in each element, see delivery.pyx.
cdef struct Delivery:
    Delivery *next  # of the same object
    uint8_t bit  # one of eight
    uint8_t mends  # bits that were spoiled when it began: its walk puts them in order
    bint failed  # there was no room to keep an element that changed
    bint blind  # and what it was owed may be gone: nothing of it must be read
    void *stream  # owned: a stream's StreamDelivery, else NULL
    size_t early_limit_bytes
    uint8_t *early  # owned: copies of elements that a write came upon, one behind the other, each 8-aligned
    size_t early_bytes
    size_t early_room

# The first member of every such structure.
cdef struct Object:
    uint64_t used_bytes  # of all its blocks, its own included; exact whenever its functions have returned
    Object *next_condemned  # the keyspace's: what waits to be freed
    Delivery *deliveries
    uint8_t type  # TYPE_*
    uint8_t polarity  # the bits of an element that nobody is owed
    uint8_t reading  # bits of the deliveries under way
    uint8_t spoiled  # bits that a delivery left in disorder when it was given up
