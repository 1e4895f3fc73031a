# The moving picture: everything that was there at one moment, handed out bit by bit while writes go on.
from libc.stdint cimport int64_t, uint8_t, uint32_t

from node.engine.entry cimport Entry
from node.engine.hashing cimport SLOT_COUNT
from node.engine.keyspace cimport Database, Keyspace, Observer


# Takes what a snapshot delivers. Subclass it (in Cython: an RDB encoder, the feed of a slot move).
cdef class SnapshotSink:
    # One entry as it was when the snapshot began; borrowed until this returns. Entries come in no
    # order. It may be called from inside a client's write: it must not change the keyspace nor wait.
    # Raising ends the snapshot (Snapshot.step raises it again), not the write.
    cdef int entry(self, int database, uint32_t slot, Entry *entry) except -1


cdef class Snapshot(Observer):
    cdef readonly Keyspace keyspace
    cdef readonly SnapshotSink sink
    cdef readonly bint done  # every entry was delivered, or it failed, or it was closed
    cdef readonly int64_t delivered  # entries handed to the sink
    cdef readonly int64_t early  # of those, the ones that a write came upon first
    cdef object failure  # what the sink raised
    cdef bint attached
    cdef bint all_slots
    cdef uint8_t chosen[2048]  # one bit a slot
    # The databases that were there when it began, by identity: SWAPDB and FLUSHALL don't disturb it.
    cdef Database **pinned  # owned array; each holds a pin
    cdef int *pinned_number  # owned array; their numbers at that moment
    cdef int pinned_count
    cdef int at_database
    cdef uint32_t at_slot
    cdef uint32_t at_position

    # Delivers about budget_entries more; True while there is more to do. Raises what the sink raised.
    cpdef bint step(self, int64_t budget_entries) except -1
    # Ends it, done or not. Safe to call twice.
    cpdef int close(self) except -1

    cdef bint chooses(self, uint32_t slot) noexcept
    cdef int release(self) noexcept
    cdef int deliver_word(self, Database *database, uint32_t slot, Entry *entry) except -1
