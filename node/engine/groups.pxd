# A stream's consumer groups: who was given which entry and has not acknowledged it. Told in groups.pyx.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from node.engine.alloc cimport Heap
from node.engine.directory cimport Directory, directory_at, word_block, word_count, word_of
from node.engine.object cimport Delivery, Object
from node.engine.ordered cimport Ordered, OrderedCursor, ordered_word
from node.engine.span cimport Span, span_of
from node.engine.stream cimport Stream
from node.engine.stream_id cimport StreamId

cdef enum:
    NOT_KNOWN = -1  # entries_read of a group whose place in the stream's count is not known

cdef struct StreamConsumer:
    Ordered pending  # StreamPending, by id
    int64_t seen_ms  # when it last asked for something
    int64_t active_ms  # when it last got something; -1: never
    uint32_t name_bytes
    # the name follows

cdef struct StreamGroup:
    StreamId last_id  # delivered
    int64_t entries_read  # of those ever added; NOT_KNOWN
    Ordered pending  # of all consumers
    Directory consumers  # StreamConsumer, ordered by name
    const StreamGroup *origin  # in a stream that a removed consumer's pending entries went into: whose they were
    uint32_t name_bytes
    # the name follows

cdef struct StreamPending:
    StreamId id
    int64_t delivered_ms
    int64_t count  # of deliveries
    uint64_t held  # its consumer, and as a count the bits of the deliveries that are not owed it, see delivery.pyx


cdef inline StreamGroup *stream_group_at(const Stream *s, uint32_t index) noexcept nogil:
    return <StreamGroup *> word_block(directory_at(&s.groups, index)[0])


cdef inline StreamConsumer *group_consumer_at(const StreamGroup *group, uint32_t index) noexcept nogil:
    return <StreamConsumer *> word_block(directory_at(&group.consumers, index)[0])


cdef inline Span group_name(const StreamGroup *group) noexcept nogil:
    return span_of(<const uint8_t *> group + sizeof(StreamGroup), group.name_bytes)


cdef inline Span consumer_name(const StreamConsumer *consumer) noexcept nogil:
    return span_of(<const uint8_t *> consumer + sizeof(StreamConsumer), consumer.name_bytes)


cdef inline StreamConsumer *pending_consumer(const StreamPending *pending) noexcept nogil:
    return <StreamConsumer *> word_block(pending.held)


cdef inline bint pending_owed(const Delivery *delivery, const Object *value, const StreamPending *pending) noexcept nogil:
    return (word_count(pending.held) ^ value.polarity) & delivery.bit != 0


# 1 when it was owed; it is not any more. What a delivery that was given up has left behind is mended in passing.
cdef inline bint pending_take(const Delivery *delivery, const Object *value, StreamPending *pending) noexcept nogil:
    cdef uint32_t passed = delivery.bit | delivery.mends
    cdef bint owed = pending_owed(delivery, value, pending)
    pending.held = word_of(
        word_block(pending.held), (word_count(pending.held) & ~passed) | (value.polarity & passed)
    )
    return owed


cdef inline StreamPending *cursor_pending(const OrderedCursor *cursor) noexcept nogil:
    return <StreamPending *> ordered_word(cursor)


# --- groups ------------------------------------------------------------------------------------------------
cdef StreamGroup *stream_group(const Stream *s, Span name) noexcept nogil  # NULL: there is none
# There must be none of that name. Raises MemoryError (nothing changed), as all that add do.
cdef StreamGroup *stream_group_add(Heap *heap, Stream *s, Span name, StreamId last_id, int64_t entries_read) except NULL
# To another stream, which has no groups: for whoever frees it later, when no delivery needs it any more.
cdef int stream_group_move(Heap *heap, Stream *s, StreamGroup *group, Stream *into) except -1
cdef bint group_free_some(Heap *heap, Stream *s, StreamGroup *group, int64_t *budget) noexcept nogil  # 1: there is more
cdef bint group_copy(Heap *heap, Stream *into, const StreamGroup *group) noexcept nogil  # 0: no memory
cdef int64_t group_audit(const Stream *s, const StreamGroup *group) noexcept nogil  # bytes; -1: something is wrong

# --- consumers ---------------------------------------------------------------------------------------------
cdef StreamConsumer *group_consumer(const StreamGroup *group, Span name) noexcept nogil
cdef StreamConsumer *group_consumer_add(Heap *heap, Stream *s, StreamGroup *group, Span name, int64_t now_ms) except NULL
# With everything that it has pending. When that is much it is not freed but comes as a stream that is the caller's; NULL
# otherwise.
cdef int group_consumer_remove(
    Heap *heap, Stream *s, StreamGroup *group, StreamConsumer *consumer, Stream **gone
) except -1

# --- pending entries ---------------------------------------------------------------------------------------
cdef StreamPending *group_pending(const StreamGroup *group, StreamId id) noexcept nogil
cdef StreamPending *pending_add(
    Heap *heap, Stream *s, StreamGroup *group, StreamConsumer *consumer, StreamId id, int64_t delivered_ms, int64_t count
) except NULL
# From now on it is another consumer's.
cdef int pending_assign(
    Heap *heap, Stream *s, StreamGroup *group, StreamPending *pending, StreamConsumer *consumer
) except -1
# When it was delivered last, and how often.
cdef void pending_deliver(
    Stream *s, StreamGroup *group, StreamPending *pending, int64_t delivered_ms, int64_t count
) noexcept nogil
cdef void pending_remove(Heap *heap, Stream *s, StreamGroup *group, StreamPending *pending) noexcept nogil
# The cursor at the first one that is not below `least`; 0: there is none.
cdef bint pending_seek(const Ordered *pending, StreamId least, OrderedCursor *cursor) noexcept nogil
