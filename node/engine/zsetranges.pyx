"""Ranges of sorted sets: by rank, by score, by the bytes of members; read, counted, stored, removed.

Every range becomes a range of ranks first (zset.pyx), so the nine ways to ask for one end in the same few lines.
"""

from libc.stdint cimport INT64_MAX, int64_t

from node.engine.builder cimport Builder
from node.engine.entry cimport TYPE_ZSET
from node.engine.keyspace cimport EXPIRY_NONE, Key
from node.engine.registry cimport Registry
from node.engine.scores cimport span_to_bound
from node.engine.session cimport Session
from node.engine.span cimport span_is
from node.engine.zset cimport (
    LexBound,
    Sorted,
    Walk,
    sorted_between_scores,
    sorted_between_texts,
    sorted_open,
    walk_begin,
    walk_next,
)
from node.engine.zsetedit cimport (
    Editor,
    edit_at,
    edit_close,
    edit_cut,
    lex_bound_of,
    reply_scored_count,
    reply_with_score,
    sorted_at,
)

cdef enum:
    BY_ANY = -1
    BY_RANK = 0
    BY_SCORE = 1
    BY_TEXT = 2

cdef enum:
    EITHER_WAY = -1
    FORWARD = 0
    BACKWARD = 1

# What a command asks for.
cdef struct Range:
    int kind  # BY_*
    bint back
    bint with_scores
    int64_t offset  # LIMIT
    int64_t limit  # negative: no limit
    int64_t start  # BY_RANK: as given, negative ones count from the end
    int64_t stop
    double low
    double high
    bint low_open
    bint high_open
    LexBound low_text
    LexBound high_text


# The ends of a range in argv[low_index] and argv[high_index]. False: wrong; answered.
cdef bint _read_ends(Session s, Range *wanted, int low_index, int high_index) except -1:
    if wanted.kind == BY_RANK:
        return s.int64_at(low_index, &wanted.start) and s.int64_at(high_index, &wanted.stop)
    if wanted.kind == BY_SCORE:
        if span_to_bound(s.argv[low_index], &wanted.low, &wanted.low_open):
            if span_to_bound(s.argv[high_index], &wanted.high, &wanted.high_open):
                return True
        s.reply_error("ERR min or max is not a float")
        return False
    if lex_bound_of(s.argv[low_index], &wanted.low_text) and lex_bound_of(s.argv[high_index], &wanted.high_text):
        return True
    s.reply_error("ERR min or max not valid string range item")
    return False


