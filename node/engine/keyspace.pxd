# The keyspace: databases of slot tables of entries, as a whole. (The layout is in entry.pyx and table.pyx.)
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

# What it is made of, for whoever works with it.
from node.engine.collections cimport CollectionLimits, Collections, Edit
from node.engine.database cimport GROUP_COUNT, GROUP_SLOTS, Database
from node.engine.entries cimport EXPIRY_KEEP, EXPIRY_NONE, Entries, Key, Observer
from node.engine.entry cimport Entry
from node.engine.hashing cimport SLOT_COUNT
from node.engine.span cimport Span


cdef class Keyspace(Collections):
    # Of this room only.
    cdef readonly bint sweeping  # old epochs are being reset to 0
    cdef int sweep_database
    cdef uint64_t sweep_cursor
    cdef int expire_database
    cdef uint32_t expire_group
    cdef uint64_t random_state
    cdef int64_t aside_small_count  # heat's, of what is set aside

    cpdef int clear(self, int database) except -1  # -1: every database
    cpdef int swap(self, int left, int right) except -1
    # Every database leaves the sight of commands and keeps its memory, until it is taken back, which clears what came
    # in its place, or dropped.
    cpdef int set_aside(self) except -1
    cpdef int take_back(self) except -1
    cpdef int drop_aside(self) except -1

    # --- walking -------------------------------------------------------------------------------------
    # The entries (expired ones too) of the next home bucket in the order of (slot, hash); 0 starts and
    # ends. `into` has room for GATHER_MAX. Whatever is there from start to end of a walk is seen at least
    # once, however tables grow and shrink; it is seen twice only when its table shrank in between.
    cdef uint32_t walk(self, int database, uint64_t *cursor, Entry **into) except? 0xFFFFFFFF
    cdef Entry *random_entry(self, int database) except? NULL  # a live one; NULL when there is none

    # --- background work, in bounded steps; True: call again -------------------------------------------
    cpdef bint expire_some(self, int64_t budget_entries) except -1
    cpdef bint free_some(self, int64_t budget_entries) except -1
    cpdef bint sweep_some(self, int64_t budget_entries) except -1
    cpdef bint snapshot_ready(self) except -1

    # --- of this room only -----------------------------------------------------------------------------
    cdef int snapshot_ended(self) except -1
    cdef int begin_sweep(self) noexcept
    cdef int64_t expire_segment(self, Database *database, uint32_t slot, uint32_t position) except -1
    cdef int64_t expire_slot(self, Database *database, uint32_t slot) except -1
    cdef uint64_t random(self) noexcept
    cdef int _retire(self, int number) noexcept
    cdef int _move(self, int place, int to) noexcept
    cdef Key _key(self, bytes name)
