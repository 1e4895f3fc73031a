"""Hashes: a run of field, value, field, value ... inline in the key's entry, or a table of members.

    small    | field | value | field | value | ...            packed elements (run.pyx), in the order of their coming
    large    Members (members.pyx): an entry for each field, its value behind its name, 40 bytes for 16 and 16

A hash becomes large when it has more than hash-max-listpack-entries fields, when a field or value is longer than
hash-max-listpack-value, and when a field gets an expiry: only members can carry one. It stays large, as in Redis.

Rejected: a run with an expiry for each field (Redis's listpackex). It saves memory for small hashes with expiries, and
costs a second form of every function here, and a scan of the run for each look at what is due.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

from node.engine.alloc cimport heap_give
from node.engine.due cimport due_any, due_count
from node.engine.entry cimport (
    ENCODING_FIELD,
    ENCODING_OBJECT,
    ENCODING_RAW,
    FIELD_BYTES_MAX,
    TYPE_HASH,
    entry_encoding,
    entry_expiry_ms,
    entry_key,
    entry_mutable_bytes,
    entry_object,
    entry_run,
    fits_entry,
)
from node.engine.keyspace cimport EXPIRY_KEEP, EXPIRY_NONE, Edit
from node.engine.lapse cimport lapse_announce, lapse_note
from node.engine.members cimport (
    members_count,
    members_empty_some,
    members_find,
    members_new,
    members_put,
    members_remove,
    members_set_expiry,
    members_walk,
)
from node.engine.run cimport Item, item_bytes, item_of, item_text, item_write, run_count, run_find, run_next, run_skip
from node.engine.span cimport span_of
from node.engine.splice cimport splice_run

cdef enum:
    ON_STACK_BYTES = 1024  # a new run up to this size is put together without an allocation


# --- reading ----------------------------------------------------------------------------------------------

cdef Members *hash_members(Entry *entry) noexcept nogil:
    return <Members *> entry_object(entry) if entry_encoding(entry) == ENCODING_OBJECT else NULL


cdef int64_t hash_count(Keyspace keyspace, Entry *entry) noexcept:
    cdef Members *members = hash_members(entry)
    cdef int64_t count
    if members == NULL:
        return run_count(entry_run(entry)) // 2
    count = members_count(members)
    if members.expiry_count > 0 and not keyspace.applying and due_any(members, keyspace.now_ms):
        count -= due_count(members, keyspace.now_ms)
    return count


cdef bint hash_get(Keyspace keyspace, Entry *entry, Span field, Span *value, uint8_t *digits) noexcept:
    cdef Members *members = hash_members(entry)
    cdef Entry *member
    cdef Item item
    cdef Span run
    cdef const uint8_t *at
    cdef Py_ssize_t index = 0
    if members != NULL:
        member = members_find(&keyspace.store, members, field)
        if member == NULL or keyspace.is_expired(member):
            return False
        value[0] = entry_run(member)
        return True
    run = entry_run(entry)
    item = item_of(field)
    at = run_find(run, &item, 0, 2, &index)
    if at == NULL:
        return False
    run_next(run_skip(at), run.at + run.len_bytes, &item)
    value[0] = item_text(&item, digits)
    return True


cdef bint hash_expiry(Keyspace keyspace, Entry *entry, Span field, int64_t *when_ms) noexcept:
    cdef Members *members = hash_members(entry)
    cdef Entry *member
    cdef Span value
    cdef uint8_t digits[24]
    when_ms[0] = FIELD_NO_EXPIRY
    if members == NULL:
        return hash_get(keyspace, entry, field, &value, digits)
    member = members_find(&keyspace.store, members, field)
    if member == NULL or keyspace.is_expired(member):
        return False
    when_ms[0] = entry_expiry_ms(member)
    return True


cdef void fields_begin(Entry *entry, Fields *fields) noexcept:
    cdef Span run
    fields.members = hash_members(entry)
    fields.cursor = 0
    fields.walked = False
    fields.count = 0
    fields.index = 0
    if fields.members == NULL:
        run = entry_run(entry)
        fields.at = run.at
        fields.end = run.at + run.len_bytes


cdef bint fields_next(Keyspace keyspace, Fields *fields, Span *name, Span *value) noexcept:
    cdef Item item
    cdef Entry *member
    if fields.members == NULL:
        if fields.at == fields.end:
            return False
        fields.at = run_next(fields.at, fields.end, &item)
        name[0] = item_text(&item, fields.name_digits)
        fields.at = run_next(fields.at, fields.end, &item)
        value[0] = item_text(&item, fields.value_digits)
        return True
    while True:
        while fields.index == fields.count:
            if fields.walked:
                return False
            fields.count = members_walk(fields.members, &fields.cursor, fields.found)
            fields.index = 0
            fields.walked = fields.cursor == 0
        member = fields.found[fields.index]
        fields.index += 1
        if not keyspace.is_expired(member):
            name[0] = entry_key(member)
            value[0] = entry_run(member)
            return True


# --- the large form -----------------------------------------------------------------------------------------

# Sets a field of a large hash that is in nobody's sight or within an edit.
cdef int _put_member(Keyspace keyspace, Members *members, Span field, Span value, int64_t expiry_ms) except -1:
    cdef int encoding = ENCODING_FIELD if value.len_bytes <= FIELD_BYTES_MAX else ENCODING_RAW
    if not fits_entry(field.len_bytes) or not fits_entry(value.len_bytes):
        raise OverflowError(f"a field of {field.len_bytes} and a value of {value.len_bytes} bytes: 4 GiB is the limit of each")
    if members_put(&keyspace.store, members, field, encoding, value, 0, expiry_ms) == NULL:
        raise MemoryError(f"no memory for a field of {field.len_bytes} and a value of {value.len_bytes} bytes")
    return 0


cdef Members *_new_members(Keyspace keyspace) except NULL:
    cdef Members *members = members_new(&keyspace.store, TYPE_HASH, sizeof(Members))
    if members == NULL:
        raise MemoryError("no memory for a hash")
    return members


# Frees a structure that never came to a key.
cdef int _discard(Keyspace keyspace, Members *members) noexcept:
    cdef int64_t budget = 0x7FFFFFFFFFFFFFFF
    members_empty_some(&keyspace.store, members, &budget)
    heap_give(keyspace.store.heap, members, sizeof(Members))
    return 0


cdef Entry *hash_make_large(Keyspace keyspace, int database, Key *key, Entry *entry) except NULL:
    cdef Members *members
    cdef Fields fields
    cdef Span name, value
    if entry_encoding(entry) == ENCODING_OBJECT:
        return entry
    members = _new_members(keyspace)
    try:
        fields_begin(entry, &fields)
        while fields_next(keyspace, &fields, &name, &value):
            _put_member(keyspace, members, name, value, FIELD_NO_EXPIRY)
    except BaseException:
        _discard(keyspace, members)
        raise
    return keyspace.put_object(database, key, &members.head, EXPIRY_KEEP)


# --- changing -----------------------------------------------------------------------------------------------

cdef inline bint _is_small(Keyspace keyspace, Span text) noexcept:
    return text.len_bytes <= keyspace.limits.hash_run_value_bytes


cdef Entry *hash_create(Keyspace keyspace, int database, Key *key, const Span *pairs, int pair_count, int64_t *created) except NULL:
    cdef bint small = pair_count <= keyspace.limits.hash_run_fields
    cdef Py_ssize_t need = 0
    cdef Item item
    cdef Members *members
    cdef int index
    for index in range(2 * pair_count):
        if not small:
            break
        item = item_of(pairs[index])
        need += item_bytes(&item)
        small = _is_small(keyspace, pairs[index])
    if small:
        return _create_run(keyspace, database, key, pairs, pair_count, need, created)
    members = _new_members(keyspace)
    try:
        for index in range(pair_count):
            _put_member(keyspace, members, pairs[2 * index], pairs[2 * index + 1], FIELD_NO_EXPIRY)
    except BaseException:
        _discard(keyspace, members)
        raise
    created[0] = members_count(members)
    return keyspace.put_object(database, key, &members.head, EXPIRY_NONE)


cdef Entry *_create_run(
    Keyspace keyspace, int database, Key *key, const Span *pairs, int pair_count, Py_ssize_t need, int64_t *created
) except NULL:
    cdef uint8_t on_stack[ON_STACK_BYTES]
    cdef uint8_t *run = on_stack
    cdef uint8_t *end
    cdef uint8_t *at
    cdef Item field, value
    cdef Py_ssize_t which = 0
    cdef int index
    if need > ON_STACK_BYTES:
        run = <uint8_t *> malloc(<size_t> need)
        if run == NULL:
            raise MemoryError(f"no memory for a run of {need} bytes")
    end = run
    created[0] = 0
    try:
        for index in range(pair_count):
            field = item_of(pairs[2 * index])
            value = item_of(pairs[2 * index + 1])
            at = <uint8_t *> run_find(span_of(run, end - run), &field, 0, 2, &which)
            if at == NULL:
                end = item_write(end, &field)
                end = item_write(end, &value)
                created[0] += 1
            else:
                end = _replace(<uint8_t *> run_skip(at), end, &value)
        return keyspace.put_run(database, key, TYPE_HASH, span_of(run, end - run), EXPIRY_NONE)
    finally:
        if run != on_stack:
            free(run)


# Another element in the place of the one at `at`; there is room behind the end of the run. Returns the new end.
cdef uint8_t *_replace(uint8_t *at, uint8_t *end, const Item *item) noexcept:
    cdef uint8_t *behind = <uint8_t *> run_skip(at)
    cdef Py_ssize_t need = item_bytes(item)
    memmove(at + need, behind, <size_t> (end - behind))
    item_write(at, item)
    return at + need + (end - behind)


cdef Entry *hash_put(
    Keyspace keyspace, int database, Key *key, Entry *entry, Span field, Span value, int64_t expiry_ms, bint *created
) except NULL:
    cdef Span pair[2]
    cdef Item name_item, item
    cdef Span run
    cdef const uint8_t *at
    cdef uint8_t *into
    cdef Py_ssize_t index = 0, name_bytes, offset
    cdef int64_t count = 0
    cdef bint again = False
    if entry == NULL:
        pair[0] = field
        pair[1] = value
        entry = hash_create(keyspace, database, key, pair, 1, &count)
        created[0] = True
        if expiry_ms < 0:
            return entry
        entry = hash_make_large(keyspace, database, key, entry)
        return _put_large(keyspace, database, key, entry, field, value, expiry_ms, &again)
    if entry_encoding(entry) == ENCODING_OBJECT:
        return _put_large(keyspace, database, key, entry, field, value, expiry_ms, created)
    if expiry_ms >= 0 or not _is_small(keyspace, field) or not _is_small(keyspace, value):
        entry = hash_make_large(keyspace, database, key, entry)
        return _put_large(keyspace, database, key, entry, field, value, expiry_ms, created)
    run = entry_run(entry)
    name_item = item_of(field)
    item = item_of(value)
    at = run_find(run, &name_item, 0, 2, &index)
    if at != NULL:
        created[0] = False
        at = run_skip(at)
        offset = at - run.at
        entry = splice_run(keyspace, database, key, entry, offset, run_skip(at) - at, item_bytes(&item))
        item_write(entry_mutable_bytes(entry) + offset, &item)
        return entry
    created[0] = True
    # Two elements have two bytes at least: most hashes need not be counted.
    if run.len_bytes // 2 >= keyspace.limits.hash_run_fields:
        if run_count(run) // 2 >= keyspace.limits.hash_run_fields:
            entry = hash_make_large(keyspace, database, key, entry)
            return _put_large(keyspace, database, key, entry, field, value, expiry_ms, created)
    name_bytes = item_bytes(&name_item)
    entry = splice_run(keyspace, database, key, entry, run.len_bytes, 0, name_bytes + item_bytes(&item))
    into = entry_mutable_bytes(entry) + run.len_bytes
    item_write(item_write(into, &name_item), &item)
    return entry


cdef Entry *_put_large(
    Keyspace keyspace, int database, Key *key, Entry *entry, Span field, Span value, int64_t expiry_ms, bint *created
) except NULL:
    cdef Members *members = <Members *> entry_object(entry)
    cdef int64_t before = members_count(members)
    cdef Entry *member = NULL
    cdef bint was_expired = False
    cdef Edit edit
    if members.expiry_count > 0:
        member = members_find(&keyspace.store, members, field)
        was_expired = member != NULL and keyspace.is_expired(member)
    if expiry_ms == FIELD_KEEP_EXPIRY:
        expiry_ms = FIELD_NO_EXPIRY if member == NULL or was_expired else entry_expiry_ms(member)
    if was_expired:  # HSETNX, HINCRBY and their like must find it missing on replicas, too
        lapse_announce(keyspace, database, key.name, field)
    keyspace.begin_edit(database, key, entry, &edit)
    try:
        _put_member(keyspace, members, field, value, expiry_ms)
    finally:
        keyspace.end_edit(&edit)
    created[0] = was_expired or members_count(members) != before
    if expiry_ms >= 0:
        lapse_note(keyspace, database, key, entry)
    return entry


cdef Entry *hash_set_expiry(Keyspace keyspace, int database, Key *key, Entry *entry, Span field, int64_t when_ms) except NULL:
    cdef Members *members
    cdef Edit edit
    cdef bint done
    if entry_encoding(entry) != ENCODING_OBJECT:
        if when_ms < 0:
            return entry
        entry = hash_make_large(keyspace, database, key, entry)
    members = <Members *> entry_object(entry)
    keyspace.begin_edit(database, key, entry, &edit)
    done = members_set_expiry(&keyspace.store, members, field, when_ms) != NULL
    keyspace.end_edit(&edit)
    if not done:
        raise MemoryError(f"no memory for a field of {field.len_bytes} bytes with an expiry")
    if when_ms >= 0:
        lapse_note(keyspace, database, key, entry)
    return entry


cdef Entry *hash_remove(Keyspace keyspace, int database, Key *key, Entry *entry, Span field, bint *removed) except? NULL:
    cdef Members *members = hash_members(entry)
    cdef Entry *member
    cdef Item item
    cdef Span run
    cdef const uint8_t *at
    cdef Py_ssize_t index = 0, len_bytes
    cdef Edit edit
    removed[0] = False
    if members != NULL:
        member = members_find(&keyspace.store, members, field)
        if member == NULL or keyspace.is_expired(member):  # what has expired goes with an effect of its own
            return entry
        removed[0] = True
        keyspace.begin_edit(database, key, entry, &edit)
        members_remove(&keyspace.store, members, field)
        keyspace.end_edit(&edit)
        if members_count(members) > 0:
            return entry
    else:
        run = entry_run(entry)
        item = item_of(field)
        at = run_find(run, &item, 0, 2, &index)
        if at == NULL:
            return entry
        removed[0] = True
        len_bytes = run_skip(run_skip(at)) - at
        if len_bytes < run.len_bytes:
            return splice_run(keyspace, database, key, entry, at - run.at, len_bytes, 0)
    keyspace.remove(database, key)
    return NULL
