/* A load for latencies, the same for Redis's protocol and for memcached's text protocol.

   redis-benchmark waits for a reply before it sends again: while a server pauses it asks nothing, and of a pause of a
   second it reports one slow request per connection. With --rate this one sends at even intervals whatever the
   server does, so every request that fell into a pause counts. With --rate 0 it waits, as redis-benchmark does.

   Latency runs from the send of a request to the receipt of its reply's last byte.

   Standard input controls it: a line "NAME" ends the phase so far, which is printed as one line of JSON under that name;
   the end of input ends the program. With --count it ends by itself, after one line.

   With --witness-us a thread on each processor sleeps for so long again and again, at a real-time priority that nothing else
   has, and notes when it wakes up late: then no thread could have run there, for the system below a virtual machine
   had taken the processor away. Such standstills are printed with the phase, and so is each request that waited for a
   millisecond or longer, both with their beginning on the monotonic clock.

   usage: probe --port N [--protocol resp|memcached] [--connections N] [--pipeline N] [--rate PER_S] [--keys N]
                [--first-key N] [--value-bytes N] [--sets PERCENT] [--count N] [--fill] [--expire-at-ms UNIX_MS] [--seed N]
                [--witness-us N]

   Keys are first-key ... first-key + keys - 1. --fill sets each once, in order, instead of drawing them at random. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 1024,
    QUEUE = 1 << 16, /* requests of a connection without a reply */
    READ_BYTES = 1 << 18,
    STEPS = 32, /* histogram: steps per doubling, so a figure is right to 3 % */
    DOUBLINGS = 42,
    RANDOM_BYTES = 1 << 20,
    SLOW_US = 1000,      /* a request that waited so long is noted by itself */
    STILL_US = 300,      /* a witness that wakes up so late has seen a standstill */
    SPANS_MAX = 1 << 16, /* of each kind in a phase; more are not noted but counted */
    WITNESSES_MAX = 64,
    WITNESS_PRIORITY = 50,
};

typedef struct {
    uint64_t sent_ns;
    uint8_t is_set;
} Asked;

typedef struct {
    int fd;
    uint32_t events;
    char *out; /* what is still to be sent: out_at .. out_len */
    size_t out_at, out_len, out_size;
    Asked *asked; /* ring: first .. first + count */
    uint32_t first, count;
    char line[128]; /* of a reply, as far as it has come */
    size_t line_len;
    uint64_t skip_bytes; /* of a value */
} Connection;

typedef struct {
    uint64_t count, total_ns, highest_ns, misses;
    uint64_t bucket[STEPS * DOUBLINGS];
} Histogram;

typedef struct {
    uint64_t from_ns, ns;
} Span;

typedef struct {
    uint64_t count; /* of all; noted are the first SPANS_MAX */
    Span *span;
} Spans;

static struct {
    int port, memcached, connections, pipeline, sets, fill;
    uint64_t keys, first_key, value_bytes, count, seed;
    int64_t expire_at_ms;
    uint64_t witness_us;
    double rate;
} options = {.connections = 50, .pipeline = 1, .keys = 100000, .value_bytes = 64, .seed = 1};

static Connection connection[CONNECTIONS_MAX];
static Histogram gets, sets;
static Spans slow, still;
static pthread_mutex_t still_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t sent, answered, errors, next_key, began_ns, phase_ns;
static char first_error[128];
static char *random_bytes, *input;
static int epoll_fd;

