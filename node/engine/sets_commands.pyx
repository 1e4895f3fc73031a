"""The commands on one set; those on several are in sets_algebra.pyx.

Replicas are told the command's own words, except for what chance decided: SPOP goes out as the SREM of what it took,
or as DEL when it took everything.
"""

from libc.stdint cimport int64_t, uint8_t

from node.engine.entry cimport TYPE_SET, Entry, entry_key, entry_run, entry_type
from node.engine.keyspace cimport Edit, Key
from node.engine.members cimport Members, members_random, members_remove
from node.engine.picks cimport picks_fit, picks_wanted, reply_picked, reply_picked_of_run, reply_walked
from node.engine.registry cimport Registry
from node.engine.run cimport Item, item_text, run_at, run_next
from node.engine.sample cimport sample_below, sample_one
from node.engine.scan cimport Scan, scan_cursor, scan_options, scan_reply, scan_wants
from node.engine.session cimport Session
from node.engine.sets cimport (
    Elements,
    elements_begin,
    elements_next,
    set_add,
    set_count,
    set_has,
    set_members,
    set_remove,
)
from node.engine.span cimport Span, span_to_int64

cdef enum:
    POPPED_TOGETHER = 64  # members that one SREM to replicas names


# --- helpers -------------------------------------------------------------------------------------------

# The set to be read, NULL when there is none; 0 when the key holds something else (the error is written).
cdef inline bint _read_set(Session s, Key *key, Entry **entry) except -1:
    entry[0] = s.keyspace.look(s.database, key) if s.no_touch else s.keyspace.read(s.database, key)
    if entry[0] != NULL and entry_type(entry[0]) != TYPE_SET:
        s.reply_wrong_type()
        return False
    return True


# The same to be changed.
cdef inline bint _find_set(Session s, Key *key, Entry **entry) except -1:
    entry[0] = s.keyspace.find(s.database, key)
    if entry[0] != NULL and entry_type(entry[0]) != TYPE_SET:
        s.reply_wrong_type()
        return False
    return True


# A member of a run by its place.
cdef inline Span _member_at(Span run, const uint8_t *at, uint8_t *digits) noexcept:
    cdef Item item
    run_next(at, run.at + run.len_bytes, &item)
    return item_text(&item, digits)


# --- adding and removing -------------------------------------------------------------------------------

