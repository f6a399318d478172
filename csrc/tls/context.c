/* context.c - certificates by name, and settings of an SSL_CTX. */
#include "tls/context.h"
#include "tls/tls.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- which certificate answers --------------------------------------------------------------------------------- */

static bool matches(const char *pattern, const char *name, size_t n)
{
    return strlen(pattern) == n && strncasecmp(pattern, name, n) == 0;
}

/* The first certificate that has this very name among its own. */
static const fw_certificate *named(const fw_tls_context *c, const char *name, size_t n)
{
    for (const fw_certificate *one = c->first; one != NULL; one = one->next)
        for (const char *own = one->names; *own != '\0'; own += strlen(own) + 1)
            if (matches(own, name, n))
                return one;
    return NULL;
}

/* The first certificate that has this name with an asterisk in place of its first label (RFC 9525 6.3). */
static const fw_certificate *for_any(const fw_tls_context *c, const char *name, size_t n)
{
    const char *dot = memchr(name, '.', n);
    if (dot == NULL || dot == name)
        return NULL;
    const size_t rest = n - (size_t)(dot - name);
    for (const fw_certificate *one = c->first; one != NULL; one = one->next)
        for (const char *own = one->names; *own != '\0'; own += strlen(own) + 1)
            if (own[0] == '*' && matches(own + 1, dot, rest))
                return one;
    return NULL;
}

/* A client has said hello; the certificate is about to be chosen. Always 1: the first one answers whoever asks for none. */
static int on_certificate(fw_ssl *ssl, void *arg)
{
    const fw_tls_context *c = arg;
    const char *name = c->api->SSL_get_servername(ssl, 0);
    if (name == NULL || c->first->next == NULL)
        return 1;
    size_t n = strlen(name);
    if (n > 0 && name[n - 1] == '.')
        n--;
    const fw_certificate *found = named(c, name, n);
    if (found == NULL)
        found = for_any(c, name, n);
    if (found != NULL)
        c->api->SSL_set_SSL_CTX(ssl, found->ctx);
    return 1;
}

/* The name is taken notice of, whoever answers: the client hears so, and resumed sessions remember it. */
static int on_name(fw_ssl *ssl, int *alert, void *arg)
{
    (void)ssl, (void)alert, (void)arg;
    return FW_TLSEXT_OK;
}

/* ALPN: HTTP/1.1 is spoken here. A client that offers other protocols only is told so (RFC 7301 3.2). */
static int on_protocols(fw_ssl *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned n,
                        void *arg)
{
    static const char OURS[] = "http/1.1";
    (void)ssl, (void)arg;
    for (unsigned at = 0; at < n && in[at] < n - at; at += 1u + in[at]) {
        if (in[at] == sizeof OURS - 1 && memcmp(in + at + 1, OURS, sizeof OURS - 1) == 0) {
            *out = in + at + 1;
            *out_len = in[at];
            return FW_TLSEXT_OK;
        }
    }
    return FW_TLSEXT_ALERT_FATAL;
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

fw_tls_context *fw_tls_context_new(const fw_openssl *api, const fw_tickets *tickets, fw_ticket_cb on_ticket)
{
    fw_tls_context *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->api = api;
    c->tickets = *tickets;
    c->on_ticket = on_ticket;
    c->references = 1;
    return c;
}

fw_tls_context *fw_tls_context_ref(fw_tls_context *c)
{
    atomic_fetch_add_explicit(&c->references, 1, memory_order_relaxed);
    return c;
}

void fw_tls_context_unref(fw_tls_context *c)
{
    if (c == NULL || atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel) > 1)
        return;
    while (c->first != NULL) {
        fw_certificate *one = c->first;
        c->first = one->next;
        c->api->SSL_CTX_free(one->ctx);
        free(one->names);
        free(one);
    }
    free(c);
}

fw_tls *fw_tls_context_open(fw_tls_context *c, int fd)
{
    fw_tls *t = fw_tls_open(c->api, c->first->ctx, fd, true);
    if (t != NULL)
        t->context = fw_tls_context_ref(c);
    return t;
}

