"""The string commands. Bits and counters of the HyperLogLog kind are not among them.

Each function reads s.argv, changes the keyspace and writes one reply. What replicas are told is the effect and
not its cause: a relative expiry goes out as PXAT, a float sum as the SET of its result, so that a replica
needs neither our clock nor our rounding. A command without such an effect is propagated in its own words.
"""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from node.engine.decimals cimport DECIMAL_BYTES_MAX, is_finite, parse_decimal, write_decimal
from node.engine.entry cimport (
    ENCODING_INT,
    TYPE_STRING,
    Entry,
    entry_encoding,
    entry_expiry_ms,
    entry_int64,
    entry_mutable_bytes,
    entry_string,
    entry_type,
)
from node.engine.keyspace cimport EXPIRY_KEEP, EXPIRY_NONE, Key, Keyspace
from node.engine.registry cimport Registry
from node.engine.session cimport Session
from node.engine.span cimport Span, span_is, span_of, span_to_int64
from node.engine.value cimport VALUE_BYTES_MIN, Value

cdef enum:
    ONLY_NEW = 1  # NX
    ONLY_OLD = 2  # XX
    WANT_OLD = 4  # GET
    KEEP_EXPIRY = 8
    NO_EXPIRY = 16  # PERSIST
    IN_SECONDS = 32  # EX
    IN_MS = 64  # PX
    AT_SECONDS = 128  # EXAT
    AT_MS = 256  # PXAT
    ANY_TIME = 480
    ABSOLUTE = 384


# --- helpers -------------------------------------------------------------------------------------------

# The live entry; a client that asked for NO-TOUCH leaves no trace in its recency.
cdef inline Entry *_read(Session s, Key *key) except? NULL:
    if s.no_touch:
        return s.keyspace.look(s.database, key)
    return s.keyspace.read(s.database, key)


# The value of a key from an argument, in the block that it was received into if it has one.
cdef inline int _put(Session s, Key *key, int index, int64_t expire_ms) except -1:
    if s.argv[index].len_bytes < VALUE_BYTES_MIN:
        s.keyspace.put_string(s.database, key, s.argv[index], expire_ms)
        return 0
    return _put_large(s, key, index, expire_ms)


cdef int _put_large(Session s, Key *key, int index, int64_t expire_ms) except -1:
    cdef Value *value = s.argument_value(index)
    if value == NULL:
        s.keyspace.put_string(s.database, key, s.argv[index], expire_ms)
    else:
        s.keyspace.put_value(s.database, key, value, expire_ms)
    return 0


# 1 for a string or a missing key; otherwise the error is written.
cdef inline bint _is_string(Session s, Entry *entry) except -1:
    if entry != NULL and entry_type(entry) != TYPE_STRING:
        s.reply_wrong_type()
        return False
    return True


# The options behind SET key value and GETEX key. On failure the error is written and 0 returned.
cdef bint _parse_options(Session s, int from_index, bint setting, int *flags, int *time_index) except -1:
    cdef int index = from_index
    cdef int found = 0
    cdef int unit
    cdef Span word
    cdef bint more
    time_index[0] = 0
    while index < s.argc:
        word = s.argv[index]
        more = index + 1 < s.argc
        unit = 0
        if setting and span_is(word, "NX") and not found & ONLY_OLD:
            found |= ONLY_NEW
        elif setting and span_is(word, "XX") and not found & ONLY_NEW:
            found |= ONLY_OLD
        elif setting and span_is(word, "GET"):
            found |= WANT_OLD
        elif setting and span_is(word, "KEEPTTL") and not found & ANY_TIME:
            found |= KEEP_EXPIRY
        elif not setting and span_is(word, "PERSIST") and not found & ANY_TIME:
            found |= NO_EXPIRY
        else:
            if span_is(word, "EX"):
                unit = IN_SECONDS
            elif span_is(word, "PX"):
                unit = IN_MS
            elif span_is(word, "EXAT"):
                unit = AT_SECONDS
            elif span_is(word, "PXAT"):
                unit = AT_MS
            # One unit only, though the same one may come twice: the last counts.
            if unit == 0 or not more or found & (KEEP_EXPIRY | NO_EXPIRY) or found & ANY_TIME & ~unit:
                s.reply_syntax_error()
                return False
            found |= unit
            index += 1
            time_index[0] = index
        index += 1
    flags[0] = found
    return True


