# The keyspace: databases of slot tables of entries. (Contract; layout details live in entry.pxd and table.pxd.)
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from node.engine.effects cimport Effects
from node.engine.entry cimport Entry
from node.engine.span cimport Span

# A key as commands pass it around: hashed once, routed once.
cdef struct Key:
    Span name  # borrowed from the caller
    uint64_t hash  # keyed per process
    uint32_t slot  # CRC16 slot in cluster mode, bits of the hash otherwise


# What put_* does with the expiry of an entry that is already there.
cdef enum:
    EXPIRY_NONE = -1  # the entry gets no expiry
    EXPIRY_KEEP = -2  # the entry keeps what it has


cdef class Keyspace:
    cdef readonly int64_t now_ms  # wall clock, given by set_clock_ms
    cdef readonly int database_count
    cdef readonly bint cluster  # slots by CRC16; otherwise by hash
    cdef public bint follower  # expired entries are hidden but never deleted: the primary's DEL will come
    cdef Effects effects  # where deletions of expired entries are announced

    # --- finding ---------------------------------------------------------------------------------
    cdef Key locate(self, Span name) noexcept
    # The live entry, or NULL. An expired entry is deleted here (announced as DEL) unless `follower`.
    cdef Entry *find(self, int database, Key *key) except? NULL
    # As find, for reading: counts a hit or a miss and refreshes recency.
    cdef Entry *read(self, int database, Key *key) except? NULL
    # Brings the lines of the key's table and entry closer; never faults, returns nothing.
    cdef void prefetch(self, int database, Key *key) noexcept

    # --- changing. Each call may move entries: pointers from before it are dead. --------------------
    cdef Entry *put_string(self, int database, Key *key, Span value, int64_t expire_ms) except NULL
    cdef Entry *put_int64(self, int database, Key *key, int64_t value, int64_t expire_ms) except NULL
    # A raw string of new_len_bytes (>= old length: the tail is zeroed; shorter: cut); `entry` may be NULL
    # (a missing key). Returns the entry, with at least that room; write through entry_mutable_bytes.
    cdef Entry *resize_string(self, int database, Key *key, Entry *entry, Py_ssize_t new_len_bytes) except NULL
    # when_ms EXPIRY_NONE removes the expiry. Returns the entry, which may have moved.
    cdef Entry *set_expiry(self, int database, Key *key, Entry *entry, int64_t when_ms) except NULL
    cdef bint remove(self, int database, Key *key) except -1  # 1 when it was there (and not expired)
    cdef int clear(self, int database) except -1  # -1: every database

    # --- counting ------------------------------------------------------------------------------------
    cdef int64_t count(self, int database) noexcept
    cdef int64_t count_in_slot(self, int database, uint32_t slot) noexcept
