"""The time that expiry is told by: the machine's wall clock, but for its jumps.

    wall      ......................        ^ set two hours forward
    told      ........................ . .  .   .    .     (17 ms in 16)

Somebody sets a clock, a virtual machine comes back from a snapshot, an NTP daemon steps: were expiry told by
the wall clock alone, that moment would delete every key with less time left than the jump, and a jump back would
keep all of them too long. So a jump is not followed but worked off, a sixteenth of the time that passes: an
hour in sixteen. Anything below `FOLLOWED_MS`, which is how clocks are kept right, is followed at once.

Time to live counts right across a jump; a point in time that a client names (EXPIREAT) comes early or late by
what is left of it. Rejected: never to follow, which would make such points wrong for the process's life.
"""

from libc.stdint cimport int64_t

cdef enum:
    FOLLOWED_MS = 1000
    PACE = 16


cdef class SteadyClock:
    """Tells what it was told first, and then what comes of it. It reads no clock itself."""

    def __cinit__(self):
        self._told_ms = -1

    cpdef int64_t now_ms(self, int64_t wall_ms, int64_t monotonic_ms) except -1:
        """The time for expiry, Unix time in ms.

        Args:
            wall_ms: Unix time as the machine has it, from 0 on.
            monotonic_ms: a clock that never steps and counts while the machine sleeps; not below the one given
                before.
        """
        cdef int64_t passed_ms, expected_ms, off_ms, step_ms
        if self._told_ms < 0:
            self._told_ms, self._monotonic_ms = wall_ms, monotonic_ms
            return wall_ms
        passed_ms = monotonic_ms - self._monotonic_ms
        self._monotonic_ms = monotonic_ms
        expected_ms = self._told_ms + passed_ms
        off_ms = wall_ms - expected_ms
        if -FOLLOWED_MS <= off_ms <= FOLLOWED_MS:
            self._owed_ms = 0
            self._told_ms = wall_ms
            return wall_ms
        self._owed_ms += passed_ms
        step_ms = self._owed_ms // PACE
        self._owed_ms -= step_ms * PACE
        self._told_ms = expected_ms + (step_ms if off_ms > 0 else -step_ms)
        return self._told_ms
