/* metrics.c - counting: by method and class, into buckets, by route. What is counted when is told in metrics.h. */
#include "observe/metrics.h"

#include <string.h>

_Static_assert(sizeof(fw_stats) <= FW_COUNTED_STATS * sizeof(uint64_t), "a counter has no place");
_Static_assert(offsetof(fw_metrics, pid) == 26 * 8 && offsetof(fw_metrics, states) == 33 * 8 &&
                   offsetof(fw_metrics, stats) == 45 * 8 && offsetof(fw_metrics, quick) == 152 * 8 &&
                   offsetof(fw_metrics, answered) == 276 * 8 && offsetof(fw_metrics, routes) == 1373 * 8 &&
                   sizeof(fw_route) == 86 * 8,
               "page.py reads this");

/* llhttp's number of a method -> its column: DELETE, GET, HEAD, POST, PUT, OPTIONS, PATCH, others. */
static unsigned method_of(const fw_request *r)
{
    if (r == NULL || r->method.len == 0)
        return 7;
    if (r->method_id < 5)
        return r->method_id;
    return r->method_id == FW_METHOD_OPTIONS ? 5 : r->method_id == 28 ? 6 : 7;
}

void fw_metrics_answered(fw_metrics *m, const fw_request *r, int status, uint64_t route)
{
    const unsigned code = status >= 100 && status < 600 ? (unsigned)status : 0;
    const unsigned method = method_of(r), class = code / 100;
    m->answered[method][class]++;
    if (fw_likely(code != 0))
        m->statuses[code - 100]++;
    if (fw_unlikely(route != 0))
        m->routes[route - 1].answered[method][class]++;
}

uint64_t fw_metrics_route(fw_metrics *m, const char *name, size_t n)
{
    static const char OTHER[] = "other";
    if (n == 0)
        return 0;
    if (n >= FW_ROUTE_NAME) {
        n = FW_ROUTE_NAME - 1;
        while (n > 0 && ((uint8_t)name[n] & 0xC0) == 0x80) /* no part of a character */
            n--;
    }
    for (uint64_t i = 0; i < m->nroutes; i++)
        if (memcmp(m->routes[i].name, name, n) == 0 && m->routes[i].name[n] == '\0')
            return i + 1;
    if (m->nroutes == FW_ROUTES)
        return FW_ROUTES;
    const bool last = m->nroutes == FW_ROUTES - 1;
    memcpy(m->routes[m->nroutes].name, last ? OTHER : name, last ? sizeof OTHER : n);
    return ++m->nroutes;
}

static void observe(const fw_metrics *m, fw_histogram *h, uint64_t us)
{
    uint64_t i = 0;
    while (i < m->nbounds && us > m->bounds[i])
        i++;
    h->counts[i]++;
    h->sum += us;
}

static uint64_t since(uint64_t then, uint64_t now)
{
    return now > then ? now - then : 0;
}

static FW_NOINLINE void hand_over(fw_metrics *m, fw_timing *t, uint64_t now, bool sent)
{
    const uint64_t call = since(t->pulled + t->waited, t->handed_over);
    observe(m, &m->queue, since(t->complete, t->pulled));
    observe(m, &m->application, call);
    if (t->route != 0)
        observe(m, &m->routes[t->route - 1].application, call);
    if (sent)
        fw_metrics_sent(m, t, now);
}

void fw_metrics_handed_over(fw_metrics *m, fw_timing *t, uint64_t now, bool sent)
{
    if (fw_likely(t->handed_over == 0))
        t->handed_over = now;
    const uint64_t total = now - t->complete;
    if (fw_unlikely(total > m->bounds[0] || !sent || (t->route | t->waited) != 0 || t->pulled < t->complete)) {
        hand_over(m, t, now, sent);
        return;
    }
    m->quick++;
    m->queue.sum += t->pulled - t->complete;
    m->application.sum += t->handed_over - t->pulled;
    m->send.sum += now - t->handed_over;
    m->total.sum += total;
}

void fw_metrics_sent(fw_metrics *m, const fw_timing *t, uint64_t now)
{
    observe(m, &m->send, since(t->handed_over, now) + t->waited);
    observe(m, &m->total, since(t->complete, now));
}

enum fw_reason fw_metrics_reason(int status)
{
    switch (status) {
    case 400: return FW_REFUSED_BAD_REQUEST;
    case 403: return FW_REFUSED_FORBIDDEN;
    case 408: return FW_REFUSED_TIMEOUT;
    case 413: return FW_REFUSED_BODY_SIZE;
    case 414: return FW_REFUSED_LINE_SIZE;
    case 417: return FW_REFUSED_EXPECTATION;
    case 431: return FW_REFUSED_HEADER_SIZE;
    case 501: return FW_REFUSED_NOT_IMPLEMENTED;
    case 503: return FW_REFUSED_UNAVAILABLE;
    case 505: return FW_REFUSED_VERSION;
    case 507: return FW_REFUSED_STORAGE;
    default: return FW_REFUSED_OTHER;
    }
}

void fw_metrics_refused(fw_metrics *m, const fw_request *r, int status, enum fw_reason why)
{
    m->refused[why]++;
    m->refused_requests[method_of(r)][status >= 100 && status < 600 ? status / 100 : 0]++;
}

void fw_metrics_file(fw_metrics *m, const fw_request *r, int status)
{
    m->file_requests[method_of(r)][status / 100]++;
    m->file_statuses[status - 100]++;
}
