"""The entries of all databases: found by name, put, given an expiry, removed.

A slot is CRC16 of the key in cluster mode and 14 bits of the keyed hash otherwise. Per slot there is a
table (table.pyx) of 32 bytes; a database is an array of them, reserved at first use. What a slot holds,
in entries and bytes, is known at once, and a slot can be walked, moved or cleared by itself.

Time. `now_ms` is given. An entry is expired when now_ms > its expiry. `find` deletes the one it meets and announces
that to the effects as DEL, so that replicas need no clock of their own; a follower hides expired entries and waits for
that DEL.

Change. Every change passes through before_change, which shows the entry as it was to the snapshots that
have not seen it (snapshot.pyx), and stamps the present epoch. What is replaced or removed goes to reclaim.pyx.

Strings are put here. Collections (collections.pyx) and what concerns all entries of a database (keyspace.pyx) build
on this one, each a class of its own on top of the other: one object in the end, so that nobody pays for the division.
"""

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from cpython.bytes cimport PyBytes_AS_STRING

from node.engine.alloc cimport SMALL_BYTES_MAX, heap_block_bytes, heap_delete, heap_new, heap_resize, heap_take
from node.engine.database cimport GROUP_SLOTS, database_forget_fields, database_new
from node.engine.entry cimport (
    ENCODING_INT,
    ENCODING_LARGE,
    ENCODING_OBJECT,
    ENCODING_RAW,
    ENTRY_EDITED,
    ENTRY_HAS_EXPIRY,
    TYPE_STRING,
    entry_bytes,
    entry_encoding,
    entry_expiry_ms,
    entry_key,
    entry_mutable_bytes,
    entry_need,
    entry_object,
    entry_recency,
    entry_set_expiry_ms,
    entry_set_int64,
    entry_set_object,
    entry_set_raw_len,
    entry_set_recency,
    entry_string,
    entry_type,
    entry_value,
    entry_word_offset,
    entry_write,
    fits_entry,
)
from node.engine.hashing cimport SLOT_COUNT, hash_key_of, hash_span, slot_of_span
from node.engine.heat cimport heat_begin, heat_end, heat_free, heat_set_clock, heat_touch
from node.engine.reclaim cimport reclaim_all, reclaim_database, reclaim_entry, reclaim_pinned_bytes
from node.engine.span cimport span_of, span_to_int64
from node.engine.table cimport (
    __builtin_prefetch,
    table_candidate,
    table_find,
    table_insert,
    table_note_expiry,
    table_prefetch,
    table_take_out,
    word_entry,
    word_has_expiry,
    word_replace,
)
from node.engine.value cimport (
    VALUE_BYTES_MIN,
    value_bytes,
    value_copy,
    value_held_bytes,
    value_leave,
    value_new,
    value_resize,
    value_store,
    value_unpin,
    values_free_some,
)

cdef enum:
    APPEND_SPARE_BYTES_MAX = 1048576


cdef class Observer:
    cdef int entry_changes(self, Database *database, uint32_t slot, Entry *entry) except -1:
        raise NotImplementedError("an observer says what it does with an entry that changes")


