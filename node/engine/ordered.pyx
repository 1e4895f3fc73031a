"""An ordered index: a counted B+tree of 64-bit words.

Sorted sets keep pointers to their members' entries in it, streams pointers to their chunks. It knows nothing of
what a word means: a compare function tells where a probe stands to a word.

    branch   first  | w0 | w9 | ..    the first word under each child
             child  |  * |  * | ..    --> leaf | w0 w1 w2 ... w8 |
             count  |  9 |  7 | ..    words under each child

A word's rank is the sum of the counts to the left of its path, so a rank, the word at a rank, and how many words
lie between two probes cost one descent each. First words are kept in branches so that a descent compares words of
the branch alone and touches no child that it does not enter.

Size. A leaf holds 63 words. A full leaf gives to a neighbour that has room before it splits, which keeps leaves
full to about four fifths in random order; words that come in order (time as score, ids of a stream) leave
full leaves behind. Measured per word, all in: 10.5 bytes random, 8.5 ascending. A skiplist node of Redis takes
32 bytes and more. A leaf that is the root grows with its words, so a small index is small.

Removal merges a leaf with a neighbour only when both together leave some room: what hovers is not torn and
mended all the time. Any two neighbours under one branch hold more than one leaf's worth between them.

There are no links between leaves and none upwards: a cursor is the whole path, seven nodes at most.

Rejected: a skiplist (a pointer and a span for each level of each word, a cache miss for each step); links between
leaves (16 bytes a leaf to save a cursor the step through its branch once in 50 words).
"""

from libc.stdint cimport UINT32_MAX, UINT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from node.engine.alloc cimport Heap, heap_block_bytes, heap_give, heap_resize, heap_take

cdef enum:
    LEAF_HALF = 32
    BRANCH_HALF = 28
    SHARE_WORDS_MIN = 4  # moving fewer to a neighbour would only put off its split
    # Ascending words fill a leaf wholly. Descending ones keep this few in the leaf they go on arriving in.
    DESCENDING_KEPT = 8
    ROOT_ROOM_MIN = 3  # 32 bytes

cdef extern from *:
    void __builtin_prefetch(const void *at) nogil


cdef inline size_t _node_bytes(const OrderedNode *node) noexcept nogil:
    if node.level > 0:
        return sizeof(OrderedBranch)
    return sizeof(OrderedNode) + <size_t> node.room * sizeof(uint64_t)


cdef inline int _most(const OrderedNode *node) noexcept nogil:
    return BRANCH_CHILDREN if node.level > 0 else LEAF_WORDS


cdef OrderedNode *_node_new(Heap *heap, Ordered *index, int level, int room) noexcept nogil:
    cdef size_t need = sizeof(OrderedBranch) if level > 0 else sizeof(OrderedNode) + <size_t> room * sizeof(uint64_t)
    cdef OrderedNode *node = <OrderedNode *> heap_take(heap, need)
    if node == NULL:
        return NULL
    memset(node, 0, sizeof(OrderedNode))
    node.level = <uint8_t> level
    node.room = <uint8_t> room
    index.used_bytes += heap_block_bytes(node, need)
    return node


cdef void _node_delete(Heap *heap, Ordered *index, OrderedNode *node) noexcept nogil:
    cdef size_t need = _node_bytes(node)
    index.used_bytes -= heap_block_bytes(node, need)
    heap_give(heap, node, need)


# --- descending ------------------------------------------------------------------------------------------

# The first of the words [low, high) that the probe stands before (without `after`: that does not stand before it).
# What a comparison reads is behind the word, and a large index is in no cache: both words that may be asked for next are
# on their way while one is compared. Whatever a word is, asking for a line that isn't there does no harm.
cdef inline int _search(const uint64_t *word, int low, int high, order_fn order, const void *probe, bint after) noexcept nogil:
    cdef int middle, sign
    while low < high:
        middle = (low + high) >> 1
        if high - low > 2:
            __builtin_prefetch(<const void *> word[(low + middle) >> 1])
            __builtin_prefetch(<const void *> word[(middle + 1 + high) >> 1])
        sign = order(probe, word[middle])
        if sign > 0 or (sign == 0 and after):
            low = middle + 1
        else:
            high = middle
    return low


