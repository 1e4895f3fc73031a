"""The commands on the expiry of hash fields, as Redis 7.4 and 8.0 document them.

Replicas are told moments, not spans of time: HPEXPIREAT, or HSETEX with PXAT. Fields that go because the moment is
past go out as HDEL. A follower keeps what its primary tells it to keep, however late it is there.

Sources: https://redis.io/docs/latest/commands/hexpire/ and the pages of the others.
"""

from libc.stdint cimport int64_t, uint8_t

from node.engine.entry cimport TYPE_HASH, Entry, entry_type
from node.engine.hashes cimport (
    FIELD_KEEP_EXPIRY,
    FIELD_NO_EXPIRY,
    hash_expiry,
    hash_get,
    hash_put,
    hash_remove,
    hash_set_expiry,
)
from node.engine.keyspace cimport Key
from node.engine.registry cimport Registry
from node.engine.session cimport Session
from node.engine.span cimport Span, span_is, span_to_int64

cdef enum:
    IN_SECONDS = 1
    IN_MS = 2
    AT_SECONDS = 4
    AT_MS = 8
    ANY_TIME = 15
    SECONDS = 5
    ABSOLUTE = 12
    KEEP = 16
    ONLY_NEW = 32  # FNX
    ONLY_OLD = 64  # FXX

cdef enum:
    NO_SUCH_FIELD = -2
    NO_EXPIRY = -1
    CONDITION_NOT_MET = 0
    EXPIRY_SET = 1
    FIELD_DELETED = 2

# Redis keeps moments of fields in 46 bits: up to the year 4199.
cdef int64_t MOMENT_MAX_MS = 0x3FFFFFFFFFFF


# --- helpers -------------------------------------------------------------------------------------------

cdef inline bint _find_hash(Session s, Key *key, Entry **entry) except -1:
    entry[0] = s.keyspace.find(s.database, key)
    if entry[0] != NULL and entry_type(entry[0]) != TYPE_HASH:
        s.reply_wrong_type()
        return False
    return True


# FIELDS count field... in argv[index], to the end; `each` words for a field. On failure the error is written.
cdef bint _parse_fields(Session s, int index, int each, const char *bad_count) except -1:
    cdef int64_t count = 0
    if index + 1 >= s.argc or not span_is(s.argv[index], "FIELDS"):
        s.reply_error("ERR Mandatory argument FIELDS is missing or not at the right position")
        return False
    if not span_to_int64(s.argv[index + 1], &count) or count < 1:
        s.reply_error(bad_count)
        return False
    if count > s.argc or count * each != s.argc - index - 2:
        s.reply_error("ERR The `numfields` parameter must match the number of arguments")
        return False
    return True


cdef int _invalid_expiry(Session s) except -1:
    cdef bytes text = b"ERR invalid expire time in '%s' command" % s.command.name.encode()
    return s.reply_error(text)


# The moment meant by argv[index] in the unit of flags. On failure the error is written and 0 returned.
cdef bint _moment(Session s, int index, int flags, int64_t *when_ms) except -1:
    cdef int64_t value = 0
    cdef int64_t base_ms = 0 if flags & ABSOLUTE else s.keyspace.now_ms
    if not s.int64_at(index, &value):
        return False
    if value < 0:
        s.reply_error("ERR invalid expire time, must be >= 0")
        return False
    if flags & SECONDS:
        if value > MOMENT_MAX_MS // 1000:
            _invalid_expiry(s)
            return False
        value *= 1000
    if value > MOMENT_MAX_MS - base_ms:
        _invalid_expiry(s)
        return False
    when_ms[0] = value + base_ms
    return True


# Whether a field that expires then is gone already. Only a primary says so.
cdef inline bint _is_past(Session s, int64_t when_ms) noexcept:
    return when_ms <= s.keyspace.now_ms and not s.keyspace.follower and not s.apply_stream


# Begins the effect that names `count` of the fields.
cdef int _effect_fields(Session s, const char *word, Key *key, int64_t when_ms, int count) except -1:
    s.effect(5 + count if when_ms >= 0 else 2 + count)
    s.effect_arg_word(word)
    s.effect_arg(key.name)
    if when_ms >= 0:
        s.effect_arg_int64(when_ms)
        s.effect_arg_word("FIELDS")
        s.effect_arg_int64(count)
    return 0


