"""SORT: the elements of a list, set or sorted set in the order of themselves or of other keys.

The one command that looks at keys whose names come from data. In cluster mode those may be on another node, so BY and GET
are refused there, as Redis does. Elements become Python objects here: SORT is too rare, and too slow by its nature, for
a sort of our own.

Source: https://redis.io/docs/latest/commands/sort/
"""

from libc cimport errno
from libc.stdint cimport int64_t, uint8_t

from node.engine.builder cimport Builder
from node.engine.contents cimport Contents, Element, contents_next, contents_open
from node.engine.entry cimport (
    TYPE_HASH,
    TYPE_LIST,
    TYPE_SET,
    TYPE_STRING,
    TYPE_ZSET,
    Entry,
    entry_string,
    entry_type,
)
from node.engine.hashes cimport hash_get
from node.engine.keyspace cimport EXPIRY_NONE, Key
from node.engine.registry cimport Registry
from node.engine.session cimport Session
from node.engine.span cimport Span, span_bytes, span_is, span_of

cdef extern from "stdlib.h" nogil:
    double strtod(const char *text, char **end)


cdef class _Sorting:
    """What the arguments ask for."""

    cdef bint descending
    cdef bint alphabetic
    cdef bint unsorted  # BY a pattern without a star
    cdef bytes by  # None: by the elements themselves
    cdef list gets
    cdef int64_t limit_start
    cdef int64_t limit_count
    cdef int store_index  # 0: the result is the reply


cdef inline Span _span(bytes text) except *:
    return span_of(<const char *> text, len(text))


# None when an error was written.
cdef _Sorting _parse(Session s, bint may_store):
    cdef _Sorting asked = _Sorting()
    cdef int index = 2
    cdef int left
    asked.gets = []
    asked.limit_count = -1
    while index < s.argc:
        left = s.argc - index - 1
        if span_is(s.argv[index], "ASC"):
            asked.descending = False
        elif span_is(s.argv[index], "DESC"):
            asked.descending = True
        elif span_is(s.argv[index], "ALPHA"):
            asked.alphabetic = True
        elif span_is(s.argv[index], "LIMIT") and left >= 2:
            if not s.int64_at(index + 1, &asked.limit_start) or not s.int64_at(index + 2, &asked.limit_count):
                return None
            index += 2
        elif may_store and span_is(s.argv[index], "STORE") and left >= 1:
            asked.store_index = index + 1
            index += 1
        elif span_is(s.argv[index], "BY") and left >= 1:
            asked.by = span_bytes(s.argv[index + 1])
            # Up to a zero byte, as Redis looks for it.
            if b"*" not in asked.by.partition(b"\0")[0]:
                asked.unsorted = True
            elif s.engine.cluster:
                s.reply_error("ERR BY option of SORT denied in cluster mode.")
                return None
            index += 1
        elif span_is(s.argv[index], "GET") and left >= 1:
            if s.engine.cluster:
                s.reply_error("ERR GET option of SORT denied in cluster mode.")
                return None
            asked.gets.append(span_bytes(s.argv[index + 1]))
            index += 1
        else:
            s.reply_syntax_error()
            return None
        index += 1
    return asked


# The value that a pattern leads to for this element, or None.
cdef bytes _look_up(Session s, bytes pattern, bytes element):
    cdef uint8_t scratch[24]
    cdef Key key
    cdef Entry *entry
    cdef Span value
    cdef bytes name, field = b""
    if pattern == b"#":
        return element
    before, star, behind = pattern.partition(b"*")
    if not star:
        return None
    rest, arrow, wanted = behind.partition(b"->")
    if arrow and wanted:
        field = wanted
        behind = rest
    name = before + element + behind
    key = s.keyspace.locate(_span(name))
    entry = s.keyspace.look(s.database, &key) if s.no_touch else s.keyspace.read(s.database, &key)
    if entry == NULL:
        return None
    if field:
        if entry_type(entry) != TYPE_HASH or not hash_get(s.keyspace, entry, _span(field), &value, scratch):
            return None
        return span_bytes(value)
    if entry_type(entry) != TYPE_STRING:
        return None
    return span_bytes(entry_string(entry, scratch))


# As strtod reads it. None: it is no number.
cdef object _number(bytes text):
    cdef char *end
    cdef double value
    errno.errno = 0
    value = strtod(<const char *> text, &end)
    if end[0] != 0 or errno.errno == errno.ERANGE or value != value:
        return None
    return value


