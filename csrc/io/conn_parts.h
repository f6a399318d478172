/* conn_parts.h - what the two halves of a connection (conn.c, conn_read.c) know of each other; nobody else's business. */
#ifndef FW_CONN_PARTS_H
#define FW_CONN_PARTS_H

#include "io/conn.h"

/* conn.c: states and output */

/* The only way into another state; a move that the table does not hold aborts a debug build. */
void fw_conn_move(fw_conn *c, enum fw_state to);

/* Closes the descriptor and releases everything but the struct itself. */
void fw_conn_die(fw_conns *cs, fw_conn *c);

/* Everything that waits for the poller passes here. False: the system refused, the connection is gone. */
bool fw_conn_arm(fw_conns *cs, fw_conn *c);

/* Its request is complete: to the end of the ready queue. */
void fw_conn_ready(fw_conns *cs, fw_conn *c);

/* Sends what the socket takes; results as fw_outq_flush. */
int fw_conn_flush(fw_conns *cs, fw_conn *c);

/* Notes what memory its queue takes while it waits; and how much others may queue then. */
void fw_conn_count(fw_conns *cs, fw_conn *c);
void fw_conn_uncount(fw_conns *cs, fw_conn *c);

/* It waits for its client from now on, or the client has taken something: the time for that begins anew. */
void fw_conn_await(fw_conns *cs, fw_conn *c);

/* It is time to look at whether its client takes anything, and how fast (FW_CLASS_PACE has passed). */
void fw_conn_look(fw_conns *cs, fw_conn *c);

/* Sends what is queued, or waits for the poller to do so; then closes, or goes on with what has been received. */
void fw_conn_settle(fw_conns *cs, fw_conn *c);

/* A flush of a waiting connection returned `rc`: what now? */
void fw_conn_output_moved(fw_conns *cs, fw_conn *c, int rc);

/* conn_read.c: input */

/* Judges what has been received; moves to the state that it amounts to. */
void fw_conn_digest(fw_conns *cs, fw_conn *c);

/* Reads and digests until the socket is empty, a request is complete, or it is the others' turn. */
void fw_conn_read(fw_conns *cs, fw_conn *c);

/* Reads and throws away (LINGER). */
void fw_conn_discard(fw_conns *cs, fw_conn *c);

/* Answers conn->req with its refusal. */
void fw_conn_refuse_request(fw_conns *cs, fw_conn *c);

#endif
