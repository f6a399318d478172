/* takeover.h - a socket that an application has taken over from its connection, and who still holds it.
 *
 * The client has asked for another protocol, and the application speaks that with the socket itself. The connection
 * stays BUSY until the request ends: the loop neither polls nor times it, and counts it. So one descriptor has several
 * holders: the connection, the application's socket object, and every call of that object which is under way in any
 * thread. The last of them closes it, and nobody else does. So no number is given back to the system while a thread may
 * be about to read from it: it could be another client's by then.
 *
 * When the request ends and somebody may still use the socket, the connection is leased: it lingers, with neither side
 * shut, until that one closes the socket or the time to linger is over. A library of the application's may be about to
 * say its last words from another thread.
 *
 * Holders are counted without a lock. All else is under the loop's lock.
 */
#ifndef FW_TAKEOVER_H
#define FW_TAKEOVER_H

#include "io/conn.h"

typedef struct fw_takeover {
    int fd; /* -1: given away */
    atomic_uint holders;
    _Atomic(fw_conn *) conn; /* NULL when that holds it no more */
} fw_takeover;

/* The owner of a BUSY connection, whose queue is empty, takes it out of the loop: its socket blocks from now on. `*out`
 * has two holders, the connection and the caller. FW_OK or -errno; then nothing has changed. */
int fw_takeover_open(struct fw_conns *cs, fw_conn *c, fw_takeover **out);

/* One more holder; to be called by one. */
void fw_takeover_hold(fw_takeover *t);

/* The caller holds it no more. */
void fw_takeover_let_go(fw_takeover *t);

/* The application closes the socket, or (`give_away`) somebody else will close the descriptor. Its connection lets go of
 * it, or goes on to linger. To be called by a holder. */
void fw_takeover_leave(struct fw_conns *cs, fw_takeover *t, bool give_away);

/* The request has ended, or the lease: the socket is the loop's again. False: the system refused. */
bool fw_takeover_return(fw_conn *c);

/* Both directions are shut, which wakes whoever waits for the client. */
void fw_takeover_shut(fw_conn *c);

/* The same at the end of the connection, which holds it no more. */
void fw_takeover_close(fw_conn *c);

/* True if there is a connection to be told that the application leaves. Needs no lock, where the loop is not freed
 * meanwhile. */
static inline bool fw_takeover_has_conn(const fw_takeover *t)
{
    return atomic_load_explicit(&t->conn, memory_order_relaxed) != NULL;
}

#endif
