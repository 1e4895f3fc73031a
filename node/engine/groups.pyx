"""A stream's consumer groups.

    Stream.groups -> StreamGroup      last delivered id, name
                       consumers   -> StreamConsumer      name
                                        pending -> StreamPending
                       pending     -> the same StreamPendings

An entry that was delivered and not acknowledged is one block of 40 bytes in two ordered indexes: its group's and its
consumer's, because both are asked for ranges of ids. With the indexes it takes about 60 bytes. How snapshots get them is told
in stream_delivery.pyx.

What a consumer has pending goes with it. If that is most of what its group has, it is unlinked as a whole and freed in the
background; otherwise one by one. Either way the fewer are looked at.

Groups and consumers are few and are listed in the order of their names: they stand in directories, and a search
halves them.
"""

from libc.stdint cimport INT64_MAX
from libc.string cimport memcmp, memcpy, memset

from node.engine.alloc cimport heap_block_bytes, heap_give, heap_take
from node.engine.directory cimport directory_free, directory_insert, directory_remove, word_count, word_of
from node.engine.ordered cimport (
    ordered_cut,
    ordered_free_some,
    ordered_held_bytes,
    ordered_insert,
    ordered_next,
    ordered_remove,
    ordered_seek,
)
from node.engine.stream cimport stream_free_some, stream_new
from node.engine.stream_delivery cimport pending_keep, stream_park
from node.engine.stream_id cimport id_compare, id_of

cdef enum:
    CUT_WORDS = 64
    SHED_PENDING_MIN = 1024  # fewer are freed at once


cdef int _by_id(const void *probe, uint64_t word) noexcept nogil:
    return id_compare((<const StreamId *> probe)[0], (<const StreamPending *> word).id)


cdef int _compare_names(Span left, Span right) noexcept nogil:
    cdef Py_ssize_t shorter = min(left.len_bytes, right.len_bytes)
    cdef int order = memcmp(left.at, right.at, <size_t> shorter) if shorter > 0 else 0
    if order != 0:
        return order
    return (left.len_bytes > right.len_bytes) - (left.len_bytes < right.len_bytes)


# --- groups ----------------------------------------------------------------------------------------------

# Where the group of that name is, or would be.
cdef uint32_t _group_place(const Stream *s, Span name) noexcept nogil:
    cdef uint32_t low = 0, high = s.groups.count, middle
    while low < high:
        middle = low + (high - low) // 2
        if _compare_names(group_name(stream_group_at(s, middle)), name) < 0:
            low = middle + 1
        else:
            high = middle
    return low


cdef StreamGroup *stream_group(const Stream *s, Span name) noexcept nogil:
    cdef uint32_t place = _group_place(s, name)
    cdef StreamGroup *group
    if place == s.groups.count:
        return NULL
    group = stream_group_at(s, place)
    return group if _compare_names(group_name(group), name) == 0 else NULL


cdef StreamGroup *stream_group_add(Heap *heap, Stream *s, Span name, StreamId last_id, int64_t entries_read) except NULL:
    cdef size_t len_bytes = sizeof(StreamGroup) + <size_t> name.len_bytes
    cdef StreamGroup *group = <StreamGroup *> heap_take(heap, len_bytes)
    if group == NULL:
        raise MemoryError("no memory for a stream's group")
    memset(group, 0, sizeof(StreamGroup))
    group.last_id = last_id
    group.entries_read = entries_read
    group.name_bytes = <uint32_t> name.len_bytes
    if name.len_bytes > 0:
        memcpy(<uint8_t *> group + sizeof(StreamGroup), name.at, <size_t> name.len_bytes)
    if not directory_insert(heap, &s.groups, &s.head.used_bytes, _group_place(s, name), word_of(group, 0)):
        heap_give(heap, group, len_bytes)
        raise MemoryError("no memory for a stream's groups")
    s.head.used_bytes += heap_block_bytes(group, len_bytes)
    return group


cdef int stream_group_move(Heap *heap, Stream *s, StreamGroup *group, Stream *into) except -1:
    cdef uint64_t bytes = _group_bytes(group)
    if not directory_insert(heap, &into.groups, &into.head.used_bytes, 0, word_of(group, 0)):
        raise MemoryError("no memory for a stream's groups")
    directory_remove(&s.groups, _group_place(s, group_name(group)), 1)
    s.head.used_bytes -= bytes
    into.head.used_bytes += bytes
    stream_park(s, into)
    return 0


