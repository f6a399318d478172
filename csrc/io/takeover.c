/* takeover.c - a socket that an application has taken over. */
#include "io/takeover.h"
#include "io/conns.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int set_blocking(int fd, bool blocking)
{
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK) < 0)
        return -errno;
    return FW_OK;
}

int fw_takeover_open(fw_conns *cs, fw_conn *c, fw_takeover **out)
{
    if (c->broken)
        return -EPIPE;
    fw_takeover *t = malloc(sizeof *t);
    if (t == NULL)
        return -ENOMEM;
    const int rc = set_blocking(c->fd, true);
    if (rc != FW_OK) {
        free(t);
        return rc;
    }
    if (c->polled)
        fw_poller_del(&cs->poller, c->fd);
    c->polled = false;
    t->fd = c->fd;
    atomic_init(&t->holders, 2);
    atomic_init(&t->conn, c);
    c->taken = t;
    cs->stats.upgraded++;
    *out = t;
    return FW_OK;
}

void fw_takeover_hold(fw_takeover *t)
{
    atomic_fetch_add_explicit(&t->holders, 1, memory_order_relaxed);
}

void fw_takeover_let_go(fw_takeover *t)
{
    if (atomic_fetch_sub_explicit(&t->holders, 1, memory_order_acq_rel) != 1)
        return;
    if (t->fd >= 0)
        close(t->fd);
    free(t);
}

/* The connection holds it no more. */
static void release(fw_conn *c)
{
    fw_takeover *t = c->taken;
    atomic_store_explicit(&t->conn, NULL, memory_order_relaxed);
    c->taken = NULL;
    c->fd = -1;
    fw_takeover_let_go(t);
}

void fw_takeover_leave(fw_conns *cs, fw_takeover *t, bool give_away)
{
    fw_conn *c = atomic_load_explicit(&t->conn, memory_order_relaxed);
    if (give_away)
        t->fd = -1;
    if (c == NULL)
        return;
    if (c->state != FW_STATE_BUSY && !give_away) {
        fw_conn_end_lease(cs, c);
        return;
    }
    release(c);
    if (c->state == FW_STATE_BUSY)
        c->broken = true; /* nothing can be sent any more */
    else
        fw_conn_close(cs, c);
}

bool fw_takeover_return(fw_conn *c)
{
    return set_blocking(c->fd, false) == FW_OK;
}

void fw_takeover_shut(fw_conn *c)
{
    shutdown(c->fd, SHUT_RDWR);
}

void fw_takeover_close(fw_conn *c)
{
    fw_takeover_shut(c);
    release(c);
}
