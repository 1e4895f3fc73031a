# Every command by name: a small open-addressed table over lower-case names.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from node.engine.span cimport Span

cdef enum:
    FLAG_WRITE = 1
    FLAG_READONLY = 2
    FLAG_DENYOOM = 4
    FLAG_ADMIN = 8
    FLAG_PUBSUB = 16
    FLAG_NOSCRIPT = 32
    FLAG_BLOCKING = 64
    FLAG_LOADING = 128
    FLAG_STALE = 256
    FLAG_FAST = 512
    FLAG_NO_AUTH = 1024
    FLAG_MOVABLEKEYS = 2048
    FLAG_ASKING = 4096
    FLAG_NO_MULTI = 8192
    FLAG_ALLOW_BUSY = 16384
    FLAG_MAY_REPLICATE = 32768


cdef class Command:
    cdef readonly str name  # "get"; for a subcommand "config|get"
    cdef bytes word  # the last part, lower case: what a client sends
    cdef void *compiled  # a command_fn, or NULL
    cdef public object handler  # a Python handler, or None
    cdef readonly int arity
    cdef uint32_t flags
    cdef readonly int first_key
    cdef readonly int last_key
    cdef readonly int key_step
    cdef readonly object get_keys  # callable(args) -> indices, for FLAG_MOVABLEKEYS
    cdef readonly object spec  # the Python CommandSpec it was made from
    cdef readonly dict children  # word -> Command, None when it is no container
    cdef readonly int64_t calls
    cdef readonly int64_t rejected
    cdef readonly int64_t failed


cdef class Registry:
    cdef dict _by_word  # owns the commands
    cdef dict _compiled  # word -> address of a command_fn
    cdef void **_cells  # open addressing; borrowed Command pointers
    cdef uint32_t _cell_count  # a power of two

    cdef int add_compiled(self, bytes word, void *compiled) except -1
    cdef Command find(self, Span word)  # None when unknown
