# What the commands on lists share.
from libc.stdint cimport int64_t

from node.engine.entry cimport Entry
from node.engine.keyspace cimport Key
from node.engine.session cimport Session

# 1 for a list or a missing key; otherwise the error is written.
cdef bint list_found(Session s, Entry *entry) except -1
# An argument of at least `least`; otherwise the complaint is written and 0 returned.
cdef bint whole_number(Session s, int index, int64_t least, const char *complaint, int64_t *value) except -1
# An array of `count` elements (there are so many) from `first` on.
cdef int reply_elements(Session s, Entry *entry, int64_t first, int64_t count) except -1
# Writes `count` elements (there are so many) from one end, in the order of their leaving, and takes them out.
cdef int pop_elements(Session s, Key *key, Entry *entry, int64_t count, bint front) except -1
