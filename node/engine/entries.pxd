# Entries in the slot tables of databases: found, put, removed. The layout is in entry.pyx and table.pyx.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from node.engine.database cimport Database
from node.engine.effects cimport Effects
from node.engine.entry cimport Entry
from node.engine.heat cimport Heat
from node.engine.object cimport Object
from node.engine.reclaim cimport Reclaim
from node.engine.span cimport Span
from node.engine.table cimport Store, Table
from node.engine.value cimport Value

# A key as commands pass it around: hashed once, routed once.
cdef struct Key:
    Span name  # borrowed from the caller
    uint64_t hash  # keyed per process
    uint32_t slot  # CRC16 slot in cluster mode, bits of the hash otherwise


# What put_* does with the expiry of an entry that is already there.
cdef enum:
    EXPIRY_NONE = -1  # the entry gets no expiry
    EXPIRY_KEEP = -2  # the entry keeps what it has

# Who must see an entry before it changes (a snapshot). Shown only entries with an older epoch.
cdef class Observer:
    cdef uint8_t epoch
    # Never raises for its own trouble: a failed snapshot must not fail a client's write.
    cdef int entry_changes(self, Database *database, uint32_t slot, Entry *entry) except -1


cdef class Entries:
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
    # Bumped by every change to any entry; tells whether something happened. May count a change too many where memory
    # was refused, never one too few.
    cdef readonly uint64_t changes

    # Of this room only.
    cdef Store store  # owns the heap
    # Owned; NULL until first used. Those that commands see, then as many places for what was set aside.
    cdef Database **databases
    cdef Reclaim reclaim  # what went and is being freed
    cdef uint8_t epoch  # stamped on every entry that is written
    cdef list observers  # replaced, never changed, so that it may be gone through while one leaves
    cdef Heat heat  # how warm entries are, and how that is told
    cdef readonly int64_t evicted  # entries deleted to make room

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
    # A large string of which the caller has a pin. The entry refers to it from here on, and nobody writes to it any more.
    cdef Entry *put_value(self, int database, Key *key, Value *value, int64_t expire_ms) except NULL
    # when_ms EXPIRY_NONE removes the expiry. Returns the entry, which may have moved.
    cdef Entry *set_expiry(self, int database, Key *key, Entry *entry, int64_t when_ms) except NULL
    cdef bint remove(self, int database, Key *key) except -1  # 1 when it was there (and not expired)

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
    cdef int check_database(self, int number) except -1
    cdef Database *open_database(self, int number) except NULL
    cdef bint is_expired(self, Entry *entry) noexcept
    cdef int before_change(self, Database *database, uint32_t slot, Entry *entry) except -1
    cdef object no_memory(self, size_t need_bytes, bint counted)
    cdef int show_observers(self, Database *database, uint32_t slot, Entry *entry) except -1
    cdef void account_expiry(self, Database *database, Key *key, int64_t when_ms) noexcept
    cdef int drop(self, Database *database, Key *key, uint64_t *word) except -1
    cdef int announce_expired(self, Database *database, Entry *entry) except -1
    cdef Entry *put_new(self, Database *database, Key *key, Entry *fresh, uint64_t *word) except NULL
    cdef Entry *put_inline(self, int database, Key *key, int encoding, Span value, int64_t number, int64_t expire_ms) except NULL
    cdef Value *new_value(self, Py_ssize_t len_bytes) except NULL
    cdef Entry *put_own(self, int database, Key *key, Value *value, int64_t expire_ms) except NULL
    cdef Entry *put_copied(self, int database, Key *key, Span text, int64_t expire_ms) except NULL
    cdef Entry *resize_value(self, Database *database, Key *key, Entry *entry, Py_ssize_t new_len_bytes) except NULL
    # What this entry points to lives on in another one: the entry is an integer from now on.
    cdef void leave_word(self, Database *database, Key *key, Entry *entry) noexcept
