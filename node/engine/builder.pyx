"""Collections out of elements that come one by one: from a snapshot, from RESTORE, from another collection.

It begins as a run and becomes a structure when it outgrows the limits, as it would under the commands that add
to it, so that a loaded key is kept like a written one.
"""

from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport qsort
from libc.string cimport memmove, memset

from node.engine.buf cimport buf_free, buf_reserve
from node.engine.entry cimport (
    ENCODING_FIELD,
    ENCODING_NONE,
    ENCODING_RAW,
    ENTRY_SORTED,
    FIELD_BYTES_MAX,
    TYPE_HASH,
    TYPE_LIST,
    TYPE_SET,
    TYPE_STREAM,
    Entry,
)
from node.engine.large cimport object_free_some
from node.engine.lists cimport list_making, list_making_add, list_making_drop, list_making_put
from node.engine.members cimport Members, members_find, members_new, members_put
from node.engine.run cimport (
    RUN_INTEGER,
    Item,
    item_bytes,
    item_of,
    item_of_int64,
    item_text,
    item_write,
    run_find,
    run_next,
)
from node.engine.span cimport span_of
from node.engine.stream cimport stream_new
from node.engine.zset cimport (
    Zset,
    pair_bytes,
    pair_find,
    pair_place,
    pair_write,
    zset_add,
    zset_find,
    zset_from_run,
)


cdef int _compare_int64(const void *left, const void *right) noexcept nogil:
    cdef int64_t first = (<const int64_t *> left)[0]
    cdef int64_t second = (<const int64_t *> right)[0]
    return (first > second) - (first < second)


