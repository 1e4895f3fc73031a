"""Unions, intersections and differences of sorted sets. Plain sets take part too, with a score of 1 for each member.

The result is made aside as a table of members and their scores. Where nothing but an answer is wanted it is
handed to the keyspace to be freed in the background.
"""

from libc.math cimport isnan
from libc.stdint cimport INT64_MAX, int64_t, uint8_t
from libc.stdlib cimport calloc, free, qsort

from node.engine.builder cimport Builder
from node.engine.contents cimport Contents, Element, contents_count, contents_next, contents_open
from node.engine.entry cimport (
    ENCODING_INT,
    ENCODING_RAW,
    TYPE_SET,
    TYPE_ZSET,
    Entry,
    entry_encoding,
    entry_object,
    entry_run,
    entry_set_int64,
    entry_type,
)
from node.engine.keyspace cimport EXPIRY_NONE, Key
from node.engine.members cimport Members, members_count, members_find, members_put, members_remove
from node.engine.object cimport Object
from node.engine.registry cimport Registry
from node.engine.run cimport Item, item_of, run_find
from node.engine.session cimport Session
from node.engine.span cimport Span, span_is, span_of
from node.engine.zset cimport (
    Sorted,
    Walk,
    Zset,
    double_bits,
    member_score,
    sorted_open,
    sorted_score,
    walk_begin,
    walk_next,
    zset_index,
    zset_new,
)
from node.engine.zsetedit cimport bounded_at, double_at, reply_scored_count, reply_with_score

cdef enum:
    UNION = 0
    INTERSECTION = 1
    DIFFERENCE = 2

cdef enum:
    BY_SUM = 0
    BY_MIN = 1
    BY_MAX = 2

# One input.
cdef struct Source:
    Entry *entry  # NULL: a missing key
    int64_t count
    double weight
    int place  # among the arguments, so that sorting keeps the order of equals

# What a command asks for.
cdef struct Merge:
    int kind
    int aggregate
    bint with_scores
    int64_t limit  # of ZINTERCARD; 0: none
    int source_count
    Source *source  # owned


cdef int _compare_sources(const void *left, const void *right) noexcept nogil:
    cdef const Source *first = <const Source *> left
    cdef const Source *second = <const Source *> right
    if first.count != second.count:
        return -1 if first.count < second.count else 1
    return first.place - second.place


# --- arguments -------------------------------------------------------------------------------------------

# The keys and what follows them. False: wrong; answered.
cdef bint _read_merge(Session s, Merge *merge, int count_index, bint storing, bint counting) except -1:
    cdef int64_t source_count = 0
    cdef int index
    cdef Key key
    cdef Entry *entry
    if not s.int64_at(count_index, &source_count):
        return False
    if source_count < 1:
        s.reply_error_bytes(b"ERR at least 1 input key is needed for '%s' command" % s.command.name.encode())
        return False
    if source_count > s.argc - count_index - 1:
        s.reply_syntax_error()
        return False
    merge.source = <Source *> calloc(<size_t> source_count, sizeof(Source))
    if merge.source == NULL:
        raise MemoryError(f"no memory for {source_count} inputs")
    merge.source_count = <int> source_count
    # A look-up may delete an expired entry, but never a live one that was found before.
    for index in range(merge.source_count):
        key = s.key_at(count_index + 1 + index)
        entry = s.keyspace.look(s.database, &key) if s.no_touch else s.keyspace.read(s.database, &key)
        if entry != NULL:
            if entry_type(entry) != TYPE_ZSET and entry_type(entry) != TYPE_SET:
                s.reply_wrong_type()
                return False
            merge.source[index].count = contents_count(entry)
        merge.source[index].entry = entry
        merge.source[index].weight = 1
        merge.source[index].place = index
    return _read_options(s, merge, count_index + 1 + merge.source_count, storing, counting)


