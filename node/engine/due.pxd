# Members whose time has come.
from libc.stdint cimport int64_t, uint32_t

from node.engine.entry cimport Entry
from node.engine.members cimport Members

# The earliest moment at which a member could expire, by the bounds that its table keeps; 0: none expires.
cdef inline int64_t due_bound(const Members *members) noexcept nogil:
    return members.table.root.next_expiry_ms


# Whether there can be members that have expired.
cdef inline bint due_any(const Members *members, int64_t now_ms) noexcept nogil:
    return members.table.root.next_expiry_ms != 0 and members.table.root.next_expiry_ms < now_ms


# How many have expired. Looks only where the bounds say that there may be some.
cdef int64_t due_count(Members *members, int64_t now_ms) noexcept nogil
# Up to `room` of them. When it finds fewer, the bounds have become right again, as if those found were gone already:
# the caller removes every one of them.
cdef uint32_t due_gather(Members *members, int64_t now_ms, Entry **into, uint32_t room) noexcept nogil
