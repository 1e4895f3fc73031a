"""A list as commands see it: a run in its entry while it is small, chunks when it is large.

Up to 512 bytes a list is a run: one allocation for key and all, nothing to follow. A run is read from its front and
has no count, which costs next to nothing at that size, and a change writes it anew: at most 512 bytes are copied.
Beyond that it becomes chunks (chunks.pyx), and a run again when it has shrunk to half of it.

OBJECT ENCODING does not tell the two apart. It says what Redis 7.2 would have: a listpack up to
list-max-listpack-size, and again once the list has shrunk to half of that; a quicklist otherwise. So a list that Redis would
call a quicklist is in chunks here, however small, for the entry of a run has no place to say so.
"""

from libc.stdint cimport INT64_MAX
from libc.string cimport memcpy, memmove

from node.engine.chunks cimport (
    ListChunk,
    ListCursor,
    back_bytes,
    chunk_bytes,
    list_adopt,
    list_chunk,
    list_drop,
    list_end,
    list_free_some,
    list_insert,
    list_item,
    list_join,
    list_new,
    list_next,
    list_previous,
    list_push,
    list_remove,
    list_replace,
    list_seek,
)
from node.engine.entry cimport TYPE_LIST, entry_mutable_bytes, entry_run
from node.engine.keyspace cimport EXPIRY_KEEP, EXPIRY_NONE, Edit
from node.engine.object cimport Object
from node.engine.run cimport (
    item_bytes,
    item_equal,
    item_of,
    item_write,
    run_at,
    run_count,
    run_find,
    run_next,
    run_skip,
)
from node.engine.span cimport span_of

cdef enum:
    LISTPACK_FRAME_BYTES = 7  # of Redis's listpack, beside its elements
    LISTPACK_BYTES_MAX = 8192  # where only a number of elements is given
    TEXT_BYTES_MAX = 0xFFFFFF00  # with its frame an element stays below 4 GiB
    DROPPED_AT_ONCE = 64  # chunks; more are given back in the background


# --- limits ----------------------------------------------------------------------------------------------

# Whether a listpack of so many bytes and elements is beyond list-max-listpack-size (or a part of it).
cdef bint _exceeds(Keyspace keyspace, int64_t listpack_bytes, int64_t count, int part) noexcept:
    cdef int64_t limit = keyspace.limits.list_chunk
    if limit >= 0:
        return listpack_bytes > LISTPACK_BYTES_MAX or count > max(limit, <int64_t> 1) // part
    return listpack_bytes > (<int64_t> 4096 << min(-limit - 1, <int64_t> 4)) // part


cdef int _check_text(Span text) except -1:
    if text.len_bytes > <Py_ssize_t> TEXT_BYTES_MAX:
        raise OverflowError(f"a list's element of {text.len_bytes} bytes: 4 GiB is the limit")
    return 0


cdef int _no_memory() except -1:
    raise MemoryError("no memory for a list's element")


# --- reading ---------------------------------------------------------------------------------------------

cdef int64_t list_length(const Entry *entry) noexcept nogil:
    return run_count(entry_run(entry)) if list_is_run(entry) else entry_list(entry).count


cdef bint list_is_quicklist(const Entry *entry) noexcept nogil:
    return not list_is_run(entry) and entry_list(entry).is_quicklist


cdef void list_walk_from(const Entry *entry, int64_t index, ListWalk *walk) noexcept nogil:
    cdef Span run
    cdef ListCursor cursor
    cdef ListChunk *chunk
    if list_is_run(entry):
        run = entry_run(entry)
        walk.chunks = NULL
        walk.end = run.at + run.len_bytes
        walk.at = run_at(run, index)
        if walk.at == NULL:
            walk.at = walk.end
        return
    walk.chunks = entry_list(entry)
    if not list_seek(walk.chunks, index, &cursor):
        walk.chunk = walk.chunks.directory.count
        walk.at = walk.end = NULL
        return
    chunk = list_chunk(walk.chunks, cursor.chunk)
    walk.chunk = cursor.chunk
    walk.at = chunk_bytes(chunk) + cursor.at
    walk.end = chunk_bytes(chunk) + chunk.end


