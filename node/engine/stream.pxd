# A stream's entries, packed in nodes. The layout is drawn in stream.pyx; groups and consumers are in groups.pxd.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from node.engine.alloc cimport Heap
from node.engine.directory cimport Directory, directory_at, word_block
from node.engine.object cimport Delivery, Object
from node.engine.span cimport Span
from node.engine.stream_id cimport StreamId

cdef enum:
    NODE_ENTRIES_MAX = 65535
    ENTRY_DELETED = 0x80  # in an entry's head: it stays until its node goes

cdef struct StreamNode:
    StreamId first  # of the first entry that was put into it
    StreamId last  # of the last one, deleted or not
    uint32_t end  # of the last entry, from the end of this header on
    uint32_t room  # bytes behind this header
    uint32_t listpack_bytes  # what Redis would need for it, but for its frame and its two counts
    uint16_t total  # entries, deleted ones too
    uint8_t bits  # of the deliveries that are not owed it, see delivery.pyx
    uint8_t owed  # once it has left the stream: the deliveries that still are

cdef struct Stream:
    Object head
    int64_t length  # live entries
    StreamId last_id  # given to an entry, or set
    StreamId first_id  # of the first live entry; 0-0: none
    StreamId deleted_id  # the highest that XDEL removed
    uint64_t added  # entries, ever
    Directory nodes  # with the number of live entries in each
    Directory groups  # StreamGroup, ordered by name
    uint64_t node_bytes  # of used_bytes, in nodes

# One live entry. Its bytes belong to the stream and are packed as in a run.
cdef struct StreamEntry:
    StreamId id
    const uint8_t *fields  # the names; NULL: they stand in `content`, each before its value
    const uint8_t *content  # the values
    const uint8_t *end  # of the node: nothing of it lies beyond
    uint32_t field_count
    uint8_t *head

# A way through a stream, forwards. Dead after any change.
cdef struct StreamWalk:
    const Stream *stream
    uint32_t node
    const uint8_t *at
    const uint8_t *end
    const uint8_t *fields  # of the node's first entry
    uint32_t field_count
    StreamId id  # of the entry before `at`
    StreamId least
    StreamEntry entry


cdef inline StreamNode *stream_node(const Stream *s, uint32_t index) noexcept nogil:
    return <StreamNode *> word_block(directory_at(&s.nodes, index)[0])


# --- making and freeing ------------------------------------------------------------------------------------
cdef Stream *stream_new(Heap *heap) noexcept nogil  # NULL: no memory
# Frees as many blocks as the budget allows and takes them off it; at the end the stream itself. 1: there is more.
cdef bint stream_free_some(Heap *heap, Stream *s, int64_t *budget) noexcept nogil
cdef Stream *stream_copy(Heap *heap, const Stream *s) noexcept nogil  # NULL: no memory
# Counts everything again. Bytes that the stream really holds; -1 when a figure is wrong.
cdef int64_t stream_audit(const Stream *s) noexcept nogil

# --- reading -----------------------------------------------------------------------------------------------
cdef void stream_walk_from(const Stream *s, StreamId least, StreamWalk *walk) noexcept nogil
cdef bint stream_walk_next(StreamWalk *walk) noexcept nogil  # walk.entry; 0: there are no more
# The way through one node only, deleted entries included (their ids are in walk.id then, and 2 is returned).
cdef void stream_walk_node(const Stream *s, uint32_t node, StreamWalk *walk) noexcept nogil
# The same for a node that may have left its stream: for stream_walk_any only.
cdef void node_walk(const StreamNode *node, StreamWalk *walk) noexcept nogil
cdef int stream_walk_any(StreamWalk *walk) noexcept nogil  # 0 at the end of the node
cdef bint stream_find(const Stream *s, StreamId id, StreamEntry *entry) noexcept nogil
cdef int64_t stream_node_for(const Stream *s, StreamId id) noexcept nogil  # that would hold it; -1: before all nodes
cdef int64_t stream_elements(const Stream *s) noexcept nogil  # live entries, consumers and what they have pending
cdef StreamId stream_edge(const Stream *s, bint front) noexcept nogil  # first or last live entry; 0-0: there is none

# --- changing ----------------------------------------------------------------------------------------------
# Adds an entry with an id above last_id: count pairs of field and value. 0: no memory, nothing changed. A node ends
# where Redis would end it with these limits (0: none).
cdef bint stream_append(
    Heap *heap, Stream *s, StreamId id, const Span *pairs, uint32_t count, int64_t node_bytes, int64_t node_entries
) noexcept nogil
# Removes an entry; first_id and deleted_id are the caller's to mend. 0: it is not there.
cdef bint stream_delete(Heap *heap, Stream *s, StreamId id) noexcept nogil

# --- for stream_trim.pyx -----------------------------------------------------------------------------------
cdef void stream_node_remove(Heap *heap, Stream *s, uint32_t index) noexcept nogil
# The node, to be changed: a copy of it when a delivery is owed the old one. Without memory for that the delivery
# fails and not the write.
cdef StreamNode *stream_own(Heap *heap, Stream *s, uint32_t index) noexcept nogil


cdef inline void stream_account(Stream *s, int64_t more_bytes) noexcept nogil:
    s.head.used_bytes += <uint64_t> more_bytes
    s.node_bytes += <uint64_t> more_bytes


# --- snapshots (delivery.pyx) --------------------------------------------------------------------------------
# The directory's words, live entries and node of each; the caller frees them. Until it releases them, these nodes stay as they
# are. NULL: no memory.
cdef uint64_t *stream_words(const Stream *s) noexcept nogil
# The delivery has this node.
cdef void stream_release(Heap *heap, Stream *s, const Delivery *delivery, StreamNode *node) noexcept nogil
