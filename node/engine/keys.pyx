"""The commands on keys of any type: deleting, expiring, renaming, walking, looking at them."""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t, uint32_t, uint64_t

from node.engine.entry cimport (
    ENCODING_INT,
    ENCODING_OBJECT,
    ENTRY_EDITED,
    ENTRY_SORTED,
    TYPE_HASH,
    TYPE_LIST,
    TYPE_SET,
    TYPE_STREAM,
    TYPE_STRING,
    TYPE_ZSET,
    Entry,
    entry_encoding,
    entry_expiry_ms,
    entry_key,
    entry_string,
    entry_type,
)
from node.engine.glob cimport glob_matches
from node.engine.heat cimport HEAT_FREQUENCY, HEAT_QUEUE, heat_frequency, heat_idle
from node.engine.keyspace cimport EXPIRY_NONE, Key, Keyspace
from node.engine.lists cimport list_is_quicklist
from node.engine.registry cimport Registry
from node.engine.scan cimport Scan, scan_cursor, scan_done, scan_options, scan_reply, scan_wants
from node.engine.session cimport Session
from node.engine.span cimport Span, span_bytes, span_equal, span_is, span_of, span_to_int64
from node.engine.table cimport GATHER_MAX

cdef enum:
    IF_NONE = 1  # NX
    IF_ANY = 2  # XX
    IF_LATER = 4  # GT
    IF_EARLIER = 8  # LT

cdef enum:
    EMBEDDED_BYTES_MAX = 44  # up to here Redis says embstr

cdef list TYPE_WORDS = [b"string", b"list", b"set", b"zset", b"hash", None, b"stream"]


# --- deleting and counting -------------------------------------------------------------------------------

cdef int _del(Session s) except -1:
    cdef Key key
    cdef int index
    cdef int64_t removed = 0
    for index in range(1, s.argc):
        key = s.key_at(index)
        removed += s.keyspace.remove(s.database, &key)
    if removed > 0:
        s.changed(removed)
    return s.reply_int64(removed)


cdef int _exists(Session s) except -1:
    cdef Key key
    cdef int index
    cdef int64_t found = 0
    for index in range(1, s.argc):
        key = s.key_at(index)
        found += s.keyspace.look(s.database, &key) != NULL
    return s.reply_int64(found)


cdef int _touch(Session s) except -1:
    cdef Key key
    cdef int index
    cdef int64_t found = 0
    for index in range(1, s.argc):
        key = s.key_at(index)
        found += s.keyspace.read(s.database, &key) != NULL
    return s.reply_int64(found)