cdef list _elements(Entry *entry, bint by_score, bint descending):
    cdef Contents contents
    cdef Element element
    cdef list found = []
    if entry == NULL:
        return found
    contents_open(&contents, entry)
    if by_score:  # BY nosort on a sorted set: in its own order
        while contents_next(&contents, &element):
            found.append((element.score, span_bytes(element.name)))
        found.sort(reverse=descending)
        return [name for _, name in found]
    while contents_next(&contents, &element):
        found.append(span_bytes(element.name))
    return found


def _reply_outcome(Session s, list rows):
    cdef bytes value
    s.reply_array(len(rows))
    for value in rows:
        if value is None:
            s.reply_null()
        else:
            s.reply_bulk(_span(value))


def _store(Session s, int index, list rows):
    """The result as a list under another key; an empty one deletes what was there."""
    cdef Key key = s.key_at(index)
    cdef Builder builder
    cdef bytes value
    cdef int64_t changed = 1
    if rows:
        builder = Builder(s.keyspace)
        builder.begin(TYPE_LIST)
        for value in rows:
            builder.add_item(_span(value if value is not None else b""))
        builder.finish(s.database, &key, EXPIRY_NONE)
        s.changed(len(rows))
        # Replicas get what came out: which elements those were may hang on keys that change meanwhile.
        s.effect(2)
        s.effect_arg_word("DEL")
        s.effect_arg(key.name)
        for value in rows:
            s.effect(3)
            s.effect_arg_word("RPUSH")
            s.effect_arg(key.name)
            s.effect_arg(_span(value if value is not None else b""))
    elif s.keyspace.remove(s.database, &key):
        s.changed(changed)
        s.effect(2)
        s.effect_arg_word("DEL")
        s.effect_arg(key.name)
    s.reply_int64(len(rows))


cdef int _sort_generic(Session s, bint may_store) except -1:
    cdef _Sorting asked = _parse(s, may_store)
    cdef Key key
    cdef Entry *entry
    cdef bint by_score
    cdef int64_t start, end, total
    if asked is None:
        return 0
    key = s.key_at(1)
    entry = s.keyspace.look(s.database, &key) if s.no_touch else s.keyspace.read(s.database, &key)
    if entry != NULL and entry_type(entry) not in (TYPE_LIST, TYPE_SET, TYPE_ZSET):
        return s.reply_wrong_type()
    if asked.unsorted and asked.store_index > 0 and entry != NULL and entry_type(entry) == TYPE_SET:
        # A set has no order of its own, and what is stored must be the same everywhere.
        asked.unsorted = False
        asked.alphabetic = True
        asked.by = None
    by_score = asked.unsorted and entry != NULL and entry_type(entry) == TYPE_ZSET
    elements = _elements(entry, by_score, asked.descending)
    if asked.unsorted and asked.descending and entry != NULL and entry_type(entry) == TYPE_LIST:
        elements.reverse()
    if not asked.unsorted:
        weighed = []
        for element in elements:
            weight = element if asked.by is None else _look_up(s, asked.by, element)
            if asked.alphabetic:
                weighed.append((weight is not None, weight or b"") if asked.by is not None else (weight,))
                continue
            number = 0.0 if weight is None else _number(weight)
            if number is None:
                return s.reply_error("ERR One or more scores can't be converted into double")
            weighed.append((number, element))
        order = sorted(range(len(elements)), key=weighed.__getitem__, reverse=asked.descending)
        elements = [elements[index] for index in order]
    total = len(elements)
    start = min(max(asked.limit_start, <int64_t> 0), total)
    end = total if asked.limit_count < 0 else min(start + min(asked.limit_count, total), total)
    elements = elements[start:end]
    if asked.gets:
        elements = [_look_up(s, pattern, element) for element in elements for pattern in asked.gets]
    if asked.store_index > 0:
        _store(s, asked.store_index, elements)
    else:
        _reply_outcome(s, elements)
    return 0


cdef int _sort(Session s) except -1:
    return _sort_generic(s, True)


cdef int _sort_ro(Session s) except -1:
    return _sort_generic(s, False)


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"sort", <void *> _sort)
    registry.add_compiled(b"sort_ro", <void *> _sort_ro)