# What the group holds, as it is counted in passing.
cdef uint64_t _group_bytes(const StreamGroup *group) noexcept nogil:
    cdef uint64_t total = heap_block_bytes(group, sizeof(StreamGroup) + group.name_bytes)
    cdef uint32_t index
    cdef StreamConsumer *consumer
    total += group.pending.used_bytes + group.pending.count * heap_block_bytes(NULL, sizeof(StreamPending))
    if group.consumers.room > 0:
        total += heap_block_bytes(group.consumers.word, group.consumers.room * sizeof(uint64_t))
    for index in range(group.consumers.count):
        consumer = group_consumer_at(group, index)
        total += heap_block_bytes(consumer, sizeof(StreamConsumer) + consumer.name_bytes) + consumer.pending.used_bytes
    return total


cdef bint group_free_some(Heap *heap, Stream *s, StreamGroup *group, int64_t *budget) noexcept nogil:
    cdef uint64_t words[CUT_WORDS]
    cdef uint32_t count, index
    cdef StreamConsumer *consumer
    cdef size_t len_bytes
    while group.pending.count > 0:
        if budget[0] <= 0:
            return True
        s.head.used_bytes -= group.pending.used_bytes
        count = ordered_cut(heap, &group.pending, 0, words, CUT_WORDS)
        s.head.used_bytes += group.pending.used_bytes
        for index in range(count):
            s.head.used_bytes -= heap_block_bytes(<void *> words[index], sizeof(StreamPending))
            heap_give(heap, <void *> words[index], sizeof(StreamPending))
        budget[0] -= count
    while group.consumers.count > 0:
        consumer = group_consumer_at(group, group.consumers.count - 1)
        while consumer.pending.used_bytes > 0:
            if budget[0] <= 0:
                return True
            s.head.used_bytes -= consumer.pending.used_bytes
            ordered_free_some(heap, &consumer.pending, budget)
            s.head.used_bytes += consumer.pending.used_bytes
        _consumer_free(heap, s, consumer)
        group.consumers.count -= 1
    directory_free(heap, &group.consumers, &s.head.used_bytes)
    len_bytes = sizeof(StreamGroup) + group.name_bytes
    s.head.used_bytes -= heap_block_bytes(group, len_bytes)
    heap_give(heap, group, len_bytes)
    return False


cdef bint group_copy(Heap *heap, Stream *into, const StreamGroup *group) noexcept nogil:
    with gil:
        try:
            _copy(heap, into, group)
        except MemoryError:
            return False
    return True


cdef int _copy(Heap *heap, Stream *into, const StreamGroup *group) except -1:
    cdef StreamGroup *copied
    cdef StreamConsumer *consumer
    cdef StreamConsumer *fresh
    cdef StreamPending *pending
    cdef OrderedCursor cursor
    cdef uint32_t index
    cdef bint more
    copied = stream_group_add(heap, into, group_name(group), group.last_id, group.entries_read)
    for index in range(group.consumers.count):
        consumer = group_consumer_at(group, index)
        fresh = group_consumer_add(heap, into, copied, consumer_name(consumer), consumer.seen_ms)
        fresh.active_ms = consumer.active_ms
        more = pending_seek(&consumer.pending, id_of(0, 0), &cursor)
        while more:
            pending = cursor_pending(&cursor)
            pending_add(heap, into, copied, fresh, pending.id, pending.delivered_ms, pending.count)
            more = ordered_next(&cursor)
    return 0


cdef int64_t group_audit(const Stream *s, const StreamGroup *group) noexcept nogil:
    cdef uint32_t index
    cdef uint64_t count = 0
    cdef StreamConsumer *consumer
    cdef OrderedCursor cursor
    cdef bint more
    if ordered_held_bytes(&group.pending) != group.pending.used_bytes:
        return -1
    for index in range(group.consumers.count):
        consumer = group_consumer_at(group, index)
        if ordered_held_bytes(&consumer.pending) != consumer.pending.used_bytes:
            return -1
        count += consumer.pending.count
        more = pending_seek(&consumer.pending, id_of(0, 0), &cursor)
        while more:
            if pending_consumer(cursor_pending(&cursor)) != consumer:
                return -1
            if group_pending(group, cursor_pending(&cursor).id) != cursor_pending(&cursor):
                return -1
            more = ordered_next(&cursor)
    if count != group.pending.count or stream_group(s, group_name(group)) != group:
        return -1
    return <int64_t> _group_bytes(group)