# Fills the cursor with the path to the place of the probe: at[depth] may be the leaf's end. Returns the rank, if
# `ranked`: adding it up is a tenth of the work.
cdef inline uint64_t _descend(
    const Ordered *index, order_fn order, const void *probe, bint after, bint ranked, OrderedCursor *path
) noexcept nogil:
    cdef OrderedNode *node = index.root
    cdef OrderedBranch *branch
    cdef uint64_t rank = 0
    cdef int place, at, depth = 0
    path.depth = -1
    if node == NULL:
        return 0
    while node.level > 0:
        branch = <OrderedBranch *> node
        place = _search(branch.first, 1, node.count, order, probe, after) - 1
        node = branch.child[place]
        if node.level == 0:
            for at in range(0, LEAF_WORDS, 8):  # its lines
                __builtin_prefetch(&(<OrderedLeaf *> node).word[at])
        path.node[depth] = &branch.head
        path.at[depth] = place
        if ranked:
            for at in range(place):
                rank += branch.count[at]
        depth += 1
    place = _search((<OrderedLeaf *> node).word, 0, node.count, order, probe, after)
    path.node[depth] = node
    path.at[depth] = place
    path.depth = depth
    return rank + <uint64_t> place


# The path to a rank up to count. Where that is the border of two leaves: to the end of one or the start of the other.
cdef void _descend_to(const Ordered *index, uint64_t rank, bint to_end, OrderedCursor *path) noexcept nogil:
    cdef OrderedNode *node = index.root
    cdef OrderedBranch *branch
    cdef int at, depth = 0
    path.depth = -1
    if node == NULL:
        return
    while node.level > 0:
        branch = <OrderedBranch *> node
        at = 0
        while at + 1 < node.count and rank >= <uint64_t> branch.count[at] + to_end:
            rank -= branch.count[at]
            at += 1
        path.node[depth] = node
        path.at[depth] = at
        node = branch.child[at]
        depth += 1
    path.node[depth] = node
    path.at[depth] = <int> rank
    path.depth = depth


cdef uint64_t ordered_rank(const Ordered *index, order_fn order, const void *probe, bint after) noexcept nogil:
    cdef OrderedCursor path
    return _descend(index, order, probe, after, True, &path)


cdef bint ordered_seek(const Ordered *index, order_fn order, const void *probe, bint after, OrderedCursor *cursor) noexcept nogil:
    _descend(index, order, probe, after, False, cursor)
    if cursor.depth < 0:
        return False
    if cursor.at[cursor.depth] < cursor.node[cursor.depth].count:
        return True
    cursor.at[cursor.depth] -= 1
    return ordered_next(cursor)


cdef bint ordered_at(const Ordered *index, uint64_t rank, OrderedCursor *cursor) noexcept nogil:
    if rank >= index.count:
        cursor.depth = -1
        return False
    _descend_to(index, rank, False, cursor)
    return True


cdef bint ordered_next(OrderedCursor *cursor) noexcept nogil:
    cdef int depth = cursor.depth
    cdef OrderedNode *node
    if depth < 0:
        return False
    while cursor.at[depth] + 1 >= cursor.node[depth].count:
        if depth == 0:
            cursor.depth = -1
            return False
        depth -= 1
    cursor.at[depth] += 1
    while depth < cursor.depth:
        node = (<OrderedBranch *> cursor.node[depth]).child[cursor.at[depth]]
        depth += 1
        cursor.node[depth] = node
        cursor.at[depth] = 0
    return True


