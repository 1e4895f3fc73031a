"""Counts everything again, the slow way, and tells where the figures that are kept in passing disagree.

The keyspace keeps its counts, byte figures, overflow counts and lower bounds on expiries up to date with every
change. Nothing in daily work compares them with what is really there; this does:

- every word leads to an entry whose key hashes to that slot, segment, window and tag, and a search for
  the key finds that very word;
- entries, expiries and bytes add up per segment, table, group and database, and (when nothing cleared
  waits to be freed) to what the heap has given out;
- every structure of a large collection holds the bytes that it says, every run of a small one is whole;
- no entry expires before the bounds that let the active expiry skip it, no field of a hash before the moment at
  which that hash is looked at;
- every bucket's overflow count is what its entries' wanderings say, unless it is full;
- the small queue of the eviction holds no less than nothing (entries marked by another policy were never counted).

It reads what it is meant to judge, so it stays away from what is plainly broken: a segment whose counts are
wild is told and not entered.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from node.engine.alloc cimport heap_block_bytes
from node.engine.entry cimport (
    ENCODING_INT,
    ENCODING_LARGE,
    ENCODING_OBJECT,
    ENCODING_RAW,
    ENTRY_HAS_EXPIRY,
    TYPE_HASH,
    TYPE_LIST,
    TYPE_SET,
    TYPE_STREAM,
    TYPE_STRING,
    TYPE_ZSET,
    Entry,
    entry_bytes,
    entry_encoding,
    entry_expiry_ms,
    entry_key,
    entry_object,
    entry_run,
    entry_type,
    entry_value,
)
from node.engine.hashing cimport SLOT_COUNT
from node.engine.keyspace cimport GROUP_COUNT, GROUP_SLOTS, Database, Key, Keyspace
from node.engine.large cimport object_held_bytes
from node.engine.lines cimport heap_lines_bytes
from node.engine.members cimport Members, members_find, members_held_bytes, members_walk
from node.engine.object cimport Object
from node.engine.run cimport run_count
from node.engine.span cimport Span
from node.engine.table cimport (
    BUCKET_WAYS,
    DEPTH_MAX,
    DIRECTORY,
    GATHER_MAX,
    Bucket,
    Segment,
    Table,
    hash_tag,
    table_find,
    table_segment,
    word_entry,
    word_has_expiry,
)
from node.engine.value cimport value_held_bytes

cdef enum:
    TOLD_MAX = 50


cdef bint _is_known(int type, int encoding) noexcept:
    if type == TYPE_STRING:
        return encoding == ENCODING_RAW or encoding == ENCODING_INT or encoding == ENCODING_LARGE
    if type == TYPE_STREAM:
        return encoding == ENCODING_OBJECT
    return type in (TYPE_LIST, TYPE_SET, TYPE_ZSET, TYPE_HASH) and encoding in (ENCODING_RAW, ENCODING_OBJECT)


cdef class _Audit:
    cdef Keyspace keyspace
    cdef list told
    cdef Database *database
    cdef uint32_t slot
    # Of the table at hand.
    cdef uint64_t table_bytes
    cdef int64_t table_expiries
    # Of everything: what the heap should have given out.
    cdef uint64_t heap_bytes

    cdef int tell(self, str what) except -1:
        if len(self.told) < TOLD_MAX:
            self.told.append(f"database {self.database.number}, slot {self.slot}: {what}")
        return 0

    cdef int check_database(self, Database *database) except -1:
        cdef int64_t count = 0
        cdef int64_t expiries = 0
        cdef int64_t group_entries
        cdef uint32_t group
        self.database = database
        for group in range(GROUP_COUNT):
            group_entries = 0
            for self.slot in range(group * GROUP_SLOTS, (group + 1) * GROUP_SLOTS):
                if database.table[self.slot].root.count == 0 and database.table[self.slot].used_bytes == 0:
                    continue
                self.check_table(&database.table[self.slot])
                group_entries += database.table[self.slot].root.count
                expiries += self.table_expiries
            if group_entries != database.group_count[group]:
                self.tell(f"its group counts {database.group_count[group]} entries, its tables {group_entries}")
            count += group_entries
        if database.lapsing != NULL:
            self.heap_bytes += members_held_bytes(&self.keyspace.store, database.lapsing, sizeof(Members))
        if count != database.count:
            self.tell(f"the database counts {database.count} entries, its tables {count}")
        if expiries != database.expiry_count:
            self.tell(f"the database counts {database.expiry_count} expiries, there are {expiries}")
        return 0

    cdef int check_table(self, Table *table) except -1:
        cdef Segment **places
        cdef Segment *segment
        cdef uint32_t place, width, index
        cdef int64_t count = 0
        cdef size_t directory_bytes
        self.table_bytes = 0
        self.table_expiries = 0
        if table.root.bucket_count != DIRECTORY:
            count = self.check_segment(table, &table.root)
        else:
            if not 1 <= table.root.depth <= DEPTH_MAX:
                return self.tell(f"a directory of depth {table.root.depth}")
            places = <Segment **> table.root.line
            directory_bytes = sizeof(Segment *) << table.root.depth
            self.table_bytes += heap_block_bytes(places, directory_bytes)
            self.heap_bytes += heap_block_bytes(places, directory_bytes)
            place = 0
            while place < (<uint32_t> 1) << table.root.depth:
                segment = places[place]
                if segment.depth > table.root.depth:
                    return self.tell(f"a segment of depth {segment.depth} under one of {table.root.depth}")
                width = (<uint32_t> 1) << (table.root.depth - segment.depth)
                for index in range(width):
                    if place % width != 0 or places[place + index] != segment:
                        return self.tell(f"place {place} of the directory is torn")
                self.table_bytes += heap_block_bytes(segment, sizeof(Segment))
                self.heap_bytes += heap_block_bytes(segment, sizeof(Segment))
                count += self.check_segment(table, segment)
                place += width
        if count != table.root.count:
            self.tell(f"the table counts {table.root.count} entries, its segments {count}")
        if self.table_bytes != table.used_bytes:
            self.tell(f"the table says {table.used_bytes} bytes, what is in it takes {self.table_bytes}")
        return 0

    cdef int64_t check_segment(self, Table *table, Segment *segment) except -1:
        cdef uint32_t *passed
        cdef uint32_t index, home, at
        cdef int way
        cdef int64_t count = 0
        cdef uint64_t tag, line_bytes
        cdef Bucket *bucket
        if segment.bucket_count == 0:
            if segment.count > 1 or (segment.count == 0) != (segment.line == NULL):
                self.tell(f"a segment without buckets and {segment.count} entries")
            elif segment.count == 1:
                self.check_word(table, segment, <uint64_t *> &segment.line, 0)
            return segment.count
        line_bytes = heap_lines_bytes(segment.line, segment.bucket_count)
        self.table_bytes += line_bytes
        self.heap_bytes += line_bytes
        passed = <uint32_t *> calloc(segment.bucket_count, sizeof(uint32_t))
        if passed == NULL:
            raise MemoryError("no memory to audit a segment")
        try:
            for index in range(segment.bucket_count):
                bucket = &segment.line[index]
                for way in range(BUCKET_WAYS):
                    tag = (bucket.control >> (8 * way)) & 0xFF
                    if tag == 0:
                        continue
                    count += 1
                    self.check_word(table, segment, &bucket.word[way], tag)
                    home = <uint32_t> (((bucket.word[way] >> 48) * segment.bucket_count) >> 16)
                    while home != index:
                        passed[home] += 1
                        home = home + 1 if home + 1 < segment.bucket_count else 0
            for at in range(segment.bucket_count):
                if segment.line[at].control >> 56 != 255 and segment.line[at].control >> 56 != passed[at]:
                    self.tell(f"bucket {at} says {segment.line[at].control >> 56} went on, {passed[at]} did")
        finally:
            free(passed)
        if count != segment.count:
            self.tell(f"a segment says {segment.count} entries, its buckets hold {count}")
        return count

    # tag 0: a segment without buckets, which keeps none.
    cdef int check_word(self, Table *table, Segment *segment, uint64_t *word, uint64_t tag) except -1:
        cdef Entry *entry = word_entry(word[0])
        cdef Key key = self.keyspace.locate(entry_key(entry))
        cdef uint64_t block_bytes = heap_block_bytes(entry, entry_bytes(entry))
        cdef int64_t bound
        cdef Object *value
        if entry_encoding(entry) == ENCODING_OBJECT:
            value = <Object *> entry_object(entry)
            if value.type != entry_type(entry):
                return self.tell(f"an entry of type {entry_type(entry)} with a structure of type {value.type}")
            if object_held_bytes(&self.keyspace.store, value) != value.used_bytes:
                self.tell(
                    f"a structure of type {value.type} says {value.used_bytes} bytes, "
                    f"it holds {object_held_bytes(&self.keyspace.store, value)}"
                )
            block_bytes += value.used_bytes
            if value.type == TYPE_HASH:
                self.check_fields(key.name, <Members *> value)
        elif entry_encoding(entry) == ENCODING_LARGE:
            block_bytes += value_held_bytes(entry_value(entry))
            if not entry_value(entry).stored or entry_value(entry).len_bytes > entry_value(entry).room_bytes:
                self.tell("a large string that no entry owns, or longer than its block")
        self.table_bytes += block_bytes
        self.heap_bytes += block_bytes
        if key.slot != self.slot:
            self.tell(f"an entry of slot {key.slot}")
        elif table_segment(table, key.hash) != segment or table_find(table, key.hash, key.name) != word:
            self.tell("an entry that a search does not find where it is")
        if word[0] >> 48 != (key.hash << segment.depth) >> 48 or (tag != 0 and tag != hash_tag(key.hash)):
            self.tell("an entry whose window or tag is not its hash's")
        if not _is_known(entry_type(entry), entry_encoding(entry)):
            self.tell(f"an entry of type {entry_type(entry)}, encoding {entry_encoding(entry)}")
        elif entry_encoding(entry) == ENCODING_RAW and entry_type(entry) != TYPE_STRING and run_count(entry_run(entry)) < 1:
            self.tell(f"an entry of type {entry_type(entry)} whose run is empty or damaged")
        if word_has_expiry(word[0]) != (entry.flags & ENTRY_HAS_EXPIRY):
            self.tell("a word and its entry disagree about an expiry")
        if entry.flags & ENTRY_HAS_EXPIRY:
            self.table_expiries += 1
            bound = max(<int64_t> 1, entry_expiry_ms(entry))
            for kept in (
                segment.next_expiry_ms,
                table.root.next_expiry_ms,
                self.database.group_expiry_ms[self.slot // GROUP_SLOTS],
            ):
                if kept == 0 or kept > bound:
                    self.tell(f"an entry expires at {bound}, before {kept}, when something is first to expire")
        return 0


    # Of a large hash: its fields' expiries, and what is known of them elsewhere.
    cdef int check_fields(self, Span name, Members *members) except -1:
        cdef Entry *found[GATHER_MAX]
        cdef uint64_t cursor = 0
        cdef uint32_t count, index
        cdef int64_t expiries = 0, first_ms = 0, bound
        cdef Entry *noted = NULL
        while True:
            count = members_walk(members, &cursor, found)
            for index in range(count):
                if found[index].flags & ENTRY_HAS_EXPIRY:
                    expiries += 1
                    bound = max(<int64_t> 1, entry_expiry_ms(found[index]))
                    first_ms = bound if first_ms == 0 else min(first_ms, bound)
            if cursor == 0:
                break
        if expiries != members.expiry_count:
            self.tell(f"a hash counts {members.expiry_count} fields with an expiry, there are {expiries}")
        if expiries == 0:
            return 0
        if members.table.root.next_expiry_ms == 0 or members.table.root.next_expiry_ms > first_ms:
            self.tell(f"a field expires at {first_ms}, before {members.table.root.next_expiry_ms}, when the first is to")
        if self.database.lapsing != NULL:
            noted = members_find(&self.keyspace.store, self.database.lapsing, name)
        if noted == NULL or entry_expiry_ms(noted) > first_ms:
            self.tell(f"a field expires at {first_ms}, and nobody will look at its hash then")
        return 0


def audit(Keyspace keyspace not None):
    cdef _Audit auditor = _Audit()
    cdef int number
    auditor.keyspace = keyspace
    auditor.told = []
    for number in range(2 * keyspace.database_count):
        if keyspace.databases[number] != NULL:
            auditor.check_database(keyspace.databases[number])
    auditor.heap_bytes += keyspace.store.values.loose_bytes + keyspace.store.values.condemned_bytes
    if keyspace.reclaim.cleared == NULL and keyspace.reclaim.condemned == NULL and auditor.heap_bytes != keyspace.store.heap.used_bytes:
        auditor.told.append(
            f"the heap has given out {keyspace.store.heap.used_bytes} bytes, tables, replies and arguments hold {auditor.heap_bytes}"
        )
    if keyspace.heat.small_count < 0:
        auditor.told.append(f"the small queue of the eviction holds {keyspace.heat.small_count} entries")
    return auditor.told
