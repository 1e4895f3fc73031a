# What nobody can see any more, and is freed bit by bit.
from libc.stdint cimport int64_t, uint64_t

from node.engine.database cimport Database
from node.engine.entry cimport Entry
from node.engine.object cimport Object
from node.engine.table cimport Store

# One keyspace's. All zero but for the store: nothing waits.
cdef struct Reclaim:
    Store *store  # borrowed from the keyspace
    Database *cleared  # owned: swapped out, one behind the other
    Object *condemned  # owned: large collections that went
    uint64_t condemned_bytes  # in them still

# Takes an entry that left its table. A large collection is freed in the background, the rest now.
cdef void reclaim_entry(Reclaim *reclaim, Entry *entry) noexcept nogil
# Takes a structure that no entry has (any more).
cdef void reclaim_object(Reclaim *reclaim, Object *value) noexcept nogil
# Takes a database that no number leads to any more.
cdef void reclaim_database(Reclaim *reclaim, Database *database) noexcept nogil
# In cleared databases that snapshots still read: nobody else's, and not to be had before those have ended.
cdef uint64_t reclaim_pinned_bytes(const Reclaim *reclaim) noexcept nogil
# Whether a cleared database waits that no snapshot reads.
cdef bint reclaim_waits(const Reclaim *reclaim) noexcept nogil
# Frees about budget_elements of it; 1: there is more. What a snapshot still reads stays.
cdef bint reclaim_some(Reclaim *reclaim, int64_t budget_elements) noexcept nogil
# Frees all of it, read or not: the keyspace ends.
cdef void reclaim_all(Reclaim *reclaim) noexcept nogil