# --- consumers -------------------------------------------------------------------------------------------

cdef uint32_t _consumer_place(const StreamGroup *group, Span name) noexcept nogil:
    cdef uint32_t low = 0, high = group.consumers.count, middle
    while low < high:
        middle = low + (high - low) // 2
        if _compare_names(consumer_name(group_consumer_at(group, middle)), name) < 0:
            low = middle + 1
        else:
            high = middle
    return low


cdef StreamConsumer *group_consumer(const StreamGroup *group, Span name) noexcept nogil:
    cdef uint32_t place = _consumer_place(group, name)
    cdef StreamConsumer *consumer
    if place == group.consumers.count:
        return NULL
    consumer = group_consumer_at(group, place)
    return consumer if _compare_names(consumer_name(consumer), name) == 0 else NULL


cdef StreamConsumer *group_consumer_add(Heap *heap, Stream *s, StreamGroup *group, Span name, int64_t now_ms) except NULL:
    cdef size_t len_bytes = sizeof(StreamConsumer) + <size_t> name.len_bytes
    cdef StreamConsumer *consumer = <StreamConsumer *> heap_take(heap, len_bytes)
    if consumer == NULL:
        raise MemoryError("no memory for a consumer")
    memset(consumer, 0, sizeof(StreamConsumer))
    consumer.seen_ms = now_ms
    consumer.active_ms = -1
    consumer.name_bytes = <uint32_t> name.len_bytes
    if name.len_bytes > 0:
        memcpy(<uint8_t *> consumer + sizeof(StreamConsumer), name.at, <size_t> name.len_bytes)
    if not directory_insert(heap, &group.consumers, &s.head.used_bytes, _consumer_place(group, name), word_of(consumer, 0)):
        heap_give(heap, consumer, len_bytes)
        raise MemoryError("no memory for a group's consumers")
    s.head.used_bytes += heap_block_bytes(consumer, len_bytes)
    return consumer


cdef void _consumer_free(Heap *heap, Stream *s, StreamConsumer *consumer) noexcept nogil:
    cdef size_t len_bytes = sizeof(StreamConsumer) + consumer.name_bytes
    s.head.used_bytes -= heap_block_bytes(consumer, len_bytes)
    heap_give(heap, consumer, len_bytes)


cdef int group_consumer_remove(
    Heap *heap, Stream *s, StreamGroup *group, StreamConsumer *consumer, Stream **gone
) except -1:
    cdef OrderedCursor cursor
    cdef uint64_t count = consumer.pending.count
    gone[0] = NULL
    if count > SHED_PENDING_MIN and group.pending.count - count < count:
        try:
            gone[0] = _shed(heap, s, group, consumer)
        except MemoryError:
            pass  # one by one needs none
    while pending_seek(&consumer.pending, id_of(0, 0), &cursor):
        pending_remove(heap, s, group, cursor_pending(&cursor))
    directory_remove(&group.consumers, _consumer_place(group, consumer_name(consumer)), 1)
    _consumer_free(heap, s, consumer)
    return 0


# What a consumer has pending, as a stream with one group that has nothing else: for whoever frees it later. What the
# others have, the fewer, is put into an index of its own; the group's old one goes, too, as that of a consumer there.
cdef Stream *_shed(Heap *heap, Stream *s, StreamGroup *group, StreamConsumer *consumer) except NULL:
    cdef Ordered kept
    cdef Stream *gone = stream_new(heap)
    cdef StreamGroup *shell
    cdef StreamConsumer *holder
    cdef StreamConsumer *other
    cdef OrderedCursor cursor
    cdef uint32_t index
    cdef uint64_t bytes
    cdef int64_t budget = INT64_MAX
    cdef bint more
    if gone == NULL:
        raise MemoryError("no memory to free what a consumer has pending")
    memset(&kept, 0, sizeof(Ordered))
    try:
        shell = stream_group_add(heap, gone, span_of(NULL, 0), id_of(0, 0), 0)
        holder = group_consumer_add(heap, gone, shell, span_of(NULL, 0), 0)
        for index in range(group.consumers.count):
            other = group_consumer_at(group, index)
            if other == consumer:
                continue
            more = pending_seek(&other.pending, id_of(0, 0), &cursor)
            while more:
                ordered_insert(heap, &kept, _by_id, &cursor_pending(&cursor).id, ordered_word(&cursor))
                more = ordered_next(&cursor)
    except MemoryError:
        ordered_free_some(heap, &kept, &budget)
        stream_free_some(heap, gone, &budget)
        raise
    shell.pending = consumer.pending
    holder.pending = group.pending
    group.pending = kept
    memset(&consumer.pending, 0, sizeof(Ordered))
    bytes = shell.pending.used_bytes + holder.pending.used_bytes
    bytes += shell.pending.count * heap_block_bytes(NULL, sizeof(StreamPending))
    gone.head.used_bytes += bytes
    s.head.used_bytes -= bytes
    s.head.used_bytes += kept.used_bytes
    shell.origin = group
    stream_park(s, gone)
    return gone


