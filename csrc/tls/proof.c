/* proof.c - the proof that library and certificates work: handshakes with ourselves, before the first client's. */
#include "tls/context.h"
#include "tls/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUNDS 16 /* more than any handshake takes */

/* Both ends of a connection with ourselves. */
typedef struct pair {
    int fds[2];
    fw_tls *server, *client;
} pair;

static void pair_close(pair *p)
{
    if (p->server != NULL)
        fw_tls_close(p->server);
    if (p->client != NULL)
        fw_tls_close(p->client);
    for (int i = 0; i < 2; i++)
        if (p->fds[i] >= 0)
            close(p->fds[i]);
}

static bool pair_open(pair *p, const fw_openssl *api, fw_ssl_ctx *ours, fw_ssl_ctx *theirs)
{
    *p = (pair){.fds = {-1, -1}};
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, p->fds) != 0)
        return false;
    for (int i = 0; i < 2; i++)
        if (fcntl(p->fds[i], F_SETFL, O_NONBLOCK) != 0 || fcntl(p->fds[i], F_SETFD, FD_CLOEXEC) != 0)
            return false;
    p->server = fw_tls_open(api, ours, p->fds[0], true);
    p->client = fw_tls_open(api, theirs, p->fds[1], false);
    if (p->server == NULL || p->client == NULL)
        return false;
    api->SSL_set_verify(p->server->ssl, FW_SSL_VERIFY_NONE, NULL); /* a client without a certificate will do */
    api->SSL_set_verify(p->client->ssl, FW_SSL_VERIFY_NONE, NULL);
    return true;
}

static const char *prove_handshake(pair *p, const char **why)
{
    char room[16];
    if (fw_tls_receive(p->server, room, sizeof room) != FW_RETRY)
        return "it does not wait for a client that says nothing";
    for (int i = 0; i < ROUNDS && !(p->server->established && p->client->established); i++) {
        const ssize_t theirs = fw_tls_receive(p->client, room, sizeof room);
        const ssize_t ours = fw_tls_receive(p->server, room, sizeof room);
        if (theirs != FW_RETRY || ours != FW_RETRY) {
            *why = p->server->why != NULL ? p->server->why : p->client->why;
            return "a handshake with itself fails";
        }
    }
    if (!p->server->established || !p->client->established)
        return "a handshake with itself does not end";
    const char *version, *cipher, *name;
    fw_tls_describe(p->server, &version, &cipher, &name);
    if (strcmp(version, "TLSv1.3") != 0 && strcmp(version, "TLSv1.2") != 0)
        return "it agrees on another version than TLS 1.2 and 1.3";
    return cipher[0] != '\0' && name[0] == '\0' ? NULL : "it does not say what it has agreed on";
}

static bool receive_all(fw_tls *t, char *to, size_t n)
{
    size_t have = 0;
    while (have < n) {
        const ssize_t got = fw_tls_receive(t, to + have, n - have);
        if (got == FW_RETRY && fw_tls_has_more(t, got))
            continue;
        if (got <= 0)
            return false;
        have += (size_t)got;
    }
    return !fw_tls_has_more(t, (ssize_t)n) || fw_tls_receive(t, to, 1) == FW_RETRY;
}

static const char *prove_data(pair *p)
{
    static const char PATTERN[] = "a record is full: ";
    char full[FW_RECORD], got[FW_RECORD];
    for (size_t i = 0; i < sizeof full; i++)
        full[i] = PATTERN[i % (sizeof PATTERN - 1)];
    if (fw_tls_send(p->client, "ping", 4, false) != 4 || !receive_all(p->server, got, 4) || memcmp(got, "ping", 4) != 0)
        return "what a client sends does not arrive";
    if (fw_tls_send(p->server, full, sizeof full, false) != (ssize_t)sizeof full)
        return "a record takes another number of bytes";
    if (!receive_all(p->client, got, sizeof got) || memcmp(got, full, sizeof full) != 0)
        return "what is sent to a client does not arrive";
    if (fw_tls_shut(p->server) != FW_OK || fw_tls_receive(p->client, got, 1) != 0)
        return "a goodbye is not understood";
    return NULL;
}

static const char *prove_errors(pair *p)
{
    static const unsigned char JUNK[] = {22, 3, 1, 0, 5, 1, 0, 0, 1, 0};
    char room[16];
    if (send(p->fds[1], JUNK, sizeof JUNK, 0) != (ssize_t)sizeof JUNK || fw_tls_receive(p->server, room, 1) != -EPROTO)
        return "it numbers its errors differently";
    return p->server->why != NULL ? NULL : "it gives no reason for an error";
}

static const char *prove(const fw_openssl *api, fw_ssl_ctx *ours, fw_ssl_ctx *theirs, const char **why)
{
    pair good = {.fds = {-1, -1}}, bad = {.fds = {-1, -1}};
    const char *fault = "there are no sockets or no memory to prove it";
    if (pair_open(&good, api, ours, theirs) && pair_open(&bad, api, ours, theirs)) {
        fault = prove_handshake(&good, why);
        if (fault == NULL)
            fault = prove_data(&good);
        if (fault == NULL)
            fault = prove_errors(&bad);
    }
    pair_close(&good);
    pair_close(&bad);
    return fault;
}

const char *fw_tls_check(const fw_tls_context *c, const char **why)
{
    const fw_openssl *api = c->api;
    const char *fault = NULL;
    *why = NULL;
    fw_ssl_ctx *theirs = api->SSL_CTX_new(api->TLS_method());
    if (theirs == NULL)
        return "it has no memory";
    for (const fw_certificate *one = c->first; one != NULL && fault == NULL; one = one->next)
        fault = prove(api, one->ctx, theirs, why);
    api->SSL_CTX_free(theirs);
    return fault;
}
