"""Freeing in the background: what was deleted is out of sight in one step, and its memory follows bit by bit.

A collection of ten million members takes seconds to free, and so does a database. The command that deletes, expires, replaces
or flushes one only hands it over; a slice at a time (`Keyspace.free_some`) gives a bounded number of blocks back. Small
collections are freed at once: that is as quick as handing them over.

    entry --> its block is free at once
         \\-> large collection --> condemned --> freed, unless a snapshot reads it: then it waits
         \\-> large string --> freed, when the replies that share it have gone (value.pyx)
    database --> cleared --> entry by entry, in the order of slots and hashes

What waits here counts as free for maxmemory (condemned_bytes, and a cleared database as long as snapshots read it), or a
large DEL would be followed by evictions.

No single step may be long either, whatever the size: the segments of a table go one by one as their entries have gone
(table_leave), never all together at the end.
"""

from libc.stdint cimport uint32_t

from node.engine.alloc cimport heap_give
from node.engine.database cimport GROUP_SLOTS, database_free
from node.engine.entry cimport ENCODING_LARGE, ENCODING_OBJECT, entry_bytes, entry_encoding, entry_object, entry_value
from node.engine.hashing cimport SLOT_COUNT
from node.engine.large cimport object_count, object_free_some
from node.engine.members cimport Members, members_empty_some
from node.engine.table cimport GATHER_MAX, Table, table_dismantle, table_gather, table_leave, word_entry
from node.engine.value cimport value_leave, values_free_some

cdef enum:
    FREED_AT_ONCE = 64  # elements of a collection, keys of a database; a larger one is freed in the background
    WAITING_MAX = 16  # cleared databases; who clears one more frees about as much himself
    FREED_BY_CLEARING = 20000  # entries, or slots without one, at most: 0.2 to 0.7 ms
    UNMAPPED_BYTES = 4194304  # of very large strings, at a time: some 0.3 ms
    ALL_AT_ONCE = 1 << 20


cdef void reclaim_entry(Reclaim *reclaim, Entry *entry) noexcept nogil:
    if entry_encoding(entry) == ENCODING_OBJECT:
        reclaim_object(reclaim, <Object *> entry_object(entry))
    elif entry_encoding(entry) == ENCODING_LARGE:
        value_leave(&reclaim.store.values, entry_value(entry))
    heap_give(reclaim.store.heap, entry, entry_bytes(entry))


cdef void reclaim_object(Reclaim *reclaim, Object *value) noexcept nogil:
    cdef int64_t budget = FREED_AT_ONCE * 2
    if value.reading == 0 and object_count(value) <= FREED_AT_ONCE and not object_free_some(reclaim.store, value, &budget):
        return
    value.next_condemned = reclaim.condemned
    reclaim.condemned = value
    reclaim.condemned_bytes += value.used_bytes


cdef uint32_t _waiting(const Reclaim *reclaim) noexcept nogil:
    cdef const Database *database = reclaim.cleared
    cdef uint32_t count = 0
    while database != NULL and count <= WAITING_MAX:
        count += database.pins == 0
        database = database.next_cleared
    return count


