"""The commands on what a consumer group has pending: XACK, XPENDING, XCLAIM, XAUTOCLAIM; reading is in stream_readers.pyx.

What is claimed is told to replicas entry by entry: XCLAIM with the time and the count that it has now.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t

from node.engine.buf cimport Buf, buf_append, buf_free
from node.engine.entry cimport Entry
from node.engine.groups cimport (
    NOT_KNOWN,
    consumer_name,
    cursor_pending,
    group_consumer,
    group_consumer_add,
    group_consumer_at,
    group_name,
    group_pending,
    pending_add,
    pending_assign,
    pending_consumer,
    pending_deliver,
    pending_remove,
    pending_seek,
    stream_group,
)
from node.engine.keyspace cimport Edit, Key
from node.engine.ordered cimport Ordered, OrderedCursor, ordered_at, ordered_next
from node.engine.registry cimport Registry
from node.engine.span cimport int64_to_bytes, span_bytes, span_is, span_of
from node.engine.stream cimport StreamEntry, stream_find
from node.engine.stream_id cimport id_compare, id_is_zero, id_of
from node.engine.stream_ids cimport (
    ID_BYTES_MAX,
    STRICT,
    close_array,
    id_at,
    id_text,
    is_stream,
    number_at,
    range_at,
    range_start_at,
    read_id,
    read_key,
    reply_entry,
    reply_id,
    stream_of,
)

cdef enum:
    ATTEMPTS_FACTOR = 10  # XAUTOCLAIM looks at so many for each that is wanted
    COUNT_MAX = 576460752303423487


# --- helpers -------------------------------------------------------------------------------------------

cdef int no_group(Session s, Span key, Span group, bytes where) except -1:
    return s.reply_error_bytes(
        b"NOGROUP No such key '%b' or consumer group '%b'%b" % (span_bytes(key), span_bytes(group), where)
    )


cdef bint has_holes(const Stream *stream, StreamId least) noexcept:
    if stream.length == 0 or id_is_zero(stream.deleted_id) or id_compare(stream.first_id, stream.deleted_id) > 0:
        return False  # all that was deleted lies before what is there
    return id_compare(least, stream.deleted_id) <= 0


# Source: https://redis.io/docs/latest/commands/xinfo-groups/ (how the lag is found, and when it cannot be).
cdef int64_t entries_up_to(const Stream *stream, StreamId id) noexcept:
    cdef int to_first
    if stream.added == 0:
        return NOT_KNOWN
    if stream.length == 0 and id_compare(id, stream.last_id) <= 0:
        return <int64_t> stream.added
    if id_compare(id, stream.last_id) == 0:
        return <int64_t> stream.added
    if id_compare(id, stream.last_id) > 0:
        return NOT_KNOWN
    if id_is_zero(stream.deleted_id) or id_compare(stream.deleted_id, stream.first_id) < 0:
        to_first = id_compare(id, stream.first_id)
        if to_first < 0:
            return <int64_t> stream.added - stream.length
        if to_first == 0:
            return <int64_t> stream.added - stream.length + 1
    return NOT_KNOWN


cdef void advance_group(const Stream *stream, StreamGroup *group, StreamId id) noexcept:
    if group.entries_read != NOT_KNOWN and group.entries_read < INT64_MAX and not has_holes(stream, id):
        group.entries_read += 1
    elif stream.added > 0:
        group.entries_read = entries_up_to(stream, id)
    group.last_id = id


cdef int effect_claim(Session s, Span key, const StreamGroup *group, const StreamPending *pending) except -1:
    cdef char text[ID_BYTES_MAX]
    s.effect(14)
    s.effect_arg_word("XCLAIM")
    s.effect_arg(key)
    s.effect_arg(group_name(group))
    s.effect_arg(consumer_name(pending_consumer(pending)))
    s.effect_arg_word("0")
    s.effect_arg(id_text(pending.id, text))
    s.effect_arg_word("TIME")
    s.effect_arg_int64(pending.delivered_ms)
    s.effect_arg_word("RETRYCOUNT")
    s.effect_arg_int64(pending.count)
    s.effect_arg_word("FORCE")
    s.effect_arg_word("JUSTID")
    s.effect_arg_word("LASTID")
    return s.effect_arg(id_text(group.last_id, text))


cdef int effect_group(Session s, Span key, const StreamGroup *group) except -1:
    cdef char text[ID_BYTES_MAX]
    s.effect(7)
    s.effect_arg_word("XGROUP")
    s.effect_arg_word("SETID")
    s.effect_arg(key)
    s.effect_arg(group_name(group))
    s.effect_arg(id_text(group.last_id, text))
    s.effect_arg_word("ENTRIESREAD")
    return s.effect_arg_int64(group.entries_read)


cdef int effect_consumer(Session s, Span key, const StreamGroup *group, const StreamConsumer *consumer) except -1:
    s.effect(5)
    s.effect_arg_word("XGROUP")
    s.effect_arg_word("CREATECONSUMER")
    s.effect_arg(key)
    s.effect_arg(group_name(group))
    return s.effect_arg(consumer_name(consumer))


# --- XACK and XPENDING -----------------------------------------------------------------------------------

cdef int _xack(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = s.keyspace.find(s.database, &key)
    cdef StreamGroup *group
    cdef StreamPending *pending
    cdef StreamId id
    cdef Edit edit
    cdef int index
    cdef int64_t done = 0
    if not is_stream(s, entry):
        return 0
    group = NULL if entry == NULL else stream_group(stream_of(entry), s.argv[2])
    if group == NULL:
        return s.reply_int64(0)
    for index in range(3, s.argc):  # all of them, before anything is removed
        if not id_at(s, index, 0, STRICT, &id):
            return 0
    s.keyspace.begin_edit(s.database, &key, entry, &edit)
    for index in range(3, s.argc):
        read_id(s.argv[index], 0, STRICT, &id, NULL)
        pending = group_pending(group, id)
        if pending != NULL:
            pending_remove(s.keyspace.store.heap, stream_of(entry), group, pending)
            done += 1
    s.keyspace.end_edit(&edit)
    s.changed_aside(done)
    return s.reply_int64(done)


cdef int _summary(Session s, StreamGroup *group) except -1:
    cdef OrderedCursor cursor
    cdef StreamConsumer *consumer
    cdef uint8_t digits[24]
    cdef Py_ssize_t mark
    cdef int64_t told = 0
    cdef uint32_t index
    s.reply_array(4)
    s.reply_int64(<int64_t> group.pending.count)
    if group.pending.count == 0:
        s.reply_null()
        s.reply_null()
        return s.reply_null_array()
    ordered_at(&group.pending, 0, &cursor)
    reply_id(s, cursor_pending(&cursor).id)
    ordered_at(&group.pending, group.pending.count - 1, &cursor)
    reply_id(s, cursor_pending(&cursor).id)
    mark = s.out.used_bytes
    for index in range(group.consumers.count):
        consumer = group_consumer_at(group, index)
        if consumer.pending.count > 0:
            s.reply_array(2)
            s.reply_bulk(consumer_name(consumer))
            s.reply_bulk(span_of(digits, int64_to_bytes(<int64_t> consumer.pending.count, digits)))
            told += 1
    return close_array(s, mark, told, 42)


cdef int _xpending(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry
    cdef StreamGroup *group
    cdef StreamConsumer *consumer
    cdef StreamPending *pending
    cdef const Ordered *index
    cdef OrderedCursor cursor
    cdef StreamId least = id_of(0, 0), most = id_of(0, 0)
    cdef int64_t idle_ms = 0, count = 0, told = 0
    cdef int at = 3
    cdef Py_ssize_t mark
    cdef bint more
    if s.argc != 3 and (s.argc < 6 or s.argc > 9):
        return s.reply_syntax_error()
    if s.argc >= 6:
        if span_is(s.argv[3], "IDLE"):
            if not s.int64_at(4, &idle_ms):
                return 0
            if s.argc < 8:
                return s.reply_syntax_error()
            at = 5
        if not s.int64_at(at + 2, &count) or not range_at(s, at, at + 1, &least, &most):
            return 0
    entry = read_key(s, &key)
    if not is_stream(s, entry):
        return 0
    group = NULL if entry == NULL else stream_group(stream_of(entry), s.argv[2])
    if group == NULL:
        return no_group(s, key.name, s.argv[2], b"")
    if s.argc == 3:
        return _summary(s, group)
    index = &group.pending
    if at + 3 < s.argc:
        consumer = group_consumer(group, s.argv[at + 3])
        if consumer == NULL:
            return s.reply_array(0)
        index = &consumer.pending
    mark = s.out.used_bytes
    more = count > 0 and pending_seek(index, least, &cursor)
    while more and told < count:
        pending = cursor_pending(&cursor)
        if id_compare(pending.id, most) > 0:
            break
        if idle_ms == 0 or s.keyspace.now_ms - pending.delivered_ms >= idle_ms:
            s.reply_array(4)
            reply_id(s, pending.id)
            s.reply_bulk(consumer_name(pending_consumer(pending)))
            s.reply_int64(max(s.keyspace.now_ms - pending.delivered_ms, <int64_t> 0))
            s.reply_int64(pending.count)
            told += 1
        more = ordered_next(&cursor)
    return close_array(s, mark, told, 42)


# --- claiming --------------------------------------------------------------------------------------------

# What XCLAIM and XAUTOCLAIM do with what they find.
cdef struct Claim:
    int64_t idle_ms  # at least
    int64_t delivered_ms
    int64_t count  # -1: one more than before
    bint force
    bint just_id
    StreamId last_id


# Of an entry that is there. 0: it was not idle for long enough.
cdef bint _take_over(
    Session s, Key *key, Stream *stream, StreamGroup *group, StreamPending *pending, const StreamEntry *entry,
    const Claim *claim,
) except -1:
    cdef StreamConsumer *consumer
    cdef int64_t count = pending.count
    if claim.idle_ms > 0 and s.keyspace.now_ms - pending.delivered_ms < claim.idle_ms:
        return False
    consumer = _consumer_at(s, key, stream, group)
    pending_assign(s.keyspace.store.heap, stream, group, pending, consumer)
    if claim.count >= 0:
        count = claim.count
    elif not claim.just_id:
        count += 1
    pending_deliver(stream, group, pending, claim.delivered_ms, count)
    consumer.active_ms = s.keyspace.now_ms
    if claim.just_id:
        reply_id(s, pending.id)
    else:
        reply_entry(s, entry)
    s.changed_aside(1)
    effect_claim(s, key.name, group, pending)
    return True


# The consumer at argv[3], which comes into being if it has to.
cdef StreamConsumer *_consumer_at(Session s, Key *key, Stream *stream, StreamGroup *group) except NULL:
    cdef StreamConsumer *consumer = group_consumer(group, s.argv[3])
    if consumer == NULL:
        consumer = group_consumer_add(s.keyspace.store.heap, stream, group, s.argv[3], s.keyspace.now_ms)
        s.changed_aside(1)
        effect_consumer(s, key.name, group, consumer)
    consumer.seen_ms = s.keyspace.now_ms
    return consumer


# An entry that is pending and was deleted: so is what is pending. The effect makes a replica find the same.
cdef int _forget(Session s, Key *key, Stream *stream, StreamGroup *group, StreamPending *pending) except -1:
    s.changed_aside(1)
    effect_claim(s, key.name, group, pending)
    pending_remove(s.keyspace.store.heap, stream, group, pending)
    return 0


# XCLAIM's options from argv[index] on; 0 when the error is written.
cdef bint _claim_options(Session s, int index, Claim *claim) except -1:
    cdef bint more, timed = False
    cdef int64_t now_ms = s.keyspace.now_ms
    claim.delivered_ms = now_ms
    claim.count = -1
    claim.force = False
    claim.just_id = False
    claim.last_id = id_of(0, 0)
    while index < s.argc:
        more = index + 1 < s.argc
        if span_is(s.argv[index], "FORCE"):
            claim.force = True
        elif span_is(s.argv[index], "JUSTID"):
            claim.just_id = True
        elif span_is(s.argv[index], "IDLE") and more:
            index += 1
            if not number_at(s, index, "ERR Invalid IDLE option argument for XCLAIM", &claim.delivered_ms):
                return False
            # As unsigned, for what would overflow; it is bogus then, and counts as now.
            claim.delivered_ms = <int64_t> (<uint64_t> now_ms - <uint64_t> claim.delivered_ms)
            timed = True
        elif span_is(s.argv[index], "TIME") and more:
            index += 1
            if not number_at(s, index, "ERR Invalid TIME option argument for XCLAIM", &claim.delivered_ms):
                return False
            timed = True
        elif span_is(s.argv[index], "RETRYCOUNT") and more:
            index += 1
            if not number_at(s, index, "ERR Invalid RETRYCOUNT option argument for XCLAIM", &claim.count):
                return False
            claim.count = max(claim.count, <int64_t> -1)
        elif span_is(s.argv[index], "LASTID") and more:
            index += 1
            if not id_at(s, index, 0, STRICT, &claim.last_id):
                return False
        else:
            s.reply_error_bytes(b"ERR Unrecognized XCLAIM option '%b'" % span_bytes(s.argv[index]))
            return False
        index += 1
    # A primary's clock is its own; a client's may run fast.
    if timed and not s.apply_stream and (claim.delivered_ms < 0 or claim.delivered_ms > now_ms):
        claim.delivered_ms = now_ms
    return True


cdef int _xclaim(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = s.keyspace.find(s.database, &key)
    cdef Stream *stream = NULL
    cdef StreamGroup *group = NULL
    cdef Claim claim
    cdef StreamId id
    cdef int behind = 5
    cdef Edit edit
    if not is_stream(s, entry):
        return 0
    if entry != NULL:
        stream = stream_of(entry)
        group = stream_group(stream, s.argv[2])
    if group == NULL:
        return no_group(s, key.name, s.argv[2], b"")
    if not number_at(s, 4, "ERR Invalid min-idle-time argument for XCLAIM", &claim.idle_ms):
        return 0
    while behind < s.argc and read_id(s.argv[behind], 0, STRICT, &id, NULL):
        behind += 1
    if not _claim_options(s, behind, &claim):
        return 0
    s.keyspace.begin_edit(s.database, &key, entry, &edit)
    try:
        _claim_ids(s, &key, stream, group, behind, &claim)
    finally:
        s.keyspace.end_edit(&edit)
    return 0


cdef int _claim_ids(Session s, Key *key, Stream *stream, StreamGroup *group, int behind, const Claim *claim) except -1:
    cdef StreamConsumer *consumer = group_consumer(group, s.argv[3])
    cdef StreamPending *pending
    cdef StreamEntry entry
    cdef StreamId id
    cdef Py_ssize_t mark = s.out.used_bytes
    cdef int64_t told = 0
    cdef bint advanced = id_compare(claim.last_id, group.last_id) > 0
    cdef bint made
    cdef int index
    if advanced:
        group.last_id = claim.last_id
        s.changed_aside(1)
        effect_group(s, key.name, group)
    if consumer != NULL:
        consumer.seen_ms = s.keyspace.now_ms
    for index in range(5, behind):
        read_id(s.argv[index], 0, STRICT, &id, NULL)
        pending = group_pending(group, id)
        if not stream_find(stream, id, &entry):
            if pending != NULL:
                _forget(s, key, stream, group, pending)
            continue
        made = pending == NULL and claim.force
        if made:
            consumer = _consumer_at(s, key, stream, group)
            pending = pending_add(
                s.keyspace.store.heap, stream, group, consumer, id, s.keyspace.now_ms - max(claim.idle_ms, <int64_t> 0), 1
            )
        if pending != NULL and _take_over(s, key, stream, group, pending, &entry, claim):
            told += 1
    return close_array(s, mark, told, 42)


cdef int _xautoclaim(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry
    cdef Stream *stream = NULL
    cdef StreamGroup *group = NULL
    cdef Claim claim
    cdef StreamId least
    cdef int64_t count = 100
    cdef int index = 6
    cdef Edit edit
    if not number_at(s, 4, "ERR Invalid min-idle-time argument for XAUTOCLAIM", &claim.idle_ms):
        return 0
    if not range_start_at(s, 5, &least):
        return 0
    claim.delivered_ms = s.keyspace.now_ms
    claim.count = -1
    claim.force = False
    claim.just_id = False
    claim.last_id = id_of(0, 0)
    while index < s.argc:
        if span_is(s.argv[index], "COUNT") and index + 1 < s.argc:
            index += 1
            if not number_at(s, index, "ERR COUNT must be > 0", &count):
                return 0
            if count < 1 or count > COUNT_MAX:
                return s.reply_error("ERR COUNT must be > 0")
        elif span_is(s.argv[index], "JUSTID"):
            claim.just_id = True
        else:
            return s.reply_syntax_error()
        index += 1
    entry = s.keyspace.find(s.database, &key)
    if not is_stream(s, entry):
        return 0
    if entry != NULL:
        stream = stream_of(entry)
        group = stream_group(stream, s.argv[2])
    if group == NULL:
        return no_group(s, key.name, s.argv[2], b"")
    s.keyspace.begin_edit(s.database, &key, entry, &edit)
    try:
        _claim_some(s, &key, stream, group, least, count, &claim)
    finally:
        s.keyspace.end_edit(&edit)
    return 0


cdef int _claim_some(
    Session s, Key *key, Stream *stream, StreamGroup *group, StreamId least, int64_t count, const Claim *claim
) except -1:
    cdef StreamConsumer *consumer = group_consumer(group, s.argv[3])
    cdef StreamPending *pending
    cdef StreamEntry entry
    cdef OrderedCursor cursor
    cdef int64_t attempts = count * ATTEMPTS_FACTOR, told = 0, gone_count, index
    cdef Py_ssize_t mark
    cdef bint more
    cdef Buf gone
    cdef StreamId id
    gone.data = NULL
    gone.used_bytes = 0
    gone.cap_bytes = 0
    if consumer != NULL:
        consumer.seen_ms = s.keyspace.now_ms
    s.reply_array(3)
    mark = s.out.used_bytes
    try:
        more = pending_seek(&group.pending, least, &cursor)
        while more and attempts > 0 and count > 0:
            attempts -= 1
            pending = cursor_pending(&cursor)
            if stream_find(stream, pending.id, &entry):
                if _take_over(s, key, stream, group, pending, &entry, claim):
                    told += 1
                    count -= 1
                more = ordered_next(&cursor)
            else:
                id = pending.id
                buf_append(&gone, &id, sizeof(StreamId))
                _forget(s, key, stream, group, pending)
                count -= 1
                more = pending_seek(&group.pending, id, &cursor)
        close_array(s, mark, told, 42)
        _insert_id(s, mark, cursor_pending(&cursor).id if more else id_of(0, 0))
        gone_count = gone.used_bytes // <Py_ssize_t> sizeof(StreamId)
        s.reply_array(gone_count)
        for index in range(gone_count):
            reply_id(s, (<StreamId *> gone.data)[index])
    finally:
        buf_free(&gone)
    return 0


# A bulk with an id in front of what was written from the mark on.
cdef int _insert_id(Session s, Py_ssize_t mark, StreamId id) except -1:
    cdef bytes behind = s.out.data[mark : s.out.used_bytes]
    s.out.used_bytes = mark
    reply_id(s, id)
    return buf_append(&s.out, <const char *> behind, len(behind))


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"xack", <void *> _xack)
    registry.add_compiled(b"xpending", <void *> _xpending)
    registry.add_compiled(b"xclaim", <void *> _xclaim)
    registry.add_compiled(b"xautoclaim", <void *> _xautoclaim)
