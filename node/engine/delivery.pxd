# Delivering a large collection bit by bit while it changes.
from libc.stdint cimport uint8_t, uint64_t

from node.engine.entry cimport Entry
from node.engine.object cimport Delivery, Object

# All elements are owed from now on; at most so many bytes of them are kept when they change. 0: eight deliveries are under way or were given up.
cdef bint delivery_begin(Delivery *delivery, Object *value, size_t early_limit_bytes) noexcept nogil
# It has all: every element that is left in the collection was taken. Forgets what it kept.
cdef void delivery_end(Delivery *delivery, Object *value) noexcept nogil
# It is given up half-way.
cdef void delivery_abandon(Delivery *delivery, Object *value) noexcept nogil
# Whoever is owed the element keeps a copy, before it changes or goes.
cdef void delivery_keep(Object *value, Entry *element) noexcept nogil
# 1 when it was owed; it is not any more.
cdef inline bint delivery_take(const Delivery *delivery, const Object *value, Entry *element) noexcept nogil:
    cdef bint owed = (element.epoch ^ value.polarity) & delivery.bit != 0
    if owed:
        element.epoch ^= delivery.bit
    # What a delivery that was given up has left behind is mended in passing.
    element.epoch = (element.epoch & ~delivery.mends) | (value.polarity & delivery.mends)
    return owed
