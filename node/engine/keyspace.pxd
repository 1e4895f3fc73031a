# The keyspace: databases of slot tables of entries. (The layout is in entry.pyx and table.pyx.)
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from node.engine.effects cimport Effects
from node.engine.entry cimport Entry
from node.engine.hashing cimport SLOT_COUNT
from node.engine.heat cimport Heat
from node.engine.members cimport Members
from node.engine.object cimport Object
from node.engine.span cimport Span
from node.engine.table cimport Store, Table

# A key as commands pass it around: hashed once, routed once.
cdef struct Key:
    Span name  # borrowed from the caller
    uint64_t hash  # keyed per process
    uint32_t slot  # CRC16 slot in cluster mode, bits of the hash otherwise


# What put_* does with the expiry of an entry that is already there.
cdef enum:
    EXPIRY_NONE = -1  # the entry gets no expiry
    EXPIRY_KEEP = -2  # the entry keeps what it has

cdef enum:
    GROUP_SLOTS = 64
    GROUP_COUNT = 256

# One numbered database. 512 KiB of address space, of which only touched pages cost memory.
cdef struct Database:
    Table table[SLOT_COUNT]
    uint32_t group_count[GROUP_COUNT]  # entries in 64 neighbouring slots
    int64_t group_expiry_ms[GROUP_COUNT]  # no entry in them expires before; 0: none has an expiry
    int64_t count
    int64_t expiry_count  # entries that have an expiry
    int number  # -1 once cleared
    int pins  # snapshots that still read it
    # Names of the large hashes with fields that expire; each expires, as it were, when the first of them can. NULL: none.
    Members *lapsing
    # Once cleared: the next cleared one, and how far freeing has come.
    Database *next_cleared
    uint32_t free_slot
    uint32_t free_position


# From what size on a collection is kept as an object and no longer as a run in its entry. Redis's parameters.
cdef struct CollectionLimits:
    int64_t hash_run_fields  # hash-max-listpack-entries
    int64_t hash_run_value_bytes  # hash-max-listpack-value
    int64_t set_sorted_members  # set-max-intset-entries
    int64_t set_run_members  # set-max-listpack-entries
    int64_t set_run_value_bytes  # set-max-listpack-value
    int64_t zset_run_members  # zset-max-listpack-entries
    int64_t zset_run_value_bytes  # zset-max-listpack-value
    int64_t list_chunk  # list-max-listpack-size: items, or -1 .. -5 for 4 .. 64 KiB
    int64_t stream_chunk_bytes  # stream-node-max-bytes
    int64_t stream_chunk_entries  # stream-node-max-entries
    int64_t sketch_sparse_bytes  # hll-sparse-max-bytes


# A change of a large collection in place, between begin_edit and end_edit.
cdef struct Edit:
    Table *table
    Object *object
    uint64_t before_bytes


# Who must see an entry before it changes (a snapshot). Shown only entries with an older epoch.
cdef class Observer:
    cdef uint8_t epoch
    # Never raises for its own trouble: a failed snapshot must not fail a client's write.
    cdef int entry_changes(self, Database *database, uint32_t slot, Entry *entry) except -1


