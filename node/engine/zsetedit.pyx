"""Sorted sets under their keys.

An Editor hides the form: a small set is rewritten in its key's entry, one that outgrows the limits becomes a
structure, and a structure is changed between the keyspace's begin_edit and end_edit, so that snapshots see it
before and its bytes are accounted. A set that has lost its last member is removed with its key.
"""

from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memmove

from node.engine.entry cimport (
    ENCODING_OBJECT,
    TYPE_ZSET,
    Entry,
    entry_encoding,
    entry_mutable_bytes,
    entry_object,
    entry_run,
    entry_type,
)
from node.engine.keyspace cimport EXPIRY_KEEP, Key, Keyspace
from node.engine.large cimport object_count
from node.engine.object cimport Object
from node.engine.run cimport run_at, run_count
from node.engine.scores cimport span_to_double
from node.engine.session cimport Session
from node.engine.span cimport Span, span_of, span_to_int64
from node.engine.zset cimport (
    LexBound,
    Sorted,
    Zset,
    member_score,
    pair_bytes,
    pair_find,
    pair_place,
    pair_write,
    sorted_open,
    zset_add,
    zset_cut,
    zset_find,
    zset_from_run,
    zset_move,
    zset_new,
    zset_remove,
    zset_without,
)

cdef enum:
    CUT_IN_PLACE_MAX = 256


# --- opening ---------------------------------------------------------------------------------------------

cdef bint sorted_at(Session s, int index, Sorted *zset) except -1:
    cdef Key key = s.key_at(index)
    # A client that asked for NO-TOUCH leaves no trace in its recency.
    cdef Entry *entry = s.keyspace.look(s.database, &key) if s.no_touch else s.keyspace.read(s.database, &key)
    if entry != NULL and entry_type(entry) != TYPE_ZSET:
        s.reply_wrong_type()
        return False
    sorted_open(zset, entry)
    return True


cdef inline void _take_entry(Editor *editor, Entry *entry) noexcept:
    editor.entry = entry
    editor.large = NULL
    if entry != NULL and entry_encoding(entry) == ENCODING_OBJECT:
        editor.large = <Zset *> entry_object(entry)


cdef bint edit_at(Session s, int index, Editor *editor) except -1:
    cdef Entry *entry
    editor.database = s.database
    editor.key = s.key_at(index)
    editor.editing = False
    entry = s.keyspace.find(s.database, &editor.key)
    if entry != NULL and entry_type(entry) != TYPE_ZSET:
        s.reply_wrong_type()
        return False
    _take_entry(editor, entry)
    return True


cdef int64_t edit_count(const Editor *editor) noexcept:
    if editor.entry == NULL:
        return 0
    if editor.large != NULL:
        return object_count(<Object *> editor.large)
    return run_count(entry_run(editor.entry)) // 2


cdef bint edit_score(Keyspace keyspace, Editor *editor, Span member, double *score) noexcept:
    cdef const uint8_t *following
    if editor.entry == NULL:
        return False
    if editor.large == NULL:
        return pair_find(entry_run(editor.entry), member, &following, score) != NULL
    editor.member = zset_find(&keyspace.store, editor.large, member)
    if editor.member == NULL:
        return False
    score[0] = member_score(editor.member)
    return True


# --- changing --------------------------------------------------------------------------------------------

cdef inline int _begin(Keyspace keyspace, Editor *editor) except -1:
    if not editor.editing:
        keyspace.begin_edit(editor.database, &editor.key, editor.entry, &editor.edit)
        editor.editing = True
    return 0


cdef inline int _resize(Keyspace keyspace, Editor *editor, Py_ssize_t len_bytes) except -1:
    editor.entry = keyspace.resize_run(editor.database, &editor.key, editor.entry, len_bytes)
    return 0


# What is not a structure yet becomes one.
cdef int _grow_up(Keyspace keyspace, Editor *editor) except -1:
    cdef Zset *zset
    if editor.entry != NULL:
        zset = zset_from_run(&keyspace.store, entry_run(editor.entry))
    else:
        zset = zset_new(&keyspace.store)
        if zset == NULL:
            raise MemoryError("no memory for a sorted set")
    _take_entry(editor, keyspace.put_object(editor.database, &editor.key, <Object *> zset, EXPIRY_KEEP))
    return 0