# Everything behind the key in argv[key_index]. kind BY_ANY and way EITHER_WAY: options decide. False: wrong; answered.
cdef bint _read_range(Session s, Range *wanted, int key_index, int kind, int way, bint storing) except -1:
    cdef int index = key_index + 3
    wanted.kind = kind
    wanted.with_scores = False
    wanted.offset = 0
    wanted.limit = -1
    while index < s.argc:
        if not storing and span_is(s.argv[index], "WITHSCORES"):
            wanted.with_scores = True
        elif index + 2 < s.argc and span_is(s.argv[index], "LIMIT"):
            if not s.int64_at(index + 1, &wanted.offset) or not s.int64_at(index + 2, &wanted.limit):
                return False
            index += 2
        elif way == EITHER_WAY and span_is(s.argv[index], "REV"):
            way = BACKWARD
        elif wanted.kind == BY_ANY and span_is(s.argv[index], "BYLEX"):
            wanted.kind = BY_TEXT
        elif wanted.kind == BY_ANY and span_is(s.argv[index], "BYSCORE"):
            wanted.kind = BY_SCORE
        else:
            s.reply_syntax_error()
            return False
        index += 1
    if wanted.kind == BY_ANY:
        wanted.kind = BY_RANK
    wanted.back = way == BACKWARD
    if wanted.limit != -1 and wanted.kind == BY_RANK:
        s.reply_error("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
        return False
    if wanted.with_scores and wanted.kind == BY_TEXT:
        s.reply_error("ERR syntax error, WITHSCORES not supported in combination with BYLEX")
        return False
    if wanted.back and wanted.kind != BY_RANK:  # from max to min
        return _read_ends(s, wanted, key_index + 2, key_index + 1)
    return _read_ends(s, wanted, key_index + 1, key_index + 2)


# The ranks [first, behind) of the range; back: ranks count from the front all the same.
cdef void _ranks(const Range *wanted, const Sorted *zset, int64_t *first, int64_t *behind) noexcept:
    cdef int64_t start, stop
    if wanted.kind == BY_SCORE:
        sorted_between_scores(zset, wanted.low, wanted.low_open, wanted.high, wanted.high_open, first, behind)
        return
    if wanted.kind == BY_TEXT:
        sorted_between_texts(zset, &wanted.low_text, &wanted.high_text, wanted.back, first, behind)
        return
    # The count is not negative, so the sums can't overflow.
    start = wanted.start + zset.count if wanted.start < 0 else wanted.start
    stop = wanted.stop + zset.count if wanted.stop < 0 else wanted.stop
    start = max(start, <int64_t> 0)
    stop = min(stop, zset.count - 1)
    if start > stop:
        first[0] = 0
        behind[0] = 0
    elif wanted.back:
        first[0] = zset.count - 1 - stop
        behind[0] = zset.count - start
    else:
        first[0] = start
        behind[0] = stop + 1


# The first rank to show and how many, LIMIT observed.
cdef int64_t _shown(const Range *wanted, const Sorted *zset, int64_t *rank) noexcept:
    cdef int64_t first = 0, behind = 0, count
    _ranks(wanted, zset, &first, &behind)
    count = behind - first
    rank[0] = behind - 1 if wanted.back else first
    if wanted.kind == BY_RANK:  # LIMIT x -1 was let through and means nothing
        return count
    if wanted.offset != 0:
        # As Redis, which skips for ever when it is negative.
        if wanted.offset < 0 or wanted.offset >= count:
            return 0
        count -= wanted.offset
        rank[0] += -wanted.offset if wanted.back else wanted.offset
    return count if wanted.limit < 0 else min(count, wanted.limit)


cdef int _range(Session s, int kind, int way) except -1:
    cdef Range wanted
    cdef Sorted zset
    cdef Walk walk
    cdef int64_t rank = 0, count
    if not _read_range(s, &wanted, 1, kind, way, False) or not sorted_at(s, 1, &zset):
        return 0
    count = _shown(&wanted, &zset, &rank)
    reply_scored_count(s, count, wanted.with_scores)
    if count > 0:
        walk_begin(&walk, &zset, rank, wanted.back)
    while count > 0:
        walk_next(&walk)
        reply_with_score(s, walk.member, walk.score, wanted.with_scores)
        count -= 1
    return 0


cdef int _zrange(Session s) except -1:
    return _range(s, BY_ANY, EITHER_WAY)


cdef int _zrevrange(Session s) except -1:
    return _range(s, BY_RANK, BACKWARD)


cdef int _zrangebyscore(Session s) except -1:
    return _range(s, BY_SCORE, FORWARD)


cdef int _zrevrangebyscore(Session s) except -1:
    return _range(s, BY_SCORE, BACKWARD)


cdef int _zrangebylex(Session s) except -1:
    return _range(s, BY_TEXT, FORWARD)


cdef int _zrevrangebylex(Session s) except -1:
    return _range(s, BY_TEXT, BACKWARD)


cdef int _zrangestore(Session s) except -1:
    cdef Range wanted
    cdef Sorted zset
    cdef Walk walk
    cdef int64_t rank = 0, count, at
    cdef Key target
    cdef Builder builder
    if not _read_range(s, &wanted, 2, BY_ANY, EITHER_WAY, True) or not sorted_at(s, 2, &zset):
        return 0
    count = _shown(&wanted, &zset, &rank)
    target = s.key_at(1)
    if count == 0:
        if s.keyspace.remove(s.database, &target):
            s.changed(1)
        return s.reply_int64(0)
    builder = Builder(s.keyspace)
    builder.begin(TYPE_ZSET)
    walk_begin(&walk, &zset, rank - count + 1 if wanted.back else rank, False)
    for at in range(count):
        walk_next(&walk)
        builder.add_scored(walk.member, walk.score)
    # The target may be the source: nothing is read from it any more.
    builder.finish(s.database, &target, EXPIRY_NONE)
    s.changed(count)
    return s.reply_int64(count)


# --- counting and removing -------------------------------------------------------------------------------

cdef int _count(Session s, int kind) except -1:
    cdef Range wanted
    cdef Sorted zset
    cdef int64_t first = 0, behind = 0
    wanted.kind = kind
    wanted.back = False
    if not _read_ends(s, &wanted, 2, 3) or not sorted_at(s, 1, &zset):
        return 0
    _ranks(&wanted, &zset, &first, &behind)
    return s.reply_int64(behind - first)


cdef int _zcount(Session s) except -1:
    return _count(s, BY_SCORE)


cdef int _zlexcount(Session s) except -1:
    return _count(s, BY_TEXT)


cdef int _remove(Session s, int kind) except -1:
    cdef Range wanted
    cdef Sorted zset
    cdef Editor editor
    cdef int64_t first = 0, behind = 0
    wanted.kind = kind
    wanted.back = False
    if not _read_ends(s, &wanted, 2, 3) or not edit_at(s, 1, &editor):
        return 0
    sorted_open(&zset, editor.entry)
    _ranks(&wanted, &zset, &first, &behind)
    if behind > first:
        try:
            edit_cut(s.keyspace, &editor, first, behind - first)
        finally:
            edit_close(s.keyspace, &editor)
        s.changed(behind - first)
    return s.reply_int64(behind - first)


cdef int _zremrangebyrank(Session s) except -1:
    return _remove(s, BY_RANK)


cdef int _zremrangebyscore(Session s) except -1:
    return _remove(s, BY_SCORE)


cdef int _zremrangebylex(Session s) except -1:
    return _remove(s, BY_TEXT)


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"zrange", <void *> _zrange)
    registry.add_compiled(b"zrevrange", <void *> _zrevrange)
    registry.add_compiled(b"zrangebyscore", <void *> _zrangebyscore)
    registry.add_compiled(b"zrevrangebyscore", <void *> _zrevrangebyscore)
    registry.add_compiled(b"zrangebylex", <void *> _zrangebylex)
    registry.add_compiled(b"zrevrangebylex", <void *> _zrevrangebylex)
    registry.add_compiled(b"zrangestore", <void *> _zrangestore)
    registry.add_compiled(b"zcount", <void *> _zcount)
    registry.add_compiled(b"zlexcount", <void *> _zlexcount)
    registry.add_compiled(b"zremrangebyrank", <void *> _zremrangebyrank)
    registry.add_compiled(b"zremrangebyscore", <void *> _zremrangebyscore)
    registry.add_compiled(b"zremrangebylex", <void *> _zremrangebylex)
