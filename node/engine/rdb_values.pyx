"""Values of Redis's snapshot format, read piece by piece.

A value is a handful of pieces (a count, a field, a score, a packed blob), and only the one that has not fully arrived is
waited for: a hash of ten million fields needs no more memory to read than its longest field. The snapshot's
decoder (rdb.pyx) and RESTORE (dump.pyx) are readers of this kind; bytes come from strangers in both.

    PIECE_COUNT -> PIECE_FIRST -> PIECE_SECOND -> PIECE_FIRST ... -> PIECE_NONE        a hash

Source: https://rdb.fnordig.de/file_format.html, and files written by redis-server.
"""

from libc.math cimport INFINITY
from libc.stdint cimport int8_t, int16_t, int32_t
from libc.string cimport memcpy

from node.engine.buf cimport buf_append, buf_free, buf_reserve
from node.engine.entry cimport TYPE_HASH, TYPE_LIST, TYPE_SET, TYPE_STREAM, TYPE_STRING, TYPE_ZSET
from node.engine.groups cimport (
    NOT_KNOWN,
    group_consumer,
    group_consumer_add,
    pending_add,
    stream_group,
    stream_group_add,
)
from node.engine.lzf cimport LZF_GROWTH_MAX, lzf_unpack
from node.engine.packed cimport PACKED_INTSET, PACKED_LISTPACK, PACKED_ZIPLIST, Packed, packed_next, packed_open
from node.engine.rdb_stream cimport read_raw_id, read_stream_node
from node.engine.run cimport Item, item_text
from node.engine.span cimport int64_to_bytes, span_bytes, span_of
from node.engine.stream cimport stream_edge
from node.engine.stream_id cimport id_compare, id_of

cdef enum:
    KIND_STRING = 0
    KIND_LIST = 1
    KIND_SET = 2
    KIND_ZSET_TEXT = 3
    KIND_HASH = 4
    KIND_ZSET = 5
    KIND_LIST_ZIPLIST = 10
    KIND_SET_INTSET = 11
    KIND_ZSET_ZIPLIST = 12
    KIND_HASH_ZIPLIST = 13
    KIND_LIST_ZIPLISTS = 14
    KIND_HASH_LISTPACK = 16
    KIND_ZSET_LISTPACK = 17
    KIND_LIST_LISTPACKS = 18
    KIND_STREAM_5 = 15
    KIND_STREAM = 19
    KIND_SET_LISTPACK = 20
    KIND_STREAM_7_2 = 21
    KIND_EXPIRING_HASH = 24

cdef enum:
    NODE_PLAIN = 1  # of a list of listpacks: one long item
    NODE_PACKED = 2

cdef enum:
    PACKED_INT8 = 0
    PACKED_INT16 = 1
    PACKED_INT32 = 2
    PACKED_LZF = 3

cdef uint64_t STRING_BYTES_MAX = 512 << 20  # Redis's proto-max-bulk-len: no client could have written more
cdef Py_ssize_t KEPT_BUFFER_BYTES = 1 << 20  # a larger one is given back after the value it was for

# type in the file: (our type, the piece it begins with)
cdef dict BEGINNINGS = {
    KIND_STRING: (TYPE_STRING, PIECE_STRING),
    KIND_LIST: (TYPE_LIST, PIECE_COUNT),
    KIND_SET: (TYPE_SET, PIECE_COUNT),
    KIND_HASH: (TYPE_HASH, PIECE_COUNT),
    KIND_LIST_ZIPLIST: (TYPE_LIST, PIECE_BLOB),
    KIND_LIST_ZIPLISTS: (TYPE_LIST, PIECE_COUNT),
    KIND_LIST_LISTPACKS: (TYPE_LIST, PIECE_COUNT),
    KIND_ZSET_TEXT: (TYPE_ZSET, PIECE_COUNT),
    KIND_ZSET: (TYPE_ZSET, PIECE_COUNT),
    KIND_ZSET_ZIPLIST: (TYPE_ZSET, PIECE_BLOB),
    KIND_ZSET_LISTPACK: (TYPE_ZSET, PIECE_BLOB),
    KIND_SET_INTSET: (TYPE_SET, PIECE_BLOB),
    KIND_HASH_ZIPLIST: (TYPE_HASH, PIECE_BLOB),
    KIND_HASH_LISTPACK: (TYPE_HASH, PIECE_BLOB),
    KIND_SET_LISTPACK: (TYPE_SET, PIECE_BLOB),
    KIND_STREAM_5: (TYPE_STREAM, PIECE_COUNT),
    KIND_STREAM: (TYPE_STREAM, PIECE_COUNT),
    KIND_STREAM_7_2: (TYPE_STREAM, PIECE_COUNT),
    KIND_EXPIRING_HASH: (TYPE_HASH, PIECE_EARLIEST),
}

