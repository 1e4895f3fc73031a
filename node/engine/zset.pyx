"""Sorted sets, in their two forms.

Small: a run of member, score, member, score ... in the order of (score, member), inline in the key's entry. Scores
that are whole numbers are packed as integers (run.pyx): ten members of a leaderboard take 80 bytes and no
block of their own. Every question reads the run from the front.

Large: the members' table (members.pyx), each entry with its score in the value word, and an ordered index
(ordered.pyx) of pointers to these entries:

    table     hash of member --> entry | header 8 | score 8 | member |
                                         ^      ^        ^
    index     ( -3, "b" )  ( 0, "a" )  ( 0, "c" ) ...        in the order of (score, bytes of the member)

An entry stays where it is while its score changes; only its place in the index does. For members of 16 bytes that is
32 bytes for the entry, 10 to 13 in the table and 8.5 to 10.5 in the index: about 54, half of a skiplist's 108.

Ranges of scores and of texts become ranges of ranks first, two descents of the index; everything else is done
by rank.
"""

from libc.stdint cimport INT64_MAX, UINT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, qsort
from libc.string cimport memcmp

from node.engine.alloc cimport heap_give
from node.engine.entry cimport (
    ENCODING_INT,
    ENCODING_RAW,
    TYPE_ZSET,
    Entry,
    entry_encoding,
    entry_int64,
    entry_key,
    entry_object,
    entry_run,
    entry_set_int64,
)
from node.engine.members cimport (
    members_before,
    members_copy,
    members_count,
    members_empty_some,
    members_find,
    members_held_bytes,
    members_new,
    members_put,
    members_remove,
    members_walk,
)
from node.engine.ordered cimport (
    ordered_append,
    ordered_at,
    ordered_cut,
    ordered_free_some,
    ordered_held_bytes,
    ordered_insert,
    ordered_next,
    ordered_previous,
    ordered_rank,
    ordered_remove,
    ordered_word,
)
from node.engine.run cimport (
    RUN_DOUBLE,
    Item,
    item_bytes,
    item_of,
    item_of_double,
    item_text,
    item_write,
    run_at,
    run_count,
    run_find,
    run_next,
    run_skip,
)
from node.engine.span cimport span_of
from node.engine.table cimport GATHER_MAX

cdef enum:
    CUT_WORDS = 64


# A place in the order of a sorted set.
cdef struct Probe:
    double score
    Span member


cdef inline int _compare_texts(Span left, Span right) noexcept nogil:
    cdef Py_ssize_t shorter = left.len_bytes if left.len_bytes < right.len_bytes else right.len_bytes
    cdef int sign = memcmp(left.at, right.at, <size_t> shorter) if shorter > 0 else 0
    if sign != 0:
        return sign
    return (left.len_bytes > right.len_bytes) - (left.len_bytes < right.len_bytes)


cdef int _order_both(const void *probe, uint64_t word) noexcept nogil:
    cdef const Probe *own = <const Probe *> probe
    cdef double score = member_score(<const Entry *> word)
    if own.score != score:
        return -1 if own.score < score else 1
    return _compare_texts(own.member, entry_key(<const Entry *> word))


cdef int _order_scores(const void *probe, uint64_t word) noexcept nogil:
    cdef double own = (<const double *> probe)[0]
    cdef double score = member_score(<const Entry *> word)
    return -1 if own < score else 1 if own > score else 0


cdef int _order_texts(const void *probe, uint64_t word) noexcept nogil:
    cdef const LexBound *own = <const LexBound *> probe
    if own.infinite != 0:
        return own.infinite
    return _compare_texts(own.text, entry_key(<const Entry *> word))


cdef int _compare_entries(const void *left, const void *right) noexcept nogil:
    cdef const Entry *first = (<const Entry **> left)[0]
    cdef const Entry *second = (<const Entry **> right)[0]
    cdef double own = member_score(first)
    cdef double other = member_score(second)
    if own != other:
        return -1 if own < other else 1
    return _compare_texts(entry_key(first), entry_key(second))


cdef inline double _item_score(const Item *item) noexcept nogil:
    return item.real if item.kind == RUN_DOUBLE else <double> item.integer


# --- the large form --------------------------------------------------------------------------------------

cdef Zset *zset_new(Store *store) noexcept nogil:
    return <Zset *> members_new(store, TYPE_ZSET, sizeof(Zset))


cdef Entry *zset_find(Store *store, Zset *zset, Span member) noexcept nogil:
    return members_find(store, &zset.members, member)