static void fail(const char *what) {
    fprintf(stderr, "probe: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void complain(const char *what) {
    fprintf(stderr, "probe: %s\n", what);
    exit(2);
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t draw(void) { /* xorshift64* */
    static uint64_t state;
    if (!state) state = options.seed * 0x9E3779B97F4A7C15u | 1;
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 2685821657736338717u >> 16;
}

/* Histogram ------------------------------------------------------------------------------------------------------ */

static void note(Histogram *histogram, uint64_t ns) {
    unsigned doubling = ns < STEPS ? 0 : 63u - (unsigned)__builtin_clzll(ns) - 4;
    unsigned step = ns < STEPS ? (unsigned)ns : (unsigned)(ns >> (doubling - 1)) & (STEPS - 1);
    if (doubling >= DOUBLINGS) doubling = DOUBLINGS - 1;
    histogram->bucket[doubling * STEPS + step]++;
    histogram->count++;
    histogram->total_ns += ns;
    if (ns > histogram->highest_ns) histogram->highest_ns = ns;
}

static double percentile_us(const Histogram *histogram, double percent) {
    uint64_t wanted = (uint64_t)((double)histogram->count * percent / 100), seen = 0;
    for (unsigned at = 0; at < STEPS * DOUBLINGS; at++) {
        unsigned doubling = at / STEPS, step = at % STEPS;
        seen += histogram->bucket[at];
        if (seen > wanted) { /* the upper end of the step */
            uint64_t ns = doubling ? (uint64_t)(STEPS + step + 1) << (doubling - 1) : step + 1;
            return (double)(ns < histogram->highest_ns ? ns : histogram->highest_ns) / 1000;
        }
    }
    return (double)histogram->highest_ns / 1000;
}

static void print_histogram(const char *name, const Histogram *histogram) {
    static const double percents[] = {50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 100};
    printf(", \"%s\": {\"count\": %llu, \"misses\": %llu, \"mean_us\": %.1f, \"percentiles_us\": {", name,
           (unsigned long long)histogram->count, (unsigned long long)histogram->misses,
           histogram->count ? (double)histogram->total_ns / (double)histogram->count / 1000 : 0.0);
    for (size_t at = 0; at < sizeof percents / sizeof *percents; at++)
        printf("%s\"%g\": %.1f", at ? ", " : "", percents[at], percentile_us(histogram, percents[at]));
    printf("}}");
}

/* Standstills ---------------------------------------------------------------------------------------------------- */

static void note_span(Spans *spans, uint64_t from_ns, uint64_t ns) {
    if (spans->count < SPANS_MAX) spans->span[spans->count] = (Span){from_ns, ns};
    spans->count++;
}

static void print_spans(const char *name, Spans *spans) {
    printf(", \"%s_count\": %llu, \"%s\": [", name, (unsigned long long)spans->count, name);
    for (uint64_t at = 0; at < spans->count && at < SPANS_MAX; at++)
        printf("%s[%llu, %llu]", at ? ", " : "", (unsigned long long)spans->span[at].from_ns,
               (unsigned long long)spans->span[at].ns);
    printf("]");
    spans->count = 0;
}

static void *witness(void *nothing) {
    uint64_t due = now_ns();
    for (;;) {
        struct timespec until;
        uint64_t now;
        due += options.witness_us * 1000;
        until.tv_sec = (time_t)(due / 1000000000);
        until.tv_nsec = (long)(due % 1000000000);
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        now = now_ns();
        if (now < due + STILL_US * 1000) continue;
        pthread_mutex_lock(&still_lock);
        note_span(&still, due, now - due);
        pthread_mutex_unlock(&still_lock);
        due = now;
    }
    return nothing;
}

static void start_witnesses(void) {
    struct sched_param priority = {.sched_priority = WITNESS_PRIORITY};
    cpu_set_t all, one;
    if (sched_getaffinity(0, sizeof all, &all) < 0) fail("sched_getaffinity");
    if (!(slow.span = calloc(SPANS_MAX, sizeof(Span))) || !(still.span = calloc(SPANS_MAX, sizeof(Span)))) fail("memory");
    for (int number = 0; number < WITNESSES_MAX; number++) {
        pthread_attr_t attributes;
        pthread_t thread;
        if (!CPU_ISSET(number, &all)) continue;
        CPU_ZERO(&one);
        CPU_SET(number, &one);
        pthread_attr_init(&attributes);
        pthread_attr_setaffinity_np(&attributes, sizeof one, &one);
        pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
        pthread_attr_setschedpolicy(&attributes, SCHED_FIFO);
        pthread_attr_setschedparam(&attributes, &priority);
        if ((errno = pthread_create(&thread, &attributes, witness, NULL))) fail("a witness at real-time priority");
    }
}

static void end_phase(const char *name) {
    uint64_t now = now_ns();
    printf("{\"phase\": \"%s\", \"seconds\": %.4f, \"errors\": %llu, \"error\": \"%s\"", name,
           (double)(now - phase_ns) / 1e9, (unsigned long long)errors, first_error);
    print_histogram("gets", &gets);
    print_histogram("sets", &sets);
    if (options.witness_us) {
        print_spans("slow", &slow);
        pthread_mutex_lock(&still_lock);
        print_spans("still", &still);
        pthread_mutex_unlock(&still_lock);
    }
    printf("}\n");
    fflush(stdout);
    memset(&gets, 0, sizeof gets);
    memset(&sets, 0, sizeof sets);
    errors = 0;
    first_error[0] = 0;
    phase_ns = now;
}

/* Requests ------------------------------------------------------------------------------------------------------- */

static void append(Connection *c, const char *data, size_t len) {
    if (c->out_len + len > c->out_size) {
        c->out_size = (c->out_len + len) * 2;
        if (!(c->out = realloc(c->out, c->out_size))) fail("memory");
    }
    memcpy(c->out + c->out_len, data, len);
    c->out_len += len;
}

static void ask(Connection *c, uint64_t now) {
    char text[256], expiry[64] = "";
    int is_set = options.fill || draw() % 100 < (uint64_t)options.sets, len;
    uint64_t key = options.first_key + (options.fill ? next_key++ : draw() % options.keys);
    Asked *asked = &c->asked[(c->first + c->count) % QUEUE];
    if (c->count == QUEUE) complain("the server owes a connection 65536 replies");
    if (!is_set && options.memcached)
        /* Not `get`: memcached answers each of those with a system call of its own, however many came together. */
        len = sprintf(text, "mg key:%012llu v\r\n", (unsigned long long)key);
    else if (!is_set)
        len = sprintf(text, "*2\r\n$3\r\nGET\r\n$16\r\nkey:%012llu\r\n", (unsigned long long)key);
    else if (options.memcached)
        len = sprintf(text, "set key:%012llu 0 0 %llu\r\n", (unsigned long long)key,
                      (unsigned long long)options.value_bytes);
    else {
        if (options.expire_at_ms)
            sprintf(expiry, "$4\r\nPXAT\r\n$13\r\n%013lld\r\n", (long long)options.expire_at_ms);
        len = sprintf(text, "*%d\r\n$3\r\nSET\r\n$16\r\nkey:%012llu\r\n$%llu\r\n", *expiry ? 5 : 3,
                      (unsigned long long)key, (unsigned long long)options.value_bytes);
    }
    append(c, text, (size_t)len);
    if (is_set) {
        append(c, random_bytes + key * 7919 % RANDOM_BYTES, options.value_bytes);
        append(c, "\r\n", 2);
        append(c, expiry, strlen(expiry));
    }
    asked->sent_ns = now;
    asked->is_set = (uint8_t)is_set;
    c->count++;
    sent++;
}

static void want(Connection *c, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (c->events != events && epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event) < 0) fail("epoll_ctl");
    c->events = events;
}

static void flush_out(Connection *c) {
    while (c->out_at < c->out_len) {
        ssize_t done = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
        if (done < 0) {
            if (errno != EAGAIN) fail("send");
            want(c, EPOLLIN | EPOLLOUT);
            return;
        }
        c->out_at += (size_t)done;
    }
    c->out_at = c->out_len = 0;
    want(c, EPOLLIN);
}

/* Replies -------------------------------------------------------------------------------------------------------- */

static void one_reply(Connection *c, uint64_t now, int missed) {
    Asked *asked = &c->asked[c->first];
    Histogram *histogram = asked->is_set ? &sets : &gets;
    if (c->count == 0) complain("the server answers what was not asked");
    note(histogram, now - asked->sent_ns);
    if (options.witness_us && now - asked->sent_ns >= SLOW_US * 1000) note_span(&slow, asked->sent_ns, now - asked->sent_ns);
    histogram->misses += (uint64_t)missed;
    c->first = (c->first + 1) % QUEUE;
    c->count--;
    answered++;
}

static void one_error(Connection *c, uint64_t now) {
    if (!errors++) {
        snprintf(first_error, sizeof first_error, "%s", c->line);
        for (char *at = first_error; *at; at++)
            if (*at == '"' || *at == '\\' || *at < ' ') *at = '\'';
    }
    one_reply(c, now, 0);
}

static void one_line(Connection *c, uint64_t now) {
    const char *line = c->line;
    if (options.memcached) {
        if (!strncmp(line, "VA ", 3))
            c->skip_bytes = strtoull(line + 3, NULL, 10) + 2;
        else if (!strcmp(line, "EN"))
            one_reply(c, now, 1);
        else if (!strcmp(line, "STORED"))
            one_reply(c, now, 0);
        else
            one_error(c, now);
    } else if (*line == '$' && line[1] == '-')
        one_reply(c, now, 1);
    else if (*line == '$')
        c->skip_bytes = strtoull(line + 1, NULL, 10) + 2;
    else if (*line == '+')
        one_reply(c, now, 0);
    else
        one_error(c, now);
}

static void receive(Connection *c) {
    ssize_t got = recv(c->fd, input, READ_BYTES, 0);
    uint64_t now = now_ns();
    const char *at = input, *end;
    if (got < 0 && errno == EAGAIN) return;
    if (got < 0) fail("recv");
    if (got == 0) complain("the server closed a connection");
    for (end = input + got; at < end;) {
        if (c->skip_bytes) {
            size_t step = (uint64_t)(end - at) < c->skip_bytes ? (size_t)(end - at) : c->skip_bytes;
            at += step;
            c->skip_bytes -= step;
            if (!c->skip_bytes) one_reply(c, now, 0);
            continue;
        }
        if (*at == '\n') {
            while (c->line_len && c->line[c->line_len - 1] == '\r') c->line_len--;
            c->line[c->line_len] = 0;
            c->line_len = 0;
            at++;
            one_line(c, now);
        } else {
            if (c->line_len < sizeof c->line - 1) c->line[c->line_len++] = *at;
            at++;
        }
    }
}

/* The loop ------------------------------------------------------------------------------------------------------- */

static void open_connection(Connection *c) {
    int one = 1;
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons((unsigned short)options.port)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&place, sizeof place) < 0) fail("connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) < 0) fail("epoll_ctl");
    c->events = EPOLLIN;
    if (!(c->asked = calloc(QUEUE, sizeof *c->asked))) fail("memory");
}