cdef class Builder:
    def __cinit__(self, Keyspace keyspace not None):
        self.keyspace = keyspace
        list_making(&self.items, &keyspace.store)

    def __dealloc__(self):
        self.drop()
        buf_free(&self.run)

    cdef int begin(self, int type) except -1:
        self.drop()
        self.type = type
        self.sorted = type == TYPE_SET
        if type == TYPE_STREAM:  # its reader fills it
            self.object = <Object *> stream_new(self.keyspace.store.heap)
            if self.object == NULL:
                raise MemoryError("no memory for a stream")
        return 0

    # Forgets what was added.
    cdef int drop(self) noexcept:
        cdef int64_t budget = 0x7FFFFFFFFFFFFFFF
        if self.object != NULL:
            object_free_some(&self.keyspace.store, self.object, &budget)
            self.object = NULL
        list_making_drop(&self.items)
        self.run.used_bytes = 0
        self.count = 0
        return 0

    cdef int _append(self, const Item *item) except -1:
        cdef Py_ssize_t need_bytes = item_bytes(item)
        buf_reserve(&self.run, need_bytes)
        item_write(self.run.data + self.run.used_bytes, item)
        self.run.used_bytes += need_bytes
        return 0

    cdef int _put(self, Span name, int encoding, Span value, int64_t expiry_ms) except -1:
        if encoding == ENCODING_FIELD and value.len_bytes > FIELD_BYTES_MAX:
            encoding = ENCODING_RAW
        if members_put(&self.keyspace.store, <Members *> self.object, name, encoding, value, 0, expiry_ms) == NULL:
            raise MemoryError("no memory for a member of a collection")
        return 0

    # From the run to the structure.
    cdef int _grow_up(self) except -1:
        cdef const uint8_t *at = self.run.data
        cdef const uint8_t *end = self.run.data + self.run.used_bytes
        cdef Item item
        cdef Item value
        cdef uint8_t scratch[24]
        cdef uint8_t value_scratch[24]
        self.object = <Object *> members_new(&self.keyspace.store, self.type, sizeof(Members))
        if self.object == NULL:
            raise MemoryError("no memory for a collection")
        while at != end:
            at = run_next(at, end, &item)
            if self.type == TYPE_HASH:
                at = run_next(at, end, &value)
                self._put(item_text(&item, scratch), ENCODING_FIELD, item_text(&value, value_scratch), -1)
            else:
                self._put(item_text(&item, scratch), ENCODING_NONE, span_of(NULL, 0), -1)
        self.run.used_bytes = 0
        return 0

    cdef bint add_field(self, Span field, Span value, int64_t expiry_ms) except -1:
        cdef Item item = item_of(field)
        cdef Item value_item
        cdef Py_ssize_t index
        if self.object == NULL:
            if run_find(span_of(self.run.data, self.run.used_bytes), &item, 0, 2, &index) != NULL:
                return False
            if (
                expiry_ms != -1
                or self.count >= self.keyspace.limits.hash_run_fields
                or field.len_bytes > self.keyspace.limits.hash_run_value_bytes
                or value.len_bytes > self.keyspace.limits.hash_run_value_bytes
            ):
                self._grow_up()
        elif members_find(&self.keyspace.store, <Members *> self.object, field) != NULL:
            return False
        if self.object != NULL:
            self._put(field, ENCODING_FIELD, value, expiry_ms)
        else:
            value_item = item_of(value)
            self._append(&item)
            self._append(&value_item)
        self.count += 1
        return True

    cdef bint add_member(self, Span member) except -1:
        cdef Item item = item_of(member)
        cdef Py_ssize_t index
        cdef int64_t limit
        if self.object == NULL:
            if run_find(span_of(self.run.data, self.run.used_bytes), &item, 0, 1, &index) != NULL:
                return False
            self.sorted = self.sorted and item.kind == RUN_INTEGER
            limit = self.keyspace.limits.set_sorted_members if self.sorted else self.keyspace.limits.set_run_members
            if self.count >= limit or (
                not self.sorted and member.len_bytes > self.keyspace.limits.set_run_value_bytes
            ):
                self._grow_up()
        elif members_find(&self.keyspace.store, <Members *> self.object, member) != NULL:
            return False
        if self.object != NULL:
            self._put(member, ENCODING_NONE, span_of(NULL, 0), -1)
        else:
            self._append(&item)
        self.count += 1
        return True

    cdef bint add_item(self, Span item) except -1:
        cdef Item made = item_of(item)
        list_making_add(&self.items, &made, False)
        self.count += 1
        return True

    cdef int _insert_pair(self, Span member, double score) except -1:
        cdef Py_ssize_t need_bytes = pair_bytes(member, score)
        cdef Py_ssize_t offset
        buf_reserve(&self.run, need_bytes)
        offset = pair_place(span_of(self.run.data, self.run.used_bytes), member, score) - self.run.data
        memmove(
            self.run.data + offset + need_bytes, self.run.data + offset, <size_t> (self.run.used_bytes - offset)
        )
        pair_write(self.run.data + offset, member, score)
        self.run.used_bytes += need_bytes
        return 0

    cdef bint add_scored(self, Span member, double score) except -1:
        cdef const uint8_t *following
        cdef double there
        if self.object == NULL:
            if pair_find(span_of(self.run.data, self.run.used_bytes), member, &following, &there) != NULL:
                return False
            if (
                self.count >= self.keyspace.limits.zset_run_members
                or member.len_bytes > self.keyspace.limits.zset_run_value_bytes
            ):
                self.object = <Object *> zset_from_run(
                    &self.keyspace.store, span_of(self.run.data, self.run.used_bytes)
                )
                self.run.used_bytes = 0
        elif zset_find(&self.keyspace.store, <Zset *> self.object, member) != NULL:
            return False
        if self.object != NULL:
            zset_add(&self.keyspace.store, <Zset *> self.object, member, score)
        else:
            self._insert_pair(member, score)
        self.count += 1
        return True

    # A set of integers in ascending order, as SADD keeps it.
    cdef int _sort(self) except -1:
        cdef Buf numbers
        cdef const uint8_t *at = self.run.data
        cdef const uint8_t *end = self.run.data + self.run.used_bytes
        cdef int64_t index
        cdef Item item
        memset(&numbers, 0, sizeof(Buf))
        buf_reserve(&numbers, <Py_ssize_t> self.count * 8)
        try:
            for index in range(self.count):
                at = run_next(at, end, &item)
                (<int64_t *> numbers.data)[index] = item.integer
            qsort(numbers.data, <size_t> self.count, 8, _compare_int64)
            self.run.used_bytes = 0
            for index in range(self.count):
                item = item_of_int64((<int64_t *> numbers.data)[index])
                self._append(&item)
        finally:
            buf_free(&numbers)
        return 0

    cdef bint finish(self, int database, Key *key, int64_t expire_ms) except -1:
        cdef Object *value = self.object
        cdef Entry *entry
        if self.count == 0:
            return False
        if self.type == TYPE_LIST:
            list_making_put(&self.items, self.keyspace, database, key, expire_ms)
        elif value != NULL:
            self.object = NULL
            self.keyspace.put_object(database, key, value, expire_ms)
        else:
            if self.sorted:
                self._sort()
            entry = self.keyspace.put_run(
                database, key, self.type, span_of(self.run.data, self.run.used_bytes), expire_ms
            )
            if self.sorted:
                entry.flags |= ENTRY_SORTED
        self.drop()
        return True