cdef inline void _account(Zset *zset, uint64_t before_bytes) noexcept nogil:
    zset.members.head.used_bytes += zset.order.used_bytes - before_bytes


cdef inline Entry *_put_member(Store *store, Zset *zset, Span member, double score) except NULL:
    cdef Entry *entry = members_put(
        store, &zset.members, member, ENCODING_INT, span_of(NULL, 0), double_bits(score), -1
    )
    if entry == NULL:
        raise MemoryError("no memory for a member of a sorted set")
    return entry


cdef bint _index(Store *store, Zset *zset, Entry *entry, double score) except -1:
    cdef uint64_t before_bytes = zset.order.used_bytes
    cdef Probe probe = Probe(score, entry_key(entry))
    try:
        ordered_insert(store.heap, &zset.order, _order_both, &probe, <uint64_t> entry)
    except BaseException:
        _account(zset, before_bytes)
        members_remove(store, &zset.members, entry_key(entry))
        raise
    _account(zset, before_bytes)
    return True


cdef bint zset_add(Store *store, Zset *zset, Span member, double score) except -1:
    return _index(store, zset, _put_member(store, zset, member, score), score)


cdef bint zset_move(Store *store, Zset *zset, Entry *entry, double score) except -1:
    cdef uint64_t before_bytes = zset.order.used_bytes
    cdef Probe probe = Probe(member_score(entry), entry_key(entry))
    cdef uint64_t word
    ordered_remove(store.heap, &zset.order, _order_both, &probe, &word)
    _account(zset, before_bytes)
    members_before(&zset.members, entry)
    entry_set_int64(entry, double_bits(score))
    return _index(store, zset, entry, score)


cdef bint zset_append(Store *store, Zset *zset, Span member, double score) except -1:
    cdef Entry *entry = _put_member(store, zset, member, score)
    cdef uint64_t before_bytes = zset.order.used_bytes
    try:
        ordered_append(store.heap, &zset.order, <uint64_t> entry)
    except BaseException:
        members_remove(store, &zset.members, member)
        raise
    _account(zset, before_bytes)
    return True


cdef bint zset_remove(Store *store, Zset *zset, Span member) noexcept nogil:
    cdef Entry *entry = members_find(store, &zset.members, member)
    cdef uint64_t before_bytes = zset.order.used_bytes
    cdef uint64_t word
    cdef Probe probe
    if entry == NULL:
        return False
    probe = Probe(member_score(entry), member)
    ordered_remove(store.heap, &zset.order, _order_both, &probe, &word)
    _account(zset, before_bytes)
    members_remove(store, &zset.members, member)
    return True


cdef int64_t zset_cut(Store *store, Zset *zset, int64_t rank, int64_t count) noexcept nogil:
    cdef uint64_t words[CUT_WORDS]
    cdef uint64_t before_bytes
    cdef uint32_t taken, index
    cdef int64_t total = 0
    while total < count:
        before_bytes = zset.order.used_bytes
        taken = ordered_cut(
            store.heap, &zset.order, <uint64_t> rank, words, <uint32_t> min(count - total, <int64_t> CUT_WORDS)
        )
        _account(zset, before_bytes)
        if taken == 0:
            break
        for index in range(taken):
            members_remove(store, &zset.members, entry_key(<Entry *> words[index]))
        total += taken
    return total


cdef Zset *zset_without(Store *store, Zset *zset, int64_t rank, int64_t count) except NULL:
    cdef Zset *rest = zset_new(store)
    cdef OrderedCursor cursor
    cdef Entry *entry
    cdef int64_t budget = INT64_MAX, at = 0
    cdef bint more
    if rest == NULL:
        raise MemoryError("no memory for a sorted set")
    try:
        more = ordered_at(&zset.order, 0 if rank > 0 else <uint64_t> count, &cursor)
        while more:
            entry = <Entry *> ordered_word(&cursor)
            zset_append(store, rest, entry_key(entry), member_score(entry))
            at += 1
            more = ordered_at(&zset.order, <uint64_t> (rank + count), &cursor) if at == rank else ordered_next(&cursor)
    except BaseException:
        zset_empty_some(store, rest, &budget)
        raise
    return rest


