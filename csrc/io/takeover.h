/* takeover.h - a socket that an application has taken over from its connection, and who still holds it.
 *
 * The client has asked for another protocol, and the application speaks that with the socket itself. The connection
 * stays BUSY until the request ends: the loop neither polls nor times it, and counts it. So one descriptor has several
 * holders: the connection, the application's socket object, and every call of that object which is under way in any
 * thread. The last of them closes it, and nobody else does. So no number is given back to the system while a thread may
 * be about to read from it: it could be another client's by then.
 *
 * Holders are counted without a lock. What is done to the connection is done under the loop's lock.
 */
#ifndef FW_TAKEOVER_H
#define FW_TAKEOVER_H

#include "io/conn.h"

typedef struct fw_takeover {
    int fd; /* -1: given away */
    atomic_uint holders;
} fw_takeover;

/* The owner of a BUSY connection, whose queue is empty, takes it out of the loop: its socket blocks from now on. `*out`
 * has two holders, the connection and the caller. FW_OK or -errno; then nothing has changed. */
int fw_takeover_open(struct fw_conns *cs, fw_conn *c, fw_takeover **out);

/* One more holder; to be called by one. */
void fw_takeover_hold(fw_takeover *t);

/* The caller holds it no more. */
void fw_takeover_let_go(fw_takeover *t);

/* Somebody else will close the descriptor; to be called by a holder. */
void fw_takeover_give_away(fw_takeover *t);

/* The connection holds it no more, although its request goes on: the application has closed the socket, or has given it
 * away. */
void fw_takeover_leave(fw_conn *c);

/* The request has ended: the socket is the loop's again, to linger. False: it is gone. */
bool fw_takeover_return(fw_conn *c);

/* Both directions are shut, which wakes whoever waits for the client. */
void fw_takeover_shut(fw_conn *c);

/* The same at the end of the connection, which holds it no more. */
void fw_takeover_close(fw_conn *c);

#endif
