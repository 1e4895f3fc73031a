"""XGROUP: consumer groups and their consumers, made, moved and removed."""

from libc.stdint cimport int64_t

from node.engine.entry cimport Entry
from node.engine.groups cimport (
    NOT_KNOWN,
    StreamConsumer,
    StreamGroup,
    group_consumer,
    group_consumer_add,
    group_consumer_remove,
    stream_group,
    stream_group_add,
    stream_group_move,
)
from node.engine.keyspace cimport EXPIRY_NONE, Edit, Key
from node.engine.registry cimport Registry
from node.engine.session cimport Session
from node.engine.span cimport Span, span_bytes, span_is
from node.engine.stream cimport Stream, stream_new
from node.engine.stream_id cimport StreamId, id_of
from node.engine.stream_ids cimport STRICT, id_at, is_stream, stream_of


cdef int _misused(Session s) except -1:
    return s.reply_error_bytes(
        b"ERR unknown subcommand or wrong number of arguments for '%b'. Try XGROUP HELP." % span_bytes(s.argv[1])
    )


# Options behind argv[4]; 0 when the error is written.
cdef bint _group_options(Session s, bint creating, bint *make, int64_t *entries_read) except -1:
    cdef int index = 5
    make[0] = False
    entries_read[0] = NOT_KNOWN
    while index < s.argc:
        if creating and span_is(s.argv[index], "MKSTREAM"):
            make[0] = True
            index += 1
        elif span_is(s.argv[index], "ENTRIESREAD") and index + 1 < s.argc:
            if not s.int64_at(index + 1, entries_read):
                return False
            if entries_read[0] < 0 and entries_read[0] != NOT_KNOWN:
                s.reply_error("ERR value for ENTRIESREAD must be positive or -1")
                return False
            index += 2
        else:
            _misused(s)
            return False
    return True


cdef int _needs_key(Session s) except -1:
    return s.reply_error(
        "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM "
        "option to create an empty stream automatically."
    )


# The group at argv[3] of the stream at argv[2]; NULL when the error is written.
cdef StreamGroup *_group_at(Session s, Entry *entry) except? NULL:
    cdef StreamGroup *group
    if not is_stream(s, entry):
        return NULL
    if entry == NULL:
        _needs_key(s)
        return NULL
    group = stream_group(stream_of(entry), s.argv[3])
    if group == NULL:
        s.reply_error_bytes(
            b"NOGROUP No such consumer group '%b' for key name '%b'" % (span_bytes(s.argv[3]), span_bytes(s.argv[2]))
        )
    return group


cdef bint _is_last(Span word) noexcept:
    return word.len_bytes == 1 and word.at[0] == 36


cdef int _create(Session s) except -1:
    cdef Key key = s.key_at(2)
    cdef Entry *entry
    cdef Stream *stream
    cdef StreamId id = id_of(0, 0)
    cdef int64_t entries_read
    cdef bint make
    cdef bint made = False
    cdef Edit edit
    if not _group_options(s, True, &make, &entries_read):
        return 0
    entry = s.keyspace.find(s.database, &key)
    if not is_stream(s, entry):
        return 0
    stream = stream_of(entry)
    if stream == NULL and not make:
        return _needs_key(s)
    if s.argc > 8:
        return _misused(s)
    if _is_last(s.argv[4]):
        if stream != NULL:
            id = stream.last_id
    elif not id_at(s, 4, 0, STRICT, &id):
        return 0
    if stream != NULL and stream_group(stream, s.argv[3]) != NULL:
        return s.reply_error("BUSYGROUP Consumer Group name already exists")
    if stream == NULL:
        stream = stream_new(s.keyspace.store.heap)
        if stream == NULL:
            raise MemoryError("no memory for a stream")
        entry = s.keyspace.put_object(s.database, &key, &stream.head, EXPIRY_NONE)
        made = True
    s.keyspace.begin_edit(s.database, &key, entry, &edit)
    try:
        stream_group_add(s.keyspace.store.heap, stream, s.argv[3], id, entries_read)
    finally:
        s.keyspace.end_edit(&edit)
    if made:
        s.changed(1)
    else:
        s.changed_aside(1)
    return s.reply_ok()


