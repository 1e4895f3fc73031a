# A hash, small or large, behind one set of functions. How each is kept is in hashes.pyx.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from node.engine.entry cimport Entry
from node.engine.keyspace cimport Key, Keyspace
from node.engine.members cimport Members
from node.engine.span cimport Span
from node.engine.table cimport GATHER_MAX

cdef enum:
    FIELD_NO_EXPIRY = -1
    FIELD_KEEP_EXPIRY = -2  # the field keeps the expiry that it has

# A walk over all fields that have not expired. Good until the hash changes.
cdef struct Fields:
    const uint8_t *at  # of a run
    const uint8_t *end
    Members *members  # NULL: a run
    uint64_t cursor
    bint walked  # the last bucket has been gathered
    uint32_t count
    uint32_t index
    Entry *found[GATHER_MAX]
    uint8_t name_digits[24]
    uint8_t value_digits[24]

# --- reading ----------------------------------------------------------------------------------------------
# Members of a large hash, NULL for a small one.
cdef Members *hash_members(Entry *entry) noexcept nogil
# How many fields it has, those that have expired left out.
cdef int64_t hash_count(Keyspace keyspace, Entry *entry) noexcept
# 1 when the field is there. The value borrows from the entry or from digits (24 bytes).
cdef bint hash_get(Keyspace keyspace, Entry *entry, Span field, Span *value, uint8_t *digits) noexcept
# 1 when the field is there; when_ms: the moment at which it expires, FIELD_NO_EXPIRY if it does not.
cdef bint hash_expiry(Keyspace keyspace, Entry *entry, Span field, int64_t *when_ms) noexcept
cdef void fields_begin(Entry *entry, Fields *fields) noexcept
cdef bint fields_next(Keyspace keyspace, Fields *fields, Span *name, Span *value) noexcept

# --- changing. Entries move; each function returns the one that counts from then on. ------------------------
# A new hash instead of whatever was there, of pair_count pairs of spans (at least one); created: how many fields.
cdef Entry *hash_create(Keyspace keyspace, int database, Key *key, const Span *pairs, int pair_count, int64_t *created) except NULL
# Sets a field of a hash (NULL: there is none yet). expiry_ms: a moment or FIELD_*. created becomes 1 if it is new.
cdef Entry *hash_put(
    Keyspace keyspace, int database, Key *key, Entry *entry, Span field, Span value, int64_t expiry_ms, bint *created
) except NULL
# Removes a field; removed becomes 1 when it was there. NULL: it was the last one, the key is gone too.
cdef Entry *hash_remove(Keyspace keyspace, int database, Key *key, Entry *entry, Span field, bint *removed) except? NULL
# Gives a field that is there another expiry, or none.
cdef Entry *hash_set_expiry(Keyspace keyspace, int database, Key *key, Entry *entry, Span field, int64_t when_ms) except NULL
# The same hash in its large form.
cdef Entry *hash_make_large(Keyspace keyspace, int database, Key *key, Entry *entry) except NULL
