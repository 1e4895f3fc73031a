# Changing a few bytes in the middle of a run that stands in its key's entry.
from node.engine.entry cimport Entry
from node.engine.keyspace cimport Key, Keyspace

# Makes old_bytes at this offset of the entry's run into new_bytes that are anything: the caller writes them. What is
# behind them moves. Returns the entry, which may have moved. MemoryError: nothing changed.
cdef Entry *splice_run(
    Keyspace keyspace, int database, Key *key, Entry *entry, Py_ssize_t offset, Py_ssize_t old_bytes, Py_ssize_t new_bytes
) except NULL
