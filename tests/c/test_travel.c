/* test_travel.c - connections that travel between two workers: what goes, what stays, and what becomes of it when
 * something fails. Rules and numbers are those of travel.h.
 *
 * Two loops share a page and a socket pair. `a` has a listener and the clients; its thread does not pull while it is away, so
 * that requests wait. `b` answers. It has more than 500 lines because all of its tests need those two.
 */
#include "faults.h"
#include "harness.h"
#include "loop_fixture.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define SLOTS 4
#define GET(target) "GET " target " HTTP/1.1\r\nHost: h\r\n\r\n"
#define MANY 64 /* steps without anything to do, after which a loop has come to rest */

typedef struct two {
    fw_siblings_page *page;
    int bells[SLOTS];
    int to, from;
    loop_fixture a, b;
    uint64_t taken; /* the last look at b's counter */
} two;

static void set_taking_part(two *w)
{
    loop_fixture_run(&w->a);
    loop_fixture_run(&w->b);
    CHECK(w->a.loop->siblings.takes_part && w->b.loop->siblings.takes_part);
}

static void connect_loop(two *w, loop_fixture *s, unsigned slot)
{
    CHECK_INT(fw_loop_share(s->loop, w->page, w->bells, slot, w->bells[slot]), FW_OK);
    fw_loop_connect(s->loop, w->to, w->from);
}

