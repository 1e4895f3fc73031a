"""How a snapshot gets a stream's consumer groups without a pause, as they were when the delivery began.

A group may have millions of entries pending. Each of them is an element in the sense of delivery.pyx, with the eight bits
in the word that tells its consumer. The delivery notes groups and consumers when it begins; the pending entries follow one
by one, and one that a write comes upon first is kept as it was:

    noted         group: name, ids, how many are pending       consumer: name, times, how many
    early         the copies, until it is their group's turn
    walked        the group's index, in the order of ids
    ids           16 bytes for each that was met, by consumer: in a snapshot they follow their group

Who a pending entry belonged to is told by the address of its consumer, which may have gone by then. No other that was
noted can have had that address, and what comes later is owed to nobody.

A group that is destroyed, what a removed consumer had pending and nodes that are trimmed away leave in one step, as a
stream of their own that is freed in the background. The deliveries that have not come so far walk over it there: it is
parked, which is to say that it counts as being read until they have ended.

What is kept needs no limit of its own: it is at most what was pending when the delivery began.
"""

from libc.stdlib cimport calloc, free, malloc, qsort, realloc
from libc.string cimport memcpy

from node.engine.buf cimport buf_append, buf_free
from node.engine.groups cimport (
    StreamConsumer,
    consumer_name,
    group_consumer_at,
    group_name,
    pending_owed,
    pending_take,
    stream_group_at,
)
from node.engine.span cimport span_of

# --- noting ----------------------------------------------------------------------------------------------

cdef int _by_address(const void *left, const void *right) noexcept nogil:
    cdef const void *one = (<const Place *> left).at
    cdef const void *other = (<const Place *> right).at
    return (one > other) - (one < other)


cdef int64_t place_find(const Place *places, uint32_t count, const void *at) noexcept nogil:
    cdef uint32_t low = 0, high = count, middle
    while low < high:
        middle = low + (high - low) // 2
        if places[middle].at < at:
            low = middle + 1
        else:
            high = middle
    if low == count or places[low].at != at:
        return -1
    return places[low].which


cdef Span _note_name(uint8_t **at, Span name) noexcept nogil:
    cdef Span noted = span_of(at[0], name.len_bytes)
    if name.len_bytes > 0:
        memcpy(at[0], name.at, <size_t> name.len_bytes)
        at[0] += name.len_bytes
    return noted


cdef bint _note_group(OwedGroup *owed, StreamGroup *group, uint8_t **names) noexcept nogil:
    cdef StreamConsumer *consumer
    cdef uint32_t index
    owed.group = group
    owed.name = _note_name(names, group_name(group))
    owed.last_id = group.last_id
    owed.entries_read = group.entries_read
    owed.count = group.pending.count
    owed.consumer_count = group.consumers.count
    owed.consumers = <OwedConsumer *> calloc(owed.consumer_count + 1, sizeof(OwedConsumer))
    owed.places = <Place *> malloc((owed.consumer_count + 1) * sizeof(Place))
    if owed.consumers == NULL or owed.places == NULL:
        return False
    for index in range(owed.consumer_count):
        consumer = group_consumer_at(group, index)
        owed.consumers[index].name = _note_name(names, consumer_name(consumer))
        owed.consumers[index].seen_ms = consumer.seen_ms
        owed.consumers[index].count = consumer.pending.count
        owed.places[index].at = consumer
        owed.places[index].which = index
    qsort(owed.places, owed.consumer_count, sizeof(Place), _by_address)
    return True


cdef size_t _names_bytes(const Stream *s) noexcept nogil:
    cdef size_t total = 1
    cdef uint32_t index, which
    cdef StreamGroup *group
    for index in range(s.groups.count):
        group = stream_group_at(s, index)
        total += group.name_bytes
        for which in range(group.consumers.count):
            total += group_consumer_at(group, which).name_bytes
    return total


