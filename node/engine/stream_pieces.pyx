"""The pieces in which a snapshot gets what a stream has beside its nodes; what it is owed of that is told in stream_delivery.pyx.

    ids   groups   | name  ids  how many are pending | each of them ... | consumers | name  time  how many | ids ... | ...

Written as in rdb_stream.pyx. A module of its own, since writing knows all types and must not be what they are made of.
"""

from node.engine.buf cimport buf_append, buf_free
from node.engine.groups cimport (
    StreamGroup,
    StreamPending,
    cursor_pending,
    pending_consumer,
    pending_seek,
    pending_take,
    stream_group_at,
)
from node.engine.ordered cimport OrderedCursor, ordered_next
from node.engine.rdb_stream cimport write_consumer_head, write_group_head, write_pending, write_raw_id, write_stream_ids
from node.engine.rdb_write cimport write_length
from node.engine.span cimport span_bytes
from node.engine.stream_delivery cimport OwedConsumer, OwedGroup, owed_group_free, place_find
from node.engine.stream_id cimport StreamId, id_increment, id_of

cdef enum Stage:
    HEAD = 0
    PENDING = 1
    CONSUMERS = 2


# Writes one that is pending in the group, and remembers it for its consumer.
cdef int _give(OwedGroup *group, Buf *out, const StreamPending *pending) except -1:
    cdef int64_t which = place_find(group.places, group.consumer_count, pending_consumer(pending))
    if which < 0:
        raise RuntimeError(
            f"group {span_bytes(group.name)!r}: entry {pending.id.ms}-{pending.id.seq} is pending for a consumer that was not there"
        )
    group.given += 1
    write_pending(out, pending)
    return buf_append(&group.consumers[which].ids, &pending.id, sizeof(StreamId))


# The next one that has what a removed consumer had pending in this group; NULL: there is none.
cdef StreamGroup *_next_parked(const StreamDelivery *owed, OwedGroup *group) noexcept nogil:
    cdef Stream *gone
    while group.parked_at < owed.parked_count:
        gone = owed.parked[group.parked_at]
        if gone.groups.count > 0 and stream_group_at(gone, 0).origin == group.group:
            return stream_group_at(gone, 0)
        group.parked_at += 1
    return NULL


# What the group has pending: first what was kept, then what is still there. 1: there is more.
cdef bint _give_pending(
    const StreamDelivery *owed, OwedGroup *group, const Delivery *delivery, const Stream *s, Buf *out, int64_t *budget
) except -1:
    cdef OrderedCursor cursor
    cdef StreamGroup *source
    cdef StreamPending *pending
    cdef bint more
    while group.early_at < group.early.used_bytes:
        if budget[0] <= 0:
            return True
        budget[0] -= 1
        _give(group, out, <StreamPending *> (group.early.data + group.early_at))
        group.early_at += sizeof(StreamPending)
    group.early.used_bytes = 0
    group.early_at = 0
    while True:
        source = _next_parked(owed, group) if group.walked_own else group.group
        if source == NULL:
            return False
        more = pending_seek(&source.pending, group.least, &cursor)
        while more:
            if budget[0] <= 0:
                return True
            budget[0] -= 1
            pending = cursor_pending(&cursor)
            if pending_take(delivery, &s.head, pending):
                _give(group, out, pending)
            group.least = pending.id
            more = id_increment(&group.least) and ordered_next(&cursor)
        group.least = id_of(0, 0)
        group.parked_at += group.walked_own
        group.walked_own = True


cdef bint _give_consumers(StreamDelivery *owed, OwedGroup *group, Buf *out, int64_t *budget) except -1:
    cdef OwedConsumer *consumer
    while owed.consumer_at < group.consumer_count:
        if budget[0] <= 0:
            return True
        consumer = &group.consumers[owed.consumer_at]
        if not owed.consumer_begun:
            owed.consumer_begun = True
            budget[0] -= 1
            write_consumer_head(out, consumer.name, consumer.seen_ms)
            write_length(out, consumer.count)
        while owed.id_at < consumer.ids.used_bytes:
            if budget[0] <= 0:
                return True
            budget[0] -= 1
            write_raw_id(out, (<StreamId *> (consumer.ids.data + owed.id_at))[0])
            owed.id_at += sizeof(StreamId)
        if consumer.ids.used_bytes != <Py_ssize_t> (consumer.count * sizeof(StreamId)):
            raise RuntimeError(
                f"consumer {span_bytes(consumer.name)!r} of group {span_bytes(group.name)!r} had {consumer.count} entries "
                f"pending and {consumer.ids.used_bytes // <Py_ssize_t> sizeof(StreamId)} were delivered"
            )
        buf_free(&consumer.ids)
        owed.consumer_at += 1
        owed.consumer_begun = False
        owed.id_at = 0
    owed.consumer_at = 0
    return False


cdef bint write_stream_piece(
    StreamDelivery *owed, const Delivery *delivery, const Stream *s, Buf *out, int64_t *budget
) except -1:
    cdef OwedGroup *group
    if not owed.begun:
        owed.begun = True
        write_stream_ids(out, owed.length, owed.last_id, owed.first_id, owed.deleted_id, owed.added)
        write_length(out, owed.group_count)
    while owed.at < owed.group_count:
        if budget[0] <= 0:
            return True
        group = &owed.groups[owed.at]
        if owed.stage == HEAD:
            budget[0] -= 1
            write_group_head(out, group.name, group.last_id, group.entries_read)
            write_length(out, group.count)
            owed.stage = PENDING
        if owed.stage == PENDING:
            if _give_pending(owed, group, delivery, s, out, budget):
                return True
            if group.given != group.count:
                raise RuntimeError(
                    f"group {span_bytes(group.name)!r} had {group.count} entries pending and {group.given} were delivered"
                )
            write_length(out, group.consumer_count)
            owed.stage = CONSUMERS
        if _give_consumers(owed, group, out, budget):
            return True
        owed_group_free(group)
        owed.stage = HEAD
        owed.at += 1
    return False