cdef bint ordered_previous(OrderedCursor *cursor) noexcept nogil:
    cdef int depth = cursor.depth
    cdef OrderedNode *node
    if depth < 0:
        return False
    while cursor.at[depth] == 0:
        if depth == 0:
            cursor.depth = -1
            return False
        depth -= 1
    cursor.at[depth] -= 1
    while depth < cursor.depth:
        node = (<OrderedBranch *> cursor.node[depth]).child[cursor.at[depth]]
        depth += 1
        cursor.node[depth] = node
        cursor.at[depth] = node.count - 1
    return True


# --- inserting -------------------------------------------------------------------------------------------

# The first word under the node at `depth` of the path is another one now.
cdef inline void _note_first(OrderedCursor *path, int depth, uint64_t word) noexcept nogil:
    while depth > 0:
        depth -= 1
        (<OrderedBranch *> path.node[depth]).first[path.at[depth]] = word
        if path.at[depth] > 0:
            return


# A full leaf that is the root and smaller than others grows. False: no memory.
cdef bint _grow_root(Heap *heap, Ordered *index, OrderedCursor *path) noexcept nogil:
    cdef OrderedNode *leaf = index.root
    cdef int room = leaf.room * 2 + 1
    cdef size_t before = _node_bytes(leaf)
    cdef size_t before_block = heap_block_bytes(leaf, before)
    cdef size_t need
    if room > LEAF_WORDS:
        room = LEAF_WORDS
    need = sizeof(OrderedNode) + <size_t> room * sizeof(uint64_t)
    leaf = <OrderedNode *> heap_resize(heap, leaf, before, need, 0)
    if leaf == NULL:
        return False
    leaf.room = <uint8_t> room
    index.used_bytes += heap_block_bytes(leaf, need) - before_block
    index.root = leaf
    path.node[0] = leaf
    return True


# The full leaf of the path gives words to a neighbour under the same branch, so that both hold the same. The path
# follows its place. False: no neighbour has room.
cdef bint _share(OrderedCursor *path) noexcept nogil:
    cdef int depth = path.depth
    cdef OrderedLeaf *leaf = <OrderedLeaf *> path.node[depth]
    cdef OrderedLeaf *other
    cdef OrderedBranch *branch
    cdef int place, moved
    if depth == 0:
        return False
    branch = <OrderedBranch *> path.node[depth - 1]
    place = path.at[depth - 1]
    if place + 1 < branch.head.count:
        other = <OrderedLeaf *> branch.child[place + 1]
        moved = (LEAF_WORDS - other.head.count) >> 1
        if moved >= SHARE_WORDS_MIN:
            memmove(&other.word[moved], &other.word[0], other.head.count * sizeof(uint64_t))
            memcpy(&other.word[0], &leaf.word[LEAF_WORDS - moved], moved * sizeof(uint64_t))
            leaf.head.count -= <uint8_t> moved
            other.head.count += <uint8_t> moved
            branch.count[place] -= <uint32_t> moved
            branch.count[place + 1] += <uint32_t> moved
            branch.first[place + 1] = other.word[0]
            if path.at[depth] > leaf.head.count:
                path.at[depth] -= leaf.head.count
                path.at[depth - 1] += 1
                path.node[depth] = &other.head
            return True
    if place > 0:
        other = <OrderedLeaf *> branch.child[place - 1]
        moved = (LEAF_WORDS - other.head.count) >> 1
        if moved >= SHARE_WORDS_MIN:
            memcpy(&other.word[other.head.count], &leaf.word[0], moved * sizeof(uint64_t))
            memmove(&leaf.word[0], &leaf.word[moved], (LEAF_WORDS - moved) * sizeof(uint64_t))
            leaf.head.count -= <uint8_t> moved
            branch.count[place - 1] += <uint32_t> moved
            branch.count[place] -= <uint32_t> moved
            branch.first[place] = leaf.word[0]
            if path.at[depth] <= moved:
                path.at[depth] += other.head.count
                path.at[depth - 1] -= 1
                path.node[depth] = &other.head
            else:
                path.at[depth] -= moved
            other.head.count += <uint8_t> moved
            return True
    return False


