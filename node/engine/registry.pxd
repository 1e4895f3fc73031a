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

# How long a command's calls took, counted in classes: eight to each doubling of ticks, so a class is known
# to within an eighth. With s = log2(t) - 3 the class of t >= 8 is 8 (s + 1) + the three bits below t's
# highest; below 8 ticks, t itself.
cdef enum:
    TIMING_SHIFT_MAX = 45  # 2^48 ticks are a day; longer counts as that
    TIMING_CLASSES = (TIMING_SHIFT_MAX + 2) * 8


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
    cdef bint brief  # compiled and of constant cost: may be timed together with its neighbours
    cdef readonly uint64_t ticks  # spent in calls; 0 where nobody gives the engine a tick source
    cdef uint64_t *timings  # owned; calls by class, made at the first one timed

    cdef int begin_timings(self) except -1


cdef extern from *:
    """
    #define highest_bit(value) (63 - __builtin_clzll(value))
    """
    int highest_bit(unsigned long long value) noexcept nogil


cdef inline int timing_class(uint64_t ticks) noexcept nogil:
    cdef int shift
    if ticks < 8:
        return <int> ticks
    shift = highest_bit(ticks) - 3
    if shift > TIMING_SHIFT_MAX:
        return TIMING_CLASSES - 1
    return ((shift + 1) << 3) + <int> ((ticks >> shift) & 7)


# A place in the table of names: `word` is the command's own.
cdef struct Cell:
    void *command  # borrowed; NULL: nobody's
    const uint8_t *word
    Py_ssize_t len_bytes


cdef class Registry:
    cdef dict _by_word  # owns the commands
    cdef dict _compiled  # word -> address of a command_fn
    cdef Cell *_cells  # open addressing
    cdef uint32_t _cell_count  # a power of two

    cdef int add_compiled(self, bytes word, void *compiled) except -1
    cdef void *find(self, Span word) noexcept  # the Command, borrowed; NULL when unknown


# What clients are told of a command that is not there.
cdef bytes unknown_command(const Span *argv, int argc)
cdef bytes unknown_subcommand(Command command, const Span *argv)
