"""What all commands on streams share: ids as clients write them, replies of entries, the key's stream.

Source of the forms of an id: https://redis.io/docs/latest/develop/data-types/streams/
"""

from libc cimport errno
from libc.stdint cimport UINT64_MAX, uint8_t, uint32_t
from libc.string cimport memchr, memcpy, memmove, strlen

from node.engine.buf cimport Buf, buf_append, buf_free, buf_reserve
from node.engine.entry cimport TYPE_STREAM, entry_object, entry_type
from node.engine.resp cimport resp_bulk
from node.engine.run cimport Item, item_text, run_next
from node.engine.span cimport int64_to_bytes, span_of, span_to_int64
from node.engine.stream cimport (
    StreamWalk,
    stream_node,
    stream_node_for,
    stream_walk_any,
    stream_walk_from,
    stream_walk_next,
    stream_walk_node,
)
from node.engine.stream_id cimport id_compare, id_decrement, id_increment, id_of

cdef extern from "stdlib.h" nogil:
    unsigned long long strtoull(const char *text, char **end, int base)

cdef extern from "stdio.h" nogil:
    int snprintf(char *into, size_t room, const char *format, ...)

cdef enum:
    WORD_BYTES_MAX = 127


# --- reading arguments -----------------------------------------------------------------------------------

# As Redis does: what is no plain decimal may still be one for strtoull (leading zeros, blanks, a plus sign).
cdef bint _read_number(const char *text, uint64_t *value) noexcept:
    cdef int64_t number
    cdef char *end = NULL
    if span_to_int64(span_of(text, <Py_ssize_t> strlen(text)), &number):
        value[0] = <uint64_t> number
        return number >= 0
    errno.errno = 0
    value[0] = strtoull(text, &end, 10)
    return errno.errno == 0 and text[0] != 0 and end[0] == 0


cdef bint read_id(Span word, uint64_t missing_seq, bint strict, StreamId *id, bint *automatic) noexcept:
    cdef char text[WORD_BYTES_MAX + 1]
    cdef char *dash
    if word.len_bytes > WORD_BYTES_MAX:
        return False
    if word.len_bytes > 0:
        memcpy(text, word.at, <size_t> word.len_bytes)
    text[word.len_bytes] = 0
    if automatic != NULL:
        automatic[0] = False
    if text[0] != 0 and text[1] == 0 and (text[0] == 45 or text[0] == 43):
        id[0] = id_of(0, 0) if text[0] == 45 else id_of(UINT64_MAX, UINT64_MAX)
        return not strict
    dash = <char *> memchr(text, 45, strlen(text))
    if dash != NULL:
        dash[0] = 0
    if not _read_number(text, &id.ms):
        return False
    id.seq = missing_seq
    if dash == NULL:
        return True
    if automatic != NULL and dash[1] == 42 and dash[2] == 0:
        id.seq = 0
        automatic[0] = True
        return True
    return _read_number(dash + 1, &id.seq)


cdef int _invalid_id(Session s) except -1:
    return s.reply_error("ERR Invalid stream ID specified as stream command argument")


cdef bint id_at(Session s, int index, uint64_t missing_seq, bint strict, StreamId *id) except -1:
    if read_id(s.argv[index], missing_seq, strict, id, NULL):
        return True
    _invalid_id(s)
    return False


# One end of a range; 0 when the error is written.
cdef bint _end_at(Session s, int index, uint64_t missing_seq, StreamId *id, bint *excluded) except -1:
    cdef Span word = s.argv[index]
    excluded[0] = word.len_bytes > 1 and word.at[0] == 40
    if excluded[0]:
        word = span_of(word.at + 1, word.len_bytes - 1)
    if read_id(word, missing_seq, excluded[0], id, NULL):
        return True
    _invalid_id(s)
    return False


cdef bint range_start_at(Session s, int index, StreamId *least) except -1:
    cdef bint excluded = False
    if not _end_at(s, index, 0, least, &excluded):
        return False
    if excluded and not id_increment(least):
        s.reply_error("ERR invalid start ID for the interval")
        return False
    return True


cdef bint range_at(Session s, int from_index, int to_index, StreamId *least, StreamId *most) except -1:
    cdef bint excluded = False
    if not range_start_at(s, from_index, least) or not _end_at(s, to_index, UINT64_MAX, most, &excluded):
        return False
    if excluded and not id_decrement(most):
        s.reply_error("ERR invalid end ID for the interval")
        return False
    return True


