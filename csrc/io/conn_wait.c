/* conn_wait.c - a connection that waits for its client with a response: what it may cost, and how long it may take.
 *
 * Memory: the queues of all that wait are one sum. What an application may have queued before it is held back, the mark,
 * sinks from high_water to nothing as the sum grows from a quarter to half of response_memory. At nothing a response asks
 * for a block only when its client has taken all before it and the socket has room: so the sum goes on growing by no more
 * than what a socket leaves of a block, and each client that takes its bytes is served on. A socket without a limit takes
 * megabytes, until the system has none left and each leaves most of a block with us: as the mark sinks, those of streams
 * get a limit. A connection that an application thread has (BUSY) is counted as it was before; there are few of those.
 *
 * Time: a client that the kernel has told of more bytes than it takes is measured from the moment that its queue found the
 * socket full until the queue is empty, or until the socket had room and the application nothing to send. What a client
 * has taken is what left the socket's own queue: what went into that says nothing. It is looked at now and then, for the
 * poller tells of room only when a good part of the socket is free, and a slow client may take longer for that than it has.
 */
#include "io/conn_parts.h"
#include "io/input.h"

#include <sys/ioctl.h>
#include <sys/socket.h>
#if defined(__linux__)
#include <linux/sockios.h>
#endif
#include <netinet/tcp.h>

#define UNSENT_MOST 65536 /* bytes that a socket takes, a block more or less, without a client to take them */
#define PORTION 65536    /* bytes of a segment, if that is not known */
#define SEGMENTS 2       /* that a client may have taken before its kernel says so: Linux joins them in its queue */
#define SILENT_GRACES 4  /* times min_rate_grace, */
#define SILENT_MS 10000  /* ... but no less than this: then one that has said nothing is not believed to have taken any */

/* ---- memory ---------------------------------------------------------------------------------------------------- */

/* What may be queued for one client while all together have queued `sum`. */
static size_t mark_at(const fw_config *cfg, size_t sum)
{
    const size_t full = cfg->response_memory / 4; /* the mark is whole up to here, and nothing from twice that on */
    if (sum <= full || cfg->response_memory == 0)
        return cfg->high_water;
    if (sum >= 2 * full)
        return 0;
    return (size_t)((uint64_t)cfg->high_water * (2 * full - sum) / full);
}

static void count(fw_conns *cs, fw_conn *c, size_t now)
{
    cs->queued += now - c->counted;
    c->counted = now;
    const size_t mark = mark_at(&cs->cfg, cs->queued);
    if (mark != atomic_load_explicit(&cs->mark, memory_order_relaxed))
        atomic_store_explicit(&cs->mark, mark, memory_order_relaxed);
}

void fw_conn_count(fw_conns *cs, fw_conn *c)
{
    const size_t now = c->out.head != NULL ? fw_outq_memory(&c->out) : 0;
    if (now != c->counted)
        count(cs, c, now);
}

void fw_conn_uncount(fw_conns *cs, fw_conn *c)
{
    if (c->counted != 0)
        count(cs, c, 0);
}

void fw_conn_limit_unsent(fw_conn *c)
{
    c->limited = true;
#if defined(TCP_NOTSENT_LOWAT)
    const int most = UNSENT_MOST; /* of a unix socket it is refused, which has no more room than some blocks */
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &most, sizeof most);
#endif
}

/* ---- time ------------------------------------------------------------------------------------------------------ */

/* Bytes in the socket that the client has not taken; 0 if the system does not tell. */
static int unacked(int fd)
{
    int n = 0;
#if defined(__linux__)
    if (ioctl(fd, SIOCOUTQ, &n) != 0)
        n = 0;
#elif defined(SO_NWRITE)
    socklen_t len = sizeof n;
    if (getsockopt(fd, SOL_SOCKET, SO_NWRITE, &n, &len) != 0)
        n = 0;
#else
    (void)fd;
#endif
    return n;
}

