"""XINFO: what is known of a stream, its groups and their consumers."""

from libc.stdint cimport UINT64_MAX, int64_t, uint32_t

from node.engine.entry cimport Entry
from node.engine.groups cimport (
    NOT_KNOWN,
    StreamConsumer,
    StreamGroup,
    StreamPending,
    consumer_name,
    cursor_pending,
    group_consumer_at,
    group_name,
    pending_consumer,
    pending_seek,
    stream_group,
    stream_group_at,
)
from node.engine.keyspace cimport Key
from node.engine.ordered cimport Ordered, OrderedCursor, ordered_next
from node.engine.registry cimport Registry
from node.engine.session cimport Session
from node.engine.span cimport span_bytes, span_is, span_of
from node.engine.stream cimport Stream
from node.engine.stream_claims cimport entries_up_to, has_holes
from node.engine.stream_id cimport id_of
from node.engine.stream_ids cimport close_array, is_stream, read_key, reply_id, reply_range, stream_of


cdef int _name(Session s, bytes word) except -1:
    return s.reply_bulk(span_of(<const char *> word, len(word)))


cdef int _number(Session s, bytes name, int64_t value) except -1:
    _name(s, name)
    return s.reply_int64(value)


# The stream at argv[2]; NULL when the error is written.
cdef Stream *_stream_at(Session s) except? NULL:
    cdef Key key = s.key_at(2)
    cdef Entry *entry = read_key(s, &key)
    if entry == NULL:
        s.reply_error("ERR no such key")
        return NULL
    return stream_of(entry) if is_stream(s, entry) else NULL


cdef int _misused(Session s) except -1:
    return s.reply_error_bytes(
        b"ERR unknown subcommand or wrong number of arguments for '%b'. Try XINFO HELP." % span_bytes(s.argv[1])
    )


# How many entries the group has not been given, where that can be known.
cdef int _reply_progress(Session s, const Stream *stream, const StreamGroup *group) except -1:
    cdef int64_t read = group.entries_read
    _name(s, b"entries-read")
    if read == NOT_KNOWN:
        s.reply_null()
    else:
        s.reply_int64(read)
    _name(s, b"lag")
    if stream.added == 0:
        return s.reply_int64(0)
    if read == NOT_KNOWN or has_holes(stream, group.last_id):
        read = entries_up_to(stream, group.last_id)
    return s.reply_null() if read == NOT_KNOWN else s.reply_int64(<int64_t> stream.added - read)


cdef int _consumers(Session s) except -1:
    cdef Stream *stream = _stream_at(s)
    cdef StreamGroup *group
    cdef StreamConsumer *consumer
    cdef uint32_t index
    if stream == NULL:
        return 0
    group = stream_group(stream, s.argv[3])
    if group == NULL:
        return s.reply_error_bytes(
            b"NOGROUP No such consumer group '%b' for key name '%b'" % (span_bytes(s.argv[3]), span_bytes(s.argv[2]))
        )
    s.reply_array(group.consumers.count)
    for index in range(group.consumers.count):
        consumer = group_consumer_at(group, index)
        s.reply_map(4)
        _name(s, b"name")
        s.reply_bulk(consumer_name(consumer))
        _number(s, b"pending", <int64_t> consumer.pending.count)
        _number(s, b"idle", max(s.keyspace.now_ms - consumer.seen_ms, <int64_t> 0))
        _number(s, b"inactive", -1 if consumer.active_ms == -1 else max(s.keyspace.now_ms - consumer.active_ms, <int64_t> 0))
    return 0


cdef int _groups(Session s) except -1:
    cdef Stream *stream = _stream_at(s)
    cdef StreamGroup *group
    cdef uint32_t index
    if stream == NULL:
        return 0
    s.reply_array(stream.groups.count)
    for index in range(stream.groups.count):
        group = stream_group_at(stream, index)
        s.reply_map(6)
        _name(s, b"name")
        s.reply_bulk(group_name(group))
        _number(s, b"consumers", group.consumers.count)
        _number(s, b"pending", <int64_t> group.pending.count)
        _name(s, b"last-delivered-id")
        reply_id(s, group.last_id)
        _reply_progress(s, stream, group)
    return 0