cdef bint list_walk_next(ListWalk *walk, Item *item) noexcept nogil:
    cdef const uint8_t *begin = walk.at
    cdef ListChunk *chunk
    if walk.at == walk.end:
        if walk.chunks == NULL or walk.chunk + 1 >= walk.chunks.directory.count:
            return False
        walk.chunk += 1
        chunk = list_chunk(walk.chunks, walk.chunk)
        begin = chunk_bytes(chunk) + chunk.first
        walk.end = chunk_bytes(chunk) + chunk.end
    walk.at = run_next(begin, walk.end, item)
    if walk.chunks != NULL:
        walk.at += back_bytes(walk.at - begin)
    return True


# --- making ----------------------------------------------------------------------------------------------

cdef void list_making(ListMaking *making, Store *store) noexcept nogil:
    making.store = store
    making.chunks = NULL
    making.run_bytes = 0


# What the run holds goes into chunks.
cdef int _making_chunks(ListMaking *making) except -1:
    cdef const uint8_t *at = making.run
    cdef const uint8_t *end = making.run + making.run_bytes
    cdef Item item
    making.chunks = list_new(making.store.heap)
    if making.chunks == NULL:
        _no_memory()
    while at != end:
        at = run_next(at, end, &item)
        if not list_push(making.store.heap, making.chunks, &item, False):
            list_making_drop(making)
            _no_memory()
    making.run_bytes = 0
    return 0


cdef int list_making_add(ListMaking *making, const Item *item, bint front) except -1:
    cdef Py_ssize_t need = item_bytes(item)
    if need > <Py_ssize_t> TEXT_BYTES_MAX:
        _check_text(item.text)
    if making.chunks == NULL:
        if making.run_bytes + need <= LIST_RUN_BYTES_MAX:
            if front:
                memmove(making.run + need, making.run, making.run_bytes)
                item_write(making.run, item)
            else:
                item_write(making.run + making.run_bytes, item)
            making.run_bytes += need
            return 0
        _making_chunks(making)
    if not list_push(making.store.heap, making.chunks, item, front):
        list_making_drop(making)
        _no_memory()
    return 0


cdef Entry *list_making_put(ListMaking *making, Keyspace keyspace, int database, Key *key, int64_t expire_ms) except NULL:
    cdef List *chunks
    cdef int64_t count
    if making.chunks == NULL:
        count = run_count(span_of(making.run, making.run_bytes))
        if not _exceeds(keyspace, LISTPACK_FRAME_BYTES + making.run_bytes, count, 1):
            return keyspace.put_run(database, key, TYPE_LIST, span_of(making.run, making.run_bytes), expire_ms)
        _making_chunks(making)
    chunks = making.chunks
    making.chunks = NULL
    chunks.is_quicklist = _exceeds(keyspace, LISTPACK_FRAME_BYTES + <int64_t> chunks.item_bytes, chunks.count, 1)
    return keyspace.put_object(database, key, &chunks.head, expire_ms)


cdef void list_making_drop(ListMaking *making) noexcept nogil:
    cdef int64_t budget = INT64_MAX
    if making.chunks != NULL:
        list_free_some(making.store.heap, making.chunks, &budget)
    making.chunks = NULL
    making.run_bytes = 0


# --- the two forms of a change ---------------------------------------------------------------------------

# Another run in the entry of a run; `run` must not lie in it. An empty one removes the key.
cdef int _store_run(Keyspace keyspace, int database, Key *key, Entry *entry, Span run) except -1:
    if run.len_bytes == 0:
        keyspace.remove(database, key)
        return 0
    entry = keyspace.resize_run(database, key, entry, run.len_bytes)
    memcpy(entry_mutable_bytes(entry), run.at, <size_t> run.len_bytes)
    return 0