cdef bint number_at(Session s, int index, const char *complaint, int64_t *value) except -1:
    if span_to_int64(s.argv[index], value):
        return True
    s.reply_error(complaint)
    return False


# --- replying --------------------------------------------------------------------------------------------

cdef Span id_text(StreamId id, char *into) noexcept:
    return span_of(into, snprintf(into, ID_BYTES_MAX, "%llu-%llu", <unsigned long long> id.ms, <unsigned long long> id.seq))


cdef int reply_id(Session s, StreamId id) except -1:
    cdef char text[ID_BYTES_MAX]
    return s.reply_bulk(id_text(id, text))


cdef int reply_entry(Session s, const StreamEntry *entry) except -1:
    cdef const uint8_t *names = entry.fields
    cdef const uint8_t *at = entry.content
    cdef uint32_t index
    cdef uint8_t scratch[24]
    cdef Item item
    s.reply_array(2)
    reply_id(s, entry.id)
    s.reply_array(2 * <int64_t> entry.field_count)
    for index in range(entry.field_count):
        if names != NULL:
            names = run_next(names, entry.end, &item)
        else:
            at = run_next(at, entry.end, &item)
        resp_bulk(&s.out, item_text(&item, scratch))
        at = run_next(at, entry.end, &item)
        resp_bulk(&s.out, item_text(&item, scratch))
    return 0


cdef int64_t reply_range(Session s, const Stream *stream, StreamId least, StreamId most, int64_t count, bint backwards) except -1:
    cdef StreamWalk walk
    cdef int64_t told = 0
    if backwards:
        return _reply_backwards(s, stream, least, most, count)
    stream_walk_from(stream, least, &walk)
    while stream_walk_next(&walk) and id_compare(walk.id, most) <= 0:
        reply_entry(s, &walk.entry)
        told += 1
        if told == count:
            break
    return told


# Node by node from the last one on; each is gone through forwards, and what was met is told from its end.
cdef int64_t _reply_backwards(Session s, const Stream *stream, StreamId least, StreamId most, int64_t count) except -1:
    cdef Buf met
    cdef StreamWalk walk
    cdef int64_t node = stream_node_for(stream, most)
    cdef int64_t told = 0
    cdef Py_ssize_t at
    cdef int found
    met.data = NULL
    met.used_bytes = 0
    met.cap_bytes = 0
    try:
        while node >= 0 and (count == 0 or told < count):
            if id_compare(stream_node(stream, <uint32_t> node).last, least) < 0:
                break
            met.used_bytes = 0
            stream_walk_node(stream, <uint32_t> node, &walk)
            while True:
                found = stream_walk_any(&walk)
                if found == 0 or id_compare(walk.id, most) > 0:
                    break
                if found == 1 and id_compare(walk.id, least) >= 0:
                    buf_append(&met, &walk.entry, sizeof(StreamEntry))
            at = met.used_bytes
            while at > 0 and (count == 0 or told < count):
                at -= sizeof(StreamEntry)
                reply_entry(s, <StreamEntry *> (met.data + at))
                told += 1
            node -= 1
        return told
    finally:
        buf_free(&met)


cdef int close_array(Session s, Py_ssize_t mark, int64_t count, char prefix) except -1:
    cdef uint8_t head[24]
    cdef Py_ssize_t len_bytes
    head[0] = <uint8_t> prefix
    len_bytes = 1 + int64_to_bytes(count, head + 1)
    head[len_bytes] = 13
    head[len_bytes + 1] = 10
    len_bytes += 2
    buf_reserve(&s.out, len_bytes)
    memmove(s.out.data + mark + len_bytes, s.out.data + mark, <size_t> (s.out.used_bytes - mark))
    memcpy(s.out.data + mark, head, <size_t> len_bytes)
    s.out.used_bytes += len_bytes
    return 0


# --- the key ---------------------------------------------------------------------------------------------

cdef bint is_stream(Session s, Entry *entry) except -1:
    if entry != NULL and entry_type(entry) != TYPE_STREAM:
        s.reply_wrong_type()
        return False
    return True


cdef Stream *stream_of(Entry *entry) noexcept:
    return NULL if entry == NULL else <Stream *> entry_object(entry)


cdef Entry *read_key(Session s, Key *key) except? NULL:
    if s.no_touch:
        return s.keyspace.look(s.database, key)
    return s.keyspace.read(s.database, key)
