# Shortening a stream.
from libc.stdint cimport int64_t

from node.engine.alloc cimport Heap
from node.engine.stream cimport Stream
from node.engine.stream_id cimport StreamId

# Removes the oldest entries until `longest` are left (or, with `by_id`, none is below `least`): whole nodes only when
# `roughly`, not more than `most` (0: no limit). Returns how many. When they are many, their nodes are not freed but come as a stream
# that is the caller's; NULL otherwise.
cdef int64_t stream_trim(
    Heap *heap, Stream *s, bint by_id, int64_t longest, StreamId least, bint roughly, int64_t most, Stream **shed
) noexcept nogil
