/* context.h - what the TLS connections of a listener have in common: certificates, keys, and what is accepted.
 *
 * A context has one SSL_CTX per certificate. Which of them answers is decided by the name that the client asks for (SNI);
 * the first one answers those that ask for none, or for another. Everything else is the same in all of them.
 *
 * It is made before connections use it, does not change then, and outlives their handshakes. Reading it takes no lock.
 */
#ifndef FW_CONTEXT_H
#define FW_CONTEXT_H

#include "tls/openssl.h"

typedef struct fw_certificate {
    fw_ssl_ctx *ctx;
    bool owned;  /* made here, so freed here */
    char *names; /* in lower case, separated and ended by NUL, with an empty one at the end */
    struct fw_certificate *next;
} fw_certificate;

typedef struct fw_tls_context {
    const fw_openssl *api;
    fw_certificate *first, *last;
} fw_tls_context;

/* Of one SSL_CTX. Texts are borrowed for the time of the call. */
typedef struct fw_tls_options {
    const char *ciphers;    /* of TLS 1.2, as OpenSSL spells them */
    int least, most;        /* FW_TLS1_2_VERSION or FW_TLS1_3_VERSION; `most` 0: the latest that the library has */
    int verify;             /* FW_SSL_VERIFY_... */
    const char *authorities; /* PEM of those that sign the certificates of clients, or NULL */
    size_t authorities_len;
    const unsigned char *session_id; /* 32 bytes: sessions of other settings are not resumed */
    const unsigned char *ticket_keys; /* FW_TICKET_KEYS bytes, or NULL: the library makes its own */
} fw_tls_options;

#define FW_TICKET_KEYS 80

/* What went wrong: who is to change something, and OpenSSL's reason in static memory. */
enum fw_tls_part { FW_TLS_PART_NONE, FW_TLS_PART_LIBRARY, FW_TLS_PART_CERTIFICATE, FW_TLS_PART_KEY, FW_TLS_PART_CIPHERS,
                   FW_TLS_PART_AUTHORITIES };
typedef struct fw_tls_fault {
    enum fw_tls_part part;
    const char *why;
} fw_tls_fault;

void fw_tls_context_init(fw_tls_context *c, const fw_openssl *api);
void fw_tls_context_clear(fw_tls_context *c);

/* Adds a certificate (PEM: itself, then what leads to a known authority) with its key. `names` as in fw_certificate, `n`
 * bytes of them, copied. False: `*fault` says why, and nothing has been added. */
bool fw_tls_context_add(fw_tls_context *c, const fw_tls_options *o, const char *pem, size_t pem_len, const char *key,
                        size_t key_len, const char *names, size_t n, fw_tls_fault *fault);

/* Adds an SSL_CTX that others have made and keep. It is set up for the way we read and write. -ENOMEM: nothing is added. */
int fw_tls_context_borrow(fw_tls_context *c, fw_ssl_ctx *ctx);

static inline fw_ssl_ctx *fw_tls_context_first(const fw_tls_context *c)
{
    return c->first->ctx;
}

/* Proves the library and the context by a handshake with each certificate, over a pair of sockets: versions, numbers of
 * errors, data in both directions, goodbye. NULL, or a sentence in static memory that names what differed; `*why` is
 * OpenSSL's reason then, or NULL. */
const char *fw_tls_check(const fw_tls_context *c, const char **why);

#endif