cdef int _invalid_expiry(Session s, const char *name) except -1:
    cdef bytes text = b"ERR invalid expire time in '%s' command" % <bytes> name
    return s.reply_error(text)


# The moment meant by argv[index] in the unit of flags. On failure the error is written and 0 returned.
cdef bint _moment(Session s, int index, int flags, const char *name, int64_t *when_ms) except -1:
    cdef int64_t value = 0
    if not s.int64_at(index, &value):
        return False
    if value <= 0 or (flags & (IN_SECONDS | AT_SECONDS) and value > INT64_MAX // 1000):
        _invalid_expiry(s, name)
        return False
    if flags & (IN_SECONDS | AT_SECONDS):
        value *= 1000
    if not flags & ABSOLUTE:
        if value > INT64_MAX - s.keyspace.now_ms:
            _invalid_expiry(s, name)
            return False
        value += s.keyspace.now_ms
    when_ms[0] = value
    return True


cdef int _effect_set(Session s, Key *key, Span value, int64_t expire_ms) except -1:
    s.effect(3 if expire_ms == EXPIRY_NONE else 4 if expire_ms == EXPIRY_KEEP else 5)
    s.effect_arg_word("SET")
    s.effect_arg(key.name)
    s.effect_arg(value)
    if expire_ms == EXPIRY_KEEP:
        s.effect_arg_word("KEEPTTL")
    elif expire_ms != EXPIRY_NONE:
        s.effect_arg_word("PXAT")
        s.effect_arg_int64(expire_ms)
    return 0


cdef int _effect_delete(Session s, Key *key) except -1:
    s.effect(2)
    s.effect_arg_word("DEL")
    return s.effect_arg(key.name)


# 1 when a string of so many bytes may be made; otherwise the error is written.
cdef bint _fits(Session s, int64_t have_bytes, int64_t more_bytes) except -1:
    cdef int64_t limit = s.engine.limits.bulk_len_max
    if s.apply_stream or (have_bytes <= limit and more_bytes <= limit - have_bytes):
        return True
    s.reply_error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
    return False


# --- whole values ----------------------------------------------------------------------------------------

cdef int _get(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = _read(s, &key)
    if entry == NULL:
        return s.reply_null()
    if not _is_string(s, entry):
        return 0
    return s.reply_entry_string(entry)


cdef int _set(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef int flags = 0
    cdef int time_index = 0
    cdef int64_t expire_ms = EXPIRY_NONE
    cdef Entry *entry
    if s.argc == 3:  # by far the most frequent form
        _put(s, &key, 2, EXPIRY_NONE)
        s.changed(1)
        return s.reply_ok()
    if not _parse_options(s, 3, True, &flags, &time_index):
        return 0
    if time_index > 0 and not _moment(s, time_index, flags, "set", &expire_ms):
        return 0
    if flags & WANT_OLD:
        entry = _read(s, &key)
        if not _is_string(s, entry):
            return 0
        if entry == NULL:
            s.reply_null()
        else:
            s.reply_entry_string(entry)
    else:
        entry = s.keyspace.find(s.database, &key)
    if (flags & ONLY_NEW and entry != NULL) or (flags & ONLY_OLD and entry == NULL):
        return 0 if flags & WANT_OLD else s.reply_null()
    if flags & KEEP_EXPIRY:
        expire_ms = EXPIRY_KEEP
    _put(s, &key, 2, expire_ms)
    s.changed(1)
    _effect_set(s, &key, s.argv[2], expire_ms)
    return 0 if flags & WANT_OLD else s.reply_ok()


cdef int _setnx(Session s) except -1:
    cdef Key key = s.key_at(1)
    if s.keyspace.find(s.database, &key) != NULL:
        return s.reply_int64(0)
    _put(s, &key, 2, EXPIRY_NONE)
    s.changed(1)
    return s.reply_int64(1)


cdef int _set_for(Session s, int unit, const char *name) except -1:
    cdef Key key = s.key_at(1)
    cdef int64_t expire_ms = 0
    if not _moment(s, 2, unit, name, &expire_ms):
        return 0
    _put(s, &key, 3, expire_ms)
    s.changed(1)
    _effect_set(s, &key, s.argv[3], expire_ms)
    return s.reply_ok()


cdef int _setex(Session s) except -1:
    return _set_for(s, IN_SECONDS, "setex")


cdef int _psetex(Session s) except -1:
    return _set_for(s, IN_MS, "psetex")


cdef int _getset(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = _read(s, &key)
    if not _is_string(s, entry):
        return 0
    if entry == NULL:
        s.reply_null()
    else:
        s.reply_entry_string(entry)
    _put(s, &key, 2, EXPIRY_NONE)
    s.changed(1)
    return _effect_set(s, &key, s.argv[2], EXPIRY_NONE)


cdef int _getdel(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = _read(s, &key)
    if entry == NULL:
        return s.reply_null()
    if not _is_string(s, entry):
        return 0
    s.reply_entry_string(entry)
    s.keyspace.remove(s.database, &key)
    s.changed(1)
    return _effect_delete(s, &key)


cdef int _getex(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef int flags = 0
    cdef int time_index = 0
    cdef int64_t expire_ms = 0
    cdef Entry *entry
    if not _parse_options(s, 2, False, &flags, &time_index):
        return 0
    entry = _read(s, &key)
    if entry == NULL:
        return s.reply_null()
    if not _is_string(s, entry):
        return 0
    if time_index > 0 and not _moment(s, time_index, flags, "getex", &expire_ms):
        return 0
    s.reply_entry_string(entry)
    if flags & ABSOLUTE and expire_ms <= s.keyspace.now_ms and not s.keyspace.follower:
        s.keyspace.remove(s.database, &key)
        s.changed(1)
        return _effect_delete(s, &key)
    if time_index > 0:
        s.keyspace.set_expiry(s.database, &key, entry, expire_ms)
        s.changed(1)
        s.effect(3)
        s.effect_arg_word("PEXPIREAT")
        s.effect_arg(key.name)
        return s.effect_arg_int64(expire_ms)
    if flags & NO_EXPIRY and entry_expiry_ms(entry) != EXPIRY_NONE:
        s.keyspace.set_expiry(s.database, &key, entry, EXPIRY_NONE)
        s.changed(1)
        s.effect(2)
        s.effect_arg_word("PERSIST")
        return s.effect_arg(key.name)
    return 0


cdef int _mget(Session s) except -1:
    cdef Key key
    cdef Entry *entry
    cdef int index
    s.reply_array(s.argc - 1)
    for index in range(1, s.argc):
        key = s.key_at(index)
        entry = _read(s, &key)
        if entry == NULL or entry_type(entry) != TYPE_STRING:
            s.reply_null()
        else:
            s.reply_entry_string(entry)
    return 0


cdef int _put_pairs(Session s) except -1:
    cdef Key key
    cdef int index
    for index in range(1, s.argc, 2):
        key = s.key_at(index)
        _put(s, &key, index + 1, EXPIRY_NONE)
    return s.changed((s.argc - 1) // 2)


cdef int _mset(Session s) except -1:
    if s.argc % 2 == 0:
        return s.reply_error("ERR wrong number of arguments for 'mset' command")
    _put_pairs(s)
    return s.reply_ok()


cdef int _msetnx(Session s) except -1:
    cdef Key key
    cdef int index
    if s.argc % 2 == 0:
        return s.reply_error("ERR wrong number of arguments for 'msetnx' command")
    for index in range(1, s.argc, 2):
        key = s.key_at(index)
        if s.keyspace.find(s.database, &key) != NULL:
            return s.reply_int64(0)
    _put_pairs(s)
    return s.reply_int64(1)


# --- parts of values -------------------------------------------------------------------------------------

cdef int _append(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Span more = s.argv[2]
    cdef Entry *entry = s.keyspace.find(s.database, &key)
    cdef uint8_t scratch[24]
    cdef Py_ssize_t old_bytes
    if not _is_string(s, entry):
        return 0
    if entry == NULL:
        _put(s, &key, 2, EXPIRY_NONE)
        s.changed(1)
        return s.reply_int64(more.len_bytes)
    old_bytes = entry_string(entry, scratch).len_bytes
    if not _fits(s, old_bytes, more.len_bytes):
        return 0
    entry = s.keyspace.resize_string(s.database, &key, entry, old_bytes + more.len_bytes)
    if more.len_bytes > 0:
        memcpy(entry_mutable_bytes(entry) + old_bytes, more.at, <size_t> more.len_bytes)
    s.changed(1)
    return s.reply_int64(old_bytes + more.len_bytes)


cdef int _strlen(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = _read(s, &key)
    cdef uint8_t scratch[24]
    if entry == NULL:
        return s.reply_int64(0)
    if not _is_string(s, entry):
        return 0
    return s.reply_int64(entry_string(entry, scratch).len_bytes)


cdef int _getrange(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef int64_t first = 0, last = 0, len_bytes
    cdef Entry *entry
    cdef Span value
    cdef uint8_t scratch[24]
    if not s.int64_at(2, &first) or not s.int64_at(3, &last):
        return 0
    entry = _read(s, &key)
    if entry == NULL:
        return s.reply_bulk(span_of(NULL, 0))
    if not _is_string(s, entry):
        return 0
    value = entry_string(entry, scratch)
    len_bytes = value.len_bytes
    if first < 0 and last < 0 and first > last:
        return s.reply_bulk(span_of(NULL, 0))
    # Counted from the end; len_bytes is not negative, so the sums can't overflow.
    if first < 0:
        first += len_bytes
    if last < 0:
        last += len_bytes
    first = max(first, <int64_t> 0)
    last = max(last, <int64_t> 0)
    last = min(last, len_bytes - 1)
    if first > last:
        return s.reply_bulk(span_of(NULL, 0))
    return s.reply_entry_part(entry, span_of(value.at + first, <Py_ssize_t> (last - first + 1)))


cdef int _setrange(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Span patch = s.argv[3]
    cdef int64_t offset = 0, old_bytes = 0, new_bytes
    cdef Entry *entry
    cdef uint8_t scratch[24]
    if not s.int64_at(2, &offset):
        return 0
    if offset < 0:
        return s.reply_error("ERR offset is out of range")
    entry = s.keyspace.find(s.database, &key)
    if not _is_string(s, entry):
        return 0
    if entry != NULL:
        old_bytes = entry_string(entry, scratch).len_bytes
    if patch.len_bytes == 0:
        return s.reply_int64(old_bytes)
    if not _fits(s, offset, patch.len_bytes):
        return 0
    new_bytes = max(old_bytes, offset + patch.len_bytes)
    entry = s.keyspace.resize_string(s.database, &key, entry, <Py_ssize_t> new_bytes)
    memcpy(entry_mutable_bytes(entry) + offset, patch.at, <size_t> patch.len_bytes)
    s.changed(1)
    return s.reply_int64(new_bytes)


# --- numbers ---------------------------------------------------------------------------------------------

cdef int _add(Session s, int64_t by) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = s.keyspace.find(s.database, &key)
    cdef int64_t value = 0
    cdef uint8_t scratch[24]
    if entry != NULL:
        if not _is_string(s, entry):
            return 0
        if entry_encoding(entry) == ENCODING_INT:
            value = entry_int64(entry)
        elif not span_to_int64(entry_string(entry, scratch), &value):
            return s.reply_not_integer()
    if (by < 0 and value < INT64_MIN - by) or (by > 0 and value > INT64_MAX - by):
        return s.reply_error("ERR increment or decrement would overflow")
    value += by
    s.keyspace.put_int64(s.database, &key, value, EXPIRY_KEEP)
    s.changed(1)
    return s.reply_int64(value)


cdef int _incr(Session s) except -1:
    return _add(s, 1)


cdef int _decr(Session s) except -1:
    return _add(s, -1)


cdef int _incrby(Session s) except -1:
    cdef int64_t by = 0
    if not s.int64_at(2, &by):
        return 0
    return _add(s, by)


cdef int _decrby(Session s) except -1:
    cdef int64_t by = 0
    if not s.int64_at(2, &by):
        return 0
    if by == INT64_MIN:
        return s.reply_error("ERR decrement would overflow")
    return _add(s, -by)


cdef int _incrbyfloat(Session s) except -1:
    cdef Key key = s.key_at(1)
    cdef Entry *entry = s.keyspace.find(s.database, &key)
    cdef long double value = 0, by = 0
    cdef uint8_t scratch[24]
    cdef char text[DECIMAL_BYTES_MAX]
    cdef Span result
    if entry != NULL:
        if not _is_string(s, entry):
            return 0
        if entry_encoding(entry) == ENCODING_INT:
            value = <long double> entry_int64(entry)
        elif not parse_decimal(entry_string(entry, scratch), &value):
            return s.reply_error("ERR value is not a valid float")
    if not parse_decimal(s.argv[2], &by):
        return s.reply_error("ERR value is not a valid float")
    value += by
    if not is_finite(value):
        return s.reply_error("ERR increment would produce NaN or Infinity")
    result = span_of(text, write_decimal(value, text))
    s.keyspace.put_raw(s.database, &key, result, EXPIRY_KEEP)
    s.changed(1)
    _effect_set(s, &key, result, EXPIRY_KEEP)
    return s.reply_bulk(result)


# --- the longest common subsequence ----------------------------------------------------------------------

cdef Span _string_at(Session s, int index, uint8_t *scratch, bint *ok) except *:
    cdef Key key = s.key_at(index)
    cdef Entry *entry = _read(s, &key)
    ok[0] = entry == NULL or entry_type(entry) == TYPE_STRING
    if entry == NULL or not ok[0]:
        return span_of(NULL, 0)
    return entry_string(entry, scratch)


# lengths[i * (len(right) + 1) + j] = length of the longest subsequence common to left[:i] and right[:j].
cdef void _fill_lengths(Span left, Span right, uint32_t *lengths) noexcept nogil:
    cdef Py_ssize_t row, column
    cdef Py_ssize_t width = right.len_bytes + 1
    cdef uint32_t *above
    cdef uint32_t *here
    for column in range(width):
        lengths[column] = 0
    for row in range(1, left.len_bytes + 1):
        above = lengths + (row - 1) * width
        here = above + width
        here[0] = 0
        for column in range(1, width):
            if left.at[row - 1] == right.at[column - 1]:
                here[column] = above[column - 1] + 1
            else:
                here[column] = above[column] if above[column] > here[column - 1] else here[column - 1]


cdef int _lcs(Session s) except -1:
    cdef uint8_t left_scratch[24]
    cdef uint8_t right_scratch[24]
    cdef bint left_ok = True, right_ok = True
    cdef Span left, right
    cdef bint want_indexes = False, want_length = False, want_match_lengths = False
    cdef int64_t shortest = 0
    cdef int index = 3
    cdef uint64_t table_bytes
    cdef uint32_t *lengths
    # The second look-up may delete an expired entry, but never the live one the first found.
    left = _string_at(s, 1, left_scratch, &left_ok)
    right = _string_at(s, 2, right_scratch, &right_ok)
    if not left_ok or not right_ok:
        return s.reply_error("ERR The specified keys must contain string values")
    while index < s.argc:
        if span_is(s.argv[index], "IDX"):
            want_indexes = True
        elif span_is(s.argv[index], "LEN"):
            want_length = True
        elif span_is(s.argv[index], "WITHMATCHLEN"):
            want_match_lengths = True
        elif span_is(s.argv[index], "MINMATCHLEN") and index + 1 < s.argc:
            index += 1
            if not s.int64_at(index, &shortest):
                return 0
        else:
            return s.reply_syntax_error()
        index += 1
    if want_indexes and want_length:
        return s.reply_error("ERR If you want both the length and indexes, please just use IDX.")
    if left.len_bytes >= 0xFFFFFFFE or right.len_bytes >= 0xFFFFFFFE:
        return s.reply_error("ERR String too long for LCS")
    # Both factors are below 2**32: the product can't overflow, four times it could.
    table_bytes = <uint64_t> (left.len_bytes + 1) * <uint64_t> (right.len_bytes + 1)
    if table_bytes > <uint64_t> s.engine.limits.bulk_len_max // sizeof(uint32_t):
        return s.reply_error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")
    lengths = <uint32_t *> malloc(table_bytes * sizeof(uint32_t))
    if lengths == NULL:
        return s.reply_error("ERR Insufficient memory, failed allocating transient memory for LCS")
    try:
        _fill_lengths(left, right, lengths)
        if want_length:
            return s.reply_int64(lengths[table_bytes - 1])
        return _reply_lcs(s, left, right, lengths, want_indexes, want_match_lengths, shortest)
    finally:
        free(lengths)


# Walks the table backwards from its last corner. Where left and right agree the byte belongs to the
# subsequence; a run of such steps is one match.
cdef int _reply_lcs(
    Session s, Span left, Span right, uint32_t *lengths, bint want_indexes, bint want_match_lengths, int64_t shortest
) except -1:
    cdef Py_ssize_t width = right.len_bytes + 1
    cdef Py_ssize_t row = left.len_bytes, column = right.len_bytes
    cdef Py_ssize_t total = lengths[row * width + column]
    cdef Py_ssize_t left_of = total
    cdef Py_ssize_t run = 0  # length of the match that ends right behind (row, column)
    cdef bytes common = bytes(total)
    cdef char *into = common
    matches = []
    while row > 0 and column > 0:
        if left.at[row - 1] == right.at[column - 1]:
            row -= 1
            column -= 1
            left_of -= 1
            into[left_of] = <char> left.at[row]
            run += 1
            if row > 0 and column > 0:
                continue
            _note_match(matches, row, column, run, shortest)
            run = 0
        else:
            if run > 0:
                _note_match(matches, row, column, run, shortest)
                run = 0
            if lengths[(row - 1) * width + column] > lengths[row * width + column - 1]:
                row -= 1
            else:
                column -= 1
    if not want_indexes:
        return s.reply_bulk(span_of(<const char *> common, total))
    s.reply_map(2)
    s.reply_bulk(span_of(<const char *> b"matches", 7))
    s.reply_array(len(matches))
    for first_left, first_right, count in matches:
        s.reply_array(3 if want_match_lengths else 2)
        for first in (first_left, first_right):
            s.reply_array(2)
            s.reply_int64(first)
            s.reply_int64(first + count - 1)
        if want_match_lengths:
            s.reply_int64(count)
    s.reply_bulk(span_of(<const char *> b"len", 3))
    return s.reply_int64(total)


cdef int _note_match(list matches, Py_ssize_t row, Py_ssize_t column, Py_ssize_t run, int64_t shortest) except -1:
    if run >= shortest:
        matches.append((row, column, run))
    return 0


def install(Registry registry not None):
    """Announces this module's functions; specs join them by name."""
    registry.add_compiled(b"get", <void *> _get)
    registry.add_compiled(b"set", <void *> _set)
    registry.add_compiled(b"setnx", <void *> _setnx)
    registry.add_compiled(b"setex", <void *> _setex)
    registry.add_compiled(b"psetex", <void *> _psetex)
    registry.add_compiled(b"getset", <void *> _getset)
    registry.add_compiled(b"getdel", <void *> _getdel)
    registry.add_compiled(b"getex", <void *> _getex)
    registry.add_compiled(b"mget", <void *> _mget)
    registry.add_compiled(b"mset", <void *> _mset)
    registry.add_compiled(b"msetnx", <void *> _msetnx)
    registry.add_compiled(b"append", <void *> _append)
    registry.add_compiled(b"strlen", <void *> _strlen)
    registry.add_compiled(b"getrange", <void *> _getrange)
    registry.add_compiled(b"substr", <void *> _getrange)
    registry.add_compiled(b"setrange", <void *> _setrange)
    registry.add_compiled(b"incr", <void *> _incr)
    registry.add_compiled(b"decr", <void *> _decr)
    registry.add_compiled(b"incrby", <void *> _incrby)
    registry.add_compiled(b"decrby", <void *> _decrby)
    registry.add_compiled(b"incrbyfloat", <void *> _incrbyfloat)
    registry.add_compiled(b"lcs", <void *> _lcs)
