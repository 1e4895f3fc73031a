# What all sessions of one process share: data, commands, the effects stream, routing and counters.
from libc.stdint cimport int16_t, int64_t, uint8_t, uint32_t, uint64_t

from node.engine.effects cimport Effects
from node.engine.evictor cimport Evictor
from node.engine.gate cimport Gate
from node.engine.keyspace cimport Keyspace
from node.engine.registry cimport Registry
from node.engine.resp cimport ParserLimits
from node.engine.waiters cimport Waiters

cdef enum:
    SLOT_COUNT = 16384

cdef enum:
    LEAVING = -2  # in Engine.migrating_to, in place of an owner

cdef enum:
    PAUSE_NONE = 0
    PAUSE_WRITE = 1
    PAUSE_ALL = 2


# A counter that runs at an even pace, as cheap to read as can be. The engine itself reads no clock: the pump
# gives it one of these; in tests and the simulator there is none, and nothing is timed.
ctypedef uint64_t (*tick_fn)() noexcept nogil


cdef enum:
    TIMED_TOGETHER_MAX = 16


cdef struct Counters:
    int64_t commands
    int64_t connections
    int64_t rejected_connections
    int64_t net_input_bytes
    int64_t net_output_bytes
    int64_t net_repl_output_bytes
    int64_t errors
    int64_t unexpected_errors
    int64_t reads
    int64_t writes
    int64_t query_limit_disconnections
    int64_t output_limit_disconnections


cdef class Engine:
    cdef readonly Keyspace keyspace
    cdef readonly Registry registry
    cdef readonly Effects effects
    cdef readonly Gate gate
    cdef readonly bint cluster
    cdef Counters counters
    cdef ParserLimits limits

    # Routing, consulted before each keyed command in cluster mode.
    cdef int16_t slot_owner[SLOT_COUNT]  # index into owners; -1: nobody's
    cdef int16_t migrating_to[SLOT_COUNT]  # index into owners; -1: not migrating; or LEAVING
    cdef uint8_t importing[SLOT_COUNT]
    cdef list owners  # bytes "host:port" by owner index
    cdef int self_owner
    cdef bint is_primary
    cdef bint serving
    cdef bytes not_serving_reason
    cdef public bint reads_when_down  # cluster-allow-reads-when-down
    cdef public int64_t lease_until_ms  # on the pump's monotonic clock; 0: no lease needed
    cdef int64_t monotonic_ms  # given together with the wall clock

    cdef readonly Evictor evictor
    cdef public bint read_only  # a stand-alone replica: writes get READONLY
    cdef public bint loading
    cdef public bint stale  # a replica without a link whose replica-serve-stale-data is no
    cdef public object write_refusal  # bytes: writes are refused with this text (NOREPLICAS, MISCONF), or None
    cdef int pause_mode
    cdef int64_t pause_until_ms  # on the monotonic clock
    cdef int64_t python_calls  # of handlers and callbacks: they can do anything
    cdef public object on_python_error  # callable(exception) for a handler that broke
    cdef readonly object context  # the running node, for Python handlers
    cdef readonly Waiters waiters
    cdef bint _serving_waiters
    cdef bint routes_changed  # since those who wait for keys were asked whether they still may
    cdef bint _was_read_only
    cdef bint _was_follower
    cdef readonly dict watched  # (database, key) -> list of Watch

    cdef public int64_t next_session_id
    cdef readonly dict errors_by_code

    # Timing: the end of one command is the begin of the next. Reading the counter is still a tenth of a
    # pipelined GET, so up to sixteen brief commands of a pipeline are timed together and share the time equally.
    cdef tick_fn tick_source  # NULL: nothing is timed
    cdef uint64_t ticks_mark  # when the running command began, or the last one ended
    cdef readonly double ticks_per_us  # 0: not known yet
    cdef readonly int64_t slow_us  # calls at least this long are told to on_slow; -1: none
    cdef uint64_t slow_ticks  # the same; UINT64_MAX: none
    cdef void *timed_together[TIMED_TOGETHER_MAX]  # borrowed Commands that ran since ticks_mark
    cdef int timed_count
    cdef int together_max  # 1 while the threshold is so low that single brief commands matter
    cdef public bint latency_tracking
    cdef public object on_slow  # callable(session, command, duration_us, shortened words), or None
    cdef readonly int64_t cycle_us  # evictions at least this long are told to on_cycle; -1: they are not timed
    cdef public object on_cycle  # callable(event, duration_us), or None

    cdef bint make_room(self) except -1
    cdef uint64_t count_times(self) except? 0
    cdef int set_tick_source(self, tick_fn source, double ticks_per_us) except -1

    cdef int count_error(self, bytes code) except -1
    cdef bint _holds(self, int database, bytes name) except -1
    cdef int touch_watched(self, int database, bytes key, bint changed) except -1
    cdef int touch_all_watched(self, int database) except -1
    cdef int touch_cleared(self, int database) except -1
    cdef int touch_swapped(self, int left, int right) except -1
    cdef int serve_waiters(self) except -1