# A client that fills and clears a database in a circle could have them wait faster than they are freed, and they are half a
# megabyte each whatever is in them: small ones go at once, and of many the newest, for which it pays.
cdef void reclaim_database(Reclaim *reclaim, Database *database) noexcept nogil:
    cdef int64_t budget = FREED_BY_CLEARING
    cdef uint32_t slot = 0
    database.number = -1
    database.next_cleared = reclaim.cleared
    reclaim.cleared = database
    while database.pins > 0 and slot < SLOT_COUNT:
        if slot % GROUP_SLOTS == 0 and database.group_count[slot // GROUP_SLOTS] == 0:
            slot += GROUP_SLOTS
        else:
            database.pinned_bytes += database.table[slot].used_bytes
            slot += 1
    if database.pins == 0 and (database.count <= FREED_AT_ONCE or _waiting(reclaim) > WAITING_MAX):
        _free_cleared(reclaim, &budget)


cdef uint64_t reclaim_pinned_bytes(const Reclaim *reclaim) noexcept nogil:
    cdef const Database *database = reclaim.cleared
    cdef uint64_t total = 0
    while database != NULL:
        if database.pins > 0:
            total += database.pinned_bytes
        database = database.next_cleared
    return total


cdef bint reclaim_waits(const Reclaim *reclaim) noexcept nogil:
    cdef const Database *database = reclaim.cleared
    while database != NULL and database.pins > 0:
        database = database.next_cleared
    return database != NULL


# Frees about budget_entries of the first cleared database that no snapshot reads.
cdef bint _free_cleared(Reclaim *reclaim, int64_t *budget_entries) noexcept nogil:
    cdef Database **link = &reclaim.cleared
    cdef Database *database
    cdef Table *table
    cdef uint64_t words[GATHER_MAX]
    cdef uint32_t found, index, following
    while link[0] != NULL and link[0].pins > 0:
        link = &link[0].next_cleared
    database = link[0]
    if database == NULL:
        return False
    while budget_entries[0] > 0 and database.free_slot < SLOT_COUNT:
        table = &database.table[database.free_slot]
        budget_entries[0] -= 1
        if table.root.count == 0 and table.root.bucket_count == 0:
            if database.free_slot % GROUP_SLOTS == 0 and database.group_count[database.free_slot // GROUP_SLOTS] == 0:
                database.free_slot += GROUP_SLOTS
            else:
                database.free_slot += 1
            continue
        found = table_gather(table, database.free_position, words, GATHER_MAX, &following)
        for index in range(found):
            reclaim_entry(reclaim, word_entry(words[index]))
        budget_entries[0] -= found
        database.free_position = following
        if following == 0:
            table_dismantle(reclaim.store, table)
            database.free_slot += 1
    if database.free_slot < SLOT_COUNT:
        return True
    if database.lapsing != NULL:
        if members_empty_some(reclaim.store, database.lapsing, budget_entries):
            return True
        heap_give(reclaim.store.heap, database.lapsing, sizeof(Members))
    link[0] = database.next_cleared
    database_free(database)
    # What is left may be pinned by snapshots: there is nothing to do about it now.
    return link[0] != NULL and link[0].pins == 0


# Frees about so many elements of the large collections that wait for it, but for those that a snapshot still reads. 0: there
# is nothing left that could be freed now.
cdef bint _free_condemned(Reclaim *reclaim, int64_t *budget_elements) noexcept nogil:
    cdef Object **link = &reclaim.condemned
    cdef Object *value
    cdef Object *following
    cdef bint freed = False
    while link[0] != NULL and budget_elements[0] > 0:
        value = link[0]
        if value.reading != 0:
            budget_elements[0] -= 1
            link = &value.next_condemned
            continue
        freed = True
        following = value.next_condemned
        reclaim.condemned_bytes -= value.used_bytes
        if object_free_some(reclaim.store, value, budget_elements):
            reclaim.condemned_bytes += value.used_bytes
            return True
        link[0] = following
    # Snapshots may read more of them than we look at: those behind wait for them, too.
    return freed and link[0] != NULL


cdef bint reclaim_some(Reclaim *reclaim, int64_t budget_elements) noexcept nogil:
    cdef int64_t left = budget_elements
    cdef Object *newest
    cdef bint more = _free_condemned(reclaim, &left)
    newest = reclaim.condemned
    # Called without budget too: it tells whether there is something, and it may condemn large collections itself.
    more = _free_cleared(reclaim, &left) or more or reclaim.condemned != newest
    return values_free_some(&reclaim.store.values, UNMAPPED_BYTES) or more


cdef void reclaim_all(Reclaim *reclaim) noexcept nogil:
    cdef int64_t budget
    while reclaim.cleared != NULL or reclaim.condemned != NULL:
        if reclaim.cleared != NULL:
            reclaim.cleared.pins = 0
        if reclaim.condemned != NULL:
            reclaim.condemned.reading = 0
        budget = ALL_AT_ONCE
        _free_cleared(reclaim, &budget)
        _free_condemned(reclaim, &budget)
