/* The yardstick of TLS: canned.c with OpenSSL between it and its sockets.
 *
 *     canned_tls PORT CERTIFICATE KEY [BODY_BYTES]
 *
 * One process, one level-triggered epoll set, OpenSSL on the sockets as its manual shows it, with the settings that a
 * careful author would choose: records are read ahead (one recv instead of two for a record), idle connections give
 * their buffers back, a write may be partial and may be repeated from elsewhere, sessions resume by ticket. Requests
 * are scanned as canned.c does it, and the reply is the same constant, encrypted anew each time.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "canned.h"

#define RECORD 16384    /* the most that one record holds */

struct conn {
    int fd;
    SSL *ssl;
    const struct reply *reply;
    int open;           /* the handshake is done */
    int closing;        /* the last reply in the queue ends the connection */
    unsigned armed;     /* what epoll watches */
    size_t drain;       /* body bytes of the request that still have to arrive */
    size_t queued;      /* reply bytes that OpenSSL has not taken yet */
    size_t kept;        /* bytes of an unfinished head, kept for the next event */
    char *head;
};

static char in[IN_SIZE];
static struct reply keep, last;     /* the reply, without and with "Connection: close" */

static void conn_free(struct conn *c)
{
    if (c->closing)
        SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    close(c->fd);
    free(c->head);
    free(c);
}

static int conn_arm(int ep, struct conn *c, unsigned events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};

    if (c->armed == events)
        return 0;
    c->armed = events;
    return epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &event);
}

/* OpenSSL could not go on: wait for what it needs. */
static int conn_wait(int ep, struct conn *c, int result)
{
    switch (SSL_get_error(c->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return conn_arm(ep, c, EPOLLIN);
    case SSL_ERROR_WANT_WRITE:
        return conn_arm(ep, c, EPOLLOUT);
    default:
        return -1;
    }
}

/* Write what is queued; 1 when all of it is gone. The queue is a whole number of replies but for its first, so its
 * length says where to go on. */
static int conn_flush(int ep, struct conn *c)
{
    const struct reply *reply = c->reply;

    while (c->queued) {
        size_t offset = (reply->length - c->queued % reply->length) % reply->length;
        size_t size = c->queued;
        size_t most = reply->length > 4096 ? reply->length : reply->length * BATCH;
        if (size > most - offset)
            size = most - offset;
        if (size > RECORD)
            size = RECORD;
        int n = SSL_write(c->ssl, reply->bytes + offset, (int)size);
        if (n <= 0)
            return conn_wait(ep, c, n);
        c->queued -= (size_t)n;
    }
    return c->closing ? -1 : 1;
}

/* One more request is whole: its reply joins the queue. */
static void conn_answer(struct conn *c)
{
    if (!c->queued)
        c->reply = c->closing ? &last : &keep;
    c->queued += c->reply->length;
}

/* Go through `have` bytes at the start of `in`; what is left of a head is kept. */
static int conn_take(struct conn *c, size_t have)
{
    size_t at = 0;

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
    return 0;
}

/* An event of the connection: go on until OpenSSL has to wait. */
static int conn_run(int ep, struct conn *c)
{
    ERR_clear_error();
    if (!c->open) {
        int n = SSL_do_handshake(c->ssl);
        if (n != 1)
            return conn_wait(ep, c, n);
        c->open = 1;
    }
    do {
        int done = conn_flush(ep, c);
        if (done != 1)
            return done;
        if (c->kept)
            memcpy(in, c->head, c->kept);
        int n = SSL_read(c->ssl, in + c->kept, (int)(IN_SIZE - c->kept));
        if (n <= 0)
            return conn_wait(ep, c, n);
        if (conn_take(c, c->kept + (size_t)n))
            return -1;
    } while (c->queued || SSL_has_pending(c->ssl));
    return conn_arm(ep, c, EPOLLIN);
}

static void accept_all(int ep, int listener, SSL_CTX *context)
{
    int fd, one = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct conn *c = calloc(1, sizeof *c);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        if (!c)
            die("calloc");
        c->fd = fd;
        c->armed = EPOLLIN;
        c->ssl = SSL_new(context);
        if (!c->ssl || !SSL_set_fd(c->ssl, fd))
            die("SSL_new");
        SSL_set_accept_state(c->ssl);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event))
            die("epoll_ctl");
    }
}

static SSL_CTX *make_context(const char *certificate, const char *key)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    if (!context || SSL_CTX_use_certificate_chain_file(context, certificate) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
        ERR_print_errors_fp(stderr);
        exit(1);
    }
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* tickets only */
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    return context;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[MAX_EVENTS];
    int one = 1;

    if (argc < 4) {
        fprintf(stderr, "usage: canned_tls PORT CERTIFICATE KEY [BODY_BYTES]\n");
        return 2;
    }
    size_t body = argc > 4 ? strtoul(argv[4], NULL, 10) : 13;
    keep = make_reply(body, "");
    last = make_reply(body, "Connection: close\r\n");
    SSL_CTX *context = make_context(argv[2], argv[3]);
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
                accept_all(ep, listener, context);
            else if (conn_run(ep, c) < 0)
                conn_free(c);
        }
    }
}