static fw_certificate *certificate_new(const char *names, size_t n)
{
    fw_certificate *one = calloc(1, sizeof *one);
    if (one == NULL)
        return NULL;
    one->names = calloc(1, n + 2);
    if (one->names == NULL) {
        free(one);
        return NULL;
    }
    if (n > 0)
        memcpy(one->names, names, n);
    return one;
}

static void append(fw_tls_context *c, fw_certificate *one)
{
    if (c->last != NULL)
        c->last->next = one;
    else
        c->first = one;
    c->last = one;
}

/* ---- settings of an SSL_CTX ------------------------------------------------------------------------------------ */

/* What our way to read and write needs of every SSL_CTX. */
static void adapt(fw_tls_context *c, fw_ssl_ctx *ctx)
{
    const fw_openssl *api = c->api;
    /* A record goes out whole or is repeated from another address; an idle connection keeps no buffers. */
    fw_openssl_ctrl(api, ctx, FW_SSL_CTRL_MODE, FW_SSL_MODE_ENABLE_PARTIAL_WRITE | FW_SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                    FW_SSL_MODE_RELEASE_BUFFERS, NULL);
    if (api->method != NULL) {
        /* One receive takes what is there, and records without data are counted as work (conn.c) one by one. */
        fw_openssl_ctrl(api, ctx, FW_SSL_CTRL_SET_READ_AHEAD, 1, NULL);
        fw_openssl_ctrl(api, ctx, FW_SSL_CTRL_CLEAR_MODE, FW_SSL_MODE_AUTO_RETRY, NULL);
    }
    /* A client may not ask for another handshake: it is dear, and a response would have to wait for it. The length of an
     * HTTP message says where it ends, so a client that hangs up without a goodbye is no error. */
    uint64_t options = FW_SSL_OP_NO_RENEGOTIATION | FW_SSL_OP_NO_COMPRESSION;
    if (api->OpenSSL_version_num() >= 0x30000000)
        options |= FW_SSL_OP_IGNORE_UNEXPECTED_EOF;
    api->SSL_CTX_set_options(ctx, options);
    api->SSL_CTX_set_alpn_select_cb(ctx, on_protocols, NULL);
}

static void set_callbacks(fw_tls_context *c, fw_ssl_ctx *ctx)
{
    const fw_openssl *api = c->api;
    api->SSL_CTX_set_cert_cb(ctx, on_certificate, c);
    if (api->SSL_CTX_callback_ctrl != NULL)
        api->SSL_CTX_callback_ctrl(ctx, FW_SSL_CTRL_SET_TLSEXT_SERVERNAME_CB, (void (*)(void))on_name);
    else if (api->SSL_CTX_set_tlsext_servername_callback != NULL)
        api->SSL_CTX_set_tlsext_servername_callback(ctx, on_name);
}

void fw_tls_limit_groups(const fw_openssl *api, fw_ssl_ctx *ctx)
{
    static const char *const LISTS[] = {/* the first one that the library knows in full */
        "X25519MLKEM768:X25519:P-256:X448:P-521:P-384", /* from 3.5 on */
        "X25519:P-256:X448:P-521:P-384",
        "P-256:P-521:P-384", /* where FIPS 140 allows no others */
    };
    for (size_t i = 0; i < sizeof LISTS / sizeof LISTS[0]; i++)
        if (fw_openssl_ctrl(api, ctx, FW_SSL_CTRL_SET_GROUPS_LIST, 0, (void *)LISTS[i]) == 1)
            break;
    api->ERR_clear_error();
}

static bool set_versions(fw_tls_context *c, fw_ssl_ctx *ctx, const fw_tls_options *o)
{
    return fw_openssl_ctrl(c->api, ctx, FW_SSL_CTRL_SET_MIN_PROTO_VERSION, o->least, NULL) == 1 &&
           fw_openssl_ctrl(c->api, ctx, FW_SSL_CTRL_SET_MAX_PROTO_VERSION, o->most, NULL) == 1;
}

