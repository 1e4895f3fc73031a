# Large collections, whatever their type.
from libc.stdint cimport int64_t, uint64_t

from node.engine.object cimport Object
from node.engine.table cimport Store

cdef int64_t object_count(Object *value) noexcept nogil
# Frees about budget[0] elements and takes what it did off the budget; in the end the object itself. 1: there is more.
cdef bint object_free_some(Store *store, Object *value, int64_t *budget) noexcept nogil
# A second one like it; NULL: no memory.
cdef Object *object_copy(Store *store, Object *value) noexcept nogil
# What it really holds, counted the slow way (for the audit).
cdef uint64_t object_held_bytes(Store *store, Object *value) noexcept nogil
