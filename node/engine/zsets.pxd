# What other commands that add to sorted sets share with ZADD.
from libc.stdint cimport int64_t

from node.engine.session cimport Session

cdef enum:
    ONLY_NEW = 1  # NX
    ONLY_OLD = 2  # XX
    ONLY_GREATER = 4  # GT
    ONLY_LESS = 8  # LT
    COUNT_CHANGED = 16  # CH
    ADD_UP = 32  # INCR

# Adds the members at argv[member_index], argv[member_index + step] ... to the set at argv[1], and answers.
cdef int add_scores(Session s, int flags, int member_index, int step, int count, const double *scores) except -1