cdef int _setid(Session s) except -1:
    cdef Key key = s.key_at(2)
    cdef StreamGroup *group
    cdef StreamId id
    cdef int64_t entries_read
    cdef bint make
    cdef Entry *entry
    cdef Edit edit
    if not _group_options(s, False, &make, &entries_read):
        return 0
    entry = s.keyspace.find(s.database, &key)
    group = _group_at(s, entry)
    if group == NULL:
        return 0
    if s.argc != 5 and s.argc != 7:
        return _misused(s)
    if _is_last(s.argv[4]):
        id = stream_of(entry).last_id
    elif not id_at(s, 4, 0, 0, &id):
        return 0
    s.keyspace.begin_edit(s.database, &key, entry, &edit)
    group.last_id = id
    group.entries_read = entries_read
    s.keyspace.end_edit(&edit)
    s.changed_aside(1)
    return s.reply_ok()


cdef int _destroy(Session s) except -1:
    cdef Key key = s.key_at(2)
    cdef Entry *entry = s.keyspace.find(s.database, &key)
    cdef Stream *gone
    cdef StreamGroup *group
    cdef Edit edit
    if not is_stream(s, entry):
        return 0
    if entry == NULL:
        return _needs_key(s)
    group = stream_group(stream_of(entry), s.argv[3])
    if group == NULL:
        return s.reply_int64(0)
    # It may have much pending: it is freed in the background, as the only thing that a stream has.
    gone = stream_new(s.keyspace.store.heap)
    if gone == NULL:
        raise MemoryError("no memory to free a stream's group")
    s.keyspace.begin_edit(s.database, &key, entry, &edit)
    try:
        stream_group_move(s.keyspace.store.heap, stream_of(entry), group, gone)
    finally:
        s.keyspace.end_edit(&edit)
        s.keyspace.give_up(&gone.head)
    s.changed_aside(1)
    return s.reply_int64(1)


cdef int _createconsumer(Session s) except -1:
    cdef Key key = s.key_at(2)
    cdef Entry *entry = s.keyspace.find(s.database, &key)
    cdef StreamGroup *group = _group_at(s, entry)
    cdef Edit edit
    if group == NULL:
        return 0
    if group_consumer(group, s.argv[4]) != NULL:
        return s.reply_int64(0)
    s.keyspace.begin_edit(s.database, &key, entry, &edit)
    try:
        group_consumer_add(s.keyspace.store.heap, stream_of(entry), group, s.argv[4], s.keyspace.now_ms)
    finally:
        s.keyspace.end_edit(&edit)
    s.changed_aside(1)
    return s.reply_int64(1)


cdef int _delconsumer(Session s) except -1:
    cdef Key key = s.key_at(2)
    cdef Entry *entry = s.keyspace.find(s.database, &key)
    cdef StreamGroup *group = _group_at(s, entry)
    cdef StreamConsumer *consumer
    cdef Stream *gone
    cdef int64_t pending
    cdef Edit edit
    if group == NULL:
        return 0
    consumer = group_consumer(group, s.argv[4])
    if consumer == NULL:
        return s.reply_int64(0)
    pending = <int64_t> consumer.pending.count
    s.keyspace.begin_edit(s.database, &key, entry, &edit)
    group_consumer_remove(s.keyspace.store.heap, stream_of(entry), group, consumer, &gone)
    s.keyspace.end_edit(&edit)
    if gone != NULL:
        s.keyspace.give_up(&gone.head)
    s.changed_aside(1)
    return s.reply_int64(pending)


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"xgroup|create", <void *> _create)
    registry.add_compiled(b"xgroup|setid", <void *> _setid)
    registry.add_compiled(b"xgroup|destroy", <void *> _destroy)
    registry.add_compiled(b"xgroup|createconsumer", <void *> _createconsumer)
    registry.add_compiled(b"xgroup|delconsumer", <void *> _delconsumer)
