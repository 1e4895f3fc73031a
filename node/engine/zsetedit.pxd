# Sorted sets under their keys: how commands read and change them.
from libc.stdint cimport int64_t

from node.engine.entry cimport Entry
from node.engine.keyspace cimport Edit, Key, Keyspace
from node.engine.session cimport Session
from node.engine.span cimport Span
from node.engine.zset cimport LexBound, Sorted, Zset

# A sorted set that a command is changing. Between open and close nothing else touches its key.
cdef struct Editor:
    int database
    Key key
    Entry *entry  # NULL: there is no such key yet, or any more
    Zset *large  # NULL: a run, or nothing
    Entry *member  # of a large one: what edit_score found last
    bint editing  # between the keyspace's begin_edit and end_edit
    Edit edit


# The sorted set at argv[index], an empty one for a missing key. False: it is no sorted set; answered.
cdef bint sorted_at(Session s, int index, Sorted *zset) except -1
cdef bint edit_at(Session s, int index, Editor *editor) except -1
cdef int64_t edit_count(const Editor *editor) noexcept
cdef bint edit_score(Keyspace keyspace, Editor *editor, Span member, double *score) noexcept
# Gives the member that edit_score was asked for just now this score; is_new: it is not there yet.
cdef int edit_put(Keyspace keyspace, Editor *editor, Span member, double score, bint is_new) except -1
cdef bint edit_remove(Keyspace keyspace, Editor *editor, Span member) except -1
# Takes out the members of these ranks, which must be there.
cdef int edit_cut(Keyspace keyspace, Editor *editor, int64_t rank, int64_t count) except -1
cdef int edit_close(Keyspace keyspace, Editor *editor) except -1

# --- arguments. False: it is none; answered. ----------------------------------------------------------------
cdef bint double_at(Session s, int index, double *value, const char *error) except -1
# An integer from `low` to `high`; `error` for anything else, NULL: as Redis says without one.
cdef bint bounded_at(Session s, int index, int64_t low, int64_t high, const char *error, int64_t *value) except -1
cdef bint lex_bound_of(Span text, LexBound *bound) noexcept

# --- replies ----------------------------------------------------------------------------------------------
cdef int reply_with_score(Session s, Span member, double score, bint with_score) except -1
cdef int reply_scored_count(Session s, int64_t count, bint with_scores) except -1
