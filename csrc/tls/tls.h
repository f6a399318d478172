/* tls.h - TLS on one connection: bytes of a socket become bytes of HTTP, and the reverse.
 *
 * It stands between a socket and what reads and writes it (csrc/io): reading and writing have the results of recv and
 * send, in the three ways of fw.h, and never wait. It knows neither poller nor states; wants_write and wants_read say
 * when the poller's word for one direction concerns the other one.
 *
 * A fw_tls is its connection's, and belongs to the loop or to one thread as that does (conn.h, rule 2): OpenSSL's object
 * must not be used by two at a time.
 *
 * Each call clears the thread's queue of OpenSSL errors, before (what others have left there would be taken for ours) and
 * after an error (ours would be taken for theirs).
 */
#ifndef FW_TLS_H
#define FW_TLS_H

#include "tls/openssl.h"

#define FW_RECORD 16384        /* the most bytes that a record carries */
#define FW_TLS_PLAIN (-0x10001) /* what has come is not TLS but text */

struct fw_tls_context; /* context.h */

typedef struct fw_tls {
    const fw_openssl *api;
    struct fw_tls_context *context; /* a reference, or NULL */
    fw_ssl *ssl;
    int fd; /* borrowed */
    bool established; /* the handshake is complete */
    bool begun;       /* its first byte has been seen */
    bool drained;     /* the last call has emptied the socket */
    bool empty;       /* ... and has asked for more than there was */
    bool eof;         /* the client has shut its side */
    bool broken;      /* an error has ended it: nothing more can be said */
    bool shut;        /* our close_notify is sent */
    bool cut;         /* ... and will not be: the client is to see that something is missing */
    bool more;        /* another record follows at once: the kernel may fill its segments */
    bool wants_write; /* what is to be read waits for the socket to take something */
    bool wants_read;  /* what is to be written waits for the client to say something */
    int error;        /* errno of the socket, if that is what has failed */
    const char *why;  /* ... or what OpenSSL said when TLS itself has: in static memory, or NULL */
    uint64_t received, sent; /* bytes of the socket; 0 where these are the library's business */
} fw_tls;

/* One side of a connection on a non-blocking descriptor. NULL when memory is short. */
fw_tls *fw_tls_open(const fw_openssl *api, fw_ssl_ctx *ctx, int fd, bool server);

/* Without a word to the client: fw_tls_shut before says goodbye. */
void fw_tls_close(fw_tls *t);

/* Receives at most `room` bytes. > 0; 0: the client will say no more; FW_RETRY; FW_TLS_PLAIN, nothing has been taken then;
 * -errno, -EPROTO where TLS itself has failed. Completes the handshake first. */
ssize_t fw_tls_receive(fw_tls *t, char *to, size_t room);

/* After that, `n` being its result: there may be more that no event will tell of. */
bool fw_tls_has_more(const fw_tls *t, ssize_t n);

/* Sends at most FW_RECORD bytes: the bytes taken, FW_RETRY or -errno. What follows FW_RETRY must begin with the same bytes
 * and be no shorter. `more`: another call follows at once. */
ssize_t fw_tls_send(fw_tls *t, const char *data, size_t n, bool more);

/* Says goodbye (close_notify), once. FW_OK; FW_RETRY: the socket is full; -errno, -EPROTO also while part of a ticket or of new
 * keys has been received: there is none then. */
int fw_tls_shut(fw_tls *t);

/* ---- what is known of an established connection ---------------------------------------------------------------- */

/* In memory of the connection; empty if there is none. `*server_name` has visible characters of ASCII only. */
void fw_tls_describe(const fw_tls *t, const char **protocol, const char **cipher, const char **server_name);

/* The client's certificate, which has been verified, in PEM. Its length, 0 if there is none, or -errno: -ENOSPC where it
 * has no room. */
ssize_t fw_tls_client_pem(const fw_tls *t, char *to, size_t room);

/* ---- what OpenSSL calls: the functions of the BIO (openssl.h) --------------------------------------------------- */

int fw_tls_bio_read(const fw_openssl *api, fw_bio *b, char *to, int room);
int fw_tls_bio_write(const fw_openssl *api, fw_bio *b, const char *data, int n);
long fw_tls_bio_ctrl(const fw_openssl *api, fw_bio *b, int command, long number, void *pointer);

#endif
