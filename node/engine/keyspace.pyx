"""Databases of 16,384 slot tables, as a whole: walked, cleared, expired, swapped.

How single entries are found and put is in entries.pyx, for collections in collections.pyx; this class is built on theirs.

Time. Expired entries go in two ways: `find` deletes the one it meets (lazy), and `expire_some` looks for more
(active). Every segment of a table, every table and every group of 64 tables keeps a lower bound on the expiries in it, so
that a walk skips what is not due: with nothing due it costs 256 comparisons a database, and it never reads an entry
that has no expiry, because the table's word says so.

Clearing a database swaps it out in one step; free_some frees it in the background (reclaim.pyx). Databases can be set aside
as well: out of sight, and back as they were should what is loaded in their place never be complete.
"""

from libc.stdint cimport UINT64_MAX

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from node.engine.alloc cimport DIRTY_ARENAS_KEPT, heap_trim
from node.engine.database cimport database_forget_fields
from node.engine.entry cimport TYPE_STRING, entry_expiry_ms, entry_key, entry_string, entry_type
from node.engine.heat cimport heat_end
from node.engine.reclaim cimport reclaim_database, reclaim_entry, reclaim_some
from node.engine.span cimport span_bytes, span_of
from node.engine.table cimport (
    BUCKET_WAYS,
    DIRECTORY,
    GATHER_MAX,
    Segment,
    Table,
    __builtin_prefetch,
    segment_shrink,
    segment_take_out,
    table_gather,
    table_random,
    table_segment_at,
    table_shrink,
    word_entry,
    word_has_expiry,
)

cdef enum:
    TRIM_ENTRIES = 200  # returning an arena's pages takes about as long as freeing so many entries
    EPOCH_MAX = 255  # of snapshots; one byte of an entry
    EPOCH_SWEEP = 192  # from here on, the first quiet moment is used to reset them

TYPE_NAMES = {0: b"string", 1: b"list", 2: b"set", 3: b"zset", 4: b"hash", 6: b"stream"}


