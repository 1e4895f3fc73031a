# A large string: a block of its own that replies and arguments may share with the key it belongs to.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from node.engine.alloc cimport Heap
from node.engine.span cimport Span, span_of

cdef enum:
    VALUE_BYTES_MIN = 16384  # shorter strings are inline in their entries and are copied; measured, see docs/turns.md
    MAPPED_BYTES_MIN = 16777216  # from here on a mapping of its own, which grows without being copied

cdef struct Value:
    uint32_t pins  # replies and arguments that refer to it
    uint8_t stored  # an entry owns it; otherwise the pins do
    uint8_t mapped  # by mmap, not malloc
    size_t len_bytes
    size_t room_bytes  # for the string, which follows
    Value *next_condemned

# All that a keyspace knows of its values.
cdef struct Values:
    Heap *heap  # borrowed
    uint64_t loose_bytes  # of blocks that no entry owns: unsent replies, arguments that are arriving
    Value *condemned  # mappings that nobody refers to, being given back piece by piece
    uint64_t condemned_bytes


cdef inline uint8_t *value_bytes(Value *value) noexcept nogil:
    return <uint8_t *> value + sizeof(Value)


cdef inline Span value_span(Value *value) noexcept nogil:
    return span_of(<uint8_t *> value + sizeof(Value), <Py_ssize_t> value.len_bytes)


# What its block takes, the header included.
cdef size_t value_held_bytes(const Value *value) noexcept nogil
# An empty one with one pin, the caller's. final_bytes: how long it may get; it only decides where the block lies.
# NULL: no memory.
cdef Value *value_new(Values *values, size_t room_bytes, size_t final_bytes) noexcept nogil
# Another place with the same bytes and one pin. NULL: no memory.
cdef Value *value_copy(Values *values, Value *value, size_t room_bytes) noexcept nogil
# Makes room for room_bytes, also less than there was. Nobody but the caller may refer to it. Returns where it is
# now; NULL, and the old one is as it was: no memory.
cdef Value *value_resize(Values *values, Value *value, size_t room_bytes, size_t final_bytes) noexcept nogil
cdef void value_pin(Value *value) noexcept nogil
cdef void value_unpin(Values *values, Value *value) noexcept nogil
# An entry becomes its owner, and gives it up again.
cdef void value_store(Values *values, Value *value) noexcept nogil
cdef void value_leave(Values *values, Value *value) noexcept nogil
# Gives about so many bytes of what is condemned back to the system. True: there is more.
cdef bint values_free_some(Values *values, size_t budget_bytes) noexcept nogil
