/* input.h - from received bytes to complete requests: buffers, reading, heads and bodies.
 *
 * Called by conn.c, which owns the states: these functions move bytes and answer what the bytes amount to.
 */
#ifndef FW_INPUT_H
#define FW_INPUT_H

#include "io/conn.h"

enum fw_intake {
    FW_INTAKE_EMPTY,    /* no bytes of a request are here */
    FW_INTAKE_HEAD,     /* a head is unfinished */
    FW_INTAKE_BODY,     /* the head is accepted, the body unfinished */
    FW_INTAKE_STORE,    /* ... and due to be written to its file: nothing goes on before */
    FW_INTAKE_COMPLETE, /* a request is complete */
    FW_INTAKE_REFUSED,  /* c->req->status and ->why say it */
};

/* Parses what has been received and not yet parsed. */
enum fw_intake fw_intake_parse(fw_conns *cs, fw_conn *c);

/* Receives once.  Returns the bytes received (> 0; parse then), 0 at the end of the input, FW_RETRY when there is
 * nothing now, -errno when the connection is broken or memory is short. */
ssize_t fw_intake_receive(fw_conns *cs, fw_conn *c);

/* Receives once and throws away; same results. */
ssize_t fw_intake_discard(fw_conns *cs, fw_conn *c);

/* After a read that left the request unfinished, or before somebody else will read: gives the loop's receive buffer
 * back and keeps the bytes that matter in one of their own size.  FW_OK or -ENOMEM. */
int fw_intake_settle(fw_conns *cs, fw_conn *c);

/* The request is over: its struct and the bytes it used are released; bytes of later requests stay. */
void fw_intake_next(fw_conns *cs, fw_conn *c);

/* Releases everything received. */
void fw_intake_clear(fw_conns *cs, fw_conn *c);

/* Releases what is at rest. */
void fw_intake_close(fw_conns *cs);

#endif
