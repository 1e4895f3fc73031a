"""The commands on a stream's entries; those of consumer groups are in stream_readers.pyx and stream_claims.pyx.

Replicas are told what came out: XADD with the id it gave, a trimming with what is left after it, so that they need
neither our clock nor our nodes.
"""

from libc.stdint cimport UINT64_MAX, int64_t, uint32_t, uint64_t

from node.engine.entry cimport Entry
from node.engine.keyspace cimport EXPIRY_NONE, Edit, Key
from node.engine.registry cimport Registry
from node.engine.session cimport Session
from node.engine.span cimport Span, span_is
from node.engine.stream cimport (
    Stream,
    stream_append,
    stream_delete,
    stream_edge,
    stream_new,
)
from node.engine.stream_id cimport StreamId, id_compare, id_increment, id_is_zero, id_of
from node.engine.stream_ids cimport (
    ID_BYTES_MAX,
    STRICT,
    close_array,
    id_at,
    id_text,
    is_stream,
    range_at,
    read_id,
    read_key,
    reply_id,
    reply_range,
    stream_of,
)
from node.engine.stream_trim cimport stream_trim

cdef enum:
    ENTRY_BYTES_MAX = 1 << 30  # of all its texts

cdef enum:
    TRIM_NONE = 0
    TRIM_LENGTH = 1
    TRIM_ID = 2

# How XADD and XTRIM are to trim.
cdef struct Trim:
    int strategy  # TRIM_*
    bint roughly
    int64_t longest
    StreamId least
    int64_t most  # LIMIT; 0: none
    int operator_index  # of the word before the threshold
    int threshold_index


# --- XADD and XTRIM --------------------------------------------------------------------------------------

# Reads options from argv[2] on. Returns the index of XADD's id (or behind the last option); 0: the error is written.
cdef int _read_options(Session s, bint adding, Trim *trim, bint *no_new, StreamId *id, bint *id_given, bint *automatic) except -1:
    cdef int index = 2
    cdef bint limited = False, by_length
    cdef Span word
    trim.strategy = TRIM_NONE
    trim.roughly = False
    trim.longest = 0
    trim.least = id_of(0, 0)
    trim.most = 0
    trim.operator_index = 0
    trim.threshold_index = 0
    no_new[0] = False
    id_given[0] = False
    automatic[0] = True
    while index < s.argc:
        word = s.argv[index]
        by_length = span_is(word, "MAXLEN")
        if adding and word.len_bytes >= 1 and word.at[0] == 42 and (word.len_bytes == 1 or word.at[1] == 0):
            break
        if (by_length or span_is(word, "MINID")) and index + 1 < s.argc:
            if trim.strategy != TRIM_NONE:
                s.reply_error("ERR syntax error, MAXLEN and MINID options at the same time are not compatible")
                return 0
            trim.roughly = False
            if index + 2 < s.argc and (span_is(s.argv[index + 1], "~") or span_is(s.argv[index + 1], "=")):
                trim.roughly = span_is(s.argv[index + 1], "~")
                index += 1
            index += 1
            if by_length:
                if not s.int64_at(index, &trim.longest):
                    return 0
                if trim.longest < 0:
                    s.reply_error("ERR The MAXLEN argument must be >= 0.")
                    return 0
            elif not id_at(s, index, 0, STRICT, &trim.least):
                return 0
            trim.strategy = TRIM_LENGTH if by_length else TRIM_ID
            trim.operator_index = index - 1
            trim.threshold_index = index
        elif span_is(word, "LIMIT") and index + 1 < s.argc:
            index += 1
            if not s.int64_at(index, &trim.most):
                return 0
            if trim.most < 0:
                s.reply_error("ERR The LIMIT argument must be >= 0.")
                return 0
            limited = True
        elif adding and span_is(word, "NOMKSTREAM"):
            no_new[0] = True
        elif adding:
            if not read_id(word, 0, STRICT, id, automatic):
                s.reply_error("ERR Invalid stream ID specified as stream command argument")
                return 0
            id_given[0] = True
            break
        else:
            s.reply_syntax_error()
            return 0
        index += 1
    if trim.most > 0 and trim.strategy == TRIM_NONE:
        s.reply_error("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy")
        return 0
    if not adding and trim.strategy == TRIM_NONE:
        s.reply_error("ERR syntax error, XTRIM must be called with a trimming strategy")
        return 0
    if limited and not trim.roughly and not s.apply_stream:
        s.reply_error("ERR syntax error, LIMIT cannot be used without the special ~ option")
        return 0
    if s.apply_stream:
        trim.most = 0
    elif trim.roughly and not limited:  # so that one command does not work for too long
        trim.most = min(100 * s.keyspace.limits.stream_chunk_entries, <int64_t> 1000000)
        if trim.most <= 0:
            trim.most = 10000
    return index


