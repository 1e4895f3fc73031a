# One value in Redis's snapshot format: what stands behind the key in a snapshot, and in a DUMP payload.
from libc.stdint cimport int64_t, uint8_t, uint64_t

from node.engine.buf cimport Buf
from node.engine.entry cimport Entry
from node.engine.span cimport Span

cdef int write_length(Buf *out, uint64_t value) except -1
cdef int write_text(Buf *out, Span text) except -1
cdef int write_int64(Buf *out, int64_t value) except -1  # as a string
# The type's number, and the value.
cdef int value_kind(const Entry *entry) except -1
cdef int write_value(Buf *out, const Entry *entry) except -1
# What a value whose members follow one by one begins with; earliest_ms: no field expires before, -1 when none does.
cdef int large_kind(int type, int64_t earliest_ms) except -1
cdef int write_large_head(Buf *out, int type, int64_t count, int64_t earliest_ms) except -1
cdef int write_member(Buf *out, int type, const Entry *member, int64_t earliest_ms) except -1
