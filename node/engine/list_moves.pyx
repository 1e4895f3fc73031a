"""List commands that move elements from list to list, take from the first list that is there, or wait for one.

A waiting command and the one that does not wait are the same function: the waiting one knows its timeout, and when
it found nothing says for which keys it should run again (waiters.pyx). Replicas are told the command that does not wait.
"""

from libc.stdint cimport int64_t, uint8_t

from node.engine.entry cimport TYPE_LIST, Entry
from node.engine.keyspace cimport Key
from node.engine.list_commands cimport list_found, pop_elements, whole_number
from node.engine.lists cimport ListWalk, list_extend, list_length, list_shorten, list_walk_from, list_walk_next
from node.engine.registry cimport Registry
from node.engine.run cimport Item, item_text
from node.engine.session cimport Session
from node.engine.span cimport Span, span_bytes, span_equal, span_is, span_of

cdef enum:
    DOES_NOT_WAIT = -1


# LEFT or RIGHT; otherwise the error is written and 0 returned.
cdef bint _end_at(Session s, int index, bint *front) except -1:
    front[0] = span_is(s.argv[index], "LEFT")
    if front[0] or span_is(s.argv[index], "RIGHT"):
        return True
    s.reply_syntax_error()
    return False


cdef int _effect_pop(Session s, Span key, bint front, int64_t count) except -1:
    s.effect(2 if count < 0 else 3)
    s.effect_arg_word("LPOP" if front else "RPOP")
    s.effect_arg(key)
    return 0 if count < 0 else s.effect_arg_int64(count)


# --- from list to list -----------------------------------------------------------------------------------

cdef int _move(Session s, bint from_front, bint to_front, int64_t wait_ms) except -1:
    cdef Key source = s.key_at(1)
    cdef Key destination = s.key_at(2)
    cdef Entry *entry = s.keyspace.find(s.database, &source)
    cdef Entry *other
    cdef ListWalk walk
    cdef Item item
    cdef Span value
    cdef bytes text
    cdef uint8_t scratch[24]
    if not list_found(s, entry):
        return 0
    if entry == NULL:
        if wait_ms == DOES_NOT_WAIT or not s.may_block:
            return s.reply_null()
        return s.wait_for(1, 1, wait_ms, TYPE_LIST)  # whose time is over gets a null array, as from Redis
    other = s.keyspace.find(s.database, &destination)
    if not list_found(s, other):
        return 0
    entry = s.keyspace.find(s.database, &source)
    list_walk_from(entry, 0 if from_front else list_length(entry) - 1, &walk)
    list_walk_next(&walk, &item)
    text = span_bytes(item_text(&item, scratch))  # the list that it is in is about to change
    value = span_of(<const char *> text, len(text))
    if not span_equal(source.name, destination.name):
        list_extend(s.keyspace, s.database, &destination, other, &value, 1, to_front)
        list_shorten(s.keyspace, s.database, &source, s.keyspace.find(s.database, &source), 1, from_front)
    elif from_front != to_front:
        list_extend(s.keyspace, s.database, &destination, entry, &value, 1, to_front)
        list_shorten(s.keyspace, s.database, &source, s.keyspace.find(s.database, &source), 1, from_front)
    s.changed(1)
    if wait_ms != DOES_NOT_WAIT:
        s.effect(5)
        s.effect_arg_word("LMOVE")
        s.effect_arg(source.name)
        s.effect_arg(destination.name)
        s.effect_arg_word("LEFT" if from_front else "RIGHT")
        s.effect_arg_word("LEFT" if to_front else "RIGHT")
    return s.reply_bulk(value)


cdef int _lmove(Session s) except -1:
    cdef bint from_front = False, to_front = False
    if not _end_at(s, 3, &from_front) or not _end_at(s, 4, &to_front):
        return 0
    return _move(s, from_front, to_front, DOES_NOT_WAIT)


cdef int _rpoplpush(Session s) except -1:
    return _move(s, False, True, DOES_NOT_WAIT)


