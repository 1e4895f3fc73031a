# A client that waits in a command: for a key (node.engine.waiters tells how), or for somebody's answer.
from libc.stdint cimport int64_t

from node.engine.call cimport Call
from node.engine.span cimport Span
from node.engine.waiters cimport Wait


cdef class Blocking(Call):
    cdef readonly Wait waiting  # for keys; None: does not
    cdef readonly bytes ready_key  # set while the command runs again: the key that made it
    cdef object waker  # callable(session): there is something to execute or send
    cdef public object on_resume  # callable(session): runs once when the client goes while blocked

    # Reads a timeout at argv[index], in seconds with a fraction, as BLPOP has it. 0: none. On failure writes the
    # error and returns 0.
    cdef bint wait_ms_at(self, int index, int64_t *wait_ms) except -1
    # `block_on` for compiled commands: keys are argv[first : last + 1].
    cdef int wait_for(self, int first, int last, int64_t wait_ms, int type) except -1
    cdef bytes _read_wait(self, Span word, int64_t *wait_ms)
