/* context.h - what the TLS connections of a listener have in common: certificates, keys, and what is accepted.
 *
 * A context has one SSL_CTX per certificate, or per certificates that differ in the kinds of their keys. Which of them answers is decided by the name that the client asks for (SNI);
 * the first one answers those that ask for none, or for another. Everything else is the same in all of them.
 *
 * It is made before connections use it and does not change then, so reading it takes no lock. Where certificates or keys
 * change, another context takes its place (fw_leader_use_tls). It lasts as long as anybody has a reference: whoever made
 * it, listeners, and each connection that was opened with it.
 */
#ifndef FW_CONTEXT_H
#define FW_CONTEXT_H

#include "tls/tickets.h"
#include "tls/tls.h"

#include <stdatomic.h>

typedef struct fw_certificate {
    fw_ssl_ctx *ctx;
    char *names; /* in lower case, separated and ended by NUL, with an empty one at the end */
    struct fw_certificate *next;
} fw_certificate;

typedef struct fw_tls_context {
    const fw_openssl *api;
    fw_certificate *first, *last;
    fw_tickets tickets;
    fw_ticket_cb on_ticket;
    atomic_uint references;
} fw_tls_context;

/* Of one SSL_CTX. Texts are borrowed for the time of the call. */
typedef struct fw_tls_options {
    const char *ciphers;    /* of TLS 1.2, as OpenSSL spells them */
    int least, most;        /* FW_TLS1_2_VERSION or FW_TLS1_3_VERSION; `most` 0: the latest that the library has */
    int verify;             /* FW_SSL_VERIFY_... */
    const char *authorities; /* PEM of those that sign the certificates of clients, or NULL */
    size_t authorities_len;
    const unsigned char *session_id; /* 32 bytes: sessions of other settings are not resumed */
} fw_tls_options;

/* What went wrong: who is to change something, and OpenSSL's reason in static memory. */
enum fw_tls_part { FW_TLS_PART_NONE, FW_TLS_PART_LIBRARY, FW_TLS_PART_CERTIFICATE, FW_TLS_PART_KEY, FW_TLS_PART_CIPHERS,
                   FW_TLS_PART_AUTHORITIES };
typedef struct fw_tls_fault {
    enum fw_tls_part part;
    const char *why;
} fw_tls_fault;

/* Without certificates, with one reference. Tickets are sealed by `tickets` (a copy is kept), which `on_ticket` passes on to
 * fw_tickets_key; without keys the library makes its own. NULL when memory is short. */
fw_tls_context *fw_tls_context_new(const fw_openssl *api, const fw_tickets *tickets, fw_ticket_cb on_ticket);

/* One reference more; returns it. */
fw_tls_context *fw_tls_context_ref(fw_tls_context *c);

/* One reference less: the last one frees it. From any thread. Nothing happens with NULL. */
void fw_tls_context_unref(fw_tls_context *c);

/* The server's side of a connection on a non-blocking descriptor, which has a reference until it is closed. NULL when
 * memory is short. */
fw_tls *fw_tls_context_open(fw_tls_context *c, int fd);

/* Adds a certificate (PEM: itself, then what leads to a known authority) with its key. `names` as in fw_certificate, `n`
 * bytes of them, copied. False: `*fault` says why, and nothing has been added. */
bool fw_tls_context_add(fw_tls_context *c, const fw_tls_options *o, const char *pem, size_t pem_len, const char *key,
                        size_t key_len, const char *names, size_t n, fw_tls_fault *fault);

/* Each certificate of an SSL_CTX can have a chain of its own, so there may be several, with keys of different kinds. */
bool fw_tls_context_holds_several(const fw_tls_context *c);

/* Lets the certificate that was added last be joined by one for the same names, with a key of another kind: who answers is
 * what the client can check. False: as above, and the context is to be given up. */
bool fw_tls_context_add_another(fw_tls_context *c, const char *pem, size_t pem_len, const char *key, size_t key_len,
                                fw_tls_fault *fault);

/* Adds an SSL_CTX that others have made. It is set up for the way we read and write, and keeps its own keys of tickets.
 * -ENOMEM, or -ENOSYS where the library cannot share one: nothing is added. */
int fw_tls_context_borrow(fw_tls_context *c, fw_ssl_ctx *ctx);

/* Leaves out the groups of finite fields, with which one handshake takes up to 200 ms of the server's processor: a client
 * could ask for nothing else. Where the library does not let us choose, its own choice stays. */
void fw_tls_limit_groups(const fw_openssl *api, fw_ssl_ctx *ctx);

/* Proves the library and the context by a handshake with each certificate, over a pair of sockets: versions, numbers of
 * errors, data in both directions, goodbye. NULL, or a sentence in static memory that names what differed; `*why` is
 * OpenSSL's reason then, or NULL. */
const char *fw_tls_check(const fw_tls_context *c, const char **why);

#endif
