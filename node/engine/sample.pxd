# Members of a collection picked at random, none of them twice.
from libc.stdint cimport int64_t

from node.engine.entry cimport Entry
from node.engine.keyspace cimport Keyspace
from node.engine.members cimport Members

# One that has not expired; NULL: there is none.
cdef Entry *sample_one(Keyspace keyspace, Members *members) except? NULL
# `count` different ones that have not expired: there must be as many (`live_count` of them). The array is the
# caller's to free.
cdef Entry **sample_several(Keyspace keyspace, Members *members, int64_t live_count, int64_t count) except NULL
# A number from 0 to below - 1.
cdef int64_t sample_below(Keyspace keyspace, int64_t below) noexcept
