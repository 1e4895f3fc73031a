"""Recency, frequency and queue positions in 24 bits.

S3-FIFO (Yang et al., SOSP 2023, "FIFO queues are all you need for cache eviction") keeps new keys in a
small queue; only what is used again while there moves on to the main queue, so a scan passes through a
tenth of the cache and leaves the rest alone. Keys that fell out of the small queue are remembered as
ghosts, and come back straight into main.

Lists would cost two pointers an entry. Here a queue is a mark in the header and the tick of joining; its
old end is found by sampling, as Redis finds the least recently used. Measured over Zipf, scan and shifting
traces against the lists of libcachesim, ten samples lose 0.1 to 0.3 points of hit ratio to the real thing
and gain 1 to 11 points on sampled LRU.

LRU uses the same tick for the last access (TURNOVER). Redis stamps seconds there, which on a cache that
turns over in less is no order at all: on 1,000 entries at 60,000 requests a second its LRU hits 16 % where
a true one hits 20 %.

The tick counts new keys, not time: a cache that turns over in 50 ms and one that takes a week both get 21
bits of useful order. It advances once in 2**tick_shift joins, so that 2**21 ticks are at least 32 turnovers;
when the cache has grown the pace changes, the order of what is there does not.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from node.engine.entry cimport Entry, entry_recency, entry_set_recency

cdef enum:
    GHOST_WAYS = 4


cdef enum:
    TICKS_24 = 0xFFFFFF


cdef void heat_set_clock(Heat *heat, int64_t now_ms) noexcept nogil:
    cdef uint32_t clock = <uint32_t> ((now_ms >> 10) & 0xFFFFFF)
    if clock != heat.clock:
        heat.clock = clock
        if heat.kind == HEAT_TURNOVER:
            # A tick a second keeps OBJECT IDLETIME true when no new keys come.
            heat.tick = (heat.tick + 1) & TICKS_24
            _note_time(heat)
    heat.minute = <uint32_t> ((now_ms // 60000) & 0xFFFF)


cdef void _note_time(Heat *heat) noexcept nogil:
    cdef int index
    cdef int kept = 0
    if heat.checkpoint_count == CHECKPOINTS_MAX:
        # Every other one of the older half goes: what was long ago need not be known to the second.
        for index in range(CHECKPOINTS_MAX):
            if index >= CHECKPOINTS_MAX // 2 or index % 2 == 0:
                heat.checkpoints[kept] = heat.checkpoints[index]
                kept += 1
        heat.checkpoint_count = kept
    heat.checkpoints[heat.checkpoint_count].clock = heat.clock
    heat.checkpoints[heat.checkpoint_count].tick = heat.tick
    heat.checkpoint_count += 1


cdef uint32_t heat_idle(const Heat *heat, const Entry *entry) noexcept nogil:
    cdef uint32_t age
    cdef int low = 0
    cdef int high = heat.checkpoint_count - 1
    cdef int middle
    if heat.kind != HEAT_TURNOVER:
        return (heat.clock - entry_recency(entry)) & 0xFFFFFF
    age = (heat.tick - entry_recency(entry)) & TICKS_24
    # The latest checkpoint that is not younger than the access.
    while low < high:
        middle = (low + high + 1) // 2
        if (heat.tick - heat.checkpoints[middle].tick) & TICKS_24 >= age:
            low = middle
        else:
            high = middle - 1
    if heat.checkpoint_count == 0:
        return 0
    return (heat.clock - heat.checkpoints[low].clock) & 0xFFFFFF


cdef void heat_set_idle(const Heat *heat, Entry *entry, uint32_t idle) noexcept nogil:
    cdef int index
    cdef uint32_t tick
    if heat.kind == HEAT_CLOCK:
        entry_set_recency(entry, (heat.clock - idle) & 0xFFFFFF)
    elif heat.kind == HEAT_TURNOVER and heat.checkpoint_count > 0:
        tick = heat.checkpoints[0].tick
        for index in range(heat.checkpoint_count):
            if ((heat.clock - heat.checkpoints[index].clock) & 0xFFFFFF) < idle:
                break
            tick = heat.checkpoints[index].tick
        entry_set_recency(entry, tick)


cdef void heat_set_frequency(const Heat *heat, Entry *entry, uint32_t frequency) noexcept nogil:
    if heat.kind == HEAT_FREQUENCY:
        entry_set_recency(entry, heat.minute << 8 | frequency)


cdef void heat_free(Heat *heat) noexcept nogil:
    free(heat.ghosts)
    heat.ghosts = NULL
    heat.ghost_sets = 0


cdef inline uint64_t _random(Heat *heat) noexcept nogil:
    heat.random_state ^= heat.random_state << 13
    heat.random_state ^= heat.random_state >> 7
    heat.random_state ^= heat.random_state << 17
    return heat.random_state


cdef uint32_t heat_frequency(const Heat *heat, const Entry *entry) noexcept nogil:
    cdef uint32_t bits = entry_recency(entry)
    cdef uint32_t counter = bits & 0xFF
    cdef uint32_t periods
    if heat.decay_minutes == 0:
        return counter
    periods = ((heat.minute - (bits >> 8)) & 0xFFFF) // heat.decay_minutes
    return 0 if periods > counter else counter - periods


cdef void heat_touch_counter(Heat *heat, Entry *entry) noexcept nogil:
    """Morris's counter as Redis has it: the warmer, the less likely another use counts."""
    cdef uint32_t counter = heat_frequency(heat, entry)
    cdef uint64_t warmth = counter - FREQUENCY_NEW if counter > FREQUENCY_NEW else 0
    if counter < 255 and (_random(heat) >> 11) % (warmth * heat.log_factor + 1) == 0:
        counter += 1
    entry_set_recency(entry, heat.minute << 8 | counter)


