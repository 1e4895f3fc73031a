# One client's conversation, without I/O: bytes in, replies out.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from node.engine.applied cimport Applied
from node.engine.buf cimport Buf
from node.engine.blocking cimport Blocking
from node.engine.keyspace cimport Key
from node.engine.registry cimport Command
from node.engine.resp cimport Parser
from node.engine.transaction cimport Transaction, Watch
from node.engine.value cimport Value

cdef enum:
    # A reply buffer beyond this stops execution until the client has read some of it; its input is still
    # taken in (up to the query buffer limit), so a client that sends everything before it reads anything
    # comes through. Memory per client is bounded by this, one reply, and the query buffer limit.
    OUTPUT_PAUSE_BYTES = 4194304

cdef enum:
    BATCH_COMMANDS = 16  # parsed, and their keys' cache lines asked for, before the first of them runs
    BATCH_ARGUMENTS = 256

# A command of a pipeline between parsing and execution.
cdef struct Parsed:
    Py_ssize_t start_bytes  # in the input
    Py_ssize_t len_bytes
    Py_ssize_t argv_base
    int argc  # 0: an empty line
    int key_index  # of the key that was located already; 0: none
    void *command  # borrowed from the registry; NULL: unknown
    Key key


cdef class Session(Blocking):
    # --- the conversation ------------------------------------------------------------------------------
    cdef Parser parser
    cdef const uint8_t *input_at  # what `process` works on; only while it runs
    cdef Buf inbuf  # bytes that arrived and were not executed yet, from in_at on
    cdef Py_ssize_t in_at
    cdef readonly bint stalled  # CLIENT PAUSE: the command stays in inbuf until the pause ends
    cdef bint more  # stopped because a budget was spent, not because input ran out
    cdef public str close_reason
    cdef Transaction transaction  # from MULTI to EXEC; None outside
    cdef Watch watching  # None: nothing
    cdef Applied applied  # what the link to our primary brought; None on others
    cdef public bint is_feed  # a replica's link that gets the effects stream
    cdef readonly uint64_t feed_offset
    cdef public uint64_t acked_offset
    cdef public object on_drained  # callable(session): everything written has been sent

    # --- who it is ---------------------------------------------------------------------------------------
    cdef readonly int64_t id
    cdef public str address
    cdef public str local_address
    cdef public bytes name
    cdef public bytes library_name
    cdef public bytes library_version
    cdef public bytes user
    cdef public bint no_evict
    cdef public bint no_touch
    cdef readonly int64_t created_ms  # monotonic
    cdef readonly int64_t active_ms  # monotonic: the last command, or bytes that went either way
    cdef readonly int64_t input_bytes
    cdef readonly int64_t output_bytes
    cdef readonly int64_t command_count
    cdef public dict notes  # free for command families; None until somebody needs it

    # --- the pump's own ----------------------------------------------------------------------------------
    cdef readonly int fd  # -1: no socket
    cdef uint32_t interest  # epoll events asked for
    cdef bint in_ready
    cdef bint in_unsent
    cdef readonly double output_over_since_s

    # --- driving -----------------------------------------------------------------------------------------
    cdef Py_ssize_t process(self, const uint8_t *data, Py_ssize_t len_bytes, int command_budget) except -1
    cdef int _process(
        self, const uint8_t *data, Py_ssize_t len_bytes, Py_ssize_t *consumed_bytes, int command_budget
    ) except -1
    cdef int run_buffered(self, int command_budget) except -1
    # Keeps input that waits for more. What it has of a large argument goes into a block of its own.
    cdef int keep(self, const uint8_t *data, Py_ssize_t len_bytes) except -1
    cdef int keep_argument(self) except -1  # the same for what is in inbuf
    cdef bint _has_argument(self, Py_ssize_t len_bytes) noexcept
    cdef int _begin_argument(self, const uint8_t *data, Py_ssize_t len_bytes) except -1
    # Where to receive the rest of the argument that is arriving, or some of it.
    cdef int argument_room(self, uint8_t **at, Py_ssize_t *room_bytes, bint *to_its_end) except -1
    cdef int argument_received(self, Py_ssize_t len_bytes) except -1
    cdef Py_ssize_t waiting_bytes(self) noexcept  # input that was not executed yet
    cdef int drop_arguments(self) noexcept
    # The block that argument `index` is in, if it may become a key's value; otherwise NULL.
    cdef Value *argument_value(self, int index) noexcept
    cdef int _run_batch(self, Parsed *batch, int count, Py_ssize_t *consumed_bytes, int *command_budget) except -1
    cdef int _write_acknowledgement(self) except -1
    cdef void _end_asking(self) noexcept
    cdef int _refuse(self, bytes text) except -1
    cdef int _reject(self, Command command, bytes text) except -1
    cdef bint _queues(self) except -1
