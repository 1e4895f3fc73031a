"""Databases of 16,384 slot tables.

A slot is CRC16 of the key in cluster mode and 14 bits of the keyed hash otherwise. Per slot there is a
table (table.pyx) of 32 bytes; a database is an array of them, reserved at first use. What a slot holds,
in entries and bytes, is known at once, and a slot can be walked, moved or cleared by itself.

Time. `now_ms` is given. An entry is expired when now_ms > its expiry. Expired entries go in two ways:
`find` deletes the one it meets (lazy), and `expire_some` looks for more (active). Every segment of a
table, every table and every group of 64 tables keeps a lower bound on the expiries in it, so that a
walk skips what is not due: with nothing due it costs 256 comparisons a database, and it never reads an entry
that has no expiry, because the table's word says so. A deletion is announced to the effects as DEL, so
that replicas need no clock of their own; a follower hides expired entries and waits for that DEL.

Change. Every change passes through before_change, which shows the entry as it was to the snapshots that
have not seen it (snapshot.pyx), and stamps the present epoch.

Clearing a database swaps it out in one step; free_some frees it in the background.
"""

from libc.stdint cimport UINT64_MAX
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from node.engine.alloc cimport (
    DIRTY_ARENAS_KEPT,
    SMALL_BYTES_MAX,
    heap_block_bytes,
    heap_delete,
    heap_give,
    heap_new,
    heap_resize,
    heap_take,
    heap_trim,
)
from node.engine.entry cimport (
    ENCODING_INT,
    ENCODING_NONE,
    ENCODING_OBJECT,
    ENCODING_RAW,
    ENTRY_EDITED,
    ENTRY_HAS_EXPIRY,
    ENTRY_SORTED,
    TYPE_HASH,
    TYPE_SET,
    TYPE_STRING,
    entry_bytes,
    entry_encoding,
    entry_expiry_ms,
    entry_int64,
    entry_key,
    entry_mutable_bytes,
    entry_need,
    entry_object,
    entry_recency,
    entry_run,
    entry_set_object,
    entry_set_expiry_ms,
    entry_set_int64,
    entry_set_raw_len,
    entry_set_recency,
    entry_string,
    entry_type,
    entry_word_offset,
    entry_write,
    fits_entry,
)
from node.engine.heat cimport HEAT_QUEUE, heat_begin, heat_end, heat_free, heat_set_clock, heat_touch
from node.engine.hashing cimport hash_key_of, hash_span, slot_of_span
from node.engine.large cimport object_copy, object_count, object_free_some
from node.engine.members cimport members_empty_some, members_new, members_put, members_remove
from node.engine.span cimport span_bytes, span_of, span_to_int64
from node.engine.table cimport (
    BUCKET_WAYS,
    DIRECTORY,
    GATHER_MAX,
    Segment,
    __builtin_prefetch,
    segment_shrink,
    segment_take_out,
    table_candidate,
    table_dismantle,
    table_find,
    table_gather,
    table_insert,
    table_note_expiry,
    table_prefetch,
    table_random,
    table_segment_at,
    table_shrink,
    table_take_out,
    word_entry,
    word_has_expiry,
    word_replace,
)

cdef enum:
    APPEND_SPARE_BYTES_MAX = 1048576
    TRIM_ENTRIES = 200  # returning an arena's pages takes about as long as freeing so many entries
    EPOCH_MAX = 255  # of snapshots; one byte of an entry
    EPOCH_SWEEP = 192  # from here on, the first quiet moment is used to reset them
    FREED_AT_ONCE = 64  # elements of a collection; a larger one is freed in the background

TYPE_NAMES = {0: b"string", 1: b"list", 2: b"set", 3: b"zset", 4: b"hash", 6: b"stream"}


cdef class Observer:
    cdef int entry_changes(self, Database *database, uint32_t slot, Entry *entry) except -1:
        raise NotImplementedError("an observer says what it does with an entry that changes")


