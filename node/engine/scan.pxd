# What SCAN, HSCAN, SSCAN and ZSCAN have in common: cursor and options.
from libc.stdint cimport int64_t, uint64_t

from node.engine.session cimport Session
from node.engine.span cimport Span

cdef struct Scan:
    uint64_t cursor  # 0 begins and ends
    int64_t count  # COUNT: how many elements to look at, about; at least 1
    int64_t steps_left  # so many home buckets at most, however empty they are
    Span pattern  # MATCH
    bint any_name  # there is no pattern, or one that matches everything
    Span type  # TYPE, where it is allowed
    bint any_type


# Reads the cursor in argv[index]. On failure the error is written and 0 returned.
cdef bint scan_cursor(Session s, int index, Scan *scan) except -1
# Reads the options from argv[index] on, on top of a cursor that was read. On failure the error is written and 0
# returned.
cdef bint scan_options(Session s, int index, bint typed, Scan *scan) except -1
# Whether a name is wanted.
cdef bint scan_wants(const Scan *scan, Span name) noexcept nogil
# Counts elements that were looked at; 1: time to answer. The cursor says where the walk stands now.
cdef bint scan_done(Scan *scan, int64_t seen) noexcept nogil
# The head of the reply: the cursor, and an array of so many words that the caller writes.
cdef int scan_reply(Session s, const Scan *scan, int64_t word_count) except -1