# Whether the path leads to the end of the index.
cdef inline bint _at_end(const OrderedCursor *path) noexcept nogil:
    cdef int depth
    for depth in range(path.depth):
        if path.at[depth] + 1 < path.node[depth].count:
            return False
    return path.at[path.depth] == path.node[path.depth].count


cdef inline bint _at_start(const OrderedCursor *path) noexcept nogil:
    cdef int depth
    for depth in range(path.depth + 1):
        if path.at[depth] > 0:
            return False
    return True


cdef inline void _branch_insert(OrderedBranch *branch, int at, OrderedNode *child, uint64_t first, uint32_t count) noexcept nogil:
    cdef size_t behind = branch.head.count - at
    memmove(&branch.first[at + 1], &branch.first[at], behind * sizeof(uint64_t))
    memmove(&branch.child[at + 1], &branch.child[at], behind * sizeof(OrderedNode *))
    memmove(&branch.count[at + 1], &branch.count[at], behind * sizeof(uint32_t))
    branch.first[at] = first
    branch.child[at] = child
    branch.count[at] = count
    branch.head.count += 1


# `child` has taken its last `count` words from the node below `depth` of the path and becomes its right neighbour.
# Full branches split in turn with the nodes of `spare`, lowest first; ascending: only what is new moves on.
cdef void _adopt(
    Ordered *index, const OrderedCursor *path, int depth, OrderedNode *child, uint64_t first, uint32_t count,
    OrderedNode **spare, bint ascending
) noexcept nogil:
    cdef OrderedBranch *branch
    cdef OrderedBranch *right
    cdef int at, keep
    cdef uint32_t moved = 0
    while True:
        if depth < 0:
            branch = <OrderedBranch *> spare[0]
            branch.head.level = <uint8_t> (child.level + 1)
            if index.root.level > 0:
                branch.first[0] = (<OrderedBranch *> index.root).first[0]
            else:
                branch.first[0] = (<OrderedLeaf *> index.root).word[0]
            branch.child[0] = index.root
            branch.count[0] = <uint32_t> (index.count - count)
            branch.head.count = 1
            _branch_insert(branch, 1, child, first, count)
            index.root = &branch.head
            return
        branch = <OrderedBranch *> path.node[depth]
        at = path.at[depth] + 1
        branch.count[at - 1] -= count
        if branch.head.count < BRANCH_CHILDREN:
            _branch_insert(branch, at, child, first, count)
            return
        right = <OrderedBranch *> spare[0]
        spare += 1
        right.head.level = branch.head.level
        keep = BRANCH_CHILDREN if ascending else BRANCH_HALF
        memcpy(&right.first[0], &branch.first[keep], (BRANCH_CHILDREN - keep) * sizeof(uint64_t))
        memcpy(&right.child[0], &branch.child[keep], (BRANCH_CHILDREN - keep) * sizeof(OrderedNode *))
        memcpy(&right.count[0], &branch.count[keep], (BRANCH_CHILDREN - keep) * sizeof(uint32_t))
        right.head.count = <uint8_t> (BRANCH_CHILDREN - keep)
        branch.head.count = <uint8_t> keep
        if at > keep or ascending:
            _branch_insert(right, at - keep, child, first, count)
        else:
            _branch_insert(branch, at, child, first, count)
        count = 0
        for at in range(right.head.count):
            count += right.count[at]
        child = &right.head
        first = right.first[0]
        depth -= 1


