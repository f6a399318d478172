/* input.h - from received bytes to complete requests: buffers, reading, heads and bodies.
 *
 * Called by conn.c, which owns the states: these functions move bytes and answer what the bytes amount to.
 */
#ifndef FW_INPUT_H
#define FW_INPUT_H

#include "io/conns.h"

enum fw_input {
    FW_INPUT_EMPTY,    /* no bytes of a request are here */
    FW_INPUT_HEAD,     /* a head is unfinished */
    FW_INPUT_BODY,     /* the head is accepted, the body unfinished */
    FW_INPUT_STORE,    /* ... and due to be written to its file: nothing goes on before */
    FW_INPUT_COMPLETE, /* a request is complete */
    FW_INPUT_REFUSED,  /* c->req->status and ->why say it */
};

/* A connection has come: decides whether its peer is trusted, and whether a PROXY header is due. */
void fw_input_begin(const fw_conns *cs, fw_conn *c);

/* Parses what has been received and not yet parsed. */
enum fw_input fw_input_parse(fw_conns *cs, fw_conn *c);

/* Receives once.  Returns the bytes received (> 0; parse then), 0 at the end of the input, FW_RETRY when there is
 * nothing now, -errno when the connection is broken or memory is short. On a TLS listener also FW_TLS_PLAIN: what has come
 * is not TLS, and c->req->status and ->why say it (without memory there is none). */
ssize_t fw_input_receive(fw_conns *cs, fw_conn *c);

/* Receives once and throws away; same results. */
ssize_t fw_input_discard(fw_conns *cs, fw_conn *c);

/* After a read that left the request unfinished, or before somebody else will read: gives the loop's receive buffer
 * back and keeps the bytes that matter in one of their own size.  FW_OK or -ENOMEM. */
int fw_input_compact(fw_conns *cs, fw_conn *c);

/* The same for a connection that another worker has sent, with what it knew of its origin. */
void fw_input_begin_there(const fw_conns *cs, fw_conn *c, unsigned origin, uint8_t proxy);

/* A connection that has nothing gets the request and the bytes that have come with it. FW_OK, -ENOMEM, or -EPROTO if it
 * is not a complete request by our settings. Takes over the file of the body. */
struct fw_parcel;
int fw_input_restore(fw_conns *cs, fw_conn *c, struct fw_parcel *p);

/* The request is over: its struct and the bytes it used are released; bytes of later requests stay. */
void fw_input_next(fw_conns *cs, fw_conn *c);

/* Releases everything received. */
void fw_input_clear(fw_conns *cs, fw_conn *c);

/* Releases what is at rest. */
void fw_input_clear_spares(fw_conns *cs);

#endif
