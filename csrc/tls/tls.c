/* tls.c - TLS on one connection: handshake, reading, writing, goodbye.
 *
 * The socket is read and written by a BIO of our own where the library lets us have one. Then a client that is gone
 * raises no SIGPIPE, one system call receives what is there, however many records that is, and a short one tells that
 * the socket is empty, which saves the call that would find it so. Elsewhere it is the library's BIO, and reading goes on
 * until that says that there is nothing.
 */
#include "tls/tls.h"
#include "tls/context.h"
#include "system/sigpipe.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS: the socket carries SO_NOSIGPIPE instead */
#endif
#ifndef MSG_MORE
#define MSG_MORE 0
#endif

enum { RETRY_READ = 1 | 8, RETRY_WRITE = 2 | 8, RETRY_FLAGS = 1 | 2 | 4 | 8 }; /* BIO_FLAGS_... */
enum { CTRL_EOF = 2, CTRL_FLUSH = 11 };                                        /* BIO_CTRL_... */

/* ---- the socket ------------------------------------------------------------------------------------------------ */

static bool would_block(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK;
}

int fw_tls_bio_read(const fw_openssl *api, fw_bio *b, char *to, int room)
{
    fw_tls *t = api->BIO_get_data(b);
    api->BIO_clear_flags(b, RETRY_FLAGS);
    if (t->drained) { /* what has come since is told by an event */
        t->empty = true;
        api->BIO_set_flags(b, RETRY_READ);
        return -1;
    }
    ssize_t n;
    do
        n = recv(t->fd, to, (size_t)room, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        t->received += (uint64_t)n;
        t->drained = n < room;
        return (int)n;
    }
    if (n == 0) {
        t->eof = true;
        return 0;
    }
    if (would_block(errno)) {
        t->drained = t->empty = true;
        api->BIO_set_flags(b, RETRY_READ);
    } else {
        t->error = errno;
    }
    return -1;
}

int fw_tls_bio_write(const fw_openssl *api, fw_bio *b, const char *data, int n)
{
    fw_tls *t = api->BIO_get_data(b);
    api->BIO_clear_flags(b, RETRY_FLAGS);
    ssize_t sent;
    do
        sent = send(t->fd, data, (size_t)n, MSG_NOSIGNAL | (t->more ? MSG_MORE : 0));
    while (sent < 0 && errno == EINTR);
    if (sent >= 0) {
        t->sent += (uint64_t)sent;
        return (int)sent;
    }
    if (would_block(errno))
        api->BIO_set_flags(b, RETRY_WRITE);
    else
        t->error = errno;
    return -1;
}

long fw_tls_bio_ctrl(const fw_openssl *api, fw_bio *b, int command, long number, void *pointer)
{
    (void)number, (void)pointer;
    if (command == CTRL_EOF)
        return ((const fw_tls *)api->BIO_get_data(b))->eof;
    return command == CTRL_FLUSH;
}

static bool attach(fw_tls *t)
{
    const fw_openssl *api = t->api;
    if (api->method == NULL)
        return api->SSL_set_fd(t->ssl, t->fd) == 1;
    fw_bio *b = api->BIO_new(api->method);
    if (b == NULL)
        return false;
    api->BIO_set_data(b, t);
    api->BIO_set_init(b, 1);
    api->SSL_set_bio(t->ssl, b, b); /* which owns it from now on */
    return true;
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

fw_tls *fw_tls_open(const fw_openssl *api, fw_ssl_ctx *ctx, int fd, bool server)
{
    fw_tls *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->api = api;
    t->fd = fd;
    t->begun = !server;
    t->ssl = api->SSL_new(ctx);
    if (t->ssl == NULL || !attach(t)) {
        api->ERR_clear_error();
        fw_tls_close(t);
        return NULL;
    }
    if (server)
        api->SSL_set_accept_state(t->ssl);
    else
        api->SSL_set_connect_state(t->ssl);
    return t;
}

void fw_tls_close(fw_tls *t)
{
    t->api->SSL_free(t->ssl);
    fw_tls_context_unref(t->context);
    free(t);
}

/* ---- calls ----------------------------------------------------------------------------------------------------- */

/* Around each call that may write by the library's BIO, which knows no MSG_NOSIGNAL. */
typedef struct call {
    fw_sigpipe signal;
    bool held;
} call;

static call begin(const fw_tls *t)
{
    call c = {.held = t->api->method == NULL};
    t->api->ERR_clear_error();
    if (fw_unlikely(c.held))
        fw_sigpipe_hold(&c.signal);
    errno = 0;
    return c;
}

static void end(call *c, int result)
{
    if (fw_unlikely(c->held))
        fw_sigpipe_drop(&c->signal, result <= 0 && errno == EPIPE);
}

/* An error from which nothing recovers: TLS itself, or the socket. 0: the client has hung up. */
static int fail(fw_tls *t, int kind, int error)
{
    t->broken = true;
    t->why = fw_openssl_error(t->api);
    if (t->error == 0 && kind == FW_SSL_ERROR_SYSCALL)
        t->error = error;
    if (t->error != 0)
        return -t->error;
    if (t->eof || kind == FW_SSL_ERROR_SYSCALL) {
        t->eof = true;
        return 0;
    }
    return -EPROTO;
}

/* What a call amounts to that has not succeeded: FW_RETRY, 0 (the client will say no more) or -errno. */
static int judge(fw_tls *t, int result, bool *wants_other, int other)
{
    const int error = errno, kind = t->api->SSL_get_error(t->ssl, result);
    switch (kind) {
    case FW_SSL_ERROR_WANT_READ:
    case FW_SSL_ERROR_WANT_WRITE:
        *wants_other = kind == other;
        if (t->api->method == NULL && kind == FW_SSL_ERROR_WANT_READ)
            t->drained = t->empty = true;
        return FW_RETRY;
    case FW_SSL_ERROR_ZERO_RETURN: t->eof = true; return 0;
    default: return fail(t, kind, error);
    }
}

/* The first byte tells whether the client speaks TLS at all. FW_OK, FW_RETRY, 0 as -EPIPE, FW_TLS_PLAIN, -errno. */
static int look_at_first(fw_tls *t, bool *wants_read)
{
    unsigned char first;
    ssize_t n;
    do
        n = recv(t->fd, &first, 1, MSG_PEEK);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        t->empty = true;
        *wants_read = would_block(errno);
        return would_block(errno) ? FW_RETRY : -errno;
    }
    if (n == 0)
        return -EPIPE;
    t->begun = true;
    return first == '\r' || first == '\n' || (first >= ' ' && first < 0x7f) ? FW_TLS_PLAIN : FW_OK;
}

