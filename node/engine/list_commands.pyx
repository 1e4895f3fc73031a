"""The commands on one list. Those that move elements between lists, or wait for them, are in list_moves.pyx.

Each is propagated in its own words: what it does depends on nothing but the list.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t

from node.engine.buf cimport buf_append
from node.engine.chunks cimport ListCursor, list_end, list_item, list_previous
from node.engine.entry cimport TYPE_LIST, Entry, entry_run, entry_type
from node.engine.keyspace cimport Key
from node.engine.lists cimport (
    LIST_RUN_BYTES_MAX,
    ListWalk,
    entry_list,
    list_extend,
    list_is_run,
    list_keep,
    list_length,
    list_put_beside,
    list_remove_equal,
    list_set,
    list_shorten,
    list_walk_from,
    list_walk_next,
)
from node.engine.registry cimport Registry
from node.engine.resp cimport resp_bulk
from node.engine.run cimport Item, item_equal, item_of, item_text, run_next, run_skip
from node.engine.session cimport Session
from node.engine.span cimport Span, span_is, span_to_int64


# --- helpers -------------------------------------------------------------------------------------------

cdef bint list_found(Session s, Entry *entry) except -1:
    if entry != NULL and entry_type(entry) != TYPE_LIST:
        s.reply_wrong_type()
        return False
    return True


# The live entry; a client that asked for NO-TOUCH leaves no trace in its recency.
cdef inline Entry *_read(Session s, Key *key) except? NULL:
    if s.no_touch:
        return s.keyspace.look(s.database, key)
    return s.keyspace.read(s.database, key)


cdef bint whole_number(Session s, int index, int64_t least, const char *complaint, int64_t *value) except -1:
    if span_to_int64(s.argv[index], value) and value[0] >= least:
        return True
    s.reply_error(complaint)
    return False


cdef int reply_elements(Session s, Entry *entry, int64_t first, int64_t count) except -1:
    cdef ListWalk walk
    cdef Item item
    cdef uint8_t scratch[24]
    s.reply_array(count)
    list_walk_from(entry, first, &walk)
    while count > 0 and list_walk_next(&walk, &item):
        resp_bulk(&s.out, item_text(&item, scratch))
        count -= 1
    return 0


# --- adding ----------------------------------------------------------------------------------------------

cdef int _push(Session s, bint front, bint only_old) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = s.keyspace.find(s.database, &key)
    cdef int64_t length
    if not list_found(s, entry):
        return 0
    if entry == NULL and only_old:
        return s.reply_int64(0)
    length = list_extend(s.keyspace, s.database, &key, entry, s.argv + 2, s.argc - 2, front)
    s.changed(s.argc - 2)
    return s.reply_int64(length)


cdef int _lpush(Session s) except -1:
    return _push(s, True, False)


cdef int _rpush(Session s) except -1:
    return _push(s, False, False)


cdef int _lpushx(Session s) except -1:
    return _push(s, True, True)


cdef int _rpushx(Session s) except -1:
    return _push(s, False, True)


cdef int _linsert(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef bint behind = span_is(s.argv[2], "AFTER")
    cdef Entry *entry
    cdef int64_t length
    if not behind and not span_is(s.argv[2], "BEFORE"):
        return s.reply_syntax_error()
    entry = s.keyspace.find(s.database, &key)
    if entry == NULL:
        return s.reply_int64(0)
    if not list_found(s, entry):
        return 0
    length = list_put_beside(s.keyspace, s.database, &key, entry, s.argv[3], s.argv[4], behind)
    if length > 0:
        s.changed(1)
    return s.reply_int64(length)


cdef int _lset(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = s.keyspace.find(s.database, &key)
    cdef int64_t index = 0, length
    if entry == NULL:
        return s.reply_error("ERR no such key")
    if not list_found(s, entry) or not s.int64_at(2, &index):
        return 0
    length = list_length(entry)
    if index < 0:
        index += length
    if index < 0 or index >= length:
        return s.reply_error("ERR index out of range")
    list_set(s.keyspace, s.database, &key, entry, index, s.argv[3])
    s.changed(1)
    return s.reply_ok()


# --- taking away -----------------------------------------------------------------------------------------

cdef int pop_elements(Session s, Key *key, Entry *entry, int64_t count, bint front) except -1:
    cdef Item item
    cdef ListCursor cursor
    cdef ListWalk walk
    cdef uint8_t scratch[24]
    cdef int64_t left = count
    if front:
        list_walk_from(entry, 0, &walk)
        while left > 0 and list_walk_next(&walk, &item):
            resp_bulk(&s.out, item_text(&item, scratch))
            left -= 1
    elif list_is_run(entry):
        _reply_run_backwards(s, entry_run(entry), count)
    else:
        list_end(entry_list(entry), False, &cursor)
        while True:
            list_item(entry_list(entry), &cursor, &item)
            resp_bulk(&s.out, item_text(&item, scratch))
            left -= 1
            if left == 0 or not list_previous(entry_list(entry), &cursor):
                break
    return list_shorten(s.keyspace, s.database, key, entry, count, front)


# The last `count` elements of a run, the last one first.
cdef int _reply_run_backwards(Session s, Span run, int64_t count) except -1:
    cdef uint16_t begins[LIST_RUN_BYTES_MAX]
    cdef const uint8_t *at = run.at
    cdef const uint8_t *end = run.at + run.len_bytes
    cdef int found = 0
    cdef Item item
    cdef uint8_t scratch[24]
    while at != end:
        begins[found] = <uint16_t> (at - run.at)
        found += 1
        at = run_skip(at)
    while count > 0:
        found -= 1
        count -= 1
        run_next(run.at + begins[found], end, &item)
        resp_bulk(&s.out, item_text(&item, scratch))
    return 0


cdef int _pop(Session s, bint front) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry
    cdef int64_t count = 1, length
    if s.argc > 3:
        return s.reply_error(b"ERR wrong number of arguments for '%b' command" % (b"lpop" if front else b"rpop"))
    if s.argc == 3 and not whole_number(s, 2, 0, "ERR value is out of range, must be positive", &count):
        return 0
    entry = s.keyspace.find(s.database, &key)
    if entry == NULL:
        return s.reply_null() if s.argc == 2 else s.reply_null_array()
    if not list_found(s, entry):
        return 0
    if s.argc == 3:
        if count == 0:
            return s.reply_array(0)
        length = list_length(entry)
        count = min(count, length)
        s.reply_array(count)
    pop_elements(s, &key, entry, count, front)
    return s.changed(count)


cdef int _lpop(Session s) except -1:
    return _pop(s, True)


cdef int _rpop(Session s) except -1:
    return _pop(s, False)


cdef int _lrem(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry
    cdef int64_t most = 0, removed
    cdef bint backwards
    if not s.int64_at(2, &most):
        return 0
    entry = s.keyspace.find(s.database, &key)
    if entry == NULL:
        return s.reply_int64(0)
    if not list_found(s, entry):
        return 0
    backwards = most < 0
    if most == 0 or most < -INT64_MAX:
        most = INT64_MAX
    elif backwards:
        most = -most
    removed = list_remove_equal(s.keyspace, s.database, &key, entry, s.argv[3], most, backwards)
    s.changed(removed)
    return s.reply_int64(removed)


cdef int _ltrim(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry
    cdef int64_t first = 0, last = 0, length
    if not s.int64_at(2, &first) or not s.int64_at(3, &last):
        return 0
    entry = s.keyspace.find(s.database, &key)
    if entry == NULL:
        return s.reply_ok()
    if not list_found(s, entry):
        return 0
    length = list_length(entry)
    if _bounds(&first, &last, length):
        if last - first + 1 == length:  # nothing to cut: Redis tells those who watch the key all the same
            s.touched_at(1)
        else:
            list_keep(s.keyspace, s.database, &key, entry, first, last - first + 1)
            s.changed(length - (last - first + 1))
    else:
        s.keyspace.remove(s.database, &key)
        s.changed(length)
    return s.reply_ok()


# Positions as clients give them, into positions that are there; 0 when nothing lies between them.
cdef bint _bounds(int64_t *first, int64_t *last, int64_t length) noexcept:
    if first[0] < 0:
        first[0] = max(first[0] + length, <int64_t> 0)
    if last[0] < 0:
        last[0] += length
    if first[0] > last[0] or first[0] >= length:
        return False
    last[0] = min(last[0], length - 1)
    return True


# --- looking ---------------------------------------------------------------------------------------------

cdef int _llen(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = _read(s, &key)
    if entry == NULL:
        return s.reply_int64(0)
    if not list_found(s, entry):
        return 0
    return s.reply_int64(list_length(entry))


cdef int _lindex(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = _read(s, &key)
    cdef int64_t index = 0
    cdef ListWalk walk
    cdef Item item
    cdef uint8_t scratch[24]
    if entry == NULL:
        return s.reply_null()
    if not list_found(s, entry) or not s.int64_at(2, &index):
        return 0
    if index < 0:
        index += list_length(entry)
    if index < 0:
        return s.reply_null()
    list_walk_from(entry, index, &walk)
    if not list_walk_next(&walk, &item):
        return s.reply_null()
    return s.reply_bulk(item_text(&item, scratch))


cdef int _lrange(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry
    cdef int64_t first = 0, last = 0
    if not s.int64_at(2, &first) or not s.int64_at(3, &last):
        return 0
    entry = _read(s, &key)
    if entry == NULL:
        return s.reply_array(0)
    if not list_found(s, entry):
        return 0
    if not _bounds(&first, &last, list_length(entry)):
        return s.reply_array(0)
    return reply_elements(s, entry, first, last - first + 1)


# What LPOS was asked for, and where it has come.
cdef struct Search:
    int64_t skip  # matches to pass by
    int64_t wanted  # matches to tell; INT64_MAX: all
    int64_t left  # elements to look at
    int64_t told
    int64_t last


# Takes note of one element; 0: the search is over.
cdef inline bint _look_at(Search *search, Session s, const Item *item, const Item *wanted, int64_t index, bint many) except -1:
    if search.left == 0:
        return False
    search.left -= 1
    if item_equal(item, wanted):
        if search.skip > 0:
            search.skip -= 1
        else:
            if many:
                s.reply_int64(index)
            search.last = index
            search.told += 1
            if search.told == search.wanted:
                return False
    return True


cdef int _search_forwards(Session s, Entry *entry, Search *search, const Item *wanted, bint many) except -1:
    cdef ListWalk walk
    cdef Item item
    cdef int64_t index = 0
    list_walk_from(entry, 0, &walk)
    while list_walk_next(&walk, &item) and _look_at(search, s, &item, wanted, index, many):
        index += 1
    return 0


cdef int _search_backwards(Session s, Entry *entry, Search *search, const Item *wanted, bint many) except -1:
    cdef uint16_t begins[LIST_RUN_BYTES_MAX]
    cdef int64_t index = list_length(entry) - 1
    cdef ListCursor cursor
    cdef Item item
    cdef Span run
    cdef const uint8_t *at
    cdef int count = 0
    if list_is_run(entry):
        run = entry_run(entry)
        at = run.at
        while at != run.at + run.len_bytes:
            begins[count] = <uint16_t> (at - run.at)
            count += 1
            at = run_skip(at)
        while index >= 0:
            run_next(run.at + begins[index], run.at + run.len_bytes, &item)
            if not _look_at(search, s, &item, wanted, index, many):
                break
            index -= 1
        return 0
    list_end(entry_list(entry), False, &cursor)
    while True:
        list_item(entry_list(entry), &cursor, &item)
        if not _look_at(search, s, &item, wanted, index, many) or not list_previous(entry_list(entry), &cursor):
            return 0
        index -= 1


cdef int _lpos(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry
    cdef Search search
    cdef Item wanted = item_of(s.argv[2])
    cdef int64_t rank = 1, count = -1, most = 0
    cdef int index = 3
    cdef Py_ssize_t mark
    cdef bytes indexes
    while index < s.argc:
        if index + 1 == s.argc:
            return s.reply_syntax_error()
        if span_is(s.argv[index], "RANK"):
            if not s.int64_at(index + 1, &rank):
                return 0
            if rank == 0:
                return s.reply_error(
                    "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... "
                    "or use negative to start from the end of the list"
                )
        elif span_is(s.argv[index], "COUNT"):
            if not whole_number(s, index + 1, 0, "ERR COUNT can't be negative", &count):
                return 0
        elif span_is(s.argv[index], "MAXLEN"):
            if not whole_number(s, index + 1, 0, "ERR MAXLEN can't be negative", &most):
                return 0
        else:
            return s.reply_syntax_error()
        index += 2
    entry = _read(s, &key)
    if entry == NULL:
        return s.reply_array(0) if count >= 0 else s.reply_null()
    if not list_found(s, entry):
        return 0
    search.skip = 0 if rank < -INT64_MAX else (rank if rank > 0 else -rank) - 1  # what Redis 7.0 makes of it
    search.wanted = 1 if count < 0 else INT64_MAX if count == 0 else count
    search.left = INT64_MAX if most == 0 else most
    search.told = 0
    search.last = -1
    # How many there are is known only afterwards: their replies are taken back and follow the count.
    mark = s.out.used_bytes
    if rank > 0:
        _search_forwards(s, entry, &search, &wanted, count >= 0)
    else:
        _search_backwards(s, entry, &search, &wanted, count >= 0)
    if count < 0:
        return s.reply_null() if search.told == 0 else s.reply_int64(search.last)
    indexes = s.out.data[mark : s.out.used_bytes]
    s.out.used_bytes = mark
    s.reply_array(search.told)
    return buf_append(&s.out, <const char *> indexes, len(indexes))


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"lpush", <void *> _lpush)
    registry.add_compiled(b"rpush", <void *> _rpush)
    registry.add_compiled(b"lpushx", <void *> _lpushx)
    registry.add_compiled(b"rpushx", <void *> _rpushx)
    registry.add_compiled(b"linsert", <void *> _linsert)
    registry.add_compiled(b"lset", <void *> _lset)
    registry.add_compiled(b"lpop", <void *> _lpop)
    registry.add_compiled(b"rpop", <void *> _rpop)
    registry.add_compiled(b"lrem", <void *> _lrem)
    registry.add_compiled(b"ltrim", <void *> _ltrim)
    registry.add_compiled(b"llen", <void *> _llen)
    registry.add_compiled(b"lindex", <void *> _lindex)
    registry.add_compiled(b"lrange", <void *> _lrange)
    registry.add_compiled(b"lpos", <void *> _lpos)