static int more_to_ask(void) { return !options.count || sent < options.count; }

static void ask_batch(Connection *c) {
    uint64_t now = now_ns();
    for (int number = 0; number < options.pipeline && more_to_ask(); number++) ask(c, now);
    flush_out(c);
}

/* Sends what is due; returns how long until the next, in ns. */
static uint64_t keep_rate(void) {
    static uint64_t number;
    for (;;) {
        uint64_t due = began_ns + (uint64_t)((double)number / options.rate * 1e9), now = now_ns();
        Connection *c = &connection[number % (uint64_t)options.connections];
        if (!more_to_ask()) return 1000000;
        if (now < due) return due - now;
        ask(c, now);
        flush_out(c);
        number++;
    }
}

static void control(void) {
    static char line[64];
    static size_t len;
    char got[64];
    ssize_t count = read(0, got, sizeof got);
    if (count <= 0) exit(0);
    for (ssize_t at = 0; at < count; at++) {
        if (got[at] == '\n') {
            line[len] = 0;
            len = 0;
            end_phase(line);
        } else if (len < sizeof line - 1)
            line[len++] = got[at];
    }
}

static void read_options(int argc, char **argv) {
    for (int at = 1; at < argc; at++) {
        const char *name = argv[at];
        if (!strcmp(name, "--fill")) {
            options.fill = 1;
            continue;
        }
        if (++at == argc) complain("an option lacks its value");
        if (!strcmp(name, "--port")) options.port = atoi(argv[at]);
        else if (!strcmp(name, "--protocol")) options.memcached = !strcmp(argv[at], "memcached");
        else if (!strcmp(name, "--connections")) options.connections = atoi(argv[at]);
        else if (!strcmp(name, "--pipeline")) options.pipeline = atoi(argv[at]);
        else if (!strcmp(name, "--rate")) options.rate = atof(argv[at]);
        else if (!strcmp(name, "--keys")) options.keys = strtoull(argv[at], NULL, 10);
        else if (!strcmp(name, "--first-key")) options.first_key = strtoull(argv[at], NULL, 10);
        else if (!strcmp(name, "--value-bytes")) options.value_bytes = strtoull(argv[at], NULL, 10);
        else if (!strcmp(name, "--sets")) options.sets = atoi(argv[at]);
        else if (!strcmp(name, "--count")) options.count = strtoull(argv[at], NULL, 10);
        else if (!strcmp(name, "--expire-at-ms")) options.expire_at_ms = strtoll(argv[at], NULL, 10);
        else if (!strcmp(name, "--witness-us")) options.witness_us = strtoull(argv[at], NULL, 10);
        else if (!strcmp(name, "--seed")) options.seed = strtoull(argv[at], NULL, 10);
        else complain("an unknown option");
    }
    if (options.fill) options.count = options.keys;
    if (options.port <= 0 || options.keys == 0 || options.pipeline < 1 || options.pipeline > QUEUE)
        complain("--port, --keys or --pipeline is out of range");
    if (options.connections < 1 || options.connections > CONNECTIONS_MAX) complain("--connections is out of range");
}