/* FW_OK when it is complete. */
static int shake_hands(fw_tls *t, bool *wants_other, int other)
{
    bool wants_read = false;
    if (!t->begun) {
        const int rc = look_at_first(t, &wants_read);
        *wants_other = wants_read && other == FW_SSL_ERROR_WANT_READ;
        if (rc != FW_OK)
            return rc;
    }
    call c = begin(t);
    const int result = t->api->SSL_do_handshake(t->ssl);
    end(&c, result);
    if (result == 1) {
        t->established = true;
        return FW_OK;
    }
    const int rc = judge(t, result, wants_other, other);
    return rc != 0 ? rc : -EPIPE;
}

ssize_t fw_tls_receive(fw_tls *t, char *to, size_t room)
{
    t->drained = t->empty = t->wants_write = false;
    if (fw_unlikely(!t->established)) {
        const int rc = shake_hands(t, &t->wants_write, FW_SSL_ERROR_WANT_WRITE);
        if (rc != FW_OK)
            return rc == -EPIPE ? 0 : rc;
    }
    call c = begin(t);
    const int n = t->api->SSL_read(t->ssl, to, room < INT_MAX ? (int)room : INT_MAX);
    end(&c, n);
    return fw_likely(n > 0) ? n : judge(t, n, &t->wants_write, FW_SSL_ERROR_WANT_WRITE);
}

bool fw_tls_has_more(const fw_tls *t, ssize_t n)
{
    if (n == FW_RETRY) /* not empty: what came was for TLS itself */
        return !t->empty && !t->wants_write;
    if (!t->drained)
        return true;
    return t->api->SSL_has_pending != NULL ? t->api->SSL_has_pending(t->ssl) : t->api->SSL_pending(t->ssl) > 0;
}

ssize_t fw_tls_send(fw_tls *t, const char *data, size_t n, bool more)
{
    t->wants_read = false;
    if (t->broken)
        return -EPIPE;
    if (fw_unlikely(!t->established)) {
        t->drained = t->empty = false;
        const int rc = shake_hands(t, &t->wants_read, FW_SSL_ERROR_WANT_READ);
        if (rc != FW_OK)
            return rc != FW_TLS_PLAIN ? rc : -EPROTO;
    }
    call c = begin(t);
    t->more = more;
    const int sent = t->api->SSL_write(t->ssl, data, n < FW_RECORD ? (int)n : FW_RECORD);
    t->more = false;
    end(&c, sent);
    if (fw_likely(sent > 0))
        return sent;
    const int rc = judge(t, sent, &t->wants_read, FW_SSL_ERROR_WANT_READ);
    return rc != 0 ? rc : -EPIPE;
}

int fw_tls_shut(fw_tls *t)
{
    bool wants_read;
    if (t->shut || t->cut || t->broken || !t->established)
        return FW_OK;
    call c = begin(t);
    const int rc = t->api->SSL_shutdown(t->ssl);
    end(&c, rc);
    if (rc < 0) {
        const int why = judge(t, rc, &wants_read, FW_SSL_ERROR_WANT_READ);
        return why != 0 ? why : -EPIPE;
    }
    t->shut = true;
    return FW_OK;
}

/* ---- what is known --------------------------------------------------------------------------------------------- */

static bool is_visible(const char *s)
{
    for (; *s != '\0'; s++)
        if (*s <= ' ' || *s > '~')
            return false;
    return true;
}

void fw_tls_describe(const fw_tls *t, const char **protocol, const char **cipher, const char **server_name)
{
    const fw_openssl *api = t->api;
    const void *suite = api->SSL_get_current_cipher(t->ssl);
    const char *name = api->SSL_get_servername(t->ssl, 0);
    *protocol = api->SSL_get_version(t->ssl);
    *cipher = suite != NULL ? api->SSL_CIPHER_get_name(suite) : "";
    *server_name = name != NULL && is_visible(name) ? name : "";
}

ssize_t fw_tls_client_pem(const fw_tls *t, char *to, size_t room)
{
    const fw_openssl *api = t->api;
    fw_x509 *x = api->SSL_get1_peer_certificate(t->ssl);
    if (x == NULL)
        return 0;
    if (room == 0) {
        api->X509_free(x);
        return -ENOSPC;
    }
    ssize_t n = -ENOMEM;
    fw_bio *b = api->BIO_new(api->BIO_s_mem());
    if (b != NULL && api->PEM_write_bio_X509(b, x) == 1) {
        n = api->BIO_read(b, to, (int)room);
        if (n == (ssize_t)room)
            n = -ENOSPC;
    }
    if (b != NULL)
        api->BIO_free(b);
    api->X509_free(x);
    api->ERR_clear_error();
    return n;
}