cdef int64_t _trim(Session s, Stream *stream, const Trim *trim) noexcept:
    if trim.strategy == TRIM_NONE:
        return 0
    cdef Stream *shed
    cdef int64_t removed = stream_trim(
        s.keyspace.store.heap, stream, trim.strategy == TRIM_ID, trim.longest, trim.least, trim.roughly, trim.most, &shed
    )
    if shed != NULL:  # much: it is freed in the background
        s.keyspace.give_up(&shed.head)
    return removed


# The command's own words, with the id that was given and with what is left in the place of a rough threshold.
cdef int _effect(Session s, const Stream *stream, const Trim *trim, int id_index, StreamId id) except -1:
    cdef char text[ID_BYTES_MAX]
    cdef int index
    s.effect(s.argc)
    for index in range(s.argc):
        if index == id_index:
            s.effect_arg(id_text(id, text))
        elif trim.roughly and index == trim.operator_index:
            s.effect_arg_word("=")
        elif trim.roughly and index == trim.threshold_index:
            if trim.strategy == TRIM_LENGTH:
                s.effect_arg_int64(stream.length)
            elif stream.length == 0:  # all of it was below the threshold as it was given
                s.effect_arg(id_text(trim.least, text))
            else:
                s.effect_arg(id_text(stream_edge(stream, True), text))
        else:
            s.effect_arg(s.argv[index])
    return 0


# The id of the next entry; 0: there is none that is higher than the last one.
cdef bint _next_id(Session s, const Stream *stream, bint id_given, bint automatic, StreamId *id) noexcept:
    cdef StreamId last = id_of(0, 0) if stream == NULL else stream.last_id
    if not id_given:
        if <uint64_t> s.keyspace.now_ms > last.ms:
            id[0] = id_of(<uint64_t> s.keyspace.now_ms, 0)
        else:
            id[0] = last
            id_increment(id)
    elif automatic and last.ms == id.ms:
        if last.seq == UINT64_MAX:
            return False
        id.seq = last.seq + 1
    return id_compare(id[0], last) > 0