cdef class Keyspace:
    cdef readonly int64_t now_ms  # wall clock, given by set_clock_ms
    cdef readonly int database_count
    cdef readonly bint cluster  # slots by CRC16; otherwise by hash
    cdef public bint follower  # expired entries are hidden but never deleted: the primary's DEL will come
    cdef public bint applying  # the primary's stream is being applied: what it touches has not expired
    cdef Effects effects  # where deletions of expired entries are announced; None: nowhere
    cdef readonly int64_t hits
    cdef readonly int64_t misses
    cdef readonly int64_t expired  # entries deleted because their time had come
    cdef public int64_t expired_fields  # fields of hashes, likewise
    cdef readonly uint64_t changes  # bumped by every change to any entry; tells whether something happened

    # Of this room only.
    cdef Store store  # owns the heap
    cdef Database **databases  # owned; NULL until first used
    cdef Database *cleared  # swapped out, being freed
    cdef uint8_t epoch  # stamped on every entry that is written
    cdef readonly bint sweeping  # old epochs are being reset to 0
    cdef int sweep_database
    cdef uint64_t sweep_cursor
    cdef list observers  # replaced, never changed, so that it may be gone through while one leaves
    cdef CollectionLimits limits
    cdef Object *condemned  # large collections that nobody can see any more, being freed
    cdef readonly uint64_t condemned_bytes  # in them still
    cdef Heat heat  # how warm entries are, and how that is told
    cdef readonly int64_t evicted  # entries deleted to make room
    cdef int expire_database
    cdef uint32_t expire_group
    cdef uint64_t random_state

    cpdef int set_clock_ms(self, int64_t now_ms) except -1

    # --- finding ---------------------------------------------------------------------------------
    cdef Key locate(self, Span name) noexcept
    # The live entry, or NULL. An expired entry is deleted here (announced as DEL) unless `follower`.
    cdef Entry *find(self, int database, Key *key) except? NULL
    # As find, for reading: counts a hit or a miss and refreshes recency.
    cdef Entry *read(self, int database, Key *key) except? NULL
    # As read, but leaves recency alone (EXISTS, TTL, TYPE).
    cdef Entry *look(self, int database, Key *key) except? NULL
    # Brings the lines of the key's table and entry closer; never faults, returns nothing. For a batch:
    # prefetch(step 0) all keys, then 1, then 2, then execute. Each step needs the lines of the one before.
    cdef void prefetch(self, int database, Key *key) noexcept
    cdef void prefetch_step(self, int database, Key *key, int step) noexcept

    # --- changing. Each call may move entries: pointers from before it are dead. --------------------
    # value must not lie in the entry it replaces. A value in canonical decimal is stored as an integer.
    cdef Entry *put_string(self, int database, Key *key, Span value, int64_t expire_ms) except NULL
    cdef Entry *put_raw(self, int database, Key *key, Span value, int64_t expire_ms) except NULL  # never as an integer
    cdef Entry *put_int64(self, int database, Key *key, int64_t value, int64_t expire_ms) except NULL
    # A raw string of new_len_bytes (>= old length: the tail is zeroed; shorter: cut); `entry` may be NULL
    # (a missing key). Returns the entry, with at least that room; write through entry_mutable_bytes. Also
    # the way to change bytes in place: call it with the present length.
    cdef Entry *resize_string(self, int database, Key *key, Entry *entry, Py_ssize_t new_len_bytes) except NULL
    # A raw string of len_bytes, without expiry, instead of whatever was there. Its bytes are anything: the caller
    # writes all of them through entry_mutable_bytes before it does anything else.
    cdef Entry *put_blank(self, int database, Key *key, Py_ssize_t len_bytes) except NULL
    # Collections. A run of this type instead of whatever was there; it must not lie in the entry it replaces.
    cdef Entry *put_run(self, int database, Key *key, int type, Span run, int64_t expire_ms) except NULL
    # Room for new_len_bytes in the entry of a run: as many of the old bytes as fit are kept, what is behind them is
    # anything. Also the way to change bytes in place: call it with the present length.
    cdef Entry *resize_run(self, int database, Key *key, Entry *entry, Py_ssize_t new_len_bytes) except NULL
    # A structure instead of whatever was there. It belongs to the keyspace from here on, even when this fails.
    cdef Entry *put_object(self, int database, Key *key, Object *value, int64_t expire_ms) except NULL
    # Around every change of a structure in place: whoever must see it first does, and bytes are accounted.
    cdef int begin_edit(self, int database, Key *key, Entry *entry, Edit *edit) except -1
    cdef void end_edit(self, Edit *edit) noexcept
    # The entry under another name or in another database, its value unmoved; what was there is replaced.
    cdef Entry *_rename(self, int database, Key *key, int to_database, Key *new_key) except NULL
    # No field of this hash expires before when_ms; 0: none does.
    cdef int note_fields(self, Database *database, Span name, int64_t when_ms) except -1
    # when_ms EXPIRY_NONE removes the expiry. Returns the entry, which may have moved.
    cdef Entry *set_expiry(self, int database, Key *key, Entry *entry, int64_t when_ms) except NULL
    cdef bint remove(self, int database, Key *key) except -1  # 1 when it was there (and not expired)
    # The value and expiry of `entry` (of any database) under another name; what was there is replaced.
    cdef Entry *put_copy(self, int database, Key *key, Entry *entry) except NULL
    cpdef int clear(self, int database) except -1  # -1: every database
    cpdef int swap(self, int left, int right) except -1

    # --- walking -------------------------------------------------------------------------------------
    # The entries (expired ones too) of the next home bucket in the order of (slot, hash); 0 starts and
    # ends. `into` has room for GATHER_MAX. Whatever is there from start to end of a walk is seen at least
    # once, however tables grow and shrink; it is seen twice only when its table shrank in between.
    cdef uint32_t walk(self, int database, uint64_t *cursor, Entry **into) except? 0xFFFFFFFF
    cdef Entry *random_entry(self, int database) except? NULL  # a live one; NULL when there is none
    cdef bint is_expired(self, Entry *entry) noexcept

    # --- background work, in bounded steps; True: call again -------------------------------------------
    cpdef bint expire_some(self, int64_t budget_entries) except -1
    cpdef bint free_some(self, int64_t budget_entries) except -1
    cpdef bint sweep_some(self, int64_t budget_entries) except -1
    cpdef bint snapshot_ready(self) except -1

    # --- counting ------------------------------------------------------------------------------------
    cdef int64_t count(self, int database) noexcept
    cdef int64_t total_count(self) noexcept  # in all databases
    cdef int64_t count_in_slot(self, int database, uint32_t slot) noexcept
    cdef int64_t bytes_in_slot(self, int database, uint32_t slot) noexcept
    cdef uint64_t used_bytes(self) noexcept
    cdef uint64_t entry_held_bytes(self, Entry *entry) noexcept
    cdef uint64_t wanted_bytes(self) noexcept  # of them, those that are not about to be freed anyway
    cdef uint64_t held_bytes(self) noexcept

    # --- of this room only -----------------------------------------------------------------------------
    cdef int snapshot_ended(self) except -1
    cdef int begin_sweep(self) noexcept
    cdef Database *open_database(self, int number) except NULL
    cdef int before_change(self, Database *database, uint32_t slot, Entry *entry) except -1
    cdef int show_observers(self, Database *database, uint32_t slot, Entry *entry) except -1
    cdef void account_expiry(self, Database *database, Key *key, int64_t when_ms) noexcept
    cdef int drop(self, Database *database, Key *key, uint64_t *word) except -1
    cdef int announce_expired(self, Database *database, Entry *entry) except -1
    cdef Entry *put_new(self, Database *database, Key *key, Entry *fresh, uint64_t *word) except NULL
    cdef Entry *put_value(self, int database, Key *key, int encoding, Span value, int64_t number, int64_t expire_ms) except NULL
    cdef int64_t expire_segment(self, Database *database, uint32_t slot, uint32_t position) except -1
    cdef int64_t expire_slot(self, Database *database, uint32_t slot) except -1
    cdef uint64_t random(self) noexcept
    cdef int _retire(self, int number) noexcept
    cdef bint _free_cleared(self, int64_t *budget_entries) noexcept
    cdef bint _free_condemned(self, int64_t *budget_elements) noexcept
    cdef void _give(self, Entry *entry) noexcept
    cdef void _condemn(self, Object *value) noexcept
    cdef void _forget_fields(self, Database *database, Entry *entry) noexcept
    cdef void _leave_object(self, Database *database, Key *key, Entry *entry) noexcept
    cdef Key _key(self, bytes name)
    cdef int check_database(self, int number) except -1