# What each of the fields from argv[first] on came to, in the order of the words, as replicas must hear it: results[i]
# of field i. Fields that were deleted first: nobody else's expiry follows from that.
cdef int _effects(Session s, Key *key, int first, int64_t when_ms, list results) except -1:
    cdef int deleted = results.count(FIELD_DELETED), updated = results.count(EXPIRY_SET), index
    if deleted > 0:
        _effect_fields(s, "HDEL", key, -1, deleted)
        for index in range(len(results)):
            if results[index] == FIELD_DELETED:
                s.effect_arg(s.argv[first + index])
    if updated > 0:
        _effect_fields(s, "HPEXPIREAT", key, when_ms, updated)
        for index in range(len(results)):
            if results[index] == EXPIRY_SET:
                s.effect_arg(s.argv[first + index])
    return 0


# Lets one field expire, or deletes it when that is past. Returns EXPIRY_SET or FIELD_DELETED.
cdef int _expire_field(Session s, Key *key, Entry **entry, Span field, int64_t when_ms) except -3:
    cdef bint removed = False
    if _is_past(s, when_ms):
        entry[0] = hash_remove(s.keyspace, s.database, key, entry[0], field, &removed)
        return FIELD_DELETED
    entry[0] = hash_set_expiry(s.keyspace, s.database, key, entry[0], field, when_ms)
    return EXPIRY_SET


# --- HEXPIRE and its like ------------------------------------------------------------------------------

cdef inline bint _condition_met(Session s, Span condition, int64_t old_ms, int64_t when_ms) noexcept:
    if span_is(condition, "NX"):
        return old_ms == FIELD_NO_EXPIRY
    if span_is(condition, "XX"):
        return old_ms != FIELD_NO_EXPIRY
    if span_is(condition, "GT"):
        return old_ms != FIELD_NO_EXPIRY and when_ms > old_ms
    return old_ms == FIELD_NO_EXPIRY or when_ms < old_ms


cdef inline bint _is_condition(Span word) noexcept:
    return span_is(word, "NX") or span_is(word, "XX") or span_is(word, "GT") or span_is(word, "LT")


cdef int _expire(Session s, int unit) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef int64_t when_ms = 0, old_ms = 0
    cdef bint conditional = _is_condition(s.argv[3])
    cdef int first = 6 if conditional else 5
    cdef int index, changed = 0
    cdef list results = []
    if not _find_hash(s, &key, &entry) or not _moment(s, 2, unit, &when_ms):
        return 0
    if not _parse_fields(s, first - 2, 1, "ERR Parameter `numFields` should be greater than 0"):
        return 0
    for index in range(first, s.argc):
        if entry == NULL or not hash_expiry(s.keyspace, entry, s.argv[index], &old_ms):
            results.append(NO_SUCH_FIELD)
        elif conditional and not _condition_met(s, s.argv[3], old_ms, when_ms):
            results.append(CONDITION_NOT_MET)
        else:
            results.append(_expire_field(s, &key, &entry, s.argv[index], when_ms))
            changed += 1
    s.reply_array(s.argc - first)
    for index in range(s.argc - first):
        s.reply_int64(results[index])
    if changed > 0:
        s.changed(changed)
        _effects(s, &key, first, when_ms, results)
    return 0


cdef int _hexpire(Session s) except -1:
    return _expire(s, IN_SECONDS)


cdef int _hpexpire(Session s) except -1:
    return _expire(s, IN_MS)


cdef int _hexpireat(Session s) except -1:
    return _expire(s, AT_SECONDS)


cdef int _hpexpireat(Session s) except -1:
    return _expire(s, AT_MS)