cdef int _sadd(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef int64_t added = 0
    if not _find_set(s, &key, &entry):
        return 0
    set_add(s.keyspace, s.database, &key, entry, s.argv + 2, s.argc - 2, &added)
    if added > 0:
        s.changed(added)
    return s.reply_int64(added)


cdef int _srem(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef int64_t count = 0
    cdef bint removed = False
    cdef int index
    if not _find_set(s, &key, &entry):
        return 0
    for index in range(2, s.argc):
        if entry == NULL:
            break
        entry = set_remove(s.keyspace, s.database, &key, entry, s.argv[index], &removed)
        count += removed
    if count > 0:
        s.changed(count)
    return s.reply_int64(count)


cdef int _smove(Session s) except -1:
    cdef Key source = s.key_at(1)
    cdef Key target = s.key_at(2)
    cdef Entry *from_entry = s.keyspace.find(s.database, &source)
    cdef Entry *to_entry = s.keyspace.find(s.database, &target)
    cdef bint removed = False
    cdef int64_t added = 0
    if from_entry == NULL:
        return s.reply_int64(0)
    if entry_type(from_entry) != TYPE_SET or (to_entry != NULL and entry_type(to_entry) != TYPE_SET):
        return s.reply_wrong_type()
    if from_entry == to_entry:
        return s.reply_int64(set_has(s.keyspace, from_entry, s.argv[3]))
    set_remove(s.keyspace, s.database, &source, from_entry, s.argv[3], &removed)
    if not removed:
        return s.reply_int64(0)
    set_add(s.keyspace, s.database, &target, to_entry, s.argv + 3, 1, &added)
    if added == 0:  # the target had it already
        s.changed_at(1)
    else:
        s.changed(1 + added)
    return s.reply_int64(1)


# --- reading -------------------------------------------------------------------------------------------

cdef int _sismember(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    if not _read_set(s, &key, &entry):
        return 0
    return s.reply_int64(entry != NULL and set_has(s.keyspace, entry, s.argv[2]))


cdef int _smismember(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef int index
    if not _read_set(s, &key, &entry):
        return 0
    s.reply_array(s.argc - 2)
    for index in range(2, s.argc):
        s.reply_int64(entry != NULL and set_has(s.keyspace, entry, s.argv[index]))
    return 0


cdef int _scard(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    if not _read_set(s, &key, &entry):
        return 0
    return s.reply_int64(0 if entry == NULL else set_count(entry))


cdef int _reply_members(Session s, Entry *entry) except -1:
    cdef Elements elements
    cdef Span member
    elements_begin(entry, &elements)
    while elements_next(&elements, &member):
        s.reply_bulk(member)
    return 0


cdef int _smembers(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    if not _read_set(s, &key, &entry):
        return 0
    if entry == NULL:
        return s.reply_set(0)
    s.reply_set(set_count(entry))
    return _reply_members(s, entry)


# --- at random -----------------------------------------------------------------------------------------

cdef int _srandmember(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef int64_t wanted = 1, count
    cdef uint8_t digits[24]
    cdef Span run
    if s.argc > 3:
        return s.reply_syntax_error()
    if s.argc == 3:
        if not picks_wanted(s, &wanted):
            return 0
    if not _read_set(s, &key, &entry):
        return 0
    if entry == NULL:
        return s.reply_null() if s.argc == 2 else s.reply_array(0)
    count = set_count(entry)
    if s.argc == 2:
        if set_members(entry) != NULL:
            return s.reply_bulk(entry_key(sample_one(s.keyspace, set_members(entry))))
        run = entry_run(entry)
        return s.reply_bulk(_member_at(run, run_at(run, <Py_ssize_t> sample_below(s.keyspace, count)), digits))
    if not picks_fit(s, wanted):
        return 0
    if wanted >= count:
        s.reply_array(count)
        return _reply_members(s, entry)
    s.reply_array(abs(wanted))
    if set_members(entry) == NULL:
        return reply_picked_of_run(s, entry_run(entry), count, wanted, False, False)
    return reply_picked(s, set_members(entry), count, wanted, False)


# --- taking out at random ------------------------------------------------------------------------------

cdef int _effect_srem(Session s, Key *key, int64_t count) except -1:
    s.effect(<int> (2 + count))
    s.effect_arg_word("SREM")
    return s.effect_arg(key.name)


cdef int _spop(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef int64_t wanted = 1, count
    if s.argc > 3:
        return s.reply_syntax_error()
    if s.argc == 3 and (not span_to_int64(s.argv[2], &wanted) or wanted < 0):
        return s.reply_error("ERR value is out of range, must be positive")
    if not _find_set(s, &key, &entry):
        return 0
    if entry == NULL:
        return s.reply_null() if s.argc == 2 else s.reply_set(0)
    count = set_count(entry)
    if s.argc == 2:
        s.changed(1)
        return _pop(s, &key, entry, count, 1)
    if wanted >= count:
        s.reply_set(count)
        _reply_members(s, entry)
        s.keyspace.remove(s.database, &key)
        s.changed(count)
        s.effect(2)
        s.effect_arg_word("DEL")
        return s.effect_arg(key.name)
    s.reply_set(wanted)
    if wanted == 0:
        return 0
    s.changed(wanted)
    return _pop(s, &key, entry, count, wanted)


# Takes `wanted` members out, and writes each as a bulk.
cdef int _pop(Session s, Key *key, Entry *entry, int64_t count, int64_t wanted) except -1:
    cdef Members *members = set_members(entry)
    cdef uint8_t digits[24]
    cdef Span member, run
    cdef bint removed = False
    cdef int64_t index
    cdef Edit edit
    if members != NULL and wanted < count:
        s.keyspace.begin_edit(s.database, key, entry, &edit)
        try:
            for index in range(wanted):
                if index % POPPED_TOGETHER == 0:
                    _effect_srem(s, key, min(wanted - index, <int64_t> POPPED_TOGETHER))
                member = entry_key(members_random(members, s.keyspace.random()))
                s.reply_bulk(member)
                s.effect_arg(member)
                members_remove(&s.keyspace.store, members, member)
        finally:
            s.keyspace.end_edit(&edit)
        return 0
    for index in range(wanted):
        if index % POPPED_TOGETHER == 0:
            _effect_srem(s, key, min(wanted - index, <int64_t> POPPED_TOGETHER))
        if members != NULL:
            member = entry_key(members_random(members, s.keyspace.random()))
        else:
            run = entry_run(entry)
            member = _member_at(run, run_at(run, <Py_ssize_t> sample_below(s.keyspace, count - index)), digits)
        s.reply_bulk(member)
        s.effect_arg(member)
        entry = set_remove(s.keyspace, s.database, key, entry, member, &removed)
    return 0


# --- walking -------------------------------------------------------------------------------------------

cdef int _sscan(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef Members *members
    cdef Scan scan
    if not scan_cursor(s, 2, &scan) or not _read_set(s, &key, &entry):
        return 0
    if entry == NULL:
        scan.cursor = 0
        return scan_reply(s, &scan, 0)
    if not scan_options(s, 3, False, &scan):
        return 0
    members = set_members(entry)
    if members == NULL:
        return _scan_run(s, entry, &scan)
    return reply_walked(s, members, &scan, False)


# A small set is answered at once, whatever the cursor.
cdef int _scan_run(Session s, Entry *entry, Scan *scan) except -1:
    cdef Elements elements
    cdef Span member
    cdef int64_t count = 0
    scan.cursor = 0
    elements_begin(entry, &elements)
    while elements_next(&elements, &member):
        count += scan_wants(scan, member)
    scan_reply(s, scan, count)
    elements_begin(entry, &elements)
    while elements_next(&elements, &member):
        if scan_wants(scan, member):
            s.reply_bulk(member)
    return 0


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"sadd", <void *> _sadd)
    registry.add_compiled(b"srem", <void *> _srem)
    registry.add_compiled(b"smove", <void *> _smove)
    registry.add_compiled(b"sismember", <void *> _sismember)
    registry.add_compiled(b"smismember", <void *> _smismember)
    registry.add_compiled(b"scard", <void *> _scard)
    registry.add_compiled(b"smembers", <void *> _smembers)
    registry.add_compiled(b"srandmember", <void *> _srandmember)
    registry.add_compiled(b"spop", <void *> _spop)
    registry.add_compiled(b"sscan", <void *> _sscan)