/* Tickets only: a cache of sessions would be of use to one worker of several. */
static bool set_sessions(fw_tls_context *c, fw_ssl_ctx *ctx, const fw_tls_options *o)
{
    fw_openssl_ctrl(c->api, ctx, FW_SSL_CTRL_SET_SESS_CACHE_MODE, 0, NULL);
    if (c->api->SSL_CTX_set_session_id_context(ctx, o->session_id, 32) != 1)
        return false;
    fw_tickets_use(&c->tickets, c->api, ctx, c->on_ticket);
    return true;
}

static fw_bio *text(const fw_openssl *api, const char *pem, size_t len)
{
    return len > 0 && len < INT_MAX ? api->BIO_new_mem_buf(pem, (int)len) : NULL;
}

/* Nobody is at a terminal to be asked. */
static int no_password(char *to, int room, int writing, void *asked)
{
    (void)to, (void)room, (void)writing;
    *(bool *)asked = true;
    return -1;
}

/* To the certificate that has just been set, if the library can do that; else to all of the context. */
static bool add_chain(fw_tls_context *c, fw_ssl_ctx *ctx, fw_bio *from)
{
    const int command = fw_tls_context_holds_several(c) ? FW_SSL_CTRL_CHAIN_CERT : FW_SSL_CTRL_EXTRA_CHAIN_CERT;
    bool asked;
    fw_x509 *x;
    while ((x = c->api->PEM_read_bio_X509(from, NULL, no_password, &asked)) != NULL) {
        if (fw_openssl_ctrl(c->api, ctx, command, 0, x) != 1) { /* else it is the context's now */
            c->api->X509_free(x);
            return false;
        }
    }
    c->api->ERR_clear_error(); /* the end of the file is an error, too; whoever has read it has counted (certificates.py) */
    return true;
}

static bool use_certificate(fw_tls_context *c, fw_ssl_ctx *ctx, const char *pem, size_t len)
{
    bool asked;
    fw_bio *from = text(c->api, pem, len);
    if (from == NULL)
        return false;
    fw_x509 *x = c->api->PEM_read_bio_X509(from, NULL, no_password, &asked);
    const bool done = x != NULL && c->api->SSL_CTX_use_certificate(ctx, x) == 1 && add_chain(c, ctx, from);
    if (x != NULL)
        c->api->X509_free(x);
    c->api->BIO_free(from);
    return done;
}

static bool use_key(fw_tls_context *c, fw_ssl_ctx *ctx, const char *pem, size_t len, const char **why)
{
    bool asked = false;
    fw_bio *from = text(c->api, pem, len);
    if (from == NULL)
        return false;
    fw_pkey *key = c->api->PEM_read_bio_PrivateKey(from, NULL, no_password, &asked);
    const bool done = key != NULL && c->api->SSL_CTX_use_PrivateKey(ctx, key) == 1 &&
                      c->api->SSL_CTX_check_private_key(ctx) == 1;
    if (key != NULL)
        c->api->EVP_PKEY_free(key);
    c->api->BIO_free(from);
    if (asked)
        *why = "it is encrypted, and nobody is here to be asked for its password";
    return done;
}

static enum fw_tls_part use_pair(fw_tls_context *c, fw_ssl_ctx *ctx, const char *pem, size_t pem_len, const char *key,
                                 size_t key_len, const char **why)
{
    if (!use_certificate(c, ctx, pem, pem_len))
        return FW_TLS_PART_CERTIFICATE;
    return use_key(c, ctx, key, key_len, why) ? FW_TLS_PART_NONE : FW_TLS_PART_KEY;
}

/* Of whom the certificates of clients may be. */
static bool trust(fw_tls_context *c, fw_ssl_ctx *ctx, const char *pem, size_t len)
{
    bool asked, any = false;
    fw_bio *from = text(c->api, pem, len);
    if (from == NULL)
        return false;
    void *store = c->api->SSL_CTX_get_cert_store(ctx);
    fw_x509 *x;
    while ((x = c->api->PEM_read_bio_X509(from, NULL, no_password, &asked)) != NULL) {
        const bool done = c->api->X509_STORE_add_cert(store, x) == 1 && c->api->SSL_CTX_add_client_CA(ctx, x) == 1;
        c->api->X509_free(x);
        if (!done)
            break;
        any = true;
    }
    c->api->BIO_free(from);
    return any && x == NULL;
}