cdef int _hpersist(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef int64_t old_ms = 0
    cdef int index, changed = 0
    if not _find_hash(s, &key, &entry):
        return 0
    if not _parse_fields(s, 2, 1, "ERR Number of fields must be a positive integer"):
        return 0
    s.reply_array(s.argc - 4)
    for index in range(4, s.argc):
        if entry == NULL or not hash_expiry(s.keyspace, entry, s.argv[index], &old_ms):
            s.reply_int64(NO_SUCH_FIELD)
        elif old_ms == FIELD_NO_EXPIRY:
            s.reply_int64(NO_EXPIRY)
        else:
            entry = hash_set_expiry(s.keyspace, s.database, &key, entry, s.argv[index], FIELD_NO_EXPIRY)
            s.reply_int64(EXPIRY_SET)
            changed += 1
    if changed > 0:
        s.changed(changed)
    return 0


# --- asking --------------------------------------------------------------------------------------------

cdef int _ttl(Session s, bint moment, bint seconds) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = s.keyspace.look(s.database, &key) if s.no_touch else s.keyspace.read(s.database, &key)
    cdef int64_t when_ms = 0
    cdef int index
    if entry != NULL and entry_type(entry) != TYPE_HASH:
        return s.reply_wrong_type()
    if not _parse_fields(s, 2, 1, "ERR Number of fields must be a positive integer"):
        return 0
    s.reply_array(s.argc - 4)
    for index in range(4, s.argc):
        if entry == NULL or not hash_expiry(s.keyspace, entry, s.argv[index], &when_ms):
            s.reply_int64(NO_SUCH_FIELD)
        elif when_ms == FIELD_NO_EXPIRY:
            s.reply_int64(NO_EXPIRY)
        else:
            if not moment:
                when_ms = max(when_ms - s.keyspace.now_ms, <int64_t> 0)
            s.reply_int64((when_ms + 999) // 1000 if seconds else when_ms)
    return 0


cdef int _httl(Session s) except -1:
    return _ttl(s, False, True)


cdef int _hpttl(Session s) except -1:
    return _ttl(s, False, False)


cdef int _hexpiretime(Session s) except -1:
    return _ttl(s, True, True)


cdef int _hpexpiretime(Session s) except -1:
    return _ttl(s, True, False)


# --- reading and writing with an expiry ------------------------------------------------------------------

# The unit that a word names; 0: none.
cdef inline int _unit(Span word) noexcept:
    if span_is(word, "EX"):
        return IN_SECONDS
    if span_is(word, "PX"):
        return IN_MS
    if span_is(word, "EXAT"):
        return AT_SECONDS
    if span_is(word, "PXAT"):
        return AT_MS
    return 0


# Writes the value of a field, null when there is none. Returns whether there is one.
cdef bint _reply_value(Session s, Entry *entry, Span field) except -1:
    cdef Span value
    cdef uint8_t digits[24]
    if entry == NULL or not hash_get(s.keyspace, entry, field, &value, digits):
        s.reply_null()
        return False
    s.reply_bulk(value)
    return True


cdef int _hgetdel(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef bint removed = False
    cdef int index
    cdef list results = []
    if not _find_hash(s, &key, &entry):
        return 0
    if not _parse_fields(s, 2, 1, "ERR Number of fields must be a positive integer"):
        return 0
    s.reply_array(s.argc - 4)
    for index in range(4, s.argc):
        if not _reply_value(s, entry, s.argv[index]):
            results.append(NO_SUCH_FIELD)
            continue
        entry = hash_remove(s.keyspace, s.database, &key, entry, s.argv[index], &removed)
        results.append(FIELD_DELETED)
    if FIELD_DELETED in results:
        s.changed(results.count(FIELD_DELETED))
        _effects(s, &key, 4, -1, results)
    return 0


cdef int _hgetex(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef int64_t when_ms = 0, old_ms = 0
    cdef int unit = _unit(s.argv[2])
    cdef bint persist = span_is(s.argv[2], "PERSIST")
    cdef int fields_index = 4 if unit != 0 else 3 if persist else 2
    cdef int first = fields_index + 2
    cdef int index
    cdef list results = []
    if not _find_hash(s, &key, &entry):
        return 0
    if fields_index < s.argc and (unit != 0 or persist):
        if _unit(s.argv[fields_index]) != 0 or span_is(s.argv[fields_index], "PERSIST"):
            return s.reply_error("ERR Only one of EX, PX, EXAT, PXAT or PERSIST arguments can be specified")
    if unit != 0 and not _moment(s, 3, unit, &when_ms):
        return 0
    if not _parse_fields(s, fields_index, 1, "ERR Number of fields must be a positive integer"):
        return 0
    s.reply_array(s.argc - first)
    for index in range(first, s.argc):
        results.append(NO_SUCH_FIELD)
        if not _reply_value(s, entry, s.argv[index]):
            continue
        if unit != 0:
            results[index - first] = _expire_field(s, &key, &entry, s.argv[index], when_ms)
        elif persist and hash_expiry(s.keyspace, entry, s.argv[index], &old_ms) and old_ms != FIELD_NO_EXPIRY:
            entry = hash_set_expiry(s.keyspace, s.database, &key, entry, s.argv[index], FIELD_NO_EXPIRY)
            results[index - first] = EXPIRY_SET
    if results.count(NO_SUCH_FIELD) < len(results):
        s.changed(len(results) - results.count(NO_SUCH_FIELD))
        if persist:
            _effect_persist(s, &key, first, results)
        else:
            _effects(s, &key, first, when_ms, results)
    return 0


cdef int _effect_persist(Session s, Key *key, int first, list results) except -1:
    cdef int count = results.count(EXPIRY_SET), index
    s.effect(4 + count)
    s.effect_arg_word("HPERSIST")
    s.effect_arg(key.name)
    s.effect_arg_word("FIELDS")
    s.effect_arg_int64(count)
    for index in range(len(results)):
        if results[index] == EXPIRY_SET:
            s.effect_arg(s.argv[first + index])
    return 0


# The options before FIELDS; fields_index: where that stands. On failure the error is written and 0 returned.
cdef bint _parse_setex(Session s, int *flags, int *time_index, int *fields_index) except -1:
    cdef int index = 2
    cdef int unit
    flags[0] = 0
    while index < s.argc and not span_is(s.argv[index], "FIELDS"):
        unit = _unit(s.argv[index])
        if unit != 0 or span_is(s.argv[index], "KEEPTTL"):
            if flags[0] & (ANY_TIME | KEEP):
                s.reply_error("ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified")
                return False
            flags[0] |= unit if unit != 0 else KEEP
            if unit != 0:
                index += 1
                time_index[0] = index
        elif span_is(s.argv[index], "FNX") or span_is(s.argv[index], "FXX"):
            if flags[0] & (ONLY_NEW | ONLY_OLD):
                s.reply_error("ERR Only one of FXX or FNX arguments can be specified")
                return False
            flags[0] |= ONLY_NEW if span_is(s.argv[index], "FNX") else ONLY_OLD
        else:
            break
        index += 1
    fields_index[0] = index
    return True


cdef int _hsetex(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = NULL
    cdef int flags = 0, time_index = 0, fields_index = 0, index, first
    cdef int64_t when_ms = FIELD_NO_EXPIRY, old_ms = 0
    cdef bint created = False, removed = False, there
    if not _find_hash(s, &key, &entry) or not _parse_setex(s, &flags, &time_index, &fields_index):
        return 0
    if not _parse_fields(s, fields_index, 2, "ERR Number of fields must be a positive integer"):
        return 0
    if time_index > 0 and not _moment(s, time_index, flags, &when_ms):
        return 0
    first = fields_index + 2
    if flags & (ONLY_NEW | ONLY_OLD):
        for index in range(first, s.argc, 2):
            there = entry != NULL and hash_expiry(s.keyspace, entry, s.argv[index], &old_ms)
            if there == (flags & ONLY_NEW != 0):
                return s.reply_int64(0)
    if time_index > 0 and _is_past(s, when_ms):
        _drop_fields(s, &key, entry, first)
        return s.reply_int64(1)
    for index in range(first, s.argc, 2):
        entry = hash_put(
            s.keyspace,
            s.database,
            &key,
            entry,
            s.argv[index],
            s.argv[index + 1],
            FIELD_KEEP_EXPIRY if flags & KEEP else when_ms,
            &created,
        )
    s.changed((s.argc - first) // 2)
    _effect_setex(s, &key, first, when_ms, flags & KEEP != 0)
    return s.reply_int64(1)


# What would be set would be gone at once: what is there goes.
cdef int _drop_fields(Session s, Key *key, Entry *entry, int first) except -1:
    cdef bint removed = False
    cdef list gone = []
    cdef int index
    for index in range(first, s.argc, 2):
        removed = False
        if entry != NULL:
            entry = hash_remove(s.keyspace, s.database, key, entry, s.argv[index], &removed)
        if removed:
            gone.append(index)
    if not gone:
        return 0
    s.changed(len(gone))
    _effect_fields(s, "HDEL", key, -1, <int> len(gone))
    for index in gone:
        s.effect_arg(s.argv[index])
    return 0


cdef int _effect_setex(Session s, Key *key, int first, int64_t when_ms, bint keep) except -1:
    cdef int index
    s.effect(4 + (1 if keep else 0) + (2 if when_ms >= 0 else 0) + s.argc - first)
    s.effect_arg_word("HSETEX")
    s.effect_arg(key.name)
    if keep:
        s.effect_arg_word("KEEPTTL")
    if when_ms >= 0:
        s.effect_arg_word("PXAT")
        s.effect_arg_int64(when_ms)
    s.effect_arg_word("FIELDS")
    s.effect_arg_int64((s.argc - first) // 2)
    for index in range(first, s.argc):
        s.effect_arg(s.argv[index])
    return 0


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"hexpire", <void *> _hexpire)
    registry.add_compiled(b"hpexpire", <void *> _hpexpire)
    registry.add_compiled(b"hexpireat", <void *> _hexpireat)
    registry.add_compiled(b"hpexpireat", <void *> _hpexpireat)
    registry.add_compiled(b"hpersist", <void *> _hpersist)
    registry.add_compiled(b"httl", <void *> _httl)
    registry.add_compiled(b"hpttl", <void *> _hpttl)
    registry.add_compiled(b"hexpiretime", <void *> _hexpiretime)
    registry.add_compiled(b"hpexpiretime", <void *> _hpexpiretime)
    registry.add_compiled(b"hgetdel", <void *> _hgetdel)
    registry.add_compiled(b"hgetex", <void *> _hgetex)
    registry.add_compiled(b"hsetex", <void *> _hsetex)
