"""The commands on hashes, but for the expiry of fields (hashes_expiry.pyx).

Replicas are told the command's own words, except for HINCRBYFLOAT: a replica gets the sum, so that it needs not our
way of rounding.
"""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t

from node.engine.decimals cimport DECIMAL_BYTES_MAX, is_finite, parse_decimal, write_decimal
from node.engine.entry cimport ENTRY_HAS_EXPIRY, TYPE_HASH, Entry, entry_key, entry_run, entry_type
from node.engine.hashes cimport (
    FIELD_KEEP_EXPIRY,
    FIELD_NO_EXPIRY,
    Fields,
    fields_begin,
    fields_next,
    hash_count,
    hash_create,
    hash_get,
    hash_members,
    hash_put,
    hash_remove,
)
from node.engine.keyspace cimport Key
from node.engine.members cimport Members, members_find
from node.engine.picks cimport picks_fit, picks_wanted, reply_picked, reply_picked_of_run, reply_walked
from node.engine.registry cimport Registry
from node.engine.sample cimport sample_one
from node.engine.scan cimport Scan, scan_cursor, scan_options, scan_reply, scan_wants
from node.engine.session cimport Session
from node.engine.span cimport Span, int64_to_bytes, span_is, span_of, span_to_int64

cdef enum:
    WANT_NAMES = 1
    WANT_VALUES = 2


# --- helpers -------------------------------------------------------------------------------------------

# The hash to be read, NULL when there is none; 0 when the key holds something else (the error is written).
cdef inline bint _read_hash(Session s, Key *key, Entry **entry) except -1:
    entry[0] = s.keyspace.look(s.database, key) if s.no_touch else s.keyspace.read(s.database, key)
    if entry[0] != NULL and entry_type(entry[0]) != TYPE_HASH:
        s.reply_wrong_type()
        return False
    return True


# The same to be changed.
cdef inline bint _find_hash(Session s, Key *key, Entry **entry) except -1:
    entry[0] = s.keyspace.find(s.database, key)
    if entry[0] != NULL and entry_type(entry[0]) != TYPE_HASH:
        s.reply_wrong_type()
        return False
    return True


cdef int _reply_empty(Session s, int wanted) except -1:
    return s.reply_map(0) if wanted == WANT_NAMES | WANT_VALUES else s.reply_array(0)


# --- setting -------------------------------------------------------------------------------------------

