// A server and two clients for the row of published ports, alike for every engine.
//   serve PORT              answers each line "G…" with 100 bytes; to "P…" it sends until closed
//   ask HOST PORT N SECONDS N connections ask and wait: requests per second, median microseconds
//   pour HOST PORT SECONDS  gigabits per second from the server
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char block[1 << 16];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static int dial(const char *host, int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    inet_pton(AF_INET, host, &a.sin_addr);
    if (connect(fd, (void *)&a, sizeof a)) { perror("connect"); exit(1); }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static int serve(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0), poll = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&a, sizeof a) || listen(listener, 128)) { perror("bind"); return 1; }
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, found[64];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        int n = epoll_wait(poll, found, 64, -1);
        for (int i = 0; i < n; i++) {
            int fd = found[i].data.fd;
            if (fd == listener) {
                e.data.fd = accept(listener, 0, 0);
                setsockopt(e.data.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                epoll_ctl(poll, EPOLL_CTL_ADD, e.data.fd, &e);
                continue;
            }
            char question[64];
            ssize_t got = read(fd, question, sizeof question);
            if (got > 0 && question[0] == 'P') {
                while (send(fd, block, sizeof block, MSG_NOSIGNAL) > 0);
                got = 0;
            }
            if (got <= 0 || send(fd, block, 100, MSG_NOSIGNAL) != 100) close(fd);
        }
    }
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int ask(const char *host, int port, int connections, double seconds) {
    static double took[1 << 22], sent[1024];
    int poll = epoll_create1(0), asked = 0, fds[1024];
    struct epoll_event e = {.events = EPOLLIN}, found[64];
    for (int i = 0; i < connections; i++) {
        fds[i] = dial(host, port);
        e.data.u32 = i;
        epoll_ctl(poll, EPOLL_CTL_ADD, fds[i], &e);
        sent[i] = now();
        if (write(fds[i], "G\n", 2) != 2) return 1;
    }
    double begin = now(), t;
    while ((t = now()) - begin < seconds && asked < 1 << 22) {
        int n = epoll_wait(poll, found, 64, 1000);
        for (int i = 0; i < n; i++) {
            int c = found[i].data.u32;
            char answer[256];
            if (read(fds[c], answer, sizeof answer) <= 0) return 1;
            double at = now();
            took[asked++] = at - sent[c];
            sent[c] = at;
            if (write(fds[c], "G\n", 2) != 2) return 1;
        }
    }
    qsort(took, asked, sizeof *took, compare);
    printf("%.0f %.1f\n", asked / (t - begin), took[asked / 2] * 1e6);
    return 0;
}

static int pour(const char *host, int port, double seconds) {
    int fd = dial(host, port);
    double total = 0, begin = now(), t;
    if (write(fd, "P\n", 2) != 2) return 1;
    while ((t = now()) - begin < seconds) {
        ssize_t got = read(fd, block, sizeof block);
        if (got <= 0) return 1;
        total += got;
    }
    printf("%.2f\n", total * 8 / (t - begin) / 1e9);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], "serve")) return serve(atoi(argv[2]));
    if (argc == 6 && !strcmp(argv[1], "ask"))
        return ask(argv[2], atoi(argv[3]), atoi(argv[4]), atof(argv[5]));
    if (argc == 5 && !strcmp(argv[1], "pour")) return pour(argv[2], atoi(argv[3]), atof(argv[4]));
    return 2;
}
