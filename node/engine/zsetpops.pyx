"""Pops from sorted sets, and waiting for something to pop.

What is told to replicas is the plain pop of the key that was found: ZMPOP, BZPOPMIN and their like go out as its
ZPOPMIN or ZPOPMAX.
"""

from libc.stdint cimport INT64_MAX, int64_t

from node.engine.entry cimport TYPE_ZSET
from node.engine.registry cimport Registry
from node.engine.session cimport Session
from node.engine.span cimport span_is, span_bytes
from node.engine.zset cimport Sorted, Walk, sorted_open, walk_begin, walk_next
from node.engine.zsetedit cimport Editor, bounded_at, edit_at, edit_close, edit_count, edit_cut


# Answers the first or last members and takes them out. `nested`: each in an array of its own.
cdef int _pop_members(Session s, Editor *editor, bint highest, int64_t count, bint nested) except -1:
    cdef Sorted zset
    cdef Walk walk
    cdef int64_t total = edit_count(editor), left
    count = min(count, total)
    sorted_open(&zset, editor.entry)
    walk_begin(&walk, &zset, total - 1 if highest else 0, highest)
    for left in range(count):
        walk_next(&walk)
        if nested:
            s.reply_array(2)
        s.reply_bulk(walk.member)
        s.reply_double(walk.score)
    try:
        edit_cut(s.keyspace, editor, total - count if highest else 0, count)
    finally:
        edit_close(s.keyspace, editor)
    return s.changed(count)


cdef int _pop(Session s, bint highest) except -1:
    cdef Editor editor
    cdef int64_t count = 1
    cdef bint nested
    if s.argc > 3:
        return s.reply_syntax_error()
    if s.argc == 3 and not bounded_at(s, 2, 0, INT64_MAX, "ERR value is out of range, must be positive", &count):
        return 0
    nested = s.argc == 3 and s.resp >= 3
    if not edit_at(s, 1, &editor):
        return 0
    count = min(count, edit_count(&editor))
    s.reply_array(count if nested else count * 2)
    if count == 0:
        return 0
    return _pop_members(s, &editor, highest, count, nested)


cdef int _zpopmin(Session s) except -1:
    return _pop(s, False)


cdef int _zpopmax(Session s) except -1:
    return _pop(s, True)


# MIN or MAX and COUNT behind the keys of ZMPOP and BZMPOP. False: wrong; answered.
cdef bint _read_mpop(Session s, int count_index, int64_t *key_count, bint *highest, int64_t *count) except -1:
    cdef int64_t index
    cdef bint counted = False
    count[0] = 1
    if not bounded_at(s, count_index, 1, INT64_MAX, "ERR numkeys should be greater than 0", key_count):
        return False
    if key_count[0] >= s.argc - count_index - 1:
        s.reply_syntax_error()
        return False
    index = count_index + key_count[0] + 1
    highest[0] = span_is(s.argv[index], "MAX")
    if not highest[0] and not span_is(s.argv[index], "MIN"):
        s.reply_syntax_error()
        return False
    index += 1
    while index < s.argc:
        if counted or index + 1 >= s.argc or not span_is(s.argv[index], "COUNT"):
            s.reply_syntax_error()
            return False
        counted = True
        if not bounded_at(s, <int> index + 1, 1, INT64_MAX, "ERR count should be greater than 0", count):
            return False
        index += 2
    return True


# Pops from the set that the editor holds, that of the key at `index`, which is named in the answer.
cdef int _pop_named(Session s, int index, Editor *editor, bint highest, int64_t count, bint nested) except -1:
    count = min(count, edit_count(editor))
    s.reply_array(2 if nested else 3)
    s.reply_bulk(editor.key.name)
    if nested:
        s.reply_array(count)
    _pop_members(s, editor, highest, count, nested)
    s.changed_at(index)
    s.effect(3)
    s.effect_arg_word("ZPOPMAX" if highest else "ZPOPMIN")
    s.effect_arg(editor.key.name)
    return s.effect_arg_int64(count)


# Pops from the first of the keys argv[first] to argv[last] that is there; when a client that waited is served, from
# the key that made it ready. 0: there is none, nothing is answered. nested: as ZMPOP answers.
cdef bint _pop_first(Session s, int first, int last, bint highest, int64_t count, bint nested) except -1:
    cdef Editor editor
    cdef int index
    for index in range(first, last + 1):
        if s.ready_key is not None and span_bytes(s.argv[index]) != s.ready_key:
            continue
        if not edit_at(s, index, &editor):
            return True
        if editor.entry != NULL:
            _pop_named(s, index, &editor, highest, count, nested)
            return True
    return False


cdef int _zmpop(Session s) except -1:
    cdef int64_t key_count = 0, count = 1
    cdef bint highest = False
    if not _read_mpop(s, 1, &key_count, &highest, &count):
        return 0
    if _pop_first(s, 2, 1 + <int> key_count, highest, count, True):
        return 0
    return s.reply_null_array()


cdef int _bzmpop(Session s) except -1:
    cdef int64_t key_count = 0, count = 1, wait_ms = 0
    cdef bint highest = False
    if not _read_mpop(s, 2, &key_count, &highest, &count) or not s.wait_ms_at(1, &wait_ms):
        return 0
    if _pop_first(s, 3, 2 + <int> key_count, highest, count, True):
        return 0
    return s.wait_for(3, 2 + <int> key_count, wait_ms, TYPE_ZSET)


cdef int _pop_or_wait(Session s, bint highest) except -1:
    cdef int64_t wait_ms = 0
    if not s.wait_ms_at(s.argc - 1, &wait_ms):
        return 0
    if _pop_first(s, 1, s.argc - 2, highest, 1, False):
        return 0
    return s.wait_for(1, s.argc - 2, wait_ms, TYPE_ZSET)


cdef int _bzpopmin(Session s) except -1:
    return _pop_or_wait(s, False)


cdef int _bzpopmax(Session s) except -1:
    return _pop_or_wait(s, True)


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"zpopmin", <void *> _zpopmin)
    registry.add_compiled(b"zpopmax", <void *> _zpopmax)
    registry.add_compiled(b"zmpop", <void *> _zmpop)
    registry.add_compiled(b"bzpopmin", <void *> _bzpopmin)
    registry.add_compiled(b"bzpopmax", <void *> _bzpopmax)
    registry.add_compiled(b"bzmpop", <void *> _bzmpop)
