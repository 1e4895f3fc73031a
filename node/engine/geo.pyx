"""Places in sorted sets: GEOADD and what finds them again.

A place is a member whose score is its cell of a fine grid (geohash.pyx), so everything else about such a set is a
sorted set's. A search reads the score ranges of at most nine coarse cells and keeps what lies within its shape.
"""

from libc.stdint cimport int64_t, uint8_t
from libc.stdlib cimport free, malloc, qsort

from node.engine.buf cimport Buf, buf_append, buf_free
from node.engine.builder cimport Builder
from node.engine.entry cimport TYPE_ZSET
from node.engine.geohash cimport (
    CELLS_MAX,
    Cell,
    Place,
    Shape,
    cell_scores,
    place_score,
    place_text,
    place_valid,
    places_distance,
    score_place,
    shape_cells,
    shape_holds,
)
from node.engine.keyspace cimport EXPIRY_NONE, Key
from node.engine.registry cimport Registry
from node.engine.resp cimport resp_line
from node.engine.scores cimport HUMAN_TEXT_BYTES, double_to_human_bytes
from node.engine.session cimport Session
from node.engine.span cimport Span, span_bytes, span_is, span_of
from node.engine.zset cimport Sorted, Walk, sorted_between_scores, sorted_score, walk_begin, walk_next
from node.engine.zsetedit cimport double_at, sorted_at
from node.engine.zsets cimport COUNT_CHANGED, ONLY_NEW, ONLY_OLD, add_scores

cdef extern from "stdio.h" nogil:
    int snprintf(char *into, size_t room, const char *format, ...)

cdef enum:
    DISTANCE_TEXT_BYTES = 400  # the longest double in plain decimals has 310 digits

cdef enum:
    ORDER_ANY = 0
    ORDER_NEAREST = 1
    ORDER_FARTHEST = 2

# What a search asks for.
cdef struct Search:
    Shape shape
    bint with_distance
    bint with_score
    bint with_place
    int order
    int64_t count  # COUNT; 0: all
    bint any  # the first found will do
    int store_index  # of the key to store into; 0: none
    bint store_distance

# One that was found. The member is borrowed from the set or, of a packed set, from `scratch`.
cdef struct Found:
    Span member
    double score
    double distance  # in meters
    int64_t place  # in the order of finding
    uint8_t scratch[24]
    bint scratched


cdef int _compare_near(const void *left, const void *right) noexcept nogil:
    cdef const Found *first = <const Found *> left
    cdef const Found *second = <const Found *> right
    if first.distance != second.distance:
        return -1 if first.distance < second.distance else 1
    return -1 if first.place < second.place else 1


cdef int _compare_far(const void *left, const void *right) noexcept nogil:
    cdef const Found *first = <const Found *> left
    cdef const Found *second = <const Found *> right
    if first.distance != second.distance:
        return -1 if first.distance > second.distance else 1
    return -1 if first.place < second.place else 1


# --- arguments. Each answers what is wrong and returns False. -------------------------------------------------

cdef bint _unit_at(Session s, int index, double *meters) except -1:
    if span_is(s.argv[index], "M"):
        meters[0] = 1
    elif span_is(s.argv[index], "KM"):
        meters[0] = 1000
    elif span_is(s.argv[index], "FT"):
        meters[0] = 0.3048
    elif span_is(s.argv[index], "MI"):
        meters[0] = 1609.34
    else:
        s.reply_error("ERR unsupported unit provided. please use M, KM, FT, MI")
        return False
    return True


cdef bint _place_at(Session s, int index, Place *place) except -1:
    cdef char text[2 * DISTANCE_TEXT_BYTES]
    cdef int len_bytes
    if not double_at(s, index, &place.longitude, "ERR value is not a valid float"):
        return False
    if not double_at(s, index + 1, &place.latitude, "ERR value is not a valid float"):
        return False
    if place_valid(place[0]):
        return True
    len_bytes = snprintf(text, sizeof(text), "%f,%f", place.longitude, place.latitude)
    s.reply_error_bytes(b"ERR invalid longitude,latitude pair " + text[:len_bytes])
    return False


cdef bint _radius_at(Session s, int index, Shape *shape) except -1:
    shape.is_box = False
    if not double_at(s, index, &shape.radius, "ERR need numeric radius"):
        return False
    if shape.radius < 0:
        s.reply_error("ERR radius cannot be negative")
        return False
    return _unit_at(s, index + 1, &shape.unit)


