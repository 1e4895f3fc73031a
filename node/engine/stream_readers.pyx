"""XREAD and XREADGROUP.

What is delivered to a group is told to replicas as what it comes to: an XCLAIM for each entry that is pending now, and
XGROUP SETID for the group's place. A command that waits is the same function, called again once a key has changed.
"""

from libc.stdint cimport INT64_MAX, UINT64_MAX, int64_t, uint8_t

from node.engine.entry cimport TYPE_STREAM, Entry
from node.engine.groups cimport (
    StreamConsumer,
    StreamGroup,
    StreamPending,
    cursor_pending,
    group_consumer,
    group_consumer_add,
    group_pending,
    pending_add,
    pending_assign,
    pending_deliver,
    pending_seek,
    stream_group,
)
from node.engine.keyspace cimport Edit, Key
from node.engine.ordered cimport OrderedCursor, ordered_next
from node.engine.registry cimport Registry
from node.engine.session cimport Session
from node.engine.span cimport Span, span_bytes, span_is, span_of, span_to_int64
from node.engine.stream cimport Stream, StreamEntry, StreamWalk, stream_edge, stream_find, stream_walk_from, stream_walk_next
from node.engine.stream_claims cimport (
    advance_group,
    effect_claim,
    effect_consumer,
    effect_group,
    no_group,
)
from node.engine.stream_id cimport StreamId, id_compare, id_increment, id_of
from node.engine.stream_ids cimport (
    ID_BYTES_MAX,
    STRICT,
    close_array,
    id_at,
    id_text,
    is_stream,
    read_key,
    reply_entry,
    reply_id,
    reply_range,
    stream_of,
)

from node.engine.reply import BLOCKED, NULL_ARRAY, CommandError

cdef enum:
    DOES_NOT_WAIT = -1

# The words of one command, read.
cdef struct Reading:
    bint grouped
    Span group
    Span consumer
    bint no_ack
    int64_t count  # 0: all
    int64_t wait_ms  # DOES_NOT_WAIT; 0: for ever
    int first  # where the keys begin
    int streams  # how many there are; as many ids follow


# A timeout in milliseconds; otherwise the error is written and 0 returned.
cdef bint _wait_at(Session s, int index, int64_t *wait_ms) except -1:
    if not span_to_int64(s.argv[index], wait_ms):
        s.reply_error("ERR timeout is not an integer or out of range")
        return False
    if wait_ms[0] < 0:
        s.reply_error("ERR timeout is negative")
        return False
    if s.waiting is None and wait_ms[0] > INT64_MAX - s.keyspace.now_ms:
        s.reply_error("ERR timeout is out of range")
        return False
    return True


cdef bint _read_words(Session s, Reading *reading) except -1:
    cdef int index = 1
    cdef int more
    cdef Span word
    reading.group = span_of(NULL, 0)
    reading.consumer = span_of(NULL, 0)
    reading.no_ack = False
    reading.count = 0
    reading.wait_ms = DOES_NOT_WAIT
    reading.first = 0
    cdef bint named = False
    while index < s.argc:
        word = s.argv[index]
        more = s.argc - index - 1
        if span_is(word, "BLOCK") and more > 0:
            index += 1
            if not _wait_at(s, index, &reading.wait_ms):
                return False
        elif span_is(word, "COUNT") and more > 0:
            index += 1
            if not s.int64_at(index, &reading.count):
                return False
            reading.count = max(reading.count, <int64_t> 0)
        elif span_is(word, "STREAMS") and more > 0:
            reading.first = index + 1
            if more % 2 != 0:
                s.reply_error_bytes(
                    b"ERR Unbalanced XREAD list of streams: for each stream key an ID or '$' must be specified."
                )
                return False
            reading.streams = more // 2
            break
        elif span_is(word, "GROUP") and more >= 2:
            if not reading.grouped:
                s.reply_error("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.")
                return False
            reading.group = s.argv[index + 1]
            reading.consumer = s.argv[index + 2]
            named = True
            index += 2
        elif span_is(word, "NOACK"):
            if not reading.grouped:
                s.reply_error("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.")
                return False
            reading.no_ack = True
        else:
            s.reply_syntax_error()
            return False
        index += 1
    if reading.first == 0:
        s.reply_syntax_error()
        return False
    if reading.grouped and not named:
        s.reply_error("ERR Missing GROUP option for XREADGROUP")
        return False
    return True