cdef int _xadd(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Trim trim
    cdef StreamId id = id_of(0, 0)
    cdef bint no_new, id_given, automatic, done, made = False
    cdef int id_index = _read_options(s, True, &trim, &no_new, &id, &id_given, &automatic)
    cdef int first = id_index + 1
    cdef int index
    cdef int64_t text_bytes = 0
    cdef Entry *entry
    cdef Stream *stream
    cdef Edit edit
    if id_index == 0:
        return 0
    if s.argc - first < 2 or (s.argc - first) % 2 == 1:
        return s.reply_error("ERR wrong number of arguments for 'xadd' command")
    if id_given and not automatic and id_is_zero(id):
        return s.reply_error("ERR The ID specified in XADD must be greater than 0-0")
    entry = s.keyspace.find(s.database, &key)
    if not is_stream(s, entry):
        return 0
    if entry == NULL and no_new:
        return s.reply_null()
    stream = stream_of(entry)
    if stream != NULL and stream.last_id.ms == UINT64_MAX and stream.last_id.seq == UINT64_MAX:
        return s.reply_error("ERR The stream has exhausted the last possible ID, unable to add more items")
    if not _next_id(s, stream, id_given, automatic, &id):
        return s.reply_error("ERR The ID specified in XADD is equal or smaller than the target stream top item")
    for index in range(first, s.argc):
        text_bytes += s.argv[index].len_bytes
    if text_bytes > ENTRY_BYTES_MAX:
        return s.reply_error("ERR Elements are too large to be stored")
    if entry == NULL:
        stream = stream_new(s.keyspace.store.heap)
        if stream == NULL:
            raise MemoryError("no memory for a stream")
        entry = s.keyspace.put_object(s.database, &key, &stream.head, EXPIRY_NONE)
        made = True
    s.keyspace.begin_edit(s.database, &key, entry, &edit)
    done = stream_append(
        s.keyspace.store.heap, stream, id, s.argv + first, <uint32_t> (s.argc - first) // 2,
        s.keyspace.limits.stream_chunk_bytes, s.keyspace.limits.stream_chunk_entries,
    )
    if done:
        _trim(s, stream, &trim)
    s.keyspace.end_edit(&edit)
    if not done:
        if made:
            s.keyspace.remove(s.database, &key)
        raise MemoryError("no memory for a stream's entry")
    s.changed(1)
    _effect(s, stream, &trim, id_index, id)
    return reply_id(s, id)


cdef int _xtrim(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Trim trim
    cdef StreamId id
    cdef bint no_new, id_given, automatic
    cdef Entry *entry
    cdef Edit edit
    cdef int64_t removed
    if _read_options(s, False, &trim, &no_new, &id, &id_given, &automatic) == 0:
        return 0
    entry = s.keyspace.find(s.database, &key)
    if entry == NULL:
        return s.reply_int64(0)
    if not is_stream(s, entry):
        return 0
    s.keyspace.begin_edit(s.database, &key, entry, &edit)
    removed = _trim(s, stream_of(entry), &trim)
    s.keyspace.end_edit(&edit)
    if removed > 0:
        s.changed(removed)
        _effect(s, stream_of(entry), &trim, s.argc, id_of(0, 0))
    return s.reply_int64(removed)


# --- the others ------------------------------------------------------------------------------------------

cdef int _xlen(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = read_key(s, &key)
    if entry == NULL:
        return s.reply_int64(0)
    if not is_stream(s, entry):
        return 0
    return s.reply_int64(stream_of(entry).length)


cdef int _range(Session s, bint backwards) except -1:
    cdef Key key = s.key_at(1)
    cdef StreamId least, most
    cdef int64_t count = -1
    cdef int index = 4
    cdef Entry *entry
    cdef Py_ssize_t mark
    if not range_at(s, 3 if backwards else 2, 2 if backwards else 3, &least, &most):
        return 0
    while index < s.argc:
        if not span_is(s.argv[index], "COUNT") or index + 1 == s.argc:
            return s.reply_syntax_error()
        if not s.int64_at(index + 1, &count):
            return 0
        count = max(count, <int64_t> 0)
        index += 2
    entry = read_key(s, &key)
    if entry == NULL:
        return s.reply_array(0)
    if not is_stream(s, entry):
        return 0
    if count == 0:
        return s.reply_null_array()
    mark = s.out.used_bytes
    return close_array(s, mark, reply_range(s, stream_of(entry), least, most, max(count, <int64_t> 0), backwards), 42)


cdef int _xrange(Session s) except -1:
    return _range(s, False)


cdef int _xrevrange(Session s) except -1:
    return _range(s, True)


cdef int _xdel(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = s.keyspace.find(s.database, &key)
    cdef Stream *stream
    cdef Edit edit
    cdef StreamId id
    cdef int64_t removed = 0
    cdef bint first = False
    cdef int index
    if entry == NULL:
        return s.reply_int64(0)
    if not is_stream(s, entry):
        return 0
    for index in range(2, s.argc):  # all of them, before anything is removed
        if not id_at(s, index, 0, STRICT, &id):
            return 0
    stream = stream_of(entry)
    s.keyspace.begin_edit(s.database, &key, entry, &edit)
    for index in range(2, s.argc):
        read_id(s.argv[index], 0, STRICT, &id, NULL)
        if stream_delete(s.keyspace.store.heap, stream, id):
            removed += 1
            first = first or id_compare(id, stream.first_id) == 0
            if id_compare(id, stream.deleted_id) > 0:
                stream.deleted_id = id
    if first:
        stream.first_id = stream_edge(stream, True)
    s.keyspace.end_edit(&edit)
    s.changed(removed)
    return s.reply_int64(removed)


cdef int _xsetid(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef StreamId id, deleted = id_of(0, 0)
    cdef int64_t added = -1
    cdef int index = 3
    cdef Entry *entry
    cdef Stream *stream
    cdef Edit edit
    if not id_at(s, 2, 0, STRICT, &id):
        return 0
    while index < s.argc:
        if span_is(s.argv[index], "ENTRIESADDED") and index + 1 < s.argc:
            if not s.int64_at(index + 1, &added):
                return 0
            if added < 0:
                return s.reply_error("ERR entries_added must be positive")
        elif span_is(s.argv[index], "MAXDELETEDID") and index + 1 < s.argc:
            if not id_at(s, index + 1, 0, STRICT, &deleted):
                return 0
            if id_compare(id, deleted) < 0:
                return s.reply_error("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id")
        else:
            return s.reply_syntax_error()
        index += 2
    entry = s.keyspace.find(s.database, &key)
    if entry == NULL:
        return s.reply_error("ERR no such key")
    if not is_stream(s, entry):
        return 0
    stream = stream_of(entry)
    if stream.length > 0:
        if id_compare(id, stream_edge(stream, False)) < 0:
            return s.reply_error("ERR The ID specified in XSETID is smaller than the target stream top item")
        if added != -1 and stream.length > added:
            return s.reply_error("ERR The entries_added specified in XSETID is smaller than the target stream length")
    if id_compare(id, stream.deleted_id) < 0:
        return s.reply_error("ERR The ID specified in XSETID is smaller than current max_deleted_entry_id")
    s.keyspace.begin_edit(s.database, &key, entry, &edit)
    stream.last_id = id
    if added != -1:
        stream.added = <uint64_t> added
    if not id_is_zero(deleted):
        stream.deleted_id = deleted
    s.keyspace.end_edit(&edit)
    s.changed_aside(1)
    return s.reply_ok()


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"xadd", <void *> _xadd)
    registry.add_compiled(b"xtrim", <void *> _xtrim)
    registry.add_compiled(b"xlen", <void *> _xlen)
    registry.add_compiled(b"xrange", <void *> _xrange)
    registry.add_compiled(b"xrevrange", <void *> _xrevrange)
    registry.add_compiled(b"xdel", <void *> _xdel)
    registry.add_compiled(b"xsetid", <void *> _xsetid)
