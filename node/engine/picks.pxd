# Replies that hashes and sets have in common: a piece of a walk, elements at random.
from libc.stdint cimport int64_t

from node.engine.members cimport Members
from node.engine.scan cimport Scan
from node.engine.session cimport Session
from node.engine.span cimport Span

# A piece of the walk that the scan describes, from its cursor on: the whole reply of HSCAN or SSCAN.
cdef int reply_walked(Session s, Members *members, Scan *scan, bint with_values) except -1
# How many elements are asked for in argv[2]; 0: the error is written.
cdef bint picks_wanted(Session s, int64_t *wanted) except -1
# Whether so many repeated ones make a reply that may be; 0: the error is written.
cdef bint picks_fit(Session s, int64_t wanted) except -1
# Elements at random, of `live` that have not expired. wanted: how many different ones, not more than there are; negative: so
# many, each picked out of all. With values each is a pair, from RESP3 on in an array of its own.
cdef int reply_picked(Session s, Members *members, int64_t live, int64_t wanted, bint with_values) except -1
# The same of a run, in which each takes one item, or `paired` two.
cdef int reply_picked_of_run(Session s, Span run, int64_t live, int64_t wanted, bint paired, bint with_values) except -1