cdef int _insert_pair(Keyspace keyspace, Editor *editor, Span member, double score) except -1:
    cdef Py_ssize_t need_bytes = pair_bytes(member, score)
    cdef Py_ssize_t offset = 0, old_bytes = 0
    cdef Span run
    cdef uint8_t *data
    if editor.entry == NULL:
        # Room first, and the pair into its place: two small copies fewer than a run made aside.
        _take_entry(editor, keyspace.put_run(editor.database, &editor.key, TYPE_ZSET, span_of(NULL, 0), EXPIRY_KEEP))
    else:
        run = entry_run(editor.entry)
        old_bytes = run.len_bytes
        offset = pair_place(run, member, score) - run.at
    _resize(keyspace, editor, old_bytes + need_bytes)
    data = entry_mutable_bytes(editor.entry) + offset
    memmove(data + need_bytes, data, <size_t> (old_bytes - offset))
    pair_write(data, member, score)
    return 0


cdef int _change_pair(Keyspace keyspace, Editor *editor, Span member, double score) except -1:
    cdef Span run = entry_run(editor.entry)
    cdef const uint8_t *following
    cdef double old_score
    cdef const uint8_t *at = pair_find(run, member, &following, &old_score)
    cdef Py_ssize_t from_byte = at - run.at
    cdef Py_ssize_t old_bytes = following - at
    cdef Py_ssize_t to_byte = pair_place(run, member, score) - run.at
    cdef Py_ssize_t new_bytes = pair_bytes(member, score)
    cdef Py_ssize_t len_bytes = run.len_bytes
    cdef uint8_t *data
    if new_bytes < old_bytes:  # what it will not need goes first, for that may want memory
        editor.entry = keyspace.cut_run(
            editor.database, &editor.key, editor.entry, from_byte + new_bytes, old_bytes - new_bytes
        )
        len_bytes -= old_bytes - new_bytes
        if to_byte > from_byte:
            to_byte -= old_bytes - new_bytes
        old_bytes = new_bytes
    else:
        _resize(keyspace, editor, len_bytes + new_bytes - old_bytes)
    data = entry_mutable_bytes(editor.entry)
    if to_byte <= from_byte:
        # | to ... | old | rest   becomes   | new | to ... | rest
        memmove(data + from_byte + new_bytes, data + from_byte + old_bytes, <size_t> (len_bytes - from_byte - old_bytes))
        memmove(data + to_byte + new_bytes, data + to_byte, <size_t> (from_byte - to_byte))
    else:
        # | old | between | to ...   becomes   | between | new | to ...
        memmove(data + from_byte, data + from_byte + old_bytes, <size_t> (to_byte - from_byte - old_bytes))
        memmove(data + to_byte - old_bytes + new_bytes, data + to_byte, <size_t> (len_bytes - to_byte))
        to_byte -= old_bytes
    pair_write(data + to_byte, member, score)
    return 0


cdef int edit_put(Keyspace keyspace, Editor *editor, Span member, double score, bint is_new) except -1:
    if editor.large == NULL:
        if not is_new:
            return _change_pair(keyspace, editor, member, score)
        if (
            member.len_bytes <= keyspace.limits.zset_run_value_bytes
            and edit_count(editor) < keyspace.limits.zset_run_members
        ):
            return _insert_pair(keyspace, editor, member, score)
        _grow_up(keyspace, editor)
    _begin(keyspace, editor)
    if is_new:
        zset_add(&keyspace.store, editor.large, member, score)
    else:
        zset_move(&keyspace.store, editor.large, editor.member, score)
    return 0


cdef int _remove_key(Keyspace keyspace, Editor *editor) except -1:
    if editor.editing:
        keyspace.end_edit(&editor.edit)
        editor.editing = False
    keyspace.remove(editor.database, &editor.key)
    _take_entry(editor, NULL)
    return 0


# Closes the gap [from_byte, from_byte + gap_bytes) of a run.
cdef int _cut_run(Keyspace keyspace, Editor *editor, Py_ssize_t from_byte, Py_ssize_t gap_bytes) except -1:
    if gap_bytes == entry_run(editor.entry).len_bytes:
        return _remove_key(keyspace, editor)
    editor.entry = keyspace.cut_run(editor.database, &editor.key, editor.entry, from_byte, gap_bytes)
    return 0