KIND_NAMES = {
    0: "string",
    1: "list",
    2: "set",
    3: "sorted set",
    4: "hash",
    5: "sorted set",
    6: "module value",
    7: "module value",
    9: "hash of Redis 2.4",
    10: "list",
    11: "set",
    12: "sorted set",
    13: "hash",
    14: "list",
    15: "stream",
    16: "hash",
    17: "sorted set",
    18: "list",
    19: "stream",
    20: "set",
    21: "stream",
    22: "hash of a preview of Redis 7.4",
    23: "hash of a preview of Redis 7.4",
    24: "hash",
    25: "hash",
}


class SnapshotError(ValueError):
    """A snapshot that cannot be loaded; says what is wrong and at which byte."""


cdef class ValueReader:
    def __cinit__(self, Keyspace keyspace not None, **_):
        self.keyspace = keyspace
        self._builder = Builder(keyspace)
        self._piece = PIECE_NONE

    def __dealloc__(self):
        buf_free(&self._text)
        buf_free(&self._first)

    cdef object _damage(self, str what):
        return SnapshotError(f"{what} (at byte {self.offset} of the snapshot)")

    cdef int begin_value(self, int kind) except -1:
        cdef int type
        if kind not in BEGINNINGS:
            raise self._damage(
                f"a {KIND_NAMES.get(kind, 'value of unknown type')} (type {kind}) is something "
                "that this version cannot load"
            )
        type, self._piece = BEGINNINGS[kind]
        self._kind = kind
        self._field_expiry_ms = -1
        if type != TYPE_STRING:
            self._builder.begin(type)
        return 0

    cdef bint value_piece(self) except -1:
        cdef Span value
        cdef const uint8_t *at
        cdef uint64_t number
        cdef bint special
        cdef double score
        if self._piece == PIECE_FIRST:
            if not self._string(&value):
                return False
            if self._kind == KIND_LIST or self._kind == KIND_SET:
                self._add(value, span_of(NULL, 0))
                return self._next_element()
            self._first.used_bytes = 0
            buf_append(&self._first, value.at, value.len_bytes)
            self._piece = PIECE_SCORE if self._kind == KIND_ZSET else PIECE_SCORE_TEXT if self._kind == KIND_ZSET_TEXT else PIECE_SECOND
            return True
        if self._piece == PIECE_SECOND:
            if not self._string(&value):
                return False
            self._add(span_of(self._first.data, self._first.used_bytes), value)
            return self._next_element()
        if self._piece == PIECE_SCORE:
            if not self._fixed(8, &at):
                return False
            memcpy(&score, at, 8)
            self._add_score(score)
            return self._next_element()
        if self._piece == PIECE_SCORE_TEXT:
            if not self._fixed(1, &at):
                return False
            number = at[0]
            score = -INFINITY if number == 255 else INFINITY
            if number < 253:
                if not self._fixed(<Py_ssize_t> number, &at):
                    return False
                score = self._score_of(span_of(at, <Py_ssize_t> number))
            elif number == 253:
                raise self._damage("a score that is no number")
            self._add_score(score)
            return self._next_element()
        if self._piece == PIECE_STRING:
            if not self._string(&self._string_value):
                return False
            self._piece = PIECE_NONE
            return True
        if self._piece >= PIECE_STREAM_NODE:
            return self._stream_piece()
        if self._piece == PIECE_COUNT:
            if not self._plain_length(&self._left):
                return False
            self._left += 1
            return self._next_element()
        if self._piece == PIECE_EARLIEST:
            if not self._fixed(8, &at):
                return False
            memcpy(&self._earliest_ms, at, 8)
            if self._earliest_ms < 0:
                raise self._damage(f"a field's expiry of {self._earliest_ms} ms is out of range")
            self._piece = PIECE_COUNT
            return True
        if self._piece == PIECE_EXPIRY:
            if not self._plain_length(&number):
                return False
            if number > <uint64_t> (0x7FFFFFFFFFFFFFFF - self._earliest_ms):
                raise self._damage(f"a field's expiry of {number} ms after {self._earliest_ms} is out of range")
            self._field_expiry_ms = -1 if number == 0 else self._earliest_ms + <int64_t> number - 1
            self._piece = PIECE_FIRST
            return True
        if self._piece == PIECE_CONTAINER:
            if not self._length(&number, &special):
                return False
            if special or (number != NODE_PLAIN and number != NODE_PACKED):
                raise self._damage(f"a list's node of unknown kind {number}")
            self._container = <int> number
            self._piece = PIECE_NODE
            return True
        # A whole collection, or a node of a list.
        if not self._string(&value):
            return False
        if self._piece == PIECE_NODE:
            if self._container == NODE_PLAIN:
                self._add(value, span_of(NULL, 0))
            else:
                self._blob(value)
            return self._next_element()
        self._blob(value)
        self._piece = PIECE_NONE
        return True

    # The element that was announced is done with; 1, as whoever took the last piece of it.
    cdef int _next_element(self) except -1:
        self._left -= 1
        if self._builder.type == TYPE_STREAM:
            self._piece = PIECE_STREAM_TAIL if self._left == 0 else PIECE_STREAM_NODE
        elif self._left == 0:
            self._piece = PIECE_NONE
        elif self._kind == KIND_EXPIRING_HASH:
            self._piece = PIECE_EXPIRY
        elif self._kind == KIND_LIST_LISTPACKS:
            self._piece = PIECE_CONTAINER
        elif self._kind == KIND_LIST_ZIPLISTS:
            self._container = NODE_PACKED
            self._piece = PIECE_NODE
        else:
            self._piece = PIECE_FIRST
        return 1

    # --- streams ---------------------------------------------------------------------------------------------

    cdef bint _raw_id(self, StreamId *id) noexcept:
        cdef const uint8_t *at
        if not self._fixed(16, &at):
            return False
        id[0] = read_raw_id(at)
        return True

    cdef bint _id(self, StreamId *id) except -1:
        return self._plain_length(&id.ms) and self._plain_length(&id.seq)

    cdef bint _stream_piece(self) except -1:
        cdef Stream *stream = <Stream *> self._builder.object
        cdef StreamId id
        cdef Span value
        cdef const uint8_t *at
        cdef int64_t delivered_ms
        cdef uint64_t times
        if self._piece == PIECE_STREAM_NODE:
            if not self._string(&value):
                return False
            if value.len_bytes != 16:
                raise self._damage(f"a stream's node whose id has {value.len_bytes} bytes")
            id = read_raw_id(value.at)
            if not self._string(&value):
                return False
            if not read_stream_node(
                self.keyspace.store.heap,
                stream,
                id,
                value,
                self.keyspace.limits.stream_chunk_bytes,
                self.keyspace.limits.stream_chunk_entries,
            ):
                raise self._damage(f"a stream's node of {value.len_bytes} bytes is damaged")
            return self._next_element()
        if self._piece == PIECE_STREAM_TAIL:
            return self._tail(stream)
        if self._piece == PIECE_GROUP:
            return self._begin_group(stream)
        if self._piece == PIECE_PENDING:
            if not self._raw_id(&id) or not self._fixed(8, &at):
                return False
            memcpy(&delivered_ms, at, 8)
            if not self._plain_length(&times):
                return False
            if (id.ms, id.seq) in self._pending:
                raise self._damage(f"entry {id.ms}-{id.seq} is pending twice in a group")
            self._pending[id.ms, id.seq] = (delivered_ms, <int64_t> times)
            self._left -= 1
            self._piece = PIECE_PENDING if self._left > 0 else PIECE_CONSUMERS
            return True
        if self._piece == PIECE_CONSUMERS:
            if not self._plain_length(&self._consumers_left):
                return False
            return self._next_consumer()
        if self._piece == PIECE_CONSUMER:
            return self._begin_consumer(stream)
        # PIECE_CONSUMER_PENDING
        if not self._raw_id(&id):
            return False
        found = self._pending.pop((id.ms, id.seq), None)
        if found is None:
            raise self._damage(f"entry {id.ms}-{id.seq} is a consumer's and not its group's, or two consumers'")
        delivered_ms, deliveries = found
        pending_add(self.keyspace.store.heap, stream, self._group, self._consumer, id, delivered_ms, deliveries)
        self._left -= 1
        return True if self._left > 0 else self._next_consumer()

    cdef bint _tail(self, Stream *stream) except -1:
        cdef uint64_t length, added
        cdef StreamId last, first, deleted
        if not self._plain_length(&length) or not self._id(&last):
            return False
        first = stream_edge(stream, True)
        deleted = id_of(0, 0)
        added = length
        if self._kind != KIND_STREAM_5 and not (
            self._id(&first) and self._id(&deleted) and self._plain_length(&added)
        ):
            return False
        if not self._plain_length(&self._groups_left):
            return False
        if length != <uint64_t> stream.length or id_compare(last, stream.last_id) < 0:
            raise self._damage(f"a stream of {length} entries up to {last.ms}-{last.seq} holds {stream.length}")
        stream.last_id = last
        stream.first_id = stream_edge(stream, True)
        stream.deleted_id = deleted
        stream.added = added
        self._builder.count = 1  # an empty stream is one, too
        return self._next_group()

    cdef int _next_group(self) except -1:
        if self._groups_left == 0:
            self._piece = PIECE_NONE
        else:
            self._groups_left -= 1
            self._piece = PIECE_GROUP
        return 1

    cdef bint _begin_group(self, Stream *stream) except -1:
        cdef Span name
        cdef StreamId last
        cdef uint64_t entries_read = <uint64_t> NOT_KNOWN
        if not self._string(&name):
            return False
        self._first.used_bytes = 0
        buf_append(&self._first, name.at, name.len_bytes)
        if not self._id(&last) or (self._kind != KIND_STREAM_5 and not self._plain_length(&entries_read)):
            return False
        if not self._plain_length(&self._left):
            return False
        if <int64_t> entries_read < NOT_KNOWN:  # Redis takes it over; no command could tell a replica of it
            entries_read = <uint64_t> NOT_KNOWN
        name = span_of(self._first.data, self._first.used_bytes)
        if stream_group(stream, name) != NULL:
            raise self._damage(f"group {span_bytes(name)[:40]!r} is twice in a stream")
        self._group = stream_group_add(self.keyspace.store.heap, stream, name, last, <int64_t> entries_read)
        self._pending = {}
        self._piece = PIECE_PENDING if self._left > 0 else PIECE_CONSUMERS
        return True

    cdef int _next_consumer(self) except -1:
        if self._consumers_left > 0:
            self._consumers_left -= 1
            self._piece = PIECE_CONSUMER
            return 1
        if self._pending:
            raise self._damage(f"{len(self._pending)} pending entries of a group are no consumer's")
        return self._next_group()

    cdef bint _begin_consumer(self, Stream *stream) except -1:
        cdef Span name
        cdef const uint8_t *at
        cdef int64_t seen_ms, active_ms
        if not self._string(&name):
            return False
        self._first.used_bytes = 0
        buf_append(&self._first, name.at, name.len_bytes)
        if not self._fixed(8, &at):
            return False
        memcpy(&seen_ms, at, 8)
        active_ms = seen_ms
        if self._kind == KIND_STREAM_7_2:
            if not self._fixed(8, &at):
                return False
            memcpy(&active_ms, at, 8)
        if not self._plain_length(&self._left):
            return False
        name = span_of(self._first.data, self._first.used_bytes)
        if group_consumer(self._group, name) != NULL:
            raise self._damage(f"consumer {span_bytes(name)[:40]!r} is twice in a group")
        self._consumer = group_consumer_add(self.keyspace.store.heap, stream, self._group, name, seen_ms)
        self._consumer.seen_ms = seen_ms
        self._consumer.active_ms = active_ms
        if self._left == 0:
            return self._next_consumer()
        self._piece = PIECE_CONSUMER_PENDING
        return True

    # --- packed collections ----------------------------------------------------------------------------------

    cdef int _blob(self, Span blob) except -1:
        cdef Packed packed
        cdef Item item
        cdef Item other
        cdef uint8_t scratch[24]
        cdef uint8_t other_scratch[24]
        cdef int form = PACKED_LISTPACK
        cdef int got
        cdef Span text
        cdef double score
        if self._kind == KIND_SET_INTSET:
            form = PACKED_INTSET
        elif self._kind in (KIND_LIST_ZIPLIST, KIND_ZSET_ZIPLIST, KIND_HASH_ZIPLIST, KIND_LIST_ZIPLISTS):
            form = PACKED_ZIPLIST
        if not packed_open(&packed, form, blob):
            raise self._damage(f"a packed {KIND_NAMES[self._kind]} of {blob.len_bytes} bytes is damaged")
        while True:
            got = packed_next(&packed, &item)
            if got == 0:
                return 0
            if got == 1 and self._builder.type in (TYPE_HASH, TYPE_ZSET):
                got = packed_next(&packed, &other)
                if got == 0:
                    got = -1
            if got == -1:
                raise self._damage(f"a packed {KIND_NAMES[self._kind]} of {blob.len_bytes} bytes is damaged")
            if self._builder.type == TYPE_ZSET:
                text = item_text(&item, scratch)
                self._first.used_bytes = 0
                buf_append(&self._first, text.at, text.len_bytes)
                score = self._score_of(item_text(&other, other_scratch))
                self._add_score(score)
            elif self._builder.type == TYPE_HASH:
                self._add(item_text(&item, scratch), item_text(&other, other_scratch))
            else:
                self._add(item_text(&item, scratch), span_of(NULL, 0))

    cdef double _score_of(self, Span text) except? -1:
        cdef double score
        try:
            score = float(span_bytes(text))
        except ValueError:
            raise self._damage(f"{span_bytes(text)[:40]!r} is no score") from None
        return score

    cdef int _add(self, Span name, Span value) except -1:
        cdef bint fresh
        if self._builder.type == TYPE_HASH:
            fresh = self._builder.add_field(name, value, self._field_expiry_ms)
        elif self._builder.type == TYPE_SET:
            fresh = self._builder.add_member(name)
        else:
            fresh = self._builder.add_item(name)
        if not fresh:
            raise self._damage(f"{span_bytes(name)[:40]!r} is twice in a {KIND_NAMES[self._kind]}")
        return 0

    cdef int _add_score(self, double score) except -1:
        cdef Span member = span_of(self._first.data, self._first.used_bytes)
        if score != score:
            raise self._damage("a score that is no number")
        if not self._builder.add_scored(member, score):
            raise self._damage(f"{span_bytes(member)[:40]!r} is twice in a {KIND_NAMES[self._kind]}")
        return 0

    cdef bint put_value(self, int database, Key *key, int64_t expire_ms) except -1:
        if self._kind == KIND_STRING:
            self.keyspace.put_string(database, key, self._string_value, expire_ms)
            return True
        return self._builder.finish(database, key, expire_ms)

    # --- primitives: they move _cursor, and return 0 (leaving it anywhere) when bytes are missing --------------
    cdef bint _fixed(self, Py_ssize_t want_bytes, const uint8_t **at) noexcept:
        if self._end - self._cursor < want_bytes:
            return False
        at[0] = self._cursor
        self._cursor += want_bytes
        return True

    cdef bint _length(self, uint64_t *value, bint *special) except -1:
        cdef const uint8_t *at
        cdef const uint8_t *more
        cdef uint8_t form
        cdef int index
        cdef int width = 0
        special[0] = False
        if not self._fixed(1, &at):
            return False
        form = at[0] >> 6
        value[0] = at[0] & 0x3F
        if form == 0:
            return True
        if form == 3:
            special[0] = True
            return True
        if form == 1:
            width = 1
        elif at[0] == 0x80:
            width = 4
            value[0] = 0
        elif at[0] == 0x81:
            width = 8
            value[0] = 0
        else:
            raise self._damage(f"{at[0]:#x} does not begin a length")
        if not self._fixed(width, &more):
            return False
        for index in range(width):
            value[0] = (value[0] << 8) | more[index]
        return True

    cdef bint _plain_length(self, uint64_t *value) except -1:
        cdef bint special
        if not self._length(value, &special):
            return False
        if special:
            raise self._damage("a packed string stands where a number belongs")
        return True

    # The span is valid until the next piece is read or bytes are fed.
    cdef bint _string(self, Span *value) except -1:
        cdef const uint8_t *at
        cdef uint64_t length
        cdef bint special
        if not self._length(&length, &special):
            return False
        if special:
            return self._packed(<int> length, value)
        if length > STRING_BYTES_MAX:
            raise self._damage(f"a string of {length} bytes is longer than {STRING_BYTES_MAX}")
        if not self._fixed(<Py_ssize_t> length, &at):
            return False
        value[0] = span_of(at, <Py_ssize_t> length)
        return True

    cdef bint _packed(self, int form, Span *value) except -1:
        cdef const uint8_t *at
        cdef int8_t small
        cdef int16_t medium
        cdef int32_t large
        cdef int64_t number
        cdef uint64_t packed_bytes
        cdef uint64_t plain_bytes
        if form == PACKED_LZF:
            if not self._plain_length(&packed_bytes) or not self._plain_length(&plain_bytes):
                return False
            if packed_bytes > STRING_BYTES_MAX or plain_bytes > STRING_BYTES_MAX:
                raise self._damage(
                    f"a string of {plain_bytes} bytes (packed {packed_bytes}) is longer than {STRING_BYTES_MAX}"
                )
            if plain_bytes > packed_bytes * LZF_GROWTH_MAX:
                raise self._damage(f"{packed_bytes} bytes of LZF cannot become {plain_bytes}")
            if not self._fixed(<Py_ssize_t> packed_bytes, &at):
                return False
            if self._text.cap_bytes > KEPT_BUFFER_BYTES:
                buf_free(&self._text)
            self._text.used_bytes = 0
            buf_reserve(&self._text, <Py_ssize_t> plain_bytes)
            if not lzf_unpack(at, <Py_ssize_t> packed_bytes, self._text.data, <Py_ssize_t> plain_bytes):
                raise self._damage(f"a packed string of {plain_bytes} bytes is damaged")
            value[0] = span_of(self._text.data, <Py_ssize_t> plain_bytes)
            return True
        if form == PACKED_INT8:
            if not self._fixed(1, &at):
                return False
            memcpy(&small, at, 1)
            number = small
        elif form == PACKED_INT16:
            if not self._fixed(2, &at):
                return False
            memcpy(&medium, at, 2)
            number = medium
        elif form == PACKED_INT32:
            if not self._fixed(4, &at):
                return False
            memcpy(&large, at, 4)
            number = large
        else:
            raise self._damage(f"{0xC0 | form:#x} does not begin a string")
        self._text.used_bytes = 0
        buf_reserve(&self._text, 24)
        value[0] = span_of(self._text.data, int64_to_bytes(number, self._text.data))
        return True
