# The members of a large hash, set or sorted set: a table of entries.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from node.engine.delivery cimport delivery_keep
from node.engine.entry cimport Entry
from node.engine.object cimport Object
from node.engine.span cimport Span
from node.engine.table cimport Store, Table

cdef struct Members:
    Object head
    Table table
    int64_t expiry_count  # members that have an expiry (fields of a hash)
    uint32_t free_position  # how far freeing has come


# Before a member changes in place (put, set_expiry and remove do it themselves): a snapshot may be owed it.
cdef inline void members_before(Members *members, Entry *member) noexcept nogil:
    if members.head.reading != 0:
        delivery_keep(&members.head, member)


# An empty one in a block of struct_bytes, of which Members is the beginning and the rest is zero. NULL: no memory.
cdef Members *members_new(Store *store, int type, size_t struct_bytes) noexcept nogil
cdef int64_t members_count(const Members *members) noexcept nogil
cdef Entry *members_find(Store *store, Members *members, Span name) noexcept nogil  # NULL: not there
# Brings what finding these names in `members` reads closer, for all of them at once. Names are those of other entries.
cdef void members_prefetch(Store *store, Members *members, Entry **named, uint32_t count) noexcept nogil
# Adds the member, or gives the one that is there this encoding, value and expiry (-1: none). `number` is the word
# of ENCODING_INT; `value` counts for inline encodings only, and must not lie in the entry that it replaces. The entry;
# NULL: no memory, nothing changed. Pointers to this member are dead afterwards, to others they live on.
cdef Entry *members_put(
    Store *store, Members *members, Span name, int encoding, Span value, int64_t number, int64_t expiry_ms
) noexcept nogil
# Gives a member that is there another expiry, or none (-1). NULL: no memory, nothing changed.
cdef Entry *members_set_expiry(Store *store, Members *members, Span name, int64_t expiry_ms) noexcept nogil
cdef bint members_remove(Store *store, Members *members, Span name) noexcept nogil  # 1: it was there
# The next home bucket in the order of the hash; 0 begins and ends. `into` has room for GATHER_MAX. Whatever is there
# from beginning to end is seen at least once, however the table grows and shrinks.
cdef uint32_t members_walk(Members *members, uint64_t *cursor, Entry **into) noexcept nogil
cdef Entry *members_random(Members *members, uint64_t random) noexcept nogil  # it must not be empty
# Frees about budget[0] members; 1: there are more. They can't be used any more once this has begun.
cdef bint members_empty_some(Store *store, Members *members, int64_t *budget) noexcept nogil
cdef Members *members_copy(Store *store, Members *members, size_t struct_bytes) noexcept nogil  # the beginning only
cdef uint64_t members_held_bytes(Store *store, Members *members, size_t struct_bytes) noexcept nogil