# Splits the full leaf of the path, `word` being about to come there. The path is found anew. False: no memory,
# nothing changed.
cdef bint _split(Heap *heap, Ordered *index, OrderedCursor *path, uint64_t word) noexcept nogil:
    cdef OrderedNode *made[ORDERED_DEPTH_MAX]
    cdef OrderedLeaf *leaf = <OrderedLeaf *> path.node[path.depth]
    cdef OrderedLeaf *right
    cdef bint ascending = _at_end(path)
    cdef int keep = LEAF_WORDS if ascending else DESCENDING_KEPT if _at_start(path) else LEAF_HALF
    cdef int depth = path.depth, count, wanted = 1
    cdef uint64_t rank = <uint64_t> path.at[path.depth]
    for depth in range(path.depth):
        for count in range(path.at[depth]):
            rank += (<OrderedBranch *> path.node[depth]).count[count]
    depth = path.depth - 1
    while depth >= 0 and path.node[depth].count == BRANCH_CHILDREN:
        wanted += 1
        depth -= 1
    if depth < 0:
        if path.depth + 2 >= ORDERED_DEPTH_MAX:
            return False
        wanted += 1
    for count in range(wanted):
        made[count] = _node_new(heap, index, 1 if count > 0 else 0, LEAF_WORDS if count == 0 else BRANCH_CHILDREN)
        if made[count] == NULL:
            while count > 0:
                count -= 1
                _node_delete(heap, index, made[count])
            return False
    right = <OrderedLeaf *> made[0]
    right.head.count = <uint8_t> (LEAF_WORDS - keep)
    leaf.head.count = <uint8_t> keep
    memcpy(&right.word[0], &leaf.word[keep], right.head.count * sizeof(uint64_t))
    _adopt(
        index, path, path.depth - 1, &right.head, right.word[0] if right.head.count > 0 else word, right.head.count,
        &made[1], ascending
    )
    # A place at the start of a leaf is at the start of all, as insertions look behind their equals: the border of
    # two leaves is the left one's end, unless the right one was made empty for the word.
    _descend_to(index, rank, not ascending, path)
    return True


cdef int _insert_at(Heap *heap, Ordered *index, OrderedCursor *path, uint64_t word) except -1:
    cdef OrderedLeaf *leaf
    cdef int at, depth
    if index.count >= UINT32_MAX:
        raise OverflowError("an ordered index holds 4,294,967,295 words at most")
    if path.depth < 0:
        index.root = _node_new(heap, index, 0, ROOT_ROOM_MIN)
        if index.root == NULL:
            raise MemoryError("no memory for an ordered index")
        _descend_to(index, 0, False, path)
    elif path.node[path.depth].count == path.node[path.depth].room:
        if path.node[path.depth].room < LEAF_WORDS:
            if not _grow_root(heap, index, path):
                raise MemoryError("no memory for an ordered index to grow")
        elif not _share(path) and not _split(heap, index, path, word):
            raise MemoryError("no memory for an ordered index to grow")
    leaf = <OrderedLeaf *> path.node[path.depth]
    at = path.at[path.depth]
    memmove(&leaf.word[at + 1], &leaf.word[at], (leaf.head.count - at) * sizeof(uint64_t))
    leaf.word[at] = word
    leaf.head.count += 1
    index.count += 1
    for depth in range(path.depth):
        (<OrderedBranch *> path.node[depth]).count[path.at[depth]] += 1
    if at == 0:
        _note_first(path, path.depth, word)
    return 0


cdef int ordered_insert(Heap *heap, Ordered *index, order_fn order, const void *probe, uint64_t word) except -1:
    cdef OrderedCursor path
    # Behind its equal, if there is one: that stands in the same leaf then.
    _descend(index, order, probe, True, False, &path)
    if path.depth >= 0 and path.at[path.depth] > 0:
        if order(probe, (<OrderedLeaf *> path.node[path.depth]).word[path.at[path.depth] - 1]) == 0:
            return 0
    _insert_at(heap, index, &path, word)
    return 1


cdef int ordered_append(Heap *heap, Ordered *index, uint64_t word) except -1:
    cdef OrderedCursor path
    _descend_to(index, index.count, False, &path)
    return _insert_at(heap, index, &path, word)


# --- removing --------------------------------------------------------------------------------------------

