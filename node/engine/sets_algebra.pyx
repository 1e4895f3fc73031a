"""The commands on several sets: what they have in common, all together, one without the others.

Results that are answered go into a buffer of their own as they are found, since their number stands before them;
results that are stored are put together as members, which become the set in one step, whatever the target held and
even if it is one of the operands.
"""

from libc.stdint cimport INT64_MAX, int64_t
from libc.stdlib cimport free, malloc, qsort

from node.engine.buf cimport Buf, buf_append, buf_free
from node.engine.entry cimport TYPE_SET, Entry, entry_type
from node.engine.keyspace cimport Key
from node.engine.members cimport Members, members_count, members_prefetch, members_remove
from node.engine.registry cimport Registry
from node.engine.resp cimport resp_bulk
from node.engine.session cimport Session
from node.engine.sets cimport (
    Elements,
    elements_begin,
    elements_begin_members,
    elements_next,
    set_begin,
    set_count,
    set_drop,
    set_has,
    set_members,
    set_put,
    set_store,
)
from node.engine.span cimport Span, span_is, span_to_int64

# An operand. entry NULL: no such key.
cdef struct Operand:
    Entry *entry
    int64_t count


# Where results go: into a buffer as bulks, into members, or nowhere but the count.
cdef struct Results:
    int64_t count
    int64_t limit  # enough
    Buf *buf
    Members *members


cdef int _add(Session s, Results *results, Span member) except -1:
    results.count += 1
    if results.buf != NULL:
        return resp_bulk(results.buf, member)
    if results.members != NULL:
        return set_put(s.keyspace, results.members, member)
    return 0


# --- operands ------------------------------------------------------------------------------------------

# The sets of argv[first] to argv[first + count - 1]; NULL when one is no set (the error is written). To be freed.
cdef Operand *_operands(Session s, int first, int count) except? NULL:
    cdef Operand *operands = <Operand *> malloc(<size_t> count * sizeof(Operand))
    cdef Entry *entry
    cdef Key key
    cdef int index
    if operands == NULL:
        raise MemoryError(f"no memory for {count} operands")
    try:
        for index in range(count):
            key = s.key_at(first + index)
            # What a look-up deletes because it expired is never an entry that one before it found.
            entry = s.keyspace.look(s.database, &key) if s.no_touch else s.keyspace.read(s.database, &key)
            if entry != NULL and entry_type(entry) != TYPE_SET:
                s.reply_wrong_type()
                free(operands)
                return NULL
            operands[index].entry = entry
            operands[index].count = 0 if entry == NULL else set_count(entry)
    except BaseException:
        free(operands)
        raise
    return operands


cdef int _compare_operands(const void *left, const void *right) noexcept nogil:
    cdef int64_t first = (<const Operand *> left).count
    cdef int64_t second = (<const Operand *> right).count
    return (first > second) - (first < second)


# --- the three of them -----------------------------------------------------------------------------------

# At the first of several members that were gathered together: they are about to be looked up in the second set.
cdef inline void _look_ahead(Session s, Elements *elements, Operand *operands, int count) noexcept:
    cdef Members *others
    if elements.members == NULL or elements.index != 1 or count == 1 or operands[1].entry == NULL:
        return
    others = set_members(operands[1].entry)
    if others != NULL:
        members_prefetch(&s.keyspace.store, others, elements.found, elements.count)


cdef int _intersect(Session s, Operand *operands, int count, Results *results) except -1:
    cdef Elements elements
    cdef Span member
    cdef int other
    qsort(operands, count, sizeof(Operand), _compare_operands)
    if operands[0].entry == NULL:
        return 0
    elements_begin(operands[0].entry, &elements)
    while results.count < results.limit and elements_next(&elements, &member):
        _look_ahead(s, &elements, operands, count)
        for other in range(1, count):
            if operands[other].entry != operands[0].entry and not set_has(s.keyspace, operands[other].entry, member):
                break
        else:
            _add(s, results, member)
    return 0


# Of one operand no member comes twice.
cdef int _unite(Session s, Operand *operands, int count, Results *results) except -1:
    cdef Elements elements
    cdef Members *members = results.members
    cdef Span member
    cdef int index, present = 0
    for index in range(count):
        present += operands[index].entry != NULL
    if members == NULL and present > 1:
        members = set_begin(s.keyspace)
    try:
        for index in range(count):
            if operands[index].entry == NULL:
                continue
            elements_begin(operands[index].entry, &elements)
            while elements_next(&elements, &member):
                if members != NULL:
                    set_put(s.keyspace, members, member)
                else:
                    _add(s, results, member)
        if members != NULL and members != results.members:
            elements_begin_members(members, &elements)
            while elements_next(&elements, &member):
                _add(s, results, member)
    finally:
        if members != NULL and members != results.members:
            set_drop(s.keyspace, members)
    return 0


