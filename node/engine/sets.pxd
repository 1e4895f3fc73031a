# A set, small or large, behind one set of functions. How each is kept is in sets.pyx.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from node.engine.entry cimport Entry
from node.engine.keyspace cimport Key, Keyspace
from node.engine.members cimport Members
from node.engine.span cimport Span
from node.engine.table cimport GATHER_MAX

# A walk over all members. Good until the set changes.
cdef struct Elements:
    const uint8_t *at  # of a run
    const uint8_t *end
    Members *members  # NULL: a run
    uint64_t cursor
    bint walked  # the last bucket has been gathered
    uint32_t count
    uint32_t index
    Entry *found[GATHER_MAX]
    uint8_t digits[24]

# --- reading ----------------------------------------------------------------------------------------------
cdef Members *set_members(Entry *entry) noexcept nogil  # NULL for a small set
cdef int64_t set_count(Entry *entry) noexcept nogil
cdef bint set_has(Keyspace keyspace, Entry *entry, Span member) noexcept
cdef void elements_begin(Entry *entry, Elements *elements) noexcept
cdef void elements_begin_members(Members *members, Elements *elements) noexcept
cdef bint elements_next(Elements *elements, Span *member) noexcept  # borrows from the entry or from `elements`

# --- changing. Entries move; each function returns the one that counts from then on. ------------------------
# Adds `count` members to a set (NULL: there is none yet); added: how many of them are new.
cdef Entry *set_add(
    Keyspace keyspace, int database, Key *key, Entry *entry, const Span *members, int count, int64_t *added
) except NULL
# Removes a member; removed becomes 1 when it was there. NULL: it was the last one, the key is gone too.
cdef Entry *set_remove(Keyspace keyspace, int database, Key *key, Entry *entry, Span member, bint *removed) except? NULL
# The same set in its large form.
cdef Entry *set_make_large(Keyspace keyspace, int database, Key *key, Entry *entry) except NULL

# --- a result that is put together ----------------------------------------------------------------------------
# Nobody's members, for a set to come. Whoever asked for them stores or drops them.
cdef Members *set_begin(Keyspace keyspace) except NULL
cdef int set_put(Keyspace keyspace, Members *members, Span member) except -1
cdef void set_drop(Keyspace keyspace, Members *members) noexcept
# They become the set of this key, in the form that suits them, instead of what was there; not for none at all. They
# are given up even when this fails.
cdef Entry *set_store(Keyspace keyspace, int database, Key *key, Members *members) except NULL
