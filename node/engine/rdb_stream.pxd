# A stream in Redis's snapshot format.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from node.engine.alloc cimport Heap
from node.engine.buf cimport Buf
from node.engine.groups cimport StreamPending
from node.engine.span cimport Span
from node.engine.stream cimport Stream, StreamNode
from node.engine.stream_id cimport StreamId

cdef StreamId read_raw_id(const void *at) noexcept nogil  # 16 bytes, big endian
# Adds the entries of one of Redis's nodes. 0: damaged.
cdef bint read_stream_node(
    Heap *heap, Stream *s, StreamId master, Span blob, int64_t node_bytes, int64_t node_entries
) except -1
cdef int write_stream(Buf *out, const Stream *s) except -1
# The same in pieces, behind the number of nodes that have live entries: each of those, the ids, the number of groups; of each group
# its head, how much is pending, that, the number of consumers; of each consumer its head, how much is pending, the ids of that.
cdef int write_stream_node(Buf *out, const StreamNode *node, uint32_t live) except -1
cdef int write_stream_ids(
    Buf *out, int64_t length, StreamId last, StreamId first, StreamId deleted, uint64_t added
) except -1
cdef int write_group_head(Buf *out, Span name, StreamId last, int64_t entries_read) except -1
cdef int write_pending(Buf *out, const StreamPending *pending) except -1
cdef int write_consumer_head(Buf *out, Span name, int64_t seen_ms) except -1
cdef int write_raw_id(Buf *out, StreamId id) except -1