cdef bint zset_index(Store *store, Zset *zset) except -1:
    cdef Entry *found[GATHER_MAX]
    cdef int64_t total = members_count(&zset.members), at = 0
    cdef uint64_t before_bytes = zset.order.used_bytes
    cdef uint64_t cursor = 0
    cdef uint32_t count, index
    cdef Entry **entries
    if total == 0:
        return True
    entries = <Entry **> malloc(<size_t> total * sizeof(Entry *))
    if entries == NULL:
        raise MemoryError(f"no memory to sort {total} members")
    try:
        while at < total:
            count = members_walk(&zset.members, &cursor, found)
            for index in range(count):
                entries[at] = found[index]
                at += 1
            if cursor == 0:
                break
        qsort(entries, <size_t> at, sizeof(Entry *), _compare_entries)
        for total in range(at):
            ordered_append(store.heap, &zset.order, <uint64_t> entries[total])
    finally:
        _account(zset, before_bytes)
        free(entries)
    return True


cdef Zset *zset_from_run(Store *store, Span run) except NULL:
    cdef Zset *zset = zset_new(store)
    cdef const uint8_t *at = run.at
    cdef const uint8_t *end = run.at + run.len_bytes
    cdef uint8_t scratch[24]
    cdef int64_t budget = INT64_MAX
    cdef Item member
    cdef Item score
    if zset == NULL:
        raise MemoryError("no memory for a sorted set")
    try:
        while at != end:
            at = run_next(at, end, &member)
            at = run_next(at, end, &score)
            zset_append(store, zset, item_text(&member, scratch), _item_score(&score))
    except BaseException:
        zset_empty_some(store, zset, &budget)
        raise
    return zset


cdef bint zset_empty_some(Store *store, Zset *zset, int64_t *budget) noexcept nogil:
    cdef uint64_t before_bytes = zset.order.used_bytes
    cdef bint more = ordered_free_some(store.heap, &zset.order, budget)
    _account(zset, before_bytes)
    if more or members_empty_some(store, &zset.members, budget):
        return True
    heap_give(store.heap, zset, sizeof(Zset))
    return False


cdef Zset *zset_copy(Store *store, Zset *zset) noexcept nogil:
    cdef Zset *copied = <Zset *> members_copy(store, &zset.members, sizeof(Zset))
    cdef OrderedCursor cursor
    cdef uint64_t before_bytes
    cdef int64_t budget = INT64_MAX
    cdef bint more
    if copied == NULL:
        return NULL
    before_bytes = copied.order.used_bytes
    more = ordered_at(&zset.order, 0, &cursor)
    while more:
        if not _append_copied(store, copied, entry_key(<Entry *> ordered_word(&cursor))):
            _account(copied, before_bytes)
            zset_empty_some(store, copied, &budget)
            return NULL
        more = ordered_next(&cursor)
    _account(copied, before_bytes)
    return copied


cdef bint _append_copied(Store *store, Zset *copied, Span member) noexcept nogil:
    with gil:
        try:
            ordered_append(store.heap, &copied.order, <uint64_t> members_find(store, &copied.members, member))
        except MemoryError:
            return False
    return True


cdef uint64_t zset_held_bytes(Store *store, Zset *zset) noexcept nogil:
    cdef uint64_t in_order = ordered_held_bytes(&zset.order)
    cdef OrderedCursor cursor
    cdef Probe probe
    cdef Entry *entry
    cdef bint more = ordered_at(&zset.order, 0, &cursor)
    if in_order == UINT64_MAX or zset.order.count != <uint64_t> members_count(&zset.members):
        return UINT64_MAX
    # Ascending, and each the entry that its member leads to: then it is the whole table.
    while more:
        entry = <Entry *> ordered_word(&cursor)
        if members_find(store, &zset.members, entry_key(entry)) != entry:
            return UINT64_MAX
        probe = Probe(member_score(entry), entry_key(entry))
        more = ordered_next(&cursor)
        if more and _order_both(&probe, ordered_word(&cursor)) >= 0:
            return UINT64_MAX
    return in_order + members_held_bytes(store, &zset.members, sizeof(Zset))


# --- the small form --------------------------------------------------------------------------------------

cdef const uint8_t *pair_find(Span run, Span member, const uint8_t **next, double *score) noexcept nogil:
    cdef Item item = item_of(member)
    cdef Py_ssize_t index = 0
    cdef const uint8_t *at = run_find(run, &item, 0, 2, &index)
    if at == NULL:
        return NULL
    next[0] = run_next(run_skip(at), run.at + run.len_bytes, &item)
    score[0] = _item_score(&item)
    return at