# Entries above this id are wanted of the stream at argv[index]; `fresh`: those that nobody was given. 0: the error
# is written.
cdef bint _wanted(Session s, const Reading *reading, int index, Entry *entry, StreamId *above, bint *fresh) except -1:
    cdef Span word = s.argv[index + reading.streams]
    cdef Stream *stream = stream_of(entry)
    fresh[0] = False
    if word.len_bytes == 1 and word.at[0] == 36:
        if reading.grouped:
            s.reply_error(
                "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer "
                "by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty "
                "result set."
            )
            return False
        above[0] = id_of(0, 0) if stream == NULL else stream.last_id
        return True
    if word.len_bytes == 1 and word.at[0] == 62:
        if not reading.grouped:
            s.reply_error(
                "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."
            )
            return False
        fresh[0] = True
        above[0] = id_of(UINT64_MAX, UINT64_MAX)
        return True
    if not id_at(s, index + reading.streams, 0, STRICT, above):
        return False
    fresh[0] = reading.grouped and above.ms == UINT64_MAX and above.seq == UINT64_MAX
    return True


# Before anything is read, every argument must be good. 0: the error is written.
cdef bint _check(Session s, const Reading *reading) except -1:
    cdef int index
    cdef Key key
    cdef Entry *entry
    cdef StreamId above
    cdef bint fresh
    for index in range(reading.first, reading.first + reading.streams):
        key = s.key_at(index)
        entry = read_key(s, &key)
        if not is_stream(s, entry):
            return False
        if reading.grouped and (entry == NULL or stream_group(stream_of(entry), reading.group) == NULL):
            no_group(s, key.name, reading.group, b" in XREADGROUP with GROUP option")
            return False
        if not _wanted(s, reading, index, entry, &above, &fresh):
            return False
    return True


# --- delivering ------------------------------------------------------------------------------------------

cdef int _begin_stream(Session s, const Reading *reading, Span name) except -1:
    if s.resp == 2:
        s.reply_array(2)
    return s.reply_bulk(name)


# New entries for a consumer. Returns how many.
cdef int64_t _deliver(
    Session s, const Reading *reading, Key *key, Stream *stream, StreamGroup *group, StreamConsumer *consumer
) except -1:
    cdef StreamId least = group.last_id
    cdef StreamWalk walk
    cdef StreamPending *pending
    cdef int64_t told = 0
    id_increment(&least)
    stream_walk_from(stream, least, &walk)
    while stream_walk_next(&walk):
        if id_compare(walk.id, group.last_id) > 0:
            advance_group(stream, group, walk.id)
        reply_entry(s, &walk.entry)
        if not reading.no_ack:
            pending = group_pending(group, walk.id)
            if pending == NULL:
                pending = pending_add(s.keyspace.store.heap, stream, group, consumer, walk.id, s.keyspace.now_ms, 1)
            else:  # somebody set the group back
                pending_assign(s.keyspace.store.heap, stream, group, pending, consumer)
                pending_deliver(stream, group, pending, s.keyspace.now_ms, 1)
            consumer.active_ms = s.keyspace.now_ms
            effect_claim(s, key.name, group, pending)
        told += 1
        if told == reading.count:
            break
    effect_group(s, key.name, group)
    return told


# What a consumer has pending, above an id. Returns how many.
cdef int64_t _history(
    Session s, const Reading *reading, Key *key, Stream *stream, StreamGroup *group, StreamConsumer *consumer, StreamId above
) except -1:
    cdef OrderedCursor cursor
    cdef StreamPending *pending
    cdef StreamEntry entry
    cdef int64_t told = 0
    cdef bint more
    id_increment(&above)
    more = pending_seek(&consumer.pending, above, &cursor)
    while more and (reading.count == 0 or told < reading.count):
        pending = cursor_pending(&cursor)
        if stream_find(stream, pending.id, &entry):
            reply_entry(s, &entry)
            pending_deliver(stream, group, pending, s.keyspace.now_ms, pending.count + 1)
            effect_claim(s, key.name, group, pending)
        else:
            s.reply_array(2)
            reply_id(s, pending.id)
            s.reply_null_array()
        told += 1
        more = ordered_next(&cursor)
    return told