cdef class Entries:
    def __cinit__(self, *, bint cluster=False, int databases=16, bytes hash_key=b"\0" * 16, int64_t clock_ms=0, effects=None):
        if databases < 1 or databases > 65536:
            raise ValueError(f"databases is {databases}, it must be 1 to 65536")
        if len(hash_key) != 16:
            raise ValueError(f"hash key is {len(hash_key)} bytes, it must be 16")
        self.store.heap = heap_new()
        self.store.values.heap = self.store.heap
        self.reclaim.store = &self.store
        self.store.hash_key = hash_key_of(<const uint8_t *> PyBytes_AS_STRING(hash_key))
        self.databases = <Database **> calloc(2 * <size_t> databases, sizeof(Database *))
        if self.databases == NULL:
            raise MemoryError("no memory for the list of databases")
        self.database_count = databases
        self.cluster = cluster
        self.effects = effects
        self.observers = []
        self.heat.log_factor = 10
        self.heat.decay_minutes = 1
        self.heat.random_state = self.store.hash_key.second | 1
        self.set_clock_ms(clock_ms)

    def __dealloc__(self):
        cdef int number
        if self.databases != NULL:
            for number in range(2 * self.database_count):
                if self.databases[number] != NULL:
                    reclaim_database(&self.reclaim, self.databases[number])
            reclaim_all(&self.reclaim)
            free(self.databases)
        heat_free(&self.heat)
        if self.store.heap != NULL:
            values_free_some(&self.store.values, <size_t> -1)
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
            database = database_new(number)
            if database == NULL:
                raise MemoryError(f"no memory for database {number}")
            self.databases[number] = database
        return database

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

    # What to raise where memory was refused. `counted`: before_change was called, and nothing has changed after all.
    cdef object no_memory(self, size_t need_bytes, bint counted):
        if counted:
            self.changes -= 1
        return MemoryError(f"no memory for an entry of {need_bytes} bytes")

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
        database_forget_fields(&self.store, database, entry)
        table.used_bytes -= self.entry_held_bytes(entry)
        table_take_out(&self.store, table, key.hash, word)
        database.count -= 1
        database.group_count[key.slot // GROUP_SLOTS] -= 1
        reclaim_entry(&self.reclaim, entry)
        return 0

    # What an entry and its value take.
    cdef uint64_t entry_held_bytes(self, Entry *entry) noexcept:
        cdef uint64_t held_bytes = heap_block_bytes(entry, entry_bytes(entry))
        if entry_encoding(entry) == ENCODING_OBJECT:
            held_bytes += (<Object *> entry_object(entry)).used_bytes
        elif entry_encoding(entry) == ENCODING_LARGE:
            held_bytes += value_held_bytes(entry_value(entry))
        return held_bytes

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
                reclaim_entry(&self.reclaim, fresh)
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
            database_forget_fields(&self.store, database, old)
            table.used_bytes -= self.entry_held_bytes(old)
            reclaim_entry(&self.reclaim, old)
        table.used_bytes += self.entry_held_bytes(fresh)
        fresh.epoch = self.epoch
        if fresh.flags & ENTRY_HAS_EXPIRY:
            database.expiry_count += 1
            self.account_expiry(database, key, entry_expiry_ms(fresh))
        return fresh

    cdef Entry *put_string(self, int database, Key *key, Span value, int64_t expire_ms) except NULL:
        cdef int64_t number = 0
        if value.len_bytes <= 20 and span_to_int64(value, &number):
            return self.put_inline(database, key, ENCODING_INT, value, number, expire_ms)
        return self.put_inline(database, key, ENCODING_RAW, value, 0, expire_ms)

    cdef Entry *put_raw(self, int database, Key *key, Span value, int64_t expire_ms) except NULL:
        return self.put_inline(database, key, ENCODING_RAW, value, 0, expire_ms)

    cdef Entry *put_int64(self, int database, Key *key, int64_t value, int64_t expire_ms) except NULL:
        return self.put_inline(database, key, ENCODING_INT, span_of(NULL, 0), value, expire_ms)

    cdef Entry *put_inline(self, int database, Key *key, int encoding, Span value, int64_t number, int64_t expire_ms) except NULL:
        cdef Database *opened = self.open_database(database)
        cdef uint64_t *word = table_find(&opened.table[key.slot], key.hash, key.name)
        cdef Entry *entry = NULL
        cdef size_t need, old_need
        cdef int64_t expiry = expire_ms
        if value.len_bytes >= VALUE_BYTES_MIN:
            return self.put_copied(database, key, value, expire_ms)
        if not fits_entry(key.name.len_bytes):
            raise OverflowError(f"a key of {key.name.len_bytes} bytes: 4 GiB is the limit")
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
            raise self.no_memory(need, word != NULL)
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
        if new_len_bytes >= VALUE_BYTES_MIN or (entry != NULL and entry_encoding(entry) == ENCODING_LARGE):
            return self.resize_value(opened, key, entry, new_len_bytes)
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
                raise self.no_memory(need, word != NULL)
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
                spare = <size_t> new_len_bytes // 2  # it grew before and will again
            before = heap_block_bytes(entry, old_need)
            moved = <Entry *> heap_resize(self.store.heap, entry, old_need, need, spare)
            if moved == NULL:
                raise self.no_memory(need, True)
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
        if len_bytes >= VALUE_BYTES_MIN:
            return self.put_own(database, key, self.new_value(len_bytes), EXPIRY_NONE)
        if not fits_entry(key.name.len_bytes) or not fits_entry(len_bytes):
            raise OverflowError(f"a key of {key.name.len_bytes} and a value of {len_bytes} bytes: 4 GiB is the limit of each")
        if word != NULL:
            self.before_change(opened, key.slot, word_entry(word[0]))
        need = entry_need(ENCODING_RAW, False, key.name.len_bytes, len_bytes)
        entry = <Entry *> heap_take(self.store.heap, need)
        if entry == NULL:
            raise self.no_memory(need, word != NULL)
        entry_write(entry, TYPE_STRING, ENCODING_RAW, key.name, EXPIRY_NONE, len_bytes)
        entry.flags |= ENTRY_EDITED
        return self.put_new(opened, key, entry, word)

    # --- large strings (value.pyx) -------------------------------------------------------------------

    # Of so many bytes, which are anything; the pin is the caller's.
    cdef Value *new_value(self, Py_ssize_t len_bytes) except NULL:
        cdef Value *value
        if not fits_entry(len_bytes):
            raise OverflowError(f"a value of {len_bytes} bytes: 4 GiB is the limit")
        value = value_new(&self.store.values, <size_t> len_bytes, <size_t> len_bytes)
        if value == NULL:
            raise MemoryError(f"no memory for a value of {len_bytes} bytes")
        value.len_bytes = <size_t> len_bytes
        return value

    cdef Entry *put_value(self, int database, Key *key, Value *value, int64_t expire_ms) except NULL:
        cdef Database *opened = self.open_database(database)
        cdef uint64_t *word = table_find(&opened.table[key.slot], key.hash, key.name)
        cdef int64_t expiry = expire_ms
        cdef size_t need
        cdef Entry *entry
        if not fits_entry(key.name.len_bytes) or not fits_entry(<Py_ssize_t> value.len_bytes):
            raise OverflowError(f"a key of {key.name.len_bytes} and a value of {value.len_bytes} bytes: 4 GiB is the limit of each")
        if word != NULL:
            self.before_change(opened, key.slot, word_entry(word[0]))
        if expire_ms == EXPIRY_KEEP:
            expiry = EXPIRY_NONE if word == NULL else entry_expiry_ms(word_entry(word[0]))
        need = entry_need(ENCODING_LARGE, expiry != EXPIRY_NONE, key.name.len_bytes, 0)
        entry = <Entry *> heap_take(self.store.heap, need)
        if entry == NULL:
            raise self.no_memory(need, word != NULL)
        entry_write(entry, TYPE_STRING, ENCODING_LARGE, key.name, expiry, 0)
        entry_set_object(entry, value)
        value_store(&self.store.values, value)
        return self.put_new(opened, key, entry, word)

    # The same, and the caller's pin goes to the entry.
    cdef Entry *put_own(self, int database, Key *key, Value *value, int64_t expire_ms) except NULL:
        try:
            return self.put_value(database, key, value, expire_ms)
        finally:
            value_unpin(&self.store.values, value)

    cdef Entry *put_copied(self, int database, Key *key, Span text, int64_t expire_ms) except NULL:
        cdef Value *value = self.new_value(text.len_bytes)
        memcpy(value_bytes(value), text.at, <size_t> text.len_bytes)
        return self.put_own(database, key, value, expire_ms)

    # resize_string, where the string is or becomes a large one.
    cdef Entry *resize_value(self, Database *database, Key *key, Entry *entry, Py_ssize_t new_len_bytes) except NULL:
        cdef Table *table = &database.table[key.slot]
        cdef uint8_t scratch[24]
        cdef Span old = span_of(NULL, 0)
        cdef size_t len_bytes = <size_t> new_len_bytes, room_bytes = len_bytes, kept_bytes
        cdef Value *value
        cdef Value *moved
        cdef bint shared
        cdef uint64_t before
        if entry != NULL:
            old = entry_string(entry, scratch)
        kept_bytes = min(<size_t> old.len_bytes, len_bytes)
        if entry == NULL or entry_encoding(entry) != ENCODING_LARGE:
            value = self.new_value(new_len_bytes)
            if kept_bytes > 0:
                memcpy(value_bytes(value), old.at, kept_bytes)
            memset(value_bytes(value) + kept_bytes, 0, len_bytes - kept_bytes)
            entry = self.put_own(database.number, key, value, EXPIRY_KEEP)
            entry.flags |= ENTRY_EDITED
            return entry
        self.before_change(database, key.slot, entry)
        entry.flags |= ENTRY_EDITED
        heat_touch(&self.heat, entry)
        value = entry_value(entry)
        shared = value.pins > 0
        before = value_held_bytes(value)
        if len_bytes > value.room_bytes:
            # It grew before and will again: half as much once more, 1 MiB at most.
            room_bytes = len_bytes + min(len_bytes // 2, <size_t> APPEND_SPARE_BYTES_MAX)
        elif len_bytes >= value.room_bytes // 2:
            room_bytes = value.room_bytes
        if shared:  # what others are reading stays as it is
            moved = value_copy(&self.store.values, value, room_bytes)
        elif room_bytes != value.room_bytes:
            moved = value_resize(&self.store.values, value, room_bytes, room_bytes)
        else:
            moved = value
        if moved == NULL:
            raise self.no_memory(room_bytes, True)
        if shared:
            value_leave(&self.store.values, value)
            value_store(&self.store.values, moved)
            value_unpin(&self.store.values, moved)
        entry_set_object(entry, moved)
        moved.len_bytes = len_bytes
        table.used_bytes += value_held_bytes(moved) - before
        if kept_bytes < len_bytes:
            memset(value_bytes(moved) + kept_bytes, 0, len_bytes - kept_bytes)
        return entry

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
            raise self.no_memory(need, True)
        memcpy(moved, entry, 8)
        offset = entry_word_offset(entry)
        moved.flags ^= ENTRY_HAS_EXPIRY
        memcpy(<uint8_t *> moved + entry_word_offset(moved), <uint8_t *> entry + offset, old_need - offset)
        if not has:
            entry_set_expiry_ms(moved, when_ms)
        if entry_encoding(entry) == ENCODING_OBJECT or entry_encoding(entry) == ENCODING_LARGE:
            self.leave_word(opened, key, entry)
        return self.put_new(opened, key, moved, word)

    cdef void leave_word(self, Database *database, Key *key, Entry *entry) noexcept:
        database.table[key.slot].used_bytes -= self.entry_held_bytes(entry) - heap_block_bytes(entry, entry_bytes(entry))
        entry.kind = <uint8_t> (entry_type(entry) | ENCODING_INT << 4)

    cdef bint remove(self, int database, Key *key) except -1:
        cdef Database *opened = self.databases[database]
        if self.find(database, key) == NULL:
            return False
        self.drop(opened, key, table_find(&opened.table[key.slot], key.hash, key.name))
        return True

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
        cdef uint64_t waiting_bytes = self.reclaim.condemned_bytes + self.store.values.condemned_bytes + self.store.values.loose_bytes
        waiting_bytes += reclaim_pinned_bytes(&self.reclaim)
        return used_bytes - waiting_bytes if used_bytes > waiting_bytes else 0

    cdef uint64_t held_bytes(self) noexcept:
        return self.store.heap.held_bytes