cdef class Keyspace:
    def __cinit__(self, *, bint cluster=False, int databases=16, bytes hash_key=b"\0" * 16, int64_t clock_ms=0, effects=None):
        if databases < 1 or databases > 65536:
            raise ValueError(f"databases is {databases}, it must be 1 to 65536")
        if len(hash_key) != 16:
            raise ValueError(f"hash key is {len(hash_key)} bytes, it must be 16")
        self.store.heap = heap_new()
        self.store.hash_key = hash_key_of(<const uint8_t *> PyBytes_AS_STRING(hash_key))
        self.databases = <Database **> calloc(databases, sizeof(Database *))
        if self.databases == NULL:
            raise MemoryError("no memory for the list of databases")
        self.database_count = databases
        self.cluster = cluster
        self.effects = effects
        self.observers = []
        self.limits = CollectionLimits(
            hash_run_fields=512,
            hash_run_value_bytes=64,
            set_sorted_members=512,
            set_run_members=128,
            set_run_value_bytes=64,
            zset_run_members=128,
            zset_run_value_bytes=64,
            list_chunk=-2,
            stream_chunk_bytes=4096,
            stream_chunk_entries=100,
            sketch_sparse_bytes=3000,
        )
        self.heat.log_factor = 10
        self.heat.decay_minutes = 1
        self.heat.random_state = self.store.hash_key.second | 1
        self.random_state = self.store.hash_key.first ^ (self.store.hash_key.second << 1) | 1
        self.set_clock_ms(clock_ms)

    def __dealloc__(self):
        cdef int number
        cdef int64_t budget
        if self.databases != NULL:
            for number in range(self.database_count):
                self._retire(number)
            while self.cleared != NULL or self.condemned != NULL:
                if self.cleared != NULL:
                    self.cleared.pins = 0
                if self.condemned != NULL:
                    self.condemned.reading = 0
                budget = 1 << 20
                self._free_cleared(&budget)
                self._free_condemned(&budget)
            free(self.databases)
        heat_free(&self.heat)
        if self.store.heap != NULL:
            heap_delete(self.store.heap)

    cpdef int set_clock_ms(self, int64_t now_ms) except -1:
        self.now_ms = now_ms
        heat_set_clock(&self.heat, now_ms)
        return 0

    cdef int check_database(self, int number) except -1:
        if number < 0 or number >= self.database_count:
            raise IndexError(f"database {number}: there are {self.database_count}")
        return 0

    cdef Database *open_database(self, int number) except NULL:
        cdef Database *database = self.databases[number]
        if database == NULL:
            database = <Database *> calloc(1, sizeof(Database))
            if database == NULL:
                raise MemoryError(f"no memory for database {number}")
            database.number = number
            self.databases[number] = database
        return database

    cdef uint64_t random(self) noexcept:
        self.random_state ^= self.random_state << 13
        self.random_state ^= self.random_state >> 7
        self.random_state ^= self.random_state << 17
        return self.random_state

    # --- finding -------------------------------------------------------------------------------------

    cdef Key locate(self, Span name) noexcept:
        cdef Key key
        key.name = name
        key.hash = hash_span(&self.store.hash_key, name)
        key.slot = slot_of_span(name) if self.cluster else <uint32_t> (key.hash & (SLOT_COUNT - 1))
        return key

    cdef bint is_expired(self, Entry *entry) noexcept:
        return entry.flags & ENTRY_HAS_EXPIRY and entry_expiry_ms(entry) < self.now_ms and not self.applying

    cdef Entry *find(self, int database, Key *key) except? NULL:
        cdef Database *opened = self.databases[database]
        cdef uint64_t *word
        cdef Entry *entry
        if opened == NULL:
            return NULL
        word = table_find(&opened.table[key.slot], key.hash, key.name)
        if word == NULL:
            return NULL
        entry = word_entry(word[0])
        if word_has_expiry(word[0]) and self.is_expired(entry):
            if not self.follower:
                self.announce_expired(opened, entry)
                self.drop(opened, key, word)
                self.expired += 1
            return NULL
        return entry

    cdef Entry *read(self, int database, Key *key) except? NULL:
        cdef Entry *entry = self.find(database, key)
        if entry == NULL:
            self.misses += 1
            return NULL
        self.hits += 1
        heat_touch(&self.heat, entry)
        return entry

    cdef Entry *look(self, int database, Key *key) except? NULL:
        cdef Entry *entry = self.find(database, key)
        if entry == NULL:
            self.misses += 1
        else:
            self.hits += 1
        return entry

    cdef void prefetch(self, int database, Key *key) noexcept:
        cdef Database *opened = self.databases[database]
        if opened != NULL:
            table_prefetch(&opened.table[key.slot], key.hash)

    cdef void prefetch_step(self, int database, Key *key, int step) noexcept:
        cdef Database *opened = self.databases[database]
        cdef Table *table
        cdef uint64_t *word
        if opened == NULL:
            return
        table = &opened.table[key.slot]
        if step == 0:
            __builtin_prefetch(table)
        elif step == 1:
            table_prefetch(table, key.hash)
        else:
            word = table_candidate(table, key.hash)
            if word != NULL:
                # Two lines: a key of 16 and a value of 64 bytes seldom fit in one.
                __builtin_prefetch(word_entry(word[0]))
                __builtin_prefetch(<char *> word_entry(word[0]) + 64)

    # --- changing ------------------------------------------------------------------------------------

    cdef int before_change(self, Database *database, uint32_t slot, Entry *entry) except -1:
        self.changes += 1
        if entry.epoch != self.epoch:
            if len(self.observers) > 0:
                self.show_observers(database, slot, entry)
            entry.epoch = self.epoch
        return 0

    cdef int show_observers(self, Database *database, uint32_t slot, Entry *entry) except -1:
        cdef Observer observer
        for observer in self.observers:
            if entry.epoch < observer.epoch:
                observer.entry_changes(database, slot, entry)
        return 0

    cdef void account_expiry(self, Database *database, Key *key, int64_t when_ms) noexcept:
        cdef uint32_t group = key.slot // GROUP_SLOTS
        cdef int64_t bound = when_ms if when_ms > 0 else 1
        table_note_expiry(&database.table[key.slot], key.hash, bound)
        if database.group_expiry_ms[group] == 0 or bound < database.group_expiry_ms[group]:
            database.group_expiry_ms[group] = bound

    # Takes an entry out and frees it.
    cdef int drop(self, Database *database, Key *key, uint64_t *word) except -1:
        cdef Entry *entry = word_entry(word[0])
        cdef Table *table = &database.table[key.slot]
        self.before_change(database, key.slot, entry)
        if entry.flags & ENTRY_HAS_EXPIRY:
            database.expiry_count -= 1
        heat_end(&self.heat, entry)
        self._forget_fields(database, entry)
        table.used_bytes -= self.entry_held_bytes(entry)
        table_take_out(&self.store, table, key.hash, word)
        database.count -= 1
        database.group_count[key.slot // GROUP_SLOTS] -= 1
        self._give(entry)
        return 0

    # What an entry and its value take.
    cdef uint64_t entry_held_bytes(self, Entry *entry) noexcept:
        cdef uint64_t held_bytes = heap_block_bytes(entry, entry_bytes(entry))
        if entry_encoding(entry) == ENCODING_OBJECT:
            held_bytes += (<Object *> entry_object(entry)).used_bytes
        return held_bytes

    # Frees an entry that nobody can see any more, a large collection in the background.
    cdef void _give(self, Entry *entry) noexcept:
        if entry_encoding(entry) == ENCODING_OBJECT:
            self._condemn(<Object *> entry_object(entry))
        heap_give(self.store.heap, entry, entry_bytes(entry))

    cdef void _condemn(self, Object *value) noexcept:
        cdef int64_t budget = FREED_AT_ONCE * 2
        if value.reading == 0 and object_count(value) <= FREED_AT_ONCE and not object_free_some(&self.store, value, &budget):
            return
        value.next_condemned = self.condemned
        self.condemned = value
        self.condemned_bytes += value.used_bytes

    cdef int announce_expired(self, Database *database, Entry *entry) except -1:
        if self.effects is not None and self.effects.active:
            self.effects.begin(database.number, 2)
            self.effects.arg_word(b"DEL")
            self.effects.arg(entry_key(entry))
        return 0

    # Puts a finished entry into the table, in the place of `word`'s when that is not NULL (before_change
    # has been called for it). On failure `fresh` is freed.
    cdef Entry *put_new(self, Database *database, Key *key, Entry *fresh, uint64_t *word) except NULL:
        cdef Table *table = &database.table[key.slot]
        cdef Entry *old
        if word == NULL:
            if table_insert(&self.store, table, key.hash, fresh) == NULL:
                self._give(fresh)
                raise MemoryError("no memory to grow a slot's table")
            self.changes += 1
            database.count += 1
            database.group_count[key.slot // GROUP_SLOTS] += 1
            heat_begin(&self.heat, fresh, key.hash, database.count)
        else:
            old = word_entry(word[0])
            entry_set_recency(fresh, entry_recency(old))
            heat_touch(&self.heat, fresh)
            if old.flags & ENTRY_HAS_EXPIRY:
                database.expiry_count -= 1
            word_replace(word, fresh)
            self._forget_fields(database, old)
            table.used_bytes -= self.entry_held_bytes(old)
            self._give(old)
        table.used_bytes += self.entry_held_bytes(fresh)
        fresh.epoch = self.epoch
        if fresh.flags & ENTRY_HAS_EXPIRY:
            database.expiry_count += 1
            self.account_expiry(database, key, entry_expiry_ms(fresh))
        return fresh

    cdef Entry *put_string(self, int database, Key *key, Span value, int64_t expire_ms) except NULL:
        cdef int64_t number = 0
        if value.len_bytes <= 20 and span_to_int64(value, &number):
            return self.put_value(database, key, ENCODING_INT, value, number, expire_ms)
        return self.put_value(database, key, ENCODING_RAW, value, 0, expire_ms)

    cdef Entry *put_raw(self, int database, Key *key, Span value, int64_t expire_ms) except NULL:
        return self.put_value(database, key, ENCODING_RAW, value, 0, expire_ms)

    cdef Entry *put_int64(self, int database, Key *key, int64_t value, int64_t expire_ms) except NULL:
        return self.put_value(database, key, ENCODING_INT, span_of(NULL, 0), value, expire_ms)

    cdef Entry *put_value(self, int database, Key *key, int encoding, Span value, int64_t number, int64_t expire_ms) except NULL:
        cdef Database *opened = self.open_database(database)
        cdef uint64_t *word = table_find(&opened.table[key.slot], key.hash, key.name)
        cdef Entry *entry = NULL
        cdef size_t need, old_need
        cdef int64_t expiry = expire_ms
        if not fits_entry(key.name.len_bytes) or not fits_entry(value.len_bytes):
            raise OverflowError(f"a key of {key.name.len_bytes} and a value of {value.len_bytes} bytes: 4 GiB is the limit of each")
        if word != NULL:
            entry = word_entry(word[0])
            self.before_change(opened, key.slot, entry)
            if expire_ms == EXPIRY_KEEP:
                expiry = entry_expiry_ms(entry)
        elif expire_ms == EXPIRY_KEEP:
            expiry = EXPIRY_NONE
        need = entry_need(encoding, expiry != EXPIRY_NONE, key.name.len_bytes, value.len_bytes)
        if word != NULL:
            # The same shape and block: only the value changes.
            if (
                entry.kind == (TYPE_STRING | encoding << 4)
                and (expiry != EXPIRY_NONE) == (entry.flags & ENTRY_HAS_EXPIRY != 0)
            ):
                old_need = entry_bytes(entry)
                if (need == old_need) or (
                    need <= SMALL_BYTES_MAX and old_need <= SMALL_BYTES_MAX and (need + 7) >> 3 == (old_need + 7) >> 3
                ):
                    if encoding == ENCODING_INT:
                        entry_set_int64(entry, number)
                    else:
                        entry_set_raw_len(entry, value.len_bytes)
                        memcpy(entry_mutable_bytes(entry), value.at, <size_t> value.len_bytes)
                        entry.flags &= <uint8_t> ~ENTRY_EDITED
                    heat_touch(&self.heat, entry)
                    if expiry != EXPIRY_NONE and expire_ms != EXPIRY_KEEP:
                        entry_set_expiry_ms(entry, expiry)
                        self.account_expiry(opened, key, expiry)
                    return entry
        entry = <Entry *> heap_take(self.store.heap, need)
        if entry == NULL:
            raise MemoryError(f"no memory for an entry of {need} bytes")
        entry_write(entry, TYPE_STRING, encoding, key.name, expiry, value.len_bytes)
        if encoding == ENCODING_INT:
            entry_set_int64(entry, number)
        elif value.len_bytes > 0:
            memcpy(entry_mutable_bytes(entry), value.at, <size_t> value.len_bytes)
        return self.put_new(opened, key, entry, word)

    cdef Entry *resize_string(self, int database, Key *key, Entry *entry, Py_ssize_t new_len_bytes) except NULL:
        cdef Database *opened = self.open_database(database)
        cdef Table *table = &opened.table[key.slot]
        cdef uint64_t *word
        cdef uint8_t scratch[24]
        cdef Span old
        cdef size_t need, old_need, spare = 0
        cdef Entry *moved
        cdef uint64_t before
        if not fits_entry(key.name.len_bytes) or not fits_entry(new_len_bytes):
            raise OverflowError(f"a key of {key.name.len_bytes} and a value of {new_len_bytes} bytes: 4 GiB is the limit of each")
        if entry == NULL or entry_encoding(entry) == ENCODING_INT:
            need = entry_need(
                ENCODING_RAW, entry != NULL and entry.flags & ENTRY_HAS_EXPIRY != 0, key.name.len_bytes, new_len_bytes
            )
            word = NULL
            old = span_of(NULL, 0)
            if entry != NULL:
                word = table_find(table, key.hash, key.name)
                self.before_change(opened, key.slot, entry)
                old = entry_string(entry, scratch)
            moved = <Entry *> heap_take(self.store.heap, need)
            if moved == NULL:
                raise MemoryError(f"no memory for an entry of {need} bytes")
            entry_write(
                moved, TYPE_STRING, ENCODING_RAW, key.name, EXPIRY_NONE if entry == NULL else entry_expiry_ms(entry), new_len_bytes
            )
            if old.len_bytes > new_len_bytes:
                old.len_bytes = new_len_bytes
            if old.len_bytes > 0:
                memcpy(entry_mutable_bytes(moved), old.at, <size_t> old.len_bytes)
            memset(entry_mutable_bytes(moved) + old.len_bytes, 0, <size_t> (new_len_bytes - old.len_bytes))
            moved.flags |= ENTRY_EDITED
            return self.put_new(opened, key, moved, word)
        self.before_change(opened, key.slot, entry)
        old = entry_string(entry, scratch)
        entry.flags |= ENTRY_EDITED
        heat_touch(&self.heat, entry)
        if old.len_bytes != new_len_bytes:
            word = table_find(table, key.hash, key.name)
            old_need = entry_bytes(entry)
            need = old_need - <size_t> old.len_bytes + <size_t> new_len_bytes
            if new_len_bytes > old.len_bytes and need > SMALL_BYTES_MAX and old_need > SMALL_BYTES_MAX:
                # It grew before and will again: half as much once more, 1 MiB at most.
                spare = <size_t> new_len_bytes // 2
                if spare > APPEND_SPARE_BYTES_MAX:
                    spare = APPEND_SPARE_BYTES_MAX
            before = heap_block_bytes(entry, old_need)
            moved = <Entry *> heap_resize(self.store.heap, entry, old_need, need, spare)
            if moved == NULL:
                raise MemoryError(f"no memory for an entry of {need} bytes")
            entry = moved
            entry_set_raw_len(entry, new_len_bytes)
            table.used_bytes += heap_block_bytes(entry, need) - before
            word_replace(word, entry)
            if new_len_bytes > old.len_bytes:
                memset(entry_mutable_bytes(entry) + old.len_bytes, 0, <size_t> (new_len_bytes - old.len_bytes))
        return entry

    cdef Entry *put_blank(self, int database, Key *key, Py_ssize_t len_bytes) except NULL:
        cdef Database *opened = self.open_database(database)
        cdef uint64_t *word = table_find(&opened.table[key.slot], key.hash, key.name)
        cdef size_t need
        cdef Entry *entry
        if not fits_entry(key.name.len_bytes) or not fits_entry(len_bytes):
            raise OverflowError(f"a key of {key.name.len_bytes} and a value of {len_bytes} bytes: 4 GiB is the limit of each")
        if word != NULL:
            self.before_change(opened, key.slot, word_entry(word[0]))
        need = entry_need(ENCODING_RAW, False, key.name.len_bytes, len_bytes)
        entry = <Entry *> heap_take(self.store.heap, need)
        if entry == NULL:
            raise MemoryError(f"no memory for an entry of {need} bytes")
        entry_write(entry, TYPE_STRING, ENCODING_RAW, key.name, EXPIRY_NONE, len_bytes)
        entry.flags |= ENTRY_EDITED
        return self.put_new(opened, key, entry, word)

    cdef Entry *set_expiry(self, int database, Key *key, Entry *entry, int64_t when_ms) except NULL:
        cdef Database *opened = self.open_database(database)
        cdef uint64_t *word
        cdef Entry *moved
        cdef size_t need, old_need, offset
        cdef bint has = entry.flags & ENTRY_HAS_EXPIRY != 0
        self.before_change(opened, key.slot, entry)
        if has == (when_ms != EXPIRY_NONE):
            if has:
                entry_set_expiry_ms(entry, when_ms)
                self.account_expiry(opened, key, when_ms)
            return entry
        word = table_find(&opened.table[key.slot], key.hash, key.name)
        old_need = entry_bytes(entry)
        need = old_need - 8 if has else old_need + 8
        moved = <Entry *> heap_take(self.store.heap, need)
        if moved == NULL:
            raise MemoryError(f"no memory for an entry of {need} bytes")
        memcpy(moved, entry, 8)
        offset = entry_word_offset(entry)
        moved.flags ^= ENTRY_HAS_EXPIRY
        memcpy(<uint8_t *> moved + entry_word_offset(moved), <uint8_t *> entry + offset, old_need - offset)
        if not has:
            entry_set_expiry_ms(moved, when_ms)
        if entry_encoding(entry) == ENCODING_OBJECT:
            self._leave_object(opened, key, entry)
        return self.put_new(opened, key, moved, word)

    # The structure of this entry lives on in another one: the entry is an integer from now on.
    cdef void _leave_object(self, Database *database, Key *key, Entry *entry) noexcept:
        database.table[key.slot].used_bytes -= (<Object *> entry_object(entry)).used_bytes
        entry.kind = <uint8_t> (entry_type(entry) | ENCODING_INT << 4)

    cdef bint remove(self, int database, Key *key) except -1:
        cdef Database *opened = self.databases[database]
        if self.find(database, key) == NULL:
            return False
        self.drop(opened, key, table_find(&opened.table[key.slot], key.hash, key.name))
        return True

    cdef Entry *put_copy(self, int database, Key *key, Entry *entry) except NULL:
        cdef Database *opened = self.open_database(database)
        cdef uint64_t *word = table_find(&opened.table[key.slot], key.hash, key.name)
        cdef int encoding = entry_encoding(entry)
        cdef int64_t expiry = entry_expiry_ms(entry)
        cdef Span value = span_of(NULL, 0)
        cdef Entry *fresh
        cdef size_t need
        cdef Object *copied = NULL
        if encoding == ENCODING_OBJECT:
            copied = object_copy(&self.store, <Object *> entry_object(entry))
            if copied == NULL:
                raise MemoryError(f"no memory for a copy of {object_count(<Object *> entry_object(entry))} elements")
            return self.put_object(database, key, copied, expiry)
        if encoding == ENCODING_RAW:
            value = entry_run(entry)
        if word != NULL:
            self.before_change(opened, key.slot, word_entry(word[0]))
        need = entry_need(encoding, expiry != EXPIRY_NONE, key.name.len_bytes, value.len_bytes)
        fresh = <Entry *> heap_take(self.store.heap, need)
        if fresh == NULL:
            raise MemoryError(f"no memory for an entry of {need} bytes")
        entry_write(fresh, entry_type(entry), encoding, key.name, expiry, value.len_bytes)
        fresh.flags |= entry.flags & (ENTRY_EDITED | ENTRY_SORTED)
        if encoding == ENCODING_INT:
            entry_set_int64(fresh, entry_int64(entry))
        elif value.len_bytes > 0:
            memcpy(entry_mutable_bytes(fresh), value.at, <size_t> value.len_bytes)
        return self.put_new(opened, key, fresh, word)

    # --- collections ---------------------------------------------------------------------------------

    cdef Entry *put_run(self, int database, Key *key, int type, Span run, int64_t expire_ms) except NULL:
        cdef Database *opened = self.open_database(database)
        cdef uint64_t *word = table_find(&opened.table[key.slot], key.hash, key.name)
        cdef int64_t expiry = expire_ms
        cdef size_t need
        cdef Entry *entry
        if not fits_entry(key.name.len_bytes) or not fits_entry(run.len_bytes):
            raise OverflowError(f"a key of {key.name.len_bytes} and a value of {run.len_bytes} bytes: 4 GiB is the limit of each")
        if word != NULL:
            self.before_change(opened, key.slot, word_entry(word[0]))
        if expire_ms == EXPIRY_KEEP:
            expiry = EXPIRY_NONE if word == NULL else entry_expiry_ms(word_entry(word[0]))
        need = entry_need(ENCODING_RAW, expiry != EXPIRY_NONE, key.name.len_bytes, run.len_bytes)
        entry = <Entry *> heap_take(self.store.heap, need)
        if entry == NULL:
            raise MemoryError(f"no memory for an entry of {need} bytes")
        entry_write(entry, type, ENCODING_RAW, key.name, expiry, run.len_bytes)
        if run.len_bytes > 0:
            memcpy(entry_mutable_bytes(entry), run.at, <size_t> run.len_bytes)
        return self.put_new(opened, key, entry, word)

    cdef Entry *resize_run(self, int database, Key *key, Entry *entry, Py_ssize_t new_len_bytes) except NULL:
        cdef Database *opened = self.open_database(database)
        cdef Table *table = &opened.table[key.slot]
        cdef Py_ssize_t old_len_bytes = entry_run(entry).len_bytes
        cdef size_t need, old_need, spare = 0
        cdef uint64_t *word
        cdef Entry *moved
        cdef uint64_t before
        self.before_change(opened, key.slot, entry)
        heat_touch(&self.heat, entry)
        if old_len_bytes == new_len_bytes:
            return entry
        if not fits_entry(new_len_bytes):
            raise OverflowError(f"a run of {new_len_bytes} bytes: 4 GiB is the limit")
        old_need = entry_bytes(entry)
        need = old_need - <size_t> old_len_bytes + <size_t> new_len_bytes
        before = heap_block_bytes(entry, old_need)
        word = table_find(table, key.hash, key.name)
        if need > SMALL_BYTES_MAX and new_len_bytes > old_len_bytes:
            spare = need // 8
        moved = <Entry *> heap_resize(self.store.heap, entry, old_need, need, spare)
        if moved == NULL:
            raise MemoryError(f"no memory for an entry of {need} bytes")
        entry_set_raw_len(moved, new_len_bytes)
        table.used_bytes += heap_block_bytes(moved, need) - before
        word_replace(word, moved)
        return moved

    cdef Entry *put_object(self, int database, Key *key, Object *value, int64_t expire_ms) except NULL:
        cdef Database *opened
        cdef uint64_t *word
        cdef int64_t expiry = expire_ms
        cdef size_t need
        cdef Entry *entry
        try:
            opened = self.open_database(database)
            word = table_find(&opened.table[key.slot], key.hash, key.name)
            if not fits_entry(key.name.len_bytes):
                raise OverflowError(f"a key of {key.name.len_bytes} bytes: 4 GiB is the limit")
            if word != NULL:
                self.before_change(opened, key.slot, word_entry(word[0]))
            if expire_ms == EXPIRY_KEEP:
                expiry = EXPIRY_NONE if word == NULL else entry_expiry_ms(word_entry(word[0]))
            need = entry_need(ENCODING_OBJECT, expiry != EXPIRY_NONE, key.name.len_bytes, 0)
            entry = <Entry *> heap_take(self.store.heap, need)
            if entry == NULL:
                raise MemoryError(f"no memory for an entry of {need} bytes")
        except BaseException:
            self._condemn(value)
            raise
        entry_write(entry, value.type, ENCODING_OBJECT, key.name, expiry, 0)
        entry_set_object(entry, value)
        entry = self.put_new(opened, key, entry, word)
        if value.type == TYPE_HASH and (<Members *> value).expiry_count > 0:
            self.note_fields(opened, key.name, (<Members *> value).table.root.next_expiry_ms)
        return entry

    cdef int note_fields(self, Database *database, Span name, int64_t when_ms) except -1:
        if database.lapsing == NULL:
            if when_ms == 0:
                return 0
            database.lapsing = members_new(&self.store, TYPE_SET, sizeof(Members))
            if database.lapsing == NULL:
                raise MemoryError("no memory for the names of hashes with fields that expire")
        if when_ms == 0:
            members_remove(&self.store, database.lapsing, name)
        elif members_put(&self.store, database.lapsing, name, ENCODING_NONE, span_of(NULL, 0), 0, when_ms) == NULL:
            raise MemoryError(f"no memory for a name of {name.len_bytes} bytes")
        return 0

    # The name of this entry stands for another value from now on, or for none.
    cdef void _forget_fields(self, Database *database, Entry *entry) noexcept:
        if database.lapsing != NULL and entry_encoding(entry) == ENCODING_OBJECT and entry_type(entry) == TYPE_HASH:
            members_remove(&self.store, database.lapsing, entry_key(entry))

    cdef int begin_edit(self, int database, Key *key, Entry *entry, Edit *edit) except -1:
        cdef Database *opened = self.open_database(database)
        self.before_change(opened, key.slot, entry)
        heat_touch(&self.heat, entry)
        edit.table = &opened.table[key.slot]
        edit.object = <Object *> entry_object(entry)
        edit.before_bytes = edit.object.used_bytes
        return 0

    cdef void end_edit(self, Edit *edit) noexcept:
        edit.table.used_bytes += edit.object.used_bytes - edit.before_bytes

    cdef Entry *_rename(self, int database, Key *key, int to_database, Key *new_key) except NULL:
        cdef Database *opened = self.open_database(database)
        cdef Entry *entry = self.find(database, key)
        cdef Object *value
        cdef Entry *fresh
        if entry == NULL:
            raise KeyError(span_bytes(key.name))
        if entry_encoding(entry) != ENCODING_OBJECT:
            fresh = self.put_copy(to_database, new_key, entry)
        else:
            value = <Object *> entry_object(entry)
            self.before_change(opened, key.slot, entry)
            self._forget_fields(opened, entry)
            self._leave_object(opened, key, entry)
            try:
                fresh = self.put_object(to_database, new_key, value, entry_expiry_ms(entry))
            except BaseException:  # put_object has given the structure up
                self.remove(database, key)
                raise
        self.remove(database, key)
        return fresh

    def set_collection_limit(self, name, int64_t value):
        """How large a collection may get before it leaves its key's entry, by the name of the parameter."""
        if name == "hash-max-listpack-entries":
            self.limits.hash_run_fields = value
        elif name == "hash-max-listpack-value":
            self.limits.hash_run_value_bytes = value
        elif name == "set-max-intset-entries":
            self.limits.set_sorted_members = value
        elif name == "set-max-listpack-entries":
            self.limits.set_run_members = value
        elif name == "set-max-listpack-value":
            self.limits.set_run_value_bytes = value
        elif name == "zset-max-listpack-entries":
            self.limits.zset_run_members = value
        elif name == "zset-max-listpack-value":
            self.limits.zset_run_value_bytes = value
        elif name == "list-max-listpack-size":
            self.limits.list_chunk = value
        elif name == "stream-node-max-bytes":
            self.limits.stream_chunk_bytes = value
        elif name == "stream-node-max-entries":
            self.limits.stream_chunk_entries = value
        elif name == "hll-sparse-max-bytes":
            self.limits.sketch_sparse_bytes = value
        else:
            raise ValueError(f"{name} is no limit of a collection")

    # --- clearing ------------------------------------------------------------------------------------

    cdef int _retire(self, int number) noexcept:
        cdef Database *opened = self.databases[number]
        if opened == NULL:
            return 0
        self.databases[number] = NULL
        if self.heat.small_count > self.total_count():  # the evictor mends what this leaves
            self.heat.small_count = self.total_count()
        opened.number = -1
        opened.next_cleared = self.cleared
        self.cleared = opened
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

    # Frees about budget_entries of the first cleared database that no snapshot reads.
    cdef bint _free_cleared(self, int64_t *budget_entries) noexcept:
        cdef Database **link = &self.cleared
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
                self._give(word_entry(words[index]))
            budget_entries[0] -= found
            database.free_position = following
            if following == 0:
                table_dismantle(&self.store, table)
                database.free_slot += 1
        if database.free_slot < SLOT_COUNT:
            return True
        if database.lapsing != NULL:
            if members_empty_some(&self.store, database.lapsing, budget_entries):
                return True
            heap_give(self.store.heap, database.lapsing, sizeof(Members))
        link[0] = database.next_cleared
        free(database)
        # What is left may be pinned by snapshots: there is nothing to do about it now.
        return link[0] != NULL and link[0].pins == 0

    # Frees about so many elements of the large collections that wait for it, but for those that a snapshot still reads.
    cdef bint _free_condemned(self, int64_t *budget_elements) noexcept:
        cdef Object **link = &self.condemned
        cdef Object *value
        cdef Object *following
        while link[0] != NULL and budget_elements[0] > 0:
            value = link[0]
            if value.reading != 0:
                link = &value.next_condemned
                continue
            following = value.next_condemned
            self.condemned_bytes -= value.used_bytes
            if object_free_some(&self.store, value, budget_elements):
                self.condemned_bytes += value.used_bytes
                return True
            link[0] = following
        return link[0] != NULL

    cpdef bint free_some(self, int64_t budget_entries) except -1:
        """Frees what was cleared and returns free pages to the system; True while there is more."""
        cdef int64_t budget = max(budget_entries, <int64_t> 1)
        cdef int64_t left = budget
        cdef bint more
        self._free_condemned(&left)
        # Called without budget too: it tells whether there is something, and it may condemn large collections itself.
        more = self._free_cleared(&left) or self.condemned != NULL
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

    # --- background work -----------------------------------------------------------------------------

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
                self._forget_fields(database, entry)
                table.used_bytes -= self.entry_held_bytes(entry)
                segment_take_out(table, segment, word)
                heat_end(&self.heat, entry)
                self._give(entry)
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
                self.sweeping = self.sweep_database < self.database_count
        return False

    # --- counting ------------------------------------------------------------------------------------

    cdef int64_t count(self, int database) noexcept:
        cdef Database *opened = self.databases[database]
        return 0 if opened == NULL else opened.count

    cdef int64_t total_count(self) noexcept:
        cdef int64_t total = 0
        cdef int number
        for number in range(self.database_count):
            if self.databases[number] != NULL:
                total += self.databases[number].count
        return total

    cdef int64_t count_in_slot(self, int database, uint32_t slot) noexcept:
        cdef Database *opened = self.databases[database]
        return 0 if opened == NULL or slot >= SLOT_COUNT else opened.table[slot].root.count

    cdef int64_t bytes_in_slot(self, int database, uint32_t slot) noexcept:
        cdef Database *opened = self.databases[database]
        return 0 if opened == NULL or slot >= SLOT_COUNT else <int64_t> opened.table[slot].used_bytes

    cdef uint64_t used_bytes(self) noexcept:
        return self.store.heap.used_bytes

    cdef uint64_t wanted_bytes(self) noexcept:
        cdef uint64_t used_bytes = self.store.heap.used_bytes
        return used_bytes - self.condemned_bytes if used_bytes > self.condemned_bytes else 0

    cdef uint64_t held_bytes(self) noexcept:
        return self.store.heap.held_bytes

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
            "arenas": self.store.heap.arena_count,
        }

    def trim(self):
        heap_trim(self.store.heap, 0, UINT64_MAX)

    def reset_statistics(self):
        self.hits = 0
        self.misses = 0
        self.expired = 0
        self.expired_fields = 0
