# A list as commands see it: a run in its entry while it is small, chunks when it is large.
from libc.stdint cimport int64_t, uint8_t, uint32_t

from node.engine.chunks cimport List
from node.engine.entry cimport ENCODING_RAW, Entry, entry_encoding, entry_object
from node.engine.keyspace cimport Key, Keyspace
from node.engine.run cimport Item
from node.engine.span cimport Span
from node.engine.table cimport Store

cdef enum:
    LIST_RUN_BYTES_MAX = 512  # a list with more becomes chunks
    LIST_RUN_BYTES_AGAIN = 256  # chunks with less become a run

# A way through a list, forwards. Dead after any change.
cdef struct ListWalk:
    const uint8_t *at
    const uint8_t *end  # of the run, or of this chunk
    const List *chunks  # NULL: a run
    uint32_t chunk


cdef inline bint list_is_run(const Entry *entry) noexcept nogil:
    return entry_encoding(entry) == ENCODING_RAW


cdef inline List *entry_list(const Entry *entry) noexcept nogil:  # not for runs
    return <List *> entry_object(entry)


# --- reading ---------------------------------------------------------------------------------------------
cdef int64_t list_length(const Entry *entry) noexcept nogil
cdef bint list_is_quicklist(const Entry *entry) noexcept nogil  # what OBJECT ENCODING says; otherwise listpack
# Before the element at an index from 0 on; the end when there is none.
cdef void list_walk_from(const Entry *entry, int64_t index, ListWalk *walk) noexcept nogil
cdef bint list_walk_next(ListWalk *walk, Item *item) noexcept nogil  # 0: it was the last

# --- making ----------------------------------------------------------------------------------------------
# Element by element, then put at a key. Begin with list_making; in the end either put or drop.
cdef struct ListMaking:
    Store *store
    List *chunks  # owned; NULL while `run` is enough
    Py_ssize_t run_bytes
    uint8_t run[LIST_RUN_BYTES_MAX]

cdef void list_making(ListMaking *making, Store *store) noexcept nogil
cdef int list_making_add(ListMaking *making, const Item *item, bint front) except -1
cdef Entry *list_making_put(ListMaking *making, Keyspace keyspace, int database, Key *key, int64_t expire_ms) except NULL
cdef void list_making_drop(ListMaking *making) noexcept nogil

# --- changing. `entry` is the key's, and a list. What is empty afterwards is removed. ------------------------------
# Adds values in their order at one end; `entry` may be NULL. Returns the length.
cdef int64_t list_extend(Keyspace keyspace, int database, Key *key, Entry *entry, const Span *values, int count, bint front) except -1
# Takes `count` elements (there are so many) from one end.
cdef int list_shorten(Keyspace keyspace, int database, Key *key, Entry *entry, int64_t count, bint front) except -1
# Leaves `kept` elements from `first` on (there are so many, one at least).
cdef int list_keep(Keyspace keyspace, int database, Key *key, Entry *entry, int64_t first, int64_t kept) except -1
cdef int list_set(Keyspace keyspace, int database, Key *key, Entry *entry, int64_t index, Span value) except -1  # an index that is there
# Puts value before (or behind) the first element equal to pivot. Returns the length, -1 when there is no such element.
cdef int64_t list_put_beside(Keyspace keyspace, int database, Key *key, Entry *entry, Span pivot, Span value, bint behind) except -2
# Removes up to `most` elements equal to value, from the front or from the back. Returns how many it were.
cdef int64_t list_remove_equal(Keyspace keyspace, int database, Key *key, Entry *entry, Span value, int64_t most, bint backwards) except -1