cdef bint _set_pairs(Session s, const char *name, int64_t *created) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef bint one = False
    cdef int index
    created[0] = 0
    if s.argc % 2 == 1:
        s.reply_error(b"ERR wrong number of arguments for '%s' command" % <bytes> name)
        return False
    if not _find_hash(s, &key, &entry):
        return False
    if entry == NULL:
        hash_create(s.keyspace, s.database, &key, s.argv + 2, (s.argc - 2) // 2, created)
    else:
        for index in range(2, s.argc, 2):
            entry = hash_put(
                s.keyspace, s.database, &key, entry, s.argv[index], s.argv[index + 1], FIELD_NO_EXPIRY, &one
            )
            created[0] += one
    s.changed((s.argc - 2) // 2)
    return True


cdef int _hset(Session s) except -1:
    cdef int64_t created = 0
    if not _set_pairs(s, "hset", &created):
        return 0
    return s.reply_int64(created)


cdef int _hmset(Session s) except -1:
    cdef int64_t created = 0
    if not _set_pairs(s, "hmset", &created):
        return 0
    return s.reply_ok()


cdef int _hsetnx(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef Span value
    cdef uint8_t digits[24]
    cdef bint created = False
    if not _find_hash(s, &key, &entry):
        return 0
    if entry != NULL and hash_get(s.keyspace, entry, s.argv[2], &value, digits):
        return s.reply_int64(0)
    hash_put(s.keyspace, s.database, &key, entry, s.argv[2], s.argv[3], FIELD_NO_EXPIRY, &created)
    s.changed(1)
    return s.reply_int64(1)


cdef int _hdel(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef int64_t count = 0
    cdef bint removed = False
    cdef int index
    if not _find_hash(s, &key, &entry):
        return 0
    for index in range(2, s.argc):
        if entry == NULL:
            break
        entry = hash_remove(s.keyspace, s.database, &key, entry, s.argv[index], &removed)
        count += removed
    if count > 0:
        s.changed(count)
    return s.reply_int64(count)


# --- numbers -------------------------------------------------------------------------------------------

cdef int _hincrby(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef int64_t by = 0, value = 0
    cdef Span text
    cdef uint8_t digits[24]
    cdef bint created = False
    if not s.int64_at(3, &by) or not _find_hash(s, &key, &entry):
        return 0
    if entry != NULL and hash_get(s.keyspace, entry, s.argv[2], &text, digits) and not span_to_int64(text, &value):
        return s.reply_error("ERR hash value is not an integer")
    if (by < 0 and value < INT64_MIN - by) or (by > 0 and value > INT64_MAX - by):
        return s.reply_error("ERR increment or decrement would overflow")
    value += by
    text = span_of(digits, int64_to_bytes(value, digits))
    hash_put(s.keyspace, s.database, &key, entry, s.argv[2], text, FIELD_KEEP_EXPIRY, &created)
    s.changed(1)
    return s.reply_int64(value)


cdef int _hincrbyfloat(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef Entry *member
    cdef long double value = 0, by = 0
    cdef Span text
    cdef uint8_t digits[24]
    cdef char written[DECIMAL_BYTES_MAX]
    cdef bint created = False
    if not parse_decimal(s.argv[3], &by):
        return s.reply_error("ERR value is not a valid float")
    if not is_finite(by):
        return s.reply_error("ERR value is NaN or Infinity")
    if not _find_hash(s, &key, &entry):
        return 0
    if entry != NULL and hash_get(s.keyspace, entry, s.argv[2], &text, digits) and not parse_decimal(text, &value):
        return s.reply_error("ERR hash value is not a float")
    value += by
    if not is_finite(value):
        return s.reply_error("ERR increment would produce NaN or Infinity")
    text = span_of(written, write_decimal(value, written))
    entry = hash_put(s.keyspace, s.database, &key, entry, s.argv[2], text, FIELD_KEEP_EXPIRY, &created)
    s.changed(1)
    member = NULL
    if hash_members(entry) != NULL:
        member = members_find(&s.keyspace.store, hash_members(entry), s.argv[2])
    if member != NULL and member.flags & ENTRY_HAS_EXPIRY:
        s.effect(7)
        s.effect_arg_word("HSETEX")
        s.effect_arg(key.name)
        s.effect_arg_word("KEEPTTL")
        s.effect_arg_word("FIELDS")
        s.effect_arg_word("1")
    else:
        s.effect(4)
        s.effect_arg_word("HSET")
        s.effect_arg(key.name)
    s.effect_arg(s.argv[2])
    s.effect_arg(text)
    return s.reply_bulk(text)


# --- reading -------------------------------------------------------------------------------------------

cdef int _hget(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef Span value
    cdef uint8_t digits[24]
    if not _read_hash(s, &key, &entry):
        return 0
    if entry == NULL or not hash_get(s.keyspace, entry, s.argv[2], &value, digits):
        return s.reply_null()
    return s.reply_bulk(value)


cdef int _hmget(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef Span value
    cdef uint8_t digits[24]
    cdef int index
    if not _read_hash(s, &key, &entry):
        return 0
    s.reply_array(s.argc - 2)
    for index in range(2, s.argc):
        if entry != NULL and hash_get(s.keyspace, entry, s.argv[index], &value, digits):
            s.reply_bulk(value)
        else:
            s.reply_null()
    return 0


cdef int _reply_all(Session s, int wanted) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef Fields fields
    cdef Span name, value
    cdef int64_t count
    if not _read_hash(s, &key, &entry):
        return 0
    if entry == NULL:
        return _reply_empty(s, wanted)
    count = hash_count(s.keyspace, entry)
    if wanted == WANT_NAMES | WANT_VALUES:
        s.reply_map(count)
    else:
        s.reply_array(count)
    fields_begin(entry, &fields)
    while fields_next(s.keyspace, &fields, &name, &value):
        if wanted & WANT_NAMES:
            s.reply_bulk(name)
        if wanted & WANT_VALUES:
            s.reply_bulk(value)
    return 0


cdef int _hgetall(Session s) except -1:
    return _reply_all(s, WANT_NAMES | WANT_VALUES)


cdef int _hkeys(Session s) except -1:
    return _reply_all(s, WANT_NAMES)


cdef int _hvals(Session s) except -1:
    return _reply_all(s, WANT_VALUES)


cdef int _hlen(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    if not _read_hash(s, &key, &entry):
        return 0
    return s.reply_int64(0 if entry == NULL else hash_count(s.keyspace, entry))


cdef int _hexists(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef Span value
    cdef uint8_t digits[24]
    if not _read_hash(s, &key, &entry):
        return 0
    return s.reply_int64(entry != NULL and hash_get(s.keyspace, entry, s.argv[2], &value, digits))


cdef int _hstrlen(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef Span value
    cdef uint8_t digits[24]
    if not _read_hash(s, &key, &entry):
        return 0
    if entry == NULL or not hash_get(s.keyspace, entry, s.argv[2], &value, digits):
        return s.reply_int64(0)
    return s.reply_int64(value.len_bytes)


# --- at random -----------------------------------------------------------------------------------------

cdef int _hrandfield(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef int64_t wanted = 1, live
    cdef bint with_values = s.argc == 4
    cdef Entry *member
    if s.argc >= 3:
        if not picks_wanted(s, &wanted):
            return 0
        if s.argc > 4 or (s.argc == 4 and not span_is(s.argv[3], "WITHVALUES")):
            return s.reply_syntax_error()
        if with_values and (wanted < -(INT64_MAX // 2) or wanted > INT64_MAX // 2):
            return s.reply_error("ERR value is out of range")
    if not _read_hash(s, &key, &entry):
        return 0
    live = 0 if entry == NULL else hash_count(s.keyspace, entry)
    if live == 0:
        return s.reply_null() if s.argc == 2 else s.reply_array(0)
    if s.argc == 2:
        if hash_members(entry) != NULL:
            member = sample_one(s.keyspace, hash_members(entry))
            return s.reply_bulk(entry_key(member))
        return reply_picked_of_run(s, entry_run(entry), live, -1, True, False)
    if not picks_fit(s, wanted):
        return 0
    wanted = min(wanted, live)
    s.reply_array(abs(wanted) * (2 if with_values and s.resp < 3 else 1))
    if hash_members(entry) == NULL:
        return reply_picked_of_run(s, entry_run(entry), live, wanted, True, with_values)
    return reply_picked(s, hash_members(entry), live, wanted, with_values)


# --- walking -------------------------------------------------------------------------------------------

cdef int _hscan(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef Members *members
    cdef Scan scan
    if not scan_cursor(s, 2, &scan) or not _read_hash(s, &key, &entry):
        return 0
    if entry == NULL:
        scan.cursor = 0
        return scan_reply(s, &scan, 0)
    if not scan_options(s, 3, False, &scan):
        return 0
    members = hash_members(entry)
    if members == NULL:
        return _scan_run(s, entry, &scan)
    return reply_walked(s, members, &scan, True)


# A small hash is answered at once, whatever the cursor.
cdef int _scan_run(Session s, Entry *entry, Scan *scan) except -1:
    cdef Fields fields
    cdef Span name, value
    cdef int64_t count = 0
    scan.cursor = 0
    fields_begin(entry, &fields)
    while fields_next(s.keyspace, &fields, &name, &value):
        count += scan_wants(scan, name)
    scan_reply(s, scan, 2 * count)
    fields_begin(entry, &fields)
    while fields_next(s.keyspace, &fields, &name, &value):
        if scan_wants(scan, name):
            s.reply_bulk(name)
            s.reply_bulk(value)
    return 0


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"hset", <void *> _hset)
    registry.add_compiled(b"hmset", <void *> _hmset)
    registry.add_compiled(b"hsetnx", <void *> _hsetnx)
    registry.add_compiled(b"hdel", <void *> _hdel)
    registry.add_compiled(b"hincrby", <void *> _hincrby)
    registry.add_compiled(b"hincrbyfloat", <void *> _hincrbyfloat)
    registry.add_compiled(b"hget", <void *> _hget)
    registry.add_compiled(b"hmget", <void *> _hmget)
    registry.add_compiled(b"hgetall", <void *> _hgetall)
    registry.add_compiled(b"hkeys", <void *> _hkeys)
    registry.add_compiled(b"hvals", <void *> _hvals)
    registry.add_compiled(b"hlen", <void *> _hlen)
    registry.add_compiled(b"hexists", <void *> _hexists)
    registry.add_compiled(b"hstrlen", <void *> _hstrlen)
    registry.add_compiled(b"hrandfield", <void *> _hrandfield)
    registry.add_compiled(b"hscan", <void *> _hscan)