cdef inline void _branch_drop(OrderedBranch *branch, int at) noexcept nogil:
    cdef size_t behind = branch.head.count - at - 1
    memmove(&branch.first[at], &branch.first[at + 1], behind * sizeof(uint64_t))
    memmove(&branch.child[at], &branch.child[at + 1], behind * sizeof(OrderedNode *))
    memmove(&branch.count[at], &branch.count[at + 1], behind * sizeof(uint32_t))
    branch.head.count -= 1


# Moves everything of the right neighbour of the child at `at` into that child.
cdef void _merge(Heap *heap, Ordered *index, OrderedBranch *parent, int at) noexcept nogil:
    cdef OrderedNode *left = parent.child[at]
    cdef OrderedNode *right = parent.child[at + 1]
    cdef OrderedBranch *into
    cdef OrderedBranch *gone
    if left.level == 0:
        memcpy(
            &(<OrderedLeaf *> left).word[left.count], &(<OrderedLeaf *> right).word[0], right.count * sizeof(uint64_t)
        )
    else:
        into = <OrderedBranch *> left
        gone = <OrderedBranch *> right
        memcpy(&into.first[left.count], &gone.first[0], right.count * sizeof(uint64_t))
        memcpy(&into.child[left.count], &gone.child[0], right.count * sizeof(OrderedNode *))
        memcpy(&into.count[left.count], &gone.count[0], right.count * sizeof(uint32_t))
    left.count += right.count
    parent.count[at] += parent.count[at + 1]
    _branch_drop(parent, at + 1)
    _node_delete(heap, index, right)


# After words have gone from the leaf of the path: empty nodes go, thin ones are merged, and so on upwards.
cdef void _mend(Heap *heap, Ordered *index, const OrderedCursor *path) noexcept nogil:
    cdef OrderedNode *node
    cdef OrderedBranch *parent
    cdef int depth, at, most
    for depth in range(path.depth, 0, -1):
        node = path.node[depth]
        parent = <OrderedBranch *> path.node[depth - 1]
        at = path.at[depth - 1]
        most = _most(node)
        if node.count == 0:
            _node_delete(heap, index, node)
            _branch_drop(parent, at)
            if at == 0 and parent.head.count > 0:
                _note_first(<OrderedCursor *> path, depth - 1, parent.first[0])
        elif node.count * 2 > most:
            return
        elif at + 1 < parent.head.count and node.count + parent.child[at + 1].count <= most - most // 8:
            _merge(heap, index, parent, at)
        elif at > 0 and node.count + parent.child[at - 1].count <= most - most // 8:
            _merge(heap, index, parent, at - 1)
        else:
            return
    while index.root.level > 0 and index.root.count == 1:
        node = index.root
        index.root = (<OrderedBranch *> node).child[0]
        _node_delete(heap, index, node)
    if index.root.count == 0:
        _node_delete(heap, index, index.root)
        index.root = NULL
    elif index.root.level == 0:
        _shrink_root(heap, index)


cdef void _shrink_root(Heap *heap, Ordered *index) noexcept nogil:
    cdef OrderedNode *leaf = index.root
    cdef int room = leaf.count * 2 + 1
    cdef size_t before = _node_bytes(leaf)
    cdef size_t before_block = heap_block_bytes(leaf, before)
    cdef size_t need
    if leaf.count * 4 > leaf.room or room < ROOT_ROOM_MIN:
        return
    need = sizeof(OrderedNode) + <size_t> room * sizeof(uint64_t)
    leaf = <OrderedNode *> heap_resize(heap, leaf, before, need, 0)
    if leaf == NULL:
        return  # it stays as large as it is
    leaf.room = <uint8_t> room
    index.used_bytes += heap_block_bytes(leaf, need) - before_block
    index.root = leaf


