"""Shortening a stream from its front: XTRIM, and XADD with a limit.

Whole nodes go, as many as there are, and of the first one that stays the entries that are too many are marked. Many nodes
leave in one step as a stream of their own, which the keyspace frees in the background.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from node.engine.alloc cimport heap_block_bytes, heap_give, heap_take
from node.engine.directory cimport directory_at, directory_remove, word_count, word_of
from node.engine.stream cimport (
    ENTRY_DELETED,
    StreamNode,
    StreamWalk,
    stream_account,
    stream_edge,
    stream_new,
    stream_node,
    stream_node_for,
    stream_node_remove,
    stream_own,
    stream_walk_any,
    stream_walk_node,
)
from node.engine.stream_delivery cimport stream_park
from node.engine.stream_id cimport id_compare, id_of
from node.engine.table cimport __builtin_prefetch

cdef enum:
    SHED_NODES_MIN = 64  # fewer are freed at once


# How many nodes at the front go as a whole.
cdef uint32_t _whole_nodes(const Stream *s, bint by_id, int64_t longest, StreamId least) noexcept nogil:
    cdef int64_t node, length = s.length
    cdef uint32_t count = 0
    if by_id:
        node = stream_node_for(s, least)  # those before it end below; it may, too
        if node < 0:
            return 0
        return <uint32_t> node + (id_compare(stream_node(s, <uint32_t> node).last, least) < 0)
    while count < s.nodes.count and length > longest:
        length -= word_count(directory_at(&s.nodes, count)[0])
        if length < longest:
            break
        count += 1
    return count


# The first `count` nodes in a stream of their own; NULL: no memory, nothing changed. Of the nodes that go and those
# that stay, the fewer are looked at.
cdef Stream *_shed(Heap *heap, Stream *s, uint32_t count) noexcept nogil:
    cdef Stream *shed = stream_new(heap)
    cdef uint32_t index, first = 0, end = count
    cdef bint few = count <= s.nodes.count // 2
    cdef uint64_t bytes = 0
    cdef StreamNode *node
    if shed == NULL:
        return NULL
    shed.nodes.word = <uint64_t *> heap_take(heap, count * sizeof(uint64_t))
    if shed.nodes.word == NULL:
        heap_give(heap, shed, sizeof(Stream))
        return NULL
    shed.nodes.room = count
    shed.nodes.count = count
    shed.head.used_bytes += heap_block_bytes(shed.nodes.word, count * sizeof(uint64_t))
    memcpy(shed.nodes.word, directory_at(&s.nodes, 0), count * sizeof(uint64_t))
    if not few:
        first = count
        end = s.nodes.count
    for index in range(first, end):
        if index + 8 < end:
            __builtin_prefetch(stream_node(s, index + 8))
        node = stream_node(s, index)
        bytes += heap_block_bytes(node, sizeof(StreamNode) + node.room)
    if not few:
        bytes = s.node_bytes - bytes
    stream_account(s, -<int64_t> bytes)
    stream_account(shed, <int64_t> bytes)
    for index in range(count):
        shed.length += word_count(shed.nodes.word[index])
    s.length -= shed.length
    directory_remove(&s.nodes, 0, count)
    stream_park(s, shed)
    return shed


cdef int64_t stream_trim(
    Heap *heap, Stream *s, bint by_id, int64_t longest, StreamId least, bint roughly, int64_t most, Stream **shed
) noexcept nogil:
    cdef int64_t removed = 0
    cdef uint32_t live, gone = 0, whole
    cdef StreamNode *node
    cdef StreamWalk walk
    cdef int met
    shed[0] = NULL
    if most == 0:
        whole = _whole_nodes(s, by_id, longest, least)
        if whole > SHED_NODES_MIN:
            shed[0] = _shed(heap, s, whole)
            if shed[0] != NULL:
                removed = shed[0].length
    while s.nodes.count > 0:
        if not by_id and s.length <= longest:
            break
        node = stream_node(s, 0)
        live = word_count(directory_at(&s.nodes, 0)[0])
        if most > 0 and removed + live > most:
            break
        if id_compare(node.last, least) < 0 if by_id else s.length - live >= longest:
            stream_node_remove(heap, s, 0)
            s.length -= live
            removed += live
            continue
        if roughly:
            break
        node = stream_own(heap, s, 0)
        stream_walk_node(s, 0, &walk)
        while True:
            met = stream_walk_any(&walk)
            if met == 0 or (id_compare(walk.id, least) >= 0 if by_id else s.length <= longest):
                break
            if met == 1:
                walk.entry.head[0] |= ENTRY_DELETED
                s.length -= 1
                gone += 1
        removed += gone
        directory_at(&s.nodes, 0)[0] = word_of(node, live - gone)
        break
    if s.length == 0:
        s.first_id = id_of(0, 0)
    elif removed > 0:
        s.first_id = stream_edge(s, True)
    return removed
