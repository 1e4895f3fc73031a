"""Buckets of one cache line, in the order of the hash.

A bucket holds seven entries: seven one-byte tags and an overflow count in its first word, then seven
words that carry the entry's address and 16 bits of its hash (addresses have 48 bits, and their low
three are 0, one of which says that the entry has an expiry):

     byte 0                   6   7          63              48 47                         3 2 1 0
    +----+----+----+ - - +----+----------+   +-----------------+----------------------------+-----+-+
    | tag 0 .. tag 6          | overflow |   | window          | address of the entry       | 0 0 |e|
    +----+----+----+ - - +----+----------+   +-----------------+----------------------------+-----+-+
    | word 0 .. word 6, 8 bytes each     |
    +------------------------------------+

The home of a hash is window * bucket_count >> 16, `window` being its 16 leading bits: monotone in the
hash for any number of buckets. Two things follow. The number of buckets need not be a power of two, so
a table grows by 3/8 and is 65 to 89 % full instead of 45 to 89 %. And the order of the hash survives
growing and shrinking: a SCAN or a snapshot remembers how far in the order it has come, not a bucket, and
neither misses nor repeats what stays put.

A full home bucket sends its entry to the next one and counts that in its overflow byte; a search goes on
only while that count is not 0, so most misses cost one line. (The idea of the count is F14's.)

Since words carry the window, growing moves words without looking at a single entry. A segment of more
than 510 buckets (3,190 entries) splits in two by the next bit of the hash: only then are its keys hashed
again (a quarter of a millisecond at worst). Tables of millions of entries, which hash tags make possible,
are a directory of segments by leading bits, so no table ever has a long pause:

    root (Table) --> [ 00. | 01. | 10. | 11. ]        directory, depth 2
                        \\    /      |      |
                      segment     segment  segment    the left one has depth 1: shared by two places

Tables of one entry have no bucket at all: the word stands in the place of the bucket pointer.

Bytes per entry of the table alone: 64 / 7 / load = 10.3 at 89 % (full), 12 in the mean, 14 after growing.
Redis 7.2: 8 (bucket pointer, at load 1; 4 to 16 in practice) and a 24-byte dictEntry; Valkey 8.1: about
9 to 18 (64-byte buckets, power of two).
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from node.engine.alloc cimport heap_block_bytes, heap_give, heap_take
from node.engine.hashing cimport hash_span
from node.engine.lines cimport heap_give_lines, heap_lines_bytes, heap_take_lines


# How many entries n buckets may hold: 89 %, but a single bucket may be full.
cdef inline uint32_t _capacity(uint32_t bucket_count) noexcept nogil:
    return BUCKET_WAYS * bucket_count - bucket_count * 3 // 4


cdef inline uint32_t _buckets_for(uint32_t count) noexcept nogil:
    # About 70 % full.
    if count <= 1:
        return 0
    return (count * 10 + 48) // 49


cdef inline uint64_t _line_bytes(Segment *segment) noexcept nogil:
    if segment.bucket_count == 0:
        return 0
    return heap_lines_bytes(segment.line, segment.bucket_count)


cdef inline void _place(Bucket *line, uint32_t bucket_count, uint64_t word, uint64_t tag, uint64_t **at) noexcept nogil:
    cdef uint32_t index = <uint32_t> (((word >> 48) * bucket_count) >> 16)
    cdef Bucket *bucket
    cdef uint64_t vacant
    cdef int way
    while True:
        bucket = &line[index]
        vacant = match_tag(bucket.control, 0)
        if vacant != 0:
            way = __builtin_ctzll(vacant) >> 3
            bucket.control |= tag << (8 * way)
            bucket.word[way] = word
            at[0] = &bucket.word[way]
            return
        if bucket.control >> 56 != 255:
            bucket.control += (<uint64_t> 1) << 56
        index += 1
        if index == bucket_count:
            index = 0


cdef inline uint64_t _hash_of_word(Store *store, uint64_t word) noexcept nogil:
    return hash_span(&store.hash_key, entry_key(word_entry(word)))


# Moves a segment into bucket_count fresh buckets. 0: no memory, nothing changed.
cdef bint _resize(Store *store, Table *table, Segment *segment, uint32_t bucket_count) noexcept nogil:
    cdef Bucket *line = NULL
    cdef Bucket *old = segment.line
    cdef uint32_t old_count = segment.bucket_count
    cdef uint32_t index
    cdef int way
    cdef uint64_t tag
    cdef uint64_t *at
    cdef uint64_t only = 0
    if bucket_count > 0:
        line = <Bucket *> heap_take_lines(store.heap, bucket_count)
        if line == NULL:
            return False
        memset(line, 0, <size_t> bucket_count * 64)
    table.used_bytes -= _line_bytes(segment)
    if old_count == 0:
        if segment.count == 1:
            _place(line, bucket_count, <uint64_t> old, hash_tag(_hash_of_word(store, <uint64_t> old)), &at)
    else:
        for index in range(old_count):
            for way in range(BUCKET_WAYS):
                tag = (old[index].control >> (8 * way)) & 0xFF
                if tag == 0:
                    continue
                if bucket_count == 0:
                    only = old[index].word[way]
                else:
                    _place(line, bucket_count, old[index].word[way], tag, &at)
        heap_give_lines(store.heap, old, old_count)
    segment.line = line if bucket_count > 0 else <Bucket *> only
    segment.bucket_count = <uint16_t> bucket_count
    table.used_bytes += _line_bytes(segment)
    return True


cdef Segment *_segment_new(Store *store, Table *table, uint32_t bucket_count, int depth, int64_t next_expiry_ms) noexcept nogil:
    cdef Segment *segment = <Segment *> heap_take(store.heap, sizeof(Segment))
    if segment == NULL:
        return NULL
    memset(segment, 0, sizeof(Segment))
    segment.line = <Bucket *> heap_take_lines(store.heap, bucket_count)
    if segment.line == NULL:
        heap_give(store.heap, segment, sizeof(Segment))
        return NULL
    memset(segment.line, 0, <size_t> bucket_count * 64)
    segment.bucket_count = <uint16_t> bucket_count
    segment.depth = <uint8_t> depth
    segment.next_expiry_ms = next_expiry_ms
    table.used_bytes += heap_block_bytes(segment, sizeof(Segment)) + _line_bytes(segment)
    return segment


cdef void _segment_delete(Store *store, Table *table, Segment *segment) noexcept nogil:
    table.used_bytes -= heap_block_bytes(segment, sizeof(Segment)) + _line_bytes(segment)
    if segment.bucket_count > 0:
        heap_give_lines(store.heap, segment.line, segment.bucket_count)
    heap_give(store.heap, segment, sizeof(Segment))


cdef inline size_t _directory_bytes(int depth) noexcept nogil:
    return sizeof(Segment *) << depth


# Splits a segment by its next hash bit. 0: no memory, nothing changed.
cdef bint _split(Store *store, Table *table, Segment *segment, uint64_t hash) noexcept nogil:
    cdef int depth = segment.depth + 1
    cdef int old_depth = table.root.depth
    cdef bint rooted = table.root.bucket_count != DIRECTORY
    cdef Segment **places
    cdef Segment **old_places
    cdef Segment *halves[2]
    cdef Bucket *bucket
    cdef uint64_t entry_hash, word
    cdef uint64_t *at
    cdef uint32_t index, from_place, place_count
    cdef int way, side
    # 1. A directory deep enough.
    if rooted:
        old_depth = 0
    if rooted or depth > old_depth:
        places = <Segment **> heap_take(store.heap, _directory_bytes(depth))
        if places == NULL:
            return False
    else:
        places = <Segment **> table.root.line
    halves[0] = _segment_new(store, table, SEGMENT_BUCKETS_MIN, depth, segment.next_expiry_ms)
    halves[1] = _segment_new(store, table, SEGMENT_BUCKETS_MIN, depth, segment.next_expiry_ms) if halves[0] != NULL else NULL
    if halves[1] == NULL:
        if halves[0] != NULL:
            _segment_delete(store, table, halves[0])
        if rooted or depth > old_depth:
            heap_give(store.heap, places, _directory_bytes(depth))
        return False
    # 2. Words to their side. The next bucket's entries are fetched while this one's are hashed.
    for index in range(segment.bucket_count):
        if index + 1 < segment.bucket_count:
            for way in range(BUCKET_WAYS):
                __builtin_prefetch(word_entry(segment.line[index + 1].word[way]))
        bucket = &segment.line[index]
        for way in range(BUCKET_WAYS):
            if (bucket.control >> (8 * way)) & 0xFF == 0:
                continue
            entry_hash = _hash_of_word(store, bucket.word[way])
            side = <int> ((entry_hash >> (64 - depth)) & 1)
            word = (bucket.word[way] & 0x0000FFFFFFFFFFFFULL) | ((entry_hash << depth) >> 48) << 48
            if halves[side].count + 1 > _capacity(halves[side].bucket_count):
                # Far from even: 1 in 2**40 or so. More buckets than want keep it right.
                if not _resize(store, table, halves[side], halves[side].bucket_count + halves[side].bucket_count // 2):
                    _segment_delete(store, table, halves[0])
                    _segment_delete(store, table, halves[1])
                    if rooted or depth > old_depth:
                        heap_give(store.heap, places, _directory_bytes(depth))
                    return False
            _place(halves[side].line, halves[side].bucket_count, word, hash_tag(entry_hash), &at)
            halves[side].count += 1
    # 3. The directory.
    if rooted:
        places[0] = halves[0]
        places[1] = halves[1]
        table.used_bytes += heap_block_bytes(places, _directory_bytes(1)) - _line_bytes(segment)
        heap_give_lines(store.heap, segment.line, segment.bucket_count)
        table.root.line = <Bucket *> places
        table.root.bucket_count = DIRECTORY
        table.root.depth = 1
        return True
    if depth > old_depth:
        old_places = <Segment **> table.root.line
        for index in range((<uint32_t> 1) << depth):
            places[index] = old_places[index >> 1]
        table.used_bytes += heap_block_bytes(places, _directory_bytes(depth))
        table.used_bytes -= heap_block_bytes(old_places, _directory_bytes(old_depth))
        heap_give(store.heap, old_places, _directory_bytes(old_depth))
        table.root.line = <Bucket *> places
        table.root.depth = <uint8_t> depth
    place_count = (<uint32_t> 1) << (table.root.depth - depth)
    from_place = <uint32_t> ((hash >> (64 - segment.depth)) << (table.root.depth - segment.depth)) if segment.depth > 0 else 0
    for index in range(place_count):
        places[from_place + index] = halves[0]
        places[from_place + place_count + index] = halves[1]
    _segment_delete(store, table, segment)
    return True


# The whole directory back into one segment, once it would be small.
cdef void _collapse(Store *store, Table *table) noexcept nogil:
    cdef Segment joined
    cdef Segment **places = <Segment **> table.root.line
    cdef Segment *segment
    cdef uint64_t word, entry_hash
    cdef uint64_t *at
    cdef uint32_t place, index, place_count = (<uint32_t> 1) << table.root.depth
    cdef int way
    cdef uint32_t want = _buckets_for(table.root.count + 1)
    if want == 0:
        want = 1
    memset(&joined, 0, sizeof(Segment))
    joined.line = <Bucket *> heap_take_lines(store.heap, want)
    if joined.line == NULL:
        return
    memset(joined.line, 0, <size_t> want * 64)
    joined.bucket_count = <uint16_t> want
    joined.count = table.root.count
    joined.next_expiry_ms = table.root.next_expiry_ms
    place = 0
    while place < place_count:
        segment = places[place]
        place += (<uint32_t> 1) << (table.root.depth - segment.depth)
        if segment.bucket_count == 0:
            if segment.count == 1:
                word = <uint64_t> segment.line
                entry_hash = _hash_of_word(store, word)
                word = (word & 0x0000FFFFFFFFFFFFULL) | (entry_hash >> 48) << 48
                _place(joined.line, want, word, hash_tag(entry_hash), &at)
        else:
            for index in range(segment.bucket_count):
                for way in range(BUCKET_WAYS):
                    if (segment.line[index].control >> (8 * way)) & 0xFF == 0:
                        continue
                    word = segment.line[index].word[way]
                    entry_hash = _hash_of_word(store, word)
                    word = (word & 0x0000FFFFFFFFFFFFULL) | (entry_hash >> 48) << 48
                    _place(joined.line, want, word, hash_tag(entry_hash), &at)
        _segment_delete(store, table, segment)
    table.used_bytes -= heap_block_bytes(places, _directory_bytes(table.root.depth))
    heap_give(store.heap, places, _directory_bytes(table.root.depth))
    table.root = joined
    table.used_bytes += _line_bytes(&table.root)


cdef uint64_t *table_insert(Store *store, Table *table, uint64_t hash, Entry *entry) noexcept nogil:
    cdef Segment *segment = table_segment(table, hash)
    cdef uint64_t word
    cdef uint64_t *at
    cdef uint32_t bucket_count, more
    if segment.bucket_count == 0 and segment.count == 0:
        word = ((hash << segment.depth) >> 48) << 48 | <uint64_t> entry | (entry.flags & 1)
        segment.line = <Bucket *> word
        segment.count = 1
        if segment != &table.root:
            table.root.count += 1
        return <uint64_t *> &segment.line
    bucket_count = segment.bucket_count
    if segment.count + 1 > _capacity(bucket_count):
        more = bucket_count + (bucket_count * 3 // 8 if bucket_count > 2 else 1)
        if more > SEGMENT_BUCKETS_MAX * 3 // 4 and bucket_count < SEGMENT_BUCKETS_MAX:
            more = SEGMENT_BUCKETS_MAX  # and no short step before it
        if more > SEGMENT_BUCKETS_MAX and segment.depth < DEPTH_MAX:
            if not _split(store, table, segment, hash):
                return NULL
            return table_insert(store, table, hash, entry)
        if more >= DIRECTORY or not _resize(store, table, segment, more):
            return NULL
    word = ((hash << segment.depth) >> 48) << 48 | <uint64_t> entry | (entry.flags & 1)
    _place(segment.line, segment.bucket_count, word, hash_tag(hash), &at)
    segment.count += 1
    if segment != &table.root:
        table.root.count += 1
    return at


cdef void segment_shrink(Store *store, Table *table, Segment *segment) noexcept nogil:
    cdef uint32_t want
    if segment.bucket_count == 0:
        return
    if segment.count == 0:
        table.used_bytes -= _line_bytes(segment)
        heap_give_lines(store.heap, segment.line, segment.bucket_count)
        segment.line = NULL
        segment.bucket_count = 0
        segment.next_expiry_ms = 0
        return
    want = _buckets_for(segment.count)
    # At 40 % of what it could hold, not earlier: a table that hovers must not be rebuilt all the time.
    if segment.count == 1 or segment.count * 5 < _capacity(segment.bucket_count) * 2:
        if want < segment.bucket_count:
            _resize(store, table, segment, want)


cdef void segment_take_out(Table *table, Segment *segment, uint64_t *word) noexcept nogil:
    cdef Bucket *bucket
    cdef uint32_t home, at
    cdef int way
    segment.count -= 1
    if segment != &table.root:
        table.root.count -= 1
    if segment.bucket_count == 0:
        segment.line = NULL
        segment.next_expiry_ms = 0
        return
    bucket = <Bucket *> (<uint64_t> word & ~(<uint64_t> 63))
    at = <uint32_t> (bucket - segment.line)
    way = <int> (word - bucket.word)
    home = <uint32_t> (((word[0] >> 48) * segment.bucket_count) >> 16)
    bucket.control &= ~((<uint64_t> 0xFF) << (8 * way))
    word[0] = 0
    while home != at:
        # A count that reached 255 has lost its sum; it stays until the segment is rebuilt.
        if segment.line[home].control >> 56 != 255:
            segment.line[home].control -= (<uint64_t> 1) << 56
        home += 1
        if home == segment.bucket_count:
            home = 0


cdef void table_take_out(Store *store, Table *table, uint64_t hash, uint64_t *word) noexcept nogil:
    cdef Segment *segment = table_segment(table, hash)
    segment_take_out(table, segment, word)
    segment_shrink(store, table, segment)
    table_shrink(store, table)


cdef void table_shrink(Store *store, Table *table) noexcept nogil:
    if table.root.bucket_count == DIRECTORY and table.root.count < SEGMENT_BUCKETS_MAX * 2:
        _collapse(store, table)
        if table.root.bucket_count != DIRECTORY:  # there was memory for it
            segment_shrink(store, table, &table.root)


cdef void table_note_expiry(Table *table, uint64_t hash, int64_t when_ms) noexcept nogil:
    cdef Segment *segment = table_segment(table, hash)
    cdef int64_t bound = when_ms if when_ms > 0 else 1
    if segment.next_expiry_ms == 0 or bound < segment.next_expiry_ms:
        segment.next_expiry_ms = bound
    if table.root.next_expiry_ms == 0 or bound < table.root.next_expiry_ms:
        table.root.next_expiry_ms = bound


cdef Segment *table_segment_at(Table *table, uint32_t position, uint32_t *next_position) noexcept nogil:
    cdef Segment *segment = &table.root
    cdef uint64_t after
    next_position[0] = 0
    if table.root.bucket_count == DIRECTORY:
        segment = (<Segment **> table.root.line)[position >> (32 - table.root.depth)]
        after = ((<uint64_t> position >> (32 - segment.depth)) + 1) << (32 - segment.depth)
        next_position[0] = <uint32_t> after if after <= 0xFFFFFFFFULL else 0
    return segment


cdef uint32_t table_gather(Table *table, uint32_t position, uint64_t *into, uint32_t room, uint32_t *next_position) noexcept nogil:
    cdef Segment *segment = table_segment_at(table, position, next_position)
    cdef uint32_t bucket_count = segment.bucket_count
    cdef uint32_t home, index, probed, found = 0
    cdef uint64_t window, next_window, prefix
    cdef Bucket *bucket
    cdef int way
    if bucket_count == 0:
        if segment.count == 1:
            if room > 0:
                into[0] = <uint64_t> segment.line
            found = 1
        return found
    window = (<uint32_t> (position << segment.depth)) >> 16
    home = <uint32_t> ((window * bucket_count) >> 16)
    if home + 1 < bucket_count:
        next_window = ((<uint64_t> (home + 1) << 16) + bucket_count - 1) // bucket_count
        prefix = (<uint64_t> position >> (32 - segment.depth)) << (32 - segment.depth)
        next_position[0] = <uint32_t> (prefix | next_window << (16 - segment.depth))
    index = home
    for probed in range(bucket_count):
        bucket = &segment.line[index]
        for way in range(BUCKET_WAYS):
            if (bucket.control >> (8 * way)) & 0xFF == 0:
                continue
            if ((bucket.word[way] >> 48) * bucket_count) >> 16 == home:
                if found < room:
                    into[found] = bucket.word[way]
                found += 1
        if bucket.control >> 56 == 0:
            break
        index += 1
        if index == bucket_count:
            index = 0
    return found


cdef void table_leave(Store *store, Table *table, uint32_t position, uint32_t next_position) noexcept nogil:
    cdef Segment **places = <Segment **> table.root.line
    cdef Segment *segment
    cdef uint32_t first, index
    if table.root.bucket_count != DIRECTORY:
        return
    segment = places[position >> (32 - table.root.depth)]
    if next_position != 0 and places[next_position >> (32 - table.root.depth)] == segment:
        return
    first = (position >> (32 - segment.depth)) << (table.root.depth - segment.depth)
    for index in range((<uint32_t> 1) << (table.root.depth - segment.depth)):
        places[first + index] = NULL
    _segment_delete(store, table, segment)


cdef void table_dismantle(Store *store, Table *table) noexcept nogil:
    cdef Segment **places
    cdef Segment *segment
    cdef uint32_t place = 0
    if table.root.bucket_count == DIRECTORY:
        places = <Segment **> table.root.line
        while place < (<uint32_t> 1) << table.root.depth:
            segment = places[place]
            if segment == NULL:  # given back with its entries
                place += 1
                continue
            place += (<uint32_t> 1) << (table.root.depth - segment.depth)
            _segment_delete(store, table, segment)
        table.used_bytes -= heap_block_bytes(places, _directory_bytes(table.root.depth))
        heap_give(store.heap, places, _directory_bytes(table.root.depth))
    elif table.root.bucket_count > 0:
        table.used_bytes -= _line_bytes(&table.root)
        heap_give_lines(store.heap, table.root.line, table.root.bucket_count)
    memset(&table.root, 0, sizeof(Segment))


cdef uint64_t table_random(Table *table, uint64_t random) noexcept nogil:
    cdef Segment *segment
    cdef uint64_t state = random | 1
    cdef uint32_t index
    cdef int way
    while True:
        # xorshift64: good enough to pick a place, and the caller's number decides all of it.
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        segment = table_segment(table, state)
        if segment.count == 0:
            continue
        if segment.bucket_count == 0:
            return <uint64_t> segment.line
        index = <uint32_t> (((state & 0xFFFFFFFFULL) * segment.bucket_count) >> 32)
        way = <int> ((state >> 40) % BUCKET_WAYS)
        if (segment.line[index].control >> (8 * way)) & 0xFF != 0:
            return segment.line[index].word[way]


cdef uint64_t table_held_bytes(Table *table) noexcept nogil:
    cdef Segment **places
    cdef Segment *segment
    cdef uint32_t place = 0
    cdef uint64_t held_bytes
    if table.root.bucket_count != DIRECTORY:
        return _line_bytes(&table.root)
    places = <Segment **> table.root.line
    held_bytes = heap_block_bytes(places, _directory_bytes(table.root.depth))
    while place < (<uint32_t> 1) << table.root.depth:
        segment = places[place]
        place += (<uint32_t> 1) << (table.root.depth - segment.depth)
        held_bytes += heap_block_bytes(segment, sizeof(Segment)) + _line_bytes(segment)
    return held_bytes
