/* The floor under a benchmark: receive, answer +OK, nothing else.

   What this costs per request, no server that reads with recv and answers with send can go below. It counts
   commands by their '*', which neither redis-benchmark's keys nor its values contain, and so serves pipelines
   too. Not a server: no limits, no partial sends. Usage: floor PORT */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 128, BUFFER_BYTES = 64 * 1024 };

static char input[BUFFER_BYTES];
static char output[BUFFER_BYTES * 2];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void watch(int epoll_fd, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
}

static int answer(int fd) {
    ssize_t got = recv(fd, input, sizeof input, 0);
    if (got <= 0) return 0;
    size_t len = 0;
    const char *at = input, *end = input + got;
    while (len + 5 <= sizeof output && (at = memchr(at, '*', (size_t)(end - at)))) {
        memcpy(output + len, "+OK\r\n", 5);
        len += 5;
        at++;
    }
    return len == 0 || send(fd, output, len, MSG_NOSIGNAL) == (ssize_t)len;
}

int main(int argc, char **argv) {
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0), epoll_fd = epoll_create1(0);
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event events[EVENTS];
    if (argc != 2 || listener < 0 || epoll_fd < 0) fail("usage: floor PORT");
    place.sin_port = htons((unsigned short)atoi(argv[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&place, sizeof place) < 0 || listen(listener, 511) < 0) fail("bind");
    watch(epoll_fd, listener);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS, -1);
        for (int index = 0; index < count; index++) {
            int fd = events[index].data.fd;
            if (fd != listener) {
                if (!answer(fd)) close(fd);
                continue;
            }
            fd = accept(listener, NULL, NULL);
            if (fd < 0) continue;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            watch(epoll_fd, fd);
        }
    }
}