# One stream for a group's consumer. 0: there is nothing to tell.
cdef bint _read_for_group(Session s, const Reading *reading, int index, Entry *entry) except -1:
    cdef Key key = s.key_at(index)
    cdef Stream *stream = stream_of(entry)
    cdef StreamGroup *group = stream_group(stream, reading.group)
    cdef StreamConsumer *consumer
    cdef StreamId above
    cdef bint fresh
    cdef bint serves
    cdef Edit edit
    cdef Py_ssize_t mark
    cdef int64_t told
    _wanted(s, reading, index, entry, &above, &fresh)
    serves = not fresh or (stream.length > 0 and id_compare(stream_edge(stream, False), group.last_id) > 0)
    consumer = group_consumer(group, reading.consumer)
    if consumer != NULL:
        consumer.seen_ms = s.keyspace.now_ms
    if not serves:
        return False
    s.keyspace.begin_edit(s.database, &key, entry, &edit)
    try:
        if consumer == NULL:
            consumer = group_consumer_add(s.keyspace.store.heap, stream, group, reading.consumer, s.keyspace.now_ms)
            s.changed_aside(1)
            effect_consumer(s, key.name, group, consumer)
        _begin_stream(s, reading, key.name)
        mark = s.out.used_bytes
        s.changed_aside(1)
        s.effect_written = True  # also when nothing comes of it
        if fresh:
            told = _deliver(s, reading, &key, stream, group, consumer)
        else:
            told = _history(s, reading, &key, stream, group, consumer, above)
        close_array(s, mark, told, 42)
    finally:
        s.keyspace.end_edit(&edit)
    return True


cdef bint _read_plainly(Session s, const Reading *reading, int index, Entry *entry) except -1:
    cdef Stream *stream = stream_of(entry)
    cdef StreamId above
    cdef bint fresh
    cdef Py_ssize_t mark
    _wanted(s, reading, index, entry, &above, &fresh)
    if stream.length == 0 or id_compare(stream_edge(stream, False), above) <= 0:
        return False
    _begin_stream(s, reading, s.argv[index])
    mark = s.out.used_bytes
    id_increment(&above)
    close_array(s, mark, reply_range(s, stream, above, id_of(UINT64_MAX, UINT64_MAX), reading.count, False), 42)
    return True


cdef int _read(Session s, bint grouped) except -1:
    cdef Reading reading
    cdef Py_ssize_t mark = s.out.used_bytes
    cdef int index
    cdef int64_t told = 0
    cdef Key key
    cdef Entry *entry
    reading.grouped = grouped
    if not _read_words(s, &reading) or not _check(s, &reading):
        return 0
    for index in range(reading.first, reading.first + reading.streams):
        key = s.key_at(index)
        entry = s.keyspace.find(s.database, &key)
        if entry == NULL:
            continue
        if _read_for_group(s, &reading, index, entry) if grouped else _read_plainly(s, &reading, index, entry):
            told += 1
    if told > 0:
        return close_array(s, mark, told, 42 if s.resp == 2 else 37)
    if reading.wait_ms == DOES_NOT_WAIT:
        return s.reply_null_array()
    return _wait(s, &reading)


# Runs again when a key has changed, with the ids that `$` stands for now.
cdef int _wait(Session s, const Reading *reading) except -1:
    cdef int index
    cdef Key key
    cdef Stream *stream
    cdef char text[ID_BYTES_MAX]
    cdef Span word
    words = []
    keys = []
    for index in range(s.argc):
        word = s.argv[index]
        if index >= reading.first + reading.streams and word.len_bytes == 1 and word.at[0] == 36:
            key = s.key_at(index - reading.streams)
            stream = stream_of(s.keyspace.find(s.database, &key))
            word = id_text(id_of(0, 0) if stream == NULL else stream.last_id, text)
        words.append(span_bytes(word))
        if reading.first <= index < reading.first + reading.streams:
            keys.append(span_bytes(word))
    try:
        value = s.block_on(
            keys, reading.wait_ms, TYPE_STREAM, on_timeout=NULL_ARRAY, words=words, also_when_gone=reading.grouped
        )
    except CommandError as error:
        value = error.failure
    if value is BLOCKED:
        s.blocked = True
        return 0
    return s.reply_value(value)


cdef int _xread(Session s) except -1:
    return _read(s, False)


cdef int _xreadgroup(Session s) except -1:
    return _read(s, True)


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"xread", <void *> _xread)
    registry.add_compiled(b"xreadgroup", <void *> _xreadgroup)
