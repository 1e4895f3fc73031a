"""Fields of hashes whose time has come.

A command that meets an expired field takes it for missing; the memory comes back here, in bounded steps. Each database
knows the names of its large hashes with fields that expire, in a table (Database.lapsing) whose entries expire, as it
were, when the first field of that hash can: so hashes with nothing due cost nothing, and finding due ones is finding
due members (due.pyx), as finding due fields within a hash is. The moment kept for a hash is never later than its first
field's, and is put right when it has come.

Replicas never delete a field by themselves: they are told HDEL, which also removes a hash that has lost its last one.
"""

from libc.stdint cimport int64_t, uint32_t

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from node.engine.database cimport Database, database_note_fields
from node.engine.database cimport Database, database_note_fields
from node.engine.due cimport due_any, due_bound, due_gather
from node.engine.entry cimport (
    ENCODING_OBJECT,
    TYPE_HASH,
    entry_encoding,
    entry_expiry_ms,
    entry_key,
    entry_object,
    entry_type,
)
from node.engine.keyspace cimport Edit
from node.engine.members cimport Members, members_count, members_find, members_remove
from node.engine.span cimport span_bytes, span_of

cdef enum:
    TOGETHER = 64  # fields that one HDEL names, hashes that are looked up at once


cdef int _announce(Keyspace keyspace, int database, Span key, Entry **fields, uint32_t count) except -1:
    cdef uint32_t index
    if keyspace.effects is None or not keyspace.effects.active:
        return 0
    keyspace.effects.begin(database, <int> (2 + count))
    keyspace.effects.arg_word("HDEL")
    keyspace.effects.arg(key)
    for index in range(count):
        keyspace.effects.arg(entry_key(fields[index]))
    return 0


cdef int lapse_announce(Keyspace keyspace, int database, Span key, Span field) except -1:
    if keyspace.effects is None or not keyspace.effects.active:
        return 0
    keyspace.effects.begin(database, 3)
    keyspace.effects.arg_word("HDEL")
    keyspace.effects.arg(key)
    return keyspace.effects.arg(field)


cdef int lapse_note(Keyspace keyspace, int database, Key *key, Entry *entry) except -1:
    cdef Database *opened = keyspace.open_database(database)
    cdef int64_t when_ms = due_bound(<Members *> entry_object(entry))
    cdef Entry *noted = NULL
    if opened.lapsing != NULL:
        noted = members_find(&keyspace.store, opened.lapsing, key.name)
    # A moment that is too early does no harm.
    if when_ms == 0 or (noted != NULL and entry_expiry_ms(noted) <= when_ms):
        return 0
    return database_note_fields(&keyspace.store, opened, key.name, when_ms)


# Removes what is due in one hash; returns about how much it did.
cdef int64_t _expire_hash(Keyspace keyspace, Database *database, bytes name, int64_t budget) except -1:
    cdef Key key = keyspace.locate(span_of(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)))
    cdef Entry *entry = keyspace.find(database.number, &key)
    cdef Entry *due[TOGETHER]
    cdef Members *members
    cdef uint32_t count, index
    cdef int64_t done = 1
    cdef Edit edit
    if entry == NULL or entry_type(entry) != TYPE_HASH or entry_encoding(entry) != ENCODING_OBJECT:
        database_note_fields(&keyspace.store, database, key.name, 0)
        return done
    members = <Members *> entry_object(entry)
    while done <= budget:
        count = due_gather(members, keyspace.now_ms, due, TOGETHER)
        if count == 0:
            break
        _announce(keyspace, database.number, key.name, due, count)
        keyspace.begin_edit(database.number, &key, entry, &edit)
        for index in range(count):
            members_remove(&keyspace.store, members, entry_key(due[index]))
        keyspace.end_edit(&edit)
        keyspace.expired_fields += count
        done += count
        if members_count(members) == 0:
            keyspace.remove(database.number, &key)
            return done
    database_note_fields(&keyspace.store, database, key.name, due_bound(members) if members.expiry_count > 0 else 0)
    return done


def expire_fields(Keyspace keyspace not None, int64_t budget_fields):
    """Deletes fields that have expired, about budget_fields of them; True when it stopped for the budget."""
    cdef Entry *due[TOGETHER]
    cdef Database *database
    cdef uint32_t count, index
    cdef int number
    if keyspace.follower:
        return False
    for number in range(keyspace.database_count):
        database = keyspace.databases[number]
        while database != NULL and database.lapsing != NULL and due_any(database.lapsing, keyspace.now_ms):
            if budget_fields <= 0:
                return True
            count = due_gather(database.lapsing, keyspace.now_ms, due, TOGETHER)
            names = [span_bytes(entry_key(due[index])) for index in range(count)]
            for name in names:
                # At least a little of each, so that every one of them is noted again.
                budget_fields -= _expire_hash(keyspace, database, name, budget_fields)
    return False