int main(int argc, char **argv) {
    struct epoll_event events[256];
    read_options(argc, argv);
    prctl(PR_SET_TIMERSLACK, 1ul, 0ul, 0ul, 0ul); /* sleep as long as asked, not 50 us more */
    random_bytes = malloc(RANDOM_BYTES + options.value_bytes);
    input = malloc(READ_BYTES);
    if (!random_bytes || !input) fail("memory");
    for (size_t at = 0; at < RANDOM_BYTES + options.value_bytes; at++)
        random_bytes[at] = (char)('+' + draw() % 84); /* no '*': floor.c counts commands by it */
    if ((epoll_fd = epoll_create1(0)) < 0) fail("epoll_create1");
    for (int number = 0; number < options.connections; number++) open_connection(&connection[number]);
    if (!options.count) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &event) < 0) fail("standard input");
    }
    if (options.witness_us) start_witnesses();
    began_ns = phase_ns = now_ns();
    if (options.rate <= 0)
        for (int number = 0; number < options.connections; number++) ask_batch(&connection[number]);
    while (!options.count || answered < options.count) {
        uint64_t wait_ns = options.rate > 0 ? keep_rate() : 1000000000;
        struct timespec wait = {.tv_sec = (time_t)(wait_ns / 1000000000), .tv_nsec = (long)(wait_ns % 1000000000)};
        int count = epoll_pwait2(epoll_fd, events, 256, &wait, NULL);
        if (count < 0 && errno != EINTR) fail("epoll_pwait2");
        for (int number = 0; number < count; number++) {
            Connection *c = events[number].data.ptr;
            if (!c) {
                control();
                continue;
            }
            if (events[number].events & EPOLLOUT) flush_out(c);
            if (events[number].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) receive(c);
            if (options.rate <= 0 && c->count == 0 && c->out_at == c->out_len && more_to_ask()) ask_batch(c);
        }
    }
    end_phase("all");
    return 0;
}
