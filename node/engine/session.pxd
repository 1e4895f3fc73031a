# One client's conversation, without I/O: bytes in, replies out.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from node.engine.buf cimport Buf
from node.engine.engine cimport Engine
from node.engine.entry cimport Entry
from node.engine.keyspace cimport Key, Keyspace
from node.engine.registry cimport Command
from node.engine.resp cimport Parser
from node.engine.span cimport Span

# A compiled command. It reads s.argv, changes s.keyspace and writes exactly one reply. User errors are
# replies, not exceptions; an exception means a bug or no memory, and is answered as an internal error.
ctypedef int (*command_fn)(Session s) except -1

cdef enum:
    REPLIES_ON = 0
    REPLIES_OFF = 1
    REPLIES_SKIP_NEXT = 2  # CLIENT REPLY SKIP itself is running
    REPLIES_SKIP = 3  # the command that runs now is not answered


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


cdef class Session:
    cdef readonly Engine engine
    cdef Keyspace keyspace  # engine.keyspace, one hop less
    cdef public int database
    cdef int argc
    cdef Span *argv  # argv[0] is the command's name; valid until the command returns
    cdef Buf out
    cdef readonly int resp  # 2 or 3

    # --- the conversation ------------------------------------------------------------------------------
    cdef Parser parser
    cdef const uint8_t *input_at  # what `process` works on; only while it runs
    cdef Buf inbuf  # bytes that arrived and were not executed yet, from in_at on
    cdef Py_ssize_t in_at
    cdef Command command  # that runs now, or ran last
    cdef Key first_key  # located once by the router in dispatch; valid while first_key_index > 0
    cdef int first_key_index
    cdef bint running_script_or_multi
    cdef bint effect_written
    cdef int64_t dirty
    cdef Py_ssize_t call_mark  # where the running command's reply begins in out
    cdef int reply_mode
    cdef readonly bint blocked
    cdef readonly bint stalled  # CLIENT PAUSE: the command stays in inbuf until the pause ends
    cdef bint more  # stopped because a budget was spent, not because input ran out
    cdef readonly bint closing  # ends once `out` is sent
    cdef public str close_reason
    cdef list queued  # of MULTI: lists of bytes; None outside
    cdef bint queue_broken
    cdef int queue_slot  # of the queued keyed commands: -1 none yet, -2 more than one
    cdef list watching  # of (database, key)
    cdef public bint watch_broken
    cdef public bint asking
    cdef public bint readonly_mode  # READONLY: reads may be served by a replica
    cdef public bint apply_stream  # the link to our primary: silent, counted, forwarded
    cdef readonly uint64_t applied_offset
    cdef list held  # commands of a transaction in that stream whose EXEC has not come yet; None outside
    cdef Buf held_raw  # its bytes
    cdef public bint is_replica  # a replica's link from its PSYNC on: limits for clients are not for it
    cdef public bint is_feed  # a replica's link that gets the effects stream
    cdef readonly uint64_t feed_offset
    cdef public uint64_t acked_offset
    cdef public object on_drained  # callable(session): everything written has been sent
    cdef public object on_resume  # callable(session): runs once when the client goes while blocked

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
    cdef readonly int64_t active_ms  # monotonic: the last command
    cdef readonly int64_t input_bytes
    cdef readonly int64_t output_bytes
    cdef readonly int64_t command_count
    cdef public dict notes  # free for command families; None until somebody needs it

    # --- the pump's own ----------------------------------------------------------------------------------
    cdef readonly int fd  # -1: no socket
    cdef Py_ssize_t out_sent
    cdef uint32_t interest  # epoll events asked for
    cdef bint in_ready
    cdef bint in_unsent
    cdef object waker  # callable(session): there is something to execute or send
    cdef double output_over_since_s

    # --- driving -----------------------------------------------------------------------------------------
    cdef Py_ssize_t process(self, const uint8_t *data, Py_ssize_t len_bytes, int command_budget) except -1
    cdef int _process(
        self, const uint8_t *data, Py_ssize_t len_bytes, Py_ssize_t *consumed_bytes, int command_budget
    ) except -1
    cdef int run_buffered(self, int command_budget) except -1
    cdef int _hold(self, Py_ssize_t start_bytes, Py_ssize_t len_bytes) except -1
    cdef int _pass_on(self, Py_ssize_t start_bytes, Py_ssize_t len_bytes) except -1
    cdef int _run_batch(self, Parsed *batch, int count, Py_ssize_t *consumed_bytes, int *command_budget) except -1
    cdef int dispatch(self, Command command) except -1
    cdef int _route(self, Command command) except -1
    cdef int _call(self, Command command) except -1
    cdef int _timed(self, bint ran_last) except -1
    cdef int _slow(self, Command command, uint64_t ticks, int others, bint ran_last) except -1
    cdef int _call_python(self, Command command) except -1
    cdef int _apply(self, Command command, Py_ssize_t mark) except -1
    cdef int _propagate(self) except -1
    cdef int _refuse(self, bytes text) except -1
    cdef int _reject(self, Command command, bytes text) except -1
    cdef int _touch_keys(self, Command command) except -1
    cdef list _arguments(self)

    # --- replies: each command writes exactly one (an array counts as one with its elements) ---------------
    cdef int reply_ok(self) except -1
    cdef int reply_simple(self, const char *text) except -1
    cdef int reply_error(self, const char *text) except -1  # "ERR ..." without '-' and CRLF
    cdef int reply_error_bytes(self, bytes text) except -1
    cdef int reply_int64(self, int64_t value) except -1
    cdef int reply_bulk(self, Span value) except -1
    cdef int reply_null(self) except -1  # $-1 or _
    cdef int reply_null_array(self) except -1  # *-1 or _
    cdef int reply_array(self, int64_t count) except -1
    cdef int reply_map(self, int64_t pair_count) except -1  # %n, or *2n in RESP2
    cdef int reply_set(self, int64_t count) except -1
    cdef int reply_double(self, double value) except -1
    cdef int reply_bool(self, bint value) except -1
    cdef int reply_value(self, object value) except -1  # any Python reply, see reply.py's table
    cdef int reply_entry_string(self, Entry *entry) except -1  # a string entry as a bulk
    cdef int reply_wrong_type(self) except -1
    cdef int reply_syntax_error(self) except -1
    cdef int reply_not_integer(self) except -1  # "ERR value is not an integer or out of range"

    # --- arguments -----------------------------------------------------------------------------------------
    cdef Key key_at(self, int index) noexcept  # keyspace.locate(argv[index])
    # Parses argv[index]; on failure writes "value is not an integer..." and returns 0.
    cdef bint int64_at(self, int index, int64_t *value) except -1

    # --- effects. A command that changed something calls changed(); the command's own words are then
    # propagated, unless it wrote other effects itself through self.effect(...) + effect_arg*. ---------------
    cdef int changed(self, int64_t count) except -1
    cdef int effect(self, int argc) except -1
    cdef int effect_arg(self, Span value) except -1
    cdef int effect_arg_int64(self, int64_t value) except -1
    cdef int effect_arg_word(self, const char *word) except -1