cdef void _remove_at(Heap *heap, Ordered *index, OrderedCursor *path, int count) noexcept nogil:
    cdef OrderedLeaf *leaf = <OrderedLeaf *> path.node[path.depth]
    cdef int at = path.at[path.depth]
    cdef int depth
    memmove(&leaf.word[at], &leaf.word[at + count], (leaf.head.count - at - count) * sizeof(uint64_t))
    leaf.head.count -= <uint8_t> count
    index.count -= <uint64_t> count
    for depth in range(path.depth):
        (<OrderedBranch *> path.node[depth]).count[path.at[depth]] -= <uint32_t> count
    if at == 0 and leaf.head.count > 0:
        _note_first(path, path.depth, leaf.word[0])
    if leaf.head.count * 2 <= leaf.head.room:
        _mend(heap, index, path)


cdef bint ordered_remove(Heap *heap, Ordered *index, order_fn order, const void *probe, uint64_t *word) noexcept nogil:
    cdef OrderedCursor path
    _descend(index, order, probe, True, False, &path)
    if path.depth < 0 or path.at[path.depth] == 0:
        return False
    path.at[path.depth] -= 1
    if order(probe, ordered_word(&path)) != 0:
        return False
    word[0] = ordered_word(&path)
    _remove_at(heap, index, &path, 1)
    return True


cdef uint32_t ordered_cut(Heap *heap, Ordered *index, uint64_t rank, uint64_t *into, uint32_t room) noexcept nogil:
    cdef OrderedCursor path
    cdef OrderedLeaf *leaf
    cdef uint32_t count
    if room == 0 or not ordered_at(index, rank, &path):
        return 0
    leaf = <OrderedLeaf *> path.node[path.depth]
    count = <uint32_t> (leaf.head.count - path.at[path.depth])
    if count > room:
        count = room
    memcpy(into, &leaf.word[path.at[path.depth]], count * sizeof(uint64_t))
    _remove_at(heap, index, &path, <int> count)
    return count


cdef void ordered_replace(OrderedCursor *cursor, uint64_t word) noexcept nogil:
    (<OrderedLeaf *> cursor.node[cursor.depth]).word[cursor.at[cursor.depth]] = word
    if cursor.at[cursor.depth] == 0:
        _note_first(cursor, cursor.depth, word)


cdef bint ordered_free_some(Heap *heap, Ordered *index, int64_t *budget_words) noexcept nogil:
    cdef OrderedNode *node
    cdef OrderedBranch *above
    while index.root != NULL:
        if budget_words[0] <= 0:
            return True
        # The last leaf, or a branch that has none any more.
        above = NULL
        node = index.root
        while node.level > 0 and node.count > 0:
            above = <OrderedBranch *> node
            node = above.child[node.count - 1]
        budget_words[0] -= node.count + 1 if node.level == 0 else 1
        if above == NULL:
            index.root = NULL
        else:
            above.head.count -= 1
        _node_delete(heap, index, node)
    index.count = 0
    return False


# --- checking --------------------------------------------------------------------------------------------

# Words under a node; adds its bytes and those below to `held`. UINT64_MAX: something disagrees.
cdef uint64_t _count(const Ordered *index, const OrderedNode *node, uint64_t *held) noexcept nogil:
    cdef const OrderedBranch *branch
    cdef const OrderedNode *child
    cdef uint64_t count, first, total = 0
    cdef int at
    held[0] += heap_block_bytes(node, _node_bytes(node))
    if node.count == 0 or node.count > node.room or (node != index.root and node.room != _most(node)):
        return UINT64_MAX
    if node.level == 0:
        return node.count
    branch = <const OrderedBranch *> node
    for at in range(node.count):
        child = branch.child[at]
        if child.level != node.level - 1:
            return UINT64_MAX
        count = _count(index, child, held)
        first = (<const OrderedLeaf *> child).word[0] if child.level == 0 else (<const OrderedBranch *> child).first[0]
        if count != branch.count[at] or first != branch.first[at]:
            return UINT64_MAX
        total += count
    return total


cdef uint64_t ordered_held_bytes(const Ordered *index) noexcept nogil:
    cdef uint64_t held = 0, count = 0
    if index.root != NULL:
        count = _count(index, index.root, &held)
    return held if count == index.count else UINT64_MAX
