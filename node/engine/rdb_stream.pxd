# A stream in Redis's snapshot format.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from node.engine.alloc cimport Heap
from node.engine.buf cimport Buf
from node.engine.span cimport Span
from node.engine.stream cimport Stream, StreamNode
from node.engine.stream_id cimport StreamId

cdef StreamId read_raw_id(const void *at) noexcept nogil  # 16 bytes, big endian
# Adds the entries of one of Redis's nodes. 0: damaged.
cdef bint read_stream_node(
    Heap *heap, Stream *s, StreamId master, Span blob, int64_t node_bytes, int64_t node_entries
) except -1
cdef int write_stream(Buf *out, const Stream *s) except -1
# The same in pieces, behind the number of nodes that have live entries: each of those, and what follows them.
cdef int write_stream_node(Buf *out, const StreamNode *node, uint32_t live) except -1
cdef int write_stream_rest(Buf *out, const Stream *s) except -1
