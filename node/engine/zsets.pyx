"""The commands on sorted sets that name members, or pick them at random. Ranges are in zsetranges.pyx, pops in
zsetpops.pyx, unions and their like in zsetmerge.pyx.
"""

from libc.math cimport isnan
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from node.engine.entry cimport Entry, entry_key
from node.engine.members cimport members_walk
from node.engine.picks cimport picks_fit
from node.engine.registry cimport Registry
from node.engine.scan cimport Scan, scan_cursor, scan_done, scan_options, scan_reply, scan_wants
from node.engine.scores cimport DOUBLE_TEXT_BYTES, double_to_bytes, double_to_long_bytes
from node.engine.session cimport Session
from node.engine.span cimport Span, span_bytes, span_is, span_of
from node.engine.table cimport GATHER_MAX
from node.engine.zset cimport (
    Sorted,
    Walk,
    member_score,
    sorted_rank,
    sorted_score,
    walk_begin,
    walk_next,
)
from node.engine.zsetedit cimport (
    Editor,
    bounded_at,
    double_at,
    edit_at,
    edit_close,
    edit_put,
    edit_remove,
    edit_score,
    reply_scored_count,
    reply_with_score,
    sorted_at,
)

cdef enum:
    SCORES_AT_HAND = 16
    NEAR_RANKS = 64  # so far apart, walking is as quick as finding anew


# --- adding ----------------------------------------------------------------------------------------------

# The options from argv[2] on; where the first score is.
cdef int _options(Session s, int *flags) noexcept:
    cdef int index = 2
    # What begins like a number is a score, and needs no comparing.
    while index < s.argc and s.argv[index].len_bytes > 0 and s.argv[index].at[0] > 57:
        if span_is(s.argv[index], "NX"):
            flags[0] |= ONLY_NEW
        elif span_is(s.argv[index], "XX"):
            flags[0] |= ONLY_OLD
        elif span_is(s.argv[index], "GT"):
            flags[0] |= ONLY_GREATER
        elif span_is(s.argv[index], "LT"):
            flags[0] |= ONLY_LESS
        elif span_is(s.argv[index], "CH"):
            flags[0] |= COUNT_CHANGED
        elif span_is(s.argv[index], "INCR"):
            flags[0] |= ADD_UP
        else:
            break
        index += 1
    return index


cdef int _add(Session s, int flags) except -1:
    cdef int first = _options(s, &flags)
    cdef int count = (s.argc - first) // 2
    cdef double local[SCORES_AT_HAND]
    cdef double *scores = local
    cdef int index
    if (s.argc - first) % 2 != 0 or count == 0:
        return s.reply_syntax_error()
    if flags & ONLY_NEW and flags & ONLY_OLD:
        return s.reply_error("ERR XX and NX options at the same time are not compatible")
    if (flags & ONLY_NEW and flags & (ONLY_GREATER | ONLY_LESS)) or (flags & ONLY_GREATER and flags & ONLY_LESS):
        return s.reply_error("ERR GT, LT, and/or NX options at the same time are not compatible")
    if flags & ADD_UP and count > 1:
        return s.reply_error("ERR INCR option supports a single increment-element pair")
    if count > SCORES_AT_HAND:
        scores = <double *> malloc(<size_t> count * sizeof(double))
        if scores == NULL:
            raise MemoryError(f"no memory for {count} scores")
    try:
        # All of them first: a command with a wrong one changes nothing.
        for index in range(count):
            if not double_at(s, first + 2 * index, &scores[index], "ERR value is not a valid float"):
                return 0
        return add_scores(s, flags, first + 1, 2, count, scores)
    finally:
        if scores != local:
            free(scores)