cdef bint _box_at(Session s, int index, Shape *shape) except -1:
    shape.is_box = True
    if not double_at(s, index, &shape.width, "ERR need numeric width"):
        return False
    if not double_at(s, index + 1, &shape.height, "ERR need numeric height"):
        return False
    if shape.width < 0 or shape.height < 0:
        s.reply_error("ERR height or width cannot be negative")
        return False
    return _unit_at(s, index + 2, &shape.unit)


cdef bint _member_place(Session s, const Sorted *zset, int index, Place *place) except -1:
    cdef double score = 0
    if sorted_score(&s.keyspace.store, zset, s.argv[index], &score):
        place[0] = score_place(score)
        return True
    s.reply_error("ERR could not decode requested zset member")
    return False


# --- single places ---------------------------------------------------------------------------------------

cdef int _geoadd(Session s) except -1:
    cdef int first = 2, flags = 0, index, count
    cdef Place place
    cdef double *scores
    while first < s.argc:
        if span_is(s.argv[first], "NX"):
            flags |= ONLY_NEW
        elif span_is(s.argv[first], "XX"):
            flags |= ONLY_OLD
        elif span_is(s.argv[first], "CH"):
            flags |= COUNT_CHANGED
        else:
            break
        first += 1
    count = (s.argc - first) // 3
    if (s.argc - first) % 3 != 0 or count == 0 or (flags & ONLY_NEW and flags & ONLY_OLD):
        return s.reply_syntax_error()
    scores = <double *> malloc(<size_t> count * sizeof(double))
    if scores == NULL:
        raise MemoryError(f"no memory for {count} places")
    try:
        for index in range(count):
            if not _place_at(s, first + 3 * index, &place):
                return 0
            scores[index] = <double> place_score(place)
        return add_scores(s, flags, first + 2, 3, count, scores)
    finally:
        free(scores)


cdef int _reply_distance(Session s, double distance) except -1:
    cdef char text[DISTANCE_TEXT_BYTES]
    return s.reply_bulk(span_of(text, snprintf(text, sizeof(text), "%.4f", distance)))


cdef int _reply_degrees(Session s, double degrees) except -1:
    cdef uint8_t text[HUMAN_TEXT_BYTES]
    cdef Span words = span_of(text, double_to_human_bytes(degrees, text))
    return resp_line(&s.out, 44, words) if s.resp >= 3 else s.reply_bulk(words)


cdef int _reply_place(Session s, Place place) except -1:
    s.reply_array(2)
    _reply_degrees(s, place.longitude)
    return _reply_degrees(s, place.latitude)


cdef int _geopos(Session s) except -1:
    cdef Sorted zset
    cdef double score = 0
    cdef int index
    if not sorted_at(s, 1, &zset):
        return 0
    s.reply_array(s.argc - 2)
    for index in range(2, s.argc):
        if sorted_score(&s.keyspace.store, &zset, s.argv[index], &score):
            _reply_place(s, score_place(score))
        else:
            s.reply_null_array()
    return 0


cdef int _geohash(Session s) except -1:
    cdef Sorted zset
    cdef char text[11]
    cdef double score = 0
    cdef int index
    if not sorted_at(s, 1, &zset):
        return 0
    s.reply_array(s.argc - 2)
    for index in range(2, s.argc):
        if sorted_score(&s.keyspace.store, &zset, s.argv[index], &score):
            place_text(score_place(score), text)
            s.reply_bulk(span_of(text, 11))
        else:
            s.reply_null()
    return 0


cdef int _geodist(Session s) except -1:
    cdef Sorted zset
    cdef double unit = 1, here = 0, there = 0
    if s.argc == 5:
        if not _unit_at(s, 4, &unit):
            return 0
    elif s.argc > 5:
        return s.reply_syntax_error()
    if not sorted_at(s, 1, &zset):
        return 0
    if not sorted_score(&s.keyspace.store, &zset, s.argv[2], &here):
        return s.reply_null()
    if not sorted_score(&s.keyspace.store, &zset, s.argv[3], &there):
        return s.reply_null()
    return _reply_distance(s, places_distance(score_place(here), score_place(there)) / unit)


# --- searching -------------------------------------------------------------------------------------------

