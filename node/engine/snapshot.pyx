"""One mechanism for the dump on disk, the full sync of a replica and the migration of slots.

Every entry carries the *epoch* of its last change or delivery, one byte. Starting a snapshot raises the
keyspace's epoch to e; from then on

    an entry with epoch <  e   was there before and is still owed to this snapshot
    an entry with epoch >= e   was delivered, or was written after the beginning: not ours

A walk goes over the chosen slots in bounded steps and delivers what is owed. A write that comes upon an
entry which is owed has it delivered first, as it is, and only then changes it (Keyspace.before_change):
so each entry is delivered exactly once, as it was when the snapshot began, and no page of memory is ever
copied. A fork does the same with pages instead of entries: it stops the process while page tables are
copied, and then every write pays for 4 KiB.

Several at a time. Let e1 < e2 run. When the walk of e2 takes an entry with epoch < e1, stamping it with
e2 would hide it from e1, so it is delivered to every snapshot up to e2 that is still owed it. When the walk of
e1 takes it, it is stamped e1 and stays owed to e2.

Large collections. A hash of ten million fields must not be encoded in one go, neither when the walk reaches it nor when
a write does. Both only mark it (delivery.pyx), which takes one step whatever its size; what it holds follows in bounded
steps, and a write that meets one of its members then has that one member kept.

Position. The walk remembers a slot and a place in the order of hashes, which tables keep when they grow or shrink
(table.pyx). Databases are remembered by identity. SWAPDB renumbers them, the snapshot keeps the numbers
they had. FLUSHALL takes them away, but a pinned one is freed only after the last snapshot that reads it.

Epochs run out at 255. Then no snapshot begins until none is active and a sweep (Keyspace.sweep_some, in bounded
steps) has put every entry back to 0; `Keyspace.snapshot_ready` tells. Wider epochs would cost every
entry a byte or more for ever, the sweep costs about 5 ns an entry every 255 snapshots.
"""

from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from node.engine.buf cimport buf_free
from node.engine.chunks cimport List, ListChunk, back_bytes, chunk_bytes, list_release, list_words
from node.engine.delivery cimport delivery_abandon, delivery_begin, delivery_end, delivery_take
from node.engine.directory cimport word_block, word_count
from node.engine.entry cimport (
    ENCODING_OBJECT,
    TYPE_HASH,
    TYPE_LIST,
    TYPE_STREAM,
    TYPE_STRING,
    entry_bytes,
    entry_encoding,
    entry_expiry_ms,
    entry_key,
    entry_object,
    entry_string,
    entry_type,
)
from node.engine.keyspace cimport GROUP_SLOTS
from node.engine.large cimport object_count
from node.engine.members cimport Members, members_walk
from node.engine.run cimport Item, item_text, run_next
from node.engine.span cimport span_bytes
from node.engine.stream cimport Stream, stream_release, stream_words
from node.engine.stream_delivery cimport (
    StreamDelivery,
    stream_delivery_end,
    stream_delivery_free,
    stream_delivery_new,
)
from node.engine.stream_pieces cimport write_stream_piece
from node.engine.table cimport GATHER_MAX, table_gather, word_entry

from node.engine.rdb_values import SnapshotError


cdef enum:
    LARGE_MEMBERS = 512  # a collection of more comes in pieces
    PIECE_ELEMENTS = 256  # of what a stream has beside its nodes, before the sink is asked whether it has enough


class SnapshotBusy(Exception):
    """No snapshot can begin just now: epochs have run out and are being reset. Try again shortly."""


cdef class SnapshotSink:
    cdef int entry(self, int database, uint32_t slot, Entry *entry) except -1:
        raise NotImplementedError("a sink says what it does with an entry")

    cdef int begin_large(self, int database, uint32_t slot, Entry *entry, int64_t count, int64_t earliest_ms) except -1:
        raise NotImplementedError("a sink says what it does with a large collection")

    cdef int member(self, Entry *member) except -1:
        raise NotImplementedError("a sink says what it does with a member")

    cdef int item(self, Span text) except -1:
        raise NotImplementedError("a sink says what it does with an item of a list")

    cdef int node(self, const StreamNode *node, uint32_t live) except -1:
        raise NotImplementedError("a sink says what it does with a node of a stream")

    cdef int rest(self, const Buf *rest) except -1:
        raise NotImplementedError("a sink says what it does with what a stream has beside its nodes")

    cdef int end_large(self) except -1:
        raise NotImplementedError("a sink says what it does with the end of a large collection")

    cdef bint full(self) noexcept:
        return False

    cdef size_t early_limit_bytes(self) noexcept:
        return 0