cdef int add_scores(Session s, int flags, int member_index, int step, int count, const double *scores) except -1:
    cdef Editor editor
    cdef Span member
    cdef double score = 0, old_score = 0
    cdef int64_t added = 0, updated = 0
    cdef bint taken = False, is_new
    cdef int index
    if not edit_at(s, 1, &editor):
        return 0
    if editor.entry == NULL and flags & ONLY_OLD:
        return s.reply_null() if flags & ADD_UP else s.reply_int64(0)
    try:
        for index in range(count):
            member = s.argv[member_index + step * index]
            score = scores[index]
            is_new = not edit_score(s.keyspace, &editor, member, &old_score)
            if is_new:
                if flags & ONLY_OLD:
                    continue
                taken = True
                added += 1
            else:
                if flags & ONLY_NEW:
                    continue
                if flags & ADD_UP:
                    score += old_score
                    if isnan(score):
                        return s.reply_error("ERR resulting score is not a number (NaN)")
                if (flags & ONLY_LESS and score >= old_score) or (flags & ONLY_GREATER and score <= old_score):
                    continue
                taken = True
                if score == old_score:
                    continue
                updated += 1
            edit_put(s.keyspace, &editor, member, score, is_new)
    finally:
        edit_close(s.keyspace, &editor)
        if added + updated > 0:
            s.changed(added + updated)
    if flags & ADD_UP:
        return s.reply_double(score) if taken else s.reply_null()
    return s.reply_int64(added + updated if flags & COUNT_CHANGED else added)


cdef int _zadd(Session s) except -1:
    return _add(s, 0)


cdef int _zincrby(Session s) except -1:
    return _add(s, ADD_UP)


cdef int _zrem(Session s) except -1:
    cdef Editor editor
    cdef int64_t removed = 0
    cdef int index
    if not edit_at(s, 1, &editor):
        return 0
    try:
        for index in range(2, s.argc):
            removed += edit_remove(s.keyspace, &editor, s.argv[index])
    finally:
        edit_close(s.keyspace, &editor)
        if removed > 0:
            s.changed(removed)
    return s.reply_int64(removed)


# --- asking ----------------------------------------------------------------------------------------------

cdef int _zcard(Session s) except -1:
    cdef Sorted zset
    if not sorted_at(s, 1, &zset):
        return 0
    return s.reply_int64(zset.count)


cdef int _zscore(Session s) except -1:
    cdef Sorted zset
    cdef double score = 0
    if not sorted_at(s, 1, &zset):
        return 0
    if not sorted_score(&s.keyspace.store, &zset, s.argv[2], &score):
        return s.reply_null()
    return s.reply_double(score)


cdef int _zmscore(Session s) except -1:
    cdef Sorted zset
    cdef double score = 0
    cdef int index
    if not sorted_at(s, 1, &zset):
        return 0
    s.reply_array(s.argc - 2)
    for index in range(2, s.argc):
        if sorted_score(&s.keyspace.store, &zset, s.argv[index], &score):
            s.reply_double(score)
        else:
            s.reply_null()
    return 0


cdef int _rank(Session s, bint back) except -1:
    cdef Sorted zset
    cdef double score = 0
    cdef int64_t rank
    cdef bint with_score = s.argc == 4
    if s.argc > 4:
        return s.reply_error_bytes(
            b"ERR wrong number of arguments for '%s' command" % (b"zrevrank" if back else b"zrank")
        )
    if with_score and not span_is(s.argv[3], "WITHSCORE"):
        return s.reply_syntax_error()
    if not sorted_at(s, 1, &zset):
        return 0
    rank = sorted_rank(&s.keyspace.store, &zset, s.argv[2], &score)
    if rank < 0:
        return s.reply_null_array() if with_score else s.reply_null()
    if with_score:
        s.reply_array(2)
    s.reply_int64(zset.count - 1 - rank if back else rank)
    return s.reply_double(score) if with_score else 0


cdef int _zrank(Session s) except -1:
    return _rank(s, False)


cdef int _zrevrank(Session s) except -1:
    return _rank(s, True)


# --- picking ---------------------------------------------------------------------------------------------

cdef int _reply_ranked(Session s, const Sorted *zset, int64_t rank, bint with_scores) except -1:
    cdef Walk walk
    walk_begin(&walk, zset, rank, False)
    walk_next(&walk)
    return reply_with_score(s, walk.member, walk.score, with_scores)


# `count` different ones of them, in order.
cdef int _reply_some(Session s, const Sorted *zset, int64_t count, bint with_scores) except -1:
    cdef Walk walk
    cdef int64_t rank, behind = -1
    cdef bint leave_out = count > zset.count // 2
    cdef set picked = set()
    # The fewer ones are drawn: those to show or those to leave out.
    while len(picked) < (zset.count - count if leave_out else count):
        picked.add(<int64_t> (s.keyspace.random() % <uint64_t> zset.count))
    if leave_out:
        walk_begin(&walk, zset, 0, False)
        for rank in range(zset.count):
            walk_next(&walk)
            if rank not in picked:
                reply_with_score(s, walk.member, walk.score, with_scores)
        return 0
    for rank in sorted(picked):
        if behind < 0 or rank - behind > NEAR_RANKS:
            walk_begin(&walk, zset, rank, False)
            behind = rank
        while behind <= rank:
            walk_next(&walk)
            behind += 1
        reply_with_score(s, walk.member, walk.score, with_scores)
    return 0


