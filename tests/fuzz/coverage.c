/* Where the compiled room has been: gcc's -fsanitize-coverage=trace-pc calls the function below at every branch.
 *
 * Preloaded, so that all extension modules share one map. An edge is a pair of places, one after the other,
 * hashed into a byte that counts; the count is kept as one of eight sizes (1, 2, 3, 4-7, ... 128 and more), each of
 * which is news once: a loop that runs longer than ever before is as interesting as a new branch.
 */
#include <stdint.h>
#include <string.h>

#define PLACES 65536

static uint8_t counts[PLACES]; /* of the input that runs */
static uint8_t known[PLACES];  /* bit per size, over all inputs */
static uintptr_t before;
static int listening;

void __sanitizer_cov_trace_pc(void) {
    uintptr_t here;
    uint8_t *count;
    if (!listening)
        return;
    here = (uintptr_t)__builtin_return_address(0);
    here = (here ^ here >> 15) * 0x9E3779B1u;
    count = &counts[(here ^ before) % PLACES];
    *count += *count != 255;
    before = here >> 1;
}

void coverage_begin(void) {
    memset(counts, 0, sizeof counts);
    before = 0;
    listening = 1;
}

/* How many edges, or sizes of their counts, were never seen before this input. */
int coverage_end(void) {
    int news = 0;
    listening = 0;
    for (size_t word = 0; word < PLACES; word += 8) {
        uint64_t any;
        memcpy(&any, counts + word, 8);
        if (!any)
            continue;
        for (size_t at = word; at < word + 8; at++) {
            unsigned count = counts[at];
            uint8_t size = count == 0   ? 0
                           : count < 4  ? 1 << (count - 1)
                           : count < 8  ? 8
                           : count < 16 ? 16
                           : count < 32 ? 32
                           : count < 128 ? 64
                                         : 128;
            if (size & ~known[at]) {
                known[at] |= size;
                news++;
            }
        }
    }
    return news;
}

int coverage_edges(void) {
    int edges = 0;
    for (size_t at = 0; at < PLACES; at++)
        edges += known[at] != 0;
    return edges;
}