cdef class CallbackSink(SnapshotSink):
    """Hands each string entry to a Python function: (database, slot, key, value, expiry_ms)."""

    cdef object _function

    def __init__(self, function):
        self._function = function

    cdef int entry(self, int database, uint32_t slot, Entry *entry) except -1:
        cdef uint8_t scratch[24]
        if entry_type(entry) != TYPE_STRING:
            raise TypeError(f"a {entry_type(entry)} entry reached a sink that only knows strings")
        self._function(
            database, slot, span_bytes(entry_key(entry)), span_bytes(entry_string(entry, scratch)), entry_expiry_ms(entry)
        )
        return 0


cdef bint _is_large(Entry *entry) noexcept:
    return (
        entry_encoding(entry) == ENCODING_OBJECT
        and object_count(<Object *> entry_object(entry)) > LARGE_MEMBERS
    )


cdef class _Large:
    def __dealloc__(self):
        # A snapshot that was closed has abandoned it. Otherwise the keyspace ends too, and may have done so already.
        free(self.delivery.early)
        stream_delivery_free(<StreamDelivery *> self.delivery.stream)
        free(self.header)
        free(self.words)
        buf_free(&self.rest)

    # Marks all that is in it as owed. 0: too many snapshots are at it.
    cdef bint open(self, Keyspace keyspace, int database, uint32_t slot, Entry *entry, SnapshotSink sink) except -1:
        cdef Object *value = <Object *> entry_object(entry)
        cdef uint32_t index
        self.keyspace = keyspace
        self.header = <Entry *> malloc(entry_bytes(entry))
        if self.header == NULL:
            raise MemoryError("no memory for the key of a collection")
        memcpy(self.header, entry, entry_bytes(entry))
        if value.type == TYPE_LIST:
            self.words = list_words(<List *> value)
            self.word_count = (<List *> value).directory.count
            if self.words == NULL:
                raise MemoryError("no memory for the directory of a list")
        self.count = object_count(value)
        if value.type == TYPE_STREAM:
            self.words = stream_words(<Stream *> value)
            self.word_count = (<Stream *> value).nodes.count
            if self.words == NULL:
                raise MemoryError("no memory for the directory of a stream")
            self.count = 0
            for index in range(self.word_count):
                self.count += word_count(self.words[index]) > 0
            self.delivery.stream = stream_delivery_new(<Stream *> value)
            if self.delivery.stream == NULL:
                raise MemoryError("no memory to note a stream's groups")
        if not delivery_begin(&self.delivery, value, sink.early_limit_bytes()):
            return False
        self.object = value
        self.database = database
        self.slot = slot
        self.earliest_ms = -1
        if value.type == TYPE_HASH and (<Members *> value).expiry_count > 0:
            self.earliest_ms = (<Members *> value).table.root.next_expiry_ms
        return True

    # Hands over about so many elements; 1: there are more.
    cdef bint step(self, SnapshotSink sink, int64_t *budget_elements) except -1:
        cdef bint more
        if not self.announced:
            self.announced = True
            sink.begin_large(self.database, self.slot, self.header, self.count, self.earliest_ms)
        if self.object.type == TYPE_STREAM:
            more = self.step_nodes(sink, budget_elements)
        elif self.object.type == TYPE_LIST:
            more = self.step_items(sink, budget_elements)
        else:
            more = self.step_members(sink, budget_elements)
        if more:
            return True
        delivery_end(&self.delivery, self.object)
        self.leave_stream()
        self.object = NULL
        if self.given != self.count:
            raise RuntimeError(
                f"key {span_bytes(entry_key(self.header))!r} had {self.count} elements and {self.given} were delivered"
            )
        sink.end_large()
        return False

    cdef object fell_behind(self):
        return SnapshotError(
            f"key {span_bytes(entry_key(self.header))!r} changed faster than the snapshot is read: "
            f"more than {self.delivery.early_limit_bytes} bytes would wait"
        )

    cdef bint step_members(self, SnapshotSink sink, int64_t *budget_elements) except -1:
        cdef Entry *found[GATHER_MAX]
        cdef Entry *member
        cdef uint32_t count, index
        while True:
            if self.delivery.failed:
                raise self.fell_behind()
            while self.early_at < self.delivery.early_bytes:
                if budget_elements[0] <= 0:
                    return True
                member = <Entry *> (self.delivery.early + self.early_at)
                sink.member(member)
                self.given += 1
                budget_elements[0] -= 1
                self.early_at += (entry_bytes(member) + 7) & ~(<size_t> 7)
                if sink.full():
                    budget_elements[0] = 0
            self.early_at = 0
            self.delivery.early_bytes = 0
            if self.walked:
                return False
            if budget_elements[0] <= 0:
                return True
            count = members_walk(<Members *> self.object, &self.cursor, found)
            self.walked = self.cursor == 0
            for index in range(count):
                if delivery_take(&self.delivery, self.object, found[index]):
                    sink.member(found[index])
                    self.given += 1
            budget_elements[0] -= count + 1
            if sink.full():
                budget_elements[0] = 0

    cdef bint step_items(self, SnapshotSink sink, int64_t *budget_elements) except -1:
        cdef uint8_t scratch[24]
        cdef ListChunk *chunk
        cdef const uint8_t *at
        cdef const uint8_t *after
        cdef Item item
        while self.word_at < self.word_count:
            if self.delivery.failed:
                raise self.fell_behind()
            if budget_elements[0] <= 0:
                return True
            chunk = <ListChunk *> word_block(self.words[self.word_at])
            at = chunk_bytes(chunk) + chunk.first
            while at < chunk_bytes(chunk) + chunk.end:
                after = run_next(at, chunk_bytes(chunk) + chunk.end, &item)
                sink.item(item_text(&item, scratch))
                self.given += 1
                budget_elements[0] -= 1
                at = after + back_bytes(after - at)
            self.word_at += 1
            list_release(self.keyspace.store.heap, <List *> self.object, &self.delivery, chunk)
            if sink.full():
                budget_elements[0] = 0
        return False

    cdef bint step_nodes(self, SnapshotSink sink, int64_t *budget_elements) except -1:
        cdef StreamNode *node
        cdef uint32_t live
        cdef int64_t piece, left
        cdef bint more
        while self.word_at < self.word_count:
            if self.delivery.failed:
                raise self.fell_behind()
            if budget_elements[0] <= 0:
                return True
            node = <StreamNode *> word_block(self.words[self.word_at])
            live = word_count(self.words[self.word_at])
            if live > 0:
                sink.node(node, live)
                self.given += 1
            budget_elements[0] -= live + 1
            self.word_at += 1
            stream_release(self.keyspace.store.heap, <Stream *> self.object, &self.delivery, node)
            if sink.full():
                budget_elements[0] = 0
        while True:
            if self.delivery.failed:
                raise self.fell_behind()
            if budget_elements[0] <= 0:
                return True
            left = piece = min(budget_elements[0], <int64_t> PIECE_ELEMENTS)
            self.rest.used_bytes = 0
            more = write_stream_piece(
                <StreamDelivery *> self.delivery.stream, &self.delivery, <Stream *> self.object, &self.rest, &left
            )
            sink.rest(&self.rest)
            if not more:
                return False
            budget_elements[0] -= piece - left
            if sink.full():
                budget_elements[0] = 0

    cdef int abandon(self) noexcept:
        cdef ListChunk *chunk
        cdef StreamNode *node
        if self.object == NULL:
            return 0
        # Chunks and nodes that left are ours to free, or the last other delivery's.
        while self.words != NULL and self.word_at < self.word_count and not self.delivery.blind:
            chunk = <ListChunk *> word_block(self.words[self.word_at])
            node = <StreamNode *> chunk
            self.word_at += 1
            if self.object.type == TYPE_STREAM:
                if node.owed != 0:
                    stream_release(self.keyspace.store.heap, <Stream *> self.object, &self.delivery, node)
            elif chunk.left:
                list_release(self.keyspace.store.heap, <List *> self.object, &self.delivery, chunk)
        delivery_abandon(&self.delivery, self.object)
        self.leave_stream()
        self.object = NULL
        return 0

    # Nothing waits for it any more.
    cdef void leave_stream(self) noexcept:
        if self.delivery.stream != NULL:
            stream_delivery_end(<StreamDelivery *> self.delivery.stream, self.delivery.bit)
            self.delivery.stream = NULL