# Chunks instead of a run, with the same elements.
cdef Entry *_to_chunks(Keyspace keyspace, int database, Key *key, Entry *entry) except NULL:
    cdef ListMaking making
    cdef Span run = entry_run(entry)
    cdef List *chunks
    list_making(&making, &keyspace.store)
    memcpy(making.run, run.at, <size_t> run.len_bytes)
    making.run_bytes = run.len_bytes
    _making_chunks(&making)
    chunks = making.chunks
    return keyspace.put_object(database, key, &chunks.head, EXPIRY_KEEP)


# After elements were taken out: nothing, a run again, or what Redis would now call a listpack.
cdef int _settle(Keyspace keyspace, int database, Key *key, Entry *entry) except -1:
    cdef List *chunks = entry_list(entry)
    cdef uint8_t run[LIST_RUN_BYTES_MAX]
    cdef uint8_t *at = run
    cdef ListWalk walk
    cdef Item item
    if chunks.count == 0:
        keyspace.remove(database, key)
        return 0
    if chunks.is_quicklist:
        if _exceeds(keyspace, LISTPACK_FRAME_BYTES + <int64_t> chunks.item_bytes, chunks.count, 2):
            return 0
        chunks.is_quicklist = False
    if chunks.item_bytes <= LIST_RUN_BYTES_AGAIN:  # counts back lengths, which a run has not
        list_walk_from(entry, 0, &walk)
        while list_walk_next(&walk, &item):
            at = item_write(at, &item)
        keyspace.put_run(database, key, TYPE_LIST, span_of(run, at - run), EXPIRY_KEEP)
    return 0


# --- changing --------------------------------------------------------------------------------------------

cdef int64_t list_extend(Keyspace keyspace, int database, Key *key, Entry *entry, const Span *values, int count, bint front) except -1:
    cdef ListMaking making
    cdef Item item
    cdef Edit edit
    cdef Span run
    cdef Py_ssize_t more_bytes = 0
    cdef int64_t text_bytes = 0
    cdef List *chunks
    cdef uint8_t *at
    cdef int index
    cdef bint done = True
    for index in range(count):
        _check_text(values[index])
        text_bytes += values[index].len_bytes
    if entry == NULL:
        list_making(&making, &keyspace.store)
        for index in range(count):
            item = item_of(values[index])
            list_making_add(&making, &item, front)
        entry = list_making_put(&making, keyspace, database, key, EXPIRY_NONE)
        if list_is_run(entry):
            return count
        # Redis asks before it has packed anything: with the bytes of the texts as they came.
        chunks = entry_list(entry)
        if _exceeds(keyspace, LISTPACK_FRAME_BYTES + text_bytes, count, 1):
            chunks.is_quicklist = True
        return count
    if list_is_run(entry):
        run = entry_run(entry)
        for index in range(count):
            item = item_of(values[index])
            more_bytes += item_bytes(&item)
        if (
            run.len_bytes + more_bytes <= LIST_RUN_BYTES_MAX
            and (keyspace.limits.list_chunk < 0 or run_count(run) + count <= max(keyspace.limits.list_chunk, <int64_t> 1))
        ):
            entry = keyspace.resize_run(database, key, entry, run.len_bytes + more_bytes)
            at = entry_mutable_bytes(entry)
            if front:
                memmove(at + more_bytes, at, <size_t> run.len_bytes)
            else:
                at += run.len_bytes
            for index in range(count):
                item = item_of(values[count - 1 - index if front else index])
                at = item_write(at, &item)
            return list_length(entry)
        entry = _to_chunks(keyspace, database, key, entry)
    chunks = entry_list(entry)
    keyspace.begin_edit(database, key, entry, &edit)
    if not chunks.is_quicklist:
        chunks.is_quicklist = _exceeds(
            keyspace, LISTPACK_FRAME_BYTES + <int64_t> chunks.item_bytes + text_bytes, chunks.count + count, 1
        )
    for index in range(count):
        item = item_of(values[index])
        done = done and list_push(keyspace.store.heap, chunks, &item, front)
    keyspace.end_edit(&edit)
    if not done:
        _no_memory()
    return chunks.count


