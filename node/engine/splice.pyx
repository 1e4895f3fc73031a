from libc.stdint cimport uint8_t
from libc.string cimport memmove

from node.engine.entry cimport entry_mutable_bytes, entry_run


cdef Entry *splice_run(
    Keyspace keyspace, int database, Key *key, Entry *entry, Py_ssize_t offset, Py_ssize_t old_bytes, Py_ssize_t new_bytes
) except NULL:
    cdef Py_ssize_t len_bytes = entry_run(entry).len_bytes
    cdef Py_ssize_t behind_bytes = len_bytes - offset - old_bytes
    cdef uint8_t *at
    if new_bytes < old_bytes:
        return keyspace.cut_run(database, key, entry, offset + new_bytes, old_bytes - new_bytes)
    # Also when nothing grows: whoever must see it before it changes does.
    entry = keyspace.resize_run(database, key, entry, len_bytes + new_bytes - old_bytes)
    if new_bytes != old_bytes and behind_bytes > 0:
        at = entry_mutable_bytes(entry) + offset
        memmove(at + new_bytes, at + old_bytes, <size_t> behind_bytes)
    return entry
