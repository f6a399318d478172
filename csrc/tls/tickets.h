/* tickets.h - the keys of session tickets: one seals those that are given out, and a few open those that come back.
 *
 * A ticket holds the state of a session, sealed by a key that only servers have. So it resumes at whichever worker has
 * the key: the master makes the keys, and all of its workers get them. A key that has been replaced still opens what it
 * has sealed; whoever comes with such a ticket is given a new one.
 *
 * The keys of a context do not change. A context with other keys takes its place.
 */
#ifndef FW_TICKETS_H
#define FW_TICKETS_H

#include "tls/openssl.h"

#define FW_TICKET_KEY 80 /* bytes: 16 of name, 32 for the seal (HMAC-SHA256), 32 for the cipher (AES-256-CBC) */
#define FW_TICKET_KEYS_MOST 2

/* Zeroed, it has none. The first one seals. */
typedef struct fw_tickets {
    unsigned n;
    unsigned char keys[FW_TICKET_KEYS_MOST][FW_TICKET_KEY];
} fw_tickets;

/* Lets an SSL_CTX use the keys; `t` must stay where it is as long as that is in use. With `callback`, which must call
 * fw_tickets_key, all of them; without, or where the library does not have what that needs, the first one alone. False:
 * the library takes no keys, and has made some of its own that no other process has. */
bool fw_tickets_use(const fw_tickets *t, const fw_openssl *api, fw_ssl_ctx *ctx, fw_ticket_cb callback);

/* Sets up cipher and seal of a ticket that is made (`sealing`) or opened, with the keys that were given to the SSL_CTX of
 * the connection. 1: go on; 2: go on, and give out a new one; 0: no key of ours has sealed it; -1: OpenSSL has failed. */
int fw_tickets_key(const fw_openssl *api, fw_ssl *ssl, unsigned char *name, unsigned char *iv, void *cipher, void *seal,
                   int sealing);

#endif
