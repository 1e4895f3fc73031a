"""Picking members at random.

A few of many: pick again and again, and remember what was picked. Many of them: go through all, and take each with
the chance of (those still wanted) / (those still to come), which picks every subset equally often.

Source: Knuth, The Art of Computer Programming, volume 2, 3.4.2, algorithm S.
"""

from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

from node.engine.members cimport members_count, members_random, members_walk
from node.engine.table cimport GATHER_MAX

cdef enum:
    TRIES_MAX = 100  # before all are gone through: nearly all of them have expired
    SPARSE = 3  # fewer than one in so many: picking again and again is quicker than going through all


cdef int64_t sample_below(Keyspace keyspace, int64_t below) noexcept:
    return <int64_t> ((keyspace.random() >> 1) % <uint64_t> below)


cdef Entry *sample_one(Keyspace keyspace, Members *members) except? NULL:
    cdef Entry *entry
    cdef Entry *found[GATHER_MAX]
    cdef uint64_t cursor = 0
    cdef uint32_t count, index
    cdef int64_t seen = 0
    cdef Entry *chosen = NULL
    cdef int tries
    if members_count(members) == 0:
        return NULL
    for tries in range(TRIES_MAX):
        entry = members_random(members, keyspace.random())
        if not keyspace.is_expired(entry):
            return entry
    while True:
        count = members_walk(members, &cursor, found)
        for index in range(count):
            if not keyspace.is_expired(found[index]):
                seen += 1
                if sample_below(keyspace, seen) == 0:
                    chosen = found[index]
        if cursor == 0:
            return chosen


cdef Entry **sample_several(Keyspace keyspace, Members *members, int64_t live_count, int64_t count) except NULL:
    cdef Entry **chosen = <Entry **> malloc(<size_t> max(count, <int64_t> 1) * sizeof(Entry *))
    if chosen == NULL:
        raise MemoryError(f"no memory to pick {count} members")
    try:
        if count * SPARSE < live_count:
            _pick(keyspace, members, count, chosen)
        else:
            _select(keyspace, members, live_count, count, chosen)
    except BaseException:
        free(chosen)
        raise
    return chosen


# An open table of addresses, at most half full, tells what was picked before.
cdef int _pick(Keyspace keyspace, Members *members, int64_t count, Entry **chosen) except -1:
    cdef uint64_t place_count = 16, at
    cdef int64_t done = 0
    cdef Entry **places
    cdef Entry *entry
    while place_count < <uint64_t> count * 2:
        place_count *= 2
    places = <Entry **> calloc(place_count, sizeof(Entry *))
    if places == NULL:
        raise MemoryError(f"no memory to pick {count} members")
    while done < count:
        entry = sample_one(keyspace, members)
        if entry == NULL:
            break
        at = (<uint64_t> entry * 0x9E3779B97F4A7C15ULL >> 20) & (place_count - 1)
        while places[at] != NULL and places[at] != entry:
            at = (at + 1) & (place_count - 1)
        if places[at] == NULL:
            places[at] = entry
            chosen[done] = entry
            done += 1
    free(places)
    if done < count:
        raise RuntimeError(f"{count} members were to be picked, there are {done}")
    return 0


cdef int _select(Keyspace keyspace, Members *members, int64_t live_count, int64_t count, Entry **chosen) except -1:
    cdef Entry *found[GATHER_MAX]
    cdef uint64_t cursor = 0
    cdef uint32_t gathered, index
    cdef int64_t done = 0
    while done < count:
        gathered = members_walk(members, &cursor, found)
        for index in range(gathered):
            if done == count or keyspace.is_expired(found[index]):
                continue
            if sample_below(keyspace, live_count) < count - done:
                chosen[done] = found[index]
                done += 1
            live_count -= 1
        if cursor == 0:
            break
    if done < count:
        raise RuntimeError(f"{count} members were to be picked, there are {done}")
    return 0