cdef bint edit_remove(Keyspace keyspace, Editor *editor, Span member) except -1:
    cdef Span run
    cdef const uint8_t *at
    cdef const uint8_t *following
    cdef double score
    if editor.entry == NULL:
        return False
    if editor.large == NULL:
        run = entry_run(editor.entry)
        at = pair_find(run, member, &following, &score)
        if at == NULL:
            return False
        _cut_run(keyspace, editor, at - run.at, following - at)
        return True
    if zset_find(&keyspace.store, editor.large, member) == NULL:
        return False
    _begin(keyspace, editor)
    zset_remove(&keyspace.store, editor.large, member)
    if edit_count(editor) == 0:
        _remove_key(keyspace, editor)
    return True


cdef int edit_cut(Keyspace keyspace, Editor *editor, int64_t rank, int64_t count) except -1:
    cdef Span run
    cdef const uint8_t *first
    cdef const uint8_t *behind
    cdef Zset *rest
    if count == 0:
        return 0
    if count == edit_count(editor):
        return _remove_key(keyspace, editor)  # and what is large is freed in the background
    if editor.large != NULL and count > CUT_IN_PLACE_MAX and count > 2 * (edit_count(editor) - count):
        # Few stay: they go into a set of their own, and the old one is freed in the background.
        rest = zset_without(&keyspace.store, editor.large, rank, count)
        _take_entry(editor, keyspace.put_object(editor.database, &editor.key, <Object *> rest, EXPIRY_KEEP))
        return 0
    if editor.large != NULL:
        _begin(keyspace, editor)
        zset_cut(&keyspace.store, editor.large, rank, count)
        return 0
    run = entry_run(editor.entry)
    first = run_at(run, <Py_ssize_t> rank * 2)
    behind = run_at(run, <Py_ssize_t> (rank + count) * 2)
    if behind == NULL:
        behind = run.at + run.len_bytes
    return _cut_run(keyspace, editor, first - run.at, behind - first)


cdef int edit_close(Keyspace keyspace, Editor *editor) except -1:
    if editor.editing:
        keyspace.end_edit(&editor.edit)
        editor.editing = False
    # Made for a member that no memory was left for.
    if editor.entry != NULL and (
        entry_run(editor.entry).len_bytes == 0 if editor.large == NULL else object_count(<Object *> editor.large) == 0
    ):
        _remove_key(keyspace, editor)
    return 0


# --- arguments -------------------------------------------------------------------------------------------

cdef bint double_at(Session s, int index, double *value, const char *error) except -1:
    if span_to_double(s.argv[index], value):
        return True
    s.reply_error(error)
    return False


cdef bint bounded_at(Session s, int index, int64_t low, int64_t high, const char *error, int64_t *value) except -1:
    if not span_to_int64(s.argv[index], value):
        if error != NULL:
            s.reply_error(error)
        else:
            s.reply_not_integer()
        return False
    if low <= value[0] <= high:
        return True
    if error != NULL:
        s.reply_error(error)
    else:
        s.reply_error_bytes(b"ERR value is out of range, value must between %d and %d" % (low, high))
    return False


cdef bint lex_bound_of(Span text, LexBound *bound) noexcept:
    bound.infinite = 0
    bound.open = True
    bound.text = span_of(NULL, 0)
    if text.len_bytes == 0:
        return False
    if text.at[0] == 43 or text.at[0] == 45:  # + and -
        if text.len_bytes > 1 and text.at[1] != 0:
            return False
        bound.infinite = 1 if text.at[0] == 43 else -1
        return True
    if text.at[0] != 40 and text.at[0] != 91:  # ( and [
        return False
    bound.open = text.at[0] == 40
    bound.text = span_of(text.at + 1, text.len_bytes - 1)
    return True


# --- replies ---------------------------------------------------------------------------------------------

cdef int reply_with_score(Session s, Span member, double score, bint with_score) except -1:
    if with_score and s.resp >= 3:
        s.reply_array(2)
    s.reply_bulk(member)
    if with_score:
        s.reply_double(score)
    return 0


cdef int reply_scored_count(Session s, int64_t count, bint with_scores) except -1:
    return s.reply_array(count * 2 if with_scores and s.resp < 3 else count)