/* A client's kernel tells of what was read in steps: of some segments, and of larger ones if such have been seen. */
static uint64_t portion(const fw_conn *c)
{
    int n = 0;
    socklen_t len = sizeof n;
    const bool known = getsockopt(c->fd, IPPROTO_TCP, TCP_MAXSEG, &n, &len) == 0 && n > 0;
    const uint64_t least = SEGMENTS * (known ? (uint64_t)n : PORTION);
    return c->pace.step > least ? c->pace.step : least;
}

static void begin_to_measure(fw_conns *cs, fw_conn *c)
{
    fw_pace *p = &c->pace;
    p->since = p->moved_at = p->taken_at = (uint32_t)cs->now;
    p->moved = p->taken = p->step = 0;
    p->unacked = unacked(c->fd);
    atomic_store_explicit(&p->waits, true, memory_order_relaxed);
}

/* What the client has taken by now. */
static void measure(const fw_conns *cs, fw_conn *c)
{
    fw_pace *p = &c->pace;
    const int64_t taken = (int64_t)p->moved + p->unacked - unacked(c->fd);
    if (taken > (int64_t)p->taken) {
        if ((uint64_t)taken - p->taken > p->step)
            p->step = (uint64_t)taken - p->taken;
        p->taken = (uint64_t)taken;
        p->taken_at = (uint32_t)cs->now;
    }
}

void fw_conn_await(fw_conns *cs, fw_conn *c)
{
    if (atomic_load_explicit(&cs->mark, memory_order_relaxed) < cs->cfg.high_water)
        fw_outq_compact(&c->out, &cs->cache);
    fw_conn_count(cs, c);
    if (atomic_load_explicit(&c->pace.waits, memory_order_relaxed))
        measure(cs, c); /* what was taken until now is not taken for progress at the next look */
    else
        begin_to_measure(cs, c);
    c->pace.moved_at = (uint32_t)cs->now;
    if (c->deadline.next == NULL || c->deadline.class != FW_CLASS_PACE)
        fw_deadline_set(&cs->deadlines, &c->deadline, FW_CLASS_PACE, cs->now);
}

/* Slower on average than min_rate, the time of grace past. */
static bool too_slow(const fw_conns *cs, const fw_conn *c)
{
    const fw_pace *p = &c->pace;
    const uint32_t now = (uint32_t)cs->now, elapsed = now - p->since, grace = cs->cfg.min_rate_grace_ms;
    if (cs->cfg.min_rate == 0)
        return false;
    if (elapsed <= grace || p->taken * 1000 >= (uint64_t)cs->cfg.min_rate * elapsed)
        return false;
    const uint64_t silent = (uint64_t)SILENT_GRACES * grace;
    if (now - p->taken_at > (silent > SILENT_MS ? silent : SILENT_MS))
        return true;
    return (p->taken + portion(c)) * 1000 < (uint64_t)cs->cfg.min_rate * elapsed;
}

/* It has taken nothing for the whole of the write timeout. */
static bool timed_out(const fw_conns *cs, const fw_conn *c)
{
    const uint32_t most = cs->cfg.timeouts[FW_CLASS_WRITE], now = (uint32_t)cs->now;
    return most != 0 && now - c->pace.moved_at >= most && now - c->pace.taken_at >= most;
}

void fw_conn_look(fw_conns *cs, fw_conn *c)
{
    const size_t before = c->out.bytes;
    const uint32_t moved_at = c->pace.moved_at;
    /* The poller tells of room only when there is plenty, which a slow client makes seldom. */
    const int rc = c->out.head != NULL ? fw_conn_flush(cs, c) : FW_RETRY;
    if (rc != FW_RETRY || c->out.bytes != before) {
        fw_conn_output_moved(cs, c, rc);
        if (c->state != FW_STATE_FLUSH && c->state != FW_STATE_SUSPENDED)
            return;
    } else {
        fw_conn_await(cs, c);
        c->pace.moved_at = moved_at;
    }
    if (!timed_out(cs, c) && !too_slow(cs, c))
        return;
    cs->stats.timeouts++;
    fw_conn_close(cs, c);
}
