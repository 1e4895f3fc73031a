"""Going through a collection without asking how it is kept.

For whoever needs everything that is in one: the snapshot's encoder, the digest, SORT. Commands that look for
something in particular know the forms themselves.
"""

from libc.string cimport memcpy

from node.engine.entry cimport (
    ENCODING_RAW,
    TYPE_HASH,
    TYPE_LIST,
    TYPE_ZSET,
    entry_encoding,
    entry_expiry_ms,
    entry_int64,
    entry_key,
    entry_object,
    entry_run,
    entry_type,
)
from node.engine.large cimport object_count
from node.engine.lists cimport list_walk_from, list_walk_next
from node.engine.members cimport Members, members_walk
from node.engine.object cimport Object
from node.engine.run cimport RUN_DOUBLE, item_text, run_count, run_next


cdef double item_score(const Item *item) noexcept nogil:
    return item.real if item.kind == RUN_DOUBLE else <double> item.integer


cdef int64_t contents_count(const Entry *entry) noexcept nogil:
    cdef int64_t count
    if entry_encoding(entry) != ENCODING_RAW:
        return object_count(<Object *> entry_object(entry))
    count = run_count(entry_run(entry))
    return count // 2 if entry_type(entry) == TYPE_HASH or entry_type(entry) == TYPE_ZSET else count


cdef void contents_open(Contents *contents, const Entry *entry) noexcept nogil:
    cdef Span run
    contents.type = entry_type(entry)
    contents.packed = entry_encoding(entry) == ENCODING_RAW
    contents.cursor = 0
    contents.exhausted = False
    contents.found_count = 0
    contents.found_at = 0
    if contents.type == TYPE_LIST:
        list_walk_from(entry, 0, &contents.walk)
    elif contents.packed:
        run = entry_run(entry)
        contents.at = run.at
        contents.end = run.at + run.len_bytes
        contents.object = NULL
    else:
        contents.object = entry_object(entry)


cdef bint _next_packed(Contents *contents, Element *element) noexcept nogil:
    cdef Item item
    if contents.at == contents.end:
        return False
    contents.at = run_next(contents.at, contents.end, &item)
    element.name = item_text(&item, element.name_scratch)
    if contents.type == TYPE_HASH or contents.type == TYPE_ZSET:
        contents.at = run_next(contents.at, contents.end, &item)
        if contents.type == TYPE_HASH:
            element.value = item_text(&item, element.value_scratch)
        else:
            element.score = item_score(&item)
    return True


cdef bint _next_member(Contents *contents, Element *element) noexcept nogil:
    cdef Entry *member
    cdef int64_t bits
    while contents.found_at == contents.found_count:
        if contents.exhausted:
            return False
        contents.found_count = members_walk(<Members *> contents.object, &contents.cursor, contents.found)
        contents.found_at = 0
        contents.exhausted = contents.cursor == 0
    member = contents.found[contents.found_at]
    contents.found_at += 1
    element.name = entry_key(member)
    if contents.type == TYPE_HASH:
        element.value = entry_run(member)
        element.expiry_ms = entry_expiry_ms(member)
    elif contents.type == TYPE_ZSET:
        bits = entry_int64(member)
        memcpy(&element.score, &bits, 8)
    return True


cdef bint contents_next(Contents *contents, Element *element) noexcept nogil:
    cdef Item item
    element.expiry_ms = -1
    if contents.type == TYPE_LIST:
        if not list_walk_next(&contents.walk, &item):
            return False
        element.name = item_text(&item, element.name_scratch)
        return True
    if contents.packed:
        return _next_packed(contents, element)
    return _next_member(contents, element)
