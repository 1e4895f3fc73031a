# One numbered database: slot tables, and what is known of them at once. The entries are the keyspace's (entries.pyx).
from libc.stdint cimport int64_t, uint32_t, uint64_t

from node.engine.entry cimport Entry
from node.engine.hashing cimport SLOT_COUNT
from node.engine.members cimport Members
from node.engine.span cimport Span
from node.engine.table cimport Store, Table

cdef enum:
    GROUP_SLOTS = 64
    GROUP_COUNT = 256

# One numbered database. 512 KiB of address space, of which only touched pages cost memory.
cdef struct Database:
    Table table[SLOT_COUNT]
    uint32_t group_count[GROUP_COUNT]  # entries in 64 neighbouring slots
    int64_t group_expiry_ms[GROUP_COUNT]  # no entry in them expires before; 0: none has an expiry
    int64_t count
    int64_t expiry_count  # entries that have an expiry
    int number  # -1 once cleared
    int pins  # snapshots that still read it
    # Names of the large hashes with fields that expire; each expires, as it were, when the first of them can. NULL: none.
    Members *lapsing
    # Once cleared: the next cleared one, and how far freeing has come.
    Database *next_cleared
    uint64_t pinned_bytes  # what its tables held then, if snapshots read it
    uint32_t free_slot
    uint32_t free_position


cdef Database *database_new(int number) noexcept nogil  # NULL: no memory
cdef void database_free(Database *database) noexcept nogil  # which is empty
# The hash of that name, a large one, has no field that expires before when_ms; 0: it has none that expires.
cdef int database_note_fields(Store *store, Database *database, Span name, int64_t when_ms) except -1
# The name of this entry stands for another value from now on, or for none.
cdef void database_forget_fields(Store *store, Database *database, Entry *entry) noexcept nogil
