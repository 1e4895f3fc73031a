# Collections as the values of entries: runs in the entry itself, and structures that it points to.
from libc.stdint cimport int64_t, uint64_t

from node.engine.database cimport Database
from node.engine.entries cimport Entries, Key
from node.engine.entry cimport Entry
from node.engine.object cimport Object
from node.engine.span cimport Span
from node.engine.table cimport Table

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


cdef class Collections(Entries):
    cdef CollectionLimits limits

    # A run of this type instead of whatever was there; it must not lie in the entry it replaces.
    cdef Entry *put_run(self, int database, Key *key, int type, Span run, int64_t expire_ms) except NULL
    # Room for new_len_bytes in the entry of a run: as many of the old bytes as fit are kept, what is behind them is
    # anything. Also the way to change bytes in place: call it with the present length.
    cdef Entry *resize_run(self, int database, Key *key, Entry *entry, Py_ssize_t new_len_bytes) except NULL
    # Takes bytes out of the middle of a run, not all of it. Memory may be needed for that: MemoryError, and nothing changed.
    cdef Entry *cut_run(self, int database, Key *key, Entry *entry, Py_ssize_t offset, Py_ssize_t gone_bytes) except NULL
    # A structure instead of whatever was there. It belongs to the keyspace from here on, even when this fails.
    cdef Entry *put_object(self, int database, Key *key, Object *value, int64_t expire_ms) except NULL
    # Around every change of a structure in place: whoever must see it first does, and bytes are accounted.
    cdef int begin_edit(self, int database, Key *key, Entry *entry, Edit *edit) except -1
    cdef void end_edit(self, Edit *edit) noexcept
    # The entry under another name or in another database, its value unmoved; what was there is replaced.
    cdef Entry *_rename(self, int database, Key *key, int to_database, Key *new_key) except NULL
    # The value and expiry of `entry` (of any database) under another name; what was there is replaced.
    cdef Entry *put_copy(self, int database, Key *key, Entry *entry) except NULL
    # Frees a structure that no entry has, at once or in the background.
    cdef void give_up(self, Object *value) noexcept
