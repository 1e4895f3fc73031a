# What a group's commands share: its place in the stream's count, and what replicas are told.
from libc.stdint cimport int64_t

from node.engine.groups cimport StreamConsumer, StreamGroup, StreamPending
from node.engine.session cimport Session
from node.engine.span cimport Span
from node.engine.stream cimport Stream
from node.engine.stream_id cimport StreamId

cdef int no_group(Session s, Span key, Span group, bytes where) except -1
# How many entries were added up to and with this id; NOT_KNOWN.
cdef int64_t entries_up_to(const Stream *stream, StreamId id) noexcept
# Whether something between the group's place and the end may have been deleted by XDEL.
cdef bint has_holes(const Stream *stream, StreamId least) noexcept
# The group was given this entry, which is above all that it had.
cdef void advance_group(const Stream *stream, StreamGroup *group, StreamId id) noexcept
cdef int effect_claim(Session s, Span key, const StreamGroup *group, const StreamPending *pending) except -1
cdef int effect_group(Session s, Span key, const StreamGroup *group) except -1
cdef int effect_consumer(Session s, Span key, const StreamGroup *group, const StreamConsumer *consumer) except -1