static void open_two(two *w, const fw_config *a, const fw_config *b)
{
    int ends[2];
    memset(w, 0, sizeof *w);
    CHECK((w->page = calloc(1, fw_siblings_size(SLOTS))) != NULL);
    for (unsigned i = 0; i < SLOTS; i++)
        CHECK((w->bells[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) >= 0);
    CHECK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    w->to = ends[0];
    w->from = ends[1];
    loop_fixture_open(&w->a, a);
    loop_fixture_open(&w->b, b);
    connect_loop(w, &w->a, 0);
    connect_loop(w, &w->b, 1);
    set_taking_part(w);
}

static void open_alike(two *w)
{
    const fw_config cfg = defaults();
    open_two(w, &cfg, &cfg);
}

static void close_two(two *w)
{
    loop_fixture_close(&w->a);
    loop_fixture_close(&w->b);
    for (unsigned i = 0; i < SLOTS; i++)
        close(w->bells[i]);
    close(w->to);
    close(w->from);
    free(w->page);
}

/* The loop goes on until it would wait; nobody pulls what is ready. */
static void step(loop_fixture *s)
{
    for (int i = 0; i < MANY; i++) {
        const int rc = fw_loop_step(s->loop);
        if (rc == FW_LOOP_POLL)
            fw_loop_polled(s->loop, fw_loop_poll(s->loop));
        else if (rc == FW_LOOP_DONE)
            return;
        if (fw_loop_pending(s->loop))
            i = 0;
    }
}

static void be_away(loop_fixture *s, bool away)
{
    fw_siblings_set_away(&s->loop->siblings, away);
}

/* A client of `s` that has said this, whose request waits as far as it is one. It is not left to the sibling. */
static int waiting(loop_fixture *s, const char *text)
{
    const uint64_t before = s->loop->conns.stats.accepted;
    const bool took_part = s->loop->siblings.takes_part;
    s->loop->siblings.takes_part = false;
    const int fd = loop_fixture_client(s);
    SAY(fd, text);
    for (int i = 0; i < 1000 && s->loop->conns.stats.accepted == before; i++)
        step(s);
    step(s);
    CHECK_INT(s->loop->conns.stats.accepted, before + 1);
    s->loop->siblings.takes_part = took_part;
    return fd;
}

static uint64_t connections(const loop_fixture *s)
{
    return s->loop->conns.stats.connections;
}

/* `a` is away and passes on what it can. */
static void pass(two *w)
{
    be_away(&w->a, true);
    CHECK(fw_loop_pass_on(w->a.loop));
}

/* How many connections b has taken since this was asked last. */
static unsigned taken(two *w)
{
    const uint64_t before = w->taken;
    step(&w->b);
    w->taken = w->b.loop->conns.stats.taken_over;
    return (unsigned)(w->taken - before);
}

static void expect_answers(loop_fixture *s, int client, unsigned n, const char *const *parts)
{
    char got[8192];
    bool end;
    loop_fixture_hear(s, client, got, sizeof got, n, &end);
    const char *at = got;
    for (unsigned i = 0; i < n; i++) {
        at = strstr(at, parts[i]);
        if (at == NULL)
            FAIL("\"%s\" is not in its place in \"%s\"", parts[i], got);
    }
    CHECK_INT(responses_in(got, strlen(got)), n);
}

static void expect_answer(loop_fixture *s, int client, const char *part)
{
    expect_answers(s, client, 1, &part);
}

/* What the answer says of a body. */
static const char *body_text(const char *body, size_t n)
{
    static char text[64];
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum = sum * 31 + (uint8_t)body[i];
    snprintf(text, sizeof text, "%zu %08x", n, sum);
    return text;
}

/* ---- requests -------------------------------------------------------------------------------------------------- */

static void a_request_that_waits_is_served_by_who_is_free(void)
{
    two w;
    open_alike(&w);
    const int client = waiting(&w.a, GET("/x"));
    CHECK_INT(w.a.loop->conns.nready, 1);
    pass(&w);
    CHECK_INT(connections(&w.a), 0);
    CHECK_INT(w.page->slots[0].connections, 0);
    CHECK_INT(w.a.loop->conns.nready, 0);
    CHECK(w.a.loop->conns.ready_head == NULL && w.a.loop->conns.ready_tail == NULL);
    CHECK(fw_siblings_waits(&w.b.loop->siblings));
    expect_answer(&w.b, client, "GET /x 0");
    CHECK_INT(w.page->slots[1].connections, 1);
    CHECK_INT(w.page->slots[1].rung_at, 0);
    CHECK_INT(w.b.loop->conns.stats.taken_over, 1);
    CHECK_INT(w.a.loop->conns.stats.passed_on, 1);
    CHECK_INT(w.a.loop->conns.stats.accepted, 1);
    CHECK_INT(w.b.loop->conns.stats.accepted, 0);
    CHECK_INT(w.a.loop->conns.stats.requests, 0);
    CHECK_INT(w.b.loop->conns.stats.requests, 1);
    CHECK(!fw_siblings_waits(&w.b.loop->siblings));
    SAY(client, GET("/again")); /* and the connection lives on there */
    expect_answer(&w.b, client, "GET /again 0");
    CHECK_INT(w.a.requests, 0);
    close(client);
    close_two(&w);
}

static void pipelined_requests_go_along_in_their_order(void)
{
    two w;
    open_alike(&w);
    const int client = waiting(&w.a, GET("/1") GET("/2") "POST /3 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab");
    pass(&w);
    SAY(client, "cde" GET("/4"));
    static const char *const PARTS[] = {"GET /1 0", "GET /2 0", "POST /3 5", "GET /4 0"};
    expect_answers(&w.b, client, 4, PARTS);
    close(client);
    close_two(&w);
}

static void waiting_requests_leave_in_their_order_and_what_stays_is_still_queued(void)
{
    two w;
    int clients[4];
    open_alike(&w);
    for (unsigned i = 0; i < 4; i++)
        clients[i] = waiting(&w.a, GET("/x"));
    be_away(&w.a, true);
    fw_conn *second = w.a.loop->conns.ready_head->link, *last = w.a.loop->conns.ready_tail;
    second->broken = last->broken = true; /* these stay */
    CHECK_INT(fw_conns_pass_on_ready(&w.a.loop->conns, &w.a.loop->travel, 32), 2);
    CHECK_INT(w.a.loop->conns.nready, 2);
    CHECK(w.a.loop->conns.ready_head == second && second->link == last && last->link == NULL);
    CHECK(w.a.loop->conns.ready_tail == last);
    CHECK_INT(connections(&w.a), 2);
    fw_siblings_set_waits(&w.a.loop->siblings, true);
    fw_siblings_ring_free(&w.a.loop->siblings, 1, 1);
    expect_answer(&w.b, clients[0], "GET /x");
    expect_answer(&w.b, clients[2], "GET /x");
    for (unsigned i = 0; i < 4; i++)
        close(clients[i]);
    close_two(&w);
}

static void no_more_leave_at_once_than_they_may(void)
{
    two w;
    int clients[3];
    open_alike(&w);
    for (unsigned i = 0; i < 3; i++)
        clients[i] = waiting(&w.a, GET("/x"));
    CHECK_INT(fw_conns_pass_on_ready(&w.a.loop->conns, &w.a.loop->travel, 2), 2);
    CHECK_INT(w.a.loop->conns.nready, 1);
    for (unsigned i = 0; i < 3; i++)
        close(clients[i]);
    close_two(&w);
}

/* A body of `n` bytes, in chunks if `chunked`, that waits in a with a request behind it. */
static void send_body(two *w, size_t n, bool chunked, bool in_file, unsigned descriptors_more)
{
    char *body = malloc(n), head[128];
    CHECK(body != NULL);
    pattern(body, n);
    const int client = waiting(&w->a, "");
    if (chunked)
        snprintf(head, sizeof head, "POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n", n);
    else
        snprintf(head, sizeof head, "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n", n);
    SAY(client, head);
    for (size_t at = 0; at < n;) {
        const size_t some = n - at < 16384 ? n - at : 16384;
        say(client, body + at, some);
        at += some;
        step(&w->a);
    }
    SAY(client, chunked ? "\r\n0\r\n\r\n" GET("/behind") : GET("/behind"));
    for (int i = 0; i < 1000 && w->a.loop->conns.ready_head == NULL; i++)
        step(&w->a);
    CHECK(w->a.loop->conns.ready_head != NULL);
    CHECK_INT(w->a.loop->conns.ready_head->req->body.fd >= 0, in_file);
    const int before = descriptors();
    pass(w);
    CHECK_INT(connections(&w->a), 0);
    CHECK_INT(descriptors(), before - 1 - in_file);
    CHECK_INT(taken(w), 1);
    CHECK_INT(descriptors(), before - in_file + (int)descriptors_more);
    const char *const parts[] = {body_text(body, n), "GET /behind"};
    expect_answers(&w->b, client, 2, parts);
    close(client);
    free(body);
}

static void a_body_goes_along_wherever_it_is(void)
{
    static const struct {
        const char *name;
        size_t n, memory;
        bool chunked, in_file;
        unsigned descriptors;
    } CASES[] = {
        {"in the receive buffer", 100, 1 << 20, false, false, 0},
        {"in memory", 40000, 1 << 20, false, false, 0},
        {"in chunks", 40000, 1 << 20, true, false, 0},
        {"too large for a message", 200000, 1 << 20, false, false, 1},
        {"too large for a message, in chunks", 200000, 1 << 20, true, false, 1},
        {"in a file", 200000, 50000, false, true, 1},
        {"in a file, in chunks", 200000, 50000, true, true, 1},
    };
    for (size_t i = 0; i < COUNT(CASES); i++) {
        fw_config cfg = defaults();
        two w;
        trying("%s", CASES[i].name);
        cfg.body_memory = CASES[i].memory;
        open_two(&w, &cfg, &cfg);
        send_body(&w, CASES[i].n, CASES[i].chunked, CASES[i].in_file, CASES[i].descriptors);
        close_two(&w);
    }
}

static void a_body_that_is_too_large_for_the_receivers_memory_goes_to_a_file_there(void)
{
    fw_config a = defaults(), b = defaults();
    two w;
    b.body_memory = 10000;
    open_two(&w, &a, &b);
    send_body(&w, 40000, false, false, 1);
    close_two(&w);
}

static void a_client_that_was_told_to_continue_is_not_told_twice(void)
{
    two w;
    char got[4096];
    open_alike(&w);
    const int client = waiting(&w.a, "POST /c HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    CHECK_INT(hear(client, got, sizeof got), 25);
    SAY(client, "abc");
    step(&w.a);
    pass(&w);
    CHECK_INT(connections(&w.a), 0);
    const size_t n = loop_fixture_hear(&w.b, client, got, sizeof got, 1, NULL);
    CHECK(n > 15 && memcmp(got, "HTTP/1.1 200 OK", 15) == 0);
    close(client);
    close_two(&w);
}

static void what_the_receivers_settings_refuse_is_refused(void)
{
    fw_config a = defaults(), b = defaults();
    two w;
    char got[4096];
    bool end;
    b.limit_fields = 1;
    open_two(&w, &a, &b);
    const int client = waiting(&w.a, "GET /x HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n");
    pass(&w);
    loop_fixture_hear(&w.b, client, got, sizeof got, 99, &end);
    CHECK(end && memcmp(got, "HTTP/1.1 4", 10) == 0);
    close(client);
    close_two(&w);
}

static void one_that_has_waited_elsewhere_is_not_turned_away_for_waiting(void)
{
    fw_config cfg = defaults();
    two w;
    int clients[3];
    cfg.max_ready = 1;
    cfg.overload_refuse = true;
    open_two(&w, &cfg, &cfg);
    for (unsigned i = 0; i < 2; i++) {
        clients[i] = waiting(&w.a, GET("/x"));
        pass(&w);
    }
    CHECK_INT(taken(&w), 2);
    CHECK_INT(w.b.loop->conns.nready, 2);
    CHECK_INT(w.b.loop->conns.stats.refused, 0);
    expect_answer(&w.b, clients[0], "GET /x");
    expect_answer(&w.b, clients[1], "GET /x");
    close(clients[0]);
    close(clients[1]);
    close_two(&w);
}

/* ---- what comes along ------------------------------------------------------------------------------------------ */

static struct {
    struct sockaddr_in address;
    uint32_t served;
    unsigned listener;
} seen;

static void note_and_answer(loop_fixture *s, fw_conn *c)
{
    memcpy(&seen.address, fw_conn_address(c), sizeof seen.address);
    seen.served = c->served;
    seen.listener = c->listener->index;
    loop_fixture_answer(s, c);
}

static void address_and_number_of_requests_come_along(void)
{
    two w;
    struct sockaddr_in own;
    socklen_t len = sizeof own;
    open_alike(&w);
    w.b.app = note_and_answer;
    const int client = loop_fixture_client(&w.a);
    CHECK(getsockname(client, (struct sockaddr *)&own, &len) == 0);
    for (unsigned i = 0; i < 3; i++) {
        SAY(client, GET("/here"));
        expect_answer(&w.a, client, "GET /here");
    }
    SAY(client, GET("/there"));
    step(&w.a);
    pass(&w);
    expect_answer(&w.b, client, "GET /there");
    CHECK_INT(seen.served, 3);
    CHECK_INT(seen.address.sin_family, AF_INET);
    CHECK_INT(seen.address.sin_port, own.sin_port);
    CHECK_INT(seen.address.sin_addr.s_addr, own.sin_addr.s_addr);
    close(client);
    close_two(&w);
}

static uint64_t complete_there;

static void note_time_and_answer(loop_fixture *s, fw_conn *c)
{
    complete_there = fw_conn_timing(c)->complete;
    loop_fixture_answer(s, c);
}

static void the_time_that_it_waits_goes_on(void)
{
    two w;
    fw_config cfg = defaults();
    cfg.timed = true;
    open_two(&w, &cfg, &cfg);
    w.b.app = note_time_and_answer;
    const int client = waiting(&w.a, GET("/a"));
    const uint64_t complete = fw_conn_timing(w.a.loop->conns.ready_head)->complete;
    CHECK(complete != 0);
    pass(&w);
    expect_answer(&w.b, client, "GET /a");
    CHECK(complete_there == complete);
    close(client);
    close_two(&w);
}

static void its_listener_is_found_by_what_the_system_knows_it_by_or_by_its_number(void)
{
    for (int same = 0; same < 2; same++) {
        two w;
        open_alike(&w);
        w.b.app = note_and_answer;
        if (same)
            CHECK_INT(fw_loop_listen(w.b.loop, w.a.listener, true), 1);
        const int client = waiting(&w.a, GET("/x"));
        pass(&w);
        seen.listener = 99;
        expect_answer(&w.b, client, "GET /x");
        CHECK_INT(seen.listener, same);
        close(client);
        close_two(&w);
    }
}

/* ---- what stays ------------------------------------------------------------------------------------------------ */

static void what_is_under_way_stays(void)
{
    static const char *const TEXTS[] = {
        "", "GET /x HT", "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab",
    };
    for (size_t i = 0; i < COUNT(TEXTS); i++) {
        two w;
        trying("\"%s\"", TEXTS[i]);
        open_alike(&w);
        const int client = waiting(&w.a, TEXTS[i]);
        be_away(&w.a, true);
        CHECK(!fw_loop_pass_on(w.a.loop));
        CHECK_INT(connections(&w.a), 1);
        CHECK_INT(taken(&w), 0);
        close(client);
        close_two(&w);
    }
}

static void an_answer_that_is_not_sent_keeps_the_request_behind_it(void)
{
    two w;
    fw_conn *c;
    open_alike(&w);
    const int client = waiting(&w.a, GET("/x"));
    c = w.a.loop->conns.ready_head;
    CHECK_INT(fw_outq_copy(&c->out, &w.a.loop->conns.cache, "HTTP", 4), FW_OK);
    pass(&w);
    CHECK_INT(w.a.loop->conns.nready, 1);
    fw_conns_flush_ready(&w.a.loop->conns);
    pass(&w);
    CHECK_INT(w.a.loop->conns.nready, 0);
    char got[256];
    loop_fixture_hear(&w.b, client, got, sizeof got, 0, NULL);
    CHECK(memcmp(got, "HTTPHTTP/1.1 200", 16) == 0);
    close(client);
    close_two(&w);
}

static void nothing_goes_where_nobody_is_free(void)
{
    two w;
    open_alike(&w);
    const int client = waiting(&w.a, GET("/x"));
    be_away(&w.b, true);
    pass(&w); /* true: it is to be tried again */
    CHECK_INT(w.a.loop->conns.nready, 1);
    be_away(&w.b, false);
    w.page->slots[1].pid = 0;
    pass(&w);
    CHECK_INT(w.a.loop->conns.nready, 1);
    close(client);
    close_two(&w);
}

static void a_request_that_is_too_large_stays(void)
{
    fw_config cfg = defaults();
    two w;
    enum { N = 70000 };
    char *text = malloc(N);
    CHECK(text != NULL);
    cfg.limit_field_size = 2 * N;
    cfg.limit_header = 4 * N;
    open_two(&w, &cfg, &cfg);
    memset(text, 'x', N);
    text[N - 1] = '\0';
    const int client = waiting(&w.a, "GET /x HTTP/1.1\r\nHost: h\r\nA: ");
    SAY(client, text);
    step(&w.a);
    SAY(client, "\r\n\r\n");
    step(&w.a);
    CHECK_INT(w.a.loop->conns.nready, 1);
    pass(&w);
    CHECK_INT(w.a.loop->conns.nready, 1);
    expect_answer(&w.a, client, "GET /x");
    close(client);
    free(text);
    close_two(&w);
}

/* ---- when something fails -------------------------------------------------------------------------------------- */

static void what_cannot_be_sent_stays_and_is_tried_again(void)
{
    static const int ERRORS[] = {EAGAIN, ETOOMANYREFS, EMSGSIZE, ENOBUFS, ENOMEM};
    for (size_t i = 0; i < COUNT(ERRORS); i++) {
        two w;
        trying("%s", strerror(ERRORS[i]));
        open_alike(&w);
        int clients[2] = {waiting(&w.a, GET("/1")), waiting(&w.a, GET("/2"))};
        fault_fail(FAULT_SENDMSG, 0, 2, ERRORS[i]);
        pass(&w);
        CHECK_INT(w.a.loop->conns.nready, 2);
        CHECK_INT(fault_hits(FAULT_SENDMSG), ERRORS[i] == EMSGSIZE ? 2 : 1);
        faults_clear();
        CHECK_INT(w.a.loop->conns.stats.passed_on, 0);
        pass(&w);
        CHECK_INT(w.a.loop->conns.nready, 0);
        expect_answer(&w.b, clients[0], "GET /1");
        expect_answer(&w.b, clients[1], "GET /2");
        close(clients[0]);
        close(clients[1]);
        close_two(&w);
    }
}

static void a_send_that_is_interrupted_goes_on(void)
{
    two w;
    open_alike(&w);
    const int client = waiting(&w.a, GET("/x"));
    fault_fail(FAULT_SENDMSG, 0, 2, EINTR);
    pass(&w);
    CHECK_INT(w.a.loop->conns.nready, 0);
    fault_fail(FAULT_RECVMSG, 0, 2, EINTR);
    expect_answer(&w.b, client, "GET /x");
    close(client);
    close_two(&w);
}

static void a_full_socket_keeps_what_has_no_room(void)
{
    two w;
    enum { N = 40 };
    int clients[N], size = 4096;
    open_alike(&w);
    CHECK(setsockopt(w.to, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0);
    for (unsigned i = 0; i < N; i++)
        clients[i] = waiting(&w.a, GET("/x"));
    pass(&w);
    const uint32_t left = w.a.loop->conns.nready;
    CHECK(left > 0 && left < N);
    for (int i = 0; i < N && w.a.loop->conns.nready > 0; i++) {
        CHECK(taken(&w) > 0);
        pass(&w);
    }
    CHECK_INT(w.a.loop->conns.nready, 0);
    for (unsigned i = 0; i < N; i++) {
        expect_answer(&w.b, clients[i], "GET /x");
        close(clients[i]);
    }
    close_two(&w);
}

static void without_a_file_in_memory_a_large_body_stays(void)
{
    two w;
    enum { N = 200000 };
    open_alike(&w);
    char *body = calloc(1, N);
    CHECK(body != NULL);
    const int client = waiting(&w.a, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n");
    for (size_t at = 0; at < N; at += 10000) {
        say(client, body + at, 10000);
        step(&w.a);
    }
    CHECK_INT(w.a.loop->conns.nready, 1);
    for (int k = 0; k < 2; k++) {
        fault_fail(FAULT_WRITE, 0, 1, k == 0 ? ENOSPC : ENOMEM);
        pass(&w);
        CHECK_INT(w.a.loop->conns.nready, 1);
        CHECK_INT(fault_hits(FAULT_WRITE), k + 1);
    }
    expect_answer(&w.a, client, body_text(body, N));
    close(client);
    free(body);
    close_two(&w);
}

/* Nobody has taken it, it is still there, and somebody is to look. */
static void expect_left(two *w)
{
    CHECK_INT(taken(w), 0);
    CHECK(fw_siblings_waits(&w->b.loop->siblings));
    CHECK(!fw_loop_pending(w->b.loop));
}

/* Nobody rings. */
static void expect_tried_again(two *w)
{
    CHECK(!w->b.loop->siblings.takes_part); /* nobody rings it in vain */
    clock_advance(100);
    step(&w->b);
    CHECK_INT(taken(w), 1);
    CHECK(w->b.loop->siblings.takes_part);
}

static void a_receiver_without_memory_leaves_it(void)
{
    two w;
    open_alike(&w);
    const int client = waiting(&w.a, GET("/x"));
    pass(&w);
    fault_fail(FAULT_MEMORY, 0, FOR_EVER, ENOMEM);
    step(&w.b);
    faults_clear();
    expect_left(&w);
    expect_tried_again(&w);
    close(client);
    close_two(&w);
}

static void memory_that_fails_later_costs_one_connection_and_leaks_nothing(void)
{
    for (unsigned at = 1;; at++) {
        two w;
        trying("allocation %u", at);
        open_alike(&w);
        int clients[2] = {waiting(&w.a, "POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" GET("/behind")),
                          waiting(&w.a, GET("/2"))};
        pass(&w);
        fault_fail(FAULT_MEMORY, at, 1, ENOMEM);
        step(&w.b);
        const unsigned hits = fault_hits(FAULT_MEMORY);
        faults_clear();
        if (w.page->waits)
            fw_loop_look(w.b.loop);
        unsigned whole = 0;
        for (unsigned i = 0; i < 2; i++) {
            char got[4096];
            const size_t n = loop_fixture_hear(&w.b, clients[i], got, sizeof got, 2 - i, NULL);
            whole += responses_in(got, n) == 2 - i;
            close(clients[i]);
        }
        CHECK(whole >= (hits == 0 ? 2 : 1));
        close_two(&w);
        if (hits == 0)
            break;
    }
}

static void a_receiver_without_descriptors_leaves_it_and_tries_again(void)
{
    two w;
    struct rlimit before, now;
    open_alike(&w);
    const int client = waiting(&w.a, GET("/x"));
    pass(&w);
    CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
    const int next = dup(w.to); /* the lowest that is free, and one more */
    CHECK(next >= 0);
    close(next);
    for (int room = 0; room < 2; room++) {
        now = before;
        now.rlim_cur = (rlim_t)(next + room);
        CHECK(setrlimit(RLIMIT_NOFILE, &now) == 0);
        step(&w.b);
        CHECK_INT(w.b.loop->conns.stats.taken_over, 0);
        CHECK(fw_siblings_waits(&w.b.loop->siblings));
        CHECK(!w.b.loop->siblings.takes_part); /* nobody rings it in vain */
        clock_advance(100);
    }
    CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
    clock_advance(100);
    CHECK_INT(taken(&w), 1); /* and nobody has rung again */
    CHECK(w.b.loop->siblings.takes_part);
    expect_answer(&w.b, client, "GET /x");
    close(client);
    close_two(&w);
}

static void an_error_of_the_receiver_leaves_it_and_does_not_spin(void)
{
    static const int ERRORS[] = {ENOMEM, EIO, ENOBUFS};
    static const enum fault CALLS[] = {FAULT_RECV, FAULT_RECVMSG};
    for (size_t i = 0; i < COUNT(ERRORS) * COUNT(CALLS); i++) {
        two w;
        const int error = ERRORS[i / COUNT(CALLS)];
        const enum fault call = CALLS[i % COUNT(CALLS)];
        trying("%s of %s", strerror(error), fault_name(call));
        open_alike(&w);
        const int client = waiting(&w.a, GET("/x"));
        pass(&w);
        fault_fail(call, 0, FOR_EVER, error);
        step(&w.b);
        CHECK_INT(fault_hits(call), 1);
        faults_clear();
        expect_left(&w);
        expect_tried_again(&w);
        close(client);
        close_two(&w);
    }
}

static void whoever_is_second_finds_nothing(void)
{
    two w;
    open_alike(&w);
    const int client = waiting(&w.a, GET("/x"));
    pass(&w);
    fault_fail(FAULT_RECVMSG, 0, 1, EAGAIN);
    step(&w.b);
    CHECK_INT(w.b.loop->conns.stats.taken_over, 0);
    CHECK(!fw_loop_pending(w.b.loop));
    close(client);
    close_two(&w);
}

/* ---- messages that are not ours -------------------------------------------------------------------------------- */

/* Puts a message with this note and these bytes into the socket, and one end of a new pair; the other end is returned. */
static int forge(two *w, const fw_note *note, size_t note_len, const char *data, size_t n, unsigned nfds)
{
    int ends[2], both[2];
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } control;
    struct iovec parts[2] = {{(void *)(uintptr_t)note, note_len}, {(void *)(uintptr_t)data, n}};
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};
    pair_open(ends, false);
    both[0] = both[1] = ends[0];
    if (nfds > 0) {
        memset(&control, 0, sizeof control);
        m.msg_control = control.room;
        m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(nfds * sizeof(int));
        memcpy(CMSG_DATA(h), both, nfds * sizeof(int));
    }
    CHECK(sendmsg(w->to, &m, MSG_DONTWAIT) >= 0);
    close(ends[0]);
    fw_siblings_set_waits(&w->a.loop->siblings, true);
    return ends[1];
}

/* The note of a message that a has sent, which is thrown away. */
static fw_note genuine(two *w)
{
    fw_note note;
    const int client = waiting(&w->a, GET("/x"));
    CHECK_INT(fw_conns_pass_on_ready(&w->a.loop->conns, &w->a.loop->travel, 1), 1);
    CHECK(recv(w->from, &note, sizeof note, 0) == sizeof note);
    close(client);
    return note;
}

static void a_message_of_another_version_is_left_where_it_is(void)
{
    two w;
    fw_note note;
    open_alike(&w);
    note = genuine(&w);
    note.version++;
    const int other = forge(&w, &note, sizeof note, GET("/x"), strlen(GET("/x")), 1);
    CHECK(fw_loop_look(w.b.loop));
    expect_left(&w);
    CHECK_INT(fault_calls(FAULT_RECVMSG), 0);
    char got[1];
    CHECK_INT(hear(other, got, 1), -EAGAIN); /* still open */
    CHECK_INT(recv(w.from, &note, sizeof note, MSG_PEEK), (long)sizeof note);
    close(other);
    close_two(&w);
}

static void swap_for_another_version(void *data)
{
    two *w = data;
    fw_note note;
    fault_before(FAULT_RECVMSG, NULL, NULL);
    CHECK(recv(w->from, &note, sizeof note, 0) == sizeof note);
    note.version++;
    close(forge(w, &note, sizeof note, GET("/x"), strlen(GET("/x")), 1));
}

static void a_message_of_another_version_that_slips_in_is_put_back(void)
{
    two w;
    fw_note note;
    open_alike(&w);
    const int client = waiting(&w.a, GET("/x"));
    pass(&w);
    fault_before(FAULT_RECVMSG, swap_for_another_version, &w);
    step(&w.b);
    CHECK_INT(w.b.loop->conns.stats.taken_over, 0);
    CHECK(fw_siblings_waits(&w.b.loop->siblings));
    CHECK_INT(recv(w.from, &note, sizeof note, MSG_PEEK), (long)sizeof note);
    close(client);
    close_two(&w);
}

static void a_damaged_message_is_closed_and_hurts_nobody_else(void)
{
    enum { N = sizeof(GET("/x")) - 1 };
    static const char TEXT[] = GET("/x");
    for (unsigned i = 0; i < 15; i++) {
        two w;
        open_alike(&w);
        fw_note note = genuine(&w);
        size_t len = sizeof note, n = N;
        unsigned nfds = 1;
        const char *text = TEXT;
        trying("case %u", i);
        switch (i) {
        case 0: len = sizeof note - 1, n = 0; break;
        case 1: len = 4, n = 0; break;
        case 2: n--; break;
        case 3: nfds = 0; break;
        case 4: nfds = 2; break; /* a file that was not announced */
        case 5: note.file = true; break;
        case 6: note.head = UINT32_MAX; break;
        case 7: note.rest = UINT32_MAX, note.head++; break;
        case 8: note.address_len = 1; break;
        case 9: note.body = 1; break;
        case 10: note.kind = FW_TRAVEL_IDLE; break;
        case 11: note.head--, note.rest++; break;  /* not a whole head */
        case 12: note.head -= 2, note.memory += 2, note.body += 2; break;
        case 13: memset(&note.file, 0x5A, 1); break;
        case 14: text = "NOT A REQUEST\r\n\r\n.............................", n = N; break;
        }
        const int other = forge(&w, &note, len, text, n, nfds);
        const int client = waiting(&w.a, GET("/x"));
        pass(&w);
        expect_answer(&w.b, client, "GET /x");
        char got[1024];
        ssize_t some;
        while ((some = hear(other, got, sizeof got)) > 0)
            CHECK_INT(i, 14); /* that one is told why */
        CHECK(some != -EAGAIN || i == 14);
        CHECK_INT(w.b.requests, 1);
        CHECK(!fw_siblings_waits(&w.b.loop->siblings));
        close(other);
        close(client);
        close_two(&w);
    }
}

static void one_of_an_unknown_listener_is_closed(void)
{
    two w;
    open_alike(&w);
    fw_note note = genuine(&w);
    note.listener = 9;
    note.cookie = 0;
    const int other = forge(&w, &note, sizeof note, GET("/x"), strlen(GET("/x")), 1);
    CHECK(fw_loop_look(w.b.loop));
    step(&w.b);
    char got[1];
    CHECK_INT(hear(other, got, 1), 0);
    CHECK_INT(connections(&w.b), 0);
    close(other);
    close_two(&w);
}

/* ---- who looks, and when --------------------------------------------------------------------------------------- */

static void one_that_is_away_does_not_take_it_and_looks_when_it_is_free(void)
{
    two w;
    open_alike(&w);
    const int client = waiting(&w.a, GET("/x"));
    pass(&w);
    be_away(&w.b, true);
    CHECK_INT(taken(&w), 0);
    CHECK(fw_siblings_waits(&w.b.loop->siblings));
    fw_lead_to(w.b.leader, w.b.thread); /* it is free again */
    expect_answer(&w.b, client, "GET /x");
    close(client);
    close_two(&w);
}

static void a_sender_that_is_free_first_takes_it_back(void)
{
    two w;
    open_alike(&w);
    const int client = waiting(&w.a, GET("/x"));
    pass(&w);
    CHECK_INT(connections(&w.a), 0);
    fw_lead_to(w.a.leader, w.a.thread);
    expect_answer(&w.a, client, "GET /x");
    CHECK_INT(taken(&w), 0);
    CHECK_INT(w.a.loop->conns.stats.taken_over, 1);
    close(client);
    close_two(&w);
}

static void one_that_is_full_looks_when_it_has_room(void)
{
    for (int refuse = 0; refuse < 2; refuse++) { /* one that refuses clients goes on accepting */
        fw_config a = defaults(), b = defaults();
        two w;
        b.max_connections = 1;
        b.overload_refuse = refuse;
        open_two(&w, &a, &b);
        w.b.loop->board = calloc(1, 4096); /* every worker has one */
        CHECK(w.b.loop->board != NULL);
        const int client = waiting(&w.a, GET("/x"));
        pass(&w);
        const int first = waiting(&w.b, "");
        CHECK_INT(connections(&w.b), 1);
        w.b.loop->siblings.takes_part = refuse;
        CHECK_INT(taken(&w), 0);
        close(first);
        for (int i = 0; i < 2; i++) {
            clock_advance(100);
            step(&w.b);
        }
        expect_answer(&w.b, client, "GET /x");
        close(client);
        free(w.b.loop->board);
        w.b.loop->board = NULL;
        close_two(&w);
    }
}

static void one_that_begins_to_accept_looks(void)
{
    two w;
    loop_fixture late;
    const fw_config cfg = defaults();
    open_alike(&w);
    const int client = waiting(&w.a, GET("/x"));
    pass(&w);
    w.page->slots[1].pid = 0; /* b has died before it heard, and the master has noted that */
    loop_fixture_open(&late, &cfg);
    connect_loop(&w, &late, 2);
    loop_fixture_run(&late);
    expect_answer(&late, client, "GET /x");
    CHECK_INT(late.loop->conns.stats.taken_over, 1);
    close(client);
    loop_fixture_close(&late);
    close_two(&w);
}

static void a_listener_that_is_left_to_a_sibling_does_not_keep_it_from_looking(void)
{
    two w;
    int fds[4];
    open_alike(&w);
    fw_siblings third = {0};
    fw_siblings_init(&third, w.page, w.bells, 2); /* one that has no connections: the test plays it */
    third.own->pid = 1;
    for (unsigned i = 0; i < 2; i++)
        fds[i] = waiting(&w.b, "");
    fds[2] = waiting(&w.a, GET("/x"));
    fds[3] = loop_fixture_client(&w.b); /* this one is for the third */
    pass(&w);
    fw_siblings_ring(&w.a.loop->siblings, 1, 1); /* b is told, too */
    CHECK_INT(taken(&w), 1);
    CHECK_INT(connections(&w.b), 3);
    for (unsigned i = 0; i < 4; i++)
        close(fds[i]);
    close_two(&w);
}

static void what_waits_is_told_again_while_the_sender_is_away(void)
{
    two w;
    uint64_t n;
    open_alike(&w);
    const int client = waiting(&w.a, GET("/x"));
    pass(&w);
    CHECK(read(w.bells[1], &n, sizeof n) == sizeof n); /* b was rung, and has missed it */
    w.page->slots[1].rung_at = 0;
    pass(&w);
    CHECK(read(w.bells[1], &n, sizeof n) < 0);
    clock_advance(FW_LEAVE_MS);
    pass(&w);
    CHECK_INT(taken(&w), 1);
    be_away(&w.a, true);
    CHECK(!fw_loop_pass_on(w.a.loop)); /* nothing is timed any more */
    close(client);
    close_two(&w);
}

/* ---- stops ----------------------------------------------------------------------------------------------------- */

/* Lets both loops go on for a while. */
static void go_on(two *w)
{
    for (int i = 0; i < 10; i++) {
        step(&w->a);
        step(&w->b);
        clock_advance(3);
    }
}

static bool is_over(loop_fixture *s)
{
    for (int i = 0; i < MANY; i++)
        if (loop_fixture_run(s) == FW_NEXT_DONE)
            return true;
    return false;
}

static void a_stop_passes_idle_connections_on(void)
{
    two w;
    enum { N = 40 };
    int clients[N];
    open_alike(&w);
    for (unsigned i = 0; i < N; i++) {
        clients[i] = waiting(&w.a, i % 2 ? GET("/1") : ""); /* others have not said anything yet */
        if (i % 2)
            expect_answer(&w.a, clients[i], "GET /1");
    }
    fw_loop_stop(w.a.loop, FW_STOP_GRACEFUL);
    go_on(&w);
    CHECK(is_over(&w.a));
    CHECK_INT(w.a.loop->conns.stats.passed_on, N);
    CHECK_INT(connections(&w.b), N);
    for (unsigned i = 0; i < N; i++) {
        SAY(clients[i], GET("/2"));
        expect_answer(&w.b, clients[i], "GET /2");
        close(clients[i]);
    }
    close_two(&w);
}

static void a_stop_whose_socket_is_full_goes_on_later(void)
{
    two w;
    enum { N = 30 };
    int clients[N], size = 4096;
    open_alike(&w);
    CHECK(setsockopt(w.to, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0);
    for (unsigned i = 0; i < N; i++)
        clients[i] = waiting(&w.a, "");
    fw_loop_stop(w.a.loop, FW_STOP_GRACEFUL);
    step(&w.a);
    CHECK(connections(&w.a) > 0 && connections(&w.a) < N);
    CHECK(w.a.loop->pass_at != 0);
    go_on(&w);
    CHECK_INT(connections(&w.b), N);
    for (unsigned i = 0; i < N; i++) {
        SAY(clients[i], GET("/2"));
        expect_answer(&w.b, clients[i], "GET /2");
        close(clients[i]);
    }
    close_two(&w);
}

static void keep_and_answer(loop_fixture *s, fw_conn *c)
{
    CHECK(fw_outq_copy(&c->out, &s->thread->cache, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 38) == FW_OK);
    loop_fixture_finish(s, c, true, false); /* as a worker does whose connections are passed on */
}

static void a_connection_that_becomes_idle_in_a_stop_is_passed_on_at_once(void)
{
    two w;
    fw_conn *c;
    open_alike(&w);
    const int client = loop_fixture_client(&w.a);
    SAY(client, GET("/1"));
    while (loop_fixture_next(&w.a, &c) != FW_NEXT_TURN)
        ;
    fw_loop_stop(w.a.loop, FW_STOP_GRACEFUL);
    go_on(&w);
    CHECK_INT(connections(&w.a), 1);
    CHECK(!fw_loop_due(w.a.loop));
    keep_and_answer(&w.a, c);
    CHECK(fw_loop_due(w.a.loop)); /* whoever polls does not go on waiting */
    go_on(&w);
    CHECK(!fw_loop_due(w.a.loop) || connections(&w.a) == 0);
    CHECK_INT(connections(&w.b), 1);
    CHECK(is_over(&w.a));
    close(client);
    close_two(&w);
}

static void a_stop_without_an_heir_takes_back_what_is_under_way(void)
{
    for (int request = 0; request < 2; request++) {
        two w;
        char got[4096];
        bool end;
        trying(request ? "a request" : "an idle connection");
        open_alike(&w);
        const int client = waiting(&w.a, request ? GET("/x") : "");
        if (request) {
            pass(&w);
        } else {
            CHECK(fw_conn_pass_on(&w.a.loop->conns, w.a.loop->conns.all.next, &w.a.loop->travel));
            fw_siblings_set_waits(&w.a.loop->siblings, true);
        }
        CHECK_INT(connections(&w.a), 0);
        w.page->ended[1] = 1; /* b's master has ended */
        fw_loop_stop(w.a.loop, FW_STOP_GRACEFUL);
        if (!request) /* a client whose request is on its way is served as ever */
            SAY(client, GET("/x"));
        const size_t n = loop_fixture_hear(&w.a, client, got, sizeof got, 99, &end);
        CHECK(end && responses_in(got, n) == 1);
        close(client);
        CHECK(is_over(&w.a));
        CHECK_INT(w.a.loop->conns.stats.taken_over, 1);
        close_two(&w);
    }
}

static void b_stops(void *data)
{
    two *w = data;
    fault_before(FAULT_SENDMSG, NULL, NULL);
    fw_loop_stop(w->b.loop, FW_STOP_GRACEFUL);
    step(&w->b);
}

static void an_heir_that_stops_meanwhile_does_not_lose_it(void)
{
    two w;
    char got[4096];
    bool end;
    open_alike(&w);
    const int client = waiting(&w.a, "");
    SAY(client, GET("/x")); /* it comes while the connection travels */
    fault_before(FAULT_SENDMSG, b_stops, &w);
    fw_loop_stop(w.a.loop, FW_STOP_GRACEFUL);
    const size_t n = loop_fixture_hear(&w.a, client, got, sizeof got, 99, &end);
    CHECK(end && responses_in(got, n) == 1);
    close(client);
    CHECK(is_over(&w.a));
    close_two(&w);
}

static void a_quick_stop_after_a_graceful_one_does_not_spin(void)
{
    two w;
    fw_conn *c;
    enum { N = 30 };
    int clients[N + 1], size = 4096;
    open_alike(&w);
    CHECK(setsockopt(w.to, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0);
    clients[N] = loop_fixture_client(&w.a);
    SAY(clients[N], GET("/1"));
    while (loop_fixture_next(&w.a, &c) != FW_NEXT_TURN)
        ;
    for (unsigned i = 0; i < N; i++)
        clients[i] = waiting(&w.a, "");
    fw_loop_stop(w.a.loop, FW_STOP_GRACEFUL);
    step(&w.a);
    CHECK(w.a.loop->pass_at != 0);
    fw_loop_stop(w.a.loop, FW_STOP_QUICK);
    step(&w.a);
    clock_advance(10);
    faults_clear();
    step(&w.a);
    CHECK(poll_patience() != 0);
    w.a.app(&w.a, c);
    CHECK(is_over(&w.a));
    fw_loop_reopen(w.a.loop);
    CHECK_INT(w.a.loop->pass_at, 0);
    for (unsigned i = 0; i <= N; i++)
        close(clients[i]);
    close_two(&w);
}

static void a_worker_that_stops_passes_waiting_requests_on_too(void)
{
    two w;
    open_alike(&w);
    const int client = waiting(&w.a, GET("/x"));
    fw_loop_stop(w.a.loop, FW_STOP_GRACEFUL);
    step(&w.a);
    CHECK_INT(w.a.loop->conns.nready, 1);
    pass(&w);
    CHECK_INT(w.a.loop->conns.nready, 0);
    expect_answer(&w.b, client, "GET /x");
    CHECK(is_over(&w.a));
    close(client);
    close_two(&w);
}

int main(int argc, char **argv)
{
    static const test tests[] = {
        T(a_request_that_waits_is_served_by_who_is_free),
        T(pipelined_requests_go_along_in_their_order),
        T(waiting_requests_leave_in_their_order_and_what_stays_is_still_queued),
        T(no_more_leave_at_once_than_they_may),
        T(a_body_goes_along_wherever_it_is),
        T(a_body_that_is_too_large_for_the_receivers_memory_goes_to_a_file_there),
        T(a_client_that_was_told_to_continue_is_not_told_twice),
        T(what_the_receivers_settings_refuse_is_refused),
        T(one_that_has_waited_elsewhere_is_not_turned_away_for_waiting),
        T(address_and_number_of_requests_come_along),
        T(the_time_that_it_waits_goes_on),
        T(its_listener_is_found_by_what_the_system_knows_it_by_or_by_its_number),
        T(what_is_under_way_stays),
        T(an_answer_that_is_not_sent_keeps_the_request_behind_it),
        T(nothing_goes_where_nobody_is_free),
        T(a_request_that_is_too_large_stays),
        T(what_cannot_be_sent_stays_and_is_tried_again),
        T(a_send_that_is_interrupted_goes_on),
        T(a_full_socket_keeps_what_has_no_room),
        T(without_a_file_in_memory_a_large_body_stays),
        T(a_receiver_without_memory_leaves_it),
        T(memory_that_fails_later_costs_one_connection_and_leaks_nothing),
        T(a_receiver_without_descriptors_leaves_it_and_tries_again),
        T(an_error_of_the_receiver_leaves_it_and_does_not_spin),
        T(whoever_is_second_finds_nothing),
        T(a_message_of_another_version_is_left_where_it_is),
        T(a_message_of_another_version_that_slips_in_is_put_back),
        T(a_damaged_message_is_closed_and_hurts_nobody_else),
        T(one_of_an_unknown_listener_is_closed),
        T(one_that_is_away_does_not_take_it_and_looks_when_it_is_free),
        T(a_sender_that_is_free_first_takes_it_back),
        T(one_that_is_full_looks_when_it_has_room),
        T(one_that_begins_to_accept_looks),
        T(a_listener_that_is_left_to_a_sibling_does_not_keep_it_from_looking),
        T(what_waits_is_told_again_while_the_sender_is_away),
        T(a_stop_passes_idle_connections_on),
        T(a_stop_whose_socket_is_full_goes_on_later),
        T(a_connection_that_becomes_idle_in_a_stop_is_passed_on_at_once),
        T(a_stop_without_an_heir_takes_back_what_is_under_way),
        T(an_heir_that_stops_meanwhile_does_not_lose_it),
        T(a_quick_stop_after_a_graceful_one_does_not_spin),
        T(a_worker_that_stops_passes_waiting_requests_on_too),
    };
    return RUN_TESTS(tests);
}
