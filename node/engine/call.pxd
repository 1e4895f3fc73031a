# The command that runs: its arguments, its keys, its effects, its time. What a compiled command sees.
from libc.stdint cimport int64_t, uint64_t

from node.engine.held cimport HeldReplies
from node.engine.keyspace cimport Key, Keyspace
from node.engine.registry cimport Command
from node.engine.span cimport Span


# What a client said about where it may be served.
cdef enum:
    ROUTE_ASKING = 1  # ASKING: a slot that is being imported will do
    ROUTE_READONLY = 2  # READONLY: so will a replica, for reading

cdef enum:
    EFFECTS_SINGLE = 0  # no EXEC runs
    EFFECTS_PENDING = 1  # an EXEC runs, and has had no effect yet
    EFFECTS_OPEN = 2  # its MULTI has been written


cdef class Call(HeldReplies):
    cdef Keyspace keyspace  # engine.keyspace, one hop less
    cdef public int database
    cdef int argc
    cdef Span *argv  # argv[0] is the command's name; valid until the command returns
    cdef Key first_key  # located once by the router in dispatch; valid while first_key_index > 0
    cdef int first_key_index
    cdef bint running_script_or_multi
    cdef int transaction_effects  # EFFECTS_*
    cdef bint effect_written
    cdef int64_t dirty  # see call.pyx
    cdef Py_ssize_t call_mark  # where the running command's reply begins in out
    cdef uint64_t changes_mark  # keyspace.changes when it began; NOTHING_RUNS
    cdef readonly bint blocked
    cdef public bint asking  # ASKING: the next command may use a slot that is being imported
    cdef public bint readonly_mode  # READONLY: reads may be served by a replica
    cdef readonly bint closing  # ends once `out` is sent
    cdef public bint is_replica  # a replica's link from its PSYNC on: limits for clients are not for it
    cdef readonly bint apply_stream  # the link to our primary: silent, counted, forwarded

    # --- arguments -----------------------------------------------------------------------------------------
    cdef Key key_at(self, int index) noexcept  # keyspace.locate(argv[index])
    # Parses argv[index]; on failure writes "value is not an integer..." and returns 0.
    cdef bint int64_at(self, int index, int64_t *value) except -1
    cdef list arguments(self)

    # --- effects. A command that changed something calls changed(); the command's own words are then
    # propagated, unless it wrote other effects itself through self.effect(...) + effect_arg*.
    # changed_at() is for one that might have changed several keys, and replaces what changed() said; changed_aside()
    # is instead of it. ---------------------------------------------------------------------------------------
    cdef int changed(self, int64_t count) except -1
    cdef int changed_at(self, int index) except -1  # only the key at argv[index], of several it might have been
    cdef int changed_aside(self, int64_t count) except -1  # what is no change to those who watch the keys
    cdef int touched_at(self, int index) except -1  # nothing has changed, but Redis says so to those who watch the key
    cdef int effect(self, int argc) except -1
    cdef int effect_arg(self, Span value) except -1
    cdef int effect_arg_int64(self, int64_t value) except -1
    cdef int effect_arg_word(self, const char *word) except -1
    cdef int close_transaction_effects(self) except -1

    # --- running it ----------------------------------------------------------------------------------------
    cdef int dispatch(self, Command command) except -1  # checks, then `call`: the session's
    cdef int call(self, Command command) except -1
    cdef int run_arguments(self, list words) except -1
    cdef int call_words(self, Command command, list words) except -1
    cdef int _with_words(self, Command command, list words) except -1
    cdef int route_modes(self) noexcept
    cdef int hold_reply(self, Py_ssize_t mark, uint64_t offset) except -1
    cdef int broke(self, object error) except -1
    cdef int _broke_off(self, object error) except -1
    cdef int _call_python(self, Command command) except -1
    cdef int _open_transaction_effects(self) except -1
    cdef int _propagate(self) except -1
    cdef int _touch_keys(self, Command command) except -1
    cdef int _touch_at(self, int index) except -1
    cdef int timed(self, bint ran_last) except -1
    cdef int _slow(self, Command command, uint64_t ticks, int others, bint ran_last) except -1
