"""One numbered database: 16,384 slot tables in 512 KiB of address space, of which only touched pages cost memory.

What is known at once, so that nobody has to walk for it: entries in all, in each slot (the table's own count) and in
each group of 64 slots, how many have an expiry, and for each group a moment before which nothing in it
expires. Nothing here looks at a value, with one exception: the names of large hashes with fields that expire stand in
a table of their own, whose entries expire, as it were, when the first of such fields can (lapse.pyx).
"""

from libc.stdlib cimport calloc, free
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap

from node.engine.entry cimport (
    ENCODING_NONE,
    ENCODING_OBJECT,
    TYPE_HASH,
    TYPE_SET,
    entry_encoding,
    entry_key,
    entry_type,
)
from node.engine.members cimport members_new, members_put, members_remove
from node.engine.span cimport span_of

cdef extern from *:
    const bint GRAPEVINE_PLAIN_MALLOC  # the sanitizer build: what lies beyond the end is watched


# Mapped, not allocated: malloc would clear all of the memory that it has used before, and so touch it.
cdef Database *database_new(int number) noexcept nogil:
    cdef Database *database
    cdef void *mapped
    if GRAPEVINE_PLAIN_MALLOC:
        database = <Database *> calloc(1, sizeof(Database))
    else:
        mapped = mmap(NULL, sizeof(Database), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        database = NULL if mapped == MAP_FAILED else <Database *> mapped
    if database != NULL:
        database.number = number
    return database


cdef void database_free(Database *database) noexcept nogil:
    if GRAPEVINE_PLAIN_MALLOC:
        free(database)
    else:
        munmap(database, sizeof(Database))


cdef int database_note_fields(Store *store, Database *database, Span name, int64_t when_ms) except -1:
    if database.lapsing == NULL:
        if when_ms == 0:
            return 0
        database.lapsing = members_new(store, TYPE_SET, sizeof(Members))
        if database.lapsing == NULL:
            raise MemoryError("no memory for the names of hashes with fields that expire")
    if when_ms == 0:
        members_remove(store, database.lapsing, name)
    elif members_put(store, database.lapsing, name, ENCODING_NONE, span_of(NULL, 0), 0, when_ms) == NULL:
        raise MemoryError(f"no memory for a name of {name.len_bytes} bytes")
    return 0


cdef void database_forget_fields(Store *store, Database *database, Entry *entry) noexcept nogil:
    if database.lapsing != NULL and entry_encoding(entry) == ENCODING_OBJECT and entry_type(entry) == TYPE_HASH:
        members_remove(store, database.lapsing, entry_key(entry))
