# What a delivery has to know of a stream beside its nodes: consumer groups, and what left while it was at it.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from node.engine.buf cimport Buf
from node.engine.groups cimport StreamGroup, StreamPending
from node.engine.object cimport Delivery
from node.engine.span cimport Span
from node.engine.stream cimport Stream
from node.engine.stream_id cimport StreamId

# Where something was when the delivery began. It may be gone and another in its place: then nobody asks for the old one.
cdef struct Place:
    const void *at
    uint32_t which

cdef struct OwedConsumer:
    Span name  # in StreamDelivery.names
    int64_t seen_ms
    uint64_t count  # of what it had pending
    Buf ids  # owned: StreamIds of that, as far as it was met

cdef struct OwedGroup:
    StreamGroup *group  # borrowed: it is not freed before the delivery ends
    Span name  # in StreamDelivery.names
    StreamId last_id
    int64_t entries_read
    uint64_t count  # pending entries
    uint64_t given
    Buf early  # owned: StreamPendings as they were before a write changed them
    Py_ssize_t early_at
    StreamId least  # of those that the walk is still to meet in the index it is at
    bint walked_own  # that index is one of `parked`
    uint32_t parked_at
    uint32_t consumer_count
    OwedConsumer *consumers  # owned
    Place *places  # owned: of the consumers, in the order of their addresses

cdef struct StreamDelivery:
    int64_t length
    StreamId last_id
    StreamId first_id
    StreamId deleted_id
    uint64_t added
    uint32_t group_count
    OwedGroup *groups  # owned
    Place *places  # owned: of the groups, in the order of their addresses
    uint8_t *names  # owned
    Stream **parked  # owned array; its streams are the keyspace's, which frees none that somebody reads
    uint32_t parked_count
    uint32_t parked_room
    # how far it has come
    bint begun
    uint32_t at  # a group
    uint8_t stage
    uint32_t consumer_at
    bint consumer_begun
    Py_ssize_t id_at

# As the stream is now; NULL: no memory. Takes as long as it has groups and consumers, whatever they have pending.
cdef StreamDelivery *stream_delivery_new(const Stream *s) noexcept nogil
# Forgets it; touches nothing that belongs to the stream.
cdef void stream_delivery_free(StreamDelivery *owed) noexcept nogil
# What it made wait may be freed. Then forgets it.
cdef void stream_delivery_end(StreamDelivery *owed, uint8_t bit) noexcept nogil
cdef void owed_group_free(OwedGroup *group) noexcept nogil  # what it has, not itself
cdef int64_t place_find(const Place *places, uint32_t count, const void *at) noexcept nogil  # which one was there; -1: none

# Before a pending entry changes or goes: whoever is owed it keeps a copy.
cdef void pending_keep(Stream *s, const StreamGroup *group, StreamPending *pending) noexcept nogil
# `gone` has what `s` has just lost, nodes or one group: it waits for those who still need that. Give it to the keyspace next.
cdef void stream_park(Stream *s, Stream *gone) noexcept nogil