cdef class Snapshot(Observer):
    def __cinit__(self, Keyspace keyspace not None, SnapshotSink sink not None, *, databases=None, slots=None):
        cdef int number
        cdef uint32_t slot
        self.keyspace = keyspace
        self.sink = sink
        self.larges = []
        self.all_slots = slots is None
        if slots is not None:
            for slot in slots:
                keyspace.check_slot(slot)
                self.chosen[slot >> 3] |= <uint8_t> (1 << (slot & 7))
        numbers = range(keyspace.database_count) if databases is None else sorted(set(databases))
        for number in numbers:
            keyspace.check_database(number)
        if not keyspace.snapshot_ready():
            raise SnapshotBusy(
                "the 255 snapshot epochs are used up; they are reset once the running snapshots have ended"
                if len(keyspace.observers) > 0
                else "the snapshot epochs are being reset, try again in a moment"
            )
        self.pinned = <Database **> calloc(keyspace.database_count, sizeof(Database *))
        self.pinned_number = <int *> calloc(keyspace.database_count, sizeof(int))
        if self.pinned == NULL or self.pinned_number == NULL:
            raise MemoryError("no memory to begin a snapshot")
        for number in numbers:
            if keyspace.databases[number] != NULL:
                self.pinned[self.pinned_count] = keyspace.databases[number]
                self.pinned_number[self.pinned_count] = number
                self.pinned_count += 1
                keyspace.databases[number].pins += 1
        keyspace.epoch += 1
        self.epoch = keyspace.epoch
        keyspace.observers = [*keyspace.observers, self]
        self.attached = True

    def __dealloc__(self):
        # Attached ones are in the keyspace's list, so only a finished one gets here.
        free(self.pinned)
        free(self.pinned_number)

    cdef bint chooses(self, uint32_t slot) noexcept:
        return self.all_slots or (self.chosen[slot >> 3] >> (slot & 7)) & 1

    cdef int release(self) noexcept:
        cdef int index
        self.done = True
        for index in range(self.pinned_count):
            self.pinned[index].pins -= 1
        self.pinned_count = 0
        return 0

    cpdef int close(self) except -1:
        """Ends the snapshot, delivered or not; what is owed stays undelivered."""
        cdef _Large large
        if self.attached:
            self.attached = False
            for large in self.larges:
                large.abandon()
            self.larges = []
            self.release()
            # A new list: someone may be going through the old one.
            self.keyspace.observers = [other for other in self.keyspace.observers if other is not self]
            self.keyspace.snapshot_ended()
        return 0

    cdef int entry_changes(self, Database *database, uint32_t slot, Entry *entry) except -1:
        cdef int index
        if not self.attached or not self.chooses(slot):
            return 0
        for index in range(self.pinned_count):
            if self.pinned[index] == database:
                self.early += 1
                try:
                    self.hand_over(self.pinned_number[index], slot, entry)
                except BaseException as trouble:  # kept for step(): the write that found the entry goes on
                    self.failure = trouble
                    self.close()
                return 0
        return 0

    # Delivers an entry, or marks it when it is a large collection.
    cdef int hand_over(self, int database, uint32_t slot, Entry *entry) except -1:
        cdef _Large large
        if _is_large(entry):
            large = _Large()
            if large.open(self.keyspace, database, slot, entry, self.sink):
                self.larges.append(large)
                return 0
        self.sink.entry(database, slot, entry)
        self.delivered += 1
        return 0

    # Delivers one entry of our walk, to whoever up to us is owed it.
    cdef int deliver_word(self, Database *database, uint32_t slot, Entry *entry) except -1:
        cdef Observer other
        for other in self.keyspace.observers:
            if other is not self and entry.epoch < other.epoch and other.epoch < self.epoch:
                other.entry_changes(database, slot, entry)
        self.hand_over(self.pinned_number[self.at_database], slot, entry)
        entry.epoch = self.epoch
        return 0

    cpdef bint step(self, int64_t budget_entries) except -1:
        """Delivers about budget_entries more; True while there is more. Raises what the sink raised."""
        cdef Database *database
        cdef uint64_t words[GATHER_MAX]
        cdef uint32_t found, index, following
        cdef Entry *entry
        cdef _Large large
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        while not self.done:
            if len(self.larges) > 0:
                if budget_entries <= 0:
                    return True
                large = self.larges[0]
                try:
                    if large.step(self.sink, &budget_entries):
                        return True
                except BaseException:
                    self.close()
                    raise
                self.larges.pop(0)
                self.delivered += 1
                continue
            if self.at_database == self.pinned_count:
                self.close()
                break
            if budget_entries <= 0:
                return True
            budget_entries -= 1
            database = self.pinned[self.at_database]
            if self.at_slot % GROUP_SLOTS == 0 and database.group_count[self.at_slot // GROUP_SLOTS] == 0:
                self.at_slot += GROUP_SLOTS
            elif database.table[self.at_slot].root.count == 0 or not self.chooses(self.at_slot):
                self.at_slot += 1
                self.at_position = 0
            else:
                found = table_gather(&database.table[self.at_slot], self.at_position, words, GATHER_MAX, &following)
                if found > GATHER_MAX:
                    raise RuntimeError(f"slot {self.at_slot}: {found} entries share one bucket")
                for index in range(found):
                    entry = word_entry(words[index])
                    if entry.epoch < self.epoch:
                        try:
                            self.deliver_word(database, self.at_slot, entry)
                        except BaseException:
                            self.close()
                            raise
                        budget_entries -= 1
                        if self.sink.full():  # what was delivered of this bucket is not owed any more
                            return True
                self.at_position = following
                if following == 0:
                    self.at_slot += 1
            if self.at_slot >= SLOT_COUNT:
                self.at_database += 1
                self.at_slot = 0
                self.at_position = 0
        return False