cdef int list_shorten(Keyspace keyspace, int database, Key *key, Entry *entry, int64_t count, bint front) except -1:
    cdef uint8_t kept[LIST_RUN_BYTES_MAX]
    cdef Span run
    cdef const uint8_t *at
    cdef Edit edit
    if not list_is_run(entry):
        keyspace.begin_edit(database, key, entry, &edit)
        list_drop(keyspace.store.heap, entry_list(entry), count, front)
        keyspace.end_edit(&edit)
        if entry_list(entry).item_bytes <= LIST_RUN_BYTES_AGAIN or entry_list(entry).is_quicklist:
            _settle(keyspace, database, key, entry)
        return 0
    run = entry_run(entry)
    at = run_at(run, count if front else run_count(run) - count)
    if front:
        run = span_of(at, 0 if at == NULL else run.at + run.len_bytes - at)
        if run.len_bytes > 0:
            memcpy(kept, run.at, <size_t> run.len_bytes)
        return _store_run(keyspace, database, key, entry, span_of(kept, run.len_bytes))
    if at == run.at:
        keyspace.remove(database, key)
    elif at != NULL:
        keyspace.resize_run(database, key, entry, at - run.at)
    return 0


cdef int list_keep(Keyspace keyspace, int database, Key *key, Entry *entry, int64_t first, int64_t kept) except -1:
    cdef List *chunks
    cdef List *other
    cdef ListCursor cursor
    cdef ListCursor last
    cdef Edit edit
    cdef uint32_t kept_chunks
    cdef int64_t length = list_length(entry)
    if list_is_run(entry):
        if first > 0:
            list_shorten(keyspace, database, key, entry, first, True)
            entry = keyspace.find(database, key)
        if first + kept < length:
            list_shorten(keyspace, database, key, entry, length - first - kept, False)
        return 0
    chunks = entry_list(entry)
    list_seek(chunks, first, &cursor)
    list_seek(chunks, first + kept - 1, &last)
    kept_chunks = last.chunk - cursor.chunk + 1
    keyspace.begin_edit(database, key, entry, &edit)  # a snapshot may begin to read it here
    if (
        chunks.head.reading != 0
        or chunks.directory.count - kept_chunks <= DROPPED_AT_ONCE
        or kept_chunks > chunks.directory.count // 2
    ):
        list_drop(keyspace.store.heap, chunks, first, True)
        list_drop(keyspace.store.heap, chunks, chunks.count - kept, False)
        keyspace.end_edit(&edit)
        return _settle(keyspace, database, key, entry)
    # Most of it goes, and that may take long: what stays moves out, the rest is freed in the background.
    other = list_new(keyspace.store.heap)
    if other == NULL:
        keyspace.end_edit(&edit)
        _no_memory()
    if not list_adopt(keyspace.store.heap, other, chunks, cursor.chunk, kept_chunks):
        keyspace.end_edit(&edit)
        keyspace.give_up(&other.head)
        _no_memory()
    keyspace.end_edit(&edit)
    other.is_quicklist = chunks.is_quicklist
    # The chunk in front counted its elements before `first` with the others.
    list_drop(keyspace.store.heap, other, _before_in_chunk(other, cursor.at), True)
    list_drop(keyspace.store.heap, other, other.count - kept, False)
    entry = keyspace.put_object(database, key, &other.head, EXPIRY_KEEP)
    return _settle(keyspace, database, key, entry)


# Elements of the first chunk before the one that begins at `at`.
cdef int64_t _before_in_chunk(List *chunks, uint32_t at) noexcept nogil:
    cdef ListCursor cursor
    cdef int64_t count = 0
    list_end(chunks, True, &cursor)
    while cursor.at != at:
        list_next(chunks, &cursor)
        count += 1
    return count


