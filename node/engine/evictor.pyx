"""Makes room when memory is at its limit.

The policies are Redis's eight, by sampling as in Redis, and two of ours: allkeys-s3fifo and
volatile-s3fifo (heat.pyx says how a queue fits into 24 bits). A sample is what lies in neighbouring buckets
from a random place on: entries there share nothing but bits of a keyed hash, so they are as good as
drawn one by one, and the tables' lines are read once.

Source: https://redis.io/docs/latest/develop/reference/eviction/ and https://s3fifo.com
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t

from node.engine.entry cimport Entry, entry_expiry_ms, entry_key, entry_recency, entry_set_recency
from node.engine.heat cimport (
    HEAT_CLOCK,
    HEAT_FREQUENCY,
    HEAT_QUEUE,
    HEAT_TURNOVER,
    QUEUE_MAIN,
    QUEUE_USE,
    QUEUE_USES,
    heat_age,
    heat_end,
    heat_frequency,
    heat_join,
    heat_remember,
)
from node.engine.keyspace cimport GROUP_SLOTS, Database, Key, Keyspace
from node.engine.keyspace cimport SLOT_COUNT
from node.engine.reclaim cimport reclaim_waits
from node.engine.span cimport span_bytes
from node.engine.table cimport (
    __builtin_prefetch,
    table_find,
    table_gather,
    table_segment_at,
    word_entry,
    word_has_expiry,
)

cdef enum:
    EVICTIONS_PER_CALL = 64  # what one command pays for; the node's housekeeping does the rest
    FREED_PER_CALL = 500  # entries of a flushed database that still wait to be freed
    QUEUE_TRIES = 32  # samples until the old end of a queue is found
    UNLUCKY_TRIES = 8  # samples of sixteen, none in a queue that is said to have a tenth of all
    PAGE_ENTRIES = 64
    SLOTS_LOOKED_AT = 2048  # by one sampling, however thin the keys lie

POLICIES = {
    "noeviction": (EVICT_NOTHING, False, HEAT_CLOCK),
    "allkeys-lru": (EVICT_LRU, False, HEAT_TURNOVER),
    "volatile-lru": (EVICT_LRU, True, HEAT_TURNOVER),
    "allkeys-lfu": (EVICT_LFU, False, HEAT_FREQUENCY),
    "volatile-lfu": (EVICT_LFU, True, HEAT_FREQUENCY),
    "allkeys-random": (EVICT_RANDOM, False, HEAT_CLOCK),
    "volatile-random": (EVICT_RANDOM, True, HEAT_CLOCK),
    "volatile-ttl": (EVICT_TTL, True, HEAT_CLOCK),
    "allkeys-s3fifo": (EVICT_S3FIFO, False, HEAT_QUEUE),
    "volatile-s3fifo": (EVICT_S3FIFO, True, HEAT_QUEUE),
}


cdef class Evictor:
    def __cinit__(self, Keyspace keyspace not None):
        self.keyspace = keyspace
        self.samples = 16
        self.set_policy("noeviction")

    def set_policy(self, str name):
        """maxmemory-policy.

        Raises:
            ValueError: no policy has that name.
        """
        if name not in POLICIES:
            raise ValueError(f"maxmemory-policy {name}: choose one of {', '.join(POLICIES)}")
        self.policy, self.volatile_only, self.heat_kind = POLICIES[name]
        self.policy_name = name
        self._choose_heat()

    def _choose_heat(self):
        # Without a limit nothing is evicted and the bits serve OBJECT IDLETIME.
        kind = self.heat_kind if self.limit_bytes > 0 or self.heat_kind == HEAT_FREQUENCY else HEAT_CLOCK
        if self.keyspace.heat.kind != kind:
            self.keyspace.heat.kind = kind
            self.keyspace.heat.small_count = 0

    def set_limit(self, int64_t limit_bytes):
        """maxmemory: what keys and values may take, in bytes; 0: no limit."""
        if limit_bytes < 0:
            raise ValueError(f"maxmemory is {limit_bytes}, it must not be negative")
        self.limit_bytes = limit_bytes
        self._choose_heat()

    def set_samples(self, int samples):
        """maxmemory-samples, 1..64: more find colder entries and cost a memory access each."""
        if not 1 <= samples <= SAMPLES_MAX:
            raise ValueError(f"maxmemory-samples is {samples}, it must be 1 to {SAMPLES_MAX}")
        self.samples = samples

    def set_frequency(self, int log_factor, int decay_minutes):
        """lfu-log-factor and lfu-decay-time."""
        if log_factor < 0 or decay_minutes < 0:
            raise ValueError("lfu-log-factor and lfu-decay-time must not be negative")
        self.keyspace.heat.log_factor = log_factor
        self.keyspace.heat.decay_minutes = decay_minutes

    def evict_some(self):
        """Evicts for a bounded time; True: memory is still over the limit and more can go. A follower evicts nothing."""
        if self.limit_bytes == 0 or self.keyspace.follower or self.keyspace.wanted_bytes() <= <uint64_t> self.limit_bytes:
            return False
        return self.make_room() and self.keyspace.wanted_bytes() > <uint64_t> self.limit_bytes

    cdef bint make_room(self) except -1:
        cdef int count
        cdef bint progress = False
        cdef uint64_t limit = <uint64_t> self.limit_bytes
        for count in range(EVICTIONS_PER_CALL):
            if self.keyspace.wanted_bytes() <= limit:
                return True
            if reclaim_waits(&self.keyspace.reclaim):
                self.keyspace.free_some(FREED_PER_CALL)
                progress = True
            elif self.policy == EVICT_NOTHING or not self.evict_one():
                break
            else:
                progress = True
        return progress or self.keyspace.wanted_bytes() <= limit

    cdef bint evict_one(self) except -1:
        """Deletes one entry; 0 when none is eligible."""
        cdef int index
        cdef int tries
        cdef int unlucky = 0
        cdef Entry *entry
        if not self._take_sample():
            return False
        if self.policy != EVICT_S3FIFO:
            return self._drop(self._coldest())
        for tries in range(QUEUE_TRIES):
            index = self._first_in_queue()
            if index >= 0:
                entry = self.found[index]
                if not entry_recency(entry) & QUEUE_MAIN:
                    if entry_recency(entry) & QUEUE_USES <= QUEUE_USE:
                        return self._drop(index)
                    # Used again while in the small queue: it earned a place in the main one.
                    heat_end(&self.keyspace.heat, entry)
                    heat_join(&self.keyspace.heat, entry, True)
                elif entry_recency(entry) & QUEUE_USES:
                    uses = (entry_recency(entry) & QUEUE_USES) - QUEUE_USE
                    heat_join(&self.keyspace.heat, entry, True)
                    entry_set_recency(entry, entry_recency(entry) | uses)
                else:
                    return self._drop(index)
            else:
                unlucky += 1
                if unlucky == UNLUCKY_TRIES and self._small_turn():
                    # The count says there are many and no sample shows one: it drifted (a change of
                    # policy, a flushed database). By chance this happens once in 4,000 times.
                    self.keyspace.heat.small_count = self.keyspace.heat.small_count // 2
                    unlucky = 0
            if not self._take_sample():
                return False
        return self._drop(0)  # a cache in which everything is hot: any of them

    cdef bint _small_turn(self) noexcept:
        """The small queue has more than its tenth."""
        return self.keyspace.heat.small_count * 10 >= self.keyspace.total_count()

    cdef int _first_in_queue(self) noexcept:
        """The sampled entry nearest to the old end of the queue whose turn it is; -1: none is in it."""
        cdef int index
        cdef int best = -1
        cdef uint32_t age
        cdef uint32_t oldest = 0
        cdef bint main
        cdef bint small_turn = self._small_turn()
        for index in range(self.found_count):
            main = entry_recency(self.found[index]) & QUEUE_MAIN != 0
            if main == small_turn:
                continue
            age = heat_age(&self.keyspace.heat, self.found[index])
            if best < 0 or age > oldest:
                oldest = age
                best = index
        if best < 0 and not small_turn:
            # Nothing but small ones, and fewer of them are counted than there are: their marks are from
            # another policy. Take them as they come; what stays gets a true mark with its next promotion.
            return 0
        return best

    cdef int _coldest(self) noexcept:
        cdef int index
        cdef int best = 0
        cdef uint64_t cold
        cdef uint64_t coldest = 0
        if self.policy == EVICT_RANDOM:
            return 0
        for index in range(self.found_count):
            if self.policy == EVICT_LRU:
                cold = (self.keyspace.heat.tick - entry_recency(self.found[index])) & 0xFFFFFF
            elif self.policy == EVICT_LFU:
                cold = 255 - heat_frequency(&self.keyspace.heat, self.found[index])
            else:
                cold = <uint64_t> INT64_MAX - <uint64_t> entry_expiry_ms(self.found[index])
            if index == 0 or cold > coldest:
                coldest = cold
                best = index
        return best

    cdef int _take_sample(self) except -1:
        """Samples one database, drawn by size; returns how many entries were found."""
        cdef Keyspace keyspace = self.keyspace
        cdef int64_t total = 0
        cdef int64_t left
        cdef int number
        for number in range(keyspace.database_count):
            if keyspace.databases[number] != NULL:
                total += self._eligible(number)
        self.found_count = 0
        if total == 0:
            return 0
        left = <int64_t> (keyspace.random() % <uint64_t> total)
        for number in range(keyspace.database_count):
            if keyspace.databases[number] != NULL:
                left -= self._eligible(number)
                if left < 0:
                    return self._sample(number)
        return 0

    cdef int64_t _eligible(self, int number) noexcept:
        if self.volatile_only:
            return self.keyspace.databases[number].expiry_count
        return self.keyspace.databases[number].count

    cdef int _sample(self, int number) except -1:
        cdef Keyspace keyspace = self.keyspace
        cdef Database *database = keyspace.databases[number]
        cdef uint64_t words[PAGE_ENTRIES]
        cdef uint64_t random = keyspace.random()
        cdef uint32_t slot = <uint32_t> (random & (SLOT_COUNT - 1))
        cdef uint32_t position = <uint32_t> (random >> 32)
        cdef uint32_t following
        cdef uint32_t count
        cdef uint32_t index
        cdef int looked = 0
        cdef int turns = 0
        self.found_database = number
        self.found_count = 0
        while self.found_count < self.samples and turns < 2 * SLOT_COUNT:
            turns += 1
            if slot % GROUP_SLOTS == 0 and (
                database.group_count[slot // GROUP_SLOTS] == 0
                or (self.volatile_only and database.group_expiry_ms[slot // GROUP_SLOTS] == 0)
            ):
                slot = (slot + GROUP_SLOTS) % SLOT_COUNT
                position = 0
                continue
            following = 0
            if database.table[slot].root.count > 0 and (
                not self.volatile_only or table_segment_at(&database.table[slot], position, &following).next_expiry_ms != 0
            ):
                looked += 1
                count = table_gather(&database.table[slot], position, words, PAGE_ENTRIES, &following)
                if count > PAGE_ENTRIES:
                    count = PAGE_ENTRIES
                for index in range(count):
                    if self.volatile_only and not word_has_expiry(words[index]):
                        continue
                    if self.found_count == self.samples:
                        break
                    __builtin_prefetch(word_entry(words[index]))
                    self.found[self.found_count] = word_entry(words[index])
                    self.found_slot[self.found_count] = slot
                    self.found_count += 1
            if looked >= SLOTS_LOOKED_AT and self.found_count > 0:
                break
            position = following
            if following == 0:
                slot = (slot + 1) % SLOT_COUNT
        return self.found_count

    cdef int _drop(self, int index) except -1:
        cdef Keyspace keyspace = self.keyspace
        cdef Entry *entry = self.found[index]
        cdef Database *database = keyspace.databases[self.found_database]
        cdef Key key = keyspace.locate(entry_key(entry))
        cdef uint64_t *word = table_find(&database.table[key.slot], key.hash, key.name)
        cdef object name
        if word == NULL:
            raise RuntimeError(f"slot {key.slot}: a sampled entry is not in its table")
        if self.watched:
            name = span_bytes(key.name)
            self.on_evicted(self.found_database, name)
        if self.policy == EVICT_S3FIFO and not entry_recency(entry) & QUEUE_MAIN:
            heat_remember(&keyspace.heat, key.hash, database.count)
        keyspace.announce_expired(database, entry)
        keyspace.drop(database, &key, word)
        keyspace.evicted += 1
        return 1