bool fw_tls_context_holds_several(const fw_tls_context *c)
{
    return c->api->SSL_CTX_ctrl != NULL;
}

/* Sets it up; where it stops is what is at fault. */
static enum fw_tls_part set_up(fw_tls_context *c, fw_ssl_ctx *ctx, const fw_tls_options *o, const char *pem, size_t pem_len,
                               const char *key, size_t key_len, const char **why)
{
    const fw_openssl *api = c->api;
    adapt(c, ctx);
    set_callbacks(c, ctx);
    fw_tls_limit_groups(api, ctx);
    api->SSL_CTX_set_options(ctx, FW_SSL_OP_CIPHER_SERVER_PREFERENCE | FW_SSL_OP_PRIORITIZE_CHACHA);
    if (!set_versions(c, ctx, o) || !set_sessions(c, ctx, o))
        return FW_TLS_PART_LIBRARY;
    if (api->SSL_CTX_set_cipher_list(ctx, o->ciphers) != 1)
        return FW_TLS_PART_CIPHERS;
    const enum fw_tls_part fault = use_pair(c, ctx, pem, pem_len, key, key_len, why);
    if (fault != FW_TLS_PART_NONE)
        return fault;
    if (o->authorities != NULL && !trust(c, ctx, o->authorities, o->authorities_len))
        return FW_TLS_PART_AUTHORITIES;
    api->SSL_CTX_set_verify(ctx, o->verify, NULL);
    api->ERR_clear_error();
    return FW_TLS_PART_NONE;
}

bool fw_tls_context_add(fw_tls_context *c, const fw_tls_options *o, const char *pem, size_t pem_len, const char *key,
                        size_t key_len, const char *names, size_t n, fw_tls_fault *fault)
{
    const fw_openssl *api = c->api;
    *fault = (fw_tls_fault){FW_TLS_PART_LIBRARY, NULL};
    api->ERR_clear_error();
    fw_certificate *one = certificate_new(names, n);
    if (one == NULL) {
        fault->why = "no memory";
        return false;
    }
    one->ctx = api->SSL_CTX_new(api->TLS_method());
    if (one->ctx != NULL)
        fault->part = set_up(c, one->ctx, o, pem, pem_len, key, key_len, &fault->why);
    if (fault->part == FW_TLS_PART_NONE) {
        append(c, one);
        return true;
    }
    const char *said = fw_openssl_error(api);
    if (fault->why == NULL)
        fault->why = said;
    if (one->ctx != NULL)
        api->SSL_CTX_free(one->ctx);
    free(one->names);
    free(one);
    return false;
}

bool fw_tls_context_add_another(fw_tls_context *c, const char *pem, size_t pem_len, const char *key, size_t key_len,
                                fw_tls_fault *fault)
{
    const fw_openssl *api = c->api;
    *fault = (fw_tls_fault){FW_TLS_PART_LIBRARY, NULL};
    api->ERR_clear_error();
    if (c->last != NULL)
        fault->part = use_pair(c, c->last->ctx, pem, pem_len, key, key_len, &fault->why);
    const char *said = fault->part != FW_TLS_PART_NONE ? fw_openssl_error(api) : NULL;
    if (fault->why == NULL)
        fault->why = said;
    api->ERR_clear_error();
    return fault->part == FW_TLS_PART_NONE;
}

int fw_tls_context_borrow(fw_tls_context *c, fw_ssl_ctx *ctx)
{
    if (c->api->SSL_CTX_up_ref == NULL)
        return -ENOSYS;
    fw_certificate *one = certificate_new("", 0);
    if (one == NULL)
        return -ENOMEM;
    c->api->SSL_CTX_up_ref(ctx);
    one->ctx = ctx;
    adapt(c, ctx);
    append(c, one);
    return FW_OK;
}
