"""The members of a large hash, set or sorted set.

The same table that holds keys (table.pyx), and in it the same entries (entry.pyx), so that a field can expire like a
key. What differs is what an entry carries beside the member's name:

    set          nothing                              8 + 16 = 24 bytes, and the table's 12, for 16-byte members
    sorted set   the eight bytes of its score         8 + 8 + 16 = 32
    hash         the value; its length stands where a key keeps its recency      8 + 16 + 16 = 40

A sorted set points from its index at these entries (ordered.pyx): they stay where they are until their member is
put again or removed.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from node.engine.alloc cimport SMALL_BYTES_MAX, block_arena, heap_block_bytes, heap_give, heap_take
from node.engine.entry cimport (
    ENCODING_INT,
    ENTRY_HAS_EXPIRY,
    ENTRY_HEADER_BYTES,
    entry_bytes,
    entry_encoding,
    entry_expiry_ms,
    entry_int64,
    entry_key,
    entry_mutable_bytes,
    entry_need,
    entry_run,
    entry_set_expiry_ms,
    entry_set_int64,
    entry_set_raw_len,
    entry_word_offset,
    entry_write,
    is_inline,
)
from node.engine.hashing cimport hash_span
from node.engine.span cimport span_of
from node.engine.table cimport (
    GATHER_MAX,
    __builtin_prefetch,
    table_candidate,
    table_dismantle,
    table_find,
    table_gather,
    table_held_bytes,
    table_insert,
    table_leave,
    table_note_expiry,
    table_prefetch,
    table_random,
    table_take_out,
    word_entry,
    word_replace,
)


cdef Members *members_new(Store *store, int type, size_t struct_bytes) noexcept nogil:
    cdef Members *members = <Members *> heap_take(store.heap, struct_bytes)
    if members == NULL:
        return NULL
    memset(members, 0, struct_bytes)
    members.head.type = <uint8_t> type
    members.head.used_bytes = heap_block_bytes(members, struct_bytes)
    return members


# The store as this collection hashes with it: the structure's address goes into the key, so that no two collections
# have the same order. If they had, whatever is copied from one to another would come in the order of the hash: a
# table that grows meanwhile would take in all of it at one end.
cdef inline Store _own(Store *store, const Members *members) noexcept nogil:
    cdef Store own = store[0]
    own.hash_key.first ^= <uint64_t> members
    return own


cdef int64_t members_count(const Members *members) noexcept nogil:
    return members.table.root.count


cdef Entry *members_find(Store *store, Members *members, Span name) noexcept nogil:
    cdef Store own = _own(store, members)
    cdef uint64_t *word = table_find(&members.table, hash_span(&own.hash_key, name), name)
    return NULL if word == NULL else word_entry(word[0])


cdef void members_prefetch(Store *store, Members *members, Entry **named, uint32_t count) noexcept nogil:
    cdef Store own = _own(store, members)
    cdef uint64_t hashes[GATHER_MAX]
    cdef uint64_t *word
    cdef uint32_t index
    for index in range(count):
        hashes[index] = hash_span(&own.hash_key, entry_key(named[index]))
        table_prefetch(&members.table, hashes[index])
    for index in range(count):
        word = table_candidate(&members.table, hashes[index])
        if word != NULL:
            __builtin_prefetch(word_entry(word[0]))


cdef inline void _fill(Entry *entry, int encoding, Span value, int64_t number) noexcept nogil:
    if encoding == ENCODING_INT:
        entry_set_int64(entry, number)
    elif is_inline(encoding) and value.len_bytes > 0:
        memcpy(entry_mutable_bytes(entry), value.at, <size_t> value.len_bytes)


cdef Entry *members_put(
    Store *store, Members *members, Span name, int encoding, Span value, int64_t number, int64_t expiry_ms
) noexcept nogil:
    cdef Table *table = &members.table
    cdef Store own = _own(store, members)
    cdef uint64_t hash = hash_span(&own.hash_key, name)
    cdef uint64_t *word = table_find(table, hash, name)
    cdef uint64_t before_bytes = table.used_bytes
    cdef size_t need = entry_need(encoding, expiry_ms != -1, name.len_bytes, value.len_bytes)
    cdef size_t old_need
    cdef Entry *old = NULL
    cdef Entry *fresh
    if word != NULL:
        old = word_entry(word[0])
        members_before(members, old)
        old_need = entry_bytes(old)
        if entry_encoding(old) == encoding and (expiry_ms != -1) == (old.flags & ENTRY_HAS_EXPIRY != 0):
            # The same shape and block: only the value changes.
            if need == old_need or (
                need <= SMALL_BYTES_MAX and old_need <= SMALL_BYTES_MAX and (need + 7) >> 3 == (old_need + 7) >> 3
            ):
                if is_inline(encoding):
                    entry_set_raw_len(old, value.len_bytes)
                _fill(old, encoding, value, number)
                if expiry_ms != -1:
                    entry_set_expiry_ms(old, expiry_ms)
                    table_note_expiry(table, hash, expiry_ms)
                return old
    fresh = <Entry *> heap_take(store.heap, need)
    if fresh == NULL:
        return NULL
    entry_write(fresh, members.head.type, encoding, name, expiry_ms, value.len_bytes)
    _fill(fresh, encoding, value, number)
    fresh.epoch = members.head.polarity
    if old == NULL:
        if table_insert(&own, table, hash, fresh) == NULL:
            heap_give(store.heap, fresh, need)
            members.head.used_bytes += table.used_bytes - before_bytes
            return NULL
    else:
        word_replace(word, fresh)
        if old.flags & ENTRY_HAS_EXPIRY:
            members.expiry_count -= 1
        table.used_bytes -= heap_block_bytes(old, old_need)
        heap_give(store.heap, old, old_need)
    table.used_bytes += heap_block_bytes(fresh, need)
    if expiry_ms != -1:
        members.expiry_count += 1
        table_note_expiry(table, hash, expiry_ms)
    members.head.used_bytes += table.used_bytes - before_bytes
    return fresh


cdef Entry *members_set_expiry(Store *store, Members *members, Span name, int64_t expiry_ms) noexcept nogil:
    cdef Table *table = &members.table
    cdef Store own = _own(store, members)
    cdef uint64_t hash = hash_span(&own.hash_key, name)
    cdef uint64_t *word = table_find(table, hash, name)
    cdef Entry *entry = word_entry(word[0])
    cdef bint has = entry.flags & ENTRY_HAS_EXPIRY != 0
    cdef size_t need = entry_bytes(entry), offset = entry_word_offset(entry), fresh_need
    cdef Entry *fresh
    members_before(members, entry)
    if has == (expiry_ms != -1):
        if has:
            entry_set_expiry_ms(entry, expiry_ms)
            table_note_expiry(table, hash, expiry_ms)
        return entry
    fresh_need = need - 8 if has else need + 8
    fresh = <Entry *> heap_take(store.heap, fresh_need)
    if fresh == NULL:
        return NULL
    memcpy(fresh, entry, ENTRY_HEADER_BYTES)
    fresh.flags ^= ENTRY_HAS_EXPIRY
    memcpy(<uint8_t *> fresh + entry_word_offset(fresh), <uint8_t *> entry + offset, need - offset)
    word_replace(word, fresh)
    if has:
        members.expiry_count -= 1
    else:
        members.expiry_count += 1
        entry_set_expiry_ms(fresh, expiry_ms)
        table_note_expiry(table, hash, expiry_ms)
    table.used_bytes += heap_block_bytes(fresh, fresh_need) - heap_block_bytes(entry, need)
    members.head.used_bytes += heap_block_bytes(fresh, fresh_need) - heap_block_bytes(entry, need)
    heap_give(store.heap, entry, need)
    return fresh


cdef bint members_remove(Store *store, Members *members, Span name) noexcept nogil:
    cdef Table *table = &members.table
    cdef Store own = _own(store, members)
    cdef uint64_t hash = hash_span(&own.hash_key, name)
    cdef uint64_t *word = table_find(table, hash, name)
    cdef uint64_t before_bytes = table.used_bytes
    cdef Entry *entry
    cdef size_t need
    if word == NULL:
        return False
    entry = word_entry(word[0])
    members_before(members, entry)
    need = entry_bytes(entry)
    if entry.flags & ENTRY_HAS_EXPIRY:
        members.expiry_count -= 1
    table.used_bytes -= heap_block_bytes(entry, need)
    table_take_out(&own, table, hash, word)
    heap_give(store.heap, entry, need)
    members.head.used_bytes += table.used_bytes - before_bytes
    return True


cdef uint32_t members_walk(Members *members, uint64_t *cursor, Entry **into) noexcept nogil:
    cdef uint64_t words[GATHER_MAX]
    cdef uint32_t following = 0
    cdef uint32_t found, index
    if members.table.root.count == 0 or cursor[0] > 0xFFFFFFFFULL:
        cursor[0] = 0
        return 0
    found = table_gather(&members.table, <uint32_t> cursor[0], words, GATHER_MAX, &following)
    if found > GATHER_MAX:  # 256 of one bucket: the hash is keyed, so nobody can bring this about
        found = GATHER_MAX
    for index in range(found):
        into[index] = word_entry(words[index])
        __builtin_prefetch(into[index])  # all at once, where reading one after the other would wait for each
    cursor[0] = following
    return found


cdef Entry *members_random(Members *members, uint64_t random) noexcept nogil:
    return word_entry(table_random(&members.table, random))


cdef bint members_empty_some(Store *store, Members *members, int64_t *budget) noexcept nogil:
    cdef uint64_t words[GATHER_MAX]
    cdef uint32_t found, index, following
    cdef uint64_t before_bytes = members.table.used_bytes
    cdef Entry *entry
    if members.table.root.count > 0:
        while True:
            if budget[0] <= 0:
                return True
            found = table_gather(&members.table, members.free_position, words, GATHER_MAX, &following)
            for index in range(found):  # both lines are far away, and all of a bucket's come at once
                entry = word_entry(words[index])
                __builtin_prefetch(entry)
                __builtin_prefetch(block_arena(entry))
            for index in range(found):
                entry = word_entry(words[index])
                members.table.used_bytes -= heap_block_bytes(entry, entry_bytes(entry))
                heap_give(store.heap, entry, entry_bytes(entry))
            table_leave(store, &members.table, members.free_position, following)
            members.head.used_bytes += members.table.used_bytes - before_bytes
            before_bytes = members.table.used_bytes
            budget[0] -= found + 1
            members.free_position = following
            if following == 0:
                break
    table_dismantle(store, &members.table)
    return False


cdef Members *members_copy(Store *store, Members *members, size_t struct_bytes) noexcept nogil:
    cdef Members *copied = members_new(store, members.head.type, struct_bytes)
    cdef Entry *found[GATHER_MAX]
    cdef uint64_t cursor = 0
    cdef uint32_t count, index
    cdef Entry *entry
    cdef int encoding
    cdef int64_t budget
    if copied == NULL:
        return NULL
    while True:
        count = members_walk(members, &cursor, found)
        for index in range(count):
            entry = found[index]
            encoding = entry_encoding(entry)
            if members_put(
                store,
                copied,
                entry_key(entry),
                encoding,
                entry_run(entry) if is_inline(encoding) else span_of(NULL, 0),
                entry_int64(entry) if encoding == ENCODING_INT else 0,
                entry_expiry_ms(entry),
            ) == NULL:
                budget = 0x7FFFFFFFFFFFFFFF
                members_empty_some(store, copied, &budget)
                heap_give(store.heap, copied, struct_bytes)
                return NULL
        if cursor == 0:
            return copied


cdef uint64_t members_held_bytes(Store *store, Members *members, size_t struct_bytes) noexcept nogil:
    cdef uint64_t held_bytes = heap_block_bytes(members, struct_bytes) + table_held_bytes(&members.table)
    cdef Entry *found[GATHER_MAX]
    cdef uint64_t cursor = 0
    cdef uint32_t count, index
    while True:
        count = members_walk(members, &cursor, found)
        for index in range(count):
            held_bytes += heap_block_bytes(found[index], entry_bytes(found[index]))
        if cursor == 0:
            return held_bytes
