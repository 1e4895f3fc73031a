/* The clock of a program that tests hold still: preloaded, so that what it calls the time of day is what a file says.
 *
 * The file named by HELD_CLOCK holds the time in us since 1970, 8 bytes, little-endian; whoever has it mapped moves the
 * clock. Clocks that only measure (CLOCK_MONOTONIC) go on as they do.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile const int64_t *held_us;

__attribute__((constructor)) static void open_clock(void) {
    const char *path = getenv("HELD_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *place = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *held_us, PROT_READ, MAP_SHARED, file, 0);
    if (place == MAP_FAILED)
        abort();
    held_us = place;
}

int gettimeofday(struct timeval *restrict into, void *restrict zone) {
    int64_t now_us = *held_us;
    (void)zone;
    into->tv_sec = now_us / 1000000;
    into->tv_usec = now_us % 1000000;
    return 0;
}

time_t time(time_t *into) {
    time_t now = *held_us / 1000000;
    if (into)
        *into = now;
    return now;
}