cdef int _type(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = s.keyspace.look(s.database, &key)
    return s.reply_simple(b"none" if entry == NULL else <bytes> TYPE_WORDS[entry_type(entry)])


cdef int _dbsize(Session s) except -1:
    return s.reply_int64(s.keyspace.count(s.database))


# --- expiring --------------------------------------------------------------------------------------------

cdef int _reply_expiry(Session s, bint left, bint seconds) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = s.keyspace.look(s.database, &key)
    cdef int64_t when_ms
    if entry == NULL:
        return s.reply_int64(-2)
    when_ms = entry_expiry_ms(entry)
    if when_ms == EXPIRY_NONE:
        return s.reply_int64(-1)
    if left:
        when_ms = max(when_ms - s.keyspace.now_ms, <int64_t> 0)
    if seconds:
        when_ms = when_ms // 1000 + (when_ms % 1000 >= 500)
    return s.reply_int64(when_ms)


cdef int _ttl(Session s) except -1:
    return _reply_expiry(s, True, True)


cdef int _pttl(Session s) except -1:
    return _reply_expiry(s, True, False)


cdef int _expiretime(Session s) except -1:
    return _reply_expiry(s, False, True)


cdef int _pexpiretime(Session s) except -1:
    return _reply_expiry(s, False, False)


# The conditions from argv[3] on. On failure the error is written and 0 returned.
cdef bint _parse_conditions(Session s, int *conditions) except -1:
    cdef int index
    cdef int found = 0
    cdef Span word
    for index in range(3, s.argc):
        word = s.argv[index]
        if span_is(word, "NX"):
            found |= IF_NONE
        elif span_is(word, "XX"):
            found |= IF_ANY
        elif span_is(word, "GT"):
            found |= IF_LATER
        elif span_is(word, "LT"):
            found |= IF_EARLIER
        else:
            s.reply_error_bytes((b"ERR Unsupported option " + span_bytes(word).partition(b"\0")[0]).rstrip(b"\r\n"))
            return False
    if found & IF_NONE and found & ~IF_NONE:
        s.reply_error("ERR NX and XX, GT or LT options at the same time are not compatible")
        return False
    if found & IF_LATER and found & IF_EARLIER:
        s.reply_error("ERR GT and LT options at the same time are not compatible")
        return False
    conditions[0] = found
    return True


cdef int _expire_at(Session s, int64_t base_ms, bint seconds, bytes name) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry
    cdef int conditions = 0
    cdef int64_t when_ms = 0
    cdef int64_t present_ms
    if not _parse_conditions(s, &conditions) or not s.int64_at(2, &when_ms):
        return 0
    if (seconds and (when_ms > INT64_MAX // 1000 or when_ms < INT64_MIN // 1000)):
        return s.reply_error_bytes(b"ERR invalid expire time in '%s' command" % name)
    if seconds:
        when_ms *= 1000
    if when_ms > INT64_MAX - base_ms:
        return s.reply_error_bytes(b"ERR invalid expire time in '%s' command" % name)
    when_ms += base_ms
    entry = s.keyspace.find(s.database, &key)
    if entry == NULL:
        return s.reply_int64(0)
    present_ms = entry_expiry_ms(entry)
    if (
        (conditions & IF_NONE and present_ms != EXPIRY_NONE)
        or (conditions & IF_ANY and present_ms == EXPIRY_NONE)
        # No expiry counts as never: later than any time.
        or (conditions & IF_LATER and (present_ms == EXPIRY_NONE or when_ms <= present_ms))
        or (conditions & IF_EARLIER and present_ms != EXPIRY_NONE and when_ms >= present_ms)
    ):
        return s.reply_int64(0)
    if when_ms <= s.keyspace.now_ms and not s.keyspace.follower:
        s.keyspace.remove(s.database, &key)
        s.changed(1)
        s.effect(2)
        s.effect_arg_word("DEL")
        s.effect_arg(key.name)
        return s.reply_int64(1)
    # A follower that is told of a moment long gone keeps the key, hidden, until its primary deletes it;
    # an expiry of -1 would mean none.
    s.keyspace.set_expiry(s.database, &key, entry, max(when_ms, <int64_t> 0))
    s.changed(1)
    s.effect(3)
    s.effect_arg_word("PEXPIREAT")
    s.effect_arg(key.name)
    s.effect_arg_int64(when_ms)
    return s.reply_int64(1)


cdef int _expire(Session s) except -1:
    return _expire_at(s, s.keyspace.now_ms, True, b"expire")


cdef int _pexpire(Session s) except -1:
    return _expire_at(s, s.keyspace.now_ms, False, b"pexpire")


cdef int _expireat(Session s) except -1:
    return _expire_at(s, 0, True, b"expireat")


cdef int _pexpireat(Session s) except -1:
    return _expire_at(s, 0, False, b"pexpireat")


cdef int _persist(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = s.keyspace.find(s.database, &key)
    if entry == NULL or entry_expiry_ms(entry) == EXPIRY_NONE:
        return s.reply_int64(0)
    s.keyspace.set_expiry(s.database, &key, entry, EXPIRY_NONE)
    s.changed(1)
    return s.reply_int64(1)


# --- other names, other databases ------------------------------------------------------------------------

cdef int _rename_to(Session s, bint only_free) except -1:
    cdef Key key = s.key_at(1)
    cdef Key target = s.key_at(2)
    cdef Entry *entry = s.keyspace.find(s.database, &key)
    if entry == NULL:
        return s.reply_error("ERR no such key")
    if span_equal(key.name, target.name):
        return s.reply_int64(0) if only_free else s.reply_ok()
    if only_free and s.keyspace.find(s.database, &target) != NULL:
        return s.reply_int64(0)
    s.keyspace._rename(s.database, &key, s.database, &target)
    s.changed(1)
    return s.reply_int64(1) if only_free else s.reply_ok()


cdef int _rename(Session s) except -1:
    return _rename_to(s, False)


cdef int _renamenx(Session s) except -1:
    return _rename_to(s, True)


# A database number as Redis reads one: first an integer, then an int, then one that exists.
cdef bint _database_at(Session s, int index, const char *not_integer, int *database) except -1:
    cdef int64_t number = 0
    if not span_to_int64(s.argv[index], &number):
        if not_integer == NULL:
            s.reply_not_integer()
        else:
            s.reply_error(not_integer)
        return False
    if number < -2147483648LL or number > 2147483647LL:
        if not_integer == NULL:
            s.reply_error("ERR value is out of range, value must between -2147483648 and 2147483647")
        else:
            s.reply_error(not_integer)
        return False
    if number < 0 or number >= s.keyspace.database_count:
        database[0] = -1
        return True
    database[0] = <int> number
    return True


cdef int _copy(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Key target = s.key_at(2)
    cdef int database = s.database
    cdef bint replace = False
    cdef int index = 3
    cdef Entry *entry
    while index < s.argc:
        if span_is(s.argv[index], "REPLACE"):
            replace = True
        elif span_is(s.argv[index], "DB") and index + 1 < s.argc:
            index += 1
            if not _database_at(s, index, NULL, &database):
                return 0
            if database < 0 and not s.engine.cluster:  # there it is refused below, whatever its number
                return s.reply_error("ERR DB index is out of range")
        else:
            return s.reply_syntax_error()
        index += 1
    if s.engine.cluster and (s.database != 0 or database != 0):
        return s.reply_error("ERR Copying to another database is not allowed in cluster mode")
    if database == s.database and span_equal(key.name, target.name):
        return s.reply_error("ERR source and destination objects are the same")
    entry = s.keyspace.look(s.database, &key) if s.no_touch else s.keyspace.read(s.database, &key)
    if entry == NULL:
        return s.reply_int64(0)
    if s.keyspace.find(database, &target) != NULL and not replace:
        return s.reply_int64(0)
    s.keyspace.put_copy(database, &target, entry)
    if database == s.database:
        s.changed(1)
    else:
        _touch_elsewhere(s, database, target.name)
        s.changed_aside(1)
    return s.reply_int64(1)


cdef int _move(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef int database = 0
    cdef Entry *entry
    if s.engine.cluster:
        return s.reply_error("ERR MOVE is not allowed in cluster mode")
    if not _database_at(s, 2, NULL, &database):
        return 0
    if database < 0:
        return s.reply_error("ERR DB index is out of range")
    if database == s.database:
        return s.reply_error("ERR source and destination objects are the same")
    entry = s.keyspace.find(s.database, &key)
    if entry == NULL or s.keyspace.find(database, &key) != NULL:
        return s.reply_int64(0)
    s.keyspace._rename(s.database, &key, database, &key)
    _touch_elsewhere(s, database, key.name)
    s.changed(1)
    return s.reply_int64(1)


# The session tells who watches a command's keys in its own database; here is another one.
cdef int _touch_elsewhere(Session s, int database, Span name) except -1:
    if s.engine.watched or s.engine.waiters.pair_count:
        s.engine.touch_watched(database, span_bytes(name), True)
    return 0


cdef int _swapdb(Session s) except -1:
    cdef int left = 0, right = 0
    if s.engine.cluster:
        return s.reply_error("ERR SWAPDB is not allowed in cluster mode")
    if not _database_at(s, 1, "ERR invalid first DB index", &left):
        return 0
    if not _database_at(s, 2, "ERR invalid second DB index", &right):
        return 0
    if left < 0 or right < 0:
        return s.reply_error("ERR DB index is out of range")
    if left != right:
        s.engine.touch_swapped(left, right)
        s.keyspace.swap(left, right)
    s.changed(1)
    return s.reply_ok()


cdef int _flush(Session s, int database) except -1:
    if s.argc > 2 or (s.argc == 2 and not span_is(s.argv[1], "ASYNC") and not span_is(s.argv[1], "SYNC")):
        return s.reply_syntax_error()
    # The same for both: what was there is out of sight at once and freed in the background.
    s.engine.touch_cleared(database)
    s.keyspace.clear(database)
    s.changed(1)
    return s.reply_ok()


cdef int _flushdb(Session s) except -1:
    return _flush(s, s.database)


cdef int _flushall(Session s) except -1:
    return _flush(s, -1)


# --- walking ---------------------------------------------------------------------------------------------

cdef int _keys(Session s) except -1:
    cdef Entry *found[GATHER_MAX]
    cdef uint64_t cursor = 0
    cdef uint32_t count, index
    cdef Span pattern = s.argv[1]
    cdef Span name
    cdef bint all_names = pattern.len_bytes == 1 and pattern.at[0] == 42
    names = []
    while True:
        count = s.keyspace.walk(s.database, &cursor, found)
        for index in range(count):
            name = entry_key(found[index])
            if (all_names or glob_matches(pattern, name, False)) and not s.keyspace.is_expired(found[index]):
                names.append(span_bytes(name))
        if cursor == 0:
            break
    return _reply_names(s, names)


cdef int _reply_names(Session s, list names) except -1:
    s.reply_array(len(names))
    return _write_names(s, names)


cdef int _write_names(Session s, list names) except -1:
    cdef bytes name
    for name in names:
        s.reply_bulk(span_of(<const char *> name, len(name)))
    return 0


cdef int _scan(Session s) except -1:
    cdef Entry *found[GATHER_MAX]
    cdef uint32_t gathered, which
    cdef int wanted_type = -1
    cdef Scan scan
    cdef Span name
    if not scan_cursor(s, 1, &scan) or not scan_options(s, 2, True, &scan):
        return 0
    if not scan.any_type:
        word = span_bytes(scan.type).lower()
        wanted_type = TYPE_WORDS.index(word) if word in TYPE_WORDS else -1
    names = []
    while True:
        gathered = s.keyspace.walk(s.database, &scan.cursor, found)
        for which in range(gathered):
            name = entry_key(found[which])
            if (
                scan_wants(&scan, name)
                and (scan.any_type or entry_type(found[which]) == wanted_type)
                and not s.keyspace.is_expired(found[which])
            ):
                names.append(span_bytes(name))
        if scan_done(&scan, gathered):
            break
    scan_reply(s, &scan, len(names))
    return _write_names(s, names)


cdef int _randomkey(Session s) except -1:
    cdef Entry *entry = s.keyspace.random_entry(s.database)
    if entry == NULL:
        return s.reply_null()
    return s.reply_bulk(entry_key(entry))


# --- looking at values -------------------------------------------------------------------------------------

# Of a collection's run and of its structure, by type.
cdef dict RUN_NAMES = {TYPE_SET: b"listpack", TYPE_ZSET: b"listpack", TYPE_HASH: b"listpack"}
cdef dict OBJECT_NAMES = {
    TYPE_SET: b"hashtable",
    TYPE_ZSET: b"skiplist",
    TYPE_HASH: b"hashtable",
    TYPE_STREAM: b"stream",
}


# As Redis 7.2 names what it would keep such a value in; ours are kept likewise, if not in the same structures.
cdef bytes _encoding_name(Entry *entry):
    cdef uint8_t scratch[24]
    if entry_type(entry) == TYPE_LIST:
        return b"quicklist" if list_is_quicklist(entry) else b"listpack"
    if entry_encoding(entry) == ENCODING_OBJECT:
        return OBJECT_NAMES[entry_type(entry)]
    if entry_type(entry) != TYPE_STRING:
        return b"intset" if entry.flags & ENTRY_SORTED else <bytes> RUN_NAMES[entry_type(entry)]
    if entry_encoding(entry) == ENCODING_INT:
        return b"int"
    if entry.flags & ENTRY_EDITED or entry_string(entry, scratch).len_bytes > EMBEDDED_BYTES_MAX:
        return b"raw"
    return b"embstr"


cdef int _object_encoding(Session s) except -1:
    cdef Key key = s.key_at(2)
    cdef Entry *entry = s.keyspace.look(s.database, &key)
    cdef bytes name
    if entry == NULL:
        return s.reply_null()
    name = _encoding_name(entry)
    return s.reply_bulk(span_of(<const char *> name, len(name)))


cdef int _object_refcount(Session s) except -1:
    cdef Key key = s.key_at(2)
    if s.keyspace.look(s.database, &key) == NULL:
        return s.reply_null()
    return s.reply_int64(1)


cdef int _object_idletime(Session s) except -1:
    cdef Key key = s.key_at(2)
    cdef Entry *entry = s.keyspace.look(s.database, &key)
    cdef int64_t units
    if entry == NULL:
        return s.reply_null()
    if s.keyspace.heat.kind == HEAT_FREQUENCY:
        return s.reply_error(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching"
            " between policies at runtime LRU and LFU data will take some time to adjust."
        )
    if s.keyspace.heat.kind == HEAT_QUEUE:
        return s.reply_error(
            "ERR An S3-FIFO maxmemory policy is selected, idle time not tracked. Please note that when switching"
            " between policies at runtime the data will take some time to adjust."
        )
    units = heat_idle(&s.keyspace.heat, entry)
    return s.reply_int64((units * 1024 + 500) // 1000)


cdef int _object_freq(Session s) except -1:
    cdef Key key = s.key_at(2)
    cdef Entry *entry = s.keyspace.look(s.database, &key)
    if entry == NULL:
        return s.reply_null()
    if s.keyspace.heat.kind == HEAT_FREQUENCY:
        return s.reply_int64(heat_frequency(&s.keyspace.heat, entry))
    return s.reply_error(
        "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching"
        " between policies at runtime LRU and LFU data will take some time to adjust."
    )


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"del", <void *> _del)
    registry.add_compiled(b"unlink", <void *> _del)
    registry.add_compiled(b"exists", <void *> _exists)
    registry.add_compiled(b"touch", <void *> _touch)
    registry.add_compiled(b"type", <void *> _type)
    registry.add_compiled(b"dbsize", <void *> _dbsize)
    registry.add_compiled(b"ttl", <void *> _ttl)
    registry.add_compiled(b"pttl", <void *> _pttl)
    registry.add_compiled(b"expiretime", <void *> _expiretime)
    registry.add_compiled(b"pexpiretime", <void *> _pexpiretime)
    registry.add_compiled(b"expire", <void *> _expire)
    registry.add_compiled(b"pexpire", <void *> _pexpire)
    registry.add_compiled(b"expireat", <void *> _expireat)
    registry.add_compiled(b"pexpireat", <void *> _pexpireat)
    registry.add_compiled(b"persist", <void *> _persist)
    registry.add_compiled(b"rename", <void *> _rename)
    registry.add_compiled(b"renamenx", <void *> _renamenx)
    registry.add_compiled(b"copy", <void *> _copy)
    registry.add_compiled(b"move", <void *> _move)
    registry.add_compiled(b"swapdb", <void *> _swapdb)
    registry.add_compiled(b"flushdb", <void *> _flushdb)
    registry.add_compiled(b"flushall", <void *> _flushall)
    registry.add_compiled(b"keys", <void *> _keys)
    registry.add_compiled(b"scan", <void *> _scan)
    registry.add_compiled(b"randomkey", <void *> _randomkey)
    registry.add_compiled(b"object|encoding", <void *> _object_encoding)
    registry.add_compiled(b"object|refcount", <void *> _object_refcount)
    registry.add_compiled(b"object|idletime", <void *> _object_idletime)
    registry.add_compiled(b"object|freq", <void *> _object_freq)