cdef bint _read_options(Session s, Merge *merge, int index, bint storing, bint counting) except -1:
    cdef bint weighing = merge.kind != DIFFERENCE and not counting
    cdef int place
    while index < s.argc:
        if weighing and s.argc - index >= merge.source_count + 1 and span_is(s.argv[index], "WEIGHTS"):
            for place in range(merge.source_count):
                if not double_at(s, index + 1 + place, &merge.source[place].weight, "ERR weight value is not a float"):
                    return False
            index += merge.source_count + 1
        elif weighing and index + 1 < s.argc and span_is(s.argv[index], "AGGREGATE"):
            if span_is(s.argv[index + 1], "SUM"):
                merge.aggregate = BY_SUM
            elif span_is(s.argv[index + 1], "MIN"):
                merge.aggregate = BY_MIN
            elif span_is(s.argv[index + 1], "MAX"):
                merge.aggregate = BY_MAX
            else:
                s.reply_syntax_error()
                return False
            index += 2
        elif not storing and not counting and span_is(s.argv[index], "WITHSCORES"):
            merge.with_scores = True
            index += 1
        elif counting and index + 1 < s.argc and span_is(s.argv[index], "LIMIT"):
            if not bounded_at(s, index + 1, 0, INT64_MAX, "ERR LIMIT can't be negative", &merge.limit):
                return False
            index += 2
        else:
            s.reply_syntax_error()
            return False
    return True


# --- working ---------------------------------------------------------------------------------------------

cdef inline double _weighed(const Source *source, double score) noexcept nogil:
    score *= source.weight
    return 0 if isnan(score) else score


cdef inline double _aggregate(int how, double own, double other) noexcept nogil:
    if how == BY_SUM:
        own += other
        return 0 if isnan(own) else own  # inf and -inf
    if how == BY_MIN:
        return other if other < own else own
    return other if other > own else own


# The score of a member of an input; a plain set's are 1.
cdef bint _find(Session s, const Source *source, Span member, double *score) noexcept:
    cdef Sorted zset
    cdef Item item
    cdef Py_ssize_t index
    if source.entry == NULL:
        return False
    if entry_type(source.entry) == TYPE_ZSET:
        sorted_open(&zset, source.entry)
        return sorted_score(&s.keyspace.store, &zset, member, score)
    score[0] = 1
    if entry_encoding(source.entry) == ENCODING_RAW:
        item = item_of(member)
        return run_find(entry_run(source.entry), &item, 0, 1, &index) != NULL
    return members_find(&s.keyspace.store, <Members *> entry_object(source.entry), member) != NULL


cdef int _keep(Session s, Zset *result, Span member, double score) except -1:
    if members_put(
        &s.keyspace.store, &result.members, member, ENCODING_INT, span_of(NULL, 0), double_bits(score), -1
    ) == NULL:
        raise MemoryError("no memory for a member of a sorted set")
    return 0


cdef inline void _open(Contents *contents, const Source *source, Element *element) noexcept:
    contents_open(contents, source.entry)
    element.score = 1


cdef int _unite(Session s, const Merge *merge, Zset *result) except -1:
    cdef Contents contents
    cdef Element element
    cdef Entry *there
    cdef double score
    cdef int index
    for index in range(merge.source_count):
        if merge.source[index].entry == NULL:
            continue
        _open(&contents, &merge.source[index], &element)
        while contents_next(&contents, &element):
            score = _weighed(&merge.source[index], element.score)
            there = members_find(&s.keyspace.store, &result.members, element.name)
            if there == NULL:
                _keep(s, result, element.name, score)
            else:
                score = _aggregate(merge.aggregate, member_score(there), score)
                entry_set_int64(there, double_bits(score))
    return 0


# Keeps the common members in `result`, or only counts them when that is NULL.
cdef int64_t _intersect(Session s, const Merge *merge, Zset *result) except -1:
    cdef Contents contents
    cdef Element element
    cdef double score, other = 0
    cdef int64_t count = 0
    cdef int index
    cdef bint common
    if merge.source[0].entry == NULL:  # the smallest
        return 0
    _open(&contents, &merge.source[0], &element)
    while contents_next(&contents, &element):
        score = _weighed(&merge.source[0], element.score)
        common = True
        for index in range(1, merge.source_count):
            if not _find(s, &merge.source[index], element.name, &other):
                common = False
                break
            score = _aggregate(merge.aggregate, score, other * merge.source[index].weight)
        if common:
            count += 1
            if result != NULL:
                _keep(s, result, element.name, score)
            elif count == merge.limit:
                break
    return count