cdef inline void _count_join(Heat *heat, uint32_t mask) noexcept nogil:
    heat.joins_in_tick += 1
    if heat.joins_in_tick >> heat.tick_shift:
        heat.joins_in_tick = 0
        heat.tick = (heat.tick + 1) & mask


cdef void heat_join(Heat *heat, Entry *entry, bint main) noexcept nogil:
    _count_join(heat, QUEUE_TICKS)
    entry_set_recency(entry, (QUEUE_MAIN if main else 0) | (heat.tick & QUEUE_TICKS))


cdef uint32_t heat_age(const Heat *heat, const Entry *entry) noexcept nogil:
    return (heat.tick - entry_recency(entry)) & QUEUE_TICKS


cdef void heat_begin(Heat *heat, Entry *entry, uint64_t hash, int64_t live_count) noexcept nogil:
    cdef bint main = False
    if heat.kind == HEAT_CLOCK:
        entry_set_recency(entry, heat.clock)
    elif heat.kind == HEAT_FREQUENCY:
        entry_set_recency(entry, heat.minute << 8 | FREQUENCY_NEW)
    else:
        while live_count >> (heat.tick_shift + 16):
            heat.tick_shift += 1
        if heat.kind == HEAT_TURNOVER:
            _count_join(heat, TICKS_24)
            entry_set_recency(entry, heat.tick)
            return
        if heat.ghosts != NULL:
            main = _recall(heat, hash, live_count)
        if not main:
            heat.small_count += 1
        heat_join(heat, entry, main)


# A ghost's word: 16 bits of the hash, 16 bits of the tick (its low bits: ghosts live one turnover, and
# 65,536 ticks are at least one). 0 is a free place.
cdef inline uint32_t *_ghost_set(Heat *heat, uint64_t hash) noexcept nogil:
    return &heat.ghosts[((hash >> 14) & (heat.ghost_sets - 1)) * GHOST_WAYS]


cdef inline uint32_t _ghost_mark(uint64_t hash) noexcept nogil:
    return <uint32_t> (hash >> 48) | 1


cdef bint _recall(Heat *heat, uint64_t hash, int64_t live_count) noexcept nogil:
    cdef uint32_t *ways = _ghost_set(heat, hash)
    cdef uint32_t age
    cdef int way
    for way in range(GHOST_WAYS):
        if ways[way] >> 16 == _ghost_mark(hash):
            age = (heat.tick - ways[way]) & 0xFFFF
            ways[way] = 0
            return <uint64_t> age << heat.tick_shift <= <uint64_t> live_count
    return False


cdef void heat_remember(Heat *heat, uint64_t hash, int64_t live_count) noexcept nogil:
    cdef uint32_t *ways
    cdef uint32_t age
    cdef uint32_t oldest = 0
    cdef int way
    cdef int chosen = 0
    cdef uint64_t sets = 16
    if heat.ghosts == NULL or heat.ghost_sets * GHOST_WAYS < <uint64_t> live_count // 2:
        while sets * GHOST_WAYS < <uint64_t> live_count:
            sets *= 2
        heat_free(heat)
        heat.ghosts = <uint32_t *> calloc(sets * GHOST_WAYS, sizeof(uint32_t))
        if heat.ghosts == NULL:
            return  # a cache without ghosts is a worse cache, and still one
        heat.ghost_sets = sets
    ways = _ghost_set(heat, hash)
    for way in range(GHOST_WAYS):
        if ways[way] == 0:
            chosen = way
            break
        age = (heat.tick - ways[way]) & 0xFFFF
        if age >= oldest:
            oldest = age
            chosen = way
    ways[chosen] = _ghost_mark(hash) << 16 | (heat.tick & 0xFFFF)