# Pending entries from the first one on, `most` at most (0: all): [id, consumer, time, count], or without the consumer.
cdef int _reply_pending(Session s, const Ordered *index, bint named, int64_t most) except -1:
    cdef OrderedCursor cursor
    cdef StreamPending *pending
    cdef int64_t told = 0
    cdef Py_ssize_t mark = s.out.used_bytes
    cdef bint more = pending_seek(index, id_of(0, 0), &cursor)
    while more and (most == 0 or told < most):
        pending = cursor_pending(&cursor)
        s.reply_array(4 if named else 3)
        reply_id(s, pending.id)
        if named:
            s.reply_bulk(consumer_name(pending_consumer(pending)))
        s.reply_int64(pending.delivered_ms)
        s.reply_int64(pending.count)
        told += 1
        more = ordered_next(&cursor)
    return close_array(s, mark, told, 42)


cdef int _reply_group(Session s, const Stream *stream, StreamGroup *group, int64_t most) except -1:
    cdef StreamConsumer *consumer
    cdef uint32_t index
    s.reply_map(7)
    _name(s, b"name")
    s.reply_bulk(group_name(group))
    _name(s, b"last-delivered-id")
    reply_id(s, group.last_id)
    _reply_progress(s, stream, group)
    _number(s, b"pel-count", <int64_t> group.pending.count)
    _name(s, b"pending")
    _reply_pending(s, &group.pending, True, most)
    _name(s, b"consumers")
    s.reply_array(group.consumers.count)
    for index in range(group.consumers.count):
        consumer = group_consumer_at(group, index)
        s.reply_map(5)
        _name(s, b"name")
        s.reply_bulk(consumer_name(consumer))
        _number(s, b"seen-time", consumer.seen_ms)
        _number(s, b"active-time", consumer.active_ms)
        _number(s, b"pel-count", <int64_t> consumer.pending.count)
        _name(s, b"pending")
        _reply_pending(s, &consumer.pending, False, most)
    return 0


# The first or last entry, or null.
cdef int _reply_edge(Session s, const Stream *stream, bint backwards) except -1:
    if reply_range(s, stream, id_of(0, 0), id_of(UINT64_MAX, UINT64_MAX), 1, backwards) == 0:
        s.reply_null()
    return 0


cdef int _stream(Session s) except -1:
    cdef Stream *stream = _stream_at(s)
    cdef bint full = s.argc > 3
    cdef int64_t most = 10
    cdef uint32_t index
    cdef Py_ssize_t mark
    if stream == NULL:
        return 0
    if full:
        if (s.argc != 4 and s.argc != 6) or not span_is(s.argv[3], "FULL"):
            return _misused(s)
        if s.argc == 6:
            if not span_is(s.argv[4], "COUNT"):
                return _misused(s)
            if not s.int64_at(5, &most):
                return 0
            if most < 0:
                most = 10
    s.reply_map(9 if full else 10)
    _number(s, b"length", stream.length)
    # Ours is no radix tree: what one would have of keys we have of nodes.
    _number(s, b"radix-tree-keys", stream.nodes.count)
    _number(s, b"radix-tree-nodes", <int64_t> stream.nodes.count + 1)
    _name(s, b"last-generated-id")
    reply_id(s, stream.last_id)
    _name(s, b"max-deleted-entry-id")
    reply_id(s, stream.deleted_id)
    _number(s, b"entries-added", <int64_t> stream.added)
    _name(s, b"recorded-first-entry-id")
    reply_id(s, stream.first_id)
    if not full:
        _number(s, b"groups", stream.groups.count)
        _name(s, b"first-entry")
        _reply_edge(s, stream, False)
        _name(s, b"last-entry")
        return _reply_edge(s, stream, True)
    _name(s, b"entries")
    mark = s.out.used_bytes
    close_array(s, mark, reply_range(s, stream, id_of(0, 0), id_of(UINT64_MAX, UINT64_MAX), most, False), 42)
    _name(s, b"groups")
    s.reply_array(stream.groups.count)
    for index in range(stream.groups.count):
        _reply_group(s, stream, stream_group_at(stream, index), most)
    return 0


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"xinfo|stream", <void *> _stream)
    registry.add_compiled(b"xinfo|groups", <void *> _groups)
    registry.add_compiled(b"xinfo|consumers", <void *> _consumers)
