# Sorted sets: their two forms, and what both can be asked. Commands change them through zsetedit.pxd.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from node.engine.entry cimport Entry, entry_int64
from node.engine.members cimport Members
from node.engine.object cimport Object
from node.engine.ordered cimport Ordered, OrderedCursor
from node.engine.span cimport Span
from node.engine.table cimport Store

cdef extern from *:
    """
    static inline double bits_double(int64_t bits) { double value; memcpy(&value, &bits, 8); return value; }
    static inline int64_t double_bits(double value) { int64_t bits; memcpy(&bits, &value, 8); return bits; }
    """
    double bits_double(int64_t bits) noexcept nogil
    int64_t double_bits(double value) noexcept nogil


# The large form: members in a table, each with its score, and an index of them in the order of (score, member).
cdef struct Zset:
    Members members
    Ordered order  # of pointers to the members' entries


cdef inline double member_score(const Entry *entry) noexcept nogil:
    return bits_double(entry_int64(entry))


# --- the large form ---------------------------------------------------------------------------------------
cdef Zset *zset_new(Store *store) noexcept nogil  # NULL: no memory
# Adds a member that is not there. MemoryError: nothing changed.
cdef bint zset_add(Store *store, Zset *zset, Span member, double score) except -1
# Gives a member that is there another score. MemoryError: it is not there any more.
cdef bint zset_move(Store *store, Zset *zset, Entry *entry, double score) except -1
# As add, for a member behind all others.
cdef bint zset_append(Store *store, Zset *zset, Span member, double score) except -1
cdef Entry *zset_find(Store *store, Zset *zset, Span member) noexcept nogil
cdef bint zset_remove(Store *store, Zset *zset, Span member) noexcept nogil
# Takes out up to `count` members from that rank on; how many there were.
cdef int64_t zset_cut(Store *store, Zset *zset, int64_t rank, int64_t count) noexcept nogil
# A new one with all members but those `count` from that rank on, which must be there.
cdef Zset *zset_without(Store *store, Zset *zset, int64_t rank, int64_t count) except NULL
# The index of members that came into the table without it (members_put).
cdef bint zset_index(Store *store, Zset *zset) except -1
cdef Zset *zset_from_run(Store *store, Span run) except NULL

# Of these every structure has one (large.pyx).
cdef bint zset_empty_some(Store *store, Zset *zset, int64_t *budget) noexcept nogil
cdef Zset *zset_copy(Store *store, Zset *zset) noexcept nogil
cdef uint64_t zset_held_bytes(Store *store, Zset *zset) noexcept nogil

# --- the small form: member, score, member, score ... in order ---------------------------------------------
# Where the pair of this member begins; NULL: it is not there. `next` is where the following pair does.
cdef const uint8_t *pair_find(Span run, Span member, const uint8_t **next, double *score) noexcept nogil
# Where a pair with this (score, member) belongs.
cdef const uint8_t *pair_place(Span run, Span member, double score) noexcept nogil
cdef Py_ssize_t pair_bytes(Span member, double score) noexcept nogil
cdef void pair_write(uint8_t *at, Span member, double score) noexcept nogil

# --- either form, for reading. Dead after any change. -------------------------------------------------------
cdef struct Sorted:
    Zset *large  # NULL: it is a run
    Span run
    int64_t count

# One end of a range of members in the order of their bytes.
cdef struct LexBound:
    int infinite  # -1: before all members, 1: behind all, 0: `text` counts
    bint open  # without `text` itself
    Span text

cdef void sorted_open(Sorted *zset, const Entry *entry) noexcept nogil  # NULL: an empty one
cdef bint sorted_score(Store *store, const Sorted *zset, Span member, double *score) noexcept nogil
cdef int64_t sorted_rank(Store *store, const Sorted *zset, Span member, double *score) noexcept nogil  # -1: not there
# The ranks [first, behind) of the members within both bounds. `back`: as one meets them coming from the end, which
# is the same unless scores differ in a range by bytes.
cdef void sorted_between_scores(
    const Sorted *zset, double low, bint low_open, double high, bint high_open, int64_t *first, int64_t *behind
) noexcept nogil
cdef void sorted_between_texts(
    const Sorted *zset, const LexBound *low, const LexBound *high, bint back, int64_t *first, int64_t *behind
) noexcept nogil

cdef enum:
    WALK_WINDOW = 64

# Members from some rank on, in either direction.
cdef struct Walk:
    Span member  # where it stands: borrowed from the set or from scratch
    double score
    Zset *large
    OrderedCursor cursor
    bint back
    bint begun
    Span run
    const uint8_t *at  # of the run: the next pair
    int64_t rank  # of the next pair
    int64_t window_rank  # of the first pair in the window
    int window_count
    uint32_t window[WALK_WINDOW]  # where pairs begin; a run can't be read backwards
    uint8_t scratch[24]

cdef void walk_begin(Walk *walk, const Sorted *zset, int64_t rank, bint back) noexcept nogil
cdef bint walk_next(Walk *walk) noexcept nogil  # False: there are no more
