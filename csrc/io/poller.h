/* poller.h - readiness.  poller_epoll.c and poller_kqueue.c are the only files that know the system's call.
 *
 * A connection is registered once, edge-triggered for both directions, and never changed again; listeners and the
 * wake-up pipe are level-triggered.  A registration is ended before its descriptor is closed: a child that the
 * application has forked may hold the same socket, and epoll would go on reporting it.
 */
#ifndef FW_POLLER_H
#define FW_POLLER_H

#include "fw.h"

enum fw_event_flags {
    FW_EVENT_IN = 1,   /* readable, or the peer has shut its side */
    FW_EVENT_OUT = 2,  /* writable */
    FW_EVENT_EOF = 4,  /* the peer has shut its side: after the data comes the end */
    FW_EVENT_ERR = 8,  /* the connection is broken */
    FW_EVENT_HUP = 16, /* nothing can be said in either direction any more */
};

enum fw_poll_mode {
    FW_POLL_EDGE,   /* both directions, edge-triggered: connections */
    FW_POLL_LEVEL,  /* input, level-triggered: wake-up pipe */
    FW_POLL_SHARED, /* input, level-triggered, one of several processes is woken: listeners */
};

typedef struct fw_event {
    void *data;
    unsigned flags;
} fw_event;

typedef struct fw_poller {
    int fd;
    void *native; /* the system's event array */
    int capacity;
} fw_poller;

/* -errno when the system refuses; nothing to undo then. */
int fw_poller_open(fw_poller *p, int capacity);
void fw_poller_close(fw_poller *p);
int fw_poller_add(fw_poller *p, int fd, enum fw_poll_mode mode, void *data);
int fw_poller_del(fw_poller *p, int fd);

/* Waits at most `timeout_ms` (-1: for ever) and fills at most `capacity` events.  Returns their number, FW_RETRY when
 * a signal came first, or -errno. */
int fw_poller_wait(fw_poller *p, fw_event *events, int timeout_ms);

#endif
