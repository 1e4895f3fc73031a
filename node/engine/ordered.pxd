# A counted B+tree of words. The idea and the layout are in ordered.pyx.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from node.engine.alloc cimport Heap

# Where a probe stands to a word of the index: negative before it, 0 beside it, positive behind it. What a
# probe is, its caller knows: a whole (score, member), only a score, the id of a stream entry.
ctypedef int (*order_fn)(const void *probe, uint64_t word) noexcept nogil

cdef enum:
    LEAF_WORDS = 63  # 8 + 63 * 8 = 512 bytes
    BRANCH_CHILDREN = 56  # 8 + 56 * 20 = 1,128 bytes: the largest that arenas hold
    ORDERED_DEPTH_MAX = 16  # 2**32 words need 7

cdef struct OrderedNode:
    uint8_t level  # 0: a leaf
    uint8_t count  # words or children in it
    uint8_t room  # for so many; below the maximum only in a leaf that is the root
    uint8_t unused[5]

cdef struct OrderedLeaf:
    OrderedNode head
    uint64_t word[LEAF_WORDS]

cdef struct OrderedBranch:
    OrderedNode head
    uint64_t first[BRANCH_CHILDREN]  # the first word under each child
    OrderedNode *child[BRANCH_CHILDREN]  # owned
    uint32_t count[BRANCH_CHILDREN]  # words under each child

# All zero: an empty index. The words, and what they may point to, are the owner's.
cdef struct Ordered:
    OrderedNode *root  # owned
    uint64_t count  # words
    uint64_t used_bytes  # of the heap, in nodes; exact

# A place in the index: nodes from the root to a leaf. Dead after any change but ordered_replace's.
cdef struct OrderedCursor:
    OrderedNode *node[ORDERED_DEPTH_MAX]
    int at[ORDERED_DEPTH_MAX]
    int depth  # of the leaf; -1 in an empty index


cdef inline uint64_t ordered_word(const OrderedCursor *cursor) noexcept nogil:
    return (<OrderedLeaf *> cursor.node[cursor.depth]).word[cursor.at[cursor.depth]]


# --- finding ----------------------------------------------------------------------------------------------
# How many words stand before the probe; with `after`, those beside it count too.
cdef uint64_t ordered_rank(const Ordered *index, order_fn order, const void *probe, bint after) noexcept nogil
# The cursor at the first word that does not stand before the probe (with `after`: that stands behind it).
# False: there is none, the cursor is good for nothing.
cdef bint ordered_seek(const Ordered *index, order_fn order, const void *probe, bint after, OrderedCursor *cursor) noexcept nogil
# The cursor at the word with that many others before it. False: rank >= count.
cdef bint ordered_at(const Ordered *index, uint64_t rank, OrderedCursor *cursor) noexcept nogil
# To the neighbour. False: there is none, the cursor is good for nothing.
cdef bint ordered_next(OrderedCursor *cursor) noexcept nogil
cdef bint ordered_previous(OrderedCursor *cursor) noexcept nogil

# --- changing ---------------------------------------------------------------------------------------------
# 1: inserted; 0: there is a word beside the probe, nothing changed. `probe` must be the word's own place.
# Raises MemoryError (nothing changed).
cdef int ordered_insert(Heap *heap, Ordered *index, order_fn order, const void *probe, uint64_t word) except -1
# Behind all others; its order is the caller's word.
cdef int ordered_append(Heap *heap, Ordered *index, uint64_t word) except -1
# Takes out the word beside the probe; False: there is none. Never needs memory.
cdef bint ordered_remove(Heap *heap, Ordered *index, order_fn order, const void *probe, uint64_t *word) noexcept nogil
# Takes out up to `room` words from that rank on, writes them to `into` and returns how many: at most what
# one leaf holds, at least one when there is any. Call again for the rest, with the same rank.
cdef uint32_t ordered_cut(Heap *heap, Ordered *index, uint64_t rank, uint64_t *into, uint32_t room) noexcept nogil
# Puts another word in the cursor's place, which must be its place too (an entry that has moved).
cdef void ordered_replace(OrderedCursor *cursor, uint64_t word) noexcept nogil
# Gives back nodes of about budget_words[0] words and takes them off the budget. True: there are more. In between
# the index is good for nothing else; in the end it is an empty one.
cdef bint ordered_free_some(Heap *heap, Ordered *index, int64_t *budget_words) noexcept nogil

# --- checking ---------------------------------------------------------------------------------------------
# Bytes that the nodes really take, counted the slow way. UINT64_MAX: counts, first words or levels disagree.
cdef uint64_t ordered_held_bytes(const Ordered *index) noexcept nogil
