# What follows a stream's nodes in a snapshot, piece by piece.
from libc.stdint cimport int64_t

from node.engine.buf cimport Buf
from node.engine.object cimport Delivery
from node.engine.stream cimport Stream
from node.engine.stream_delivery cimport StreamDelivery

# The next piece, about so many elements. 1: there is more.
cdef bint write_stream_piece(
    StreamDelivery *owed, const Delivery *delivery, const Stream *s, Buf *out, int64_t *budget
) except -1
