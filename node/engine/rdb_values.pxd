# Reads values of Redis's snapshot format, in pieces that arrive in any split.
from libc.stdint cimport int64_t, uint8_t, uint64_t

from node.engine.buf cimport Buf
from node.engine.builder cimport Builder
from node.engine.groups cimport StreamConsumer, StreamGroup
from node.engine.keyspace cimport Key, Keyspace
from node.engine.span cimport Span
from node.engine.stream cimport Stream
from node.engine.stream_id cimport StreamId

# Which piece of a value comes next.
cdef enum Piece:
    PIECE_STRING  # the whole of a string
    PIECE_EARLIEST  # of a hash with expiring fields
    PIECE_COUNT
    PIECE_EXPIRY
    PIECE_FIRST  # a field, a member, an item
    PIECE_SECOND  # a value
    PIECE_SCORE
    PIECE_SCORE_TEXT
    PIECE_BLOB  # a whole collection in a packed form
    PIECE_CONTAINER  # how a list's next node is kept
    PIECE_NODE
    PIECE_STREAM_NODE
    PIECE_STREAM_TAIL
    PIECE_GROUP
    PIECE_PENDING
    PIECE_CONSUMERS  # how many
    PIECE_CONSUMER
    PIECE_CONSUMER_PENDING
    PIECE_NONE  # it is complete


cdef class ValueReader:
    cdef Keyspace keyspace
    cdef readonly uint64_t offset  # bytes read so far
    cdef const uint8_t *_at  # borrowed: the bytes at hand, and where they end
    cdef const uint8_t *_end
    cdef const uint8_t *_cursor  # how far the piece being read reaches
    cdef Buf _text  # a string that was packed, or is an integer in the file
    cdef str _broken  # the first error: nothing more can be read after it

    cdef int _kind  # of the value at hand
    cdef Piece _piece
    cdef uint64_t _left  # elements or nodes still to come
    cdef int64_t _earliest_ms
    cdef int64_t _field_expiry_ms
    cdef int _container
    cdef Buf _first  # a field or member whose other half has not arrived
    cdef Span _string_value  # of PIECE_STRING; valid until the next piece
    cdef Builder _builder
    cdef StreamGroup *_group  # borrowed from the stream that is being built
    cdef StreamConsumer *_consumer
    cdef uint64_t _groups_left
    cdef uint64_t _consumers_left
    cdef dict _pending  # id -> when it was delivered and how often; of the group, until a consumer claims it

    cdef object _damage(self, str what)
    # A value of this type is next; raises when we can't read such.
    cdef int begin_value(self, int kind) except -1
    # Takes one piece; 0: not all of its bytes are there, nothing was taken. Complete when _piece is PIECE_NONE.
    cdef bint value_piece(self) except -1
    # Puts the complete value under a key; 0: it was empty.
    cdef bint put_value(self, int database, Key *key, int64_t expire_ms) except -1
    cdef int _next_element(self) except -1
    cdef bint _stream_piece(self) except -1
    cdef bint _tail(self, Stream *stream) except -1
    cdef bint _begin_group(self, Stream *stream) except -1
    cdef bint _begin_consumer(self, Stream *stream) except -1
    cdef int _next_group(self) except -1
    cdef int _next_consumer(self) except -1
    cdef bint _raw_id(self, StreamId *id) noexcept
    cdef bint _id(self, StreamId *id) except -1
    cdef int _blob(self, Span blob) except -1
    cdef int _add(self, Span name, Span value) except -1
    cdef int _add_score(self, double score) except -1
    cdef double _score_of(self, Span text) except? -1
    cdef bint _fixed(self, Py_ssize_t want_bytes, const uint8_t **at) noexcept
    cdef bint _length(self, uint64_t *value, bint *special) except -1
    cdef bint _plain_length(self, uint64_t *value) except -1
    cdef bint _string(self, Span *value) except -1
    cdef bint _packed(self, int form, Span *value) except -1
