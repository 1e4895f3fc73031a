# The head of a large collection's structure: what the keyspace knows of it without knowing its type (large.pyx).
from libc.stdint cimport uint8_t, uint64_t

# The first member of every such structure.
cdef struct Object:
    uint64_t used_bytes  # of all its blocks, its own included; exact whenever its functions have returned
    Object *next_condemned  # the keyspace's: what waits to be freed
    uint8_t type  # TYPE_*
