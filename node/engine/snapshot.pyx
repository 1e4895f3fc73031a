"""One mechanism for the dump on disk, the full sync of a replica and the migration of slots.

Every entry carries the *epoch* of its last change or delivery, one byte. Starting a snapshot raises the
keyspace's epoch to e; from then on

    an entry with epoch <  e   was there before and is still owed to this snapshot
    an entry with epoch >= e   was delivered, or was written after the beginning: not ours

A walk goes over the chosen slots in bounded steps and delivers what is owed. A write that comes upon an
entry which is owed has it delivered first, as it is, and only then changes it (Keyspace.before_change):
so each entry is delivered exactly once, as it was when the snapshot began, and no page of memory is ever
copied. A fork does the same with pages instead of entries: it stops the process while page tables are
copied, and then every write pays for 4 KiB.

Several at a time. Let e1 < e2 run. When the walk of e2 takes an entry with epoch < e1, stamping it with
e2 would hide it from e1, so it is delivered to every snapshot up to e2 that is still owed it. When the walk of
e1 takes it, it is stamped e1 and stays owed to e2.

Position. The walk remembers a slot and a place in the order of hashes, which tables keep when they grow or shrink
(table.pyx). Databases are remembered by identity. SWAPDB renumbers them, the snapshot keeps the numbers
they had. FLUSHALL takes them away, but a pinned one is freed only after the last snapshot that reads it.

Epochs run out at 255. Then no snapshot begins until none is active and a sweep (Keyspace.sweep_some, in bounded
steps) has put every entry back to 0; `Keyspace.snapshot_ready` tells. Wider epochs would cost every
entry a byte or more for ever, the sweep costs about 5 ns an entry every 255 snapshots.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free

from node.engine.entry cimport TYPE_STRING, entry_expiry_ms, entry_key, entry_string, entry_type
from node.engine.keyspace cimport GROUP_SLOTS
from node.engine.span cimport span_bytes
from node.engine.table cimport GATHER_MAX, table_gather, word_entry


class SnapshotBusy(Exception):
    """No snapshot can begin just now: epochs have run out and are being reset. Try again shortly."""


cdef class SnapshotSink:
    cdef int entry(self, int database, uint32_t slot, Entry *entry) except -1:
        raise NotImplementedError("a sink says what it does with an entry")


cdef class CallbackSink(SnapshotSink):
    """Hands each string entry to a Python function: (database, slot, key, value, expiry_ms)."""

    cdef object _function

    def __init__(self, function):
        self._function = function

    cdef int entry(self, int database, uint32_t slot, Entry *entry) except -1:
        cdef uint8_t scratch[24]
        if entry_type(entry) != TYPE_STRING:
            raise TypeError(f"a {entry_type(entry)} entry reached a sink that only knows strings")
        self._function(
            database, slot, span_bytes(entry_key(entry)), span_bytes(entry_string(entry, scratch)), entry_expiry_ms(entry)
        )
        return 0


cdef class Snapshot(Observer):
    def __cinit__(self, Keyspace keyspace not None, SnapshotSink sink not None, *, databases=None, slots=None):
        cdef int number
        cdef uint32_t slot
        self.keyspace = keyspace
        self.sink = sink
        self.all_slots = slots is None
        if slots is not None:
            for slot in slots:
                keyspace.check_slot(slot)
                self.chosen[slot >> 3] |= <uint8_t> (1 << (slot & 7))
        numbers = range(keyspace.database_count) if databases is None else sorted(set(databases))
        for number in numbers:
            keyspace.check_database(number)
        if not keyspace.snapshot_ready():
            raise SnapshotBusy(
                "the 255 snapshot epochs are used up; they are reset once the running snapshots have ended"
                if len(keyspace.observers) > 0
                else "the snapshot epochs are being reset, try again in a moment"
            )
        self.pinned = <Database **> calloc(keyspace.database_count, sizeof(Database *))
        self.pinned_number = <int *> calloc(keyspace.database_count, sizeof(int))
        if self.pinned == NULL or self.pinned_number == NULL:
            raise MemoryError("no memory to begin a snapshot")
        for number in numbers:
            if keyspace.databases[number] != NULL:
                self.pinned[self.pinned_count] = keyspace.databases[number]
                self.pinned_number[self.pinned_count] = number
                self.pinned_count += 1
                keyspace.databases[number].pins += 1
        keyspace.epoch += 1
        self.epoch = keyspace.epoch
        keyspace.observers = [*keyspace.observers, self]
        self.attached = True

    def __dealloc__(self):
        # Attached ones are in the keyspace's list, so only a finished one gets here.
        free(self.pinned)
        free(self.pinned_number)

    cdef bint chooses(self, uint32_t slot) noexcept:
        return self.all_slots or (self.chosen[slot >> 3] >> (slot & 7)) & 1

    cdef int release(self) noexcept:
        cdef int index
        self.done = True
        for index in range(self.pinned_count):
            self.pinned[index].pins -= 1
        self.pinned_count = 0
        return 0

    cpdef int close(self) except -1:
        """Ends the snapshot, delivered or not; what is owed stays undelivered."""
        if self.attached:
            self.attached = False
            self.release()
            # A new list: someone may be going through the old one.
            self.keyspace.observers = [other for other in self.keyspace.observers if other is not self]
            self.keyspace.snapshot_ended()
        return 0

    cdef int entry_changes(self, Database *database, uint32_t slot, Entry *entry) except -1:
        cdef int index
        if not self.attached or not self.chooses(slot):
            return 0
        for index in range(self.pinned_count):
            if self.pinned[index] == database:
                self.early += 1
                try:
                    self.sink.entry(self.pinned_number[index], slot, entry)
                    self.delivered += 1
                except BaseException as trouble:  # kept for step(): the write that found the entry goes on
                    self.failure = trouble
                    self.close()
                return 0
        return 0

    # Delivers one entry of our walk, to whoever up to us is owed it.
    cdef int deliver_word(self, Database *database, uint32_t slot, Entry *entry) except -1:
        cdef Observer other
        for other in self.keyspace.observers:
            if other is not self and entry.epoch < other.epoch and other.epoch < self.epoch:
                other.entry_changes(database, slot, entry)
        self.sink.entry(self.pinned_number[self.at_database], slot, entry)
        self.delivered += 1
        entry.epoch = self.epoch
        return 0

    cpdef bint step(self, int64_t budget_entries) except -1:
        """Delivers about budget_entries more; True while there is more. Raises what the sink raised."""
        cdef Database *database
        cdef uint64_t words[GATHER_MAX]
        cdef uint32_t found, index, following
        cdef Entry *entry
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        while not self.done:
            if self.at_database == self.pinned_count:
                self.close()
                break
            if budget_entries <= 0:
                return True
            budget_entries -= 1
            database = self.pinned[self.at_database]
            if self.at_slot % GROUP_SLOTS == 0 and database.group_count[self.at_slot // GROUP_SLOTS] == 0:
                self.at_slot += GROUP_SLOTS
            elif database.table[self.at_slot].root.count == 0 or not self.chooses(self.at_slot):
                self.at_slot += 1
                self.at_position = 0
            else:
                found = table_gather(&database.table[self.at_slot], self.at_position, words, GATHER_MAX, &following)
                if found > GATHER_MAX:
                    raise RuntimeError(f"slot {self.at_slot}: {found} entries share one bucket")
                for index in range(found):
                    entry = word_entry(words[index])
                    if entry.epoch < self.epoch:
                        try:
                            self.deliver_word(database, self.at_slot, entry)
                        except BaseException:
                            self.close()
                            raise
                        budget_entries -= 1
                self.at_position = following
                if following == 0:
                    self.at_slot += 1
            if self.at_slot >= SLOT_COUNT:
                self.at_database += 1
                self.at_slot = 0
                self.at_position = 0
        return False