cdef const uint8_t *pair_place(Span run, Span member, double score) noexcept nogil:
    cdef const uint8_t *at = run.at
    cdef const uint8_t *end = run.at + run.len_bytes
    cdef const uint8_t *following
    cdef uint8_t scratch[24]
    cdef Item item
    cdef double own
    while at != end:
        following = run_next(run_skip(at), end, &item)
        own = _item_score(&item)
        if own >= score:
            if own > score:
                return at
            run_next(at, end, &item)
            if _compare_texts(item_text(&item, scratch), member) > 0:
                return at
        at = following
    return end


cdef Py_ssize_t pair_bytes(Span member, double score) noexcept nogil:
    cdef Item item = item_of(member)
    cdef Item number = item_of_double(score)
    return item_bytes(&item) + item_bytes(&number)


cdef void pair_write(uint8_t *at, Span member, double score) noexcept nogil:
    cdef Item item = item_of(member)
    cdef Item number = item_of_double(score)
    item_write(item_write(at, &item), &number)


# --- either form -----------------------------------------------------------------------------------------

cdef void sorted_open(Sorted *zset, const Entry *entry) noexcept nogil:
    zset.large = NULL
    zset.run = span_of(NULL, 0)
    zset.count = 0
    if entry == NULL:
        return
    if entry_encoding(entry) == ENCODING_RAW:
        zset.run = entry_run(entry)
        zset.count = run_count(zset.run) // 2
    else:
        zset.large = <Zset *> entry_object(entry)
        zset.count = members_count(&zset.large.members)


cdef bint sorted_score(Store *store, const Sorted *zset, Span member, double *score) noexcept nogil:
    cdef const uint8_t *following
    cdef Entry *entry
    if zset.large == NULL:
        return zset.run.len_bytes > 0 and pair_find(zset.run, member, &following, score) != NULL
    entry = members_find(store, &zset.large.members, member)
    if entry == NULL:
        return False
    score[0] = member_score(entry)
    return True


cdef int64_t sorted_rank(Store *store, const Sorted *zset, Span member, double *score) noexcept nogil:
    cdef Item item
    cdef Py_ssize_t index = 0
    cdef const uint8_t *at
    cdef Probe probe
    if zset.large == NULL:
        item = item_of(member)
        at = run_find(zset.run, &item, 0, 2, &index) if zset.run.len_bytes > 0 else NULL
        if at == NULL:
            return -1
        run_next(run_skip(at), zset.run.at + zset.run.len_bytes, &item)
        score[0] = _item_score(&item)
        return index // 2
    if not sorted_score(store, zset, member, score):
        return -1
    probe = Probe(score[0], member)
    return <int64_t> ordered_rank(&zset.large.order, _order_both, &probe, False)


# How many scores of a run lie before this one; with `after`, those equal to it count too.
cdef int64_t _run_rank(Span run, double score, bint after) noexcept nogil:
    cdef const uint8_t *at = run.at
    cdef const uint8_t *end = run.at + run.len_bytes
    cdef int64_t rank = 0
    cdef Item item
    cdef double own
    while at != end:
        at = run_next(run_skip(at), end, &item)
        own = _item_score(&item)
        if own > score or (own == score and not after):
            break
        rank += 1
    return rank


cdef void sorted_between_scores(
    const Sorted *zset, double low, bint low_open, double high, bint high_open, int64_t *first, int64_t *behind
) noexcept nogil:
    if zset.large == NULL:
        first[0] = _run_rank(zset.run, low, low_open)
        behind[0] = _run_rank(zset.run, high, not high_open)
    else:
        first[0] = <int64_t> ordered_rank(&zset.large.order, _order_scores, &low, low_open)
        behind[0] = <int64_t> ordered_rank(&zset.large.order, _order_scores, &high, not high_open)
    if behind[0] < first[0]:
        behind[0] = first[0]


cdef inline bint _is_above(const LexBound *low, Span member) noexcept nogil:
    cdef int sign = low.infinite if low.infinite != 0 else _compare_texts(low.text, member)
    return sign < 0 or (sign == 0 and not low.open)


cdef inline bint _is_below(const LexBound *high, Span member) noexcept nogil:
    cdef int sign = high.infinite if high.infinite != 0 else _compare_texts(high.text, member)
    return sign > 0 or (sign == 0 and not high.open)


cdef inline bint _is_empty_range(const LexBound *low, const LexBound *high) noexcept nogil:
    cdef int sign
    if low.infinite != 0 or high.infinite != 0:
        sign = low.infinite - high.infinite
    else:
        sign = _compare_texts(low.text, high.text)
    return sign > 0 or (sign == 0 and (low.open or high.open))


