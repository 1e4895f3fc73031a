"""Large collections, whatever their type.

A key that holds one has an entry with a pointer to it (ENCODING_OBJECT). This is the one place that knows all the
structures: the keyspace frees, copies and counts through it. A table of function pointers would do the same with
an indirect call and no way for the compiler to look inside; there are five types, and there will not be many more.
"""

from node.engine.alloc cimport heap_give
from node.engine.chunks cimport List, list_audit, list_copy, list_free_some
from node.engine.entry cimport TYPE_HASH, TYPE_LIST, TYPE_SET, TYPE_STREAM, TYPE_ZSET
from node.engine.members cimport (
    Members,
    members_copy,
    members_count,
    members_empty_some,
    members_held_bytes,
)
from node.engine.stream cimport Stream, stream_audit, stream_copy, stream_elements, stream_free_some
from node.engine.zset cimport Zset, zset_copy, zset_empty_some, zset_held_bytes


cdef int64_t object_count(Object *value) noexcept nogil:
    if value.type == TYPE_HASH or value.type == TYPE_SET or value.type == TYPE_ZSET:
        return members_count(<Members *> value)
    if value.type == TYPE_LIST:
        return (<List *> value).count
    if value.type == TYPE_STREAM:
        return stream_elements(<Stream *> value)
    return 0


cdef bint object_free_some(Store *store, Object *value, int64_t *budget) noexcept nogil:
    if value.type == TYPE_HASH or value.type == TYPE_SET:
        if members_empty_some(store, <Members *> value, budget):
            return True
        heap_give(store.heap, value, sizeof(Members))
    elif value.type == TYPE_LIST:
        return list_free_some(store.heap, <List *> value, budget)
    elif value.type == TYPE_STREAM:
        return stream_free_some(store.heap, <Stream *> value, budget)
    elif value.type == TYPE_ZSET:
        return zset_empty_some(store, <Zset *> value, budget)
    return False


cdef Object *object_copy(Store *store, Object *value) noexcept nogil:
    if value.type == TYPE_HASH or value.type == TYPE_SET:
        return <Object *> members_copy(store, <Members *> value, sizeof(Members))
    if value.type == TYPE_LIST:
        return <Object *> list_copy(store.heap, <List *> value)
    if value.type == TYPE_STREAM:
        return <Object *> stream_copy(store.heap, <Stream *> value)
    if value.type == TYPE_ZSET:
        return <Object *> zset_copy(store, <Zset *> value)
    return NULL


cdef uint64_t object_held_bytes(Store *store, Object *value) noexcept nogil:
    if value.type == TYPE_HASH or value.type == TYPE_SET:
        return members_held_bytes(store, <Members *> value, sizeof(Members))
    if value.type == TYPE_LIST:
        return <uint64_t> max(list_audit(<List *> value), <int64_t> 0)
    if value.type == TYPE_STREAM:
        return <uint64_t> max(stream_audit(<Stream *> value), <int64_t> 0)
    if value.type == TYPE_ZSET:
        return zset_held_bytes(store, <Zset *> value)
    return 0