# A run with one element put in at `at`, `left_out` bytes of old ones missing from there on. Into chunks when it grows too
# large: then 0, and the entry is of chunks.
cdef bint _patch_run(
    Keyspace keyspace, int database, Key *key, Entry *entry, Py_ssize_t at, Py_ssize_t left_out, const Item *item
) except -1:
    cdef uint8_t fresh[LIST_RUN_BYTES_MAX]
    cdef Span run = entry_run(entry)
    cdef Py_ssize_t need = item_bytes(item)
    cdef Py_ssize_t behind = run.len_bytes - at - left_out
    if run.len_bytes - left_out + need > LIST_RUN_BYTES_MAX:
        return False
    if left_out == 0 and keyspace.limits.list_chunk >= 0 and run_count(run) >= keyspace.limits.list_chunk:
        return False
    memcpy(fresh, run.at, <size_t> at)
    item_write(fresh + at, item)
    memcpy(fresh + at + need, run.at + at + left_out, <size_t> behind)
    _store_run(keyspace, database, key, entry, span_of(fresh, at + need + behind))
    return True


cdef int list_set(Keyspace keyspace, int database, Key *key, Entry *entry, int64_t index, Span value) except -1:
    cdef Item item = item_of(value)
    cdef ListCursor cursor
    cdef Edit edit
    cdef const uint8_t *at
    cdef Span run
    cdef List *chunks
    cdef bint done
    _check_text(value)
    if list_is_run(entry):
        run = entry_run(entry)
        at = run_at(run, index)
        if _patch_run(keyspace, database, key, entry, at - run.at, run_skip(at) - at, &item):
            return 0
        entry = _to_chunks(keyspace, database, key, entry)
    chunks = entry_list(entry)
    keyspace.begin_edit(database, key, entry, &edit)
    if not chunks.is_quicklist:
        chunks.is_quicklist = _exceeds(
            keyspace, LISTPACK_FRAME_BYTES + <int64_t> chunks.item_bytes + value.len_bytes, chunks.count, 1
        )
    list_seek(chunks, index, &cursor)
    done = list_replace(keyspace.store.heap, chunks, &cursor, &item)
    _join_around(keyspace, chunks, cursor.chunk)
    keyspace.end_edit(&edit)
    if not done:
        _no_memory()
    return _settle(keyspace, database, key, entry)


cdef void _join_around(Keyspace keyspace, List *chunks, uint32_t index) noexcept:
    list_join(keyspace.store.heap, chunks, index + 1)
    list_join(keyspace.store.heap, chunks, index)


cdef int64_t list_put_beside(Keyspace keyspace, int database, Key *key, Entry *entry, Span pivot, Span value, bint behind) except -2:
    cdef Item wanted = item_of(pivot)
    cdef Item item = item_of(value)
    cdef Item found
    cdef ListCursor cursor
    cdef Edit edit
    cdef Py_ssize_t index = 0
    cdef const uint8_t *at
    cdef Span run
    cdef List *chunks
    cdef bint done
    _check_text(value)
    if list_is_run(entry):
        run = entry_run(entry)
        at = run_find(run, &wanted, 0, 1, &index)
        if at == NULL:
            return -1
        if behind:
            at = run_skip(at)
        if _patch_run(keyspace, database, key, entry, at - run.at, 0, &item):
            return run_count(entry_run(keyspace.find(database, key)))
        entry = _to_chunks(keyspace, database, key, entry)
    chunks = entry_list(entry)
    list_end(chunks, True, &cursor)
    while True:
        list_item(chunks, &cursor, &found)
        if item_equal(&found, &wanted):
            break
        if not list_next(chunks, &cursor):
            return -1
    keyspace.begin_edit(database, key, entry, &edit)
    if not chunks.is_quicklist:
        chunks.is_quicklist = _exceeds(
            keyspace, LISTPACK_FRAME_BYTES + <int64_t> chunks.item_bytes + value.len_bytes, chunks.count + 1, 1
        )
    done = list_insert(keyspace.store.heap, chunks, &cursor, &item, behind)
    _join_around(keyspace, chunks, cursor.chunk)
    keyspace.end_edit(&edit)
    if not done:
        _no_memory()
    return chunks.count