# A range by bytes means something only where all scores are equal. Redis answers all the same, and for a
# packed set the answer is that of a walk from one end to where a member is out of range: so is ours.
cdef void _run_between_texts(
    const Sorted *zset, const LexBound *low, const LexBound *high, bint back, int64_t *first, int64_t *behind
) noexcept nogil:
    cdef const uint8_t *at = zset.run.at
    cdef const uint8_t *end = zset.run.at + zset.run.len_bytes
    cdef uint8_t scratch[24]
    cdef int64_t rank = 0, from_low = 0, to_high = 0
    cdef bint above = False, below = False, first_below = False
    cdef Span text
    cdef Item item
    first[0] = -1
    while at != end:
        at = run_skip(run_next(at, end, &item))
        text = item_text(&item, scratch)
        above = _is_above(low, text)
        below = _is_below(high, text)
        if rank == 0:
            first_below = below
        if not back:
            if first[0] < 0 and above:
                first[0] = rank
                behind[0] = rank
            if first[0] >= 0 and behind[0] == rank and below:
                behind[0] = rank + 1
        else:
            if not above:
                from_low = rank + 1
            if below:
                # The last one below so far, and where the unbroken line of those above began.
                first[0] = from_low
                behind[0] = rank + 1
        rank += 1
    if first[0] < 0 or not above or not first_below or first[0] > behind[0]:
        first[0] = 0
        behind[0] = 0


cdef void sorted_between_texts(
    const Sorted *zset, const LexBound *low, const LexBound *high, bint back, int64_t *first, int64_t *behind
) noexcept nogil:
    first[0] = 0
    behind[0] = 0
    if zset.count == 0 or _is_empty_range(low, high):
        return
    if zset.large == NULL:
        _run_between_texts(zset, low, high, back, first, behind)
        return
    first[0] = <int64_t> ordered_rank(&zset.large.order, _order_texts, low, low.open)
    behind[0] = <int64_t> ordered_rank(&zset.large.order, _order_texts, high, not high.open)
    if behind[0] < first[0]:
        behind[0] = first[0]


# --- walking ---------------------------------------------------------------------------------------------

cdef void walk_begin(Walk *walk, const Sorted *zset, int64_t rank, bint back) noexcept nogil:
    walk.large = zset.large
    walk.run = zset.run
    walk.back = back
    walk.begun = False
    walk.rank = rank
    walk.window_count = 0
    walk.window_rank = 0
    walk.at = NULL
    if rank < 0 or rank >= zset.count:
        walk.rank = -1
    elif walk.large != NULL:
        ordered_at(&walk.large.order, <uint64_t> rank, &walk.cursor)
    elif not back:
        walk.at = run_at(walk.run, rank * 2)


cdef bint _read_pair(Walk *walk) noexcept nogil:
    cdef const uint8_t *end = walk.run.at + walk.run.len_bytes
    cdef Item item
    if walk.at == NULL or walk.at == end:
        return False
    walk.at = run_next(walk.at, end, &item)
    walk.member = item_text(&item, walk.scratch)
    walk.at = run_next(walk.at, end, &item)
    walk.score = _item_score(&item)
    return True


# Notes where the pairs up to walk.rank begin, as many as the window holds.
cdef void _fill_window(Walk *walk) noexcept nogil:
    cdef const uint8_t *at
    walk.window_rank = max(<int64_t> 0, walk.rank - WALK_WINDOW + 1)
    walk.window_count = <int> (walk.rank - walk.window_rank + 1)
    at = run_at(walk.run, walk.window_rank * 2)
    for index in range(walk.window_count):
        walk.window[index] = <uint32_t> (at - walk.run.at)
        at = run_skip(run_skip(at))


cdef bint walk_next(Walk *walk) noexcept nogil:
    cdef Entry *entry
    if walk.rank < 0:
        return False
    if walk.large != NULL:
        if walk.begun and not (ordered_previous(&walk.cursor) if walk.back else ordered_next(&walk.cursor)):
            walk.rank = -1
            return False
        walk.begun = True
        entry = <Entry *> ordered_word(&walk.cursor)
        walk.member = entry_key(entry)
        walk.score = member_score(entry)
        return True
    if walk.back:
        if walk.window_count == 0:
            _fill_window(walk)
        walk.window_count -= 1
        walk.at = walk.run.at + walk.window[walk.window_count]
        walk.rank -= 1
    return _read_pair(walk)