# What GEOSEARCH, the old GEORADIUS and their like have in common, from argv[index] on. `named`: the shape is
# among the options (GEOSEARCH).
cdef bint _read_options(Session s, Search *search, const Sorted *zset, int index, bint named, bint may_store) except -1:
    cdef bint has_member = False, has_place = False, has_radius = False, has_box = False
    cdef bint storing = search.store_index > 0
    cdef Span word
    cdef int left
    while index < s.argc:
        word = s.argv[index]
        left = s.argc - index - 1
        if span_is(word, "WITHDIST"):
            search.with_distance = True
        elif span_is(word, "WITHHASH"):
            search.with_score = True
        elif span_is(word, "WITHCOORD"):
            search.with_place = True
        elif span_is(word, "ANY"):
            search.any = True
        elif span_is(word, "ASC"):
            search.order = ORDER_NEAREST
        elif span_is(word, "DESC"):
            search.order = ORDER_FARTHEST
        elif span_is(word, "COUNT") and left >= 1:
            if not s.int64_at(index + 1, &search.count):
                return False
            if search.count <= 0:
                s.reply_error("ERR COUNT must be > 0")
                return False
            index += 1
        elif may_store and not named and left >= 1 and (span_is(word, "STORE") or span_is(word, "STOREDIST")):
            search.store_index = index + 1
            search.store_distance = span_is(word, "STOREDIST")
            index += 1
        elif named and not has_place and left >= 1 and span_is(word, "FROMMEMBER"):
            # Without a set the rest is read all the same: its mistakes come first.
            if zset.count > 0 and not _member_place(s, zset, index + 1, &search.shape.center):
                return False
            has_member = True
            index += 1
        elif named and not has_member and left >= 2 and span_is(word, "FROMLONLAT"):
            if not _place_at(s, index + 1, &search.shape.center):
                return False
            has_place = True
            index += 2
        elif named and not has_box and left >= 2 and span_is(word, "BYRADIUS"):
            if not _radius_at(s, index + 1, &search.shape):
                return False
            has_radius = True
            index += 2
        elif named and not has_radius and left >= 3 and span_is(word, "BYBOX"):
            if not _box_at(s, index + 1, &search.shape):
                return False
            has_box = True
            index += 3
        elif named and storing and span_is(word, "STOREDIST"):
            search.store_distance = True
        else:
            s.reply_syntax_error()
            return False
        index += 1
    if search.store_index > 0 and (search.with_distance or search.with_score or search.with_place):
        s.reply_error_bytes(
            b"ERR %s is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            % (b"GEOSEARCHSTORE" if named else b"STORE option in GEORADIUS")
        )
        return False
    if named and not has_member and not has_place:
        s.reply_error_bytes(
            b"ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for " + span_bytes(s.argv[0])
        )
        return False
    if named and not has_radius and not has_box:
        s.reply_error_bytes(b"ERR exactly one of BYRADIUS and BYBOX can be specified for " + span_bytes(s.argv[0]))
        return False
    if search.any and search.count == 0:
        s.reply_error("ERR the ANY argument requires COUNT argument")
        return False
    return True


# Everything within the shape, as Found after Found in `into`.
cdef int64_t _find(const Search *search, const Sorted *zset, Buf *into) except -1:
    cdef Cell cells[CELLS_MAX]
    cdef int cell_count = shape_cells(&search.shape, cells)
    cdef int at
    cdef int64_t first = 0, behind = 0, count = 0
    cdef double low = 0, high = 0
    cdef Walk walk
    cdef Found found
    for at in range(cell_count):
        cell_scores(cells[at], &low, &high)
        sorted_between_scores(zset, low, False, high, True, &first, &behind)
        if first == behind:
            continue
        walk_begin(&walk, zset, first, False)
        while first < behind:
            walk_next(&walk)
            first += 1
            if not shape_holds(&search.shape, score_place(walk.score), &found.distance):
                continue
            found.member = walk.member
            found.score = walk.score
            found.place = count
            found.scratched = walk.member.at == walk.scratch
            if found.scratched:
                found.scratch = walk.scratch
            buf_append(into, &found, sizeof(Found))
            count += 1
            if search.any and count == search.count:
                return count
    return count


cdef inline Span _name(const Found *found) noexcept:
    return span_of(found.scratch, found.member.len_bytes) if found.scratched else found.member


cdef int _reply_found(Session s, const Search *search, const Found *found, int64_t count) except -1:
    cdef int extras = search.with_distance + search.with_score + search.with_place
    cdef int64_t at
    s.reply_array(count)
    for at in range(count):
        if extras > 0:
            s.reply_array(extras + 1)
        s.reply_bulk(_name(&found[at]))
        if search.with_distance:
            _reply_distance(s, found[at].distance / search.shape.unit)
        if search.with_score:
            s.reply_int64(<int64_t> found[at].score)
        if search.with_place:
            _reply_place(s, score_place(found[at].score))
    return 0


