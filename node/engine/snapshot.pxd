# The moving picture: everything that was there at one moment, handed out bit by bit while writes go on.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from node.engine.buf cimport Buf
from node.engine.entry cimport Entry
from node.engine.object cimport Delivery, Object
from node.engine.span cimport Span
from node.engine.hashing cimport SLOT_COUNT
from node.engine.keyspace cimport Database, Keyspace, Observer
from node.engine.stream cimport StreamNode


# Takes what a snapshot delivers. Subclass it (in Cython: an RDB encoder, the feed of a slot move).
cdef class SnapshotSink:
    # One entry as it was when the snapshot began; borrowed until this returns. Entries come in no
    # order. It may be called from inside a client's write: it must not change the keyspace nor wait.
    # Raising ends the snapshot (Snapshot.step raises it again), not the write.
    cdef int entry(self, int database, uint32_t slot, Entry *entry) except -1
    # A large collection comes in pieces: what it is (`entry` has its type, key and expiry, and no value that could be
    # read), then `count` members, items of a list or nodes of a stream in their order. earliest_ms: no field expires before, -1 when none does. Whole entries
    # may come in between.
    cdef int begin_large(self, int database, uint32_t slot, Entry *entry, int64_t count, int64_t earliest_ms) except -1
    cdef int member(self, Entry *member) except -1
    cdef int item(self, Span text) except -1
    cdef int node(self, const StreamNode *node, uint32_t live) except -1  # with so many entries that were not deleted
    cdef int rest(self, const Buf *rest) except -1  # behind the nodes: more of what a stream has beside them, as rdb_stream writes it
    cdef int end_large(self) except -1
    # It has enough for now: the step ends here, whatever its budget.
    cdef bint full(self) noexcept
    # How many bytes of members that changed before their turn may be kept for it, in one collection.
    cdef size_t early_limit_bytes(self) noexcept


# One large collection on its way to the sink.
cdef class _Large:
    cdef Delivery delivery
    cdef Object *object  # borrowed: it is not freed while it is being delivered
    cdef Entry *header  # owned: a copy of the key's entry
    cdef int database
    cdef uint32_t slot
    cdef int64_t count  # members, items or nodes when the snapshot began
    cdef int64_t given
    cdef int64_t earliest_ms
    cdef uint64_t cursor
    cdef size_t early_at
    cdef uint64_t *words  # owned: the chunks of a list, the nodes of a stream
    cdef Buf rest  # owned: a piece of what a stream has beside them
    cdef uint32_t word_count
    cdef uint32_t word_at
    cdef bint announced
    cdef bint walked

    cdef Keyspace keyspace

    cdef bint open(self, Keyspace keyspace, int database, uint32_t slot, Entry *entry, SnapshotSink sink) except -1
    cdef bint step(self, SnapshotSink sink, int64_t *budget_elements) except -1
    cdef bint step_members(self, SnapshotSink sink, int64_t *budget_elements) except -1
    cdef bint step_items(self, SnapshotSink sink, int64_t *budget_elements) except -1
    cdef bint step_nodes(self, SnapshotSink sink, int64_t *budget_elements) except -1
    cdef object fell_behind(self)
    cdef int abandon(self) noexcept
    cdef void leave_stream(self) noexcept


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
    cdef list larges  # large collections that were reached and are not wholly delivered, the first one first

    # Delivers about budget_entries more; True while there is more to do. Raises what the sink raised.
    cpdef bint step(self, int64_t budget_entries) except -1
    # Ends it, done or not. Safe to call twice.
    cpdef int close(self) except -1

    cdef bint chooses(self, uint32_t slot) noexcept
    cdef int release(self) noexcept
    cdef int hand_over(self, int database, uint32_t slot, Entry *entry) except -1
    cdef int deliver_word(self, Database *database, uint32_t slot, Entry *entry) except -1