cdef class Keyspace(Collections):
    def __cinit__(self):
        self.random_state = self.store.hash_key.first ^ (self.store.hash_key.second << 1) | 1

    cdef uint64_t random(self) noexcept:
        self.random_state ^= self.random_state << 13
        self.random_state ^= self.random_state >> 7
        self.random_state ^= self.random_state << 17
        return self.random_state

    # --- clearing ------------------------------------------------------------------------------------

    cdef int _retire(self, int number) noexcept:
        cdef Database *opened = self.databases[number]
        if opened == NULL:
            return 0
        self.databases[number] = NULL
        if self.heat.small_count > self.total_count():  # the evictor mends what this leaves
            self.heat.small_count = self.total_count()
        reclaim_database(&self.reclaim, opened)
        return 1

    cpdef int clear(self, int database) except -1:
        cdef int number
        if database == -1:
            for number in range(self.database_count):
                self._retire(number)
        else:
            self.check_database(database)
            self._retire(database)
        self.changes += 1
        return 0

    cpdef int swap(self, int left, int right) except -1:
        cdef Database *moved
        self.check_database(left)
        self.check_database(right)
        moved = self.databases[left]
        self.databases[left] = self.databases[right]
        self.databases[right] = moved
        if self.databases[left] != NULL:
            self.databases[left].number = left
        if self.databases[right] != NULL:
            self.databases[right].number = right
        if self.sweeping:
            self.begin_sweep()  # what it has not reached may now lie behind it
        self.changes += 1
        return 0

    # --- setting aside -------------------------------------------------------------------------------

    cpdef int set_aside(self) except -1:
        cdef int number
        for number in range(self.database_count):
            if self.databases[self.database_count + number] != NULL:
                raise RuntimeError("databases are set aside already")
        for number in range(self.database_count):
            self._move(number, self.database_count + number)
        self.aside_small_count = self.heat.small_count
        self.heat.small_count = 0
        self.changes += 1
        return 0

    cpdef int take_back(self) except -1:
        cdef int number
        self.clear(-1)
        for number in range(self.database_count):
            self._move(self.database_count + number, number)
        self.heat.small_count = self.aside_small_count
        self.aside_small_count = 0
        return 0

    cpdef int drop_aside(self) except -1:
        cdef int number
        for number in range(self.database_count):
            self._retire(self.database_count + number)
        self.aside_small_count = 0
        return 0

    cdef int _move(self, int place, int to) noexcept:
        self.databases[to] = self.databases[place]
        self.databases[place] = NULL
        if self.sweeping:
            self.begin_sweep()  # what it has not reached may now lie behind it
        return 0

    # --- background work -----------------------------------------------------------------------------

    cpdef bint free_some(self, int64_t budget_entries) except -1:
        """Frees what was cleared and returns free pages to the system; True while there is more."""
        cdef int64_t budget = max(budget_entries, <int64_t> 1)
        cdef bint more = reclaim_some(&self.reclaim, budget)
        return heap_trim(self.store.heap, DIRTY_ARENAS_KEPT, <uint64_t> (budget // TRIM_ENTRIES + 1)) or more

    # --- walking -------------------------------------------------------------------------------------

    cdef uint32_t walk(self, int database, uint64_t *cursor, Entry **into) except? 0xFFFFFFFF:
        cdef Database *opened = self.databases[database]
        cdef uint64_t words[GATHER_MAX]
        cdef uint64_t slot = cursor[0] >> 32
        cdef uint32_t position = <uint32_t> cursor[0]
        cdef uint32_t found = 0, index, following
        cursor[0] = 0
        if opened == NULL or slot >= SLOT_COUNT:
            return 0
        if opened.table[slot].root.count > 0:
            found = table_gather(&opened.table[slot], position, words, GATHER_MAX, &following)
            if found > GATHER_MAX:
                raise RuntimeError(f"slot {slot}: {found} entries share one bucket, at most {GATHER_MAX} can")
            for index in range(found):
                into[index] = word_entry(words[index])
            if following != 0:
                cursor[0] = slot << 32 | following
                return found
        slot += 1
        while slot < SLOT_COUNT:
            if slot % GROUP_SLOTS == 0 and opened.group_count[slot // GROUP_SLOTS] == 0:
                slot += GROUP_SLOTS
            elif opened.table[slot].root.count == 0:
                slot += 1
            else:
                cursor[0] = slot << 32
                break
        return found

    cdef Entry *random_entry(self, int database) except? NULL:
        cdef Database *opened = self.databases[database]
        cdef uint64_t left
        cdef uint32_t slot, group
        cdef int tries = 0
        cdef Entry *entry
        cdef Key key
        while opened != NULL and opened.count > 0:
            left = self.random() % <uint64_t> opened.count
            group = 0
            while left >= opened.group_count[group]:
                left -= opened.group_count[group]
                group += 1
            slot = group * GROUP_SLOTS
            while left >= opened.table[slot].root.count:
                left -= opened.table[slot].root.count
                slot += 1
            entry = word_entry(table_random(&opened.table[slot], self.random()))
            if not self.is_expired(entry):
                return entry
            if self.follower:
                # What is left may all be expired and waiting for the primary's word: as Redis, show one.
                tries += 1
                if tries == 100:
                    return entry
                continue
            key = self.locate(entry_key(entry))
            self.find(database, &key)
        return NULL

    # --- expiring ------------------------------------------------------------------------------------

    # Deletes what is due in one segment, returns how many entries it looked at.
    cdef int64_t expire_segment(self, Database *database, uint32_t slot, uint32_t position) except -1:
        cdef Table *table = &database.table[slot]
        cdef uint32_t following, index
        cdef Segment *segment = table_segment_at(table, position, &following)
        cdef int64_t bound = 0, when, seen = 0
        cdef uint64_t *word
        cdef Entry *entry
        cdef int way
        cdef bint single = segment.bucket_count == 0
        for index in range(1 if single else segment.bucket_count):
            if not single and index + 1 < segment.bucket_count:
                for way in range(BUCKET_WAYS):
                    if word_has_expiry(segment.line[index + 1].word[way]):
                        __builtin_prefetch(word_entry(segment.line[index + 1].word[way]))
            for way in range(1 if single else BUCKET_WAYS):
                word = <uint64_t *> &segment.line if single else &segment.line[index].word[way]
                if not word_has_expiry(word[0]):  # a free word is 0
                    continue
                entry = word_entry(word[0])
                when = entry_expiry_ms(entry)
                seen += 1
                if when >= self.now_ms:
                    if bound == 0 or when < bound:
                        bound = when
                    continue
                self.announce_expired(database, entry)
                self.before_change(database, slot, entry)
                database.expiry_count -= 1
                database.count -= 1
                database.group_count[slot // GROUP_SLOTS] -= 1
                database_forget_fields(&self.store, database, entry)
                table.used_bytes -= self.entry_held_bytes(entry)
                segment_take_out(table, segment, word)
                heat_end(&self.heat, entry)
                reclaim_entry(&self.reclaim, entry)
                self.expired += 1
        segment.next_expiry_ms = bound
        segment_shrink(&self.store, table, segment)
        return seen + 1

    cdef int64_t expire_slot(self, Database *database, uint32_t slot) except -1:
        cdef Table *table = &database.table[slot]
        cdef Segment *segment
        cdef uint32_t position = 0, following
        cdef int64_t bound = 0, seen = 0
        if table.root.bucket_count != DIRECTORY:
            return self.expire_segment(database, slot, 0)
        while True:
            segment = table_segment_at(table, position, &following)
            if segment.next_expiry_ms != 0 and segment.next_expiry_ms < self.now_ms:
                seen += self.expire_segment(database, slot, position)
            if segment.next_expiry_ms != 0 and (bound == 0 or segment.next_expiry_ms < bound):
                bound = segment.next_expiry_ms
            position = following
            if position == 0:
                break
        table.root.next_expiry_ms = bound
        table_shrink(&self.store, table)
        return seen + 1

    cpdef bint expire_some(self, int64_t budget_entries) except -1:
        """Deletes expired entries, looking at about budget_entries; True when it stopped for the budget."""
        cdef Database *database
        cdef uint32_t slot, group, groups_left
        cdef int64_t bound, due
        cdef int left
        if self.follower:
            return False
        for left in range(self.database_count):
            database = self.databases[self.expire_database]
            if database != NULL and database.expiry_count > 0:
                for groups_left in range(GROUP_COUNT):
                    group = self.expire_group
                    due = database.group_expiry_ms[group]
                    if due != 0 and due < self.now_ms:
                        bound = 0
                        for slot in range(group * GROUP_SLOTS, (group + 1) * GROUP_SLOTS):
                            due = database.table[slot].root.next_expiry_ms
                            if due != 0 and due < self.now_ms:
                                if budget_entries <= 0:
                                    return True
                                budget_entries -= self.expire_slot(database, slot)
                                due = database.table[slot].root.next_expiry_ms
                            if due != 0 and (bound == 0 or due < bound):
                                bound = due
                        database.group_expiry_ms[group] = bound
                    self.expire_group = (group + 1) % GROUP_COUNT
            self.expire_database = (self.expire_database + 1) % self.database_count
        return False

    cpdef bint snapshot_ready(self) except -1:
        """Whether a snapshot can begin now. When not, sweep_some brings the moment closer."""
        if self.epoch == EPOCH_MAX and len(self.observers) == 0:
            self.begin_sweep()
        return self.epoch < EPOCH_MAX and self.sweeping == 0

    cdef int snapshot_ended(self) except -1:
        # Early, so that the next one hardly ever has to wait.
        if len(self.observers) == 0 and self.epoch >= EPOCH_SWEEP:
            self.begin_sweep()
        return 0

    cdef int begin_sweep(self) noexcept:
        # Nobody compares epochs now: new entries may already carry 0.
        self.epoch = 0
        self.sweeping = True
        self.sweep_database = 0
        self.sweep_cursor = 0
        return 0

    cpdef bint sweep_some(self, int64_t budget_entries) except -1:
        """Resets snapshot epochs once they run out; True while there is more to do."""
        cdef Entry *found[GATHER_MAX]
        cdef uint32_t count, index
        while self.sweeping:
            if budget_entries <= 0:
                return True
            count = self.walk(self.sweep_database, &self.sweep_cursor, found)
            for index in range(count):
                found[index].epoch = 0
            budget_entries -= count + 1
            if self.sweep_cursor == 0:
                self.sweep_database += 1
                self.sweeping = self.sweep_database < 2 * self.database_count  # those set aside may come back
        return False

    # --- the door for Python ---------------------------------------------------------------------------

    cdef Key _key(self, bytes name):
        return self.locate(span_of(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)))

    def get(self, int database, bytes name):
        cdef Key key = self._key(name)
        cdef uint8_t scratch[24]
        cdef Entry *entry
        self.check_database(database)
        entry = self.read(database, &key)
        if entry == NULL:
            return None
        if entry_type(entry) != TYPE_STRING:
            raise TypeError(f"{name!r} holds a {TYPE_NAMES[entry_type(entry)].decode()}, not a string")
        return span_bytes(entry_string(entry, scratch))

    def set(self, int database, bytes name, bytes value, int64_t expire_ms=EXPIRY_NONE):
        cdef Key key = self._key(name)
        self.check_database(database)
        self.put_string(database, &key, span_of(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)), expire_ms)

    def delete(self, int database, bytes name):
        cdef Key key = self._key(name)
        self.check_database(database)
        return self.remove(database, &key)

    def exists(self, int database, bytes name):
        cdef Key key = self._key(name)
        self.check_database(database)
        return self.find(database, &key) != NULL

    def key_bytes(self, int database, bytes name):
        """Memory that a key and its value take, its place in the table included; -1: no such key."""
        cdef Key key = self._key(name)
        cdef Entry *entry
        self.check_database(database)
        entry = self.find(database, &key)
        if entry == NULL:
            return -1
        return self.entry_held_bytes(entry) + sizeof(uint64_t)

    def type(self, int database, bytes name):
        cdef Key key = self._key(name)
        cdef Entry *entry
        self.check_database(database)
        entry = self.find(database, &key)
        return b"none" if entry == NULL else TYPE_NAMES[entry_type(entry)]

    def expiry_ms(self, int database, bytes name):
        cdef Key key = self._key(name)
        cdef Entry *entry
        self.check_database(database)
        entry = self.find(database, &key)
        if entry == NULL:
            raise KeyError(name)
        return entry_expiry_ms(entry)

    def expire_at(self, int database, bytes name, int64_t when_ms):
        cdef Key key = self._key(name)
        cdef Entry *entry
        self.check_database(database)
        entry = self.find(database, &key)
        if entry == NULL:
            return False
        self.set_expiry(database, &key, entry, when_ms)
        return True

    def resize(self, int database, bytes name, Py_ssize_t len_bytes):
        cdef Key key = self._key(name)
        self.check_database(database)
        if len_bytes < 0:
            raise ValueError(f"a length of {len_bytes} bytes")
        self.resize_string(database, &key, self.find(database, &key), len_bytes)

    def rename(self, int database, bytes name, bytes new_name):
        cdef Key key = self._key(name)
        cdef Key new_key = self._key(new_name)
        cdef Entry *entry
        self.check_database(database)
        entry = self.find(database, &key)
        if entry == NULL:
            return False
        if name != new_name:
            self._rename(database, &key, database, &new_key)
        return True

    def scan(self, int database, uint64_t cursor, int64_t count=10):
        cdef Entry *found[GATHER_MAX]
        cdef uint32_t found_count, index
        names = []
        self.check_database(database)
        while True:
            found_count = self.walk(database, &cursor, found)
            for index in range(found_count):
                if not self.is_expired(found[index]):
                    names.append(span_bytes(entry_key(found[index])))
            count -= found_count
            if cursor == 0 or count <= 0:
                return cursor, names

    def keys_in_slot(self, int database, uint32_t slot, Py_ssize_t limit):
        cdef Entry *found[GATHER_MAX]
        cdef uint64_t cursor = <uint64_t> slot << 32
        cdef uint32_t count, index
        names = []
        self.check_database(database)
        self.check_slot(slot)
        if limit <= 0 or self.count_in_slot(database, slot) == 0:
            return names
        while True:
            count = self.walk(database, &cursor, found)
            for index in range(count):
                if self.is_expired(found[index]):
                    continue
                names.append(span_bytes(entry_key(found[index])))
                if len(names) == limit:
                    return names
            if cursor >> 32 != slot or cursor == 0:
                return names

    def random_key(self, int database):
        cdef Entry *entry
        self.check_database(database)
        entry = self.random_entry(database)
        return None if entry == NULL else span_bytes(entry_key(entry))

    def slot_of(self, bytes name):
        return self._key(name).slot

    def size(self, int database):
        self.check_database(database)
        return self.count(database)

    def expiring(self, int database):
        self.check_database(database)
        return 0 if self.databases[database] == NULL else self.databases[database].expiry_count

    def slot_size(self, int database, uint32_t slot):
        self.check_database(database)
        self.check_slot(slot)
        return self.count_in_slot(database, slot)

    def slot_bytes(self, int database, uint32_t slot):
        self.check_database(database)
        self.check_slot(slot)
        return self.bytes_in_slot(database, slot)

    def check_slot(self, uint32_t slot):
        if slot >= SLOT_COUNT:
            raise IndexError(f"slot {slot}: there are {SLOT_COUNT}")

    def memory(self):
        return {
            "used_bytes": self.store.heap.used_bytes,
            "held_bytes": self.store.heap.held_bytes,
            "loose_bytes": self.store.values.loose_bytes,
            "arenas": self.store.heap.arena_count,
        }

    def trim(self):
        heap_trim(self.store.heap, 0, UINT64_MAX)

    def reset_statistics(self):
        self.hits = 0
        self.misses = 0
        self.expired = 0
        self.expired_fields = 0
