# How warm an entry is: the 24 recency bits of its header, read in one of four ways.
#
#     HEAT_CLOCK     | time of the last access, in 1,024 ms (wraps after 199 days)     24 |
#     HEAT_TURNOVER  | tick of the last access                                         24 |
#     HEAT_FREQUENCY | minute of the last decay                16 | logarithmic counter 8 |
#     HEAT_QUEUE     | main 1 | uses 2 | tick when it joined its queue                  21 |
#
# CLOCK serves OBJECT IDLETIME where nothing is evicted by age, TURNOVER the lru policies, FREQUENCY the lfu
# policies and OBJECT FREQ (as Redis does it), QUEUE the s3fifo policies. After a change of policy at run time the old bits mean nothing;
# they become right as entries are used or evicted.
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from node.engine.entry cimport Entry, entry_recency, entry_set_recency

cdef enum:
    HEAT_CLOCK = 0
    HEAT_FREQUENCY = 1
    HEAT_QUEUE = 2
    HEAT_TURNOVER = 3

cdef enum:
    CHECKPOINTS_MAX = 512

# When a tick was: the first tick of that moment.
cdef struct Checkpoint:
    uint32_t clock
    uint32_t tick

cdef enum:
    QUEUE_MAIN = 0x800000
    QUEUE_USE = 0x200000  # one use; two bits of them
    QUEUE_USES = 0x600000
    QUEUE_TICKS = 0x1FFFFF
    FREQUENCY_NEW = 5  # a new entry's counter: room below it for decay before it is the coldest

cdef struct Heat:
    int kind
    uint32_t clock  # now, in 1,024 ms
    uint32_t minute  # now, 16 bits
    uint32_t log_factor  # lfu-log-factor
    uint32_t decay_minutes  # lfu-decay-time; 0: no decay
    uint64_t random_state
    uint32_t tick  # counts new keys, 2**tick_shift of them at a time; in HEAT_TURNOVER seconds too
    uint32_t joins_in_tick
    int tick_shift
    # --- HEAT_TURNOVER ---
    Checkpoint checkpoints[CHECKPOINTS_MAX]  # older ones lie further apart
    int checkpoint_count
    # --- HEAT_QUEUE ---
    int64_t small_count  # entries in the small queue
    uint32_t *ghosts  # owned: fingerprint << 16 | tick, in sets of 4; NULL until something was evicted
    uint64_t ghost_sets  # a power of two


cdef void heat_set_clock(Heat *heat, int64_t now_ms) noexcept nogil
cdef void heat_free(Heat *heat) noexcept nogil
cdef void heat_touch_counter(Heat *heat, Entry *entry) noexcept nogil
cdef uint32_t heat_frequency(const Heat *heat, const Entry *entry) noexcept nogil  # after decay
# A new key's entry; live_count: entries there are, which sets the pace of the ticks.
cdef void heat_begin(Heat *heat, Entry *entry, uint64_t hash, int64_t live_count) noexcept nogil
cdef void heat_join(Heat *heat, Entry *entry, bint main) noexcept nogil  # the young end of a queue, no uses
cdef void heat_remember(Heat *heat, uint64_t hash, int64_t live_count) noexcept nogil  # a ghost
cdef uint32_t heat_idle(const Heat *heat, const Entry *entry) noexcept nogil  # in 1,024 ms; CLOCK and TURNOVER
cdef void heat_set_idle(const Heat *heat, Entry *entry, uint32_t idle) noexcept nogil  # the reverse
cdef void heat_set_frequency(const Heat *heat, Entry *entry, uint32_t frequency) noexcept nogil
cdef uint32_t heat_age(const Heat *heat, const Entry *entry) noexcept nogil  # ticks in its queue


cdef inline void heat_touch(Heat *heat, Entry *entry) noexcept nogil:
    cdef uint32_t bits
    if heat.kind == HEAT_CLOCK:
        entry_set_recency(entry, heat.clock)
    elif heat.kind == HEAT_QUEUE:
        bits = entry_recency(entry)
        if bits & QUEUE_USES != QUEUE_USES:
            entry_set_recency(entry, bits + QUEUE_USE)
    elif heat.kind == HEAT_TURNOVER:
        entry_set_recency(entry, heat.tick)
    else:
        heat_touch_counter(heat, entry)


cdef inline void heat_end(Heat *heat, Entry *entry) noexcept nogil:
    """An entry goes, for whatever reason."""
    if heat.kind == HEAT_QUEUE and not entry_recency(entry) & QUEUE_MAIN and heat.small_count > 0:
        heat.small_count -= 1
