/* asker.c - the client of fuzz_turns.c. */
#include "asker.h"

static const struct {
    const char *method;
    enum asked of;
    const char *target; /* NULL: a number */
    const char *rest;   /* behind the target */
} KINDS[ASK_KINDS] = {
    {"GET", ASKED_APPLICATION, NULL, " HTTP/1.1\r\nHost: h\r\n\r\n"},
    {"HEAD", ASKED_APPLICATION, NULL, " HTTP/1.1\r\nHost: h\r\n\r\n"},
    {"POST", ASKED_APPLICATION, NULL, " HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"},
    {"PUT", ASKED_APPLICATION, NULL, " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
    {"GET", ASKED_HEALTH, HEALTH, " HTTP/1.1\r\nHost: h\r\n\r\n"},
    {"HEAD", ASKED_HEALTH, HEALTH, " HTTP/1.1\r\nHost: h\r\n\r\n"},
    {"POST", ASKED_APPLICATION, HEALTH, " HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"},
    {"GET", ASKED_HEALTH, HEALTH, "?x=1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"},
    {"GET", ASKED_HEALTH, "http://h" HEALTH, " HTTP/1.1\r\nHost: h\r\n\r\n"},
    {"LOCK", ASKED_APPLICATION, NULL, " HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab"},
    {"GET", ASKED_APPLICATION, NULL, " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"},
    {"GET", ASKED_APPLICATION, NULL, " HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"},
    {"POST", ASKED_APPLICATION, NULL, " HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nabcd"},
    {"GET", ASKED_NOBODY, NULL, " HTTP/1.1\r\n\r\n"},
    {"HEAD", ASKED_NOBODY, NULL, " HTTP/1.1\r\n\r\n"},
    {"GET", ASKED_APPLICATION, HEALTH "y", " HTTP/1.1\r\nHost: h\r\nX-Name: value\r\nCookie: a=b\r\n\r\n"},
};

/* ---- requests -------------------------------------------------------------------------------------------------- */

void asker_ask(asker *a, unsigned kind)
{
    char text[256];
    if (a->c.fd < 0 || a->asked == ASKS || a->last)
        return;
    kind %= ASK_KINDS;
    ask *q = &a->asks[a->asked];
    *q = (ask){.of = KINDS[kind].of, .start = a->queued};
    q->head = strcmp(KINDS[kind].method, "HEAD") == 0;
    q->expects = strstr(KINDS[kind].rest, "Expect") != NULL;
    if (KINDS[kind].target != NULL)
        snprintf(q->target, sizeof q->target, "%s", KINDS[kind].target);
    else
        snprintf(q->target, sizeof q->target, "/%u", a->asked);
    if (q->of == ASKED_HEALTH && !a->r->health)
        q->of = ASKED_APPLICATION;
    const int n = snprintf(text, sizeof text, "%s %s%s", KINDS[kind].method, q->target, KINDS[kind].rest);
    if (KINDS[kind].rest[0] == '?')
        snprintf(q->target, sizeof q->target, "%s?x=1", KINDS[kind].target);
    if ((size_t)n > sizeof a->c.queue - a->c.queued)
        return;
    client_queue(&a->c, text, (size_t)n);
    a->queued += (uint64_t)n;
    q->end = a->queued;
    a->last = strstr(KINDS[kind].rest, "Connection: close") != NULL;
    a->asked++;
}

static uint64_t sent(const asker *a)
{
    return a->queued - a->c.queued;
}

void asker_send(asker *a, size_t most)
{
    client_send(&a->c, most);
    for (unsigned i = a->answered; i < a->asked && a->asks[i].start < sent(a); i++)
        if (a->asks[i].began == 0)
            a->asks[i].began = a->r->now;
}

unsigned asker_sent(const asker *a)
{
    unsigned n = a->answered;
    while (n < a->asked && a->asks[n].end <= sent(a))
        n++;
    return n;
}

/* ---- responses ------------------------------------------------------------------------------------------------- */

/* The request whose turn it is, of which at least some has been sent. */
static const ask *at_turn(const asker *a)
{
    MUST(a->answered < a->asked);
    const ask *q = &a->asks[a->answered];
    MUST(q->start < sent(a));
    return q;
}

static void judge_application(asker *a, const ask *q)
{
    char line[64];
    snprintf(line, sizeof line, "\r\nX-Request: %s\r\n", q->target);
    MUST(q->of == ASKED_APPLICATION);
    MUST(client_begins(&a->c, "HTTP/1.1 200 OK\r\n"));
    MUST(memmem(a->c.head, a->c.nhead, line, strlen(line)) != NULL);
    MUST(client_number(&a->c, "X-Seq", UINT64_MAX) == a->responses++);
    MUST(q->end <= sent(a));
    a->c.plain = false;
}

/* The minimal rate is asked for after a time of grace only. */
static bool may_be_too_slow(const asker *a, const ask *q)
{
    return a->r->grace != NULL && q->began != 0 && a->r->now - q->began > *a->r->grace;
}

static void judge_refusal(const asker *a, const ask *q)
{
    const client *c = &a->c;
    MUST(client_begins(c, "HTTP/1.1 4") || client_begins(c, "HTTP/1.1 5"));
    MUST(client_closes(c));
    if (a->r->lenient)
        return;
    if (client_begins(c, "HTTP/1.1 408 "))
        MUST(may_be_too_slow(a, q));
    else if (client_begins(c, "HTTP/1.1 503 "))
        MUST(a->r->stopping || (a->r->queue && q->of == ASKED_APPLICATION));
    else
        MUST(q->of == ASKED_NOBODY);
}

static void judge_head(client *c)
{
    asker *a = (asker *)c; /* its first member */
    const ask *q = at_turn(a);
    MUST(!c->final);
    if (client_begins(c, "HTTP/1.1 100 ")) {
        MUST(q->expects && c->nhead == strlen("HTTP/1.1 100 Continue\r\n\r\n"));
        return;
    }
    const uint64_t length = client_number(c, "Content-Length", UINT64_MAX);
    MUST(length != UINT64_MAX);
    c->left = length;
    c->at = 0;
    c->plain = true;
    c->final = client_closes(c);
    const bool late = client_begins(c, "HTTP/1.1 408 ");
    if (memmem(c->head, c->nhead, "\r\nX-Request: ", 13) != NULL) {
        judge_application(a, q);
    } else if (client_begins(c, "HTTP/1.1 200 OK\r\n")) {
        MUST(q->of == ASKED_HEALTH && length == strlen("ok\n") && q->end <= sent(a));
    } else {
        MUST(length > 0);
        judge_refusal(a, q);
    }
    if (q->head && !late) /* a request that has not come whole may not have said that it is HEAD */
        c->left = 0;
    a->answered++;
}

/* A server that stops closes a connection that it found idle, and none lingers for ever; a request that comes too late
 * brings a reset, which takes away what the client has not received yet. */
static bool came_too_late(const asker *a)
{
    const bool closed = a->r->stopping || (a->c.final && a->r->now > a->r->linger);
    return closed && a->answered > 0 && sent(a) > a->asks[a->answered - 1].end;
}

void asker_hear(asker *a, size_t most)
{
    const bool before = a->c.ended;
    client_hear(&a->c, most);
    if (!a->c.ended || before || a->c.reset || a->r->lenient || came_too_late(a))
        return;
    MUST(a->c.nhead == 0);
    MUST(a->c.left == 0 || a->asks[a->answered - 1].head); /* the head of one that was refused too early to know */
}

void asker_judge_end(const asker *a)
{
    if (a->c.fd < 0 || a->c.final || a->c.reset || a->r->lenient || a->r->stopping)
        return;
    MUST(a->answered == asker_sent(a));
    MUST(a->c.nhead == 0 && a->c.left == 0);
    MUST(!a->c.ended || a->c.shut);
}

void asker_open(asker *a, const rules *r, int fd, bool tcp)
{
    client_open(&a->c, fd, tcp);
    a->c.judge_head = judge_head;
    a->r = r;
    a->asked = a->answered = a->responses = 0;
    a->queued = 0;
    a->last = false;
}