cdef int _zrandmember(Session s) except -1:
    cdef Sorted zset
    cdef Walk walk
    cdef int64_t count = 0, left
    cdef bint with_scores = s.argc == 4
    if s.argc > 2:
        if not bounded_at(s, 2, -INT64_MAX, INT64_MAX, NULL, &count):
            return 0
        if s.argc > 4 or (with_scores and not span_is(s.argv[3], "WITHSCORES")):
            return s.reply_syntax_error()
        if with_scores and (count < -(INT64_MAX // 2) or count > INT64_MAX // 2):
            return s.reply_error("ERR value is out of range")
    if not sorted_at(s, 1, &zset):
        return 0
    if s.argc == 2:
        if zset.count == 0:
            return s.reply_null()
        return _reply_ranked(s, &zset, <int64_t> (s.keyspace.random() % <uint64_t> zset.count), False)
    if zset.count == 0 or count == 0:
        return s.reply_array(0)
    if not picks_fit(s, count):
        return 0
    if count < 0:
        count = -count
        reply_scored_count(s, count, with_scores)
        for left in range(count):
            _reply_ranked(s, &zset, <int64_t> (s.keyspace.random() % <uint64_t> zset.count), with_scores)
        return 0
    reply_scored_count(s, min(count, zset.count), with_scores)
    if count < zset.count:
        return _reply_some(s, &zset, count, with_scores)
    walk_begin(&walk, &zset, 0, False)
    while walk_next(&walk):
        reply_with_score(s, walk.member, walk.score, with_scores)
    return 0


# --- scanning --------------------------------------------------------------------------------------------

# Redis writes what it scans as it is kept: scores of large sets with all their 17 digits.
cdef int _note_scanned(list found, Span member, double score, bint packed) except -1:
    cdef uint8_t text[DOUBLE_TEXT_BYTES]
    cdef Py_ssize_t len_bytes
    len_bytes = double_to_bytes(score, text) if packed else double_to_long_bytes(score, text)
    found.append(span_bytes(member))
    found.append(span_bytes(span_of(text, len_bytes)))
    return 0


cdef int _zscan(Session s) except -1:
    cdef Sorted zset
    cdef Walk walk
    cdef Scan scan
    cdef Entry *gathered[GATHER_MAX]
    cdef uint32_t together, at
    cdef list found = []
    cdef bytes word
    if not scan_cursor(s, 2, &scan) or not sorted_at(s, 1, &zset):
        return 0
    if zset.count > 0 and not scan_options(s, 3, False, &scan):
        return 0
    if zset.large == NULL:
        scan.cursor = 0
        walk_begin(&walk, &zset, 0, False)
        while walk_next(&walk):
            if scan_wants(&scan, walk.member):
                _note_scanned(found, walk.member, walk.score, True)
    else:
        while True:
            together = members_walk(&zset.large.members, &scan.cursor, gathered)
            for at in range(together):
                if scan_wants(&scan, entry_key(gathered[at])):
                    _note_scanned(found, entry_key(gathered[at]), member_score(gathered[at]), False)
            if scan_done(&scan, together):
                break
    scan_reply(s, &scan, len(found))
    for word in found:
        s.reply_bulk(span_of(<const char *> word, len(word)))
    return 0


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"zadd", <void *> _zadd)
    registry.add_compiled(b"zincrby", <void *> _zincrby)
    registry.add_compiled(b"zrem", <void *> _zrem)
    registry.add_compiled(b"zcard", <void *> _zcard)
    registry.add_compiled(b"zscore", <void *> _zscore)
    registry.add_compiled(b"zmscore", <void *> _zmscore)
    registry.add_compiled(b"zrank", <void *> _zrank)
    registry.add_compiled(b"zrevrank", <void *> _zrevrank)
    registry.add_compiled(b"zrandmember", <void *> _zrandmember)
    registry.add_compiled(b"zscan", <void *> _zscan)