cdef int64_t list_remove_equal(Keyspace keyspace, int database, Key *key, Entry *entry, Span value, int64_t most, bint backwards) except -1:
    cdef Item wanted = item_of(value)
    cdef int64_t removed
    cdef Edit edit
    if list_is_run(entry):
        return _remove_from_run(keyspace, database, key, entry, &wanted, most, backwards)
    keyspace.begin_edit(database, key, entry, &edit)
    if backwards:
        removed = _remove_backwards(keyspace, entry_list(entry), &wanted, most)
    else:
        removed = _remove_forwards(keyspace, entry_list(entry), &wanted, most)
    keyspace.end_edit(&edit)
    if removed > 0:
        _settle(keyspace, database, key, entry)
    return removed


cdef int64_t _remove_from_run(
    Keyspace keyspace, int database, Key *key, Entry *entry, const Item *wanted, int64_t most, bint backwards
) except -1:
    cdef uint8_t kept[LIST_RUN_BYTES_MAX]
    cdef uint8_t *into = kept
    cdef Span run = entry_run(entry)
    cdef const uint8_t *at = run.at
    cdef const uint8_t *end = run.at + run.len_bytes
    cdef const uint8_t *begin
    cdef int64_t spared = 0, removed = 0
    cdef Item item
    if backwards:  # all equal ones but the first so many
        while at != end:
            at = run_next(at, end, &item)
            spared += item_equal(&item, wanted)
        spared = max(spared - most, <int64_t> 0)
        at = run.at
    while at != end:
        begin = at
        at = run_next(at, end, &item)
        if removed < most and item_equal(&item, wanted):
            if spared == 0:
                removed += 1
                continue
            spared -= 1
        memcpy(into, begin, at - begin)
        into += at - begin
    if removed > 0:
        _store_run(keyspace, database, key, entry, span_of(kept, into - kept))
    return removed


cdef int64_t _remove_forwards(Keyspace keyspace, List *chunks, const Item *wanted, int64_t most) noexcept:
    cdef ListCursor cursor
    cdef Item item
    cdef int64_t removed = 0
    cdef uint32_t chunk
    cdef bint more = list_end(chunks, True, &cursor)
    while more and removed < most:
        chunk = cursor.chunk
        list_item(chunks, &cursor, &item)
        if item_equal(&item, wanted):
            more = list_remove(keyspace.store.heap, chunks, &cursor)
            removed += 1
        else:
            more = list_next(chunks, &cursor)
        if more and removed > 0 and cursor.chunk != chunk:
            # What lies behind the cursor is done with.
            cursor.chunk -= list_join(keyspace.store.heap, chunks, chunk)
    if removed > 0 and chunks.count > 0:
        _join_around(keyspace, chunks, min(cursor.chunk, chunks.directory.count - 1))
    return removed


cdef int64_t _remove_backwards(Keyspace keyspace, List *chunks, const Item *wanted, int64_t most) noexcept:
    cdef ListCursor cursor
    cdef ListCursor gone
    cdef Item item
    cdef int64_t removed = 0
    cdef uint32_t chunk
    cdef bint more = list_end(chunks, False, &cursor)
    while more and removed < most:
        chunk = cursor.chunk
        list_item(chunks, &cursor, &item)
        if not item_equal(&item, wanted):
            more = list_previous(chunks, &cursor)
        else:
            removed += 1
            gone = cursor
            if not list_remove(keyspace.store.heap, chunks, &gone):
                more = list_end(chunks, False, &cursor)
            else:
                cursor = gone
                more = list_previous(chunks, &cursor)
        if more and removed > 0 and cursor.chunk < chunk:
            list_join(keyspace.store.heap, chunks, cursor.chunk + 2)  # both behind the cursor
    if removed > 0 and chunks.count > 0:
        _join_around(keyspace, chunks, min(cursor.chunk, chunks.directory.count - 1))
    return removed