cdef int _subtract(Session s, Operand *operands, int count, Results *results) except -1:
    cdef Elements elements
    cdef Span member
    cdef int other
    cdef int64_t total = 0
    if operands[0].entry == NULL:
        return 0
    for other in range(1, count):
        if operands[other].entry == operands[0].entry:
            return 0
        total += operands[other].count
    # Looking each member up in all other sets, or removing all the others' members from a copy of the first?
    if results.members != NULL and total < operands[0].count * (count - 1) // 2:
        return _subtract_from_copy(s, operands, count, results)
    elements_begin(operands[0].entry, &elements)
    while elements_next(&elements, &member):
        _look_ahead(s, &elements, operands, count)
        for other in range(1, count):
            if operands[other].entry != NULL and set_has(s.keyspace, operands[other].entry, member):
                break
        else:
            _add(s, results, member)
    return 0


cdef int _subtract_from_copy(Session s, Operand *operands, int count, Results *results) except -1:
    cdef Elements elements
    cdef Span member
    cdef int other
    elements_begin(operands[0].entry, &elements)
    while elements_next(&elements, &member):
        set_put(s.keyspace, results.members, member)
    for other in range(1, count):
        if operands[other].entry == NULL:
            continue
        elements_begin(operands[other].entry, &elements)
        while elements_next(&elements, &member):
            members_remove(&s.keyspace.store, results.members, member)
    return 0


ctypedef int (*algebra_fn)(Session s, Operand *operands, int count, Results *results) except -1


# --- commands ------------------------------------------------------------------------------------------

cdef int _answer(Session s, algebra_fn function) except -1:
    cdef Operand *operands = _operands(s, 1, s.argc - 1)
    cdef Buf buf = Buf(NULL, 0, 0)
    cdef Results results = Results(0, INT64_MAX, &buf, NULL)
    if operands == NULL:
        return 0
    try:
        function(s, operands, s.argc - 1, &results)
        s.reply_set(results.count)
        buf_append(&s.out, buf.data, buf.used_bytes)
    finally:
        buf_free(&buf)
        free(operands)
    return 0


cdef int _store(Session s, algebra_fn function) except -1:
    cdef Key key = s.key_at(1)
    cdef Operand *operands = _operands(s, 2, s.argc - 2)
    cdef Results results = Results(0, INT64_MAX, NULL, NULL)
    cdef Members *members
    cdef int64_t count
    if operands == NULL:
        return 0
    try:
        results.members = set_begin(s.keyspace)
        function(s, operands, s.argc - 2, &results)
        members = results.members
        count = members_count(members)
        if count > 0:
            results.members = NULL
            set_store(s.keyspace, s.database, &key, members)
            s.changed(1)
        elif s.keyspace.remove(s.database, &key):
            s.changed(1)
    finally:
        if results.members != NULL:
            set_drop(s.keyspace, results.members)
        free(operands)
    return s.reply_int64(count)


cdef int _sinter(Session s) except -1:
    return _answer(s, _intersect)


cdef int _sunion(Session s) except -1:
    return _answer(s, _unite)


cdef int _sdiff(Session s) except -1:
    return _answer(s, _subtract)


cdef int _sinterstore(Session s) except -1:
    return _store(s, _intersect)


cdef int _sunionstore(Session s) except -1:
    return _store(s, _unite)


cdef int _sdiffstore(Session s) except -1:
    return _store(s, _subtract)


cdef int _sintercard(Session s) except -1:
    cdef int64_t key_count = 0, limit = 0
    cdef Operand *operands
    cdef Results results
    cdef int index
    if not span_to_int64(s.argv[1], &key_count) or key_count < 1:
        return s.reply_error("ERR numkeys should be greater than 0")
    if key_count > s.argc - 2:
        return s.reply_error("ERR Number of keys can't be greater than number of args")
    index = <int> key_count + 2
    while index < s.argc:
        if not span_is(s.argv[index], "LIMIT") or index + 1 == s.argc:
            return s.reply_syntax_error()
        if not span_to_int64(s.argv[index + 1], &limit) or limit < 0:
            return s.reply_error("ERR LIMIT can't be negative")
        index += 2
    operands = _operands(s, 2, <int> key_count)
    if operands == NULL:
        return 0
    results = Results(0, limit if limit > 0 else INT64_MAX, NULL, NULL)
    try:
        _intersect(s, operands, <int> key_count, &results)
    finally:
        free(operands)
    return s.reply_int64(results.count)


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"sinter", <void *> _sinter)
    registry.add_compiled(b"sinterstore", <void *> _sinterstore)
    registry.add_compiled(b"sintercard", <void *> _sintercard)
    registry.add_compiled(b"sunion", <void *> _sunion)
    registry.add_compiled(b"sunionstore", <void *> _sunionstore)
    registry.add_compiled(b"sdiff", <void *> _sdiff)
    registry.add_compiled(b"sdiffstore", <void *> _sdiffstore)