# How much work each of two ways is: to look every member of the first up in the others, or to take the members
# of the others out of a copy of the first. The same members remain either way.
cdef int _subtract(Session s, const Merge *merge, Zset *result) except -1:
    cdef Contents contents
    cdef Element element
    cdef double score = 0
    cdef int64_t by_looking = 0, by_removing = 0
    cdef int index
    cdef bint only
    if merge.source[0].entry == NULL:
        return 0
    for index in range(merge.source_count):
        by_looking += merge.source[0].count
        by_removing += merge.source[index].count
    _open(&contents, &merge.source[0], &element)
    while contents_next(&contents, &element):
        only = True
        if by_looking <= by_removing:
            for index in range(1, merge.source_count):
                if _find(s, &merge.source[index], element.name, &score):
                    only = False
                    break
        if only:
            _keep(s, result, element.name, element.score)
    if by_looking > by_removing:
        for index in range(1, merge.source_count):
            if merge.source[index].entry == NULL:
                continue
            _open(&contents, &merge.source[index], &element)
            while contents_next(&contents, &element):
                members_remove(&s.keyspace.store, &result.members, element.name)
    return 0


# --- commands --------------------------------------------------------------------------------------------

# The result becomes the value of the key in argv[1].
cdef int _store(Session s, Zset *result) except -1:
    cdef Key target = s.key_at(1)
    cdef int64_t count = members_count(&result.members)
    cdef Builder builder
    cdef Sorted zset
    cdef Walk walk
    if count == 0:
        if s.keyspace.remove(s.database, &target):
            s.changed(1)
        return s.reply_int64(0)
    zset.large = result
    zset.count = count
    zset.run = span_of(NULL, 0)
    builder = Builder(s.keyspace)
    builder.begin(TYPE_ZSET)
    walk_begin(&walk, &zset, 0, False)
    while walk_next(&walk):
        builder.add_scored(walk.member, walk.score)
    builder.finish(s.database, &target, EXPIRY_NONE)
    s.changed(count)
    return s.reply_int64(count)


cdef int _answer(Session s, Zset *result, bint with_scores) except -1:
    cdef Sorted zset
    cdef Walk walk
    zset.large = result
    zset.count = members_count(&result.members)
    zset.run = span_of(NULL, 0)
    reply_scored_count(s, zset.count, with_scores)
    walk_begin(&walk, &zset, 0, False)
    while walk_next(&walk):
        reply_with_score(s, walk.member, walk.score, with_scores)
    return 0


cdef int _merge(Session s, int kind, bint storing) except -1:
    cdef Merge merge = Merge(kind, BY_SUM, False, 0, 0, NULL)
    cdef Zset *result = NULL
    try:
        if not _read_merge(s, &merge, 2 if storing else 1, storing, False):
            return 0
        if kind != DIFFERENCE:
            qsort(merge.source, <size_t> merge.source_count, sizeof(Source), _compare_sources)
        result = zset_new(&s.keyspace.store)
        if result == NULL:
            raise MemoryError("no memory for a sorted set")
        if kind == UNION:
            _unite(s, &merge, result)
        elif kind == INTERSECTION:
            _intersect(s, &merge, result)
        else:
            _subtract(s, &merge, result)
        zset_index(&s.keyspace.store, result)
        if storing:
            return _store(s, result)
        return _answer(s, result, merge.with_scores)
    finally:
        free(merge.source)
        if result != NULL:
            s.keyspace.give_up(<Object *> result)


cdef int _zunion(Session s) except -1:
    return _merge(s, UNION, False)


cdef int _zunionstore(Session s) except -1:
    return _merge(s, UNION, True)


cdef int _zinter(Session s) except -1:
    return _merge(s, INTERSECTION, False)


cdef int _zinterstore(Session s) except -1:
    return _merge(s, INTERSECTION, True)


cdef int _zdiff(Session s) except -1:
    return _merge(s, DIFFERENCE, False)


cdef int _zdiffstore(Session s) except -1:
    return _merge(s, DIFFERENCE, True)


cdef int _zintercard(Session s) except -1:
    cdef Merge merge = Merge(INTERSECTION, BY_SUM, False, 0, 0, NULL)
    try:
        if not _read_merge(s, &merge, 1, False, True):
            return 0
        qsort(merge.source, <size_t> merge.source_count, sizeof(Source), _compare_sources)
        return s.reply_int64(_intersect(s, &merge, NULL))
    finally:
        free(merge.source)


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"zunion", <void *> _zunion)
    registry.add_compiled(b"zunionstore", <void *> _zunionstore)
    registry.add_compiled(b"zinter", <void *> _zinter)
    registry.add_compiled(b"zinterstore", <void *> _zinterstore)
    registry.add_compiled(b"zintercard", <void *> _zintercard)
    registry.add_compiled(b"zdiff", <void *> _zdiff)
    registry.add_compiled(b"zdiffstore", <void *> _zdiffstore)