cdef int _store_found(Session s, const Search *search, const Found *found, int64_t count) except -1:
    cdef Key target = s.key_at(search.store_index)
    cdef Builder builder
    cdef int64_t at
    if count == 0:
        if s.keyspace.remove(s.database, &target):
            s.changed_at(search.store_index)
        return s.reply_int64(0)
    builder = Builder(s.keyspace)
    builder.begin(TYPE_ZSET)
    for at in range(count):
        builder.add_scored(
            _name(&found[at]), found[at].distance / search.shape.unit if search.store_distance else found[at].score
        )
    builder.finish(s.database, &target, EXPIRY_NONE)
    s.changed_at(search.store_index)
    return s.reply_int64(count)


cdef int _search(Session s, Search *search, const Sorted *zset) except -1:
    cdef Buf buf = Buf(NULL, 0, 0)
    cdef Found *found
    cdef int64_t count = 0
    if search.count > 0 and search.order == ORDER_ANY and not search.any:
        search.order = ORDER_NEAREST  # the nearest ones are meant
    try:
        if zset.count > 0:
            count = _find(search, zset, &buf)
        found = <Found *> buf.data
        if count > 0 and search.order != ORDER_ANY:
            qsort(
                found, <size_t> count, sizeof(Found),
                _compare_near if search.order == ORDER_NEAREST else _compare_far,
            )
        if search.count > 0:
            count = min(count, search.count)
        if search.store_index > 0:
            return _store_found(s, search, found, count)
        return _reply_found(s, search, found, count)
    finally:
        buf_free(&buf)


cdef inline Search _new_search() noexcept:
    cdef Search search
    search.shape = Shape(Place(0, 0), 1, False, 0, 0, 0)
    search.with_distance = False
    search.with_score = False
    search.with_place = False
    search.order = ORDER_ANY
    search.count = 0
    search.any = False
    search.store_index = 0
    search.store_distance = False
    return search


cdef int _named_search(Session s, bint storing) except -1:
    cdef Search search = _new_search()
    cdef Sorted zset
    search.store_index = 1 if storing else 0
    if not sorted_at(s, 2 if storing else 1, &zset):
        return 0
    if not _read_options(s, &search, &zset, 3 if storing else 2, True, storing):
        return 0
    return _search(s, &search, &zset)


cdef int _geosearch(Session s) except -1:
    return _named_search(s, False)


cdef int _geosearchstore(Session s) except -1:
    return _named_search(s, True)


cdef int _radius_search(Session s, bint by_member, bint may_store) except -1:
    cdef Search search = _new_search()
    cdef Sorted zset
    if not sorted_at(s, 1, &zset):
        return 0
    if by_member:
        if zset.count > 0:
            if not _member_place(s, &zset, 2, &search.shape.center) or not _radius_at(s, 3, &search.shape):
                return 0
    elif not _place_at(s, 2, &search.shape.center) or not _radius_at(s, 4, &search.shape):
        return 0
    if not _read_options(s, &search, &zset, 5 if by_member else 6, False, may_store):
        return 0
    return _search(s, &search, &zset)


cdef int _georadius(Session s) except -1:
    return _radius_search(s, False, True)


cdef int _georadius_ro(Session s) except -1:
    return _radius_search(s, False, False)


cdef int _georadiusbymember(Session s) except -1:
    return _radius_search(s, True, True)


cdef int _georadiusbymember_ro(Session s) except -1:
    return _radius_search(s, True, False)


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"geoadd", <void *> _geoadd)
    registry.add_compiled(b"geopos", <void *> _geopos)
    registry.add_compiled(b"geohash", <void *> _geohash)
    registry.add_compiled(b"geodist", <void *> _geodist)
    registry.add_compiled(b"geosearch", <void *> _geosearch)
    registry.add_compiled(b"geosearchstore", <void *> _geosearchstore)
    registry.add_compiled(b"georadius", <void *> _georadius)
    registry.add_compiled(b"georadius_ro", <void *> _georadius_ro)
    registry.add_compiled(b"georadiusbymember", <void *> _georadiusbymember)
    registry.add_compiled(b"georadiusbymember_ro", <void *> _georadiusbymember_ro)