cdef int _blmove(Session s) except -1:
    cdef bint from_front = False, to_front = False
    cdef int64_t wait_ms = 0
    if not _end_at(s, 3, &from_front) or not _end_at(s, 4, &to_front) or not s.wait_ms_at(5, &wait_ms):
        return 0
    return _move(s, from_front, to_front, wait_ms)


cdef int _brpoplpush(Session s) except -1:
    cdef int64_t wait_ms = 0
    if not s.wait_ms_at(3, &wait_ms):
        return 0
    return _move(s, False, True, wait_ms)


# --- from the first list that is there -------------------------------------------------------------------

cdef int _pop_or_wait(Session s, bint front) except -1:
    cdef int64_t wait_ms = 0
    cdef int index
    cdef Key key
    cdef Entry *entry
    cdef bytes ready = s.ready_key
    if not s.wait_ms_at(s.argc - 1, &wait_ms):
        return 0
    for index in range(1, s.argc - 1):
        key = s.key_at(index)
        if ready is not None and not span_equal(key.name, span_of(<const char *> ready, len(ready))):
            continue
        entry = s.keyspace.find(s.database, &key)
        if entry == NULL:
            continue
        if not list_found(s, entry):
            return 0
        s.reply_array(2)
        s.reply_bulk(key.name)
        pop_elements(s, &key, entry, 1, front)
        s.changed_at(index)
        return _effect_pop(s, key.name, front, -1)
    return s.wait_for(1, s.argc - 2, wait_ms, TYPE_LIST)


cdef int _blpop(Session s) except -1:
    return _pop_or_wait(s, True)


cdef int _brpop(Session s) except -1:
    return _pop_or_wait(s, False)


# LMPOP's words from argv[first] on: numkeys key ... LEFT | RIGHT [COUNT count].
cdef int _pop_many(Session s, int first, int64_t wait_ms) except -1:
    cdef int64_t key_count = 0, count = -1
    cdef int index, last
    cdef bint front = False
    cdef Key key
    cdef Entry *entry
    cdef bytes ready = s.ready_key
    if not whole_number(s, first, 1, "ERR numkeys should be greater than 0", &key_count):
        return 0
    if key_count >= s.argc - first - 1:
        return s.reply_syntax_error()
    last = first + <int> key_count
    if not _end_at(s, last + 1, &front):
        return 0
    index = last + 2
    while index < s.argc:
        if count != -1 or index + 1 == s.argc or not span_is(s.argv[index], "COUNT"):
            return s.reply_syntax_error()
        if not whole_number(s, index + 1, 1, "ERR count should be greater than 0", &count):
            return 0
        index += 2
    if count == -1:
        count = 1
    for index in range(first + 1, last + 1):
        key = s.key_at(index)
        if ready is not None and not span_equal(key.name, span_of(<const char *> ready, len(ready))):
            continue
        entry = s.keyspace.find(s.database, &key)
        if entry == NULL:
            continue
        if not list_found(s, entry):
            return 0
        count = min(count, list_length(entry))
        s.reply_array(2)
        s.reply_bulk(key.name)
        s.reply_array(count)
        pop_elements(s, &key, entry, count, front)
        s.changed_at(index)
        return _effect_pop(s, key.name, front, count)
    if wait_ms == DOES_NOT_WAIT:
        return s.reply_null_array()
    return s.wait_for(first + 1, last, wait_ms, TYPE_LIST)


cdef int _lmpop(Session s) except -1:
    return _pop_many(s, 1, DOES_NOT_WAIT)


cdef int _blmpop(Session s) except -1:
    cdef int64_t wait_ms = 0
    if not s.wait_ms_at(1, &wait_ms):
        return 0
    return _pop_many(s, 2, wait_ms)


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"lmove", <void *> _lmove)
    registry.add_compiled(b"rpoplpush", <void *> _rpoplpush)
    registry.add_compiled(b"lmpop", <void *> _lmpop)
    registry.add_compiled(b"blmove", <void *> _blmove)
    registry.add_compiled(b"brpoplpush", <void *> _brpoplpush)
    registry.add_compiled(b"blpop", <void *> _blpop)
    registry.add_compiled(b"brpop", <void *> _brpop)
    registry.add_compiled(b"blmpop", <void *> _blmpop)
