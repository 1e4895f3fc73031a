# Makes a collection out of elements that come one by one.
from libc.stdint cimport int64_t

from node.engine.buf cimport Buf
from node.engine.keyspace cimport Key, Keyspace
from node.engine.lists cimport ListMaking
from node.engine.object cimport Object
from node.engine.run cimport Item
from node.engine.span cimport Span


cdef class Builder:
    cdef Keyspace keyspace
    cdef readonly int64_t count  # elements so far
    cdef int type
    cdef Buf run  # while it is small
    cdef bint sorted  # a set of integers, so far in ascending order
    cdef Object *object  # owned; once it is large
    cdef ListMaking items  # of a list, in either form

    cdef int begin(self, int type) except -1
    # Each returns 0 when the element is there already.
    cdef bint add_field(self, Span field, Span value, int64_t expiry_ms) except -1
    cdef bint add_member(self, Span member) except -1
    cdef bint add_item(self, Span item) except -1
    # Quickest in the order of (score, member), but any will do.
    cdef bint add_scored(self, Span member, double score) except -1
    # Puts the collection under this key, instead of what was there; 0 when nothing was added.
    cdef bint finish(self, int database, Key *key, int64_t expire_ms) except -1
    cdef int drop(self) noexcept
    cdef int _append(self, const Item *item) except -1
    cdef int _put(self, Span name, int encoding, Span value, int64_t expiry_ms) except -1
    cdef int _sort(self) except -1
    cdef int _grow_up(self) except -1
    cdef int _insert_pair(self, Span member, double score) except -1
