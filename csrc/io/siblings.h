/* siblings.h - how the workers of one master share new connections, and know who is free.
 *
 * A page that all of them map has a slot for each worker, and each slot has a bell, a descriptor that all of them have
 * inherited. These are the rules:
 *
 *  1. A worker writes its own slot, with one exception: whoever rings its bell notes the time in `rung_at` if none is
 *     noted, and it alone takes that back when it has heard. The master clears the slot of a worker that it has reaped.
 *  2. `pid` is set while the worker accepts connections: not before it is ready, not when it stops, not while it is full.
 *     `connections` changes with each connection that opens or closes, nothing changes with a request. `away` is set by
 *     the standby while it leads and no thread is idle, and taken back when one is back.
 *  3. Every field stands for itself, so loads and stores are relaxed. A decision on stale values is not wrong but
 *     unfair, and the sibling that it was left to decides again on its own. Where a message depends on it they are not:
 *     whoever has put one looks who is free, or goes on, and whoever becomes free or leaves looks for one afterwards.
 *  4. Before a worker accepts it looks for the best sibling: one that is not away before one that is, then the one with
 *     the fewest connections. It leaves the connection to that sibling if it is away itself and the sibling is not, or if
 *     it has two connections more and is no freer. So a connection is always left to somebody strictly better, and does
 *     not come back unless the workers have changed.
 *  5. To leave a connection is to ring the sibling's bell and not to listen for FW_LEAVE_MS: the listener would report it
 *     again and again. A bell makes its worker accept from all listeners at once, by rule 4, paused or not. Whoever left
 *     a connection looks for it again after FW_LEAVE_MS, and takes what still waits; one that is away, and so could not
 *     serve it anyway, takes it after FW_LEAVE_AWAY_MS, so that the health path and refusals live on.
 *  6. A sibling that has not heard its bell for that long is deaf: stopped, dead, or short of a CPU. It is not considered
 *     until it has heard. So it delays one connection, once, and not each of them.
 *  7. Nothing is timed unless a connection has been left, or waits to travel (travel.h).
 *  8. During an upgrade two masters use one page. Slots with even numbers are the workers' of one, odd ones of the other. A
 *     master that stops for good notes that in `ended`: its workers do not go on, so no connection comes to them.
 */
#ifndef FW_SIBLINGS_H
#define FW_SIBLINGS_H

#include "fw.h"

#include <stdatomic.h>

#define FW_LEAVE_MS 20
#define FW_LEAVE_AWAY_MS 250

typedef struct fw_sibling { /* 64 bytes: a cache line of its own */
    _Atomic uint32_t pid;   /* 0: it does not accept, or there is none */
    _Atomic uint32_t away;  /* all its application threads are in calls */
    _Atomic uint32_t connections;
    uint32_t unused;
    _Atomic uint64_t rung_at; /* ms: when its bell was rung that it has not heard yet; 0: it has heard */
    uint64_t room[5];
} fw_sibling;

typedef struct fw_siblings_page {
    _Atomic uint32_t top;      /* slots from here on have never been used */
    _Atomic uint32_t waits;    /* a connection may wait in the socket (travel.h, rule 4) */
    _Atomic uint32_t ended[2]; /* by the slot's number modulo 2: all of its master's workers stop */
    uint32_t room[12];
    fw_sibling slots[];
} fw_siblings_page;

/* The page as one worker sees it; zeroed, it has no siblings. */
typedef struct fw_siblings {
    fw_siblings_page *page;
    fw_sibling *own;
    const int *bells; /* of each slot: where to write */
    bool takes_part;  /* its own `pid` is set */
} fw_siblings;

/* Bytes of a page with so many slots. */
size_t fw_siblings_size(unsigned slots);

/* Takes the slot `own`. `page` and `bells` are borrowed. */
void fw_siblings_init(fw_siblings *s, fw_siblings_page *page, const int *bells, unsigned own);

/* The worker accepts connections from now on, or it does not. Nothing happens without siblings. */
void fw_siblings_enter(fw_siblings *s);
void fw_siblings_leave(fw_siblings *s);

static inline bool fw_siblings_is_away(const fw_siblings *s)
{
    return atomic_load_explicit(&s->own->away, memory_order_relaxed) != 0;
}

/* All threads are away, or one is back. Nothing happens without siblings. True if that is new. */
static inline bool fw_siblings_set_away(fw_siblings *s, bool away)
{
    if (s->own == NULL || fw_siblings_is_away(s) == away)
        return false;
    atomic_store(&s->own->away, away); /* not relaxed: it looks at `waits` afterwards */
    return true;
}

/* Something may be in the socket through which connections travel. */
static inline bool fw_siblings_waits(const fw_siblings *s)
{
    return s->own != NULL && atomic_load(&s->page->waits) != 0;
}

static inline void fw_siblings_set_waits(fw_siblings *s, bool waits)
{
    atomic_store(&s->page->waits, waits);
}

/* How long it waits, in ms, for a sibling to hear. */
static inline uint64_t fw_siblings_patience(const fw_siblings *s)
{
    return fw_siblings_is_away(s) ? FW_LEAVE_AWAY_MS : FW_LEAVE_MS;
}

/* The slot to which a worker with so many connections leaves the next one, or -1: it takes it. */
int fw_siblings_choose(const fw_siblings *s, uint32_t connections, uint64_t now);

/* Another worker has a free thread and hears its bell. */
bool fw_siblings_one_is_free(const fw_siblings *s, uint64_t now);

/* Rings the bells of such workers, `most` at most. */
void fw_siblings_ring_free(fw_siblings *s, unsigned most, uint64_t now);

/* The next slot behind `after` whose worker accepts connections, and is not going to stop; -1: there is none. */
int fw_siblings_heir(const fw_siblings *s, int after);

/* Rings the bell of a slot. */
void fw_siblings_ring(fw_siblings *s, int slot, uint64_t now);

/* The own bell, the descriptor `fd`, has been heard. */
void fw_siblings_hear(fw_siblings *s, int fd);

#endif
