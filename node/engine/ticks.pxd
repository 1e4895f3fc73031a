# The clocks of whoever drives the engine: microseconds, and a counter that costs next to nothing to read.
# Only the pump reads them; the engine is told (engine.set_clock_ms, engine.set_tick_source).
from libc.stdint cimport int64_t, uint64_t

cdef extern from "time.h" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int clock, timespec *into)
    enum:
        CLOCK_MONOTONIC
        CLOCK_REALTIME
        CLOCK_BOOTTIME

cdef extern from *:
    """
    #include <stdint.h>
    #if defined(__x86_64__) && defined(__GNUC__)
    #include <x86intrin.h>
    /* Some 20 cycles, no system call: a third of what the vDSO's clock costs. */
    static uint64_t processor_ticks(void) { return __rdtsc(); }
    #else
    #include <time.h>
    static uint64_t processor_ticks(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
    }
    #endif
    """
    uint64_t processor_ticks() noexcept nogil


cdef inline int64_t clock_us(int clock) noexcept nogil:
    cdef timespec now
    clock_gettime(clock, &now)
    return <int64_t> now.tv_sec * 1000000 + now.tv_nsec // 1000