# --- pending entries -------------------------------------------------------------------------------------

cdef bint pending_seek(const Ordered *pending, StreamId least, OrderedCursor *cursor) noexcept nogil:
    return ordered_seek(pending, _by_id, &least, False, cursor)


cdef StreamPending *group_pending(const StreamGroup *group, StreamId id) noexcept nogil:
    cdef OrderedCursor cursor
    if not pending_seek(&group.pending, id, &cursor) or id_compare(cursor_pending(&cursor).id, id) != 0:
        return NULL
    return cursor_pending(&cursor)


cdef int _insert(Heap *heap, Stream *s, Ordered *index, StreamPending *pending) except -1:
    s.head.used_bytes -= index.used_bytes
    try:
        ordered_insert(heap, index, _by_id, &pending.id, <uint64_t> pending)
    finally:
        s.head.used_bytes += index.used_bytes
    return 0


cdef void _take_out(Heap *heap, Stream *s, Ordered *index, StreamPending *pending) noexcept nogil:
    cdef uint64_t word
    s.head.used_bytes -= index.used_bytes
    ordered_remove(heap, index, _by_id, &pending.id, &word)
    s.head.used_bytes += index.used_bytes


cdef StreamPending *pending_add(
    Heap *heap, Stream *s, StreamGroup *group, StreamConsumer *consumer, StreamId id, int64_t delivered_ms, int64_t count
) except NULL:
    cdef StreamPending *pending = <StreamPending *> heap_take(heap, sizeof(StreamPending))
    if pending == NULL:
        raise MemoryError("no memory for a pending entry")
    pending.id = id
    pending.delivered_ms = delivered_ms
    pending.count = count
    pending.held = word_of(consumer, s.head.polarity)
    s.head.used_bytes += heap_block_bytes(pending, sizeof(StreamPending))
    try:
        _insert(heap, s, &group.pending, pending)
        try:
            _insert(heap, s, &consumer.pending, pending)
        except MemoryError:
            _take_out(heap, s, &group.pending, pending)
            raise
    except MemoryError:
        s.head.used_bytes -= heap_block_bytes(pending, sizeof(StreamPending))
        heap_give(heap, pending, sizeof(StreamPending))
        raise
    return pending


cdef int pending_assign(
    Heap *heap, Stream *s, StreamGroup *group, StreamPending *pending, StreamConsumer *consumer
) except -1:
    if pending_consumer(pending) == consumer:
        return 0
    _insert(heap, s, &consumer.pending, pending)
    _take_out(heap, s, &pending_consumer(pending).pending, pending)
    pending_keep(s, group, pending)
    pending.held = word_of(consumer, word_count(pending.held))
    return 0


cdef void pending_deliver(
    Stream *s, StreamGroup *group, StreamPending *pending, int64_t delivered_ms, int64_t count
) noexcept nogil:
    pending_keep(s, group, pending)
    pending.delivered_ms = delivered_ms
    pending.count = count


cdef void pending_remove(Heap *heap, Stream *s, StreamGroup *group, StreamPending *pending) noexcept nogil:
    pending_keep(s, group, pending)
    _take_out(heap, s, &pending_consumer(pending).pending, pending)
    _take_out(heap, s, &group.pending, pending)
    s.head.used_bytes -= heap_block_bytes(pending, sizeof(StreamPending))
    heap_give(heap, pending, sizeof(StreamPending))
