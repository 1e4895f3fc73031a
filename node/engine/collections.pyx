"""Collections as the values of entries.

A small one is a run (run.pyx) in its key's entry, in the place of a string's bytes. A large one is a structure of its own
(large.pyx knows them all) to which the entry points; it stays where it is while it changes, and begin_edit and end_edit
stand around each such change: before it for whoever must see the value as it was, after it for the bytes of
the slot. A structure that is put belongs to the keyspace, and one that leaves its entry is freed in the background.
"""

from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memmove

from node.engine.alloc cimport BLOCK_BYTES_MAX, SMALL_BYTES_MAX, heap_block_bytes, heap_give, heap_resize, heap_take
from node.engine.database cimport database_forget_fields, database_note_fields
from node.engine.entries cimport EXPIRY_KEEP, EXPIRY_NONE
from node.engine.entry cimport (
    ENCODING_INT,
    ENCODING_LARGE,
    ENCODING_OBJECT,
    ENCODING_RAW,
    ENTRY_EDITED,
    ENTRY_SORTED,
    TYPE_HASH,
    entry_bytes,
    entry_encoding,
    entry_expiry_ms,
    entry_int64,
    entry_mutable_bytes,
    entry_need,
    entry_object,
    entry_run,
    entry_set_int64,
    entry_set_object,
    entry_set_raw_len,
    entry_type,
    entry_value,
    entry_write,
    fits_entry,
)
from node.engine.heat cimport heat_touch
from node.engine.large cimport object_copy, object_count
from node.engine.members cimport Members
from node.engine.reclaim cimport reclaim_object
from node.engine.span cimport span_bytes, span_of
from node.engine.table cimport table_find, word_entry, word_replace
from node.engine.value cimport Value, value_leave, value_pin, value_span


cdef class Collections(Entries):
    def __cinit__(self):
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
            raise self.no_memory(need, word != NULL)
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
            raise self.no_memory(need, True)
        entry_set_raw_len(moved, new_len_bytes)
        table.used_bytes += heap_block_bytes(moved, need) - before
        word_replace(word, moved)
        return moved

    cdef Entry *cut_run(self, int database, Key *key, Entry *entry, Py_ssize_t offset, Py_ssize_t gone_bytes) except NULL:
        cdef Database *opened = self.open_database(database)
        cdef Table *table = &opened.table[key.slot]
        cdef uint64_t *word = table_find(table, key.hash, key.name)
        cdef Span run = entry_run(entry)
        cdef size_t old_need = entry_bytes(entry), need = old_need - <size_t> gone_bytes
        cdef size_t front = <size_t> (run.at - <const uint8_t *> entry + offset)
        cdef size_t behind = <size_t> (run.len_bytes - offset - gone_bytes)
        cdef uint64_t before = heap_block_bytes(entry, old_need)
        cdef Entry *moved = entry
        cdef Entry *shorter
        self.before_change(opened, key.slot, entry)
        heat_touch(&self.heat, entry)
        if gone_bytes == 0:
            return entry
        if need <= BLOCK_BYTES_MAX and heap_block_bytes(entry, need) != before:
            moved = <Entry *> heap_take(self.store.heap, need)
            if moved == NULL:
                raise self.no_memory(need, True)
            memcpy(moved, entry, front)
        memmove(<uint8_t *> moved + front, <uint8_t *> entry + front + gone_bytes, behind)
        if moved != entry:
            heap_give(self.store.heap, entry, old_need)
        elif need > BLOCK_BYTES_MAX:
            shorter = <Entry *> heap_resize(self.store.heap, entry, old_need, need, 0)
            if shorter != NULL:  # otherwise it stays as long as it is
                moved = shorter
        entry_set_raw_len(moved, run.len_bytes - gone_bytes)
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
                raise self.no_memory(need, word != NULL)
        except BaseException:
            self.give_up(value)
            raise
        entry_write(entry, value.type, ENCODING_OBJECT, key.name, expiry, 0)
        entry_set_object(entry, value)
        entry = self.put_new(opened, key, entry, word)
        if value.type == TYPE_HASH and (<Members *> value).expiry_count > 0:
            database_note_fields(&self.store, opened, key.name, (<Members *> value).table.root.next_expiry_ms)
        return entry

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
        cdef Value *text
        cdef Entry *fresh
        if entry == NULL:
            raise KeyError(span_bytes(key.name))
        if entry_encoding(entry) == ENCODING_LARGE:
            text = entry_value(entry)
            value_pin(text)
            self.before_change(opened, key.slot, entry)
            self.leave_word(opened, key, entry)
            value_leave(&self.store.values, text)
            try:
                fresh = self.put_own(to_database, new_key, text, entry_expiry_ms(entry))
            except BaseException:  # it had no other owner
                self.remove(database, key)
                raise
        elif entry_encoding(entry) != ENCODING_OBJECT:
            fresh = self.put_copy(to_database, new_key, entry)
        else:
            value = <Object *> entry_object(entry)
            self.before_change(opened, key.slot, entry)
            database_forget_fields(&self.store, opened, entry)
            self.leave_word(opened, key, entry)
            try:
                fresh = self.put_object(to_database, new_key, value, entry_expiry_ms(entry))
            except BaseException:  # put_object has given the structure up
                self.remove(database, key)
                raise
        self.remove(database, key)
        return fresh

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
        if encoding == ENCODING_LARGE:
            fresh = self.put_copied(database, key, value_span(entry_value(entry)), expiry)
            fresh.flags |= entry.flags & ENTRY_EDITED
            return fresh
        if encoding == ENCODING_RAW:
            value = entry_run(entry)
        if word != NULL:
            self.before_change(opened, key.slot, word_entry(word[0]))
        need = entry_need(encoding, expiry != EXPIRY_NONE, key.name.len_bytes, value.len_bytes)
        fresh = <Entry *> heap_take(self.store.heap, need)
        if fresh == NULL:
            raise self.no_memory(need, word != NULL)
        entry_write(fresh, entry_type(entry), encoding, key.name, expiry, value.len_bytes)
        fresh.flags |= entry.flags & (ENTRY_EDITED | ENTRY_SORTED)
        if encoding == ENCODING_INT:
            entry_set_int64(fresh, entry_int64(entry))
        elif value.len_bytes > 0:
            memcpy(entry_mutable_bytes(fresh), value.at, <size_t> value.len_bytes)
        return self.put_new(opened, key, fresh, word)

    cdef void give_up(self, Object *value) noexcept:
        reclaim_object(&self.reclaim, value)

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
