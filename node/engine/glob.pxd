# Patterns of KEYS, SCAN MATCH, CONFIG GET, PSUBSCRIBE.
from libc.stdint cimport uint8_t

from node.engine.span cimport Span

# At most pattern * text steps, however many stars there are.
cdef bint glob_matches(Span pattern, Span text, bint ignore_case) noexcept nogil
