"""How a snapshot gets a collection of ten million elements without a pause, as it was when the snapshot began.

The keyspace's rule is: a write that meets something which a snapshot is owed has it delivered first. For a key of a hundred bytes
that is quick; for a large collection it would be a pause as long as the collection. So the same rule holds
once more inside of it, element by element.

Every element has a byte of eight bits, one for each of up to eight deliveries that may be under way; the collection
has such a byte too, its polarity. An element is owed to a delivery when their bits differ:

    at rest                 every element's byte equals the polarity
    a delivery begins       one bit of the polarity is flipped: all elements are owed, in one step
    the walk takes one      the element's bit is flipped too
    a write meets one       whoever is owed it keeps a copy, and the bit is flipped; what is new gets the polarity
    the walk has ended      every element's byte equals the polarity again

A delivery that is given up leaves its bit in disorder. The bit is spoiled: nobody uses it until another delivery's
walk has passed over all elements, which puts them in order for nothing.

The elements of a list are its chunks of 8 KB. They have an order, so the delivery takes a copy of the list's directory when it
begins, and a chunk that is owed stays as it is: a write goes on with a copy of it (chunks.pyx). So do the nodes of a stream
(stream.pyx). What a stream has beside them, its ids and groups, is told in stream_delivery.pyx.

Rejected: a snapshot epoch in each element, as keys have. Epochs run out and have to be reset, in this case in every
element of every collection. Here the bits never need a walk of their own.
"""

from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from node.engine.entry cimport entry_bytes


cdef bint delivery_begin(Delivery *delivery, Object *value, size_t early_limit_bytes) noexcept nogil:
    cdef uint8_t free_bits = <uint8_t> ~(value.reading | value.spoiled)
    if free_bits == 0:
        return False
    delivery.bit = free_bits & -free_bits
    delivery.mends = value.spoiled
    delivery.failed = False
    delivery.blind = False
    delivery.early_limit_bytes = early_limit_bytes
    delivery.early = NULL
    delivery.early_bytes = 0
    delivery.early_room = 0
    delivery.next = value.deliveries
    value.deliveries = delivery
    value.reading |= delivery.bit
    value.polarity ^= delivery.bit
    return True


cdef void _leave(Delivery *delivery, Object *value) noexcept nogil:
    cdef Delivery **link = &value.deliveries
    while link[0] != delivery:
        link = &link[0].next
    link[0] = delivery.next
    value.reading &= <uint8_t> ~delivery.bit
    free(delivery.early)
    delivery.early = NULL
    delivery.early_bytes = 0


cdef void delivery_end(Delivery *delivery, Object *value) noexcept nogil:
    cdef Delivery *other
    _leave(delivery, value)
    value.spoiled &= <uint8_t> ~delivery.mends
    # The bits may be used again: nobody else must go on mending them.
    other = value.deliveries
    while other != NULL:
        other.mends &= <uint8_t> ~delivery.mends
        other = other.next


cdef void delivery_abandon(Delivery *delivery, Object *value) noexcept nogil:
    _leave(delivery, value)
    value.spoiled |= delivery.bit


cdef bint _keep(Delivery *delivery, const Entry *element) noexcept nogil:
    cdef size_t need = (entry_bytes(element) + 7) & ~(<size_t> 7)
    cdef size_t room
    cdef uint8_t *grown
    if delivery.early_bytes + need > delivery.early_limit_bytes:
        return False
    if delivery.early_room - delivery.early_bytes < need:
        room = delivery.early_bytes + need + 4096
        if room < delivery.early_room * 2:
            room = delivery.early_room * 2
        grown = <uint8_t *> realloc(delivery.early, room)
        if grown == NULL:
            return False
        delivery.early = grown
        delivery.early_room = room
    memcpy(delivery.early + delivery.early_bytes, element, entry_bytes(element))
    delivery.early_bytes += need
    return True


cdef void delivery_keep(Object *value, Entry *element) noexcept nogil:
    cdef Delivery *delivery = value.deliveries
    while delivery != NULL:
        if delivery_take(delivery, value, element) and not delivery.failed and not _keep(delivery, element):
            delivery.failed = True
        delivery = delivery.next
