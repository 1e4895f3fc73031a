# A hash table of entries that keeps the order of the hash. The idea and the layout are in table.pyx.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from node.engine.alloc cimport Heap
from node.engine.entry cimport Entry, entry_key
from node.engine.hashing cimport HashKey
from node.engine.span cimport Span, span_equal
from node.engine.value cimport Values

cdef enum:
    BUCKET_WAYS = 7
    # A segment that would grow beyond the first splits into two of the second: half and a third of an arena of lines.
    SEGMENT_BUCKETS_MAX = 510
    SEGMENT_BUCKETS_MIN = 340
    DEPTH_MAX = 16
    GATHER_MAX = 256  # entries of one home bucket; the mean is 6, and 40 would be a wonder
    DIRECTORY = 0xFFFF  # in root.bucket_count: root.line is a Segment ** of 2 ** root.depth

# One cache line.
cdef struct Bucket:
    uint64_t control  # bytes 0..6: tags of the words, 0 = free; byte 7: overflow count, 255 = that or more
    uint64_t word[BUCKET_WAYS]  # window << 48 | address of the entry | has-expiry

cdef struct Segment:
    Bucket *line  # owned; with bucket_count 0 and count 1 it is the only entry's word itself
    uint32_t count
    uint16_t bucket_count
    uint8_t depth  # leading hash bits that all of its entries share
    uint8_t spare
    int64_t next_expiry_ms  # no entry expires before; 0: none has an expiry

cdef struct Table:
    Segment root
    uint64_t used_bytes  # of everything in it: entries (by the keyspace) and buckets (by the table)

# What every table of one owner shares.
cdef struct Store:
    Heap *heap
    HashKey hash_key
    Values values  # large strings


cdef extern from *:
    int __builtin_ctzll(unsigned long long word) nogil
    void __builtin_prefetch(const void *at) nogil


cdef inline Entry *word_entry(uint64_t word) noexcept nogil:
    return <Entry *> (word & 0x0000FFFFFFFFFFF8ULL)


cdef inline bint word_has_expiry(uint64_t word) noexcept nogil:
    return word & 1


# Puts another entry (of the same key) where `word` points.
cdef inline void word_replace(uint64_t *word, Entry *entry) noexcept nogil:
    word[0] = (word[0] & 0xFFFF000000000000ULL) | <uint64_t> entry | (entry.flags & 1)


cdef inline Segment *table_segment(Table *table, uint64_t hash) noexcept nogil:
    if table.root.bucket_count != DIRECTORY:
        return &table.root
    return (<Segment **> table.root.line)[hash >> (64 - table.root.depth)]


# 2..255: 0 is a free place, and 1 would let match_tag take a free place for one with that tag. Bits that neither the slot (low 14)
# nor the place in the table (high 32) uses.
cdef inline uint64_t hash_tag(uint64_t hash) noexcept nogil:
    cdef uint64_t tag = (hash >> 16) & 0xFF
    return tag if tag > 1 else tag | 2


cdef inline uint64_t match_tag(uint64_t control, uint64_t tag) noexcept nogil:
    # Classic zero-byte search. A byte above a true match may match falsely if it differs in its lowest bit only: the caller
    # compares keys anyway, and hash_tag sees to it that no free place is such a byte.
    cdef uint64_t mixed = control ^ (tag * 0x0101010101010101ULL)
    return (mixed - 0x0101010101010101ULL) & ~mixed & 0x0080808080808080ULL