cdef StreamDelivery *stream_delivery_new(const Stream *s) noexcept nogil:
    cdef StreamDelivery *owed = <StreamDelivery *> calloc(1, sizeof(StreamDelivery))
    cdef uint8_t *names
    cdef uint32_t index
    if owed == NULL:
        return NULL
    owed.length = s.length
    owed.last_id = s.last_id
    owed.first_id = s.first_id
    owed.deleted_id = s.deleted_id
    owed.added = s.added
    owed.names = <uint8_t *> malloc(_names_bytes(s))
    owed.groups = <OwedGroup *> calloc(s.groups.count + 1, sizeof(OwedGroup))
    owed.places = <Place *> malloc((s.groups.count + 1) * sizeof(Place))
    if owed.names == NULL or owed.groups == NULL or owed.places == NULL:
        stream_delivery_free(owed)
        return NULL
    owed.group_count = s.groups.count
    names = owed.names
    for index in range(owed.group_count):
        owed.places[index].at = stream_group_at(s, index)
        owed.places[index].which = index
        if not _note_group(&owed.groups[index], stream_group_at(s, index), &names):
            stream_delivery_free(owed)
            return NULL
    qsort(owed.places, owed.group_count, sizeof(Place), _by_address)
    return owed


cdef void owed_group_free(OwedGroup *group) noexcept nogil:
    cdef uint32_t index
    if group.consumers != NULL:
        for index in range(group.consumer_count):
            buf_free(&group.consumers[index].ids)
    free(group.consumers)
    free(group.places)
    buf_free(&group.early)
    group.consumers = NULL
    group.places = NULL


cdef void stream_delivery_free(StreamDelivery *owed) noexcept nogil:
    cdef uint32_t index
    if owed == NULL:
        return
    for index in range(owed.group_count):
        owed_group_free(&owed.groups[index])
    free(owed.groups)
    free(owed.places)
    free(owed.names)
    free(owed.parked)
    free(owed)


cdef void stream_delivery_end(StreamDelivery *owed, uint8_t bit) noexcept nogil:
    cdef uint32_t index
    for index in range(owed.parked_count):
        owed.parked[index].head.reading &= <uint8_t> ~bit
    stream_delivery_free(owed)


# --- what writes do --------------------------------------------------------------------------------------

# As buf_append, without an exception. 0: no memory.
cdef bint _append(Buf *into, const void *data, Py_ssize_t len_bytes) noexcept nogil:
    cdef Py_ssize_t cap_bytes
    cdef uint8_t *grown
    if into.cap_bytes - into.used_bytes < len_bytes:
        cap_bytes = max(into.cap_bytes * 2, len_bytes * 8)
        grown = <uint8_t *> realloc(into.data, <size_t> cap_bytes)
        if grown == NULL:
            return False
        into.data = grown
        into.cap_bytes = cap_bytes
    memcpy(into.data + into.used_bytes, data, <size_t> len_bytes)
    into.used_bytes += len_bytes
    return True


cdef void pending_keep(Stream *s, const StreamGroup *group, StreamPending *pending) noexcept nogil:
    cdef Delivery *delivery = s.head.deliveries
    cdef StreamDelivery *owed
    cdef int64_t which
    while delivery != NULL:
        if pending_owed(delivery, &s.head, pending):
            owed = <StreamDelivery *> delivery.stream
            which = place_find(owed.places, owed.group_count, group)
            if which < 0 or not _append(&owed.groups[which].early, pending, sizeof(StreamPending)):
                delivery.failed = True
        pending_take(delivery, &s.head, pending)
        delivery = delivery.next


# 0: no memory.
cdef bint _park(StreamDelivery *owed, Stream *gone) noexcept nogil:
    cdef uint32_t room
    cdef Stream **grown
    if owed.parked_count == owed.parked_room:
        room = owed.parked_room * 2 + 4
        grown = <Stream **> realloc(owed.parked, room * sizeof(Stream *))
        if grown == NULL:
            return False
        owed.parked = grown
        owed.parked_room = room
    owed.parked[owed.parked_count] = gone
    owed.parked_count += 1
    return True


cdef void stream_park(Stream *s, Stream *gone) noexcept nogil:
    cdef Delivery *delivery = s.head.deliveries
    while delivery != NULL:
        if _park(<StreamDelivery *> delivery.stream, gone):
            gone.head.reading |= delivery.bit
        else:  # it may be freed any time
            delivery.failed = True
            delivery.blind = True
        # Nodes count as if each had been kept by itself: a stream may grow and be trimmed again and again.
        delivery.early_bytes += gone.node_bytes
        if delivery.early_bytes > delivery.early_limit_bytes and gone.node_bytes > 0:
            delivery.failed = True
        delivery = delivery.next
