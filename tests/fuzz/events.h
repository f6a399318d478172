/* events.h - what the targets that play with connections have in common: listeners, and calls that fail. */
#ifndef EVENTS_H
#define EVENTS_H

#include "fuzz.h"

/* Two listening sockets, bound once for all runs. */
void events_listen(int *unix_listener, int *tcp_listener);

/* What a run has left in the backlog is closed. */
void events_empty_backlog(int listener);

/* A client's socket, with small buffers if so asked; -1 if the backlog is full. */
int events_connect(int listener, bool tcp, bool small_receive, bool small_send);

/* The script says which call of the core fails, when and how. */
void events_fail_call(tape *t);

#endif
