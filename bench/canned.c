/* The yardstick: what an HTTP reply costs when nobody thinks about it.
 *
 *     canned PORT [BODY_BYTES]
 *
 * One process, one level-triggered epoll set, one receive buffer. A request is scanned line by line for the three
 * things the answer depends on (the end of the head, Content-Length, "Connection: close"); the reply is a constant,
 * written as soon as the request is whole. It keeps connections alive, answers pipelined requests with one send,
 * drains request bodies, and goes on with a partial write when the socket is writable again. It checks nothing and
 * refuses nothing: a server that does real work cannot be cheaper, so ratios to it can be compared across machines.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "canned.h"

struct conn {
    int fd;
    const struct reply *reply;
    int closing;        /* the last reply in the queue ends the connection */
    int armed;          /* waiting for EPOLLOUT instead of EPOLLIN */
    size_t drain;       /* body bytes of the request that still have to arrive */
    size_t queued;      /* reply bytes that the socket has not taken yet */
    size_t kept;        /* bytes of an unfinished head, kept for the next event */
    char *head;
};

static char in[IN_SIZE];
static struct reply keep, last;     /* the reply, without and with "Connection: close" */

static void conn_free(struct conn *c)
{
    close(c->fd);
    free(c->head);
    free(c);
}

static int conn_arm(int ep, struct conn *c, int writable)
{
    struct epoll_event event = {.events = writable ? EPOLLOUT : EPOLLIN, .data.ptr = c};

    if (c->armed == writable)
        return 0;
    c->armed = writable;
    return epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &event);
}

/* Send what is queued. The queue is always a whole number of constant replies, so its tail says where to go on. */
static int conn_flush(int ep, struct conn *c)
{
    const struct reply *reply = c->reply;

    while (c->queued) {
        size_t offset = (reply->length - c->queued % reply->length) % reply->length;
        size_t size = c->queued;
        size_t most = reply->length > 4096 ? reply->length : reply->length * BATCH;
        if (size > most - offset)
            size = most - offset;
        ssize_t n = send(c->fd, reply->bytes + offset, size, MSG_NOSIGNAL);
        if (n < 0)
            return errno == EAGAIN ? conn_arm(ep, c, 1) : -1;
        c->queued -= (size_t)n;
    }
    return c->closing ? -1 : conn_arm(ep, c, 0);
}

/* One more request is whole: its reply joins the queue. */
static void conn_answer(struct conn *c)
{
    if (!c->queued)
        c->reply = c->closing ? &last : &keep;
    c->queued += c->reply->length;
}

static int conn_read(int ep, struct conn *c)
{
    size_t have = c->kept, at = 0;

    if (have)
        memcpy(in, c->head, have);
    ssize_t n = recv(c->fd, in + have, IN_SIZE - have, 0);
    if (n <= 0)
        return n < 0 && errno == EAGAIN ? 0 : -1;
    have += (size_t)n;
    c->kept = 0;
    while (at < have && (c->drain || !c->closing)) {
        if (c->drain) {
            size_t take = c->drain < have - at ? c->drain : have - at;
            c->drain -= take;
            at += take;
            if (!c->drain)
                conn_answer(c);
            continue;
        }
        size_t body, head = scan_head(in + at, have - at, &body, &c->closing);
        if (!head) {
            c->closing = 0;
            if (have - at > IN_SIZE / 2)
                return -1;
            char *bytes = realloc(c->head, have - at);
            if (!bytes)
                return -1;
            c->head = bytes;
            c->kept = have - at;
            memcpy(c->head, in + at, c->kept);
            break;
        }
        at += head;
        c->drain = body;
        if (!body)
            conn_answer(c);
    }
    return c->queued ? conn_flush(ep, c) : 0;
}

static void accept_all(int ep, int listener)
{
    int fd, one = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *c = calloc(1, sizeof *c);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (!c)
            die("calloc");
        c->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event))
            die("epoll_ctl");
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[MAX_EVENTS];
    int one = 1;

    if (argc < 2) {
        fprintf(stderr, "usage: canned PORT [BODY_BYTES]\n");
        return 2;
    }
    size_t body = argc > 2 ? strtoul(argv[2], NULL, 10) : 13;
    keep = make_reply(body, "");
    last = make_reply(body, "Connection: close\r\n");
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int ep = epoll_create1(EPOLL_CLOEXEC);
    if (listener < 0 || ep < 0)
        die("socket");
    address.sin_port = htons((unsigned short)atoi(argv[1]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096))
        die("bind");
    if (epoll_ctl(ep, EPOLL_CTL_ADD, listener, &event))
        die("epoll_ctl");
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        int n = epoll_wait(ep, events, MAX_EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (!c)
                accept_all(ep, listener);
            else if ((events[i].events & EPOLLOUT ? conn_flush(ep, c) : conn_read(ep, c)) < 0)
                conn_free(c);
        }
    }
}