# The place of the word that holds `name`, or NULL. Valid until the table changes.
cdef inline uint64_t *table_find(Table *table, uint64_t hash, Span name) noexcept nogil:
    cdef Segment *segment
    cdef Bucket *bucket
    cdef uint64_t *word
    cdef uint64_t window, tag, found
    cdef uint32_t index, bucket_count, probed
    if table.root.count == 0:
        return NULL
    segment = table_segment(table, hash)
    if segment.count == 0:
        return NULL
    window = (hash << segment.depth) >> 48
    bucket_count = segment.bucket_count
    if bucket_count == 0:
        word = <uint64_t *> &segment.line
        if word[0] >> 48 == window and span_equal(entry_key(word_entry(word[0])), name):
            return word
        return NULL
    tag = hash_tag(hash)
    index = <uint32_t> ((window * bucket_count) >> 16)
    for probed in range(bucket_count):
        bucket = &segment.line[index]
        found = match_tag(bucket.control, tag)
        while found != 0:
            word = &bucket.word[__builtin_ctzll(found) >> 3]
            if word[0] >> 48 == window and span_equal(entry_key(word_entry(word[0])), name):
                return word
            found &= found - 1
        if bucket.control >> 56 == 0:
            return NULL
        index += 1
        if index == bucket_count:
            index = 0
    return NULL


cdef inline void table_prefetch(Table *table, uint64_t hash) noexcept nogil:
    cdef Segment *segment
    if table.root.count == 0:
        return
    segment = table_segment(table, hash)
    if segment.bucket_count == 0:
        __builtin_prefetch(word_entry(<uint64_t> segment.line))
    else:
        __builtin_prefetch(&segment.line[(((hash << segment.depth) >> 48) * segment.bucket_count) >> 16])


# A word in the home bucket whose tag and window match, without looking at its entry; NULL: none.
cdef inline uint64_t *table_candidate(Table *table, uint64_t hash) noexcept nogil:
    cdef Segment *segment
    cdef Bucket *bucket
    cdef uint64_t window, found
    if table.root.count == 0:
        return NULL
    segment = table_segment(table, hash)
    if segment.bucket_count == 0:
        return <uint64_t *> &segment.line if segment.count == 1 else NULL
    window = (hash << segment.depth) >> 48
    bucket = &segment.line[(window * segment.bucket_count) >> 16]
    found = match_tag(bucket.control, hash_tag(hash))
    while found != 0:
        if bucket.word[__builtin_ctzll(found) >> 3] >> 48 == window:
            return &bucket.word[__builtin_ctzll(found) >> 3]
        found &= found - 1
    return NULL


# Adds an entry whose key is not there. NULL: no memory, nothing changed.
cdef uint64_t *table_insert(Store *store, Table *table, uint64_t hash, Entry *entry) noexcept nogil
# Takes the word out; the entry is the caller's. The table may get smaller.
cdef void table_take_out(Store *store, Table *table, uint64_t hash, uint64_t *word) noexcept nogil
# The same for a word whose segment is known; nothing shrinks.
cdef void segment_take_out(Table *table, Segment *segment, uint64_t *word) noexcept nogil
# Lowers the bound on the next expiry.
cdef void table_note_expiry(Table *table, uint64_t hash, int64_t when_ms) noexcept nogil
# The words whose home bucket covers `position` (the leading 32 bits of the hash). Returns how many there
# are; only the first `room` are written. next_position: where to go on, 0 at the end of the table.
cdef uint32_t table_gather(Table *table, uint32_t position, uint64_t *into, uint32_t room, uint32_t *next_position) noexcept nogil
# While the entries are given back in the order of table_gather, which told next_position for `position`: gives back the segment that ends
# there, if one does. The table is good for nothing but more of this, and table_dismantle in the end.
cdef void table_leave(Store *store, Table *table, uint32_t position, uint32_t next_position) noexcept nogil
# Gives back everything but the entries.
cdef void table_dismantle(Store *store, Table *table) noexcept nogil
# The blocks of the table itself (not its entries), counted the slow way.
cdef uint64_t table_held_bytes(Table *table) noexcept nogil
# A random word of a table that is not empty. Uniform within a segment.
cdef uint64_t table_random(Table *table, uint64_t random) noexcept nogil

# The segments of a table in order: index 0.., NULL behind the last. position: the first of its range.
cdef Segment *table_segment_at(Table *table, uint32_t position, uint32_t *next_position) noexcept nogil
# Makes a segment smaller when it has become sparse; turns a sparse directory into one segment.
cdef void segment_shrink(Store *store, Table *table, Segment *segment) noexcept nogil
cdef void table_shrink(Store *store, Table *table) noexcept nogil
